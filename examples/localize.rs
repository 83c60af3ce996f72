//! Maps what does not belong in images, on their own grids.
//!
//! `cargo run --release --example localize -- --model target/lesio/train --input flair.nii.gz --out maps`
#![allow(clippy::print_stdout, reason = "a program talks to people")]

use std::collections::BTreeSet;
use std::error::Error;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use candle_core::Device;
use clap::Parser;
use lesio::anomaly::{Localizer, PredictorName};
use lesio::image::{Geometry, Image, Volume};
use lesio::io::dataset::{Case, Dataset, DatasetErrorKind, Layout};
use lesio::io::nifti::{NiftiHeader, read_header};
use lesio::io::{WriteOptions, atomic};
use lesio::report::{Cell, Column, Existing, Table, write_file, write_json};
use lesio::study::{
    Content, DetectionRule, Finding, FoundLesions, ImageOverlay, OverlaySlice, Subject, chosen_slices,
    heat_map, slice_montage, volume_window,
};
use lesio_examples::{LayoutName, Outcome, PrecisionName, bar, command, explain, line, model_path, run};
use ndarray::{Array2, ArrayRef2, Axis, Zip};
use serde::Serialize;
use serde_json::json;
use tiff::encoder::TiffEncoder;
use tiff::encoder::colortype::Gray32Float;

/// Lesions of an image that are printed; all are in the report.
const PRINTED: usize = 12;

/// Map what does not belong in a volume or picture, or in every one of a folder.
///
/// For each image and predictor: the map on the image's own grid (NIfTI with the affine, codes and units of its
/// input; TIFF of 32-bit floats for pictures), post-processed and raw, an overlay picture, and a table of
/// what was found with sizes, places and p-values. All of it is also in report.json.
#[derive(Debug, Parser)]
#[command(args_override_self = true)]
struct Args {
    /// A model file of `train`, or its folder
    #[arg(long)]
    model: PathBuf,
    /// A NIfTI, PNG, JPEG or TIFF file, or a folder
    #[arg(long)]
    input: PathBuf,
    /// How a folder is arranged
    #[arg(long, value_enum, default_value = "images")]
    layout: LayoutName,
    /// Name of the image in each case's folder (layout cases)
    #[arg(long, default_value = "image.nii.gz")]
    image: String,
    /// Split to map, as in splits.csv; "all" takes every case
    #[arg(long, default_value = "all")]
    split: String,
    /// Predictors, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "pixel-l1")]
    predictor: Vec<PredictorName>,
    /// In what numbers a VAE multiplies, instead of those it was trained in
    #[arg(long, value_enum)]
    precision: Option<PrecisionName>,
    /// Share of normal pixels that may be marked
    #[arg(long, value_parser = share, default_value = "0.001")]
    rate: f64,
    /// Instead: share of normal images in which anything at all may be marked
    #[arg(long, value_parser = share, conflicts_with = "rate")]
    family_wise: Option<f64>,
    /// Slices of a volume in its overlay picture
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=50))]
    slices: u16,
    /// Replace files of earlier runs
    #[arg(long)]
    overwrite: bool,
    /// Folder for the results
    #[arg(long, default_value = "target/lesio/localize")]
    out: PathBuf,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("expected a number between 0 and 1".to_owned()),
    }
}

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let args = Args::parse();
    let started = Instant::now();
    let mut localizer = Localizer::load(model_path(&args.model), &Device::Cpu)?;
    if let Some(precision) = args.precision {
        localizer = localizer.in_precision(precision.into(), &Device::Cpu)?;
    }
    let data = open(&args)?;
    let rule = args.family_wise.map_or(DetectionRule::PixelRate(args.rate), DetectionRule::FamilyWise);
    std::fs::create_dir_all(&args.out)?;
    let report = args.out.join("report.json");
    let work = Work { localizer: &localizer, rule, args: &args };
    work.refuse_existing(&report)?;

    let cases = data.cases();
    let progress = bar(cases.len() as u64, "localizing");
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for (case, folder) in cases.iter().zip(folders(&args, cases)) {
        match work.localize(case, &folder) {
            Ok(result) => {
                line(&progress, &format!("{}: results in {}", case.id(), folder.display()));
                done.push(result);
            }
            // The only image: its error is the program's.
            Err(error) if cases.len() == 1 => return Err(error),
            Err(error) => {
                line(&progress, &format!("{}: {}", case.id(), explain(error.as_ref())));
                failed.push(json!({"id": case.id(), "error": explain(error.as_ref())}));
            }
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    for result in &done {
        print_tables(result)?;
    }
    let content = json!({
        "schema": 1,
        "command": command("localize"),
        "seconds": started.elapsed().as_secs_f64(),
        "model": {"file": model_path(&args.model), "provenance": localizer.provenance()},
        "rule": rule,
        "postprocessing": localizer.map_filters(),
        "cases": done,
        "failed": failed,
    });
    write_json(&report, &content, work.existing())?;
    println!("wrote {} in {:.1} s", report.display(), started.elapsed().as_secs_f64());
    match failed.len() {
        0 => Ok(()),
        count => Err(format!("{count} of {} images could not be mapped", cases.len()).into()),
    }
}

/// Lists what is to be mapped.
fn open(args: &Args) -> Result<Dataset, Box<dyn Error>> {
    let input = args.input.display();
    if !args.input.exists() {
        return Err(format!("{input}: there is no such file or folder").into());
    }
    let layout = match args.layout {
        _ if args.input.is_file() => Layout::Images,
        LayoutName::Cases => Layout::cases(args.image.as_str(), None),
        LayoutName::Mvtec => Layout::MvTec,
        LayoutName::Images => Layout::Images,
        LayoutName::Acdc => Layout::Acdc,
        LayoutName::Msd => Layout::Msd,
    };
    match Dataset::open(&args.input, &layout) {
        Err(error) if args.input.is_file() && matches!(error.kind(), DatasetErrorKind::Empty { .. }) => {
            Err(format!("{input}: the name ends in none of .nii, .nii.gz, .png, .jpg, .jpeg, .tif, .tiff")
                .into())
        }
        data => Ok(data?.select(&args.split)?),
    }
}

/// A folder for each case: its id without the ending, where that is not taken by another's.
fn folders(args: &Args, cases: &[Case]) -> Vec<PathBuf> {
    if args.input.is_file() {
        return vec![args.out.clone()];
    }
    let stem = |id: &str| {
        let lower = id.to_ascii_lowercase();
        let endings = [".nii.gz", ".nii", ".png", ".jpg", ".jpeg", ".tiff", ".tif"];
        let ending = endings.into_iter().find(|ending| lower.ends_with(ending)).unwrap_or_default();
        id[..id.len() - ending.len()].to_owned()
    };
    let mut taken = BTreeSet::new();
    let unique =
        |case: &Case| if taken.insert(stem(case.id())) { stem(case.id()) } else { case.id().to_owned() };
    cases.iter().map(unique).map(|name| args.out.join(name)).collect()
}

/// What is the same for every image.
struct Work<'a> {
    localizer: &'a Localizer,
    rule: DetectionRule,
    args: &'a Args,
}

/// What was found in an image.
#[derive(Serialize)]
struct Localized {
    id: String,
    input: PathBuf,
    content: String,
    predictors: Vec<Mapped>,
}

/// A predictor's map of an image, and what was found in it.
#[derive(Serialize)]
struct Mapped {
    name: PredictorName,
    map: PathBuf,
    raw: PathBuf,
    overlay: PathBuf,
    /// Where the lesions are, by number: of volumes.
    labels: Option<PathBuf>,
    threshold: Option<f32>,
    /// Subjects that the threshold comes from.
    normal_subjects: Option<usize>,
    /// None where the model was saved without normal scores of the predictor.
    lesions: Option<Vec<Finding>>,
}

impl Work<'_> {
    fn existing(&self) -> Existing {
        if self.args.overwrite { Existing::Replace } else { Existing::Refuse }
    }

    fn refuse_existing(&self, path: &Path) -> Outcome {
        if !self.args.overwrite && path.symlink_metadata().is_ok() {
            return Err(format!("{} exists; --overwrite replaces it", path.display()).into());
        }
        Ok(())
    }

    fn localize(&self, case: &Case, folder: &Path) -> Result<Localized, Box<dyn Error>> {
        let input = case.images().first().ok_or("a case without an image")?;
        for name in &self.args.predictor {
            self.refuse_existing(&folder.join(format!("{name}.png")))?;
        }
        let subject = Subject::read(case)?;
        let predictors = match &subject.content {
            Content::Volume { volume, .. } => self.map_volume(volume, &read_header(input)?, folder)?,
            Content::Image { image, .. } => self.map_picture(image, folder)?,
        };
        let (id, content) = (case.id().to_owned(), subject.describe());
        Ok(Localized { id, input: input.clone(), content, predictors })
    }

    fn map_volume(
        &self,
        volume: &Volume<f32>,
        header: &NiftiHeader,
        folder: &Path,
    ) -> Result<Vec<Mapped>, Box<dyn Error>> {
        let scored = self.localizer.volume_maps(volume, &self.args.predictor)?;
        std::fs::create_dir_all(folder)?;
        let options = WriteOptions::new().like(header).existing(match self.existing() {
            Existing::Refuse => atomic::Existing::Refuse,
            Existing::Replace => atomic::Existing::Replace,
        });
        let plane = self.localizer.preprocessing().config().plane;
        let window = volume_window(volume, scored.foreground())?;
        let mut mapped = Vec::new();
        // Of a large volume there is room for one map, which is filtered where it lies, and later for its labels.
        for maps in scored.maps() {
            let predictor = maps.predictor();
            let raw = maps.raw()?;
            options.write(folder.join(format!("{predictor}_raw.nii.gz")), &raw)?;
            let map = maps.postprocessed(raw)?;
            let found = self.find(predictor, &map, scored.foreground(), Some(voxel_ml(header, volume)))?;
            let mut result = self.describe(predictor, folder, "nii.gz", found.as_ref());
            options.write(&result.map, &map)?;
            let heat_map = heat_map(self.localizer, predictor, map.data())?;
            let marks = found.as_ref().map(FoundLesions::marks);
            let mut slices = Vec::new();
            for slice in chosen_slices(scored.foreground(), marks.as_ref(), plane, self.args.slices.into()) {
                let own =
                    |values: &Volume<f32>| values.upright_plane(plane, slice).map(|values| values.to_owned());
                let (Some(image), Some(map)) = (own(volume), own(&map)) else { continue };
                let Some(mut reconstruction) = scored.reconstructed_slice(slice)? else { continue };
                let Some(inside) = scored.foreground().upright_plane(plane, slice) else { continue };
                // Outside the foreground, of which a model knows nothing, the volume itself is shown.
                Zip::from(&mut reconstruction).and(&image).and(&inside).for_each(|value, &own, &inside| {
                    if !inside {
                        *value = own;
                    }
                });
                let marked = marks.as_ref().and_then(|marks| marks.upright_plane(plane, slice));
                let marked = marked.map(|marks| marks.mapv(|mark| mark > 0));
                slices.push(OverlaySlice { slice, image, reconstruction, map, marked });
            }
            drop((map, marks));
            if let Some(found) = &found {
                let labels = folder.join(format!("{predictor}_lesions.nii.gz"));
                options.write(&labels, &found.labels())?;
                result.labels = Some(labels);
            }
            let picture = slice_montage(predictor.as_str(), &heat_map, window, &slices)?.to_picture()?;
            picture.write_png(&result.overlay, self.existing())?;
            mapped.push(result);
        }
        Ok(mapped)
    }

    fn map_picture(&self, image: &Image<f32>, folder: &Path) -> Result<Vec<Mapped>, Box<dyn Error>> {
        let scored = self.localizer.image_maps(image, &self.args.predictor)?;
        std::fs::create_dir_all(folder)?;
        let reconstruction = scored.reconstruction(image)?;
        let foreground = one_slice(scored.foreground().clone());
        let mut mapped = Vec::new();
        for maps in scored.maps() {
            let predictor = maps.predictor();
            let raw = maps.raw()?;
            let result = self.describe(predictor, folder, "tiff", None);
            write_file(&result.raw, &tiff(&raw)?, self.existing())?;
            let map = one_slice(maps.postprocessed(raw)?);
            let found = self.find(predictor, &map, &foreground, None)?;
            let plane = map.data().index_axis(Axis(2), 0);
            let result = self.describe(predictor, folder, "tiff", found.as_ref());
            write_file(&result.map, &tiff(&plane)?, self.existing())?;
            let labels = found.as_ref().map(FoundLesions::labels);
            let overlay = ImageOverlay {
                name: predictor.as_str(),
                heat_map: &heat_map(self.localizer, predictor, &plane)?,
                image,
                reconstruction: &reconstruction,
                map: plane,
                labels: labels.as_ref().map(|labels| labels.data().index_axis(Axis(2), 0)),
            };
            overlay.montage()?.to_picture()?.write_png(&result.overlay, self.existing())?;
            mapped.push(result);
        }
        Ok(mapped)
    }

    /// The lesions in a map; `None` where the model was saved without normal scores of the predictor.
    fn find(
        &self,
        predictor: PredictorName,
        map: &Volume<f32>,
        foreground: &Volume<bool>,
        voxel_ml: Option<f64>,
    ) -> Result<Option<FoundLesions>, Box<dyn Error>> {
        let Some(normal) = self.localizer.calibration().get(predictor) else { return Ok(None) };
        let threshold = self.rule.threshold(normal).ok_or_else(|| {
            let (level, subjects) = (self.args.family_wise.unwrap_or_default(), normal.subjects());
            let needed = (1.0 / level - 1.0).ceil();
            format!(
                "--family-wise {level} takes {needed} normal subjects, the model was calibrated on {subjects}"
            )
        })?;
        let smallest = self.localizer.map_filters().smallest;
        Ok(Some(FoundLesions::new(map, foreground, threshold, normal, smallest, voxel_ml)?))
    }

    fn describe(
        &self,
        predictor: PredictorName,
        folder: &Path,
        ending: &str,
        found: Option<&FoundLesions>,
    ) -> Mapped {
        let normal = self.localizer.calibration().get(predictor);
        Mapped {
            name: predictor,
            map: folder.join(format!("{predictor}.{ending}")),
            raw: folder.join(format!("{predictor}_raw.{ending}")),
            overlay: folder.join(format!("{predictor}.png")),
            labels: None,
            threshold: normal.and_then(|normal| self.rule.threshold(normal)),
            normal_subjects: normal.map(|normal| normal.subjects()),
            lesions: found.map(|found| found.lesions.clone()),
        }
    }
}

/// Millilitres of a voxel. Where the header names no unit, millimetres are meant.
fn voxel_ml(header: &NiftiHeader, volume: &Volume<f32>) -> f64 {
    let millimetres: f64 = match header.xyzt_units & 7 {
        1 => 1000.0,
        3 => 0.001,
        _ => 1.0,
    };
    volume.geometry().voxel_volume() * millimetres.powi(3) / 1000.0
}

/// A plane as a volume whose voxels are `(row, column, 0)`.
fn one_slice<T>(plane: Array2<T>) -> Volume<T> {
    Volume::new(plane.insert_axis(Axis(2)), Geometry::default())
}

/// A map `[row, column]` as TIFF of 32-bit floats, which keeps every score.
fn tiff(map: &ArrayRef2<f32>) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut bytes = Cursor::new(Vec::new());
    let (rows, columns) = (u32::try_from(map.nrows())?, u32::try_from(map.ncols())?);
    let values: Vec<f32> = map.iter().copied().collect();
    TiffEncoder::new(&mut bytes)?.write_image::<Gray32Float>(columns, rows, &values)?;
    Ok(bytes.into_inner())
}

/// Prints what was found in an image.
fn print_tables(localized: &Localized) -> Outcome {
    for Mapped { name, lesions, threshold, .. } in &localized.predictors {
        let heading = format!("{}, {name}", localized.id);
        let (Some(lesions), Some(threshold)) = (lesions, threshold) else {
            println!("{heading}: not calibrated, so there is no threshold; see the map");
            continue;
        };
        println!("{heading}: {} found where the score is at least {threshold:.4}", lesions.len());
        if lesions.is_empty() {
            continue;
        }
        let columns =
            [("lesion", 0), ("voxels", 0), ("ml", 2), ("centre", 0), ("peak", 3), ("mean", 3), ("p", 3)];
        let mut table =
            Table::new(heading, columns.map(|(name, decimals)| Column::new(name).decimals(decimals)));
        for lesion in lesions.iter().take(PRINTED) {
            let centre = lesion.world.unwrap_or(lesion.centre).map(|value| format!("{value:.1}"));
            table = table.row([
                u64::from(lesion.label).into(),
                lesion.voxels.into(),
                lesion.volume_ml.into(),
                Cell::from(centre[..if lesion.world.is_some() { 3 } else { 2 }].join(", ")),
                f64::from(lesion.peak).into(),
                lesion.mean.into(),
                lesion.p_value.into(),
            ])?;
        }
        println!("{}", table.to_markdown());
        if lesions.len() > PRINTED {
            println!("and {} more in report.json", lesions.len() - PRINTED);
        }
    }
    Ok(())
}
