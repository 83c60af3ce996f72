//! Damage of a gzip stream, by name.

/// Damage of a gzip stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GzipFault {
    /// The first two bytes are not gzip's.
    #[error("starts with {:02x} {:02x}, expected 1f 8b: it is no gzip file", found[0], found[1])]
    Magic {
        /// The bytes; 0 stands for one that is not there.
        found: [u8; 2],
    },
    /// A compression method that does not exist.
    #[error("compression method {method}, expected 8")]
    Method {
        /// The method.
        method: u8,
    },
    /// Reserved flags are set.
    #[error("the flags of its header are {flags:08b}, expected the first three bits to be zero")]
    Flags {
        /// The flags.
        flags: u8,
    },
    /// The header's own checksum does not agree.
    #[error("the checksum of its header is {found:04x}, the header says {expected:04x}")]
    HeaderChecksum {
        /// Of the bytes.
        found: u16,
        /// In the header.
        expected: u16,
    },
    /// The file ends inside the member.
    #[error("the file ends inside its {part}")]
    Ends {
        /// Header, data or trailer.
        part: &'static str,
    },
    /// The compressed data make no sense.
    #[error("its compressed data are damaged")]
    Data,
    /// The checksum of the decompressed bytes does not agree.
    #[error("the checksum of its data is {found:08x}, its trailer says {expected:08x}")]
    Checksum {
        /// Of the bytes.
        found: u32,
        /// In the trailer.
        expected: u32,
    },
    /// The number of decompressed bytes does not agree.
    #[error("its data are {found} bytes long (modulo 2^32), its trailer says {expected}")]
    Length {
        /// Of the bytes, modulo 2^32.
        found: u32,
        /// In the trailer.
        expected: u32,
    },
    /// After the last member is something else than zeros.
    #[error("what follows the member before is neither a member nor zeros")]
    Trailing,
}
