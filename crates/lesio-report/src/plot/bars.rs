//! Bar plots: one number per label, with its interval.

use plotters::style::text_anchor::{HPos, VPos};

use super::axis::{Axis, AxisRequest, AxisScale};
use super::error::{PlotError, expect_length};
use super::frame::{AXIS, INK, LegendKey, PlotFrame, Stroke};
use super::svg::Svg;
use crate::color::PALETTE;
use crate::estimate::Estimate;
use crate::scale::Scale;
use crate::text::estimated_width;

/// Horizontal bars from zero with their intervals, the numbers beside them.
///
/// ```
/// use lesio_report::{BarPlot, Estimate};
///
/// let svg = BarPlot::new("Average precision", "average precision", ["pixel-l1", "grad-kl"])
///     .series("raw", [Estimate::new(0.21).with_interval(0.18, 0.25), Estimate::new(0.33)])?
///     .to_svg()?;
/// assert!(svg.to_document().contains("0.210 [0.18, 0.25]"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct BarPlot {
    title: String,
    value: AxisRequest,
    decimals: usize,
    labels: Vec<String>,
    series: Vec<(String, Vec<Estimate>)>,
}

const BAR: f64 = 15.0;
const GAP: f64 = 9.0;
const NUMBER_SIZE: f64 = 11.0;

impl BarPlot {
    /// A plot with a title (its text alternative), the name of the value axis, and a label for each bar, or for each
    /// group of bars if there are several series, from the top.
    #[must_use]
    pub fn new<S: Into<String>>(
        title: impl Into<String>,
        value_label: impl Into<String>,
        labels: impl IntoIterator<Item = S>,
    ) -> Self {
        Self {
            title: title.into(),
            value: AxisRequest::new(value_label),
            decimals: 3,
            labels: labels.into_iter().map(Into::into).collect(),
            series: Vec::new(),
        }
    }

    /// Adds a series: a value for every label.
    ///
    /// # Errors
    /// [`PlotError::Lengths`] if there are not as many values as labels.
    pub fn series(
        mut self,
        name: impl Into<String>,
        values: impl IntoIterator<Item = Estimate>,
    ) -> Result<Self, PlotError> {
        let (series, values) = (name.into(), values.into_iter().collect::<Vec<_>>());
        expect_length(&series, "bar", self.labels.len(), values.len())?;
        self.series.push((series, values));
        Ok(self)
    }

    /// Sets the range of values; bars are cut off at its ends. By default, from zero to the greatest value or end of an
    /// interval.
    #[must_use]
    pub fn range(mut self, range: Scale) -> Self {
        self.value.range = Some(range);
        self
    }

    /// Sets the decimals of the numbers. Default: 3.
    #[must_use]
    pub fn decimals(mut self, decimals: usize) -> Self {
        self.decimals = decimals;
        self
    }

    /// Draws the plot. A value that is not finite has a dash and no bar.
    ///
    /// # Errors
    /// [`PlotError::Empty`] without a finite value; [`PlotError::Range`] for values too far apart.
    pub fn to_svg(&self) -> Result<Svg, PlotError> {
        let empty = || PlotError::Empty { title: self.title.clone() };
        let estimates = || self.series.iter().flat_map(|(_, values)| values);
        if !estimates().any(|estimate| estimate.value.is_finite()) {
            return Err(empty());
        }
        let ends = estimates().flat_map(|e| e.interval.into_iter().flatten().chain([e.value]));
        let mut x = self.value.fit(ends.chain([0.0]), 0.0)?.ok_or_else(empty)?;
        if self.value.range.is_none() {
            // Zero is an end unless values lie on both sides of it.
            let room = 0.03 * (x.end - x.start);
            x.end += if x.end > 0.0 { room } else { 0.0 };
            x.start -= if x.start < 0.0 { room } else { 0.0 };
        }
        let groups = self.labels.len() as f64;
        let y = Axis {
            label: String::new(),
            scale: AxisScale::Linear,
            start: 0.0,
            end: groups,
            ticks: self
                .labels
                .iter()
                .enumerate()
                .map(|(i, label)| (groups - i as f64 - 0.5, label.clone()))
                .collect(),
        };
        let widest = estimates().map(|e| estimated_width(&e.text(self.decimals), NUMBER_SIZE));
        let legend = self
            .series
            .iter()
            .enumerate()
            .filter(|(_, (name, _))| self.series.len() > 1 && !name.is_empty())
            .map(|(i, (name, _))| (LegendKey::Square(PALETTE[i % PALETTE.len()]), name.clone()))
            .collect();
        let group = BAR * self.series.len() as f64 + GAP;
        let frame = PlotFrame {
            title: &self.title,
            x,
            y,
            height: Some(group * groups),
            margin_right: widest.fold(0.0, f64::max) + 4.0,
            rows_ruled: false,
            legend,
        };
        frame.draw(|panel| {
            let whisker = Stroke { color: INK, width: 1.0, dashed: false };
            let clamped = |value: f64| value.clamp(frame.x.start, frame.x.end);
            let pixel = |value: f64| panel.at([clamped(value), 0.0])[0];
            for (i, _) in self.labels.iter().enumerate() {
                let [_, center] = panel.at([0.0, groups - i as f64 - 0.5]);
                for (s, (_, values)) in self.series.iter().enumerate() {
                    let top = center - 0.5 * (group - GAP) + BAR * s as f64;
                    let middle = top + 0.5 * BAR;
                    let estimate = values[i];
                    if estimate.value.is_finite() {
                        let corners = [pixel(0.0), pixel(estimate.value)];
                        let [left, right] = [corners[0].min(corners[1]), corners[0].max(corners[1])];
                        let color = PALETTE[s % PALETTE.len()];
                        panel.rectangle([[left, top + 1.5], [right, top + BAR - 1.5]], color)?;
                        if let Some(ends) = estimate.interval {
                            let [low, high] = ends.map(pixel);
                            panel.line(&[[low, middle], [high, middle]], whisker)?;
                            for end in [low, high] {
                                panel.line(&[[end, middle - 3.0], [end, middle + 3.0]], whisker)?;
                            }
                        }
                    }
                    let text = estimate.text(self.decimals);
                    panel.text(
                        &text,
                        [panel.right() + 8.0, middle],
                        (HPos::Left, VPos::Center),
                        NUMBER_SIZE,
                    )?;
                }
            }
            let zero = Stroke { color: AXIS, width: 1.0, dashed: false };
            panel.line(&[panel.at([clamped(0.0), 0.0]), panel.at([clamped(0.0), groups])], zero)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_whiskers_and_numbers() {
        let values =
            [Estimate::new(0.5).with_interval(0.4, 0.6), Estimate::new(f64::NAN), Estimate::new(-0.1)];
        let plot = BarPlot::new("t", "v", ["a", "b", "c"]).series("s", values).unwrap();
        let document = plot.to_svg().unwrap().to_document();
        assert_eq!(document.matches("<rect").count(), 2, "one bar for each value that is a number");
        for text in ["0.500 [0.40, 0.60]", "\u{2212}0.100", "\u{2013}"] {
            assert!(document.contains(text), "{text}");
        }
        assert!(plot.clone().series("short", [Estimate::new(1.0)]).is_err());
        let empty = BarPlot::new("t", "v", ["a"]).series("s", [Estimate::new(f64::NAN)]).unwrap();
        assert!(matches!(empty.to_svg(), Err(PlotError::Empty { .. })));
    }

    #[test]
    fn a_bar_is_as_long_as_its_value() {
        let width = |value: f64| {
            let plot = BarPlot::new("t", "v", ["a"]).series("s", [Estimate::new(value)]).unwrap();
            let document = plot.range(Scale::new(0.0, 1.0).unwrap()).to_svg().unwrap().to_document();
            let bar = document.lines().find(|line| line.starts_with("<rect")).unwrap().to_owned();
            let width = bar.split("width=\"").nth(1).unwrap().split('"').next().unwrap();
            width.parse::<f64>().unwrap()
        };
        assert!((width(0.25) / width(1.0) - 0.25).abs() < 0.002);
        assert_eq!(width(7.0), width(1.0));
    }
}
