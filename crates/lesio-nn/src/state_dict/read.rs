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
    /// A file of more than 4 GiB is an error. Floats of 64 bits are rounded to 32.
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
                other => return Err(StateDictError::Type { name, found: format!("{other:?}") }),
            }
            let shape = tensor.dims().to_vec();
            let values = tensor.to_dtype(DType::F32).and_then(|tensor| tensor.flatten_all()?.to_vec1());
            dict.insert(name, shape, values.map_err(failed)?)?;
        }
        Ok(dict)
    }
}

fn numbers<const N: usize>(bytes: &[u8], of: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<N>().0.iter().map(|chunk| of(*chunk)).collect()
}
