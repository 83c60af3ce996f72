//! Scoring of scans.

use lesio_image::{PreparedPlane, PreparedScan, PreprocessError, Scan, Volume};
use lesio_nn::ImageBatch;
use lesio_vae::RequestedGradients;
use ndarray::{Array2, Array3};

use super::definition::{Document, Localizer};
use crate::error::PredictError;
use crate::judgment::{Incomparable, Judgment};
use crate::maps::{EnsembleMaps, GridMaps, MapParts, ScanMaps, ScoredScan, is_seen};
use crate::position::PositionBuilder;
use crate::postprocessing::{check_foreground, highest_within};
use crate::predictor::Predictor;
use crate::predictors::{PredictorName, check_unique};
use crate::resolution::{CalibrationDoubt, Resolution, footprint};
use crate::shared::SharedPass;

/// Slices scored in one batch: enough to fill two cores, few enough to stay in their caches.
const BATCH: usize = 16;

impl Localizer {
    /// Scores a scan of any size and orientation; the maps are on its grid.
    ///
    /// Slices without foreground are skipped. A scan with a much finer or coarser resolution than the calibration
    /// subjects causes a warning, see [`ScoredScan::doubt`]. Channels with names are brought into the model's order.
    ///
    /// # Errors
    /// For a scan that cannot be preprocessed (empty, constant, NaN voxels, no foreground), or whose channels differ
    /// from the model's in number or names; for a predictor that the model does not support or that is named twice.
    pub fn score(&self, scan: &Scan, names: &[PredictorName]) -> Result<ScoredScan, PredictError> {
        self.maps(scan, names)?.all(scan)
    }

    /// Scores several scans, with their slices in common batches. The result is that of [`Localizer::score`] for each.
    /// All maps are in memory together.
    ///
    /// # Errors
    /// Those of [`Localizer::score`], for the first scan that fails.
    pub fn score_all<'s>(
        &self,
        scans: impl IntoIterator<Item = &'s Scan>,
        names: &[PredictorName],
    ) -> Result<Vec<ScoredScan>, PredictError> {
        let scans: Vec<&Scan> = scans.into_iter().collect();
        let own_names = self.own_names(names)?;
        let prepared: Vec<PreparedScan> =
            scans.iter().map(|scan| self.prepare(scan)).collect::<Result<_, _>>()?;
        let planes: Vec<&PreparedPlane> = prepared.iter().flat_map(|own| &own.planes).collect();
        let (maps, reconstructions) = self.score_planes(&planes, &own_names)?;
        let mut maps: Vec<_> = maps.into_iter().map(Vec::into_iter).collect();
        let mut reconstructions = reconstructions.into_iter();
        let mut scored = Vec::with_capacity(scans.len());
        for (scan, prepared) in scans.into_iter().zip(prepared) {
            let count = prepared.planes.len();
            let own = maps.iter_mut().map(|maps| maps.by_ref().take(count).collect()).collect();
            let expected = reconstructions.by_ref().take(count).collect();
            let maps = self.gather(scan, prepared, names, &own_names, own, expected)?;
            warn_of(maps.doubt());
            scored.push(maps.all(scan)?);
        }
        Ok(scored)
    }

    /// Scores a scan like [`Localizer::score`], but makes its maps one at a time on request, so that the maps of a
    /// large volume need not be in memory together.
    ///
    /// # Errors
    /// Those of [`Localizer::score`].
    pub fn maps(&self, scan: &Scan, names: &[PredictorName]) -> Result<ScanMaps<'_>, PredictError> {
        let maps = self.maps_of_member(scan, names)?;
        warn_of(maps.doubt());
        Ok(maps)
    }

    /// As [`Localizer::maps`], of a member of an ensemble. Whether the scan is like the calibration subjects is then a
    /// matter of the ensemble's calibration, so that nothing is said of the member's own.
    fn maps_of_member(&self, scan: &Scan, names: &[PredictorName]) -> Result<ScanMaps<'_>, PredictError> {
        let own_names = self.own_names(names)?;
        let prepared = self.prepare(scan)?;
        let planes: Vec<&PreparedPlane> = prepared.planes.iter().collect();
        let (maps, reconstructions) = self.score_planes(&planes, &own_names)?;
        self.gather(scan, prepared, names, &own_names, maps, reconstructions)
    }

    /// Scores each channel of a scan separately, unfiltered, in the model's order of channels; `None` if the predictor
    /// cannot score a single channel, as an ensemble cannot.
    ///
    /// # Errors
    /// Those of [`Localizer::score`].
    pub fn channel_maps(
        &self,
        scan: &Scan,
        name: PredictorName,
    ) -> Result<Option<Vec<Volume<f32>>>, PredictError> {
        if name == PredictorName::Ensemble && self.document.ensemble.is_some() {
            return Ok(None);
        }
        let prepared = self.prepare(scan)?;
        let predictor = self.predictor(name)?;
        let shape = self.model.image_shape();
        let planes: Vec<&PreparedPlane> = prepared.planes.iter().collect();
        let mut channels =
            vec![vec![Array2::zeros((shape.height, shape.width)); planes.len()]; shape.channels];
        let is_known = self.each_batch(&planes, predictor.requested_gradients(), |batch, pass| {
            let Some(scores) = predictor.score_channels(pass)? else { return Ok(false) };
            check_scores(&*predictor, &scores, batch.len() * shape.len())?;
            for (&k, image) in batch.iter().zip(scores.chunks_exact(shape.len())) {
                for (channel, score) in channels.iter_mut().zip(image.chunks_exact(shape.pixels())) {
                    channel[k].iter_mut().zip(score).for_each(|(out, &value)| *out = value);
                }
            }
            Ok(true)
        })?;
        if !is_known {
            return Ok(None);
        }
        let restored = channels.into_iter().map(|own| GridMaps::new(own, &planes).restored(&prepared));
        restored.collect::<Result<Vec<_>, _>>().map(Some)
    }

    /// Whether [`Localizer::channel_maps`] has maps by a predictor.
    ///
    /// # Errors
    /// For a predictor that the model does not support.
    pub fn has_channel_maps(&self, name: PredictorName) -> Result<bool, PredictError> {
        if name == PredictorName::Ensemble && self.document.ensemble.is_some() {
            return Ok(false);
        }
        // Without images, no model is called.
        let pass =
            SharedPass::new(ImageBatch::new(&[], self.model.image_shape())?, RequestedGradients::NOTHING);
        Ok(self.predictor(name)?.score_channels(&pass)?.is_some())
    }

    /// Judges whether a scan that this localizer scored contains an anomaly: compares the highest post-processed score of a
    /// predictor inside the foreground with those of the calibration subjects. `level`, 0 to 1, is the probability of a
    /// false alarm for a normal subject. A scan without foreground or with a score of NaN, and one of another resolution
    /// or extent than the calibration subjects ([`ScoredScan::doubt`]), are [`Judgment::Incomparable`].
    ///
    /// # Errors
    /// [`PredictError::NotCalibrated`], [`PredictError::Setting`] for the level, [`PredictError::NotScored`] if the scan was
    /// not scored by the predictor, [`PredictError::Image`] if its foreground was replaced by one of another shape.
    pub fn judge(
        &self,
        scored: &ScoredScan,
        predictor: PredictorName,
        level: f64,
    ) -> Result<Judgment, PredictError> {
        let normals = self.document.calibration.get(predictor);
        let normals =
            normals.ok_or_else(|| PredictError::NotCalibrated { predictor: predictor.to_string() })?;
        let score = scored.scores.iter().find(|score| score.predictor == predictor);
        let score = score.ok_or_else(|| PredictError::NotScored { predictor: predictor.to_string() })?;
        check_foreground(&score.postprocessed, &scored.foreground)?;
        let judged =
            normals.judge(highest_within(score.postprocessed.data(), scored.foreground.data()), level)?;
        Ok(match (judged, scored.doubt) {
            (Judgment::Incomparable(_), _) | (_, None) => judged,
            (_, Some(doubt)) => Judgment::Incomparable(Incomparable::Calibration(doubt)),
        })
    }

    /// Adds the normal slices of a scan to the normal scores by position. The scan must not be part of the training
    /// data. `normal` is called for each slice in the order of [`Scan::slice`] and says whether it is normal.
    ///
    /// # Errors
    /// Those of [`Localizer::score`]; [`PredictError::Config`] for a builder on another grid.
    pub fn add_normal(
        &self,
        builder: &mut PositionBuilder,
        scan: &Scan,
        normal: impl Fn(usize) -> bool,
    ) -> Result<(), PredictError> {
        let grid = self.document.preprocessing.config().grid();
        if builder.grid() != grid {
            let text = format!(
                "normal scores are gathered on a grid of {:?}, the model's is {grid:?}",
                builder.grid()
            );
            return Err(PredictError::Config(text));
        }
        let prepared = self.prepare(scan)?;
        let planes = prepared.planes.iter().enumerate().filter(|(index, _)| normal(*index));
        let planes: Vec<&PreparedPlane> = planes.map(|(_, plane)| plane).collect();
        let (maps, _) = self.score_planes(&planes, &builder.names())?;
        for (place, maps) in maps.iter().enumerate() {
            for (map, plane) in maps.iter().zip(&planes).filter(|(_, plane)| is_seen(plane)) {
                builder.add(place, plane.position, map, &plane.mask);
            }
        }
        Ok(())
    }

    /// A scan on the network's grid, its channels in the model's order.
    fn prepare(&self, scan: &Scan) -> Result<PreparedScan, PredictError> {
        let found = self.document.preprocessing.config().input_channels(scan.channels());
        let expected = self.model.image_shape().channels;
        if found != expected {
            return Err(PredictError::Channels { found, expected });
        }
        let own = &self.document.channels;
        if own.len() > 1 && !scan.names().is_empty() && scan.names() != own {
            let ordered = scan.clone().with_channels(own).map_err(PreprocessError::from)?;
            return Ok(self.document.preprocessing.prepare(&ordered)?);
        }
        Ok(self.document.preprocessing.prepare(scan)?)
    }

    /// The predictors of this localizer's model whose maps are needed: those with these names, and the members of the
    /// ensemble if it is among them.
    fn own_names(&self, names: &[PredictorName]) -> Result<Vec<PredictorName>, PredictError> {
        check_unique(names)?;
        let mut own: Vec<_> = names.iter().copied().filter(|&name| name != PredictorName::Ensemble).collect();
        if own.len() < names.len() {
            let ensemble = self.document.ensemble.as_ref().ok_or(PredictError::NoEnsemble)?;
            own.extend(ensemble.predictors_of(0).into_iter().filter(|name| !names.contains(name)));
        }
        Ok(own)
    }

    /// The maps of a scan that was scored by the predictors `own`; also scores it by the other localizers of the
    /// ensemble if `names` contains it.
    fn gather(
        &self,
        scan: &Scan,
        mut prepared: PreparedScan,
        names: &[PredictorName],
        own: &[PredictorName],
        maps: Vec<Vec<Array2<f32>>>,
        reconstructions: Vec<Array3<f32>>,
    ) -> Result<ScanMaps<'_>, PredictError> {
        let Document { preprocessing, postprocessing, calibration, channels, .. } = &self.document;
        let plane = scan.plane(preprocessing.config().plane);
        let resolution = Resolution::of_scan(scan, plane, &prepared);
        let seen = prepared.planes.iter().filter(|plane| is_seen(plane)).count();
        if seen == 0 || postprocessing.leaves_nothing(&prepared.foreground, plane, &resolution) {
            tracing::warn!(
                "nothing of an image was scored: filters or the network's grid leave none of its foreground"
            );
            prepared.foreground.data_mut().fill(false);
        }
        let doubt = calibration.resolutions().doubt(&resolution).or_else(|| {
            let found = resolution.between_slices()? * seen as f64;
            CalibrationDoubt::of_extent("slices", found, calibration.extent()?)
        });
        let doubt = doubt.or_else(|| {
            let lengths = footprint(&prepared.foreground, plane, &resolution)?
                .into_iter()
                .zip(calibration.footprint()?);
            let mut axes = ["rows", "columns"].into_iter().zip(lengths);
            axes.find_map(|(axis, (found, own))| CalibrationDoubt::of_extent(axis, found, own))
        });
        let doubt = doubt.or_else(|| {
            let own = preprocessing.config();
            CalibrationDoubt::of_values(scan, &own.intensity, self.document.settings.range.or(own.clip))
        });
        let planes: Vec<&PreparedPlane> = prepared.planes.iter().collect();
        let maps = maps.into_iter().map(|maps| GridMaps::new(maps, &planes));
        let maps = own.iter().copied().zip(maps).collect();
        let ensemble = match &self.document.ensemble {
            Some(ensemble) if names.contains(&PredictorName::Ensemble) => {
                let scored = self
                    .others
                    .iter()
                    .enumerate()
                    .map(|(other, own)| own.maps_of_member(scan, &ensemble.predictors_of(other + 1)));
                Some(EnsembleMaps::new(ensemble, scored.collect::<Result<_, _>>()?))
            }
            _ => None,
        };
        let parts = MapParts { position_normals: &self.position_normals, postprocessing, channels, plane };
        let shown = names.to_vec();
        Ok(ScanMaps::new(parts, prepared, shown, maps, ensemble, reconstructions, resolution, doubt))
    }

    /// Passes the slices with foreground to `each` in batches, as passes for readers of these gradients; stops when
    /// `each` returns `false`.
    fn each_batch(
        &self,
        planes: &[&PreparedPlane],
        requested: RequestedGradients,
        mut each: impl FnMut(&[usize], &SharedPass<'_>) -> Result<bool, PredictError>,
    ) -> Result<bool, PredictError> {
        let shape = self.model.image_shape();
        let seen: Vec<usize> = (0..planes.len()).filter(|&k| is_seen(planes[k])).collect();
        let mut values = Vec::with_capacity(BATCH.min(seen.len()) * shape.len());
        for batch in seen.chunks(BATCH) {
            values.clear();
            batch.iter().for_each(|&k| values.extend(&planes[k].input));
            let pass = SharedPass::new(ImageBatch::new(&values, shape)?, requested);
            if !each(batch, &pass)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Maps of prepared slices by predictor, and the slices' reconstructions.
    #[allow(clippy::type_complexity, reason = "maps by predictor and slice, reconstructions by slice")]
    fn score_planes(
        &self,
        planes: &[&PreparedPlane],
        names: &[PredictorName],
    ) -> Result<(Vec<Vec<Array2<f32>>>, Vec<Array3<f32>>), PredictError> {
        let shape = self.model.image_shape();
        let (height, width) = (shape.height, shape.width);
        let predictors: Vec<Box<dyn Predictor>> =
            names.iter().map(|&name| self.predictor(name)).collect::<Result<_, _>>()?;
        let requested = predictors
            .iter()
            .fold(RequestedGradients::NOTHING, |all, one| all.union(one.requested_gradients()));
        let mut maps = vec![vec![Array2::zeros((height, width)); planes.len()]; names.len()];
        let mut reconstructions = vec![Array3::zeros((shape.channels, height, width)); planes.len()];
        let reconstructor = self.model.reconstructor();
        self.each_batch(planes, requested, |batch, pass| {
            for (predictor, maps) in predictors.iter().zip(&mut maps) {
                let scores = predictor.score_shared(pass)?;
                check_scores(&**predictor, &scores, batch.len() * shape.pixels())?;
                for (&k, score) in batch.iter().zip(scores.chunks_exact(shape.pixels())) {
                    maps[k].iter_mut().zip(score).for_each(|(out, &value)| *out = value);
                }
            }
            let expected = pass.reconstruction(&reconstructor)?;
            for (&k, image) in batch.iter().zip(expected.chunks_exact(shape.len())) {
                reconstructions[k].iter_mut().zip(image).for_each(|(out, &value)| *out = value);
            }
            Ok(true)
        })?;
        Ok((maps, reconstructions))
    }
}

/// Warns of a scan that may be unlike the calibration subjects.
fn warn_of(doubt: Option<&CalibrationDoubt>) {
    if let Some(doubt) = doubt {
        tracing::warn!("an image may not be comparable with the calibration subjects: {doubt}");
    }
}

/// Returns an error if the number of scores differs from the number of pixels: the predictor may be user-defined.
fn check_scores(predictor: &dyn Predictor, scores: &[f32], expected: usize) -> Result<(), PredictError> {
    let found = scores.len();
    if found == expected {
        return Ok(());
    }
    Err(PredictError::Scores { predictor: predictor.name(), found, expected })
}
