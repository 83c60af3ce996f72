//! Predictors and models of one's own: their names, one in place of another, and values that are not finite.

use lesio_anomaly::{EnsembleConfig, EnsembleMember, EnsembleRule, LocalizerEnsemble, NegativeValues};
use lesio_vae::{ImageGradients, Posterior, RequestedGradients, VariationalModel};

use super::*;

/// So many times the value, by any name.
struct Times(&'static str, f32);

impl Predictor for Times {
    fn name(&self) -> String {
        self.0.to_owned()
    }

    fn score(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, PredictError> {
        Ok(images.values().iter().map(|value| self.1 * value).collect())
    }
}

/// What was calibrated for a predictor says nothing of another one with its name.
#[test]
fn a_predictor_in_place_of_another_drops_what_was_calibrated_for_it() {
    let (own, built_in) = (PredictorName::own("times").unwrap(), PredictorName::PixelL1);
    let plain = localizer().with_predictor(Arc::new(Times("times", 1.0))).unwrap();
    let mut places = PositionBuilder::new(&[own, built_in], GRID, 1).unwrap();
    plain.add_normal(&mut places, &scan(&volume(10)), |_| true).unwrap();
    let mut normals = NormalScoresBuilder::new();
    normals.add([0.1, 0.2, 0.3]);
    let normals = normals.finish().unwrap();
    let mut calibration = Calibration::new().with_extent(Some(20.0));
    for name in [own, built_in, PredictorName::Ensemble] {
        calibration.insert(name, normals.clone());
    }
    let made = plain.with_position_normals(places.finish()).unwrap().with_calibration(calibration);
    let of = |members: &[PredictorName], chosen: PredictorName| {
        let member = |&name: &PredictorName| EnsembleMember::new(name.to_string(), 0, name, normals.clone());
        let members = members.iter().map(member).collect();
        let ensemble = LocalizerEnsemble::new(EnsembleConfig::new(EnsembleRule::Mean), members);
        let made = made.clone().with_ensemble(ensemble, Vec::new()).unwrap();
        made.with_chosen(Some(ChosenPredictor::new(chosen, 0.5, 2))).unwrap()
    };
    let known =
        |localizer: &Localizer| -> Vec<PredictorName> { localizer.calibration().predictors().collect() };
    let replaced = |localizer: Localizer| localizer.with_predictor(Arc::new(Times("times", 100.0))).unwrap();

    // A member of the ensemble, which was chosen.
    let before = of(&[own, built_in], PredictorName::Ensemble);
    assert_eq!(known(&before), [built_in, PredictorName::Ensemble, own]);
    let after = replaced(before.clone());
    assert_eq!(known(&after), [built_in]);
    assert_eq!(after.position_normals().predictors().collect::<Vec<_>>(), [built_in]);
    assert!(after.ensemble().is_none() && after.chosen().is_none());
    assert_eq!(after.calibration().extent(), Some(20.0));
    assert_ne!(after.fingerprint().unwrap(), before.fingerprint().unwrap());
    let scored = after.score(&scan(&volume(30)), &[own]).unwrap();
    assert!(matches!(after.judge(&scored, own, 0.5), Err(PredictError::NotCalibrated { .. })));

    // No member of it, and chosen or not.
    let after = replaced(of(&[built_in], own));
    assert_eq!(known(&after), [built_in, PredictorName::Ensemble]);
    assert!(after.ensemble().is_some() && after.chosen().is_none());
    assert!(replaced(of(&[built_in], built_in)).chosen().is_some());

    // One with another name replaces none.
    let before = of(&[own, built_in], own);
    let after = before.clone().with_predictor(Arc::new(Times("other", 1.0))).unwrap();
    assert_eq!((after.calibration(), after.chosen()), (before.calibration(), before.chosen()));
    assert_eq!((after.ensemble(), after.position_normals()), (before.ensemble(), before.position_normals()));
}

#[test]
fn functions_are_registered_for_the_names_of_their_predictors() {
    let loading = |name: &str, made: &'static str| {
        Loading::new(&Device::Cpu).predictor(name, move |_| Ok(Arc::new(Times(made, 1.0))))
    };
    for name in PredictorName::ALL.into_iter().chain([PredictorName::Ensemble]) {
        let refused = loading(name.as_str(), "times").unwrap_err().to_string();
        assert!(refused.contains("no built-in predictor has"), "{refused}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.safetensors");
    localizer().save(&path).unwrap();
    let load = |made: &'static str| Localizer::load_with(&path, &loading("times", made).unwrap());
    assert!(load("times").unwrap().predictors().contains(&PredictorName::own("times").unwrap()));
    let error = load("other").unwrap_err();
    assert!(matches!(error, LoadError::Refused { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("predictor times") && text.contains("\"other\""), "{text}");
}

/// Which result of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Mean,
    Loss,
    ByDivergence,
    ByReconstruction,
}

/// A model that is broken in the middle of each image: one of its results is this value there.
struct Broken {
    part: Part,
    value: f32,
}

impl Broken {
    /// Half the images, if this is not the broken part.
    fn result(&self, part: Part, images: ImageBatch<'_>) -> Vec<f32> {
        let mut values: Vec<f32> = images.values().iter().map(|value| 0.5 * value).collect();
        if part == self.part {
            let [height, width] = GRID;
            let middle = height / 2 * width + width / 2;
            values.chunks_exact_mut(height * width).for_each(|image| image[middle] = self.value);
        }
        values
    }
}

impl Reconstructor for Broken {
    fn image_shape(&self) -> Shape {
        Shape::new(1, GRID[0], GRID[1])
    }

    fn reconstruct(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, ModelError> {
        Ok(self.result(Part::Mean, images))
    }
}

impl VariationalModel for Broken {
    fn encode(&self, images: ImageBatch<'_>) -> Result<Posterior, ModelError> {
        let zeros = vec![0.0; images.len()];
        Ok(Posterior { dimensions: 1, mean: zeros.clone(), log_variance: zeros })
    }

    fn decode(&self, latent: &[f32]) -> Result<Vec<f32>, ModelError> {
        Ok(vec![0.0; latent.len() * GRID[0] * GRID[1]])
    }

    fn gradients(
        &self,
        images: ImageBatch<'_>,
        requested: RequestedGradients,
    ) -> Result<ImageGradients, ModelError> {
        let mut found = ImageGradients::of_nothing(requested);
        found.mean = self.result(Part::Mean, images);
        found.loss = self.result(Part::Loss, images);
        found.divergence = vec![0.0; images.len()];
        found.by_divergence = Some(self.result(Part::ByDivergence, images));
        found.by_reconstruction = Some(self.result(Part::ByReconstruction, images));
        Ok(found)
    }
}

/// Whatever of a model is not finite, no predictor that uses it makes a score of it, such as 0, the most normal one.
#[test]
fn results_that_are_not_finite_are_errors_of_every_predictor() {
    use PredictorName as P;
    let cases: [(Part, &[PredictorName]); 4] = [
        (
            Part::Mean,
            &[P::PixelL1, P::PixelPositive, P::PixelNegative, P::PixelL2, P::PixelSsim, P::PixelGms],
        ),
        (Part::Loss, &[P::PixelNll, P::CombiProduct, P::CombiSum]),
        (Part::ByDivergence, &[P::GradKl, P::GradElbo, P::CombiProduct, P::CombiSum]),
        (Part::ByReconstruction, &[P::GradRec, P::GradElbo]),
    ];
    // Those that no model changes, and those that are asked below.
    let others = [P::Intensity, P::AnomalyLogit, P::Projection, P::ProjectionReconstruction, P::Restoration];
    for name in P::ALL {
        let is_asked = cases.iter().any(|(_, names)| names.contains(&name));
        assert!(is_asked || others.contains(&name), "{name} is not tested");
    }
    let positive = PostProcessing::default().negative(NegativeValues::Zero);
    let seen = scan(&volume(30));
    let refused = |localizer: &Localizer, name: PredictorName, what: &dyn std::fmt::Debug| {
        let scored = localizer.score(&seen, &[name]).map(|_| ());
        assert!(matches!(scored, Err(PredictError::Filter(_))), "{name}, {what:?}: {scored:?}");
    };
    for filters in [PostProcessing::default(), positive] {
        for (part, names) in cases {
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let model = OwnModel::variational("broken", Arc::new(Broken { part, value })).unwrap();
                let fitted = localizer().preprocessing().clone();
                let made = Localizer::new(model.into(), fitted, Provenance::default()).unwrap();
                let made = made.with_settings(settings()).with_postprocessing(filters.clone());
                names.iter().for_each(|&name| refused(&made, name, &(part, value)));
                if part != Part::ByDivergence {
                    refused(&made, P::Projection, &(part, value));
                    refused(&made, P::ProjectionReconstruction, &(part, value));
                }
                // The steps of a restoration are limited, so that a gradient that is infinite gives the highest score.
                if value.is_nan() && matches!(part, Part::ByDivergence | Part::ByReconstruction) {
                    refused(&made, P::Restoration, &(part, value));
                }
            }
        }
        let made = localizer().with_predictor(Arc::new(Times("times", f32::NAN))).unwrap();
        let name = PredictorName::own("times").unwrap();
        refused(&made.with_postprocessing(filters), name, &"a predictor of one's own");
    }
}
