//! PyTorch's files, by candle's reader.

use std::path::Path;

use candle_core::{DType, pickle};

use super::pass::host;
use crate::state_dict::{StateDict, StateDictError};

/// Reads a `state_dict` in the zip format.
pub(crate) fn read_pickle(path: &Path) -> Result<StateDict, StateDictError> {
    let failed = |source| StateDictError::Pickle { path: path.to_owned(), source };
    let mut dict = StateDict::default();
    for (name, tensor) in pickle::read_all(path).map_err(failed)? {
        match tensor.dtype() {
            DType::F32 | DType::F64 | DType::BF16 => {}
            other => return Err(StateDictError::Type { name, found: format!("{other:?}") }),
        }
        let shape = tensor.dims().to_vec();
        let values = tensor.to_dtype(DType::F32).and_then(|tensor| host(&tensor)).map_err(failed)?;
        dict.insert(name, shape, values)?;
    }
    Ok(dict)
}
