//! Checksums of files.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// The size and the CRC-32 of a regular file. Reads it in pieces.
pub(crate) fn file_checksum(path: &Path) -> io::Result<(u64, u32)> {
    // Opening a pipe would wait for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut out = Checked::new(io::sink());
    io::copy(&mut File::open(path)?, &mut out)?;
    Ok((out.bytes, out.checksum()))
}

/// Whether the last four bytes of a file are the CRC-32 of all bytes before them, as [`Checked::seal`] writes it.
pub(crate) fn is_sealed(path: &Path) -> io::Result<bool> {
    let file = File::open(path)?;
    let Some(length) = file.metadata()?.len().checked_sub(4) else { return Ok(false) };
    let mut out = Checked::new(io::sink());
    io::copy(&mut (&file).take(length), &mut out)?;
    let mut seal = [0; 4];
    (&file).read_exact(&mut seal)?;
    Ok(u32::from_le_bytes(seal) == out.checksum())
}

/// A writer that computes the number and the CRC-32 of the bytes written.
pub(crate) struct Checked<W> {
    to: W,
    bytes: u64,
    hasher: crc32fast::Hasher,
}

impl<W: Write> Checked<W> {
    pub(crate) fn new(to: W) -> Self {
        Self { to, bytes: 0, hasher: crc32fast::Hasher::new() }
    }

    fn checksum(&self) -> u32 {
        self.hasher.clone().finalize()
    }

    /// Writes the CRC-32 of all bytes written so far.
    pub(crate) fn seal(mut self) -> io::Result<()> {
        let checksum = self.checksum();
        self.to.write_all(&checksum.to_le_bytes())
    }
}

impl<W: Write> Write for Checked<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.bytes += written as u64;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
