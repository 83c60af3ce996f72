//! A table of cases: a comma-separated file with one row for each case.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use csv::StringRecord;

use super::case::{Case, Mask};
use super::error::{DatasetError, DatasetErrorKind};
use super::listing::Listing;
use super::sheet::{Fault, Sheet, value};
use crate::endings::without_ending;

/// The prefix of a column with the files of one channel, such as `image:flair`.
const CHANNEL: &str = "image:";

pub(super) fn list(root: &Path) -> Result<Listing, DatasetError> {
    let bad = |line, reason| DatasetErrorKind::BadManifest { line, reason };
    let sheet = Sheet::read(root, bad).map_err(|kind| kind.at(root))?;
    let columns = Columns::of(&sheet).map_err(|(line, reason)| bad(line, reason).at(root))?;
    let folder = root.parent().unwrap_or(Path::new(""));
    let mut listing = Listing::default();
    let mut known = Known::default();
    for (line, row) in &sheet.rows {
        let case = columns.case(row, folder);
        let case = case.and_then(|case| known.meet(*line, &case).map(|()| case));
        let case = case.map_err(|reason| bad(*line, reason).at(root))?;
        if let Some(earlier) = known.names.insert(case.id.clone(), *line) {
            let hint = format!(
                "lines {earlier} and {line} of the table name the same case: give each row its own name in a column case"
            );
            let image = case.images.first().map_or(root, PathBuf::as_path);
            return Err(DatasetErrorKind::DuplicateCase { id: case.id.clone() }.at(image).hinted(Some(hint)));
        }
        let lacking = columns.mask.is_some() && case.mask == Mask::Unknown;
        listing.push(case, lacking);
    }
    Ok(listing)
}

/// What earlier rows say about cases, patients and images, with their lines.
#[derive(Default)]
struct Known {
    names: BTreeMap<String, u64>,
    splits: BTreeMap<String, (u64, String)>,
    images: BTreeMap<PathBuf, (u64, String)>,
    /// Where the folders of images really are.
    folders: BTreeMap<PathBuf, PathBuf>,
}

impl Known {
    /// A patient belongs to one split, and an image to one patient: otherwise a model is tested on what it knows, or
    /// confidence intervals count a patient twice. An image is not its own mask.
    fn meet(&mut self, line: u64, case: &Case) -> Result<(), String> {
        let images: Vec<PathBuf> = case.images.iter().map(|image| self.place(image)).collect();
        if let Some(mask) = case.mask.path()
            && images.contains(&self.place(mask))
        {
            return Err(format!("the mask {} is an image of the case itself", mask.display()));
        }
        let patient = case.patient.clone();
        if let Some(split) = &case.split {
            let (earlier, first) = self.splits.entry(patient.clone()).or_insert((line, split.clone()));
            if first != split {
                return Err(format!(
                    "patient {patient} is in split {split:?}, in line {earlier} it is in {first:?}"
                ));
            }
        }
        for (image, place) in case.images.iter().zip(images) {
            let (earlier, first) = self.images.entry(place).or_insert((line, patient.clone()));
            if *first != patient {
                let image = image.display();
                return Err(format!(
                    "{image} is an image of patient {patient}, in line {earlier} it is one of {first}"
                ));
            }
        }
        Ok(())
    }

    /// The file of a path, however the path leads to its folder: by links and by `..`. A link to a file is a file.
    fn place(&mut self, path: &Path) -> PathBuf {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let Some(name) = path.file_name() else { return path.to_owned() };
        if let Some(known) = self.folders.get(folder) {
            return known.join(name);
        }
        let found = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        self.folders.entry(folder.to_owned()).or_insert(found).join(name)
    }
}

/// The columns by their meaning.
struct Columns {
    /// The columns of images, with the names of their channels, if they have any.
    images: Vec<(usize, Option<String>)>,
    mask: Option<usize>,
    case: Option<usize>,
    patient: Option<usize>,
    split: Option<usize>,
    kind: Option<usize>,
    /// All other columns, with their names.
    further: Vec<(usize, String)>,
}

impl Columns {
    fn of(sheet: &Sheet) -> Result<Self, Fault> {
        let names: Vec<&str> = sheet.names().collect();
        for (place, name) in names.iter().enumerate() {
            if name.is_empty() {
                return Err(sheet.bad_header(format!("column {} has no name", place + 1)));
            }
            if names[..place].iter().any(|earlier| earlier.eq_ignore_ascii_case(name)) {
                return Err(sheet.bad_header(format!("there are two columns {name}")));
            }
        }
        let channels = names.iter().enumerate().filter_map(|(place, name)| {
            let start = name.get(..CHANNEL.len())?;
            let channel = name.get(CHANNEL.len()..)?.trim();
            start.eq_ignore_ascii_case(CHANNEL).then(|| (place, Some(channel.to_owned())))
        });
        let mut images: Vec<(usize, Option<String>)> = channels.collect();
        match (sheet.column(&["image", "path"]), images.is_empty()) {
            (Some(place), true) => images.push((place, None)),
            (Some(_), false) => {
                return Err(
                    sheet.bad_header("there are columns image and image:CHANNEL, expected one kind".into())
                );
            }
            (None, true) => return Err(sheet.missing("image, path or image:CHANNEL")),
            (None, false) => {}
        }
        if images.iter().any(|(_, name)| name.as_deref() == Some("")) {
            return Err(sheet.bad_header("a column image: names no channel".into()));
        }
        let mut columns = Self {
            images,
            mask: sheet.column(&["mask"]),
            case: sheet.column(&["case"]),
            patient: sheet.column(&["patient", "subject"]),
            split: sheet.column(&["split"]),
            kind: sheet.column(&["kind"]),
            further: Vec::new(),
        };
        let single = [columns.mask, columns.case, columns.patient, columns.split, columns.kind];
        let known: Vec<usize> =
            columns.images.iter().map(|(place, _)| *place).chain(single.into_iter().flatten()).collect();
        let further = names.iter().enumerate().filter(|(place, _)| !known.contains(place));
        columns.further = further.map(|(place, name)| (place, (*name).to_owned())).collect();
        Ok(columns)
    }

    fn case(&self, row: &StringRecord, folder: &Path) -> Result<Case, String> {
        let cell = |column: Option<usize>| column.and_then(|column| value(row, column));
        let mut images = Vec::with_capacity(self.images.len());
        for (column, channel) in &self.images {
            let of = channel.as_ref().map_or_else(String::new, |channel| format!(" of channel {channel}"));
            images.push(value(row, *column).ok_or_else(|| format!("the image{of} is missing"))?);
        }
        let id = match (cell(self.case), images.first()) {
            (Some(id), _) => {
                if !is_inside(&id) {
                    return Err(format!(
                        "{id:?} cannot be the name of a case: its results have a folder of this name"
                    ));
                }
                id
            }
            (None, Some(image)) => name_of(image).ok_or_else(|| format!("{image:?} names no file"))?,
            (None, None) => return Err("the image is missing".into()),
        };
        let new = Case::new(id);
        Ok(Case {
            patient: cell(self.patient).unwrap_or_else(|| new.id.clone()),
            split: cell(self.split),
            kind: cell(self.kind),
            mask: cell(self.mask).map_or(Mask::Unknown, |mask| Mask::File(folder.join(mask))),
            images: images.iter().map(|image| folder.join(image)).collect(),
            channels: self.images.iter().filter_map(|(_, channel)| channel.clone()).collect(),
            further: self
                .further
                .iter()
                .map(|(column, name)| (name.clone(), value(row, *column).unwrap_or_default()))
                .collect(),
            ..new
        })
    }
}

/// The name of a case whose row has none: the path of its image without the ending, or only the file name if the path
/// leads out of the manifest's folder.
fn name_of(image: &str) -> Option<String> {
    // `find .` prints paths that begin so.
    let image = image.trim_start_matches("./");
    let name = match is_inside(image) {
        true => image.to_owned(),
        false => Path::new(image).file_name()?.to_str()?.to_owned(),
    };
    Some(without_ending(&name).to_owned())
}

/// Whether a path stays inside the folder to which it is relative.
fn is_inside(path: &str) -> bool {
    let mut components = Path::new(path).components().peekable();
    components.peek().is_some() && components.all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{Dataset, DatasetOptions, Layout, MissingMask};
    use super::*;

    fn open(text: &str) -> Result<Dataset, DatasetError> {
        open_with(text, &DatasetOptions::new())
    }

    fn open_with(text: &str, options: &DatasetOptions) -> Result<Dataset, DatasetError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("studies.csv");
        fs::write(&path, text).unwrap();
        Dataset::open_with(&path, &Layout::Manifest, options)
    }

    #[test]
    fn a_path_from_the_present_folder_is_one_without_it() {
        for path in ["p01/flair.png", "./p01/flair.png", "././p01/flair.png"] {
            assert_eq!(name_of(path).as_deref(), Some("p01/flair"), "{path}");
        }
        assert_eq!(name_of("../p01/flair.png").as_deref(), Some("flair"));
    }

    #[test]
    fn a_row_is_a_case() {
        let data = open(
            "Case,image:flair,image:t1c,mask,subject,split,site,age\n\
             b,b/f.nii.gz,b/t.nii.gz,b/m.nii.gz,ben,test,north,\n\
             \n\
             a,/far/f.nii,../t.nii,m.nii,ann,train,\"south, old\",'=4\n",
        )
        .unwrap();
        let [a, b] = data.cases() else { panic!() };
        let folder = data.root().parent().unwrap();
        assert_eq!((a.id(), a.patient(), a.split()), ("a", "ann", Some("train")));
        assert_eq!(a.images(), [PathBuf::from("/far/f.nii"), folder.join("../t.nii")]);
        assert_eq!(b.mask().path(), Some(&*folder.join("b/m.nii.gz")));
        assert_eq!(b.channels, ["flair", "t1c"]);
        let further = |case: &Case| case.further().to_vec();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(further(a), [pair("site", "south, old"), pair("age", "=4")]);
        assert_eq!(further(b), [pair("site", "north"), pair("age", "")]);
    }

    #[test]
    fn cases_are_called_as_their_images() {
        let data = open("path\nx/flair.nii.gz\n/elsewhere/tile.png\n../up.nii\n").unwrap();
        let ids: Vec<&str> = data.cases().iter().map(Case::id).collect();
        assert_eq!(ids, ["tile", "up", "x/flair"]);
        assert!(data.cases().iter().all(|case| *case.mask() == Mask::Unknown && case.channels.is_empty()));
    }

    #[test]
    fn masks_that_are_absent_are_as_the_options_say() {
        let text = "image,mask\na.png,a_mask.png\nb.png,\n";
        assert_eq!(open(text).unwrap_err().kind().name(), "MissingMask");
        let data = open_with(text, &DatasetOptions::new().missing_mask(MissingMask::Normal)).unwrap();
        assert_eq!(*data.cases()[1].mask(), Mask::Normal);
    }

    #[test]
    fn what_cannot_be_is_told_with_its_line() {
        for (text, line, part) in [
            ("", 1, "is empty"),
            ("file,mask\n", 1, "no column image, path or image:CHANNEL"),
            ("image,image:t1\n", 1, "expected one kind"),
            ("image,site,Site\n", 1, "two columns Site"),
            ("image,\n", 1, "column 2 has no name"),
            ("image: ,site\n", 1, "names no channel"),
            ("image:a,image:b\nx.nii,\n", 2, "the image of channel b is missing"),
            ("image,site\n\n,north\n", 3, "the image is missing"),
            ("image,mask,site\nx.nii,x_mask.nii\n", 2, "has 2 values, expected 3"),
            ("image,site\nx.nii,north, west\n", 2, "has 3 values, expected 2"),
            ("image,site\nw.nii,east\nx.nii,\"north\ny.nii,south\nz.nii,west\n", 3, "a quote is opened here"),
            (
                "image,patient,split\nx.nii,p,train\ny.nii,q,test\nz.nii,p,test\n",
                4,
                "in line 2 it is in \"train\"",
            ),
            ("image,case\nx.nii,a\nx.nii,b\n", 3, "is an image of patient b, in line 2 it is one of a"),
            ("image,case\nx.nii,../x\n", 2, "cannot be the name of a case"),
            ("image,mask\nx.nii,x.nii\n", 2, "is an image of the case itself"),
            ("image;mask\nx.nii;y.nii\n", 1, "separated by commas"),
            ("image,case\nx.nii,/x\n", 2, "cannot be the name of a case"),
        ] {
            match open(text).unwrap_err().kind() {
                DatasetErrorKind::BadManifest { line: found, reason } => {
                    assert_eq!(*found, line, "{text:?}: {reason}");
                    assert!(reason.contains(part), "{text:?}: {reason}");
                }
                other => panic!("{text:?}: {other:?}"),
            }
        }
        assert_eq!(open("image\n").unwrap_err().kind().name(), "Empty");
    }

    #[test]
    fn an_image_is_one_image_whatever_leads_to_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        let read = |text: &str| {
            let table = folder.path().join("cases.csv");
            fs::write(&table, text).unwrap();
            list(&table).map(drop)
        };
        let error = read("image,case\na/x.nii,p1\na/b/../x.nii,p2\n").unwrap_err().to_string();
        assert!(error.contains("is an image of patient p2, in line 2 it is one of p1"), "{error}");
        let error = read("image,mask\na/x.nii,a/b/../x.nii\n").unwrap_err().to_string();
        assert!(error.contains("is an image of the case itself"), "{error}");
        // Without the folder, `..` means nothing.
        read("image,case\na/x.nii,p1\na/none/../x.nii,p2\n").unwrap();
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(folder.path().join("a"), folder.path().join("link")).unwrap();
            let error = read("image,case\na/x.nii,p1\nlink/x.nii,p2\n").unwrap_err().to_string();
            assert!(error.contains("is an image of patient p2"), "{error}");
        }
    }

    #[test]
    fn equal_names_of_cases_are_told_with_their_lines() {
        for text in [
            "image\na.nii\n./a.nii.gz\n",
            "image\n/north/p01/flair.nii.gz\n/north/p02/flair.nii.gz\n",
            "image,case\nx.nii,p01\ny.nii,p01\n",
        ] {
            let error = open(text).unwrap_err();
            assert_eq!(error.kind().name(), "DuplicateCase", "{text:?}");
            let hint = error.hint().unwrap();
            assert!(hint.contains("lines 2 and 3") && hint.contains("a column case"), "{text:?}: {hint}");
        }
    }
}
