//! What was measured of a case, in a file: an evaluation goes on from there, and shares of the cases are joined.
//!
//! The file is a header of eight letters and the sizes of four parts, then the parts: JSON, the pixels of the slice that may be
//! shown, and the scores of the two builders that keep scores outside of memory. A checksum of all that is at its end.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use lesio_io::atomic::{self, Existing};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::measurement::Measurement;
use crate::checksum::{Checked, is_sealed};
use crate::evaluation::{EvaluationBuilder, GatheredScores};
use crate::groups::{GatheredGroups, GroupedEvaluation};
use crate::images::ImageEvaluation;
use crate::operating::OperatingEvaluation;
use crate::presentation::Shown;
use crate::workflow_error::WorkflowError;

const MAGIC: &[u8; 8] = b"lesioEV1";
/// JSON, slice, scores, scores of groups.
const PARTS: usize = 4;
const HEADER: u64 = 8 + 8 * PARTS as u64;

/// A case that was measured.
pub(super) struct Record {
    path: PathBuf,
    file: File,
    /// Where each part begins, and the last one ends.
    places: [u64; PARTS + 1],
    kept: Kept<GatheredScores, GatheredGroups, ImageEvaluation, OperatingEvaluation>,
}

#[derive(Serialize, Deserialize)]
struct Kept<E, G, I, O> {
    /// What the measurement comes from.
    key: String,
    evaluation: E,
    grouped: G,
    images: I,
    operating: O,
    precisions: BTreeMap<String, f64>,
    shown: Option<ShownParts>,
}

/// What the pixels of a slice are.
#[derive(Serialize, Deserialize)]
struct ShownParts {
    label: String,
    size: [usize; 2],
    has_reconstruction: bool,
    maps: usize,
}

impl Record {
    /// Writes what was measured of a case, whole or not at all.
    pub(super) fn write(path: &Path, key: &str, found: &mut Measurement) -> Result<(), WorkflowError> {
        let Measurement { evaluation, grouped, images, operating, precisions, shown } = found;
        let ((evaluation, scores), (grouped, of_groups)) = (evaluation.parts(), grouped.parts());
        let precisions = std::mem::take(precisions);
        let (shown, pixels) = shown.as_ref().map(taken_apart).unzip();
        let (key, pixels) = (key.to_owned(), pixels.unwrap_or_default());
        let json =
            serde_json::to_vec(&Kept { key, evaluation, grouped, images, operating, precisions, shown })?;
        let sizes = [json.len() as u64, pixels.len() as u64, scores.bytes(), of_groups.bytes()];
        atomic::write(path, Existing::Replace, |out| {
            let mut out = Checked::new(out);
            out.write_all(MAGIC)?;
            sizes.iter().try_for_each(|size| out.write_all(&size.to_le_bytes()))?;
            out.write_all(&json)?;
            out.write_all(&pixels)?;
            for scratch in [scores, of_groups] {
                scratch.copy_to(&mut out).map_err(io::Error::other)?;
            }
            out.seal()
        })?;
        Ok(())
    }

    /// Opens the record of a case.
    ///
    /// # Errors
    /// A file that cannot be read, is no record, or is damaged.
    pub(super) fn open(path: &Path) -> Result<Self, WorkflowError> {
        let failed = |cause| WorkflowError::Record { path: path.to_owned(), cause };
        let damaged = || failed(io::Error::new(io::ErrorKind::InvalidData, "the file is damaged"));
        if !is_sealed(path).map_err(failed)? {
            return Err(damaged());
        }
        let mut file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut header = [0; HEADER as usize];
        file.read_exact(&mut header).map_err(failed)?;
        let mut places = [HEADER; PARTS + 1];
        for (part, size) in header[MAGIC.len()..].as_chunks::<8>().0.iter().enumerate() {
            let size = u64::from_le_bytes(*size);
            places[part + 1] = places[part].checked_add(size).ok_or_else(damaged)?;
        }
        if !header.starts_with(MAGIC) || places[PARTS].checked_add(4) != Some(length) {
            return Err(damaged());
        }
        let json = BufReader::new((&file).take(places[1] - places[0]));
        let kept = serde_json::from_reader(json).map_err(|error| failed(error.into()))?;
        Ok(Self { path: path.to_owned(), file, places, kept })
    }

    /// What the measurement comes from.
    pub(super) fn key(&self) -> &str {
        &self.kept.key
    }

    /// Adds what was measured to what other cases gave, and returns the average precision of each map.
    pub(super) fn add_to(
        self,
        evaluation: &mut EvaluationBuilder,
        grouped: &mut GroupedEvaluation,
        images: &mut ImageEvaluation,
        operating: &mut OperatingEvaluation,
    ) -> Result<BTreeMap<String, f64>, WorkflowError> {
        let Self { path, file, places, kept } = self;
        evaluation.absorb_from(kept.evaluation, part(&path, &file, &places, 2)?)?;
        grouped.absorb_from(kept.grouped, part(&path, &file, &places, 3)?)?;
        images.absorb(kept.images);
        operating.absorb(kept.operating);
        Ok(kept.precisions)
    }

    /// The slice that may be shown; `None` without a lesion.
    pub(super) fn shown(&self) -> Result<Option<Shown>, WorkflowError> {
        let failed = |cause| WorkflowError::Record { path: self.path.clone(), cause };
        let Some(parts) = &self.kept.shown else { return Ok(None) };
        let mut pixels = Vec::new();
        part(&self.path, &self.file, &self.places, 1)?.read_to_end(&mut pixels).map_err(failed)?;
        let shown = put_together(parts, &pixels);
        shown
            .map(Some)
            .ok_or_else(|| failed(io::Error::new(io::ErrorKind::InvalidData, "the file is damaged")))
    }
}

/// The bytes of one part.
fn part<'a>(
    path: &Path,
    mut file: &'a File,
    places: &[u64; PARTS + 1],
    part: usize,
) -> Result<io::Take<&'a File>, WorkflowError> {
    file.seek(SeekFrom::Start(places[part]))
        .map_err(|cause| WorkflowError::Record { path: path.to_owned(), cause })?;
    Ok(file.take(places[part + 1] - places[part]))
}

/// A slice as its parts and its pixels: image, perhaps reconstruction, and maps as `f32`, the truth as bytes.
fn taken_apart(shown: &Shown) -> (ShownParts, Vec<u8>) {
    let (rows, columns) = shown.image.dim();
    let has_reconstruction = shown.reconstruction.dim() == (rows, columns);
    let images = [&shown.image].into_iter().chain(has_reconstruction.then_some(&shown.reconstruction));
    let values = images.chain(&shown.maps).flatten();
    let mut pixels: Vec<u8> = values.flat_map(|value| value.to_le_bytes()).collect();
    pixels.extend(shown.truth.iter().flatten().map(|&inside| u8::from(inside)));
    let (label, maps) = (shown.label.clone(), shown.maps.len());
    (ShownParts { label, size: [rows, columns], has_reconstruction, maps }, pixels)
}

/// The other way round; `None` of other pixels.
fn put_together(parts: &ShownParts, mut pixels: &[u8]) -> Option<Shown> {
    let [rows, columns] = parts.size;
    let count = rows.checked_mul(columns)?;
    let mut image = || -> Option<Array2<f32>> {
        let (own, rest) = pixels.split_at_checked(count.checked_mul(4)?)?;
        pixels = rest;
        let values = own.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
        Array2::from_shape_vec((rows, columns), values).ok()
    };
    let first = image()?;
    let reconstruction = if parts.has_reconstruction { image()? } else { Array2::zeros((0, 0)) };
    let maps = (0..parts.maps).map(|_| image()).collect::<Option<Vec<_>>>()?;
    let truth =
        Array2::from_shape_vec((rows, columns), pixels.iter().map(|&byte| byte != 0).collect()).ok()?;
    let label = parts.label.clone();
    Some(Shown { label, image: first, reconstruction, maps, truth: Some(truth) })
}
