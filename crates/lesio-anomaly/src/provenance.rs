//! The provenance of a localizer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The provenance of a localizer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct Provenance {
    /// Version of lesio that trained it.
    pub lesio: String,
    /// Seed of its training.
    pub seed: u64,
    /// Checksums of training data and configuration.
    pub data: String,
    /// Notes of the caller, by name.
    pub notes: BTreeMap<String, String>,
}

impl Provenance {
    /// The provenance of a training by this version of lesio.
    #[must_use]
    pub fn new(seed: u64, data: impl Into<String>) -> Self {
        let lesio = env!("CARGO_PKG_VERSION").to_owned();
        Self { lesio, seed, data: data.into(), notes: BTreeMap::new() }
    }

    /// With a note.
    #[must_use]
    pub fn note(mut self, name: &str, text: impl Into<String>) -> Self {
        self.notes.insert(name.to_owned(), text.into());
        self
    }
}
