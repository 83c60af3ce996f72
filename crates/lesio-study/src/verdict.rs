//! The verdict on a case: the highest score of its map, compared with normal subjects.

use lesio_anomaly::{CalibrationDoubt, Incomparable, Judgment, NormalScores};
use lesio_image::Volume;
use lesio_settings::{SettingError, in_range, named};
use ndarray::Zip;
use serde::{Deserialize, Serialize};

use crate::findings::is_supported;

/// The verdict on a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// A score is abnormal compared with normal subjects.
    Abnormal,
    /// Undecided; [`CaseVerdict::reason`] says why.
    CannotTell,
    /// No score is abnormal.
    Normal,
}

named!(Verdict, "verdict", {
    "abnormal" => Self::Abnormal,
    "cannot tell" => Self::CannotTell,
    "normal" => Self::Normal,
});

/// A verdict with its basis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CaseVerdict {
    /// The verdict.
    pub verdict: Verdict,
    /// Why the case is undecided.
    pub reason: Option<String>,
    /// The score of the case: the highest post-processed score within the foreground; `None` without foreground.
    pub score: Option<f32>,
    /// The lowest score that is abnormal at the level; `None` if the calibration has too few normal subjects.
    pub threshold: Option<f32>,
    /// The probability of a false alarm on a normal case, chosen by the user.
    pub level: f64,
    /// The probability that a normal case scores as high, see
    /// [`NormalScores::family_wise_p_value`]; `None` if the calibration is too small for the level or not valid.
    pub p_value: Option<f64>,
    /// The smallest possible p-value of the calibration.
    pub smallest_p_value: Option<f64>,
}

impl CaseVerdict {
    /// Judges the score of a case.
    ///
    /// The case is undecided without a score, without normal scores of the predictor, if the case scores higher than
    /// all normal subjects and they are too few for the level, and with a doubt about the calibration: of the resolution,
    /// the extent or the foreground of the case, of its values, and of its kind (volume or picture). If even the smallest
    /// p-value of the calibration is above the level, a normal case has no p-value and no threshold either.
    ///
    /// # Errors
    /// [`SettingError`] for a level outside 0 to 1.
    ///
    /// ```
    /// use lesio_anomaly::NormalScoresBuilder;
    /// use lesio_study::{CaseVerdict, Verdict};
    ///
    /// let mut normal = NormalScoresBuilder::new();
    /// (0..19).for_each(|subject| normal.add([0.0, subject as f32]));
    /// let normal = normal.finish().ok_or("no scores")?;
    /// let found = CaseVerdict::of(Some(20.0), Some(&normal), 0.05, None)?;
    /// assert_eq!((found.verdict, found.p_value), (Verdict::Abnormal, Some(0.05)));
    /// // 19 normal subjects are too few for a level of one in a hundred.
    /// let found = CaseVerdict::of(Some(20.0), Some(&normal), 0.01, None)?;
    /// assert_eq!((found.verdict, found.p_value), (Verdict::CannotTell, None));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn of(
        score: Option<f32>,
        normal: Option<&NormalScores>,
        level: f64,
        doubt: Option<&CalibrationDoubt>,
    ) -> Result<Self, SettingError> {
        in_range("level", level, 0.0..=1.0)?;
        let mut found = Self {
            verdict: Verdict::CannotTell,
            reason: None,
            score,
            threshold: normal.and_then(|normal| normal.family_wise_threshold(level)),
            level,
            p_value: None,
            smallest_p_value: normal.map(NormalScores::smallest_p_value),
        };
        let reason = match (score, normal, doubt) {
            (None, ..) => Incomparable::NoScore.to_string(),
            (_, None, _) => "the model was not calibrated for this predictor".to_owned(),
            (.., Some(doubt)) => doubt.to_string(),
            (Some(score), Some(normal), None) => match normal.judge(score, level)? {
                Judgment::Normal { p_value } => {
                    // If the smallest p-value is above the level, no p-value is meaningful.
                    let p_value = is_supported(normal.smallest_p_value(), level).then_some(p_value);
                    return Ok(Self { verdict: Verdict::Normal, p_value, ..found });
                }
                Judgment::Abnormal { p_value } => {
                    return Ok(Self { verdict: Verdict::Abnormal, p_value: Some(p_value), ..found });
                }
                Judgment::Incomparable(reason) => reason.to_string(),
                _ => {
                    let (subjects, needed) = (normal.subjects(), (1.0 / level - 1.0).ceil());
                    format!(
                        "it scores higher than all {subjects} normal subjects of the calibration, and a level of {level} takes {needed}"
                    )
                }
            },
        };
        found.reason = Some(reason);
        Ok(found)
    }
}

/// The highest score within the foreground; `None` without foreground.
pub(crate) fn highest(map: &Volume<f32>, within: &Volume<bool>) -> Option<f32> {
    let mut highest = None;
    Zip::from(map.data()).and(within.data()).for_each(|&score, &inside| {
        if inside && highest.is_none_or(|highest| score > highest) {
            highest = Some(score);
        }
    });
    highest
}

#[cfg(test)]
mod tests {
    use lesio_anomaly::NormalScoresBuilder;
    use lesio_image::Geometry;
    use ndarray::Array3;

    use super::*;

    fn normal(subjects: usize) -> NormalScores {
        let mut normal = NormalScoresBuilder::new();
        (0..subjects).for_each(|subject| normal.add([0.0, subject as f32]));
        normal.finish().unwrap()
    }

    #[test]
    fn what_cannot_be_told_has_a_reason_and_no_p_value() {
        let doubt = CalibrationDoubt::Kind;
        let normal = normal(3);
        for (score, normal, level, doubt) in [
            (None, Some(&normal), 0.5, None),
            (Some(9.0), None, 0.5, None),
            (Some(f32::NAN), Some(&normal), 0.5, None),
            (Some(9.0), Some(&normal), 0.5, Some(&doubt)),
            (Some(9.0), Some(&normal), 0.05, None),
        ] {
            let found = CaseVerdict::of(score, normal, level, doubt).unwrap();
            assert_eq!((found.verdict, found.p_value), (Verdict::CannotTell, None), "{found:?}");
            assert!(found.reason.is_some(), "{found:?}");
        }
        // Three subjects can tell at one in four, and say nothing of a score that they reach.
        let found = CaseVerdict::of(Some(9.0), Some(&normal), 0.25, None).unwrap();
        assert_eq!((found.verdict, found.p_value, found.reason), (Verdict::Abnormal, Some(0.25), None));
        let found = CaseVerdict::of(Some(1.0), Some(&normal), 0.05, None).unwrap();
        assert_eq!((found.verdict, found.p_value, found.threshold), (Verdict::Normal, None, None));
        // A level is checked even where nothing is judged by it.
        assert!(CaseVerdict::of(Some(1.0), Some(&normal), 1.5, None).is_err());
        assert!(CaseVerdict::of(None, None, f64::NAN, None).is_err());
    }

    #[test]
    fn the_score_is_the_highest_of_the_foreground() {
        let map = Volume::new(
            Array3::from_shape_fn((3, 2, 2), |(i, j, k)| (i + j + k) as f32),
            Geometry::default(),
        );
        let within = map.map(|&score| score < 4.0 && score != 3.0);
        assert_eq!(highest(&map, &within), Some(2.0));
        assert_eq!(highest(&map, &map.map(|_| false)), None);
    }

    /// At a level of one in ten, about one in ten of normal cases is called abnormal.
    #[test]
    fn false_alarms_are_as_rare_as_the_level_says() {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32
        };
        let mut alarms = 0;
        for _ in 0..2000 {
            let mut normal = NormalScoresBuilder::new();
            (0..29).for_each(|_| normal.add([random()]));
            let normal = normal.finish().unwrap();
            let found = CaseVerdict::of(Some(random()), Some(&normal), 0.1, None).unwrap();
            alarms += usize::from(found.verdict == Verdict::Abnormal);
        }
        // Three standard deviations of a binomial of 2000 and .1.
        assert!((160..=240).contains(&alarms), "{alarms}");
    }
}
