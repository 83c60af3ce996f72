//! A predictor over a model, neither of which is lesio's.

use std::sync::Arc;

use lesio_anomaly::conformance::check_predictor_bits;
use lesio_anomaly::{PredictError, Predictor};
use lesio_nn::{ImageBatch, Shape};
use lesio_vae::{ModelError, Reconstructor};

const SHAPE: Shape = Shape::new(1, 8, 8);

/// Reconstructs every image as gray.
struct Gray;

impl Reconstructor for Gray {
    fn image_shape(&self) -> Shape {
        SHAPE
    }

    fn reconstruct(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, ModelError> {
        ModelError::check_shape(images, SHAPE)?;
        Ok(vec![0.5; images.values().len()])
    }
}

/// Scores pixels by their squared distance from the reconstruction.
struct SquaredError(Arc<dyn Reconstructor>);

impl Predictor for SquaredError {
    fn name(&self) -> String {
        "squared-error".to_owned()
    }

    fn score(&self, images: ImageBatch<'_>) -> Result<Vec<f32>, PredictError> {
        let expected = self.0.reconstruct(images)?;
        Ok(images.values().iter().zip(expected).map(|(x, y)| (x - y).powi(2)).collect())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let predictor = SquaredError(Arc::new(Gray));
    let values: Vec<f32> = (0..4 * 64).map(|k| (k % 97) as f32 / 97.0).collect();
    let faults = check_predictor_bits(&predictor, ImageBatch::new(&values, SHAPE)?, None)?;
    println!("{} faults", faults.len());
    Ok(())
}
