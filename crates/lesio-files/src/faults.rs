//! The writers of this crate with every step failing, and with the power gone at every step.

use std::path::Path;

use crate::simulation::{Fault, SimulatedDisk, every_fault, every_power_cut};
use crate::{Existing, FileSystem, WriteError, write_in, write_keeping};

/// Content of several writes.
fn content(part: u8) -> Vec<u8> {
    (0..80_u8).flat_map(|block| [block ^ part; 10_000]).collect()
}

fn put(out: &mut dyn std::io::Write, part: u8) -> std::io::Result<()> {
    content(part).chunks(30_000).try_for_each(|chunk| out.write_all(chunk))
}

fn replace(disk: &SimulatedDisk) -> Result<(), WriteError> {
    write_in(disk, "a", Existing::Replace, |out| put(out, 2))
}

fn keep(disk: &SimulatedDisk) -> Result<(), WriteError> {
    write_keeping(disk, "a", "a.previous", |out| put(out, 2))
}

/// Before a first write, before a second, and before one that replaces both generations.
fn disks() -> [SimulatedDisk; 4] {
    [
        SimulatedDisk::default(),
        SimulatedDisk::with(&[("a", b"old")]),
        SimulatedDisk::with(&[("a", b"old"), ("a.previous", b"older")]),
        both_names(),
    ]
}

/// Power went between keeping the old file and naming the new one: both names mean the same file.
fn both_names() -> SimulatedDisk {
    let disk = SimulatedDisk::with(&[("a", b"old")]);
    disk.link(Path::new("a"), Path::new("a.previous")).unwrap();
    disk.sync_folder(Path::new(".")).unwrap();
    disk.copy()
}

#[test]
fn every_fault_is_told_and_the_old_file_stays() {
    let mut faults = 0;
    for before in disks() {
        let (old, older) = (before.read("a"), before.read("a.previous"));
        for (name, write) in [("replace", replace as fn(&SimulatedDisk) -> _), ("keep", keep)] {
            faults += every_fault(&before, write, |place, fault, disk, result| {
                let place = format!("{name}: {place}");
                assert!(disk.has_failed(), "{place}");
                let (now, previous) = (disk.read("a"), disk.read("a.previous"));
                match result {
                    Ok(()) => assert!(now == Some(content(2)), "{place}: is well, and is not"),
                    Err(error) if error.to_string().contains("sync the folder") => {
                        assert!(now == Some(content(2)), "{place}");
                    }
                    Err(error) => {
                        assert_eq!(now, old, "{place}: {error}");
                        // What was kept before, or the old file under its second name.
                        assert!(previous == older || name == "keep" && previous == old, "{place}: {error}");
                        if fault == Fault::Full {
                            assert_eq!(error.kind().name(), "StorageFull", "{place}");
                        }
                    }
                }
                let temporary = disk.names().iter().filter(|name| is_temporary(name)).count();
                // The one step that fails may be the one that removes.
                assert!(temporary <= 1, "{place}: leaves {:?}", disk.names());
            });
        }
    }
    println!("{faults} faults");
    assert!(faults >= 500);
}

#[test]
fn after_a_power_cut_the_newest_or_the_previous_file_is_found() {
    let mut states = 0;
    for before in disks() {
        let (old, older) = (before.read("a"), before.read("a.previous"));
        for (name, write) in [("replace", replace as fn(&SimulatedDisk) -> _), ("keep", keep)] {
            states += every_power_cut(&before, write, |place, remains, finished| {
                let now = remains.read(Path::new("a"));
                let new = now == Some(content(2));
                assert!(new || now == old && !finished, "{name}: {place}: the file is torn or gone");
                let previous = remains.read(Path::new("a.previous"));
                assert!(previous == older || name == "keep" && previous == old, "{name}: {place}: previous");
                assert!(!(finished && name == "keep") || previous == old, "{name}: {place}: not kept");
                assert!(remains.names().filter(|name| is_temporary(name)).count() <= 2, "{name}: {place}");
            });
        }
    }
    println!("{states} states after a power cut");
    assert!(states >= 1000, "{states}");
}

fn is_temporary(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".tmp")
}
