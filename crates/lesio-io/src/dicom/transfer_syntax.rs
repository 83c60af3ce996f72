//! The encodings of the elements of a file.

use dicom_transfer_syntax_registry::{TransferSyntaxIndex, TransferSyntaxRegistry};

/// The encoding of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Coding {
    /// Whether the file contains the types of elements.
    pub(crate) explicit: bool,
    pub(crate) big: bool,
}

/// The coding of a transfer syntax whose pixels are not compressed.
pub(crate) fn coding_of(transfer_syntax: &str) -> Option<Coding> {
    match transfer_syntax {
        "1.2.840.10008.1.2" => Some(Coding { explicit: false, big: false }),
        "1.2.840.10008.1.2.1" => Some(Coding { explicit: true, big: false }),
        "1.2.840.10008.1.2.2" => Some(Coding { explicit: true, big: true }),
        _ => None,
    }
}

/// The name of a transfer syntax.
pub(crate) fn name_of(uid: &str) -> String {
    TransferSyntaxRegistry
        .get(uid)
        .map_or_else(|| "of no known name".to_owned(), |syntax| syntax.name().to_owned())
}
