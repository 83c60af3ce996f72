//! Operations on constants, such as those by which exporters compute shapes.

mod elementwise;
mod shape;

pub(crate) use shape::constant;

use crate::args::Args;
use crate::error::Fault;
use crate::tensor::Tensor;

/// The constants that an operator makes of constants; `None` where it is none that is computed ahead.
pub(crate) fn fold(args: &Args<'_>) -> Result<Option<Vec<Tensor>>, Fault> {
    if let Some(tensor) = elementwise::fold(args)? {
        return Ok(Some(vec![tensor]));
    }
    shape::fold(args)
}
