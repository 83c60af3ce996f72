//! The result of listing a folder.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::case::Case;
use super::passed_over::PassedOver;

/// The cases that a layout finds in a folder.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) cases: Vec<Case>,
    /// Names of the cases that lack a mask that they should have.
    pub(super) lacking: BTreeSet<String>,
    /// Files that are called as masks and are that of no case.
    pub(super) stray: Vec<PathBuf>,
    pub(super) passed: PassedOver,
}

impl Listing {
    pub(super) fn push(&mut self, case: Case, lacking: bool) {
        if lacking {
            self.lacking.insert(case.id.clone());
        }
        self.cases.push(case);
    }
}
