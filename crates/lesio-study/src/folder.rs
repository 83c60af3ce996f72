//! Folders for results.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use lesio_io::dataset::Case;
use lesio_io::{atomic, without_ending};

/// Why results cannot be written into a folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// A file has the name of the folder or of a parent folder.
    #[error("{}: {}is a file, expected a folder for results", .folder.display(), shown(.file.as_deref()))]
    File {
        /// The folder.
        folder: PathBuf,
        /// The file, if it is not the folder itself.
        file: Option<PathBuf>,
    },
    /// An operation of the system failed. Its message is part of this one.
    #[error("{}: {operation}: {cause}", .folder.display())]
    Io {
        /// The folder, or a file of an earlier run in it.
        folder: PathBuf,
        /// The operation that failed.
        operation: &'static str,
        /// The error of the system.
        cause: io::Error,
    },
    /// The files of a killed writer cannot be removed.
    #[error(transparent)]
    Sweep(#[from] atomic::WriteError),
}

fn shown(file: Option<&Path>) -> String {
    file.map(|file| format!("{} ", file.display())).unwrap_or_default()
}

/// Checks before any work that results can be written into a folder, or into its nearest existing parent if it does not
/// exist yet. The check leaves no file behind.
///
/// # Errors
/// If the name is not a folder, or nothing can be written into the folder; the error names it.
pub fn check_folder(folder: &Path) -> Result<(), FolderError> {
    let existing = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    if !existing.is_dir() {
        let file = (existing != folder).then(|| existing.to_owned());
        return Err(FolderError::File { folder: folder.to_owned(), file });
    }
    let failed = |operation| move |cause| FolderError::Io { folder: existing.to_owned(), operation, cause };
    let probe = existing.join(probe_name());
    let made = OpenOptions::new().write(true).create_new(true).open(&probe);
    made.map_err(failed("cannot write into the folder"))?;
    std::fs::remove_file(&probe).map_err(failed("cannot remove a file from the folder"))
}

/// A name that is unique across threads, processes and machines.
fn probe_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!(".lesio-probe-{}-{count}-{time}", std::process::id())
}

/// Creates the folder of a workflow's results, and removes temporary files of killed writers.
///
/// # Errors
/// Those of [`check_folder`].
pub fn prepare_folder(folder: &Path) -> Result<(), FolderError> {
    check_folder(folder)?;
    std::fs::create_dir_all(folder).map_err(|cause| FolderError::Io {
        folder: folder.to_owned(),
        operation: "cannot create the folder",
        cause,
    })?;
    atomic::sweep_stale(folder)?;
    Ok(())
}

/// Removes files of an earlier run from the folder of results; a file that does not exist is ignored. Call it after all
/// checks and before the first case: a run that is killed would otherwise leave a report that contradicts the new
/// results.
///
/// # Errors
/// If a file cannot be removed; the error names it.
pub(crate) fn remove_earlier(
    folder: &Path,
    names: impl IntoIterator<Item = impl AsRef<Path>>,
) -> Result<(), FolderError> {
    for name in names {
        let file = folder.join(name);
        match std::fs::remove_file(&file) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                let operation = "cannot remove the file of an earlier run";
                return Err(FolderError::Io { folder: file, operation, cause });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Name of a workflow's report; no case folder may have this name.
pub(crate) const REPORT: &str = "report.json";

/// Name of a workflow's page.
pub(crate) const PAGE: &str = "report.html";

/// A folder for each case: its id without the ending, its id if that name is taken, or its id with a number. No folder is
/// called like a file of results, such as `report.json`.
pub(crate) fn case_folders(folder: &Path, cases: &[Case]) -> Vec<PathBuf> {
    let mut taken = BTreeSet::new();
    let mut unique = |case: &Case| {
        let id = normalized(case.id());
        // Without its ending, `...png` would be the folder above.
        let stem = Some(without_ending(&id)).filter(|stem| Path::new(stem).file_name().is_some());
        let names = stem.map(normalized).into_iter().chain([id.clone()]);
        let numbered = (2_u64..).map(|number| format!("{id}-{number}"));
        let mut names = names.chain(numbered).filter(|name| !name.is_empty() && !is_of_results(name));
        let name = names.find(|name| taken.insert(name.clone())).unwrap_or_default();
        folder.join(name)
    };
    cases.iter().map(&mut unique).collect()
}

/// A name as the path that it is: `a//b`, `a/./b` and `a/b/` mean the folder `a/b`.
fn normalized(name: &str) -> String {
    let parts = Path::new(name).components().filter(|part| *part != Component::CurDir);
    parts.collect::<PathBuf>().to_string_lossy().into_owned()
}

/// Whether a name has the ending of the files that programs write beside the folders of cases.
fn is_of_results(name: &str) -> bool {
    let endings = [".csv", ".html", ".json", ".parquet", ".toml"];
    endings.iter().any(|ending| name.to_ascii_lowercase().ends_with(ending))
}

#[cfg(test)]
mod tests {
    use lesio_io::Matching;
    use lesio_io::dataset::{Dataset, Layout, Mask};

    use super::*;

    /// Several workers, or shards on several machines, create folders concurrently.
    #[test]
    fn folders_are_made_at_once() {
        let parent = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for worker in 0..8 {
                let parent = parent.path();
                scope.spawn(move || {
                    for case in 0..50 {
                        prepare_folder(&parent.join(format!("{worker}-{case}"))).unwrap();
                    }
                });
            }
        });
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 400);
    }

    #[test]
    fn no_case_has_the_folder_of_another_or_the_name_of_a_file_of_results() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("studies.csv");
        let ids = ["report.json", "a", "a.png", "a.nii.gz", "Cases.csv", "report", "b/cases.csv"];
        let rows: Vec<String> = ids.iter().enumerate().map(|(k, id)| format!("{k}.nii,{id}\n")).collect();
        std::fs::write(&table, format!("image,case\n{}", rows.concat())).unwrap();
        let data = Dataset::open(&table, &Layout::Manifest).unwrap();
        let found = case_folders(Path::new("out"), data.cases());
        let names = ["Cases.csv-2", "a", "a.nii.gz", "a.png", "b/cases.csv-2", "report", "report.json-2"];
        assert_eq!(found, names.map(|name| Path::new("out").join(name)));
    }

    #[test]
    fn names_of_one_path_have_folders_of_their_own() {
        let of = |id: &str| Case::of_files(id, [] as [&str; 0], Mask::Normal, Matching::Place);
        let ids = ["a/b", "a//b", "a/./b", "./a/b/", "a/b/.png", "a/...png", ".", "c/", "c"];
        let found = case_folders(Path::new("out"), &ids.map(of));
        let names = ["a/b", "a/b-2", "a/b-3", "a/b-4", "a/b/.png", "a/...png", "-2", "c", "c-2"];
        assert_eq!(found, names.map(|name| Path::new("out").join(name)));
    }

    #[test]
    fn files_of_an_earlier_run_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (removed, kept) = (folder.path().join("report.json"), folder.path().join("report.html"));
        [&removed, &kept].into_iter().for_each(|file| std::fs::write(file, "x").unwrap());
        remove_earlier(folder.path(), ["report.json", "cases.csv"]).unwrap();
        assert!(!removed.exists() && kept.exists());
        remove_earlier(&folder.path().join("none"), ["report.json"]).unwrap();
        std::fs::create_dir(&removed).unwrap();
        let error = remove_earlier(folder.path(), ["report.json"]).unwrap_err().to_string();
        assert!(error.contains("report.json: cannot remove the file of an earlier run"), "{error}");
    }

    #[test]
    fn folders_for_results_are_checked_before_work() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("taken");
        std::fs::write(&file, "x").unwrap();
        for path in [file.clone(), file.join("below")] {
            let error = prepare_folder(&path).unwrap_err().to_string();
            assert!(error.contains("taken"), "{error}");
        }
        let folder = parent.path().join("a/b");
        check_folder(&folder).unwrap();
        assert!(!parent.path().join("a").exists());
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
        prepare_folder(&folder).unwrap();
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    }
}
