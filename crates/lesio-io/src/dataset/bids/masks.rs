//! Masks of BIDS images: files of derivatives.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::super::case::{Case, Mask};
use super::super::error::{DatasetError, DatasetErrorKind};
use super::super::folder::{folders, is_there};
use super::super::passed_over::PassedOver;
use super::found::{Found, files_of};
use super::name::{Name, Pattern};

pub(super) const DERIVATIVES: &str = "derivatives";

/// The masks to search for, and the places to search.
pub(super) struct Masks {
    pattern: Pattern,
    /// Data sets in which each subject may have masks.
    roots: Vec<PathBuf>,
}

impl Masks {
    /// The masks of one derivative, or of all derivatives and the data set itself.
    pub(super) fn new(root: &Path, pattern: Pattern, derivative: Option<&str>) -> Result<Self, DatasetError> {
        let all = root.join(DERIVATIVES);
        let roots = match derivative {
            None => {
                let own =
                    if is_there(&all) { folders(&all, &mut PassedOver::default())? } else { Vec::new() };
                own.into_iter().map(|folder| folder.path).chain([root.to_owned()]).collect()
            }
            Some(name) => {
                let path = all.join(name);
                let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
                if name.is_empty() || !inside || !path.is_dir() {
                    let known =
                        if is_there(&all) { folders(&all, &mut PassedOver::default())? } else { Vec::new() };
                    let names: Vec<&str> = known.iter().map(|folder| folder.name.as_str()).collect();
                    let hint = match names.is_empty() {
                        true => "the data set has no derivatives".to_owned(),
                        false => format!("the derivatives are {}", names.join(", ")),
                    };
                    return Err(DatasetErrorKind::NotFound.at(&path).hinted(Some(hint)));
                }
                vec![path]
            }
        };
        Ok(Self { pattern, roots })
    }

    /// Assigns masks that are not ignored to the cases of a session, and returns those that are of none. `below` is the
    /// path from a data set to the session.
    pub(super) fn assign(
        &self,
        below: &Path,
        cases: &mut [(Case, Vec<Name>)],
        mut is_ignored: impl FnMut(&Path) -> bool,
    ) -> Result<Vec<PathBuf>, DatasetError> {
        let mut candidates: Vec<Found> = Vec::new();
        for root in &self.roots {
            let folder = root.join(below);
            if folder.is_dir() {
                let found = files_of(&folder, std::slice::from_ref(&self.pattern))?;
                candidates.extend(found.into_iter().filter(|mask| !is_ignored(&mask.path)));
            }
        }
        let mut taken: BTreeMap<&Path, String> = BTreeMap::new();
        for (case, images) in cases {
            let distance = |mask: &Found| {
                let distances = images.iter().filter_map(|image| mask.name.distance_to(image, &self.pattern));
                distances.min()
            };
            let mut fitting: Vec<(usize, &Found)> =
                candidates.iter().filter_map(|mask| Some((distance(mask)?, mask))).collect();
            fitting.sort_by_key(|(distance, _)| *distance);
            let Some((least, mask)) = fitting.first() else { continue };
            if let Some((_, other)) = fitting.get(1).filter(|(distance, _)| distance == least) {
                let id = case.id().to_owned();
                let hint = format!(
                    "the other is {}; a longer pattern or a derivative chooses",
                    other.path.display()
                );
                return Err(DatasetErrorKind::AmbiguousMask { id }.at(&mask.path).hinted(Some(hint)));
            }
            if let Some(other) = taken.insert(&mask.path, case.id().to_owned()) {
                let reason = format!("it may be the mask of {other} and of {}", case.id());
                return Err(DatasetErrorKind::Misnamed { reason }.at(&mask.path));
            }
            case.mask = Mask::File(mask.path.clone());
        }
        let stray = candidates.iter().filter(|mask| !taken.contains_key(&*mask.path));
        Ok(stray.map(|mask| mask.path.clone()).collect())
    }
}
