//! Data sets: folders of images in the arrangements of public data sets.
//!
//! [`Dataset::open`] lists the cases of a folder in one of the [`Layout`]s, sorted, without reading any image.
//! [`Dataset::select`] selects the cases of a split. [`Case::read_volume`] and [`Case::read_image`] read a case with
//! its mask.
//!
//! ```no_run
//! use lesio_io::ReadOptions;
//! use lesio_io::dataset::{Dataset, Layout};
//!
//! let data = Dataset::open("hospital", &Layout::cases("flair.nii.gz", Some("mask.nii.gz")))?;
//! for case in data.select("train")?.cases() {
//!     let (volume, mask) = case.read_volume(&ReadOptions::new())?;
//!     println!("{} {:?} {}", case.id(), volume.shape(), mask.is_some());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod acdc;
mod bids;
mod case;
mod cases;
#[cfg(feature = "dicom")]
mod dicom;
mod error;
mod fault;
mod folder;
mod images;
mod layout;
mod listing;
mod manifest;
mod msd;
mod mvtec;
mod names;
mod options;
mod passed_over;
mod sheet;
mod splits;
mod suggestion;
#[cfg(feature = "dicom")]
mod unreadable;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

pub use case::{Case, Mask};
pub use error::{AbsentCase, DatasetError, DatasetErrorKind};
pub use layout::Layout;
pub use options::{AbsentCases, DatasetOptions, MissingMask};

use crate::error::Escaped;
use crate::file_kind::describe;
use listing::Listing;

/// The split that contains every case, whatever `splits.csv` says.
pub const ALL: &str = "all";

/// The cases of a data set, sorted by their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    root: PathBuf,
    cases: Vec<Case>,
    /// The name of the masks, if the user gave one.
    mask: Option<String>,
    /// Files that are called as masks and are that of no case.
    stray: Vec<PathBuf>,
}

impl Dataset {
    /// Lists a folder with the default [`DatasetOptions`].
    ///
    /// # Errors
    /// The errors of [`Dataset::open_with`].
    pub fn open(root: impl AsRef<Path>, layout: &Layout) -> Result<Self, DatasetError> {
        Self::open_with(root, layout, &DatasetOptions::new())
    }

    /// Lists a folder.
    ///
    /// # Errors
    /// If the folder cannot be listed, contains no case, or contains files that do not fit the layout:
    /// [`DatasetErrorKind`] states the problem, and the error names the file. Missing masks are
    /// [`DatasetErrorKind::MissingMask`], and rows of `splits.csv` without a case are
    /// [`DatasetErrorKind::AbsentCases`], unless the options say otherwise. If the folder has another layout, the
    /// error names it ([`DatasetError::hint`]).
    pub fn open_with(
        root: impl AsRef<Path>,
        layout: &Layout,
        options: &DatasetOptions,
    ) -> Result<Self, DatasetError> {
        let root = root.as_ref();
        check_root(root, layout)?;
        let Listing { mut cases, lacking, stray, passed } =
            list(root, layout).map_err(|error| with_hint(error, root, layout))?;
        if cases.is_empty() {
            let error = DatasetErrorKind::Empty { layout: layout.name() }.at(root);
            let holds = passed.describe().map(|files| format!("it holds {files}"));
            let hints = [suggestion::suggest(root, layout.name()), holds].into_iter().flatten();
            let hint = hints.collect::<Vec<_>>().join("; ");
            return Err(error.hinted(Some(hint).filter(|hint| !hint.is_empty())));
        }
        passed.tell(root);
        cases.sort_by(|a, b| a.id().cmp(b.id()));
        let mut seen: Option<&str> = None;
        for case in &cases {
            if seen.replace(case.id()) == Some(case.id()) {
                let path = case.images().first().map_or(root, PathBuf::as_path);
                return Err(DatasetErrorKind::DuplicateCase { id: case.id().to_owned() }.at(path));
            }
        }
        cases.iter_mut().for_each(|case| case.matching = options.matching);
        if let Some(splits) = splits::Splits::of(root)?.filter(|_| *layout != Layout::Manifest) {
            splits.assign(&mut cases, options.absent_cases)?;
        }
        check_patients(root, &cases)?;
        warn_of_similar_splits(root, &cases);
        let mask = match layout {
            Layout::Cases { mask, .. } | Layout::Bids { mask, .. } | Layout::Dicom { mask, .. } => {
                mask.clone()
            }
            _ => None,
        };
        Self { root: root.to_owned(), cases, mask, stray }
            .with_policy(options.missing_mask, |case| lacking.contains(case.id()))
    }

    /// A data set with a single case of several files, each of which contains one or more channels. The case is named
    /// after the first file.
    ///
    /// # Errors
    /// [`DatasetErrorKind::MissingFile`] for a file that does not exist; [`DatasetErrorKind::Empty`] without files.
    pub fn of_channels(files: &[PathBuf]) -> Result<Self, DatasetError> {
        let first =
            files.first().ok_or_else(|| DatasetErrorKind::Empty { layout: "images" }.at(Path::new("")))?;
        for file in files {
            folder::expect_file(file)?;
        }
        let case = Case { images: files.to_vec(), ..Case::new(folder::utf8_name(first)?) };
        Ok(Self { root: first.clone(), cases: vec![case], mask: None, stray: Vec::new() })
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The cases, sorted by their ids.
    #[must_use]
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// The splits that have cases, sorted.
    #[must_use]
    pub fn splits(&self) -> BTreeSet<&str> {
        self.cases.iter().filter_map(Case::split).collect()
    }

    /// The cases of a split; `all` selects every case.
    ///
    /// # Errors
    /// [`DatasetErrorKind::UnknownSplit`] if no case belongs to the split.
    pub fn select(&self, split: &str) -> Result<Self, DatasetError> {
        if split == ALL {
            return Ok(self.clone());
        }
        let chosen = self.filter(|case| case.split() == Some(split));
        if chosen.cases.is_empty() {
            let known = self.splits().into_iter().map(str::to_owned).collect();
            return Err(DatasetErrorKind::UnknownSplit { split: split.to_owned(), known }.at(&self.root));
        }
        Ok(chosen)
    }

    /// The cases for which `keep` returns true; there may be none.
    #[must_use]
    pub fn filter(&self, keep: impl FnMut(&&Case) -> bool) -> Self {
        Self { cases: self.cases.iter().filter(keep).cloned().collect(), ..self.clone_empty() }
    }

    /// The number of cases without a known mask. Programs that treat these cases as normal should say so.
    #[must_use]
    pub fn unknown(&self) -> usize {
        self.cases.iter().filter(|case| *case.mask() == Mask::Unknown).count()
    }

    /// Checks that every case has a mask or is normal.
    ///
    /// # Errors
    /// [`DatasetErrorKind::MissingMask`], which lists the cases without a mask.
    pub fn require_masks(&self) -> Result<(), DatasetError> {
        self.clone().resolved(MissingMask::Refuse).map(drop)
    }

    /// The same cases, after a policy is applied to the cases without a known mask.
    ///
    /// # Errors
    /// [`DatasetErrorKind::MissingMask`] with [`MissingMask::Refuse`], and with [`MissingMask::Skip`] if no case is
    /// left. [`DatasetErrorKind::MaskWithoutImage`] with [`MissingMask::Normal`] if a file is called as the masks and is
    /// that of no case.
    pub fn resolved(self, policy: MissingMask) -> Result<Self, DatasetError> {
        self.with_policy(policy, |case| *case.mask() == Mask::Unknown)
    }

    /// The same cases without their masks, which are then not read, for uses that need no ground truth.
    #[must_use]
    pub fn without_masks(mut self) -> Self {
        self.cases.iter_mut().for_each(|case| case.mask = Mask::Unknown);
        self
    }

    /// Whether a path is the data set's folder or inside it, with links resolved. The path need not exist.
    ///
    /// Files that a program writes there would be listed as data the next time.
    #[must_use]
    pub fn contains(&self, path: impl AsRef<Path>) -> bool {
        match (resolved_path(&self.root), resolved_path(path.as_ref())) {
            (Some(root), Some(path)) => root.is_dir() && path.starts_with(root),
            _ => false,
        }
    }

    /// Whether a path is this folder of the data set or inside it, with links resolved. Neither path need exist.
    #[must_use]
    pub fn holds(&self, folder: &str, path: impl AsRef<Path>) -> bool {
        match (resolved_path(&self.root.join(folder)), resolved_path(path.as_ref())) {
            (Some(root), Some(path)) => path.starts_with(root),
            _ => false,
        }
    }

    fn clone_empty(&self) -> Self {
        let (mask, stray) = (self.mask.clone(), self.stray.clone());
        Self { root: self.root.clone(), cases: Vec::new(), mask, stray }
    }

    /// Applies a policy to the cases that lack a mask.
    fn with_policy(
        mut self,
        policy: MissingMask,
        lacks: impl Fn(&Case) -> bool,
    ) -> Result<Self, DatasetError> {
        let of = self.cases.len();
        let lacking: Vec<&Case> = self.cases.iter().filter(|case| lacks(case)).collect();
        let count = lacking.len();
        if count == 0 || policy == MissingMask::Keep {
            return Ok(self);
        }
        let ids = lacking.iter().take(DatasetErrorKind::LISTED).map(|case| case.id().to_owned());
        let kind = DatasetErrorKind::MissingMask { cases: ids.collect(), count, of, mask: self.mask.clone() };
        let first = lacking.first().and_then(|case| case.images().first()).and_then(|image| image.parent());
        let there = first.filter(|_| self.mask.is_some()).and_then(suggestion::contents);
        let there = there.map(|text| format!("of the first, {text}"));
        let stray = self.stray.first().map(|path| {
            let path = Escaped(path.display());
            format!("masks without a case: {}, the first {path}", self.stray.len())
        });
        let hint: Vec<String> = stray.into_iter().chain(there).collect();
        let error = kind.at(&self.root).hinted(Some(hint.join("; ")).filter(|hint| !hint.is_empty()));
        match policy {
            // Its lesions may be those of a case that would be taken for normal.
            MissingMask::Normal if !self.stray.is_empty() => {
                let hint = format!("it may be that of a case without a mask: {error}");
                return Err(DatasetErrorKind::MaskWithoutImage.at(&self.stray[0]).hinted(Some(hint)));
            }
            MissingMask::Refuse => return Err(error),
            MissingMask::Skip if count == of => return Err(error),
            MissingMask::Skip => {
                tracing::warn!("{error}: left out, as was asked for");
                self.cases.retain(|case| !lacks(case));
            }
            _ => {
                tracing::warn!("{error}: taken for normal, as was asked for");
                let lacking = self.cases.iter_mut().filter(|case| lacks(case));
                lacking.for_each(|case| case.mask = Mask::Normal);
            }
        }
        Ok(self)
    }
}

/// Returns an error for a patient with cases in two splits: a test on one would not be independent of a training on the
/// other. Frames that `splits.csv` puts in different splits by a row of their own are only a warning.
fn check_patients(root: &Path, cases: &[Case]) -> Result<(), DatasetError> {
    let mut first: BTreeMap<&str, &Case> = BTreeMap::new();
    for case in cases.iter().filter(|case| case.split().is_some()) {
        let earlier = first.entry(case.patient()).or_insert(case);
        if earlier.split() != case.split() && case.frame.is_some() {
            let (data, patient) = (root.display(), case.patient());
            tracing::warn!(%data, patient, "frames of a patient are in different splits, which are not independent then");
        } else if earlier.split() != case.split() {
            let of = |case: &Case| (case.id().to_owned(), case.split().unwrap_or_default().to_owned());
            let kind = DatasetErrorKind::SplitPatient {
                patient: case.patient().to_owned(),
                cases: [of(earlier), of(case)],
            };
            return Err(kind.at(root));
        }
    }
    Ok(())
}

/// Warns of splits whose names differ in upper and lower case alone: each selects only its own cases.
fn warn_of_similar_splits(root: &Path, cases: &[Case]) {
    let splits: BTreeSet<&str> = cases.iter().filter_map(Case::split).collect();
    let mut by_name: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    splits.into_iter().for_each(|split| by_name.entry(split.to_lowercase()).or_default().push(split));
    for similar in by_name.values().filter(|similar| similar.len() > 1) {
        let data = root.display();
        tracing::warn!(%data, "the splits {similar:?} differ in upper and lower case alone: each selects only its own cases");
    }
}

fn list(root: &Path, layout: &Layout) -> Result<Listing, DatasetError> {
    match layout {
        Layout::Cases { images, mask } => cases::list(root, images, mask.as_deref()),
        Layout::MvTec => mvtec::list(root),
        Layout::Acdc => acdc::list(root),
        Layout::Msd => msd::list(root),
        Layout::Images => images::list(root),
        Layout::Bids { suffixes, mask, derivative } => {
            bids::list(root, suffixes, mask.as_deref(), derivative.as_deref())
        }
        #[cfg(feature = "dicom")]
        Layout::Dicom { series, mask } => dicom::list(root, series.as_deref(), mask.as_deref()),
        #[cfg(not(feature = "dicom"))]
        Layout::Dicom { .. } => {
            Err(DatasetErrorKind::NotBuilt { layout: "dicom", feature: "dicom" }.at(root))
        }
        Layout::Manifest => manifest::list(root),
    }
}

/// Checks that the root is a folder or a file, as the layout requires. The error states its type.
fn check_root(root: &Path, layout: &Layout) -> Result<(), DatasetError> {
    let kind = match fs::metadata(root) {
        Ok(metadata) => metadata.file_type(),
        Err(source) if source.kind() == io::ErrorKind::NotFound => {
            let link = fs::symlink_metadata(root).is_ok();
            let kind = if link { DatasetErrorKind::DanglingLink } else { DatasetErrorKind::NotFound };
            return Err(kind.at(root));
        }
        Err(source) => return Err(DatasetErrorKind::Io { operation: "look up the folder", source }.at(root)),
    };
    let fits = match layout {
        Layout::Manifest => kind.is_file(),
        Layout::Images => kind.is_dir() || kind.is_file(),
        _ => kind.is_dir(),
    };
    if fits {
        return Ok(());
    }
    if *layout == Layout::Manifest {
        return Err(DatasetErrorKind::NotRegularFile { found: describe(kind) }.at(root));
    }
    let error = DatasetErrorKind::NotAFolder { found: describe(kind) }.at(root);
    let is_table = root.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
    let what = if is_table {
        "a table of cases is the layout manifest"
    } else {
        "a single file is the layout images"
    };
    let one = kind.is_file().then(|| what.to_owned());
    Err(error.hinted(one))
}

/// Adds to an error the layout that the user may have meant, if the error may be due to a wrong layout.
fn with_hint(error: DatasetError, root: &Path, layout: &Layout) -> DatasetError {
    match error.kind() {
        DatasetErrorKind::NotThisLayout { .. } => error.hinted(suggestion::suggest(root, layout.name())),
        DatasetErrorKind::MissingFile => {
            let holds = error.path().parent().and_then(suggestion::contents);
            error.hinted(suggestion::suggest(root, layout.name()).or(holds))
        }
        _ => error,
    }
}

/// An absolute path with the links resolved in the part that exists.
fn resolved_path(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    let (existing, mut found) =
        absolute.ancestors().find_map(|part| Some((part, part.canonicalize().ok()?)))?;
    for part in absolute.strip_prefix(existing).ok()?.components() {
        match part {
            Component::ParentDir => drop(found.pop()),
            part => found.push(part),
        }
    }
    Some(found)
}
