//! Histogram standardization: the same intensity for the same tissue across scanners and protocols.

use lesio_settings::{SettingError, in_range, require, setters};
use ndarray::{Array, ArrayRef, Dimension};
use serde::{Deserialize, Serialize};

use crate::error::ImageError;
use crate::intensity::masked;
use crate::percentile::percentile_list_of;

/// Most landmarks: one for each tenth of a percent.
const MOST_LANDMARKS: usize = 1001;

/// Standardization of histograms by landmarks (Nyul and Udupa, "On standardizing the MR image
/// intensity scale", Magnetic Resonance in Medicine 42, 1999; Nyul, Udupa and Zhang, IEEE
/// Transactions on Medical Imaging 19, 2000).
///
/// Magnetic resonance has no unit: the same tissue is 80 in one scan and 300 in another. Training
/// learns where percentiles of the foreground lie on average on a standard scale from 0 (first
/// landmark) to 1 (last); an image is then mapped piecewise linearly so that its percentiles
/// match them.
///
/// ```
/// use lesio_image::HistogramStandardizer;
/// use ndarray::Array1;
///
/// let scan = |gain: f32, offset: f32| Array1::from_shape_fn(500, move |i| gain * (i as f32).sqrt() + offset);
/// let mut fit = HistogramStandardizer::new().start()?;
/// fit.add(&scan(10.0, 3.0), None)?;
/// fit.add(&scan(250.0, -40.0), None)?;
/// let standard = fit.finish()?;
/// let a = standard.map_for(&scan(1.0, 0.0), None)?.apply(&scan(1.0, 0.0));
/// let b = standard.map_for(&scan(7.0, 9.0), None)?.apply(&scan(7.0, 9.0));
/// assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default, deny_unknown_fields)]
pub struct HistogramStandardizer {
    /// Percentiles that serve as landmarks: 2 to 1001, ascending within [0, 100]. Default: 1,
    /// 10, 20, ..., 90, 99 (the deciles between robust ends).
    pub percentiles: Vec<f64>,
}

impl Default for HistogramStandardizer {
    fn default() -> Self {
        Self { percentiles: vec![1.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 99.0] }
    }
}

impl HistogramStandardizer {
    /// The default landmarks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns an error for fewer than 2 or more than 1001 landmarks, and for landmarks that do not ascend within [0,
    /// 100].
    ///
    /// # Errors
    /// For invalid landmarks.
    pub fn validate(&self) -> Result<(), SettingError> {
        let within = self.percentiles.iter().all(|p| (0.0..=100.0).contains(p));
        let ascending = self.percentiles.windows(2).all(|pair| pair[0] < pair[1]);
        in_range("number of histogram landmarks", self.percentiles.len(), 2..=MOST_LANDMARKS)?;
        let expected = "ascending percentiles within [0, 100]";
        require(within && ascending, "histogram landmarks", &self.percentiles, expected)
    }

    /// Starts a fit, to which training images are added one by one, so that they need not be in memory together.
    ///
    /// # Errors
    /// Those of [`HistogramStandardizer::validate`].
    pub fn start(&self) -> Result<HistogramFit, SettingError> {
        self.validate()?;
        Ok(HistogramFit {
            percentiles: self.percentiles.clone(),
            sums: vec![0.0; self.percentiles.len()],
            images: 0,
        })
    }
}

setters!(HistogramStandardizer {
    percentiles: Vec<f64>,
});

/// A fit of [`HistogramStandardizer`] under way.
#[derive(Clone, Debug)]
pub struct HistogramFit {
    percentiles: Vec<f64>,
    sums: Vec<f64>,
    images: usize,
}

impl HistogramFit {
    /// Adds a training image, or its values inside `mask`. On failure nothing is added.
    ///
    /// # Errors
    /// Those of [`RobustScaling::fit`](crate::RobustScaling::fit); an image whose first and last landmark
    /// coincide is constant.
    pub fn add<D: Dimension>(
        &mut self,
        data: &ArrayRef<f32, D>,
        mask: Option<&ArrayRef<bool, D>>,
    ) -> Result<(), ImageError> {
        let landmarks = landmarks(data, mask, &self.percentiles)?;
        let (low, high) = ends(&landmarks);
        for (sum, landmark) in self.sums.iter_mut().zip(&landmarks) {
            *sum += (landmark - low) / (high - low);
        }
        self.images += 1;
        Ok(())
    }

    /// Number of images added.
    #[must_use]
    pub fn images(&self) -> usize {
        self.images
    }

    /// The standard scale of the images added.
    ///
    /// # Errors
    /// [`ImageError::CountMismatch`] where none was added.
    pub fn finish(self) -> Result<FittedHistogram, ImageError> {
        if self.images == 0 {
            return Err(ImageError::CountMismatch { what: "training images", found: 0, expected: 1 });
        }
        let count = self.images as f64;
        let standard = self.sums.iter().map(|sum| sum / count).collect();
        Ok(FittedHistogram { percentiles: self.percentiles, standard })
    }
}

/// The common standard scale of training images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "FittedParts")]
pub struct FittedHistogram {
    percentiles: Vec<f64>,
    standard: Vec<f64>,
}

#[derive(Deserialize)]
struct FittedParts {
    percentiles: Vec<f64>,
    standard: Vec<f64>,
}

impl TryFrom<FittedParts> for FittedHistogram {
    type Error = SettingError;

    fn try_from(parts: FittedParts) -> Result<Self, SettingError> {
        HistogramStandardizer { percentiles: parts.percentiles.clone() }.validate()?;
        let standard = &parts.standard;
        let ascending = standard.windows(2).all(|pair| pair[0] <= pair[1]);
        if standard.len() != parts.percentiles.len() || !ascending || ends(standard) != (0.0, 1.0) {
            let expected = "one value from 0 to 1, ascending, for each percentile";
            return Err(SettingError::new("standard landmarks", standard, expected));
        }
        Ok(Self { percentiles: parts.percentiles, standard: parts.standard })
    }
}

impl FittedHistogram {
    /// The percentiles that serve as landmarks.
    #[must_use]
    pub fn percentiles(&self) -> &[f64] {
        &self.percentiles
    }

    /// Where the landmarks lie on the standard scale: ascending from 0 to 1.
    #[must_use]
    pub fn standard(&self) -> &[f64] {
        &self.standard
    }

    /// The map of this image's intensities, or of those inside `mask`, to the standard scale.
    ///
    /// # Errors
    /// Those of [`HistogramFit::add`].
    pub fn map_for<D: Dimension>(
        &self,
        data: &ArrayRef<f32, D>,
        mask: Option<&ArrayRef<bool, D>>,
    ) -> Result<PiecewiseScale, ImageError> {
        let landmarks = landmarks(data, mask, &self.percentiles)?;
        Ok(PiecewiseScale::merging(&landmarks, &self.standard))
    }
}

/// A strictly increasing, piecewise linear map of intensities, with its inverse.
///
/// Beyond the first and the last knot it continues with the mean slope between them. The papers use the slope of the
/// end segments, but those depend on few voxels (often on ties of an 8-bit background) and may be steep or flat by
/// accident, while lesions lie beyond the last knot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "PiecewiseParts")]
pub struct PiecewiseScale {
    intensities: Vec<f64>,
    values: Vec<f64>,
}

#[derive(Deserialize)]
struct PiecewiseParts {
    intensities: Vec<f64>,
    values: Vec<f64>,
}

impl TryFrom<PiecewiseParts> for PiecewiseScale {
    type Error = SettingError;

    fn try_from(parts: PiecewiseParts) -> Result<Self, SettingError> {
        Self::new(parts.intensities, parts.values)
    }
}

impl PiecewiseScale {
    /// The map through the knots `(intensities[i], values[i])`.
    ///
    /// # Errors
    /// For fewer than two knots, lists of different lengths, and lists that are not finite and
    /// strictly increasing.
    pub fn new(intensities: Vec<f64>, values: Vec<f64>) -> Result<Self, SettingError> {
        let expected = "at least two finite, strictly increasing knots, and as many values";
        let increasing = |list: &[f64]| {
            list.iter().all(|v| v.is_finite()) && list.windows(2).all(|pair| pair[0] < pair[1])
        };
        if intensities.len() < 2 || !increasing(&intensities) || intensities.len() != values.len() {
            return Err(SettingError::new("intensity knots", &intensities, expected));
        }
        if !increasing(&values) {
            return Err(SettingError::new("value knots", &values, expected));
        }
        Ok(Self { intensities, values })
    }

    /// The map through ascending knots, of which those that tie in either coordinate with the one
    /// before are left out. The ends must differ and are kept.
    fn merging(intensities: &[f64], values: &[f64]) -> Self {
        let (low, high) = ends(intensities);
        let (bottom, top) = ends(values);
        // Closer knots than this would make slopes that f32 cannot follow back.
        let (least_step, least_rise) = (1e-6 * (high - low), 1e-6 * (top - bottom));
        let (mut knots, mut rises) = (vec![low], vec![bottom]);
        for (&knot, &rise) in intensities.iter().zip(values) {
            let (Some(&last_knot), Some(&last_rise)) = (knots.last(), rises.last()) else { break };
            let apart = knot - last_knot > least_step && rise - last_rise > least_rise;
            if apart && high - knot > least_step && top - rise > least_rise {
                knots.push(knot);
                rises.push(rise);
            }
        }
        knots.push(high);
        rises.push(top);
        Self { intensities: knots, values: rises }
    }

    /// The knots' intensities, strictly increasing.
    #[must_use]
    pub fn intensities(&self) -> &[f64] {
        &self.intensities
    }

    /// The knots' values on the scale, strictly increasing.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// An intensity on the scale.
    #[must_use]
    pub fn value(&self, intensity: f32) -> f32 {
        interpolate(&self.intensities, &self.values, f64::from(intensity)) as f32
    }

    /// The intensity of a value on the scale, up to the rounding of `f32`.
    #[must_use]
    pub fn inverse(&self, value: f32) -> f32 {
        interpolate(&self.values, &self.intensities, f64::from(value)) as f32
    }

    /// An array of intensities on the scale.
    #[must_use]
    pub fn apply<D: Dimension>(&self, data: &ArrayRef<f32, D>) -> Array<f32, D> {
        data.mapv(|intensity| self.value(intensity))
    }
}

fn interpolate(from: &[f64], to: &[f64], x: f64) -> f64 {
    let (first, last) = ends(from);
    let (bottom, top) = ends(to);
    if x <= first || x >= last {
        let slope = (top - bottom) / (last - first);
        return if x <= first { bottom + (x - first) * slope } else { top + (x - last) * slope };
    }
    let upper = from.partition_point(|&knot| knot <= x).clamp(1, from.len() - 1);
    let (a, b) = (from[upper - 1], from[upper]);
    to[upper - 1] + (x - a) / (b - a) * (to[upper] - to[upper - 1])
}

fn ends(list: &[f64]) -> (f64, f64) {
    match list {
        [first, .., last] => (*first, *last),
        _ => (f64::NAN, f64::NAN),
    }
}

fn landmarks<D: Dimension>(
    data: &ArrayRef<f32, D>,
    mask: Option<&ArrayRef<bool, D>>,
    percentiles: &[f64],
) -> Result<Vec<f64>, ImageError> {
    let (values, voxels) = masked(data, mask)?;
    let landmarks = percentile_list_of(values.iter(), percentiles);
    let (low, high) = ends(&landmarks);
    if high > low { Ok(landmarks) } else { Err(ImageError::ConstantImage { value: low, voxels }) }
}
