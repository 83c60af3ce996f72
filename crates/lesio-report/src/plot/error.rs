//! Why a plot is not drawn.

/// Why a plot was not drawn.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlotError {
    /// The numbers of x and y coordinates differ.
    #[error("{series:?} has {found} values of {what}, expected {expected}")]
    Lengths {
        /// Name of the series.
        series: String,
        /// The kind of value.
        what: &'static str,
        /// Number of values expected.
        expected: usize,
        /// Number of values found.
        found: usize,
    },
    /// There is nothing to draw: no series, or none with a finite value.
    #[error("plot {title:?} has no finite value to be drawn")]
    Empty {
        /// Title of the plot.
        title: String,
    },
    /// A value has no position on a logarithmic axis.
    #[error("{value} of {series:?} is not positive, as a logarithmic axis needs")]
    NotPositive {
        /// Name of the series.
        series: String,
        /// The value.
        value: f64,
    },
    /// Values are so far apart that their difference overflows.
    #[error("values from {low:e} to {high:e} do not fit on an axis")]
    Range {
        /// The least value.
        low: f64,
        /// The greatest value.
        high: f64,
    },
    /// The drawing library failed.
    #[error("could not draw {title:?}: {message}")]
    Draw {
        /// Title of the plot.
        title: String,
        /// The message of the drawing library.
        message: String,
    },
}

/// Returns an error for a series with a wrong number of values.
pub(super) fn expect_length(
    series: &str,
    what: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), PlotError> {
    if found == expected {
        return Ok(());
    }
    Err(PlotError::Lengths { series: series.to_owned(), what, expected, found })
}
