//! Plots as SVG.

mod axis;
mod bars;
mod clip;
mod error;
mod frame;
mod lines;
mod measured;
mod points;
mod svg;

pub use axis::AxisScale;
pub use bars::BarPlot;
pub use error::PlotError;
#[cfg(test)]
pub(crate) use frame::page_colors;
pub use lines::{Curve, LinePlot};
pub use points::ScatterPlot;
pub use svg::Svg;
