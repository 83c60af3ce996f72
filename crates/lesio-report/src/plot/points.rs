//! Scatter plots, such as predicted over true values.

use std::collections::BTreeMap;

use super::axis::AxisRequest;
use super::error::{PlotError, expect_length};
use super::frame::{AXIS, LegendKey, PlotFrame, Stroke};
use super::svg::Svg;
use crate::color::PALETTE;
use crate::scale::Scale;

/// A plot of points.
///
/// ```
/// let svg = lesio_report::ScatterPlot::new("Predicted and true Dice", "true Dice", "predicted Dice")
///     .identity()
///     .points("rec-reg", [0.2, 0.9], [0.3, 0.85])?
///     .to_svg()?;
/// assert!(svg.to_document().contains("predicted Dice"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ScatterPlot {
    title: String,
    x: AxisRequest,
    y: AxisRequest,
    identity: bool,
    series: Vec<(String, Vec<[f64; 2]>)>,
}

impl ScatterPlot {
    /// An empty plot with a title (its text alternative) and the names of its axes.
    #[must_use]
    pub fn new(title: impl Into<String>, x_label: impl Into<String>, y_label: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            x: AxisRequest::new(x_label),
            y: AxisRequest::new(y_label),
            identity: false,
            series: Vec::new(),
        }
    }

    /// Gives both axes the same range, makes the plot square, and draws the line on which x is y.
    #[must_use]
    pub fn identity(mut self) -> Self {
        self.identity = true;
        self
    }

    /// Sets the range of both axes; points outside are left out. Default: the range of the points.
    #[must_use]
    pub fn range(mut self, range: Scale) -> Self {
        (self.x.range, self.y.range) = (Some(range), Some(range));
        self
    }

    /// Adds a named series of points `(x[i], y[i])`; those that are not finite are left out.
    ///
    /// # Errors
    /// [`PlotError::Lengths`] if there are not as many `y` as `x`.
    pub fn points(
        mut self,
        name: impl Into<String>,
        x: impl Into<Vec<f64>>,
        y: impl Into<Vec<f64>>,
    ) -> Result<Self, PlotError> {
        let (name, x, y) = (name.into(), x.into(), y.into());
        expect_length(&name, "y", x.len(), y.len())?;
        let points = x.into_iter().zip(y).map(|(x, y)| [x, y]);
        self.series.push((name, points.filter(|point| point.iter().all(|v| v.is_finite())).collect()));
        Ok(self)
    }

    /// Draws the plot. Points on the same pixel are drawn as one, with an opacity that grows with their number, so that
    /// the file remains small for any number of points.
    ///
    /// # Errors
    /// [`PlotError::Empty`] without a finite point; [`PlotError::Range`] for values too far apart.
    pub fn to_svg(&self) -> Result<Svg, PlotError> {
        let empty = || PlotError::Empty { title: self.title.clone() };
        if self.series.iter().all(|(_, points)| points.is_empty()) {
            return Err(empty());
        }
        let values = |axis: usize| {
            let own = self.series.iter().flat_map(|(_, points)| points).flatten().enumerate();
            own.filter(move |(i, _)| self.identity || i % 2 == axis).map(|(_, &value)| value)
        };
        let x = self.x.fit(values(0), 0.04)?.ok_or_else(empty)?;
        let y = self.y.fit(values(1), 0.04)?.ok_or_else(empty)?;
        let line = Stroke { color: AXIS, width: 1.0, dashed: true };
        let mut legend: Vec<_> = self
            .series
            .iter()
            .enumerate()
            .filter(|(_, (name, _))| !name.is_empty())
            .map(|(i, (name, _))| (LegendKey::Dot(PALETTE[i % PALETTE.len()]), name.clone()))
            .collect();
        if self.identity {
            legend.push((LegendKey::Line(line), "identity".to_owned()));
        }
        let height = if self.identity { None } else { Some(300.0) };
        let frame =
            PlotFrame { title: &self.title, x, y, height, margin_right: 0.0, rows_ruled: true, legend };
        frame.draw(|panel| {
            if self.identity {
                let ends = [[frame.x.start, frame.y.start], [frame.x.end, frame.y.end]];
                panel.line(&ends.map(|end| panel.at(end)), line)?;
            }
            for (i, (_, points)) in self.series.iter().enumerate() {
                let mut counts = BTreeMap::new();
                for point in points {
                    let inside = (frame.x.start..=frame.x.end).contains(&point[0])
                        && (frame.y.start..=frame.y.end).contains(&point[1]);
                    if inside {
                        let pixel = panel.at(*point).map(|v| v.round() as i64);
                        *counts.entry(pixel).or_insert(0_i32) += 1;
                    }
                }
                for (pixel, count) in counts {
                    // The opacity of that many points drawn over each other.
                    let opacity = 1.0 - 0.55_f64.powi(count);
                    // Three decimals are plenty, and make short files.
                    let opacity = (1000.0 * opacity).round() / 1000.0;
                    panel.circle(pixel.map(|v| v as f64), 2.5, PALETTE[i % PALETTE.len()], opacity)?;
                }
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_points_make_a_small_file() {
        let x: Vec<f64> = (0..50_000).map(|i| f64::from(i % 100) / 100.0).collect();
        let y: Vec<f64> = (0..50_000).map(|i| f64::from(i % 50) / 50.0).collect();
        let svg = ScatterPlot::new("t", "x", "y").identity().points("a", x, y).unwrap().to_svg().unwrap();
        let document = svg.to_document();
        assert_eq!(document.matches("<circle").count(), 100 + 1, "points, and the dot of the legend");
    }

    #[test]
    fn broken_points_are_left_out() {
        let plot = ScatterPlot::new("t", "x", "y").points("a", [f64::NAN, 1.0], [0.0, 1.0]).unwrap();
        assert_eq!(plot.to_svg().unwrap().to_document().matches("<circle").count(), 1 + 1);
        let none = ScatterPlot::new("t", "x", "y").points("a", [f64::NAN], [0.0]).unwrap();
        assert!(matches!(none.to_svg(), Err(PlotError::Empty { .. })));
        assert!(ScatterPlot::new("t", "x", "y").points("a", [0.0], []).is_err());
    }
}
