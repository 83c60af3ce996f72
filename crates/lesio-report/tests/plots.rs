//! Plots of whatever numbers come: drawn within their canvas, or refused by name.
// Tests may panic: that is how they fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use lesio_report::{AxisScale, BarPlot, Curve, Estimate, LinePlot, Scale, ScatterPlot, Svg};
use proptest::prelude::*;

/// Coordinates of all lines and areas of a plot, in pixels of its canvas.
fn coordinates(svg: &Svg) -> Vec<[f64; 2]> {
    let document = svg.to_document();
    let lists = document.split("points=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    lists
        .flat_map(str::split_whitespace)
        .map(|pair| {
            let (x, y) = pair.split_once(',').unwrap();
            [x.parse().unwrap(), y.parse().unwrap()]
        })
        .collect()
}

fn check_inside(svg: &Svg) {
    let document = svg.to_document();
    let view_box = document.split("viewBox=\"0 0 ").nth(1).unwrap().split('"').next().unwrap();
    let (width, height) = view_box.split_once(' ').unwrap();
    let size: [f64; 2] = [width.parse().unwrap(), height.parse().unwrap()];
    for point in coordinates(svg) {
        for axis in 0..2 {
            assert!((0.0..=size[axis]).contains(&point[axis]), "{point:?} outside {size:?}");
        }
    }
}

#[test]
fn a_curve_runs_through_its_points() {
    let curve = Curve::new("diagonal", [0.0, 0.25, 1.0], [0.0, 0.25, 1.0]).unwrap();
    let svg = LinePlot::roc("t").curve(curve).to_svg().unwrap();
    let document = svg.to_document();
    let line = document.lines().find(|line| line.contains("#0072B2") && line.contains("points")).unwrap();
    let points: Vec<f64> = line
        .split("points=\"")
        .nth(1)
        .unwrap()
        .split(['"', ',', ' '])
        .map_while(|v| v.parse().ok())
        .collect();
    let [x0, y0, x1, y1, x2, y2] = points[..] else { panic!("{points:?}") };
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
    let document = draw(rising).to_document();
    let line = document.lines().find(|line| line.contains("#0072B2") && line.contains("points")).unwrap();
    assert_eq!(
        line.split("points=\"").nth(1).unwrap().split_whitespace().filter(|p| p.contains(',')).count(),
        5
    );
}

#[test]
fn what_lies_outside_the_range_is_cut_off() {
    let curve = Curve::new("a", [0.0, 1.0, 2.0, 3.0], [0.0, 1e308, -1e308, 0.5]).unwrap();
    let curve = curve.band([-1e300, 0.0, 0.0, 0.0], [1.0, 1e300, 1.0, 1.0]).unwrap();
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
        let mut curve = Curve::new("a", column(0), column(1)).unwrap().band(column(2), column(3)).unwrap();
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
        let mut plot = ScatterPlot::new("t", "x", "y").points("a", column(0), column(1)).unwrap();
        if identity {
            plot = plot.identity();
        }
        if let Ok(svg) = plot.to_svg() {
            check_inside(&svg);
        }
        let estimates = values.iter().map(|value| Estimate::new(value[0]).with_interval(value[1], value[2]));
        let bars = BarPlot::new("t", "v", values.iter().map(|value| format!("{value:?}")));
        if let Ok(svg) = bars.series("s", estimates).unwrap().to_svg() {
            check_inside(&svg);
        }
    }
}
