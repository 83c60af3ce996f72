//! The EXIF orientation: how a picture is rotated for display.

use super::directory::Directory;

/// The tag of the orientation, in a TIFF file as in EXIF.
pub(super) const ORIENTATION: u16 = 274;

/// How the orientation that a camera or a scanner stored in a file is treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ExifOrientation {
    /// The picture is rotated: rows and columns are those that viewers show.
    #[default]
    Apply,
    /// The orientation is ignored: rows and columns are those of the file.
    Ignore,
}

/// One of the eight orientations, by its number in EXIF and TIFF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ExifTurn(u8);

impl ExifTurn {
    /// As stored.
    pub(super) const STORED: Self = Self(1);

    /// The orientation of this number, if there is one.
    pub(super) fn new(number: u64) -> Option<Self> {
        u8::try_from(number).ok().filter(|number| (1..=8).contains(number)).map(Self)
    }

    /// The orientation in an EXIF block, which is a TIFF file without pixels.
    ///
    /// A damaged or empty block means no rotation, since it does not affect the pixels.
    pub(super) fn of_exif(block: &[u8]) -> Self {
        Directory::parse(block)
            .ok()
            .and_then(|directory| directory.number(ORIENTATION).ok().flatten())
            .and_then(Self::new)
            .unwrap_or(Self::STORED)
    }

    pub(super) fn number(self) -> u8 {
        self.0
    }

    /// Whether rows become columns.
    fn transposes(self) -> bool {
        self.0 >= 5
    }

    /// The displayed size `[rows, columns]` for a stored size.
    pub(super) fn shown(self, [rows, columns]: [usize; 2]) -> [usize; 2] {
        if self.transposes() { [columns, rows] } else { [rows, columns] }
    }

    /// The displayed position of a stored pixel.
    pub(super) fn place(self, [row, column]: [usize; 2], [rows, columns]: [usize; 2]) -> [usize; 2] {
        // Both are below the sizes, so nothing wraps for a pixel of the image.
        let (up, left) = (rows.wrapping_sub(row + 1), columns.wrapping_sub(column + 1));
        match self.0 {
            2 => [row, left],
            3 => [up, left],
            4 => [up, column],
            5 => [column, row],
            6 => [column, up],
            7 => [left, up],
            8 => [left, row],
            _ => [row, column],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_orientation_shows_every_pixel_once() {
        let size = [3, 5];
        for number in 1..=8 {
            let orientation = ExifTurn::new(number).unwrap();
            let [rows, columns] = orientation.shown(size);
            let mut seen = vec![0; rows * columns];
            for row in 0..size[0] {
                for column in 0..size[1] {
                    let [row, column] = orientation.place([row, column], size);
                    assert!(row < rows && column < columns, "{number}");
                    seen[row * columns + column] += 1;
                }
            }
            assert!(seen.iter().all(|&count| count == 1), "{number}");
        }
        assert_eq!(ExifTurn::new(0), None);
        assert_eq!(ExifTurn::new(9), None);
        assert_eq!(ExifTurn::of_exif(b"no block"), ExifTurn::STORED);
    }
}
