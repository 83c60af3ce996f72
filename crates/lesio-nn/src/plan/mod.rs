//! A network computed by lesio's kernels on the CPU: forward passes, gradients and training without allocations.

mod error;
mod graph;
mod layout;
mod slots;
mod step;
mod weights;

use std::sync::Arc;

use lesio_kernels::{
    self as kernels, Buffer, Combine, Grouping, Images, ImagesMut, Isa, Moments, NormalizationSettings,
    Statistics, with_workers,
};

pub use error::PlanError;
pub use weights::{AdamMoments, Gradients, PlanWeights};

use crate::layer::Layer;
use crate::mode::Mode;
use crate::network::{Network, Operation};
use graph::{Graph, Task};
use layout::{LayerWeights, WeightLayout};
use slots::{Slot, Slots};
use step::{Normalized, ParameterGradients, Pass, Scratch, Step, Target};
use weights::check_same;

/// Most values of all images and gradients of a plan: 16 GiB.
const LARGEST_PLAN: u64 = 1 << 32;

/// The gradients that a plan can compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differentiate {
    /// No gradients: forward passes only, with half the memory.
    Nothing,
    /// Gradients of the inputs, with frozen weights.
    Inputs,
    /// Gradients of the parameters.
    Parameters,
    /// Gradients of inputs and parameters.
    Both,
}

impl Differentiate {
    pub(crate) fn inputs(self) -> bool {
        matches!(self, Self::Inputs | Self::Both)
    }

    pub(crate) fn parameters(self) -> bool {
        matches!(self, Self::Parameters | Self::Both)
    }
}

/// The buffers of one network for up to a number of samples, and the passes over them.
///
/// A plan does not own weights: any number of plans, for other batch sizes or on other threads, can share one
/// [`PlanWeights`]. Passes use the threads of the current rayon pool; results do not depend on their number, on the
/// capacity, or (except for batch normalization in [`Mode::Train`]) on the other samples of a batch.
///
/// ```
/// use lesio_nn::{
///     Convolution, Differentiate, Initialization, Layer, Mode, NetworkBuilder, ParameterSet, Plan,
///     PlanWeights, Shape,
/// };
///
/// let mut net = NetworkBuilder::new();
/// let image = net.input("image", Shape::new(1, 8, 8));
/// let blurred = net.layer("blur", Layer::Convolution(Convolution::new(2, 3).padding(1)), &[image])?;
/// let network = net.finish(&[blurred])?;
/// let parameters = ParameterSet::initialize(&network, Initialization::HeNormal, 7);
///
/// let weights = PlanWeights::new(&network, &parameters)?;
/// let mut plan = Plan::new(&network, 4, Differentiate::Inputs)?;
/// let pixels = vec![0.5; 3 * 64];
/// plan.forward(&weights, &[&pixels], 3, Mode::Evaluate)?;
/// assert_eq!(plan.output(0).len(), 3 * 2 * 64);
///
/// let ones = vec![1.0; 3 * 2 * 64];
/// plan.backward(&weights, &[&ones], None)?;
/// assert_eq!(plan.input_gradient(0).len(), 3 * 64);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Plan {
    layout: Arc<WeightLayout>,
    isa: Isa,
    capacity: usize,
    differentiate: Differentiate,
    steps: Vec<Step>,
    buffers: Vec<Buffer>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    scratch: Scratch,
    /// Samples and mode of the last forward pass.
    last: Option<(usize, Mode)>,
    differentiated: bool,
}

/// An input or output: where it lies, and its copy in the caller's layout.
#[derive(Debug)]
struct Port {
    value: Option<Slot>,
    gradient: Option<Slot>,
    /// How its gradient is given to the plan, for outputs.
    combine: Combine,
    len: usize,
    planes: Buffer,
}

impl Port {
    /// The slot itself, if what lies there is in the caller's layout already.
    fn direct(slot: Option<Slot>) -> Option<Slot> {
        slot.filter(|slot| {
            let layout = slot.layout;
            layout.is_dense() && (layout.channels() == 1 || layout.height() * layout.width() == 1)
        })
    }
}

impl Plan {
    /// Lays out the buffers of a network for up to `capacity` samples.
    ///
    /// # Errors
    /// For buffers that do not fit the address space.
    pub fn new(network: &Network, capacity: usize, differentiate: Differentiate) -> Result<Self, PlanError> {
        let graph = Graph::new(network);
        let layout = WeightLayout::new(network, &graph)?;
        let wanted = wanted_gradients(&graph, differentiate);
        let slots = Slots::new(&graph, &layout, capacity, &wanted)?;
        let values = slots.buffer_lens.iter().fold(0u64, |sum, &len| sum.saturating_add(len as u64));
        if values > LARGEST_PLAN {
            return Err(PlanError::Large { capacity, values, limit: LARGEST_PLAN });
        }
        let buffers = slots.buffer_lens.iter().map(|&len| Buffer::zeros(len)).collect();
        let mut written = vec![false; graph.items.len()];
        let outputs = network.outputs().iter().zip(&graph.outputs).map(|(id, &item)| {
            let combine = if written[item] { Combine::Add } else { Combine::Replace };
            written[item] = true;
            let value = Some(slots.values[item]);
            let len = network.node(*id).map_or(0, |node| node.shape().len());
            let planes = if Port::direct(value).is_some() { 0 } else { len * capacity };
            Port { value, gradient: slots.gradients[item], combine, len, planes: Buffer::zeros(planes) }
        });
        let outputs = outputs.collect();
        let inputs = network.input_shapes().into_iter().zip(&graph.inputs).map(|(shape, item)| {
            let value = item.map(|item| slots.values[item]);
            let gradient = item.and_then(|item| slots.gradients[item]);
            let copied = differentiate.inputs() && Port::direct(gradient).is_none();
            let planes = if copied { shape.len() * capacity } else { 0 };
            Port {
                value,
                gradient,
                combine: Combine::Replace,
                len: shape.len(),
                planes: Buffer::zeros(planes),
            }
        });
        let inputs = inputs.collect();
        let steps = make_steps(network, &graph, &layout, &slots, capacity, differentiate, &written);
        let scratch = make_scratch(&steps, capacity, differentiate);
        Ok(Self {
            layout: Arc::new(layout),
            isa: Isa::best(),
            capacity,
            differentiate,
            steps,
            buffers,
            inputs,
            outputs,
            scratch,
            last: None,
            differentiated: false,
        })
    }

    /// The same plan with other instructions than the best of the processor, for comparison.
    #[doc(hidden)]
    #[must_use]
    pub fn with_isa(mut self, isa: Isa) -> Self {
        self.isa = isa;
        self
    }

    /// Number of samples that the plan holds.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Number of bytes of the plan's buffers; weights, gradients and moments not counted.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let buffers: usize = self.buffers.iter().map(|buffer| buffer.len()).sum();
        let ports: usize = self.inputs.iter().chain(&self.outputs).map(|port| port.planes.len()).sum();
        let scratch = &self.scratch;
        let flat: usize = scratch.flat.iter().map(|buffer| buffer.len()).sum();
        size_of::<f32>() * (buffers + ports + flat + scratch.parts.len() + scratch.gradient.len())
            + size_of::<f64>() * scratch.sums.len()
    }

    /// Computes the outputs of `samples` samples from the inputs, in the network's order, each
    /// `[samples, channels, rows, columns]`, row-major.
    ///
    /// # Errors
    /// For another number of inputs, inputs of other lengths, more samples than the capacity, and
    /// weights of another network.
    pub fn forward(
        &mut self,
        weights: &PlanWeights,
        inputs: &[&[f32]],
        samples: usize,
        mode: Mode,
    ) -> Result<(), PlanError> {
        check_same(&self.layout, &weights.layout, "weights")?;
        if samples > self.capacity {
            return Err(PlanError::Capacity { samples, capacity: self.capacity });
        }
        check_slices(["inputs", "input"], inputs, &self.inputs, samples)?;
        self.last = None;
        self.differentiated = false;
        let Self { steps, buffers, scratch, .. } = self;
        let (input_ports, output_ports, isa) = (&self.inputs, &mut self.outputs, self.isa);
        with_workers(isa, |workers| -> Result<(), PlanError> {
            for (port, values) in input_ports.iter().zip(inputs) {
                if let Some(slot) = port.value {
                    let to = ImagesMut::new(&mut buffers[slot.buffer], &slot.layout);
                    kernels::from_planes(workers, samples, values, to, Combine::Replace)?;
                }
            }
            let pass = Pass { workers, samples, weights, mode };
            for step in steps {
                step.forward(&pass, buffers, scratch)?;
            }
            for port in output_ports {
                if let Some(slot) = port.value.filter(|_| Port::direct(port.value).is_none()) {
                    let from = Images::new(&buffers[slot.buffer], &slot.layout);
                    kernels::to_planes(workers, samples, from, &mut port.planes)?;
                }
            }
            Ok(())
        })?;
        self.last = Some((samples, mode));
        Ok(())
    }

    /// An output of the last forward pass, `[samples, channels, rows, columns]`, row-major; empty if
    /// there is none.
    #[must_use]
    pub fn output(&self, index: usize) -> &[f32] {
        let (Some(port), Some((samples, _))) = (self.outputs.get(index), self.last) else { return &[] };
        self.planes(port, port.value, samples)
    }

    /// The gradient with respect to an input from the last backward pass, `[samples, channels, rows,
    /// columns]`, row-major; empty if there is none or the plan was not made for it.
    #[must_use]
    pub fn input_gradient(&self, index: usize) -> &[f32] {
        let (Some(port), Some((samples, _))) = (self.inputs.get(index), self.last) else { return &[] };
        if !self.differentiated || !self.differentiate.inputs() {
            return &[];
        }
        self.planes(port, port.gradient, samples)
    }

    fn planes<'s>(&'s self, port: &'s Port, slot: Option<Slot>, samples: usize) -> &'s [f32] {
        let values = match Port::direct(slot) {
            Some(slot) => &self.buffers[slot.buffer],
            None => &port.planes,
        };
        &values[..samples * port.len]
    }

    /// Computes the gradients that the plan was made for from those of the outputs of the last forward pass.
    ///
    /// Gradients of the parameters are added to `gradients`; without it, or with a plan made for inputs only, they are
    /// not computed.
    ///
    /// # Errors
    /// For a call before a forward pass, for gradients of another number or length than the outputs, for weights or
    /// gradients of another network, and for gradients of the parameters with a plan not made for them.
    pub fn backward(
        &mut self,
        weights: &PlanWeights,
        output_gradients: &[&[f32]],
        gradients: Option<&mut Gradients>,
    ) -> Result<(), PlanError> {
        check_same(&self.layout, &weights.layout, "weights")?;
        let (samples, mode) = self.last.ok_or(PlanError::NoForwardPass)?;
        if self.differentiate == Differentiate::Nothing {
            return Err(PlanError::NotPrepared { what: "inputs or parameters" });
        }
        if let Some(gradients) = &gradients {
            check_same(&self.layout, &gradients.layout, "gradients")?;
            if !self.differentiate.parameters() {
                return Err(PlanError::NotPrepared { what: "parameters" });
            }
        }
        check_slices(["output gradients", "output gradient"], output_gradients, &self.outputs, samples)?;
        self.differentiated = false;
        let Self { steps, buffers, scratch, .. } = self;
        let (input_ports, output_ports, isa) = (&mut self.inputs, &self.outputs, self.isa);
        with_workers(isa, |workers| -> Result<(), PlanError> {
            for (port, values) in output_ports.iter().zip(output_gradients) {
                if let Some(slot) = port.gradient {
                    let to = ImagesMut::new(&mut buffers[slot.buffer], &slot.layout);
                    kernels::from_planes(workers, samples, values, to, port.combine)?;
                }
            }
            let pass = Pass { workers, samples, weights, mode };
            let mut parameters = gradients.map(|gradients| {
                let combine = if gradients.empty { Combine::Replace } else { Combine::Add };
                if gradients.empty {
                    // Layers that no output depends on keep a gradient of zero.
                    gradients.clear_all_but(steps);
                }
                gradients.empty = false;
                ParameterGradients { values: &mut gradients.values, combine }
            });
            for step in steps.iter_mut().rev() {
                step.backward(&pass, buffers, scratch, parameters.as_mut())?;
            }
            for port in input_ports {
                if let Some(slot) = port.gradient.filter(|_| Port::direct(port.gradient).is_none()) {
                    let from = Images::new(&buffers[slot.buffer], &slot.layout);
                    kernels::to_planes(workers, samples, from, &mut port.planes)?;
                }
            }
            Ok(())
        })?;
        self.differentiated = true;
        Ok(())
    }

    /// Moves the running statistics of batch normalizations toward those of the last forward pass, if that pass was in
    /// [`Mode::Train`].
    ///
    /// The variance is the unbiased estimate, divided by the count minus one.
    pub fn update_running_statistics(&self, weights: &mut PlanWeights) {
        let mut measured = MeasuredStatistics::default();
        self.collect_statistics(&mut measured);
        measured.apply(weights);
    }

    /// Adds what the last forward pass measured for batch normalizations: nothing if it was not in [`Mode::Train`].
    pub(crate) fn collect_statistics(&self, into: &mut MeasuredStatistics) {
        let Some((samples @ 1.., Mode::Train)) = self.last else { return };
        for step in &self.steps {
            let of_batch = |state: &&Normalized| state.normalization.grouping == Grouping::Batch;
            let Some(state) = step.normalization.as_ref().filter(of_batch) else { continue };
            let Some(LayerWeights::Normalization { channels, statistics: Some(first), .. }) = step.weights
            else {
                continue;
            };
            let layout = step.output.layout;
            let count = (samples * layout.height() * layout.width()) as f64;
            let unbiased = count / (count - 1.0).max(1.0);
            let mean = state.moments.mean[..channels].iter().map(|&mean| mean as f32);
            let variance =
                state.moments.variance[..channels].iter().map(|&variance| (variance * unbiased) as f32);
            into.layers.push((first, 2 * channels, state.momentum));
            into.values.extend(mean.chain(variance));
        }
    }
}

/// Means and unbiased variances of batches, on their way into the running statistics.
#[derive(Clone, Debug, Default)]
pub(crate) struct MeasuredStatistics {
    /// Of each layer of each pass: where its running statistics begin, their number, and its momentum.
    layers: Vec<(usize, usize, f32)>,
    /// Those of all of them, one after another.
    values: Vec<f32>,
}

impl MeasuredStatistics {
    /// Moves the running statistics toward these, pass by pass.
    pub(crate) fn apply(&self, weights: &mut PlanWeights) {
        let mut values = self.values.iter();
        for &(first, count, momentum) in &self.layers {
            let own = weights.statistics.iter_mut().skip(first).take(count);
            for (running, &value) in own.zip(values.by_ref()) {
                *running = *running * (1.0 - momentum) + value * momentum;
            }
        }
    }

    /// Forgets all, and keeps the memory for the next.
    pub(crate) fn clear(&mut self) {
        self.layers.clear();
        self.values.clear();
    }
}

impl Gradients {
    /// Sets the gradients of layers that no step computes to zero.
    fn clear_all_but(&mut self, steps: &[Step]) {
        let alive = |node: usize| steps.iter().any(|step| step.task.node() == Some(node));
        for (node, layer) in self.layout.layers.iter().enumerate() {
            let Some(first) = layer.as_ref().map(LayerWeights::first) else { continue };
            if !alive(node) {
                let next = self.layout.layers[node + 1..].iter().flatten().map(LayerWeights::first).next();
                self.values[first..next.unwrap_or(self.layout.len)].fill(0.0);
            }
        }
    }
}

fn check_slices(
    [all, one]: [&'static str; 2],
    slices: &[&[f32]],
    ports: &[Port],
    samples: usize,
) -> Result<(), PlanError> {
    if slices.len() != ports.len() {
        return Err(PlanError::Count { what: all, found: slices.len(), expected: ports.len() });
    }
    for (index, (slice, port)) in slices.iter().zip(ports).enumerate() {
        let expected = samples * port.len;
        if slice.len() != expected {
            return Err(PlanError::Length { what: one, index, found: slice.len(), expected });
        }
    }
    Ok(())
}

/// The items whose gradients lead to a gradient that is asked for.
fn wanted_gradients(graph: &Graph, differentiate: Differentiate) -> Vec<bool> {
    let mut wanted: Vec<bool> = Vec::new();
    for item in &graph.items {
        let own = match item.task {
            Task::Input(_) => differentiate.inputs(),
            _ => differentiate.parameters() && item.task.node().is_some(),
        };
        wanted.push(own || item.inputs.iter().any(|&input| wanted[input]));
    }
    wanted
}

/// The layers in their order, each with its places in memory, and who adds to whose gradient.
fn make_steps(
    network: &Network,
    graph: &Graph,
    layout: &WeightLayout,
    slots: &Slots,
    capacity: usize,
    differentiate: Differentiate,
    given: &[bool],
) -> Vec<Step> {
    let users = graph.users();
    let inside = |part: usize, whole: usize| {
        graph.items[whole].task == Task::Concatenate
            && slots.gradients[part]
                .zip(slots.gradients[whole])
                .is_some_and(|(part, whole)| part.buffer == whole.buffer)
    };
    // What was written to each gradient before the step at hand, in the order of the backward pass.
    let mut written: Vec<bool> = given.to_vec();
    for (index, users) in users.iter().enumerate() {
        written[index] |= users.iter().any(|&user| inside(index, user));
    }
    let mut rectified = vec![false; graph.items.len()];
    let mut steps = Vec::new();
    for (index, item) in graph.items.iter().enumerate().rev() {
        if let Task::Input(_) = item.task {
            continue;
        }
        let mut targets = Vec::new();
        for (position, &input) in item.inputs.iter().enumerate() {
            let Some(slot) = slots.gradients[input].filter(|_| !inside(input, index)) else {
                targets.push(None);
                continue;
            };
            let combine = if written[input] { Combine::Add } else { Combine::Replace };
            written[input] = true;
            // The reader that comes first in the network is the last in the backward pass.
            let is_last = users[input].iter().all(|&user| user >= index || inside(input, user))
                && !item.inputs[position + 1..].contains(&input);
            let slope = graph.items[input].slope;
            let rectifies = is_last && slope != 1.0 && Step::can_rectify(&item.task);
            rectified[input] |= rectifies;
            targets.push(Some(Target {
                slot,
                combine,
                rectifier: rectifies.then_some((slots.values[input], slope)),
            }));
        }
        let node = item.task.node();
        steps.push(Step {
            task: item.task.clone(),
            weights: node.and_then(|node| layout.layers[node].clone()),
            inputs: item.inputs.iter().map(|&input| slots.values[input]).collect(),
            output: slots.values[index],
            slope: item.slope,
            gradient: slots.gradients[index],
            rectify_first: item.slope != 1.0 && !rectified[index],
            targets,
            parameters: differentiate.parameters() && node.is_some(),
            normalization: node
                .and_then(|node| normalization(network, node, capacity, &slots.values[index].layout)),
        });
    }
    steps.reverse();
    steps
}

fn normalization(
    network: &Network,
    node: usize,
    capacity: usize,
    layout: &kernels::ImageLayout,
) -> Option<Normalized> {
    let Operation::Layer { layer, .. } = network.nodes().get(node)?.operation() else { return None };
    let (normalization, momentum) = match layer {
        Layer::GroupNormalization { groups, epsilon } => {
            (NormalizationSettings { grouping: Grouping::Groups(*groups), epsilon: *epsilon }, 0.0)
        }
        Layer::BatchNormalization { epsilon, momentum } => {
            (NormalizationSettings { grouping: Grouping::Batch, epsilon: *epsilon }, *momentum)
        }
        _ => return None,
    };
    let moments = Moments::new(capacity, layout);
    Some(Normalized { normalization, moments, statistics: Statistics::Measured, momentum })
}

/// As much scratch as the step that needs most.
fn make_scratch(steps: &[Step], capacity: usize, differentiate: Differentiate) -> Scratch {
    let (mut flat, mut parts, mut sums, mut channels) = ([0; 2], 0, 0, 0);
    for step in steps {
        let len = |slot: &Slot| slot.layout.values() * capacity;
        match (&step.task, &step.weights) {
            (Task::Linear(_), _) => {
                flat[0] = flat[0].max(len(&step.inputs[0]));
                flat[1] = flat[1].max(len(&step.output));
            }
            (Task::Reorder, _) => flat[0] = flat[0].max(len(&step.output)),
            (_, Some(LayerWeights::Convolution { geometry, .. })) if differentiate.parameters() => {
                parts = parts.max(geometry.gradient_scratch(capacity));
                sums = sums.max(kernels::totals_scratch_len(&step.output.layout, capacity));
            }
            _ => {}
        }
        if step.normalization.is_some() {
            channels = channels.max(2 * step.output.layout.channels());
        }
    }
    Scratch {
        flat: flat.map(Buffer::zeros),
        parts: Buffer::zeros(parts),
        gradient: Buffer::default(),
        sums: vec![0.0; sums],
        channels: vec![0.0; channels],
    }
}
