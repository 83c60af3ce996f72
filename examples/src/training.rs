//! The arguments of a training: the model, how images are prepared, and how it starts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lesio::anomaly::PostProcessing;
use lesio::image::{
    Alignment, Frame, GridFit, HistogramStandardizer, Intensity, Preprocessing, RobustScaling,
};
use lesio::io::dataset::{Dataset, Layout};
use lesio::nn::{AdamConfig, Precision, TrainConfig, checkpoint_exists};
use lesio::study::{Checkpoints, LocalizerTraining, ModelKind, ModelTraining, Preset, Start, TrainingLength};
use lesio::vae::{
    Augmentation, Corruption, DenoiserConfig, DenoiserTraining, Divergence, Latent, Likelihood, Mirror,
    SyntheticAnomalies, SyntheticTraining, TaughtConfig, VaeConfig, VaeTraining,
};

use crate::arguments::{number, whole};
use crate::choices::{named, one_of, precisions};
use crate::filters::{MedianLengths, length_of};
use crate::output::note;

type FrameOfGrid = fn([usize; 2]) -> Frame;
type LikelihoodOfScale = fn(f64) -> Likelihood;
type CorruptionOfNoise = fn(f64) -> Corruption;

/// More bands than a volume has slices tell nothing more.
const MOST_BANDS: usize = 1000;

/// The model, its training images and the filters of its maps.
#[derive(Clone, Debug, clap::Args)]
pub struct ModelArgs {
    /// Kind of model
    #[arg(long, default_value = "vae", value_parser = named::<ModelKind>(&[
        ("vae", "A variational autoencoder: every predictor"),
        ("denoiser", "A denoising U-Net: pixel predictors only"),
        ("restorer", "A U-Net that was taught to paint synthetic anomalies away: pixel predictors only"),
        ("segmenter", "A U-Net that was taught to mark synthetic anomalies: its marks, and pixel predictors"),
    ]))]
    model: ModelKind,
    /// Rows and columns of the network's grid
    #[arg(long, default_value_t = 128, value_parser = whole(4, 4096))]
    size: usize,
    /// How images come to the grid; by default heads for volumes and photo for images
    #[arg(long, value_parser = named::<Preset>(&[
        ("heads", "Find the head, standardize its histogram, align its box to the grid"),
        ("photo", "Scale each image by its own percentiles and fit it to the grid"),
    ]))]
    preprocessing: Option<Preset>,
    /// How intensities are scaled, instead of what --preprocessing says
    #[arg(long, value_parser = one_of(vec![
        ("percentiles", "By each image's own percentiles", Intensity::Robust(RobustScaling::new())),
        (
            "histogram",
            "Percentiles, then the histogram of the training images (Nyul)",
            Intensity::Standardized(HistogramStandardizer::new()),
        ),
    ]))]
    intensity: Option<Intensity>,
    /// How images are laid on the grid, instead of what --preprocessing says
    #[arg(long, value_parser = one_of::<FrameOfGrid>(vec![
        ("fit", "The whole image", |grid| Frame::Fit(GridFit::new(grid))),
        ("align", "The box around the foreground", |grid| Frame::Align(Alignment::new(grid))),
    ]))]
    frame: Option<FrameOfGrid>,
    /// Channels at each resolution, finest first; by default 32,64,128,256 for a VAE, 16,32,64,96 for the others
    #[arg(long, value_delimiter = ',')]
    widths: Option<Vec<usize>>,
    /// Latent dimensions of a VAE
    #[arg(long, default_value_t = 128, value_parser = whole(1, 65_536))]
    latent: usize,
    /// Weight of the divergence in a VAE's loss
    #[arg(long, default_value_t = 1.0, value_parser = number(0.0, 1e6))]
    beta: f64,
    /// Distribution of pixels given the latent sample
    #[arg(long, default_value = "gaussian", value_parser = one_of::<LikelihoodOfScale>(vec![
        ("gaussian", "", |scale| Likelihood::Gaussian { scale }),
        ("learned", "Gaussian with a standard deviation learnt for each pixel", |_| Likelihood::GaussianLearned),
        ("laplace", "", |scale| Likelihood::Laplace { scale }),
        ("bernoulli", "", |_| Likelihood::Bernoulli),
    ]))]
    likelihood: LikelihoodOfScale,
    /// Scale of a Gaussian or Laplace likelihood, where 1 is the range of an image
    #[arg(long, default_value_t = 0.1, value_parser = number(1e-4, 1e4))]
    scale: f64,
    /// What the network sees in training instead of the image; by default noise for heads and for denoisers
    #[arg(long, value_parser = one_of::<CorruptionOfNoise>(vec![
        ("none", "", |_| Corruption::None),
        ("squares", "Squares filled with one value (context encoding)", |_| {
            Corruption::Squares { count: 3, side: 0.5 }
        }),
        ("noise", "Coarse noise", coarse_noise),
    ]))]
    corruption: Option<CorruptionOfNoise>,
    /// Standard deviation of the coarse noise
    #[arg(long, default_value_t = 0.2, value_parser = number(0.0, 10.0))]
    noise: f64,
    /// What restorers and segmenters are taught; by default medical for heads, and natural otherwise
    #[arg(long, value_parser = one_of::<fn() -> SyntheticAnomalies>(vec![
        ("medical", "Brighter and darker lesions, parts of other subjects", SyntheticAnomalies::medical),
        (
            "natural",
            "Other tints and colors, parts of other images, displaced neighborhoods",
            SyntheticAnomalies::natural,
        ),
    ]))]
    anomalies: Option<fn() -> SyntheticAnomalies>,
    /// Mirror half of the training images left to right; restorers and segmenters then also average what they say of an
    /// image and of its mirror image. By default only where those two are trained on heads
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    mirror: Option<bool>,
    /// Largest shift of training images, in pixels
    #[arg(long, default_value_t = 0, value_parser = whole(0, 1024))]
    shift: usize,
    /// Largest relative change of brightness of training images; by default 0, and for restorers and segmenters 0.1 of heads
    /// and 0.05 otherwise
    #[arg(long, value_parser = number(0.0, 1.0))]
    brightness: Option<f64>,
    /// Largest rotation of training images, in degrees; by default 0, and for restorers and segmenters 10 of heads and 3
    /// otherwise. Objects without a direction, such as a bottle seen from above, are best turned by any angle: 180
    #[arg(long, value_parser = number(0.0, 180.0))]
    rotation: Option<f64>,
    /// Largest relative change of the size of training images; by default 0, and for restorers and segmenters 0.1 of heads
    /// and 0.03 otherwise
    #[arg(long, value_parser = number(0.0, 0.9))]
    zoom: Option<f64>,
    /// Largest relative change of the exponent of the values of training images; by default 0, and 0.15 where restorers and
    /// segmenters are trained on heads
    #[arg(long, value_parser = number(0.0, 0.9))]
    gamma: Option<f64>,
    /// Window of the median filter on maps along slices, rows and columns: millimetres of volumes, and of images, whose
    /// pixels have no known size, pixels of the network's grid. A window has the odd number of voxels nearest to that;
    /// 0 leaves an axis alone. By default 3,5,5 for heads and 0,3,3 otherwise
    #[arg(long, value_name = "SLICES,ROWS,COLUMNS", allow_hyphen_values = true)]
    median: Option<MedianLengths>,
    /// By how much the foreground is eroded before maps are read, in the unit of --median; by default 4 for heads, whose
    /// scalp no model knows, and 0 otherwise
    #[arg(long, value_name = "LENGTH", value_parser = length_of, allow_hyphen_values = true)]
    erosion: Option<f64>,
    /// Parts of a volume, along its slices, in which maps are counted in deviations from what normal slices score
    /// at the same position; 0 for maps as they are. By default 8 for aligned heads, and 0 otherwise
    #[arg(long, alias = "locate", value_parser = whole(0, MOST_BANDS))]
    position_bands: Option<usize>,
    /// In what numbers a VAE multiplies, here and wherever the model file is used
    #[arg(long, value_parser = precisions(), default_value = "single")]
    precision: Precision,
}

fn coarse_noise(deviation: f64) -> Corruption {
    Corruption::CoarseNoise { deviation, cell: 8 }
}

/// How long a training is.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct PassArgs {
    /// Passes over the training slices; by default 30, and for restorers and segmenters as --updates says
    #[arg(long, value_parser = whole(1, 100_000))]
    epochs: Option<usize>,
    /// Instead: updates, in whole epochs; by default 3000 for restorers and segmenters
    #[arg(long, conflicts_with = "epochs", value_parser = whole(1, 100_000_000))]
    updates: Option<usize>,
    /// Instead: minutes for the training, of all members together. The speed of this machine is measured first, and the
    /// learning rate falls over as many epochs as fit
    #[arg(long, value_name = "MINUTES", conflicts_with_all = ["epochs", "updates"], value_parser = number(0.01, 1e5))]
    budget: Option<f64>,
    /// Slices per update; by default 32, and 16 for restorers and segmenters
    #[arg(long, value_parser = whole(1, 4096))]
    batch: Option<usize>,
    /// Highest learning rate
    #[arg(long, default_value_t = 1e-3, value_parser = number(1e-9, 1.0))]
    rate: f64,
    /// Epochs without a better validation loss after which training stops; by default 10, and for restorers and segmenters
    /// none, since they gain most when the learning rate has fallen
    #[arg(long, value_parser = whole(1, 100_000))]
    patience: Option<usize>,
}

/// Updates of a restorer or segmenter, where nothing else is asked for: about 25 minutes of heads on two cores.
const TAUGHT_UPDATES: usize = 3000;
/// Images per update of a restorer or segmenter.
const TAUGHT_BATCH: usize = 16;

impl PassArgs {
    /// How long the training of one of so many members is.
    fn length(&self, kind: ModelKind, members: usize) -> TrainingLength {
        match (self.budget, self.epochs, self.updates) {
            (Some(minutes), ..) => {
                TrainingLength::Budget(Duration::from_secs_f64(60.0 * minutes / members.max(1) as f64))
            }
            (None, None, Some(updates)) => TrainingLength::Updates(updates),
            (None, None, None) if is_taught(kind) => TrainingLength::Updates(TAUGHT_UPDATES),
            _ => TrainingLength::Epochs,
        }
    }

    fn config(&self, kind: ModelKind, seed: u64) -> TrainConfig {
        let (batch, patience) = if is_taught(kind) { (TAUGHT_BATCH, None) } else { (32, Some(10)) };
        TrainConfig::default()
            .epochs(self.epochs.unwrap_or(30))
            .batch_size(self.batch.unwrap_or(batch))
            .adam(AdamConfig::default().rate(self.rate))
            .patience(self.patience.or(patience))
            .seed(seed)
    }
}

/// Whether a kind of model is taught with synthetic anomalies.
fn is_taught(kind: ModelKind) -> bool {
    matches!(kind, ModelKind::Restorer | ModelKind::Segmenter)
}

/// How a training starts where there was an earlier one.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct StartArgs {
    /// Go on from the checkpoint in --out
    #[arg(long)]
    resume: bool,
    /// Go on from the checkpoint in --out where there is one, else start: for jobs that a scheduler repeats
    #[arg(long, conflicts_with = "resume")]
    resume_or_fresh: bool,
    /// Replace the model and the checkpoint of an earlier training in --out
    #[arg(long, conflicts_with_all = ["resume", "resume_or_fresh"])]
    overwrite: bool,
}

impl StartArgs {
    /// How the training starts. What an earlier one left in --out is lost only with --overwrite.
    ///
    /// # Errors
    /// An earlier training in the folder, where no argument says what becomes of it.
    pub fn checkpoints(self, out: &Path, model: &Path) -> Result<Checkpoints, String> {
        let checkpoint: PathBuf = out.join("checkpoint.safetensors");
        let earlier = checkpoint_exists(&checkpoint);
        let start = if self.overwrite {
            Start::Replace
        } else if self.resume {
            Start::Resume
        } else if self.resume_or_fresh {
            if !earlier {
                let out = out.display();
                note(&format!("there is no checkpoint in {out}: the training starts from its seed"));
            }
            Start::ResumeOrFresh
        } else if earlier || model.symlink_metadata().is_ok() {
            let found = if earlier { &checkpoint } else { model }.display();
            return Err(format!(
                "{found} is of an earlier training: --resume goes on from it, --overwrite replaces it"
            ));
        } else {
            Start::Fresh
        };
        Ok(Checkpoints::new(checkpoint, start))
    }
}

impl ModelArgs {
    /// The training of a localizer, or of each of so many, on images of this layout; without the data, it serves to check
    /// the settings.
    #[must_use]
    pub fn training(
        &self,
        (layout, data): (&Layout, Option<&Dataset>),
        passes: PassArgs,
        seed: u64,
        members: usize,
    ) -> LocalizerTraining {
        let preset = self
            .preprocessing
            .unwrap_or_else(|| data.map_or_else(|| Preset::of(layout), |data| Preset::of_data(layout, data)));
        let preprocessing = self.prepared(preset);
        let bands = self.position_bands.unwrap_or_else(|| Preset::bands(&preprocessing));
        LocalizerTraining::new(self.model(preset, passes, seed), preprocessing)
            .postprocessing(self.filters(preset))
            .bands(bands)
            .length(passes.length(self.model, members))
    }

    fn prepared(&self, preset: Preset) -> Preprocessing {
        let grid = [self.size, self.size];
        let mut preprocessing = preset.preprocessing(grid);
        if let Some(intensity) = &self.intensity {
            preprocessing = preprocessing.intensity(intensity.clone());
        }
        match self.frame {
            Some(frame) => preprocessing.frame(frame(grid)),
            None => preprocessing,
        }
    }

    fn filters(&self, preset: Preset) -> PostProcessing {
        let mut filters = preset.postprocessing();
        if let Some(MedianLengths([slices, rows, columns])) = self.median {
            filters = filters.median(slices, rows, columns);
        }
        match self.erosion {
            Some(erosion) => filters.erosion(erosion),
            None => filters,
        }
    }

    fn model(&self, preset: Preset, passes: PassArgs, seed: u64) -> ModelTraining {
        let augmentation = self.augmentation(preset);
        let train = passes.config(self.model, seed);
        // The number of channels is that of the data.
        if self.model != ModelKind::Vae {
            return self.u_net(preset, train, augmentation);
        }
        let mut model = VaeConfig::new(1, self.size, self.size)
            .latent(Latent::Dense { dimensions: self.latent })
            .likelihood((self.likelihood)(self.scale))
            .precision(self.precision);
        if let Some(widths) = &self.widths {
            model = model.widths(widths.clone());
        }
        let of_preset = || match preset {
            Preset::Heads => coarse_noise(self.noise),
            Preset::Photo => Corruption::None,
        };
        let training = VaeTraining::default()
            .train(train)
            .divergence(Divergence::Beta { beta: self.beta, warm_up: 0.1 })
            .augmentation(augmentation)
            .corruption(self.corruption.map_or_else(of_preset, |corruption| corruption(self.noise)));
        ModelTraining::Vae { model, training }
    }

    /// What is asked for; the rest as the kind of model and of image suggests.
    fn augmentation(&self, preset: Preset) -> Augmentation {
        let usual = if is_taught(self.model) { preset.augmentation() } else { Augmentation::default() };
        let mirror = |mirrored| if mirrored { Mirror::LeftRight } else { Mirror::Never };
        let or = |asked: Option<f64>, usual: f32| asked.map_or(usual, |asked| asked as f32);
        Augmentation::default()
            .mirror(self.mirror.map_or(usual.mirror, mirror))
            .shift(self.shift)
            .brightness(or(self.brightness, usual.brightness))
            .rotation(or(self.rotation, usual.rotation))
            .scale(or(self.zoom, usual.scale))
            .gamma(or(self.gamma, usual.gamma))
    }

    /// What is trained of the kinds that are a U-Net.
    fn u_net(&self, preset: Preset, train: TrainConfig, augmentation: Augmentation) -> ModelTraining {
        let mut network = DenoiserConfig::new(1, self.size, self.size);
        if let Some(widths) = &self.widths {
            network = network.widths(widths.clone());
        }
        if self.model == ModelKind::Denoiser {
            let corruption = self.corruption.unwrap_or(coarse_noise)(self.noise);
            let training =
                DenoiserTraining::default().train(train).augmentation(augmentation).corruption(corruption);
            return ModelTraining::Denoiser { model: network, training };
        }
        let mirror = augmentation.mirror;
        let training = SyntheticTraining::default().train(train).augmentation(augmentation);
        let anomalies = self.anomalies.map_or_else(|| preset.anomalies(), |anomalies| anomalies());
        let model = TaughtConfig::new(network, anomalies).test_time_mirror(mirror);
        match self.model {
            ModelKind::Segmenter => ModelTraining::Segmenter { model, training },
            _ => ModelTraining::Restorer { model, training },
        }
    }
}
