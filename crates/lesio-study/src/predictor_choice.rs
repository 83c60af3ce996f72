//! The predictor that a localizer uses if none is named.

use lesio_anomaly::{ChosenPredictor, Localizer, Model, PredictorName};

/// The predictor of a model without a better default: every model supports absolute errors, which have the units of its
/// images and need no lesion for tuning.
pub const FALLBACK_PREDICTOR: PredictorName = PredictorName::PixelL1;

/// The default predictor of a localizer and the reason in words: the one that validation data selected, otherwise its
/// ensemble, its logits if it is a segmenter, or [`FALLBACK_PREDICTOR`].
#[must_use]
pub fn predictor_choice(localizer: &Localizer) -> (PredictorName, String) {
    if let Some(chosen) = localizer.chosen() {
        return (chosen.predictor, choice_in_words(chosen));
    }
    let predictor = match localizer.ensemble() {
        Some(_) => PredictorName::Ensemble,
        None => usual_predictor(localizer.model()),
    };
    (predictor, format!("predictor {predictor}: none was chosen, no validation data held a lesion"))
}

/// Why a predictor was chosen.
#[must_use]
pub fn choice_in_words(chosen: &ChosenPredictor) -> String {
    let ChosenPredictor { predictor, average_precision, subjects, .. } = chosen;
    let of = if *subjects == 1 { "subject with lesions" } else { "subjects with lesions" };
    format!(
        "predictor {predictor}: chosen on validation data, average precision {average_precision:.3} over {subjects} {of}"
    )
}

/// The default predictor of a single model: the logits of a segmenter, else [`FALLBACK_PREDICTOR`].
pub(crate) fn usual_predictor(model: &Model) -> PredictorName {
    match model.segmentation() {
        Some(_) => PredictorName::AnomalyLogit,
        None => FALLBACK_PREDICTOR,
    }
}
