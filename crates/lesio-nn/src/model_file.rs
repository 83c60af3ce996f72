//! One safetensors file for parameters and all that belongs to them.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use lesio_files::{Disk, Existing, FileSystem};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::parameters::{Parameter, ParameterSet};
use crate::storage;

/// The metadata key of the document.
const KEY: &str = "lesio";

/// Largest model file that is read by default: 4 GiB, a billion parameters.
pub const DEFAULT_LIMIT: u64 = 4 << 30;

/// Why a model file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file could not be read.
    #[error("could not read {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The file is no safetensors file.
    #[error("{path:?} is not a safetensors file")]
    Format {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: safetensors::SafeTensorError,
    },
    /// The file is not one that lesio wrote, or is of another kind or version.
    #[error("{path:?} holds {found}, expected {expected}")]
    Kind {
        /// The file.
        path: PathBuf,
        /// What it says it is.
        found: String,
        /// What was looked for.
        expected: String,
    },
    /// The configuration in the file cannot be understood.
    #[error("the configuration in {path:?} cannot be read")]
    Document {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: serde_json::Error,
    },
    /// A tensor is of another type than f32.
    #[error("tensor {tensor:?} in {path:?} has type {found}, expected F32")]
    Type {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its type.
        found: String,
    },
    /// A tensor holds NaN or infinity.
    #[error("tensor {tensor:?} in {path:?} holds {value} at index {index}")]
    NonFinite {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// Index of the first such value.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A tensor's content is not what was written.
    #[error("tensor {tensor:?} in {path:?} is damaged: its checksum is {found:08x}, expected {expected:08x}")]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// The checksum of what is there.
        found: u32,
        /// The checksum of what was written.
        expected: u32,
    },
    /// The parameters are not those of the networks.
    #[error("the parameters in {path:?} do not fit its configuration")]
    Parameters {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: crate::parameters::ParameterError,
    },
    /// The configuration is understood, but refused.
    #[error("the configuration in {path:?} is refused: {reason}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Why a model file could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// The file could not be written; what stood under its name still does.
    #[error(transparent)]
    Write(#[from] lesio_files::WriteError),
    /// Parameters or configuration cannot be put into a file.
    #[error("{path:?} cannot be put together: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Envelope<T> {
    kind: String,
    version: u32,
    checksums: BTreeMap<String, u32>,
    document: T,
}

/// Writes parameters and a document (configuration, preprocessing, provenance) as one safetensors
/// file, replacing one of that name at once or not at all. The same content gives the same bytes.
///
/// `kind` and `version` say what the file is; [`load`] asks for them. One process at a time may save under
/// a name.
///
/// # Errors
/// Parameters or a document that cannot be written down, or a failure of the file system, after which
/// what stood under the name still does.
pub fn save(
    path: impl AsRef<Path>,
    kind: &str,
    version: u32,
    parameters: &ParameterSet,
    document: &impl Serialize,
) -> Result<(), SaveError> {
    // What a process that was killed while it wrote this file left beside it; if it cannot be removed, it
    // is no reason not to save.
    let _ = lesio_files::sweep_for(path.as_ref());
    save_in(&Disk, path, kind, version, parameters, document)
}

/// As [`save`], in another file system.
///
/// # Errors
/// As [`save`].
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

/// The bytes that [`save`] writes.
pub(crate) fn encode(
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
    // One key only: with more, the hash map's order would decide the bytes.
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

/// Reads what [`save`] wrote: the parameters, checked against their checksums and for finiteness, and
/// the document.
///
/// # Errors
/// A file that cannot be read, is larger than `limit` bytes, is no safetensors file, of another kind
/// or version, damaged, or holds NaN.
pub fn load<T: DeserializeOwned>(
    path: impl AsRef<Path>,
    kind: &str,
    version: u32,
    limit: u64,
) -> Result<(ParameterSet, T), LoadError> {
    let path = path.as_ref();
    let content =
        storage::read(path, limit).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
    decode(path, &content, kind, version)
}

/// Reads the bytes that [`encode`] made; `path` is for messages.
pub(crate) fn decode<T: DeserializeOwned>(
    path: &Path,
    content: &[u8],
    kind: &str,
    version: u32,
) -> Result<(ParameterSet, T), LoadError> {
    let format = |source| LoadError::Format { path: path.to_owned(), source };
    let expected = format!("{kind} of version {version}");
    let wrong_kind =
        |found: String| LoadError::Kind { path: path.to_owned(), found, expected: expected.clone() };
    let (_, header) = SafeTensors::read_metadata(content).map_err(format)?;
    let text = header
        .metadata()
        .as_ref()
        .and_then(|map| map.get(KEY))
        .ok_or_else(|| wrong_kind("no description by lesio".to_owned()))?;
    let document = |source| LoadError::Document { path: path.to_owned(), source };
    // What the file is comes first: another kind's document could not be understood.
    let envelope: Envelope<serde_json::Value> = serde_json::from_str(text).map_err(document)?;
    if (envelope.kind.as_str(), envelope.version) != (kind, version) {
        return Err(wrong_kind(format!("{} of version {}", envelope.kind, envelope.version)));
    }
    let tensors = SafeTensors::deserialize(content).map_err(format)?;
    let mut parameters = ParameterSet::new();
    for (name, view) in tensors.iter() {
        if view.dtype() != Dtype::F32 {
            let found = format!("{:?}", view.dtype());
            return Err(LoadError::Type { path: path.to_owned(), tensor: name.to_owned(), found });
        }
        let bytes: Cow<'_, [u8]> = view.data().into();
        let found = crc32fast::hash(&bytes);
        match envelope.checksums.get(name) {
            Some(&expected) if expected == found => {}
            Some(&expected) => {
                return Err(LoadError::Checksum {
                    path: path.to_owned(),
                    tensor: name.to_owned(),
                    found,
                    expected,
                });
            }
            None => return Err(wrong_kind(format!("a tensor {name:?} without a checksum"))),
        }
        let values: Vec<f32> =
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let value = values[index];
            return Err(LoadError::NonFinite {
                path: path.to_owned(),
                tensor: name.to_owned(),
                index,
                value,
            });
        }
        let shape = view.shape().to_vec();
        let parameter = Parameter::new(shape, values)
            .ok_or_else(|| format(safetensors::SafeTensorError::TensorInvalidInfo))?;
        parameters.insert(name, parameter);
    }
    if let Some(name) = envelope.checksums.keys().find(|name| parameters.get(name).is_none()) {
        return Err(wrong_kind(format!("no tensor {name:?}, which it lists")));
    }
    Ok((parameters, serde_json::from_value(envelope.document).map_err(document)?))
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
