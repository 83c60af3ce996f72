//! The results of many cases, of which one at a time is in memory.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::de::{SeqAccess, Visitor};
use serde::ser::{Error as _, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tempfile::SpooledTempFile;

use super::case::LocalizedCase;

/// Results up to this number of bytes stay in memory: those of some hundred cases.
const IN_MEMORY: usize = 1 << 20;

/// The results of cases, in the order of the data set.
///
/// The first megabyte is kept in memory and the others in a temporary file, so ten thousand cases take little more memory than
/// a hundred. Reading a case can therefore fail, with the error of the file system. The temporary file has no name, or none
/// that outlives its handle, so a killed process leaves nothing behind.
#[derive(Debug)]
pub struct LocalizedCases {
    stored: Mutex<SpooledTempFile>,
    entries: Vec<Entry>,
}

/// Where the results of a case are stored.
#[derive(Clone, Debug)]
struct Entry {
    id: Box<str>,
    start: u64,
    bytes: u64,
}

impl LocalizedCases {
    /// No cases. Their results are stored in the system's folder for temporary files.
    #[must_use]
    pub fn new() -> Self {
        Self::with(SpooledTempFile::new(IN_MEMORY))
    }

    /// No cases. Their results are stored in a folder, which must exist when they leave memory.
    pub(super) fn within(folder: &Path) -> Self {
        Self::with(tempfile::spooled_tempfile_in(IN_MEMORY, folder))
    }

    fn with(stored: SpooledTempFile) -> Self {
        Self { stored: Mutex::new(stored), entries: Vec::new() }
    }

    /// The number of cases.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no case.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The names of the cases.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| &*entry.id)
    }

    /// The results of the case with an index, starting at 0; `None` past the last one.
    ///
    /// # Errors
    /// If the temporary file cannot be read.
    pub fn get(&self, index: usize) -> io::Result<Option<LocalizedCase>> {
        self.entries.get(index).map(|entry| self.read(entry)).transpose()
    }

    /// The results of all cases, each read when it is asked for.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = io::Result<LocalizedCase>> {
        self.entries.iter().map(|entry| self.read(entry))
    }

    /// Appends the results of a case.
    ///
    /// # Errors
    /// If the temporary file cannot be written.
    pub fn push(&mut self, case: &LocalizedCase) -> io::Result<()> {
        self.push_text(case.id.as_str().into(), &serde_json::to_vec(case)?)
    }

    fn push_text(&mut self, id: Box<str>, text: &[u8]) -> io::Result<()> {
        let stored = self.stored.get_mut().unwrap_or_else(PoisonError::into_inner);
        let start = stored.seek(SeekFrom::End(0))?;
        stored.write_all(text)?;
        self.entries.push(Entry { id, start, bytes: text.len() as u64 });
        Ok(())
    }

    /// Appends the results of other cases.
    pub(super) fn append(&mut self, other: Self) -> io::Result<()> {
        other.entries.iter().try_for_each(|entry| self.push_text(entry.id.clone(), &other.text(entry)?))
    }

    /// Arranges the cases in ascending order of a key of their names.
    pub(super) fn sort_by_key<K: Ord>(&mut self, key: impl Fn(&str) -> K) {
        self.entries.sort_by_cached_key(|entry| key(&entry.id));
    }

    /// Arranges the cases in ascending order of their keys, one key for each case.
    pub(super) fn in_order_of<K: Ord>(mut self, keys: Vec<K>) -> Self {
        let mut keyed: Vec<(K, Entry)> = keys.into_iter().zip(self.entries).collect();
        keyed.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.entries = keyed.into_iter().map(|(_, entry)| entry).collect();
        self
    }

    fn read(&self, entry: &Entry) -> io::Result<LocalizedCase> {
        Ok(serde_json::from_slice(&self.text(entry)?)?)
    }

    fn text(&self, entry: &Entry) -> io::Result<Vec<u8>> {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        stored.seek(SeekFrom::Start(entry.start))?;
        let mut text = Vec::new();
        (&mut *stored).take(entry.bytes).read_to_end(&mut text)?;
        Ok(text)
    }
}

impl<'a> IntoIterator for &'a LocalizedCases {
    type Item = io::Result<LocalizedCase>;
    type IntoIter = Box<dyn ExactSizeIterator<Item = Self::Item> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}

impl Default for LocalizedCases {
    fn default() -> Self {
        Self::new()
    }
}

impl Serialize for LocalizedCases {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.len()))?;
        for case in self.iter() {
            list.serialize_element(&case.map_err(S::Error::custom)?)?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for LocalizedCases {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Cases;
        impl<'de> Visitor<'de> for Cases {
            type Value = LocalizedCases;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of cases")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<LocalizedCases, A::Error> {
                let mut cases = LocalizedCases::new();
                while let Some(case) = list.next_element()? {
                    cases.push(&case).map_err(serde::de::Error::custom)?;
                }
                Ok(cases)
            }
        }
        deserializer.deserialize_seq(Cases)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use lesio_anomaly::Resolution;

    use super::*;

    /// A case whose results take about ten kilobytes.
    fn case(number: usize) -> LocalizedCase {
        LocalizedCase {
            id: format!("case {number}"),
            further: vec![("site".to_owned(), "x".repeat(10_000))],
            input: vec![format!("{number}.nii.gz").into()],
            content: "a volume".to_owned(),
            resolution: Resolution::Image([1.0, 1.0]),
            resolution_doubt: None,
            folder: "folder".into(),
            page: None,
            patient: number.to_string(),
            predictors: Vec::new(),
        }
    }

    #[test]
    fn cases_come_back_from_memory_and_from_a_file() {
        for count in [3, 300] {
            let folder = tempfile::tempdir().unwrap();
            let mut cases = LocalizedCases::within(folder.path());
            (0..count).rev().for_each(|number| cases.push(&case(number)).unwrap());
            let cases = cases.in_order_of((0..count).rev().collect());
            let is_in_memory = !cases.stored.lock().unwrap().is_rolled();
            assert_eq!(is_in_memory, count == 3);
            assert_eq!(
                (cases.len(), cases.get(1).unwrap(), cases.get(count).unwrap()),
                (count, Some(case(1)), None)
            );
            assert!(cases.iter().map(Result::unwrap).eq((0..count).map(case)));

            let text = serde_json::to_string(&cases).unwrap();
            let mut again: LocalizedCases = serde_json::from_str(&text).unwrap();
            again.append(cases).unwrap();
            again.sort_by_key(|id| (id != "case 2", id.len()));
            let ids: Vec<&str> = again.ids().take(3).collect();
            assert_eq!((again.len(), ids), (2 * count, vec!["case 2", "case 2", "case 0"]));
            assert_eq!(again.get(1).unwrap(), Some(case(2)));
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "no file is left");
        }
    }

    #[test]
    fn a_file_that_cannot_be_made_is_an_error() {
        let mut cases = LocalizedCases::within(Path::new("/no/such/folder"));
        let stopped = (0..300).map(|number| cases.push(&case(number))).find_map(Result::err);
        assert_eq!(stopped.unwrap().kind(), io::ErrorKind::NotFound);
    }
}
