//! One image and one predictor's map of it, as pictures.

use std::collections::BTreeSet;

use lesio_anomaly::{Localizer, PredictorName};
use lesio_image::{Image, Plane, Volume, order_statistics};
use lesio_report::{HeatMap, Montage, Picture, Rgb, Scale, ScaleError};
use ndarray::{Array2, ArrayView2, Axis};

use crate::presentation::{PresentationError, normal_scale};

/// The outline of what was found.
const OUTLINE: Rgb = Rgb([255, 255, 255]);
/// Rows that a small image has at least after it was enlarged.
const LEAST_ROWS: usize = 192;
const MOST_ENLARGED: usize = 6;
/// One value in so many may be brighter than white.
const BRIGHTER: usize = 200;
/// Lesions that are shown whatever other slices are.
const LESIONS_SHOWN: usize = 3;

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
        let chosen = chosen_slices(self.foreground, self.labels, self.plane, slices);
        let window = volume_window(self.volume, self.foreground)?;
        let own = |volume: &Volume<f32>, slice: usize| {
            volume.upright_plane(self.plane, slice).map(|plane| plane.to_owned())
        };
        let slices = chosen.into_iter().filter_map(|slice| {
            Some(OverlaySlice {
                slice,
                image: own(self.volume, slice)?,
                reconstruction: own(self.reconstruction, slice)?,
                map: own(self.map, slice)?,
                marked: self
                    .labels
                    .and_then(|labels| labels.upright_plane(self.plane, slice))
                    .map(|plane| plane.mapv(|label| label > 0)),
            })
        });
        slice_montage(self.name, self.heat_map, window, &slices.collect::<Vec<_>>())
    }
}

/// One slice of a volume, what the model takes for normal, and a map, all `[row, column]` and of one size.
#[derive(Clone, Debug)]
pub struct OverlaySlice {
    /// Its number in the volume in RAS+.
    pub slice: usize,
    /// The volume's.
    pub image: Array2<f32>,
    /// What the model takes for normal.
    pub reconstruction: Array2<f32>,
    /// The map's.
    pub map: Array2<f32>,
    /// Where lesions were found, which are outlined.
    pub marked: Option<Array2<bool>>,
}

/// At most `count` slices (of the volume in RAS+), and at least one: those with most of the first three lesions, and
/// others evenly through the foreground.
#[must_use]
pub fn chosen_slices<T: Copy + Into<u32>>(
    foreground: &Volume<bool>,
    labels: Option<&Volume<T>>,
    plane: Plane,
    count: usize,
) -> Vec<usize> {
    choose(foreground, labels, plane, count.max(1)).into_iter().collect()
}

/// The brightness in which a volume is shown: from 0, or the lowest value of the foreground if that is negative, to what
/// one value in 200 exceeds.
///
/// # Errors
/// None in practice: an empty range is widened.
pub fn volume_window(volume: &Volume<f32>, foreground: &Volume<bool>) -> Result<Scale, PresentationError> {
    let (volume, foreground) = (volume.data(), foreground.data());
    // Any order will do, so that of the memory.
    let pair = match (volume.as_slice_memory_order(), foreground.as_slice_memory_order()) {
        (Some(values), Some(inside)) if volume.strides() == foreground.strides() => Some((values, inside)),
        _ => None,
    };
    Ok(match pair {
        Some((values, inside)) => {
            window(values.iter().zip(inside).filter(|&(_, &inside)| inside).map(|(&value, _)| value))?
        }
        None => {
            let inside = volume.iter().zip(foreground).filter(|&(_, &inside)| inside);
            window(inside.map(|(&value, _)| value))?
        }
    })
}

/// Slices in columns; volume, reconstruction and map are rows. Brightness and colors are the same in all.
///
/// # Errors
/// Slices whose pictures differ in size, or none.
pub fn slice_montage(
    name: &str,
    heat_map: &HeatMap,
    window: Scale,
    slices: &[OverlaySlice],
) -> Result<Montage, PresentationError> {
    let mut rows = [Vec::new(), Vec::new(), Vec::new()];
    for OverlaySlice { image, reconstruction, map, marked, .. } in slices {
        let gray = |values: &Array2<f32>| Picture::gray(values.view(), window);
        let factor = enlargement(image.nrows());
        rows[0].push(gray(image)?.enlarged(factor)?);
        rows[1].push(gray(reconstruction)?.enlarged(factor)?);
        rows[2].push(overlaid(gray(image)?, map.view(), heat_map, marked.as_ref())?);
    }
    let columns = slices.iter().map(|slice| format!("slice {}", slice.slice));
    let mut montage = Montage::new(columns).color_bar(heat_map.clone());
    for (name, row) in ["image", "reconstruction", name].into_iter().zip(rows) {
        montage = montage.row(name, row)?;
    }
    Ok(montage)
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
        let marked = self.labels.map(|labels| labels.mapv(|label| label > 0));
        let pictures = [
            draw(self.image)?.enlarged(factor)?,
            draw(self.reconstruction)?.enlarged(factor)?,
            overlaid(draw(self.image)?, self.map, self.heat_map, marked.as_ref())?,
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
    marked: Option<&Array2<bool>>,
) -> Result<Picture, PresentationError> {
    let factor = enlargement(picture.height());
    let picture = picture.overlaid(map, heat_map)?.enlarged(factor)?;
    Ok(match marked {
        Some(marked) => picture.outlined(marked.view(), OUTLINE)?,
        None => picture,
    })
}

fn enlargement(rows: usize) -> usize {
    LEAST_ROWS.div_ceil(rows.max(1)).clamp(1, MOST_ENLARGED)
}

/// The gray window: from 0, or the lowest value if that is negative, to what one value in 200 exceeds.
fn window(values: impl Iterator<Item = f32> + Clone) -> Result<Scale, ScaleError> {
    let finite = values.filter(|value| value.is_finite());
    let count = finite.clone().count();
    let (mut low, mut high) = (0.0, 1.0);
    if let Some(last) = count.checked_sub(count / BRIGHTER + 1) {
        let found = order_statistics(finite, &[0, last]);
        (low, high) = (f64::from(found[0].min(0.0)), f64::from(found[1]));
    }
    Scale::new(low, if high > low { high } else { low + 1.0 })
}

/// The slices to show, ascending.
fn choose<T: Copy + Into<u32>>(
    foreground: &Volume<bool>,
    labels: Option<&Volume<T>>,
    plane: Plane,
    count: usize,
) -> BTreeSet<usize> {
    let all = foreground.upright_planes(plane);
    // Voxels of the first lesions in each slice.
    let voxels: Vec<[usize; LESIONS_SHOWN]> = (0..all)
        .map(|slice| {
            let mut found = [0; LESIONS_SHOWN];
            let labels = labels.and_then(|labels| labels.upright_plane(plane, slice));
            labels.iter().flatten().for_each(|&label| {
                let label: u32 = label.into();
                if let Some(count) = (label as usize).checked_sub(1).and_then(|lesion| found.get_mut(lesion))
                {
                    *count += 1;
                }
            });
            found
        })
        .collect();
    let mut chosen = BTreeSet::new();
    for lesion in (0..LESIONS_SHOWN).take(count) {
        let largest = (0..all).map(|slice| (voxels[slice][lesion], slice)).max_by_key(|&(size, _)| size);
        chosen.extend(largest.filter(|&(size, _)| size > 0).map(|(_, slice)| slice));
    }
    let inside =
        |slice: usize| foreground.upright_plane(plane, slice).is_some_and(|plane| plane.iter().any(|&f| f));
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
        let even: Vec<usize> = choose::<u32>(&foreground, None, Plane::Axial, 4).into_iter().collect();
        assert_eq!(even, [4, 8, 12, 16]);
        let mut labels = volume(0u32);
        labels.data_mut().slice_mut(s![0..2, 0..2, 17]).fill(2);
        labels.data_mut().slice_mut(s![0..3, 0..3, 3]).fill(1);
        labels.data_mut().slice_mut(s![0..2, 0..3, 2]).fill(1);
        let chosen: Vec<usize> = choose(&foreground, Some(&labels), Plane::Axial, 4).into_iter().collect();
        assert_eq!(chosen, [3, 4, 8, 17]);
        assert_eq!(choose(&foreground, Some(&labels), Plane::Axial, 1).into_iter().collect::<Vec<_>>(), [3]);
        assert_eq!(choose::<u32>(&volume(false), None, Plane::Axial, 3).len(), 1);
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
