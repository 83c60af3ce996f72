//! Reads files of weights from other programs.

use std::io::Read;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use super::dict::StateDict;
use super::error::StateDictError;
use super::floats::Float;
use super::torch;

/// Most bytes of a file: weights of a billion parameters.
const LIMIT: u64 = 4 << 30;

impl StateDict {
    /// Reads a file, by the ending of its name: `.safetensors`, `.pth` or `.pt`.
    ///
    /// A file of more than 4 GiB is an error. Floats of 64 bits are rounded to 32, and those of 16 bits are converted.
    /// Only the names and types of other tensors are kept, such as the counters `num_batches_tracked` that PyTorch
    /// saves beside each batch normalization.
    ///
    /// Of a checkpoint, the dict in its entry `state_dict`, `model_state_dict` or `model` is read. No code of a PyTorch
    /// file is run, and a file of a whole module is an error.
    ///
    /// # Errors
    /// If the file cannot be read, has another kind, is damaged or holds no `state_dict`; for parameters that are not
    /// finite; and for tensors that share memory, if they have more numbers in all than the file has bytes.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, StateDictError> {
        let path = path.as_ref();
        let add = match path.extension().and_then(|ending| ending.to_str()) {
            Some("safetensors") => add_safetensors,
            Some("pth" | "pt") => torch::read,
            _ => return Err(StateDictError::Kind { path: path.to_owned() }),
        };
        let read = |source| StateDictError::Read { path: path.to_owned(), source };
        let (mut file, length) = lesio_files::open(path, LIMIT).map_err(read)?;
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        file.read_to_end(&mut bytes).map_err(read)?;
        let mut dict = Self::default();
        dict.set_path(path);
        match add(&mut dict, path, &bytes) {
            Ok(()) => Ok(dict),
            // These do not name the file themselves.
            Err(
                error @ (StateDictError::NonFinite { .. }
                | StateDictError::Count { .. }
                | StateDictError::Repeated { .. }),
            ) => Err(StateDictError::Unusable { path: path.to_owned(), source: Box::new(error) }),
            Err(error) => Err(error),
        }
    }
}

fn add_safetensors(dict: &mut StateDict, path: &Path, bytes: &[u8]) -> Result<(), StateDictError> {
    let format = |source| StateDictError::Format { path: path.to_owned(), source };
    for (name, view) in SafeTensors::deserialize(bytes).map_err(format)?.tensors() {
        let kind = match view.dtype() {
            Dtype::F16 => Float::Half,
            Dtype::BF16 => Float::Brain,
            Dtype::F32 => Float::Single,
            Dtype::F64 => Float::Double,
            other => {
                dict.insert_other(&name, &format!("{other:?}"))?;
                continue;
            }
        };
        let count = view.data().len() / kind.bytes();
        dict.insert(name, view.shape().to_vec(), kind.values(view.data(), 0..count))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::super::sample;
    use super::*;
    use crate::{Layer, NameMap, NetworkBuilder, Shape};

    struct Saved {
        name: String,
        is_integer: bool,
        shape: Vec<usize>,
        bytes: Vec<u8>,
    }

    /// What PyTorch saves of a batch normalization of two channels, with another name of its counter, and a prefix.
    fn batch_normalization(counter: &str, prefix: &str) -> Vec<Saved> {
        let floats = |(what, first): (&str, f32)| Saved {
            name: format!("{prefix}norm.{what}"),
            is_integer: false,
            shape: vec![2],
            bytes: [first, 0.5].into_iter().flat_map(f32::to_le_bytes).collect(),
        };
        let parameters = [("weight", 1.0), ("bias", 2.0), ("running_mean", 3.0), ("running_var", 4.0)];
        let mut all: Vec<Saved> = parameters.into_iter().map(floats).collect();
        all.retain(|saved| saved.name != counter);
        let bytes = 7_i64.to_le_bytes().to_vec();
        all.push(Saved { name: counter.to_owned(), is_integer: true, shape: vec![], bytes });
        all
    }

    fn as_safetensors(tensors: &[Saved]) -> Vec<u8> {
        let views = tensors.iter().map(|saved| {
            let kind = if saved.is_integer { Dtype::I64 } else { Dtype::F32 };
            (saved.name.as_str(), TensorView::new(kind, saved.shape.clone(), &saved.bytes).unwrap())
        });
        safetensors::serialize(views, None).unwrap()
    }

    fn as_pickle(tensors: &[Saved]) -> Vec<u8> {
        let keys: Vec<String> = (0..tensors.len()).map(|k| k.to_string()).collect();
        let described = tensors.iter().zip(&keys).map(|(saved, key)| {
            let class = if saved.is_integer { "LongStorage" } else { "FloatStorage" };
            let shape: Vec<i64> = saved.shape.iter().map(|&length| length as i64).collect();
            (saved.name.as_str(), sample::tensor(class, key, 0, &shape, &vec![1; shape.len()]))
        });
        let storages = tensors.iter().zip(&keys).map(|(saved, key)| (key.as_str(), saved.bytes.clone()));
        let storages: Vec<(&str, Vec<u8>)> = storages.collect();
        sample::file(&sample::dict(&described.collect::<Vec<_>>()), &storages)
    }

    /// Every PyTorch network with a batch normalization has counters, and others hold positions or masks.
    #[test]
    fn only_a_network_that_needs_integers_makes_them_an_error() {
        let mut net = NetworkBuilder::new();
        let input = net.input("x", Shape::new(2, 4, 4));
        let layer = Layer::BatchNormalization { epsilon: 1e-5, momentum: 0.1 };
        let norm = net.layer("norm", layer, &[input]).unwrap();
        let network = net.finish(&[norm]).unwrap();
        let map = NameMap::new().rename("norm.running_variance", "norm.running_var");
        let folder = tempfile::tempdir().unwrap();
        type Write = fn(&[Saved]) -> Vec<u8>;
        let kinds: [(&str, Write); 2] = [("safetensors", as_safetensors), ("pth", as_pickle)];
        for (ending, write) in kinds {
            let path = folder.path().join(format!("norm.{ending}"));
            let read = |counter: &str, prefix: &str| {
                std::fs::write(&path, write(&batch_normalization(counter, prefix))).unwrap();
                StateDict::read(&path).unwrap()
            };
            for (counter, prefix) in [
                ("norm.num_batches_tracked", ""),
                ("position_ids", ""),
                ("module.norm.num_batches_tracked", "module."),
            ] {
                let dict = read(counter, prefix);
                assert_eq!(dict.path(), Some(path.as_path()));
                assert_eq!(dict.other_type(counter), Some("I64"), "{ending}");
                let found = dict.parameters(&[&network], &map).unwrap();
                let values = |what: &str| found.get(&format!("norm.{what}")).unwrap().values().to_vec();
                assert_eq!(values("running_variance"), [4.0, 0.5], "{ending}");
                assert_eq!(values("weight"), [1.0, 0.5], "{ending}");
                assert_eq!(found.iter().count(), 4, "{ending}");
            }
            let mut broken = batch_normalization("steps", "");
            broken[0].bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
            std::fs::write(&path, write(&broken)).unwrap();
            match StateDict::read(&path) {
                Err(StateDictError::Unusable { path: named, source }) => {
                    assert_eq!(named, path);
                    assert!(source.to_string().contains("\"norm.weight\" holds NaN at 0"), "{source}");
                }
                other => panic!("{other:?}"),
            }
            let error = read("norm.bias", "").parameters(&[&network], &map).unwrap_err();
            let is_named = matches!(&error, StateDictError::Type { name, .. } if name == "norm.bias");
            assert!(is_named, "{ending}: {error}");
        }
    }
}
