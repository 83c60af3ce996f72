//! Seeded brain-like and heart-like test images with lesions and exact truth.
