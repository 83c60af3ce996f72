//! The names of predictors.

use std::fmt;
use std::str::FromStr;

use lesio_settings::SettingError;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A predictor's name, as in reports, files and on command lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum PredictorName {
    /// The image value itself.
    Intensity,
    /// `|x - y|`.
    PixelL1,
    /// `max(x - y, 0)`.
    PixelPositive,
    /// `max(y - x, 0)`.
    PixelNegative,
    /// `(x - y)^2`.
    PixelL2,
    /// `-log p(x | z)`.
    PixelNll,
    /// `1 - SSIM`.
    PixelSsim,
    /// Gradient of the divergence.
    GradKl,
    /// Gradient of the reconstruction term.
    GradRec,
    /// Gradient of the bound.
    GradElbo,
    /// `grad-kl` times `pixel-nll`.
    CombiProduct,
    /// `grad-kl` plus `pixel-nll`.
    CombiSum,
    /// Energy-based projection: how far pixels moved.
    Projection,
    /// Energy-based projection: distance from the projected image's reconstruction.
    ProjectionReconstruction,
    /// Restoration with total variation.
    Restoration,
    /// A predictor of one's own, see [`PredictorName::own`].
    Own(OwnName),
}

/// Most bytes of a name of one's own.
const LONGEST: usize = 47;

/// The name of a predictor or model of one's own: 1 to 47 of the characters a to z, 0 to 9 and `-`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnName {
    bytes: [u8; LONGEST],
    length: u8,
}

impl OwnName {
    /// A name.
    ///
    /// # Errors
    /// [`SettingError`] for other characters, no character or more than 47.
    pub fn new(name: &str) -> Result<Self, SettingError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=LONGEST).contains(&name.len()) || !name.bytes().all(allowed) {
            return Err(SettingError::new("name", name, "1 to 47 of the characters a to z, 0 to 9 and -"));
        }
        let mut bytes = [0; LONGEST];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Ok(Self { bytes, length: name.len() as u8 })
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Made of ASCII alone.
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl fmt::Debug for OwnName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for OwnName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PredictorName {
    /// All predictors that are built in, the cheap ones first.
    pub const ALL: [Self; 15] = [
        Self::Intensity,
        Self::PixelL1,
        Self::PixelPositive,
        Self::PixelNegative,
        Self::PixelL2,
        Self::PixelNll,
        Self::PixelSsim,
        Self::GradKl,
        Self::GradRec,
        Self::GradElbo,
        Self::CombiProduct,
        Self::CombiSum,
        Self::Projection,
        Self::ProjectionReconstruction,
        Self::Restoration,
    ];

    /// The name of a predictor of one's own.
    ///
    /// # Errors
    /// [`SettingError`] as [`OwnName::new`], and for the name of a predictor that is built in.
    pub fn own(name: &str) -> Result<Self, SettingError> {
        if name.parse::<Self>().is_ok() {
            return Err(SettingError::new("name", name, "one that no built-in predictor has"));
        }
        OwnName::new(name).map(Self::Own)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Intensity => "intensity",
            Self::PixelL1 => "pixel-l1",
            Self::PixelPositive => "pixel-positive",
            Self::PixelNegative => "pixel-negative",
            Self::PixelL2 => "pixel-l2",
            Self::PixelNll => "pixel-nll",
            Self::PixelSsim => "pixel-ssim",
            Self::GradKl => "grad-kl",
            Self::GradRec => "grad-rec",
            Self::GradElbo => "grad-elbo",
            Self::CombiProduct => "combi-product",
            Self::CombiSum => "combi-sum",
            Self::Projection => "projection",
            Self::ProjectionReconstruction => "projection-reconstruction",
            Self::Restoration => "restoration",
            Self::Own(name) => name.as_str(),
        }
    }

    /// Whether it takes many passes of the model for an image.
    #[must_use]
    pub fn is_iterative(self) -> bool {
        matches!(self, Self::Projection | Self::ProjectionReconstruction | Self::Restoration)
    }

    /// Whether it needs a variational model; the others take any that reconstructs.
    #[must_use]
    pub fn is_variational(self) -> bool {
        !matches!(
            self,
            Self::Intensity
                | Self::PixelL1
                | Self::PixelPositive
                | Self::PixelNegative
                | Self::PixelL2
                | Self::PixelSsim
                | Self::Own(_)
        )
    }
}

impl fmt::Display for PredictorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no predictor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no predictor, expected one of {}", names())]
pub struct UnknownPredictor {
    /// The text.
    pub found: String,
}

fn names() -> String {
    PredictorName::ALL.map(|name| name.to_string()).join(", ")
}

impl FromStr for PredictorName {
    type Err = UnknownPredictor;

    /// The name of a built-in predictor; see [`PredictorName::own`] for others.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|name| name.as_str() == text)
            .ok_or_else(|| UnknownPredictor { found: text.to_owned() })
    }
}

impl Serialize for PredictorName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for PredictorName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().or_else(|_| Self::own(&text)).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_agree_with_files() {
        let own = PredictorName::own("my-own-2").unwrap();
        for name in PredictorName::ALL.into_iter().chain([own]) {
            let text = serde_json::to_string(&name).unwrap();
            assert_eq!(text, format!("\"{name}\""));
            assert_eq!(serde_json::from_str::<PredictorName>(&text).unwrap(), name);
        }
        assert_eq!("grad-kl".parse(), Ok(PredictorName::GradKl));
        let error = "pixel-l3".parse::<PredictorName>().unwrap_err().to_string();
        assert!(error.contains("pixel-l3") && error.contains("grad-kl"));
    }

    #[test]
    fn own_names_that_cannot_be_are_refused() {
        let long = "a".repeat(48);
        for name in ["", "My", "a b", "a/b", "\u{e9}", "pixel-l1", long.as_str()] {
            assert!(PredictorName::own(name).is_err(), "{name}");
        }
        assert_eq!(PredictorName::own(&long[1..]).unwrap().as_str(), &long[1..]);
        assert!(serde_json::from_str::<PredictorName>("\"A\"").is_err());
    }
}
