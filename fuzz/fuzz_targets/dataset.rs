//! Any text as a folder: a line is a file, a folder (ends in `/`), or a link (`name>target`); what
//! follows an empty line is `splits.csv`.
#![no_main]

use std::fs;
use std::path::{Component, Path};

use lesio_io::ReadOptions;
use lesio_io::dataset::{Dataset, Layout};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let (names, splits) = text.split_once("\n\n").unwrap_or((&text, ""));
    let root = tempfile::tempdir().expect("a temporary folder");
    for line in names.lines().take(64) {
        make(root.path(), line);
    }
    if !splits.is_empty() {
        let _ = fs::write(root.path().join("splits.csv"), splits);
    }
    let (cases, options) = (Layout::cases("flair.nii.gz", Some("mask.nii.gz")), ReadOptions::new());
    for layout in [cases, Layout::MvTec, Layout::Acdc, Layout::Msd, Layout::Images] {
        let Ok(data) = Dataset::open(root.path(), &layout) else { continue };
        assert!(!data.cases().is_empty());
        assert!(data.cases().is_sorted_by(|a, b| a.id() < b.id()));
        for split in data.splits() {
            assert!(!data.select(split).expect("a known split").cases().is_empty());
        }
        for case in data.cases() {
            assert!(!case.images().is_empty());
            let _ = (case.read_volume(&options), case.read_image(&options));
            let _ = (case.read_channels(&options), case.read_scan(&options));
        }
    }
});

/// Makes what a line says, below the folder and nowhere else.
fn make(root: &Path, line: &str) {
    let (name, target) = line.split_once('>').map_or((line, None), |(name, target)| (name, Some(target)));
    let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || !inside || name.contains('\0') {
        return;
    }
    let path = root.join(name);
    if let Some(parent) = path.parent() {
        let _ = fs::create_dir_all(parent);
    }
    match target {
        // Links stay inside: what they lead to would else depend on the machine.
        Some(target) if !target.starts_with('/') && !target.contains("..") => {
            #[cfg(unix)]
            let _ = std::os::unix::fs::symlink(target, path);
        }
        Some(_) => {}
        None if name.ends_with('/') => drop(fs::create_dir_all(path)),
        None => drop(fs::write(path, b"content")),
    }
}
