//! Energy-based projection onto the model's set of normal images (Dehaene et al. 2020).

use std::sync::Arc;

use lesio_nn::ImageBatch;
use lesio_settings::in_range;
use lesio_vae::{RequestedGradients, VariationalModel};

use crate::channels::mean_over_channels;
use crate::error::PredictError;
use crate::predictor::Predictor;
use crate::predictors::entry::{Entry, Made, Needs, Parts};
use crate::settings::projection::{ProjectionConfig, ProjectionMap, StepRule};
use crate::shared::{SharedPass, gradients_of};

pub(crate) const PROJECTION: Entry =
    Entry::new("projection", Needs::ManyPasses, |parts| projection(parts, ProjectionMap::Moved));
pub(crate) const PROJECTION_RECONSTRUCTION: Entry =
    Entry::new("projection-reconstruction", Needs::ManyPasses, |parts| {
        projection(parts, ProjectionMap::Reconstructed)
    });

fn projection(parts: &Parts<'_>, map: ProjectionMap) -> Made {
    let own = &parts.settings.projection;
    let range = own.range.or(parts.settings.range);
    let config = ProjectionConfig { map, range, ..own.clone() }.scaled(parts.settings.width());
    Ok(Box::new(Projection::new(parts.model()?, config)?))
}

/// The course of the projection of one image.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ProjectionTrace {
    /// The projected image, `[c, h, w]`.
    pub projected: Vec<f32>,
    /// The reconstruction of the projected image, `[c, h, w]`.
    pub reconstruction: Vec<f32>,
    /// The energy before each step and after the last, in nats.
    pub energy: Vec<f64>,
    /// `rec` at the same points, in nats.
    pub reconstruction_loss: Vec<f64>,
    /// Number of steps, without rejected ones.
    pub steps: usize,
}

/// Scores by how a projection changes the image; channels are averaged.
#[derive(Debug)]
pub struct Projection {
    model: Arc<dyn VariationalModel>,
    config: ProjectionConfig,
}

impl Projection {
    /// Makes a projection with a model.
    ///
    /// # Errors
    /// [`PredictError::Setting`] as [`ProjectionConfig::validate`].
    pub fn new(model: Arc<dyn VariationalModel>, config: ProjectionConfig) -> Result<Self, PredictError> {
        config.validate().map_err(|error| error.within("projection"))?;
        Ok(Self { model, config })
    }

    /// A value for [`ProjectionConfig::stop`]: the percentile, 0 to 100, of `rec` over
    /// normal training images, given in batches `[n, c, h, w]`. Of `n` images it is the one of rank
    /// `floor(percentile / 100 (n - 1))`, starting from 0; Dehaene et al. use the lowest, percentile 0.
    ///
    /// # Errors
    /// [`PredictError::Config`] without an image, [`PredictError::Setting`] for another percentile; errors of the
    /// model.
    pub fn stop_level<'a>(
        model: &dyn VariationalModel,
        normals: impl IntoIterator<Item = ImageBatch<'a>>,
        percentile: f64,
    ) -> Result<f64, PredictError> {
        in_range("percentile", percentile, 0.0..=100.0)?;
        let mut losses: Vec<f64> = Vec::new();
        for images in normals {
            let loss = gradients_of(model, images, RequestedGradients::NOTHING)?.loss;
            let sum = |own: &[f32]| own.iter().map(|&v| f64::from(v)).sum::<f64>();
            losses.extend(loss.chunks_exact(images.shape().len()).map(sum));
        }
        losses.sort_unstable_by(f64::total_cmp);
        let rank = (percentile / 100.0 * losses.len().saturating_sub(1) as f64).floor() as usize;
        let none = || PredictError::Config("a percentile needs at least one normal image".to_owned());
        losses.get(rank).copied().ok_or_else(none)
    }

    /// The distance of each pixel from its projected value, `[n, c, h, w]`.
    fn values(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, PredictError> {
        let mut distances = images.values().to_vec();
        let rows = distances.chunks_exact_mut(images.shape().len());
        for (row, trace) in rows.zip(self.project(images)?) {
            let end = match self.config.map {
                ProjectionMap::Moved => trace.projected,
                ProjectionMap::Reconstructed => trace.reconstruction,
            };
            row.iter_mut().zip(end).for_each(|(x, end)| *x = (*x - end).abs());
        }
        Ok(distances)
    }

    /// Projects images `[n, c, h, w]`, one trace each. Where the model gives values that are not finite, a projection
    /// ends, and the projected image and its reconstruction are NaN.
    ///
    /// # Errors
    /// Images that do not fit the model, or a failure of the device.
    pub fn project(&self, images: ImageBatch<'_>) -> Result<Vec<ProjectionTrace>, PredictError> {
        let size = images.shape().len();
        let mut paths: Vec<Path<'_>> = images.images().map(|image| Path::new(image, &self.config)).collect();
        let mut tried = Vec::with_capacity(images.values().len());
        for step in 0..=self.config.steps {
            // Images that have stopped leave the batch: a row never depends on its neighbors.
            let mut active: Vec<&mut Path<'_>> = paths.iter_mut().filter(|path| !path.finished).collect();
            if active.is_empty() {
                break;
            }
            tried.clear();
            active.iter().for_each(|path| tried.extend_from_slice(&path.tried));
            let last = step == self.config.steps;
            let requested =
                if last { RequestedGradients::NOTHING } else { RequestedGradients::RECONSTRUCTION };
            let found = gradients_of(&*self.model, ImageBatch::new(&tried, images.shape())?, requested)?;
            let (mean, loss, gradient) = (found.mean, found.loss, found.by_reconstruction);
            for (place, path) in active.iter_mut().enumerate() {
                let own = place * size..(place + 1) * size;
                let rec: f64 = loss[own.clone()].iter().map(|&value| f64::from(value)).sum();
                let gradient = gradient.as_ref().map_or(&[][..], |values| &values[own.clone()]);
                path.arrive(rec, &mean[own], gradient, &self.config);
                if last || path.finished {
                    path.finished = true;
                } else {
                    path.depart(&self.config);
                }
            }
        }
        Ok(paths.into_iter().map(|path| path.trace).collect())
    }
}

/// The state of the projection of one image.
struct Path<'a> {
    image: &'a [f32],
    /// The range to which pixels are clamped.
    range: [f32; 2],
    /// The point at which the energy is evaluated next.
    tried: Vec<f32>,
    /// The gradient of `rec` at the current point.
    gradient: Vec<f32>,
    /// The highest rate that is still allowed.
    rate: f64,
    /// The rate of the proposed step.
    made: f64,
    halvings: usize,
    trace: ProjectionTrace,
    finished: bool,
}

/// Number of halvings of the rate after which an image stops: a step would then vanish in rounding.
const MOST_HALVINGS: usize = 24;

impl<'a> Path<'a> {
    fn new(image: &'a [f32], config: &ProjectionConfig) -> Self {
        let trace = ProjectionTrace {
            projected: Vec::new(),
            reconstruction: Vec::new(),
            energy: Vec::new(),
            reconstruction_loss: Vec::new(),
            steps: 0,
        };
        let range = config.range.unwrap_or_else(|| range_of(image));
        let mut tried = image.to_vec();
        // All steps lead to points in the range. From one outside, a first step that raises the energy for that alone
        // would be rejected at every rate, and the image would seem to need no change.
        if config.step_rule != StepRule::Fixed && range[0] <= range[1] {
            tried.iter_mut().for_each(|value| *value = value.clamp(range[0], range[1]));
        }
        Self {
            image,
            range,
            tried,
            gradient: Vec::new(),
            rate: config.rate,
            made: config.rate,
            halvings: 0,
            trace,
            finished: false,
        }
    }

    /// Accepts or rejects the proposed point, given its reconstruction and gradient.
    fn arrive(&mut self, rec: f64, mean: &[f32], gradient: &[f32], config: &ProjectionConfig) {
        let pairs = self.tried.iter().zip(self.image);
        let away: f64 = pairs.map(|(a, b)| f64::from((a - b).abs())).sum();
        let energy = rec + config.distance * away;
        if let Some(&before) = self.trace.energy.last() {
            // Written so that a NaN energy is rejected, too.
            let lower = energy <= before;
            if config.step_rule != StepRule::Fixed && !lower {
                self.rate = self.made / 2.0;
                self.halvings += 1;
                self.finished = self.halvings > MOST_HALVINGS;
                return;
            }
            self.trace.steps += 1;
        }
        self.trace.projected.clone_from(&self.tried);
        self.trace.reconstruction.clear();
        self.trace.reconstruction.extend_from_slice(mean);
        self.trace.energy.push(energy);
        self.trace.reconstruction_loss.push(rec);
        self.gradient.clear();
        self.gradient.extend_from_slice(gradient);
        self.finished = config.stop.is_some_and(|stop| rec <= stop);
        // No step leads from such a point: an image of which the model says nothing would seem to need no change.
        let is_finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
        if !(energy.is_finite() && is_finite(mean) && is_finite(gradient)) {
            self.trace.projected.fill(f32::NAN);
            self.trace.reconstruction.fill(f32::NAN);
            self.finished = true;
        }
    }

    /// Proposes the next point from the current one.
    fn depart(&mut self, config: &ProjectionConfig) {
        let (reached, mean) = (&self.trace.projected, &self.trace.reconstruction);
        for (k, way) in self.tried.iter_mut().enumerate() {
            let (x, error) = (reached[k], reached[k] - mean[k]);
            let slope = self.gradient[k] + config.distance as f32 * sign(x - self.image[k]);
            *way = slope * error * error;
        }
        let farthest = self.tried.iter().fold(0.0, |farthest: f32, way| farthest.max(way.abs()));
        let rate = match config.step_rule {
            StepRule::Bounded { largest } if farthest > 0.0 => self.rate.min(largest / f64::from(farthest)),
            _ => self.rate,
        };
        let [low, high] = self.range;
        for (next, x) in self.tried.iter_mut().zip(reached) {
            *next = (x - rate as f32 * *next).max(low).min(high);
        }
        self.made = rate;
    }
}

/// The lowest and the highest value; values that are not a number are left out.
fn range_of(image: &[f32]) -> [f32; 2] {
    [
        image.iter().copied().fold(f32::INFINITY, f32::min),
        image.iter().copied().fold(f32::NEG_INFINITY, f32::max),
    ]
}

/// The subgradient of the absolute value that is 0 at 0.
fn sign(value: f32) -> f32 {
    if value > 0.0 {
        1.0
    } else if value < 0.0 {
        -1.0
    } else {
        0.0
    }
}

impl Predictor for Projection {
    fn name(&self) -> String {
        match self.config.map {
            ProjectionMap::Moved => PROJECTION,
            ProjectionMap::Reconstructed => PROJECTION_RECONSTRUCTION,
        }
        .name
        .to_owned()
    }

    fn score(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, PredictError> {
        Ok(mean_over_channels(&self.values(images)?, images))
    }

    fn score_channels(&self, pass: &SharedPass<'_>) -> Result<Option<Vec<f32>>, PredictError> {
        self.values(pass.images()).map(Some)
    }
}
