//! The segmentation quality part of `quickstart`, on synthetic hearts.

use lesio::nn::Device;
use lesio::report::HtmlReport;
use lesio::study::quality::{QualityStudyError, demonstrate};

use crate::bar;

/// Trains a small estimator of segmentation quality on synthetic hearts with a progress bar, and adds its evaluation to
/// a report. Also returns the figures as JSON.
///
/// # Errors
/// Those of [`demonstrate`].
pub fn show_quality(
    report: HtmlReport,
    seed: u64,
    device: &Device,
) -> Result<(HtmlReport, serde_json::Value), QualityStudyError> {
    let progress = bar(1, "training the estimator");
    let shown = demonstrate(report, seed, device);
    progress.finish_and_clear();
    shown
}
