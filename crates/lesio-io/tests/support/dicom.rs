//! Slices of DICOM series, made with dicom-rs.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::fs;
use std::path::Path;

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

/// A slice to be, with every field open to be set wrong.
#[derive(Clone, Default)]
pub(crate) struct Slice {
    pub(crate) syntax: &'static str,
    pub(crate) series: &'static str,
    pub(crate) frame: &'static str,
    pub(crate) rows: u16,
    pub(crate) columns: u16,
    pub(crate) spacing: String,
    pub(crate) orientation: String,
    pub(crate) position: String,
    pub(crate) thickness: Option<&'static str>,
    pub(crate) scaling: Option<(&'static str, &'static str)>,
    pub(crate) bits: [u16; 3],
    pub(crate) signed: u16,
    pub(crate) samples: u16,
    pub(crate) frames: Option<&'static str>,
    pub(crate) photometric: &'static str,
    /// Without them, the slice is no image.
    pub(crate) pixels: Option<PrimitiveValue>,
    /// Taken out at the end.
    pub(crate) without: Vec<Tag>,
    pub(crate) more: Vec<DataElement<InMemDicomObject>>,
}

impl Slice {
    /// Unsigned pixels of 16 bits, a millimeter each.
    pub(crate) fn new([columns, rows]: [usize; 2], pixels: Vec<u16>) -> Self {
        Self {
            syntax: uids::EXPLICIT_VR_LITTLE_ENDIAN,
            series: "1.2.3",
            frame: "1.2.4",
            rows: rows as u16,
            columns: columns as u16,
            spacing: "1\\1".to_owned(),
            orientation: "1\\0\\0\\0\\1\\0".to_owned(),
            bits: [16, 16, 15],
            samples: 1,
            photometric: "MONOCHROME2",
            pixels: Some(PrimitiveValue::U16(pixels.into())),
            ..Self::default()
        }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// With this text in place of another.
    pub(crate) fn text(mut self, tag: Tag, vr: VR, text: &str) -> Self {
        self.more.push(DataElement::new(tag, vr, PrimitiveValue::from(text)));
        self
    }

    pub(crate) fn write(&self, path: &Path) {
        let mut object = InMemDicomObject::new_empty();
        let mut put = |tag, vr, value: PrimitiveValue| drop(object.put(DataElement::new(tag, vr, value)));
        put(tags::SOP_CLASS_UID, VR::UI, uids::MR_IMAGE_STORAGE.into());
        put(tags::SOP_INSTANCE_UID, VR::UI, "1.2.5".into());
        put(tags::MODALITY, VR::CS, "MR".into());
        put(tags::SERIES_INSTANCE_UID, VR::UI, self.series.into());
        put(tags::FRAME_OF_REFERENCE_UID, VR::UI, self.frame.into());
        if let Some(thickness) = self.thickness {
            put(tags::SLICE_THICKNESS, VR::DS, thickness.into());
        }
        if let Some(frames) = self.frames {
            put(tags::NUMBER_OF_FRAMES, VR::IS, frames.into());
        }
        if let Some((slope, intercept)) = self.scaling {
            put(tags::RESCALE_SLOPE, VR::DS, slope.into());
            put(tags::RESCALE_INTERCEPT, VR::DS, intercept.into());
        }
        if let Some(pixels) = &self.pixels {
            put(tags::IMAGE_POSITION_PATIENT, VR::DS, self.position.as_str().into());
            put(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, self.orientation.as_str().into());
            put(tags::PIXEL_SPACING, VR::DS, self.spacing.as_str().into());
            put(tags::SAMPLES_PER_PIXEL, VR::US, self.samples.into());
            put(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, self.photometric.into());
            put(tags::ROWS, VR::US, self.rows.into());
            put(tags::COLUMNS, VR::US, self.columns.into());
            put(tags::BITS_ALLOCATED, VR::US, self.bits[0].into());
            put(tags::BITS_STORED, VR::US, self.bits[1].into());
            put(tags::HIGH_BIT, VR::US, self.bits[2].into());
            put(tags::PIXEL_REPRESENTATION, VR::US, self.signed.into());
            let vr = if self.bits[0] == 8 { VR::OB } else { VR::OW };
            put(tags::PIXEL_DATA, vr, pixels.clone());
        }
        for element in &self.more {
            object.put(element.clone());
        }
        for &tag in &self.without {
            object.remove_element(tag);
        }
        let meta = FileMetaTableBuilder::new()
            .transfer_syntax(self.syntax)
            .media_storage_sop_class_uid(uids::MR_IMAGE_STORAGE)
            .media_storage_sop_instance_uid("1.2.5");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        object.with_meta(meta).unwrap().write_to_file(path).unwrap();
    }
}
