//! Every writer with every step failing, and with the power gone at every step.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use lesio_files::simulation::{Fault, SimulatedDisk, every_fault, every_power_cut};
use lesio_files::{Existing, FileSystem};
use lesio_image::{Geometry, Image, Volume};
use lesio_io::{ImageWriteError, WriteOptions, write_png_in};
use ndarray::Array3;

/// A writer, and the files that it makes.
struct Writer {
    name: &'static str,
    files: Vec<&'static str>,
    existing: Existing,
    write: Box<dyn Fn(&SimulatedDisk) -> Result<(), ImageWriteError>>,
}

fn writers() -> Vec<Writer> {
    let noise = |(i, j, k): (usize, usize, usize)| (i * 7919 + j * 104_729 + k * 1_299_709) as u32 as i32;
    let large = Volume::new(Array3::from_shape_fn((131, 97, 83), noise), Geometry::default());
    // Compressing takes the time of these tests.
    let small = Volume::new(Array3::from_shape_fn((43, 37, 23), noise), Geometry::default());
    let image = Image::new(Array3::from_shape_fn((3, 200, 151), |(c, i, j)| noise((c, i, j)) as u8));
    let mut writers = Vec::new();
    for existing in [Existing::Refuse, Existing::Replace] {
        for name in ["a.nii", "a.nii.gz"] {
            let volume = if name == "a.nii" { large.clone() } else { small.clone() };
            writers.push(Writer {
                name,
                files: vec![name],
                existing,
                write: Box::new(move |disk| {
                    WriteOptions::new().existing(existing).write_in(disk, name, &volume)
                }),
            });
        }
        let image = image.clone();
        writers.push(Writer {
            name: "a.png",
            files: vec!["a.png"],
            existing,
            write: Box::new(move |disk| write_png_in(disk, "a.png", &image, existing)),
        });
    }
    for (name, files) in [("a.hdr", ["a.hdr", "a.img"]), ("a.img.gz", ["a.hdr.gz", "a.img.gz"])] {
        let volume = if name == "a.hdr" { large.clone() } else { small.clone() };
        writers.push(Writer {
            name,
            files: files.to_vec(),
            existing: Existing::Refuse,
            write: Box::new(move |disk| WriteOptions::new().write_in(disk, name, &volume)),
        });
    }
    writers
}

/// What the writer makes when nothing fails.
fn undisturbed(writer: &Writer) -> BTreeMap<PathBuf, Vec<u8>> {
    let disk = before(writer);
    (writer.write)(&disk).unwrap();
    let files = writer.files.iter().map(|&name| (PathBuf::from(name), disk.read(name).unwrap()));
    assert_eq!(disk.names().len(), writer.files.len(), "{} leaves other files", writer.name);
    files.collect()
}

/// The disk before a write: with an old file where it is to be replaced.
fn before(writer: &Writer) -> SimulatedDisk {
    match writer.existing {
        Existing::Replace => SimulatedDisk::with(&[(writer.name, b"old")]),
        Existing::Refuse => SimulatedDisk::default(),
    }
}

#[test]
fn every_failing_step_is_an_error_and_the_old_file_stays() {
    let (mut injected, mut told) = (0, 0);
    for writer in writers() {
        let whole = undisturbed(&writer);
        let old = before(&writer).names();
        injected += every_fault(&before(&writer), &writer.write, |place, fault, disk, result| {
            let place = format!("{} {:?}: {place}", writer.name, writer.existing);
            assert!(disk.has_failed(), "{place}");
            let found: BTreeMap<PathBuf, Vec<u8>> =
                writer.files.iter().filter_map(|&name| Some((name.into(), disk.read(name)?))).collect();
            let Err(error) = result else {
                // Short and interrupted writes are taken up again, a second name may be had by another
                // way, and a temporary name that stays harms nobody.
                return assert!(found == whole, "{place}: is well, and is not");
            };
            told += 1;
            if fault == Fault::Full {
                assert_eq!(error.kind().name(), "StorageFull", "{place}");
            }
            let unchanged = disk.names() == old && old.iter().all(|name| disk.read(name).unwrap() == b"old");
            // Only the last step, that the folder reaches the disk, fails with the new file there.
            let last = error.to_string().contains("sync the folder");
            assert!(unchanged || last, "{place}: {error}, and leaves {:?}", disk.names());
            assert!(!last || found == whole || found.len() < writer.files.len(), "{place}");
        });
    }
    println!("{injected} faults, {told} told");
    assert!(injected >= 1000 && told >= 500);
}

#[test]
fn after_a_power_cut_a_name_means_the_old_file_or_the_new_one() {
    let mut states = 0;
    for writer in writers() {
        let whole = undisturbed(&writer);
        states += every_power_cut(&before(&writer), &writer.write, |place, remains, finished| {
            let place = format!("{} {:?}: {place}", writer.name, writer.existing);
            let temporary = remains.names().filter(|name| name.to_string_lossy().ends_with(".tmp")).count();
            assert!(temporary <= 1, "{place}: {temporary} temporary files");
            for &name in &writer.files {
                match remains.read(Path::new(name)) {
                    None => {
                        assert!(writer.existing == Existing::Refuse && !finished, "{place}: {name} is gone");
                    }
                    Some(bytes) if bytes == whole[Path::new(name)] => {}
                    Some(bytes) => assert!(bytes == b"old" && !finished, "{place}: {name} is torn"),
                }
            }
            // Of a pair the header comes last: whoever finds it finds the voxels.
            if let [header, voxels] = writer.files[..] {
                let there = |name: &str| remains.names().any(|found| found == Path::new(name));
                assert!(!there(header) || there(voxels), "{place}: a header without voxels");
            }
        });
    }
    println!("{states} states after a power cut");
    assert!(states >= 2000, "{states}");
}

/// The real disk, where it can be made to fail.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told() {
    use std::fs::OpenOptions;

    /// Writes that go to the device that is always full.
    struct FullDisk;

    impl FileSystem for FullDisk {
        type File = std::fs::File;

        fn create_new(&self, _: &Path) -> io::Result<std::fs::File> {
            OpenOptions::new().write(true).open("/dev/full")
        }
        fn sync(&self, _: &mut std::fs::File) -> io::Result<()> {
            Ok(())
        }
        fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
            panic!("a file that was not written is named")
        }
        fn link(&self, _: &Path, _: &Path) -> io::Result<()> {
            panic!("a file that was not written is named")
        }
        fn remove(&self, _: &Path) -> io::Result<()> {
            Ok(())
        }
        fn sync_folder(&self, _: &Path) -> io::Result<()> {
            Ok(())
        }
        fn exists(&self, _: &Path) -> io::Result<bool> {
            Ok(false)
        }
    }

    // Small enough to stay in a buffer until the end, where careless writers drop it unseen.
    let volume = Volume::new(Array3::from_elem((2, 2, 2), 1_u8), Geometry::default());
    for name in ["a.nii", "a.nii.gz", "a.hdr"] {
        let error = WriteOptions::new().write_in(&FullDisk, name, &volume).unwrap_err();
        assert_eq!(error.kind().name(), "StorageFull", "{name}: {error}");
    }
}
