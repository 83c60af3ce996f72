//! Groups of lesions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use lesio_io::dataset::Case;
use lesio_io::spreadsheet::plain;
use ndarray::Array3;
use serde::Deserialize;

use crate::error::StudyError;

/// The group of each lesion of each case, by its number in the mask.
///
/// ```
/// use lesio_study::LesionGroups;
///
/// let table = "case,lesion,kind,contrast\nann,1,bright,0.6\nann,2,textured,0.2\n";
/// let groups = LesionGroups::read(table.as_bytes())?;
/// assert_eq!(groups.of("ann", 2), Some("textured, contrast .2"));
/// assert_eq!(groups.of("bob", 1), None);
/// # Ok::<(), lesio_study::StudyError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LesionGroups {
    by_lesion: BTreeMap<(String, u32), String>,
}

/// A row of a table of lesions; other columns are ignored.
#[derive(Deserialize)]
struct Row {
    case: String,
    lesion: u32,
    kind: String,
    contrast: Option<f64>,
}

impl LesionGroups {
    /// Reads a table with the columns `case`, `lesion`, `kind` and optionally `contrast`, such as that of
    /// `inject_lesions`. Lesions of the same kind, and of the same contrast rounded to a tenth, form a group.
    ///
    /// # Errors
    /// [`StudyError::Table`] for a line that cannot be read, a contrast that is not a finite number, and a lesion in
    /// two lines.
    pub fn read(table: impl Read) -> Result<Self, StudyError> {
        let mut by_lesion = BTreeMap::new();
        let mut rows = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(table);
        for row in rows.deserialize() {
            let mut row: Row = row.map_err(|error| StudyError::Table { reason: error.to_string() })?;
            row.case = plain(&row.case).to_owned();
            let refused = |what: String| StudyError::Table {
                reason: format!("lesion {} of case {:?} {what}", row.lesion, row.case),
            };
            if let Some(contrast) = row.contrast.filter(|contrast| !contrast.is_finite()) {
                return Err(refused(format!("has contrast {contrast}, expected a finite number")));
            }
            if by_lesion.contains_key(&(row.case.clone(), row.lesion)) {
                return Err(refused("occurs in more than one line".to_owned()));
            }
            let group = match row.contrast {
                Some(contrast) => {
                    let text = format!("{contrast:.1}");
                    format!("{}, contrast {}", row.kind, text.strip_prefix('0').unwrap_or(&text))
                }
                None => row.kind,
            };
            by_lesion.insert((row.case, row.lesion), group);
        }
        Ok(Self { by_lesion })
    }

    /// Reads a table from a regular file of at most 64 MiB, see [`LesionGroups::read`].
    ///
    /// # Errors
    /// [`StudyError::File`] if the file is not regular, is larger or cannot be read; those of [`LesionGroups::read`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StudyError> {
        let path = path.as_ref();
        let content =
            read_regular(path).map_err(|source| StudyError::File { path: path.to_owned(), source })?;
        Self::read(content.as_slice())
    }

    /// The defects of each case by its kind, if it has one: all abnormal pixels of a case form its lesion 1.
    #[must_use]
    pub fn by_kind(cases: &[Case]) -> Self {
        let of_kind = |case: &Case| Some(((case.id().to_owned(), 1), case.kind()?.to_owned()));
        Self { by_lesion: cases.iter().filter_map(of_kind).collect() }
    }

    /// Whether there are no groups.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_lesion.is_empty()
    }

    /// Checks a table for the cases that are evaluated.
    ///
    /// # Errors
    /// [`StudyError::Table`] if the table has rows, and none of them is of one of these cases.
    pub fn check<'c>(&self, cases: impl IntoIterator<Item = &'c str>) -> Result<(), StudyError> {
        let mut first = None;
        for case in cases {
            if self.by_lesion.range((case.to_owned(), 0)..=(case.to_owned(), u32::MAX)).next().is_some() {
                return Ok(());
            }
            first = first.or(Some(case));
        }
        match (self.by_lesion.keys().next(), first) {
            (Some((own, _)), Some(case)) => Err(StudyError::Table {
                reason: format!(
                    "none of its cases is evaluated: its first is {own:?}, the first of these is {case:?}"
                ),
            }),
            _ => Ok(()),
        }
    }

    /// The numbers in the mask of a case of lesions that are not in the table, ascending.
    pub(crate) fn unlisted(&self, case: &str, mask: &Array3<u32>) -> Vec<u32> {
        let numbers: BTreeSet<u32> = mask.iter().copied().filter(|&number| number != 0).collect();
        numbers.into_iter().filter(|&number| self.of(case, number).is_none()).collect()
    }

    /// The group of a lesion.
    #[must_use]
    pub fn of(&self, case: &str, lesion: u32) -> Option<&str> {
        self.by_lesion.get(&(case.to_owned(), lesion)).map(String::as_str)
    }
}

/// Largest size of a table in bytes: a million lesions.
const LARGEST_TABLE: u64 = 64 << 20;

/// Reads a regular file of at most [`LARGEST_TABLE`] bytes: a device has no end, and a pipe waits for a writer.
fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let mut content = Vec::new();
    // A file may contain more than its stated length.
    fs::File::open(path)?.take(LARGEST_TABLE + 1).read_to_end(&mut content)?;
    if content.len() as u64 > LARGEST_TABLE {
        let message =
            format!("the file holds more than {LARGEST_TABLE} bytes, the most of a table of lesions");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_a_regular_file_of_some_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lesions.csv");
        fs::write(&path, "case,lesion,kind\na,1,bright\n").unwrap();
        assert_eq!(LesionGroups::open(&path).unwrap().of("a", 1), Some("bright"));
        fs::write(&path, vec![b'x'; LARGEST_TABLE as usize + 1]).unwrap();
        let said = |path: &Path| match LesionGroups::open(path) {
            Err(StudyError::File { path: named, source }) => {
                assert_eq!(named, path);
                source.to_string()
            }
            other => panic!("{other:?}"),
        };
        assert!(said(&path).contains("67108864 bytes"));
        assert!(said(folder.path()).contains("not a regular file"));
        assert!(said(&folder.path().join("none.csv")).contains("No such file") || !cfg!(unix));
        #[cfg(unix)]
        {
            assert!(said(Path::new("/dev/zero")).contains("not a regular file"));
            let pipe = folder.path().join("pipe");
            let made = std::process::Command::new("mkfifo").arg(&pipe).status();
            if made.is_ok_and(|status| status.success()) {
                assert!(said(&pipe).contains("not a regular file"));
            } else {
                eprintln!("skipped: there is no mkfifo");
            }
        }
    }

    #[test]
    fn lesions_that_stand_twice_or_have_no_contrast_are_named() {
        let said = |rows: &str| {
            let table = format!("case,lesion,kind,contrast\n{rows}");
            LesionGroups::read(table.as_bytes()).unwrap_err().to_string()
        };
        assert!(said("a,1,bright,0.5\na,1,dark,0.5\n").contains("lesion 1 of case \"a\" occurs in more"));
        for contrast in ["NaN", "inf", "-inf"] {
            assert!(said(&format!("a,1,bright,{contrast}\n")).contains("expected a finite number"));
        }
    }

    #[test]
    fn tables_of_other_cases_are_refused_and_lesions_without_a_row_are_known() {
        let groups = LesionGroups::read("case,lesion,kind\na,1,bright\nb,2,dark\n".as_bytes()).unwrap();
        assert!(groups.check(["x", "b"]).is_ok() && groups.check([]).is_ok());
        assert!(LesionGroups::default().check(["x"]).is_ok());
        let error = groups.check(["B", "a.nii"]).unwrap_err().to_string();
        assert!(error.contains("\"a\"") && error.contains("\"B\""), "{error}");
        let mask = ndarray::arr3(&[[[0, 1, 2, 2, 7]]]);
        assert_eq!([groups.unlisted("a", &mask), groups.unlisted("b", &mask)], [vec![2, 7], vec![1, 7]]);
    }

    #[test]
    fn tables_that_cannot_be_read_name_the_line() {
        let error = LesionGroups::read("case,lesion,kind\na,1,bright\nb,two,dark\n".as_bytes()).unwrap_err();
        assert!(error.to_string().contains("line: 3"), "{error}");
        assert!(LesionGroups::read("case,lesion\na,1\n".as_bytes()).is_err());
    }
}
