//! Configurations that are built by a chain of calls.

/// Gives a configuration a method for each of these public fields, which takes its value and gives the configuration back.
///
/// ```
/// use lesio_settings::setters;
///
/// #[derive(Default)]
/// pub struct Blur {
///     /// Standard deviation in pixels.
///     pub deviation: f64,
///     /// How often.
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
