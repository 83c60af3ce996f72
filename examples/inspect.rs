//! Says what a file is, and what is wrong with it.
//!
//! `cargo run --release --example inspect -- flair.nii.gz`
#![allow(clippy::print_stdout, reason = "a program talks to people")]

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use candle_core::Device;
use clap::Parser;
use lesio::anomaly::Localizer;
use lesio::image::Image;
use lesio::io::nifti::{ByteOrder, NiftiHeader, NiftiImage, Statistics};
use lesio::io::{ReadError, ReadErrorKind, read_image};
use lesio::nn::{LoadError, model_file};
use lesio_examples::{explain, run};
use safetensors::SafeTensors;
use serde_json::{Value, json};

/// Say what a file is: header, geometry, values, and the first problem, if there is one.
///
/// Reads NIfTI (.nii, .hdr, .img, also with .gz), PNG, JPEG, TIFF and BMP, and lesio's own model files. The exit
/// code is 1 for a file that is refused.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Args {
    /// The file
    file: PathBuf,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match (inspect(&args.file), args.json) {
        (Ok(found), false) => found.print(&args.file),
        (Ok(found), true) => println!("{}", found.to_json()),
        (Err(fault), false) => return run(|| Err(fault.error)),
        (Err(fault), true) => {
            let message = explain(fault.error.as_ref());
            println!("{}", json!({"reads": false, "error": {"kind": fault.kind, "message": message}}));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// What a file turned out to be.
#[allow(clippy::large_enum_variant, reason = "there is one")]
enum Found {
    Nifti { image: NiftiImage, values: Option<Values> },
    Picture { image: Image<f32>, values: Values },
    Model(Model),
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

fn inspect(path: &Path) -> Result<Found, Fault> {
    if ends_with(path, &[".safetensors"]) {
        return Ok(Found::Model(Model::read(path)?));
    }
    let refusal = match NiftiImage::open(path) {
        Ok(mut image) => {
            let values =
                if image.header().datatype.is_real() { Some(Values::of_nifti(&mut image)?) } else { None };
            return Ok(Found::Nifti { image, values });
        }
        Err(error) => error,
    };
    if !matches!(refusal.kind(), ReadErrorKind::UnknownFormat { .. }) {
        return Err(refusal.into());
    }
    // The name is none of NIfTI's; what a picture is, its content tells.
    match read_image(path) {
        Ok(image) => {
            let values = Values::of_picture(&image);
            Ok(Found::Picture { image, values })
        }
        Err(error) => {
            let unknown = matches!(error.kind(), ReadErrorKind::UnknownContent { .. });
            let named = ends_with(path, &[".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"]);
            if unknown && !named {
                let kind = refusal.kind().name().to_owned();
                return Err(Fault { kind, error: format!("{refusal}, and {}", error.kind()).into() });
            }
            Err(error.into())
        }
    }
}

fn ends_with(path: &Path, endings: &[&str]) -> bool {
    let name = path.to_string_lossy().to_ascii_lowercase();
    endings.iter().any(|ending| name.ends_with(ending))
}

impl Found {
    fn to_json(&self) -> Value {
        match self {
            Self::Nifti { image, values } => {
                let header = image.header();
                let mut object = json!({
                    "reads": true,
                    "format": "nifti",
                    "version": header.version.number(),
                    "shape": header.shape,
                    "datatype": header.datatype.code(),
                    "datatype_name": header.datatype.name(),
                    "byte_order": header.byte_order.to_string(),
                    "pixdim": header.pixdim.map(number),
                    "affine": image.geometry().affine(),
                    "axcodes": axis_codes(image),
                    "spacing": image.geometry().spacing(),
                    "qform_code": header.qform_code,
                    "sform_code": header.sform_code,
                    "units": units(header),
                    "scaling": [number(header.scl_slope), number(header.scl_inter)],
                    "description": String::from_utf8_lossy(&header.description),
                    "extensions": header.extensions.len(),
                    "problems": self.problems(),
                });
                values.iter().for_each(|values| values.put_into(&mut object));
                object
            }
            Self::Picture { image, values } => {
                let mut object = json!({
                    "reads": true,
                    "format": "picture",
                    "shape": image.data().shape(),
                    "axes": ["channel", "row", "column"],
                    "problems": self.problems(),
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
                "problems": self.problems(),
            }),
        }
    }

    /// What will stand in the way later, the most serious first.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let values = match self {
            Self::Nifti { values, .. } => values.as_ref(),
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

    fn print(&self, path: &Path) {
        let path = path.display();
        let values = match self {
            Self::Nifti { image, values } => {
                let header = image.header();
                let shape = header.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ");
                println!("{path}: NIfTI-{}, {shape} voxels of {}", header.version.number(), header.datatype);
                let order = match header.byte_order {
                    ByteOrder::Little => "little-endian",
                    ByteOrder::Big => "big-endian",
                };
                line("bytes", &format!("{order}, voxels from byte {}", header.vox_offset));
                let method = match (header.sform_code, header.qform_code) {
                    (1..=5, _) => format!("sform, code {}", header.sform_code),
                    (_, 1..=5) => format!("qform, code {}", header.qform_code),
                    _ => "voxel sizes alone".to_owned(),
                };
                line("axes", &format!("{} ({method})", axis_codes(image)));
                line(
                    "voxel size",
                    &format!("{} {}", image.geometry().spacing().map(short).join(" x "), units(header)),
                );
                for (row, name) in image.geometry().affine()[..3].iter().zip(["affine", "", ""]) {
                    line(name, &row.map(|value| format!("{:>11}", short(value))).join(" "));
                }
                match header.scl_slope {
                    slope if slope == 0.0 || !slope.is_finite() => line("scaling", "none"),
                    slope => line("scaling", &format!("value * {slope} + {}", header.scl_inter)),
                }
                if !header.description.is_empty() {
                    line(
                        "description",
                        &String::from_utf8_lossy(&header.description).escape_debug().to_string(),
                    );
                }
                for extension in &header.extensions {
                    line("extension", &format!("{extension:.60?}"));
                }
                values.as_ref()
            }
            Self::Picture { image, values } => {
                let (height, width, channels) = (image.height(), image.width(), image.channels());
                println!("{path}: picture of {height} rows, {width} columns and {channels} channels");
                Some(values)
            }
            Self::Model(model) => {
                println!(
                    "{path}: {} of version {}, {} parameters",
                    model.kind,
                    model.version,
                    model.parameters()
                );
                tree(&model.document, 1);
                println!("  tensors:");
                for (name, shape) in &model.tensors {
                    println!("    {name} {shape:?}");
                }
                None
            }
        };
        values.iter().for_each(|values| values.print());
        let problems = self.problems();
        line("problem", problems.first().map_or("none", String::as_str));
        problems.iter().skip(1).for_each(|problem| line("", problem));
    }
}

fn line(name: &str, text: &str) {
    println!("  {name:<12} {text}");
}

fn axis_codes(image: &NiftiImage) -> String {
    image.geometry().axis_codes().iter().map(ToString::to_string).collect()
}

/// The unit of space.
fn units(header: &NiftiHeader) -> &'static str {
    match header.xyzt_units & 7 {
        1 => "m",
        2 => "mm",
        3 => "um",
        _ => "of unknown unit",
    }
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
/// Characters of the longest bar.
const BAR: f64 = 50.0;
/// Slices read at a time.
const SLAB: usize = 8;

impl Values {
    fn of_nifti(image: &mut NiftiImage) -> Result<Self, ReadError> {
        let Statistics { voxels, nonfinite, sum, min, max, first, .. } = image.statistics()?;
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

    fn print(&self) {
        let finite = self.count - self.nonfinite;
        let mean = if finite > 0 { self.sum / finite as f64 } else { f64::NAN };
        let (min, max) = (self.min, self.max);
        line("values", &format!("{} to {}, mean {}, sum {}", short(min), short(max), short(mean), self.sum));
        line("not finite", &format!("{} of {}", self.nonfinite, self.count));
        line("first", &self.first.iter().map(|&value| short(value)).collect::<Vec<_>>().join(" "));
        if finite == 0 || min == max {
            return;
        }
        let most = self.histogram.iter().copied().max().unwrap_or(1).max(1);
        for (bin, &count) in self.histogram.iter().enumerate() {
            let edge = min + (max / BINS as f64 - min / BINS as f64) * bin as f64;
            let length = (BAR * count as f64 / most as f64).ceil() as usize;
            let share = 100.0 * count as f64 / finite as f64;
            println!("  {:>12} {share:6.2} % {}", short(edge), "#".repeat(length));
        }
        println!("  {:>12}", short(max));
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
    fn read(path: &Path) -> Result<Self, Fault> {
        let (kind, version) = Self::kind(path)?;
        // All that a load checks: names, types, checksums, finiteness; and for a localizer that it works.
        let (parameters, document) =
            model_file::load::<Value>(path, &kind, version, model_file::DEFAULT_LIMIT)?;
        let uncalibrated = match Localizer::load(path, &Device::Cpu) {
            Ok(localizer) => localizer.calibration().is_empty(),
            Err(LoadError::Kind { .. }) => false,
            Err(error) => return Err(error.into()),
        };
        let tensors = parameters.iter().map(|(name, p)| (name.to_owned(), p.shape().to_vec())).collect();
        Ok(Self { kind, version, tensors, document, uncalibrated })
    }

    /// What the file says it is.
    fn kind(path: &Path) -> Result<(String, u32), Fault> {
        let read = |source| LoadError::Read { path: path.to_owned(), source };
        let format = |source| LoadError::Format { path: path.to_owned(), source };
        let length = std::fs::metadata(path).map_err(read)?;
        if !length.is_file() || length.len() > model_file::DEFAULT_LIMIT {
            // What is wrong with it, loading tells.
            return Ok((String::new(), 0));
        }
        let content = std::fs::read(path).map_err(read)?;
        let (_, metadata) = SafeTensors::read_metadata(&content).map_err(format)?;
        let text = metadata.metadata().as_ref().and_then(|map| map.get("lesio"));
        let Some(text) = text else {
            let found = "no description by lesio".to_owned();
            return Err(
                LoadError::Kind { path: path.to_owned(), found, expected: "a lesio model".into() }.into()
            );
        };
        let envelope: Value = serde_json::from_str(text)
            .map_err(|source| LoadError::Document { path: path.to_owned(), source })?;
        let version = envelope["version"].as_u64().and_then(|version| u32::try_from(version).ok());
        Ok((envelope["kind"].as_str().unwrap_or_default().to_owned(), version.unwrap_or(0)))
    }

    fn parameters(&self) -> usize {
        self.tensors.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }
}

/// Prints nested values as an indented outline; of long lists only the start.
fn tree(value: &Value, depth: usize) {
    let Value::Object(fields) = value else { return };
    for (name, value) in fields {
        let indent = "  ".repeat(depth);
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                println!("{indent}{name}:");
                tree(value, depth + 1);
            }
            Value::Array(items) if items.len() > 8 => {
                let start: Vec<String> = items.iter().take(6).map(ToString::to_string).collect();
                println!("{indent}{name}: [{}, ... {} in all]", start.join(", "), items.len());
            }
            value => println!("{indent}{name}: {value}"),
        }
    }
}
