//! The arguments of a training: model, preprocessing, length and start.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lesio::anomaly::PostProcessing;
use lesio::image::{HistogramStandardizer, Intensity, Preprocessing, RobustScaling};
use lesio::io::dataset::{Dataset, Layout};
use lesio::nn::{AdamConfig, Ending, Precision, TrainConfig, checkpoint_exists};
use lesio::study::{
    Checkpoints, EpochChoice, LocalizerTraining, ModelKind, ModelTraining, Preset, Start, TrainedLocalizer,
    TrainingLength, predictor_choice,
};
use lesio::vae::{
    Areas, Augmentation, Corruption, DenoiserConfig, DenoiserTraining, Divergence, Latent, Likelihood,
    Mirror, SyntheticAnomalies, SyntheticTraining, TaughtConfig, VaeConfig, VaeTraining,
};

use crate::arguments::{ascending_fractions, number, whole};
use crate::choices::{FrameOfGrid, frames, mirrors, named, one_of, precisions};
use crate::filters::{MedianLengths, length_of};
use crate::invocation::is_given;
use crate::output::{note, warn};
use crate::say;

type LikelihoodOfScale = fn(f64) -> Likelihood;
type CorruptionOfNoise = fn(f64) -> Corruption;

/// More bands than a volume has slices have no effect.
const MOST_BANDS: usize = 1000;

/// The model, its preprocessing, and the filters of its maps.
#[derive(Clone, Debug, clap::Args)]
pub struct ModelArgs {
    /// Kind of model; several kinds, separated by commas, are trained one after the other for an ensemble
    #[arg(long, default_value = "vae", value_delimiter = ',', value_parser = named::<ModelKind>(&[
        ("vae", "A variational autoencoder: every predictor but anomaly-logit"),
        ("denoiser", "A denoising U-Net: pixel predictors only"),
        ("restorer", "A U-Net trained to remove synthetic anomalies: pixel predictors only"),
        ("segmenter", "A U-Net trained to segment synthetic anomalies: its segmentation, and pixel predictors"),
    ]))]
    model: Vec<ModelKind>,
    /// Rows and columns of the network's grid
    #[arg(long, default_value_t = 128, value_parser = whole(4, 4096))]
    size: usize,
    /// Preprocessing; by default heads for volumes and photo for images
    #[arg(long, value_parser = named::<Preset>(&[
        ("heads", "Find the head, scale its intensities, align its box to the grid"),
        ("photo", "Scale each image by its own percentiles and fit it to the grid"),
    ]))]
    preprocessing: Option<Preset>,
    /// Scaling of intensities, instead of that of --preprocessing: percentiles for photo; for heads median if all models
    /// are restorers or segmenters, and otherwise histogram
    #[arg(long, value_parser = one_of(vec![
        ("percentiles", "By each image's own percentiles", Intensity::Robust(RobustScaling::new())),
        (
            "median",
            "By each image's own median, which lesions change less than higher percentiles",
            Intensity::Robust(RobustScaling::median()),
        ),
        (
            "histogram",
            "Percentiles, then the histogram of the training images (Nyul)",
            Intensity::Standardized(HistogramStandardizer::new()),
        ),
    ]))]
    intensity: Option<Intensity>,
    /// Highest value of a scaled image; higher values are clipped. 1 is the intensity of the highest percentile of the
    /// scaling. By default 1.5 for restorers and segmenters of heads, which otherwise see no texture in bright lesions,
    /// and 1 otherwise
    #[arg(long, value_name = "VALUE", value_parser = number(0.01, 100.0))]
    clip: Option<f64>,
    /// Placement of images on the grid, instead of that of --preprocessing
    #[arg(long, value_parser = frames())]
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
        ("learned", "Gaussian with a learned standard deviation for each pixel", |_| Likelihood::GaussianLearned),
        ("laplace", "", |scale| Likelihood::Laplace { scale }),
        ("bernoulli", "", |_| Likelihood::Bernoulli),
    ]))]
    likelihood: LikelihoodOfScale,
    /// Scale of a Gaussian or Laplace likelihood, where 1 is the range of an image
    #[arg(long, default_value_t = 0.1, value_parser = number(1e-4, 1e4))]
    scale: f64,
    /// Corruption of the training images; by default noise for heads and for denoisers
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
    /// Synthetic anomalies for the training of restorers and segmenters; by default medical for heads, and natural
    /// otherwise
    #[arg(long, value_parser = one_of::<fn() -> SyntheticAnomalies>(vec![
        ("medical", "Brighter and darker lesions, parts of other subjects", SyntheticAnomalies::medical),
        (
            "natural",
            "Other tints and colors, parts of other images, displaced neighborhoods",
            SyntheticAnomalies::natural,
        ),
    ]))]
    anomalies: Option<fn() -> SyntheticAnomalies>,
    /// Fraction of the synthetic anomalies that become stronger from their edge to their middle, without a step at the
    /// edge
    #[arg(long, default_value_t = 0.0, value_parser = number(0.0, 1.0))]
    gradual: f64,
    /// Fraction of the training images that get no synthetic anomaly. 0.3 helps with small defects of textures, and harms
    /// on objects and heads
    #[arg(long, default_value_t = 0.0, value_parser = number(0.0, 0.99))]
    absent: f64,
    /// Smallest and largest area of synthetic anomalies, as fractions of the image. Small and large areas are then
    /// equally frequent on a logarithmic scale, which helps with small defects of textures, and harms on objects. By
    /// default, areas are uniform from 0.015 to 0.15
    #[arg(long, value_name = "SMALLEST,LARGEST", value_parser = ascending_fractions)]
    areas: Option<[f64; 2]>,
    /// Mirror half of the training images. Restorers and segmenters then also average their output for an image and for
    /// its mirror images. By default left-right for restorers and segmenters of heads, and never otherwise
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "left-right", value_parser = mirrors())]
    mirror: Option<Mirror>,
    /// Largest shift of training images, in pixels
    #[arg(long, default_value_t = 0, value_parser = whole(0, 1024))]
    shift: usize,
    /// Largest relative change of brightness of training images; by default 0. For restorers and segmenters: 0.1 for
    /// heads, 0.05 otherwise
    #[arg(long, value_parser = number(0.0, 1.0))]
    brightness: Option<f64>,
    /// Largest rotation of training images, in degrees; by default 0. For restorers and segmenters: 10 for heads, 3
    /// otherwise. Use 180 for objects without a preferred direction, such as a bottle seen from above
    #[arg(long, value_parser = number(0.0, 180.0))]
    rotation: Option<f64>,
    /// Largest relative change of the size of training images; by default 0. For restorers and segmenters: 0.1 for
    /// heads, 0.03 otherwise
    #[arg(long, value_parser = number(0.0, 0.9))]
    zoom: Option<f64>,
    /// Largest relative change of the gamma exponent of training images; by default 0, and 0.15 for restorers and
    /// segmenters of heads
    #[arg(long, value_parser = number(0.0, 0.9))]
    gamma: Option<f64>,
    /// Largest relative change of brightness of training images by uneven light, which varies smoothly over an image;
    /// by default 0. For textures and objects that no lamp lights evenly
    #[arg(long, value_parser = number(0.0, 0.99))]
    shading: Option<f64>,
    /// Window of the median filter on maps along slices, rows and columns: in millimeters for volumes, in pixels of the
    /// network's grid for images, whose pixel size is unknown. Each length is rounded to an odd number of voxels; 0
    /// leaves an axis unfiltered. By default 3,5,5 for heads and 0,3,3 otherwise
    #[arg(long, value_name = "SLICES,ROWS,COLUMNS", allow_hyphen_values = true)]
    median: Option<MedianLengths>,
    /// Erosion of the foreground before maps are read, in the unit of --median; by default 4 for heads, whose scalp
    /// models cannot reproduce, and 0 otherwise
    #[arg(long, value_name = "LENGTH", value_parser = length_of, allow_hyphen_values = true)]
    erosion: Option<f64>,
    /// Number of bands of slices for the normalization of maps by position: scores become standard deviations from the
    /// mean score of normal slices in the same band. 0 turns it off. By default 8 for aligned heads, and 0 otherwise
    #[arg(long, alias = "locate", value_parser = whole(0, MOST_BANDS))]
    position_bands: Option<usize>,
    /// Number format in which a VAE is computed, here and wherever the model file is used
    #[arg(long, value_parser = precisions(), default_value = "single")]
    precision: Precision,
}

/// Arguments that only some kinds of models use, by their long names.
const OF_KINDS: [(&str, &[ModelKind]); 11] = [
    ("latent", &[ModelKind::Vae]),
    ("beta", &[ModelKind::Vae]),
    ("likelihood", &[ModelKind::Vae]),
    ("scale", &[ModelKind::Vae]),
    ("precision", &[ModelKind::Vae]),
    ("corruption", &[ModelKind::Vae, ModelKind::Denoiser]),
    ("noise", &[ModelKind::Vae, ModelKind::Denoiser]),
    ("anomalies", &[ModelKind::Restorer, ModelKind::Segmenter]),
    ("gradual", &[ModelKind::Restorer, ModelKind::Segmenter]),
    ("absent", &[ModelKind::Restorer, ModelKind::Segmenter]),
    ("areas", &[ModelKind::Restorer, ModelKind::Segmenter]),
];

/// Arguments whose effect depends on other arguments: a change of each, and why it may have no effect.
const OF_CHOICES: [(&str, fn(&mut ModelArgs), &str); 2] = [
    ("scale", |args| args.scale *= 2.0, "this --likelihood has no scale"),
    ("noise", |args| args.noise += 1.0, "the training images get no noise without --corruption noise"),
];

fn coarse_noise(deviation: f64) -> Corruption {
    Corruption::CoarseNoise { deviation, cell: 8 }
}

/// The length of a training.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct PassArgs {
    /// Passes over the training slices; by default 30. Restorers and segmenters use --updates by default
    #[arg(long, value_parser = whole(1, 100_000))]
    epochs: Option<usize>,
    /// Number of updates instead of --epochs, in whole epochs; by default 3000 for restorers and segmenters
    #[arg(long, conflicts_with = "epochs", value_parser = whole(1, 100_000_000))]
    updates: Option<usize>,
    /// Minutes for the training of all members together, instead of --epochs. The program first measures the speed of
    /// this machine; the learning rate then falls over as many epochs as fit
    #[arg(long, value_name = "MINUTES", conflicts_with_all = ["epochs", "updates"], value_parser = number(0.01, 1e5))]
    budget: Option<f64>,
    /// Slices per update; by default 32, and 16 for restorers and segmenters
    #[arg(long, value_parser = whole(1, 4096))]
    batch: Option<usize>,
    /// Highest learning rate
    #[arg(long, default_value_t = 1e-3, value_parser = number(1e-9, 1.0))]
    rate: f64,
    /// Keep the mean of the weights over about this many updates, in which recent ones count most, instead of the last
    /// weights; 0 turns it off. At least 8
    #[arg(long, value_name = "UPDATES", default_value_t = 0.0, value_parser = averaging)]
    averaging: f64,
    /// How the epoch is chosen whose model is kept
    #[arg(long, value_name = "HOW", default_value = "loss", value_parser = named::<EpochChoice>(&[
        (
            "loss",
            "The lowest validation loss; that of restorers and segmenters measures synthetic anomalies alone",
        ),
        (
            "lesions",
            "The highest average precision on lesions of validation images, which a long training may detect worse",
        ),
    ]))]
    choose_by: EpochChoice,
    /// Training stops after this many epochs without a better one by --choose-by; by default 10. Restorers and segmenters
    /// do not stop early by default, since they improve most when the learning rate is low
    #[arg(long, value_parser = whole(1, 100_000))]
    patience: Option<usize>,
}

/// Default updates of a restorer or segmenter: about 25 minutes for heads on two cores.
const TAUGHT_UPDATES: usize = 3000;
/// Images per update of a restorer or segmenter.
const TAUGHT_BATCH: usize = 16;

impl PassArgs {
    /// The length of the training of one of `members` members.
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
            .averaging((self.averaging > 0.0).then_some(self.averaging))
            .seed(seed)
    }
}

/// A number of updates over which weights are averaged, or 0.
fn averaging(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(0.0) => Ok(0.0),
        Ok(updates) if (8.0..=1e12).contains(&updates) => Ok(updates),
        _ => Err("expected 0, or 8 to 1e12".to_owned()),
    }
}

/// Whether a kind of model is trained with synthetic anomalies.
fn is_taught(kind: ModelKind) -> bool {
    matches!(kind, ModelKind::Restorer | ModelKind::Segmenter)
}

/// Prints why a training ended before its last epoch, if it did, and which predictor the localizer uses.
pub fn say_result(trained: &TrainedLocalizer) {
    if let Some(reason) = early_stop(trained.ending, trained.history.len(), trained.model.train_config()) {
        say!("{reason}");
    }
    say!("{}", predictor_choice(&trained.localizer).1);
}

/// Why a training ended before its last epoch.
fn early_stop(ending: Ending, done: usize, config: &TrainConfig) -> Option<String> {
    let (epochs, patience) = (config.epochs, config.patience?);
    (ending == Ending::Patience && done < epochs).then(|| {
        format!(
            "stopped after {done} of {epochs} epochs: no better one among the last {patience} (--patience)"
        )
    })
}

/// How a training treats an earlier one in the same folder.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct StartArgs {
    /// Continue from the checkpoint in --out
    #[arg(long)]
    resume: bool,
    /// Continue from the checkpoint in --out if there is one, else start anew: for jobs that a scheduler restarts
    #[arg(long, conflicts_with = "resume")]
    resume_or_fresh: bool,
    /// Replace the model and the checkpoint of an earlier training in --out. If it had more members, these stay in
    /// their folders and are no longer used
    #[arg(long, conflicts_with_all = ["resume", "resume_or_fresh"])]
    overwrite: bool,
}

impl StartArgs {
    /// The same for each of several members: --resume continues a training that ended before its last members began.
    #[must_use]
    pub fn of_members(self, folders: &[PathBuf]) -> Self {
        let is_begun = |folder: &PathBuf| checkpoint_exists(&folder.join("checkpoint.safetensors"));
        let continues = self.resume && folders.len() > 1 && folders.iter().any(is_begun);
        Self { resume: self.resume && !continues, resume_or_fresh: self.resume_or_fresh || continues, ..self }
    }

    /// How the training starts. Only --overwrite discards the files of an earlier training in --out.
    ///
    /// # Errors
    /// If the folder holds an earlier training and no argument says how to treat it.
    pub fn checkpoints(self, out: &Path, model: &Path) -> Result<Checkpoints, String> {
        let checkpoint: PathBuf = out.join("checkpoint.safetensors");
        let earlier = checkpoint_exists(&checkpoint);
        let start = if self.overwrite {
            Start::Replace
        } else if self.resume {
            Start::Resume
        } else if self.resume_or_fresh {
            if !earlier && model.symlink_metadata().is_ok() {
                let model = model.display();
                return Err(format!("{model} has no checkpoint to continue from: --overwrite replaces it"));
            }
            if !earlier {
                let out = out.display();
                note(&format!("there is no checkpoint in {out}: the training starts from its seed"));
            }
            Start::ResumeOrFresh
        } else if earlier || model.symlink_metadata().is_ok() {
            let found = if earlier { &checkpoint } else { model }.display();
            return Err(format!(
                "{found} is from an earlier training: --resume continues it, --overwrite replaces it"
            ));
        } else {
            Start::Fresh
        };
        Ok(Checkpoints::new(checkpoint, start))
    }

    /// Checks that the file of an ensemble in a folder is not that of an earlier training which is to be kept; `members`
    /// are the folders of its members.
    ///
    /// # Errors
    /// If there is such a file, and the training neither continues that of its members nor replaces it.
    pub fn check_ensemble(self, out: &Path, members: &[PathBuf]) -> Result<(), String> {
        let model = out.join("model.safetensors");
        let is_begun = members.iter().any(|folder| checkpoint_exists(&folder.join("checkpoint.safetensors")));
        let is_continued = is_begun && (self.resume || self.resume_or_fresh);
        if self.overwrite || is_continued || model.symlink_metadata().is_err() {
            return Ok(());
        }
        let model = model.display();
        Err(match is_begun {
            true => {
                format!("{model} is from an earlier training: --resume continues it, --overwrite replaces it")
            }
            false => {
                format!("{model} is from another training, without these members: --overwrite replaces it")
            }
        })
    }
}

impl ModelArgs {
    /// Warns of arguments that none of the models of these images uses.
    pub fn warn_of_unused(&self, images: (&Layout, Option<&Dataset>), passes: PassArgs) {
        let mut told = Vec::new();
        for (name, kinds) in OF_KINDS {
            if is_given(name) && !self.model.iter().any(|kind| kinds.contains(kind)) {
                told.push(name);
                let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
                warn(&format!("--{name} has no effect here: it is for --model {}", kinds.join(" or ")));
            }
        }
        let preset = self.preset(images);
        for (name, change, reason) in OF_CHOICES {
            let mut changed = self.clone();
            change(&mut changed);
            let used = |&kind: &ModelKind| {
                changed.model(kind, preset, passes, 0) != self.model(kind, preset, passes, 0)
            };
            if is_given(name) && !told.contains(&name) && !self.model.iter().any(used) {
                warn(&format!("--{name} has no effect here: {reason}"));
            }
        }
    }

    /// The training configurations of the localizers for images of this layout: one of each kind, for each of
    /// `members` seeds. Without the data, the configurations serve only to check the settings.
    #[must_use]
    pub fn trainings(
        &self,
        images: (&Layout, Option<&Dataset>),
        passes: PassArgs,
        seed: u64,
        members: usize,
    ) -> Vec<LocalizerTraining> {
        let seeds = (0..members as u64).map(|member| seed.wrapping_add(member));
        let all = seeds.flat_map(|seed| self.model.iter().map(move |&kind| (kind, seed)));
        all.map(|(kind, seed)| self.training(kind, images, passes, seed, members * self.model.len()))
            .collect()
    }

    /// The configuration of one of `members` localizers.
    fn training(
        &self,
        kind: ModelKind,
        images: (&Layout, Option<&Dataset>),
        passes: PassArgs,
        seed: u64,
        members: usize,
    ) -> LocalizerTraining {
        let preset = self.preset(images);
        let preprocessing = self.prepared(preset);
        let bands = self.position_bands.unwrap_or_else(|| Preset::bands(&preprocessing));
        LocalizerTraining::new(self.model(kind, preset, passes, seed), preprocessing)
            .postprocessing(self.filters(preset))
            .bands(bands)
            .length(passes.length(kind, members))
            .epoch_choice(passes.choose_by)
    }

    fn prepared(&self, preset: Preset) -> Preprocessing {
        let grid = [self.size, self.size];
        // The models of an ensemble have one preprocessing.
        let mut preprocessing = match self.model.iter().all(|&kind| is_taught(kind)) {
            true => preset.taught_preprocessing(grid),
            false => preset.preprocessing(grid),
        };
        if let Some(intensity) = &self.intensity {
            preprocessing = preprocessing.intensity(intensity.clone());
        }
        if let Some(highest) = self.clip {
            preprocessing = preprocessing.clip(Some([0.0, highest as f32]));
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

    fn model(&self, kind: ModelKind, preset: Preset, passes: PassArgs, seed: u64) -> ModelTraining {
        let augmentation = self.augmentation(kind, preset);
        let train = passes.config(kind, seed);
        // The number of channels is that of the data.
        if kind != ModelKind::Vae {
            return self.u_net(kind, preset, train, augmentation);
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

    fn preset(&self, (layout, data): (&Layout, Option<&Dataset>)) -> Preset {
        let of_images = || data.map_or_else(|| Preset::of(layout), |data| Preset::of_data(layout, data));
        self.preprocessing.unwrap_or_else(of_images)
    }

    /// The augmentation that the arguments give; other settings follow from the kind of model and of image.
    fn augmentation(&self, kind: ModelKind, preset: Preset) -> Augmentation {
        let usual = if is_taught(kind) { preset.augmentation() } else { Augmentation::default() };
        let or = |asked: Option<f64>, usual: f32| asked.map_or(usual, |asked| asked as f32);
        Augmentation::default()
            .mirror(self.mirror.unwrap_or(usual.mirror))
            .shift(self.shift)
            .brightness(or(self.brightness, usual.brightness))
            .rotation(or(self.rotation, usual.rotation))
            .scale(or(self.zoom, usual.scale))
            .gamma(or(self.gamma, usual.gamma))
            .shading(or(self.shading, usual.shading))
    }

    /// The training of a model that is a U-Net.
    fn u_net(
        &self,
        kind: ModelKind,
        preset: Preset,
        train: TrainConfig,
        augmentation: Augmentation,
    ) -> ModelTraining {
        let mut network = DenoiserConfig::new(1, self.size, self.size);
        if let Some(widths) = &self.widths {
            network = network.widths(widths.clone());
        }
        if kind == ModelKind::Denoiser {
            let corruption = self.corruption.unwrap_or(coarse_noise)(self.noise);
            let training =
                DenoiserTraining::default().train(train).augmentation(augmentation).corruption(corruption);
            return ModelTraining::Denoiser { model: network, training };
        }
        let mirror = augmentation.mirror;
        let training = SyntheticTraining::default().train(train).augmentation(augmentation);
        let mut anomalies = self.anomalies.map_or_else(|| preset.anomalies(), |anomalies| anomalies());
        anomalies.gradual = self.gradual;
        anomalies.absent = self.absent;
        if let Some([smallest, largest]) = self.areas {
            anomalies.quantile = [1.0 - largest, 1.0 - smallest];
            anomalies.areas = Areas::Logarithmic;
        }
        let model = TaughtConfig::new(network, anomalies).test_time_mirror(mirror);
        match kind {
            ModelKind::Segmenter => ModelTraining::Segmenter { model, training },
            _ => ModelTraining::Restorer { model, training },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_early_end_has_a_reason() {
        let config = TrainConfig::default().epochs(30).patience(Some(10));
        assert_eq!(
            early_stop(Ending::Patience, 23, &config).unwrap(),
            "stopped after 23 of 30 epochs: no better one among the last 10 (--patience)"
        );
        assert_eq!(early_stop(Ending::Patience, 30, &config), None);
        assert_eq!(early_stop(Ending::Complete, 30, &config), None);
    }
}
