//! Arguments that say how files are read.

use lesio::io::{AffineSource, FourthAxis, ReadOptions};

use crate::choices::affine_sources;

/// More than any machine has.
const MOST_GIB: f64 = 16_777_216.0;

/// How files are read.
#[derive(Clone, Debug, clap::Args)]
pub struct ReadArgs {
    /// Memory that one case may take beside the model, in GiB: its files while they are read, and the work on them
    #[arg(long, value_name = "GIB", default_value = "2", value_parser = gibibytes)]
    pub max_memory: u64,
    /// Which form of a NIfTI header places its voxels: the sform or the qform; auto takes the sform where its code is
    /// above 0
    #[arg(long, default_value = "auto", value_parser = affine_sources())]
    pub affine: AffineSource,
    /// The fourth axis of NIfTI images holds the channels of a scan
    #[arg(long)]
    pub channels_last_axis: bool,
    /// What the channels are, in the order of the files, where these are not called as those that the model was trained
    /// on: flair,t1
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub channels: Vec<String>,
}

impl ReadArgs {
    /// The options of the readers.
    #[must_use]
    pub fn options(&self) -> ReadOptions {
        let fourth = if self.channels_last_axis { FourthAxis::Channels } else { FourthAxis::Refuse };
        let options = ReadOptions::new().max_bytes(self.max_memory).affine(self.affine).fourth_axis(fourth);
        options.channel_names(self.channels.clone())
    }
}

/// Bytes of so many gibibytes, as `--max-memory` takes them.
///
/// # Errors
/// What is no positive number, or more bytes than can be counted.
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
