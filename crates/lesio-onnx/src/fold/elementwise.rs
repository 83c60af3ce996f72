//! Arithmetic on constants.

use crate::args::Args;
use crate::error::{Fault, invalid, unsupported};
use crate::proto::{attribute, data_type};
use crate::tensor::{Data, Size, Tensor};
use crate::views;

pub(super) fn fold(args: &Args<'_>) -> Result<Option<Tensor>, Fault> {
    let of_float: fn(f32) -> f32 = match args.operator() {
        "Cast" => return cast(args).map(Some),
        "CastLike" => {
            let (tensor, like) = (args.constant(0)?, args.constant(1)?);
            let kind = if like.as_floats().is_some() { data_type::FLOAT } else { data_type::INT64 };
            return cast_to(tensor, kind.into()).map(Some);
        }
        "Where" => return choose(args).map(Some),
        "Neg" => |x| -x,
        "Floor" => f32::floor,
        "Ceil" => f32::ceil,
        "Round" => f32::round_ties_even,
        "Sqrt" => f32::sqrt,
        "Exp" => f32::exp,
        "Log" => f32::ln,
        "Abs" => f32::abs,
        "Reciprocal" => |x| 1.0 / x,
        _ => return binary(args),
    };
    let tensor = args.constant(0)?;
    let data = match (&tensor.data, args.operator()) {
        (Data::Floats(values), _) => Data::Floats(values.iter().map(|&x| of_float(x)).collect()),
        (Data::Sizes(values), "Neg") => {
            let negative = |size: &Size| Size { factor: size.factor.wrapping_neg(), ..*size };
            Data::Sizes(values.iter().map(negative).collect())
        }
        (Data::Sizes(values), "Abs") => {
            let magnitude = |size: &Size| Size { factor: size.factor.wrapping_abs(), ..*size };
            Data::Sizes(values.iter().map(magnitude).collect())
        }
        _ => return unsupported("it computes with integers"),
    };
    Ok(Some(Tensor { dims: tensor.dims.clone(), data }))
}

fn cast(args: &Args<'_>) -> Result<Tensor, Fault> {
    let tensor = args.constant(0)?;
    cast_to(tensor, args.attribute("to", attribute::INT).map_or(0, |attribute| attribute.i))
}

/// Converts numbers to a type of ONNX.
pub(crate) fn cast_to(tensor: &Tensor, kind: i64) -> Result<Tensor, Fault> {
    let is_float = [data_type::FLOAT, data_type::DOUBLE].iter().any(|&float| i64::from(float) == kind);
    let is_integer = [data_type::INT64, data_type::INT32].iter().any(|&integer| i64::from(integer) == kind);
    let data = match &tensor.data {
        Data::Floats(_) if is_float => tensor.data.clone(),
        Data::Sizes(_) if is_integer => tensor.data.clone(),
        // A size that depends on the batch is not a number. It becomes NaN, so results that use it must be discarded.
        Data::Sizes(values) if is_float => Data::Floats(
            values.iter().map(|size| size.value().map_or(f32::NAN, |value| value as f32)).collect(),
        ),
        Data::Floats(values) if is_integer => {
            let whole = |&value: &f32| match value.is_finite() && value.abs() < 9e18 {
                true => Ok(Size::known(value as i64)),
                false => unsupported(format!("it makes an integer of {value}")),
            };
            Data::Sizes(values.iter().map(whole).collect::<Result<_, _>>()?)
        }
        _ if kind == i64::from(data_type::BOOL) => {
            let truths = truths(tensor)?.into_iter().map(|truth| Size::known(truth.into()));
            Data::Sizes(truths.collect())
        }
        _ => {
            let name = data_type::name(i32::try_from(kind).unwrap_or(-1));
            return unsupported(format!("it casts to {name}"));
        }
    };
    Ok(Tensor { dims: tensor.dims.clone(), data })
}

/// Whether each value differs from 0.
fn truths(tensor: &Tensor) -> Result<Vec<bool>, Fault> {
    Ok(match &tensor.data {
        Data::Floats(values) => values.iter().map(|&value| value != 0.0).collect(),
        Data::Sizes(values) => values.iter().map(|size| size.factor != 0).collect(),
    })
}

fn choose(args: &Args<'_>) -> Result<Tensor, Fault> {
    let (condition, yes, no) = (args.constant(0)?, args.constant(1)?, args.constant(2)?);
    let dims = views::common(&views::common(&condition.dims, &yes.dims)?, &no.dims)?;
    let condition = truths(&views::broadcast(&condition.dims, &dims)?.of(condition))?;
    let [yes, no] = [yes, no].map(|tensor| Ok::<_, Fault>(views::broadcast(&tensor.dims, &dims)?.of(tensor)));
    let data = match (yes?.data, no?.data) {
        (Data::Floats(yes), Data::Floats(no)) => {
            let all = condition.iter().zip(yes.iter().zip(no.iter()));
            Data::Floats(all.map(|(&is, (&yes, &no))| if is { yes } else { no }).collect())
        }
        (Data::Sizes(yes), Data::Sizes(no)) => {
            let all = condition.iter().zip(yes.iter().zip(no.iter()));
            Data::Sizes(all.map(|(&is, (&yes, &no))| if is { yes } else { no }).collect())
        }
        _ => return invalid("it chooses among values of two types"),
    };
    Ok(Tensor { dims, data })
}

fn binary(args: &Args<'_>) -> Result<Option<Tensor>, Fault> {
    if args.operator() == "Mod" && args.integer_attribute("fmod", 0) != 0 {
        return unsupported("a remainder with the sign of the dividend (fmod)");
    }
    type OfFloats = fn(f32, f32) -> f32;
    type OfSizes = fn(Size, Size) -> Option<Size>;
    let (of_floats, of_sizes): (OfFloats, OfSizes) = match args.operator() {
        "Add" => (|a, b| a + b, Size::plus),
        "Sub" => (|a, b| a - b, |a, b| a.plus(Size { factor: b.factor.checked_neg()?, ..b })),
        "Mul" => (|a, b| a * b, Size::times),
        "Div" => (|a, b| a / b, Size::over),
        "Pow" => (f32::powf, |_, _| None),
        "Min" => (f32::min, |a, b| Some(Size::known(a.value()?.min(b.value()?)))),
        "Max" => (f32::max, |a, b| Some(Size::known(a.value()?.max(b.value()?)))),
        "Mod" => (
            |_, _| f32::NAN,
            |a, b| {
                let (a, b) = (a.value()?, b.value()?);
                // The remainder has the sign of the divisor.
                let rest = a.checked_rem(b)?;
                Some(Size::known(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }))
            },
        ),
        "Equal" => (|a, b| f32::from(u8::from(a == b)), |a, b| a.compare(b).map(|o| truth(o.is_eq()))),
        "Greater" => (|a, b| f32::from(u8::from(a > b)), |a, b| a.compare(b).map(|o| truth(o.is_gt()))),
        "Less" => (|a, b| f32::from(u8::from(a < b)), |a, b| a.compare(b).map(|o| truth(o.is_lt()))),
        _ => return Ok(None),
    };
    let (a, b) = (args.constant(0)?, args.constant(1)?);
    let [of_a, of_b] = views::broadcast_both(&a.dims, &b.dims)?;
    let (dims, a, b) = (of_a.dims.clone(), of_a.of(a), of_b.of(b));
    let data = match (a.data, b.data) {
        (Data::Floats(a), Data::Floats(b)) => {
            let values: Vec<f32> = a.iter().zip(b.iter()).map(|(&a, &b)| of_floats(a, b)).collect();
            match args.operator() {
                "Equal" | "Greater" | "Less" => {
                    Data::Sizes(values.iter().map(|&value| truth(value == 1.0)).collect())
                }
                _ => Data::Floats(values.into()),
            }
        }
        (Data::Sizes(a), Data::Sizes(b)) => {
            let of = |(&a, &b): (&Size, &Size)| {
                of_sizes(a, b).ok_or_else(|| {
                    Fault::Unsupported(
                        "it computes with a size that depends on the batch, or overflows".to_owned(),
                    )
                })
            };
            Data::Sizes(a.iter().zip(b.iter()).map(of).collect::<Result<_, _>>()?)
        }
        _ => return invalid("its inputs have two types"),
    };
    Ok(Some(Tensor { dims, data }))
}

fn truth(is: bool) -> Size {
    Size::known(is.into())
}

impl Size {
    fn plus(self, other: Self) -> Option<Self> {
        match (self.factor, other.factor) {
            (0, _) => Some(other),
            (_, 0) => Some(self),
            _ if self.power == other.power => {
                Some(Self { factor: self.factor.checked_add(other.factor)?, ..self })
            }
            _ => None,
        }
    }

    pub(crate) fn times(self, other: Self) -> Option<Self> {
        let factor = self.factor.checked_mul(other.factor)?;
        Some(Self { factor, power: if factor == 0 { 0 } else { self.power.checked_add(other.power)? } })
    }

    /// The quotient, rounded toward 0 if both sizes are numbers; otherwise only if there is no remainder.
    pub(crate) fn over(self, other: Self) -> Option<Self> {
        let factor = self.factor.checked_div(other.factor)?;
        let power = self.power.checked_sub(other.power)?;
        let is_exact = factor.checked_mul(other.factor)? == self.factor;
        (is_exact || (self.power == 0 && other.power == 0)).then_some(Self { factor, power })
    }

    /// Compares two sizes if the order is the same for every batch size.
    fn compare(self, other: Self) -> Option<std::cmp::Ordering> {
        if self.power == other.power {
            return Some(self.factor.cmp(&other.factor));
        }
        // One is positive for every batch size, the other is not.
        match (self.factor > 0, other.factor > 0) {
            (true, false) => Some(std::cmp::Ordering::Greater),
            (false, true) => Some(std::cmp::Ordering::Less),
            _ => None,
        }
    }
}
