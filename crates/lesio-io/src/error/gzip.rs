//! Kinds of damage of a gzip stream.

/// Damage of a gzip stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GzipFault {
    /// The first two bytes are not those of gzip.
    #[error("starts with {:02x} {:02x}, expected 1f 8b: it is not a gzip file", found[0], found[1])]
    Magic {
        /// The bytes; a missing byte is 0.
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
    /// The checksum of the header is wrong.
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
    /// The compressed data are invalid.
    #[error("its compressed data are damaged")]
    Data,
    /// The checksum of the decompressed bytes is wrong.
    #[error("the checksum of its data is {found:08x}, its trailer says {expected:08x}")]
    Checksum {
        /// Of the bytes.
        found: u32,
        /// In the trailer.
        expected: u32,
    },
    /// The number of decompressed bytes is wrong.
    #[error("its data are {found} bytes long (modulo 2^32), its trailer says {expected}")]
    Length {
        /// Of the bytes, modulo 2^32.
        found: u32,
        /// In the trailer.
        expected: u32,
    },
    /// Bytes other than zeros follow the last member.
    #[error("the bytes after the previous member are neither a member nor zeros")]
    Trailing,
}
