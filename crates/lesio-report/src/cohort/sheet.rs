//! The slices of a case below each other in one picture, for a script to cut up.

use lesio_image::Image;
use ndarray::{Array2, ArrayView2, Axis, Slice};
use png::ColorType;

use super::levels::Levels;
use crate::encoding::encode_png;
use crate::picture::{Picture, PictureError};
use crate::scale::Scale;

/// Most pixels of all sheets of a page: a page of that many takes about ten megabytes.
const MOST_PIXELS: usize = 20_000_000;

/// By which whole number rows and columns of slices are reduced so that `sheets` sheets of them fit into a page: 1 up to 20 million
/// pixels, slices of all sheets taken together.
///
/// ```
/// use lesio_report::sheet_reduction;
///
/// // Four channels and a map of 155 slices of 240 x 240 pixels.
/// assert_eq!(sheet_reduction([155, 240, 240], 5), 2);
/// assert_eq!(sheet_reduction([20, 128, 128], 2), 1);
/// ```
#[must_use]
pub fn sheet_reduction(shape: [usize; 3], sheets: usize) -> usize {
    let [slices, rows, columns] = shape;
    let pixels = |factor: usize| {
        let sides = rows.div_ceil(factor).saturating_mul(columns.div_ceil(factor));
        sides.saturating_mul(slices).saturating_mul(sheets)
    };
    let side = rows.max(columns).max(1);
    (1..side).find(|&factor| pixels(factor) <= MOST_PIXELS).unwrap_or(side)
}

/// A sheet as a PNG file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sheet {
    pub(super) png: Vec<u8>,
    /// Slices, rows and columns.
    pub(super) shape: [usize; 3],
    pub(super) not_finite: usize,
}

impl Sheet {
    /// The file.
    #[must_use]
    pub fn png(&self) -> &[u8] {
        &self.png
    }

    /// Number of slices, and rows and columns of each.
    #[must_use]
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }
}

/// A sheet of images, slice by slice.
#[derive(Clone, Debug)]
pub struct ImageSheet {
    pictures: Option<Picture>,
    reduction: usize,
    slices: usize,
}

impl ImageSheet {
    /// A sheet without slices, whose rows and columns will be reduced by `reduction`; 0 counts as 1.
    #[must_use]
    pub fn new(reduction: usize) -> Self {
        Self { pictures: None, reduction: reduction.max(1), slices: 0 }
    }

    /// Adds a slice `[row, column]` in gray. A pixel of the sheet is the mean of those that it stands for.
    ///
    /// # Errors
    /// A slice of another size than those before, or an empty one.
    pub fn push(&mut self, slice: ArrayView2<'_, f32>, window: Scale) -> Result<(), PictureError> {
        let picture = match self.reduction {
            1 => Picture::gray(slice, window)?,
            by => Picture::gray(reduced(slice, by, mean).view(), window)?,
        };
        self.add(picture)
    }

    /// Adds a picture of one or three channels.
    ///
    /// # Errors
    /// As [`ImageSheet::push`], and another number of channels.
    pub fn push_image(&mut self, image: &Image<f32>, window: Scale) -> Result<(), PictureError> {
        if self.reduction == 1 {
            return self.add(Picture::from_image(image, window)?);
        }
        let planes = image.data().outer_iter().map(|channel| reduced(channel, self.reduction, mean));
        let planes: Vec<_> = planes.collect();
        let views: Vec<_> = planes.iter().map(|plane| plane.view()).collect();
        let size = (image.height(), image.width());
        let stacked = ndarray::stack(Axis(0), &views)
            .map_err(|_| PictureError::Empty { height: size.0, width: size.1 })?;
        self.add(Picture::from_image(&Image::new(stacked), window)?)
    }

    fn add(&mut self, picture: Picture) -> Result<(), PictureError> {
        match &mut self.pictures {
            None => self.pictures = Some(picture),
            Some(above) if above.height() != self.slices * picture.height() => {
                let (height, width) = (above.height() / self.slices, above.width());
                let (found_height, found_width) = (picture.height(), picture.width());
                return Err(PictureError::Size { what: "slice", height, width, found_height, found_width });
            }
            Some(above) => above.append(picture)?,
        }
        self.slices += 1;
        Ok(())
    }

    /// The sheet.
    ///
    /// # Errors
    /// No slice.
    pub fn encode(self) -> Result<Sheet, PictureError> {
        let pictures = self.pictures.ok_or(PictureError::Empty { height: 0, width: 0 })?;
        let shape = [self.slices, pictures.height() / self.slices.max(1), pictures.width()];
        Ok(Sheet { png: pictures.to_png()?, shape, not_finite: pictures.not_finite() })
    }
}

/// A sheet of a map in [`Levels`], slice by slice.
#[derive(Clone, Debug)]
pub struct LevelSheet {
    levels: Levels,
    reduction: usize,
    bytes: Vec<u8>,
    /// Rows and columns of a slice.
    size: Option<[usize; 2]>,
    slices: usize,
    not_finite: usize,
}

impl LevelSheet {
    /// A sheet without slices, whose rows and columns will be reduced by `reduction`; 0 counts as 1.
    #[must_use]
    pub fn new(levels: Levels, reduction: usize) -> Self {
        Self { levels, reduction: reduction.max(1), bytes: Vec::new(), size: None, slices: 0, not_finite: 0 }
    }

    /// Adds a slice `[row, column]`: scores outside of the foreground have level 0. A pixel of the sheet is the highest of those
    /// that it stands for.
    ///
    /// # Errors
    /// A foreground of another size than the slice, or a slice of another size than those before.
    pub fn push(
        &mut self,
        scores: ArrayView2<'_, f32>,
        inside: ArrayView2<'_, bool>,
    ) -> Result<(), PictureError> {
        let (height, width) = scores.dim();
        let differs = |what, (found_height, found_width)| PictureError::Size {
            what,
            height,
            width,
            found_height,
            found_width,
        };
        if inside.dim() != scores.dim() {
            return Err(differs("foreground", inside.dim()));
        }
        let levels = ndarray::Zip::from(scores)
            .and(inside)
            .map_collect(|&score, &inside| if inside { self.levels.level(score) } else { 0 });
        let pairs = scores.iter().zip(inside);
        self.not_finite += pairs.filter(|(score, inside)| **inside && !score.is_finite()).count();
        let levels =
            reduced(levels.view(), self.reduction, |block| block.into_iter().copied().fold(0, u8::max));
        let size = [levels.nrows(), levels.ncols()];
        match self.size {
            Some(before) if before != size => return Err(differs("slice before", before.into())),
            _ => self.size = Some(size),
        }
        self.bytes.extend(&levels);
        self.slices += 1;
        Ok(())
    }

    /// The sheet.
    ///
    /// # Errors
    /// No slice, or an empty one.
    pub fn encode(self) -> Result<Sheet, PictureError> {
        let [rows, columns] = self.size.unwrap_or([0; 2]);
        let png = encode_png(&self.bytes, rows * self.slices, columns, ColorType::Grayscale)
            .map_err(|source| PictureError::Encode { source })?;
        Ok(Sheet { png, shape: [self.slices, rows, columns], not_finite: self.not_finite })
    }
}

/// Blocks of `by` rows and columns, fewer at the ends, each as one value.
fn reduced<T: Clone, U>(
    values: ArrayView2<'_, T>,
    by: usize,
    combine: impl Fn(ArrayView2<'_, T>) -> U,
) -> Array2<U> {
    let (rows, columns) = values.dim();
    Array2::from_shape_fn((rows.div_ceil(by), columns.div_ceil(by)), |(row, column)| {
        let part = |first: usize, all: usize| Slice::from(first * by..all.min((first + 1) * by));
        let block = values.slice_axis(Axis(0), part(row, rows));
        combine(block.slice_axis(Axis(1), part(column, columns)))
    })
}

fn mean(block: ArrayView2<'_, f32>) -> f32 {
    (block.iter().copied().map(f64::from).sum::<f64>() / block.len().max(1) as f64) as f32
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn decoded(sheet: &Sheet) -> Vec<u8> {
        image::load_from_memory(sheet.png()).unwrap().to_luma8().into_raw()
    }

    #[test]
    fn slices_lie_below_each_other() {
        let unit = Scale::new(0.0, 255.0).unwrap();
        let mut sheet = ImageSheet::new(1);
        sheet.push(array![[1.0, 2.0]].view(), unit).unwrap();
        sheet.push(array![[3.0, 4.0]].view(), unit).unwrap();
        assert!(sheet.push(array![[3.0]].view(), unit).is_err());
        assert!(sheet.push(array![[3.0, 4.0], [3.0, 4.0]].view(), unit).is_err());
        let sheet = sheet.encode().unwrap();
        assert_eq!((sheet.shape(), decoded(&sheet)), ([2, 1, 2], vec![1, 2, 3, 4]));
        assert!(matches!(ImageSheet::new(1).encode(), Err(PictureError::Empty { .. })));
    }

    #[test]
    fn reduced_sheets_keep_the_mean_of_images_and_the_highest_score() {
        let scale = Scale::new(0.0, 255.0).unwrap();
        let values = array![[10.0, 30.0, 7.0], [20.0, 40.0, 9.0], [100.0, 0.0, 200.0]];
        let mut images = ImageSheet::new(2);
        images.push(values.view(), scale).unwrap();
        assert_eq!(decoded(&images.encode().unwrap()), [25, 8, 50, 200]);
        let colors = Image::new(ndarray::stack(Axis(0), &[values.view(); 3]).unwrap());
        let mut images = ImageSheet::new(2);
        images.push_image(&colors, scale).unwrap();
        assert_eq!(decoded(&images.encode().unwrap()), [25, 8, 50, 200]);

        let mut maps = LevelSheet::new(Levels::new(scale, None).unwrap(), 2);
        let mut inside = values.mapv(|_| true);
        inside[[2, 2]] = false;
        maps.push(values.view(), inside.view()).unwrap();
        let unknown = values.mapv(|value| if value == 40.0 { f32::NAN } else { value });
        maps.push(unknown.view(), inside.view()).unwrap();
        assert!(maps.push(values.view(), array![[true]].view()).is_err());
        let sheet = maps.encode().unwrap();
        assert_eq!((sheet.shape(), sheet.not_finite), ([2, 2, 2], 1));
        assert_eq!(decoded(&sheet), [40, 9, 100, 0, 30, 9, 100, 0]);
    }

    #[test]
    fn sheets_of_any_shape_fit() {
        for shape in
            [[1, 1, 1], [1, 5000, 1], [155, 240, 240], [0, 0, 0], [usize::MAX, 9, 9], [1, 20_000, 20_000]]
        {
            let factor = sheet_reduction(shape, 3);
            assert!(factor >= 1 && factor <= shape[1].max(shape[2]).max(1), "{shape:?}: {factor}");
        }
        assert_eq!(sheet_reduction([1, 5000, 5000], 2), 2);
    }
}
