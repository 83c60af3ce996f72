//! A disk in memory that can fail at any step and loses unsynced data.
//!
//! The disk separates what processes see from what has been synced. A writer that is correct on it syncs the content
//! before it renames the file, and syncs the folder before it reports success.
//!
//! ```
//! use std::path::Path;
//!
//! use lesio_files::simulation::{SimulatedDisk, every_power_cut};
//! use lesio_files::{Existing, write_in};
//!
//! let before = SimulatedDisk::with(&[("a", b"old")]);
//! let write = |disk: &SimulatedDisk| write_in(disk, "a", Existing::Replace, |out| out.write_all(b"new"));
//! let states = every_power_cut(&before, write, |place, remains, finished| {
//!     let found = remains.read(Path::new("a"));
//!     let whole = found.as_deref() == Some(b"new") || !finished && found.as_deref() == Some(b"old");
//!     assert!(whole, "{place}: {found:?}");
//! });
//! assert!(states > 10);
//! ```

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::system::FileSystem;

/// The fault at one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// An input or output error.
    Io,
    /// The disk is full.
    Full,
    /// Permission is denied.
    Denied,
    /// A signal interrupts the step, which can be repeated.
    Interrupted,
    /// A write takes one byte; another step fails.
    Short,
    /// A power cut: no later step has any effect.
    Power,
}

impl Fault {
    /// Every fault after which the process continues.
    pub const SURVIVED: [Self; 5] = [Self::Io, Self::Full, Self::Denied, Self::Interrupted, Self::Short];
}

/// One change to the names in a folder, not yet on the disk.
#[derive(Clone, Debug)]
enum Change {
    Name(PathBuf, usize),
    Forget(PathBuf),
    /// A rename is one step: either both of its halves are on the disk or neither is.
    Rename(PathBuf, PathBuf),
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Contents by number, each with the number of its synced bytes.
    contents: Vec<(Vec<u8>, usize)>,
    names: BTreeMap<PathBuf, usize>,
    /// Names on the disk, and the changes since.
    disk: BTreeMap<PathBuf, usize>,
    changes: Vec<Change>,
    step: usize,
    /// The step that fails, and its fault.
    plan: Option<(usize, Fault)>,
    faulted: bool,
}

/// A simulated disk; clones share the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimulatedDisk(Rc<RefCell<State>>);

/// An open file of a [`SimulatedDisk`].
#[derive(Debug)]
pub struct SimulatedFile {
    disk: SimulatedDisk,
    number: usize,
}

/// The content of a disk after a power cut.
#[derive(Debug)]
pub struct Remains<'a> {
    state: &'a State,
    files: BTreeMap<PathBuf, Found>,
}

/// A file after a power cut: its content, how much of it is intact, and its apparent length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    number: usize,
    kept: usize,
    length: usize,
}

impl Remains<'_> {
    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    /// The content of a file, if it exists; unsynced parts are zero or missing.
    #[must_use]
    pub fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let found = self.files.get(path)?;
        let (content, _) = self.state.contents.get(found.number)?;
        let mut bytes = content.get(..found.kept)?.to_vec();
        bytes.resize(found.length, 0);
        Some(bytes)
    }
}

impl SimulatedDisk {
    /// A disk with synced files.
    #[must_use]
    pub fn with(files: &[(&str, &[u8])]) -> Self {
        let mut state = State::default();
        for (path, bytes) in files {
            state.names.insert(PathBuf::from(path), state.contents.len());
            state.contents.push((bytes.to_vec(), bytes.len()));
        }
        state.disk = state.names.clone();
        Self(Rc::new(RefCell::new(state)))
    }

    /// A copy of the disk on which the given step, from 0, fails.
    #[must_use]
    pub fn failing(&self, step: usize, fault: Fault) -> Self {
        let copy = self.copy();
        copy.0.borrow_mut().plan = Some((step, fault));
        copy
    }

    /// A copy of the disk with a step count of 0.
    #[must_use]
    pub fn copy(&self) -> Self {
        let mut state = self.0.borrow().clone();
        (state.step, state.plan, state.faulted) = (0, None, false);
        Self(Rc::new(RefCell::new(state)))
    }

    /// Number of steps so far.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.0.borrow().step
    }

    /// Whether the planned fault has happened.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.0.borrow().faulted
    }

    /// The content of a file as a process reads it, if it exists.
    #[must_use]
    pub fn read(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        let state = self.0.borrow();
        let number = *state.names.get(path.as_ref())?;
        state.contents.get(number).map(|(bytes, _)| bytes.clone())
    }

    /// The names as a process sees them.
    #[must_use]
    pub fn names(&self) -> BTreeSet<PathBuf> {
        self.0.borrow().names.keys().cloned().collect()
    }

    /// Calls `check` once with each possible state after a power cut now, and returns their number. The states combine
    /// any prefix of the name changes with, for each content, its synced part, more of it, or its full length without
    /// its bytes.
    pub fn after_power_cut(&self, mut check: impl FnMut(&Remains<'_>)) -> usize {
        let state = self.0.borrow();
        let mut seen = BTreeSet::new();
        for kept in 0..=state.changes.len() {
            let mut names = state.disk.clone();
            state.changes.iter().take(kept).for_each(|change| apply(&mut names, change));
            // This many eighths of the unsynced part; above eight, its full length without its bytes.
            for more in 0..10 {
                let found = |&number: &usize| {
                    let (length, synced) = state.contents.get(number).map_or((0, 0), |c| (c.0.len(), c.1));
                    let length = synced + (length - synced) * more.min(8) / 8;
                    Found { number, kept: if more > 8 { synced } else { length }, length }
                };
                let files: BTreeMap<_, _> = names.iter().map(|(name, n)| (name.clone(), found(n))).collect();
                if seen.insert(files.clone()) {
                    check(&Remains { state: &state, files });
                }
            }
        }
        seen.len()
    }
}

/// Runs `write` once for every fault at every step that it takes on `before`, calls `check` with the place, the fault,
/// the disk and the result of each, and returns the number of faults.
pub fn every_fault<E>(
    before: &SimulatedDisk,
    write: impl Fn(&SimulatedDisk) -> Result<(), E>,
    mut check: impl FnMut(&str, Fault, &SimulatedDisk, Result<(), E>),
) -> usize {
    let steps = steps_of(before, &write);
    for fault in Fault::SURVIVED {
        for step in 0..steps {
            let disk = before.failing(step, fault);
            let result = write(&disk);
            check(&format!("{fault:?} at step {step} of {steps}"), fault, &disk, result);
        }
    }
    steps * Fault::SURVIVED.len()
}

/// Cuts the power at every step that `write` takes on `before` and after the last, calls `check` with the place, every
/// possible state and whether `write` had succeeded, and returns the number of states.
pub fn every_power_cut<E>(
    before: &SimulatedDisk,
    write: impl Fn(&SimulatedDisk) -> Result<(), E>,
    mut check: impl FnMut(&str, &Remains<'_>, bool),
) -> usize {
    let steps = steps_of(before, &write);
    let mut states = 0;
    for step in 0..=steps {
        let disk = before.failing(step, Fault::Power);
        let finished = write(&disk).is_ok();
        let place = format!("no power from step {step} of {steps}");
        states += disk.after_power_cut(|remains| check(&place, remains, finished));
    }
    states
}

fn steps_of<E>(before: &SimulatedDisk, write: &impl Fn(&SimulatedDisk) -> Result<(), E>) -> usize {
    let disk = before.copy();
    // A writer that fails for another reason takes steps, too.
    let _ = write(&disk);
    disk.steps()
}

fn apply(names: &mut BTreeMap<PathBuf, usize>, change: &Change) {
    match change {
        Change::Name(path, number) => drop(names.insert(path.clone(), *number)),
        Change::Forget(path) => drop(names.remove(path)),
        // POSIX: between two names of one file nothing happens.
        Change::Rename(from, to) if names.get(from) == names.get(to) => {}
        Change::Rename(from, to) => {
            if let Some(number) = names.remove(from) {
                names.insert(to.clone(), number);
            }
        }
    }
}

impl State {
    /// Counts a step; returns an error if it is the one that fails.
    fn begin(&mut self) -> io::Result<Option<Fault>> {
        let (at, fault) = self.plan.unwrap_or((usize::MAX, Fault::Io));
        self.step += 1;
        if fault == Fault::Power && self.step > at {
            self.faulted = true;
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

    /// Like [`State::begin`], but a short write, which has no meaning here, is an error.
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
}

impl FileSystem for SimulatedDisk {
    type File = SimulatedFile;

    fn create_new(&self, path: &Path) -> io::Result<SimulatedFile> {
        let mut state = self.0.borrow_mut();
        state.begin_whole()?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let number = state.contents.len();
        state.contents.push((Vec::new(), 0));
        state.change(Change::Name(path.to_owned(), number));
        Ok(SimulatedFile { disk: self.clone(), number })
    }

    fn sync(&self, file: &mut SimulatedFile) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.begin_whole()?;
        if let Some((bytes, synced)) = state.contents.get_mut(file.number) {
            *synced = bytes.len();
        }
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
        let number = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        if state.names.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
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

impl Write for SimulatedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.0.borrow_mut();
        let count = match state.begin()? {
            Some(_) => bytes.len().min(1),
            None => bytes.len(),
        };
        if let Some((content, _)) = state.contents.get_mut(self.number) {
            content.extend(bytes.iter().take(count));
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The disk tells a careless writer from a careful one, else it would prove nothing.
    #[test]
    fn a_careless_writer_is_caught() {
        let careless = |disk: &SimulatedDisk| -> io::Result<()> {
            let mut file = disk.create_new(Path::new("t"))?;
            file.write_all(b"new")?;
            disk.rename(Path::new("t"), Path::new("a"))?;
            disk.sync_folder(Path::new("."))
        };
        let mut torn = false;
        every_power_cut(&SimulatedDisk::with(&[("a", b"old")]), careless, |_, remains, finished| {
            torn |= finished && remains.read(Path::new("a")).as_deref() == Some(b"");
        });
        assert!(torn);

        // One that does not wait for the name may lose a file that it said was there.
        let hasty = |disk: &SimulatedDisk| -> io::Result<()> {
            let mut file = disk.create_new(Path::new("a"))?;
            file.write_all(b"new")?;
            disk.sync(&mut file)
        };
        let mut lost = false;
        every_power_cut(&SimulatedDisk::default(), hasty, |_, remains, finished| {
            lost |= finished && remains.names().count() == 0;
        });
        assert!(lost);
    }
}
