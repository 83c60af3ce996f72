//! Segmentations that networks gave for the cases of a data set.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lesio_image::{Scan, Volume};
use lesio_io::dataset::Case;
use lesio_io::{ReadError, ReadOptions};

use crate::quality::error::QualityStudyError;

/// The name of all networks together.
pub const ALL_NETWORKS: &str = "all";

/// Endings of the files, longest first: of volumes, and of pictures. JPEG does not keep labels.
const ENDINGS: [&str; 2] = [".nii.gz", ".nii"];
const PICTURE_ENDINGS: [&str; 4] = [".png", ".tiff", ".tif", ".bmp"];

/// What one network gave: files named like the cases that they segment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NetworkFolder {
    /// What to call the network: the name of its folder.
    pub name: String,
    folder: PathBuf,
    /// By the name of the case.
    files: BTreeMap<String, PathBuf>,
    /// Whether they are pictures.
    has_pictures: bool,
}

impl NetworkFolder {
    /// Lists folders. Each is a network's own, with files `CASE.nii.gz` or `CASE.nii`, or for pictures `CASE.png`, `.tiff`,
    /// `.tif` or `.bmp`, or holds such folders of several networks. Pictures beside volumes are left out. A `/` in the name of a case is an underscore in the name of the file.
    ///
    /// # Errors
    /// Folders that cannot be listed or hold no such file, two networks of one name, and a network called [`ALL_NETWORKS`].
    pub fn open_all(folders: &[PathBuf]) -> Result<Vec<Self>, QualityStudyError> {
        let mut networks: Vec<Self> = Vec::new();
        for folder in folders {
            let mut found = vec![Self::open(folder)?];
            for inner in entries(folder)?.into_iter().filter(|path| path.is_dir()) {
                found.push(Self::open(&inner)?);
            }
            found.retain(|network| !network.files.is_empty());
            // Pictures beside the folders of networks, such as curves of their trainings, are no segmentations.
            if found.len() > 1 && found[0].folder == *folder && found[0].has_pictures {
                found.remove(0);
            }
            if found.is_empty() {
                let what = format!("{}: holds no segmentation named CASE.nii.gz", folder.display());
                return Err(QualityStudyError::Data { what });
            }
            networks.append(&mut found);
        }
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(pair) = networks.windows(2).find(|pair| pair[0].name == pair[1].name) {
            let (name, one, other) = (&pair[0].name, pair[0].folder.display(), pair[1].folder.display());
            let what = format!("two networks are called {name:?}: {one} and {other}");
            return Err(QualityStudyError::Data { what });
        }
        if let Some(network) = networks.iter().find(|network| network.name == ALL_NETWORKS) {
            let folder = network.folder.display();
            let what = format!(
                "{folder}: a network cannot be called {ALL_NETWORKS:?}, the name of all networks together; rename the folder"
            );
            return Err(QualityStudyError::Data { what });
        }
        Ok(networks)
    }

    /// The file for a case.
    #[must_use]
    pub fn file(&self, case: &str) -> Option<&Path> {
        self.files.get(&file_stem(case)).map(PathBuf::as_path)
    }

    /// The folder of the network.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the network gave for a case, on the grid of its image, with the file; `None` without a file.
    ///
    /// # Errors
    /// A file that cannot be read, and a segmentation of another place than the image. The errors name the file.
    pub(super) fn segmentation(
        &self,
        case: &Case,
        image: &Scan,
        options: &ReadOptions,
    ) -> Result<Option<(&Path, Volume<u8>)>, ReadError> {
        let Some(path) = self.file(case.id()) else { return Ok(None) };
        Ok(Some((path, case.labels_on(image, path, options)?)))
    }

    /// Refuses a network that segmented none of these cases.
    pub(super) fn require<'a>(
        &self,
        cases: impl IntoIterator<Item = &'a Case>,
    ) -> Result<(), QualityStudyError> {
        let mut first = None;
        for case in cases {
            if self.file(case.id()).is_some() {
                return Ok(());
            }
            first.get_or_insert(case.id());
        }
        let (folder, example) = (self.folder.display(), first.unwrap_or("CASE"));
        let what = format!("{folder}: holds no segmentation of these cases, such as {example}.nii.gz");
        Err(QualityStudyError::Data { what })
    }

    fn open(folder: &Path) -> Result<Self, QualityStudyError> {
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
        let paths = entries(folder)?;
        let volumes = Self::files(&paths, &ENDINGS)?;
        let has_pictures = volumes.is_empty();
        let files = if has_pictures { Self::files(&paths, &PICTURE_ENDINGS)? } else { volumes };
        Ok(Self { name, folder: folder.to_owned(), files, has_pictures })
    }

    /// The files with one of these endings, by the names of their cases.
    fn files(paths: &[PathBuf], endings: &[&str]) -> Result<BTreeMap<String, PathBuf>, QualityStudyError> {
        let mut files = BTreeMap::new();
        for path in paths {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            let stem = endings.iter().find_map(|ending| file.strip_suffix(ending));
            if let Some(case) = stem.filter(|case| !case.is_empty() && !case.starts_with('.'))
                && let Some(other) = files.insert(case.to_owned(), path.clone())
            {
                let what = format!("{} and {} are of one case", other.display(), path.display());
                return Err(QualityStudyError::Data { what });
            }
        }
        Ok(files)
    }
}

/// Checks that no two cases stand for one file of a network: `x/one` and `x_one` are both called `x_one.nii.gz`.
///
/// # Errors
/// Names both cases and the file.
pub(super) fn check_file_names<'a>(
    networks: &[NetworkFolder],
    cases: impl IntoIterator<Item = &'a Case>,
) -> Result<(), QualityStudyError> {
    check_names(networks, cases.into_iter().map(Case::id))
}

fn check_names<'a>(
    networks: &[NetworkFolder],
    cases: impl IntoIterator<Item = &'a str>,
) -> Result<(), QualityStudyError> {
    let mut known: BTreeMap<String, &str> = BTreeMap::new();
    for case in cases {
        let Some(other) = known.insert(file_stem(case), case).filter(|&other| other != case) else {
            continue;
        };
        if let Some(path) = networks.iter().find_map(|network| network.file(case)) {
            let path = path.display();
            let what =
                format!("cases {other:?} and {case:?} both stand for the file {path}: rename one of them");
            return Err(QualityStudyError::Data { what });
        }
    }
    Ok(())
}

/// The name of a case as the name of a file, without its ending.
fn file_stem(case: &str) -> String {
    case.replace('/', "_")
}

/// The entries of a folder, in order of their names.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, QualityStudyError> {
    let failed = |source| QualityStudyError::List { path: folder.to_owned(), source };
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: PathBuf) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }

    #[test]
    fn folders_of_networks_and_of_files_are_listed() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        touch(root.join("both/b/one.nii.gz"));
        touch(root.join("both/a/one.nii"));
        touch(root.join("both/a/test_two.nii.gz"));
        touch(root.join("both/README.md"));
        touch(root.join("alone/one.nii.gz"));
        let networks = NetworkFolder::open_all(&[root.join("both"), root.join("alone")]).unwrap();
        let names: Vec<&str> = networks.iter().map(|network| network.name.as_str()).collect();
        assert_eq!(names, ["a", "alone", "b"]);
        assert_eq!(networks[0].file("test/two").unwrap(), root.join("both/a/test_two.nii.gz"));
        assert_eq!(networks[0].file("three"), None);
        // Pictures beside volumes, and beside folders of networks, are no segmentations.
        touch(root.join("both/a/one.png"));
        touch(root.join("both/progress.png"));
        assert_eq!(NetworkFolder::open_all(&[root.join("both"), root.join("alone")]).unwrap(), networks);
        touch(root.join("pictures/net/one.png"));
        touch(root.join("pictures/progress.png"));
        let pictures = NetworkFolder::open_all(&[root.join("pictures")]).unwrap();
        assert_eq!(pictures.len(), 1);
        assert_eq!(pictures[0].file("one").unwrap(), root.join("pictures/net/one.png"));
    }

    #[test]
    fn what_cannot_be_is_named() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let refused = |folders: &[PathBuf]| NetworkFolder::open_all(folders).unwrap_err().to_string();
        assert!(refused(&[root.join("missing")]).contains("missing"));
        touch(root.join("none/README.md"));
        assert!(refused(&[root.join("none")]).contains("holds no segmentation"));
        touch(root.join("x/net/one.nii.gz"));
        touch(root.join("y/net/one.nii.gz"));
        assert!(refused(&[root.join("x"), root.join("y")]).contains("two networks are called \"net\""));
        touch(root.join("twice/one.nii.gz"));
        touch(root.join("twice/one.nii"));
        assert!(refused(&[root.join("twice")]).contains("are of one case"));
        touch(root.join("total/all/one.nii.gz"));
        let error = refused(&[root.join("total")]);
        assert!(error.contains("cannot be called \"all\"") && error.contains("total/all"), "{error}");
    }

    #[test]
    fn cases_that_share_a_file_are_named() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        touch(root.join("net/x_one.nii.gz"));
        touch(root.join("net/y_one.nii.gz"));
        let networks = NetworkFolder::open_all(&[root.join("net")]).unwrap();
        check_names(&networks, ["x/one", "y/one", "x/two", "x_two"]).unwrap();
        let error = check_names(&networks, ["x/one", "y/one", "x_one"]).unwrap_err().to_string();
        for said in ["\"x/one\"", "\"x_one\"", "x_one.nii.gz"] {
            assert!(error.contains(said), "{error}");
        }
    }
}
