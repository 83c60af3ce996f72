//! Contents of the HTML pages of a case: slices and maps in levels of a byte, and a thumbnail for the table of cases.

use std::path::{Path, PathBuf};

use lesio_anomaly::Resolution;
use lesio_image::{Plane, Volume};
use lesio_io::atomic::WriteError;
use lesio_report::{
    CaseFinding, CaseMap, CasePage, CaseStatus, CohortContent, HeatMap, LevelSheet, Levels, Link, Picture,
    Scale, Sheet, compact, sheet_reduction,
};
use ndarray::{Array2, ArrayView2, Axis};

use super::case::{LocalizedCase, MappedPredictor};
use super::config::ReportPages;
use super::files::CaseFiles;
use super::work::Work;
use crate::display::magnification;
use crate::findings::DetectionRule;
use crate::folder::PAGE;
use crate::verdict::Verdict;
use crate::workflow_error::WorkflowError;

/// The maximum number of pixels along a side of a thumbnail. Pages show it at half this size or less, for
/// high-resolution screens.
const THUMBNAIL: usize = 96;
/// The top of the levels, as a multiple of the distance from the lowest score shown to the highest threshold.
const BEYOND: f64 = 1.5;

/// The position of a case's slices in its maps.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slices {
    /// Slices of a volume: upright, along a plane.
    Along(Plane),
    /// A picture, whose voxels are `(row, column, 0)`.
    Picture,
}

impl Slices {
    fn count<T>(self, volume: &Volume<T>) -> usize {
        match self {
            Self::Along(plane) => volume.upright_planes(plane),
            Self::Picture => 1,
        }
    }

    fn get<T>(self, volume: &Volume<T>, index: usize) -> Option<ArrayView2<'_, T>> {
        match self {
            Self::Along(plane) => volume.upright_plane(plane, index),
            Self::Picture => (index == 0).then(|| volume.data().index_axis(Axis(2), 0)),
        }
    }

    /// Slice, row and column of a voxel.
    fn place<T>(self, volume: &Volume<T>, voxel: [usize; 3]) -> [usize; 3] {
        match self {
            Self::Along(plane) => volume.upright_position(plane, voxel),
            Self::Picture => [0, voxel[0], voxel[1]],
        }
    }
}

/// The data of a case's maps that its pages need.
#[derive(Debug)]
pub(super) struct PageDraft {
    slices: Slices,
    pages: ReportPages,
    reduction: usize,
    maps: Vec<KeptMap>,
}

#[derive(Debug)]
struct KeptMap {
    heat_map: HeatMap,
    /// The slice that the thumbnail shows, and the scores of the map there.
    slice: usize,
    scores: Array2<f32>,
    map: Option<CaseMap>,
}

impl Work<'_> {
    /// Begins the pages of a case; `None` if the configuration asks for none.
    pub(super) fn draft(
        &self,
        slices: Slices,
        foreground: &Volume<bool>,
        images: usize,
    ) -> Option<PageDraft> {
        let pages = self.config.pages;
        if pages == ReportPages::None {
            return None;
        }
        let [rows, columns] =
            slices.get(foreground, 0).map_or([0; 2], |slice| [slice.nrows(), slice.ncols()]);
        let shape = [slices.count(foreground), rows, columns];
        let reduction = sheet_reduction(shape, images + self.predictors.len());
        Some(PageDraft { slices, pages, reduction, maps: Vec::new() })
    }

    /// The levels of a map; the same for all cases if the model is calibrated for the predictor.
    fn levels(&self, result: &MappedPredictor, heat_map: &HeatMap) -> Result<Levels, WorkflowError> {
        let (low, high) = (heat_map.scale.low(), heat_map.scale.high());
        let scale = match self.localizer.calibration().get(result.name) {
            None => heat_map.scale,
            Some(normal) => {
                let rare = Some(normal.threshold(1e-5));
                let thresholds = [result.threshold, result.verdict.threshold, rare].into_iter().flatten();
                let highest =
                    thresholds.map(f64::from).filter(|value| value.is_finite()).fold(high, f64::max);
                Scale::new(low, low + BEYOND * (highest - low)).unwrap_or(heat_map.scale)
            }
        };
        Ok(Levels::new(scale, result.threshold).map_err(crate::PresentationError::from)?)
    }

    /// Completes the page of a case and writes it into its folder.
    pub(super) fn write_page(
        &self,
        mut page: CasePage,
        case: &mut LocalizedCase,
        files: &CaseFiles,
    ) -> Result<(), WriteError> {
        case.id.clone_into(&mut page.name);
        page.back = Some(Link::new(back(&case.folder)));
        let mut fact = |name: &str, value: String| page.facts.push((name.to_owned(), value));
        fact("content", case.content.clone());
        if let Some(first) = case.predictors.first() {
            let unit = if page.content == CohortContent::Pictures { "pixels" } else { "voxels" };
            fact("marked", rule_in_words(self.config.rule, unit));
            fact("verdict", format!("at a level of {}", first.verdict.level));
            if let (Some(subjects), Some(smallest)) = (first.normal_subjects, first.smallest_p_value) {
                fact(
                    "calibration",
                    format!("{subjects} normal subjects, smallest p-value {}", compact(smallest)),
                );
            }
        }
        page.doubts.extend(case.resolution_doubt.clone());
        let name = |file: &Path| file.file_name().map(PathBuf::from).unwrap_or_default();
        for own in &case.predictors {
            let files = [Some(&own.overlay), own.map.as_ref(), own.raw.as_ref(), own.labels.as_ref()];
            for file in files.into_iter().flatten().chain(&own.channels).map(|file| name(file)) {
                page.files.push((file.display().to_string(), Link::new(file)));
            }
        }
        let path = files.page();
        page.write(&path, self.config.existing)?;
        case.page = Some(path);
        Ok(())
    }
}

impl PageDraft {
    /// The factor by which rows and columns are reduced in sheets of images.
    pub(super) fn reduction(&self) -> usize {
        self.reduction
    }

    /// Whether a page of the case is written, in addition to thumbnails.
    pub(super) fn is_full(&self) -> bool {
        self.pages == ReportPages::Full
    }

    /// Keeps a map and the lesions found in it.
    pub(super) fn keep(
        &mut self,
        work: &Work<'_>,
        result: &MappedPredictor,
        map: &Volume<f32>,
        foreground: &Volume<bool>,
        resolution: &Resolution,
        heat_map: HeatMap,
    ) -> Result<(), WorkflowError> {
        let count = self.slices.count(map);
        let levels = work.levels(result, &heat_map)?;
        let mut sheet = self.is_full().then(|| LevelSheet::new(levels, self.reduction));
        let (mut highest, mut at) = (f32::NEG_INFINITY, count / 2);
        for index in 0..count {
            let planes = (self.slices.get(map, index), self.slices.get(foreground, index));
            let (Some(scores), Some(inside)) = planes else { continue };
            for (&score, _) in scores.iter().zip(inside).filter(|(_, inside)| **inside) {
                if score > highest {
                    (highest, at) = (score, index);
                }
            }
            if let Some(sheet) = &mut sheet {
                sheet.push(scores, inside)?;
            }
        }
        let place = |voxel| self.slices.place(map, voxel);
        // A region that was left out because of its size may score higher than all findings.
        let slice = result.lesions.iter().flatten().next().map_or(at, |first| place(first.peak_voxel)[0]);
        let scores =
            self.slices.get(map, slice).map_or_else(|| Array2::zeros((0, 0)), |scores| scores.to_owned());
        let mut kept = None;
        if let Some(sheet) = sheet {
            let mut map = CaseMap::new(result.name.as_str(), sheet.encode()?, levels, heat_map.scale);
            let verdict = &result.verdict;
            map.status = Some(status(verdict.verdict));
            map.reason.clone_from(&verdict.reason);
            (map.score, map.case_threshold, map.p_value) =
                (verdict.score, verdict.threshold, verdict.p_value);
            map.threshold = result.threshold;
            map.smallest = work.localizer.postprocessing().least_voxels(resolution);
            map.findings = result.lesions.as_ref().map(|lesions| {
                let shown = lesions.iter().map(|lesion| CaseFinding {
                    peak_at: place(lesion.peak_voxel),
                    pixels: lesion.voxels,
                    volume_ml: lesion.volume_ml,
                    peak: lesion.peak,
                    p_value: lesion.p_value,
                });
                shown.collect()
            });
            kept = Some(map);
        }
        self.maps.push(KeptMap { heat_map, slice, scores, map: kept });
        Ok(())
    }

    /// Writes the thumbnails, and returns the page of the case if it is to be written. `pixel` has the sides of a pixel, down
    /// and across, `picture` draws a slice of the image, and `images` returns the sheets of its channels.
    pub(super) fn finish(
        self,
        work: &Work<'_>,
        results: &mut [MappedPredictor],
        files: &CaseFiles,
        pixel: [f64; 2],
        picture: impl Fn(usize) -> Result<Picture, WorkflowError>,
        images: impl FnOnce() -> Result<Vec<(String, Sheet)>, WorkflowError>,
    ) -> Result<Option<CasePage>, WorkflowError> {
        let full = self.is_full();
        let content = match self.slices {
            Slices::Along(_) => CohortContent::Volumes,
            Slices::Picture => CohortContent::Pictures,
        };
        let mut page = CasePage::new("", content);
        page.reduction = self.reduction;
        for (kept, result) in self.maps.into_iter().zip(results) {
            let small = picture(kept.slice)?.overlaid(kept.scores.view(), &kept.heat_map)?;
            let factors = magnification(1, [small.height(), small.width()], pixel);
            let small = small.stretched(factors)?.shrunk(THUMBNAIL);
            let path = files.thumbnail(result.name);
            small.write_png(&path, work.config.existing)?;
            result.thumbnail = Some(path);
            page.maps.extend(kept.map);
        }
        if !full {
            return Ok(None);
        }
        page.images = images()?;
        Ok(Some(page))
    }
}

/// The verdict as a status for pages.
pub(super) fn status(verdict: Verdict) -> CaseStatus {
    match verdict {
        Verdict::Abnormal => CaseStatus::Abnormal,
        Verdict::CannotTell => CaseStatus::CannotTell,
        Verdict::Normal => CaseStatus::Normal,
    }
}

/// The rule in words: the score from which a pixel or voxel is marked.
pub(super) fn rule_in_words(rule: DetectionRule, unit: &str) -> String {
    match rule {
        DetectionRule::PixelRate(rate) => {
            format!("from the score that a share of {rate} of normal {unit} reaches")
        }
        DetectionRule::FamilyWise(level) => {
            format!(
                "from the score that any of the {unit} of a normal subject reaches with a probability of {level}"
            )
        }
    }
}

/// The path from the folder of a case to the page of all cases.
fn back(folder: &Path) -> PathBuf {
    let mut path: PathBuf = folder.components().map(|_| "..").collect();
    path.push(PAGE);
    path
}
