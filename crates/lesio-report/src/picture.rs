//! Renders images and score maps as pictures.

mod resized;

use std::path::Path;

use lesio_image::Image;
use ndarray::ArrayView2;
use png::ColorType;

use crate::color::{ColorMap, Rgb};
use crate::encoding::encode_png;
use crate::file::{Existing, WriteError, WriteErrorKind, write_file};
use crate::font;
use crate::heat_map::HeatMap;
use crate::scale::Scale;

/// A picture of eight-bit colors, made from values by an explicit [`Scale`].
///
/// Values that are NaN or infinite are always visible: their pixels have the color
/// [`Rgb::NOT_FINITE`], and [`Picture::not_finite`] counts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    height: usize,
    width: usize,
    /// Row by row; `height * width` of them.
    pixels: Vec<Rgb>,
    not_finite: usize,
}

/// Why a picture could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PictureError {
    /// A side has no pixels.
    #[error("picture of {height} x {width} pixels, expected at least one")]
    Empty {
        /// Number of rows.
        height: usize,
        /// Number of columns.
        width: usize,
    },
    /// More pixels than [`Picture::MAX_PIXELS`].
    #[error("picture of {height} x {width} pixels, at most {} in all are drawn", Picture::MAX_PIXELS)]
    TooLarge {
        /// Number of rows.
        height: usize,
        /// Number of columns.
        width: usize,
    },
    /// An overlay has another size than the picture.
    #[error("{what} of {found_height} x {found_width} pixels on a picture of {height} x {width}")]
    Size {
        /// The kind of overlay.
        what: &'static str,
        /// Rows of the picture.
        height: usize,
        /// Columns of the picture.
        width: usize,
        /// Rows of the overlay.
        found_height: usize,
        /// Columns of the overlay.
        found_width: usize,
    },
    /// An image has neither one channel (gray) nor three (red, green, blue).
    #[error("image of {found} channels, expected 1 (gray) or 3 (red, green, blue)")]
    Channels {
        /// Number of channels found.
        found: usize,
    },
    /// A montage row has another number of pictures than the montage has columns.
    #[error("row {row:?} of the montage has {found} pictures, expected {expected}")]
    Columns {
        /// Label of the row.
        row: String,
        /// Number of columns of the montage.
        expected: usize,
        /// Number of pictures given.
        found: usize,
    },
    /// The PNG encoder failed.
    #[error("could not encode the picture as PNG")]
    Encode {
        /// The error of the encoder.
        source: png::EncodingError,
    },
}

impl Picture {
    /// Largest number of pixels of a picture: 2^28, which take 805 MB.
    pub const MAX_PIXELS: usize = 1 << 28;

    /// A picture of one color.
    ///
    /// # Errors
    /// For an empty side and more than [`Picture::MAX_PIXELS`].
    pub fn filled(height: usize, width: usize, color: Rgb) -> Result<Self, PictureError> {
        if height == 0 || width == 0 {
            return Err(PictureError::Empty { height, width });
        }
        match height.checked_mul(width) {
            Some(pixels) if pixels <= Self::MAX_PIXELS => {
                Ok(Self { height, width, pixels: vec![color; pixels], not_finite: 0 })
            }
            _ => Err(PictureError::TooLarge { height, width }),
        }
    }

    /// Values `[row, column]` in gray, the ends of the window black and white.
    ///
    /// # Errors
    /// Those of [`Picture::filled`].
    pub fn gray(values: ArrayView2<'_, f32>, window: Scale) -> Result<Self, PictureError> {
        Self::mapped(values, ColorMap::Gray, window)
    }

    /// Values `[row, column]` in the colors of a map.
    ///
    /// # Errors
    /// Those of [`Picture::filled`].
    pub fn mapped(
        values: ArrayView2<'_, f32>,
        color_map: ColorMap,
        scale: Scale,
    ) -> Result<Self, PictureError> {
        let mut picture = Self::filled(values.nrows(), values.ncols(), Rgb::NOT_FINITE)?;
        for (pixel, &value) in picture.pixels.iter_mut().zip(values) {
            match scale.position(f64::from(value)) {
                Some(position) => *pixel = color_map.color(position),
                None => picture.not_finite += 1,
            }
        }
        Ok(picture)
    }

    /// An image as a picture: gray for one channel, color for three (red, green, blue), each on the
    /// same window. A pixel with any value that is not finite is marked as such.
    ///
    /// # Errors
    /// For another number of channels; otherwise those of [`Picture::filled`].
    pub fn from_image(image: &Image, window: Scale) -> Result<Self, PictureError> {
        match (image.channel(0), image.channel(1), image.channel(2), image.channels()) {
            (Some(gray), None, None, 1) => Self::gray(gray, window),
            (Some(red), Some(green), Some(blue), 3) => {
                let mut picture = Self::filled(image.height(), image.width(), Rgb::NOT_FINITE)?;
                for (pixel, ((&r, &g), &b)) in picture.pixels.iter_mut().zip(red.iter().zip(green).zip(blue))
                {
                    let positions = [r, g, b].map(|value| window.position(f64::from(value)));
                    match positions {
                        [Some(r), Some(g), Some(b)] => {
                            *pixel = Rgb([r, g, b].map(|position| (255.0 * position).round() as u8));
                        }
                        _ => picture.not_finite += 1,
                    }
                }
                Ok(picture)
            }
            (.., found) => Err(PictureError::Channels { found }),
        }
    }

    /// Number of rows.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// Number of columns.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of values that were NaN or infinite, in the image and in the overlaid maps.
    #[must_use]
    pub fn not_finite(&self) -> usize {
        self.not_finite
    }

    /// The color of a pixel; `None` outside.
    #[must_use]
    pub fn pixel(&self, row: usize, column: usize) -> Option<Rgb> {
        (row < self.height && column < self.width).then(|| self.pixels[row * self.width + column])
    }

    /// Overlays a map of scores `[row, column]` of the same size.
    ///
    /// The opacity of a pixel grows with its score, from nothing at the lower end of the scale to
    /// [`HeatMap::opacity`] at the upper. Scores that are not finite are marked and counted.
    ///
    /// # Errors
    /// For scores of another size than the picture.
    pub fn overlaid(mut self, scores: ArrayView2<'_, f32>, heat_map: &HeatMap) -> Result<Self, PictureError> {
        if scores.dim() != (self.height, self.width) {
            return Err(self.size_error("map", scores.dim()));
        }
        for (pixel, &score) in self.pixels.iter_mut().zip(scores) {
            match heat_map.scale.position(f64::from(score)) {
                Some(position) => {
                    let color = heat_map.color_map.color(position);
                    *pixel = pixel.mixed(color, heat_map.opacity_at(position));
                }
                None => {
                    *pixel = Rgb::NOT_FINITE;
                    self.not_finite += 1;
                }
            }
        }
        Ok(self)
    }

    /// Draws the outline of a mask `[row, column]`, just inside its edge.
    ///
    /// Each side of the picture must be that of the mask or an integer multiple of it. The line follows the edges of the
    /// mask's pixels; its width is a quarter of the shorter side of such a pixel, at least one picture pixel. Edges on
    /// the border of the picture are drawn too, so that every region is closed.
    ///
    /// # Errors
    /// For a mask whose sides do not divide the picture's.
    pub fn outlined(mut self, mask: ArrayView2<'_, bool>, color: Rgb) -> Result<Self, PictureError> {
        let (rows, columns) = mask.dim();
        let down = self.height.checked_div(rows).unwrap_or(0);
        let across = self.width.checked_div(columns).unwrap_or(0);
        if down == 0 || across == 0 || (rows * down, columns * across) != (self.height, self.width) {
            return Err(self.size_error("mask", mask.dim()));
        }
        let line = (down.min(across) / 4).max(1);
        let outside = |row: Option<usize>, column: Option<usize>| match (row, column) {
            (Some(row), Some(column)) => !mask.get((row, column)).copied().unwrap_or(false),
            _ => true,
        };
        for ((row, column), _) in mask.indexed_iter().filter(|&(_, &inside)| inside) {
            let above = outside(row.checked_sub(1), Some(column));
            let below = outside(Some(row + 1), Some(column));
            let left = outside(Some(row), column.checked_sub(1));
            let right = outside(Some(row), Some(column + 1));
            for y in 0..down {
                for x in 0..across {
                    let on_line = above && y < line
                        || below && y + line >= down
                        || left && x < line
                        || right && x + line >= across;
                    if on_line {
                        self.pixels[(row * down + y) * self.width + column * across + x] = color;
                    }
                }
            }
        }
        Ok(self)
    }

    /// Writes a short text into the upper left corner and another into the upper right one, such as the sides of a
    /// subject: white with a black rim, legible on dark and bright pixels. Parts outside the picture are cut off.
    #[must_use]
    pub fn with_sides(mut self, left: &str, right: &str) -> Self {
        // Larger pictures are viewed from farther away, so their text is larger, as in a montage.
        let size = if self.width > 256 { 2 } else { 1 };
        let margin = 3 * size;
        let last = self.width.saturating_sub(margin + size * font::text_width(right));
        for (text, column) in [(left, margin), (right, last)] {
            for (y, x) in font::inked_pixels(text) {
                let corner = [margin + y * size, column + x * size].map(|place| place.saturating_sub(size));
                self.fill(corner, [3 * size; 2], Rgb([0; 3]));
            }
            self.write_text(text, [margin, column], size, Rgb([255; 3]));
        }
        self
    }

    /// The picture as a PNG file: eight bits, one channel if it is all gray, three otherwise.
    /// The same picture gives the same bytes.
    ///
    /// # Errors
    /// [`PictureError::Encode`] for a side that the format cannot hold.
    pub fn to_png(&self) -> Result<Vec<u8>, PictureError> {
        let gray = self.pixels.iter().all(|Rgb([r, g, b])| r == g && g == b);
        let (bytes, color_type): (Vec<u8>, _) = if gray {
            (self.pixels.iter().map(|color| color.0[0]).collect(), ColorType::Grayscale)
        } else {
            (self.pixels.iter().flat_map(|color| color.0).collect(), ColorType::Rgb)
        };
        encode_png(&bytes, self.height, self.width, color_type)
            .map_err(|source| PictureError::Encode { source })
    }

    /// Writes the picture as PNG, as [`write_file`] does.
    ///
    /// # Errors
    /// Those of [`Picture::to_png`] and [`write_file`].
    pub fn write_png(&self, path: impl AsRef<Path>, existing: Existing) -> Result<(), WriteError> {
        let path = path.as_ref();
        let png =
            self.to_png().map_err(|error| WriteError::new(path, WriteErrorKind::encode("PNG", error)))?;
        write_file(path, &png, existing)
    }

    /// Copies another picture onto this one, with its upper left pixel at `(row, column)`; parts outside are cut off.
    pub(crate) fn paste(&mut self, other: &Self, [row, column]: [usize; 2]) {
        let width = other.width.min(self.width.saturating_sub(column));
        if width == 0 {
            return;
        }
        for (y, from) in other.pixels.chunks_exact(other.width).enumerate() {
            if row + y < self.height {
                self.pixels[(row + y) * self.width + column..][..width].copy_from_slice(&from[..width]);
            }
        }
        self.not_finite += other.not_finite;
    }

    /// Writes a line of text with its upper left corner at `(row, column)`, each pixel of the font a
    /// square of `size` x `size`; parts outside are cut off.
    pub(crate) fn write_text(&mut self, text: &str, [row, column]: [usize; 2], size: usize, color: Rgb) {
        for (y, x) in font::inked_pixels(text) {
            self.fill([row + y * size, column + x * size], [size, size], color);
        }
    }

    /// Fills a rectangle of `[height, width]` pixels; parts outside are cut off.
    pub(crate) fn fill(&mut self, [row, column]: [usize; 2], [height, width]: [usize; 2], color: Rgb) {
        let right = column.saturating_add(width).min(self.width);
        for row in row..row.saturating_add(height).min(self.height) {
            if let Some(pixels) = self.pixels.get_mut(row * self.width + column..row * self.width + right) {
                pixels.fill(color);
            }
        }
    }

    fn size_error(&self, what: &'static str, (found_height, found_width): (usize, usize)) -> PictureError {
        PictureError::Size { what, height: self.height, width: self.width, found_height, found_width }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, Array3, array};

    fn unit() -> Scale {
        Scale::new(0.0, 1.0).unwrap()
    }

    #[test]
    fn png_decodes_to_the_pixels_drawn() {
        let values = array![[0.0_f32, 0.5, 1.0], [-9.0, f32::NAN, f32::INFINITY]];
        let picture = Picture::gray(values.view(), unit()).unwrap();
        assert_eq!(picture.not_finite(), 2);
        let png = picture.to_png().unwrap();
        assert_eq!(png, picture.to_png().unwrap());
        let decoded = image::load_from_memory(&png).unwrap().to_rgb8();
        assert_eq!(decoded.dimensions(), (3, 2));
        let expected = [[0; 3], [128; 3], [255; 3], [0; 3], Rgb::NOT_FINITE.0, Rgb::NOT_FINITE.0];
        for (pixel, expected) in decoded.pixels().zip(expected) {
            assert_eq!(pixel.0, expected);
        }
    }

    #[test]
    fn gray_pictures_have_one_channel() {
        let picture = Picture::gray(array![[0.0, 1.0]].view(), unit()).unwrap();
        let decoded = image::load_from_memory(&picture.to_png().unwrap()).unwrap();
        assert_eq!(decoded.color(), image::ColorType::L8);
    }

    #[test]
    fn equal_scores_have_equal_colors_whatever_lies_beside_them() {
        let scale = Scale::new(0.0, 4.0).unwrap();
        let alone = Picture::mapped(array![[1.0, 1.0]].view(), ColorMap::Heat, scale).unwrap();
        let beside = Picture::mapped(array![[1.0, 400.0]].view(), ColorMap::Heat, scale).unwrap();
        assert_eq!(alone.pixel(0, 0), beside.pixel(0, 0));
        assert_eq!(beside.pixel(0, 1), Some(ColorMap::Heat.color(1.0)));
    }

    #[test]
    fn overlay_hides_in_proportion_to_the_score() {
        let image = Array2::from_elem((1, 4), 0.5_f32);
        let scores = array![[0.0_f32, 1.0, 2.0, f32::NAN]];
        let heat_map = HeatMap::new(Scale::new(0.0, 2.0).unwrap()).opacity(1.0);
        let picture =
            Picture::gray(image.view(), unit()).unwrap().overlaid(scores.view(), &heat_map).unwrap();
        assert_eq!(picture.pixel(0, 0), Some(Rgb([128; 3])));
        let half = Rgb([128; 3]).mixed(ColorMap::Heat.color(0.5), 0.5);
        assert_eq!(picture.pixel(0, 1), Some(half));
        assert_eq!(picture.pixel(0, 2), Some(ColorMap::Heat.color(1.0)));
        assert_eq!(picture.pixel(0, 3), Some(Rgb::NOT_FINITE));
        assert_eq!(picture.not_finite(), 1);
        assert!(matches!(
            picture.overlaid(Array2::zeros((4, 1)).view(), &heat_map),
            Err(PictureError::Size { what: "map", .. })
        ));
    }

    #[test]
    fn outline_runs_inside_the_edge_at_any_enlargement() {
        let mask = Array2::from_shape_fn((4, 4), |(row, column)| row > 0 && column > 0);
        let plain = Picture::filled(4, 4, Rgb([0; 3])).unwrap();
        let outlined = plain.clone().outlined(mask.view(), Rgb::TRUTH).unwrap();
        let drawn = outlined.pixels.iter().filter(|&&p| p == Rgb::TRUTH).count();
        assert_eq!(drawn, 8, "all of the square but its center");
        assert_eq!(outlined.pixel(2, 2), Some(Rgb([0; 3])));

        let large = plain.enlarged(8).unwrap().outlined(mask.view(), Rgb::TRUTH).unwrap();
        let drawn = large.pixels.iter().filter(|&&p| p == Rgb::TRUTH).count();
        assert_eq!(drawn, 24 * 24 - 20 * 20, "a frame two pixels wide");
        // Pixels twice as wide as high.
        let wide = Picture::filled(4, 4, Rgb([0; 3])).unwrap().stretched([4, 8]).unwrap();
        let wide = wide.outlined(mask.view(), Rgb::TRUTH).unwrap();
        assert_eq!((wide.height(), wide.width()), (16, 32));
        let drawn = wide.pixels.iter().filter(|&&p| p == Rgb::TRUTH).count();
        assert_eq!(drawn, 12 * 24 - 10 * 22, "a frame one pixel wide");
        assert!(matches!(
            large.outlined(Array2::from_elem((4, 5), true).view(), Rgb::TRUTH),
            Err(PictureError::Size { what: "mask", .. })
        ));
    }

    #[test]
    fn images_are_gray_or_of_three_channels() {
        let color = Image::new(Array3::from_shape_fn((3, 1, 1), |(c, _, _)| c as f32 / 2.0));
        let picture = Picture::from_image(&color, unit()).unwrap();
        assert_eq!(picture.pixel(0, 0), Some(Rgb([0, 128, 255])));
        let two = Image::new(Array3::<f32>::zeros((2, 1, 1)));
        assert!(matches!(Picture::from_image(&two, unit()), Err(PictureError::Channels { found: 2 })));
        let none = Image::new(Array3::<f32>::zeros((1, 0, 3)));
        assert!(matches!(Picture::from_image(&none, unit()), Err(PictureError::Empty { .. })));
    }

    #[test]
    fn sizes_are_checked_before_memory_is_taken() {
        let picture = Picture::filled(3, 5, Rgb([1; 3])).unwrap();
        assert!(matches!(picture.clone().enlarged(usize::MAX), Err(PictureError::TooLarge { .. })));
        assert_eq!(picture.clone().enlarged(0).unwrap(), picture);
        assert!(Picture::filled(usize::MAX, 2, Rgb([0; 3])).is_err());
    }

    #[test]
    fn sides_are_written_into_the_upper_corners() {
        for gray in [0, 255] {
            let plain = Picture::filled(40, 60, Rgb([gray; 3])).unwrap();
            let marked = plain.clone().with_sides("L", "R");
            let ink = Some(Rgb([255; 3]));
            // The stems of both letters, each with its rim.
            for (column, rim) in [(3, 2), (60 - 3 - 5, 60 - 3 - 6)] {
                assert!((3..9).all(|row| marked.pixel(row, column) == ink), "{gray}");
                assert!((2..10).all(|row| marked.pixel(row, rim) == Some(Rgb([0; 3]))), "{gray}");
            }
            let changed = |columns: std::ops::Range<usize>| {
                columns
                    .flat_map(|column| (0..40).map(move |row| (row, column)))
                    .any(|(row, column)| marked.pixel(row, column) != plain.pixel(row, column))
            };
            assert!(changed(0..10) && changed(50..60) && !changed(10..50), "{gray}");
        }
        let tiny = Picture::filled(2, 1, Rgb([9; 3])).unwrap().with_sides("L", "R");
        assert_eq!((tiny.height(), tiny.width()), (2, 1));
    }

    #[test]
    fn what_lies_outside_is_cut_off() {
        let mut picture = Picture::filled(4, 4, Rgb([0; 3])).unwrap();
        let stamp = Picture::filled(3, 3, Rgb([9; 3])).unwrap();
        picture.paste(&stamp, [2, 2]);
        picture.paste(&stamp, [3, 9]);
        picture.paste(&stamp, [9, 0]);
        picture.fill([3, 9], [1, 5], Rgb([1; 3]));
        picture.write_text("W", [3, 3], 2, Rgb([200; 3]));
        assert_eq!(picture.pixel(3, 2), Some(Rgb([9; 3])));
        assert_eq!(picture.pixel(3, 3), Some(Rgb([200; 3])));
        assert_eq!(picture.pixel(1, 1), Some(Rgb([0; 3])));
    }
}
