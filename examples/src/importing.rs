//! The arguments of an import: the files, how images come to the model, and normal images.

use std::error::Error;
use std::path::PathBuf;

use lesio::anomaly::{PostProcessing, PredictorSettings};
use lesio::image::{HistogramStandardizer, Intensity, LinearScale, Preprocessing, RobustScaling, ZScore};
use lesio::io::MaskRule;
use lesio::io::dataset::Layout;
use lesio::nn::Shape;
use lesio::onnx::{ImportConfig, ImportedKind, VaeTensors};
use lesio::study::{BadCases, FailedCase, Observer, Preset, Subject};
use lesio::vae::Likelihood;

use crate::ReadArgs;
use crate::arguments::number;
use crate::choices::{FrameOfGrid, frames, layouts, named, one_of};
use crate::data::{DataArgs, mask_rule};
use crate::invocation::is_given;
use crate::layouts::LayoutArgs;
use crate::output::warn;

/// The kind of an imported model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Vae,
    Reconstructor,
    Segmenter,
}

/// The model and its files.
#[derive(Clone, Debug, clap::Args)]
pub struct SourceArgs {
    /// The model, an ONNX file
    #[arg(long, required_unless_present = "encoder")]
    model: Option<PathBuf>,
    /// Instead: the encoder of a VAE, an ONNX file with the outputs mean and log-variance
    #[arg(long, conflicts_with = "model", requires = "decoder")]
    encoder: Option<PathBuf>,
    /// The decoder of the VAE
    #[arg(long, requires = "encoder")]
    decoder: Option<PathBuf>,
    /// Weights that replace those of the ONNX files, by name: .safetensors, .pth or .pt
    #[arg(long)]
    weights: Option<PathBuf>,
    /// Kind of the model
    #[arg(long, default_value = "vae", value_parser = one_of(vec![
        ("vae", "Mean and log-variance of a latent vector, and an image of that vector", Kind::Vae),
        ("reconstructor", "The image as it is when it is normal: an autoencoder or a denoiser", Kind::Reconstructor),
        ("segmenter", "For each pixel how likely it is abnormal", Kind::Segmenter),
    ]))]
    kind: Kind,
    /// Name of the tensor with the mean [default: found by the names of the outputs]
    #[arg(long)]
    mean: Option<String>,
    /// Name of the tensor with the logarithm of the variance [default: found by the names of the outputs]
    #[arg(long)]
    log_variance: Option<String>,
    /// Name of the latent vector in a model that contains encoder and decoder [default: the tensor through which all
    /// paths to the reconstruction lead]
    #[arg(long)]
    latent: Option<String>,
    /// Name of the output [default: the only output, or the one with the shape of the image]
    #[arg(long)]
    reconstruction: Option<String>,
    /// Distribution of pixels given the latent vector
    #[arg(long, default_value = "gaussian", value_parser = one_of::<fn(f64) -> Likelihood>(vec![
        ("gaussian", "", |scale| Likelihood::Gaussian { scale }),
        ("laplace", "", |scale| Likelihood::Laplace { scale }),
        ("bernoulli", "", |_| Likelihood::Bernoulli),
    ]))]
    likelihood: fn(f64) -> Likelihood,
    /// Scale of a Gaussian or Laplace likelihood, in the units of the model's input
    #[arg(long, default_value_t = 0.1, value_parser = number(1e-4, 1e4))]
    scale: f64,
    /// Weight of the divergence in the bound with which the VAE was trained
    #[arg(long, default_value_t = 1.0, value_parser = number(0.0, 1e6))]
    beta: f64,
    /// Channels, rows and columns of an image, if the model does not fix them
    #[arg(long, value_name = "CHANNELS,ROWS,COLUMNS", value_parser = size)]
    size: Option<Shape>,
}

fn size(text: &str) -> Result<Shape, String> {
    let lengths: Result<Vec<usize>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    match lengths.as_deref() {
        Ok(&[channels @ 1..=1024, height @ 1..=4096, width @ 1..=4096]) => {
            Ok(Shape::new(channels, height, width))
        }
        _ => Err("expected channels, rows and columns, such as 1,128,128".to_owned()),
    }
}

/// Arguments that only VAEs use, by their long names.
const OF_VAES: [&str; 6] = ["mean", "log-variance", "latent", "likelihood", "scale", "beta"];

impl SourceArgs {
    /// Warns of arguments that an import of this kind of model does not use.
    fn warn_of_unused(&self) {
        if self.kind != Kind::Vae {
            for name in OF_VAES.into_iter().filter(|name| is_given(name)) {
                warn(&format!("--{name} has no effect here: it is for --kind vae"));
            }
            return;
        }
        if is_given("scale") && (self.likelihood)(1.0) == (self.likelihood)(2.0) {
            warn("--scale has no effect here: this --likelihood has no scale");
        }
        if is_given("latent") && self.decoder.is_some() {
            warn("--latent has no effect here: it is for a --model that contains encoder and decoder");
        }
    }

    /// The configuration of the import. Warns of arguments that it does not use.
    ///
    /// # Errors
    /// A decoder without an encoder; the parser reports that first.
    pub fn config(&self) -> Result<ImportConfig, Box<dyn Error>> {
        let Some(model) = self.encoder.as_ref().or(self.model.as_ref()) else {
            return Err("--model or --encoder is needed".into());
        };
        self.warn_of_unused();
        let kind = match self.kind {
            Kind::Vae => ImportedKind::Vae { likelihood: (self.likelihood)(self.scale), beta: self.beta },
            Kind::Reconstructor => ImportedKind::Reconstructor,
            Kind::Segmenter => ImportedKind::Segmenter,
        };
        let tensors = VaeTensors::default()
            .mean(self.mean.clone())
            .log_variance(self.log_variance.clone())
            .latent(self.latent.clone())
            .reconstruction(self.reconstruction.clone())
            .size(self.size);
        let config = ImportConfig::new(model, kind).decoder(self.decoder.clone());
        Ok(config.weights(self.weights.clone()).tensors(tensors))
    }
}

/// Preprocessing of the images.
#[derive(Clone, Debug, clap::Args)]
pub struct ViewArgs {
    /// The two intensities that become 0 and 1 for the model, such as 0,255 for photographs. For a model of images from
    /// -1 to 1, use 127.5,255 and --input-range=-1,1
    #[arg(long, value_name = "LOW,HIGH", value_parser = range, conflicts_with = "intensity", allow_hyphen_values = true)]
    range: Option<LinearScale>,
    /// The range of the model's inputs. Images are not clipped to it; pixel-ssim, pixel-gms, projection, restoration and
    /// noise are scaled to it [default: 0,1, and for projection the range of each image]
    #[arg(long, value_name = "LOW,HIGH", value_parser = input_range, allow_hyphen_values = true)]
    input_range: Option<PredictorSettings>,
    /// Instead: scaling of intensities [default: that of --preprocessing]
    #[arg(long, value_parser = one_of(vec![
        ("unchanged", "Not at all", Intensity::Unchanged),
        ("percentiles", "By each image's own percentiles", Intensity::Robust(RobustScaling::new())),
        ("z-score", "To mean 0 and standard deviation 1 of each image", Intensity::ZScore(ZScore::plain())),
        (
            "median",
            "By each image's own median, which lesions change less than higher percentiles",
            Intensity::Robust(RobustScaling::median()),
        ),
        (
            "histogram",
            "Percentiles, then the histogram of the normal images (Nyul); needs --normals",
            Intensity::Standardized(HistogramStandardizer::new()),
        ),
    ]))]
    intensity: Option<Intensity>,
    /// How to bring images to the model's grid, and how to filter maps
    #[arg(long, default_value = "photo", value_parser = named::<Preset>(&[
        ("heads", "Find the head, standardize its histogram, align its box to the grid; needs --normals"),
        ("photo", "Scale each image by its own percentiles and fit it to the grid"),
    ]))]
    preprocessing: Preset,
    /// How to place images on the grid, instead of the way of --preprocessing
    #[arg(long, value_parser = frames())]
    frame: Option<FrameOfGrid>,
}

fn range(text: &str) -> Result<LinearScale, String> {
    let [low, high] = two_numbers(text)?;
    LinearScale::new(low, high).map_err(|error| error.to_string())
}

fn input_range(text: &str) -> Result<PredictorSettings, String> {
    let range = two_numbers(text)?.map(|end| end as f32);
    let settings = PredictorSettings::default().range(Some(range));
    settings.validate().map_err(|error| error.to_string())?;
    Ok(settings)
}

fn two_numbers(text: &str) -> Result<[f64; 2], String> {
    let ends: Option<Vec<f64>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
    ends.and_then(|ends| ends.try_into().ok()).ok_or_else(|| "expected two numbers, such as 0,255".to_owned())
}

impl ViewArgs {
    /// The preprocessing for a grid.
    #[must_use]
    pub fn preprocessing(&self, grid: [usize; 2]) -> Preprocessing {
        let mut made = self.preprocessing.preprocessing(grid);
        let stated = self.range.map(Intensity::Range).or_else(|| self.intensity.clone());
        if let Some(intensity) = stated {
            // What the model was trained with is not known to be limited to 0 to 1.
            made = made.intensity(intensity).clip(None);
        }
        match self.frame {
            Some(frame) => made.frame(frame(grid)),
            None => made,
        }
    }

    /// The settings of predictors.
    #[must_use]
    pub fn settings(&self) -> PredictorSettings {
        self.input_range.clone().unwrap_or_default()
    }

    /// The filters of maps.
    #[must_use]
    pub fn postprocessing(&self) -> PostProcessing {
        self.preprocessing.postprocessing()
    }
}

/// Normal images.
#[derive(Clone, Debug, clap::Args)]
pub struct NormalArgs {
    /// Folder of normal images, or a table of them (CSV). The preprocessing and the thresholds are fitted on them
    #[arg(long)]
    normals: Option<PathBuf>,
    /// Layout of the folder
    #[arg(long, value_parser = layouts(), default_value = "images")]
    layout: Layout,
    /// Name of the image in the folder of each case (layout cases). For several channels, give all names, separated by
    /// commas [default: image.nii.gz]
    #[arg(long, value_delimiter = ',')]
    image: Vec<String>,
    /// Name of the mask in the folder of each case (layout cases). Slices with a lesion are left out
    #[arg(long)]
    mask: Option<String>,
    /// Count only values of masks above this as inside, after the scale in a NIfTI header [default: every value except 0]
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true, value_parser = mask_rule)]
    mask_above: Option<MaskRule>,
    /// Arguments of single layouts
    #[command(flatten)]
    of_layout: LayoutArgs,
    /// Split with the normal images, as in splits.csv; "all" uses every case
    #[arg(long, default_value = "all")]
    split: String,
    /// How to read its files
    #[command(flatten)]
    reading: ReadArgs,
}

impl NormalArgs {
    /// Reads the images; none without a folder. Also returns the cases that were left out.
    ///
    /// # Errors
    /// Those of [`DataArgs::open`] and [`DataArgs::read_split`].
    pub fn read(
        &self,
        bad: BadCases,
        observer: &mut dyn Observer,
    ) -> Result<(Vec<Subject>, Vec<FailedCase>), Box<dyn Error>> {
        let Some(data) = self.normals.clone() else { return Ok((Vec::new(), Vec::new())) };
        let data = DataArgs {
            data,
            layout: self.layout.clone(),
            image: self.image.clone(),
            mask: self.mask.clone(),
            mask_above: self.mask_above,
            of_layout: self.of_layout.clone(),
            missing_mask: Default::default(),
            matching: Default::default(),
            reading: self.reading.clone(),
        };
        data.read_split(&data.open()?, &self.split, bad, observer)
    }
}
