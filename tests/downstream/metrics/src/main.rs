//! Evaluates scores with the metrics alone.

use lesio_metrics::{MetricError, WhenEmpty, auroc, dice};

fn main() -> Result<(), MetricError> {
    let scores = [0.1_f32, 0.4, 0.35, 0.8];
    let truth = [false, false, true, true];
    let found = scores.map(|score| score >= 0.35);
    println!("AUROC {}, Dice {}", auroc(&scores, &truth)?, dice(&found, &truth, WhenEmpty::Undefined)?);
    Ok(())
}
