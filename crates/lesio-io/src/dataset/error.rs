//! Errors of listing a data set.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::names::quoted;

use crate::error::Escaped;
use crate::error::variant_name::variant_name;

/// The reason why a data set could not be listed: the file or folder, the problem, and a suggestion.
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

    /// The problem with this file or folder.
    #[must_use]
    pub fn kind(&self) -> &DatasetErrorKind {
        &self.kind
    }

    /// A suggestion: the layout that the folder appears to have, or the names that exist.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The same error with a suggestion, unless it already has one.
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

/// The problem with a data set's folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetErrorKind {
    /// The operating system reported an error.
    #[error("could not {operation}")]
    Io {
        /// The operation that failed.
        operation: &'static str,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A required folder does not exist.
    #[error("there is no such folder")]
    NotFound,
    /// The path is not a folder.
    #[error("is {found}, expected a folder")]
    NotAFolder {
        /// The type of the path.
        found: &'static str,
    },
    /// A required file does not exist.
    #[error("there is no such file")]
    MissingFile,
    /// The target of a symbolic link does not exist.
    #[error("is a link that leads nowhere")]
    DanglingLink,
    /// The path is a folder, a pipe or a device, but a file is required.
    #[error("is {found}, expected a regular file")]
    NotRegularFile {
        /// The type of the path.
        found: &'static str,
    },
    /// A name is not UTF-8, so it cannot be shown or compared.
    #[error("the name is not UTF-8: {}", escaped)]
    NotUtf8 {
        /// The name, with the bytes escaped that are not UTF-8.
        escaped: String,
    },
    /// Folders are nested more deeply than in any data set.
    #[error("is nested more than {limit} folders deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// The folder contains no case.
    #[error("holds no case of the layout {layout}")]
    Empty {
        /// The layout.
        layout: &'static str,
    },
    /// The folder does not have the layout.
    #[error("is not arranged as {layout}: expected {expected}")]
    NotThisLayout {
        /// The layout.
        layout: &'static str,
        /// The files or folders that the layout requires.
        expected: &'static str,
    },
    /// An image is at a level where the layout has only folders.
    #[error("is beside the folders, expected {expected}")]
    Misplaced {
        /// The place where the image should be.
        expected: &'static str,
    },
    /// The layout requires a feature with which lesio was not built.
    #[error("the layout {layout} takes a build with the feature {feature}, which this one lacks")]
    NotBuilt {
        /// The layout.
        layout: &'static str,
        /// The feature.
        feature: &'static str,
    },
    /// A name breaks the rules of its layout.
    #[error("is misnamed: {reason}")]
    Misnamed {
        /// The rule, and how the name breaks it.
        reason: String,
    },
    /// Two files form the same case.
    #[error("is a second file for the case {id}")]
    DuplicateCase {
        /// The case.
        id: String,
    },
    /// A mask belongs to no image.
    #[error("is a mask without an image")]
    MaskWithoutImage,
    /// A mask belongs to two images.
    #[error("would be the mask of {} and of {}", ids[0], ids[1])]
    SharedMask {
        /// The names of the cases.
        ids: [String; 2],
    },
    /// A patient has cases in two splits.
    #[error(
        "patient {patient} is in two splits: case {} in {:?}, case {} in {:?}", cases[0].0, cases[0].1, cases[1].0, cases[1].1
    )]
    SplitPatient {
        /// The patient.
        patient: String,
        /// Two cases, each with its split.
        cases: [(String, String); 2],
    },
    /// More than one file may be the mask of an image.
    #[error("may be the mask of {id}, and so may another file")]
    AmbiguousMask {
        /// The name of the case.
        id: String,
    },
    /// Cases lack the mask that is required.
    #[error("{} of {of} cases {} no mask{}: {}", count, have(*count), named(mask.as_deref()), listed(cases, *count))]
    MissingMask {
        /// The names of the first cases, ten at most.
        cases: Vec<String>,
        /// The number of cases that lack a mask.
        count: usize,
        /// The number of all cases.
        of: usize,
        /// The name of the masks, if the user gave one.
        mask: Option<String>,
    },
    /// No case belongs to the split.
    #[error("{}", unknown_split(split, known))]
    UnknownSplit {
        /// The requested split.
        split: String,
        /// The splits that have cases.
        known: Vec<String>,
    },
    /// Rows of `splits.csv` name no case of the folder.
    #[error("{count} rows name no case: {}", listed(&rows.iter().map(AbsentCase::text).collect::<Vec<_>>(), *count))]
    AbsentCases {
        /// The first rows, ten at most.
        rows: Vec<AbsentCase>,
        /// The number of such rows.
        count: usize,
    },
    /// A manifest, or a table in BIDS, cannot be parsed.
    #[error("line {line}: {reason}")]
    BadManifest {
        /// The line, from 1.
        line: u64,
        /// The problem.
        reason: String,
    },
    /// `splits.csv` cannot be parsed.
    #[error("line {line}: {reason}")]
    BadSplits {
        /// The line, from 1.
        line: u64,
        /// The problem.
        reason: String,
    },
}

impl DatasetErrorKind {
    /// The maximum number of cases that an error lists.
    pub(super) const LISTED: usize = 10;

    /// The name of the variant, as in reports: `"MissingFile"`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        variant_name! { self;
            Io NotFound NotAFolder MissingFile DanglingLink NotRegularFile NotUtf8 TooDeep Empty
            NotThisLayout Misplaced NotBuilt Misnamed DuplicateCase MaskWithoutImage SharedMask SplitPatient AmbiguousMask
            MissingMask UnknownSplit AbsentCases BadManifest BadSplits
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
    /// The line, from 1.
    pub line: u64,
    /// The patient or case that the row names; if the row has a frame, it follows after a space.
    pub name: String,
    /// The most similar names, the nearest first; empty if no name is similar.
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

/// The first items of a list, and the number of the others.
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
