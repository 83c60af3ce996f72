//! What can be wrong with a data set's folder.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::names::quoted;

use crate::error::Escaped;

/// Why a data set could not be listed: which file or folder, what is wrong with it, and what may be meant.
#[derive(Debug)]
pub struct DatasetError {
    path: PathBuf,
    kind: Box<DatasetErrorKind>,
    hint: Option<String>,
}

impl DatasetError {
    /// The file or folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is wrong with it.
    #[must_use]
    pub fn kind(&self) -> &DatasetErrorKind {
        &self.kind
    }

    /// What may be meant: the layout that the folder looks like, the names that are there.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The same error with a guess of what was meant.
    pub(super) fn hinted(self, hint: Option<String>) -> Self {
        Self { hint: self.hint.or(hint), ..self }
    }
}

impl fmt::Display for DatasetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Escaped(self.path.display()), self.kind)?;
        self.hint.iter().try_for_each(|hint| write!(f, "; {hint}"))
    }
}

impl Error for DatasetError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.kind.source()
    }
}

/// What is wrong with a data set's folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetErrorKind {
    /// The operating system refused an operation.
    #[error("could not {operation}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A folder that must be there is not.
    #[error("there is no such folder")]
    NotFound,
    /// Something else stands where a folder is expected.
    #[error("is {found}, expected a folder")]
    NotAFolder {
        /// What it is.
        found: &'static str,
    },
    /// A file that must be there is not.
    #[error("there is no such file")]
    MissingFile,
    /// A symbolic link that leads nowhere.
    #[error("is a link that leads nowhere")]
    DanglingLink,
    /// A folder, a pipe or a device where a file is expected.
    #[error("is {found}, expected a regular file")]
    NotRegularFile {
        /// What it is.
        found: &'static str,
    },
    /// A name that cannot be shown or compared.
    #[error("the name is not UTF-8: {}", escaped)]
    NotUtf8 {
        /// The name, with what is not UTF-8 escaped.
        escaped: String,
    },
    /// Folders nested more deeply than any data set's.
    #[error("is nested more than {limit} folders deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// There is no case.
    #[error("holds no case of the layout {layout}")]
    Empty {
        /// The layout.
        layout: &'static str,
    },
    /// The folder does not look like the layout.
    #[error("is not arranged as {layout}: expected {expected}")]
    NotThisLayout {
        /// The layout.
        layout: &'static str,
        /// What was looked for.
        expected: &'static str,
    },
    /// An image stands where the layout has folders only.
    #[error("stands beside the folders, expected {expected}")]
    Misplaced {
        /// Where it should stand.
        expected: &'static str,
    },
    /// The layout takes a feature with which lesio was not built.
    #[error("the layout {layout} takes a build with the feature {feature}, which this one lacks")]
    NotBuilt {
        /// The layout.
        layout: &'static str,
        /// The feature.
        feature: &'static str,
    },
    /// A name that breaks the rules of its layout.
    #[error("is misnamed: {reason}")]
    Misnamed {
        /// Which rule, and how.
        reason: String,
    },
    /// Two files make the same case.
    #[error("is a second file for the case {id}")]
    DuplicateCase {
        /// The case.
        id: String,
    },
    /// A mask belongs to no image.
    #[error("is a mask without an image")]
    MaskWithoutImage,
    /// More than one file may be the mask of an image.
    #[error("may be the mask of {id}, and so may another file")]
    AmbiguousMask {
        /// The case.
        id: String,
    },
    /// Cases lack the mask that is needed.
    #[error("{} of {of} cases {} no mask{}: {}", count, have(*count), named(mask.as_deref()), listed(cases, *count))]
    MissingMask {
        /// The first of them, ten at most.
        cases: Vec<String>,
        /// How many there are.
        count: usize,
        /// Of how many.
        of: usize,
        /// The name of the mask, where the user gave one.
        mask: Option<String>,
    },
    /// No case belongs to a split.
    #[error("{}", unknown_split(split, known))]
    UnknownSplit {
        /// The split asked for.
        split: String,
        /// Those that have cases.
        known: Vec<String>,
    },
    /// Rows of `splits.csv` name no case of the folder.
    #[error("{count} rows name no case: {}", listed(&rows.iter().map(AbsentCase::text).collect::<Vec<_>>(), *count))]
    AbsentCases {
        /// The first of them, ten at most.
        rows: Vec<AbsentCase>,
        /// How many there are.
        count: usize,
    },
    /// A manifest, or a table of BIDS, cannot be understood.
    #[error("line {line}: {reason}")]
    BadManifest {
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// `splits.csv` cannot be understood.
    #[error("line {line}: {reason}")]
    BadSplits {
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
}

impl DatasetErrorKind {
    /// Cases that an error lists, at most.
    pub(super) const LISTED: usize = 10;

    /// The variant's name, as it stands in reports: `"MissingFile"`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Io { .. } => "Io",
            Self::NotFound => "NotFound",
            Self::NotAFolder { .. } => "NotAFolder",
            Self::MissingFile => "MissingFile",
            Self::DanglingLink => "DanglingLink",
            Self::NotRegularFile { .. } => "NotRegularFile",
            Self::NotUtf8 { .. } => "NotUtf8",
            Self::TooDeep { .. } => "TooDeep",
            Self::Empty { .. } => "Empty",
            Self::NotThisLayout { .. } => "NotThisLayout",
            Self::Misplaced { .. } => "Misplaced",
            Self::NotBuilt { .. } => "NotBuilt",
            Self::Misnamed { .. } => "Misnamed",
            Self::DuplicateCase { .. } => "DuplicateCase",
            Self::MaskWithoutImage => "MaskWithoutImage",
            Self::AmbiguousMask { .. } => "AmbiguousMask",
            Self::MissingMask { .. } => "MissingMask",
            Self::UnknownSplit { .. } => "UnknownSplit",
            Self::AbsentCases { .. } => "AbsentCases",
            Self::BadManifest { .. } => "BadManifest",
            Self::BadSplits { .. } => "BadSplits",
        }
    }

    pub(crate) fn at(self, path: &Path) -> DatasetError {
        DatasetError { path: path.to_owned(), kind: Box::new(self), hint: None }
    }
}

/// A row of `splits.csv` that names no case.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AbsentCase {
    /// Its line, from 1.
    pub line: u64,
    /// Whom it names: a patient or case, with the frame after a space where it has one.
    pub name: String,
    /// The names most like it, the nearest first; none where nothing is like it.
    pub nearest: Vec<String>,
}

impl AbsentCase {
    fn text(&self) -> String {
        let Self { line, name, nearest } = self;
        let near: Vec<String> = nearest.iter().map(|name| quoted(name)).collect();
        let near = if near.is_empty() { String::new() } else { format!(", nearest {}", near.join(" and ")) };
        format!("line {line} {}{near}", quoted(name))
    }
}

/// The first of a list, and how many more there are.
fn listed<S: AsRef<str>>(first: &[S], count: usize) -> String {
    let mut text = first.iter().map(S::as_ref).collect::<Vec<_>>().join("; ");
    let more = count.saturating_sub(first.len());
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    text
}

fn have(count: usize) -> &'static str {
    if count == 1 { "has" } else { "have" }
}

fn named(mask: Option<&str>) -> String {
    mask.map_or_else(String::new, |mask| format!(" {mask}"))
}

fn unknown_split(split: &str, known: &[String]) -> String {
    match known {
        [] => format!("no case belongs to the split {split:?}: the data set has no splits, only \"all\""),
        known => format!("no case belongs to the split {split:?}, known are {known:?} and \"all\""),
    }
}
