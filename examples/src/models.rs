//! Sets of models that are evaluated together.

use std::error::Error;
use std::path::{Path, PathBuf};

use lesio::anomaly::{Localizer, Model, PredictorName};
use lesio::nn::{LoadError, Precision};
use lesio::report::{Existing, Extra, write_json};
use lesio::study::{CombinedLocalizers, check_folder, offered_predictors, predictor_choice};
use serde_json::{Value, json};

use crate::filters::MedianLengths;
use crate::output::{note, one_line, warn};
use crate::{DeviceArgs, model_path, say};

/// Returns the folders of the members of an ensemble: `member-1`, `member-2` and so on inside that of the ensemble.
#[must_use]
pub fn member_folders(out: &Path, members: usize) -> Vec<PathBuf> {
    (1..=members).map(|member| out.join(format!("member-{member}"))).collect()
}

/// The field of the report of a training that states the number of members in its folder: 0 for a single model.
pub const MEMBERS: &str = "members";

/// The fields that a program adds to the report of an ensemble, with the number of its members ([`MEMBERS`]).
#[must_use]
pub fn with_members(mut stamp: Extra, members: usize) -> Extra {
    stamp.insert(MEMBERS.to_owned(), json!(members));
    stamp
}

/// The number of members that the report in a folder states. Further members are those of an earlier training, which
/// a smaller one has replaced. `None` without such a report: of an interrupted training, or of an earlier version.
fn stated_members(folder: &Path) -> Option<usize> {
    let report: Value = serde_json::from_slice(&std::fs::read(folder.join("report.json")).ok()?).ok()?;
    usize::try_from(report[MEMBERS].as_u64()?).ok()
}

/// Writes the report of a model into its folder, in place of an earlier one. A program that trains no members keeps the
/// number of those that the earlier report states.
///
/// # Errors
/// If the file cannot be written.
pub fn write_model_report(mut report: Value, folder: &Path) -> Result<(), Box<dyn Error>> {
    if let Some(members) = stated_members(folder).filter(|_| report.get(MEMBERS).is_none()) {
        report[MEMBERS] = json!(members);
    }
    Ok(write_json(folder.join("report.json"), &report, Existing::Replace)?)
}

/// Returns the model files of the given paths: a file itself, or `model.safetensors` in a folder with those of its
/// members ([`member_folders`]).
#[must_use]
pub fn model_files(paths: &[PathBuf]) -> Vec<PathBuf> {
    let files = |path: &PathBuf| {
        let own = model_path(path);
        let members =
            (1..).map(|member| path.join(format!("member-{member}"))).take_while(|path| path.is_dir());
        let members = members.take(stated_members(path).unwrap_or(usize::MAX));
        let members: Vec<PathBuf> = members.map(|folder| model_path(&folder)).collect();
        // Members without an ensemble are those of an interrupted training, or of an earlier version.
        let whole = (own.exists() || members.is_empty()).then_some(own);
        whole.into_iter().chain(members).collect::<Vec<PathBuf>>()
    };
    paths.iter().flat_map(files).collect()
}

/// Returns the path of the model file that a program writes into a folder.
///
/// # Errors
/// If the folder cannot be written to, and if it holds a model which is not to be replaced.
pub fn new_model_path(out: &Path, overwrite: bool) -> Result<PathBuf, Box<dyn Error>> {
    check_folder(out)?;
    let path = out.join("model.safetensors");
    if !overwrite && path.symlink_metadata().is_ok() {
        return Err(format!("{} exists; --overwrite replaces it", path.display()).into());
    }
    Ok(path)
}

/// Writes the localizer of an ensemble with its report into a folder, and prints its members.
///
/// # Errors
/// If a file cannot be written.
pub fn write_ensemble(
    combined: &CombinedLocalizers,
    out: &Path,
    stamp: impl FnOnce() -> Extra,
) -> Result<(), Box<dyn Error>> {
    let CombinedLocalizers { localizer, choice, weights, seconds_per_slice, .. } = combined;
    let path = out.join("model.safetensors");
    localizer.save(&path)?;
    let bytes = std::fs::metadata(&path)?.len();
    let mut report = json!({
        "schema": 1,
        "ensemble": { "choice": choice, "weights": weights, "seconds_per_slice": seconds_per_slice, "bytes": bytes },
        "chosen": localizer.chosen(),
    });
    for (name, value) in stamp() {
        report[name] = value;
    }
    write_model_report(report, out)?;
    let members: Vec<String> =
        weights.iter().map(|(name, weight)| format!("{weight:.3} {}", one_line(name))).collect();
    say!("ensemble: {}", members.join(", "));
    say!("{}", predictor_choice(localizer).1);
    say!(
        "wrote {}: {:.1} MB, {:.0} ms a slice",
        path.display(),
        bytes as f64 / 1e6,
        1000.0 * seconds_per_slice
    );
    Ok(())
}

/// Loads a model, and warns of a precision that it does not use.
///
/// # Errors
/// If the model cannot be loaded.
pub fn load_model(
    path: &Path,
    device: &DeviceArgs,
    precision: Option<Precision>,
) -> Result<Localizer, LoadError> {
    let localizer = Localizer::load_with(path, &device.loading(precision))?;
    let all = std::iter::once(&localizer).chain(localizer.others());
    if precision.is_some() && !all.into_iter().any(|own| matches!(own.model(), Model::Vae(_))) {
        warn(&format!("--precision has no effect on {}: it is for VAEs", path.display()));
    }
    Ok(localizer)
}

/// Loads models by label. The label is the name of the folder, or of the file without its extension; for a member, and
/// for models that would otherwise have the same label, the name of the folder above comes first, as in
/// `heads/member-1`. Filters that are given replace those of the models.
///
/// # Errors
/// If a model cannot be loaded, and for invalid filters.
pub fn load_models(
    paths: &[PathBuf],
    device: &DeviceArgs,
    precision: Option<Precision>,
    median: Option<MedianLengths>,
    erosion: Option<f64>,
) -> Result<Vec<(String, Localizer)>, Box<dyn Error>> {
    let mut localizers = Vec::new();
    for path in paths {
        let localizer = load_model(path, device, precision)?;
        let mut filters = localizer.postprocessing().clone();
        let changed = median.is_some() || erosion.is_some();
        if changed && localizer.ensemble().is_some() {
            return Err(format!(
                "{}: --median and --erosion cannot change the filters of an ensemble's members",
                path.display()
            )
            .into());
        }
        if let Some(MedianLengths(lengths)) = median {
            filters.median = lengths;
        }
        if let Some(erosion) = erosion {
            filters.erosion = erosion;
        }
        filters.validate().map_err(|error| format!("{}: {error}", path.display()))?;
        let own = label(path);
        let is_shared = paths.iter().filter(|other| label(other) == own).count() > 1;
        let label = if is_shared { longer_label(path).unwrap_or(own) } else { own };
        let was_calibrated = !localizer.calibration().is_empty();
        let localizer = localizer.with_postprocessing(filters);
        if was_calibrated && localizer.calibration().is_empty() {
            note(&format!("{label}: its calibration does not hold for other filters, so it has none"));
        }
        localizers.push((label, localizer));
    }
    Ok(localizers)
}

/// The label of a model file: the name of its folder, or of the file without its extension; for a member, both folder
/// names.
#[must_use]
pub fn label(path: &Path) -> String {
    let short = name(named(path)).unwrap_or_else(|| path.display().to_string());
    match longer_label(path) {
        Some(longer) if short.starts_with("member-") => longer,
        _ => short,
    }
}

/// The label with the name of the folder above; `None` if that has no name.
fn longer_label(path: &Path) -> Option<String> {
    let own = named(path);
    Some(format!("{}/{}", own.parent().and_then(name)?, name(own)?))
}

/// The folder or file after which a model is called.
fn named(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if path.ends_with("model.safetensors") && name(folder).is_some() => folder,
        _ => path,
    }
}

fn name(path: &Path) -> Option<String> {
    path.file_stem().map(|name| name.to_string_lossy().into_owned())
}

/// Checks, before any image is read, that the models offer the predictors of an ensemble.
///
/// # Errors
/// For a predictor that no model offers or is calibrated for, and for fewer than two members.
pub fn check_ensemble(
    ensemble: &[PredictorName],
    predictors: Option<&[PredictorName]>,
    localizers: &[(String, Localizer)],
    has_validation: bool,
) -> Result<(), String> {
    let asked = |name: &PredictorName| {
        *name == PredictorName::Intensity || predictors.is_none_or(|own| own.contains(name))
    };
    let mut members = 0;
    for &name in ensemble {
        let offers = |own: &Localizer| offered_predictors(own, localizers.len() > 1).contains(&name);
        let is_measured = |own: &Localizer| name == PredictorName::Intensity || offers(own);
        let served = localizers.iter().filter(|(_, own)| is_measured(own) && asked(&name));
        let mut count = 0;
        for (label, own) in served {
            count += 1;
            if !has_validation && own.calibration().get(name).is_none() {
                return Err(format!(
                    "--ensemble {name}: the model {label} is not calibrated for this predictor, and --validation is not given"
                ));
            }
        }
        if count == 0 {
            return Err(format!("--ensemble {name}: no model offers this predictor among those requested"));
        }
        // Intensity does not depend on the model, so it counts once.
        members += if name == PredictorName::Intensity { 1 } else { count };
    }
    match (ensemble.len(), members) {
        (1.., ..2) => Err(format!("--ensemble takes at least two predictors or models, found {members}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn members_of_an_earlier_training_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path();
        member_folders(out, 3).iter().for_each(|member| fs::create_dir(member).unwrap());
        fs::write(out.join("model.safetensors"), "").unwrap();
        let found = || model_files(&[out.to_owned()]);
        assert_eq!(found().len(), 4, "a training that was interrupted, or of an earlier version");
        let write = |report: &str| fs::write(out.join("report.json"), report).unwrap();
        for (report, expected) in [(r#"{"members": 0}"#, 1), (r#"{"ensemble": {}}"#, 4), ("x", 4)] {
            write(report);
            assert_eq!(found().len(), expected, "{report}");
        }
        write(r#"{"members": 2}"#);
        assert_eq!(found().last(), Some(&out.join("member-2/model.safetensors")));
        // A new ensemble of the same members leaves their number as it is, a training states its own.
        for (report, expected) in [(json!({}), 2), (json!({"members": 3}), 3)] {
            write_model_report(report, out).unwrap();
            assert_eq!(found().len(), 1 + expected);
        }
    }

    #[test]
    fn labels_are_names_of_folders() {
        let labels = |path: &str| (label(Path::new(path)), longer_label(Path::new(path)));
        let long = |text: &str| Some(text.to_owned());
        assert_eq!(labels("a/vae/model.safetensors"), ("vae".to_owned(), long("a/vae")));
        assert_eq!(labels("a/vae.safetensors"), ("vae".to_owned(), long("a/vae")));
        assert_eq!(labels("heads/member-1/model.safetensors").0, "heads/member-1");
        assert_eq!(labels("model.safetensors"), ("model".to_owned(), None));
    }
}
