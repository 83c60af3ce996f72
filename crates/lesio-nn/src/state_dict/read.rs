//! Reads files of weights from other programs.

use std::io::Read;
use std::path::Path;

#[cfg(feature = "candle")]
use candle_core::{DType, pickle};
use safetensors::{Dtype, SafeTensors};

use super::dict::StateDict;
use super::error::StateDictError;

/// Most bytes of a file: weights of a billion parameters.
const LIMIT: u64 = 4 << 30;

impl StateDict {
    /// Reads a file, by the ending of its name: `.safetensors`, or with the feature `candle` `.pth` and `.pt`.
    ///
    /// A file of more than 4 GiB is an error. Floats of 64 bits are rounded to 32. The counters `num_batches_tracked` that
    /// PyTorch saves beside each batch normalization are left out: they are integers and no parameters.
    ///
    /// # Errors
    /// If the file cannot be read, has another kind or is damaged, and for parameters that are not floats or not
    /// finite.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, StateDictError> {
        let path = path.as_ref();
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("safetensors") => Self::read_safetensors(path),
            #[cfg(feature = "candle")]
            Some("pth" | "pt") => {
                // Opened first, so that no other reader gets a file that is not regular or too large.
                lesio_files::open(path, LIMIT)
                    .map_err(|source| StateDictError::Read { path: path.to_owned(), source })?;
                Self::read_pickle(path)
            }
            _ => Err(StateDictError::Kind { path: path.to_owned() }),
        }
    }

    fn read_safetensors(path: &Path) -> Result<Self, StateDictError> {
        let read = |source| StateDictError::Read { path: path.to_owned(), source };
        let (mut file, length) = lesio_files::open(path, LIMIT).map_err(read)?;
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
        file.read_to_end(&mut bytes).map_err(read)?;
        let format = |source| StateDictError::Format { path: path.to_owned(), source };
        let mut dict = Self::default();
        for (name, view) in SafeTensors::deserialize(&bytes).map_err(format)?.tensors() {
            let values: Vec<f32> = match view.dtype() {
                Dtype::F32 => numbers(view.data(), f32::from_le_bytes),
                Dtype::F64 => numbers(view.data(), |bytes| f64::from_le_bytes(bytes) as f32),
                Dtype::BF16 => {
                    numbers(view.data(), |bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16))
                }
                other if is_integer(other) && counts_batches(&name) => continue,
                other => return Err(StateDictError::Type { name, found: format!("{other:?}") }),
            };
            dict.insert(name, view.shape().to_vec(), values)?;
        }
        Ok(dict)
    }

    /// Reads a PyTorch `state_dict` in the zip format, by candle's reader.
    #[cfg(feature = "candle")]
    fn read_pickle(path: &Path) -> Result<Self, StateDictError> {
        let failed = |source| StateDictError::Pickle { path: path.to_owned(), source };
        let mut dict = Self::default();
        for (name, tensor) in pickle::read_all(path).map_err(failed)? {
            match tensor.dtype() {
                DType::F32 | DType::F64 | DType::BF16 => {}
                other if other.is_int() && counts_batches(&name) => continue,
                other => return Err(StateDictError::Type { name, found: format!("{other:?}") }),
            }
            let shape = tensor.dims().to_vec();
            let values = tensor.to_dtype(DType::F32).and_then(|tensor| tensor.flatten_all()?.to_vec1());
            dict.insert(name, shape, values.map_err(failed)?)?;
        }
        Ok(dict)
    }
}

/// Whether a tensor of integers is the counter of batches of a batch normalization, by the last part of its name.
fn counts_batches(name: &str) -> bool {
    name.rsplit('.').next() == Some("num_batches_tracked")
}

/// Whether a type is an integer or a truth value.
fn is_integer(kind: Dtype) -> bool {
    use Dtype::{BOOL, I8, I16, I32, I64, U8, U16, U32, U64};
    matches!(kind, BOOL | U8 | I8 | U16 | I16 | U32 | I32 | U64 | I64)
}

fn numbers<const N: usize>(bytes: &[u8], of: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<N>().0.iter().map(|chunk| of(*chunk)).collect()
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::*;
    use crate::{Layer, NameMap, NetworkBuilder, Shape};

    struct Saved {
        name: String,
        is_integer: bool,
        shape: Vec<usize>,
        bytes: Vec<u8>,
    }

    /// What PyTorch saves of a batch normalization of two channels, with another name of its counter.
    fn batch_normalization(counter: &str) -> Vec<Saved> {
        let floats = |(what, first): (&str, f32)| Saved {
            name: format!("norm.{what}"),
            is_integer: false,
            shape: vec![2],
            bytes: [first, 0.5].into_iter().flat_map(f32::to_le_bytes).collect(),
        };
        let parameters = [("weight", 1.0), ("bias", 2.0), ("running_mean", 3.0), ("running_var", 4.0)];
        let mut all: Vec<Saved> = parameters.into_iter().map(floats).collect();
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

    /// The pickle and the files of numbers that `torch.save` writes into its zip archive.
    #[cfg(feature = "candle")]
    fn as_pickle(tensors: &[Saved]) -> Vec<u8> {
        let text = |text: &str| [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
        let mut pickle = b"\x80\x02}(".to_vec();
        let mut files = Vec::new();
        for (k, saved) in tensors.iter().enumerate() {
            let (class, size) = if saved.is_integer { ("LongStorage", 8) } else { ("FloatStorage", 4) };
            pickle.extend(text(&saved.name));
            pickle.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
            pickle.extend(text("storage"));
            pickle.extend(format!("ctorch\n{class}\n").bytes());
            pickle.extend(text(&k.to_string()));
            pickle.extend(text("cpu"));
            // The number of values; then the first value, the shape and, of vectors, the stride.
            pickle.extend([b'K', (saved.bytes.len() / size) as u8, b't', b'Q', b'K', 0, b'(']);
            pickle.extend(saved.shape.iter().flat_map(|&length| [b'K', length as u8]));
            pickle.extend(b"t(");
            pickle.extend(saved.shape.iter().flat_map(|_| [b'K', 1]));
            pickle.extend(b"t\x89}tR");
            files.push((format!("archive/data/{k}"), saved.bytes.clone()));
        }
        pickle.extend(b"u.");
        files.insert(0, ("archive/data.pkl".to_owned(), pickle));
        as_zip(&files)
    }

    /// A zip archive whose files are not compressed.
    #[cfg(feature = "candle")]
    fn as_zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
        let halves = |numbers: &[u16]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
        let words = |numbers: &[u32]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
        let (mut archive, mut directory): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
        for (name, bytes) in files {
            let (first, size) = (archive.len() as u32, bytes.len() as u32);
            // Version 2.0, no flags, not compressed, midnight, 1980-01-01.
            let about = [
                halves(&[20, 0, 0, 0, 33]),
                words(&[crc32fast::hash(bytes), size, size]),
                halves(&[name.len() as u16, 0]),
            ]
            .concat();
            archive.extend([&b"PK\x03\x04"[..], &about, name.as_bytes(), bytes].concat());
            directory.extend([&b"PK\x01\x02"[..], &halves(&[20]), &about].concat());
            directory.extend([halves(&[0, 0, 0]), words(&[0, first]), name.clone().into_bytes()].concat());
        }
        let (first, count) = (archive.len() as u32, files.len() as u16);
        let end = [halves(&[0, 0, count, count]), words(&[directory.len() as u32, first]), halves(&[0])];
        archive.extend(directory);
        archive.extend(b"PK\x05\x06");
        archive.extend(end.concat());
        archive
    }

    /// Every PyTorch network with a batch normalization has such counters.
    #[test]
    fn counters_of_batches_are_left_out() {
        let mut net = NetworkBuilder::new();
        let input = net.input("x", Shape::new(2, 4, 4));
        let layer = Layer::BatchNormalization { epsilon: 1e-5, momentum: 0.1 };
        let norm = net.layer("norm", layer, &[input]).unwrap();
        let network = net.finish(&[norm]).unwrap();
        let map = NameMap::new().rename("norm.running_variance", "norm.running_var");
        let folder = tempfile::tempdir().unwrap();
        type Write = fn(&[Saved]) -> Vec<u8>;
        let kinds: &[(&str, Write)] = &[
            ("safetensors", as_safetensors),
            #[cfg(feature = "candle")]
            ("pth", as_pickle),
        ];
        for (ending, write) in kinds {
            let path = folder.path().join(format!("norm.{ending}"));
            std::fs::write(&path, write(&batch_normalization("norm.num_batches_tracked"))).unwrap();
            let found = StateDict::read(&path).unwrap().parameters(&[&network], &map).unwrap();
            let values = |what: &str| found.get(&format!("norm.{what}")).unwrap().values().to_vec();
            assert_eq!(values("running_variance"), [4.0, 0.5], "{ending}");
            assert_eq!(values("weight"), [1.0, 0.5], "{ending}");
            assert_eq!(found.iter().count(), 4, "{ending}");
            // Other integers are errors.
            for name in ["norm.steps", "num_batches_tracked.norm", "norm_num_batches_tracked"] {
                std::fs::write(&path, write(&batch_normalization(name))).unwrap();
                let error = StateDict::read(&path).unwrap_err();
                let is_named = matches!(&error, StateDictError::Type { name: named, .. } if named == name);
                assert!(is_named, "{ending}: {error}");
            }
        }
    }
}
