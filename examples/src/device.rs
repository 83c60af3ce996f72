//! The argument that says where networks are computed.

use lesio::anomaly::Loading;
use lesio::nn::{Device, Precision};

/// Where networks are computed.
#[derive(Clone, Debug, clap::Args)]
pub struct DeviceArgs {
    /// Where networks are computed: cpu, cuda, cuda:N, metal, or candle-cpu, the processor by the code of a GPU. A GPU
    /// needs a build with its feature: cargo run --release --features cuda --example ...
    #[arg(long, default_value = "cpu", value_name = "DEVICE")]
    pub device: Device,
}

impl DeviceArgs {
    /// How a localizer is read: onto this device, in another precision than its own where one is given.
    #[must_use]
    pub fn loading(&self, precision: Option<Precision>) -> Loading {
        let loading = Loading::new(&self.device);
        match precision {
            Some(precision) => loading.precision(precision),
            None => loading,
        }
    }
}
