//! The configuration of lesions.

use lesio_settings::{SettingError, field_defaults, in_range, named, setters};
use serde::{Deserialize, Serialize};

/// How a lesion differs from the tissue around it.
///
/// `m` is the mean intensity of the tissue around the lesion, `d` its distance from the level of the background (`m`
/// itself for an image without negative values, see [`background_level`](crate::background_level)), `c` the contrast
/// and `w` the lesion's profile: 1 inside, 0 outside, between them over its edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LesionKind {
    /// `w c d` is added, `c` within 0 to 5. Anatomy and noise stay visible, as under edema.
    Bright,
    /// `w c d` is subtracted, `c` within 0 to 1, down to the lowest value of the image.
    Dark,
    /// Iso-intense: tissue swells and pushes its surroundings away. The image is read from
    /// `x + (1 - c w)(p - x)` at `p`, `x` being the center and `c` within 0 to 0.9, so that nothing folds;
    /// noise that interpolation averages out is put back. `w = (1 - r^2)^2` reaches past the truth.
    Displaced,
    /// Iso-intense: texture of zero mean and deviation `c d` is added, `c` within 0 to 1.
    Textured,
    /// Iso-intense: the structures of the tissue are absent. The image becomes `(1 - c w) x + c w m`, `c` within 0 to 1;
    /// noise that this averages out is put back.
    Missing,
    /// Tissue of another place of the same image: the image becomes `(1 - c w) x + c w x'`, `x'` being the image at
    /// another place of the mask, at least two radii away, and `c` within 0 to 1.
    Misplaced,
    /// Iso-intense: an object that is no tissue, with bright and dark stripes. The image becomes
    /// `(1 - w) x + w (m + c d s)`, with `s` 1 and -1 in turn along a random direction within the slices, and `c` within
    /// 0 to 1.
    Foreign,
}

impl LesionKind {
    /// A contrast at which lesions of the kind are faint, and one at which they are plain, in the images of
    /// [`BrainPhantom`](crate::BrainPhantom) and in T1-weighted images of heads.
    #[must_use]
    pub fn usual_contrasts(self) -> [f64; 2] {
        match self {
            Self::Bright => [0.2, 0.5],
            Self::Dark => [0.2, 0.4],
            Self::Displaced => [0.5, 0.8],
            Self::Textured => [0.1, 0.2],
            Self::Missing | Self::Misplaced => [0.5, 1.0],
            Self::Foreign => [0.2, 0.5],
        }
    }

    /// Whether it changes all structures of the mask, and not only the tissue in which it lies.
    pub(super) fn covers_structures(self) -> bool {
        matches!(self, Self::Displaced | Self::Missing | Self::Misplaced | Self::Foreign)
    }

    pub(super) fn highest_contrast(self) -> f64 {
        match self {
            Self::Bright => 5.0,
            Self::Dark | Self::Textured | Self::Missing | Self::Misplaced | Self::Foreign => 1.0,
            Self::Displaced => 0.9,
        }
    }
}

named!(LesionKind, "kind of lesion", {
    "bright" => Self::Bright,
    "dark" => Self::Dark,
    "displaced" => Self::Displaced,
    "textured" => Self::Textured,
    "missing" => Self::Missing,
    "misplaced" => Self::Misplaced,
    "foreign" => Self::Foreign,
});

/// Voxels chosen by their label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Site {
    /// Every label but 0: the whole of a mask.
    #[default]
    Mask,
    /// These labels.
    Labels(Vec<u8>),
}

impl Site {
    pub(super) fn holds(&self, label: u8) -> bool {
        match self {
            Self::Mask => label != 0,
            Self::Labels(labels) => labels.contains(&label),
        }
    }
}

/// The configuration of a [`LesionInjector`](crate::LesionInjector).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(deny_unknown_fields)]
pub struct LesionConfig {
    /// How a lesion differs from its surroundings.
    pub kind: LesionKind,
    /// By how much. For bright, dark, textured and foreign lesions, relative to the distance of the mean intensity of
    /// its surroundings from the level of the background; see [`LesionKind`].
    pub contrast: f64,
    /// Level of the background in the units of the image, a finite `f32`. Default `None`: that of
    /// [`background_level`](crate::background_level). Set it if several calls put lesions into one image, so that all
    /// contrasts are measured from the same level.
    pub background: Option<f64>,
    /// Smallest and largest radius in millimeters: that of the ball (in a plane, of the disc) of the
    /// same size as the truth before it is clipped to [`LesionConfig::extent`], up to 200. Default 4 to 9.
    #[serde(default = "LesionDefaults::radius")]
    pub radius: [f64; 2],
    /// Lesions an image, 1 to 1000, apart from each other. Default 1.
    #[serde(default = "LesionDefaults::count")]
    pub count: usize,
    /// Labels in which a lesion's center lies. Default [`Site::Mask`].
    #[serde(alias = "centre", default = "LesionDefaults::center")]
    pub center: Site,
    /// Labels to which a lesion is clipped; three quarters of it at least lie there, slices without any label not
    /// counted. Displacements, missing structures, misplaced tissue and foreign objects are clipped to [`Site::Mask`]
    /// instead. Default [`Site::Mask`].
    #[serde(default = "LesionDefaults::extent")]
    pub extent: Site,
    /// Deviation of the outline from an ellipsoid, relative to the radius, 0 to 0.4. Default 0.15.
    #[serde(default = "LesionDefaults::irregularity")]
    pub irregularity: f64,
    /// Longest axis of the ellipsoid over its shortest, at most, 1 to 3. Default 1.6.
    #[serde(default = "LesionDefaults::elongation")]
    pub elongation: f64,
    /// Width in millimeters over which the profile falls from 1 to 0, 0 to 20; a voxel at least, for
    /// partial volume. Default 2.
    #[serde(default = "LesionDefaults::edge")]
    pub edge: f64,
    /// The truth is where the profile is at least this, 0.05 to 0.95. Default 0.5.
    #[serde(default = "LesionDefaults::truth_fraction")]
    pub truth_fraction: f64,
}

impl LesionConfig {
    /// Lesions of a kind and contrast, with defaults otherwise.
    #[must_use]
    pub fn new(kind: LesionKind, contrast: f64) -> Self {
        Self {
            kind,
            contrast,
            background: None,
            radius: [4.0, 9.0],
            count: 1,
            center: Site::Mask,
            extent: Site::Mask,
            irregularity: 0.15,
            elongation: 1.6,
            edge: 2.0,
            truth_fraction: 0.5,
        }
    }

    /// Sets [`LesionConfig::radius`].
    #[must_use]
    pub fn radius(mut self, smallest: f64, largest: f64) -> Self {
        self.radius = [smallest, largest];
        self
    }

    /// Sets [`LesionConfig::center`] and [`LesionConfig::extent`] to gray, white and deep gray matter,
    /// sparing fluid, in the labels of [`Tissue`](crate::Tissue).
    #[must_use]
    pub fn in_brain_tissue(self) -> Self {
        let tissue = Site::Labels(vec![2, 3, 4]);
        self.center(tissue.clone()).extent(tissue)
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`SettingError`] for a number outside the ranges that the fields and [`LesionKind`] state, and for a largest
    /// radius that is below the smallest.
    pub fn validate(&self) -> Result<(), SettingError> {
        let [smallest, largest] = self.radius;
        in_range("contrast", self.contrast, 0.0..=self.kind.highest_contrast())?;
        if let Some(level) = self.background {
            in_range("background", level, f64::from(f32::MIN)..=f64::from(f32::MAX))?;
        }
        if largest < smallest {
            return Err(SettingError::new("radius", self.radius, "the smaller number first"));
        }
        in_range("radius", smallest, 1e-9..=200.0)?;
        in_range("radius", largest, smallest..=200.0)?;
        in_range("count", self.count, 1..=1000)?;
        in_range("irregularity", self.irregularity, 0.0..=0.4)?;
        in_range("elongation", self.elongation, 1.0..=3.0)?;
        in_range("edge", self.edge, 0.0..=20.0)?;
        in_range("truth_fraction", self.truth_fraction, 0.05..=0.95)
    }
}

setters!(LesionConfig {
    background: Option<f64>,
    count: usize,
    center: Site,
    extent: Site,
    irregularity: f64,
    elongation: f64,
    edge: f64,
    truth_fraction: f64,
});

field_defaults!(LesionDefaults: LesionConfig::new(LesionKind::Bright, 0.0) => {
    radius: [f64; 2],
    count: usize,
    center: Site,
    extent: Site,
    irregularity: f64,
    elongation: f64,
    edge: f64,
    truth_fraction: f64,
});

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn documents_need_what_new_needs_and_hold_nothing_else() {
        let read = |document| from_value::<LesionConfig>(document);
        let plain = LesionConfig::new(LesionKind::Bright, 0.3);
        assert_eq!(read(json!({"kind": "bright", "contrast": 0.3})).unwrap(), plain);
        // The name of earlier versions.
        let found = read(json!({"kind": "bright", "contrast": 0.3, "centre": {"labels": [2]}})).unwrap();
        assert_eq!(found, plain.center(Site::Labels(vec![2])));
        let error = read(json!({"kind": "bright", "contrast": 0.3, "radii": [1, 2]})).unwrap_err();
        assert!(error.to_string().starts_with("unknown field `radii`"), "{error}");
        assert!(read(json!({"kind": "bright"})).is_err());
    }
}
