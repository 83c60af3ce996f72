//! Names that must be unique.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::error::StudyError;

/// Returns an error for a repeated name.
pub(crate) fn check_unique<'n>(
    what: &'static str,
    names: impl IntoIterator<Item = &'n str>,
) -> Result<(), StudyError> {
    let mut seen = Names::default();
    names.into_iter().try_for_each(|name| seen.add(what, name))
}

/// Names that must be unique, since equal names would mix results.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeSet<String>);

impl Names {
    /// Returns an error for a name that was added before.
    pub(crate) fn add(&mut self, what: &'static str, name: &str) -> Result<(), StudyError> {
        if self.0.insert(name.to_owned()) {
            return Ok(());
        }
        Err(StudyError::Repeated { what, name: name.to_owned() })
    }
}

/// Names of maps in the order of their first occurrence.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Order(Vec<String>);

impl Order {
    /// Adds a name unless it is present.
    pub(crate) fn note(&mut self, name: &str) {
        if !self.0.iter().any(|known| known == name) {
            self.0.push(name.to_owned());
        }
    }

    /// Adds the names of another order.
    pub(crate) fn absorb(&mut self, other: &Self) {
        other.names().for_each(|name| self.note(name));
    }

    /// The names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The number of names.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
