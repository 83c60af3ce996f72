//! Models with bytes changed or cut off: errors or networks, never a panic.
#![allow(clippy::unwrap_used, missing_docs)] // A test may.

use std::path::Path;

use lesio_onnx::{ConvertedVae, OnnxModel, VaeTensors};
use proptest::prelude::*;

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.onnx")))
        .unwrap()
}

const NAMES: [&str; 8] = [
    "vae",
    "u_net_corners",
    "autoencoder",
    "group_norm_exported",
    "resize_computed",
    "gather_pairs",
    "pad_conv",
    "conv_grouped",
];

fn try_all(bytes: &[u8]) {
    if let Ok(model) = OnnxModel::from_bytes(bytes) {
        let _ = model.network(&[], None);
        let _ = ConvertedVae::of_one(&model, &VaeTensors::default());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn changed_bytes_do_not_panic(
        which in 0..NAMES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = bytes(NAMES[which]);
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        try_all(&bytes);
    }

    #[test]
    fn bytes_that_are_missing_do_not_panic(which in 0..NAMES.len(), from in any::<prop::sample::Index>(), count in 1usize..200) {
        let mut bytes = bytes(NAMES[which]);
        let from = from.index(bytes.len());
        let end = (from + count).min(bytes.len());
        bytes.drain(from..end);
        try_all(&bytes);
    }
}

/// Single bytes of what is not weights: dimensions, attributes, names.
#[test]
fn every_byte_of_a_small_model_may_be_anything() {
    for name in ["gather_pairs", "pad_conv", "max_pool", "resize_corners"] {
        let whole = bytes(name);
        for place in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[place] = value;
                try_all(&bytes);
            }
            try_all(&whole[..place]);
        }
    }
}
