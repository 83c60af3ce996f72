//! The device that computes networks.

use std::fmt;
use std::str::FromStr;

#[cfg(feature = "candle")]
use lesio_kernels::Precision;

use crate::engine::{EngineError, InputGradients, TrainingEngine};
use crate::network::Network;
use crate::parameters::ParameterSet;
use crate::plan_engine::PlanEngine;

/// The device that computes networks.
///
/// Files do not depend on it: a model that was trained on one device can be used on another, and a training can
/// continue from its checkpoint on either. Results agree within rounding; only [`Device::Cpu`] gives the same bytes for
/// any number of threads and any batch.
///
/// ```
/// use lesio_nn::Device;
///
/// assert_eq!("cpu".parse::<Device>()?.to_string(), "cpu");
/// assert!("gpu".parse::<Device>().unwrap_err().to_string().contains("candle-cpu"));
/// # Ok::<(), lesio_nn::DeviceError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Device {
    /// The processor, by lesio's own kernels. The default, and the fastest without a GPU.
    #[default]
    Cpu,
    /// A device of candle.
    #[cfg(feature = "candle")]
    Candle(candle_core::Device),
}

/// Why a device cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The name is not that of a device.
    #[error("unknown device {found:?}, expected cpu, cuda, cuda:N, metal or candle-cpu")]
    Unknown {
        /// The text.
        found: String,
    },
    /// The program was built without support for the device.
    #[error("device {device} needs a build with the feature {feature:?}")]
    NotBuilt {
        /// The device.
        device: String,
        /// The feature of lesio's crates.
        feature: &'static str,
    },
    /// The device cannot be opened.
    #[cfg(feature = "candle")]
    #[error("device {device} cannot be used")]
    Failed {
        /// The device.
        device: String,
        /// The error of candle.
        source: candle_core::Error,
    },
}

impl Device {
    /// Makes an engine on this device for the training of a network, initially for batches of up to `capacity` samples;
    /// the set may contain parameters of other networks, too.
    ///
    /// # Errors
    /// For parameters that do not fit the network, [`EngineError::Precision`] for a network in bfloat16 on another
    /// device than
    /// [`Device::Cpu`], and if the device fails.
    pub fn training_engine(
        &self,
        network: &Network,
        parameters: &ParameterSet,
        capacity: usize,
        input_gradients: InputGradients,
    ) -> Result<Box<dyn TrainingEngine>, EngineError> {
        Ok(match self {
            Self::Cpu => Box::new(PlanEngine::new(network, parameters, capacity, input_gradients)?),
            #[cfg(feature = "candle")]
            Self::Candle(device) => {
                self.check_precision(network)?;
                Box::new(crate::candle::CandleEngine::new(network, parameters, device, input_gradients)?)
            }
        })
    }

    /// Returns an error for a network in a precision that this device does not support.
    #[cfg(feature = "candle")]
    pub(crate) fn check_precision(&self, network: &Network) -> Result<(), EngineError> {
        match network.precision() {
            Precision::Bfloat16 if !self.is_exact() => {
                Err(EngineError::Precision { device: self.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// Whether this is lesio's engine, whose results have the same bits for any number of threads and any other images
    /// of a batch.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        matches!(self, Self::Cpu)
    }
}

impl fmt::Display for Device {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => out.write_str("cpu"),
            #[cfg(feature = "candle")]
            Self::Candle(device) => match device.location() {
                candle_core::DeviceLocation::Cpu => out.write_str("candle-cpu"),
                candle_core::DeviceLocation::Cuda { gpu_id } => write!(out, "cuda:{gpu_id}"),
                candle_core::DeviceLocation::Metal { gpu_id } => write!(out, "metal:{gpu_id}"),
            },
        }
    }
}

impl FromStr for Device {
    type Err = DeviceError;

    /// `cpu`, `cuda`, `cuda:N`, `metal`, `metal:N`, or `candle-cpu`, which runs the code for GPUs on the processor.
    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Unknown { found: text.to_owned() };
        let (kind, number) = match text.split_once(':') {
            Some((kind, number)) => (kind, Some(number.parse::<usize>().map_err(|_| unknown())?)),
            None => (text, None),
        };
        match (kind, number) {
            ("cpu", None) => Ok(Self::Cpu),
            ("candle-cpu", None) => Self::candle_cpu(),
            ("cuda", number) => Self::gpu(text, "cuda", number.unwrap_or(0)),
            ("metal", number) => Self::gpu(text, "metal", number.unwrap_or(0)),
            _ => Err(unknown()),
        }
    }
}

#[cfg(feature = "candle")]
impl Device {
    fn candle_cpu() -> Result<Self, DeviceError> {
        Ok(Self::Candle(candle_core::Device::Cpu))
    }

    fn gpu(device: &str, feature: &'static str, number: usize) -> Result<Self, DeviceError> {
        let (built, open): (bool, fn(usize) -> candle_core::Result<candle_core::Device>) = match feature {
            "cuda" => (cfg!(feature = "cuda"), candle_core::Device::new_cuda),
            _ => (cfg!(feature = "metal"), candle_core::Device::new_metal),
        };
        if !built {
            return Err(DeviceError::NotBuilt { device: device.to_owned(), feature });
        }
        let opened = open(number);
        #[cfg(feature = "cuda")]
        let opened = opened.and_then(|device| {
            if let candle_core::Device::Cuda(card) = &device {
                crate::candle::cuda::keep_memory(card)?;
            }
            Ok(device)
        });
        opened.map(Self::Candle).map_err(|source| DeviceError::Failed { device: device.to_owned(), source })
    }
}

#[cfg(not(feature = "candle"))]
impl Device {
    fn candle_cpu() -> Result<Self, DeviceError> {
        Err(DeviceError::NotBuilt { device: "candle-cpu".to_owned(), feature: "candle" })
    }

    fn gpu(device: &str, feature: &'static str, _: usize) -> Result<Self, DeviceError> {
        Err(DeviceError::NotBuilt { device: device.to_owned(), feature })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_refused() {
        assert!(matches!("cpu".parse(), Ok(Device::Cpu)));
        for text in ["", "gpu", "cpu:0", "cuda:", "cuda:-1", "cuda:x", "candle-cpu:1", "CPU"] {
            assert!(matches!(text.parse::<Device>(), Err(DeviceError::Unknown { .. })), "{text}");
        }
        #[cfg(feature = "candle")]
        {
            let device = "candle-cpu".parse::<Device>().unwrap();
            assert!(!device.is_exact());
            assert_eq!(device.to_string(), "candle-cpu");
        }
        #[cfg(not(feature = "cuda"))]
        for (text, expected) in [("cuda", "cuda"), ("cuda:3", "cuda"), ("metal", "metal")] {
            if expected == "metal" && cfg!(feature = "metal") {
                continue;
            }
            match text.parse::<Device>() {
                Err(DeviceError::NotBuilt { device, feature }) => {
                    assert_eq!((device.as_str(), feature), (text, expected));
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
