//! Maps what does not belong in images, on their own grids.
//!
//! `cargo run --release --example localize -- --model target/lesio/train --input flair.nii.gz --out maps`

use std::collections::BTreeSet;
use std::error::Error;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use lesio::anomaly::{Localizer, PredictorName, Resolution, ResolutionDoubt};
use lesio::image::{Geometry, Plane, Scan, Volume};
use lesio::io::dataset::{Case, Dataset, DatasetErrorKind, DatasetOptions, Layout, MissingMask};
use lesio::io::nifti::{NiftiHeader, read_header};
use lesio::io::{IMAGE_ENDINGS, VOLUME_ENDINGS, WriteOptions, atomic, without_ending};
use lesio::report::{Column, Existing, Table, TableCell, write_file, write_json};
use lesio::study::{
    DetectionRule, Finding, FoundLesions, OverlaySlice, Subject, chosen_slices, heat_map, picture_montage,
    scan_window, slice_montage,
};
use lesio_examples::arguments::share;
use lesio_examples::filters::{self, FALLBACK};
use lesio_examples::output::one_line;
use lesio_examples::{
    DeviceArgs, LayoutName, Outcome, PrecisionName, ReadArgs, bar, check_folder, command, explain,
    model_path, prepare_folder, run, say,
};
use ndarray::{Array2, ArrayRef2, Axis, Zip};
use serde::Serialize;
use serde_json::json;
use tiff::encoder::TiffEncoder;
use tiff::encoder::colortype::Gray32Float;

/// Lesions of an image that are printed; all are in the report.
const PRINTED: usize = 12;

/// Bytes of a volume from which on it is not kept beside its maps.
const LARGE: usize = 128 << 20;

/// Name of the report.
const REPORT: &str = "report.json";

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
    /// A NIfTI, PNG, JPEG, TIFF or BMP file, or a folder; of several co-registered channels all files, separated by commas
    #[arg(long)]
    input: String,
    /// How a folder is arranged
    #[arg(long, value_enum, default_value = "images")]
    layout: LayoutName,
    /// Name of the image in each case's folder (layout cases); of several co-registered channels all names, separated by
    /// commas
    #[arg(long, value_delimiter = ',', default_value = "image.nii.gz")]
    image: Vec<String>,
    /// Split to map, as in splits.csv; "all" takes every case
    #[arg(long, default_value = "all")]
    split: String,
    /// Predictors, separated by commas; by default the one that validation data chose for the model, and pixel-l1 where
    /// none held a lesion
    #[arg(long, value_delimiter = ',')]
    predictor: Vec<PredictorName>,
    /// In what numbers a VAE multiplies, instead of those it was trained in
    #[arg(long, value_enum)]
    precision: Option<PrecisionName>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Share of normal pixels that may be marked
    #[arg(long, value_parser = share, default_value = "0.001")]
    rate: f64,
    /// Instead: share of normal images in which anything at all may be marked
    #[arg(long, value_parser = share, conflicts_with = "rate")]
    family_wise: Option<f64>,
    /// Slices of a volume in its overlay picture
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=50))]
    slices: u16,
    #[command(flatten)]
    reading: ReadArgs,
    /// Also write the raw map of each channel by itself
    #[arg(long)]
    by_channel: bool,
    /// Replace files of earlier runs
    #[arg(long)]
    overwrite: bool,
    /// Folder for the results
    #[arg(long, default_value = "target/lesio/localize")]
    out: PathBuf,
}

impl Args {
    /// The files of a case with several channels, or one path, in which a comma may be.
    fn inputs(&self) -> Vec<PathBuf> {
        if Path::new(&self.input).exists() {
            return vec![self.input.as_str().into()];
        }
        self.input.split(',').map(PathBuf::from).collect()
    }
}

fn main() -> ExitCode {
    run(program)
}

fn program() -> Outcome {
    let args = Args::parse();
    let started = Instant::now();
    let localizer = Localizer::load_with(model_path(&args.model), &args.device.loading(args.precision))?;
    let rule = args.family_wise.map_or(DetectionRule::PixelRate(args.rate), DetectionRule::FamilyWise);
    let (predictors, choice) = if args.predictor.is_empty() {
        let choice = filters::choice(localizer.chosen());
        (vec![localizer.chosen().map_or(FALLBACK, |chosen| chosen.predictor)], Some(choice))
    } else {
        (args.predictor.clone(), None)
    };
    for (place, name) in predictors.iter().enumerate() {
        if predictors[..place].contains(name) {
            return Err(format!("--predictor names {name} twice").into());
        }
        threshold(&localizer, rule, *name)?;
    }
    let inputs = args.inputs();
    let data = open(&args, &inputs)?;
    if data.contains(&args.out) {
        let (out, input) = (args.out.display(), &args.input);
        return Err(format!("--out {out} lies in --input {input}: its maps would be taken for data").into());
    }
    if let Some(choice) = &choice {
        say!("{choice}");
    }
    check_folder(&args.out)?;
    let report = args.out.join(REPORT);
    let work = Work { localizer: &localizer, rule, predictors, args: &args };
    work.refuse_existing(&report)?;

    let cases = data.cases();
    let progress = bar(cases.len() as u64, "localizing");
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for (case, folder) in cases.iter().zip(folders(&args, &inputs, cases)) {
        match work.localize(case, &folder) {
            Ok(result) => {
                progress.line(&format!(
                    "{}: results in {}",
                    one_line(case.id()),
                    one_line(&folder.to_string_lossy())
                ));
                done.push(result);
            }
            // The only image: its error is the program's.
            Err(error) if cases.len() == 1 => return Err(error),
            Err(error) => {
                progress.line(&format!("{}: {}", one_line(case.id()), explain(error.as_ref())));
                failed.push(json!({"id": case.id(), "error": explain(error.as_ref())}));
            }
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    let content = json!({
        "schema": 1,
        "command": command("localize"),
        "seconds": started.elapsed().as_secs_f64(),
        "model": {"file": model_path(&args.model), "provenance": localizer.provenance()},
        "rule": rule,
        "predictor_choice": choice,
        "postprocessing": localizer.map_filters(),
        "cases": &done,
        "failed": failed,
    });
    prepare_folder(&args.out)?;
    write_json(&report, &content, work.existing())?;
    for result in &done {
        print_tables(result)?;
    }
    say!("wrote {} in {:.1} s", report.display(), started.elapsed().as_secs_f64());
    match failed.len() {
        0 => Ok(()),
        count => Err(format!("{count} of {} images could not be mapped", cases.len()).into()),
    }
}

/// Lists what is to be mapped.
fn open(args: &Args, inputs: &[PathBuf]) -> Result<Dataset, Box<dyn Error>> {
    if let Some(missing) = inputs.iter().find(|input| !input.exists()) {
        return Err(format!("{}: there is no such file or folder", missing.display()).into());
    }
    let [path] = inputs else { return Ok(Dataset::of_channels(inputs)?) };
    let input = path.display();
    let layout = match args.layout {
        _ if path.is_file() => Layout::Images,
        layout => layout.layout(&args.image, None),
    };
    // Maps need no truth, so that nothing about masks can stand in the way.
    let options = DatasetOptions::new().missing_mask(MissingMask::Keep);
    match Dataset::open_with(path, &layout, &options) {
        Err(error) if path.is_file() && matches!(error.kind(), DatasetErrorKind::Empty { .. }) => {
            let known: Vec<&str> = VOLUME_ENDINGS.into_iter().chain(IMAGE_ENDINGS).collect();
            Err(format!("{input}: the name ends in none of {}", known.join(", ")).into())
        }
        data => Ok(data?.without_masks().select(&args.split)?),
    }
}

/// A folder for each case: its id without the ending, where that is not taken by another's.
fn folders(args: &Args, inputs: &[PathBuf], cases: &[Case]) -> Vec<PathBuf> {
    if inputs.len() > 1 || inputs.iter().all(|input| input.is_file()) {
        return vec![args.out.clone()];
    }
    let stem = |id: &str| without_ending(id).to_owned();
    // The report has its name in the folder of the results already.
    let mut taken = BTreeSet::from([REPORT.to_owned()]);
    let unique =
        |case: &Case| if taken.insert(stem(case.id())) { stem(case.id()) } else { case.id().to_owned() };
    cases.iter().map(unique).map(|name| args.out.join(name)).collect()
}

/// What is the same for every image.
struct Work<'a> {
    localizer: &'a Localizer,
    rule: DetectionRule,
    predictors: Vec<PredictorName>,
    args: &'a Args,
}

/// What was found in an image.
#[derive(Serialize)]
struct Localized {
    id: String,
    /// Its files, one a channel.
    #[serde(serialize_with = "one_or_all")]
    input: Vec<PathBuf>,
    content: String,
    /// How finely it is sampled.
    resolution: Resolution,
    /// Why thresholds, rates and p-values may not hold at this resolution.
    resolution_doubt: Option<String>,
    predictors: Vec<Mapped>,
}

/// A file alone is a text, as it was before there were several.
fn one_or_all<S: serde::Serializer>(files: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
    match files {
        [only] => only.serialize(serializer),
        files => files.serialize(serializer),
    }
}

/// What was mapped of an image, at which resolution, and what speaks against its calibration there.
type Scored = (Vec<Mapped>, Resolution, Option<ResolutionDoubt>);

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
    /// The smallest p-value that so many subjects allow; where it is above the level, lesions have none.
    smallest_p_value: Option<f64>,
    p_value_level: f64,
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
        for name in &self.predictors {
            self.refuse_existing(&folder.join(format!("{name}.png")))?;
        }
        let subject = self.read(case)?;
        let content = subject.describe();
        let (predictors, resolution, doubt) = match subject.scan.is_picture() {
            false => self.map_volume(case, subject.scan, &read_header(input)?, folder)?,
            true => self.map_picture(subject.scan, folder)?,
        };
        let id = case.id().to_owned();
        let (input, resolution_doubt) = (case.images().to_vec(), doubt.map(|doubt| doubt.to_string()));
        Ok(Localized { id, input, content, resolution, resolution_doubt, predictors })
    }

    /// A case, its channels in the model's order.
    fn read(&self, case: &Case) -> Result<Subject, Box<dyn Error>> {
        let mut subject = Subject::read_with(case, &self.args.reading.options())?;
        let channels = self.localizer.channel_names();
        if channels.len() > 1 {
            subject.scan = subject.scan.with_channels(channels)?;
        }
        Ok(subject)
    }

    fn map_volume(
        &self,
        case: &Case,
        scan: Scan,
        header: &NiftiHeader,
        folder: &Path,
    ) -> Result<Scored, Box<dyn Error>> {
        let scored = self.localizer.maps(&scan, &self.predictors)?;
        prepare_folder(folder)?;
        let options = WriteOptions::new().like(header).existing(match self.existing() {
            Existing::Refuse => atomic::Existing::Refuse,
            Existing::Replace => atomic::Existing::Replace,
        });
        let plane = self.localizer.preprocessing().config().plane;
        let mut windows = Vec::with_capacity(scan.channels());
        for (channel, values) in scan.data().outer_iter().enumerate() {
            let name = scan.names().get(channel).cloned().unwrap_or_default();
            windows.push((name, scan_window(&values, scored.foreground())?));
        }
        let voxel_ml = scan.geometry().voxel_volume() / 1000.0;
        self.write_channels(&scan, &options, folder)?;
        // Beside a large volume there is no room for its maps: it is read again when its slices are to be shown.
        let mut kept = Some(scan).filter(|scan| 4 * scan.data().len() < LARGE);
        let (mut mapped, mut shown) = (Vec::new(), Vec::new());
        // There is room for one map, which is filtered where it lies, and later for its labels.
        for maps in scored.maps() {
            let predictor = maps.predictor();
            let raw = maps.raw()?;
            options.write(folder.join(format!("{predictor}_raw.nii.gz")), &raw)?;
            let map = maps.postprocessed(raw)?;
            let found =
                self.find(predictor, &map, scored.foreground(), scored.resolution(), Some(voxel_ml))?;
            let mut result = self.describe(predictor, folder, "nii.gz", found.as_ref());
            options.write(&result.map, &map)?;
            let heat_map = heat_map(self.localizer, predictor, map.data())?;
            let marks = found.as_ref().map(FoundLesions::marks);
            let mut slices = Vec::new();
            for slice in chosen_slices(scored.foreground(), marks.as_ref(), plane, self.args.slices.into()) {
                let Some(map) = map.upright_plane(plane, slice).map(|map| map.to_owned()) else { continue };
                let marked = marks.as_ref().and_then(|marks| marks.upright_plane(plane, slice));
                slices.push((slice, map, marked.map(|marks| marks.mapv(|mark| mark > 0))));
            }
            shown.push((heat_map, slices));
            drop((map, marks));
            if let Some(found) = &found {
                let labels = folder.join(format!("{predictor}_lesions.nii.gz"));
                options.write(&labels, &found.labels())?;
                result.labels = Some(labels);
            }
            mapped.push(result);
        }
        let scan = match kept.take() {
            Some(scan) => scan,
            None => match self.read(case)?.scan {
                scan if scan.grid() == scored.foreground().shape() => scan,
                _ => return Err("the file was changed while it was worked on".into()),
            },
        };
        for (result, (heat_map, slices)) in mapped.iter().zip(shown) {
            let mut overlay = Vec::with_capacity(slices.len());
            for (slice, map, marked) in slices {
                let (mut images, mut reconstructions) = (Vec::new(), Vec::new());
                for channel in 0..scan.channels() {
                    let image = scan.slice(plane, slice, channel).map(|image| image.to_owned());
                    let inside = scored.foreground().upright_plane(plane, slice);
                    let parts = (image, inside, scored.reconstructed_slice(slice, channel)?);
                    let (Some(image), Some(inside), Some(mut reconstruction)) = parts else { continue };
                    // Outside the foreground, of which a model knows nothing, the scan itself is shown.
                    Zip::from(&mut reconstruction).and(&image).and(&inside).for_each(
                        |value, &own, &inside| {
                            if !inside {
                                *value = own;
                            }
                        },
                    );
                    images.push(image);
                    reconstructions.push(reconstruction);
                }
                overlay.push(OverlaySlice { slice, images, reconstructions, map, marked });
            }
            let picture = slice_montage(result.name.as_str(), &heat_map, &windows, &overlay)?.to_picture()?;
            picture.write_png(&result.overlay, self.existing())?;
        }
        Ok((mapped, *scored.resolution(), scored.doubt().cloned()))
    }

    /// Writes the raw maps of each channel by itself, where they were asked for.
    fn write_channels(&self, scan: &Scan, options: &WriteOptions, folder: &Path) -> Outcome {
        for &predictor in self.predictors.iter().filter(|_| self.args.by_channel) {
            for (name, map) in self.channel_maps(scan, predictor)? {
                options.write(folder.join(format!("{predictor}_raw_{name}.nii.gz")), &map)?;
            }
        }
        Ok(())
    }

    /// The raw maps of each channel by itself, by the channel's name.
    fn channel_maps(
        &self,
        scan: &Scan,
        predictor: PredictorName,
    ) -> Result<Vec<(String, Volume<f32>)>, Box<dyn Error>> {
        let maps = self.localizer.channel_maps(scan, predictor)?;
        let maps =
            maps.ok_or_else(|| format!("--by-channel: {predictor} has no score of a single channel"))?;
        let name = |channel: usize| scan.names().get(channel).cloned().unwrap_or_else(|| channel.to_string());
        Ok(maps.into_iter().enumerate().map(|(channel, map)| (name(channel), map)).collect())
    }

    fn map_picture(&self, scan: Scan, folder: &Path) -> Result<Scored, Box<dyn Error>> {
        let scored = self.localizer.maps(&scan, &self.predictors)?;
        prepare_folder(folder)?;
        for &predictor in self.predictors.iter().filter(|_| self.args.by_channel) {
            for (name, map) in self.channel_maps(&scan, predictor)? {
                let path = folder.join(format!("{predictor}_raw_{name}.tiff"));
                write_file(path, &tiff(&seen(&map)?)?, self.existing())?;
            }
        }
        let reconstruction = scored.reconstruction(&scan)?.into_image();
        let image = scan.into_image();
        let foreground = one_slice(seen(scored.foreground())?);
        let mut mapped = Vec::new();
        for maps in scored.maps() {
            let predictor = maps.predictor();
            let raw = maps.raw()?;
            let result = self.describe(predictor, folder, "tiff", None);
            write_file(&result.raw, &tiff(&seen(&raw)?)?, self.existing())?;
            let map = one_slice(seen(&maps.postprocessed(raw)?)?);
            let found = self.find(predictor, &map, &foreground, scored.resolution(), None)?;
            let plane = map.data().index_axis(Axis(2), 0);
            let result = self.describe(predictor, folder, "tiff", found.as_ref());
            write_file(&result.map, &tiff(&plane)?, self.existing())?;
            let labels = found.as_ref().map(FoundLesions::labels);
            let labels = labels.as_ref().map(|labels| labels.data().index_axis(Axis(2), 0));
            let colors = heat_map(self.localizer, predictor, plane)?;
            let montage =
                picture_montage(predictor.as_str(), &colors, &image, &reconstruction, plane, labels)?;
            montage.to_picture()?.write_png(&result.overlay, self.existing())?;
            mapped.push(result);
        }
        Ok((mapped, *scored.resolution(), scored.doubt().cloned()))
    }

    /// The lesions in a map; `None` where the model was saved without normal scores of the predictor.
    fn find(
        &self,
        predictor: PredictorName,
        map: &Volume<f32>,
        foreground: &Volume<bool>,
        resolution: &Resolution,
        voxel_ml: Option<f64>,
    ) -> Result<Option<FoundLesions>, Box<dyn Error>> {
        let Some(normal) = self.localizer.calibration().get(predictor) else { return Ok(None) };
        let Some(threshold) = threshold(self.localizer, self.rule, predictor)? else { return Ok(None) };
        let smallest = self.localizer.map_filters().least_voxels(resolution);
        let level = self.rule.level();
        Ok(Some(FoundLesions::new(map, foreground, threshold, normal, smallest, voxel_ml, level)?))
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
            threshold: normal.and_then(|normal| self.rule.threshold(normal).ok().flatten()),
            normal_subjects: normal.map(|normal| normal.subjects()),
            smallest_p_value: normal.map(|normal| normal.smallest_p_value()),
            p_value_level: self.rule.level(),
            lesions: found.map(|found| found.lesions.clone()),
        }
    }
}

/// The threshold of a predictor; `None` where the model was saved without normal scores of it.
fn threshold(localizer: &Localizer, rule: DetectionRule, name: PredictorName) -> Result<Option<f32>, String> {
    let Some(normal) = localizer.calibration().get(name) else { return Ok(None) };
    match (rule.threshold(normal).map_err(|error| error.to_string())?, rule) {
        (None, DetectionRule::FamilyWise(level)) => {
            let (needed, subjects) = ((1.0 / level - 1.0).ceil(), normal.subjects());
            Err(format!(
                "--family-wise {level} takes {needed} normal subjects, the model was calibrated on {subjects}"
            ))
        }
        (threshold, _) => Ok(threshold),
    }
}

/// The only slice of a picture's map, `[row, column]`.
fn seen<T: Clone>(map: &Volume<T>) -> Result<Array2<T>, Box<dyn Error>> {
    let plane = map.upright_plane(Plane::Axial, 0).ok_or("a picture without a slice")?;
    Ok(plane.as_standard_layout().into_owned())
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
    let id = one_line(&localized.id);
    if let Some(doubt) = &localized.resolution_doubt {
        say!("{id}: {doubt}");
    }
    for mapped in &localized.predictors {
        let Mapped { name, lesions, threshold, normal_subjects, .. } = mapped;
        let heading = format!("{id}, {name}");
        let (Some(lesions), Some(threshold)) = (lesions, threshold) else {
            say!("{heading}: not calibrated, so there is no threshold; see the map");
            continue;
        };
        say!("{heading}: {} found where the score is at least {threshold:.4}", lesions.len());
        let (subjects, smallest) =
            (normal_subjects.unwrap_or_default(), mapped.smallest_p_value.unwrap_or(1.0));
        let of_subjects =
            format!("number of normal subjects: {subjects}; smallest p-value that they allow: {smallest:.3}");
        if smallest > mapped.p_value_level * (1.0 + 1e-9) {
            say!("{of_subjects}, above {}: no p-value can support a finding", mapped.p_value_level);
        } else {
            say!("{of_subjects}");
        }
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
                TableCell::from(centre[..if lesion.world.is_some() { 3 } else { 2 }].join(", ")),
                f64::from(lesion.peak).into(),
                lesion.mean.into(),
                lesion.p_value.into(),
            ])?;
        }
        say!("{}", table.to_markdown());
        if lesions.len() > PRINTED {
            say!("and {} more in report.json", lesions.len() - PRINTED);
        }
    }
    Ok(())
}
