//! The atomic write that all writers of this crate use.

use std::path::Path;

use lesio_files::{Disk, FileSystem};

pub use lesio_files::{Existing, WriteError, WriteErrorKind};

/// Writes `bytes` to `path` atomically, as [`lesio_files`] explains. The folder must exist.
///
/// # Errors
/// [`WriteError`], with the step that failed.
pub fn write_file(path: impl AsRef<Path>, bytes: &[u8], existing: Existing) -> Result<(), WriteError> {
    write_file_in(&Disk, path, bytes, existing)
}

/// Like [`write_file`], in another file system.
fn write_file_in<F: FileSystem>(
    system: &F,
    path: impl AsRef<Path>,
    bytes: &[u8],
    existing: Existing,
) -> Result<(), WriteError> {
    lesio_files::write_in(system, path, existing, |out| out.write_all(bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use lesio_files::simulation::{SimulatedDisk, every_fault, every_power_cut};

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn kind(error: &WriteError) -> &'static str {
        error.kind().name()
    }

    #[test]
    fn an_existing_file_is_replaced_only_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_file(&path, b"first", Existing::Refuse).unwrap();
        assert_eq!(kind(&write_file(&path, b"second", Existing::Refuse).unwrap_err()), "OutputExists");
        assert_eq!(fs::read(&path).unwrap(), b"first");
        write_file(&path, b"third", Existing::Replace).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"third");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        // A folder in the way: naming the file fails after it was written.
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), b"x").unwrap();
        let error = write_file(&path, b"new", Existing::Replace).unwrap_err();
        assert_eq!(kind(&error), "Io");
        assert!(
            error.to_string().contains("taken") && error.to_string().contains("name the file"),
            "{error}"
        );
        assert_eq!(names(folder.path()), ["taken"]);

        let missing = write_file(folder.path().join("no/such/a.txt"), b"", Existing::Replace).unwrap_err();
        assert!(missing.to_string().contains("a.txt"));
        let none = write_file(folder.path().join(".."), b"", Existing::Replace).unwrap_err();
        assert_eq!(kind(&none), "NoFileName");
    }

    #[test]
    fn faults_and_power_cuts_leave_the_old_report_or_the_new_one() {
        let new = vec![7; 300_000];
        for existing in [Existing::Refuse, Existing::Replace] {
            let before = match existing {
                Existing::Refuse => SimulatedDisk::default(),
                Existing::Replace => SimulatedDisk::with(&[("report.html", b"old")]),
            };
            let old = before.read("report.html");
            let write = |disk: &SimulatedDisk| write_file_in(disk, "report.html", &new, existing);
            let faults = every_fault(&before, write, |place, _, disk, result| {
                let now = disk.read("report.html");
                let placed =
                    result.as_ref().is_err_and(|error| error.to_string().contains("sync the folder"));
                let expected = if result.is_ok() || placed { Some(&new) } else { old.as_ref() };
                assert!(now.as_ref() == expected, "{place}: {result:?}");
            });
            let states = every_power_cut(&before, write, |place, remains, finished| {
                let now = remains.read(Path::new("report.html"));
                assert!(now.as_ref() == Some(&new) || !finished && now == old, "{place}");
            });
            assert!(faults >= 25 && states >= 20, "{faults} {states}");
        }
    }
}
