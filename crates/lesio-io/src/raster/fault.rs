//! Errors of picture files.

use crate::error::ReadErrorKind;

/// The error for unsupported pixels, with the supported kinds.
pub(super) fn unsupported(found: impl Into<String>, expected: &'static str) -> ReadErrorKind {
    ReadErrorKind::UnsupportedPixels { found: found.into(), expected }
}

pub(super) fn damaged_bmp(reason: impl Into<String>) -> ReadErrorKind {
    damaged("BMP", reason)
}

pub(super) fn damaged_jpeg(reason: impl Into<String>) -> ReadErrorKind {
    damaged("JPEG", reason)
}

pub(super) fn damaged_png(reason: impl Into<String>) -> ReadErrorKind {
    damaged("PNG", reason)
}

pub(super) fn damaged_tiff(reason: impl Into<String>) -> ReadErrorKind {
    damaged("TIFF", reason)
}

fn damaged(format: &'static str, reason: impl Into<String>) -> ReadErrorKind {
    ReadErrorKind::Decode { format, source: reason.into().into() }
}
