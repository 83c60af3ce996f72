//! Atomic file writes.
//!
//! [`write()`] writes the content to a temporary file in the same folder, syncs it to the disk, renames it, and syncs
//! the folder. After any failure or power cut, the name refers to the complete old file or the complete new one.
//! [`write_keeping`] also keeps the old file under a second name. A killed process can leave one temporary file, named
//! `.lesio-HASH-PROCESS-NUMBER.tmp`, which [`sweep`], [`sweep_for`] and [`sweep_stale`] remove.
//!
//! [`open()`] opens a regular file of a limited size for reading.
//!
//! All writing goes through the [`FileSystem`] trait, so that tests can make any step fail with the simulated disk of the
//! feature `simulation`.
//!
//! ```
//! use lesio_files::{Disk, Existing};
//!
//! let folder = tempfile::tempdir()?;
//! let (path, before) = (folder.path().join("state"), folder.path().join("state.previous"));
//! for content in ["first", "second"] {
//!     lesio_files::write_keeping(&Disk, &path, &before, |out| out.write_all(content.as_bytes()))?;
//! }
//! assert_eq!(std::fs::read_to_string(&path)?, "second");
//! assert_eq!(std::fs::read_to_string(&before)?, "first");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// docs.rs labels items with the feature that enables them.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod error;
#[cfg(test)]
mod faults;
mod open;
mod retry;
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
mod system;
mod temporary;
mod write;

pub use error::{WriteError, WriteErrorKind};
pub use open::open;
pub use system::{Disk, FileSystem};
pub use temporary::{sweep, sweep_for, sweep_stale};
pub use write::{Existing, write, write_in, write_keeping};

/// Compiles and runs the program in README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeOfCrate;

#[cfg(test)]
mod tests {
    use std::{fs, io};

    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write(&path, Existing::Refuse, |out| out.write_all(b"old")).unwrap();
        let failed = write(&path, Existing::Replace, |out| {
            out.write_all(&[0; 200_000])?;
            Err(io::Error::other("no more"))
        });
        assert_eq!(failed.unwrap_err().kind().name(), "Io");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn names_that_are_none_are_refused() {
        for name in ["", "/", "..", "folder/"] {
            let error = write(name, Existing::Replace, |_| Ok(())).unwrap_err();
            assert_eq!(error.kind().name(), "NoFileName", "{name:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        let error = write(folder.path(), Existing::Replace, |_| Ok(())).unwrap_err();
        assert_eq!(error.kind().name(), "Io");
        let error = write(folder.path(), Existing::Refuse, |_| Ok(())).unwrap_err();
        assert_eq!(error.kind().name(), "OutputExists");
    }

    #[test]
    fn two_generations_are_kept_and_no_third_name() {
        let folder = tempfile::tempdir().unwrap();
        let (path, before) = (folder.path().join("a"), folder.path().join("a.previous"));
        for turn in 0..4_u8 {
            write_keeping(&Disk, &path, &before, |out| out.write_all(&[turn])).unwrap();
            assert_eq!(fs::read(&path).unwrap(), [turn]);
            assert_eq!(fs::read(&before).ok(), turn.checked_sub(1).map(|last| vec![last]));
        }
        // As if power had gone between keeping the old file and naming the new one: both names mean one file.
        fs::remove_file(&before).unwrap();
        fs::hard_link(&path, &before).unwrap();
        write_keeping(&Disk, &path, &before, |out| out.write_all(b"new")).unwrap();
        assert_eq!((fs::read(&path).unwrap(), fs::read(&before).unwrap()), (b"new".to_vec(), vec![3]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[cfg(unix)]
    #[test]
    fn files_are_as_readable_as_any_other() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        write(&ours, Existing::Refuse, |out| out.write_all(b"x")).unwrap();
        fs::write(&plain, b"x").unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }
}
