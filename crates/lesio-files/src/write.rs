//! Content first, name last.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::error::{WriteError, WriteErrorKind};
use crate::retry::{retry, step};
use crate::system::{Disk, FileSystem};
use crate::temporary;

/// Bytes gathered before they are written.
const BUFFER: usize = 64 * 1024;

/// What to do where a file of the name exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Existing {
    /// Fail with [`WriteErrorKind::OutputExists`]: the default.
    #[default]
    Refuse,
    /// Replace it, once the new content is on the disk. A symbolic link is replaced, not followed.
    Replace,
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
/// use lesio_files::Existing;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("report.json");
/// lesio_files::write(&path, Existing::Refuse, |out| out.write_all(b"{}"))?;
/// let again = lesio_files::write(&path, Existing::Refuse, |out| out.write_all(b"{}"));
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
    write_file(
        system,
        path,
        content,
        |temporary| publish(system, temporary, path, existing),
        || {
            // Asked before anything is computed and written, and again by `publish` in one step with naming.
            Ok(existing == Existing::Refuse && system.exists(path)?)
        },
    )
    .map_err(|kind| WriteError::new(path, kind))
}

/// Writes a file, whole or not at all, and keeps the one that it replaces under the name `previous`, in
/// the same folder and in place of an older one: two generations.
///
/// At any moment, and after a failure or a power cut, `path` means the old file or the new one, whole. (On
/// a file system without second names, FAT for one, there is a moment when only `previous` is there.)
///
/// # Errors
/// As [`write()`], never [`WriteErrorKind::OutputExists`].
pub fn write_keeping<F: FileSystem>(
    system: &F,
    path: impl AsRef<Path>,
    previous: impl AsRef<Path>,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), WriteError> {
    let (path, previous) = (path.as_ref(), previous.as_ref());
    let name = |temporary: &Path| {
        keep(system, path, previous)?;
        step("name the file", || system.rename(temporary, path))
    };
    write_file(system, path, content, name, || Ok(false)).map_err(|kind| WriteError::new(path, kind))
}

fn write_file<F: FileSystem>(
    system: &F,
    path: &Path,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    name: impl FnOnce(&Path) -> Result<(), WriteErrorKind>,
    refused: impl FnMut() -> io::Result<bool>,
) -> Result<(), WriteErrorKind> {
    let Some(folder) = temporary::folder_of(path) else { return Err(WriteErrorKind::NoFileName) };
    if step("look up the name", refused)? {
        return Err(WriteErrorKind::OutputExists);
    }
    let (temporary, mut file) = temporary::create(system, folder, path)?;
    let written = fill(system, &mut file, content);
    let named = written.and_then(|()| name(&temporary));
    // Only now: an open file is locked, so that nobody takes it for one that was left behind.
    drop(file);
    if named.is_err() {
        // The first error is the one to tell; `sweep` finds what this cannot remove.
        let _ = system.remove(&temporary);
    }
    named?;
    step("sync the folder", || system.sync_folder(folder))
}

fn fill<F: FileSystem>(
    system: &F,
    file: &mut F::File,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), WriteErrorKind> {
    let mut buffered = BufWriter::with_capacity(BUFFER, &mut *file);
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
        Err(error) if has_no_second_names(&error) => {
            if step("look up the name", || system.exists(path))? {
                return Err(WriteErrorKind::OutputExists);
            }
            step("name the file", || system.rename(temporary, path))
        }
        Err(source) => Err(WriteErrorKind::io("name the file", source)),
    }
}

/// Gives the file at `path`, if there is one, the name `previous` as well.
fn keep<F: FileSystem>(system: &F, path: &Path, previous: &Path) -> Result<(), WriteErrorKind> {
    const OPERATION: &str = "keep the previous file";
    let Some(folder) = temporary::folder_of(previous) else { return Err(WriteErrorKind::NoFileName) };
    // A name that is taken cannot be linked to, and what has it must not be missed for a moment: the
    // link gets a name of its own, which then replaces the taken one in one step.
    let second = temporary::name(folder, previous);
    match retry(|| system.link(path, &second)) {
        Ok(()) => {
            let renamed = step(OPERATION, || system.rename(&second, previous));
            // Still there where renaming failed, and where `previous` meant this file already.
            let _ = retry(|| system.remove(&second));
            renamed
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if has_no_second_names(&error) => step(OPERATION, || system.rename(path, previous)),
        Err(source) => Err(WriteErrorKind::io(OPERATION, source)),
    }
}

/// File systems without second names (FAT, some network shares) say so in either way.
fn has_no_second_names(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied)
}
