//! `report.json` of the study of quality.

use lesio_quality::{AttackUnit, Method, NaturalShift};
use lesio_report::{Extra, RunRecord};
use serde::{Deserialize, Serialize};

/// `report.json` of the program `study_quality`: the error of the predicted Dice under attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QualityReport {
    /// Version of this layout: [`QualityReport::SCHEMA`].
    pub schema: u32,
    /// A row for every estimator, attack, strength and unit.
    pub rows: Vec<QualityRow>,
    /// Where the results come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<RunRecord>,
    /// Anything else.
    #[serde(flatten)]
    pub extra: Extra,
}

impl QualityReport {
    /// The version of the layout that this crate writes.
    pub const SCHEMA: u32 = 1;
}

impl Default for QualityReport {
    /// No row yet.
    fn default() -> Self {
        Self { schema: Self::SCHEMA, rows: Vec::new(), provenance: None, extra: Extra::new() }
    }
}

/// One estimator under one attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QualityRow {
    /// The method of the estimator; a document calls the second opinion `best`.
    #[serde(with = "document_name")]
    pub estimator: Method,
    /// Which change of the image.
    pub attack: Perturbation,
    /// Its strength in `unit`; 0 for none.
    pub epsilon: f64,
    /// What a strength of 1 is.
    pub unit: AttackUnit,
    /// Mean absolute error of the predicted Dice.
    pub mae: Option<f64>,
    /// Standard deviation of the absolute errors.
    pub mae_sd: Option<f64>,
    /// Root of the mean squared error.
    pub rmse: Option<f64>,
    /// Pearson's correlation of predicted and true Dice.
    pub pearson: Option<f64>,
    /// Spearman's rank correlation of the two.
    pub spearman: Option<f64>,
    /// Number of segmentations.
    pub n: u64,
    /// Anything else.
    #[serde(flatten)]
    pub extra: Extra,
}

impl QualityRow {
    /// A row whose figures are not yet known.
    #[must_use]
    pub fn new(estimator: Method, attack: Perturbation, epsilon: f64, unit: AttackUnit) -> Self {
        Self {
            estimator,
            attack,
            epsilon,
            unit,
            mae: None,
            mae_sd: None,
            rmse: None,
            pearson: None,
            spearman: None,
            n: 0,
            extra: Extra::new(),
        }
    }
}

/// A change of the images that an estimator should withstand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Perturbation {
    /// None.
    None,
    /// One step along the sign of the gradient.
    Fgsm,
    /// Projected gradient descent.
    Pgd,
    /// A natural change.
    #[serde(untagged)]
    Shift(NaturalShift),
}

impl Perturbation {
    /// Its name in a document.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Fgsm => "fgsm",
            Self::Pgd => "pgd",
            Self::Shift(shift) => shift.name(),
        }
    }
}

/// Methods by their names in a document.
pub(super) mod document_name {
    use lesio_quality::Method;
    use serde::{Deserialize, Deserializer, Serializer, de};

    /// The name of a method: the second opinion is the `best` that was found.
    pub(in super::super) fn of(method: Method) -> &'static str {
        if method == Method::SecondOpinion { "best" } else { method.name() }
    }

    pub(super) fn serialize<S: Serializer>(method: &Method, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(of(*method))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Method, D::Error> {
        let name = String::deserialize(deserializer)?;
        let found = Method::ALL.into_iter().find(|&method| of(method) == name);
        found.ok_or_else(|| de::Error::unknown_variant(&name, &["rec-reg", "direct", "best", "shape-only"]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quality_rows_have_the_agreed_keys() {
        let mut row = QualityRow::new(Method::RecReg, Perturbation::Fgsm, 0.05, AttackUnit::Std);
        (row.mae, row.n) = (Some(0.07), 240);
        let report = QualityReport { rows: vec![row.clone()], ..QualityReport::default() };
        let expected = json!({"schema": 1, "rows": [{
            "estimator": "rec-reg", "attack": "fgsm", "epsilon": 0.05, "unit": "std", "mae": 0.07, "mae_sd": null,
            "rmse": null, "pearson": null, "spearman": null, "n": 240,
        }]});
        assert_eq!(serde_json::to_value(&report).unwrap(), expected);
        assert_eq!(serde_json::from_value::<QualityReport>(expected).unwrap(), report);
        for (method, name) in Method::ALL.into_iter().zip(["rec-reg", "direct", "shape-only", "best"]) {
            row.estimator = method;
            let document = serde_json::to_value(&row).unwrap();
            assert_eq!(document["estimator"], name);
            assert_eq!(serde_json::from_value::<QualityRow>(document).unwrap(), row);
        }
        let shifts = NaturalShift::ALL.map(Perturbation::Shift);
        for change in [Perturbation::None, Perturbation::Fgsm, Perturbation::Pgd].into_iter().chain(shifts) {
            assert_eq!(json!(change), change.name());
            assert_eq!(serde_json::from_value::<Perturbation>(json!(change)).unwrap(), change);
        }
        assert_eq!(json!(Perturbation::Shift(NaturalShift::BiasField)), "bias-field");
        assert_eq!(json!(AttackUnit::Range), "range");
    }
}
