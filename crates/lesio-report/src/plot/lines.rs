//! Line plots: ROC, precision and recall, training, risk and coverage.

use super::axis::{Axis, AxisRequest, AxisScale};
use super::clip::{clipped_line, clipped_polygon, thinned};
use super::error::{PlotError, expect_length};
use super::frame::{AXIS, LegendKey, PlotArea, PlotFrame, Stroke};
use super::svg::Svg;
use crate::color::PALETTE;
use crate::scale::Scale;

/// A curve, optionally with a band around it.
///
/// Points are joined in their order. A point that is NaN or infinite, such as a diverged training loss, is left out and
/// the line is broken there.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    name: String,
    x: Vec<f64>,
    y: Vec<f64>,
    band: Option<Band>,
    dashed: bool,
    color: Option<usize>,
}

impl Curve {
    /// A named curve through the points `(x[i], y[i])`.
    ///
    /// # Errors
    /// [`PlotError::Lengths`] if there are not as many `y` as `x`.
    pub fn new(
        name: impl Into<String>,
        x: impl Into<Vec<f64>>,
        y: impl Into<Vec<f64>>,
    ) -> Result<Self, PlotError> {
        let (name, x, y) = (name.into(), x.into(), y.into());
        expect_length(&name, "y", x.len(), y.len())?;
        Ok(Self { name, x, y, band: None, dashed: false, color: None })
    }

    /// A named curve through points.
    pub(super) fn through(name: impl Into<String>, points: impl Iterator<Item = (f64, f64)>) -> Self {
        let (x, y) = points.unzip();
        Self { name: name.into(), x, y, band: None, dashed: false, color: None }
    }

    /// Adds a band whose columns have the same length.
    pub(super) fn shaded(mut self, band: Band) -> Self {
        self.band = Some(band);
        self
    }

    /// Shades the band from `lower[i]` to `upper[i]` at `x[i]`, as a confidence interval. Its `x` need not be
    /// the curve's.
    ///
    /// # Errors
    /// [`PlotError::Lengths`] if there are not as many ends as `x`.
    pub fn band(
        self,
        x: impl Into<Vec<f64>>,
        lower: impl Into<Vec<f64>>,
        upper: impl Into<Vec<f64>>,
    ) -> Result<Self, PlotError> {
        let band = Band { x: x.into(), lower: lower.into(), upper: upper.into() };
        for (values, what) in [(&band.lower, "lower"), (&band.upper, "upper")] {
            expect_length(&self.name, what, band.x.len(), values.len())?;
        }
        Ok(self.shaded(band))
    }

    /// Makes the line dashed, for example to distinguish validation from training.
    #[must_use]
    pub fn dashed(mut self) -> Self {
        self.dashed = true;
        self
    }

    /// Uses the n-th color instead of the next, so that two curves can share one; the seven colors repeat.
    #[must_use]
    pub fn color(mut self, n: usize) -> Self {
        self.color = Some(n);
        self
    }

    /// All columns of x: the curve's and its band's.
    fn xs(&self) -> Vec<&[f64]> {
        [Some(&self.x), self.band.as_ref().map(|band| &band.x)]
            .into_iter()
            .flatten()
            .map(Vec::as_slice)
            .collect()
    }

    /// All columns of y.
    fn ys(&self) -> Vec<&[f64]> {
        let band = self.band.iter().flat_map(|band| [&band.lower, &band.upper]);
        band.chain([&self.y]).map(Vec::as_slice).collect()
    }

    fn stroke(&self, position: usize) -> Stroke {
        let n = self.color.unwrap_or(position);
        // After the last color, dashes distinguish the second round from the first.
        let dashed = self.dashed ^ (self.color.is_none() && (n / PALETTE.len()) % 2 == 1);
        Stroke { color: PALETTE[n % PALETTE.len()], width: 1.75, dashed }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Band {
    pub(super) x: Vec<f64>,
    pub(super) lower: Vec<f64>,
    pub(super) upper: Vec<f64>,
}

/// The interpolation between the points of a curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Join {
    Straight,
    /// The height at `x[i]` applies from the previous point on.
    Step,
}

#[derive(Clone, Debug, PartialEq)]
enum Guide {
    Diagonal(String),
    Horizontal(f64, String),
    Vertical(f64, String),
}

/// A plot of curves.
///
/// ```
/// use lesio_report::{Curve, LinePlot};
///
/// let curve = Curve::new("pixel-l1", [0.0, 0.1, 1.0], [0.0, 0.8, 1.0])?
///     .band([0.0, 0.1, 1.0], [0.0, 0.7, 1.0], [0.0, 0.9, 1.0])?;
/// let svg = LinePlot::roc("ROC on the test split").curve(curve).to_svg()?;
/// assert!(svg.to_document().contains("pixel-l1"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LinePlot {
    title: String,
    x: AxisRequest,
    y: AxisRequest,
    /// Height in CSS pixels; `None` for a square.
    height: Option<f64>,
    join: Join,
    curves: Vec<Curve>,
    guides: Vec<Guide>,
}

impl LinePlot {
    /// An empty plot with a title (its text alternative) and the names of its axes.
    #[must_use]
    pub fn new(title: impl Into<String>, x_label: impl Into<String>, y_label: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            x: AxisRequest::new(x_label),
            y: AxisRequest::new(y_label),
            height: Some(250.0),
            join: Join::Straight,
            curves: Vec::new(),
            guides: Vec::new(),
        }
    }

    /// For curves of true-positive over false-positive rate, with the diagonal of chance.
    #[must_use]
    pub fn roc(title: impl Into<String>) -> Self {
        let mut plot = Self::new(title, "false-positive rate", "true-positive rate").unit_square();
        plot.guides.push(Guide::Diagonal("chance".to_owned()));
        plot
    }

    /// For curves of precision over recall, with the line of chance at the prevalence.
    ///
    /// Curves are steps, whose area is the average precision: the precision at a recall applies from the previous
    /// recall on, in either order of the points. (Straight lines between the points would be too optimistic; Davis and
    /// Goadrich 2006.)
    #[must_use]
    pub fn precision_recall(title: impl Into<String>, prevalence: f64) -> Self {
        let mut plot = Self::new(title, "recall", "precision").unit_square();
        plot.join = Join::Step;
        plot.horizontal(prevalence, "chance (prevalence)")
    }

    /// For curves over the epochs of a training.
    #[must_use]
    pub fn training(title: impl Into<String>, value_label: impl Into<String>) -> Self {
        let mut plot = Self::new(title, "epoch", value_label);
        plot.x.whole = true;
        plot
    }

    /// For curves of the risk among the cases kept over the fraction of cases kept.
    #[must_use]
    pub fn risk_coverage(title: impl Into<String>, risk_label: impl Into<String>) -> Self {
        let mut plot = Self::new(title, "coverage (fraction of cases kept)", risk_label);
        plot.x.range = unit();
        plot
    }

    /// Adds a curve.
    #[must_use]
    pub fn curve(mut self, curve: Curve) -> Self {
        self.curves.push(curve);
        self
    }

    /// Adds curves.
    #[must_use]
    pub fn curves(mut self, curves: impl IntoIterator<Item = Curve>) -> Self {
        self.curves.extend(curves);
        self
    }

    /// Sets the range of x; parts outside are cut off. Default: the range of the curves.
    #[must_use]
    pub fn x_range(mut self, range: Scale) -> Self {
        self.x.range = Some(range);
        self
    }

    /// Sets the range of y; parts outside are cut off. Default: the range of the curves and bands.
    #[must_use]
    pub fn y_range(mut self, range: Scale) -> Self {
        self.y.range = Some(range);
        self
    }

    /// Sets the scale of the x axis.
    #[must_use]
    pub fn x_scale(mut self, scale: AxisScale) -> Self {
        self.x.scale = scale;
        self
    }

    /// Sets the scale of the y axis.
    #[must_use]
    pub fn y_scale(mut self, scale: AxisScale) -> Self {
        self.y.scale = scale;
        self
    }

    /// Draws a dashed line at a value of y; with a name in the legend unless that is empty. A value
    /// outside the plot is not shown.
    #[must_use]
    pub fn horizontal(mut self, value: f64, name: impl Into<String>) -> Self {
        self.guides.push(Guide::Horizontal(value, name.into()));
        self
    }

    /// Draws a dashed line at a value of x, as at the epoch that was kept.
    #[must_use]
    pub fn vertical(mut self, value: f64, name: impl Into<String>) -> Self {
        self.guides.push(Guide::Vertical(value, name.into()));
        self
    }

    /// Draws the plot. Curves of very many points are thinned without a visible change: to the first, last, smallest
    /// and greatest of every quarter pixel.
    ///
    /// # Errors
    /// [`PlotError::Empty`] without a finite point, [`PlotError::NotPositive`] for a value that a
    /// logarithmic axis cannot show, [`PlotError::Range`] for values too far apart.
    pub fn to_svg(&self) -> Result<Svg, PlotError> {
        for curve in &self.curves {
            for (scale, columns) in [(self.x.scale, curve.xs()), (self.y.scale, curve.ys())] {
                for values in columns {
                    check_positive(curve, scale, values)?;
                }
            }
        }
        let empty = || PlotError::Empty { title: self.title.clone() };
        let finite =
            |curve: &Curve| curve.x.iter().zip(&curve.y).any(|(x, y)| x.is_finite() && y.is_finite());
        if !self.curves.iter().any(finite) {
            return Err(empty());
        }
        let xs = self.curves.iter().flat_map(|curve| curve.xs().into_iter().flatten().copied());
        let ys = self.curves.iter().flat_map(|curve| curve.ys().into_iter().flatten().copied());
        let x = self.x.fit(xs, 0.0)?.ok_or_else(empty)?;
        let y = self.y.fit(ys, 0.04)?.ok_or_else(empty)?;

        let guide_stroke = Stroke { color: AXIS, width: 1.0, dashed: true };
        let mut legend: Vec<_> = self
            .curves
            .iter()
            .enumerate()
            .filter(|(_, curve)| !curve.name.is_empty())
            .map(|(i, curve)| (LegendKey::Line(curve.stroke(i)), curve.name.clone()))
            .collect();
        let guides: Vec<_> = self.guides.iter().filter_map(|guide| guide.ends(&x, &y)).collect();
        legend.extend(
            guides
                .iter()
                .filter(|(name, _)| !name.is_empty())
                .map(|(name, _)| (LegendKey::Line(guide_stroke), (*name).to_owned())),
        );

        let frame = PlotFrame {
            title: &self.title,
            x,
            y,
            height: self.height,
            margin_right: 0.0,
            rows_ruled: true,
            legend,
        };
        frame.draw(|panel| {
            for (_, ends) in &guides {
                panel.line(&ends.map(|end| panel.at(end)), guide_stroke)?;
            }
            for (i, curve) in self.curves.iter().enumerate() {
                let Some(Band { x, lower, upper }) = &curve.band else { continue };
                for run in self.runs(x, &[lower, upper]) {
                    let border = |side: usize| {
                        let points: Vec<_> = run.iter().map(|point| [point[0], point[side]]).collect();
                        self.outline(panel, &points)
                    };
                    let upper = border(2).into_iter().rev();
                    let around: Vec<_> = border(1).into_iter().chain(upper).collect();
                    panel.polygon(&clipped_polygon(around, panel.corners()), curve.stroke(i).color, 0.14)?;
                }
            }
            for (i, curve) in self.curves.iter().enumerate() {
                for run in self.runs(&curve.x, &[&curve.y]) {
                    let points: Vec<_> = run.iter().map(|point| [point[0], point[1]]).collect();
                    for piece in clipped_line(&self.outline(panel, &points), panel.corners()) {
                        match piece[..] {
                            // A point between gaps, or the only one, remains visible.
                            [point] => panel.circle(point, 2.5, curve.stroke(i).color, 1.0)?,
                            _ => panel.line(&piece, curve.stroke(i))?,
                        }
                    }
                }
            }
            Ok(())
        })
    }

    fn unit_square(mut self) -> Self {
        (self.x.range, self.y.range, self.height) = (unit(), unit(), None);
        self
    }

    /// Places of consecutive points that are finite in all their coordinates: `[x, columns...]`.
    fn runs(&self, x: &[f64], columns: &[&Vec<f64>]) -> Vec<Vec<[f64; 3]>> {
        let points = (0..x.len()).map(|i| {
            let y = |column: usize| columns.get(column).map_or(0.0, |values| self.y.scale.place(values[i]));
            [self.x.scale.place(x[i]), y(0), y(1)]
        });
        let points: Vec<_> = points.collect();
        points
            .split(|point| point.iter().any(|value| !value.is_finite()))
            .filter(|run| !run.is_empty())
            .map(<[_]>::to_vec)
            .collect()
    }

    /// The line through a run of points in CSS pixels, joined as the plot joins and thinned.
    fn outline(&self, panel: &PlotArea<'_, '_>, run: &[[f64; 2]]) -> Vec<[f64; 2]> {
        let mut points = run.to_vec();
        if self.join == Join::Step {
            if run.first().map(|point| point[0]) > run.last().map(|point| point[0]) {
                points.reverse();
            }
            let corners = points.windows(2).flat_map(|pair| [[pair[0][0], pair[1][1]], pair[1]]);
            points = points.iter().take(1).copied().chain(corners).collect();
        }
        thinned(&points.into_iter().map(|point| panel.at(point)).collect::<Vec<_>>())
    }
}

impl Guide {
    /// Name and end points (places); `None` if it lies outside.
    fn ends(&self, x: &Axis, y: &Axis) -> Option<(&str, [[f64; 2]; 2])> {
        let inside = |axis: &Axis, value: f64| {
            let place = axis.scale.place(value);
            (axis.start..=axis.end).contains(&place).then_some(place)
        };
        match self {
            Self::Diagonal(name) => Some((name, [[x.start, y.start], [x.end, y.end]])),
            Self::Horizontal(value, name) => {
                inside(y, *value).map(|place| (name.as_str(), [[x.start, place], [x.end, place]]))
            }
            Self::Vertical(value, name) => {
                inside(x, *value).map(|place| (name.as_str(), [[place, y.start], [place, y.end]]))
            }
        }
    }
}

fn unit() -> Option<Scale> {
    Scale::new(0.0, 1.0).ok()
}

fn check_positive(curve: &Curve, scale: AxisScale, values: &[f64]) -> Result<(), PlotError> {
    match values.iter().find(|value| scale == AxisScale::Log && **value <= 0.0) {
        Some(&value) => Err(PlotError::NotPositive { series: curve.name.clone(), value }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_values_break_the_line() {
        let nan = Curve::new("loss", [1.0, 2.0, 3.0, 4.0], [1.0, f64::NAN, 2.0, 3.0]).unwrap();
        let plot = LinePlot::training("t", "loss").curve(nan.clone());
        let runs = plot.runs(&nan.x, &[&nan.y]);
        assert_eq!(runs.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
        assert!(plot.to_svg().is_ok());
        let all = Curve::new("loss", [1.0], [f64::NAN]).unwrap();
        assert!(matches!(LinePlot::training("t", "loss").curve(all).to_svg(), Err(PlotError::Empty { .. })));
    }

    #[test]
    fn lengths_and_logarithms_are_checked() {
        assert!(matches!(Curve::new("a", [1.0], []), Err(PlotError::Lengths { expected: 1, found: 0, .. })));
        let curve = Curve::new("a", [1.0, 2.0], [0.0, 1.0]).unwrap();
        assert!(curve.clone().band([1.0, 2.0], [0.0], [1.0, 1.0]).is_err());
        let log = LinePlot::new("t", "x", "y").curve(curve).y_scale(AxisScale::Log);
        assert_eq!(log.to_svg(), Err(PlotError::NotPositive { series: "a".to_owned(), value: 0.0 }));
    }

    #[test]
    fn colors_repeat_with_dashes() {
        let curve = Curve::new("a", [], []).unwrap();
        let strokes: Vec<_> = (0..2 * PALETTE.len()).map(|i| curve.stroke(i)).collect();
        for i in 0..strokes.len() {
            assert!(!strokes[..i].contains(&strokes[i]), "curve {i} looks like another");
        }
    }
}
