//! Synthetic anomalies at known positions in normal images, for the training of networks.

mod config;
mod content;
mod region;

use std::sync::Arc;

use lesio_nn::Shape;
use lesio_settings::SettingError;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

pub use config::{Areas, OwnContent, SyntheticAnomalies, WeightedContent};
pub use content::{AnomalyContent, Content, ContentInput};

/// Synthetic anomalies ready for use: a [`SyntheticAnomalies`] with its user-defined contents.
#[derive(Clone, Debug)]
pub(crate) struct Synthesizer {
    config: SyntheticAnomalies,
    /// Each content with the sum of the weights up to it.
    contents: Vec<(f64, Source)>,
}

#[derive(Clone, Debug)]
enum Source {
    BuiltIn(Content),
    Own(Arc<dyn AnomalyContent>),
}

impl Synthesizer {
    /// Resolves a configuration; `own` are the user-defined contents that it names.
    ///
    /// # Errors
    /// For an invalid configuration, and for one that names a content that is not in `own`.
    pub(crate) fn new(
        config: &SyntheticAnomalies,
        own: &[Arc<dyn AnomalyContent>],
    ) -> Result<Self, SettingError> {
        config.validate()?;
        let mut contents = Vec::new();
        let mut sum = 0.0;
        for WeightedContent { weight, content } in &config.contents {
            sum += weight;
            contents.push((sum, Source::BuiltIn(*content)));
        }
        for OwnContent { weight, name } in &config.own {
            let found = own.iter().find(|content| content.name() == name);
            let missing = || SettingError::new("own.name", name, "the name of a content that was given");
            sum += weight;
            contents.push((sum, Source::Own(found.ok_or_else(missing)?.clone())));
        }
        Ok(Self { config: config.clone(), contents })
    }

    /// The first value of an image that is clearly outside the configured range.
    pub(crate) fn outside(&self, image: &[f32]) -> Option<f32> {
        let [low, high] = self.range()?;
        // Interpolation may round beyond the ends.
        let within = (low - 1e-3)..=(high + 1e-3);
        image.iter().copied().find(|value| !within.contains(value))
    }

    /// Limits the values of an image to the configured range.
    pub(crate) fn limit(&self, image: &mut [f32]) {
        if let Some([low, high]) = self.range() {
            image.iter_mut().for_each(|value| *value = value.clamp(low, high));
        }
    }

    fn range(&self) -> Option<[f32; 2]> {
        self.config.range.map(|range| range.map(|value| value as f32))
    }

    /// Puts an anomaly into an image `[c, h, w]`, inside its region `[h, w]`; `other` is another image of the same shape.
    /// Returns where the image changed, `[h, w]`.
    pub(crate) fn apply(
        &self,
        generator: &mut ChaCha8Rng,
        shape: Shape,
        image: &mut [f32],
        region: Option<&[bool]>,
        other: &[f32],
    ) -> Vec<bool> {
        let mut changed = vec![false; shape.pixels()];
        if self.config.absent > 0.0 && generator.random_bool(self.config.absent) {
            return changed;
        }
        let mut strength = region::strength(&self.config, generator, shape, region);
        let [least, most] = self.config.opacity;
        let opacity = generator.random_range(least..=most) as f32;
        strength.iter_mut().for_each(|strength| *strength *= opacity);
        let mut filled = image.to_vec();
        match self.draw(generator) {
            Some(Source::BuiltIn(content)) => content.fill(generator, shape, [image, other], &mut filled),
            Some(Source::Own(content)) => {
                let seed = generator.random();
                content.fill(&ContentInput { shape, image, other, seed }, &mut filled);
            }
            // A valid configuration has at least one content.
            None => {}
        }
        let smallest = self.config.change as f32;
        let [low, high] = self.range().unwrap_or([f32::NEG_INFINITY, f32::INFINITY]);
        for (channel, filled) in
            image.chunks_exact_mut(shape.pixels()).zip(filled.chunks_exact(shape.pixels()))
        {
            for (((value, &filled), &strength), changed) in
                channel.iter_mut().zip(filled).zip(&strength).zip(&mut changed)
            {
                if strength > 0.0 {
                    let after = (*value + strength * (filled - *value)).clamp(low, high);
                    *changed |= (after - *value).abs() > smallest;
                    *value = after;
                }
            }
        }
        changed
    }

    /// A content, drawn by its weight.
    fn draw(&self, generator: &mut ChaCha8Rng) -> Option<&Source> {
        let (sum, last) = self.contents.last()?;
        let at = generator.random_range(0.0..1.0) * sum;
        let found = self.contents.iter().find(|(sum, _)| at < *sum);
        Some(found.map_or(last, |(_, content)| content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lesio_nn::random;

    const SHAPE: Shape = Shape::new(2, 32, 24);

    fn image(offset: f32) -> Vec<f32> {
        (0..SHAPE.len()).map(|k| offset + 0.5 + 0.3 * (k as f32 * 0.13).sin()).collect()
    }

    fn region() -> Vec<bool> {
        (0..SHAPE.pixels()).map(|pixel| pixel % SHAPE.width > 4).collect()
    }

    #[test]
    fn images_change_in_their_region_alone_and_the_mask_says_where() {
        for config in [SyntheticAnomalies::medical(), SyntheticAnomalies::natural()] {
            let synthesizer = Synthesizer::new(&config, &[]).unwrap();
            let (clean, other, region) = (image(0.0), image(0.2), region());
            let mut sizes = Vec::new();
            for stream in 0..60 {
                let mut seen = clean.clone();
                let generator = &mut random::generator(5, stream);
                let mask = synthesizer.apply(generator, SHAPE, &mut seen, Some(&region), &other);
                assert!(seen.iter().all(|value| value.is_finite()));
                for (pixel, &marked) in mask.iter().enumerate() {
                    let change = |channel: usize| {
                        (seen[channel * SHAPE.pixels() + pixel] - clean[channel * SHAPE.pixels() + pixel])
                            .abs()
                    };
                    let most = change(0).max(change(1));
                    assert!(region[pixel] || most == 0.0);
                    // Because of rounding, a change near the threshold may fall on either side.
                    if (most - config.change as f32).abs() > 1e-6 {
                        assert_eq!(marked, most > config.change as f32, "{stream} {pixel} {most}");
                    }
                }
                sizes.push(mask.iter().filter(|&&marked| marked).count());
            }
            assert!(sizes.iter().filter(|&&size| size > 0).count() > 45, "{sizes:?}");
            assert!(sizes.iter().all(|&size| size < SHAPE.pixels() / 4), "{sizes:?}");
        }
    }

    /// Preprocessing clips what is too bright, so no real image shows a network an anomaly by such values.
    #[test]
    fn anomalies_stay_within_the_range_of_images() {
        let bright = || (0..SHAPE.len()).map(|k| 0.8 + 0.3 * (k as f32 * 0.13).sin()).collect::<Vec<f32>>();
        for [low, high] in [[0.0, 1.0], [0.25, 0.75]] {
            let config = SyntheticAnomalies::medical().range(Some([low, high]));
            let synthesizer = Synthesizer::new(&config, &[]).unwrap();
            let mut marked = 0;
            for stream in 0..60 {
                let mut clean = bright();
                synthesizer.limit(&mut clean);
                let mut seen = clean.clone();
                let generator = &mut random::generator(5, stream);
                let mask = synthesizer.apply(generator, SHAPE, &mut seen, None, &clean);
                let within = (low as f32)..=(high as f32);
                assert!(seen.iter().all(|value| within.contains(value)));
                // A pixel that could not become brighter is no anomaly.
                for (pixel, &inside) in mask.iter().enumerate() {
                    let change = (0..2).map(|channel| {
                        let place = channel * SHAPE.pixels() + pixel;
                        (seen[place] - clean[place]).abs()
                    });
                    assert!(!inside || change.fold(0.0, f32::max) > config.change as f32);
                    marked += usize::from(inside);
                }
            }
            assert!(marked > 1000, "{marked}");
        }
    }

    #[test]
    fn the_same_stream_paints_the_same() {
        let synthesizer = Synthesizer::new(&SyntheticAnomalies::natural(), &[]).unwrap();
        let apply = |stream| {
            let mut seen = image(0.0);
            let mask =
                synthesizer.apply(&mut random::generator(1, stream), SHAPE, &mut seen, None, &image(0.2));
            (seen, mask)
        };
        assert_eq!(apply(3), apply(3));
        assert_ne!(apply(3), apply(4));
    }

    #[test]
    fn some_images_stay_normal() {
        let config = SyntheticAnomalies { absent: 0.4, ..SyntheticAnomalies::natural() };
        let [all, some] = [SyntheticAnomalies::natural(), config].map(|config| {
            let synthesizer = Synthesizer::new(&config, &[]).unwrap();
            let unchanged = |stream: &u64| {
                let mut seen = image(0.0);
                let generator = &mut random::generator(3, *stream);
                let mask = synthesizer.apply(generator, SHAPE, &mut seen, None, &image(0.2));
                let is_unchanged = seen == image(0.0);
                assert!(!(is_unchanged && mask.contains(&true)));
                is_unchanged
            };
            (0..400).filter(unchanged).count()
        });
        // Within four standard deviations of a binomial variable.
        assert!(all < 5 && (121..=199).contains(&some), "{all} {some}");
    }

    /// White: what no built-in content is.
    #[derive(Debug)]
    struct White;

    impl AnomalyContent for White {
        fn name(&self) -> &str {
            "white"
        }

        fn fill(&self, _: &ContentInput<'_>, into: &mut [f32]) {
            into.fill(9.0);
        }
    }

    #[test]
    fn a_content_of_ones_own_is_painted() {
        let mut config = SyntheticAnomalies::medical().own("white", 1.0).range(None);
        config.contents.clear();
        let synthesizer = Synthesizer::new(&config, &[Arc::new(White)]).unwrap();
        let mut seen = image(0.0);
        let mask = synthesizer.apply(&mut random::generator(1, 1), SHAPE, &mut seen, None, &image(0.2));
        assert!(mask.iter().zip(&seen).any(|(&marked, &value)| marked && value > 1.0));
        let error = Synthesizer::new(&config, &[]).unwrap_err();
        assert_eq!((error.setting.as_str(), error.found.as_str()), ("own.name", "\"white\""));
    }
}
