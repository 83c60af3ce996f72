//! The names of error kinds.

/// The name of the variant of a value of type `Self`. All variants are listed.
macro_rules! variant_name {
    ($value:expr; $($variant:ident)+) => {
        match $value {
            $(Self::$variant { .. } => stringify!($variant)),+
        }
    };
}

pub(crate) use variant_name;
