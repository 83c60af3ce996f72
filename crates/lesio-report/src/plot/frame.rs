//! The parts shared by all plots: canvas, axes, grid and legend.

use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{
    Circle, DashedPathElement, Drawable, PathElement, PointCollection, Polygon, Rectangle,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontTransform, IntoTextStyle, RGBColor, ShapeStyle};

use super::axis::Axis;
use super::error::PlotError;
use super::svg::{Svg, UNITS};
use crate::color::Rgb;
use crate::text::{estimated_width, printable, shortened};

/// Colors of text, axes and grid. The style sheet of the page names them too, to change them on a
/// dark page.
pub(super) const INK: Rgb = Rgb([38, 45, 56]);
pub(super) const AXIS: Rgb = Rgb([108, 117, 128]);
pub(super) const GRID: Rgb = Rgb([224, 227, 231]);

/// Width of a plot in CSS pixels: legible when scaled down to a telephone.
const WIDTH: f64 = 440.0;
const FONT_SIZE: f64 = 13.0;
const LEGEND_LINE: f64 = 19.0;
const LEGEND_KEY: f64 = 24.0;

type DrawError = DrawingAreaErrorKind<std::io::Error>;
pub(super) type Drawn = Result<(), DrawError>;

/// A stroke: color, width in CSS pixels, and whether it is dashed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stroke {
    pub(super) color: Rgb,
    pub(super) width: f64,
    pub(super) dashed: bool,
}

/// The symbol before a name in the legend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum LegendKey {
    Line(Stroke),
    Dot(Rgb),
    Square(Rgb),
}

/// A plot without its data.
#[derive(Clone, Debug)]
pub(super) struct PlotFrame<'a> {
    pub(super) title: &'a str,
    pub(super) x: Axis,
    pub(super) y: Axis,
    /// Height of the plotting area in CSS pixels; `None` for a square one.
    pub(super) height: Option<f64>,
    /// Room right of the plotting area, in CSS pixels.
    pub(super) margin_right: f64,
    /// Whether lines run across at the ticks of the y axis.
    pub(super) rows_ruled: bool,
    pub(super) legend: Vec<(LegendKey, String)>,
}

impl PlotFrame<'_> {
    /// Draws the frame, then `contents` within it, and the axes above both.
    pub(super) fn draw(&self, contents: impl FnOnce(&PlotArea<'_, '_>) -> Drawn) -> Result<Svg, PlotError> {
        let widest = |ticks: &[(f64, String)]| {
            ticks.iter().map(|(_, text)| estimated_width(text, FONT_SIZE)).fold(0.0, f64::max)
        };
        let y_label_room = if self.y.label.is_empty() { 0.0 } else { 20.0 };
        let left = (widest(&self.y.ticks) + y_label_room + 12.0)
            .min(if self.margin_right > 0.0 { 0.34 } else { 0.5 } * WIDTH);
        let right =
            (WIDTH - self.margin_right - (0.5 * widest(&self.x.ticks) + 4.0).min(40.0)).max(left + 40.0);
        let top = 10.0;
        let height = self.height.unwrap_or(right - left);
        let legend_top = top + height + 52.0;
        let (legend, legend_lines) = self.legend_places(WIDTH - 8.0);
        let total = legend_top + LEGEND_LINE * legend_lines as f64;

        let size = [WIDTH, total].map(|pixels| (pixels.ceil() as u32).saturating_mul(UNITS));
        let mut document = String::new();
        let area = SVGBackend::with_string(&mut document, (size[0], size[1])).into_drawing_area();
        let panel = PlotArea { area: &area, x: &self.x, y: &self.y, left, top, width: right - left, height };
        let drawn = panel
            .draw_grid(self.rows_ruled)
            .and_then(|()| contents(&panel))
            .and_then(|()| panel.draw_axes())
            .and_then(|()| {
                self.legend.iter().zip(legend).try_for_each(|((key, name), [x, y])| {
                    panel.draw_legend_entry(*key, name, [x, legend_top + y])
                })
            })
            .and_then(|()| area.present());
        drop(area);
        let failed = |message: String| PlotError::Draw { title: self.title.to_owned(), message };
        drawn.map_err(|error| failed(error.to_string()))?;

        // Replaces the library's start tag by one with a title and the size in pixels.
        let elements = document
            .split_once(">\n")
            .and_then(|(_, rest)| rest.trim_end().strip_suffix("</svg>"))
            .ok_or_else(|| failed("it made no SVG document".to_owned()))?;
        Ok(Svg {
            title: self.title.to_owned(),
            width: size[0] / UNITS,
            height: size[1] / UNITS,
            elements: elements.to_owned(),
        })
    }

    /// Positions of the legend's entries, filled line by line up to `width`, and the number of lines.
    fn legend_places(&self, width: f64) -> (Vec<[f64; 2]>, usize) {
        let (mut x, mut line) = (0.0, 0_usize);
        let places = self
            .legend
            .iter()
            .map(|(_, name)| {
                let extent = LEGEND_KEY + legend_text_width(name) + 14.0;
                if x > 0.0 && x + extent > width {
                    (x, line) = (0.0, line + 1);
                }
                let place = [8.0 + x, line as f64 * LEGEND_LINE];
                x += extent;
                place
            })
            .collect();
        (places, if self.legend.is_empty() { 0 } else { line + 1 })
    }
}

fn legend_text_width(name: &str) -> f64 {
    estimated_width(name, FONT_SIZE).min(WIDTH - LEGEND_KEY - 24.0)
}

/// The plotting area. Its coordinates are positions along the axes, or CSS pixels where stated.
pub(super) struct PlotArea<'c, 'b> {
    area: &'c DrawingArea<SVGBackend<'b>, Shift>,
    x: &'c Axis,
    y: &'c Axis,
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl PlotArea<'_, '_> {
    /// Right end of the plotting area in CSS pixels.
    pub(super) fn right(&self) -> f64 {
        self.left + self.width
    }

    /// Converts positions along the axes to CSS pixels. Positions extremely far outside are clamped, so that sums of
    /// the results do not overflow.
    pub(super) fn at(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let fraction =
            |axis: &Axis, place: f64| ((place - axis.start) / (axis.end - axis.start)).clamp(-1e9, 1e9);
        [self.left + self.width * fraction(self.x, x), self.top + self.height * (1.0 - fraction(self.y, y))]
    }

    /// Upper left and lower right corner of the plotting area in CSS pixels.
    pub(super) fn corners(&self) -> [[f64; 2]; 2] {
        [[self.left, self.top], [self.right(), self.top + self.height]]
    }

    /// A line through pixels.
    pub(super) fn line(&self, pixels: &[[f64; 2]], stroke: Stroke) -> Drawn {
        let points: Vec<_> = pixels.iter().map(|&point| units(point)).collect();
        let style = ShapeStyle {
            color: plotters_color(stroke.color).to_rgba(),
            filled: false,
            stroke_width: length(stroke.width),
        };
        if stroke.dashed {
            self.element(&DashedPathElement::new(points, length(5.0) as i32, length(3.0) as i32, style))
        } else {
            self.element(&PathElement::new(points, style))
        }
    }

    /// A filled area.
    pub(super) fn polygon(&self, pixels: &[[f64; 2]], color: Rgb, opacity: f64) -> Drawn {
        let points: Vec<_> = pixels.iter().map(|&point| units(point)).collect();
        self.element(&Polygon::new(points, plotters_color(color).mix(opacity).filled()))
    }

    /// A filled rectangle between two corners.
    pub(super) fn rectangle(&self, corners: [[f64; 2]; 2], color: Rgb) -> Drawn {
        self.element(&Rectangle::new(corners.map(units), plotters_color(color).filled()))
    }

    /// A filled circle.
    pub(super) fn circle(&self, center: [f64; 2], radius: f64, color: Rgb, opacity: f64) -> Drawn {
        self.element(&Circle::new(
            units(center),
            length(radius) as i32,
            plotters_color(color).mix(opacity).filled(),
        ))
    }

    /// A line of text with a point of its box at a pixel.
    pub(super) fn text(&self, text: &str, pixel: [f64; 2], anchor: (HPos, VPos), size: f64) -> Drawn {
        self.turned_text(text, pixel, anchor, size, FontTransform::None)
    }

    fn turned_text(
        &self,
        text: &str,
        pixel: [f64; 2],
        (horizontal, vertical): (HPos, VPos),
        size: f64,
        turn: FontTransform,
    ) -> Drawn {
        // The backend divides by this factor, which is meant for other backends' fonts.
        let size = size * f64::from(UNITS) * 1.24;
        let ink = plotters_color(INK);
        let style = ("sans-serif", size, &ink)
            .into_text_style(self.area)
            .transform(turn)
            .pos(Pos::new(horizontal, vertical));
        self.area.draw_text(&printable(text), &style, units(pixel))
    }

    fn element<E>(&self, element: &E) -> Drawn
    where
        for<'a> &'a E: PointCollection<'a, (i32, i32)>,
        E: for<'b> Drawable<SVGBackend<'b>>,
    {
        self.area.draw(element)
    }

    fn draw_grid(&self, rows_ruled: bool) -> Drawn {
        let stroke = Stroke { color: GRID, width: 0.75, dashed: false };
        for (place, _) in &self.x.ticks {
            self.line(&[self.at([*place, self.y.start]), self.at([*place, self.y.end])], stroke)?;
        }
        for (place, _) in self.y.ticks.iter().filter(|_| rows_ruled) {
            self.line(&[self.at([self.x.start, *place]), self.at([self.x.end, *place])], stroke)?;
        }
        Ok(())
    }

    fn draw_axes(&self) -> Drawn {
        let stroke = Stroke { color: AXIS, width: 1.0, dashed: false };
        let bottom = self.top + self.height;
        let [corner, right, top] = [[self.left, bottom], [self.right(), bottom], [self.left, self.top]];
        self.line(&[top, corner, right], stroke)?;
        for (place, text) in &self.x.ticks {
            let [x, _] = self.at([*place, self.y.start]);
            self.line(&[[x, bottom], [x, bottom + 3.0]], stroke)?;
            self.text(text, [x, bottom + 6.0], (HPos::Center, VPos::Top), FONT_SIZE)?;
        }
        for (place, text) in &self.y.ticks {
            let [_, y] = self.at([self.x.start, *place]);
            let text = shortened(text, FONT_SIZE, self.left - 8.0);
            self.text(&text, [self.left - 6.0, y], (HPos::Right, VPos::Center), FONT_SIZE)?;
        }
        let center = [self.left + 0.5 * self.width, bottom + 25.0];
        let label = shortened(&self.x.label, FONT_SIZE, 2.0 * center[0].min(WIDTH - center[0]));
        self.text(&label, center, (HPos::Center, VPos::Top), FONT_SIZE)?;
        if !self.y.label.is_empty() {
            let center = [2.0, self.top + 0.5 * self.height];
            let anchor = (HPos::Center, VPos::Top);
            let label = shortened(&self.y.label, FONT_SIZE, self.height + 20.0);
            self.turned_text(&label, center, anchor, FONT_SIZE, FontTransform::Rotate270)?;
        }
        Ok(())
    }

    fn draw_legend_entry(&self, key: LegendKey, name: &str, [x, y]: [f64; 2]) -> Drawn {
        let middle = y + 0.5 * LEGEND_LINE;
        match key {
            LegendKey::Line(stroke) => self.line(&[[x, middle], [x + LEGEND_KEY - 6.0, middle]], stroke)?,
            LegendKey::Dot(color) => self.circle([x + 8.0, middle], 3.5, color, 1.0)?,
            LegendKey::Square(color) => {
                self.rectangle([[x + 3.0, middle - 5.0], [x + 13.0, middle + 5.0]], color)?;
            }
        }
        let name = shortened(name, FONT_SIZE, legend_text_width(name));
        self.text(&name, [x + LEGEND_KEY, middle], (HPos::Left, VPos::Center), FONT_SIZE)
    }
}

fn plotters_color(Rgb([r, g, b]): Rgb) -> RGBColor {
    RGBColor(r, g, b)
}

/// From CSS pixels to whole units of the canvas; the cast saturates.
fn units([x, y]: [f64; 2]) -> (i32, i32) {
    let unit = |pixels: f64| (pixels * f64::from(UNITS)).round() as i32;
    (unit(x), unit(y))
}

fn length(pixels: f64) -> u32 {
    (pixels * f64::from(UNITS)).round().max(1.0) as u32
}

/// The colors in which text, axes and grids of all plots are drawn.
#[cfg(test)]
pub(crate) fn page_colors() -> [crate::color::Rgb; 3] {
    [INK, AXIS, GRID]
}
