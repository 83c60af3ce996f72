//! Evaluations as tables, curves and pictures of a report.

use lesio_anomaly::{Localizer, PredictorName};
use lesio_image::{Geometry, Plane, upright_slice};
use lesio_report::{
    Best, Column, Curve, Estimate, Figure, HeatMap, LinePlot, Montage, Picture, PictureError, PlotError,
    PredictorReport, Rgb, Scale, ScaleError, Scope, ScopeReport, Table, TableCell, TableError, compact,
};
use ndarray::{Array2, Array3, ArrayRef3, Axis};

use crate::display::{enlargement, left_to_right, magnification, pixel_of, window};
use crate::evaluation::BEYOND_FLOOR;
use crate::groups::GroupScores;
use crate::images::{ImageFigures, ImageLevel, ImageRule};
use crate::interval::Interval95;
use crate::maps::{Maps, Scene};
use crate::measured::PredictorCurves;
use crate::operating::{NOMINAL_RATE, OperatingFigures};
use crate::subject::Subject;

/// Why an evaluation could not be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PresentationError {
    /// A table could not be made.
    #[error("a table could not be made")]
    Table(#[from] TableError),
    /// A plot could not be made.
    #[error("a plot could not be made")]
    Plot(#[from] PlotError),
    /// A picture could not be made.
    #[error("a picture could not be made")]
    Picture(#[from] PictureError),
    /// A range of values is empty.
    #[error("a range of values is empty")]
    Scale(#[from] ScaleError),
}

/// The table of a scope: raw and post-processed metrics of every predictor, the best of each column marked.
///
/// # Errors
/// None in practice; the table checks its own rows.
pub fn scope_table(scope: &ScopeReport) -> Result<Table, PresentationError> {
    let caption = format!(
        "{} (scope {}), prevalence {}. Raw scores, then after post-processing (pp). The threshold of ceil_dice is \
         selected with the test truth.",
        match scope.scope {
            Scope::LesionSlices => "Images, or slices of volumes, with lesions",
            _ => "All images, or slices of volumes",
        },
        scope.scope.name(),
        compact(scope.prevalence.unwrap_or(f64::NAN))
    );
    let figures = [
        "AP",
        "AUROC",
        "AUPRO .3",
        "ceil_dice",
        "AP pp",
        "AUROC pp",
        "AUPRO .3 pp",
        "ceil_dice pp",
        "Dice at val pp",
        "AP pp minus intensity",
    ];
    let columns = std::iter::once(Column::new("predictor"))
        .chain(figures.map(|name| Column::new(name).decimals(3).best(Best::Highest)))
        .chain([Column::new("s/image").decimals(4)]);
    let mut table = Table::new(caption, columns);
    for row in &scope.predictors {
        let (raw, post) = (&row.raw, &row.postprocessed);
        let (raw_ci, post_ci) = (&row.ci95.raw, &row.ci95.postprocessed);
        table = table.row([
            TableCell::from(row.name.as_str()),
            estimate(raw.average_precision, raw_ci.average_precision),
            estimate(raw.auroc, raw_ci.auroc),
            estimate(raw.aupro_30, raw_ci.aupro_30),
            estimate(raw.ceil_dice, raw_ci.ceil_dice),
            estimate(post.average_precision, post_ci.average_precision),
            estimate(post.auroc, post_ci.auroc),
            estimate(post.aupro_30, post_ci.aupro_30),
            estimate(post.ceil_dice, post_ci.ceil_dice),
            estimate(post.dice_at_val, post_ci.dice_at_val),
            beyond_floor(row)?,
            estimate(row.seconds_per_image, None),
        ])?;
    }
    Ok(table)
}

/// The AUROC of every predictor, in rows, on every group of lesions, in columns, with intervals over patients.
///
/// # Errors
/// None in practice; the table checks its own rows.
pub(crate) fn group_table(groups: &[GroupScores]) -> Result<Table, PresentationError> {
    let caption = "AUROC after post-processing by kind of defect, or kind and contrast of lesion, against the normal foreground of the \
                   images, or slices of volumes, that hold it; in brackets lesions and subjects, 95 % intervals over subjects.";
    let title = |group: &GroupScores| format!("{} ({}, {})", group.group, group.lesions, group.patients);
    let columns = groups.iter().map(|group| Column::new(title(group)).decimals(3).best(Best::Highest));
    let mut table = Table::new(caption, std::iter::once(Column::new("predictor")).chain(columns));
    let predictors = groups.first().map_or(&[][..], |group| &group.predictors);
    for (place, row) in predictors.iter().enumerate() {
        let mut cells = vec![TableCell::from(row.predictor.as_str())];
        for score in groups.iter().filter_map(|group| group.predictors.get(place)) {
            cells.push(estimate(score.auroc, score.auroc_interval));
        }
        table = table.row(cells)?;
    }
    Ok(table)
}

/// How well each predictor (in rows) separates abnormal from normal images by each rule (in columns).
///
/// # Errors
/// None in practice; the table checks its own rows.
pub(crate) fn image_table(images: &ImageFigures) -> Result<Table, PresentationError> {
    let mut caption = format!(
        "Whole images: {} abnormal and {} normal {}, scored by the highest of the post-processed map (maximum) and by the mean of the \
         highest half percent of its foreground (top .5 %); 95 % intervals over subjects.",
        images.abnormal,
        images.normal,
        images.level.name()
    );
    if images.level == ImageLevel::Slices {
        caption.push_str(
            " The row slice-position knows only how near a slice is to the middle of its volume: a predictor that does not beat it has \
             shown nothing here.",
        );
    }
    let titles = ImageRule::ALL
        .iter()
        .flat_map(|rule| ["AUROC", "AP"].map(|figure| format!("{figure}, {}", rule.name())));
    let columns = titles.map(|title| Column::new(title).decimals(3).best(Best::Highest));
    let mut table = Table::new(caption, std::iter::once(Column::new("predictor")).chain(columns));
    let mut names: Vec<&str> = images.predictors.iter().map(|row| row.predictor.as_str()).collect();
    names.dedup();
    for name in names {
        let mut cells = vec![TableCell::from(name)];
        for rule in ImageRule::ALL {
            let found = images.predictors.iter().find(|row| row.predictor == name && row.rule == rule);
            cells.push(estimate(found.map(|row| row.auroc), found.and_then(|row| row.auroc_interval)));
            let precision = found.map(|row| row.average_precision);
            cells.push(estimate(precision, found.and_then(|row| row.average_precision_interval)));
        }
        table = table.row(cells)?;
    }
    Ok(table)
}

/// The marked, found and missed lesions of each predictor (in rows) at the fixed thresholds.
///
/// # Errors
/// None in practice; the table checks its own rows.
pub(crate) fn operating_table(figures: &[OperatingFigures]) -> Result<Table, PresentationError> {
    let caption = format!(
        "After post-processing, at the threshold of the calibration in the model's file (what {NOMINAL_RATE} of normal pixels reach); \
         at that of the normal slices of the validation cases (validation-normals), which does not ship, for maps that the file is not \
         calibrated for; and at that of the best Dice on validation lesions. Dice and HD95 (mm, or pixels of pictures) by case; lesions found one to one by \
         regions that touch them; 95 % intervals over subjects."
    );
    let columns = ["predictor", "threshold of"].map(Column::new).into_iter().chain([
        Column::new("Dice").decimals(3).best(Best::Highest),
        Column::new("lesions found").decimals(3).best(Best::Highest),
        Column::new("findings right").decimals(3).best(Best::Highest),
        // The best would be a map that marks nothing.
        Column::new("false findings per case").decimals(2),
        Column::new("HD95").decimals(1),
        Column::new("cases missed").decimals(0),
        Column::new("marked of normal images or slices").decimals(4),
    ]);
    let mut table = Table::new(caption, columns);
    for own in figures {
        table = table.row([
            own.predictor.as_str().into(),
            own.origin.name().into(),
            estimate(own.dice, own.dice_interval),
            estimate(own.sensitivity, own.sensitivity_interval),
            own.precision.into(),
            estimate(own.false_findings, own.false_findings_interval),
            own.hd95.into(),
            own.missed_cases.into(),
            estimate(own.false_positive_rate, own.false_positive_rate_interval),
        ])?;
    }
    Ok(table)
}

fn estimate(value: Option<f64>, interval: Option<[f64; 2]>) -> TableCell {
    let estimate = Estimate::new(value.unwrap_or(f64::NAN));
    interval.map_or(estimate, |[low, high]| estimate.with_interval(low, high)).into()
}

/// The average precision minus that of `intensity`, with its interval, if it was computed.
fn beyond_floor(row: &PredictorReport) -> Result<TableCell, PresentationError> {
    let Some(value) = row.extra.get(BEYOND_FLOOR) else { return Ok(Estimate::new(f64::NAN).into()) };
    let found: Option<Interval95> = serde_json::from_value(value.clone()).ok();
    Ok(found
        .map_or(Estimate::new(f64::NAN), |found| {
            Estimate::new(found.estimate).with_interval(found.lower, found.upper)
        })
        .into())
}

/// ROC and precision-recall curves of these predictors with their 95 % intervals; legible for up to four.
///
/// # Errors
/// For curves without points.
pub fn curve_figures(
    curves: &[PredictorCurves],
    names: &[&str],
    prevalence: f64,
) -> Result<[Figure; 2], PresentationError> {
    let mut roc = LinePlot::roc("Receiver operating characteristic");
    let mut precision_recall = LinePlot::precision_recall("Precision and recall", prevalence);
    for curve in curves.iter().filter(|curve| names.contains(&curve.predictor.as_str())) {
        let line = Curve::roc(&curve.predictor, &curve.roc);
        roc = roc.curve(match &curve.roc_band {
            Some(band) => line.measured_band(band),
            None => line,
        });
        let line = Curve::precision_recall(&curve.predictor, &curve.precision_recall);
        precision_recall = precision_recall.curve(match &curve.precision_recall_band {
            Some(band) => line.measured_band(band),
            None => line,
        });
    }
    let caption = "Pixels of images, or slices of volumes, with lesions, post-processed; bands are 95 % intervals over subjects.";
    Ok([Figure::svg(&roc.to_svg()?, caption), Figure::svg(&precision_recall.to_svg()?, caption)])
}

/// The predictors with the best average precision after post-processing, best first, after `intensity`.
#[must_use]
pub fn leading(scope: &ScopeReport, count: usize) -> Vec<&str> {
    let mut rows: Vec<(&str, f64)> = scope
        .predictors
        .iter()
        .filter(|row| row.name != "intensity")
        .filter_map(|row| Some((row.name.as_str(), row.postprocessed.average_precision?)))
        .collect();
    rows.sort_by(|a, b| b.1.total_cmp(&a.1));
    std::iter::once("intensity").chain(rows.into_iter().take(count).map(|(name, _)| name)).collect()
}

/// A slice for display: image, reconstruction, maps and truth, all `[row, column]` and of the same size.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its label.
    pub label: String,
    /// The image.
    pub image: Array2<f32>,
    /// The reconstruction, in the image's units.
    pub reconstruction: Array2<f32>,
    /// One map for each predictor.
    pub maps: Vec<Array2<f32>>,
    /// The truth.
    pub truth: Option<Array2<bool>>,
    /// The sides of a pixel, down and across, in millimeters; equal for pictures.
    pub pixel: [f64; 2],
    /// Whether columns run from the subject's left to the right, as far as is known.
    pub left_to_right: bool,
}

impl Shown {
    /// The same slice with some of its maps, in another order.
    #[must_use]
    pub fn picked(&self, places: &[usize]) -> Self {
        let maps = places.iter().filter_map(|&place| self.maps.get(place).cloned()).collect();
        Self { maps, ..self.clone() }
    }
}

/// Rows of slices are enlarged at most this often.
const MOST_ENLARGED: usize = 4;

/// Slices in rows: the image with the outline of the truth, its reconstruction, and each predictor's map over it.
///
/// `scales` has one fixed scale per predictor, from normal scores, so that rows are comparable and a normal image is
/// dark. Small slices are enlarged, and pixels have the proportions of [`Shown::pixel`]. Letters mark the sides of the subject
/// where they are known.
///
/// # Errors
/// For maps of another size than their image.
pub fn montage(predictors: &[&str], scales: &[Scale], rows: &[Shown]) -> Result<Montage, PresentationError> {
    let columns = ["image and truth", "reconstruction"].into_iter().chain(predictors.iter().copied());
    let mut montage = Montage::new(columns);
    for row in rows {
        let window = window(row.image.iter().copied())?;
        let (rows, columns) = row.image.dim();
        let factors = magnification(enlargement(rows).min(MOST_ENLARGED), [rows, columns], row.pixel);
        let sided = |picture: Picture| match row.left_to_right {
            true => picture.with_sides("L", "R"),
            false => picture,
        };
        let outlined = |picture: Picture| -> Result<Picture, PictureError> {
            let picture = picture.stretched(factors)?;
            match &row.truth {
                Some(truth) => picture.outlined(truth.view(), Rgb::TRUTH),
                None => Ok(picture),
            }
        };
        let mut pictures = vec![
            sided(outlined(Picture::gray(row.image.view(), window)?)?),
            Picture::gray(row.reconstruction.view(), window)?.stretched(factors)?,
        ];
        for (map, &scale) in row.maps.iter().zip(scales) {
            let heat = HeatMap::new(scale);
            pictures.push(outlined(Picture::gray(row.image.view(), window)?.overlaid(map.view(), &heat)?)?);
        }
        montage = montage.row(row.label.as_str(), pictures)?;
    }
    Ok(montage)
}

/// The slice of a subject with most lesion pixels, with its maps after post-processing; `None` without a lesion.
#[must_use]
pub fn shown(subject: &Subject, maps: &Maps, truth: &Array3<bool>) -> Option<Shown> {
    let mut shown = shown_slice(subject, &maps.scene(), truth)?;
    shown.row.reconstruction = shown.cut(&maps.reconstruction);
    maps.maps.iter().for_each(|(_, [_, map])| shown.add(map));
    Some(shown.finish())
}

/// Like [`shown`], to which maps are then added one at a time.
#[must_use]
pub(crate) fn shown_slice(subject: &Subject, scene: &Scene, truth: &Array3<bool>) -> Option<ShownSlice> {
    let axis = Axis(scene.axis);
    let lesion = |k: usize| truth.index_axis(axis, k).iter().filter(|&&inside| inside).count();
    let slice = (0..truth.len_of(axis)).max_by_key(|&k| (lesion(k), std::cmp::Reverse(k)))?;
    if lesion(slice) == 0 {
        return None;
    }
    let scan = &subject.scan;
    let codes = scan.geometry().axis_codes();
    let (world, is_positive) = codes[scene.axis].world();
    let plane = [Plane::Sagittal, Plane::Coronal, Plane::Axial][world];
    let index = if is_positive { slice } else { truth.len_of(axis) - 1 - slice };
    // Numbered in RAS+, as on the pages of `localize`.
    let label = match scan.is_picture() {
        true => subject.id.clone(),
        false => format!("{}, slice {index}", subject.id),
    };
    let inside = truth.mapv(|inside| f32::from(u8::from(inside)));
    let nothing = Array2::zeros((0, 0));
    let is_picture = scan.is_picture();
    let row = Shown {
        label,
        image: nothing.clone(),
        reconstruction: nothing,
        maps: Vec::new(),
        truth: None,
        pixel: if is_picture { [1.0; 2] } else { pixel_of(scan.geometry(), plane) },
        left_to_right: !is_picture && left_to_right(plane, None),
    };
    let mut shown = ShownSlice { row, geometry: *scan.geometry(), plane, index };
    shown.row.image = shown.cut(&scan.channel(0)?);
    shown.row.truth = Some(shown.cut(&inside).mapv(|value| value > 0.5));
    if scene.reconstruction.dim() == truth.dim() {
        shown.row.reconstruction = shown.cut(&scene.reconstruction);
    }
    Some(shown)
}

/// A slice for display, to which maps are added.
#[derive(Clone, Debug)]
pub(crate) struct ShownSlice {
    row: Shown,
    geometry: Geometry,
    plane: Plane,
    /// In the order of RAS+.
    index: usize,
}

impl ShownSlice {
    /// Adds the slice of a map.
    pub(crate) fn add(&mut self, map: &Array3<f32>) {
        let cut = self.cut(map);
        self.row.maps.push(cut);
    }

    /// The slice with its maps.
    #[must_use]
    pub(crate) fn finish(self) -> Shown {
        self.row
    }

    fn cut(&self, values: &ArrayRef3<f32>) -> Array2<f32> {
        let slice = upright_slice(&self.geometry, values.view(), self.plane, self.index);
        slice.map_or_else(|| Array2::zeros((0, 0)), |slice| slice.to_owned())
    }
}

/// The display scale of a predictor's maps: from the median score of held-out normal pixels to the score that one in
/// ten thousand of them exceeds; [0, 1] if the predictor was not calibrated.
///
/// # Errors
/// None in practice: an empty range is widened.
pub fn normal_scale(localizer: &Localizer, predictor: PredictorName) -> Result<Scale, ScaleError> {
    match localizer.calibration().get(predictor) {
        Some(normal) => {
            let (low, high) = (f64::from(normal.threshold(0.5)), f64::from(normal.threshold(1e-4)));
            Scale::new(low, if high > low { high } else { low + 1.0 })
        }
        None => Scale::new(0.0, 1.0),
    }
}
