//! Results as a BIDS derivative: the files that accompany the maps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use lesio_anomaly::PredictorName;
use lesio_io::atomic::{self, Existing};
use serde_json::{Value, json};

use super::case::{LocalizedCase, MappedPredictor};
use super::files::{described, label, subject};
use super::report::LocalizationReport;
use crate::findings::Finding;
use crate::folder::{FolderError, prepare_folder};
use crate::verdict::Verdict;
use crate::workflow_error::WorkflowError;

/// The version of BIDS that file names and tables follow.
const VERSION: &str = "1.10.0";

/// The files that BIDS does not define.
const IGNORED: &str = "# Written by lesio, of which BIDS knows no kind.
*_anomalymap.nii.gz
*_anomalymap.json
*_overlay.png
*_thumbnail.png
*_case.json
*_case.html
/report*.json
/report.html
/run*.toml
/cases.csv
/lesions.csv
";

/// The file that makes a folder a derivative, and names the program that wrote it.
const DESCRIPTION: &str = "dataset_description.json";

const DESCRIPTIONS: &str = "descriptions.tsv";

/// The other files that describe a folder.
const WRITTEN: [&str; 5] =
    [".bidsignore", "README.md", DESCRIPTIONS, "participants.tsv", "participants.json"];

const README: &str = "Anomaly maps by lesio.

sub-*/: for each image and predictor (desc-) the map on the image's own grid (anomalymap), the lesions found by number
(dseg) with a table of them, and a picture (overlay). Higher is more abnormal. Verdicts are in the files of the maps that end
in .json, in participants.tsv, and in cases.csv.
";

/// The text that BIDS uses for an unknown value.
const NOT_KNOWN: &str = "n/a";

/// Columns of the table of lesions after `index` and `name`, with descriptions.
const LESION_COLUMNS: [(&str, &str); 9] = [
    ("voxels", "Number of voxels"),
    ("volume_ml", "Volume in milliliters"),
    ("x", "Center along the axis to the right, in millimeters"),
    ("y", "Center along the axis to the front, in millimeters"),
    ("z", "Center along the axis upward, in millimeters"),
    ("peak", "Highest score"),
    ("mean", "Mean score"),
    ("p_value", "Probability that the highest score of a normal subject is at least the peak"),
    ("predictor", "What scored"),
];

/// Columns of `participants.tsv` after `participant_id`, with descriptions.
const PARTICIPANT_COLUMNS: [(&str, &str); 4] = [
    ("cases", "Number of cases that were mapped"),
    ("abnormal", "Number of cases that are abnormal"),
    ("cannot_tell", "Number of cases without a verdict"),
    ("normal", "Number of cases that are normal"),
];

/// Writes the files that describe a folder as a BIDS derivative. Every shard writes the same files.
///
/// `descriptions` are those of the images themselves, such as `preproc`, which precede those of the maps.
///
/// # Errors
/// If the file system fails; [`WorkflowError::NotByLesio`] if the folder has a description that lesio did not write, or none and
/// a file that would be replaced or a subject.
pub(super) fn describe(
    folder: &Path,
    source: &Path,
    predictors: &[PredictorName],
    descriptions: &BTreeSet<&str>,
) -> Result<(), WorkflowError> {
    let path = folder.join(DESCRIPTION);
    if !is_by_lesio(&path)? {
        // Another shard may have written its files between these looks.
        match first_of_others(folder)? {
            Some(path) if !is_by_lesio(&folder.join(DESCRIPTION))? => {
                return Err(WorkflowError::NotByLesio { path });
            }
            _ => {}
        }
    }
    prepare_folder(folder)?;
    let source = fs::canonicalize(source).unwrap_or_else(|_| source.to_owned());
    let url = url_of(&source);
    let description = json!({
        "Name": "Anomaly maps by lesio",
        "BIDSVersion": VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{ "Name": "lesio", "Version": env!("CARGO_PKG_VERSION") }],
        "SourceDatasets": [{ "URL": url }],
        "DatasetLinks": { "raw": url },
    });
    write_json(&path, &description)?;
    write(&folder.join(".bidsignore"), IGNORED)?;
    write(&folder.join("README.md"), README)?;
    let mut table = String::from("desc_id\tdescription\n");
    for &name in predictors {
        for own in descriptions {
            let label = described(Some(own), &label(name));
            table += &format!("desc-{label}\tScores by {name}, post-processed, and what was found in them\n");
            table += &format!("desc-{label}raw\tRaw scores by {name}\n");
        }
    }
    write(&folder.join(DESCRIPTIONS), &table)
}

/// Whether lesio wrote the description of a folder. There may be none.
fn is_by_lesio(path: &Path) -> Result<bool, WorkflowError> {
    match fs::read_to_string(path) {
        Ok(text) if text.contains("\"lesio\"") => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        _ => Err(WorkflowError::NotByLesio { path: path.to_owned() }),
    }
}

/// The first file of a folder that describing it would replace, or its first subject: the folder is somebody else's, and with
/// a description by lesio its masks would be taken for results.
fn first_of_others(folder: &Path) -> Result<Option<PathBuf>, WorkflowError> {
    let failed = |cause| {
        let operation = "cannot list the folder";
        WorkflowError::Folder(FolderError::Io { folder: folder.to_owned(), operation, cause })
    };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(failed)?,
    };
    let mut others = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let is_subject = name.as_encoded_bytes().starts_with(b"sub-");
        if is_subject || WRITTEN.iter().any(|&own| name == own) {
            others.push(entry.path());
        }
    }
    Ok(others.into_iter().min())
}

/// A path as a `file` URL.
fn url_of(path: &Path) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let mut url = String::from("file://");
    for &byte in path.as_os_str().as_encoded_bytes() {
        match plain(byte) {
            true => url.push(char::from(byte)),
            false => url += &format!("%{byte:02X}"),
        }
    }
    url
}

/// Writes the metadata of the maps of a case, and the table of its lesions, next to the maps.
pub(super) fn describe_case(case: &LocalizedCase, root: &Path) -> Result<(), WorkflowError> {
    let sources: Vec<String> = case.input.iter().map(|image| source(image, root)).collect();
    for mapped in &case.predictors {
        let MappedPredictor { name, verdict, .. } = mapped;
        let map = |what: &str| {
            json!({
                "Description": format!("Scores by {name}{what}; higher is more abnormal"),
                "Sources": sources,
                "Predictor": name.as_str(),
                "Verdict": verdict.verdict.name(),
                "VerdictReason": verdict.reason,
                "Score": verdict.score,
                "ScoreThreshold": verdict.threshold,
                "Level": verdict.level,
                "PValue": verdict.p_value,
                "VoxelThreshold": mapped.threshold,
            })
        };
        for (file, what) in [(&mapped.map, ", post-processed"), (&mapped.raw, "")] {
            file.iter().try_for_each(|file| write_json(&beside(file, "json"), &map(what)))?;
        }
        for (file, channel) in mapped.channels.iter().zip(&mapped.channel_names) {
            write_json(&beside(file, "json"), &map(&format!(" of channel {channel}")))?;
        }
        if let Some(file) = &mapped.labels {
            let mut about = json!({
                "Description": format!("Lesions found in the scores by {name}, by number"),
                "Sources": sources,
                "Manual": false,
            });
            LESION_COLUMNS.iter().for_each(|(column, what)| about[*column] = json!({ "Description": what }));
            write_json(&beside(file, "json"), &about)?;
            write(&beside(file, "tsv"), &lesions(mapped))?;
        }
    }
    Ok(())
}

/// The BIDS URI of an image in the raw data set.
fn source(image: &Path, root: &Path) -> String {
    match image.strip_prefix(root) {
        Ok(below) => format!("bids:raw:{}", below.to_string_lossy().replace('\\', "/")),
        Err(_) => url_of(image),
    }
}

/// The lesions of a map as a BIDS table.
fn lesions(mapped: &MappedPredictor) -> String {
    let mut table = String::from("index\tname");
    LESION_COLUMNS.iter().for_each(|(column, _)| table += &format!("\t{column}"));
    table.push('\n');
    for lesion in mapped.lesions.iter().flatten() {
        let Finding { label, voxels, volume_ml, world, peak, mean, p_value, .. } = lesion;
        let known =
            |value: Option<f64>| value.map_or_else(|| NOT_KNOWN.to_owned(), |value| value.to_string());
        let [x, y, z] = [0, 1, 2].map(|axis| known(world.map(|world| world[axis])));
        let (volume, p_value, name) = (known(*volume_ml), known(*p_value), mapped.name);
        table += &format!(
            "{label}\tlesion-{label}\t{voxels}\t{volume}\t{x}\t{y}\t{z}\t{peak}\t{mean}\t{p_value}\t{name}\n"
        );
    }
    table
}

/// Writes `participants.tsv`: for each mapped subject, the number of abnormal cases by the first predictor.
pub(super) fn write_participants(
    report: &LocalizationReport,
    folder: &Path,
) -> Result<(), atomic::WriteError> {
    let path = folder.join("participants.tsv");
    let mut about = json!({});
    for (column, what) in PARTICIPANT_COLUMNS {
        about[column] = json!({ "Description": what });
    }
    atomic::write(&path, Existing::Replace, |out| out.write_all(participants(report)?.as_bytes()))?;
    write_text(&folder.join("participants.json"), &format!("{about:#}\n"))
}

fn participants(report: &LocalizationReport) -> io::Result<String> {
    let mut counts: BTreeMap<String, [usize; 4]> = BTreeMap::new();
    for case in &report.cases {
        let case = case?;
        // The subject of the folders, whatever a table of cases calls the patient.
        let count = counts.entry(subject(&case.id).to_owned()).or_default();
        count[0] += 1;
        if let Some(mapped) = case.predictors.first() {
            count[match mapped.verdict.verdict {
                Verdict::Abnormal => 1,
                Verdict::CannotTell => 2,
                Verdict::Normal => 3,
            }] += 1;
        }
    }
    let mut table = String::from("participant_id");
    PARTICIPANT_COLUMNS.iter().for_each(|(column, _)| table += &format!("\t{column}"));
    table.push('\n');
    for (subject, [cases, abnormal, cannot_tell, normal]) in counts {
        table += &format!("{subject}\t{cases}\t{abnormal}\t{cannot_tell}\t{normal}\n");
    }
    Ok(table)
}

/// The file with the same name, but with another ending in place of `.nii.gz`.
pub(super) fn beside(file: &Path, ending: &str) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let stem = lesio_io::without_ending(&name);
    file.with_file_name(format!("{stem}.{ending}"))
}

fn write_json(path: &Path, value: &Value) -> Result<(), WorkflowError> {
    write(path, &format!("{value:#}\n"))
}

fn write(path: &Path, text: &str) -> Result<(), WorkflowError> {
    Ok(write_text(path, text)?)
}

fn write_text(path: &Path, text: &str) -> Result<(), atomic::WriteError> {
    // A resumed run describes finished cases again, and most files are as they were.
    if fs::read(path).is_ok_and(|found| found == text.as_bytes()) {
        return Ok(());
    }
    atomic::write(path, Existing::Replace, |out| out.write_all(text.as_bytes()))
}
