//! The networks from which estimators are joined: U-Nets, regressors and a small head.

use lesio_nn::{Activation, Bias, Convolution, Layer, Network, NetworkBuilder, NetworkError, NodeId, Shape};
use lesio_settings::{SettingError, in_range, require};
use serde::{Deserialize, Serialize};

use crate::error::QualityBuildError;

/// Channels that share the statistics of one group normalization.
const GROUP: usize = 8;
/// Added to the variance of a group.
const EPSILON: f32 = 1e-5;
/// Most resolutions: a grid of 4096 cannot be halved more often.
const MOST_WIDTHS: usize = 13;
/// Most channels at a resolution.
const LARGEST_WIDTH: usize = 1 << 16;
/// Features of the dense layers between convolutions and result.
const HIDDEN: usize = 64;

/// Widths of the networks of an estimator: 1 to 13 each, of 1 to 65536 channels, as far as the networks do not exceed
/// [`lesio_nn::LARGEST_PARAMETERS`] and [`lesio_nn::LARGEST_VALUES`].
///
/// All of them are pairs of 3x3 convolutions with group normalization and ReLU (the second opinion: SiLU) at each
/// resolution, halved by mean pooling: means pass on less of a perturbation than maxima do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default, deny_unknown_fields)]
pub struct Widths {
    /// Channels of REC-Net at each resolution, finest first. Default 16, 32, 64, 96.
    pub reconstruction: Vec<usize>,
    /// Channels of REG-Net before each halving. Default 16, 32, 64, 96.
    pub regression: Vec<usize>,
    /// Channels of the second opinion's U-Net at each resolution, finest first. Default 32, 64, 96, 128.
    pub opinion: Vec<usize>,
}

impl Default for Widths {
    fn default() -> Self {
        let widths = vec![16, 32, 64, 96];
        Self { reconstruction: widths.clone(), regression: widths, opinion: vec![32, 64, 96, 128] }
    }
}

impl Widths {
    /// The same widths for every network.
    #[must_use]
    pub fn uniform(widths: impl Into<Vec<usize>>) -> Self {
        let widths = widths.into();
        Self { reconstruction: widths.clone(), regression: widths.clone(), opinion: widths }
    }
}

/// Whether a U-Net also gives the means of its coarsest channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Summary {
    /// The image alone.
    Omit,
    /// The image, then one mean per coarsest channel, as a vector.
    Give,
}

/// An input of a network: its name and its channels, or its length where it is a vector.
pub(crate) type Input = (&'static str, usize);

/// A U-Net: inputs of one size, an output of `outputs` channels of that size without an activation.
pub(crate) fn u_net(
    prefix: &str,
    grid: [usize; 2],
    inputs: &[Input],
    outputs: usize,
    widths: &[usize],
    activation: Activation,
    summary: Summary,
) -> Result<Network, QualityBuildError> {
    check_widths(grid, widths, widths.len().saturating_sub(1))?;
    let mut net = NetworkBuilder::new();
    let mut value = declare_inputs(&mut net, prefix, grid, inputs)?;
    let mut skips = Vec::new();
    for (level, &width) in widths.iter().enumerate() {
        if level > 0 {
            skips.push(value);
            value = halve(&mut net, &format!("{prefix}.down.{level}"), value)?;
        }
        value = pair(&mut net, &format!("{prefix}.down.{level}"), width, activation, value)?;
    }
    let coarsest = value;
    for (level, &width) in widths.iter().enumerate().rev().skip(1) {
        let name = format!("{prefix}.up.{level}");
        let mut joined =
            vec![net.layer(format!("{name}.larger"), Layer::UpsampleNearest { factor: 2 }, &[value])?];
        joined.extend(skips.pop());
        let joined = net.layer(format!("{name}.joined"), Layer::Concatenate, &joined)?;
        value = pair(&mut net, &name, width, activation, joined)?;
    }
    let image =
        net.layer(format!("{prefix}.out"), Layer::Convolution(Convolution::new(outputs, 1)), &[value])?;
    let mut results = vec![image];
    if summary == Summary::Give {
        let shape = net.shape(coarsest).unwrap_or(Shape::new(1, 1, 1));
        let window = Layer::AveragePool { window: [shape.height, shape.width] };
        results.push(net.layer(format!("{prefix}.summary"), window, &[coarsest])?);
    }
    Ok(net.finish(&results)?)
}

/// A regressor: inputs of one size, a vector of `outputs` values without an activation.
pub(crate) fn regressor(
    prefix: &str,
    grid: [usize; 2],
    inputs: &[Input],
    outputs: usize,
    widths: &[usize],
) -> Result<Network, QualityBuildError> {
    check_widths(grid, widths, widths.len())?;
    let mut net = NetworkBuilder::new();
    let mut value = declare_inputs(&mut net, prefix, grid, inputs)?;
    for (level, &width) in widths.iter().enumerate() {
        let name = format!("{prefix}.{level}");
        value = pair(&mut net, &name, width, Activation::RELU, value)?;
        value = halve(&mut net, &name, value)?;
    }
    let result = dense(&mut net, prefix, outputs, value)?;
    Ok(net.finish(&[result])?)
}

/// A head: vectors of these lengths, one after another, to a vector of `outputs` values.
pub(crate) fn head(prefix: &str, inputs: &[Input], outputs: usize) -> Result<Network, QualityBuildError> {
    let mut net = NetworkBuilder::new();
    let inputs: Vec<NodeId> = inputs
        .iter()
        .map(|(name, length)| net.input(format!("{prefix}.{name}"), Shape::vector(*length)))
        .collect();
    let joined = net.layer(format!("{prefix}.joined"), Layer::Concatenate, &inputs)?;
    let result = dense(&mut net, prefix, outputs, joined)?;
    Ok(net.finish(&[result])?)
}

fn declare_inputs(
    net: &mut NetworkBuilder,
    prefix: &str,
    [height, width]: [usize; 2],
    inputs: &[Input],
) -> Result<NodeId, NetworkError> {
    let nodes: Vec<NodeId> = inputs
        .iter()
        .map(|(name, channels)| net.input(format!("{prefix}.{name}"), Shape::new(*channels, height, width)))
        .collect();
    match nodes.as_slice() {
        [only] => Ok(*only),
        several => net.layer(format!("{prefix}.inputs"), Layer::Concatenate, several),
    }
}

/// Two convolutions, each with normalization and activation.
fn pair(
    net: &mut NetworkBuilder,
    name: &str,
    width: usize,
    activation: Activation,
    mut value: NodeId,
) -> Result<NodeId, NetworkError> {
    let groups = if width.is_multiple_of(GROUP) { (width / GROUP).max(1) } else { 1 };
    for part in ["first", "second"] {
        let convolution = Convolution::new(width, 3).padding(1).bias(Bias::None);
        value = net.layer(format!("{name}.{part}"), Layer::Convolution(convolution), &[value])?;
        let norm = Layer::GroupNormalization { groups, epsilon: EPSILON };
        value = net.layer(format!("{name}.{part}.norm"), norm, &[value])?;
        value = net.layer(format!("{name}.{part}.active"), Layer::Activation(activation), &[value])?;
    }
    Ok(value)
}

fn halve(net: &mut NetworkBuilder, name: &str, value: NodeId) -> Result<NodeId, NetworkError> {
    net.layer(format!("{name}.pool"), Layer::AveragePool { window: [2, 2] }, &[value])
}

fn dense(
    net: &mut NetworkBuilder,
    prefix: &str,
    outputs: usize,
    value: NodeId,
) -> Result<NodeId, NetworkError> {
    let hidden = Layer::Linear { features: HIDDEN, bias: Bias::Learned };
    let hidden = net.layer(format!("{prefix}.hidden"), hidden, &[value])?;
    let active =
        net.layer(format!("{prefix}.hidden.active"), Layer::Activation(Activation::RELU), &[hidden])?;
    net.layer(format!("{prefix}.result"), Layer::Linear { features: outputs, bias: Bias::Learned }, &[active])
}

fn check_widths(grid: [usize; 2], widths: &[usize], halvings: usize) -> Result<(), SettingError> {
    in_range("number of widths", widths.len(), 1..=MOST_WIDTHS)?;
    let sound = widths.iter().all(|width| (1..=LARGEST_WIDTH).contains(width));
    require(sound, "widths", widths, format!("1 to {LARGEST_WIDTH} channels each"))?;
    let divisor = u32::try_from(halvings).ok().and_then(|h| 1usize.checked_shl(h));
    let whole = |side: usize| divisor.is_some_and(|d| side >= d && side.is_multiple_of(d));
    let expected = format!("sides that can be halved {halvings} times without rest");
    require(grid.iter().all(|&side| whole(side)), "grid", grid, expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_the_shapes_that_chains_rely_on() {
        let grid = [32, 16];
        let inputs = [("image", 1), ("segmentation", 2)];
        let net = u_net("opinion", grid, &inputs, 4, &[8, 16, 24], Activation::Silu, Summary::Give).unwrap();
        assert_eq!(net.output_shapes(), [Shape::new(4, 32, 16), Shape::vector(24)]);
        assert_eq!(net.input_shapes(), [Shape::new(1, 32, 16), Shape::new(2, 32, 16)]);
        let net = regressor("reg", grid, &inputs, 6, &[8, 12, 16]).unwrap();
        assert_eq!(net.output_shapes(), [Shape::vector(6)]);
        let net = head("head", &[("features", 24), ("statistics", 5), ("floor", 1)], 2).unwrap();
        assert_eq!(net.output_shapes(), [Shape::vector(2)]);
    }

    #[test]
    fn grids_that_cannot_be_halved_are_refused() {
        let error = regressor("reg", [36, 32], &[("image", 1)], 1, &[8, 8, 8]).unwrap_err();
        assert!(error.to_string().contains("[36, 32]"), "{error}");
        assert!(u_net("rec", [32, 32], &[("image", 1)], 1, &[], Activation::RELU, Summary::Omit).is_err());
    }
}
