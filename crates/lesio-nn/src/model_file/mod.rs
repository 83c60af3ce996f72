//! Model files: parameters and a document in one safetensors file.

mod error;

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::ops::RangeInclusive;
use std::path::Path;

use lesio_files::{Disk, Existing, FileSystem};
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, Metadata, TensorView};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::parameters::{Parameter, ParameterSet};

pub use error::{LoadError, SaveError};

/// The metadata key of the document.
const KEY: &str = "lesio";

/// Largest model file that is read by default: 2 GiB, half a billion parameters, the same limit as for other files.
pub const DEFAULT_LIMIT: u64 = 2 << 30;
/// Largest header that is read: its parsed content takes about ten times as much memory. The header of a localizer has
/// less than a megabyte.
const MOST_HEADER_BYTES: u64 = 16 << 20;
/// Largest description that is written: in the header its quotation marks take two bytes, and names of tensors follow.
pub(crate) const MOST_DESCRIPTION_BYTES: u64 = MOST_HEADER_BYTES / 2;
/// Bytes that hold the size of the header.
const SIZE_BYTES: u64 = 8;
/// Bytes that are read at a time.
const CHUNK: usize = 64 * 1024;

#[derive(serde::Serialize, serde::Deserialize)]
struct Envelope<T> {
    kind: String,
    version: u32,
    checksums: BTreeMap<String, u32>,
    document: T,
}

/// Writes parameters and a document (configuration, preprocessing, provenance) as one safetensors file, atomically
/// replacing an existing one. The same content gives the same bytes.
///
/// `kind` and `version` identify the format of the document; [`load`] requires them. Only one process at a time may
/// save under the same name.
///
/// # Errors
/// If parameters or document cannot be encoded, and if the file system fails; an existing file then remains.
pub fn save(
    path: impl AsRef<Path>,
    kind: &str,
    version: u32,
    parameters: &ParameterSet,
    document: &impl Serialize,
) -> Result<(), SaveError> {
    // Removes temporary files of a process that was killed while it wrote this file. A failure to remove them does not
    // prevent saving.
    let _ = lesio_files::sweep_for(path.as_ref());
    save_in(&Disk, path, kind, version, parameters, document)
}

/// Like [`save`], in another file system.
///
/// # Errors
/// Those of [`save`].
pub fn save_in<F: FileSystem>(
    system: &F,
    path: impl AsRef<Path>,
    kind: &str,
    version: u32,
    parameters: &ParameterSet,
    document: &impl Serialize,
) -> Result<(), SaveError> {
    let path = path.as_ref();
    let content = encode(kind, version, parameters, document)
        .map_err(|reason| SaveError::Content { path: path.to_owned(), reason })?;
    Ok(lesio_files::write_in(system, path, Existing::Replace, |out| out.write_all(&content))?)
}

/// The bytes that [`save`] writes, which [`load`] reads within [`DEFAULT_LIMIT`].
pub(crate) fn encode(
    kind: &str,
    version: u32,
    parameters: &ParameterSet,
    document: &impl Serialize,
) -> Result<Vec<u8>, String> {
    encode_within(DEFAULT_LIMIT, kind, version, parameters, document)
}

/// The bytes of a file that [`load`] reads within a limit.
pub(crate) fn encode_within(
    limit: u64,
    kind: &str,
    version: u32,
    parameters: &ParameterSet,
    document: &impl Serialize,
) -> Result<Vec<u8>, String> {
    let mut checksums = BTreeMap::new();
    let mut data: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, parameter) in parameters.iter() {
        let bytes: Vec<u8> = parameter.values().iter().flat_map(|value| value.to_le_bytes()).collect();
        checksums.insert(name.to_owned(), crc32fast::hash(&bytes));
        data.push((name.to_owned(), parameter.shape().to_vec(), bytes));
    }
    let envelope = Envelope { kind: kind.to_owned(), version, checksums, document };
    let text = serde_json::to_string(&envelope).map_err(|error| error.to_string())?;
    if text.len() as u64 > MOST_DESCRIPTION_BYTES {
        return Err(format!("its description has {} bytes, more than is read", text.len()));
    }
    let bytes: usize = data.iter().map(|(_, _, bytes)| bytes.len()).sum();
    if bytes as u64 > limit.saturating_sub(MOST_HEADER_BYTES) {
        return Err(format!("its parameters have {bytes} bytes, more than is read ({limit})"));
    }
    // One key only: with more, the bytes would depend on the order of the hash map.
    let metadata = HashMap::from([(KEY.to_owned(), text)]);
    let views: Result<Vec<_>, _> = data
        .iter()
        .map(|(name, shape, bytes)| {
            TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name, view))
        })
        .collect();
    let views = views.map_err(|error| error.to_string())?;
    safetensors::serialize(views, Some(metadata)).map_err(|error| error.to_string())
}

/// The description in a model file, without its tensors.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Description {
    /// Its kind.
    pub kind: String,
    /// The version of its layout.
    pub version: u32,
    /// Names and shapes of the tensors, in the order of the file.
    pub tensors: Vec<(String, Vec<usize>)>,
    /// Configuration, preprocessing, provenance.
    pub document: serde_json::Value,
}

/// Reads the description of a model file without its tensors, with no more memory than the header needs. It checks that
/// the tensors fill the file.
///
/// # Errors
/// Those of [`load`], as far as they are known without the values of the tensors.
pub fn describe(path: impl AsRef<Path>, limit: u64) -> Result<Description, LoadError> {
    let path = path.as_ref();
    let (mut file, length) = open(path, limit)?;
    let Header { tensors, envelope } = Header::read(path, &mut file, length)?;
    Ok(Description {
        kind: envelope.kind,
        version: envelope.version,
        tensors: tensors.into_iter().map(|tensor| (tensor.name, tensor.shape)).collect(),
        document: envelope.document,
    })
}

/// Reads a file of [`save`]: the parameters, whose checksums and finite values are checked, and the document.
///
/// Before anything is read, the length of the file is compared with `limit`, and the claims of the header with the
/// length. A file of another kind is recognized by its header. The parameters need as much memory as the length of the
/// file.
///
/// # Errors
/// If the file cannot be read, is larger than `limit` bytes, is not a safetensors file, has another kind or version, is
/// damaged, contains NaN, or contains a setting that `T` does not have.
pub fn load<T: DeserializeOwned>(
    path: impl AsRef<Path>,
    kind: &str,
    version: u32,
    limit: u64,
) -> Result<(ParameterSet, T), LoadError> {
    let (_, parameters, document) = load_versions(path, kind, version..=version, limit)?;
    Ok((parameters, document))
}

/// Like [`load`], of a kind of which several versions are read. Also returns the version of the file.
///
/// # Errors
/// Those of [`load`].
pub fn load_versions<T: DeserializeOwned>(
    path: impl AsRef<Path>,
    kind: &str,
    versions: RangeInclusive<u32>,
    limit: u64,
) -> Result<(u32, ParameterSet, T), LoadError> {
    let path = path.as_ref();
    let (mut file, length) = open(path, limit)?;
    decode_from(path, &mut file, length, kind, versions)
}

fn open(path: &Path, limit: u64) -> Result<(io::BufReader<std::fs::File>, u64), LoadError> {
    let (file, length) =
        lesio_files::open(path, limit).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    Ok((io::BufReader::new(file), length))
}

/// Reads the bytes that [`encode`] made; `path` is for messages.
#[cfg(test)]
pub(crate) fn decode<T: DeserializeOwned>(
    path: &Path,
    content: &[u8],
    kind: &str,
    version: u32,
) -> Result<(ParameterSet, T), LoadError> {
    let versions = version..=version;
    let (_, parameters, document) = decode_from(path, &mut &*content, content.len() as u64, kind, versions)?;
    Ok((parameters, document))
}

fn decode_from<T: DeserializeOwned>(
    path: &Path,
    content: &mut impl Read,
    length: u64,
    kind: &str,
    versions: RangeInclusive<u32>,
) -> Result<(u32, ParameterSet, T), LoadError> {
    let Header { tensors, envelope } = Header::read(path, content, length)?;
    let version = envelope.version;
    let (oldest, newest) = (*versions.start(), *versions.end());
    let advice = match envelope.kind == kind {
        true if version < oldest => "; an earlier lesio wrote it: train it again with this version",
        true if version > newest => "; a newer lesio wrote it: update lesio",
        _ => "",
    };
    let accepted =
        if oldest == newest { format!("version {newest}") } else { format!("versions {oldest} to {newest}") };
    let wrong_kind = |found: String| LoadError::Kind {
        path: path.to_owned(),
        found,
        expected: format!("{kind} of {accepted}{advice}"),
    };
    // The kind is checked first: the document of another kind could not be parsed.
    if envelope.kind != kind || !versions.contains(&version) {
        return Err(wrong_kind(format!("{} of version {version}", envelope.kind.escape_debug())));
    }
    if let Some(Tensor { name, kind, .. }) = tensors.iter().find(|tensor| tensor.kind != Dtype::F32) {
        return Err(LoadError::Type {
            path: path.to_owned(),
            tensor: name.clone(),
            found: format!("{kind:?}"),
        });
    }
    if let Some(tensor) = tensors.iter().find(|tensor| !envelope.checksums.contains_key(&tensor.name)) {
        return Err(wrong_kind(format!("a tensor {:?} without a checksum", tensor.name)));
    }
    if let Some(name) = envelope.checksums.keys().find(|&name| tensors.iter().all(|own| own.name != *name)) {
        return Err(wrong_kind(format!("no tensor {name:?}, which it lists")));
    }
    let mut parameters = ParameterSet::new();
    for Tensor { name, shape, count, .. } in tensors {
        let (values, found) = read_values(content, count)
            .map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
        let expected = envelope.checksums.get(&name).copied().unwrap_or_default();
        if found != expected {
            return Err(LoadError::Checksum { path: path.to_owned(), tensor: name, found, expected });
        }
        if let Some((index, &value)) = values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(LoadError::NonFinite { path: path.to_owned(), tensor: name, index, value });
        }
        let parameter = Parameter::new(shape, values).ok_or_else(|| LoadError::Format {
            path: path.to_owned(),
            source: SafeTensorError::TensorInvalidInfo,
        })?;
        parameters.insert(name, parameter);
    }
    Ok((version, parameters, parsed(path, &envelope.document)?))
}

/// Parses a document, none of whose settings may be ignored.
fn parsed<T: DeserializeOwned>(path: &Path, document: &serde_json::Value) -> Result<T, LoadError> {
    let mut unknown = None;
    let parsed = serde_ignored::deserialize(document, |ignored| {
        // Question marks stand for optional values and newtypes, which have no name.
        let named =
            || ignored.to_string().split('.').filter(|part| *part != "?").collect::<Vec<_>>().join(".");
        unknown.get_or_insert_with(named);
    })
    .map_err(|source| match denied(&source, document) {
        Some(setting) => LoadError::Unknown { path: path.to_owned(), setting },
        None => LoadError::Document { path: path.to_owned(), source },
    })?;
    match unknown {
        None => Ok(parsed),
        Some(setting) => Err(LoadError::Unknown { path: path.to_owned(), setting }),
    }
}

/// The setting that a configuration itself refused: those that users write, too, deny unknown settings, and then there
/// is none that serde ignores. Where it stands is only known if the document has its name once.
fn denied(error: &serde_json::Error, document: &serde_json::Value) -> Option<String> {
    // The text of `serde::de::Error::unknown_field`: there is no other way to learn it from serde.
    let text = error.to_string();
    let name = text.strip_prefix("unknown field `")?.split('`').next()?;
    let mut places = Vec::new();
    find_setting(document, name, "", &mut places);
    match places.as_slice() {
        [only] => Some(only.clone()),
        _ => Some(name.to_owned()),
    }
}

/// Collects the places of all settings of a name, as `part.0.name`.
fn find_setting(value: &serde_json::Value, name: &str, place: &str, found: &mut Vec<String>) {
    let within = |part: &str| if place.is_empty() { part.to_owned() } else { format!("{place}.{part}") };
    match value {
        serde_json::Value::Object(fields) => {
            for (own, field) in fields {
                if own == name {
                    found.push(within(own));
                }
                find_setting(field, name, &within(own), found);
            }
        }
        serde_json::Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                find_setting(item, name, &within(&index.to_string()), found);
            }
        }
        _ => {}
    }
}

/// Reads this many numbers, and returns the checksum of their bytes, too.
fn read_values(content: &mut impl Read, count: usize) -> io::Result<(Vec<f32>, u32)> {
    let mut values: Vec<f32> = Vec::new();
    // The file is as long as this, which was checked.
    values.try_reserve_exact(count).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; CHUNK];
    while values.len() < count {
        let bytes = (count - values.len()).saturating_mul(4).min(CHUNK);
        let chunk = buffer.get_mut(..bytes).unwrap_or_default();
        content.read_exact(chunk)?;
        hasher.update(chunk);
        values.extend(chunk.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)));
    }
    Ok((values, hasher.finalize()))
}

/// A tensor as the header of a file claims it.
struct Tensor {
    name: String,
    kind: Dtype,
    shape: Vec<usize>,
    count: usize,
}

/// Everything except the tensors' values.
struct Header {
    /// In the order of the file.
    tensors: Vec<Tensor>,
    envelope: Envelope<serde_json::Value>,
}

impl Header {
    /// Reads a header, and checks that it describes a file of `length` bytes.
    fn read(path: &Path, content: &mut impl Read, length: u64) -> Result<Self, LoadError> {
        let format = |source| LoadError::Format { path: path.to_owned(), source };
        let read = |source| LoadError::Read { path: path.to_owned(), source };
        if length < SIZE_BYTES {
            return Err(format(SafeTensorError::HeaderTooSmall));
        }
        let mut size = [0; SIZE_BYTES as usize];
        content.read_exact(&mut size).map_err(read)?;
        let size = u64::from_le_bytes(size);
        if size > length - SIZE_BYTES {
            return Err(format(SafeTensorError::InvalidHeaderLength));
        }
        if size > MOST_HEADER_BYTES {
            return Err(format(SafeTensorError::HeaderTooLarge));
        }
        let mut text = Vec::new();
        content.take(size).read_to_end(&mut text).map_err(read)?;
        let text =
            std::str::from_utf8(&text).map_err(|error| format(SafeTensorError::InvalidHeader(error)))?;
        let metadata: Metadata = serde_json::from_str(text)
            .map_err(|error| format(SafeTensorError::InvalidHeaderDeserialization(error)))?;
        if metadata.data_len() as u64 != length - SIZE_BYTES - size {
            return Err(format(SafeTensorError::MetadataIncompleteBuffer));
        }
        let Some(text) = metadata.metadata().as_ref().and_then(|map| map.get(KEY)) else {
            return Err(LoadError::Kind {
                path: path.to_owned(),
                found: "no description by lesio".to_owned(),
                expected: "a model file of lesio".to_owned(),
            });
        };
        let envelope = serde_json::from_str(text)
            .map_err(|source| LoadError::Document { path: path.to_owned(), source })?;
        let tensors = metadata.offset_keys().into_iter().filter_map(|name| {
            let info = metadata.info(&name)?;
            let count = info.shape.iter().product();
            Some(Tensor { name, kind: info.dtype, shape: info.shape.clone(), count })
        });
        Ok(Self { tensors: tensors.collect(), envelope })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> ParameterSet {
        let mut set = ParameterSet::new();
        set.insert("b", Parameter::new(vec![2, 3], vec![1., -2., 3., 4., 5., 6.]).unwrap());
        set.insert("a", Parameter::new(vec![1], vec![0.5]).unwrap());
        set
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        save(&path, "test", 1, &set(), &vec![1.5f64, 0.1]).unwrap();
        let first = std::fs::read(&path).unwrap();
        save(&path, "test", 1, &set(), &vec![1.5f64, 0.1]).unwrap();
        assert_eq!(first, std::fs::read(&path).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file is left");
        let (parameters, document): (_, Vec<f64>) = load(&path, "test", 1, DEFAULT_LIMIT).unwrap();
        assert_eq!((parameters, document), (set(), vec![1.5, 0.1]));
    }

    #[test]
    fn other_files_are_refused_by_name() {
        let content = encode("test", 1, &set(), &0).unwrap();
        let path = Path::new("some.safetensors");
        let read = |content: &[u8], kind: &str| decode::<i32>(path, content, kind, 1).unwrap_err();
        assert!(matches!(read(&content, "other"), LoadError::Kind { .. }));
        assert!(matches!(decode::<i32>(path, &content, "test", 2), Err(LoadError::Kind { .. })));
        assert!(matches!(decode::<String>(path, &content, "test", 1), Err(LoadError::Document { .. })));
        assert!(matches!(read(&content[..20], "test"), LoadError::Format { .. }));
        let mut flipped = content.clone();
        *flipped.last_mut().unwrap() ^= 1;
        assert!(matches!(read(&flipped, "test"), LoadError::Checksum { .. }));
        let mut nan = set();
        nan.get_mut("b").unwrap().values_mut()[4] = f32::NAN;
        assert!(matches!(
            read(&encode("test", 1, &nan, &0).unwrap(), "test"),
            LoadError::NonFinite { index: 4, .. }
        ));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m");
        save(&file, "test", 1, &set(), &0).unwrap();
        assert!(matches!(load::<i32>(&file, "test", 1, 10), Err(LoadError::Read { .. })));
        assert!(matches!(load::<i32>(folder.path(), "test", 1, 10), Err(LoadError::Read { .. })));
    }

    #[test]
    fn versions_that_are_not_read_come_with_advice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m");
        let read = |version: u32, versions| {
            save(&path, "a test", version, &set(), &0).unwrap();
            load_versions::<i32>(&path, "a test", versions, DEFAULT_LIMIT)
        };
        for version in 2..=4 {
            assert_eq!(read(version, 2..=4).unwrap(), (version, set(), 0));
        }
        let said = |version, versions| read(version, versions).unwrap_err().to_string();
        for (error, expected) in [
            (
                said(1, 2..=4),
                "a test of version 1, expected a test of versions 2 to 4; an earlier lesio wrote it: train it again \
                 with this version",
            ),
            (
                said(5, 2..=4),
                "a test of version 5, expected a test of versions 2 to 4; a newer lesio wrote it: update lesio",
            ),
            (
                said(5, 4..=4),
                "a test of version 5, expected a test of version 4; a newer lesio wrote it: update lesio",
            ),
        ] {
            assert!(error.ends_with(&format!("holds {expected}")), "{error}");
        }
        // The version of another kind says nothing.
        let other = load::<i32>(&path, "a model", 1, DEFAULT_LIMIT).unwrap_err().to_string();
        assert!(other.ends_with("holds a test of version 5, expected a model of version 1"), "{other}");
    }

    #[test]
    fn unknown_settings_are_refused_by_name() {
        #[derive(serde::Deserialize, Debug)]
        #[expect(dead_code, reason = "only read")]
        struct Inner {
            known: i32,
        }
        #[derive(serde::Deserialize, Debug)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only read")]
        struct Strict {
            strict: i32,
        }
        #[derive(serde::Deserialize, Debug)]
        #[expect(dead_code, reason = "only read")]
        struct Outer {
            parts: Vec<Option<Inner>>,
            others: Option<Vec<Strict>>,
        }
        let path = Path::new("some.safetensors");
        let read = |document: serde_json::Value| {
            decode::<Outer>(path, &encode("test", 1, &set(), &document).unwrap(), "test", 1)
        };
        assert!(read(serde_json::json!({"parts": [null, {"known": 1}]})).is_ok());
        let error =
            read(serde_json::json!({"parts": [null, {"known": 1, "newer": 2, "newest": 3}]})).unwrap_err();
        assert!(
            matches!(&error, LoadError::Unknown { setting, .. } if setting == "parts.1.newer"),
            "{error}"
        );
        let expected = "the configuration in \"some.safetensors\" contains parts.1.newer, which this version of lesio \
                        does not know; a newer version may have written it";
        assert_eq!(error.to_string(), expected);
        // The same of structs that deny it themselves; of one name in several places, the place is not known.
        for (others, expected) in [
            (serde_json::json!([{"strict": 1}, {"strict": 1, "newer": 2}]), "others.1.newer"),
            (serde_json::json!([{"strict": 1, "newer": 2}, {"strict": 1, "newer": 2}]), "newer"),
        ] {
            let error = read(serde_json::json!({"parts": [], "others": others})).unwrap_err();
            assert!(
                matches!(&error, LoadError::Unknown { setting, .. } if setting == expected),
                "{expected}: {error}"
            );
        }
        // What is wrong otherwise is told by its cause.
        let missing = read(serde_json::json!({"parts": [], "others": [{}]})).unwrap_err();
        assert!(matches!(missing, LoadError::Document { .. }), "{missing}");
    }

    #[test]
    fn a_description_is_what_was_saved() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m");
        save(&path, "test", 3, &set(), &vec![1.5, 0.1]).unwrap();
        let found = describe(&path, DEFAULT_LIMIT).unwrap();
        assert_eq!((found.kind.as_str(), found.version), ("test", 3));
        assert_eq!(found.tensors, [("a".to_owned(), vec![1]), ("b".to_owned(), vec![2, 3])]);
        assert_eq!(found.document, serde_json::json!([1.5, 0.1]));
        assert!(matches!(describe(&path, 10), Err(LoadError::Read { .. })));
        assert!(matches!(describe(folder.path(), 10), Err(LoadError::Read { .. })));
    }

    #[test]
    fn what_would_not_be_read_is_not_written() {
        // 28 bytes of parameters, and room for a header.
        let within = |limit| encode_within(limit, "test", 1, &set(), &0);
        assert_eq!(within(MOST_HEADER_BYTES + 28), encode("test", 1, &set(), &0));
        let error = within(MOST_HEADER_BYTES + 27).unwrap_err();
        assert_eq!(error, "its parameters have 28 bytes, more than is read (16777243)");
        assert!(within(0).is_err());
    }

    /// Counts what is read of some bytes.
    struct Counted<'a>(&'a [u8], usize);

    impl Read for Counted<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.read(buffer)?;
            self.1 += count;
            Ok(count)
        }
    }

    #[test]
    fn tensors_of_a_file_that_is_refused_are_not_read() {
        let mut large = set();
        large.insert("c", Parameter::new(vec![60_000], vec![0.25; 60_000]).unwrap());
        let good = encode("test", 1, &large, &0).unwrap();
        let header = good.len() - 4 * 60_007;
        let refused = |content: &[u8], length: usize, kind: &str, most: usize| {
            let mut counted = Counted(content, 0);
            let error =
                decode_from::<i32>(Path::new("m"), &mut counted, length as u64, kind, 1..=1).unwrap_err();
            assert!(counted.1 <= most, "{error}: {} bytes are read, expected {most}", counted.1);
            error
        };
        assert!(matches!(refused(&good, good.len(), "other", header), LoadError::Kind { .. }));
        // Longer than its tensors, and shorter.
        for length in [good.len() - 4, good.len() + 1, 1 << 40] {
            assert!(matches!(refused(&good, length, "test", header), LoadError::Format { .. }));
        }
        // Headers that are longer than the file, or than any is.
        for size in [good.len() as u64 - 7, MOST_HEADER_BYTES + 1, u64::MAX] {
            let mut claimed = good.clone();
            claimed[..8].copy_from_slice(&size.to_le_bytes());
            assert!(matches!(refused(&claimed, good.len(), "test", 8), LoadError::Format { .. }));
            assert!(matches!(
                refused(&claimed, 1 << 30, "test", 8 + good.len()),
                LoadError::Format { .. } | LoadError::Read { .. }
            ));
        }
        // A file that ends before its length.
        assert!(matches!(
            refused(&good[..good.len() - 9], good.len(), "test", good.len()),
            LoadError::Read { .. }
        ));
    }

    #[test]
    fn a_file_longer_than_the_limit_is_refused_with_both_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m");
        let Ok(()) = std::fs::File::create(&path).unwrap().set_len(4 << 30) else { return };
        let error = load::<i32>(&path, "test", 1, DEFAULT_LIMIT).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("4294967296 bytes") && cause.contains("2147483648"), "{cause}");
        std::fs::File::create(&path).unwrap().set_len(1 << 30).unwrap();
        assert!(matches!(load::<i32>(&path, "test", 1, DEFAULT_LIMIT), Err(LoadError::Format { .. })));
    }

    #[test]
    fn faults_and_power_cuts_leave_the_old_model_or_the_new_one() {
        use lesio_files::simulation::{SimulatedDisk, every_fault, every_power_cut};
        let mut large = set();
        large.insert("c", Parameter::new(vec![60_000], vec![0.25; 60_000]).unwrap());
        let (old, new) = (encode("test", 1, &set(), &0).unwrap(), encode("test", 1, &large, &1).unwrap());
        let before = SimulatedDisk::with(&[("m.safetensors", &old)]);
        let write = |disk: &SimulatedDisk| save_in(disk, "m.safetensors", "test", 1, &large, &1);
        let faults = every_fault(&before, write, |place, _, disk, result| {
            let placed = result.as_ref().is_err_and(|error| error.to_string().contains("sync the folder"));
            let expected = if result.is_ok() || placed { &new } else { &old };
            assert!(disk.read("m.safetensors").as_ref() == Some(expected), "{place}: {result:?}");
        });
        let states = every_power_cut(&before, write, |place, remains, finished| {
            let now = remains.read(Path::new("m.safetensors")).unwrap();
            assert!(now == new || !finished && now == old, "{place}");
        });
        assert!(faults >= 25 && states >= 20, "{faults} {states}");
    }

    #[test]
    fn no_damaged_file_panics() {
        use rand::RngExt;
        let content = encode("test", 1, &set(), &0).unwrap();
        let mut generator = crate::random::generator(1, 1);
        for _ in 0..100_000 {
            let mut damaged = content.clone();
            for _ in 0..generator.random_range(1..4) {
                let at = generator.random_range(0..damaged.len());
                damaged[at] = generator.random();
            }
            damaged.truncate(generator.random_range(0..=damaged.len()));
            if let Ok((parameters, _)) = decode::<i32>(Path::new("x"), &damaged, "test", 1) {
                assert_eq!(parameters, set());
            }
        }
    }
}
