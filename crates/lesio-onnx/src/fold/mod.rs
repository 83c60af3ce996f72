//! Operations on constants, such as the operations with which exporters compute shapes.

mod elementwise;
mod reduction;
mod shape;

pub(crate) use elementwise::cast_to;
pub(crate) use shape::{constant, filling, known_dims};

use crate::args::Args;
use crate::error::Fault;
use crate::tensor::Tensor;

/// The constants that an operator computes from constants; `None` if the operator is not computed in advance.
pub(crate) fn fold(args: &Args<'_>) -> Result<Option<Vec<Tensor>>, Fault> {
    if let Some(tensor) = elementwise::fold(args)? {
        return Ok(Some(vec![tensor]));
    }
    if let Some(tensor) = reduction::fold(args)? {
        return Ok(Some(vec![tensor]));
    }
    shape::fold(args)
}
