//! DICOM series: a folder of slices becomes one volume.
//!
//! dicom-rs parses the elements. Before that, `scan` checks every length against the size of the file and passes over
//! nested sequences, so that no claim of the file is trusted.
//!
//! Pixels outside of the field of view hold `PixelPaddingValue`, or a value from it to `PixelPaddingRangeLimit`, often
//! far below every value of the body: -2000 in computed tomography. They get the smallest value of the other pixels of
//! the series, so that they change neither the scale of its intensities nor the threshold of its background. A padding
//! that is 0 after the modality transformation stays 0: that is what the outside of a brain is in images without a
//! skull, also where values in the brain are below 0.

mod head;
mod scan;
mod slice;
mod step;
mod transfer_syntax;

use std::fs;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};

use lesio_image::{Geometry, Volume};
use ndarray::{Array3, ShapeBuilder};

pub(crate) use head::{Head, Start, Unmarked};

use crate::dicom::slice::Slice;
use crate::dicom::step::step;
use crate::error::{AffineError, Escaped, ReadError, ReadErrorKind};
use crate::source::{CHUNK, Content, Stream, open_regular, reserve};

/// Largest difference between the directions of two slices, and between the sizes of their pixels.
const SAME: f64 = 1e-4;

/// Largest relative difference between the echo times of two slices of one acquisition.
const SAME_ECHO: f64 = 0.05;

/// Reads the series of a folder; see [`ReadOptions::read_dicom`](crate::ReadOptions::read_dicom).
pub(crate) fn read(folder: &Path, limit: u64) -> Result<Volume<f32>, ReadError> {
    let paths = files(folder).map_err(|kind| kind.at(folder))?;
    read_files(&paths, folder, limit)
}

/// Reads the series of these files; what is wrong with no one of them is told of their folder.
pub(crate) fn read_series(paths: &[PathBuf], limit: u64) -> Result<Volume<f32>, ReadError> {
    let folder = paths.first().and_then(|path| path.parent()).unwrap_or(Path::new(""));
    read_files(paths, folder, limit)
}

fn read_files(paths: &[PathBuf], folder: &Path, limit: u64) -> Result<Volume<f32>, ReadError> {
    let mut slices: Vec<Slice> = Vec::new();
    // Bytes of the value tables kept so far.
    let mut tables = 0;
    for path in paths {
        let mut slice = Slice::read(path, limit).map_err(|kind| kind.at(path))?;
        if let Some(first) = slices.first() {
            compare(first, &slice).map_err(|kind| kind.at(path))?;
        }
        let before = slices.last().and_then(|slice| slice.pixels.table.clone());
        if let Some(table) = &mut slice.pixels.table {
            // Slices usually have the same table, which is then kept once.
            match before.filter(|before| before == table) {
                Some(before) => *table = before,
                None => tables += size_of_val(&*table.entries) as u64,
            }
        }
        if tables > limit {
            return Err(ReadErrorKind::LimitExceeded { need: tables, limit }.at(folder));
        }
        slices.push(slice);
    }
    let Some(first) = slices.first() else { return Err(ReadErrorKind::NoSlices.at(folder)) };
    let normal = first.normal();
    let height = |slice: &Slice| -> f64 { slice.position.iter().zip(normal).map(|(a, b)| a * b).sum() };
    slices.sort_by(|a, b| height(a).total_cmp(&height(b)));
    let step = step(&slices, height).map_err(|(path, kind)| kind.at(&path))?;
    let geometry = geometry(&slices, step).map_err(|fault| {
        ReadErrorKind::BadAffine { method: "the series", fault: AffineError::from(fault), usable: None }
            .at(folder)
    })?;
    let (rows, columns, count) = (slices[0].rows, slices[0].columns, slices.len());
    let voxels = (rows as u64).saturating_mul(columns as u64).saturating_mul(count as u64);
    let need = voxels.saturating_mul(size_of::<f32>() as u64).saturating_add(tables);
    if need > limit {
        return Err(ReadErrorKind::LimitExceeded { need, limit }.at(folder));
    }
    let mut values = Vec::new();
    reserve(&mut values, voxels).map_err(|kind| kind.at(folder))?;
    for slice in &slices {
        append(slice, &mut values).map_err(|kind| kind.at(&slice.path))?;
    }
    fill_padding(&mut values, folder);
    // The order in the files: along a row first, then down the columns, then from slice to slice.
    let data = Array3::from_shape_vec((columns, rows, count).f(), values)
        .map_err(|_| ReadErrorKind::OutOfMemory { bytes: need }.at(folder))?;
    Ok(Volume::new(data, geometry))
}

/// The files of a series, sorted by name: all files of the folder except those whose name starts with a dot, and except
/// DICOMDIR. Subfolders are ignored.
fn files(folder: &Path) -> Result<Vec<PathBuf>, ReadErrorKind> {
    let failed = |source| ReadErrorKind::Io { operation: "list the folder", source };
    let kind = fs::metadata(folder).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => ReadErrorKind::NotFound,
        _ => ReadErrorKind::Io { operation: "look up the folder", source },
    })?;
    if !kind.is_dir() {
        return Err(ReadErrorKind::NotFolder);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let passed = name.as_encoded_bytes().starts_with(b".") || name.eq_ignore_ascii_case("DICOMDIR");
        if !passed && !entry.path().is_dir() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Whether two slices can belong to one volume.
fn compare(first: &Slice, other: &Slice) -> Result<(), ReadErrorKind> {
    let differs = |attribute, expected: String, found: String| ReadErrorKind::MixedSeries {
        with: first.path.clone(),
        attribute,
        expected,
        found,
    };
    for (attribute, expected, found) in [
        ("SeriesInstanceUID", &first.series, &other.series),
        ("FrameOfReferenceUID", &first.frame, &other.frame),
        ("Modality", &first.modality, &other.modality),
    ] {
        if expected != found {
            return Err(differs(attribute, expected.clone(), found.clone()));
        }
    }
    // Two patients to whom an anonymizer gave one UID, and two acquisitions whose slices lie between each other. 10 and
    // 10.0 milliseconds are the same, and what one file leaves out is no difference.
    let same = |expected: &str, found: &str| match (expected.parse::<f64>(), found.parse::<f64>()) {
        (Ok(expected), Ok(found)) => (expected - found).abs() <= SAME_ECHO * expected.abs(),
        _ => expected == found || expected.is_empty() || found.is_empty(),
    };
    if !same(&first.echo_time, &other.echo_time) {
        return Err(differs("EchoTime", first.echo_time.clone(), other.echo_time.clone()));
    }
    if first.patient != other.patient && !first.patient.is_empty() && !other.patient.is_empty() {
        return Err(differs("PatientID", first.patient.clone(), other.patient.clone()));
    }
    for (attribute, expected, found) in
        [("Rows", first.rows, other.rows), ("Columns", first.columns, other.columns)]
    {
        if expected != found {
            return Err(differs(attribute, expected.to_string(), found.to_string()));
        }
    }
    let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= SAME * a.abs().max(1.0));
    if !near(first.directions.as_flattened(), other.directions.as_flattened()) {
        let [expected, found] = [first, other].map(|slice| format!("{:?}", slice.directions));
        return Err(differs("ImageOrientationPatient", expected, found));
    }
    if !near(&first.spacing, &other.spacing) {
        let [expected, found] = [first, other].map(|slice| format!("{:?}", slice.spacing));
        return Err(differs("PixelSpacing", expected, found));
    }
    Ok(())
}

/// The affine from voxel (column, row, slice) to world coordinates. DICOM's axes point left and posterior, the world's
/// right and anterior.
fn geometry(slices: &[Slice], step: [f64; 3]) -> Result<Geometry, lesio_image::GeometryError> {
    let first = &slices[0];
    let [along, down] = first.directions;
    let [between_rows, between_columns] = first.spacing;
    let mut affine = [[0.0, 0.0, 0.0, 1.0]; 4];
    for (axis, row) in affine.iter_mut().take(3).enumerate() {
        let sign = if axis < 2 { -1.0 } else { 1.0 };
        let column =
            [along[axis] * between_columns, down[axis] * between_rows, step[axis], first.position[axis]];
        // Avoids negative zeros in the matrix.
        *row = column.map(|value| sign * value + 0.0);
    }
    Geometry::new(affine)
}

/// Sets the pixels of padding, which are NaN here, to the smallest other value.
fn fill_padding(values: &mut [f32], folder: &Path) {
    let count = values.iter().filter(|value| value.is_nan()).count();
    if count == 0 {
        return;
    }
    // The minimum of a number and NaN is the number.
    let least = values.iter().copied().fold(f32::INFINITY, f32::min);
    // A series of nothing but padding is constant.
    let least = if least.is_finite() { least } else { 0.0 };
    values.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = least);
    let percent = format!("{:.1}", 100.0 * count as f64 / values.len() as f64);
    tracing::warn!(
        series = %Escaped(folder.display()), %percent, %least,
        "pixels of PixelPaddingValue, outside of the field of view, are set to the smallest other value of the series"
    );
}

/// Appends the pixels of a slice, NaN for padding; `values` has room for them.
fn append(slice: &Slice, values: &mut Vec<f32>) -> Result<(), ReadErrorKind> {
    let pixels = &slice.pixels;
    let (file, length) = open_regular(&slice.path)?;
    let mut stream = Stream::new(Content::File(&file), false)?;
    (&file)
        .seek(SeekFrom::Start(pixels.offset))
        .map_err(|source| ReadErrorKind::Io { operation: "move in the file", source })?;
    let mut buffer = vec![0; CHUNK];
    let mut numbers = Vec::new();
    let mut left = pixels.length();
    let end = values.len() + pixels.count;
    while left > 0 {
        let chunk = left.min(CHUNK);
        let read = stream.read(buffer.get_mut(..chunk).unwrap_or_default())?;
        if read < chunk {
            let need = pixels.offset + pixels.length() as u64;
            return Err(ReadErrorKind::Truncated { what: "the pixels", need, have: length });
        }
        numbers.clear();
        pixels.decode(buffer.get(..chunk).unwrap_or_default(), &mut numbers);
        for &number in numbers.iter().take(end - values.len()) {
            let value = number as f32;
            if !value.is_finite() && !number.is_nan() {
                let voxel = values.len() as u64;
                return Err(ReadErrorKind::LossyConversion { voxel, value: number, target: "float32" });
            }
            values.push(value);
        }
        left -= chunk;
    }
    Ok(())
}
