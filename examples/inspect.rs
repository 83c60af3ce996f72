//! Says what a file is, and what is wrong with it.
//!
//! `cargo run --release --example inspect -- flair.nii.gz`
use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use lesio::anomaly::Localizer;
use lesio::image::Image;
use lesio::io::nifti::{ByteOrder, NiftiImage, SpaceUnit, VoxelStatistics};
use lesio::io::{AffineSource, Escaped, ReadError, ReadErrorKind, ReadOptions, is_image};
use lesio::nn::Device;
use lesio::nn::{LoadError, model_file};
use lesio::quality::{Estimator, QualityModel};
use lesio::vae::{Denoiser, Vae};
use lesio_examples::reading::{affine_sources, gibibytes};
use lesio_examples::{explain, run};
use serde_json::{Value, json};

/// Say what a file is: header, geometry, values, and the first problem, if there is one.
///
/// Reads NIfTI (.nii, .hdr, .img, also with .gz), PNG, JPEG, TIFF and BMP, and lesio's own model files, which it
/// loads as the programs do that use them. The exit code is 1 for a file that is refused.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Args {
    /// The file
    file: PathBuf,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
    /// Which form of a NIfTI header places the voxels: auto is the sform if its code is above 0, else the qform
    #[arg(long, default_value = "auto", value_parser = affine_sources())]
    affine: AffineSource,
    /// Memory that reading may take, in GiB. The values of a NIfTI file that needs more as 32-bit floats are not
    /// read, only its header; other files that need more are refused
    #[arg(long, value_name = "GIB", default_value = "2", value_parser = gibibytes)]
    max_memory: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let (text, code) = match (inspect(&args), args.json) {
        (Ok(found), false) => (found.to_text(&args), ExitCode::SUCCESS),
        (Ok(found), true) => (one_line(&found.to_json(&args)), ExitCode::SUCCESS),
        (Err(fault), false) => {
            let message = Escaped(explain(fault.error.as_ref())).to_string();
            return run(|| Err(message.into()));
        }
        (Err(fault), true) => {
            let message = explain(fault.error.as_ref());
            let object = json!({"reads": false, "error": {"kind": fault.kind, "message": message}});
            (one_line(&object), ExitCode::FAILURE)
        }
    };
    match io::stdout().write_all(text.as_bytes()) {
        // Who stops reading has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            run(|| Err(format!("could not write to the standard output: {error}").into()))
        }
        _ => code,
    }
}

/// JSON in one line; a terminal that it is shown on takes no part of it for a command.
fn one_line(value: &Value) -> String {
    let mut line = String::new();
    for character in value.to_string().chars() {
        // JSON itself escapes what is below.
        if character > '~' && Escaped(character).to_string().starts_with('\\') {
            line.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            line.push(character);
        }
    }
    line + "\n"
}

/// What a file turned out to be.
#[allow(clippy::large_enum_variant, reason = "there is one")]
enum Found {
    Nifti { image: NiftiImage, values: Scanned },
    Picture { image: Image<f32>, values: Values },
    Model(Model),
}

/// The values of a NIfTI file, as far as they were looked at.
enum Scanned {
    Values(Values),
    /// Voxels are no single numbers.
    NoNumbers,
    /// They need this many bytes, which is more than may be taken.
    TooLarge(u64),
}

/// Why a file is refused.
struct Fault {
    kind: String,
    error: Box<dyn Error>,
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        Self { kind: error.kind().name().to_owned(), error: error.into() }
    }
}

impl From<LoadError> for Fault {
    fn from(error: LoadError) -> Self {
        let kind = match error {
            // By the names that other files' errors have.
            LoadError::Read { ref source, .. } => match source.kind() {
                io::ErrorKind::NotFound => "NotFound",
                io::ErrorKind::InvalidInput => "NotRegularFile",
                io::ErrorKind::FileTooLarge => "LimitExceeded",
                _ => "Io",
            },
            LoadError::Format { .. } => "Format",
            LoadError::Kind { .. } => "Kind",
            LoadError::Document { .. } => "Document",
            LoadError::Type { .. } => "Type",
            LoadError::NonFinite { .. } => "NonFinite",
            LoadError::Checksum { .. } => "Checksum",
            LoadError::Parameters { .. } => "Parameters",
            _ => "Refused",
        };
        Self { kind: kind.to_owned(), error: error.into() }
    }
}

fn inspect(args: &Args) -> Result<Found, Fault> {
    let path = args.file.as_path();
    if path.to_string_lossy().to_ascii_lowercase().ends_with(".safetensors") {
        return Ok(Found::Model(Model::read(path, args.max_memory)?));
    }
    let options = ReadOptions::new().max_bytes(args.max_memory).affine(args.affine);
    let refusal = match NiftiImage::open_with(path, &options) {
        Ok(mut image) => {
            // A sparse file of a few kilobytes on disk may hold a terabyte of zeros: to read it takes hours.
            let need = image.voxels().saturating_mul(image.header().datatype.bytes().max(4));
            let values = if !image.header().datatype.is_real() {
                Scanned::NoNumbers
            } else if need > args.max_memory {
                Scanned::TooLarge(need)
            } else {
                Scanned::Values(Values::of_nifti(&mut image)?)
            };
            return Ok(Found::Nifti { image, values });
        }
        Err(error) => error,
    };
    if !matches!(refusal.kind(), ReadErrorKind::UnknownFormat { .. }) {
        return Err(refusal.into());
    }
    // The name is none of NIfTI's; what a picture is, its content tells.
    match options.read_image(path) {
        Ok(image) => {
            let values = Values::of_picture(&image);
            Ok(Found::Picture { image, values })
        }
        Err(error) => {
            let unknown = matches!(error.kind(), ReadErrorKind::UnknownContent { .. });
            let named = is_image(path);
            if unknown && !named {
                let kind = refusal.kind().name().to_owned();
                return Err(Fault { kind, error: format!("{refusal}, and {}", error.kind()).into() });
            }
            Err(error.into())
        }
    }
}

impl Found {
    fn to_json(&self, args: &Args) -> Value {
        match self {
            Self::Nifti { image, values } => {
                let header = image.header();
                // As the header has them: other programs print these.
                let (affine, spacing) = own_numbers(image, args.affine);
                let mut object = json!({
                    "reads": true,
                    "format": "nifti",
                    "version": header.version.number(),
                    "shape": header.shape,
                    "datatype": header.datatype.code(),
                    "datatype_name": header.datatype.name(),
                    "byte_order": header.byte_order.to_string(),
                    "pixdim": header.pixdim.map(number),
                    "affine": affine,
                    "axcodes": axis_codes(image),
                    "spacing": spacing,
                    "affine_source": method(image, args.affine).0,
                    "affine_mm": image.geometry().affine(),
                    "spacing_mm": image.geometry().spacing(),
                    "qform_code": header.qform_code,
                    "sform_code": header.sform_code,
                    "units": header.space_unit().to_string(),
                    "scaling": [number(header.scl_slope), number(header.scl_inter)],
                    "description": String::from_utf8_lossy(&header.description),
                    "extensions": header.extensions.len(),
                    "scanned": matches!(values, Scanned::Values(_)),
                    "problems": self.problems(args),
                });
                if let Scanned::Values(values) = values {
                    values.put_into(&mut object);
                }
                object
            }
            Self::Picture { image, values } => {
                let mut object = json!({
                    "reads": true,
                    "format": "picture",
                    "shape": image.data().shape(),
                    "axes": ["channel", "row", "column"],
                    "problems": self.problems(args),
                });
                values.put_into(&mut object);
                object
            }
            Self::Model(model) => json!({
                "reads": true,
                "format": "lesio-model",
                "kind": model.kind,
                "version": model.version,
                "parameters": model.parameters(),
                "tensors": model.tensors,
                "document": model.document,
                "problems": self.problems(args),
            }),
        }
    }

    /// What will stand in the way later, the most serious first.
    fn problems(&self, args: &Args) -> Vec<String> {
        let mut problems = Vec::new();
        let values = match self {
            Self::Nifti { values: Scanned::Values(values), .. } => Some(values),
            Self::Nifti { values: Scanned::NoNumbers, .. } => None,
            Self::Nifti { values: Scanned::TooLarge(need), .. } => {
                problems.push(format!(
                    "its values need {} of memory, the limit is {}: they were not read (--max-memory raises it)",
                    size(*need),
                    size(args.max_memory)
                ));
                None
            }
            Self::Picture { values, .. } => Some(values),
            Self::Model(model) => {
                problems.extend(
                    model.uncalibrated.then(|| "no predictor is calibrated: no thresholds".to_owned()),
                );
                None
            }
        };
        if let Some(values) = values {
            let Values { count, nonfinite, min, max, .. } = values;
            if *nonfinite > 0 {
                problems
                    .push(format!("{nonfinite} of {count} values are NaN or infinite: it cannot be scored"));
            }
            if min == max {
                problems.push(format!("every value is {min}: there is no contrast to work with"));
            }
        }
        if let Self::Nifti { image, .. } = self {
            if !image.header().datatype.is_real() {
                let name = image.header().datatype.name();
                problems.push(format!("voxels are {name}, not single numbers: it cannot be scored"));
            }
            if image.volumes() > 1 {
                problems.push(format!("it holds {} volumes: one must be chosen", image.volumes()));
            }
            problems.extend(image.oddities().iter().map(ToString::to_string));
        }
        problems
    }

    fn to_text(&self, args: &Args) -> String {
        let mut page = Page::default();
        let path = args.file.display();
        let values = match self {
            Self::Nifti { image, values } => {
                let header = image.header();
                let shape = header.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ");
                page.say(&format!(
                    "{path}: NIfTI-{}, {shape} voxels of {}",
                    header.version.number(),
                    header.datatype
                ));
                let order = match header.byte_order {
                    ByteOrder::Little => "little-endian",
                    ByteOrder::Big => "big-endian",
                };
                page.line("bytes", &format!("{order}, voxels from byte {}", header.vox_offset));
                page.line("axes", &format!("{} ({})", axis_codes(image), method(image, args.affine).1));
                let (affine, spacing) = own_numbers(image, args.affine);
                let unit = header.space_unit();
                let sizes = |sizes: [f64; 3]| sizes.map(short).join(" x ");
                page.line(
                    "voxel size",
                    &match unit {
                        SpaceUnit::Meter | SpaceUnit::Micrometer => {
                            format!("{} {unit}, or {} mm", sizes(spacing), sizes(image.geometry().spacing()))
                        }
                        _ => format!("{} {unit}", sizes(spacing)),
                    },
                );
                for (row, name) in affine[..3].iter().zip(["affine", "", ""]) {
                    page.line(name, &row.map(|value| format!("{:>11}", short(value))).join(" "));
                }
                match header.scl_slope {
                    slope if slope == 0.0 || !slope.is_finite() => page.line("scaling", "none"),
                    slope => page.line("scaling", &format!("value * {slope} + {}", header.scl_inter)),
                }
                if !header.description.is_empty() {
                    page.line(
                        "description",
                        &String::from_utf8_lossy(&header.description).escape_debug().to_string(),
                    );
                }
                for extension in &header.extensions {
                    page.line("extension", &format!("{extension:.60?}"));
                }
                match values {
                    Scanned::Values(values) => Some(values),
                    Scanned::NoNumbers | Scanned::TooLarge(_) => None,
                }
            }
            Self::Picture { image, values } => {
                let (height, width, channels) = (image.height(), image.width(), image.channels());
                page.say(&format!(
                    "{path}: picture of {height} rows, {width} columns and {channels} channels"
                ));
                Some(values)
            }
            Self::Model(model) => {
                page.say(&format!(
                    "{path}: {} of version {}, {} parameters",
                    model.kind,
                    model.version,
                    model.parameters()
                ));
                page.tree(&model.document, 1);
                page.say("  tensors:");
                for (name, shape) in &model.tensors {
                    page.say(&format!("    {name} {shape:?}"));
                }
                None
            }
        };
        values.iter().for_each(|values| values.print(&mut page));
        let problems = self.problems(args);
        page.line("problem", problems.first().map_or("none", String::as_str));
        problems.iter().skip(1).for_each(|problem| page.line("", problem));
        page.0
    }
}

/// What is printed, line by line. Nothing that a file holds reaches the terminal as a command.
#[derive(Default)]
struct Page(String);

impl Page {
    fn say(&mut self, text: &str) {
        self.0.push_str(&Escaped(text).to_string());
        self.0.push('\n');
    }

    fn line(&mut self, name: &str, text: &str) {
        self.say(&format!("  {name:<12} {text}"));
    }

    /// Prints nested values as an indented outline; of long lists only the start.
    fn tree(&mut self, value: &Value, depth: usize) {
        let Value::Object(fields) = value else { return };
        for (name, value) in fields {
            let indent = "  ".repeat(depth);
            match value {
                Value::Object(fields) if !fields.is_empty() => {
                    self.say(&format!("{indent}{name}:"));
                    self.tree(value, depth + 1);
                }
                Value::Array(items) if items.len() > 8 => {
                    let start: Vec<String> = items.iter().take(6).map(ToString::to_string).collect();
                    self.say(&format!("{indent}{name}: [{}, ... {} in all]", start.join(", "), items.len()));
                }
                value => self.say(&format!("{indent}{name}: {value}")),
            }
        }
    }
}

fn axis_codes(image: &NiftiImage) -> String {
    image.geometry().axis_codes().iter().map(ToString::to_string).collect()
}

/// Affine and voxel sizes in the header's own unit.
fn own_numbers(image: &NiftiImage, source: AffineSource) -> ([[f64; 4]; 4], [f64; 3]) {
    // It was opened by this source.
    let affine = image.header().affine(source).unwrap_or(*image.geometry().affine());
    (affine, image.geometry().spacing().map(|size| image.header().space_unit().from_millimeters(size)))
}

/// What places the voxels: its name, and with its code.
fn method(image: &NiftiImage, source: AffineSource) -> (&'static str, String) {
    let (sform, qform) = (image.header().sform_code, image.header().qform_code);
    match (source, sform, qform) {
        (AffineSource::Sform, ..) | (AffineSource::Auto, 1..=5, _) => {
            ("sform", format!("sform, code {sform}"))
        }
        (AffineSource::Qform, ..) | (AffineSource::Auto, _, 1..=5) => {
            ("qform", format!("qform, code {qform}"))
        }
        _ => ("pixdim", "voxel sizes alone".to_owned()),
    }
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    let gib = bytes as f64 / (1_u64 << 30) as f64;
    if gib >= 0.1 { format!("{} GiB", short(gib)) } else { format!("{bytes} bytes") }
}

/// A number in JSON; what JSON has no number for stands as text, as NumPy spells it.
fn number(value: f64) -> Value {
    if value.is_finite() {
        return json!(value);
    }
    json!(if value.is_nan() {
        "nan"
    } else if value > 0.0 {
        "inf"
    } else {
        "-inf"
    })
}

/// A number in few characters.
fn short(value: f64) -> String {
    if value != 0.0 && !(1e-3..1e7).contains(&value.abs()) {
        return format!("{value:.3e}");
    }
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Values of an image, summed up.
struct Values {
    count: u64,
    nonfinite: u64,
    sum: f64,
    /// Least and greatest finite value; NaN where there is none.
    min: f64,
    max: f64,
    /// The first eight, in the order of the file.
    first: Vec<f64>,
    /// Number of values in equal steps from the least to the greatest; in the first where both are one.
    histogram: [u64; BINS],
}

const BINS: usize = 16;
/// Version of the files that keep the state of a training.
const STATE_VERSION: u32 = 1;
/// Characters of the longest bar.
const BAR: f64 = 50.0;
/// Slices read at a time.
const SLAB: usize = 8;

impl Values {
    fn of_nifti(image: &mut NiftiImage) -> Result<Self, ReadError> {
        let VoxelStatistics { voxels, nonfinite, sum, min, max, first, .. } = image.statistics()?;
        let mut values = Self { count: voxels, nonfinite, sum, min, max, first, histogram: [0; BINS] };
        if values.min < values.max {
            for slab in image.slabs::<f64>(SLAB)? {
                slab?.data.iter().for_each(|&value| values.sort_in(value));
            }
        } else {
            values.histogram[0] = voxels - nonfinite;
        }
        Ok(values)
    }

    fn of_picture(image: &Image<f32>) -> Self {
        let all = || image.data().iter().map(|&value| f64::from(value));
        let finite = || all().filter(|value| value.is_finite());
        let mut values = Self {
            count: image.data().len() as u64,
            nonfinite: (all().count() - finite().count()) as u64,
            sum: finite().sum(),
            min: finite().fold(f64::NAN, f64::min),
            max: finite().fold(f64::NAN, f64::max),
            first: all().take(8).collect(),
            histogram: [0; BINS],
        };
        all().for_each(|value| values.sort_in(value));
        values
    }

    /// Counts a value in its step.
    fn sort_in(&mut self, value: f64) {
        if value.is_finite() {
            // Halved, so that the range of any two numbers is finite.
            let place = (value / 2.0 - self.min / 2.0) / (self.max / 2.0 - self.min / 2.0);
            self.histogram[((place * BINS as f64) as usize).min(BINS - 1)] += 1;
        }
    }

    fn put_into(&self, object: &mut Value) {
        object["sum"] = number(self.sum);
        object["min"] = number(self.min);
        object["max"] = number(self.max);
        object["nonfinite"] = json!(self.nonfinite);
        object["first"] = self.first.iter().map(|&value| number(value)).collect();
        object["histogram"] = json!(self.histogram);
    }

    fn print(&self, page: &mut Page) {
        let finite = self.count - self.nonfinite;
        let mean = if finite > 0 { self.sum / finite as f64 } else { f64::NAN };
        let (min, max) = (self.min, self.max);
        page.line(
            "values",
            &format!("{} to {}, mean {}, sum {}", short(min), short(max), short(mean), self.sum),
        );
        page.line("not finite", &format!("{} of {}", self.nonfinite, self.count));
        page.line("first", &self.first.iter().map(|&value| short(value)).collect::<Vec<_>>().join(" "));
        if finite == 0 || min == max {
            return;
        }
        let most = self.histogram.iter().copied().max().unwrap_or(1).max(1);
        for (bin, &count) in self.histogram.iter().enumerate() {
            let edge = min + (max / BINS as f64 - min / BINS as f64) * bin as f64;
            let length = (BAR * count as f64 / most as f64).ceil() as usize;
            let share = 100.0 * count as f64 / finite as f64;
            page.say(&format!("  {:>12} {share:6.2} % {}", short(edge), "#".repeat(length)));
        }
        page.say(&format!("  {:>12}", short(max)));
    }
}

/// A model file of lesio, of any kind.
struct Model {
    kind: String,
    version: u32,
    tensors: Vec<(String, Vec<usize>)>,
    document: Value,
    /// Whether it is a localizer without thresholds.
    uncalibrated: bool,
}

impl Model {
    fn read(path: &Path, limit: u64) -> Result<Self, Fault> {
        let model_file::Description { kind, version, tensors, document, .. } =
            model_file::describe(path, limit)?;
        let uncalibrated = Self::load(path, &kind, limit.min(model_file::DEFAULT_LIMIT))?;
        Ok(Self { kind, version, tensors, document, uncalibrated })
    }

    /// Loads a model as the programs that use it do, and tells whether it is a localizer without thresholds.
    fn load(path: &Path, kind: &str, limit: u64) -> Result<bool, LoadError> {
        let state = |kind| model_file::load::<Value>(path, kind, STATE_VERSION, limit).map(|_| false);
        let loaders: [&dyn Fn() -> Result<bool, LoadError>; 7] = [
            &|| Localizer::load(path, &Device::Cpu).map(|localizer| localizer.calibration().is_empty()),
            &|| QualityModel::load(path, &Device::Cpu).map(|_| false),
            &|| Estimator::load(path, &Device::Cpu).map(|_| false),
            &|| Vae::load(path, &Device::Cpu).map(|_| false),
            &|| Denoiser::load(path, &Device::Cpu).map(|_| false),
            &|| state("a training checkpoint"),
            &|| state("a finished training step"),
        ];
        for load in loaders {
            match load() {
                // The loader of another kind says nothing of this file.
                Err(LoadError::Kind { expected, .. })
                    if !expected.starts_with(&format!("{kind} of version")) => {}
                told => return told,
            }
        }
        Err(LoadError::Kind {
            path: path.to_owned(),
            found: kind.escape_debug().to_string(),
            expected: "a model or training state of lesio".to_owned(),
        })
    }

    fn parameters(&self) -> usize {
        self.tensors.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }
}
