//! The file name endings of volumes and images.

use std::path::Path;

/// Endings of volumes: NIfTI, in one file or two.
pub const VOLUME_ENDINGS: [&str; 6] = [".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz"];

/// Endings of images.
pub const IMAGE_ENDINGS: [&str; 6] = [".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"];

/// Whether a name is that of a volume, in upper or lower case.
#[must_use]
pub fn is_volume(path: impl AsRef<Path>) -> bool {
    has(path.as_ref(), &VOLUME_ENDINGS)
}

/// Whether a name is that of a volume in one file, in upper or lower case.
pub(crate) fn is_single_volume(name: &str) -> bool {
    [".nii", ".nii.gz"].contains(&ending_of(name).as_str())
}

/// Whether a name is that of an image, in upper or lower case.
#[must_use]
pub fn is_image(path: impl AsRef<Path>) -> bool {
    has(path.as_ref(), &IMAGE_ENDINGS)
}

/// Removes the ending of a volume or an image from a name; other names are returned unchanged.
///
/// ```
/// use lesio_io::without_ending;
///
/// assert_eq!(without_ending("a/T1.v2.NII.gz"), "a/T1.v2");
/// assert_eq!(without_ending("notes.txt"), "notes.txt");
/// ```
#[must_use]
pub fn without_ending(name: &str) -> &str {
    volume_stem(name).or_else(|| image_stem(name)).unwrap_or(name)
}

/// The name of a volume without its ending.
pub(crate) fn volume_stem(name: &str) -> Option<&str> {
    stem(name, &VOLUME_ENDINGS)
}

/// The name of an image without its ending.
pub(crate) fn image_stem(name: &str) -> Option<&str> {
    stem(name, &IMAGE_ENDINGS)
}

/// The ending of any name in lower case: `.gz` together with the ending before it; empty if there is none.
pub(crate) fn ending_of(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let (stem, gz) = lower.strip_suffix(".gz").map_or((lower.as_str(), ""), |stem| (stem, ".gz"));
    let ending = Path::new(stem).extension().and_then(|ending| ending.to_str());
    ending.map_or_else(|| gz.to_owned(), |ending| format!(".{ending}{gz}"))
}

fn has(path: &Path, endings: &[&str]) -> bool {
    // Endings are ASCII: a name may have one even if other parts of it are not UTF-8.
    path.file_name().is_some_and(|name| stem(&name.to_string_lossy(), endings).is_some())
}

fn stem<'a>(name: &'a str, endings: &[&str]) -> Option<&'a str> {
    let lower = name.to_ascii_lowercase();
    let ending =
        endings.iter().filter(|&&ending| lower.ends_with(ending)).max_by_key(|ending| ending.len())?;
    // Converting ASCII letters to lower case keeps all lengths, so the cut is between characters.
    name.get(..name.len() - ending.len()).filter(|stem| !stem.is_empty() && !stem.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_count_in_any_case_and_the_longest_is_taken() {
        assert_eq!(volume_stem("a.nii.GZ"), Some("a"));
        assert_eq!(volume_stem("a.b.Img"), Some("a.b"));
        assert_eq!(
            (volume_stem(".nii"), volume_stem("x/.nii"), volume_stem("a.nii.bz2")),
            (None, None, None)
        );
        assert_eq!(image_stem("é.JPEG"), Some("é"));
        assert!(is_volume("a/b.hdr.gz") && !is_volume("a.nii/b") && is_image("A.TIF"));
        let endings = ["a.NII.gz", "a.tar.gz", "x.gz", "scan", "a.mha", ".hidden"].map(ending_of);
        assert_eq!(endings, [".nii.gz", ".tar.gz", ".gz", "", ".mha", ""]);
    }
}
