//! Estimates the quality of a segmentation with an untrained estimator.

use lesio_nn::Device;
use lesio_quality::{Estimator, EstimatorConfig, Framing, Method, Widths};
use ndarray::{Array2, Array3};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let image = Array3::from_shape_fn((1, 40, 40), |(_, row, column)| (row * column) as f32);
    let segmentation = Array2::from_shape_fn((40, 40), |(row, column)| u8::from(row > 20 && column > 30));
    let framing = Framing::new([1]).grid([16, 16]);
    let frame = framing.frame(&image.view(), &segmentation.view())?.ok_or("the segmentation is empty")?;
    let config = EstimatorConfig::new(Method::SecondOpinion, framing).widths(Widths::uniform([8, 8]));
    let parameters = config.initial_parameters(1)?;
    let estimate =
        Estimator::new(config, parameters, &Device::Cpu)?.estimate(&frame.image, &frame.segmentation)?;
    println!(
        "{} Dice within 0 to 1: {}",
        estimate.dice.len(),
        estimate.dice.iter().all(|dice| (0.0..=1.0).contains(dice))
    );
    Ok(())
}
