//! Anomaly localization: predictors, calibration, post-processing and the Localizer.
