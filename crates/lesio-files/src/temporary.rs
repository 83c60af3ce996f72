//! Temporary files in the folder of their target.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::{WriteError, WriteErrorKind};
use crate::retry::retry;
use crate::system::FileSystem;

/// The folder of a file; `None` if the path does not name a file.
pub(crate) fn folder_of(path: &Path) -> Option<&Path> {
    // A path that ends in a separator names a folder, but `file_name` ignores the separator.
    let ends_in_separator = path.as_os_str().as_encoded_bytes().last().is_some_and(|&last| last == b'/');
    if path.file_name().is_none() || ends_in_separator {
        return None;
    }
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => Some(parent),
        _ => Some(Path::new(".")),
    }
}

/// A temporary name in `folder` for `target`, unique within this process.
///
/// It is short, because the target's name may have the maximum length, but still identifies the target.
pub(crate) fn name(folder: &Path, target: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    folder.join(format!("{}{}-{number}.tmp", prefix(target), process::id()))
}

pub(crate) fn create<F: FileSystem>(
    system: &F,
    folder: &Path,
    target: &Path,
) -> Result<(PathBuf, F::File), WriteErrorKind> {
    let mut refused = 0;
    loop {
        let temporary = name(folder, target);
        match retry(|| system.create_new(&temporary)) {
            Ok(file) => return Ok((temporary, file)),
            // A file left by an earlier process with the same number: try the next name.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && refused < 1000 => refused += 1,
            Err(source) => return Err(WriteErrorKind::io("create a temporary file", source)),
        }
    }
}

/// Removes the temporary files that interrupted writers left in a folder, and returns their number.
///
/// Call this only when no process writes there: it cannot distinguish abandoned files from files that are being
/// written.
///
/// # Errors
/// If the folder cannot be read or a file cannot be removed.
pub fn sweep(folder: impl AsRef<Path>) -> Result<usize, WriteError> {
    sweep_named(folder.as_ref(), "", |_, _| true)
}

/// Removes the temporary files of a folder that no running process writes, and returns their number. It is safe to call
/// at any time: it keeps files that are locked, as files are during a write, and files whose process is running.
///
/// On systems other than Linux, where processes cannot be listed, it removes only files older than a minute. If a new
/// process has the number of the killed one, the file is kept until that process ends.
///
/// # Errors
/// Those of [`sweep`].
pub fn sweep_stale(folder: impl AsRef<Path>) -> Result<usize, WriteError> {
    sweep_named(folder.as_ref(), "", is_stale)
}

/// Like [`sweep`], but only for the temporary files of one target: the only writer of that file may call this even if
/// others write to the same folder. A folder that does not exist contains none.
///
/// # Errors
/// Those of [`sweep`].
pub fn sweep_for(path: impl AsRef<Path>) -> Result<usize, WriteError> {
    let path = path.as_ref();
    match folder_of(path) {
        Some(folder) if folder.exists() => sweep_named(folder, &prefix(path), |_, _| true),
        _ => Ok(0),
    }
}

fn sweep_named(folder: &Path, start: &str, wanted: impl Fn(&Path, u32) -> bool) -> Result<usize, WriteError> {
    let failed = |operation: &'static str| {
        move |source: io::Error| WriteError::new(folder, WriteErrorKind::io(operation, source))
    };
    let mut swept = 0;
    for entry in fs::read_dir(folder).map_err(failed("list the folder"))? {
        let entry = entry.map_err(failed("list the folder"))?;
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let process = process_of(&name).filter(|_| is_file && name.starts_with(start));
        if process.is_some_and(|process| wanted(&entry.path(), process)) {
            match fs::remove_file(entry.path()) {
                Ok(()) => swept += 1,
                // Another process sweeps too.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed("remove a temporary file")(error)),
            }
        }
    }
    Ok(swept)
}

/// The prefix of the temporary names of a file.
fn prefix(target: &Path) -> String {
    // FNV-1a. A hash collision only means that a file is swept too early or too late.
    let name = target.file_name().unwrap_or_default().as_encoded_bytes();
    let hash = name.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!(".lesio-{hash:016x}-")
}

/// The process that made a temporary file, by its name; `None` for other names.
fn process_of(name: &str) -> Option<u32> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = name.strip_prefix(".lesio-")?.strip_suffix(".tmp")?.split('-');
    let (hash, process, number) = (parts.next()?, parts.next()?, parts.next()?);
    let fits = hash.len() == 16
        && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
        && digits(number)
        && parts.next().is_none();
    if fits && digits(process) { process.parse().ok() } else { None }
}

/// Whether no process writes a temporary file any more.
fn is_stale(path: &Path, process: u32) -> bool {
    let processes = Path::new("/proc");
    let may_be_left = if processes.join("self").exists() {
        !processes.join(process.to_string()).exists()
    } else {
        // Processes cannot be listed here; the time between creating and locking a file is far below a minute.
        let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
        modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > Duration::from_secs(60)))
    };
    may_be_left && fs::File::open(path).is_ok_and(|file| file.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_temporary_files_are_swept() {
        let folder = tempfile::tempdir().unwrap();
        let left = |target: &str| name(folder.path(), Path::new(target));
        let (a, b) = (left("a"), left("b"));
        for path in [&a, &b] {
            fs::write(path, b"").unwrap();
        }
        for name in [".lesio-x.tmp", ".lesio-0123456789abcdef-1-1", ".lesio-12-0.tmp", "a", "b"] {
            fs::write(folder.path().join(name), b"").unwrap();
        }
        assert_eq!(sweep_for(folder.path().join("a")).unwrap(), 1);
        assert!(!a.exists() && b.exists());
        assert_eq!(sweep(folder.path()).unwrap(), 1);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 5);
        assert!(sweep(folder.path().join("absent")).is_err());
        assert_eq!(sweep_for(folder.path().join("absent/a")).unwrap(), 0);
    }

    #[test]
    fn only_files_that_nobody_writes_are_stale() {
        let folder = tempfile::tempdir().unwrap();
        // Not a valid process number: those of Linux are at most 2^22.
        let dead = folder.path().join(".lesio-0123456789abcdef-99999999-0.tmp");
        let locked = folder.path().join(".lesio-0123456789abcdef-99999999-1.tmp");
        let running = name(folder.path(), Path::new("a"));
        for path in [&dead, &locked, &running] {
            fs::write(path, b"").unwrap();
        }
        let held = fs::File::open(&locked).unwrap();
        held.lock().unwrap();
        let expected = usize::from(cfg!(target_os = "linux"));
        assert_eq!(sweep_stale(folder.path()).unwrap(), expected);
        assert_eq!((dead.exists(), locked.exists(), running.exists()), (expected == 0, true, true));
        drop(held);
        assert_eq!(sweep_stale(folder.path()).unwrap(), expected);
        assert!(running.exists());
    }

    #[test]
    fn a_file_is_locked_until_it_has_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        crate::write(&path, crate::Existing::Refuse, |_| {
            let left = fs::read_dir(folder.path())?.next().ok_or(io::ErrorKind::NotFound)??;
            assert!(fs::File::open(left.path())?.try_lock().is_err(), "a file that is written is not locked");
            Ok(())
        })
        .unwrap();
        assert!(fs::File::open(&path).unwrap().try_lock().is_ok());
    }
}
