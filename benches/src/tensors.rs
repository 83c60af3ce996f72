//! Arrays that both sides of a comparison exchange, in safetensors files.

use std::collections::BTreeMap;
use std::path::Path;

use lesio_nn::{Network, Parameter, ParameterSet};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize_to_file};

use crate::Result;

/// A shape and values in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Lengths of the axes.
    pub shape: Vec<usize>,
    /// The values.
    pub values: Values,
}

/// The values of a [`Tensor`].
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Images, weights, scores.
    F32(Vec<f32>),
    /// Metrics, and counts up to 2^53.
    F64(Vec<f64>),
    /// Masks.
    U8(Vec<u8>),
}

/// Named tensors of one file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tensors(BTreeMap<String, Tensor>);

impl Tensors {
    /// Reads a file of `F32`, `F64` and `U8` tensors.
    ///
    /// # Errors
    /// A file that cannot be read or holds other types.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in SafeTensors::deserialize(&bytes)?.iter() {
            let values = match view.dtype() {
                Dtype::F32 => Values::F32(numbers(view.data(), f32::from_le_bytes)),
                Dtype::F64 => Values::F64(numbers(view.data(), f64::from_le_bytes)),
                Dtype::U8 => Values::U8(view.data().to_vec()),
                other => return Err(format!("{}: {name} holds {other:?}", path.display()).into()),
            };
            tensors.insert(name.to_owned(), Tensor { shape: view.shape().to_vec(), values });
        }
        Ok(Self(tensors))
    }

    /// Writes all tensors to a file.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let bytes: Vec<(&String, &Tensor, Vec<u8>)> =
            self.0.iter().map(|(name, tensor)| (name, tensor, tensor.bytes())).collect();
        let mut views = Vec::new();
        for (name, tensor, bytes) in &bytes {
            views.push((name.as_str(), TensorView::new(tensor.dtype(), tensor.shape.clone(), bytes)?));
        }
        Ok(serialize_to_file(views, None, path)?)
    }

    /// Adds `f32` values of a shape.
    pub fn insert(&mut self, name: impl Into<String>, shape: &[usize], values: &[f32]) {
        let values = Values::F32(values.to_vec());
        self.0.insert(name.into(), Tensor { shape: shape.to_vec(), values });
    }

    /// Adds a row of `f64` values, or with `shape` empty a single one.
    pub fn insert_f64(&mut self, name: impl Into<String>, shape: &[usize], values: Vec<f64>) {
        self.0.insert(name.into(), Tensor { shape: shape.to_vec(), values: Values::F64(values) });
    }

    /// Adds parameters, each name after `prefix`.
    pub fn insert_parameters(&mut self, prefix: &str, parameters: &ParameterSet) {
        for (name, parameter) in parameters.iter() {
            self.insert(format!("{prefix}{name}"), parameter.shape(), parameter.values());
        }
    }

    /// The parameters of a network, by their own names.
    ///
    /// # Errors
    /// A parameter that is missing or has another shape.
    pub fn parameters(&self, network: &Network) -> Result<ParameterSet> {
        let mut parameters = ParameterSet::new();
        for spec in network.parameters() {
            let (shape, values) = self.f32(&spec.name)?;
            let parameter = Parameter::new(shape.to_vec(), values.to_vec());
            parameters.insert(spec.name, parameter.ok_or("a tensor whose values do not fill its shape")?);
        }
        parameters.check(&[network])?;
        Ok(parameters)
    }

    /// The shape and values of an `f32` tensor.
    ///
    /// # Errors
    /// No such tensor, or one of another type.
    pub fn f32(&self, name: &str) -> Result<(&[usize], &[f32])> {
        match self.0.get(name) {
            Some(Tensor { shape, values: Values::F32(values) }) => Ok((shape, values)),
            _ => Err(format!("no f32 tensor {name:?}").into()),
        }
    }

    /// The shape and values of a mask, `true` where it is not 0.
    ///
    /// # Errors
    /// No such tensor, or one of another type.
    pub fn mask(&self, name: &str) -> Result<(&[usize], Vec<bool>)> {
        match self.0.get(name) {
            Some(Tensor { shape, values: Values::U8(values) }) => {
                Ok((shape, values.iter().map(|&value| value != 0).collect()))
            }
            _ => Err(format!("no u8 tensor {name:?}").into()),
        }
    }
}

impl Tensor {
    fn dtype(&self) -> Dtype {
        match self.values {
            Values::F32(_) => Dtype::F32,
            Values::F64(_) => Dtype::F64,
            Values::U8(_) => Dtype::U8,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match &self.values {
            Values::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Values::F64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Values::U8(values) => values.clone(),
        }
    }
}

fn numbers<T, const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|&bytes| number(bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() -> Result<()> {
        let path = std::env::temp_dir().join(format!("lesio-benches-{}.safetensors", std::process::id()));
        let mut tensors = Tensors::default();
        tensors.insert("a", &[2, 2], &[1.0, -0.0, f32::MIN_POSITIVE, 4.0]);
        tensors.insert_f64("b", &[], vec![0.1]);
        tensors.0.insert("c".into(), Tensor { shape: vec![3], values: Values::U8(vec![0, 1, 255]) });
        tensors.write(&path)?;
        let read = Tensors::read(&path);
        std::fs::remove_file(&path)?;
        let read = read?;
        assert_eq!(read, tensors);
        assert_eq!(read.mask("c")?.1, [false, true, true]);
        assert!(read.f32("b").is_err());
        Ok(())
    }
}
