//! Evaluation of predictors on one group of lesions at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lesio_metrics::{
    BootstrapConfig, Connectivity, MeasureConfig, MetricError, Moved, StreamedPatients, TruePixels,
};
use ndarray::{Array3, Axis};
use serde::{Deserialize, Serialize};

use crate::error::StudyError;
use crate::interval::Interval95;
use crate::lesion_groups::LesionGroups;
use crate::maps::{Maps, Scene};
use crate::names::{Names, Order};
use crate::scratch::{Append, Collected};

/// Collects post-processed scores by group of lesions, in a temporary file like
/// [`EvaluationBuilder`](crate::EvaluationBuilder).
#[derive(Debug)]
pub struct GroupedEvaluation {
    pub(crate) collected: Collected<GatheredGroups>,
}

/// The data that a [`GroupedEvaluation`] has collected. The scores are in its scratch.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct GatheredGroups {
    order: Order,
    groups: BTreeMap<String, Group>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Group {
    lesions: usize,
    patients: BTreeSet<String>,
    /// By predictor.
    pixels: BTreeMap<String, StreamedPatients>,
}

/// The metrics of every predictor on one group of lesions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupScores {
    /// The group.
    pub group: String,
    /// Lesions in it.
    pub lesions: usize,
    /// Patients with such lesions.
    pub patients: usize,
    /// The predictors.
    pub predictors: Vec<GroupScore>,
}

/// One predictor of a group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupScore {
    /// Its name.
    pub predictor: String,
    /// Area under the ROC curve; `None` if the slices have no normal pixel.
    pub auroc: Option<f64>,
    /// Its 95 % interval over patients, if there are at least two.
    pub auroc_interval: Option<[f64; 2]>,
    /// Average precision; `None` as above.
    pub average_precision: Option<f64>,
    /// AUROC minus that of `intensity`, over the same resampled patients.
    pub auroc_less_intensity: Option<Interval95>,
}

impl GroupedEvaluation {
    /// An empty builder, which stores scores in the given folder, or in the system's folder for temporary files; no file
    /// remains there.
    #[must_use]
    pub fn new(folder: Option<&Path>) -> Self {
        Self { collected: Collected::new(folder) }
    }

    /// Adds a case, whose mask contains the numbers of its lesions and 0 elsewhere.
    ///
    /// Each lesion is compared with the normal foreground of its slices; pixels of other lesions are ignored.
    ///
    /// # Errors
    /// For a mask or a map of another shape than the foreground, for NaN scores, and if scores cannot be stored.
    pub fn add(
        &mut self,
        case: &str,
        patient: &str,
        maps: &Maps,
        mask: &Array3<u32>,
        groups: &LesionGroups,
    ) -> Result<(), StudyError> {
        maps.check(mask.shape())?;
        let mut subject = self.subject(case, patient, &maps.scene(), mask, groups)?;
        maps.maps.iter().try_for_each(|(name, [_, map])| subject.add(name, map))
    }

    /// Starts a case, whose post-processed maps are then added one predictor at a time.
    ///
    /// # Errors
    /// For a mask of another shape than the foreground.
    pub fn subject<'a>(
        &'a mut self,
        case: &str,
        patient: &str,
        scene: &Scene,
        mask: &Array3<u32>,
        groups: &LesionGroups,
    ) -> Result<GroupedSubject<'a>, StudyError> {
        scene.check("mask", mask)?;
        let axis = Axis(scene.axis);
        let numbers: BTreeSet<u32> = mask.iter().copied().filter(|&number| number != 0).collect();
        let mut lesions = Vec::new();
        for number in numbers {
            let Some(name) = groups.of(case, number) else { continue };
            let slices: Vec<usize> = (0..mask.len_of(axis))
                .filter(|&k| mask.index_axis(axis, k).iter().any(|&found| found == number))
                .collect();
            let own = mask.select(axis, &slices);
            let inside = scene.foreground.select(axis, &slices);
            let truth = own.mapv(|found| found == number);
            let within = ndarray::Zip::from(&own)
                .and(&inside)
                .map_collect(|&found, &inside| found == number || (found == 0 && inside));
            let pixels = TruePixels::new(truth.view(), within.view(), Connectivity::Face)?;
            let group = self.collected.data.groups.entry(name.to_owned()).or_default();
            group.lesions += 1;
            group.patients.insert(patient.to_owned());
            lesions.push((name.to_owned(), slices, pixels));
        }
        Ok(GroupedSubject {
            evaluation: self,
            patient: patient.to_owned(),
            shape: mask.shape().to_vec(),
            axis,
            lesions,
            names: Names::default(),
        })
    }

    /// Computes the metrics of every predictor, by group.
    ///
    /// If the slices of a group have no normal pixel, its metrics are `None`.
    ///
    /// # Errors
    /// Those of [`BootstrapConfig::validate`]; and if stored scores cannot be read.
    pub fn finish(mut self, bootstrap: &BootstrapConfig) -> Result<Vec<GroupScores>, StudyError> {
        bootstrap.validate()?;
        let mut found = Vec::new();
        let GatheredGroups { order, groups } = self.collected.data;
        for (name, group) in groups {
            let mut predictors = Vec::with_capacity(order.len());
            let mut floor: Option<(f64, Vec<Option<f64>>)> = None;
            for predictor in order.names() {
                let Some(stream) = group.pixels.get(predictor) else { continue };
                let mut score = GroupScore {
                    predictor: predictor.to_owned(),
                    auroc: None,
                    auroc_interval: None,
                    average_precision: None,
                    auroc_less_intensity: None,
                };
                match stream.measure(&mut self.collected.scratch, &MeasureConfig::default()) {
                    Ok(measured) => {
                        let auroc = measured.auroc();
                        score.auroc = Some(auroc);
                        score.average_precision = Some(measured.average_precision());
                        if measured.patients().len() >= 2 {
                            let replicates =
                                measured.bootstrap(&mut self.collected.scratch, bootstrap)?.auroc;
                            score.auroc_interval =
                                replicates.interval().ok().map(|found| [found.lower, found.upper]);
                            let values = replicates.values().to_vec();
                            score.auroc_less_intensity = floor.as_ref().map(|(estimate, floor)| {
                                let pairs = values.iter().zip(floor);
                                let differences = pairs.map(|(own, floor)| Some((*own)? - (*floor)?));
                                Interval95::of(auroc - estimate, differences)
                            });
                            if predictor == "intensity" {
                                floor = Some((auroc, values));
                            }
                        }
                    }
                    Err(MetricError::OneClass { .. }) => {
                        tracing::warn!(
                            group = name,
                            predictor,
                            "no normal pixel is beside the lesions of the group"
                        );
                    }
                    Err(error) => return Err(error.into()),
                }
                predictors.push(score);
            }
            let patients = group.patients.len();
            found.push(GroupScores { group: name, lesions: group.lesions, patients, predictors });
        }
        Ok(found)
    }
}

impl Append for GatheredGroups {
    fn append(&mut self, other: Self, moved: Moved) {
        self.order.absorb(&other.order);
        for (name, group) in other.groups {
            let own = self.groups.entry(name).or_default();
            own.lesions += group.lesions;
            own.patients.extend(group.patients);
            for (predictor, stream) in group.pixels {
                own.pixels.entry(predictor).or_default().absorb(stream, moved);
            }
        }
    }
}

/// A case that is being added to a [`GroupedEvaluation`].
#[derive(Debug)]
pub struct GroupedSubject<'a> {
    evaluation: &'a mut GroupedEvaluation,
    patient: String,
    shape: Vec<usize>,
    axis: Axis,
    /// Group, slices and pixels of each lesion.
    lesions: Vec<(String, Vec<usize>, TruePixels)>,
    names: Names,
}

impl GroupedSubject<'_> {
    /// Adds the post-processed map of a predictor.
    ///
    /// # Errors
    /// For a map of another shape than the foreground, for NaN scores, and if scores cannot be stored.
    pub fn add(&mut self, name: &str, map: &Array3<f32>) -> Result<(), StudyError> {
        if map.shape() != self.shape {
            let (found, expected) = (map.shape().to_vec(), self.shape.clone());
            return Err(StudyError::Shape { what: format!("the map {name:?}"), found, expected });
        }
        self.names.add("map", name)?;
        let Collected { data: GatheredGroups { order, groups }, scratch } = &mut self.evaluation.collected;
        order.note(name);
        for (group, slices, pixels) in &self.lesions {
            let streams = &mut groups.entry(group.clone()).or_default().pixels;
            let stream = streams.entry(name.to_owned()).or_default();
            stream.update(scratch, &self.patient, pixels, map.select(self.axis, slices).view())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::tests::maps_of;

    #[test]
    fn each_lesion_is_set_against_normal_pixels_alone() {
        // Lesion 1 is bright, lesion 2 dark; both share a slice.
        let mut mask = Array3::<u32>::zeros((6, 6, 3));
        let mut map = Array3::from_shape_fn((6, 6, 3), |(i, j, _)| ((i * 6 + j) % 7) as f32);
        for (place, number, value) in [([1, 1, 0], 1, 9.0), ([1, 2, 0], 1, 9.0), ([4, 4, 0], 2, -9.0)] {
            (mask[place], map[place]) = (number, value);
        }
        let maps = maps_of([("intensity", [map.clone(), map])]);
        let table = "case,lesion,kind,contrast\na,1,bright,0.5\na,2,dark,0.5\nb,1,bright,0.5\nb,2,dark,0.5\n";
        let groups = LesionGroups::read(table.as_bytes()).unwrap();
        let mut evaluation = GroupedEvaluation::new(None);
        evaluation.add("a", "a", &maps, &mask, &groups).unwrap();
        evaluation.add("b", "b", &maps, &mask, &groups).unwrap();
        evaluation.add("unknown", "c", &maps, &mask, &groups).unwrap();
        let found = evaluation.finish(&BootstrapConfig::new(1).replicates(50)).unwrap();
        let scores = |k: usize| {
            let group: &GroupScores = &found[k];
            (group.group.as_str(), group.lesions, group.patients, group.predictors[0].auroc.unwrap())
        };
        assert_eq!(scores(0), ("bright, contrast .5", 2, 2, 1.0));
        assert_eq!(scores(1), ("dark, contrast .5", 2, 2, 0.0));
    }

    #[test]
    fn maps_of_other_shapes_or_names_are_refused() {
        let map = Array3::<f32>::zeros((4, 5, 3));
        let maps = |names: [&'static str; 2]| maps_of(names.map(|name| (name, [map.clone(), map.clone()])));
        let groups = LesionGroups::read("case,lesion,kind\na,1,bright\n".as_bytes()).unwrap();
        let mut mask = Array3::<u32>::zeros((4, 5, 3));
        mask[[1, 1, 1]] = 1;
        let mut evaluation = GroupedEvaluation::new(None);
        let mut add = |maps: &Maps, mask: &Array3<u32>| evaluation.add("a", "a", maps, mask, &groups);
        let other = Array3::zeros((4, 5, 2));
        assert!(matches!(add(&maps(["a", "b"]), &other), Err(StudyError::Shape { .. })));
        assert!(
            matches!(add(&maps(["a", "a"]), &mask), Err(StudyError::Repeated { name, .. }) if name == "a")
        );
        let turned = Maps { axis: 3, ..maps(["a", "b"]) };
        assert!(matches!(add(&turned, &mask), Err(StudyError::Setting(_))));
        add(&maps(["a", "b"]), &mask).unwrap();
    }

    #[test]
    fn a_group_without_normal_pixels_has_no_figures_and_others_have() {
        let mut mask = Array3::<u32>::zeros((4, 4, 2));
        mask.index_axis_mut(Axis(2), 0).fill(1);
        mask[[0, 0, 1]] = 2;
        let map = Array3::from_shape_fn((4, 4, 2), |(i, j, k)| (9 * k + 4 * i + j) as f32);
        let maps = maps_of([("intensity", [map.clone(), map])]);
        let groups = LesionGroups::read("case,lesion,kind\na,1,whole\na,2,spot\n".as_bytes()).unwrap();
        let mut evaluation = GroupedEvaluation::new(None);
        evaluation.add("a", "a", &maps, &mask, &groups).unwrap();
        let found = evaluation.finish(&BootstrapConfig::new(1).replicates(5)).unwrap();
        let scores: Vec<_> =
            found.iter().map(|group| (group.group.as_str(), group.predictors[0].auroc)).collect();
        assert_eq!(scores, [("spot", Some(0.0)), ("whole", None)]);
        // A table of another shape, or a map, is refused and not cut.
        let other = Array3::<u32>::zeros((4, 4, 3));
        assert!(GroupedEvaluation::new(None).add("a", "a", &maps, &other, &groups).is_err());
    }
}
