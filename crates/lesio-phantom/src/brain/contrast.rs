//! The brightness of tissues in a sequence.

use lesio_image::noise::uniform;
use serde::{Deserialize, Serialize};

/// The MR sequence that a brain phantom simulates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contrast {
    /// Fluid is dark, gray matter a little brighter than white: the sequence on which lesions are read.
    #[default]
    Flair,
    /// White matter is brightest, then the deep nuclei, gray matter and fluid.
    T1,
}

/// The brightness of every tissue of one subject.
#[derive(Clone, Copy, Debug)]
pub(super) struct Brightness {
    pub(super) fluid: f64,
    pub(super) gray: f64,
    pub(super) white: f64,
    pub(super) deep_gray: f64,
    pub(super) bone: f64,
    pub(super) marrow: f64,
    pub(super) muscle: f64,
    pub(super) fat: f64,
    /// Added to white matter at the horns of the ventricles, where FLAIR shows caps in most adults.
    pub(super) caps: f64,
}

impl Brightness {
    /// Draws a subject's values.
    pub(super) fn new(contrast: Contrast, seed: u64) -> Self {
        let draw = |purpose, low, high| uniform(seed, purpose, low, high);
        match contrast {
            Contrast::Flair => {
                let white = draw(0, 0.42, 0.52);
                let gray = white * draw(1, 1.12, 1.3);
                Self {
                    fluid: draw(2, 0.06, 0.13),
                    gray,
                    white,
                    deep_gray: white + (gray - white) * draw(3, 0.3, 0.8),
                    bone: 0.04,
                    marrow: draw(4, 0.1, 0.3),
                    muscle: draw(5, 0.3, 0.4),
                    fat: draw(6, 0.7, 1.0),
                    caps: draw(7, 0.0, 0.14),
                }
            }
            Contrast::T1 => {
                let white = draw(0, 0.76, 0.84);
                let gray = white * draw(1, 0.66, 0.75);
                Self {
                    fluid: draw(2, 0.18, 0.26),
                    gray,
                    white,
                    deep_gray: gray + (white - gray) * draw(3, 0.5, 0.75),
                    bone: 0.06,
                    marrow: draw(4, 0.2, 0.45),
                    muscle: draw(5, 0.35, 0.45),
                    fat: draw(6, 0.55, 0.85),
                    caps: 0.0,
                }
            }
        }
    }
}
