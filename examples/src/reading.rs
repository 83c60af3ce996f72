//! Arguments for reading files.

use lesio::io::{AffineSource, FourthAxis, NanValues, ReadOptions};

use crate::choices::{affine_sources, meanings_of_nan};

/// More GiB than any machine has.
const MOST_GIB: f64 = 16_777_216.0;

/// Options for reading volumes of one channel.
#[derive(Clone, Debug, clap::Args)]
pub struct VolumeReadArgs {
    /// Memory limit for one case in GiB, for reading its files and for computing on them; the model is not included
    #[arg(long, value_name = "GIB", default_value = "2", value_parser = gibibytes)]
    pub max_memory: u64,
    /// Source of the affine in a NIfTI header: sform or qform; auto uses the sform if its code is above 0, else the
    /// qform
    #[arg(long, default_value = "auto", value_parser = affine_sources())]
    pub affine: AffineSource,
    /// What NaN stands for in images
    #[arg(long, default_value = "keep", value_parser = meanings_of_nan())]
    pub nan: NanValues,
}

impl VolumeReadArgs {
    /// The options of the readers.
    #[must_use]
    pub fn options(&self) -> ReadOptions {
        ReadOptions::new().max_bytes(self.max_memory).affine(self.affine).nan_values(self.nan)
    }
}

/// Options for reading files.
#[derive(Clone, Debug, clap::Args)]
pub struct ReadArgs {
    /// Options that volumes of one channel have, too
    #[command(flatten)]
    pub volumes: VolumeReadArgs,
    /// Read the fourth axis of NIfTI images as the channels of a scan
    #[arg(long)]
    pub channels_last_axis: bool,
    /// Names of the channels in the order of the files, such as flair,t1. Needed if the file names differ from those in
    /// the model's training
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub channels: Vec<String>,
}

impl ReadArgs {
    /// The options of the readers.
    #[must_use]
    pub fn options(&self) -> ReadOptions {
        let fourth = if self.channels_last_axis { FourthAxis::Channels } else { FourthAxis::Refuse };
        self.volumes.options().fourth_axis(fourth).channel_names(self.channels.clone())
    }
}

/// Parses a number of GiB and returns it in bytes.
///
/// # Errors
/// For text that is not a positive number, and for too many bytes.
pub fn gibibytes(text: &str) -> Result<u64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= MOST_GIB => Ok((number * (1_u64 << 30) as f64) as u64),
        _ => Err(format!("expected a number of GiB above 0, of at most {MOST_GIB}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_a_positive_number() {
        assert_eq!((gibibytes("2"), gibibytes("0.5")), (Ok(2 << 30), Ok(1 << 29)));
        for text in ["0", "-1", "nan", "inf", "1e30", "2G", ""] {
            assert!(gibibytes(text).is_err(), "{text}");
        }
    }
}
