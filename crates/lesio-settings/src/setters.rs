//! Setters for configurations that are built by a chain of calls.

/// Adds a method for each of these public fields to a configuration; it sets the field and returns the configuration.
///
/// ```
/// use lesio_settings::setters;
///
/// #[derive(Default)]
/// pub struct Blur {
///     /// Standard deviation in pixels.
///     pub deviation: f64,
///     /// Number of passes.
///     pub passes: usize,
/// }
///
/// setters!(Blur { deviation: f64, passes: usize });
///
/// let blur = Blur::default().deviation(1.5).passes(2);
/// assert_eq!((blur.deviation, blur.passes), (1.5, 2));
/// ```
#[macro_export]
macro_rules! setters {
    ($type:ty { $($field:ident: $value:ty),+ $(,)? }) => {
        impl $type {
            $(
                #[doc = concat!("Sets the field [`", stringify!($field), "`](field@Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $field(mut self, $field: $value) -> Self {
                    self.$field = $field;
                    self
                }
            )+
        }
    };
}
