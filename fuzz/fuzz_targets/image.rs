//! Any bytes as a PNG, JPEG, TIFF or BMP file.
#![no_main]

use std::fs;

use lesio_io::ReadOptions;
use libfuzzer_sys::fuzz_target;

thread_local! {
    static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a temporary folder");
}

fuzz_target!(|data: &[u8]| {
    FOLDER.with(|folder| {
        let path = folder.path().join("a");
        fs::write(&path, data).expect("write");
        if let Ok(image) = ReadOptions::new().max_bytes(16 << 20).read_image(&path) {
            assert!(image.channels() > 0 && image.height() > 0 && image.width() > 0);
        }
    });
});
