//! Injection of lesions into data sets of normal subjects.

use lesio_image::{GridError, Volume, dilate};
use lesio_phantom::{Lesion, LesionConfig, LesionError, LesionInjector, LesionKind, Site, background_level};
use lesio_settings::{SettingError, in_range, named, setters};
use serde::{Deserialize, Serialize};

/// Voxels that stay normal around each lesion, so that two lesions never touch.
const APART: f64 = 2.0;

/// Configuration: the subjects that get lesions, and the kinds of lesions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct InjectionConfig {
    /// Every N-th subject gets lesions and is for testing, 2 to a million.
    pub every: usize,
    /// Every N-th of the other subjects is for validation, 2 to a million; the first of them, the third and so on get
    /// lesions, too. Default 6.
    pub validation_every: usize,
    /// Number of lesions per subject with lesions, 1 to 255. Default 3.
    pub lesions: usize,
    /// Smallest and largest radius in millimeters, in this order, above 0 and up to 200. Default 4 to 9.
    pub radius: [f64; 2],
    /// The labels in which lesions may lie. Default [`Site::Mask`].
    pub site: Site,
    /// Kinds and contrasts ([`LesionConfig::contrast`]), 1 to 1000 of them, taken in turn. Default: bright, dark,
    /// displaced and textured, first faint, then plain.
    pub mix: Vec<(LesionKind, f64)>,
    /// Seed of positions, shapes and sizes. Default 0.
    pub seed: u64,
}

impl InjectionConfig {
    /// Lesions for every `every`-th subject, with defaults otherwise.
    #[must_use]
    pub fn new(every: usize) -> Self {
        use LesionKind::{Bright, Dark, Displaced, Textured};
        let mix = Vec::new();
        Self { every, validation_every: 6, lesions: 3, radius: [4.0, 9.0], site: Site::Mask, mix, seed: 0 }
            .kinds([Bright, Dark, Displaced, Textured])
    }

    /// Sets [`InjectionConfig::radius`].
    #[must_use]
    pub fn radius(mut self, smallest: f64, largest: f64) -> Self {
        self.radius = [smallest, largest];
        self
    }

    /// Sets [`InjectionConfig::mix`] to these kinds, first all of them faint, then all of them plain
    /// ([`LesionKind::usual_contrasts`]).
    #[must_use]
    pub fn kinds(self, kinds: impl IntoIterator<Item = LesionKind>) -> Self {
        let kinds: Vec<LesionKind> = kinds.into_iter().collect();
        let of = |place: usize| kinds.iter().map(move |kind| (*kind, kind.usual_contrasts()[place]));
        self.mix(of(0).chain(of(1)).collect::<Vec<_>>())
    }

    /// Sets [`InjectionConfig::mix`].
    #[must_use]
    pub fn mix(mut self, mix: impl IntoIterator<Item = (LesionKind, f64)>) -> Self {
        self.mix = mix.into_iter().collect();
        self
    }
}

setters!(InjectionConfig { validation_every: usize, lesions: usize, site: Site, seed: u64 });

/// Largest distance between subjects with lesions.
const LARGEST_STRIDE: usize = 1_000_000;
/// Most kinds and contrasts.
const MOST_KINDS: usize = 1000;

impl InjectionConfig {
    /// Checks every setting except those of a lesion: [`Injection::new`] checks kind, contrast, the range of the
    /// radii and site.
    ///
    /// # Errors
    /// [`SettingError`] for a number out of the range stated with its field, and for a largest radius that is below the
    /// smallest.
    pub fn validate(&self) -> Result<(), SettingError> {
        in_range("every", self.every, 2..=LARGEST_STRIDE)?;
        in_range("validation_every", self.validation_every, 2..=LARGEST_STRIDE)?;
        in_range("lesions", self.lesions, 1..=255)?;
        in_range("kinds of lesions", self.mix.len(), 1..=MOST_KINDS)?;
        let [smallest, largest] = self.radius;
        if largest < smallest {
            return Err(SettingError::new("radius", self.radius, "the smaller number first"));
        }
        Ok(())
    }
}

/// Why lesions could not be injected.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InjectionError {
    /// A setting is out of range.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The labels have another position than the image.
    #[error("the labels have another position in space than the image")]
    Labels(#[source] GridError),
    /// A lesion cannot be put into an image.
    #[error("lesion {number} cannot be made")]
    Lesion {
        /// Which, from 1.
        number: usize,
        /// Why.
        source: LesionError,
    },
}

/// The split of a subject, named as in a `splits.csv`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// To train on: normal.
    Train,
    /// To choose thresholds on: some normal, some with lesions.
    Validation,
    /// To test on.
    Test,
}

named!(Split, "split", { "train" => Self::Train, "val" => Self::Validation, "test" => Self::Test });

/// The role of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubjectRole {
    /// The split.
    pub split: Split,
    /// Its index among the subjects with lesions, from 0; `None` if it stays normal.
    pub injected: Option<usize>,
}

/// A subject with lesions.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct InjectedSubject {
    /// The changed image.
    pub image: Volume<f32>,
    /// The number of the lesion, from 1, of each voxel; 0 for none.
    pub mask: Volume<u8>,
    /// The lesions, the first having number 1.
    pub lesions: Vec<Lesion>,
}

/// Puts lesions of several kinds into a data set.
///
/// ```
/// use lesio_phantom::{BrainConfig, BrainPhantom, Contrast};
/// use lesio_study::{Injection, InjectionConfig};
///
/// let brains = BrainPhantom::new(BrainConfig::new([48, 48], Contrast::T1, 1).slices(6))?;
/// let injection = Injection::new(InjectionConfig::new(5).lesions(2))?;
/// let roles = injection.roles(10);
/// assert_eq!(roles.iter().filter(|role| role.split.name() == "test").count(), 2);
///
/// let (index, nth) = roles.iter().enumerate().find_map(|(k, role)| Some((k, role.injected?))).ok_or("none")?;
/// let subject = brains.volume(index as u64)?;
/// let ill = injection.inject(nth, &subject.image, &subject.labels)?;
/// assert_eq!((ill.lesions.len(), ill.mask.data().iter().max()), (2, Some(&2)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Injection {
    config: InjectionConfig,
    injectors: Vec<LesionInjector>,
}

impl Injection {
    /// Checks a configuration.
    ///
    /// # Errors
    /// [`InjectionError::Setting`], and [`InjectionError::Lesion`] for a kind and contrast (numbered in
    /// the mix) or radii out of range.
    pub fn new(config: InjectionConfig) -> Result<Self, InjectionError> {
        config.validate()?;
        let [smallest, largest] = config.radius;
        let injector = |(number, &(kind, contrast)): (usize, &(LesionKind, f64))| {
            let lesion = LesionConfig::new(kind, contrast)
                .radius(smallest, largest)
                .center(config.site.clone())
                .extent(config.site.clone());
            LesionInjector::new(lesion)
                .map_err(|source| InjectionError::Lesion { number: number + 1, source })
        };
        let injectors = config.mix.iter().enumerate().map(injector).collect::<Result<_, _>>()?;
        Ok(Self { config, injectors })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &InjectionConfig {
        &self.config
    }

    /// The roles of a number of subjects.
    #[must_use]
    pub fn roles(&self, subjects: usize) -> Vec<SubjectRole> {
        let (mut injected, mut others, mut validation) = (0, 0, 0);
        let mut next = || {
            injected += 1;
            Some(injected - 1)
        };
        (0..subjects)
            .map(|subject| {
                if subject % self.config.every == self.config.every - 1 {
                    return SubjectRole { split: Split::Test, injected: next() };
                }
                others += 1;
                if others % self.config.validation_every != 0 {
                    return SubjectRole { split: Split::Train, injected: None };
                }
                validation += 1;
                let injected = if validation % 2 == 1 { next() } else { None };
                SubjectRole { split: Split::Validation, injected }
            })
            .collect()
    }

    /// Injects lesions into the `nth` of the subjects with lesions. Kinds alternate from subject to subject, so that
    /// each is about equally frequent.
    ///
    /// `labels` are a tissue map or a mask, 0 outside the object. If their voxels are in another order, they are
    /// reordered to match the image, by both affines.
    ///
    /// # Errors
    /// [`InjectionError::Labels`] for labels with another position or shape than the image, [`InjectionError::Lesion`]
    /// for errors of [`LesionInjector::inject`].
    pub fn inject(
        &self,
        nth: usize,
        image: &Volume<f32>,
        labels: &Volume<u8>,
    ) -> Result<InjectedSubject, InjectionError> {
        let aligned = labels.clone().aligned_to(image.geometry(), image.shape());
        let (mut free, _) = aligned.map_err(InjectionError::Labels)?;
        // Once for all lesions: the voxels of earlier ones become unlabeled below, and are no background.
        let level =
            background_level(image, &free).map_err(|source| InjectionError::Lesion { number: 1, source })?;
        let mut image = image.clone();
        let mut mask = image.map(|_| 0);
        let mut lesions = Vec::with_capacity(self.config.lesions);
        for (place, value) in (0..self.config.lesions).zip(1u8..) {
            let drawn = nth * self.config.lesions + place;
            let lesion =
                self.injectors[drawn % self.injectors.len()].config().clone().background(Some(level));
            // Another seed for every lesion of every seed below 2^32.
            let seed = self.config.seed.rotate_left(32) ^ drawn as u64;
            let made = LesionInjector::new(lesion)
                .and_then(|injector| injector.inject(&image, &free, seed))
                .map_err(|source| InjectionError::Lesion { number: place + 1, source })?;
            let surroundings = dilate(made.truth.data(), APART);
            ndarray::Zip::from(mask.data_mut())
                .and(free.data_mut())
                .and(made.truth.data())
                .and(&surroundings)
                .for_each(|mask, free, &inside, &near| {
                    if inside {
                        *mask = value;
                    }
                    if near {
                        *free = 0;
                    }
                });
            image = made.image;
            lesions.extend(made.lesions);
        }
        Ok(InjectedSubject { image, mask, lesions })
    }
}

#[cfg(test)]
mod tests {
    use lesio_phantom::{BrainConfig, BrainPhantom, Contrast};

    use super::*;

    fn injection(config: InjectionConfig) -> Injection {
        Injection::new(config).unwrap()
    }

    #[test]
    fn settings_that_cannot_be_are_named() {
        for (config, setting) in [
            (InjectionConfig::new(1), "every"),
            (InjectionConfig::new(usize::MAX), "every"),
            (InjectionConfig::new(5).validation_every(0), "validation_every"),
            (InjectionConfig::new(5).lesions(0), "lesions"),
            (InjectionConfig::new(5).lesions(256), "lesions"),
            (InjectionConfig::new(5).mix([]), "kinds of lesions"),
            (InjectionConfig::new(5).radius(9.0, 4.0), "radius"),
        ] {
            let refused = Injection::new(config).map(|_| ()).unwrap_err();
            assert!(
                matches!(&refused, InjectionError::Setting(error) if error.setting == setting),
                "{refused}"
            );
        }
        for (smallest, largest) in [(f64::NAN, 9.0), (-1.0, 9.0), (4.0, f64::INFINITY), (4.0, 201.0)] {
            let refused = Injection::new(InjectionConfig::new(5).radius(smallest, largest));
            assert!(matches!(refused, Err(InjectionError::Lesion { number: 1, .. })));
        }
    }

    #[test]
    fn every_fifth_is_for_testing_and_validation_has_both_sorts() {
        let roles = injection(InjectionConfig::new(5)).roles(40);
        let count = |split, ill| {
            roles.iter().filter(|role| role.split == split && role.injected.is_some() == ill).count()
        };
        assert_eq!((count(Split::Test, true), count(Split::Test, false)), (8, 0));
        assert_eq!((count(Split::Validation, true), count(Split::Validation, false)), (3, 2));
        assert_eq!((count(Split::Train, true), count(Split::Train, false)), (0, 27));
        assert!((4..40).step_by(5).all(|subject| roles[subject].split == Split::Test));
        let order: Vec<usize> = roles.iter().filter_map(|role| role.injected).collect();
        assert_eq!(order, (0..11).collect::<Vec<_>>());
    }

    #[test]
    fn masks_number_the_lesions_and_nothing_else_changes() {
        let brains = BrainPhantom::new(BrainConfig::new([64, 64], Contrast::T1, 3).slices(10)).unwrap();
        let subject = brains.volume(0).unwrap();
        let injection = injection(InjectionConfig::new(5).lesions(4).radius(4.0, 6.0).seed(9));
        let ill = injection.inject(1, &subject.image, &subject.labels).unwrap();
        let kinds: Vec<LesionKind> = ill.lesions.iter().map(|lesion| lesion.kind).collect();
        assert_eq!(kinds, [4, 5, 6, 7].map(|drawn| injection.config().mix[drawn].0));
        for (lesion, value) in ill.lesions.iter().zip(1u8..) {
            let voxels = ill.mask.data().iter().filter(|&&found| found == value).count();
            assert_eq!(voxels, lesion.voxels, "lesion {value}");
            assert!(voxels > 0);
        }
        // Lesions do not touch: each is one component.
        let any = ill.mask.map(|&value| value > 0);
        let components = lesio_image::label_volume(any.data(), lesio_image::Connectivity::Vertex);
        for label in 1..=components.components().len() as u32 {
            let mut values: Vec<u8> = ndarray::Zip::from(components.labels())
                .and(ill.mask.data())
                .map_collect(|&found, &value| if found == label { value } else { 0 })
                .into_iter()
                .filter(|&value| value > 0)
                .collect();
            values.dedup();
            values.sort_unstable();
            values.dedup();
            assert_eq!(values.len(), 1);
        }
        // Nothing changes outside the brain, and lesions change something.
        let changed = |label: u8| {
            ndarray::Zip::from(ill.image.data())
                .and(subject.image.data())
                .and(ill.mask.data())
                .fold(0, |count, new, old, &mask| count + usize::from(mask == label && new != old))
        };
        assert!((1..=4).all(|label| changed(label) > 0));
        for ((new, old), &tissue) in
            ill.image.data().iter().zip(subject.image.data()).zip(subject.labels.data())
        {
            assert!(tissue != 0 || new == old);
        }
        assert_eq!(ill, injection.inject(1, &subject.image, &subject.labels).unwrap());
        assert_ne!(ill.mask, injection.inject(9, &subject.image, &subject.labels).unwrap().mask);
    }

    #[test]
    fn every_lesion_of_an_image_has_the_same_zero() {
        let geometry = lesio_image::Geometry::default();
        // A slice of tissue that the labels cover, with zeros at its border.
        let values = |(row, column, _): (usize, usize, usize)| {
            if row == 0 { 0.0 } else { 100.0 + ((7 * row + 11 * column) % 10) as f32 }
        };
        let image = Volume::new(ndarray::Array3::from_shape_fn((60, 60, 1), values), geometry);
        let labels = image.map(|_| 1);
        // The first lesion is the dark one. Once its voxels are unlabeled, nothing else is.
        let config = InjectionConfig::new(5).lesions(2).radius(8.0, 9.0).seed(9);
        let injection = injection(config.kinds([LesionKind::Dark, LesionKind::Bright]));
        let usual = injection.inject(0, &image, &labels).unwrap();
        let shifted = injection.inject(0, &image.map(|value| value - 200.0), &labels).unwrap();
        assert_eq!(usual.mask, shifted.mask);
        for (value, shifted) in usual.image.data().iter().zip(shifted.image.data()) {
            assert!((value - shifted - 200.0).abs() < 1e-3, "{shifted} instead of {value}");
        }
    }

    #[test]
    fn settings_are_checked_once() {
        let refused = |config| Injection::new(config).unwrap_err().to_string();
        assert!(refused(InjectionConfig::new(1)).starts_with("every is 1"));
        assert!(refused(InjectionConfig::new(5).lesions(300)).starts_with("lesions is 300"));
        assert!(refused(InjectionConfig::new(5).mix([])).starts_with("kinds of lesions is 0"));
        let reversed = refused(InjectionConfig::new(5).radius(9.0, 4.0));
        assert_eq!(reversed, "radius is [9.0, 4.0], expected the smaller number first");
        let error = Injection::new(InjectionConfig::new(5).mix([(LesionKind::Dark, 2.0)])).unwrap_err();
        assert!(matches!(error, InjectionError::Lesion { number: 1, .. }));
    }
}
