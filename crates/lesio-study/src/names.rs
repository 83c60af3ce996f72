//! Names of which none may stand twice.

use std::collections::BTreeSet;

use crate::error::StudyError;

/// Refuses names of which one stands twice.
pub(crate) fn check_unique<'n>(
    what: &'static str,
    names: impl IntoIterator<Item = &'n str>,
) -> Result<(), StudyError> {
    let mut seen = Names::default();
    names.into_iter().try_for_each(|name| seen.add(what, name))
}

/// Names of which none may stand twice: the results of two things would be taken for one thing's.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeSet<String>);

impl Names {
    /// Refuses a name that was added before.
    pub(crate) fn add(&mut self, what: &'static str, name: &str) -> Result<(), StudyError> {
        if self.0.insert(name.to_owned()) {
            return Ok(());
        }
        Err(StudyError::Repeated { what, name: name.to_owned() })
    }
}
