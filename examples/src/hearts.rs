//! What `quickstart` shows of the estimator of quality.

use lesio::nn::Device;
use lesio::report::HtmlReport;
use lesio::study::quality::{QualityStudyError, demonstrate};

use crate::bar;

/// Adds what a small estimator of segmentation quality makes of synthetic hearts to a report, with a progress bar; returns
/// its figures.
///
/// # Errors
/// As [`demonstrate`].
pub fn show_quality(
    report: HtmlReport,
    seed: u64,
    device: &Device,
) -> Result<(HtmlReport, serde_json::Value), QualityStudyError> {
    let progress = bar(1, "learning quality");
    let shown = demonstrate(report, seed, device);
    progress.finish_and_clear();
    shown
}
