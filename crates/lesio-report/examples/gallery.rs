//! Everything that lesio-report can show, on one page with made-up numbers:
//!
//! ```text
//! cargo run -p lesio-report --example gallery -- gallery.html
//! ```

use std::error::Error;

use lesio_report::{
    AxisScale, BarPlot, Best, Column, Curve, Estimate, Existing, Figure, HeatMap, HtmlReport, LinePlot,
    Montage, Picture, Rgb, RunRecord, Scale, ScatterPlot, Table,
};
use ndarray::Array2;

const SIZE: usize = 96;
const PREDICTORS: [&str; 5] = ["intensity", "pixel-l1", "grad-kl", "projection", "ensemble"];

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: gallery FILE.html")?;
    let heat_map = HeatMap::new(Scale::new(0.0, 4.0)?).label("score (standard deviations of normal images)");
    let montage = montage(&heat_map)?;
    montage.to_picture()?.write_png(std::path::Path::new(&path).with_extension("png"), Existing::Replace)?;

    let page = HtmlReport::new("Gallery of lesio-report")
        .lead("Every kind of table and figure, with made-up numbers: what a report of the example programs is made of.")
        .facts([("patients", "17"), ("lesion slices", "411"), ("pixels scored", "3 962 114"), ("prevalence", "0.063")])
        .section("Results")
        .paragraph(
            "Intervals are 95 % bootstrap intervals over patients. The intensity of the image itself is the floor \
             that every predictor must beat.",
        )
        .table(results()?)
        .figure_svg(&bars()?, "Average precision on lesion slices, before and after a 5 x 5 median filter.")
        .section("Curves")
        .figures([
            Figure::svg(&roc()?, "Receiver operating characteristic; bands are 95 % intervals."),
            Figure::svg(&precision_recall()?, "Precision and recall."),
        ])
        .figures([
            Figure::svg(&training()?, "Negative ELBO by epoch, logarithmic; validation dashed."),
            Figure::svg(&risk_coverage()?, "Mean absolute error among the segmentations kept."),
        ])
        .section("Quality of segmentations")
        .figure_svg(&scatter()?, "Predicted and true Dice of 600 segmentations.")
        .section("Pictures")
        .montage(&montage, "Three cases on one scale; the truth is outlined in cyan.")?
        .code("lesio.toml:\n  latent = 128\n  beta = 1.0")
        .provenance(
            RunRecord::new("cargo run -p lesio-report --example gallery -- gallery.html")
                .seed(7)
                .seconds(0.2)
                .version("lesio-report", env!("CARGO_PKG_VERSION"))
                .entry("threads", "2"),
        );
    page.write(&path, Existing::Replace)?;
    Ok(())
}

fn results() -> Result<Table, Box<dyn Error>> {
    let score = |name| Column::new(name).best(Best::Highest);
    let columns = [
        Column::new("predictor"),
        score("AUROC"),
        score("AP"),
        score("⌈Dice⌉"),
        score("AUPRO 0.3"),
        Column::new("ms per image").decimals(1).best(Best::Lowest),
    ];
    let mut table = Table::new("Lesion slices of the test split, after post-processing.", columns);
    for (i, name) in PREDICTORS.iter().enumerate() {
        let x = i as f64;
        table = table.row([
            (*name).into(),
            Estimate::new(0.81 + 0.03 * x).with_interval(0.79 + 0.03 * x, 0.84 + 0.025 * x).into(),
            Estimate::new(0.32 + 0.08 * x - 0.01 * x * x)
                .with_interval(0.29 + 0.07 * x, 0.36 + 0.08 * x)
                .into(),
            (0.47 + 0.03 * x).into(),
            if i == 2 { f64::NAN.into() } else { (0.6 + 0.02 * x).into() },
            (0.1 + 3.7 * x * x).into(),
        ])?;
    }
    Ok(table)
}

fn bars() -> Result<lesio_report::Svg, Box<dyn Error>> {
    let series = |gain: f64| {
        (0..5).map(move |i| {
            let value = gain * (0.32 + 0.08 * f64::from(i) - 0.01 * f64::from(i * i));
            Estimate::new(value).with_interval(value - 0.03, value + 0.04)
        })
    };
    let plot = BarPlot::new("Average precision", "average precision", PREDICTORS);
    Ok(plot.series("raw", series(0.8))?.series("post-processed", series(1.0))?.to_svg()?)
}

fn curve(name: &str, power: f64, f: impl Fn(f64, f64) -> f64) -> Result<Curve, Box<dyn Error>> {
    let x: Vec<f64> = (0..=200).map(|i| f64::from(i) / 200.0).collect();
    let y = |power: f64| x.iter().map(|&x| f(x, power)).collect::<Vec<_>>();
    Ok(Curve::new(name, x.clone(), y(power))?.band(x.clone(), y(power * 1.3), y(power / 1.3))?)
}

fn roc() -> Result<lesio_report::Svg, Box<dyn Error>> {
    let mut plot = LinePlot::roc("ROC");
    for (i, name) in PREDICTORS.iter().enumerate() {
        plot = plot.curve(curve(name, 0.3 / (1.0 + 0.5 * i as f64), f64::powf)?);
    }
    Ok(plot.to_svg()?)
}

fn precision_recall() -> Result<lesio_report::Svg, Box<dyn Error>> {
    let mut plot = LinePlot::precision_recall("Precision and recall", 0.063);
    for (i, name) in PREDICTORS.iter().enumerate() {
        let falling = |x: f64, power: f64| 0.063 + 0.9 * (1.0 - x).powf(power);
        plot = plot.curve(curve(name, 3.0 / (1.0 + 0.5 * i as f64), falling)?);
    }
    Ok(plot.to_svg()?)
}

fn training() -> Result<lesio_report::Svg, Box<dyn Error>> {
    let epochs: Vec<f64> = (1..=40).map(f64::from).collect();
    let loss = |floor: f64| epochs.iter().map(|e| floor + 4000.0 * (-e / 4.0).exp()).collect::<Vec<_>>();
    let plot = LinePlot::training("Training", "negative ELBO (nats per image)")
        .curve(Curve::new("training", epochs.clone(), loss(60.0))?.color(0))
        .curve(Curve::new("validation", epochs.clone(), loss(85.0))?.color(0).dashed())
        .vertical(31.0, "kept")
        .y_scale(AxisScale::Log);
    Ok(plot.to_svg()?)
}

fn risk_coverage() -> Result<lesio_report::Svg, Box<dyn Error>> {
    let curves =
        [curve("rec-reg", 1.4, |x, p| 0.09 * x.powf(p))?, curve("direct", 0.9, |x, p| 0.12 * x.powf(p))?];
    Ok(LinePlot::risk_coverage("Risk and coverage", "mean absolute error of the Dice")
        .curves(curves)
        .to_svg()?)
}

fn scatter() -> Result<lesio_report::Svg, Box<dyn Error>> {
    let truth: Vec<f64> = (0..600).map(|i| f64::from(i) / 600.0).collect();
    let predicted = |noise: f64| {
        let wave =
            |(i, t): (usize, &f64)| (t + noise * (12.9898 * i as f64).sin() * (1.3 - t)).clamp(0.0, 1.0);
        truth.iter().enumerate().map(wave).collect::<Vec<_>>()
    };
    let plot = ScatterPlot::new("Predicted and true Dice", "true Dice", "predicted Dice").identity();
    let plot = plot.points("direct", truth.clone(), predicted(0.2))?.points(
        "rec-reg",
        truth.clone(),
        predicted(0.08),
    )?;
    Ok(plot.range(Scale::new(0.0, 1.0)?).to_svg()?)
}

fn montage(heat_map: &HeatMap) -> Result<Montage, Box<dyn Error>> {
    let window = Scale::new(0.0, 1.0)?;
    let mut montage =
        Montage::new(["image", "reconstruction", "pixel-l1", "grad-kl"]).color_bar(heat_map.clone());
    for case in 0..3 {
        let disc = |row: usize, column: usize, y: f64, x: f64, radius: f64| {
            let (dy, dx) = (row as f64 / SIZE as f64 - y, column as f64 / SIZE as f64 - x);
            1.0 / (1.0 + ((dy.hypot(dx * 1.2) - radius) * 80.0).exp())
        };
        let (y, x) = (0.35 + 0.12 * f64::from(case), 0.62 - 0.1 * f64::from(case));
        let at =
            |f: &dyn Fn(usize, usize) -> f64| Array2::from_shape_fn((SIZE, SIZE), |(r, c)| f(r, c) as f32);
        let head = |r: usize, c: usize| {
            0.5 * disc(r, c, 0.5, 0.5, 0.42)
                - 0.3 * disc(r, c, 0.45, 0.43, 0.08)
                - 0.3 * disc(r, c, 0.45, 0.57, 0.08)
        };
        let image = at(&|r, c| head(r, c) + 0.35 * disc(r, c, y, x, 0.09));
        let reconstruction = at(&head);
        let mut map = at(&|r, c| {
            5.0 * disc(r, c, y, x, 0.08) + 1.5 * (r as f64 * 0.7).sin().abs() * disc(r, c, 0.5, 0.5, 0.4)
        });
        let gradient = at(&|r, c| 3.0 * disc(r, c, y + 0.02, x, 0.14));
        if case == 2 {
            map[(10, 10)] = f32::NAN;
        }
        let truth = Array2::from_shape_fn((SIZE, SIZE), |(r, c)| disc(r, c, y, x, 0.09) > 0.5);
        let gray = |values: &Array2<f32>| Picture::gray(values.view(), window)?.enlarged(2);
        let overlay = |values: &Array2<f32>| {
            let picture =
                Picture::gray(image.view(), window)?.overlaid(values.view(), heat_map)?.enlarged(2)?;
            picture.outlined(truth.view(), Rgb::TRUTH)
        };
        let tiles = [gray(&image)?, gray(&reconstruction)?, overlay(&map)?, overlay(&gradient)?];
        montage = montage.row(format!("case {}, slice 31, one lesion", case + 1), tiles)?;
    }
    Ok(montage)
}
