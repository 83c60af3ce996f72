//! Plots of whatever numbers come: drawn within their canvas, or refused by name.
// Tests may panic: that is how they fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use lesio_report::{AxisScale, BarPlot, Curve, Estimate, LinePlot, Scale, ScatterPlot, Svg};
use proptest::prelude::*;

/// Points of the lines and areas of one color, element by element.
fn shapes(svg: &Svg, color: &str) -> Vec<Vec<[f64; 2]>> {
    let number = |text: &str| text.parse::<f64>().unwrap();
    let points = |line: &str| {
        let list = line.split("points=\"").nth(1)?.split('"').next()?;
        let pairs = list.split_whitespace().map(|pair| pair.split_once(',').unwrap());
        Some(pairs.map(|(x, y)| [number(x), number(y)]).collect())
    };
    svg.to_document().lines().filter(|line| line.contains(color)).filter_map(points).collect()
}

/// Panics unless what has the first color of the palette lies within the axes. Series have no names
/// here, so that it is not in a legend.
fn check_inside(svg: &Svg) {
    let axes = shapes(svg, "#6C7580").into_iter().find(|points| points.len() == 3).expect("axes are drawn");
    let [[left, top], [_, bottom], [right, _]] = axes[..] else { panic!("{axes:?}") };
    for [x, y] in shapes(svg, "#0072B2").concat() {
        let across = (left - 1.0..=right + 1.0).contains(&x);
        assert!(across && (top - 1.0..=bottom + 1.0).contains(&y), "{x} {y}: {axes:?}");
    }
}

#[test]
fn a_curve_runs_through_its_points() {
    let curve = Curve::new("diagonal", [0.0, 0.25, 1.0], [0.0, 0.25, 1.0]).unwrap();
    let svg = LinePlot::roc("t").curve(curve).to_svg().unwrap();
    let document = svg.to_document();
    let [[x0, y0], [x1, y1], [x2, y2]] = shapes(&svg, "#0072B2")[0][..] else { panic!("{document}") };
    assert!(((x1 - x0) / (x2 - x0) - 0.25).abs() < 0.002);
    assert!(((y1 - y0) / (y2 - y0) - 0.25).abs() < 0.002);
    assert!(x2 > x0 && y2 < y0, "x grows to the right, y upwards");
    for text in ["diagonal", "chance", "false-positive rate", "true-positive rate", "<title>t</title>"] {
        assert!(document.contains(text), "{text}");
    }
}

#[test]
fn precision_and_recall_are_steps_in_either_order() {
    let rising = Curve::new("a", [0.0, 0.5, 1.0], [1.0, 0.8, 0.2]).unwrap();
    let falling = Curve::new("a", [1.0, 0.5, 0.0], [0.2, 0.8, 1.0]).unwrap();
    let draw = |curve| LinePlot::precision_recall("t", 0.1).curve(curve).to_svg().unwrap();
    assert_eq!(draw(rising.clone()), draw(falling));
    assert_eq!(shapes(&draw(rising), "#0072B2")[0].len(), 5, "three points and two corners");
}

#[test]
fn what_lies_outside_the_range_is_cut_off() {
    let curve = Curve::new("", [0.0, 1.0, 2.0, 3.0], [0.0, 1e308, -1e308, 0.5]).unwrap();
    let curve = curve.band([0.0, 1.0, 2.0, 3.0], [-1e300, 0.0, 0.0, 0.0], [1.0, 1e300, 1.0, 1.0]).unwrap();
    let unit = Scale::new(0.0, 1.0).unwrap();
    let svg = LinePlot::new("t", "x", "y").curve(curve).x_range(Scale::new(0.5, 2.5).unwrap()).y_range(unit);
    check_inside(&svg.to_svg().unwrap());
}

#[test]
fn very_many_points_make_a_small_file() {
    let x: Vec<f64> = (0..500_000).map(|i| f64::from(i) / 500_000.0).collect();
    let y: Vec<f64> = x.iter().map(|x| x.powf(0.2)).collect();
    let svg = LinePlot::roc("t").curve(Curve::new("a", x, y).unwrap()).to_svg().unwrap();
    assert!(svg.to_document().len() < 100_000, "{}", svg.to_document().len());
}

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => -10.0..10.0_f64,
        1 => any::<f64>(),
        1 => prop::sample::select(vec![0.0, 1.0, f64::NAN, f64::INFINITY, 1e-300, -1e300, 1e15, 1e15 + 2.0]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_curves_are_drawn_inside_or_refused(
        points in prop::collection::vec([any_number(), any_number(), any_number(), any_number()], 0..12),
        (x_log, y_log, dashed, step) in any::<(bool, bool, bool, bool)>(),
        range in prop::option::of([any_number(), any_number()]),
    ) {
        let column = |i: usize| points.iter().map(|point| point[i]).collect::<Vec<_>>();
        let mut curve = Curve::new("", column(0), column(1)).unwrap().band(column(0), column(2), column(3)).unwrap();
        if dashed {
            curve = curve.dashed();
        }
        let mut plot = if step { LinePlot::precision_recall("t", 0.1) } else { LinePlot::new("t", "x", "y") };
        plot = plot.curve(curve).horizontal(0.5, "h").vertical(f64::NAN, "v");
        if let Some(range) = range.and_then(|[low, high]| Scale::new(low, high).ok()) {
            plot = plot.x_range(range).y_range(range);
        }
        let scale = |log| if log { AxisScale::Log } else { AxisScale::Linear };
        if let Ok(svg) = plot.x_scale(scale(x_log)).y_scale(scale(y_log)).to_svg() {
            check_inside(&svg);
            prop_assert!(!svg.to_document().contains("NaN"));
        }
    }

    #[test]
    fn any_points_and_bars_are_drawn_inside_or_refused(
        values in prop::collection::vec([any_number(), any_number(), any_number()], 1..8),
        identity in any::<bool>(),
    ) {
        let column = |i: usize| values.iter().map(|value| value[i]).collect::<Vec<_>>();
        let mut plot = ScatterPlot::new("t", "x", "y").points("", column(0), column(1)).unwrap();
        if identity {
            plot = plot.identity();
        }
        if let Ok(svg) = plot.to_svg() {
            check_inside(&svg);
        }
        let estimates = values.iter().map(|value| Estimate::new(value[0]).with_interval(value[1], value[2]));
        let bars = BarPlot::new("t", "v", values.iter().map(|value| format!("{value:?}")));
        if let Ok(svg) = bars.series("", estimates).unwrap().to_svg() {
            check_inside(&svg);
        }
    }
}
