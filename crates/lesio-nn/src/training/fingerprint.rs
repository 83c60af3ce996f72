//! Fingerprints of trainings.

use serde::Serialize;

/// A text that depends on the configuration and the data of a training: the number and checksum of training and
/// validation data. `what` names the data, such as `images`.
#[must_use]
pub fn fingerprint(
    config: &impl Serialize,
    what: &str,
    training: (usize, u32),
    validation: (usize, u32),
) -> String {
    let text = serde_json::to_string(config).unwrap_or_default();
    format!(
        "configuration {:08x}, {} training {what} {:08x}, {} validation {what} {:08x}",
        crc32fast::hash(text.as_bytes()),
        training.0,
        training.1,
        validation.0,
        validation.1
    )
}
