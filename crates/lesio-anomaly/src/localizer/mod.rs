//! A trained model with everything that belongs to it, in one file.

mod definition;
mod file;
mod scoring;

pub use definition::Localizer;
