//! A localizer with an ensemble: its maps, its file, and what is refused.

use lesio_anomaly::{EnsembleConfig, EnsembleMember, EnsembleRule, LocalizerEnsemble};

use super::*;

/// Two localizers with the ensemble of their predictors: one normalizes by position, the other has other filters.
pub(super) fn with_ensemble() -> (Localizer, [Localizer; 2]) {
    let names = [PredictorName::PixelL1, PredictorName::GradKl];
    let first = calibrated();
    let other = localizer().with_postprocessing(PostProcessing::default().median(8.0, 8.0, 8.0));
    let normals = |localizer: &Localizer, name: PredictorName| {
        let mut normals = NormalScoresBuilder::new();
        for subject in 20..22 {
            let scored = localizer.score(&scan(&volume(subject)), &[name]).unwrap();
            normals.add(scored.scores[0].postprocessed.data().iter().copied());
        }
        normals.finish().unwrap()
    };
    let members = vec![
        EnsembleMember::new("first/pixel-l1", 0, names[0], normals(&first, names[0])),
        EnsembleMember::new("other/pixel-l1", 1, names[0], normals(&other, names[0])),
        EnsembleMember::new("other/grad-kl", 1, names[1], normals(&other, names[1])),
    ];
    let ensemble = LocalizerEnsemble::new(EnsembleConfig::new(EnsembleRule::Mean), members);
    let made = first.clone().with_ensemble(ensemble, vec![other.clone()]).unwrap();
    (made, [first, other])
}

#[test]
fn an_ensemble_combines_the_maps_of_its_localizers() {
    let (made, [first, other]) = with_ensemble();
    let (seen, name) = (scan(&volume(30)), PredictorName::Ensemble);
    assert!(made.predictors().contains(&name) && !first.predictors().contains(&name));
    let scored = made.score(&seen, &[name, PredictorName::GradKl]).unwrap();
    let order: Vec<PredictorName> = scored.scores.iter().map(|score| score.predictor).collect();
    assert_eq!(order, [name, PredictorName::GradKl]);
    let ensemble = made.ensemble().unwrap();
    let maps: Vec<Volume<f32>> = ensemble
        .members
        .iter()
        .map(|member| {
            let scored = [&first, &other][member.localizer].score(&seen, &[member.predictor]).unwrap();
            scored.scores[0].postprocessed.clone()
        })
        .collect();
    let members: Vec<_> =
        maps.iter().zip(&ensemble.members).map(|(map, member)| (map, &member.normals)).collect();
    let expected = ensemble.config.combine_volumes(&members).unwrap();
    assert_eq!((&scored.scores[0].raw, &scored.scores[0].postprocessed), (&expected, &expected));
    // The other predictors are those of the first localizer, with several scans in a batch as well.
    let alone = first.score(&seen, &[PredictorName::GradKl]).unwrap();
    assert_eq!(scored.scores[1].postprocessed, alone.scores[0].postprocessed);
    let second = scan(&volume(31));
    let both = made.score_all([&second, &seen], &[name]).unwrap();
    assert_eq!(both[1].scores[0].raw, expected);
    assert!(made.channel_maps(&seen, name).unwrap().is_none());
    assert!(matches!(first.score(&seen, &[name]), Err(PredictError::NoEnsemble)));
    assert!(matches!(made.score(&seen, &[name, name]), Err(PredictError::Repeated { .. })));
}

#[test]
fn an_ensemble_is_saved_in_one_file() {
    let (made, _) = with_ensemble();
    let name = PredictorName::Ensemble;
    let scored = made.score(&scan(&volume(22)), &[name]).unwrap();
    let mut normals = NormalScoresBuilder::new();
    normals.add(scored.scores[0].postprocessed.data().iter().copied());
    let mut calibration = made.calibration().clone();
    calibration.insert(name, normals.finish().unwrap());
    let made =
        made.with_calibration(calibration).with_chosen(Some(ChosenPredictor::new(name, 0.5, 2))).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (path, again) = (folder.path().join("a.safetensors"), folder.path().join("b.safetensors"));
    made.save(&path).unwrap();
    let back = Localizer::load(&path, &Device::Cpu).unwrap();
    assert_eq!((back.ensemble(), back.chosen()), (made.ensemble(), made.chosen()));
    assert_eq!(back.fingerprint().unwrap(), made.fingerprint().unwrap());
    // The selected predictor affects neither maps nor thresholds.
    let unchosen = made.clone().with_chosen(None).unwrap();
    assert_eq!(unchosen.fingerprint().unwrap(), made.fingerprint().unwrap());
    let maps = |localizer: &Localizer| localizer.score(&scan(&volume(30)), &[name]).unwrap().scores;
    assert_eq!(maps(&back)[0].raw, maps(&made)[0].raw);
    back.save(&again).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&again).unwrap());

    // Other filters have other maps: the ensemble goes with its calibration.
    let changed = back.with_postprocessing(PostProcessing::none());
    assert!(changed.ensemble().is_none() && changed.others().is_empty() && changed.chosen().is_none());

    // Localizers that no ensemble uses are no part of a file.
    let saved = Saved::new(&made);
    let refused = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut envelope = saved.envelope.clone();
        change(&mut envelope["document"]);
        saved.load_with(&envelope).unwrap_err().to_string()
    };
    let ensemble = saved.envelope["document"]["ensemble"].clone();
    assert!(refused(&|own| own["others"][0]["ensemble"] = ensemble.clone()).contains("without an ensemble"));
    assert!(refused(&|own| own["ensemble"] = serde_json::Value::Null).contains("without an ensemble"));
    let missing = refused(&|own| own["others"] = serde_json::json!([]));
    assert!(missing.contains("do not fit its configuration"), "{missing}");

    // Every number and text of the ensemble's part is checked.
    let (mut refused, mut scored) = (0, 0);
    for mutation in mutations(&saved.envelope) {
        let own = mutation.place.contains("ensemble") || mutation.place.contains("others");
        if !own || mutation.place.contains("normals") || mutation.place.contains("calibration") {
            continue;
        }
        match saved.load_with(&mutation.document) {
            Err(error) => {
                assert!(error.to_string().contains("localizer.safetensors"), "{error}");
                refused += 1;
            }
            Ok(localizer) => scored += usize::from(localizer.score(&scan(&volume(30)), &[name]).is_ok()),
        }
    }
    assert!(refused > 100 && scored > 20, "{refused} refused, {scored} scored");
}

/// The scores and the choice of an ensemble are about its maps.
#[test]
fn another_ensemble_drops_what_was_calibrated_for_the_first() {
    let (made, [_, other]) = with_ensemble();
    let (name, member) = (PredictorName::Ensemble, PredictorName::PixelL1);
    let mut normals = NormalScoresBuilder::new();
    normals.add([0.1, 0.2, 0.3]);
    let mut calibration =
        made.calibration().clone().with_extent(Some(20.0)).with_footprint(Some([90.0, 110.0]));
    calibration.insert(name, normals.finish().unwrap());
    let choice = |predictor| Some(ChosenPredictor::new(predictor, 0.5, 2));
    let made = made.with_calibration(calibration).with_chosen(choice(name)).unwrap();
    let first = made.ensemble().unwrap().clone();
    let same = made.clone().with_ensemble(first.clone(), vec![other.clone()]).unwrap();
    assert_eq!((same.calibration(), same.chosen()), (made.calibration(), made.chosen()));
    assert!(same.calibration().get(name).is_some() && same.chosen().is_some());

    let mut highest = first.clone();
    highest.config = EnsembleConfig::new(EnsembleRule::Maximum);
    let filtered = other.clone().with_postprocessing(PostProcessing::none());
    // Its document is the same.
    let parameters = initial_parameters(&config(1), 3).unwrap();
    let model = ModelConfig::Vae { config: config(1), beta: 1.0 };
    let model = Model::new(&model, &parameters, &Device::Cpu).unwrap();
    let of_other_weights = Localizer::new(model, other.preprocessing().clone(), other.provenance().clone())
        .unwrap()
        .with_settings(other.settings().clone())
        .with_postprocessing(other.postprocessing().clone());
    for (ensemble, others) in
        [(highest, vec![other]), (first.clone(), vec![filtered]), (first, vec![of_other_weights])]
    {
        let changed = made.clone().with_ensemble(ensemble.clone(), others.clone()).unwrap();
        assert!(changed.calibration().get(name).is_none() && changed.chosen().is_none());
        // Maps of other predictors are as they were.
        let kept = changed.calibration().get(member);
        assert!(kept.is_some() && kept == made.calibration().get(member));
        assert_eq!(changed.calibration().extent(), Some(20.0));
        assert_eq!(changed.calibration().footprint(), Some([90.0, 110.0]));
        let of_member = made.clone().with_chosen(choice(member)).unwrap();
        let changed = of_member.with_ensemble(ensemble, others).unwrap();
        assert_eq!(changed.chosen(), choice(member).as_ref());
    }
}

#[test]
fn ensembles_that_do_not_fit_are_refused() {
    let (made, [first, other]) = with_ensemble();
    let ensemble = made.ensemble().unwrap();
    let refused = |change: &dyn Fn(&mut LocalizerEnsemble), others: Vec<Localizer>| {
        let mut ensemble = ensemble.clone();
        change(&mut ensemble);
        first.clone().with_ensemble(ensemble, others).unwrap_err().to_string()
    };
    let fit = || vec![other.clone()];
    assert!(refused(&|own| own.members[1].localizer = 2, fit()).contains("localizer 2"));
    assert!(refused(&|own| own.members[1].predictor = PredictorName::Ensemble, fit()).contains("itself"));
    assert!(refused(&|own| own.members[1].predictor = PredictorName::AnomalyLogit, fit()).contains("logit"));
    assert!(refused(&|own| own.members.clear(), fit()).contains("combined"));
    assert!(refused(&|_| {}, vec![made.clone()]).contains("of its own"));
    let channels = Localizer::new(vae(2), other.preprocessing().clone(), Provenance::default())
        .unwrap()
        .with_settings(settings());
    assert!(refused(&|_| {}, vec![channels]).contains("channels"));
    let sagittal = Preprocessing::heads(GRID).plane(Plane::Sagittal).fit([scan(&volume(0))]).unwrap();
    let sagittal = Localizer::new(vae(1), sagittal, Provenance::default()).unwrap().with_settings(settings());
    assert!(refused(&|_| {}, vec![sagittal]).contains("planes"));
    let chosen = Some(ChosenPredictor::new(PredictorName::Ensemble, 0.5, 1));
    assert!(matches!(first.with_chosen(chosen), Err(PredictError::NoEnsemble)));
    assert!(PredictorName::own("ensemble").is_err());
}
