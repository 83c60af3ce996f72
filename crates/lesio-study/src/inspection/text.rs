//! A file's description as text.

use lesio_io::nifti::{ByteOrder, NiftiImage, SpaceUnit};
use lesio_io::{AffineSource, Escaped};
use serde_json::Value;

use super::description::{FileContent, FileDescription};
use super::number::short;
use super::values::ValueSummary;

/// Characters of the longest bar of a histogram.
const BAR: f64 = 50.0;

impl FileDescription {
    /// The description line by line, with a histogram of the values and the problems at the end. Control characters
    /// from the file are escaped.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut page = Page::default();
        let path = self.path.display();
        match &self.content {
            FileContent::Nifti { image, .. } => self.nifti(&mut page, image),
            FileContent::Picture { image, .. } => {
                let (height, width, channels) = (image.height(), image.width(), image.channels());
                page.say(&format!(
                    "{path}: picture of {height} rows, {width} columns and {channels} channels"
                ));
            }
            FileContent::Model(model) => {
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
            }
        }
        if let Some(values) = self.values() {
            page.values(values);
        }
        let problems = self.problems();
        page.line("problem", problems.first().map_or("none", String::as_str));
        problems.iter().skip(1).for_each(|problem| page.line("", problem));
        page.0
    }

    fn nifti(&self, page: &mut Page, image: &NiftiImage) {
        let (path, source) = (self.path.display(), self.config.affine);
        let header = image.header();
        let shape = header.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ");
        let (version, datatype) = (header.version.number(), &header.datatype);
        page.say(&format!("{path}: NIfTI-{version}, {shape} voxels of {datatype}"));
        let order = match header.byte_order {
            ByteOrder::Little => "little-endian",
            ByteOrder::Big => "big-endian",
        };
        page.line("bytes", &format!("{order}, voxels from byte {}", header.vox_offset));
        page.line("axes", &format!("{} ({})", axis_codes(image), placement(image, source).1));
        let (affine, spacing) = own_numbers(image, source);
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
            let description = String::from_utf8_lossy(&header.description).escape_debug().to_string();
            page.line("description", &description);
        }
        for extension in &header.extensions {
            page.line("extension", &format!("{extension:.60?}"));
        }
    }
}

/// Lines of text, in which characters that control a terminal are escaped.
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

    /// Nested values as an indented outline; of long lists only the start.
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

    fn values(&mut self, values: &ValueSummary) {
        let ValueSummary { count, nonfinite, sum, min, max, first, histogram } = values;
        let (min, max) = (*min, *max);
        let finite = count - nonfinite;
        let mean = if finite > 0 { sum / finite as f64 } else { f64::NAN };
        self.line("values", &format!("{} to {}, mean {}, sum {sum}", short(min), short(max), short(mean)));
        self.line("not finite", &format!("{nonfinite} of {count}"));
        self.line("first", &first.iter().map(|&value| short(value)).collect::<Vec<_>>().join(" "));
        if finite == 0 || min == max {
            return;
        }
        let bins = ValueSummary::BINS as f64;
        let most = histogram.iter().copied().max().unwrap_or(1).max(1);
        for (bin, &count) in histogram.iter().enumerate() {
            let edge = min + (max / bins - min / bins) * bin as f64;
            let length = (BAR * count as f64 / most as f64).ceil() as usize;
            let share = 100.0 * count as f64 / finite as f64;
            self.say(&format!("  {:>12} {share:6.2} % {}", short(edge), "#".repeat(length)));
        }
        self.say(&format!("  {:>12}", short(max)));
    }
}

pub(super) fn axis_codes(image: &NiftiImage) -> String {
    image.geometry().axis_codes().iter().map(ToString::to_string).collect()
}

/// Affine and voxel sizes in the header's own unit.
pub(super) fn own_numbers(image: &NiftiImage, source: AffineSource) -> ([[f64; 4]; 4], [f64; 3]) {
    // It was opened by this source.
    let affine = image.header().affine(source).unwrap_or(*image.geometry().affine());
    (affine, image.geometry().spacing().map(|size| image.header().space_unit().from_millimeters(size)))
}

/// The source of the affine: its name, and its name with its code.
pub(super) fn placement(image: &NiftiImage, source: AffineSource) -> (&'static str, String) {
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
