//! The argument for the device that computes networks.

use lesio::anomaly::Loading;
use lesio::nn::{Device, Precision};

/// The device that computes networks.
#[derive(Clone, Debug, clap::Args)]
pub struct DeviceArgs {
    /// Device that computes networks: cpu, cuda, cuda:N, metal, or candle-cpu (the GPU code on the processor). A GPU
    /// needs a build with its feature: cargo run --release --features cuda --example ...
    #[arg(long, default_value = "cpu", value_name = "DEVICE")]
    pub device: Device,
}

impl DeviceArgs {
    /// Options to load a localizer onto this device, in the given precision or else in the precision of the file.
    #[must_use]
    pub fn loading(&self, precision: Option<Precision>) -> Loading {
        let loading = Loading::new(&self.device);
        match precision {
            Some(precision) => loading.precision(precision),
            None => loading,
        }
    }
}
