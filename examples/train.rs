//! Trains a model on normal images and saves a localizer.
//!
//! `cargo run --release --example train -- --data DIR --image flair.nii.gz --mask mask.nii.gz`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lesio::anomaly::{PostProcessing, PredictorName};
use lesio::image::{
    Alignment, Frame, GridFit, HistogramStandardizer, Intensity, Preprocessing, RobustScaling,
};
use lesio::nn::checkpoint_exists;
use lesio::report::{Curve, Existing, HtmlReport, LinePlot, write_json};
use lesio::study::{
    Checkpoints, ModelTraining, Start, calibrate, fit_preprocessing, hold_out, normal_examples,
    normalize_by_position, train,
};
use lesio::vae::{
    Augmentation, Corruption, DenoiserConfig, DenoiserTraining, Divergence, Latent, Likelihood, Mirror,
    VaeConfig, VaeTraining,
};
use lesio_examples::arguments::{number, whole};
use lesio_examples::filters::{MedianLengths, choice, length_of};
use lesio_examples::output::{note, warn};
use lesio_examples::{
    DataArgs, DeviceArgs, LayoutName, Outcome, PrecisionName, bar, check_folder, command, prepare_folder,
    read_cases, run, say, watch_training,
};
use serde_json::json;

/// Train a model of normal images and save it, with its preprocessing, as one file.
///
/// Slices that hold a lesion (a mask other than 0) are left out. Writes model.safetensors, report.json and report.html into
/// the folder given by --out. A training that was interrupted goes on with --resume.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Split to train on, as in splits.csv; "all" takes every case
    #[arg(long, default_value = "train")]
    split: String,
    /// Split that chooses the epoch; without it every tenth patient of the training split is held out
    #[arg(long)]
    validation: Option<String>,
    /// Kind of model
    #[arg(long, value_enum, default_value = "vae")]
    model: Kind,
    /// Rows and columns of the network's grid
    #[arg(long, default_value_t = 128, value_parser = whole(4, 4096))]
    size: usize,
    /// How images come to the grid; by default heads for volumes and photo for images
    #[arg(long, value_enum)]
    preprocessing: Option<Prepare>,
    /// How intensities are scaled, instead of what --preprocessing says
    #[arg(long, value_enum)]
    intensity: Option<Intensities>,
    /// How images are laid on the grid, instead of what --preprocessing says
    #[arg(long, value_enum)]
    frame: Option<Frames>,
    /// Channels at each resolution, finest first; by default 32,64,128,256 for a VAE, 16,32,64,96 for a denoiser
    #[arg(long, value_delimiter = ',')]
    widths: Option<Vec<usize>>,
    /// Latent dimensions of a VAE
    #[arg(long, default_value_t = 128, value_parser = whole(1, 65_536))]
    latent: usize,
    /// Weight of the divergence in a VAE's loss
    #[arg(long, default_value_t = 1.0, value_parser = number(0.0, 1e6))]
    beta: f64,
    /// Distribution of pixels given the latent sample
    #[arg(long, value_enum, default_value = "gaussian")]
    likelihood: Pixels,
    /// Scale of a Gaussian or Laplace likelihood, where 1 is the range of an image
    #[arg(long, default_value_t = 0.1, value_parser = number(1e-4, 1e4))]
    scale: f64,
    /// What the network sees in training instead of the image; by default noise for heads and for denoisers
    #[arg(long, value_enum)]
    corruption: Option<Corrupt>,
    /// Standard deviation of the coarse noise
    #[arg(long, default_value_t = 0.2, value_parser = number(0.0, 10.0))]
    noise: f64,
    /// Mirror half of the training images left to right
    #[arg(long)]
    mirror: bool,
    /// Largest shift of training images, in pixels
    #[arg(long, default_value_t = 0, value_parser = whole(0, 1024))]
    shift: usize,
    /// Largest relative change of brightness of training images
    #[arg(long, default_value_t = 0.0, value_parser = number(0.0, 1.0))]
    brightness: f64,
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
    /// at the same place; 0 for maps as they are. By default 8 for aligned heads, and 0 otherwise
    #[arg(long, value_parser = whole(0, MOST_BANDS))]
    locate: Option<usize>,
    /// In what numbers a VAE multiplies, here and wherever the model file is used
    #[arg(long, value_enum, default_value = "single")]
    precision: PrecisionName,
    #[command(flatten)]
    device: DeviceArgs,
    /// Passes over the training slices
    #[arg(long, default_value_t = 30, value_parser = whole(1, 100_000))]
    epochs: usize,
    /// Slices per update
    #[arg(long, default_value_t = 32, value_parser = whole(1, 4096))]
    batch: usize,
    /// Highest learning rate
    #[arg(long, default_value_t = 1e-3, value_parser = number(1e-9, 1.0))]
    rate: f64,
    /// Epochs without a better validation loss after which training stops
    #[arg(long, default_value_t = 10, value_parser = whole(1, 100_000))]
    patience: usize,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Go on from the checkpoint in --out
    #[arg(long)]
    resume: bool,
    /// Go on from the checkpoint in --out where there is one, else start: for jobs that a scheduler repeats
    #[arg(long, conflicts_with = "resume")]
    resume_or_fresh: bool,
    /// Replace the model and the checkpoint of an earlier training in --out
    #[arg(long, conflicts_with_all = ["resume", "resume_or_fresh"])]
    overwrite: bool,
    /// Folder for the model and its report
    #[arg(long, default_value = "target/lesio/train")]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    /// A variational autoencoder: every predictor
    Vae,
    /// A denoising U-Net: pixel predictors only, and often the best of them
    Denoiser,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Prepare {
    /// Find the head, standardize its histogram, align its box to the grid
    Heads,
    /// Scale each image by its own percentiles and fit it to the grid
    Photo,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Intensities {
    /// By each image's own percentiles
    Percentiles,
    /// Percentiles, then the histogram of the training images (Nyul)
    Histogram,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Frames {
    /// The whole image
    Fit,
    /// The box around the foreground
    Align,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Pixels {
    Gaussian,
    /// Gaussian with a standard deviation learnt for each pixel
    Learned,
    Laplace,
    Bernoulli,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Corrupt {
    None,
    /// Squares filled with one value (context encoding)
    Squares,
    /// Coarse noise
    Noise,
}

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let args = Args::parse();
    let started = Instant::now();
    // The number of channels is not known yet, and is refused by no setting.
    recipe(&args, 1).validate()?;
    let (model, checkpoint) = (args.out.join("model.safetensors"), args.out.join("checkpoint.safetensors"));
    check_folder(&args.out)?;
    let start = start(&args, &model, &checkpoint)?;
    let data = args.data.open()?;
    let options = args.data.read_options();
    let unknown = data.unknown();
    if unknown > 0 && args.data.layout != LayoutName::Mvtec {
        let all = data.cases().len();
        note(&format!("{unknown} of {all} cases have no mask: every slice of them is taken for normal"));
    }
    let validation = args.validation.as_ref().map(|split| args.data.select(&data, split)).transpose()?;
    let subjects = args.data.read_split(&data, &args.split)?;
    let (mut subjects, held_out) = match &validation {
        Some(split) => (subjects, read_cases(split, "the validation split", &options)?),
        None => {
            let parts = hold_out(subjects);
            (parts.training, parts.validation)
        }
    };
    let preprocessing = fit_preprocessing(&preprocessing(&args), &subjects)?;
    let examples = normal_examples(&preprocessing, &subjects)?;
    let validation = normal_examples(&preprocessing, &held_out)?;
    let counts = json!({
        "training": {"cases": subjects.len(), "normal_slices": examples.len()},
        "validation": {"cases": held_out.len(), "normal_slices": validation.len()},
    });
    say!(
        "{} normal slices of {} cases to train on, {} of {} to validate",
        examples.len(),
        subjects.len(),
        validation.len(),
        held_out.len()
    );
    if validation.is_empty() {
        warn("no normal slice is left to validate: the last epoch is kept, and the model gets no thresholds");
    }
    // One channel has no order.
    let named = subjects.first().map(|subject| subject.scan.names()).filter(|names| names.len() > 1);
    let channels = named.unwrap_or_default().to_vec();
    let bands = bands(&args);
    if bands == 0 {
        subjects.clear();
    }
    let shape = examples.shape();
    let recipe = recipe(&args, shape.channels);
    let checkpoints = Checkpoints::new(checkpoint, start);
    prepare_folder(&args.out)?;
    let progress = bar(1, "training");
    let trained = train(
        &recipe,
        preprocessing,
        examples,
        validation,
        &checkpoints,
        &args.device.device,
        watch_training(&progress),
    )?;
    progress.finish_and_clear();

    let mut localizer = trained.localizer.postprocessing(filters(&args)).channels(channels)?;
    let names: Vec<PredictorName> =
        localizer.predictors().into_iter().filter(|name| !name.is_iterative()).collect();
    if bands > 0 {
        // Of the training cases: the held-out ones calibrate, and must be new to all that they calibrate. `intensity`
        // stays as it is: the floor knows nothing of places.
        let located: Vec<PredictorName> =
            names.iter().copied().filter(|&name| name != PredictorName::Intensity).collect();
        let progress = bar(subjects.len() as u64, "gathering what is usual by place");
        localizer = normalize_by_position(localizer, &subjects, &located, bands, |done| {
            progress.set_position(done as u64)
        })?;
        progress.finish_and_clear();
    }
    let progress = bar(held_out.len() as u64, "calibrating");
    let localizer = calibrate(localizer, &held_out, &names, |done| progress.set_position(done as u64))?;
    progress.finish_and_clear();
    localizer.save(&model)?;

    let report = json!({
        "schema": 1,
        "command": command("train"),
        "seconds": started.elapsed().as_secs_f64(),
        "recipe": recipe,
        "ending": format!("{:?}", trained.ending),
        "data": counts,
        "history": trained.history,
        "chosen": localizer.chosen(),
        "provenance": localizer.provenance(),
    });
    write_json(args.out.join("report.json"), &report, Existing::Replace)?;
    let losses = |name: &str, pick: &dyn Fn(&lesio::nn::EpochRecord) -> Option<f64>| {
        let (x, y): (Vec<f64>, Vec<f64>) = trained
            .history
            .iter()
            .filter_map(|record| Some(((record.epoch + 1) as f64, pick(record)?)))
            .unzip();
        Curve::new(name, x, y)
    };
    let plot = LinePlot::training("Loss by epoch", "loss per image")
        .curve(losses("training", &|record| Some(record.training.total))?)
        .curve(losses("validation", &|record| record.validation.as_ref().map(|terms| terms.total))?);
    HtmlReport::new("Training of a localizer")
        .figure_svg(
            &plot.to_svg()?,
            "Mean loss of each epoch; the model is that of the lowest validation loss.",
        )
        .code(serde_json::to_string_pretty(&recipe)?)
        .write(args.out.join("report.html"), Existing::Replace)?;
    say!("{}", choice(localizer.chosen()));
    say!("wrote {} in {:.0} s", model.display(), started.elapsed().as_secs_f64());
    Ok(())
}

/// How the training starts. What an earlier one left in --out is lost only where that is asked for.
fn start(args: &Args, model: &Path, checkpoint: &Path) -> Result<Start, String> {
    let earlier = checkpoint_exists(checkpoint);
    if args.overwrite {
        return Ok(Start::Replace);
    }
    if args.resume {
        return Ok(Start::Resume);
    }
    if args.resume_or_fresh {
        if !earlier {
            note(&format!(
                "there is no checkpoint in {}: the training starts from its seed",
                args.out.display()
            ));
        }
        return Ok(Start::ResumeOrFresh);
    }
    let found = if earlier { checkpoint } else { model };
    if earlier || model.symlink_metadata().is_ok() {
        let found = found.display();
        return Err(format!(
            "{found} is of an earlier training: --resume goes on from it, --overwrite replaces it"
        ));
    }
    Ok(Start::Fresh)
}

/// How images are prepared, unless it is said, by their layout.
fn prepare(args: &Args) -> Prepare {
    let by_layout = match args.data.layout {
        LayoutName::Mvtec | LayoutName::Images => Prepare::Photo,
        LayoutName::Cases | LayoutName::Acdc | LayoutName::Msd => Prepare::Heads,
    };
    args.preprocessing.unwrap_or(by_layout)
}

/// How maps are filtered.
fn filters(args: &Args) -> PostProcessing {
    let (median, erosion) = match prepare(args) {
        Prepare::Heads => ([3.0, 5.0, 5.0], 4.0),
        Prepare::Photo => ([0.0, 3.0, 3.0], 0.0),
    };
    let [slices, rows, columns] = args.median.map_or(median, |MedianLengths(lengths)| lengths);
    PostProcessing::default().median(slices, rows, columns).erosion(args.erosion.unwrap_or(erosion))
}

fn preprocessing(args: &Args) -> Preprocessing {
    let grid = [args.size, args.size];
    let mut preprocessing = match prepare(args) {
        Prepare::Heads => Preprocessing::heads(grid),
        Prepare::Photo => Preprocessing::new(grid)
            .intensity(Intensity::Robust(RobustScaling::new()))
            .clip(Some([0.0, 1.0]))
            .frame(Frame::Fit(GridFit::new(grid))),
    };
    if let Some(intensity) = args.intensity {
        preprocessing = preprocessing.intensity(match intensity {
            Intensities::Percentiles => Intensity::Robust(RobustScaling::new()),
            Intensities::Histogram => Intensity::Standardized(HistogramStandardizer::new()),
        });
    }
    match args.frame {
        Some(Frames::Fit) => preprocessing.frame(Frame::Fit(GridFit::new(grid))),
        Some(Frames::Align) => preprocessing.frame(Frame::Align(Alignment::new(grid))),
        None => preprocessing,
    }
}

/// Bands in which places are told apart, by default: an eighth of a head is as thick as its anatomy is alike.
const BANDS: usize = 8;

/// More bands than a volume has slices tell nothing more.
const MOST_BANDS: usize = 1000;

/// In how many bands maps are counted from what is usual at their place; 0 for maps as they are.
fn bands(args: &Args) -> usize {
    let aligned = matches!(preprocessing(args).frame, Frame::Align(_));
    args.locate.unwrap_or(if aligned { BANDS } else { 0 })
}

fn recipe(args: &Args, channels: usize) -> ModelTraining {
    let augmentation = Augmentation::default()
        .mirror(if args.mirror { Mirror::LeftRight } else { Mirror::Never })
        .shift(args.shift)
        .brightness(args.brightness as f32);
    let noise = Corruption::CoarseNoise { deviation: args.noise, cell: 8 };
    let corruption = args.corruption.map(|corruption| match corruption {
        Corrupt::None => Corruption::None,
        Corrupt::Squares => Corruption::Squares { count: 3, side: 0.5 },
        Corrupt::Noise => noise,
    });
    let mut train = lesio::nn::TrainConfig::default();
    train.epochs = args.epochs;
    train.batch_size = args.batch;
    train.adam.rate = args.rate;
    train.patience = Some(args.patience);
    train.seed = args.seed;
    match args.model {
        Kind::Vae => {
            let likelihood = match args.likelihood {
                Pixels::Gaussian => Likelihood::Gaussian { scale: args.scale },
                Pixels::Learned => Likelihood::GaussianLearned,
                Pixels::Laplace => Likelihood::Laplace { scale: args.scale },
                Pixels::Bernoulli => Likelihood::Bernoulli,
            };
            let mut model = VaeConfig::new(channels, args.size, args.size)
                .latent(Latent::Dense { dimensions: args.latent })
                .likelihood(likelihood)
                .precision(args.precision.into());
            if let Some(widths) = &args.widths {
                model = model.widths(widths.clone());
            }
            let mut training = VaeTraining::default();
            training.train = train;
            training.divergence = Divergence::Beta { beta: args.beta, warm_up: 0.1 };
            training.augmentation = augmentation;
            training.corruption = corruption.unwrap_or(match prepare(args) {
                Prepare::Heads => noise,
                Prepare::Photo => Corruption::None,
            });
            ModelTraining::Vae { model, training }
        }
        Kind::Denoiser => {
            let mut model = DenoiserConfig::new(channels, args.size, args.size);
            if let Some(widths) = &args.widths {
                model = model.widths(widths.clone());
            }
            let mut training = DenoiserTraining::default();
            training.train = train;
            training.augmentation = augmentation;
            training.corruption = corruption.unwrap_or(noise);
            ModelTraining::Denoiser { model, training }
        }
    }
}
