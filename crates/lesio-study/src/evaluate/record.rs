//! Files with the measurements of a case, from which an evaluation is resumed and shards are merged.
//!
//! A file consists of a header (eight letters and the sizes of four parts), the parts, and a CRC-32 of everything before it. The
//! parts are JSON, the pixels of the slice that the report may show, and the scores of the two builders that keep scores
//! outside of memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use lesio_io::atomic::{self, Existing};
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::measuring::Measurement;
use crate::checksum::{Checked, is_sealed};
use crate::evaluation::{EvaluationBuilder, GatheredScores};
use crate::groups::{GatheredGroups, GroupedEvaluation};
use crate::images::ImageEvaluation;
use crate::operating::OperatingEvaluation;
use crate::presentation::Shown;
use crate::scratch::Collected;
use crate::workflow_error::WorkflowError;

const MAGIC: &[u8; 8] = b"lesioEV1";
/// JSON, slice, scores, scores of groups.
const PARTS: usize = 4;
const HEADER: u64 = 8 + 8 * PARTS as u64;

/// An open file with the measurements of a case.
pub(super) struct Record {
    path: PathBuf,
    file: File,
    /// The offsets where the parts begin, and where the last one ends.
    places: [u64; PARTS + 1],
    kept: Kept<GatheredScores, GatheredGroups, ImageEvaluation, OperatingEvaluation>,
}

#[derive(Serialize, Deserialize)]
struct Kept<E, G, I, O> {
    /// The inputs of the measurements.
    key: String,
    evaluation: E,
    grouped: G,
    images: I,
    operating: O,
    precisions: BTreeMap<String, f64>,
    shown: Option<ShownParts>,
}

/// The layout of the pixels of a slice.
#[derive(Clone, Serialize, Deserialize)]
struct ShownParts {
    label: String,
    size: [usize; 2],
    has_reconstruction: bool,
    maps: usize,
    pixel: [f64; 2],
    left_to_right: bool,
}

impl Record {
    /// Writes the measurements of a case atomically.
    pub(super) fn write(path: &Path, key: &str, found: &mut Measurement) -> Result<(), WorkflowError> {
        let Measurement { evaluation, grouped, images, operating, precisions, shown } = found;
        let Collected { data: evaluation, scratch: scores } = &mut evaluation.collected;
        let Collected { data: grouped, scratch: of_groups } = &mut grouped.collected;
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

    /// Opens the file of a case.
    ///
    /// # Errors
    /// If the file cannot be read, is not such a file, or is damaged.
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

    /// The inputs of the measurements.
    pub(super) fn key(&self) -> &str {
        &self.kept.key
    }

    /// Why the case is left out, if its image could not be scored.
    pub(super) fn why_left_out(&self, case: &str) -> Option<&str> {
        self.kept.evaluation.why_left_out(case)
    }

    /// Adds the measurements to those of other cases, and returns the average precision of each map.
    pub(super) fn add_to(
        self,
        evaluation: &mut EvaluationBuilder,
        grouped: &mut GroupedEvaluation,
        images: &mut ImageEvaluation,
        operating: &mut OperatingEvaluation,
    ) -> Result<BTreeMap<String, f64>, WorkflowError> {
        let Self { path, file, places, kept } = self;
        evaluation.collected.absorb_from(kept.evaluation, part(&path, &file, &places, 2)?)?;
        grouped.collected.absorb_from(kept.grouped, part(&path, &file, &places, 3)?)?;
        images.absorb(kept.images);
        operating.absorb(kept.operating);
        Ok(kept.precisions)
    }

    /// The slice that the report may show; `None` without a lesion.
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

/// Splits a slice into its layout and its pixels: the image, the reconstruction if there is one, and the maps as `f32`, then
/// the truth as bytes.
fn taken_apart(shown: &Shown) -> (ShownParts, Vec<u8>) {
    let (rows, columns) = shown.image.dim();
    let has_reconstruction = shown.reconstruction.dim() == (rows, columns);
    let images = [&shown.image].into_iter().chain(has_reconstruction.then_some(&shown.reconstruction));
    let values = images.chain(&shown.maps).flatten();
    let mut pixels: Vec<u8> = values.flat_map(|value| value.to_le_bytes()).collect();
    pixels.extend(shown.truth.iter().flatten().map(|&inside| u8::from(inside)));
    let (label, maps) = (shown.label.clone(), shown.maps.len());
    let (pixel, left_to_right) = (shown.pixel, shown.left_to_right);
    (ShownParts { label, size: [rows, columns], has_reconstruction, maps, pixel, left_to_right }, pixels)
}

/// The inverse of [`taken_apart`]; `None` if the pixels do not fit the layout.
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
    let ShownParts { label, pixel, left_to_right, .. } = parts.clone();
    Some(Shown { label, image: first, reconstruction, maps, truth: Some(truth), pixel, left_to_right })
}
