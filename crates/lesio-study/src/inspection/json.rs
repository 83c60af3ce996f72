//! A file's description as JSON.

use serde_json::{Value, json};

use super::description::{FileContent, FileDescription, NiftiValues};
use super::number::number;
use super::text::{axis_codes, own_numbers, placement};
use super::values::ValueSummary;

impl FileDescription {
    /// The description as one object. Lengths of a NIfTI image are in the header's unit, as other programs print them,
    /// except those in `..._mm`; numbers that JSON cannot represent are text, such as `"nan"`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let source = self.config.affine;
        let mut object = match &self.content {
            FileContent::Nifti { image, values } => {
                let header = image.header();
                let (affine, spacing) = own_numbers(image, source);
                json!({
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
                    "affine_source": placement(image, source).0,
                    "affine_mm": image.geometry().affine(),
                    "spacing_mm": image.geometry().spacing(),
                    "qform_code": header.qform_code,
                    "sform_code": header.sform_code,
                    "units": header.space_unit().to_string(),
                    "scaling": [number(header.scl_slope), number(header.scl_inter)],
                    "description": String::from_utf8_lossy(&header.description),
                    "extensions": header.extensions.len(),
                    "scanned": matches!(values, NiftiValues::Read(_)),
                })
            }
            FileContent::Picture { image, .. } => json!({
                "reads": true,
                "format": "picture",
                "shape": image.data().shape(),
                "axes": ["channel", "row", "column"],
            }),
            FileContent::Model(model) => json!({
                "reads": true,
                "format": "lesio-model",
                "kind": model.kind,
                "version": model.version,
                "parameters": model.parameters(),
                "tensors": model.tensors,
                "document": model.document,
            }),
        };
        object["problems"] = json!(self.problems());
        if let Some(values) = self.values() {
            put_values(values, &mut object);
        }
        object
    }
}

fn put_values(values: &ValueSummary, object: &mut Value) {
    object["sum"] = number(values.sum);
    object["min"] = number(values.min);
    object["max"] = number(values.max);
    object["nonfinite"] = json!(values.nonfinite);
    object["first"] = values.first.iter().map(|&value| number(value)).collect();
    object["histogram"] = json!(values.histogram);
}
