//! Energy-based projection onto what the model takes for normal (Dehaene et al. 2020).

use std::sync::Arc;

use candle_core::Tensor;
use lesio_vae::{VariationalModel, Wanted};
use serde::{Deserialize, Serialize};

use crate::error::PredictError;
use crate::planes::Planes;
use crate::predictor::Predictor;
use crate::shared::SharedPass;

/// How an image is projected.
///
/// From `x0 = x`, each step takes `x(t+1) = clamp(x(t) - a dE/dx (x(t) - y(t))^2)` with
/// `E = rec(x(t)) + l |x(t) - x0|_1`, `y(t)` the reconstruction of `x(t)` and the whole gradient of
/// `rec`, through encoder and decoder. An image stops when `rec` falls to `stop` or after `steps`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct ProjectionConfig {
    /// The step `a`. Default .5 (Dehaene et al.).
    pub rate: f64,
    /// The weight `l` of the distance from the image. Default .05.
    pub distance: f64,
    /// Most steps. Default 100.
    pub steps: usize,
    /// Value of `rec`, in nats per image, at which an image stops: a percentile of that of training
    /// normals, see [`Projection::stop_level`]. Default `None`: all steps are made.
    pub stop: Option<f64>,
    /// Range to which pixels are clamped; a pixel outside is brought into it by the first step.
    /// Default [0, 1].
    pub range: [f32; 2],
    /// What the map is made of. Default [`ProjectionMap::Moved`].
    pub map: ProjectionMap,
}

/// What of a projection is the score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProjectionMap {
    /// `|x0 - x(T)|`: how far the pixel was moved.
    #[default]
    Moved,
    /// `|x0 - y(x(T))|`: how far it is from the reconstruction of the projected image.
    Reconstructed,
}

impl Default for ProjectionConfig {
    fn default() -> Self {
        Self {
            rate: 0.5,
            distance: 0.05,
            steps: 100,
            stop: None,
            range: [0.0, 1.0],
            map: ProjectionMap::Moved,
        }
    }
}

/// What happened to one image.
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
    /// Steps made.
    pub steps: usize,
}

/// Scores by how a projection changes the image; channels are averaged.
pub struct Projection {
    model: Arc<dyn VariationalModel>,
    config: ProjectionConfig,
}

impl std::fmt::Debug for Projection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Projection").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Projection {
    /// A projection by a model.
    ///
    /// # Errors
    /// [`PredictError::Config`] for a rate or distance that is negative or not finite, an empty range, or
    /// a stop that is NaN.
    pub fn new(model: Arc<dyn VariationalModel>, config: ProjectionConfig) -> Result<Self, PredictError> {
        for (name, value) in [("rate", config.rate), ("distance", config.distance)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(PredictError::Config(format!(
                    "{name} of the projection is {value}, expected at least 0"
                )));
            }
        }
        let [low, high] = config.range;
        if low.partial_cmp(&high) != Some(std::cmp::Ordering::Less) {
            return Err(PredictError::Config(format!(
                "range of the projection is {:?}, expected low < high",
                config.range
            )));
        }
        if config.stop.is_some_and(f64::is_nan) {
            return Err(PredictError::Config("stop of the projection is NaN".to_owned()));
        }
        Ok(Self { model, config })
    }

    /// A value for [`ProjectionConfig::stop`]: the percentile, 0 to 100, of what training normals have as
    /// `rec`, given in batches `[n, c, h, w]`. Of `n` images it is the one of rank
    /// `floor(percentile / 100 (n - 1))`, counted from 0; Dehaene et al. take the lowest, percentile 0.
    ///
    /// # Errors
    /// [`PredictError::Config`] without an image or for another percentile; what the model reports.
    pub fn stop_level<'a>(
        model: &dyn VariationalModel,
        normals: impl IntoIterator<Item = &'a Tensor>,
        percentile: f64,
    ) -> Result<f64, PredictError> {
        if !(0.0..=100.0).contains(&percentile) {
            return Err(PredictError::Config(format!("percentile is {percentile}, expected 0 to 100")));
        }
        let mut losses: Vec<f64> = Vec::new();
        for images in normals {
            let loss = Planes::of(&model.gradients(images, Wanted::NOTHING)?.loss)?;
            let sum = |own: &[f32]| own.iter().map(|&v| f64::from(v)).sum::<f64>();
            losses.extend(loss.values.chunks_exact(loss.size().max(1)).map(sum));
        }
        losses.sort_unstable_by(f64::total_cmp);
        let rank = (percentile / 100.0 * losses.len().saturating_sub(1) as f64).floor() as usize;
        let none = || PredictError::Config("a percentile needs at least one normal image".to_owned());
        losses.get(rank).copied().ok_or_else(none)
    }

    /// Projects images `[n, c, h, w]`, one trace each.
    ///
    /// # Errors
    /// Images that do not fit the model, or a failure of the device.
    pub fn project(&self, images: &Tensor) -> Result<Vec<ProjectionTrace>, PredictError> {
        let device = images.device();
        let start = Planes::of(images)?;
        let (size, config) = (start.size(), &self.config);
        let mut moving = start.values.clone();
        let mut traces: Vec<Option<ProjectionTrace>> = vec![None; start.samples];
        let mut losses: Vec<Vec<f64>> = vec![Vec::new(); start.samples];
        let mut energies: Vec<Vec<f64>> = vec![Vec::new(); start.samples];
        let mut active: Vec<usize> = (0..start.samples).collect();
        for step in 0..=config.steps {
            if active.is_empty() {
                break;
            }
            // Images that have stopped leave the batch: a row never depends on its neighbours.
            let values: Vec<f32> =
                active.iter().flat_map(|&row| &moving[row * size..(row + 1) * size]).copied().collect();
            let dims = (active.len(), start.channels, start.height, start.width);
            let batch = Tensor::from_vec(values, dims, device)?;
            let last = step == config.steps;
            let wanted = if last { Wanted::NOTHING } else { Wanted::RECONSTRUCTION };
            let found = self.model.gradients(&batch, wanted)?;
            let mean = Planes::of(&found.mean)?.values;
            let loss = Planes::of(&found.loss)?.values;
            let gradient = found.by_reconstruction.as_ref().map(Planes::of).transpose()?;
            let mut going = Vec::with_capacity(active.len());
            for (place, &row) in active.iter().enumerate() {
                let own = place * size..(place + 1) * size;
                let rec: f64 = loss[own.clone()].iter().map(|&v| f64::from(v)).sum();
                let image = &start.values[row * size..(row + 1) * size];
                let x = &mut moving[row * size..(row + 1) * size];
                let away: f64 = x.iter().zip(image).map(|(a, b)| f64::from((a - b).abs())).sum();
                losses[row].push(rec);
                energies[row].push(rec + config.distance * away);
                let stopped = config.stop.is_some_and(|stop| rec <= stop);
                let Some(gradient) = gradient.as_ref().filter(|_| !stopped) else {
                    traces[row] = Some(ProjectionTrace {
                        projected: x.to_vec(),
                        reconstruction: mean[own].to_vec(),
                        energy: std::mem::take(&mut energies[row]),
                        reconstruction_loss: std::mem::take(&mut losses[row]),
                        steps: step,
                    });
                    continue;
                };
                let gradient = &gradient.values[own.clone()];
                let mean = &mean[own];
                for k in 0..size {
                    let error = x[k] - mean[k];
                    let slope = gradient[k] + config.distance as f32 * sign(x[k] - image[k]);
                    let next = x[k] - config.rate as f32 * slope * error * error;
                    x[k] = next.clamp(config.range[0], config.range[1]);
                }
                going.push(row);
            }
            active = going;
        }
        Ok(traces.into_iter().flatten().collect())
    }
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
            ProjectionMap::Moved => "projection",
            ProjectionMap::Reconstructed => "projection-reconstruction",
        }
        .to_owned()
    }

    fn score(&self, images: &Tensor) -> Result<Tensor, PredictError> {
        let start = Planes::of(images)?;
        let mut ends = Vec::with_capacity(start.values.len());
        for trace in self.project(images)? {
            ends.extend(match self.config.map {
                ProjectionMap::Moved => trace.projected,
                ProjectionMap::Reconstructed => trace.reconstruction,
            });
        }
        Ok(start.maps(images.device(), |k| (start.values[k] - ends[k]).abs())?)
    }

    fn score_shared(&self, pass: &SharedPass<'_>) -> Result<Tensor, PredictError> {
        self.score(pass.images())
    }
}
