//! The atomic write: first the content, then the name.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::error::{WriteError, WriteErrorKind};
use crate::retry::{retry, step};
use crate::system::{Disk, FileSystem};
use crate::temporary;

/// Bytes gathered before they are written.
const BUFFER: usize = 64 * 1024;

/// How to treat an existing file of the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Existing {
    /// Fail with [`WriteErrorKind::OutputExists`]: the default.
    #[default]
    Refuse,
    /// Replace it, once the new content is on the disk. A symbolic link is replaced, not followed.
    Replace,
}

/// Writes a file atomically; `content` gets a buffered writer.
///
/// # Errors
/// [`WriteErrorKind::OutputExists`], [`WriteErrorKind::StorageFull`] or [`WriteErrorKind::Io`]. An existing
/// file is then unchanged, and no temporary file remains unless its removal fails, too. There is one exception: if only
/// the last step, the sync of the folder, fails, the new file is already in place.
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

/// Like [`write()`], in another file system.
///
/// # Errors
/// Those of [`write()`].
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
            // Checked before anything is computed and written, and again by `publish` atomically with the renaming.
            Ok(existing == Existing::Refuse && system.exists(path)?)
        },
    )
    .map_err(|kind| WriteError::new(path, kind))
}

/// Writes a file atomically, and keeps the file that it replaces under the name `previous` in the same folder,
/// replacing an older one: two generations.
///
/// At any moment, and after a failure or a power cut, `path` refers to the complete old file or the complete new one.
/// (On a file system without hard links, such as FAT, there is a moment when only `previous` exists.)
///
/// # Errors
/// Those of [`write()`], never [`WriteErrorKind::OutputExists`].
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
    // Closed only now: an open file is locked, so that no sweep removes it.
    drop(file);
    if named.is_err() {
        // The first error is the one to report; `sweep` removes what this cannot.
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
    // Dropping a BufWriter with bytes would write them and ignore errors: it is empty now.
    drop(buffered);
    step("sync the file", || system.sync(file))
}

/// Renames the finished file.
fn publish<F: FileSystem>(
    system: &F,
    temporary: &Path,
    path: &Path,
    existing: Existing,
) -> Result<(), WriteErrorKind> {
    if existing == Existing::Replace {
        return step("name the file", || system.rename(temporary, path));
    }
    // Renaming would replace a file that was created in the meantime; linking does not.
    match retry(|| system.link(temporary, path)) {
        Ok(()) => {
            // The file is in place: `sweep` removes a temporary name that remains.
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

/// Links the file at `path`, if it exists, to the name `previous` as well.
fn keep<F: FileSystem>(system: &F, path: &Path, previous: &Path) -> Result<(), WriteErrorKind> {
    const OPERATION: &str = "keep the previous file";
    let Some(folder) = temporary::folder_of(previous) else { return Err(WriteErrorKind::NoFileName) };
    // Linking to an existing name fails, and the existing file must not be missing at any moment: the link gets a
    // temporary name, which then replaces the existing one in one step.
    let second = temporary::name(folder, previous);
    match retry(|| system.link(path, &second)) {
        Ok(()) => {
            let renamed = step(OPERATION, || system.rename(&second, previous));
            // The temporary name remains if renaming failed, and if `previous` already referred to this file.
            let _ = retry(|| system.remove(&second));
            renamed
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if has_no_second_names(&error) => step(OPERATION, || system.rename(path, previous)),
        Err(source) => Err(WriteErrorKind::io(OPERATION, source)),
    }
}

/// File systems without hard links (FAT, some network shares) report it by either of these errors.
fn has_no_second_names(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied)
}
