//! Novelty detection: whether an image is like the training images of an estimator.

use std::collections::BTreeMap;

use lesio_settings::{SettingError, in_range, require};
use serde::{Deserialize, Serialize};

/// The traits that describe an image.
const TRAITS: [&str; 8] = [
    "noise",
    "edges over noise",
    "dark tenth",
    "lower quarter",
    "median",
    "upper quarter",
    "bright tenth",
    "contrast of the segmentation to its surroundings",
];
/// Share of its own variance that each trait's covariance with the others is shrunk by.
const SHRINKAGE: f64 = 0.1;

/// Detects images that are unlike the training images in noise, sharpness or intensities, by the Mahalanobis distance
/// of a few traits. Estimates for such images are unreliable.
///
/// It does not detect unusual anatomy with usual intensities.
///
/// Deserialization checks the values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
#[non_exhaustive]
pub struct Novelty {
    mean: Vec<f64>,
    deviation: Vec<f64>,
    /// Lower triangle of the factor of the shrunk correlation matrix, row by row.
    factor: Vec<Vec<f64>>,
    /// Distance beyond which an image is unlike.
    pub limit: f64,
}

/// What a document holds, before it is checked.
#[derive(Deserialize)]
struct Parts {
    mean: Vec<f64>,
    deviation: Vec<f64>,
    factor: Vec<Vec<f64>>,
    limit: f64,
}

impl TryFrom<Parts> for Novelty {
    type Error = SettingError;

    fn try_from(parts: Parts) -> Result<Self, SettingError> {
        let Parts { mean, deviation, factor, limit } = parts;
        let (count, sound) = (mean.len(), !mean.is_empty() && mean.len().is_multiple_of(TRAITS.len()));
        require(sound, "number of means", count, format!("{} for each channel", TRAITS.len()))?;
        require(deviation.len() == count, "number of deviations", deviation.len(), count.to_string())?;
        mean.iter().try_for_each(|&mean| in_range("mean", mean, -1e12..=1e12))?;
        deviation.iter().try_for_each(|&deviation| in_range("deviation", deviation, 1e-6..=1e12))?;
        let lengths: Vec<usize> = factor.iter().map(Vec::len).collect();
        require(lengths.iter().copied().eq(1..=count), "rows of the factor", &lengths, "1, 2, and so on")?;
        factor.iter().flatten().try_for_each(|&value| in_range("factor", value, -1e6..=1e6))?;
        factor
            .iter()
            .filter_map(|row| row.last())
            .try_for_each(|&own| in_range("factor", own, 1e-6..=1e6))?;
        in_range("limit", limit, 0.0..=1e12)?;
        Ok(Self { mean, deviation, factor, limit })
    }
}

/// The novelty of an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Unlikeness {
    /// Mahalanobis distance from the training images.
    pub distance: f64,
    /// Whether it is beyond the limit.
    pub unlike: bool,
    /// The trait that stands out most, and by how many standard deviations it is above (or below) the mean.
    pub most: (String, f64),
}

impl Novelty {
    /// Describes training images and sets the limit that a share `level` of calibration images keeps, every
    /// patient weighing alike. Images `[channel, row, column]` and segmentations `[row, column]` are framed ones, of `width`
    /// columns.
    ///
    /// # Errors
    /// A level outside (0, 1), or no image of either kind.
    pub fn fit<'a>(
        training: impl IntoIterator<Item = (&'a [f32], &'a [u8])>,
        calibration: impl IntoIterator<Item = (&'a str, &'a [f32], &'a [u8])>,
        width: usize,
        level: f64,
    ) -> Result<Self, SettingError> {
        if !(level > 0.0 && level < 1.0) {
            return Err(SettingError::new("level", level, "a number between 0 and 1"));
        }
        let traits: Vec<_> = training.into_iter().map(|(image, s)| describe(image, s, width)).collect();
        let Some(count) = traits.first().map(Vec::len) else {
            return Err(SettingError::new("training images", 0, "at least one"));
        };
        let alike = traits.iter().all(|own| own.len() == count);
        require(alike, "training images", "other numbers of channels", "the same number")?;
        let mean = means(&traits);
        let centered: Vec<Vec<f64>> = traits
            .iter()
            .map(|own| own.iter().zip(&mean).map(|(value, mean)| value - mean).collect())
            .collect();
        let covariance = |i: usize, j: usize| {
            centered.iter().map(|own| own[i] * own[j]).sum::<f64>() / centered.len() as f64
        };
        let deviation: Vec<f64> = (0..count).map(|k| covariance(k, k).sqrt().max(1e-3)).collect();
        let correlation = |i: usize, j: usize| match i == j {
            true => 1.0,
            false => (1.0 - SHRINKAGE) * covariance(i, j) / (deviation[i] * deviation[j]),
        };
        let mut novelty = Self { factor: cholesky(count, correlation), mean, deviation, limit: 0.0 };
        let mut distances: Vec<(f64, &str)> = calibration
            .into_iter()
            .map(|(patient, image, s)| (novelty.distance(&describe(image, s, width)), patient))
            .collect();
        let mut counts: BTreeMap<&str, f64> = BTreeMap::new();
        distances.iter().for_each(|(_, patient)| *counts.entry(patient).or_default() += 1.0);
        distances.sort_by(|a, b| a.0.total_cmp(&b.0));
        let wanted = level * counts.len() as f64;
        let mut sum = 0.0;
        let reached = distances.iter().find(|(_, patient)| {
            sum += 1.0 / counts[patient];
            sum >= wanted - 1e-9
        });
        let Some((limit, _)) = reached.or(distances.last()) else {
            return Err(SettingError::new("calibration images", 0, "at least one"));
        };
        novelty.limit = *limit;
        Ok(novelty)
    }

    /// How unlike a framed image is; infinitely, if it has fewer channels than those of the training.
    #[must_use]
    pub fn judge(&self, image: &[f32], segmentation: &[u8], width: usize) -> Unlikeness {
        let traits = describe(image, segmentation, width);
        let distance = self.distance(&traits);
        let scores = traits.iter().zip(&self.mean).zip(&self.deviation).map(|((t, mean), d)| (t - mean) / d);
        let most = scores.enumerate().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
        let most = most.map_or((String::new(), 0.0), |(k, score)| (self.trait_name(k), score));
        Unlikeness { distance, unlike: distance > self.limit, most }
    }

    /// The name of a trait, with its channel if there are several.
    fn trait_name(&self, k: usize) -> String {
        let (name, channel) = (TRAITS[k % TRAITS.len()], k / TRAITS.len());
        if self.mean.len() > TRAITS.len() { format!("{name} of channel {channel}") } else { name.to_owned() }
    }

    fn distance(&self, traits: &[f64]) -> f64 {
        // Solves factor * y = standardized traits; the distance is the length of y.
        let mut y: Vec<f64> = Vec::with_capacity(traits.len());
        for (k, row) in self.factor.iter().enumerate() {
            let Some(own) = traits.get(k) else { return f64::INFINITY };
            let standardized = (own - self.mean[k]) / self.deviation[k];
            let known: f64 = row.iter().zip(&y).map(|(factor, y)| factor * y).sum();
            y.push((standardized - known) / row.last().copied().unwrap_or(1.0));
        }
        y.iter().map(|y| y * y).sum::<f64>().sqrt()
    }
}

/// The lower triangle L of a matrix L * L^T that is positive definite.
fn cholesky(size: usize, matrix: impl Fn(usize, usize) -> f64) -> Vec<Vec<f64>> {
    let mut rows: Vec<Vec<f64>> = Vec::with_capacity(size);
    for i in 0..size {
        let mut row: Vec<f64> = Vec::with_capacity(i + 1);
        for (j, above) in rows.iter().enumerate() {
            let known: f64 = row.iter().zip(above).map(|(a, b)| a * b).sum();
            row.push((matrix(i, j) - known) / above[j]);
        }
        let known: f64 = row.iter().map(|a| a * a).sum();
        // Shrinkage leaves at least its share of each variance, but for rounding.
        row.push((matrix(i, i) - known).max(1e-6).sqrt());
        rows.push(row);
    }
    rows
}

fn means(traits: &[Vec<f64>]) -> Vec<f64> {
    let count = traits.len().max(1) as f64;
    (0..traits.first().map_or(0, Vec::len))
        .map(|k| traits.iter().map(|own| own[k]).sum::<f64>() / count)
        .collect()
}

/// The traits of each channel of an image, in the order of [`TRAITS`].
fn describe(image: &[f32], segmentation: &[u8], width: usize) -> Vec<f64> {
    let channels = image.chunks_exact(segmentation.len().max(1));
    channels.flat_map(|channel| describe_channel(channel, segmentation, width.max(1))).collect()
}

/// The traits of a channel, in the order of [`TRAITS`].
fn describe_channel(image: &[f32], segmentation: &[u8], width: usize) -> Vec<f64> {
    let value = |k: usize| f64::from(image[k]);
    let (mut residuals, mut steps) = (Vec::new(), Vec::new());
    for k in width..image.len().saturating_sub(width) {
        if k % width == 0 || k % width == width - 1 {
            continue;
        }
        let around = value(k - 1) + value(k + 1) + value(k - width) + value(k + width);
        residuals.push((value(k) - around / 4.0).abs());
        steps.push((value(k + 1) - value(k - 1)).hypot(value(k + width) - value(k - width)) / 2.0);
    }
    let noise = quantiles(&mut residuals, &[0.5])[0];
    let sharpness = quantiles(&mut steps, &[0.9])[0];
    let mut sorted: Vec<f64> = image.iter().map(|&value| f64::from(value)).collect();
    let tones = quantiles(&mut sorted, &[0.1, 0.25, 0.5, 0.75, 0.9]);
    // Noise steepens every step. Told apart from it, steps are what is left where the noise is the usual one, so
    // that the trait which stands out most is the one to blame.
    let noise = (noise + 1e-3).ln();
    let mut traits = vec![noise, (sharpness + 1e-3).ln() - noise];
    traits.extend(tones);
    traits.push(contrast(image, segmentation, width));
    traits
}

/// Mean inside the segmentation less the mean of the pixels that touch it; 0 where either is empty.
fn contrast(image: &[f32], segmentation: &[u8], width: usize) -> f64 {
    let inside = |k: usize| segmentation.get(k).is_some_and(|&index| index != 0);
    let (mut own, mut around) = ((0.0, 0.0), (0.0, 0.0));
    for (k, &value) in image.iter().enumerate() {
        let near = [k.wrapping_sub(1), k + 1, k.wrapping_sub(width), k + width];
        let sum = if inside(k) {
            &mut own
        } else if near.into_iter().any(inside) {
            &mut around
        } else {
            continue;
        };
        *sum = (sum.0 + f64::from(value), sum.1 + 1.0);
    }
    if own.1 == 0.0 || around.1 == 0.0 { 0.0 } else { own.0 / own.1 - around.0 / around.1 }
}

fn quantiles(values: &mut [f64], shares: &[f64]) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1) as f64;
    shares.iter().map(|share| values.get((share * last).round() as usize).copied().unwrap_or(0.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lesio_nn::random;

    const SIDE: usize = 24;

    fn image(seed: u64, noise: f32) -> Vec<f32> {
        let mut values = vec![0.0; SIDE * SIDE];
        random::fill_normal(&mut random::generator(seed, 3), &mut values);
        let level = 0.3 * values[0];
        values
            .iter()
            .enumerate()
            .map(|(k, &value)| ((k % SIDE) as f32 / 4.0).sin() + level + noise * value)
            .collect()
    }

    #[test]
    fn noise_and_brightness_beyond_the_usual_are_unlike() {
        let segmentation: Vec<u8> =
            (0..SIDE * SIDE).map(|k| u8::from(k / SIDE > 8 && k % SIDE > 12)).collect();
        let training: Vec<Vec<f32>> = (0..60).map(|seed| image(seed, 0.1)).collect();
        let calibration: Vec<(String, Vec<f32>)> =
            (100..140).map(|seed| (format!("p{}", seed / 4), image(seed, 0.1))).collect();
        let novelty = Novelty::fit(
            training.iter().map(|image| (image.as_slice(), segmentation.as_slice())),
            calibration.iter().map(|(p, image)| (p.as_str(), image.as_slice(), segmentation.as_slice())),
            SIDE,
            0.95,
        )
        .unwrap();
        let unlike = |image: &[f32]| novelty.judge(image, &segmentation, SIDE);
        let usual = (200..260).filter(|&seed| unlike(&image(seed, 0.1)).unlike).count();
        assert!(usual <= 10, "{usual} of 60 usual images");
        let noisy = unlike(&image(300, 0.5));
        assert!(noisy.unlike && noisy.most.0 == "noise" && noisy.most.1 > 3.0, "{noisy:?}");
        let bright: Vec<f32> = image(301, 0.1).iter().map(|value| value + 5.0).collect();
        assert!(unlike(&bright).unlike);
    }

    #[test]
    fn every_channel_is_looked_at() {
        let segmentation = vec![0; SIDE * SIDE];
        let both = |seed: u64, noise: f32| [image(seed, 0.1), image(seed + 1000, noise)].concat();
        let images: Vec<Vec<f32>> = (0..60).map(|seed| both(seed, 0.1)).collect();
        let patients: Vec<String> = (0..60).map(|patient| format!("p{patient}")).collect();
        let framed = || images.iter().map(|image| (image.as_slice(), segmentation.as_slice()));
        let known = patients.iter().zip(framed()).map(|(p, (image, own))| (p.as_str(), image, own));
        let novelty = Novelty::fit(framed(), known, SIDE, 0.95).unwrap();
        let found = novelty.judge(&both(300, 0.5), &segmentation, SIDE);
        assert!(found.unlike && found.most.0 == "noise of channel 1", "{found:?}");
        let document = serde_json::to_string(&novelty).unwrap();
        assert_eq!(serde_json::from_str::<Novelty>(&document).unwrap(), novelty);
        assert!(novelty.judge(&image(1, 0.1), &segmentation, SIDE).unlike, "one channel of two");
    }

    #[test]
    fn a_factor_gives_its_matrix_back() {
        let matrix = [[1.0, 0.5, -0.2], [0.5, 1.0, 0.3], [-0.2, 0.3, 1.0]];
        let factor = cholesky(3, |i, j| matrix[i][j]);
        for i in 0..3 {
            for j in 0..=i {
                let product: f64 = (0..=j).map(|k| factor[i][k] * factor[j][k]).sum();
                assert!((product - matrix[i][j]).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn contrast_is_inside_against_rim() {
        let image = [0.0, 1.0, 5.0, 1.0, 9.0];
        assert_eq!(contrast(&image, &[0, 0, 1, 0, 0], 5), 4.0);
        assert_eq!(contrast(&image, &[0; 5], 5), 0.0);
    }
}
