//! Defaults of single fields, for documents that leave them out.

/// Adds a type with a function for each of these fields, which gives the field of a default configuration. With serde's
/// `default = "..."`, a document then needs only what the constructor needs, and no default is stated twice.
///
/// ```
/// use lesio_settings::field_defaults;
///
/// pub struct Blur {
///     /// Standard deviation in pixels.
///     pub deviation: f64,
///     /// Number of passes. Default 3. In a document: `#[serde(default = "BlurDefaults::passes")]`.
///     pub passes: usize,
/// }
///
/// impl Blur {
///     pub fn new(deviation: f64) -> Self {
///         Self { deviation, passes: 3 }
///     }
/// }
///
/// field_defaults!(BlurDefaults: Blur::new(1.0) => { passes: usize });
///
/// assert_eq!(BlurDefaults::passes(), 3);
/// ```
#[macro_export]
macro_rules! field_defaults {
    ($name:ident: $of:expr => { $($field:ident: $value:ty),+ $(,)? }) => {
        /// The fields of a default configuration.
        enum $name {}

        impl $name {
            $(
                fn $field() -> $value {
                    $of.$field
                }
            )+
        }
    };
}
