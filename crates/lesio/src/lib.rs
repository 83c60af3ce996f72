//! Anomaly localization in images and segmentation quality without labels.
