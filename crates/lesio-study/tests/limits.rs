//! What a case may take in memory, counted before it is worked on.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)] // A test may.

use lesio_image::{Geometry, Image, Volume};
use lesio_io::atomic::Existing;
use lesio_io::dataset::{Dataset, Layout};
use lesio_io::{ReadOptions, write_png, write_volume};
use lesio_study::{StudyError, Subject};
use ndarray::Array3;

#[test]
fn a_case_that_can_be_read_and_not_worked_on_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let volume = Volume::new(Array3::<f32>::zeros((64, 64, 32)), Geometry::default());
    write_volume(folder.path().join("head.nii"), &volume).unwrap();
    let picture = Image::new(Array3::<u8>::zeros((3, 200, 300)));
    write_png(folder.path().join("tile.png"), &picture, Existing::Refuse).unwrap();
    let data = Dataset::open(folder.path(), &Layout::Images).unwrap();
    // 12 bytes a voxel; 24 bytes a pixel and 8 for each channel.
    for (case, need) in data.cases().iter().zip([12 * 64 * 64 * 32, (24 + 3 * 8) * 200 * 300]) {
        let read = |limit| Subject::read_with(case, &ReadOptions::new().max_bytes(limit));
        assert_eq!(read(need).unwrap().working_bytes(), need);
        match read(need - 1).unwrap_err() {
            StudyError::Memory { case: named, need: found, limit, .. } => {
                assert_eq!((named.as_str(), found, limit), (case.id(), need, need - 1));
            }
            other => panic!("{other:?}"),
        }
        // Far less is the reader's to refuse.
        assert!(matches!(read(1000), Err(StudyError::Read { .. })));
    }
}
