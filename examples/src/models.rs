//! Sets of models that are evaluated together.

use std::error::Error;
use std::path::{Path, PathBuf};

use lesio::anomaly::{Loading, Localizer, PredictorName};

use crate::filters::MedianLengths;
use crate::model_path;

/// Returns the folders of models that are trained together: the folder itself for one model, else `member-1`,
/// `member-2` and so on inside it.
#[must_use]
pub fn member_folders(out: &Path, members: usize) -> Vec<PathBuf> {
    match members {
        1 => vec![out.to_owned()],
        _ => (1..=members).map(|member| out.join(format!("member-{member}"))).collect(),
    }
}

/// Returns the model files of the given paths: a file itself, `model.safetensors` in a folder, or the files of all
/// members in a folder of several models ([`member_folders`]).
#[must_use]
pub fn model_files(paths: &[PathBuf]) -> Vec<PathBuf> {
    let files = |path: &PathBuf| {
        let members =
            (1..).map(|member| path.join(format!("member-{member}"))).take_while(|path| path.is_dir());
        let found: Vec<PathBuf> = match model_path(path).exists() {
            true => Vec::new(),
            false => members.map(|folder| model_path(&folder)).collect(),
        };
        if found.is_empty() { vec![model_path(path)] } else { found }
    };
    paths.iter().flat_map(files).collect()
}

/// Loads models by label. The label is the name of the folder, or of the file without its extension; for a member, both
/// folder names, as in `heads/member-1`. Filters that are given replace those of the models.
///
/// # Errors
/// If a model cannot be loaded, and for invalid filters.
pub fn load_models(
    paths: &[PathBuf],
    loading: &Loading,
    median: Option<MedianLengths>,
    erosion: Option<f64>,
) -> Result<Vec<(String, Localizer)>, Box<dyn Error>> {
    let mut localizers = Vec::new();
    for path in paths {
        let localizer = Localizer::load_with(path, loading)?;
        let mut filters = localizer.map_filters().clone();
        if let Some(MedianLengths(lengths)) = median {
            filters.median = lengths;
        }
        if let Some(erosion) = erosion {
            filters.erosion = erosion;
        }
        filters.validate().map_err(|error| format!("{}: {error}", path.display()))?;
        localizers.push((label(path), localizer.postprocessing(filters)));
    }
    Ok(localizers)
}

fn label(path: &Path) -> String {
    let name = |path: &Path| path.file_stem().map(|name| name.to_string_lossy().into_owned());
    let own = match path.parent() {
        Some(folder) if path.ends_with("model.safetensors") && name(folder).is_some() => folder,
        _ => path,
    };
    let short = name(own).unwrap_or_else(|| path.display().to_string());
    match own.parent().and_then(name) {
        Some(of) if short.starts_with("member-") => format!("{of}/{short}"),
        _ => short,
    }
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
        let served = localizers.iter().filter(|(_, own)| own.predictors().contains(&name) && asked(&name));
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
