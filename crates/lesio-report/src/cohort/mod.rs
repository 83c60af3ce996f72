//! Pages about many cases: a table of all of them, and a page for each with its slices and maps.

mod case_page;
mod cohort_page;
mod document;
mod levels;
mod sheet;
mod words;

pub use case_page::{CaseFinding, CaseMap, CasePage};
pub use cohort_page::{CohortPage, CohortResult, CohortRow};
pub use document::Link;
pub use levels::Levels;
pub use sheet::{ImageSheet, LevelSheet, Sheet, sheet_reduction};
pub use words::{CaseStatus, CohortContent};
