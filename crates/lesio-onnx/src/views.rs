//! Views, which select elements of a tensor, for constants and for values of the network.

use crate::error::{Fault, invalid};
use crate::tensor::{Data, Tensor, count};

/// The maximum number of elements of a constant that an operation enlarges, and of a selection in a network.
pub(crate) const LARGEST_VIEW: usize = 1 << 20;

/// A rearrangement of a tensor: the new shape, and for each new element the index of the original element.
pub(crate) struct View {
    pub(crate) dims: Vec<usize>,
    pub(crate) elements: Vec<usize>,
}

/// The positions along an axis that a slice keeps, by the rules of ONNX: negative numbers are relative to the end,
/// and positions outside are cut off.
pub(crate) fn slice_positions(length: usize, start: i64, end: i64, step: i64) -> Result<Vec<usize>, Fault> {
    check_axis(length)?;
    let whole = i64::try_from(length).unwrap_or(i64::MAX);
    let from_end = |value: i64| if value < 0 { value.saturating_add(whole) } else { value };
    let positions = match step {
        0 => return invalid("a slice has step 0"),
        1.. => {
            let (start, end) = (from_end(start).clamp(0, whole), from_end(end).clamp(0, whole));
            let step = usize::try_from(step).unwrap_or(usize::MAX);
            (start..end).step_by(step).map(|position| position as usize).collect()
        }
        _ => {
            let (start, end) = (from_end(start).clamp(-1, whole - 1), from_end(end).clamp(-1, whole - 1));
            let step = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
            (end + 1..=start).rev().step_by(step).map(|position| position as usize).collect()
        }
    };
    Ok(positions)
}

/// Returns an error if an axis has too many positions to list.
pub(crate) fn check_axis(length: usize) -> Result<(), Fault> {
    match length {
        0..=LARGEST_VIEW => Ok(()),
        _ => invalid(format!("it selects along an axis of length {length}")),
    }
}

/// The index of an axis in a tensor with `rank` axes; as in ONNX, negative numbers are relative to the end.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize, Fault> {
    let rank_signed = i64::try_from(rank).unwrap_or(i64::MAX);
    let own = if axis < 0 { axis.saturating_add(rank_signed) } else { axis };
    match usize::try_from(own) {
        Ok(own) if own < rank => Ok(own),
        _ => invalid(format!("axis {axis} of a tensor of {rank} axes")),
    }
}

/// Selects positions along one axis.
pub(crate) fn select(dims: &[usize], axis: usize, positions: &[usize]) -> Result<View, Fault> {
    let (outer, rest) = dims.split_at(axis.min(dims.len()));
    let Some((&length, inner)) = rest.split_first() else {
        return invalid(format!("axis {axis} of {dims:?}"));
    };
    if let Some(position) = positions.iter().find(|&&position| position >= length) {
        return invalid(format!("position {position} of an axis of length {length}"));
    }
    let inner: usize = inner.iter().product();
    let mut to = dims.to_vec();
    to[axis] = positions.len();
    check_size(&to, dims)?;
    let mut elements = Vec::new();
    for block in 0..outer.iter().product::<usize>() {
        for &position in positions {
            let first = (block * length + position) * inner;
            elements.extend(first..first + inner);
        }
    }
    Ok(View { dims: to, elements })
}

/// Returns an error unless each axis is named once.
pub(crate) fn check_order(order: &[usize], rank: usize) -> Result<(), Fault> {
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    match sorted.iter().copied().eq(0..rank) {
        true => Ok(()),
        false => invalid(format!("{order:?} is no order of {rank} axes")),
    }
}

/// Reorders axes.
pub(crate) fn transpose(dims: &[usize], order: &[usize]) -> Result<View, Fault> {
    check_order(order, dims.len())?;
    let to: Vec<usize> = order.iter().map(|&axis| dims[axis]).collect();
    let strides = strides(dims);
    let strides: Vec<usize> = order.iter().map(|&axis| strides[axis]).collect();
    Ok(View { elements: walk(&to, &strides), dims: to })
}

/// Repeats a tensor along axes of length 1, and along new axes in front, up to a given shape.
pub(crate) fn broadcast(dims: &[usize], to: &[usize]) -> Result<View, Fault> {
    check_size(to, dims)?;
    repeated(dims, to)
}

/// Repeats two tensors up to their common shape, which may be as large as the larger of them.
pub(crate) fn broadcast_both(a: &[usize], b: &[usize]) -> Result<[View; 2], Fault> {
    let to = common(a, b)?;
    check_size(&to, if count(a) >= count(b) { a } else { b })?;
    Ok([repeated(a, &to)?, repeated(b, &to)?])
}

fn repeated(dims: &[usize], to: &[usize]) -> Result<View, Fault> {
    let new = to.len().checked_sub(dims.len());
    let fits = |new: usize| dims.iter().zip(&to[new..]).all(|(own, to)| own == to || *own == 1);
    let Some(new) = new.filter(|&new| fits(new)) else {
        return invalid(format!("shape {dims:?} does not extend to {to:?}"));
    };
    let own = strides(dims);
    let mut strides = vec![0; to.len()];
    for (axis, (&length, &stride)) in dims.iter().zip(&own).enumerate() {
        strides[new + axis] = if length == 1 { 0 } else { stride };
    }
    Ok(View { elements: walk(to, &strides), dims: to.to_vec() })
}

/// The common shape to which two tensors are broadcast.
pub(crate) fn common(a: &[usize], b: &[usize]) -> Result<Vec<usize>, Fault> {
    let rank = a.len().max(b.len());
    let length = |dims: &[usize], axis: usize| {
        (axis + dims.len()).checked_sub(rank).and_then(|axis| dims.get(axis)).copied().unwrap_or(1)
    };
    (0..rank)
        .map(|axis| match (length(a, axis), length(b, axis)) {
            (x, y) if x == y => Ok(x),
            (1, y) => Ok(y),
            (x, 1) => Ok(x),
            _ => invalid(format!("shapes {a:?} and {b:?} do not extend to each other")),
        })
        .collect()
}

impl View {
    /// Selects these elements of a constant.
    pub(crate) fn of(self, tensor: &Tensor) -> Tensor {
        let data = match &tensor.data {
            Data::Floats(values) => Data::Floats(self.elements.iter().map(|&k| values[k]).collect()),
            Data::Sizes(values) => Data::Sizes(self.elements.iter().map(|&k| values[k]).collect()),
        };
        Tensor { dims: self.dims, data }
    }
}

/// Returns an error for a shape with more than [`LARGEST_VIEW`] elements, unless the original has as many.
pub(crate) fn check_size(to: &[usize], from: &[usize]) -> Result<(), Fault> {
    let largest = LARGEST_VIEW.max(count(from).unwrap_or(0));
    match count(to) {
        Some(length) if length <= largest => Ok(()),
        _ => invalid(format!("a constant of shape {to:?} is too large")),
    }
}

fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis] * dims[axis];
    }
    strides
}

/// The indices of all elements of a shape, row-major; `strides` are the distances of neighbors along each axis.
fn walk(dims: &[usize], strides: &[usize]) -> Vec<usize> {
    let mut elements = vec![0];
    for (&length, &stride) in dims.iter().zip(strides) {
        elements = elements.iter().flat_map(|&first| (0..length).map(move |k| first + k * stride)).collect();
    }
    elements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_pick_what_numpy_picks() {
        assert_eq!(slice_positions(5, 1, i64::MAX, 2).unwrap(), [1, 3]);
        assert_eq!(slice_positions(5, -1, i64::MIN, -2).unwrap(), [4, 2, 0]);
        assert_eq!(slice_positions(5, 4, 1, 1).unwrap(), [0; 0]);
        assert!(slice_positions(5, 0, 5, 0).is_err());
        assert_eq!(select(&[2, 3], 1, &[2, 0]).unwrap().elements, [2, 0, 5, 3]);
        assert_eq!(transpose(&[2, 3], &[1, 0]).unwrap().elements, [0, 3, 1, 4, 2, 5]);
        assert_eq!(broadcast(&[2, 1], &[2, 2, 2]).unwrap().elements, [0, 0, 1, 1, 0, 0, 1, 1]);
        assert!(broadcast(&[2], &[3]).is_err() && broadcast(&[1], &[1 << 30]).is_err());
        let [large, small] = broadcast_both(&[2, 1 << 20], &[2, 1]).unwrap();
        assert_eq!((large.elements.len(), &small.dims[..]), (2 << 20, &[2, 1 << 20][..]));
        assert!(broadcast_both(&[1 << 11, 1], &[1 << 11]).is_err());
        assert!(select(&[2, 3], 1, &[3]).is_err() && transpose(&[2, 3], &[0, 0]).is_err());
        assert_eq!(common(&[2, 1], &[3]).unwrap(), [2, 3]);
        assert_eq!((axis(-1, 3).unwrap(), axis(3, 3).is_err()), (2, true));
    }
}
