//! Any bytes as a model file: refused, or saved again and loaded as the same.
#![no_main]

use std::fs;

use lesio_nn::model_file;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const LIMIT: u64 = 16 << 20;
const KIND: &str = "a test";

thread_local! {
    static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a temporary folder");
}

fuzz_target!(|data: &[u8]| {
    FOLDER.with(|folder| {
        let (path, again) = (folder.path().join("a.safetensors"), folder.path().join("b.safetensors"));
        fs::write(&path, data).expect("write");
        let Ok((parameters, document)) = model_file::load::<Value>(&path, KIND, 1, LIMIT) else { return };
        assert!(parameters.iter().all(|(_, p)| p.values().iter().all(|value| value.is_finite())));
        model_file::save(&again, KIND, 1, &parameters, &document).expect("is saved");
        let (same, told) = model_file::load::<Value>(&again, KIND, 1, LIMIT).expect("is loaded again");
        assert!(same == parameters && told == document);
    });
});
