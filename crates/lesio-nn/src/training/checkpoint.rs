//! A training's whole state in one file, two generations deep.

use std::path::{Path, PathBuf};

use lesio_files::{Disk, Existing, FileSystem};
use lesio_settings::{SettingError, require};
use serde::{Deserialize, Serialize};

use super::config::{LARGEST_COUNT, TrainConfig};
use super::progress::EpochRecord;
use super::state::State;
use crate::engine::{EngineError, EngineState, TrainingEngine};
use crate::model_file::{self, LoadError, SaveError};
use crate::network::Network;
use crate::parameters::ParameterSet;

const KIND: &str = "a training checkpoint";
const VERSION: u32 = 1;

/// Why a training cannot continue from a checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// Neither the checkpoint nor the one before it can be read.
    #[error("no intact checkpoint at {path:?}")]
    Unreadable {
        /// The newer file.
        path: PathBuf,
        /// The error about it.
        source: LoadError,
    },
    /// The training's configuration differs.
    #[error("{path:?} was made with another configuration: {difference}")]
    Configuration {
        /// The file.
        path: PathBuf,
        /// Each setting that differs, with both values.
        difference: String,
    },
    /// The data or the objective differ.
    #[error("{path:?} was made of other data or another objective: {found:?}, expected {expected:?}")]
    Data {
        /// The file.
        path: PathBuf,
        /// The fingerprint in the file.
        found: String,
        /// The fingerprint of this training.
        expected: String,
    },
    /// The state is not a possible state between two updates.
    #[error("the state of the training in {path:?} is impossible")]
    State {
        /// The file.
        path: PathBuf,
        /// The invalid value.
        source: SettingError,
    },
    /// The parameters are not those of the networks.
    #[error("the parameters in {path:?} are not those of the networks")]
    Parameters {
        /// The file.
        path: PathBuf,
        /// The mismatch.
        source: crate::parameters::ParameterError,
    },
}

#[derive(Serialize, Deserialize)]
struct Document {
    config: TrainConfig,
    fingerprint: String,
    state: State,
}

/// The newest checkpoint of a name, apart from the previous one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Newest {
    /// Intact, or missing.
    Intact,
    /// It could not be read, and the previous one could.
    Damaged,
}

/// The content of a checkpoint.
pub(crate) struct Saved {
    /// Whether it was read from the newest file, or from the previous one because that is damaged.
    pub(crate) newest: Newest,
    pub(crate) state: State,
    /// The state of each engine.
    pub(crate) engines: Vec<EngineState>,
    pub(crate) best: Option<ParameterSet>,
}

/// Of each engine; the mean if parameters are averaged.
const PARTS: [&str; 4] = ["weights", "first", "second", "average"];
/// Of all engines together, if there was a validation.
const BEST: &str = "best";

/// Writes the state, and keeps the newest file as `NAME.previous` if it is intact.
pub(crate) fn save(
    path: &Path,
    config: &TrainConfig,
    fingerprint: &str,
    state: &State,
    engines: &[Box<dyn TrainingEngine>],
    best: Option<&ParameterSet>,
    newest: Newest,
) -> Result<(), SaveError> {
    let mut all = ParameterSet::new();
    let mut put = |part: &str, set: &ParameterSet| {
        for (name, parameter) in set.iter() {
            all.insert(format!("{part}/{name}"), parameter.clone());
        }
    };
    let content =
        |error: EngineError| SaveError::Content { path: path.to_owned(), reason: error.to_string() };
    for engine in engines {
        put(PARTS[0], &engine.parameters().map_err(content)?);
        let [first, second] = engine.moments().map_err(content)?;
        put(PARTS[1], &first);
        put(PARTS[2], &second);
        engine.mean().map_err(content)?.iter().for_each(|mean| put(PARTS[3], mean));
    }
    best.into_iter().for_each(|best| put(BEST, best));
    let document =
        Document { config: config.clone(), fingerprint: fingerprint.to_owned(), state: state.clone() };
    // As large as `load` reads, which is more than a model file has: a checkpoint holds up to five values a parameter.
    let bytes = model_file::encode_within(largest(engines), KIND, VERSION, &all, &document)
        .map_err(|reason| SaveError::Content { path: path.to_owned(), reason })?;
    write(&Disk, path, &bytes, newest)
}

/// Writes the bytes, and keeps an intact file under its second name: two generations.
///
/// A damaged one is replaced alone. Kept, it would replace the only intact generation before the new one has its name.
fn write<F: FileSystem>(system: &F, path: &Path, bytes: &[u8], newest: Newest) -> Result<(), SaveError> {
    let written = match newest {
        Newest::Intact => {
            lesio_files::write_keeping(system, path, previous(path), |out| out.write_all(bytes))
        }
        Newest::Damaged => lesio_files::write_in(system, path, Existing::Replace, |out| out.write_all(bytes)),
    };
    Ok(written?)
}

/// Whether there is a checkpoint of this name or a previous one (`NAME.previous`), intact or not.
#[must_use]
pub fn exists(path: &Path) -> bool {
    [path, &previous(path)].iter().any(|path| path.symlink_metadata().is_ok())
}

/// The planned number of epochs in the newest intact checkpoint of this name; `None` if there is none.
#[must_use]
pub fn planned_epochs(path: &Path) -> Option<usize> {
    let planned = |path: &Path| {
        // Only the header is read, which has a limit of its own; the networks that limit the rest are not known here.
        let found = model_file::describe(path, u64::MAX).ok().filter(|found| found.kind == KIND)?;
        // Nothing else: a later version may have written settings that this one does not know, which `load` names.
        usize::try_from(found.document.pointer("/config/epochs")?.as_u64()?).ok()
    };
    planned(path).or_else(|| planned(&previous(path)))
}

/// Removes temporary files of a training that was killed while it wrote this checkpoint.
pub(crate) fn sweep(path: &Path) -> Result<(), SaveError> {
    for path in [path, &previous(path)] {
        lesio_files::sweep_for(path)?;
    }
    Ok(())
}

/// Reads the newest intact checkpoint under `path` and checks that it belongs to this training.
pub(crate) fn load(
    path: &Path,
    config: &TrainConfig,
    fingerprint: &str,
    engines: &[Box<dyn TrainingEngine>],
    batches: usize,
) -> Result<Saved, CheckpointError> {
    let limit = largest(engines);
    let read = |path: &Path| model_file::load::<Document>(path, KIND, VERSION, limit);
    let older = previous(path);
    let (used, newest, (all, document)) = match read(path) {
        Ok(found) => (path.to_owned(), Newest::Intact, found),
        Err(source) => match read(&older) {
            Ok(found) => (older, Newest::Damaged, found),
            Err(_) => return Err(CheckpointError::Unreadable { path: path.to_owned(), source }),
        },
    };
    if document.config != *config {
        let difference = difference(&document.config, config);
        return Err(CheckpointError::Configuration { path: used, difference });
    }
    if document.fingerprint != fingerprint {
        let (found, expected) = (document.fingerprint, fingerprint.to_owned());
        return Err(CheckpointError::Data { path: used, found, expected });
    }
    let state = document.state.validate(config, batches);
    state.map_err(|source| CheckpointError::State { path: used.clone(), source })?;
    let part = |part: &str, belongs: &dyn Fn(&str) -> bool| {
        let mut set = ParameterSet::new();
        for (name, parameter) in all.iter() {
            match name.strip_prefix(part).and_then(|rest| rest.strip_prefix('/')) {
                Some(name) if belongs(name) => set.insert(name, parameter.clone()),
                _ => {}
            }
        }
        set
    };
    let wrong = |source| CheckpointError::Parameters { path: used.clone(), source };
    let mut saved = Saved { newest, state: document.state, engines: Vec::new(), best: None };
    let filled = |set: ParameterSet| Some(set).filter(|set| !set.is_empty());
    for engine in engines {
        let names: Vec<String> = engine.network().parameters().into_iter().map(|spec| spec.name).collect();
        let [parameters, first, second, mean] =
            PARTS.map(|name| part(name, &|name| names.iter().any(|own| own == name)));
        let mean = filled(mean);
        for set in [&parameters].into_iter().chain(&mean) {
            set.check(&[engine.network()]).map_err(wrong)?;
        }
        saved.engines.push(EngineState { parameters, moments: [first, second], mean });
    }
    let networks: Vec<&Network> = engines.iter().map(|engine| engine.network()).collect();
    saved.best = filled(part(BEST, &|_| true));
    saved.best.iter().try_for_each(|best| best.check(&networks)).map_err(wrong)?;
    let (best, mean) = (saved.best.is_some(), saved.engines.iter().any(|engine| engine.mean.is_some()));
    let kept =
        require(best == saved.state.best.is_some(), "best", best, "its parameters too").and_then(|()| {
            require(config.averaging.is_some() || !mean, "average", mean, "none, since nothing is averaged")
        });
    kept.map_err(|source| CheckpointError::State { path: used.clone(), source })?;
    Ok(saved)
}

/// Bytes of the largest checkpoint that a training of these networks can have written: weights, both moments and
/// both sets that are kept, and some for descriptions and history.
fn largest(engines: &[Box<dyn TrainingEngine>]) -> u64 {
    let specs = engines.iter().flat_map(|engine| engine.network().parameters());
    let bytes = specs.fold(0u64, |sum, spec| {
        sum.saturating_add((spec.len() as u64).saturating_mul(4)).saturating_add(1 << 10)
    });
    bytes.saturating_mul(5).saturating_add(1 << 30)
}

/// The most epochs whose records a checkpoint holds, if each has the parts of this one, and numbers of any length.
pub(crate) fn most_epochs(record: &EpochRecord) -> usize {
    let mut longest = record.clone();
    longest.epoch = LARGEST_COUNT;
    for terms in [Some(&mut longest.training), longest.validation.as_mut()].into_iter().flatten() {
        let parts = terms.parts.iter_mut().map(|(_, value)| value);
        // No number has more digits in JSON.
        parts.chain([&mut terms.total]).for_each(|value| *value = -f64::MIN_POSITIVE);
    }
    let comma = 1;
    let bytes = serde_json::to_string(&longest).map_or(0, |text| text.len()) + comma;
    // An eighth is left for configuration and checksums.
    (model_file::MOST_DESCRIPTION_BYTES / 8 * 7) as usize / bytes
}

fn previous(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".previous");
    path.with_file_name(name)
}

/// The settings that differ, with both values.
fn difference(there: &TrainConfig, here: &TrainConfig) -> String {
    let mut found = Vec::new();
    if let (Ok(there), Ok(here)) = (serde_json::to_value(there), serde_json::to_value(here)) {
        compare("", &there, &here, &mut found);
    }
    found.join("; ")
}

fn compare(name: &str, there: &serde_json::Value, here: &serde_json::Value, found: &mut Vec<String>) {
    match (there, here) {
        (serde_json::Value::Object(a), serde_json::Value::Object(b)) => {
            for (key, value) in b {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                compare(&name, a.get(key).unwrap_or(&serde_json::Value::Null), value, found);
            }
        }
        _ if there != here => {
            found.push(format!("{name} is {there} in the checkpoint and {here} in this training"))
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use lesio_files::simulation::{SimulatedDisk, every_fault, every_power_cut};

    use super::*;
    use crate::parameters::Parameter;

    fn content(step: u64) -> Vec<u8> {
        let mut set = ParameterSet::new();
        set.insert("weights/a", Parameter::new(vec![50_000], vec![step as f32; 50_000]).unwrap());
        let state = State { step, ..State::default() };
        let document = Document { config: TrainConfig::default(), fingerprint: "data".to_owned(), state };
        model_file::encode(KIND, VERSION, &set, &document).unwrap()
    }

    /// The step of the newest intact checkpoint, as [`load`] would choose it.
    fn newest(read: impl Fn(&Path) -> Option<Vec<u8>>) -> Option<u64> {
        let path = Path::new("checkpoint");
        [path.to_owned(), previous(path)].into_iter().find_map(|path| {
            let (_, document) = model_file::decode::<Document>(&path, &read(&path)?, KIND, VERSION).ok()?;
            Some(document.state.step)
        })
    }

    #[test]
    fn faults_and_power_cuts_leave_the_newest_or_the_previous_checkpoint() {
        let path = Path::new("checkpoint");
        let saved: Vec<Vec<u8>> = (0..4).map(content).collect();
        let (mut faults, mut states) = (0, 0);
        let mut disk = SimulatedDisk::default();
        for (step, bytes) in saved.iter().enumerate() {
            let step = step as u64;
            let save = |disk: &SimulatedDisk| write(disk, path, bytes, Newest::Intact);
            let may_be = |found: Option<u64>| found == Some(step) || found == step.checked_sub(1);
            faults += every_fault(&disk, save, |place, _, disk, result| {
                let found = newest(|path| disk.read(path));
                assert!(may_be(found) && (result.is_err() || found == Some(step)), "{place}: {found:?}");
            });
            states += every_power_cut(&disk, save, |place, remains, finished| {
                let found = newest(|path| remains.read(path));
                assert!(may_be(found) && (!finished || found == Some(step)), "{place}: {found:?}");
            });
            disk = disk.copy();
            save(&disk).unwrap();
            let kept = disk.read(previous(path));
            assert!(kept.as_ref() == step.checked_sub(1).map(|before| &saved[before as usize]));
            assert!(disk.names().len() <= 2, "{:?}", disk.names());
        }
        assert!(faults >= 150 && states >= 100, "{faults} {states}");
    }

    #[test]
    fn a_damaged_checkpoint_is_replaced_while_the_one_before_it_stays() {
        let path = Path::new("checkpoint");
        let (older, bytes) = (content(1), content(2));
        let mut damaged = content(2);
        *damaged.last_mut().unwrap() ^= 1;
        let before = SimulatedDisk::with(&[
            ("checkpoint", damaged.as_slice()),
            ("checkpoint.previous", older.as_slice()),
        ]);
        let save = |disk: &SimulatedDisk| write(disk, path, &bytes, Newest::Damaged);
        let faults = every_fault(&before, save, |place, _, disk, result| {
            let found = newest(|path| disk.read(path));
            assert!(found == Some(2) || result.is_err() && found == Some(1), "{place}: {found:?}");
            assert!(disk.read(previous(path)).as_ref() == Some(&older), "{place}");
        });
        let states = every_power_cut(&before, save, |place, remains, finished| {
            let found = newest(|path| remains.read(path));
            assert!(found == Some(2) || !finished && found == Some(1), "{place}: {found:?}");
        });
        assert!(faults > 20 && states > 10, "{faults} {states}");
    }

    #[test]
    fn settings_of_a_later_version_are_named() {
        let (config, state) = (TrainConfig::default().epochs(7), State::default());
        let document = Document { config, fingerprint: "data".to_owned(), state };
        let document = serde_json::to_value(document).unwrap();
        let mut set = ParameterSet::new();
        set.insert("weights/a", Parameter::new(vec![1], vec![0.5]).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        for part in ["/config", "/config/adam", "/config/adam/schedule/cosine", "/state"] {
            let mut document = document.clone();
            document.pointer_mut(part).unwrap()["newer"] = serde_json::json!(1);
            model_file::save(&path, KIND, VERSION, &set, &document).unwrap();
            let error = load(&path, &TrainConfig::default(), "data", &[], 1).err().unwrap();
            let CheckpointError::Unreadable { source: LoadError::Unknown { setting, .. }, .. } = error else {
                panic!("{part}: {error}")
            };
            assert_eq!(format!("/{}", setting.replace('.', "/")), format!("{part}/newer"));
            assert_eq!(planned_epochs(&path), Some(7));
        }
    }

    #[test]
    fn a_checkpoint_holds_as_many_records_as_it_says() {
        let terms = |value| {
            let terms = super::super::objective::Terms::new(value);
            terms.with("reconstruction", value).with("divergence", value)
        };
        let record =
            |epoch, value| EpochRecord { epoch, training: terms(value), validation: Some(terms(value)) };
        let epochs = most_epochs(&record(0, 0.5));
        assert!(epochs > 20_000, "{epochs}");
        let history = (0..epochs).map(|epoch| record(epoch, -f64::MIN_POSITIVE)).collect();
        let state = State { epoch: epochs, history, ..State::default() };
        let document = Document { config: TrainConfig::default(), fingerprint: "data".to_owned(), state };
        let bytes = model_file::encode(KIND, VERSION, &ParameterSet::new(), &document).unwrap();
        let read = model_file::decode::<Document>(Path::new("a"), &bytes, KIND, VERSION).unwrap();
        assert_eq!(read.1.state.history.len(), epochs);
    }

    /// As of a network of 120 million parameters, whose values are a hole in the file.
    #[test]
    fn the_epochs_of_a_checkpoint_larger_than_any_model_file_are_read() {
        let mut set = ParameterSet::new();
        set.insert("weights/a", Parameter::new(vec![1], vec![0.5]).unwrap());
        let config = TrainConfig::default().epochs(7);
        let document = Document { config, fingerprint: "data".to_owned(), state: State::default() };
        let small = model_file::encode(KIND, VERSION, &set, &document).unwrap();
        let length = u64::from_le_bytes(small[..8].try_into().unwrap()) as usize;
        let mut header: serde_json::Value = serde_json::from_slice(&small[8..8 + length]).unwrap();
        let count = 600_000_000_u64;
        assert!(4 * count > model_file::DEFAULT_LIMIT);
        header["weights/a"]["shape"] = serde_json::json!([count]);
        header["weights/a"]["data_offsets"] = serde_json::json!([0, 4 * count]);
        let text = serde_json::to_vec(&header).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        std::fs::write(&path, [&(text.len() as u64).to_le_bytes()[..], &text[..]].concat()).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        // Where the file system has no files with holes.
        let Ok(()) = file.set_len(8 + text.len() as u64 + 4 * count) else { return };
        assert_eq!(planned_epochs(&path), Some(7));
    }
}
