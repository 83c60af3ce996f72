//! One image and one predictor's map of it, as pictures.

use std::collections::BTreeSet;

use lesio_anomaly::{Localizer, PredictorName};
use lesio_image::{Image, Orientation, Plane, Volume};
use lesio_report::{HeatMap, Montage, Picture, Rgb, Scale, ScaleError};
use ndarray::{ArrayView2, Axis};

use crate::presentation::{PresentationError, normal_scale};

/// The outline of what was found.
const OUTLINE: Rgb = Rgb([255, 255, 255]);
/// Rows that a small image has at least after it was enlarged.
const LEAST_ROWS: usize = 192;
const MOST_ENLARGED: usize = 6;
/// One value in so many may be brighter than white.
const BRIGHTER: usize = 200;
/// Lesions that are shown whatever other slices are.
const LESIONS_SHOWN: u32 = 3;

/// The colors of a predictor: one scale for all images where the model knows its normal scores (see
/// [`normal_scale`]), else the range of this map, and the label says so.
///
/// # Errors
/// None in practice: an empty range is widened.
pub fn heat_map<'a>(
    localizer: &Localizer,
    predictor: PredictorName,
    map: impl IntoIterator<Item = &'a f32>,
) -> Result<HeatMap, PresentationError> {
    if localizer.calibration().get(predictor).is_some() {
        let label = "dark: median of normal; bright: 1 in 10 000";
        return Ok(HeatMap::new(normal_scale(localizer, predictor)?).label(label));
    }
    let (low, high) = map
        .into_iter()
        .filter(|score| score.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &score| {
            (low.min(score.into()), high.max(score.into()))
        });
    let scale = if low < high { Scale::new(low, high)? } else { Scale::new(0.0, 1.0)? };
    Ok(HeatMap::new(scale).label("range of this map alone: not calibrated"))
}

/// A volume, what the model takes for normal, and a map, all on one grid of any orientation.
#[derive(Clone, Copy, Debug)]
pub struct VolumeOverlay<'a> {
    /// What the map is called.
    pub name: &'a str,
    /// Its colors.
    pub heat_map: &'a HeatMap,
    /// The volume.
    pub volume: &'a Volume<f32>,
    /// What the model takes for normal.
    pub reconstruction: &'a Volume<f32>,
    /// What belongs to the object.
    pub foreground: &'a Volume<bool>,
    /// The map.
    pub map: &'a Volume<f32>,
    /// Lesions found, numbered from 1, which are outlined.
    pub labels: Option<&'a Volume<u32>>,
    /// Which slices are shown.
    pub plane: Plane,
}

impl VolumeOverlay<'_> {
    /// At most `slices` slices (of the volume in RAS+), and at least one: those with most of the first three
    /// lesions, and others evenly through the foreground. Volume, reconstruction and map are rows, slices
    /// are columns; brightness and colors are the same in all.
    ///
    /// # Errors
    /// Volumes of other shapes than the map's, or empty ones.
    pub fn montage(&self, slices: usize) -> Result<Montage, PresentationError> {
        let ras = Orientation::RAS;
        let labels = self.labels.map(|labels| labels.reoriented(&ras));
        let foreground = self.foreground.reoriented(&ras);
        let chosen = choose(&foreground, labels.as_ref(), self.plane, slices.max(1));
        let inside = self.volume.data().iter().zip(self.foreground.data()).filter(|&(_, &inside)| inside);
        let window = window(inside.map(|(&value, _)| value))?;
        let [volume, reconstruction, map] =
            [self.volume, self.reconstruction, self.map].map(|volume| volume.reoriented(&ras));
        let mut rows = [Vec::new(), Vec::new(), Vec::new()];
        for &slice in &chosen {
            let cut = |volume: &'_ Volume<f32>| volume.plane(self.plane, slice).map(|plane| plane.to_owned());
            let (Some(image), Some(normal), Some(map)) = (cut(&volume), cut(&reconstruction), cut(&map))
            else {
                continue;
            };
            let found = labels.as_ref().and_then(|labels| labels.plane(self.plane, slice));
            let gray = |values: ArrayView2<'_, f32>| Picture::gray(values, window);
            let factor = enlargement(image.nrows());
            rows[0].push(gray(image.view())?.enlarged(factor)?);
            rows[1].push(gray(normal.view())?.enlarged(factor)?);
            rows[2].push(overlaid(gray(image.view())?, map.view(), self.heat_map, found)?);
        }
        let columns = chosen.iter().map(|slice| format!("slice {slice}"));
        let mut montage = Montage::new(columns).color_bar(self.heat_map.clone());
        for (name, row) in ["image", "reconstruction", self.name].into_iter().zip(rows) {
            montage = montage.row(name, row)?;
        }
        Ok(montage)
    }
}

/// An image, what the model takes for normal, and a map, all of one size.
#[derive(Clone, Copy, Debug)]
pub struct ImageOverlay<'a> {
    /// What the map is called.
    pub name: &'a str,
    /// Its colors.
    pub heat_map: &'a HeatMap,
    /// The image.
    pub image: &'a Image<f32>,
    /// What the model takes for normal.
    pub reconstruction: &'a Image<f32>,
    /// The map, `[row, column]`.
    pub map: ArrayView2<'a, f32>,
    /// Lesions found, numbered from 1, which are outlined.
    pub labels: Option<ArrayView2<'a, u32>>,
}

impl ImageOverlay<'_> {
    /// Image, reconstruction and map side by side. Three channels are colors; of any other number the
    /// first is shown in gray.
    ///
    /// # Errors
    /// A map or labels of another size than the image's, or an empty image.
    pub fn montage(&self) -> Result<Montage, PresentationError> {
        let window = window(self.image.data().iter().copied())?;
        let draw = |image: &Image<f32>| match image.channels() {
            1 | 3 => Picture::from_image(image, window),
            _ => Picture::gray(image.data().index_axis(Axis(0), 0), window),
        };
        let factor = enlargement(self.image.height());
        let pictures = [
            draw(self.image)?.enlarged(factor)?,
            draw(self.reconstruction)?.enlarged(factor)?,
            overlaid(draw(self.image)?, self.map, self.heat_map, self.labels)?,
        ];
        let montage = Montage::new(["image", "reconstruction", self.name]);
        Ok(montage.color_bar(self.heat_map.clone()).row("", pictures)?)
    }
}

/// A picture with a map over it and what was found outlined, enlarged.
fn overlaid(
    picture: Picture,
    map: ArrayView2<'_, f32>,
    heat_map: &HeatMap,
    labels: Option<ArrayView2<'_, u32>>,
) -> Result<Picture, PresentationError> {
    let factor = enlargement(picture.height());
    let picture = picture.overlaid(map, heat_map)?.enlarged(factor)?;
    Ok(match labels {
        Some(labels) => picture.outlined(labels.mapv(|label| label > 0).view(), OUTLINE)?,
        None => picture,
    })
}

fn enlargement(rows: usize) -> usize {
    LEAST_ROWS.div_ceil(rows.max(1)).clamp(1, MOST_ENLARGED)
}

/// The gray window: from 0, or the lowest value if that is negative, to what one value in 200 exceeds.
fn window(values: impl Iterator<Item = f32>) -> Result<Scale, ScaleError> {
    let mut values: Vec<f32> = values.filter(|value| value.is_finite()).collect();
    values.sort_unstable_by(f32::total_cmp);
    let low = f64::from(values.first().copied().unwrap_or(0.0).min(0.0));
    let above = values.len() / BRIGHTER;
    let high = values.len().checked_sub(above + 1).map_or(1.0, |place| f64::from(values[place]));
    Scale::new(low, if high > low { high } else { low + 1.0 })
}

/// The slices to show, ascending.
fn choose(
    foreground: &Volume<bool>,
    labels: Option<&Volume<u32>>,
    plane: Plane,
    count: usize,
) -> BTreeSet<usize> {
    let all = foreground.planes(plane);
    let voxels = |label: u32, slice: usize| {
        let plane = labels.and_then(|labels| labels.plane(plane, slice));
        plane.map_or(0, |plane| plane.iter().filter(|&&found| found == label).count())
    };
    let mut chosen = BTreeSet::new();
    for label in (1..=LESIONS_SHOWN).take(count) {
        let largest = (0..all).map(|slice| (voxels(label, slice), slice)).max_by_key(|&(size, _)| size);
        chosen.extend(largest.filter(|&(size, _)| size > 0).map(|(_, slice)| slice));
    }
    let inside = |slice: usize| foreground.plane(plane, slice).is_some_and(|plane| plane.iter().any(|&f| f));
    let filled: Vec<usize> = (0..all).filter(|&slice| inside(slice)).collect();
    let steps = count.min(filled.len());
    for step in 0..steps {
        if chosen.len() < count {
            chosen.insert(filled[(2 * step + 1) * filled.len() / (2 * steps)]);
        }
    }
    if chosen.is_empty() && all > 0 {
        chosen.insert(all / 2);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use lesio_image::Geometry;
    use ndarray::{Array3, s};

    use super::*;

    fn volume<T: Clone>(value: T) -> Volume<T> {
        Volume::new(Array3::from_elem((6, 8, 20), value), Geometry::default())
    }

    #[test]
    fn lesions_are_shown_whatever_other_slices_are() {
        let mut foreground = volume(false);
        foreground.data_mut().slice_mut(s![.., .., 2..18]).fill(true);
        let even: Vec<usize> = choose(&foreground, None, Plane::Axial, 4).into_iter().collect();
        assert_eq!(even, [4, 8, 12, 16]);
        let mut labels = volume(0);
        labels.data_mut().slice_mut(s![0..2, 0..2, 17]).fill(2);
        labels.data_mut().slice_mut(s![0..3, 0..3, 3]).fill(1);
        labels.data_mut().slice_mut(s![0..2, 0..3, 2]).fill(1);
        let chosen: Vec<usize> = choose(&foreground, Some(&labels), Plane::Axial, 4).into_iter().collect();
        assert_eq!(chosen, [3, 4, 8, 17]);
        assert_eq!(choose(&foreground, Some(&labels), Plane::Axial, 1).into_iter().collect::<Vec<_>>(), [3]);
        assert_eq!(choose(&volume(false), None, Plane::Axial, 3).len(), 1);
    }

    #[test]
    fn a_window_spares_the_brightest_and_never_is_empty() {
        let scale = window((0..1000u16).map(f32::from)).unwrap();
        assert_eq!((scale.low(), scale.high()), (0.0, 994.0));
        let scale = window([-2.0, f32::NAN, 5.0].into_iter()).unwrap();
        assert_eq!((scale.low(), scale.high()), (-2.0, 5.0));
        assert!(window([0.0; 4].into_iter()).is_ok() && window(std::iter::empty()).is_ok());
    }

    #[test]
    fn montages_show_any_orientation_and_number_of_channels() {
        let heat = HeatMap::new(Scale::new(0.0, 1.0).unwrap());
        let (image, foreground, labels) = (volume(0.5), volume(true), volume(1));
        for orientation in ["RAS", "PIR", "LSA"] {
            let orientation = orientation.parse().unwrap();
            let image = image.reoriented(&orientation);
            let overlay = VolumeOverlay {
                name: "pixel-l1",
                heat_map: &heat,
                volume: &image,
                reconstruction: &image,
                foreground: &foreground.reoriented(&orientation),
                map: &image,
                labels: Some(&labels.reoriented(&orientation)),
                plane: Plane::Axial,
            };
            let picture = overlay.montage(3).unwrap().to_picture().unwrap();
            // Three slices of 8 rows and 6 columns, six times enlarged, are wider than tall.
            assert!(picture.width() > 3 * 6 * 6 && picture.height() > 3 * 8 * 6, "{orientation:?}");
        }
        for channels in 1..=4 {
            let image = Image::new(Array3::from_elem((channels, 5, 7), 9.0));
            let map = ndarray::Array2::zeros((5, 7));
            let overlay = ImageOverlay {
                name: "m",
                heat_map: &heat,
                image: &image,
                reconstruction: &image,
                map: map.view(),
                labels: None,
            };
            assert!(overlay.montage().is_ok());
        }
    }
}
