//! Any bytes as the one file of a DICOM series.
#![no_main]

use std::fs;

use lesio_io::ReadOptions;
use libfuzzer_sys::fuzz_target;

const LIMIT: u64 = 16 << 20;

thread_local! {
    static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a temporary folder");
}

fuzz_target!(|data: &[u8]| {
    FOLDER.with(|folder| {
        fs::write(folder.path().join("a"), data).expect("write");
        let Ok(volume) = ReadOptions::new().max_bytes(LIMIT).read_dicom(folder.path()) else { return };
        assert!(volume.data().iter().all(|value| value.is_finite()));
        assert!(volume.geometry().voxel_volume() > 0.0);
    });
});
