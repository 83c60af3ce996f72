//! Preprocessing that was fitted to training images.

use std::borrow::Borrow;

use lesio_settings::SettingError;
use ndarray::{Array2, Array3, ArrayRef, ArrayView3, Axis, Dimension};
use serde::{Deserialize, Serialize};

use crate::error::{ImageError, check_finite};
use crate::histogram::{FittedHistogram, HistogramFit};
use crate::intensity_scale::IntensityScale;
use crate::orientation::{Orientation, Turn};
use crate::preprocess::{Foreground, Intensity, Preprocessing};
use crate::scan::{Scan, ScanError};
use crate::volume::Plane;

/// Why images cannot be preprocessed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PreprocessError {
    /// The configuration is out of range, or does not fit the image's size or geometry.
    #[error("invalid preprocessing")]
    Config(#[from] SettingError),
    /// The image cannot be processed.
    #[error("image cannot be preprocessed")]
    Image(#[from] ImageError),
    /// The channels do not form a scan.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// A scan has another number of channels than those the scale was learned from.
    #[error("the scan has {found} channels, those that the intensity scale was fitted to have {expected}")]
    Channels {
        /// Channels of the scan.
        found: usize,
        /// Channels of the others.
        expected: usize,
    },
    /// A training image cannot be processed.
    #[error("training image {index} cannot be used")]
    Training {
        /// Its number in the order given, from 0.
        index: usize,
        /// What is wrong with it.
        source: ImageError,
    },
    /// The intensity scale is learned from training images, and none was given.
    #[error("histogram standardization needs at least one training image")]
    NoTrainingImages,
}

impl Preprocessing {
    /// Fits the preprocessing to training scans, one at a time from the iterator.
    ///
    /// Only [`Intensity::Standardized`] is fitted; for the others no scan is used, and the iterator may be empty.
    ///
    /// # Errors
    /// Those of [`Preprocessing::validate`]; [`PreprocessError::Training`] for a scan that is empty,
    /// constant, not finite or without foreground; [`PreprocessError::Channels`] for one of other channels than the first;
    /// [`PreprocessError::NoTrainingImages`].
    pub fn fit<I>(&self, scans: I) -> Result<FittedPreprocessing, PreprocessError>
    where
        I: IntoIterator<Item: Borrow<Scan>>,
    {
        self.validate()?;
        let Intensity::Standardized(standardizer) = &self.intensity else {
            return Ok(FittedPreprocessing { config: self.clone(), histograms: Vec::new() });
        };
        let mut fits: Vec<HistogramFit> = Vec::new();
        for (index, scan) in scans.into_iter().enumerate() {
            let scan: &Scan = scan.borrow();
            let failed = |source| PreprocessError::Training { index, source };
            let turn = scan.geometry().orientation().turn_to(&Orientation::RAS);
            let mask = self.foreground_of(scan, &turn).map_err(failed)?;
            let found = scan.scaled_channels();
            if fits.is_empty() {
                fits = (0..found).map(|_| standardizer.start()).collect::<Result<_, _>>()?;
            }
            if found != fits.len() {
                return Err(PreprocessError::Channels { found, expected: fits.len() });
            }
            each_scaled(scan, &turn, mask.as_ref(), |channel, values, mask| {
                fits[channel].add(values, mask).map_err(failed)
            })?;
        }
        let finished = fits.into_iter().map(HistogramFit::finish).collect::<Result<Vec<_>, _>>();
        match finished {
            Ok(histograms) if !histograms.is_empty() => {
                Ok(FittedPreprocessing { config: self.clone(), histograms })
            }
            _ => Err(PreprocessError::NoTrainingImages),
        }
    }

    /// The foreground of a scan in the order of RAS+; `None` for all of it.
    pub(crate) fn foreground_of(&self, scan: &Scan, turn: &Turn) -> Result<Option<Array3<bool>>, ImageError> {
        let Foreground::Mask(rule) = &self.foreground else { return Ok(None) };
        let data = scan.data();
        if scan.is_picture() {
            let pixels = scan.pixels();
            // Checked as a whole, so that the index named is of the image and not of the mean.
            check_finite(&pixels)?;
            let count = pixels.len_of(Axis(0)) as f64;
            let mean = pixels.map_axis(Axis(0), |values| {
                (values.iter().map(|&v| f64::from(v)).sum::<f64>() / count) as f32
            });
            let mask: Array2<bool> = rule.plane(&mean)?;
            return Ok(Some(turn.apply(mask.reversed_axes().insert_axis(Axis(2)))));
        }
        let spacing = turn.source.map(|axis| scan.geometry().spacing()[axis]);
        let of = |view: ArrayView3<'_, f32>| {
            let mask = rule.of_turned(&turn.view(view), self.plane, spacing);
            mask.map(Some).map_err(|error| turn.undo_error(error, scan.grid()))
        };
        if scan.channels() == 1 {
            return of(data.index_axis(Axis(0), 0));
        }
        let mut together = Array3::<f32>::zeros(scan.grid());
        for (index, channel) in data.outer_iter().enumerate() {
            check_finite(&channel).map_err(|error| scan.in_channel(index, error))?;
            // Of the distances from 0: normalized channels have a mean of about 0.
            let mean =
                channel.iter().map(|&value| f64::from(value.abs())).sum::<f64>() / channel.len() as f64;
            let factor = if mean == 0.0 { 1.0 } else { mean.recip() } as f32;
            together.zip_mut_with(&channel, |sum, &value| *sum += value * factor);
        }
        of(together.view())
    }
}

/// Hands on what is scaled together: each channel of a volume, all channels of a picture; in the order of RAS+, with the
/// foreground.
fn each_scaled(
    scan: &Scan,
    turn: &Turn,
    mask: Option<&Array3<bool>>,
    mut each: impl FnMut(
        usize,
        &ArrayRef<f32, ndarray::Ix3>,
        Option<&ArrayRef<bool, ndarray::Ix3>>,
    ) -> Result<(), PreprocessError>,
) -> Result<(), PreprocessError> {
    if scan.is_picture() {
        let pixels = scan.pixels();
        let over_all = mask.map(|mask| {
            let plane = Plane::Axial.slice(mask.view(), 0);
            Array3::from_shape_fn(pixels.dim(), |(_, row, column)| plane[[row, column]])
        });
        return each(0, &pixels, over_all.as_deref());
    }
    for (channel, values) in scan.data().outer_iter().enumerate() {
        each(channel, &turn.view(values), mask.map(|mask| &**mask)).map_err(|error| match error {
            PreprocessError::Image(error) => {
                scan.in_channel(channel, turn.undo_error(error, scan.grid())).into()
            }
            PreprocessError::Training { index, source } => {
                let source = scan.in_channel(channel, turn.undo_error(source, scan.grid()));
                PreprocessError::Training { index, source }
            }
            other => other,
        })?;
    }
    Ok(())
}

/// A fitted [`Preprocessing`], which is saved with a model.
///
/// Deserialization checks the values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "FittedParts", into = "FittedParts")]
pub struct FittedPreprocessing {
    config: Preprocessing,
    /// Of each channel, if a histogram is standardized.
    histograms: Vec<FittedHistogram>,
}

#[derive(Serialize, Deserialize)]
struct FittedParts {
    config: Preprocessing,
    /// The only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    histogram: Option<FittedHistogram>,
    /// Of each of several channels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    histograms: Vec<FittedHistogram>,
}

impl From<FittedPreprocessing> for FittedParts {
    fn from(mut fitted: FittedPreprocessing) -> Self {
        let histogram = if fitted.histograms.len() == 1 { fitted.histograms.pop() } else { None };
        Self { config: fitted.config, histogram, histograms: fitted.histograms }
    }
}

impl TryFrom<FittedParts> for FittedPreprocessing {
    type Error = SettingError;

    fn try_from(parts: FittedParts) -> Result<Self, SettingError> {
        parts.config.validate()?;
        let histograms: Vec<FittedHistogram> = parts.histogram.into_iter().chain(parts.histograms).collect();
        let wanted = match &parts.config.intensity {
            Intensity::Standardized(standardizer) => Some(standardizer.percentiles.as_slice()),
            _ => None,
        };
        let found: Vec<_> = histograms.iter().map(FittedHistogram::percentiles).collect();
        let fits = match wanted {
            Some(wanted) => !found.is_empty() && found.iter().all(|own| *own == wanted),
            None => found.is_empty(),
        };
        if !fits {
            let expected = "the landmarks of the configuration, and none without standardization";
            return Err(SettingError::new("fitted histogram", found, expected));
        }
        Ok(Self { config: parts.config, histograms })
    }
}

impl FittedPreprocessing {
    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Preprocessing {
        &self.config
    }

    /// The fitted standard scales, one for each channel of a volume, for [`Intensity::Standardized`]; otherwise none.
    #[must_use]
    pub fn histograms(&self) -> &[FittedHistogram] {
        &self.histograms
    }

    /// The scale of each channel's intensities, from the values inside the mask.
    pub(crate) fn scales(
        &self,
        scan: &Scan,
        turn: &Turn,
        mask: Option<&Array3<bool>>,
    ) -> Result<Vec<IntensityScale>, PreprocessError> {
        let (found, expected) = (scan.scaled_channels(), self.histograms.len());
        if matches!(self.config.intensity, Intensity::Standardized(_)) && found != expected {
            return Err(PreprocessError::Channels { found, expected });
        }
        let mut scales = Vec::with_capacity(scan.channels());
        each_scaled(scan, turn, mask, |channel, values, mask| {
            scales.push(self.scale(channel, values, mask)?);
            Ok(())
        })?;
        // Those of a picture share one.
        if let Some(first) = scales.first().cloned() {
            scales.resize(scan.channels(), first);
        }
        Ok(scales)
    }

    /// The scale of a channel's intensities, from the values inside the mask.
    fn scale<D: Dimension>(
        &self,
        channel: usize,
        data: &ArrayRef<f32, D>,
        mask: Option<&ArrayRef<bool, D>>,
    ) -> Result<IntensityScale, ImageError> {
        Ok(match (&self.config.intensity, self.histograms.get(channel)) {
            (Intensity::Robust(scaling), _) => IntensityScale::Linear(scaling.fit(data, mask)?),
            (Intensity::ZScore(score), _) => IntensityScale::Linear(score.fit(data, mask)?),
            (Intensity::Standardized(_), Some(histogram)) => {
                IntensityScale::Piecewise(histogram.map_for(data, mask)?)
            }
            (Intensity::Range(scale), _) => {
                check_finite(data)?;
                IntensityScale::Linear(*scale)
            }
            (Intensity::Unchanged | Intensity::Standardized(_), _) => {
                check_finite(data)?;
                IntensityScale::Unchanged
            }
        })
    }
}
