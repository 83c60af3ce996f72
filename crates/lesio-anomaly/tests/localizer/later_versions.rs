//! Files with settings that this version does not know: none is ignored.

use lesio_anomaly::DeclaredConfig;
use lesio_image::{Intensity, RobustScaling};
use lesio_settings::mutation::with_unknown_fields;
use lesio_vae::{AnomalySegmenter, Restorer, SyntheticAnomalies, TaughtConfig};

use super::ensembles::with_ensemble;
use super::*;

/// A segmenter of heads that are scaled by their median, and one whose network is data.
fn segmenters() -> [Localizer; 2] {
    let mut anomalies = SyntheticAnomalies::medical();
    anomalies.contents.extend(SyntheticAnomalies::natural().contents);
    let config = TaughtConfig::new(DenoiserConfig::new(1, GRID[0], GRID[1]).widths([4, 6]), anomalies);
    let marks = AnomalySegmenter::initial_parameters(&config, 2).unwrap();
    // One logit a pixel instead of one value.
    let (network, logits) = (config.restorer().unwrap(), Restorer::initial_parameters(&config, 2).unwrap());
    let median = Preprocessing::heads(GRID).intensity(Intensity::Robust(RobustScaling::median()));
    let fitted = median.fit([scan(&volume(0)), scan(&volume(1))]).unwrap();
    let declared = ModelConfig::Declared { config: DeclaredConfig::Segmenter { network } };
    [(ModelConfig::Segmenter { config }, marks), (declared, logits)].map(|(config, parameters)| {
        let model = Model::new(&config, &parameters, &Device::Cpu).unwrap();
        Localizer::new(model, fitted.clone(), Provenance::default()).unwrap()
    })
}

#[test]
fn settings_of_a_later_version_are_refused_wherever_they_stand() {
    let [segmenter, declared] = segmenters();
    for (localizer, place) in [
        (calibrated(), "/preprocessing/config/intensity/standardized"),
        (with_ensemble().0, "/ensemble/members/0/normals"),
        (segmenter.clone(), "/preprocessing/config/intensity/robust"),
        (segmenter, "/model/segmenter/config/anomalies/contents/6/content/displaced"),
        (declared, "/model/declared/config/segmenter/network/nodes/1/layer/of/convolution"),
    ] {
        let saved = Saved::new(&localizer);
        let changed = with_unknown_fields(&saved.envelope["document"]);
        let places: Vec<_> = changed.iter().map(|change| change.place.as_str()).collect();
        assert!(places.contains(&place), "{place} is not among {places:?}");
        for change in &changed {
            let mut envelope = saved.envelope.clone();
            envelope["document"] = change.document.clone();
            match saved.load_with(&envelope) {
                Ok(_) => panic!("{}/newer was ignored", change.place),
                // Variants of enums are not named.
                Err(LoadError::Unknown { setting, .. }) => {
                    let place = format!("{}/newer", change.place);
                    let mut parts = place.split('/');
                    assert!(
                        setting.split('.').all(|part| parts.any(|own| own == part)),
                        "{setting}: {place}"
                    );
                    assert_eq!(parts.next(), None, "{setting}: {place}");
                }
                // An enum has one field, its variant, and the number is no value of a map.
                Err(error) => assert!(matches!(error, LoadError::Document { .. }), "{place}: {error}"),
            }
        }
    }
}
