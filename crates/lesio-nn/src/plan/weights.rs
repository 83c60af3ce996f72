//! Weights, gradients and moments in the plan's layout.

use std::sync::Arc;

use lesio_kernels::{self as kernels, AdamUpdate, Buffer, Isa, with_workers};

use super::error::PlanError;
use super::graph::Graph;
use super::layout::{LayerWeights, WeightLayout};
use crate::network::Network;
use crate::parameters::ParameterSet;

/// Most values of the weights of a network, as they are trained and packed together: 16 GiB.
const LARGEST_WEIGHTS: u64 = 1 << 32;

/// The weights of one network as plans read them: packed for the kernels, shared by any number of plans.
///
/// ```
/// use lesio_nn::{Bias, Initialization, Layer, NetworkBuilder, ParameterSet, PlanWeights, Shape};
///
/// let mut net = NetworkBuilder::new();
/// let input = net.input("input", Shape::vector(3));
/// let output = net.layer("output", Layer::Linear { features: 2, bias: Bias::Learned }, &[input])?;
/// let network = net.finish(&[output])?;
/// let parameters = ParameterSet::initialize(&network, Initialization::UniformFanIn, 1);
/// let weights = PlanWeights::new(&network, &parameters)?;
/// assert_eq!(weights.to_parameters(), parameters);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct PlanWeights {
    pub(super) layout: Arc<WeightLayout>,
    pub(super) values: Buffer,
    pub(super) packed: Buffer,
    pub(super) statistics: Vec<f32>,
}

impl PlanWeights {
    /// Takes a network's parameters from a set, which may contain others, too.
    ///
    /// # Errors
    /// For the first parameter that is missing or of another shape, and for a network whose weights take more than 2^32
    /// values in the order of the kernels: convolutions of few channels take up to 16 times as many as they have.
    pub fn new(network: &Network, parameters: &ParameterSet) -> Result<Self, PlanError> {
        let layout = WeightLayout::new(network, &Graph::new(network))?;
        let values = (layout.len as u64).saturating_add(layout.packed as u64);
        if values > LARGEST_WEIGHTS {
            return Err(PlanError::LargeWeights { values, limit: LARGEST_WEIGHTS });
        }
        let mut weights = Self {
            values: Buffer::zeros(layout.len),
            packed: Buffer::zeros(layout.packed),
            statistics: vec![0.0; layout.statistics],
            layout: Arc::new(layout),
        };
        weights.layout.read(parameters, &mut weights.values, Some(&mut weights.statistics))?;
        weights.pack()?;
        Ok(weights)
    }

    /// Updates the packed weights.
    pub(crate) fn pack(&mut self) -> Result<(), PlanError> {
        with_workers(Isa::best(), |workers| pack(workers, &self.layout, &self.values, &mut self.packed))
    }

    /// Moves all parameters by this fraction of the distance toward others, except the packed weights, which
    /// [`PlanWeights::pack`] updates.
    pub(crate) fn move_towards(&mut self, others: &Self, share: f32) -> Result<(), PlanError> {
        check_same(&self.layout, &others.layout, "weights")?;
        let own = self.values.iter_mut().chain(&mut self.statistics);
        for (own, other) in own.zip(others.values.iter().chain(&others.statistics)) {
            *own += share * (other - *own);
        }
        Ok(())
    }

    /// All parameters, by name and in their canonical layouts.
    #[must_use]
    pub fn to_parameters(&self) -> ParameterSet {
        self.layout.write(&self.values, Some(&self.statistics))
    }

    /// Changes the weights by one Adam update, with the moments that go with them.
    ///
    /// # Errors
    /// For gradients and moments of another network.
    pub fn adam_step(
        &mut self,
        gradients: &Gradients,
        moments: &mut AdamMoments,
        update: &AdamUpdate,
    ) -> Result<(), PlanError> {
        check_same(&self.layout, &gradients.layout, "gradients")?;
        check_same(&self.layout, &moments.layout, "moments")?;
        let zeros = if gradients.empty { Buffer::zeros(self.layout.len) } else { Buffer::default() };
        let gradients = if gradients.empty { &zeros } else { &gradients.values };
        with_workers(Isa::best(), |workers| {
            update.apply(workers, &mut self.values, gradients, &mut moments.first, &mut moments.second)?;
            pack(workers, &self.layout, &self.values, &mut self.packed)
        })
    }

    /// Number of bytes that the weights take, in all of their forms.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<f32>() * (self.values.len() + self.packed.len() + self.statistics.len())
    }
}

/// Updates the packed weights.
fn pack(
    workers: &kernels::Workers<'_>,
    layout: &WeightLayout,
    values: &[f32],
    packed: &mut [f32],
) -> Result<(), PlanError> {
    for layer in layout.layers.iter().flatten() {
        if let LayerWeights::Convolution { geometry, weight, forward, adjoint, .. } = layer {
            let values = &values[*weight..];
            geometry.pack(workers, values, &mut packed[*forward..])?;
            geometry.pack_adjoint(workers, values, &mut packed[*adjoint..])?;
        }
    }
    Ok(())
}

pub(super) fn check_same(
    ours: &Arc<WeightLayout>,
    theirs: &Arc<WeightLayout>,
    what: &'static str,
) -> Result<(), PlanError> {
    if Arc::ptr_eq(ours, theirs) || ours == theirs { Ok(()) } else { Err(PlanError::OtherNetwork { what }) }
}

/// Gradients of the parameters of one network.
#[derive(Clone, Debug)]
pub struct Gradients {
    pub(super) layout: Arc<WeightLayout>,
    pub(super) values: Buffer,
    /// All gradients count as zero, regardless of `values`: the next backward pass replaces instead of adding.
    pub(super) empty: bool,
}

impl Gradients {
    /// Gradients of zero.
    #[must_use]
    pub fn zeros(weights: &PlanWeights) -> Self {
        Self { layout: Arc::clone(&weights.layout), values: Buffer::zeros(weights.layout.len), empty: true }
    }

    /// Sets all to zero.
    pub fn clear(&mut self) {
        self.empty = true;
    }

    /// Sum of the squares, in `f64` and in a fixed order.
    #[must_use]
    pub fn squared_norm(&self) -> f64 {
        if self.empty {
            0.0
        } else {
            with_workers(Isa::best(), |workers| kernels::sum_of_squares(workers, &self.values))
        }
    }

    /// Multiplies all by a factor.
    pub fn scale(&mut self, factor: f32) {
        if !self.empty {
            self.values.iter_mut().for_each(|value| *value *= factor);
        }
    }

    /// Whether all are finite.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.empty || self.values.iter().all(|value| value.is_finite())
    }

    /// The gradients under the names of their parameters, in the canonical layouts.
    #[must_use]
    pub fn to_parameters(&self) -> ParameterSet {
        if self.empty {
            return self.layout.write(&vec![0.0; self.layout.len], None);
        }
        self.layout.write(&self.values, None)
    }
}

/// The moments that Adam keeps of the parameters of one network.
#[derive(Clone, Debug)]
pub struct AdamMoments {
    layout: Arc<WeightLayout>,
    first: Buffer,
    second: Buffer,
}

impl AdamMoments {
    /// Moments of zero, as before the first step.
    #[must_use]
    pub fn zeros(weights: &PlanWeights) -> Self {
        let len = weights.layout.len;
        Self { layout: Arc::clone(&weights.layout), first: Buffer::zeros(len), second: Buffer::zeros(len) }
    }

    /// Moments as [`AdamMoments::to_parameters`] gave them, first and second; the sets may contain others, too.
    ///
    /// # Errors
    /// For the first that is missing or of another shape.
    pub fn from_parameters(weights: &PlanWeights, moments: [&ParameterSet; 2]) -> Result<Self, PlanError> {
        let mut new = Self::zeros(weights);
        new.layout.read(moments[0], &mut new.first, None)?;
        new.layout.read(moments[1], &mut new.second, None)?;
        Ok(new)
    }

    /// First and second moments under the names of their parameters, in the canonical layouts.
    #[must_use]
    pub fn to_parameters(&self) -> [ParameterSet; 2] {
        [self.layout.write(&self.first, None), self.layout.write(&self.second, None)]
    }
}
