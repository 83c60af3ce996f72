//! Errors of reading a file.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use lesio_image::{GridError, ScanError};

use crate::error::affine::AffineError;
use crate::error::file_error::FileError;
use crate::error::gzip::GzipFault;
use crate::error::variant_name::variant_name;
use crate::nifti::Datatype;

/// Why a file could not be read: the file and the kind of failure.
///
/// ```
/// let error = lesio_io::read_volume("absent.nii.gz").unwrap_err();
/// assert_eq!(error.kind().name(), "NotFound");
/// assert_eq!(error.to_string(), "absent.nii.gz: there is no such file");
/// ```
pub type ReadError = FileError<ReadErrorKind>;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadErrorKind {
    /// An operation of the operating system failed.
    #[error("could not {operation}")]
    Io {
        /// The operation.
        operation: &'static str,
        /// The error of the system.
        source: io::Error,
    },
    /// The file does not exist.
    #[error("there is no such file")]
    NotFound,
    /// A symbolic link to a file that does not exist.
    #[error("is a link to {}, which does not exist", target.display())]
    DanglingLink {
        /// The target of the link.
        target: PathBuf,
    },
    /// A folder, a pipe, a device: reading it could block or never end.
    #[error("is {found}, expected a regular file")]
    NotRegularFile {
        /// What it is.
        found: &'static str,
    },
    /// The name of the file, or of a folder above it, is not UTF-8: results could not name it.
    #[error("the name is not UTF-8: {escaped}")]
    NotUtf8 {
        /// The name, with the bytes escaped that are not ASCII.
        escaped: String,
    },
    /// The name has no ending of a supported format.
    #[error("the name ends in none of {}", expected.join(", "))]
    UnknownFormat {
        /// The supported endings.
        expected: &'static [&'static str],
    },
    /// The content has no supported format.
    #[error("the content is none of {expected}")]
    UnknownContent {
        /// The supported formats.
        expected: &'static str,
    },
    /// The content does not have the format of the name.
    #[error("not a NIfTI file: {reason}")]
    NotNifti {
        /// What was expected and found.
        reason: String,
    },
    /// An unknown version of NIfTI.
    #[error("NIfTI version {version}, expected 1 or 2")]
    UnsupportedVersion {
        /// The version.
        version: u8,
    },
    /// The file ends too early.
    #[error("{what} needs {need} bytes, the file has {have}")]
    Truncated {
        /// The part that does not fit.
        what: &'static str,
        /// Bytes needed.
        need: u64,
        /// Bytes there.
        have: u64,
    },
    /// The header claims more data than a file of this size can hold.
    #[error("the header claims {claimed} bytes, at most {most} can come from this file's {bytes}")]
    ImpossibleClaim {
        /// Bytes claimed; `u64::MAX` where the claim itself overflows.
        claimed: u64,
        /// Bytes in the file.
        bytes: u64,
        /// Most bytes that they can decompress to.
        most: u64,
    },
    /// Reading would take more memory than the caller allowed.
    #[error("needs {need} bytes of memory, the limit is {limit}")]
    LimitExceeded {
        /// Bytes needed.
        need: u64,
        /// The limit.
        limit: u64,
    },
    /// A compressed file continues beyond the described data for more than the limit.
    #[error("more than {limit} bytes follow what the header describes, which is the limit")]
    LongRest {
        /// The limit.
        limit: u64,
    },
    /// The system has not enough memory for the data in the file.
    #[error("no memory for {bytes} bytes")]
    OutOfMemory {
        /// Bytes asked for.
        bytes: u64,
    },
    /// A dimension is not a number of voxels, or there are too few or too many dimensions.
    #[error("dim[{axis}] is {found}, expected {expected}")]
    BadDim {
        /// Index in the header's `dim`; 0 is the number of dimensions.
        axis: usize,
        /// The value.
        found: i64,
        /// What it should be.
        expected: &'static str,
    },
    /// A voxel type that cannot be read, or not as the requested type.
    #[error("datatype {code} ({name}) cannot be read{purpose}")]
    UnsupportedDatatype {
        /// NIfTI's code.
        code: i16,
        /// Its name.
        name: &'static str,
        /// The requested kind of value, as in `" as real numbers"`, or nothing.
        purpose: &'static str,
    },
    /// The intent of the file is not an image.
    #[error("intent code {code} ({name}) is not an image")]
    UnsupportedIntent {
        /// NIfTI's code.
        code: i32,
        /// Its name.
        name: &'static str,
    },
    /// Voxels cannot start where the header says.
    #[error("voxel offset is {found}, expected {expected}")]
    BadVoxOffset {
        /// The value.
        found: f64,
        /// What it should be.
        expected: String,
    },
    /// A header extension has an invalid size.
    #[error("header extension {index} has size {size}, expected {expected}")]
    BadExtension {
        /// Which, from 0.
        index: usize,
        /// The size it claims.
        size: i64,
        /// What it should be.
        expected: String,
    },
    /// The scaling has a usable slope and an intercept that is not a number.
    #[error("scaling has slope {slope} and intercept {intercept}, expected finite numbers")]
    BadScaling {
        /// The slope.
        slope: f64,
        /// The intercept.
        intercept: f64,
    },
    /// The compressed stream is damaged.
    #[error("gzip member {member}: {fault}")]
    GzipCorrupt {
        /// Which, from 1.
        member: u64,
        /// The damage.
        fault: GzipFault,
    },
    /// A header file without its voxel file, or the reverse.
    #[error("its other half {} is missing", expected.display())]
    MissingPair {
        /// The file expected beside it.
        expected: PathBuf,
    },
    /// More than one file could be the other half.
    #[error("its other half may be any of {candidates:?}")]
    AmbiguousPair {
        /// The files.
        candidates: Vec<PathBuf>,
    },
    /// The header gives no valid affine.
    #[error("{method} gives no affine: {fault}{}", choice(.usable))]
    BadAffine {
        /// `sform`, `qform` or `pixdim`.
        method: &'static str,
        /// What is wrong.
        fault: AffineError,
        /// The other form of the header, if it gives an affine: it can be selected by
        /// [`ReadOptions::affine`](crate::ReadOptions::affine).
        usable: Option<&'static str>,
    },
    /// The header does not have the requested form: its code is 0 or invalid.
    #[error(
        "has no {form}, which was asked for: sform_code is {sform_code} and qform_code is {qform_code}, \
         expected 1 to 5"
    )]
    NoSuchForm {
        /// `sform` or `qform`.
        form: &'static str,
        /// The header's code of the sform.
        sform_code: i32,
        /// The header's code of the qform.
        qform_code: i32,
    },
    /// `bitpix` of a NIfTI-2 header contradicts the datatype.
    #[error("bitpix is {found}, expected {} for the datatype {datatype}", datatype.bytes() * 8)]
    BadBitsPerVoxel {
        /// The value.
        found: i16,
        /// The datatype.
        datatype: Datatype,
    },
    /// An unexpected number of dimensions.
    #[error("shape is {shape:?}, expected {expected}")]
    UnexpectedRank {
        /// The shape.
        shape: Vec<u64>,
        /// What was expected.
        expected: &'static str,
    },
    /// The requested volume does not exist.
    #[error("volume {index} was requested, the file has {volumes} (numbered from 0)")]
    NoSuchVolume {
        /// The number, from 0.
        index: u64,
        /// How many there are.
        volumes: u64,
    },
    /// A value cannot be represented in the requested type.
    #[error("value {value:?} of voxel {voxel} (in file order) cannot be represented as {target}")]
    LossyConversion {
        /// Which voxel, in file order, from the first of the file.
        voxel: u64,
        /// The value, after scaling.
        value: f64,
        /// The requested type.
        target: &'static str,
    },
    /// Voxels of a mask are NaN, which is neither inside nor outside.
    #[error(
        "{count} of {voxels} voxels are NaN (the first is voxel {first} in file order), expected a mask: \
         0 outside, any other number inside"
    )]
    NotANumber {
        /// How many.
        count: u64,
        /// Voxels of the mask.
        voxels: u64,
        /// The first of them, in file order, from the first voxel of the file.
        first: u64,
    },
    /// An image and its mask do not have the same size.
    #[error("has shape {found:?}, expected {expected:?} as {} has", with.display())]
    SizeMismatch {
        /// The file it should agree with.
        with: PathBuf,
        /// That file's shape.
        expected: Vec<usize>,
        /// This file's shape.
        found: Vec<usize>,
    },
    /// A mask, a segmentation or a channel has another position in space than its image.
    #[error("has another position in space than {}: {error}", with.display())]
    GridMismatch {
        /// The image.
        with: PathBuf,
        /// Shapes and affines of both, and the difference.
        error: GridError,
    },
    /// A file is given for two channels of a case.
    #[error("is given for two channels")]
    RepeatedChannel,
    /// A file is given for a channel, and has the name of another one.
    #[error("is given as the channel {given:?}, but is named like the channel {named:?}")]
    OtherChannel {
        /// The channel for which it is given.
        given: String,
        /// The channel with its name.
        named: String,
    },
    /// Files that cannot be channels of one scan.
    #[error("its channels do not form one scan: {error}")]
    NotOneScan {
        /// What is wrong.
        error: ScanError,
    },
    /// A PNG, JPEG, TIFF or BMP file that cannot be decoded.
    #[error("could not be decoded as {format}")]
    Decode {
        /// The format.
        format: &'static str,
        /// The error of the decoder.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A PNG, JPEG, TIFF or BMP file with an unsupported kind of pixels.
    #[error("pixels are {found}, expected {expected}")]
    UnsupportedPixels {
        /// The kind.
        found: String,
        /// The supported kinds.
        expected: &'static str,
    },
    /// A JPEG mask whose values are too close together to survive lossy compression.
    #[error(
        "the greatest value of this JPEG mask is {greatest}, expected 255 or nothing but 0: JPEG does not keep small \
         values apart, so save the mask as PNG"
    )]
    BlurredMask {
        /// The greatest value.
        greatest: f32,
    },
    /// A DICOM series is a folder.
    #[error("is not a folder, expected a folder with the slices of a series")]
    NotFolder,
    /// A folder without a DICOM file.
    #[error("contains no file, expected the slices of a DICOM series")]
    NoSlices,
    /// A file of a series is not a DICOM file, or is damaged.
    #[error("not a DICOM file: {reason}")]
    NotDicom {
        /// What was expected and found.
        reason: String,
    },
    /// The pixels of a DICOM file are compressed or have an unsupported encoding.
    #[error("transfer syntax {uid} ({name}) cannot be read, expected pixels that are not compressed")]
    UnsupportedTransferSyntax {
        /// Its UID in DICOM.
        uid: String,
        /// Its name.
        name: String,
    },
    /// An attribute of a DICOM file that is missing or cannot be used.
    #[error("{attribute} is {found}, expected {expected}")]
    BadAttribute {
        /// Its name in DICOM.
        attribute: &'static str,
        /// The value, or a note that it is missing.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Two files of a folder do not belong to one series.
    #[error("{attribute} is {found}, expected {expected} as {} has", with.display())]
    MixedSeries {
        /// The file it should agree with.
        with: PathBuf,
        /// What differs.
        attribute: &'static str,
        /// That file's value.
        expected: String,
        /// This file's value.
        found: String,
    },
    /// Two slices have the same position, as in a time series.
    #[error("has the same position {position:.3?} mm as {}, expected one slice per position", with.display())]
    SamePosition {
        /// The other file.
        with: PathBuf,
        /// The position of this one.
        position: [f64; 3],
    },
    /// Slices are missing before this one.
    #[error(
        "lies {distance:.3} mm after {}, expected {expected:.3} mm: {count} slices are missing between",
        after.display()
    )]
    MissingSlices {
        /// The file before.
        after: PathBuf,
        /// The number of missing slices.
        count: u64,
        /// The distance to it, in millimeters.
        distance: f64,
        /// The distance between the other slices.
        expected: f64,
    },
    /// The distance to the previous slice differs from the other distances.
    #[error("lies {distance:.3} mm after {}, expected {expected:.3} mm as between the others", after.display())]
    UnevenSpacing {
        /// The file before.
        after: PathBuf,
        /// The distance to it, in millimeters.
        distance: f64,
        /// The distance between the other slices.
        expected: f64,
    },
    /// A slice is shifted against the line through the others.
    #[error(
        "lies at {position:.3?} mm, expected {expected:.3?} mm, on the line through the first and last slice"
    )]
    SliceOffLine {
        /// The position of the slice.
        position: [f64; 3],
        /// Where it should be.
        expected: [f64; 3],
    },
    /// A file beside the slices of a series cannot be read, and may be one of them: without it, the volume could be
    /// shorter, and no gap would show it.
    #[error("may be a slice of this series, but cannot be read ({reason}): repair or remove {}", them(*others))]
    PossibleSlice {
        /// Why it cannot be read.
        reason: String,
        /// The number of other files of which the same is true.
        others: usize,
    },
}

impl ReadErrorKind {
    /// The variant's name, as used in reports: `"Truncated"`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        variant_name! { self;
            Io NotFound DanglingLink NotRegularFile NotUtf8 UnknownFormat UnknownContent NotNifti
            UnsupportedVersion Truncated ImpossibleClaim LimitExceeded LongRest OutOfMemory BadDim
            UnsupportedDatatype UnsupportedIntent BadVoxOffset BadExtension BadScaling GzipCorrupt
            MissingPair AmbiguousPair BadAffine NoSuchForm BadBitsPerVoxel UnexpectedRank NoSuchVolume
            LossyConversion NotANumber SizeMismatch GridMismatch RepeatedChannel OtherChannel NotOneScan
            Decode UnsupportedPixels BlurredMask NotFolder NoSlices NotDicom UnsupportedTransferSyntax
            BadAttribute MixedSeries SamePosition MissingSlices UnevenSpacing SliceOffLine PossibleSlice
        }
    }

    pub(crate) fn at(self, path: &Path) -> ReadError {
        FileError::new(path, self)
    }
}

fn choice(usable: &Option<&'static str>) -> String {
    usable.map_or_else(String::new, |form| format!("; {form} gives one and can be chosen"))
}

fn them(others: usize) -> String {
    match others {
        0 => "it".to_owned(),
        1 => "it and another file like it".to_owned(),
        others => format!("it and {others} other files like it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_variants() {
        // Debug output starts with the variant's name.
        let kinds = [
            ReadErrorKind::NotFound,
            ReadErrorKind::Truncated { what: "x", need: 2, have: 1 },
            ReadErrorKind::GzipCorrupt { member: 1, fault: GzipFault::Data },
            ReadErrorKind::UnexpectedRank { shape: vec![1, 2], expected: "x" },
        ];
        for kind in kinds {
            assert!(format!("{kind:?}").starts_with(kind.name()));
        }
    }
}
