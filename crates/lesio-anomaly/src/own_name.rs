//! Names of user-defined predictors and models.

use std::fmt;

use lesio_settings::SettingError;

/// Largest length of such a name in bytes.
const LONGEST: usize = 47;

/// The name of a user-defined predictor or model: 1 to 47 of the characters a to z, 0 to 9 and `-`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnName {
    bytes: [u8; LONGEST],
    length: u8,
}

impl OwnName {
    /// A name.
    ///
    /// # Errors
    /// [`SettingError`] for other characters, no character or more than 47.
    pub fn new(name: &str) -> Result<Self, SettingError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=LONGEST).contains(&name.len()) || !name.bytes().all(allowed) {
            return Err(SettingError::new("name", name, "1 to 47 of the characters a to z, 0 to 9 and -"));
        }
        let mut bytes = [0; LONGEST];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Ok(Self { bytes, length: name.len() as u8 })
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // It is pure ASCII.
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl fmt::Debug for OwnName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for OwnName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_are_refused() {
        let long = "a".repeat(48);
        for name in ["", "My", "a b", "a/b", "\u{e9}", long.as_str()] {
            assert!(OwnName::new(name).is_err(), "{name}");
        }
        assert_eq!(OwnName::new(&long[1..]).unwrap().as_str(), &long[1..]);
    }
}
