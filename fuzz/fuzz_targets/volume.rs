//! Any bytes as a NIfTI file: read in every way, written and read again.
#![no_main]

use std::fs;
use std::path::Path;

use lesio_io::nifti::{NiftiHeader, NiftiImage, NiftiVersion, read_header};
use lesio_io::{ReadOptions, WriteOptions};
use libfuzzer_sys::fuzz_target;

const LIMIT: u64 = 16 << 20;

thread_local! {
    static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a temporary folder");
}

// The first byte chooses the name; of a pair the voxels follow the header after 352 or 544 bytes.
fuzz_target!(|data: &[u8]| {
    let Some((&form, bytes)) = data.split_first() else { return };
    let _ = NiftiHeader::parse(bytes);
    FOLDER.with(|folder| {
        let at = |name: &str| folder.path().join(name);
        let path = match form % 4 {
            0 => at("a.nii"),
            1 => at("a.nii.gz"),
            both => {
                let (header, voxels) = bytes.split_at(bytes.len().min(if both == 2 { 352 } else { 544 }));
                fs::write(at("a.img"), voxels).expect("write");
                fs::write(at("a.hdr"), header).expect("write");
                at("a.hdr")
            }
        };
        if form % 4 < 2 {
            fs::write(&path, bytes).expect("write");
        }
        read(&path, &at("again.nii"));
    });
});

fn read(path: &Path, again: &Path) {
    let options = ReadOptions::new().max_bytes(LIMIT);
    let _ = read_header(path);
    let _ = (options.read(path), options.read_as::<u8>(path), options.clone().volume(1).read_as::<i64>(path));
    let Ok(mut image) = NiftiImage::open_with(path, &options) else { return };
    let _ = (image.statistics(), image.read_raw(), image.read_complex(), image.read_rgba());
    if let Ok(slabs) = image.slabs::<f32>(1) {
        slabs.take(64).for_each(drop);
    }
    let Ok(volume) = options.read_as::<f64>(path) else { return };
    let _ = fs::remove_file(again);
    // NIfTI-2 holds every place that was read.
    WriteOptions::new().version(NiftiVersion::Two).like(image.header()).write(again, &volume).expect("is written");
    let read = options.read_as::<f64>(again).expect("is read again");
    let bits = |value: &f64| if value.is_nan() { u64::MAX } else { value.to_bits() };
    assert!(read.data().iter().map(bits).eq(volume.data().iter().map(bits)));
    assert_eq!(read.geometry(), volume.geometry());
}
