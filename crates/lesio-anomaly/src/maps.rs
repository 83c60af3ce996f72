//! A scan that was scored: its maps on its own grid.

use lesio_image::{ImageError, Plane, PreparedPlane, PreparedScan, Scan, Volume};
use ndarray::{Array2, Array3, Axis};

use crate::error::PredictError;
use crate::localizer_ensemble::LocalizerEnsemble;
use crate::position::PositionCalibration;
use crate::postprocessing::{PostProcessing, quiet_outside};
use crate::predictors::PredictorName;
use crate::resolution::{CalibrationDoubt, Resolution, footprint};

/// The maps of one predictor for a scan, on its own grid.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScanScore {
    /// The predictor.
    pub predictor: PredictorName,
    /// Its scores, unfiltered; outside the foreground the lowest inside.
    pub raw: Volume<f32>,
    /// The scores after post-processing. If the localizer normalizes by position, they were converted to standard
    /// deviations from normal scores before
    /// ([`Localizer::with_position_normals`](crate::Localizer::with_position_normals)).
    pub postprocessed: Volume<f32>,
}

/// The result of a localizer for a scan.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScoredScan {
    /// One score per requested predictor.
    pub scores: Vec<ScanScore>,
    /// The model's reconstruction, in the scan's intensities.
    pub reconstruction: Scan,
    /// The foreground, which belongs to the object.
    pub foreground: Volume<bool>,
    /// The resolution of the scan.
    pub resolution: Resolution,
    /// Why the calibration may not be valid at this resolution or extent; `None` if it should be, and if those of the
    /// calibration subjects are unknown.
    pub doubt: Option<CalibrationDoubt>,
}

/// The maps of one predictor on the network's grid, slice by slice.
#[derive(Clone, Debug)]
pub(crate) struct GridMaps {
    planes: Vec<Array2<f32>>,
    /// The lowest score inside a foreground, used for skipped slices: scores may be negative, and 0 could then be a
    /// high score.
    lowest: f32,
}

impl GridMaps {
    /// The maps of slices; skipped slices get the lowest score inside a foreground.
    pub(crate) fn new(planes: Vec<Array2<f32>>, prepared: &[&PreparedPlane]) -> Self {
        let mut maps = Self { planes, lowest: 0.0 };
        maps.quiet_unseen(prepared);
        maps
    }

    /// On the scan's own grid, with the lowest score inside the foreground outside of it.
    pub(crate) fn restored(&self, prepared: &PreparedScan) -> Result<Volume<f32>, PredictError> {
        let mut map = prepared.restore_map(&self.planes, self.lowest)?;
        quiet_outside(&mut map.data_mut(), prepared.foreground.data());
        Ok(map)
    }

    fn quiet_unseen(&mut self, planes: &[&PreparedPlane]) {
        let inside = |(map, plane): (&Array2<f32>, &&PreparedPlane)| {
            let scores = map.iter().zip(&plane.mask).filter(|&(_, &inside)| inside);
            scores.map(|(&score, _)| score).fold(f32::INFINITY, f32::min)
        };
        let lowest = self.planes.iter().zip(planes).filter(|(_, plane)| is_seen(plane)).map(inside);
        let lowest = lowest.fold(f32::INFINITY, f32::min);
        self.lowest = if lowest.is_finite() { lowest } else { 0.0 };
        for (map, plane) in self.planes.iter_mut().zip(planes) {
            if !is_seen(plane) {
                map.fill(self.lowest);
            }
        }
    }
}

/// Whether a slice is scored by the model.
pub(crate) fn is_seen(plane: &PreparedPlane) -> bool {
    plane.mask.iter().any(|&inside| inside)
}

/// The parts of a localizer that make maps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MapParts<'a> {
    pub(crate) position_normals: &'a PositionCalibration,
    pub(crate) postprocessing: &'a PostProcessing,
    /// Names of the model's channels.
    pub(crate) channels: &'a [String],
    /// Which slices were scored.
    pub(crate) plane: Plane,
}

/// The maps of an ensemble: those of its members beside the localizer that offers it.
#[derive(Debug)]
pub(crate) struct EnsembleMaps<'a> {
    ensemble: &'a LocalizerEnsemble,
    others: Vec<ScanMaps<'a>>,
}

impl<'a> EnsembleMaps<'a> {
    /// An ensemble with the maps of the other localizers.
    pub(crate) fn new(ensemble: &'a LocalizerEnsemble, others: Vec<ScanMaps<'a>>) -> Self {
        Self { ensemble, others }
    }

    /// The combined map; `first` has the maps of the localizer that offers the ensemble.
    fn combined(&self, first: &ScanMaps<'_>) -> Result<Volume<f32>, PredictError> {
        let mut maps = Vec::with_capacity(self.ensemble.members.len());
        for member in &self.ensemble.members {
            let of = match member.localizer.checked_sub(1) {
                None => Some(first),
                Some(other) => self.others.get(other),
            };
            let own = of.and_then(|of| of.of_predictor(member.predictor));
            let own = own.ok_or(PredictError::NoEnsemble)?;
            maps.push(own.postprocessed(own.raw()?)?);
        }
        let members: Vec<_> =
            maps.iter().zip(&self.ensemble.members).map(|(map, member)| (map, &member.normals)).collect();
        Ok(self.ensemble.config.combine_volumes(&members)?)
    }
}

/// A scan scored on the network's grid: makes the maps on the scan's own grid one at a time.
///
/// See [`Localizer::maps`](crate::Localizer::maps).
#[derive(Debug)]
pub struct ScanMaps<'a> {
    parts: MapParts<'a>,
    prepared: PreparedScan,
    /// The requested predictors.
    names: Vec<PredictorName>,
    /// The maps of the requested predictors and of members of the ensemble.
    maps: Vec<(PredictorName, GridMaps)>,
    ensemble: Option<EnsembleMaps<'a>>,
    reconstructions: Vec<Array3<f32>>,
    resolution: Resolution,
    doubt: Option<CalibrationDoubt>,
}

/// The maps of one predictor of [`ScanMaps`].
#[derive(Clone, Copy, Debug)]
pub struct PredictorMaps<'a> {
    of: &'a ScanMaps<'a>,
    predictor: PredictorName,
    maps: MapsOf<'a>,
}

#[derive(Clone, Copy, Debug)]
enum MapsOf<'a> {
    Grid(&'a GridMaps),
    Ensemble(&'a EnsembleMaps<'a>),
}

impl<'a> ScanMaps<'a> {
    #[allow(clippy::too_many_arguments, reason = "each is a part of the result")]
    pub(crate) fn new(
        parts: MapParts<'a>,
        prepared: PreparedScan,
        names: Vec<PredictorName>,
        maps: Vec<(PredictorName, GridMaps)>,
        ensemble: Option<EnsembleMaps<'a>>,
        reconstructions: Vec<Array3<f32>>,
        resolution: Resolution,
        doubt: Option<CalibrationDoubt>,
    ) -> Self {
        Self { parts, prepared, names, maps, ensemble, reconstructions, resolution, doubt }
    }

    /// The resolution of what was scored.
    #[must_use]
    pub fn resolution(&self) -> &Resolution {
        &self.resolution
    }

    /// Why the calibration may not be valid at this resolution or extent.
    #[must_use]
    pub fn doubt(&self) -> Option<&CalibrationDoubt> {
        self.doubt.as_ref()
    }

    /// The rows and the columns with foreground, in millimeters; `None` for pictures and for an empty foreground.
    #[must_use]
    pub fn footprint(&self) -> Option<[f64; 2]> {
        footprint(&self.prepared.foreground, self.parts.plane, &self.resolution)
    }

    /// The maps of each predictor, in the requested order.
    pub fn maps(&self) -> impl Iterator<Item = PredictorMaps<'_>> {
        self.names.iter().filter_map(|&name| self.of_predictor(name))
    }

    fn of_predictor(&self, predictor: PredictorName) -> Option<PredictorMaps<'_>> {
        let maps = match (predictor, &self.ensemble) {
            (PredictorName::Ensemble, Some(ensemble)) => MapsOf::Ensemble(ensemble),
            _ => MapsOf::Grid(self.maps.iter().find(|(name, _)| *name == predictor).map(|(_, maps)| maps)?),
        };
        Some(PredictorMaps { of: self, predictor, maps })
    }

    /// The foreground, which belongs to the object.
    #[must_use]
    pub fn foreground(&self) -> &Volume<bool> {
        &self.prepared.foreground
    }

    /// The foreground, which belongs to the object, alone.
    #[must_use]
    pub fn into_foreground(self) -> Volume<bool> {
        self.prepared.foreground
    }

    /// The model's reconstruction in the intensities of the scored scan; outside the foreground, the scan itself.
    /// Channels are in the model's order.
    ///
    /// # Errors
    /// [`PredictError::Image`] for another shape than that of the scored scan, [`PredictError::Preprocess`] for
    /// channels of other names.
    pub fn reconstruction(&self, scan: &Scan) -> Result<Scan, PredictError> {
        let foreground = &self.prepared.foreground;
        if scan.grid() != foreground.shape() {
            return Err(unlike("scan", &scan.grid(), &foreground.shape()));
        }
        let reconstruction = self.prepared.restore_intensities(&self.reconstructions)?;
        if scan.channels() != reconstruction.channels() {
            return Err(unlike("channels", &[scan.channels()], &[reconstruction.channels()]));
        }
        let own = self.parts.channels;
        let place = |channel: usize| {
            let name = own.get(channel)?;
            scan.names().iter().position(|other| other == name)
        };
        let order: Vec<usize> =
            (0..scan.channels()).map(|channel| place(channel).unwrap_or(channel)).collect();
        Ok(reconstruction.outside(foreground, scan, &order)?)
    }

    /// One slice of a channel of the reconstruction inside the foreground, in the orientation of [`Scan::slice`];
    /// `None` past the last. Outside the foreground it has no meaning.
    ///
    /// # Errors
    /// None in practice: the slices are of the network's grid.
    pub fn reconstructed_slice(
        &self,
        index: usize,
        channel: usize,
    ) -> Result<Option<Array2<f32>>, PredictError> {
        let slices = self.reconstructions.get(index).zip(self.prepared.planes.get(index));
        let Some(((slice, plane), scale)) = slices.zip(self.prepared.scales.get(channel)) else {
            return Ok(None);
        };
        let mut restored = plane.placement.to_image(&slice.index_axis(Axis(0), channel), 0.0)?;
        restored.mapv_inplace(|value| scale.inverse(value));
        Ok(Some(restored))
    }

    /// All maps at once.
    pub(crate) fn all(self, scan: &Scan) -> Result<ScoredScan, PredictError> {
        let mut scores = Vec::with_capacity(self.maps.len());
        for maps in self.maps() {
            let raw = maps.raw()?;
            let postprocessed = maps.postprocessed(raw.clone())?;
            scores.push(ScanScore { predictor: maps.predictor(), raw, postprocessed });
        }
        let reconstruction = self.reconstruction(scan)?;
        let (resolution, doubt) = (self.resolution, self.doubt);
        Ok(ScoredScan { scores, reconstruction, foreground: self.into_foreground(), resolution, doubt })
    }
}

impl PredictorMaps<'_> {
    /// The predictor.
    #[must_use]
    pub fn predictor(&self) -> PredictorName {
        self.predictor
    }

    /// Its scores, unfiltered: see [`ScanScore::raw`]. An ensemble combines maps after post-processing, so both of its
    /// maps are the same.
    ///
    /// # Errors
    /// None in practice for maps of the network's grid; those of [`PredictorMaps::postprocessed`] for an ensemble.
    pub fn raw(&self) -> Result<Volume<f32>, PredictError> {
        match self.maps {
            MapsOf::Grid(maps) => maps.restored(&self.of.prepared),
            MapsOf::Ensemble(ensemble) => ensemble.combined(self.of),
        }
    }

    /// The scores after post-processing, in the memory of the raw map: see [`ScanScore::postprocessed`].
    ///
    /// # Errors
    /// If scores of a map are not finite, or its shape differs from the scan's.
    pub fn postprocessed(&self, raw: Volume<f32>) -> Result<Volume<f32>, PredictError> {
        let ScanMaps { parts, prepared, resolution, .. } = self.of;
        let foreground = &prepared.foreground;
        if raw.shape() != foreground.shape() {
            return Err(unlike("map", &raw.shape(), &foreground.shape()));
        }
        let MapsOf::Grid(maps) = self.maps else { return Ok(raw) };
        let before = match parts.position_normals.get(self.predictor) {
            Some(normals) => {
                drop(raw);
                let mut own = maps.clone();
                for (map, plane) in own.planes.iter_mut().zip(&prepared.planes) {
                    normals.standardize(plane.position, map);
                }
                own.quiet_unseen(&prepared.planes.iter().collect::<Vec<_>>());
                own.restored(prepared)?
            }
            None => raw,
        };
        parts.postprocessing.apply_at(before, foreground, parts.plane, resolution)
    }
}

fn unlike(what: &'static str, found: &[usize], expected: &[usize]) -> PredictError {
    let (found, expected) = (found.to_vec(), expected.to_vec());
    ImageError::ShapeMismatch { what, found, expected }.into()
}
