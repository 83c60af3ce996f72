//! The study of quality as a page.

use lesio_quality::{AttackUnit, Method, Sample, Scored};
use lesio_report::{Curve, HeatMap, HtmlReport, LinePlot, Montage, Picture, Rgb, Scale, ScatterPlot};
use ndarray::Array2;

use crate::quality::error::QualityStudyError;
use crate::quality::figures::certainty;
use crate::quality::measure::{QualityStudy, rounded};
use crate::quality::schema::{Perturbation, QualityReport};
use crate::quality::tables::{SHOWN, estimator_title, find, tables};

/// True Dice of the candidates that are shown.
const SHOWN_DICE: [f64; 5] = [0.1, 0.3, 0.5, 0.75, 0.95];
/// Outline of a segmentation under test.
pub(super) const TESTED: Rgb = Rgb([255, 176, 0]);
/// Pixels of a picture per pixel of the grid.
const ENLARGED: usize = 4;

impl QualityStudy {
    /// The study as a page: pictures, tables and curves. `report` is its record, whose provenance is shown.
    ///
    /// # Errors
    /// Estimates that cannot be made; otherwise none in practice, tables and plots check their own rows.
    pub fn page(&self, report: &QualityReport) -> Result<HtmlReport, QualityStudyError> {
        let mut page = HtmlReport::new("Segmentation quality without ground truth")
            .lead(format!("{} candidates of patients that nothing was trained on.", self.samples.len()))
            .section("What is said of segmentations")
            .montage(
                &self.pictures()?,
                "Candidates of rising Dice: true outline cyan, candidate orange; what REC-Net paints where the candidate is cut \
                 out, the difference to the image, and where the second opinion holds the candidate for wrong.",
            )?
            .section("How far off the predicted Dice is");
        for (_, table) in tables(report)? {
            page = page.table(table);
        }
        page = page.section("Under attack");
        let attacks = [
            (Perturbation::Fgsm, AttackUnit::Std, "FGSM, strength in deviations"),
            (Perturbation::Pgd, AttackUnit::Std, "PGD, strength in deviations"),
            (Perturbation::Fgsm, AttackUnit::Range, "FGSM, strength as a share of the range"),
        ];
        for (attack, unit, title) in attacks {
            let mut plot = LinePlot::new(title, "strength", "mean absolute error");
            for method in SHOWN {
                let clean = find(report, method, Perturbation::None, AttackUnit::Std, 0.0);
                let attacked = self.config.strengths.iter().map(|&strength| {
                    (f64::from(strength), find(report, method, attack, unit, rounded(strength)))
                });
                let points = std::iter::once((0.0, clean)).chain(attacked);
                let (x, y): (Vec<f64>, Vec<f64>) = points.filter_map(|(x, row)| Some((x, row?.mae?))).unzip();
                plot = plot.curve(Curve::new(estimator_title(method), x, y)?);
            }
            page = page.figure_svg(&plot.to_svg()?, title);
        }
        page = page.section("Predicted against true Dice");
        for method in SHOWN {
            let Some(clean) = self.clean(method) else { continue };
            let (own, title) = (Scored::of_mean(&self.samples, &clean.dice), estimator_title(method));
            let plot = ScatterPlot::new(title, "true Dice", "predicted Dice").identity();
            let plot = plot.range(Scale::new(0.0, 1.0)?).points(title, own.truth, own.predicted)?;
            page = page.figure_svg(&plot.to_svg()?, format!("{title}, clean images."));
        }
        page = page.section("Refusing the doubtful");
        let mut plot = LinePlot::risk_coverage("Risk and coverage", "mean absolute error of those kept");
        for method in SHOWN {
            let (Some(clean), Some(model)) = (self.clean(method), self.model(method)) else { continue };
            let own = Scored::of_label(&self.samples, &clean.dice, 0);
            let curve = own.risk_coverage(&certainty(model, 0, &own))?;
            plot = plot.curve(Curve::new(estimator_title(method), curve.coverage, curve.risk)?);
        }
        page = page.figure_svg(&plot.to_svg()?, "The narrower its interval, the longer an estimate is kept.");
        Ok(match &report.provenance {
            Some(provenance) => page.provenance(provenance.clone()),
            None => page,
        })
    }

    /// Candidates of rising true Dice, with what REC-Net and the second opinion make of them.
    fn pictures(&self) -> Result<Montage, QualityStudyError> {
        let errors = HeatMap::new(Scale::new(0.0, 1.0)?).label("probability that the label is wrong");
        let columns = ["image, truth, candidate", "painted by REC-Net", "difference", "where it is wrong"];
        let mut montage = Montage::new(columns).color_bar(errors.clone());
        let (Some(rec_reg), Some(best)) = (self.model(Method::RecReg), self.model(Method::SecondOpinion))
        else {
            return Ok(montage);
        };
        let framing = &rec_reg.config().framing;
        for target in SHOWN_DICE {
            let distance = |sample: &Sample| (sample.mean_dice() - target).abs();
            let nearest = self.samples.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
            let Some(sample) = nearest else { continue };
            let reconstructed = rec_reg.estimator().estimate(&sample.image, &sample.segmentation)?;
            let estimate = best.estimator().estimate(&sample.image, &sample.segmentation)?;
            let predicted = estimate.dice.iter().sum::<f32>() / framing.labels.len().max(1) as f32;
            let is_graded = |&index: &u8| {
                let class = rec_reg.config().classes.get(usize::from(index).wrapping_sub(1));
                class.is_some_and(|class| framing.labels.contains(class))
            };
            let plane = |values: Vec<f32>| Array2::from_shape_vec(framing.grid, values);
            let mask = |values: Vec<bool>| Array2::from_shape_vec(framing.grid, values);
            // Of several channels, the first.
            let first = |mut values: Vec<f32>| {
                values.truncate(framing.pixels());
                plane(values)
            };
            let image = first(sample.image.clone())?;
            let reconstruction = first(reconstructed.reconstruction.unwrap_or_default())?;
            let error = plane(estimate.error.unwrap_or_default())?;
            let truth = mask(sample.truth.iter().map(is_graded).collect())?;
            let candidate = mask(sample.segmentation.iter().map(|&index| index != 0).collect())?;
            let (low, high) = image.iter().fold((f32::MAX, f32::MIN), |(a, b), &v| (a.min(v), b.max(v)));
            let window = Scale::new(f64::from(low), f64::from(high))?;
            let contrast = f64::from(high - low) / 2.0;
            let differences = Scale::new(-contrast, contrast)?;
            let row = [
                Picture::gray(image.view(), window)?
                    .enlarged(ENLARGED)?
                    .outlined(truth.view(), Rgb::TRUTH)?
                    .outlined(candidate.view(), TESTED)?,
                Picture::gray(reconstruction.view(), window)?.enlarged(ENLARGED)?,
                Picture::gray((&image - &reconstruction).view(), differences)?.enlarged(ENLARGED)?,
                Picture::gray(image.view(), window)?.overlaid(error.view(), &errors)?.enlarged(ENLARGED)?,
            ];
            let label = format!("Dice {:.2}, predicted {predicted:.2}", sample.mean_dice());
            montage = montage.row(label, row)?;
        }
        Ok(montage)
    }
}
