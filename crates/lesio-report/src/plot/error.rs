//! Why a plot is not drawn.

/// Why a plot was not drawn.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlotError {
    /// Coordinates do not come in pairs.
    #[error("{series:?} has {found} values of {what}, expected {expected}")]
    Lengths {
        /// Name of the series.
        series: String,
        /// What was counted.
        what: &'static str,
        /// Number of values expected.
        expected: usize,
        /// Number of values found.
        found: usize,
    },
    /// There is nothing to be drawn: no series, or none with a finite value.
    #[error("plot {title:?} has no finite value to be drawn")]
    Empty {
        /// Title of the plot.
        title: String,
    },
    /// A value has no place on a logarithmic axis.
    #[error("{value} of {series:?} is not positive, as a logarithmic axis needs")]
    NotPositive {
        /// Name of the series.
        series: String,
        /// The value.
        value: f64,
    },
    /// Values lie too far apart for the difference of two to be a number.
    #[error("values from {low:e} to {high:e} do not fit on an axis")]
    Range {
        /// The least value.
        low: f64,
        /// The greatest value.
        high: f64,
    },
    /// The drawing library refused.
    #[error("could not draw {title:?}: {message}")]
    Draw {
        /// Title of the plot.
        title: String,
        /// What the drawing library said.
        message: String,
    },
}

/// Refuses a series of another number of values than it should have.
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
