//! Writing a file so that it is there whole or not at all.
//!
//! [`write()`] puts the content into a temporary file in the same folder, makes sure that it has reached
//! the disk, and only then gives it its name; then it makes sure of the name too. Whatever fails, and
//! whenever the power goes, the name means the old file or the new one, whole. What can be left behind
//! is one temporary file, named `.lesio-PROCESS-NUMBER.tmp`, which [`sweep`] removes.
//!
//! All of it goes through the [`FileSystem`] trait, so that tests make any step fail.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{WriteError, WriteErrorKind};

/// What to do where a file of the name exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Existing {
    /// Fail with [`WriteErrorKind::OutputExists`]: the default.
    #[default]
    Refuse,
    /// Replace it, once the new content is on the disk. A symbolic link is replaced, not followed.
    Replace,
}

/// The steps of which safe writing consists.
///
/// [`Disk`] takes them for real.
pub trait FileSystem {
    /// An open file.
    type File: Write;

    /// Creates a file that does not exist yet, and opens it for writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] where it does, or whatever the system says.
    fn create_new(&self, path: &Path) -> io::Result<Self::File>;

    /// Waits until what was written to a file is on the disk.
    ///
    /// # Errors
    /// Whatever the system says.
    fn sync(&self, file: &mut Self::File) -> io::Result<()>;

    /// Gives a file another name, in place of what had it.
    ///
    /// # Errors
    /// Whatever the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name that nothing has yet.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] where something has it, or whatever the system says.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Takes a name away.
    ///
    /// # Errors
    /// Whatever the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Waits until the names in a folder are on the disk.
    ///
    /// # Errors
    /// Whatever the system says.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Whether anything has this name, a link that leads nowhere included.
    ///
    /// # Errors
    /// Whatever the system says.
    fn exists(&self, path: &Path) -> io::Result<bool>;
}

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl FileSystem for Disk {
    type File = File;

    fn create_new(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create_new(true).open(path)
    }

    fn sync(&self, file: &mut File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        // Elsewhere folders cannot be opened as files, and renaming is durable by itself.
        if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        match fs::symlink_metadata(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Writes a file, whole or not at all; `content` is handed a buffered writer.
///
/// # Errors
/// [`WriteErrorKind::OutputExists`], [`WriteErrorKind::StorageFull`] or [`WriteErrorKind::Io`]. What was
/// there before is untouched then, and no temporary file is left unless removing it fails too. One
/// error is otherwise: where only the last step fails, that the folder reaches the disk, the new file
/// is in place already.
///
/// ```
/// use lesio_io::atomic::{self, Existing};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("report.json");
/// atomic::write(&path, Existing::Refuse, |out| out.write_all(b"{}"))?;
/// let again = atomic::write(&path, Existing::Refuse, |out| out.write_all(b"{}"));
/// assert_eq!(again.unwrap_err().kind().name(), "OutputExists");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write(
    path: impl AsRef<Path>,
    existing: Existing,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), WriteError> {
    write_in(&Disk, path, existing, content)
}

/// As [`write()`], in another file system.
///
/// # Errors
/// As [`write()`].
pub fn write_in<F: FileSystem>(
    system: &F,
    path: impl AsRef<Path>,
    existing: Existing,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), WriteError> {
    let path = path.as_ref();
    write_file(system, path, existing, content).map_err(|kind| kind.at(path))
}

fn write_file<F: FileSystem>(
    system: &F,
    path: &Path,
    existing: Existing,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), WriteErrorKind> {
    // A path that ends in a separator names a folder, though `file_name` would overlook it.
    let ends_in_separator = path.as_os_str().as_encoded_bytes().last().is_some_and(|&last| last == b'/');
    if path.file_name().is_none() || ends_in_separator {
        return Err(WriteErrorKind::NoFileName);
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Asked before anything is computed and written, and again by `publish` in one step with naming.
    if existing == Existing::Refuse && step("look up the name", || system.exists(path))? {
        return Err(WriteErrorKind::OutputExists);
    }
    let (temporary, mut file) = create_temporary(system, folder)?;
    let written = fill(system, &mut file, content);
    drop(file);
    let published = written.and_then(|()| publish(system, &temporary, path, existing));
    if published.is_err() {
        // The first error is the one to tell; `sweep` finds what this cannot remove.
        let _ = system.remove(&temporary);
    }
    published?;
    step("sync the folder", || system.sync_folder(folder))
}

fn fill<F: FileSystem>(
    system: &F,
    file: &mut F::File,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), WriteErrorKind> {
    let mut buffered = BufWriter::with_capacity(crate::source::CHUNK, &mut *file);
    content(&mut buffered)
        .and_then(|()| buffered.flush())
        .map_err(|source| WriteErrorKind::io("write the file", source))?;
    // Dropping a BufWriter that holds bytes would write them unseen: it is empty now.
    drop(buffered);
    step("sync the file", || system.sync(file))
}

/// Gives the finished file its name.
fn publish<F: FileSystem>(
    system: &F,
    temporary: &Path,
    path: &Path,
    existing: Existing,
) -> Result<(), WriteErrorKind> {
    if existing == Existing::Replace {
        return step("name the file", || system.rename(temporary, path));
    }
    // To rename would replace a file that came to be in the meantime; to link does not.
    match retry(|| system.link(temporary, path)) {
        Ok(()) => {
            // The file is in place: a temporary name that stays is `sweep`'s concern.
            let _ = retry(|| system.remove(temporary));
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(WriteErrorKind::OutputExists),
        // File systems without second names (FAT, some network shares) say so in either way.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied) =>
        {
            if step("look up the name", || system.exists(path))? {
                return Err(WriteErrorKind::OutputExists);
            }
            step("name the file", || system.rename(temporary, path))
        }
        Err(source) => Err(WriteErrorKind::io("name the file", source)),
    }
}

fn create_temporary<F: FileSystem>(system: &F, folder: &Path) -> Result<(PathBuf, F::File), WriteErrorKind> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut refused = 0;
    loop {
        // The name is short of its own, because the file's name may be as long as names can be.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let temporary = folder.join(format!(".lesio-{}-{number}.tmp", process::id()));
        match retry(|| system.create_new(&temporary)) {
            Ok(file) => return Ok((temporary, file)),
            // Left by a process that had the same number: the next one is free sooner or later.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && refused < 1000 => refused += 1,
            Err(source) => return Err(WriteErrorKind::io("create a temporary file", source)),
        }
    }
}

/// Removes the temporary files that interrupted writers left in a folder, and tells how many.
///
/// Only who knows that nobody is writing there may call this: it cannot tell a file that was left from
/// one that is being written.
///
/// # Errors
/// Where the folder cannot be read or a file cannot be removed.
pub fn sweep(folder: impl AsRef<Path>) -> Result<usize, WriteError> {
    let folder = folder.as_ref();
    let failed =
        |operation: &'static str| move |source: io::Error| WriteErrorKind::io(operation, source).at(folder);
    let mut swept = 0;
    for entry in fs::read_dir(folder).map_err(failed("list the folder"))? {
        let entry = entry.map_err(failed("list the folder"))?;
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && is_temporary(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path()).map_err(failed("remove a temporary file"))?;
            swept += 1;
        }
    }
    Ok(swept)
}

fn is_temporary(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name.strip_prefix(".lesio-")
        .and_then(|rest| rest.strip_suffix(".tmp"))
        .and_then(|rest| rest.split_once('-'))
        .is_some_and(|(process, number)| digits(process) && digits(number))
}

fn step<T>(operation: &'static str, attempt: impl FnMut() -> io::Result<T>) -> Result<T, WriteErrorKind> {
    retry(attempt).map_err(|source| WriteErrorKind::io(operation, source))
}

/// A signal that interrupts a step says nothing about it: it is taken again.
fn retry<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(
            write(folder.path(), Existing::Refuse, |_| Ok(())).unwrap_err().kind().name(),
            "OutputExists"
        );
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

    #[test]
    fn only_temporary_files_are_swept() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".lesio-12-0.tmp", ".lesio-x.tmp", "lesio-1-1.tmp", ".lesio-1-1.tmp.nii"] {
            fs::write(folder.path().join(name), b"").unwrap();
        }
        assert_eq!(sweep(folder.path()).unwrap(), 1);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
        assert!(sweep(folder.path().join("absent")).is_err());
    }
}
