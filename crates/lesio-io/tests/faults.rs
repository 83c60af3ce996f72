//! Every writer with every step failing, and with the power gone after every step.
//!
//! The file system here is a model: names and contents in memory, with what has reached the disk apart
//! from what has not. A writer that is right on it waits for the content before naming it, and for the
//! name before saying that all is well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)] // A test may.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use lesio_image::{Geometry, Image, Volume};
use lesio_io::atomic::{self, Existing, FileSystem};
use lesio_io::{WriteError, WriteOptions, write_png_in};
use ndarray::Array3;

/// What goes wrong at one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Io,
    Full,
    Denied,
    Interrupted,
    /// A write that takes one byte; another step fails.
    Short,
    /// The power goes: nothing happens any more.
    Power,
}

const FAULTS: [Fault; 5] = [Fault::Io, Fault::Full, Fault::Denied, Fault::Interrupted, Fault::Short];

/// One change to the names in a folder, not yet on the disk.
#[derive(Clone, Debug)]
enum Change {
    Name(PathBuf, usize),
    Forget(PathBuf),
    /// A rename is one step: on the disk are both of its halves or neither.
    Rename(PathBuf, PathBuf),
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Contents by number, each with how many of its bytes are on the disk.
    contents: Vec<(Vec<u8>, usize)>,
    names: BTreeMap<PathBuf, usize>,
    /// Names on the disk, and the changes since.
    disk: BTreeMap<PathBuf, usize>,
    changes: Vec<Change>,
    step: usize,
    /// Which step fails, and how.
    plan: Option<(usize, Fault)>,
    faulted: bool,
}

#[derive(Clone, Debug, Default)]
struct Model(Rc<RefCell<State>>);

#[derive(Debug)]
struct ModelFile {
    model: Model,
    number: usize,
}

fn apply(names: &mut BTreeMap<PathBuf, usize>, change: &Change) {
    match change {
        Change::Name(path, number) => drop(names.insert(path.clone(), *number)),
        Change::Forget(path) => drop(names.remove(path)),
        Change::Rename(from, to) => {
            if let Some(number) = names.remove(from) {
                names.insert(to.clone(), number);
            }
        }
    }
}

impl State {
    /// Counts a step; an error where it is the one to fail.
    fn begin(&mut self) -> io::Result<Option<Fault>> {
        let (at, fault) = self.plan.unwrap_or((usize::MAX, Fault::Io));
        self.step += 1;
        if fault == Fault::Power && self.step > at {
            return Err(io::Error::other("no power"));
        }
        if self.step - 1 != at {
            return Ok(None);
        }
        self.faulted = true;
        match fault {
            Fault::Short => Ok(Some(fault)),
            Fault::Full => Err(io::ErrorKind::StorageFull.into()),
            Fault::Denied => Err(io::ErrorKind::PermissionDenied.into()),
            Fault::Interrupted => Err(io::ErrorKind::Interrupted.into()),
            Fault::Io | Fault::Power => Err(io::Error::other("input/output error")),
        }
    }

    /// As [`State::begin`], where a short write has no meaning and is an error.
    fn begin_whole(&mut self) -> io::Result<()> {
        match self.begin()? {
            Some(_) => Err(io::Error::other("input/output error")),
            None => Ok(()),
        }
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, &change);
        self.changes.push(change);
    }

    /// What may be found after the power went: any first part of the changes of names, and of each
    /// content what was synced, or more. `more` picks how much: so many eighths of the rest, or, past
    /// eight, its length without its bytes.
    fn after_power_cut(&self, kept_changes: usize, more: usize) -> BTreeMap<PathBuf, Found> {
        let mut names = self.disk.clone();
        self.changes.iter().take(kept_changes).for_each(|change| apply(&mut names, change));
        let found = |number: usize| {
            let (bytes, synced) = &self.contents[number];
            let length = synced + (bytes.len() - synced) * more.min(8) / 8;
            Found { number, kept: if more > 8 { *synced } else { length }, length }
        };
        names.into_iter().map(|(name, number)| (name, found(number))).collect()
    }

    fn bytes(&self, found: Found) -> Vec<u8> {
        let mut bytes = self.contents[found.number].0[..found.kept].to_vec();
        bytes.resize(found.length, 0);
        bytes
    }
}

/// A file after a power cut: whose content, how much of it, and how long it seems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    number: usize,
    kept: usize,
    length: usize,
}

impl Model {
    /// A model with a file that is safely on the disk.
    fn with(files: &[(&Path, &[u8])]) -> Self {
        let mut state = State::default();
        for (path, bytes) in files {
            state.names.insert(path.to_path_buf(), state.contents.len());
            state.contents.push((bytes.to_vec(), bytes.len()));
        }
        state.disk = state.names.clone();
        Self(Rc::new(RefCell::new(state)))
    }

    fn plan(self, step: usize, fault: Fault) -> Self {
        self.0.borrow_mut().plan = Some((step, fault));
        self
    }

    fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.0.borrow();
        state.names.get(path).map(|&number| state.contents[number].0.clone())
    }

    fn names(&self) -> BTreeSet<PathBuf> {
        self.0.borrow().names.keys().cloned().collect()
    }
}

impl FileSystem for Model {
    type File = ModelFile;

    fn create_new(&self, path: &Path) -> io::Result<ModelFile> {
        let mut state = self.0.borrow_mut();
        state.begin_whole()?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let number = state.contents.len();
        state.contents.push((Vec::new(), 0));
        state.change(Change::Name(path.to_owned(), number));
        Ok(ModelFile { model: self.clone(), number })
    }

    fn sync(&self, file: &mut ModelFile) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.begin_whole()?;
        let content = &mut state.contents[file.number];
        content.1 = content.0.len();
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.begin_whole()?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.begin_whole()?;
        if state.names.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let number = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.change(Change::Name(to.to_owned(), number));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.begin_whole()?;
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Change::Forget(path.to_owned()));
        Ok(())
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.begin_whole()?;
        state.disk = state.names.clone();
        state.changes.clear();
        Ok(())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let mut state = self.0.borrow_mut();
        state.begin_whole()?;
        Ok(state.names.contains_key(path))
    }
}

impl Write for ModelFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.model.0.borrow_mut();
        let count = match state.begin()? {
            Some(_) => bytes.len().min(1),
            None => bytes.len(),
        };
        state.contents[self.number].0.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A writer, and the files that it makes.
struct Writer {
    name: &'static str,
    files: Vec<&'static str>,
    existing: Existing,
    write: Box<dyn Fn(&Model) -> Result<(), WriteError>>,
}

fn writers() -> Vec<Writer> {
    let noise = |(i, j, k): (usize, usize, usize)| (i * 7919 + j * 104_729 + k * 1_299_709) as u32 as i32;
    let large = Volume::new(Array3::from_shape_fn((97, 83, 61), noise), Geometry::default());
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
                write: Box::new(move |model| {
                    WriteOptions::new().existing(existing).write_in(model, name, &volume)
                }),
            });
        }
        let image = image.clone();
        writers.push(Writer {
            name: "a.png",
            files: vec!["a.png"],
            existing,
            write: Box::new(move |model| write_png_in(model, "a.png", &image, existing)),
        });
        writers.push(Writer {
            name: "report.json",
            files: vec!["report.json"],
            existing,
            write: Box::new(move |model| {
                atomic::write_in(model, "report.json", existing, |out| {
                    (0..80).try_for_each(|part| out.write_all(&[part; 30_000]))
                })
            }),
        });
    }
    for (name, files) in [("a.hdr", ["a.hdr", "a.img"]), ("a.img.gz", ["a.hdr.gz", "a.img.gz"])] {
        let volume = if name == "a.hdr" { large.clone() } else { small.clone() };
        writers.push(Writer {
            name,
            files: files.to_vec(),
            existing: Existing::Refuse,
            write: Box::new(move |model| WriteOptions::new().write_in(model, name, &volume)),
        });
    }
    writers
}

/// What the writer makes when nothing fails, and in how many steps.
fn undisturbed(writer: &Writer) -> (BTreeMap<PathBuf, Vec<u8>>, usize) {
    let model = before(writer);
    (writer.write)(&model).unwrap();
    let state = model.0.borrow();
    let files = writer.files.iter().map(|&name| (PathBuf::from(name), model.read(Path::new(name)).unwrap()));
    assert_eq!(state.names.len(), writer.files.len(), "{} leaves other files", writer.name);
    (files.collect(), state.step)
}

/// The file system before a write: with an old file where it is to be replaced.
fn before(writer: &Writer) -> Model {
    match writer.existing {
        Existing::Replace => Model::with(&[(Path::new(writer.name), b"old")]),
        Existing::Refuse => Model::with(&[]),
    }
}

#[test]
fn every_failing_step_is_an_error_and_the_old_file_stays() {
    let (mut injected, mut told) = (0, 0);
    for writer in writers() {
        let (whole, steps) = undisturbed(&writer);
        let old = before(&writer).names();
        for fault in FAULTS {
            for step in 0..steps {
                let model = before(&writer).plan(step, fault);
                let result = (writer.write)(&model);
                assert!(model.0.borrow().faulted, "{} step {step}", writer.name);
                injected += 1;
                let place =
                    format!("{} {:?} {fault:?} at step {step} of {steps}", writer.name, writer.existing);
                let found: BTreeMap<PathBuf, Vec<u8>> = writer
                    .files
                    .iter()
                    .filter_map(|&n| Some((n.into(), model.read(Path::new(n))?)))
                    .collect();
                match result {
                    // Short and interrupted writes are taken up again, a second name may be had by
                    // another way, and a temporary name that stays harms nobody.
                    Ok(()) => assert!(found == whole, "{place}: is well, and is not"),
                    Err(error) => {
                        told += 1;
                        if fault == Fault::Full {
                            assert_eq!(error.kind().name(), "StorageFull", "{place}");
                        }
                        let unchanged = model.names() == old
                            && old.iter().all(|name| model.read(name).unwrap() == b"old");
                        // Only the last step, that the folder reaches the disk, fails with the new file there.
                        let last = error.to_string().contains("sync the folder");
                        assert!(unchanged || last, "{place}: {error}, and leaves {:?}", model.names());
                        assert!(!last || found == whole || found.len() < writer.files.len(), "{place}");
                    }
                }
            }
        }
    }
    println!("{injected} faults, {told} told");
    assert!(injected >= 1000 && told >= 500);
}

#[test]
fn after_a_power_cut_a_name_means_the_old_file_or_the_new_one() {
    let mut states = 0;
    for writer in writers() {
        let (whole, steps) = undisturbed(&writer);
        let check = |model: &Model, finished: bool, place: &str| {
            let state = model.0.borrow();
            let mut seen = BTreeSet::new();
            for kept in 0..=state.changes.len() {
                for more in 0..10 {
                    let disk = state.after_power_cut(kept, more);
                    if !seen.insert(disk.clone()) {
                        continue;
                    }
                    let temporary =
                        disk.keys().filter(|name| name.to_string_lossy().ends_with(".tmp")).count();
                    assert!(temporary <= 1, "{place}: {temporary} temporary files");
                    for &name in &writer.files {
                        match disk.get(Path::new(name)).map(|&found| state.bytes(found)) {
                            None => assert!(
                                writer.existing == Existing::Refuse && !finished,
                                "{place}: {name} is gone"
                            ),
                            Some(bytes) if bytes == whole[Path::new(name)] => {}
                            Some(bytes) => assert!(bytes == b"old" && !finished, "{place}: {name} is torn"),
                        }
                    }
                    // Of a pair the header comes last: whoever finds it finds the voxels.
                    if let [header, voxels] = writer.files[..] {
                        let there = |name: &str| disk.contains_key(Path::new(name));
                        assert!(!there(header) || there(voxels), "{place}: a header without voxels");
                    }
                }
            }
            seen.len()
        };
        for step in 0..steps {
            let model = before(&writer).plan(step, Fault::Power);
            assert!((writer.write)(&model).is_err(), "{} without power at {step}", writer.name);
            states += check(&model, false, &format!("{} {:?} at step {step}", writer.name, writer.existing));
        }
        let model = before(&writer);
        (writer.write)(&model).unwrap();
        states += check(&model, true, writer.name);
    }
    println!("{states} states after a power cut");
    assert!(states >= 2000, "{states}");
}

/// The model tells a careless writer from a careful one, else it would prove nothing.
#[test]
fn a_careless_writer_is_caught() {
    let careless = |model: &Model| -> io::Result<()> {
        let mut file = model.create_new(Path::new("t"))?;
        file.write_all(b"new")?;
        model.rename(Path::new("t"), Path::new("a"))?;
        model.sync_folder(Path::new("."))
    };
    let model = Model::with(&[(Path::new("a"), b"old")]);
    careless(&model).unwrap();
    let state = model.0.borrow();
    let disk = state.after_power_cut(9, 0);
    assert_eq!(state.bytes(disk[Path::new("a")]), b"");
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
