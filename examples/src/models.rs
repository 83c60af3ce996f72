//! Models that are evaluated together.

use std::error::Error;
use std::path::{Path, PathBuf};

use lesio::anomaly::{Loading, Localizer, PredictorName};

use crate::filters::MedianLengths;
use crate::model_path;

/// The folders of so many models that are trained together: the folder itself for one, `member-1` and so on in it for more.
#[must_use]
pub fn member_folders(out: &Path, members: usize) -> Vec<PathBuf> {
    match members {
        1 => vec![out.to_owned()],
        _ => (1..=members).map(|member| out.join(format!("member-{member}"))).collect(),
    }
}

/// The files of models: each path itself, `model.safetensors` in a folder, or those of all members in a folder of several
/// ([`member_folders`]).
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

/// Models by what to call them (the folder, or the file without the ending; of members both folders, as in
/// `heads/member-1`), with other filters than their own where these are given.
///
/// # Errors
/// A model that cannot be loaded, or filters that are refused.
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

/// Fails before any image is read where the predictors of an ensemble are not to be had.
///
/// # Errors
/// A predictor that no model serves or is calibrated for, and fewer than two.
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
                    "--ensemble {name}: the model {label} is not calibrated for it, and there is no --validation"
                ));
            }
        }
        if count == 0 {
            return Err(format!("--ensemble {name}: no model serves it among the predictors asked for"));
        }
        // Intensity is the same whatever the model, and is taken once.
        members += if name == PredictorName::Intensity { 1 } else { count };
    }
    match (ensemble.len(), members) {
        (1.., ..2) => Err(format!("--ensemble takes at least two predictors or models, found {members}")),
        _ => Ok(()),
    }
}
