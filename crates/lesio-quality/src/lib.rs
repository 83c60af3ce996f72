//! Segmentation quality without ground truth: REC-Net, REG-Net, candidates and attacks.
