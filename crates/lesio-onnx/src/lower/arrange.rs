//! Operators that rearrange values.

use lesio_nn::Layer;

use super::Lowering;
use crate::args::{Args, Computed, Value};
use crate::error::{Fault, invalid, unsupported};
use crate::fold::{cast_to, filling, known_dims};
use crate::ir::{Affine, Id, Op};
use crate::proto::{attribute, data_type};
use crate::tensor::{Size, Tensor, count};
use crate::views;

impl Lowering {
    pub(super) fn shape(&self, args: &Args<'_>) -> Result<Tensor, Fault> {
        args.shape_of(args.computed(0)?.sizes(self.batch))
    }

    /// Dropout, which does nothing at inference.
    pub(super) fn dropout(&self, args: &Args<'_>) -> Result<Computed, Fault> {
        if let Some(Value::Constant(training)) = args.input(2)
            && training.as_sizes().is_some_and(|sizes| sizes.iter().any(|size| size.factor != 0))
        {
            return unsupported("it is exported for training");
        }
        Ok(args.computed(0)?.clone())
    }

    pub(super) fn cast(&self, args: &Args<'_>) -> Result<Computed, Fault> {
        let kind = args.attribute("to", attribute::INT).map_or(0, |attribute| attribute.i);
        let is_float = [data_type::FLOAT, data_type::DOUBLE].iter().any(|&float| i64::from(float) == kind);
        if !is_float {
            let name = data_type::name(i32::try_from(kind).unwrap_or(-1));
            return unsupported(format!("it casts values of the network to {name}"));
        }
        Ok(args.computed(0)?.clone())
    }

    /// A cast to the type of another value. Computed values are floats.
    pub(super) fn cast_like(&self, args: &Args<'_>) -> Result<Value, Fault> {
        match (args.input(0), args.input(1)) {
            (_, Some(Value::Constant(like))) if like.as_floats().is_none() => {
                unsupported("it casts values of the network to integers")
            }
            (Some(Value::Constant(constant)), _) => {
                Ok(Value::Constant(cast_to(constant, data_type::FLOAT.into())?))
            }
            _ => Ok(Value::Computed(args.computed(0)?.clone())),
        }
    }

    pub(super) fn reshape(&self, args: &Args<'_>) -> Result<Computed, Fault> {
        let value = args.computed(0)?;
        let to = args.new_shape(&value.sizes(self.batch))?;
        let own = count(&value.dims);
        let rest: Option<Vec<usize>> = to
            .get(1..)
            .unwrap_or_default()
            .iter()
            .map(|size| size.value().and_then(|value| usize::try_from(value).ok()))
            .collect();
        match rest {
            Some(dims) if to.first() == Some(&self.batch) && count(&dims) == own && own.is_some() => {
                Ok(Computed { id: value.id, dims })
            }
            _ => {
                let to: Vec<String> = to.iter().map(Size::to_string).collect();
                unsupported(format!("shape [n, {:?}] becomes [{}]", value.dims, to.join(", ")))
            }
        }
    }

    /// Reorders axes. If only axes of length 1 change their place, the order of values stays the same.
    pub(super) fn transpose(&mut self, args: &Args<'_>) -> Result<Computed, Fault> {
        let value = args.computed(0)?;
        let order = args.order(value.dims.len() + 1)?;
        let moved: Option<Vec<usize>> =
            order.get(1..).unwrap_or_default().iter().map(|axis| axis.checked_sub(1)).collect();
        let Some(moved) = moved.filter(|_| order.first() == Some(&0)) else {
            return unsupported("it moves the axis of the batch");
        };
        let long = |axis: &&usize| value.dims[**axis] > 1;
        let kept: Vec<&usize> = moved.iter().filter(long).collect();
        if kept.is_sorted() {
            let dims = moved.iter().map(|&axis| value.dims[axis]).collect();
            return Ok(Computed { id: value.id, dims });
        }
        if count(&value.dims).is_none_or(|length| length > views::LARGEST_VIEW) {
            return unsupported(format!("it changes the order of the axes of {:?}", value.dims));
        }
        let view = views::transpose(&value.dims, &moved)?;
        self.value(Op::Values(view.elements.into()), vec![value.id], view.dims)
    }

    pub(super) fn slice(&mut self, args: &Args<'_>) -> Result<Computed, Fault> {
        let mut value = args.computed(0)?.clone();
        for (axis, positions) in args.computed_slices(&value)? {
            value = self.select(&value, axis, &positions)?;
        }
        Ok(value)
    }

    pub(super) fn gather(&mut self, args: &Args<'_>) -> Result<Computed, Fault> {
        let value = args.computed(0)?;
        let axis = value.axis(args.integer_attribute("axis", 0))?;
        let positions = args.positions(1, value.dims[axis])?;
        let mut made = self.select(value, axis, &positions)?;
        made.dims.splice(axis..=axis, args.constant(1)?.dims.iter().copied());
        Ok(made)
    }

    pub(super) fn split(&mut self, args: &Args<'_>) -> Result<Vec<Value>, Fault> {
        let value = args.computed(0)?;
        let axis = value.axis(args.integer_attribute("axis", 0))?;
        let parts = args.parts(value.dims[axis])?;
        parts.iter().map(|positions| Ok(Value::Computed(self.select(value, axis, positions)?))).collect()
    }

    /// Selects positions along an axis of a computed value.
    fn select(&mut self, value: &Computed, axis: usize, positions: &[usize]) -> Result<Computed, Fault> {
        let Some(&length) = value.dims.get(axis) else { return invalid(format!("axis {axis}")) };
        if positions.iter().copied().eq(0..length) {
            return Ok(value.clone());
        }
        if positions.is_empty() {
            return unsupported("it keeps nothing");
        }
        let mut dims = value.dims.clone();
        dims[axis] = positions.len();
        if axis == 0 {
            let (id, _) = self.shaped(value)?;
            return self.value(Op::Channels(positions.into()), vec![id], dims);
        }
        if count(&value.dims).is_none_or(|length| length > views::LARGEST_VIEW) {
            return unsupported(format!(
                "it selects along axis {} of [n, {:?}], expected at most {} values",
                axis + 1,
                value.dims,
                views::LARGEST_VIEW
            ));
        }
        let view = views::select(&value.dims, axis, positions)?;
        self.value(Op::Values(view.elements.into()), vec![value.id], dims)
    }

    pub(super) fn concat(&mut self, args: &Args<'_>) -> Result<Computed, Fault> {
        let parts: Vec<&Computed> = (0..args.count()).map(|k| args.computed(k)).collect::<Result<_, _>>()?;
        let Some(first) = parts.first() else { return invalid("it has no inputs") };
        let axis = first.axis(args.required_integer("axis")?)?;
        if axis != 0 {
            return unsupported(format!("it joins along axis {}, expected that of channels", axis + 1));
        }
        let mut dims = first.dims.clone();
        dims[0] = 0;
        let mut ids: Vec<Id> = Vec::new();
        for part in &parts {
            if part.dims.get(1..) != dims.get(1..) {
                return invalid(format!("it joins shapes {:?} and {:?}", first.dims, part.dims));
            }
            dims[0] += part.dims[0];
            ids.push(self.shaped(part)?.0);
        }
        if let [only] = ids[..] {
            return Ok(Computed { id: only, dims });
        }
        self.value(Op::Layer(Layer::Concatenate), ids, dims)
    }

    /// Accepts `Expand` only if the shape stays the same.
    pub(super) fn expand(&self, args: &Args<'_>) -> Result<Computed, Fault> {
        let value = args.computed(0)?;
        let own = value.sizes(self.batch);
        let one = Size::known(1);
        let to = args.sizes(1)?;
        let new = own.len().checked_sub(to.len());
        let same = new.is_some_and(|new| to.iter().zip(&own[new..]).all(|(to, own)| to == own || *to == one));
        if same { Ok(value.clone()) } else { unsupported("it repeats values of the network") }
    }

    /// `ConstantOfShape` whose first length is the batch size; `None` for any other shape.
    pub(super) fn filled(&mut self, args: &Args<'_>) -> Result<Option<Computed>, Fault> {
        let Some((&Size::BATCH, rest)) = args.sizes(0)?.split_first() else { return Ok(None) };
        let (dims, number) = (known_dims(rest)?, filling(args)?);
        match number.as_floats() {
            Some(&[number]) => self.value(Op::Filled(number), vec![], dims).map(Some),
            _ => Ok(None),
        }
    }

    pub(super) fn random(&mut self, args: &Args<'_>) -> Result<Computed, Fault> {
        let dims = match (args.operator(), args.input(0)) {
            // The first axis is the batch.
            ("RandomNormalLike", Some(Value::Constant(like))) => {
                like.dims.get(1..).unwrap_or_default().to_vec()
            }
            ("RandomNormalLike", _) => args.computed(0)?.dims.clone(),
            _ => {
                let dims = args.integers_attribute("shape").unwrap_or_default();
                let known = dims.iter().skip(1).map(|&length| usize::try_from(length).ok()).collect();
                let known: Option<Vec<usize>> = known;
                known.ok_or_else(|| Fault::Invalid(format!("its shape is {dims:?}")))?
            }
        };
        let drawn = self.value(Op::Random, vec![], dims)?;
        let (scale, mean) = (args.float_attribute("scale", 1.0), args.float_attribute("mean", 0.0));
        self.affine(&drawn, Affine::scalar(scale, mean))
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.factor, self.power) {
            (factor, 0) => write!(f, "{factor}"),
            (1, 1) => write!(f, "n"),
            (factor, 1) => write!(f, "{factor} n"),
            (factor, power) => write!(f, "{factor} n^{power}"),
        }
    }
}
