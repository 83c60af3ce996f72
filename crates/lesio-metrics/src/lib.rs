//! Exact evaluation metrics for anomaly localization and segmentation.
