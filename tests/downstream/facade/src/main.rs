//! Trains a localizer on synthetic heads and maps another one, with the facade alone.

use lesio::nn::TrainConfig;
use lesio::phantom::{BrainConfig, BrainPhantom, Contrast, PhantomError};
use lesio::prelude::*;
use lesio::study::{LocalizerTraining, ModelTraining, Preset, Subject, train_localizer};
use lesio::vae::VaeTraining;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let heads = BrainPhantom::new(BrainConfig::new([24, 24], Contrast::T1, 1).slices(2))?;
    let subject = |number: u64| Ok(Subject::new(number.to_string(), heads.volume(number)?.image, None));
    let subjects = (0..10).map(subject).collect::<Result<Vec<_>, PhantomError>>()?;
    let model = VaeConfig::new(1, 16, 16).widths([4]).latent(Latent::Dense { dimensions: 2 });
    let training = VaeTraining::default().train(TrainConfig::default().epochs(1));
    let config =
        LocalizerTraining::new(ModelTraining::Vae { model, training }, Preset::Heads.preprocessing([16, 16]));
    let localizer = train_localizer(subjects, None, &config, &mut ())?.localizer;

    let scan = Scan::from(heads.volume(99)?.image);
    let scored = localizer.score(&scan, &[PredictorName::PixelL1])?;
    println!("a map of {:?} voxels", scored.scores[0].postprocessed.shape());
    Ok(())
}
