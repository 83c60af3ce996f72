//! Values that are selected by name, as on a command line.

/// The error for an unknown name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {found:?}, expected one of {}", .expected.join(", "))]
pub struct UnknownName {
    /// The kind of value, such as `precision`.
    pub what: &'static str,
    /// The text.
    pub found: String,
    /// The valid names.
    pub expected: Vec<&'static str>,
}

/// Gives an enum without fields a name for each value: `ALL`, `name`, `Display` and `FromStr`.
///
/// ```
/// use lesio_settings::named;
///
/// #[derive(Clone, Copy, Debug, PartialEq)]
/// enum Mode {
///     Fast,
///     VerySlow,
/// }
///
/// named!(Mode, "mode", { "fast" => Self::Fast, "very-slow" => Self::VerySlow });
///
/// assert_eq!("very-slow".parse(), Ok(Mode::VerySlow));
/// assert_eq!(Mode::ALL.map(|mode| mode.to_string()), ["fast", "very-slow"]);
/// let error = "slow".parse::<Mode>().unwrap_err();
/// assert_eq!(error.to_string(), "unknown mode \"slow\", expected one of fast, very-slow");
/// ```
#[macro_export]
macro_rules! named {
    ($type:ty, $what:literal, { $($name:literal => $value:path),+ $(,)? }) => {
        impl $type {
            /// Every value, in the order in which messages list them.
            pub const ALL: [Self; [$($name),+].len()] = [$($value),+];

            /// The name, as in reports and on a command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $($value => $name),+
                }
            }
        }

        impl ::std::fmt::Display for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl ::std::str::FromStr for $type {
            type Err = $crate::UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let found = Self::ALL.into_iter().find(|value| value.name() == text);
                found.ok_or_else(|| $crate::UnknownName {
                    what: $what,
                    found: text.to_owned(),
                    expected: Self::ALL.map(Self::name).to_vec(),
                })
            }
        }
    };
}
