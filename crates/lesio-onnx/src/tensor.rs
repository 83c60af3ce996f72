//! Constants of a graph.

use std::sync::Arc;

use lesio_nn::f32_from_half;

use crate::error::OnnxError;
use crate::proto::{TensorProto, data_type};

/// A tensor whose values are known before the network runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensor {
    pub(crate) dims: Vec<usize>,
    pub(crate) data: Data,
}

/// The values, in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data {
    /// Numbers of any float type, converted to `f32`.
    Floats(Arc<[f32]>),
    /// Numbers of any integer type; booleans are 0 and 1.
    Sizes(Arc<[Size]>),
}

/// An integer that may be a multiple of a power of the batch size, which is unknown before the network runs:
/// `factor * n^power`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) factor: i64,
    pub(crate) power: u32,
}

impl Size {
    /// The batch size.
    pub(crate) const BATCH: Self = Self { factor: 1, power: 1 };

    pub(crate) const fn known(value: i64) -> Self {
        Self { factor: value, power: 0 }
    }

    /// The number, if it does not depend on the batch size.
    pub(crate) fn value(self) -> Option<i64> {
        (self.power == 0).then_some(self.factor)
    }
}

impl Tensor {
    pub(crate) fn floats(dims: Vec<usize>, values: Vec<f32>) -> Self {
        Self { dims, data: Data::Floats(values.into()) }
    }

    pub(crate) fn sizes(dims: Vec<usize>, values: Vec<Size>) -> Self {
        Self { dims, data: Data::Sizes(values.into()) }
    }

    pub(crate) fn len(&self) -> usize {
        match &self.data {
            Data::Floats(values) => values.len(),
            Data::Sizes(values) => values.len(),
        }
    }

    pub(crate) fn as_floats(&self) -> Option<&[f32]> {
        match &self.data {
            Data::Floats(values) => Some(values),
            Data::Sizes(_) => None,
        }
    }

    pub(crate) fn as_sizes(&self) -> Option<&[Size]> {
        match &self.data {
            Data::Sizes(values) => Some(values),
            Data::Floats(_) => None,
        }
    }

    /// Decodes a tensor of a file. `external` contains the values if they are stored in another file.
    pub(crate) fn from_proto(proto: &TensorProto, external: Option<&[u8]>) -> Result<Self, OnnxError> {
        let wrong = |reason: String| OnnxError::Tensor { name: proto.name.clone(), reason };
        let mut dims = Vec::with_capacity(proto.dims.len());
        for &length in &proto.dims {
            let length = usize::try_from(length);
            dims.push(length.map_err(|_| wrong(format!("has the shape {:?}", proto.dims)))?);
        }
        let expected = count(&dims).ok_or_else(|| wrong(format!("has the shape {dims:?}")))?;
        let raw = external.unwrap_or(&proto.raw_data);
        let is_raw = external.is_some() || !proto.raw_data.is_empty();
        let half = |bits: &i32| *bits as u16;
        let whole = |values: &[i64]| values.iter().map(|&value| Size::known(value)).collect::<Vec<_>>();
        let data = match (proto.data_type, is_raw) {
            (data_type::FLOAT, true) => Data::Floats(chunks(raw, f32::from_le_bytes).into()),
            (data_type::FLOAT, false) => Data::Floats(proto.float_data.clone().into()),
            (data_type::DOUBLE, true) => {
                Data::Floats(chunks(raw, |bytes| f64::from_le_bytes(bytes) as f32).into())
            }
            (data_type::DOUBLE, false) => {
                Data::Floats(proto.double_data.iter().map(|&value| value as f32).collect())
            }
            (data_type::FLOAT16, true) => {
                Data::Floats(chunks(raw, |bytes| f32_from_half(u16::from_le_bytes(bytes))).into())
            }
            (data_type::FLOAT16, false) => {
                Data::Floats(proto.int32_data.iter().map(half).map(f32_from_half).collect())
            }
            (data_type::BFLOAT16, true) => {
                Data::Floats(chunks(raw, |bytes| from_brain(u16::from_le_bytes(bytes))).into())
            }
            (data_type::BFLOAT16, false) => {
                Data::Floats(proto.int32_data.iter().map(half).map(from_brain).collect())
            }
            (data_type::INT64, true) => Data::Sizes(whole(&chunks(raw, i64::from_le_bytes)).into()),
            (data_type::INT64, false) => Data::Sizes(whole(&proto.int64_data).into()),
            (data_type::INT32, true) => {
                Data::Sizes(chunks(raw, |bytes| Size::known(i32::from_le_bytes(bytes).into())).into())
            }
            (data_type::INT32 | data_type::BOOL, false) => {
                Data::Sizes(proto.int32_data.iter().map(|&value| Size::known(value.into())).collect())
            }
            (data_type::BOOL, true) => {
                Data::Sizes(raw.iter().map(|&b| Size::known((b != 0).into())).collect())
            }
            (other, _) => {
                return Err(wrong(format!("holds {}, expected floats or integers", data_type::name(other))));
            }
        };
        let made = Self { dims, data };
        if made.len() != expected {
            return Err(wrong(format!("of shape {:?} holds {} values", made.dims, made.len())));
        }
        Ok(made)
    }
}

/// The number of values of a shape; `None` if it overflows.
pub(crate) fn count(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1usize, |product, &length| product.checked_mul(length))
}

fn chunks<const N: usize, T>(bytes: &[u8], of: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (whole, rest) = bytes.as_chunks::<N>();
    // Incomplete bytes at the end add one value, so that the caller reports a wrong number of values.
    let more = if rest.is_empty() { None } else { Some(of([0; N])) };
    whole.iter().map(|chunk| of(*chunk)).chain(more).collect()
}

fn from_brain(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_must_fill_the_shape() {
        let tensor = |dims: &[i64], bytes: usize| TensorProto {
            dims: dims.to_vec(),
            data_type: data_type::FLOAT,
            raw_data: vec![0; bytes],
            ..TensorProto::default()
        };
        assert!(Tensor::from_proto(&tensor(&[2, 3], 24), None).is_ok());
        for (dims, bytes) in [(&[2, 3][..], 20), (&[2, 3], 25), (&[-1, 3], 12), (&[1 << 40, 1 << 40], 8)] {
            assert!(Tensor::from_proto(&tensor(dims, bytes), None).is_err(), "{dims:?} {bytes}");
        }
    }
}
