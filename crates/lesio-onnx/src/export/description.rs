//! The description of an exported localizer: everything that a server needs beside the graphs.

use lesio_anomaly::{
    DeclaredConfig, LengthUnit, Localizer, ModelConfig, NegativeValues, NormalScores, PredictorName,
};
use lesio_image::{
    Background, Foreground, Frame, Intensity, Interpolation, LinearScale, Plane, Preprocessing, Resize,
    SlicePosition,
};
use lesio_vae::Likelihood;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value as Json, json};

use super::error::ExportError;
use super::graph::OPSET;

/// The file of the normal scores by position.
pub(super) const POSITION: &str = "position.safetensors";

/// The rates for which the description states thresholds, the default of `localize` among them.
const RATES: [f64; 4] = [0.001, 0.01, 0.05, 0.1];

/// The description; `inside` is the scale of intensities that the graph contains.
pub(super) fn description(localizer: &Localizer, inside: Option<LinearScale>) -> Result<Json, ExportError> {
    let shape = localizer.model().image_shape();
    let config = localizer.model().config();
    let precision = match &config {
        ModelConfig::Vae { config, .. } => json!(config.precision),
        _ => json!("single"),
    };
    let (likelihood, beta) = match &config {
        ModelConfig::Vae { config, beta } => (Some(config.likelihood), Some(*beta)),
        ModelConfig::Declared { config: DeclaredConfig::Vae { likelihood, beta, .. } } => {
            (Some(*likelihood), Some(*beta))
        }
        _ => (None, None),
    };
    let thresholds = |of: &dyn Fn(f64) -> Option<f32>| -> Json {
        RATES.iter().filter_map(|&rate| Some((rate.to_string(), json!(of(rate)?)))).collect()
    };
    let calibration: serde_json::Map<String, Json> = localizer
        .calibration()
        .predictors()
        .filter_map(|name| {
            let normals = localizer.calibration().get(name)?;
            let unit = if localizer.position_normals().get(name).is_some() { "deviations" } else { "scores" };
            let stated = json!({
                "normal_subjects": normals.subjects(),
                "thresholds_in": unit,
                "pixel_thresholds": thresholds(&|rate| Some(normals.threshold(rate))),
                "family_wise_thresholds": thresholds(&|rate| normals.family_wise_threshold(rate)),
            });
            Some((name.to_string(), stated))
        })
        .collect();
    let needs_more = localizer.calibration().predictors().filter(|&name| !is_from_graphs(localizer, name));
    let mut input = json!({
        "shape": ["n", shape.channels, shape.height, shape.width],
        "channels": localizer.channel_names(),
        "holds": if inside.is_some() { "intensities" } else { "scaled values" },
        "range": range_of_inputs(localizer),
    });
    if let Some(scale) = inside {
        input["score_scale"] = json!([scale.low(), scale.high()]);
    }
    Ok(json!({
        "schema": 1,
        "opset": OPSET,
        "kind": localizer.model().kind(),
        "precision": precision,
        "likelihood": likelihood,
        "beta": beta,
        "input": input,
        "preprocessing": localizer.preprocessing(),
        "postprocessing": localizer.postprocessing(),
        "calibration": calibration,
        "not_from_the_graphs": needs_more.map(|name| name.to_string()).collect::<Vec<_>>(),
        "chosen": localizer.chosen(),
        "ensemble": ensemble(localizer)?,
        "provenance": localizer.provenance(),
        "not_in_the_graphs": not_in_the_graphs(localizer, inside),
    }))
}

/// Whether a map follows from the inputs and outputs of the graphs, by the formulas of docs/serving.md.
pub(super) fn is_from_graphs(localizer: &Localizer, name: PredictorName) -> bool {
    match name {
        PredictorName::Intensity
        | PredictorName::PixelL1
        | PredictorName::PixelPositive
        | PredictorName::PixelNegative
        | PredictorName::PixelL2
        | PredictorName::PixelSsim
        | PredictorName::PixelGms
        | PredictorName::AnomalyLogit => true,
        // The graphs give no learned scale.
        PredictorName::PixelNll => match localizer.model().config() {
            ModelConfig::Vae { config, .. } => config.likelihood != Likelihood::GaussianLearned,
            ModelConfig::Declared { config: DeclaredConfig::Vae { likelihood, .. } } => {
                likelihood != Likelihood::GaussianLearned
            }
            _ => false,
        },
        PredictorName::Ensemble => localizer.ensemble().is_some_and(|ensemble| {
            ensemble.members.iter().all(|member| match member.localizer.checked_sub(1) {
                None => is_from_graphs(localizer, member.predictor),
                Some(other) => {
                    localizer.others().get(other).is_some_and(|own| is_from_graphs(own, member.predictor))
                }
            })
        }),
        // Gradients, or code that lesio does not know.
        _ => false,
    }
}

/// The range of the network's inputs that similarities bring to [0, 1], as the localizer's predictors do.
fn range_of_inputs(localizer: &Localizer) -> [f32; 2] {
    let clip = localizer.preprocessing().config().clip.filter(|[low, high]| low < high);
    localizer.settings().range.or(clip).unwrap_or([0.0, 1.0])
}

/// The ensemble, with the levels of its quantiles and what its localizers are.
fn ensemble(localizer: &Localizer) -> Result<Json, ExportError> {
    let Some(own) = localizer.ensemble() else { return Ok(Json::Null) };
    let mut stated = serde_json::to_value(own)?;
    let localizers = std::iter::once(localizer).chain(localizer.others());
    stated["levels"] = json!(NormalScores::levels());
    stated["localizers"] =
        localizers.map(|own| json!({ "kind": own.model().kind(), "provenance": own.provenance() })).collect();
    Ok(stated)
}

/// The normal scores by position of the predictors whose maps follow from the graphs, as a file: tensors
/// `PREDICTOR.mean` and `PREDICTOR.deviation`, `[bands, rows, columns]`; `None` without any.
pub(super) fn position_file(localizer: &Localizer) -> Result<Option<Vec<u8>>, ExportError> {
    let position = localizer.position_normals();
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let mut tensors = Vec::new();
    for name in position.predictors().filter(|&name| is_from_graphs(localizer, name)) {
        let Some(normals) = position.get(name) else { continue };
        for (what, values) in [("mean", normals.mean()), ("deviation", normals.deviation())] {
            tensors.push((format!("{name}.{what}"), normals.shape().to_vec(), bytes(values)));
        }
    }
    if tensors.is_empty() {
        return Ok(None);
    }
    let failed = |error: safetensors::SafeTensorError| ExportError::Position(error.into());
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    safetensors::serialize(views, None).map(Some).map_err(failed)
}

/// The steps from a file to a verdict that a server must implement itself, in order.
fn not_in_the_graphs(localizer: &Localizer, inside: Option<LinearScale>) -> Vec<String> {
    let config = localizer.preprocessing().config();
    let is_masked = matches!(config.foreground, Foreground::Mask(_));
    // A value of the network in the unit of the graph.
    let unit = |value: f32| inside.map_or(value, |scale| scale.inverse(value));
    let mut steps = Vec::new();
    if is_masked {
        steps.push("foreground: finding the object in the image".to_owned());
    }
    steps.extend(intensity(config, inside.is_some(), is_masked));
    if let Some([low, high]) = config.clip {
        steps.push(format!("clip: to {} and {}", unit(low), unit(high)));
    }
    if config.background == Background::Zero {
        steps.push(format!("background: {} outside the foreground", unit(0.0)));
    }
    steps.push(plane(config.plane));
    steps.push(grid(config, unit(0.0)));
    if config.slice_position == SlicePosition::Channel {
        let (first, last, middle) = (unit(0.0), unit(1.0), unit(0.5));
        steps.push(format!(
            "slice position: a last channel, {first} at the first slice with foreground, {last} at the last, and linear \
             between them; {middle} of a picture and of a single slice"
        ));
    }
    if let Some(scale) = inside {
        let (low, range) = (scale.low(), scale.high() - scale.low());
        steps.push(format!(
            "scale: scores are of (x - {low}) / {range} and (y - {low}) / {range}, of the image x and the reconstruction y"
        ));
    }
    steps.push(score(localizer));
    if localizer.position_normals().predictors().next().is_some() {
        steps.push(format!(
            "position: (map - mean) / deviation at each pixel of the grid, with the tensors PREDICTOR.mean and \
             PREDICTOR.deviation [bands, rows, columns] of {POSITION}, if it has them; the band of a slice is floor(p x \
             bands), at most bands - 1, with p from 0 at the first slice with foreground to 1 at the last, 0.5 of a picture \
             and of a single slice"
        ));
    }
    steps.push(
        "back: the map on the image's own grid, resized in the same way; outside the foreground and the grid it gets \
         its lowest value inside the foreground"
            .to_owned(),
    );
    steps.extend(filters(localizer, is_masked));
    if let Some(ensemble) = localizer.ensemble() {
        let scale = json!(ensemble.config.scale);
        let mut step = format!(
            "ensemble: the maps of its members after all these steps, each brought to {} by its normals, and the rule; \
             the result is not filtered again. Localizer 0 is the one of this export",
            scale.as_str().unwrap_or("their scale")
        );
        let others = localizer.others().len();
        if others > 0 {
            step += &format!(
                "; the others (1 to {others}, see ensemble.localizers) are not in it: export their own model files"
            );
        }
        steps.push(step);
    }
    steps
}

/// How intensities are scaled; `None` if nothing is to be done before the graph.
fn intensity(config: &Preprocessing, is_inside: bool, is_masked: bool) -> Option<String> {
    let pixels = if is_masked { "the pixels of the foreground" } else { "all pixels" };
    let of = "a picture by all channels together, a volume by each channel alone and all its slices";
    Some(match &config.intensity {
        Intensity::Unchanged => return None,
        Intensity::Range(_) if is_inside => return None,
        Intensity::Range(scale) => {
            format!("intensity: (value - {}) / {}", scale.low(), scale.high() - scale.low())
        }
        Intensity::Robust(scaling) => format!(
            "intensity: percentile {} of {pixels} to 0, percentile {} to {}; {of}",
            scaling.low,
            scaling.high,
            scaling.reach.recip()
        ),
        Intensity::ZScore(score) => format!(
            "intensity: mean {:+} standard deviations of {pixels} to 0, mean {:+} standard deviations to 1; {of}",
            score.low, score.high
        ),
        _ => format!(
            "intensity: the percentiles of {pixels} to the standard values of the histogram in preprocessing, linear \
             between them, beyond them with the slope from the first to the last; {of}"
        ),
    })
}

/// The slices of a volume, as `lesio_image::upright_slice` shows them.
fn plane(plane: Plane) -> String {
    let (name, rows, columns) = match plane {
        Plane::Axial => ("axial", "front to back", "left to right"),
        Plane::Coronal => ("coronal", "top to bottom", "left to right"),
        Plane::Sagittal => ("sagittal", "top to bottom", "back to front"),
    };
    format!(
        "plane: of a volume each {name} slice alone, whose rows run from {rows} and columns from {columns} of the \
         patient; a picture as it is seen"
    )
}

/// How a slice comes to the grid; beyond the image the grid has the value `fill`.
fn grid(config: &Preprocessing, fill: f32) -> String {
    let [height, width] = config.grid();
    let (placed, how, interpolation) = match &config.frame {
        Frame::Fit(fit) => {
            let (placed, how) = match fit.resize {
                Resize::Contain => {
                    ("the image fitted", format!("with its proportions, centered and {fill} beside it"))
                }
                Resize::Stretch => ("the image stretched", "each axis by its own factor".to_owned()),
                Resize::CropPad => ("the image cropped", format!("or {fill} beside it, with its own pixels")),
                _ => ("the image brought", "see preprocessing".to_owned()),
            };
            (placed, how, fit.interpolation)
        }
        Frame::Align(alignment) => {
            let how = format!("see preprocessing, {fill} beside the image");
            ("the box around the foreground aligned", how, alignment.interpolation)
        }
        _ => ("the image brought", "see preprocessing".to_owned(), Interpolation::default()),
    };
    let resized = match interpolation {
        Interpolation::Nearest => "each pixel is the nearest one",
        _ => {
            "a smaller image by the mean over the area of each new pixel, a larger one linear between the centers of \
             pixels, with the border pixels repeated"
        }
    };
    format!("grid: {placed} to {height} x {width}, {how}; {resized}")
}

fn score(localizer: &Localizer) -> String {
    if !localizer.model().restores() {
        return "score: anomaly_logit is the map".to_owned();
    }
    let step = "score: the predictor's map of the image x and its reconstruction y, by the formulas in docs/serving.md, \
                such as the mean over the channels of |x - y| of pixel-l1";
    match localizer.model().config() {
        ModelConfig::Segmenter { .. } => format!("{step}; anomaly_logit is the map of anomaly-logit"),
        _ => step.to_owned(),
    }
}

/// The filters of a map on the image's own grid.
fn filters(localizer: &Localizer, is_masked: bool) -> Vec<String> {
    let filters = localizer.postprocessing();
    let lengths = match filters.unit {
        LengthUnit::Physical => {
            "in millimeters of a volume and pixels of the grid of a picture; the window is the odd number of pixels \
             nearest to length / spacing of a volume, to length x image pixels per grid pixel of a picture"
        }
        LengthUnit::ImagePixels => "in pixels of the image",
    };
    let mut steps = Vec::new();
    if filters.negative == NegativeValues::Zero {
        steps.push("negative values of the map: to 0".to_owned());
    }
    if filters.median.iter().any(|&length| length > 0.0) {
        steps.push(format!(
            "median filter of the map: {:?} along slices, rows and columns, {lengths}; the map is mirrored at its border",
            filters.median
        ));
    }
    if filters.erosion > 0.0 {
        steps.push(format!(
            "erosion of the foreground by {} within each slice, in the same unit: removes pixels within this distance \
             of the outside",
            filters.erosion
        ));
    }
    if is_masked || filters.erosion > 0.0 {
        steps.push(
            "outside: where the foreground is not, the map again gets its lowest value inside it".to_owned(),
        );
    }
    steps
}
