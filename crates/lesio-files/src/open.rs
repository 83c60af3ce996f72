//! Opening files under a limit.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Opens a regular file of at most `limit` bytes, and returns its length.
///
/// The type is checked before opening, because opening a pipe for reading waits for a writer, and again afterwards,
/// because the name may refer to something else by then.
///
/// # Errors
/// If the system cannot open the file, if it is not a regular file, or if it has more bytes.
pub fn open(path: &Path, limit: u64) -> io::Result<(File, u64)> {
    let expect_regular = |metadata: fs::Metadata| {
        if metadata.is_file() {
            return Ok(metadata.len());
        }
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
    };
    expect_regular(fs::metadata(path)?)?;
    let file = File::open(path)?;
    let length = expect_regular(file.metadata()?)?;
    if length > limit {
        let message = format!("the file holds {length} bytes, the limit is {limit}");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok((file, length))
}
