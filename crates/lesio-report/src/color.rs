//! Colors: perceptually uniform color maps, and a palette for curves.

use std::f64::consts::PI;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// A color: red, green and blue of the sRGB color space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rgb(pub [u8; 3]);

impl Rgb {
    /// The color of a pixel whose value is NaN or infinite: a green that is in no color map.
    pub const NOT_FINITE: Self = Self([0, 255, 64]);
    /// The outline of the truth: cyan, which is in no color map and stands out on gray.
    pub const TRUTH: Self = Self([0, 216, 255]);

    /// The CSS notation: `#rrggbb`.
    #[must_use]
    pub fn hex(self) -> String {
        let [r, g, b] = self.0;
        format!("#{r:02x}{g:02x}{b:02x}")
    }

    /// Blends `over` onto this color: 0 keeps this color, 1 gives `over`. The blend is linear in sRGB values.
    #[must_use]
    pub(crate) fn mixed(self, over: Self, opacity: f64) -> Self {
        Self(std::array::from_fn(|c| {
            let (below, above) = (f64::from(self.0[c]), f64::from(over.0[c]));
            (below + (above - below) * opacity).round() as u8
        }))
    }
}

/// Colors for the curves of one plot that readers with any of the common color vision deficiencies can distinguish: the
/// hues that Okabe and Ito recommend (2008), the darker ones first.
pub(crate) const PALETTE: [Rgb; 7] = [
    Rgb([0, 114, 178]),
    Rgb([213, 94, 0]),
    Rgb([0, 158, 115]),
    Rgb([204, 121, 167]),
    Rgb([230, 159, 0]),
    Rgb([86, 180, 233]),
    Rgb([122, 122, 122]),
];

/// A mapping from positions on a [`Scale`](crate::Scale) to colors.
///
/// Each map is a curve of constant speed in OKLab (Ottosson 2020), a color space in which distances approximate
/// perceived differences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ColorMap {
    /// Black to white, for images.
    Gray,
    /// Dark violet through red and orange to light yellow, with increasing lightness: for anomaly maps.
    /// The default.
    #[default]
    Heat,
    /// Blue through nearly white to red, with lightness decreasing equally to both sides: for signed differences, on a
    /// scale that is symmetric about zero.
    Diverging,
}

impl ColorMap {
    /// The color at a position, 0 to 1; positions outside (and NaN) are clamped to the ends (to 0).
    #[must_use]
    pub fn color(self, position: f64) -> Rgb {
        // NaN casts to 0; the product cannot exceed 255.
        self.table()[(position.clamp(0.0, 1.0) * 255.0).round() as usize]
    }

    /// The 256 colors from low to high.
    #[must_use]
    pub fn table(self) -> &'static [Rgb; 256] {
        static HEAT: OnceLock<[Rgb; 256]> = OnceLock::new();
        static DIVERGING: OnceLock<[Rgb; 256]> = OnceLock::new();
        static GRAY: OnceLock<[Rgb; 256]> = OnceLock::new();
        match self {
            Self::Gray => GRAY.get_or_init(|| std::array::from_fn(|i| Rgb([i as u8; 3]))),
            Self::Heat => HEAT.get_or_init(|| sampled(heat).map(Lab::to_rgb)),
            Self::Diverging => DIVERGING.get_or_init(|| sampled(diverging).map(Lab::to_rgb)),
        }
    }
}

/// A color of OKLab: lightness 0 to 1, green to red, blue to yellow.
#[derive(Clone, Copy, Debug)]
struct Lab {
    lightness: f64,
    a: f64,
    b: f64,
}

impl Lab {
    fn polar(lightness: f64, chroma: f64, hue_degrees: f64) -> Self {
        let (sin, cos) = hue_degrees.to_radians().sin_cos();
        Self { lightness, a: chroma * cos, b: chroma * sin }
    }

    fn distance(self, other: Self) -> f64 {
        let (l, a, b) = (self.lightness - other.lightness, self.a - other.a, self.b - other.b);
        (l * l + a * a + b * b).sqrt()
    }

    /// Linear red, green and blue; outside 0 to 1 if a screen cannot show the color.
    fn to_linear(self) -> [f64; 3] {
        let Self { lightness, a, b } = self;
        let long = (lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
        let medium = (lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
        let short = (lightness - 0.089_484_177_5 * a - 1.291_485_548_0 * b).powi(3);
        [
            4.076_741_662_1 * long - 3.307_711_591_3 * medium + 0.230_969_929_2 * short,
            -1.268_438_004_6 * long + 2.609_757_401_1 * medium - 0.341_319_396_5 * short,
            -0.004_196_086_3 * long - 0.703_418_614_7 * medium + 1.707_614_701_0 * short,
        ]
    }

    fn to_rgb(self) -> Rgb {
        Rgb(self.to_linear().map(|linear| {
            let linear = linear.clamp(0.0, 1.0);
            let encoded =
                if linear <= 0.003_130_8 { 12.92 * linear } else { 1.055 * linear.powf(1.0 / 2.4) - 0.055 };
            (255.0 * encoded).round() as u8
        }))
    }
}

/// Chroma stays just inside the gamut of a screen, so that no color is clipped.
fn heat(t: f64) -> Lab {
    let chroma = 0.045 + 0.105 * (PI * t.powf(0.85)).sin() + 0.08 * t;
    Lab::polar(0.20 + 0.74 * t, chroma, 295.0 + 170.0 * t)
}

fn diverging(t: f64) -> Lab {
    let away = (2.0 * t - 1.0).abs();
    Lab::polar(0.95 - 0.50 * away, 0.145 * away, if t < 0.5 { 255.0 } else { 30.0 })
}

/// 256 points at equal distances along a curve: its arc length is measured on a fine polygon and divided evenly.
fn sampled(curve: impl Fn(f64) -> Lab) -> [Lab; 256] {
    const FINE: usize = 4096;
    let at = |i: usize| i as f64 / FINE as f64;
    let mut length = vec![0.0; FINE + 1];
    for i in 1..=FINE {
        length[i] = length[i - 1] + curve(at(i)).distance(curve(at(i - 1)));
    }
    std::array::from_fn(|k| {
        let wanted = length[FINE] * k as f64 / 255.0;
        let next = length.partition_point(|&l| l < wanted).clamp(1, FINE);
        let fraction = (wanted - length[next - 1]) / (length[next] - length[next - 1]);
        curve((at(next - 1) + fraction / FINE as f64).clamp(0.0, 1.0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oklab_agrees_with_published_colors() {
        // Ottosson, "A perceptual color space for image processing": white, and pure sRGB red.
        assert_eq!(Lab { lightness: 1.0, a: 0.0, b: 0.0 }.to_rgb(), Rgb([255, 255, 255]));
        assert_eq!(Lab { lightness: 0.627_955, a: 0.224_863, b: 0.125_846 }.to_rgb(), Rgb([255, 0, 0]));
    }

    #[test]
    fn steps_are_even_and_nothing_is_clipped() {
        for curve in [heat, diverging] {
            let colors = sampled(curve);
            let steps: Vec<f64> = colors.windows(2).map(|w| w[0].distance(w[1])).collect();
            let mean = steps.iter().sum::<f64>() / 255.0;
            for (i, step) in steps.iter().enumerate() {
                // The kink in the middle of the diverging map cuts one chord short.
                assert!(
                    (step / mean - 1.0).abs() < 0.01 || (126..=128).contains(&i),
                    "step {i}: {step} of {mean}"
                );
            }
            for color in colors {
                assert!(color.to_linear().iter().all(|v| (-0.001..=1.001).contains(v)), "{color:?}");
            }
        }
    }

    #[test]
    fn lightness_grows_or_is_symmetric() {
        let heat = sampled(heat);
        assert!(heat.windows(2).all(|w| w[0].lightness < w[1].lightness));
        let diverging = sampled(diverging);
        for i in 0..128 {
            assert!((diverging[i].lightness - diverging[255 - i].lightness).abs() < 1e-3);
        }
    }

    #[test]
    fn marks_are_in_no_map() {
        for map in [ColorMap::Gray, ColorMap::Heat, ColorMap::Diverging] {
            for mark in [Rgb::NOT_FINITE, Rgb::TRUTH] {
                let nearest = map
                    .table()
                    .iter()
                    .map(|c| (0..3).map(|i| (i32::from(c.0[i]) - i32::from(mark.0[i])).pow(2)).sum::<i32>());
                assert!(nearest.min().unwrap() > 60 * 60, "{map:?} {mark:?}");
            }
        }
    }

    #[test]
    fn positions_are_clamped() {
        let table = ColorMap::Heat.table();
        assert_eq!(ColorMap::Heat.color(-3.0), table[0]);
        assert_eq!(ColorMap::Heat.color(7.0), table[255]);
        assert_eq!(ColorMap::Heat.color(f64::NAN), table[0]);
        assert_eq!(ColorMap::Gray.color(0.5), Rgb([128; 3]));
    }
}
