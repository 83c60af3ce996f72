//! Pictures side by side: a row for each case, a column for each view of it.

use crate::color::Rgb;
use crate::font;
use crate::heat_map::HeatMap;
use crate::number::compact;
use crate::picture::{Picture, PictureError};

/// Rows of pictures under named columns, such as image, reconstruction, a map for each predictor, and truth.
///
/// [`Montage::to_picture`] draws it with its labels as one picture, for a file;
/// [`HtmlReport::montage`](crate::HtmlReport::montage) shows it with real text. Pictures may differ
/// in size.
///
/// ```
/// use lesio_report::{HeatMap, Montage, Picture, Rgb, Scale};
///
/// let tile = Picture::filled(64, 64, Rgb([40, 40, 40]))?;
/// let montage = Montage::new(["image", "pixel-l1"])
///     .color_bar(HeatMap::new(Scale::new(0.0, 3.0)?).label("score"))
///     .row("patient 7, slice 31", [tile.clone(), tile])?;
/// assert!(montage.to_picture()?.width() > 128);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Montage {
    columns: Vec<String>,
    rows: Vec<(String, Vec<Picture>)>,
    color_bar: Option<HeatMap>,
}

/// Pixels between pictures, and around the whole.
const GAP: usize = 6;
const INK: Rgb = Rgb([29, 36, 48]);
const PAPER: Rgb = Rgb([255, 255, 255]);

impl Montage {
    /// A montage with named columns and no rows.
    #[must_use]
    pub fn new<S: Into<String>>(columns: impl IntoIterator<Item = S>) -> Self {
        let columns = columns.into_iter().map(Into::into).collect();
        Self { columns, rows: Vec::new(), color_bar: None }
    }

    /// Adds a row: a picture for every column.
    ///
    /// # Errors
    /// [`PictureError::Columns`] for another number of pictures.
    pub fn row(
        mut self,
        label: impl Into<String>,
        pictures: impl IntoIterator<Item = Picture>,
    ) -> Result<Self, PictureError> {
        let (label, pictures) = (label.into(), pictures.into_iter().collect::<Vec<_>>());
        if pictures.len() != self.columns.len() {
            return Err(PictureError::Columns {
                row: label,
                expected: self.columns.len(),
                found: pictures.len(),
            });
        }
        self.rows.push((label, pictures));
        Ok(self)
    }

    /// Adds a color bar with numbers below the pictures.
    #[must_use]
    pub fn color_bar(mut self, heat_map: HeatMap) -> Self {
        self.color_bar = Some(heat_map);
        self
    }

    /// Number of values in all pictures that were NaN or infinite.
    #[must_use]
    pub fn not_finite(&self) -> usize {
        self.rows.iter().flat_map(|(_, pictures)| pictures).map(Picture::not_finite).sum()
    }

    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    pub(crate) fn rows(&self) -> &[(String, Vec<Picture>)] {
        &self.rows
    }

    pub(crate) fn heat_map(&self) -> Option<&HeatMap> {
        self.color_bar.as_ref()
    }

    /// The montage as one picture on white: names of the columns, above each row its label, the
    /// color bar, and a line that counts marked pixels if there are any.
    ///
    /// # Errors
    /// [`PictureError::Empty`] without columns or rows; [`PictureError::TooLarge`] past the limit.
    pub fn to_picture(&self) -> Result<Picture, PictureError> {
        if self.columns.is_empty() || self.rows.is_empty() {
            return Err(PictureError::Empty { height: self.rows.len(), width: self.columns.len() });
        }
        // Larger pictures are viewed from farther away, so their text is larger.
        let largest = self.rows.iter().flat_map(|(_, pictures)| pictures).map(Picture::width).max();
        let size = if largest > Some(256) { 2 } else { 1 };
        let line = font::LINE_HEIGHT * size;
        // A column is as wide as its widest picture, and wide enough for most of its name.
        let widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(column, name)| {
                let name_width = size * font::text_width(name).min(15 * font::ADVANCE);
                let pictures = self.rows.iter().map(|(_, pictures)| pictures[column].width());
                pictures.max().unwrap_or(0).max(name_width)
            })
            .collect();
        let heights: Vec<usize> = self
            .rows
            .iter()
            .map(|(_, pictures)| pictures.iter().map(Picture::height).max().unwrap_or(0))
            .collect();
        let not_finite = self.not_finite();

        let width = widths.iter().fold(GAP, |sum, width| sum.saturating_add(width + GAP));
        let below = self.color_bar.as_ref().map_or(0, |_| 3 * line + GAP)
            + if not_finite > 0 { line + GAP } else { 0 };
        let height = heights
            .iter()
            .fold(2 * GAP + line + below, |sum, height| sum.saturating_add(height + line + GAP));
        let mut picture = Picture::filled(height, width, PAPER)?;
        let write = |picture: &mut Picture, text: &str, row: usize, column: usize, room: usize| {
            picture.write_text(&font::fitted(text, room / size), [row, column], size, INK);
        };

        let mut column_start = GAP;
        for (name, &width) in self.columns.iter().zip(&widths) {
            write(&mut picture, name, GAP, column_start, width);
            column_start += width + GAP;
        }
        let mut row_start = 2 * GAP + line;
        for ((label, pictures), height) in self.rows.iter().zip(heights) {
            write(&mut picture, label, row_start, GAP, width - 2 * GAP);
            row_start += line;
            let mut column_start = GAP;
            for (tile, &width) in pictures.iter().zip(&widths) {
                let centered =
                    [row_start + (height - tile.height()) / 2, column_start + (width - tile.width()) / 2];
                picture.paste(tile, centered);
                column_start += width + GAP;
            }
            row_start += height + GAP;
        }
        if let Some(heat_map) = &self.color_bar {
            draw_color_bar(&mut picture, heat_map, row_start, size);
            row_start += 3 * line + GAP;
        }
        if not_finite > 0 {
            picture.fill([row_start, GAP], [7 * size, 7 * size], Rgb::NOT_FINITE);
            let text = format!("not finite: {not_finite}");
            write(&mut picture, &text, row_start, GAP + 10 * size, width.saturating_sub(2 * GAP + 10 * size));
        }
        Ok(picture)
    }
}

/// Label, bar, and the numbers at its ends and middle; three lines high.
fn draw_color_bar(picture: &mut Picture, heat_map: &HeatMap, row: usize, size: usize) {
    let line = font::LINE_HEIGHT * size;
    let room = picture.width().saturating_sub(2 * GAP);
    picture.write_text(&font::fitted(&heat_map.label, room / size), [row, GAP], size, INK);
    let width = room.clamp(1, 256 * size);
    for x in 0..width {
        let position = x as f64 / (width - 1).max(1) as f64;
        picture.fill([row + line, GAP + x], [line - size, 1], heat_map.color_map.color(position));
    }
    let (low, high) = (heat_map.scale.low(), heat_map.scale.high());
    let texts = [low, low + (high - low) / 2.0, high].map(compact);
    let needed: usize = texts.iter().map(|text| size * (font::text_width(text) + font::ADVANCE)).sum();
    for (i, text) in texts.iter().enumerate() {
        let extent = size * font::text_width(text);
        let column = match i {
            0 => 0,
            1 => (width.saturating_sub(extent)) / 2,
            _ => width.saturating_sub(extent),
        };
        // On a narrow bar, the middle number is omitted.
        if i != 1 || needed <= width {
            picture.write_text(text, [row + 2 * line, GAP + column], size, INK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::ColorMap;
    use crate::scale::Scale;

    fn tile(height: usize, width: usize, gray: u8) -> Picture {
        Picture::filled(height, width, Rgb([gray; 3])).unwrap()
    }

    #[test]
    fn tiles_lie_where_they_should() {
        let montage = Montage::new(["a", "b"])
            .row("first", [tile(20, 30, 10), tile(10, 10, 20)])
            .unwrap()
            .row("second", [tile(5, 5, 30), tile(5, 40, 40)])
            .unwrap();
        let picture = montage.to_picture().unwrap();
        assert_eq!(picture.width(), 3 * GAP + 30 + 40);
        assert_eq!(picture.height(), 2 * GAP + 11 + 20 + 11 + GAP + 5 + 11 + GAP);
        let first = 2 * GAP + 2 * 11;
        assert_eq!(picture.pixel(first, GAP), Some(Rgb([10; 3])));
        // The small tile is centered in its cell of 20 x 40.
        assert_eq!(picture.pixel(first + 5, 2 * GAP + 30 + 15), Some(Rgb([20; 3])));
        assert_eq!(picture.pixel(first + 4, 2 * GAP + 30 + 15), Some(PAPER));
        assert_eq!(picture.pixel(first + 20 + GAP + 11, 2 * GAP + 30), Some(Rgb([40; 3])));
    }

    #[test]
    fn color_bar_shows_the_whole_map() {
        let heat_map = HeatMap::new(Scale::new(0.0, 2.0).unwrap());
        let montage = Montage::new(["a"]).color_bar(heat_map).row("", [tile(8, 256, 0)]).unwrap();
        let picture = montage.to_picture().unwrap();
        let bar = 2 * GAP + 2 * 11 + 8 + GAP + 11;
        assert_eq!(picture.pixel(bar, GAP), Some(ColorMap::Heat.color(0.0)));
        assert_eq!(picture.pixel(bar, GAP + 255), Some(ColorMap::Heat.color(1.0)));
        assert_eq!(picture.pixel(bar, GAP + 256), Some(PAPER));
    }

    #[test]
    fn marked_pixels_are_counted_below() {
        let scale = Scale::new(0.0, 1.0).unwrap();
        let broken = Picture::gray(ndarray::array![[f32::NAN, 0.5]].view(), scale).unwrap();
        let montage = Montage::new(["a"]).row("r", [broken]).unwrap();
        assert_eq!(montage.not_finite(), 1);
        let picture = montage.to_picture().unwrap();
        assert_eq!(picture.pixel(picture.height() - GAP - 11, GAP), Some(Rgb::NOT_FINITE));
    }

    #[test]
    fn rows_must_fit() {
        let error = Montage::new(["a", "b"]).row("r", [tile(1, 1, 0)]).unwrap_err();
        assert!(matches!(error, PictureError::Columns { expected: 2, found: 1, .. }));
        assert!(matches!(Montage::new(["a"]).to_picture(), Err(PictureError::Empty { .. })));
    }
}
