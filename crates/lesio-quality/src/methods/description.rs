//! What a method computes between its networks, in words.

use lesio_nn::Network;

use super::Networks;
use crate::config::{EstimatorConfig, Method};
use crate::error::QualityBuildError;

/// A network of a [`QualityModel`](crate::QualityModel).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ModelNetwork {
    /// Its name, with which the names of its parameters, inputs and layers begin: `rec` (REC-Net), `reg` (REG-Net, or the
    /// regressor of the segmentation alone), `opinion` and `head` (the second opinion).
    pub name: String,
    /// The network.
    pub network: Network,
}

impl ModelNetwork {
    pub(crate) fn new(network: Network) -> Self {
        let first = network.inputs().first().and_then(|id| network.node(*id)).map(|node| node.name());
        let name = first.and_then(|name| name.split('.').next()).unwrap_or("network").to_owned();
        Self { name, network }
    }
}

/// The networks that a method computes an estimate with, in the order in which they are computed.
pub(crate) fn in_order(config: &EstimatorConfig) -> Result<Vec<Network>, QualityBuildError> {
    let Networks { trained, pretrained } = super::networks(config)?;
    Ok(pretrained.into_iter().chain(trained).collect())
}

impl Method {
    /// What the method computes between its networks, and from their results, as formulas in words: one a step, in their
    /// order. `segmentation` has one plane of 0 and 1 for each graded label, and `image` is scaled and framed as
    /// [`EstimatorConfig::framing`] states.
    #[must_use]
    pub fn steps(self) -> &'static [&'static str] {
        const RESULTS: &str =
            "Dice of label k = sigmoid(result[k]), encoded distance of label k = sigmoid(result[labels + k])";
        match self {
            Self::RecReg => &[
                "outside = 1 where no plane of segmentation is 1, else 0",
                "blanked = outside * image - 3 (1 - outside)",
                "reconstruction = rec(blanked), difference = image - reconstruction",
                "result = reg(difference, segmentation)",
                RESULTS,
            ],
            Self::Direct => &["result = reg(image, segmentation)", RESULTS],
            Self::ShapeOnly => &["result = reg(segmentation)", RESULTS],
            Self::SecondOpinion => &[
                "floor = the first values of reg(segmentation), one for each label",
                "out, summary = opinion(image, segmentation); features = summary as a vector; q = softmax of out over the \
                 classes, the first of which is the background",
                "with m a plane of segmentation, q of its class, r = q^2 / (q^2 + (1 - q)^2) and sums over the pixels, \
                 statistics of each label = [(2 sum(q m) + 1) / (sum(m) + sum(q) + 1), (2 sum(r m) + 1) / (sum(m) + sum(r) + \
                 1), ln((sum(q) + 1) / (sum(m) + 1)), sum(q (1 - q)) / (sum(q) + 1), ln(sum(m) + 1) / 5]",
                "result = head(features, statistics, floor), with all five statistics of the first label, then those of the \
                 second, and so on",
                "a = (statistics[0] + .01) / 1.02, t = sigmoid(result[2 labels + k]); Dice of label k = sigmoid(result[k] + \
                 (1 - t) ln(a / (1 - a)) + t floor[k]), encoded distance of label k = sigmoid(result[labels + k])",
            ],
        }
    }
}

impl EstimatorConfig {
    /// How a slice is prepared for the networks, and how the results of its views become one estimate, in words: one
    /// line each.
    #[must_use]
    pub fn preparation(&self) -> Vec<String> {
        const VIEWS: [&str; 4] = [
            "as it is",
            "turned by half (rows and columns in reverse order)",
            "mirrored along rows (rows in reverse order)",
            "mirrored along columns (columns in reverse order)",
        ];
        let [rows, columns] = self.framing.grid;
        let mut lines = vec![
            "slices: along the last axis of the array, rows i and columns j as they lie in it, not upright as for \
             localizers; a volume of another orientation than model.orientation is turned to it before; of a picture, i is \
             the column"
                .to_owned(),
            format!(
                "frame: {rows} x {columns} pixels, with origin = round(center - pixel * side / 2) along each axis, in image \
                 pixels from the slice's edge; center = (first + last + 1) / 2 of the box around the labels; pixel (image \
                 pixels per grid pixel) = longer side of the box / (.6 * shorter side of the grid), within {} and {}, both as \
                 many millimeters as in model.pixel_millimeters",
                self.framing.finest, self.framing.pixel
            ),
            "image: each channel of the whole slice to mean 0 and deviation 1, its lowest value beyond the slice; in \
             coarser pixels the mean over their area, in finer ones linear between the centers of pixels"
                .to_owned(),
            format!(
                "segmentation: one plane of 0 and 1 for each of the labels {:?}, by the nearest pixels, 0 beyond the slice",
                self.framing.labels
            ),
        ];
        if self.views > 1 {
            let views: Vec<&str> = VIEWS.into_iter().take(self.views).collect();
            lines.push(format!(
                "views: image and segmentation {}; the Dice and the encoded distance of a label are the means of those of \
                 the views",
                views.join(", ")
            ));
        }
        lines.push(
            "distances: in grid pixels exp(code * ln(1 + diagonal of the grid)) - 1 of the encoded distance, times pixel \
             in image pixels"
                .to_owned(),
        );
        lines.push(
            "intervals: Dice - r to Dice + r within 0 and 1, with r = reach * the spread at the Dice, which is linear \
             between the points (j / 5, spread[j])"
                .to_owned(),
        );
        lines
    }
}

#[cfg(test)]
mod tests {
    use lesio_image::{Geometry, Scan, Volume};
    use lesio_nn::{Device, Differentiate, Engine, Inference, Initialization, ParameterSet};
    use ndarray::Array3;

    use super::*;
    use crate::agreement::STATISTICS;
    use crate::assessment::SliceVerdict;
    use crate::calibration::GradeCalibration;
    use crate::conformal::Conformal;
    use crate::estimator::Estimator;
    use crate::framing::Framing;
    use crate::model::{QualityModel, QualityProvenance};
    use crate::network::Widths;
    use crate::novelty::Novelty;
    use crate::reconstructor::{self, RecNet};

    const LABELS: usize = 2;
    const SIDE: usize = 16;
    const PIXELS: usize = SIDE * SIDE;

    fn untrained(method: Method, views: usize) -> QualityModel {
        let framing = Framing::new([1, 2]).grid([SIDE, SIDE]);
        let config = EstimatorConfig::new(method, framing).widths(Widths::uniform([8, 8])).views(views);
        let estimator = Estimator::new(config.clone(), config.initial_parameters(3).unwrap(), &Device::Cpu);
        let rec = reconstructor::network(&config).unwrap();
        let rec = ParameterSet::initialize(&rec, Initialization::HeNormal, 4);
        let reconstructor = RecNet::new(&config, rec, &Device::Cpu).unwrap();
        let image: Vec<f32> = (0..PIXELS).map(|k| (k % 11) as f32).collect();
        let labels = vec![1; PIXELS];
        let sample = (&image[..], &labels[..]);
        let novelty = Novelty::fit([sample], [("a", sample.0, sample.1)], SIDE, 0.9).unwrap();
        let provenance = QualityProvenance::new(1, "none");
        QualityModel::new(estimator.unwrap(), reconstructor, vec![interval(0.3); LABELS], novelty, provenance)
            .unwrap()
    }

    fn interval(error: f64) -> Conformal {
        Conformal::fit(&["a", "b"], &[0.5, 0.4], &[0.5 + error, 0.4], 0.9).unwrap()
    }

    /// A slice of 20 x 24 pixels with both labels, at its edge, in a frame that reaches beyond it.
    fn slice() -> (Scan, Volume<u8>) {
        let image = Array3::from_shape_fn((20, 24, 1), |(i, j, _)| ((i * 13 + j * j * 7) % 31) as f32);
        let labels = Array3::from_shape_fn((20, 24, 1), |(i, j, _)| match (i, j) {
            (1..=6, 10..=16) => 1,
            (7..=9, 12..=20) => 2,
            _ => 0,
        });
        let geometry = Geometry::default();
        (Volume::new(image, geometry).into(), Volume::new(labels, geometry))
    }

    /// Image and planes of the segmentation in the frame, by the lines of the preparation.
    fn framed(image: &Scan, labels: &Volume<u8>) -> (Vec<f32>, Vec<f32>) {
        let values: Vec<f64> = image.data().iter().map(|&value| f64::from(value)).collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
        let scaled = |value: f32| ((f64::from(value) - mean) / deviation) as f32;
        let lowest = scaled(values.iter().copied().fold(f64::INFINITY, f64::min) as f32);
        // Centers (1 + 9 + 1) / 2 and (10 + 20 + 1) / 2; the longer side of 11 fills more than three fifths of 16.
        let origin = [5.5, 15.5].map(|center: f64| (center - SIDE as f64 / 2.0).round() as isize);
        let (mut x, mut planes) = (Vec::new(), vec![0.0; LABELS * PIXELS]);
        for k in 0..PIXELS {
            let place = [k / SIDE, k % SIDE].map(|own| own as isize);
            let [i, j] = [0, 1].map(|axis| usize::try_from(origin[axis] + place[axis]).unwrap_or(usize::MAX));
            x.push(image.data().get((0, i, j, 0)).map_or(lowest, |&value| scaled(value)));
            if let Some(&label @ 1..) = labels.data().get((i, j, 0)) {
                planes[usize::from(label - 1) * PIXELS + k] = 1.0;
            }
        }
        (x, planes)
    }

    fn sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    /// The Dice of each label by the networks and the steps, of one view.
    fn by_steps(model: &QualityModel, x: &[f32], planes: &[f32]) -> Vec<f64> {
        let run = |name: &str, inputs: &[&[f32]]| -> Vec<Vec<f64>> {
            let network = model.networks().unwrap().into_iter().find(|own| own.name == name).unwrap().network;
            let inference =
                Inference::new(&network, &model.parameters(), Differentiate::Nothing, &Device::Cpu).unwrap();
            let pass = inference.run(inputs, 1).unwrap();
            let outputs = 0..network.outputs().len();
            outputs.map(|k| pass.output(k).iter().map(|&value| f64::from(value)).collect()).collect()
        };
        let single = |values: &[f64]| values.iter().map(|&value| value as f32).collect::<Vec<f32>>();
        let floor = run("reg", &[planes]).remove(0);
        if model.config().method == Method::ShapeOnly {
            return floor[..LABELS].iter().map(|&result| sigmoid(result)).collect();
        }
        let opinion = run("opinion", &[x, planes]);
        let sum_of =
            |pixel: usize| (0..=LABELS).map(|class| opinion[0][class * PIXELS + pixel].exp()).sum::<f64>();
        let mut statistics = Vec::new();
        for label in 0..LABELS {
            let q = |k: usize| opinion[0][(label + 1) * PIXELS + k].exp() / sum_of(k);
            let r = |k: usize| q(k).powi(2) / (q(k).powi(2) + (1.0 - q(k)).powi(2));
            let m = |k: usize| f64::from(planes[label * PIXELS + k]);
            let sum = |of: &dyn Fn(usize) -> f64| (0..PIXELS).map(of).sum::<f64>();
            let (of_m, of_q, of_r) = (sum(&m), sum(&q), sum(&r));
            statistics.extend([
                (2.0 * sum(&|k| q(k) * m(k)) + 1.0) / (of_m + of_q + 1.0),
                (2.0 * sum(&|k| r(k) * m(k)) + 1.0) / (of_m + of_r + 1.0),
                ((of_q + 1.0) / (of_m + 1.0)).ln(),
                sum(&|k| q(k) * (1.0 - q(k))) / (of_q + 1.0),
                (of_m + 1.0).ln() / 5.0,
            ]);
        }
        let result =
            run("head", &[&single(&opinion[1]), &single(&statistics), &single(&floor[..LABELS])]).remove(0);
        (0..LABELS)
            .map(|k| {
                let a = (statistics[k * STATISTICS] + 0.01) / 1.02;
                let t = sigmoid(result[2 * LABELS + k]);
                sigmoid(result[k] + (1.0 - t) * (a / (1.0 - a)).ln() + t * floor[k])
            })
            .collect()
    }

    /// Image or planes in reverse order of rows, columns or both.
    fn turned(planes: &[f32], rows: bool, columns: bool) -> Vec<f32> {
        let place = |k: usize| {
            let (row, column) = (k / SIDE, k % SIDE);
            let reversed = |at: usize, is: bool| if is { SIDE - 1 - at } else { at };
            reversed(row, rows) * SIDE + reversed(column, columns)
        };
        planes.chunks_exact(PIXELS).flat_map(|own| (0..PIXELS).map(|k| own[place(k)])).collect()
    }

    /// What the lines say is what the model does, with its calibration as well.
    #[test]
    fn networks_and_steps_give_the_estimate_of_the_model() {
        let (image, labels) = slice();
        let (x, planes) = framed(&image, &labels);
        let flips = [(false, false), (true, true), (true, false), (false, true)];
        for (method, views) in [
            (Method::ShapeOnly, 1),
            (Method::ShapeOnly, 2),
            (Method::SecondOpinion, 2),
            (Method::SecondOpinion, 4),
        ] {
            let model = untrained(method, views);
            let lines = model.config().preparation();
            let line = lines.iter().find(|line| line.starts_with("views"));
            assert_eq!(line.map_or(1, |line| line.matches(" order)").count() + 1), views, "{line:?}");
            let mut dice = vec![0.0; LABELS];
            for &(rows, columns) in &flips[..views] {
                let own = by_steps(&model, &turned(&x, rows, columns), &turned(&planes, rows, columns));
                dice.iter_mut().zip(own).for_each(|(sum, own)| *sum += own / views as f64);
            }
            let graded =
                |model: &QualityModel| match &model.assess(&image, &labels).unwrap().slices[0].verdict {
                    SliceVerdict::Graded { labels, .. } => labels.clone(),
                    other => panic!("{other:?}"),
                };
            for (grade, dice) in graded(&model).iter().zip(&dice) {
                assert!((grade.dice - dice).abs() < 1e-5, "{method} {views}: {grade:?} {dice}");
            }

            let bent = [0.05, 0.1, 0.45, 0.5, 0.85, 0.9];
            let correction: crate::correction::Correction =
                serde_json::from_value(serde_json::json!({ "values": bent })).unwrap();
            let calibration = GradeCalibration { correction, conformal: interval(0.1) };
            let own = vec![calibration; LABELS];
            let uncalibrated = model.steps();
            assert_eq!(uncalibrated, method.steps());
            let model = model.calibrated(own.clone(), own).unwrap();
            let steps = model.steps();
            assert_eq!(steps.len(), uncalibrated.len() + 1);
            for part in ["(j / 5, calibration.slices[k].correction.values[j])", "not that of conformal[k]"] {
                assert!(steps[uncalibrated.len()].contains(part), "{steps:?}");
            }
            for (grade, dice) in graded(&model).iter().zip(&dice) {
                let j = (dice * 5.0).floor().min(4.0);
                let (from, to) = (bent[j as usize], bent[j as usize + 1]);
                let corrected = from + (dice * 5.0 - j) * (to - from);
                assert!((grade.dice - corrected).abs() < 1e-5, "{method} {views}: {grade:?} {corrected}");
                assert_eq!(grade.interval, interval(0.1).interval(grade.dice));
            }
        }
    }
}
