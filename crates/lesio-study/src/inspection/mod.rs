//! Describes a file and its problems.

mod description;
mod error;
mod json;
mod model;
mod number;
mod text;
mod values;

pub use description::{FileContent, FileDescription, InspectConfig, NiftiValues, inspect};
pub use error::InspectError;
pub use model::ModelDescription;
pub use values::ValueSummary;
