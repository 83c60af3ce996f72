//! An estimator of quality at work on synthetic hearts.

use std::ops::ControlFlow;
use std::time::Instant;

use lesio_image::{Geometry, Scan, Volume};
use lesio_metrics::BootstrapConfig;
use lesio_nn::Device;
use lesio_phantom::{CardiacPhase, HeartConfig, HeartPart, HeartPhantom};
use lesio_quality::{
    Attack, AttackKind, AttackUnit, Corruptor, DiceOf, EstimatorConfig, FAILURE, Framing, Method,
    PipelineConfig, PipelineProgress, QualityModel, QualityPipeline, Scored, SliceVerdict, StepCache,
    TrueSlice, Widths,
};
use lesio_report::{Column, Estimate, HeatMap, HtmlReport, Montage, Picture, Rgb, Scale, ScatterPlot, Table};
use ndarray::{Array2, Axis};
use serde_json::json;

use crate::quality::error::QualityStudyError;
use crate::quality::page::TESTED;

/// Rows and columns of an image, and of the networks' grid.
const SIZE: usize = 64;
const GRID: usize = 32;
/// Subjects for training, for choice and calibration, and for tests.
const SUBJECTS: [u64; 3] = [40, 12, 20];
/// Slices of a subject: from 0, the base, to 1, the apex.
const LEVELS: [f64; 3] = [0.15, 0.4, 0.65];
/// Strength of the attack that is shown, in deviations of the image.
const ATTACK: f32 = 0.1;
/// Dice of the two segmentations that are shown.
const SHOWN: [(&str, f64); 2] = [("good", 0.92), ("bad", 0.5)];
/// Pixels of the picture per pixel of a slice.
const ENLARGED: usize = 3;

/// Adds a section to a report: a small estimator of the quality of segmentations, trained on synthetic hearts and measured on
/// others, in about a minute. Returns the figures of the section, too.
///
/// # Errors
/// None but those of the parts, which these images do not give rise to, and failures of the device.
pub fn demonstrate(
    report: HtmlReport,
    seed: u64,
    device: &Device,
) -> Result<(HtmlReport, serde_json::Value), QualityStudyError> {
    let started = Instant::now();
    let hearts = HeartPhantom::new(HeartConfig::new([SIZE, SIZE], seed))?;
    let [training, held_out, test] = {
        let mut first = 0;
        SUBJECTS.map(|count| {
            let subjects = first..first + count;
            first += count;
            subjects.flat_map(|subject| slices(&hearts, subject)).collect::<Vec<_>>()
        })
    };
    let label = HeartPart::Myocardium.label();
    let parts = [HeartPart::RightVentricle, HeartPart::Myocardium, HeartPart::LeftVentricle];
    let framing =
        Framing::new([label]).grid([GRID, GRID]).fitted(training.iter().map(|slice| slice.truth.view()));
    let config = EstimatorConfig::new(Method::SecondOpinion, framing)
        .classes(parts.map(HeartPart::label))
        .widths(Widths::uniform([8, 16, 32]));
    let mut observer = |_: &PipelineProgress<'_>| ControlFlow::Continue(());
    let (pipeline, cache) = (pipeline(seed), StepCache::none());
    let pipeline =
        QualityPipeline::prepare(pipeline, config, &training, &held_out, cache, device, &mut observer)?;
    let samples = pipeline.pool(&test, 10, &mut observer)?;
    let model = pipeline.model(Method::SecondOpinion, &mut observer)?;

    let estimator = model.estimator();
    let clean = estimator.estimate_samples(&samples, None)?;
    let images =
        Attack::new(AttackKind::Fgsm, ATTACK, AttackUnit::Std).perturb(estimator, &samples, |_| {})?;
    let attacked = estimator.estimate_samples(&samples, Some(&images))?;
    let mut table = Table::new(
        format!("{} segmentations of {} subjects that nothing was trained on.", samples.len(), SUBJECTS[2]),
        [
            Column::new("images"),
            Column::new("mean absolute error").decimals(3),
            Column::new("Pearson").decimals(3),
            Column::new("AUROC of failure (Dice below .7)").decimals(3),
        ],
    );
    let mut plot = ScatterPlot::new("Predicted against true Dice", "true Dice", "predicted Dice").identity();
    let mut figures = Vec::new();
    for (name, estimates) in [("clean", &clean), ("attacked", &attacked)] {
        let own = Scored::of_label(&samples, &estimates.dice, 0);
        let evaluation = own.evaluate(&BootstrapConfig::new(seed).replicates(200))?;
        let mut mae = Estimate::new(evaluation.regression.mean_absolute_error);
        if let Some(interval) = evaluation.mae_interval {
            mae = mae.with_interval(interval.lower, interval.upper);
        }
        let (pearson, auroc) = (evaluation.regression.pearson, evaluation.failure_auroc);
        table = table.row([name.into(), mae.into(), pearson.into(), auroc.into()])?;
        figures.push(json!({
            "images": name,
            "mae": evaluation.regression.mean_absolute_error,
            "pearson": pearson,
            "failure_auroc": auroc,
            "failure_below": FAILURE,
            "n": samples.len(),
        }));
        plot = plot.points(name, own.truth, own.predicted)?;
    }
    let seconds = started.elapsed().as_secs_f64();
    let report = report
        .section("How far a segmentation can be trusted")
        .paragraph(format!(
            "Another network learned, from {} drawn hearts and segmentations of them of every quality, to tell the Dice of a \
             segmentation of the heart's muscle from the image alone. Here are segmentations of {} hearts that it never saw, \
             as they are and after an attack that changes each pixel by up to {ATTACK} deviations to mislead it. Training and \
             answers took {seconds:.0} seconds.",
            SUBJECTS[0], SUBJECTS[2]
        ))
        .montage(
            &pictures(&model, &hearts, label)?,
            "A good and a bad segmentation of one unseen heart: true outline cyan, segmentation under test orange; what the \
             image would be if that were right; and where the estimator holds it for wrong.",
        )?
        .table(table)
        .figure_svg(&plot.range(Scale::new(0.0, 1.0)?).to_svg()?, "One point a segmentation.");
    Ok((report, json!({"seconds": seconds, "figures": figures})))
}

fn pipeline(seed: u64) -> PipelineConfig {
    let mut pipeline = PipelineConfig::new(seed);
    pipeline.segmenters = vec![vec![8, 16, 32]];
    pipeline.stages = vec![1, 3, 8];
    pipeline.corruptions = 10;
    pipeline.training_per_bin = 60;
    pipeline.validation_per_bin = 15;
    pipeline.reconstruction_steps = 150;
    pipeline.estimator_steps = 200;
    pipeline.opinion_steps = 600;
    pipeline.finishing_steps = 30;
    pipeline.views = 1;
    pipeline
}

fn slices(hearts: &HeartPhantom, subject: u64) -> Vec<TrueSlice> {
    let phase = phase(subject);
    let drawn = LEVELS.map(|level| hearts.slice_at(subject, phase, level));
    let name = format!("subject {subject}");
    drawn
        .into_iter()
        .filter_map(|slice| TrueSlice::alone(&name, slice.image.insert_axis(Axis(0)), slice.labels))
        .collect()
}

fn phase(subject: u64) -> CardiacPhase {
    if subject.is_multiple_of(2) { CardiacPhase::EndDiastole } else { CardiacPhase::EndSystole }
}

/// Segmentations of an unseen heart, with what is said of them.
fn pictures(model: &QualityModel, hearts: &HeartPhantom, label: u8) -> Result<Montage, QualityStudyError> {
    let subject = SUBJECTS.iter().sum::<u64>();
    let slice = hearts.slice_at(subject, phase(subject), LEVELS[1]);
    let geometry = Geometry::from_spacing([hearts.pixel(), hearts.pixel(), 1.0])?;
    let volume = |values: Array2<f32>| Volume::new(values.insert_axis(Axis(2)), geometry);
    let image = Scan::from(volume(slice.image.clone()));
    let (low, high) = slice.image.iter().fold((f32::MAX, f32::MIN), |(a, b), &v| (a.min(v), b.max(v)));
    let window = Scale::new(f64::from(low), f64::from(high))?;
    let errors = HeatMap::new(Scale::new(0.0, 1.0)?).label("probability that the label is wrong");
    let mut montage = Montage::new(["image, truth, segmentation", "if it were right", "where it is wrong"])
        .color_bar(errors.clone());
    for (number, (name, target)) in (0..).zip(SHOWN) {
        let corruptor = Corruptor::of_slice(slice.labels.view())?.dice_of(DiceOf::Label(label))?;
        let wrong = corruptor.aim(target, subject + number)?;
        let true_dice = wrong.dice;
        let tested = wrong.into_slice();
        let assessment = model.assess(&image, &Volume::new(tested.clone().insert_axis(Axis(2)), geometry))?;
        let predicted = match assessment.slices.first().map(|slice| &slice.verdict) {
            Some(SliceVerdict::Graded { labels, .. }) => labels.first().copied(),
            _ => None,
        };
        let said = predicted.map_or_else(String::new, |grade| {
            let [low, high] = grade.interval;
            format!("predicted {:.2}, {low:.2} to {high:.2}", grade.dice)
        });
        let reconstruction =
            volume(assessment.reconstruction.into_data().remove_axis(Axis(3)).remove_axis(Axis(0)));
        let plane = |volume: &Volume<f32>| volume.data().index_axis(Axis(2), 0).to_owned();
        let gray = |values: &Array2<f32>| Picture::gray(values.view(), window);
        let of = |labels: &Array2<u8>| labels.mapv(|found| found == label);
        let error = match &assessment.error {
            Some(error) => gray(&slice.image)?.overlaid(plane(error).view(), &errors)?,
            None => gray(&slice.image)?,
        };
        let row = [
            gray(&slice.image)?
                .enlarged(ENLARGED)?
                .outlined(of(&slice.labels).view(), Rgb::TRUTH)?
                .outlined(of(&tested).view(), TESTED)?,
            gray(&plane(&reconstruction))?.enlarged(ENLARGED)?,
            error.enlarged(ENLARGED)?,
        ];
        montage = montage.row(format!("{name}: Dice {true_dice:.2}, {said}"), row)?;
    }
    Ok(montage)
}
