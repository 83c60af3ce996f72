//! The order of bytes.

use std::fmt;

/// The order of bytes in header and voxels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// Least significant byte first: the order in which lesio writes.
    #[default]
    Little,
    /// Most significant byte first.
    Big,
}

impl fmt::Display for ByteOrder {
    /// NumPy's sign: `<` or `>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Little => "<",
            Self::Big => ">",
        })
    }
}
