//! Renders an image and the map of a predictor as pictures.

use std::collections::BTreeSet;

use lesio_anomaly::{Localizer, PredictorName};
use lesio_image::{Image, Plane, Volume};
use lesio_report::{HeatMap, Montage, Picture, Rgb, Scale};
use ndarray::{Array2, ArrayRef3, ArrayView2, Axis};

use crate::display::{enlargement, magnification, window};
use crate::presentation::{PresentationError, normal_scale};

/// The color of the outline of detections.
const OUTLINE: Rgb = Rgb([255, 255, 255]);
/// Number of lesions whose slices are always shown.
const LESIONS_SHOWN: usize = 3;

/// The colors of a predictor: one scale for all images if it was calibrated (see [`normal_scale`]), otherwise the range
/// of this map, with a label that says so.
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
    Ok(HeatMap::new(scale).label("range of this map only: not calibrated"))
}

/// One slice of a scan, its reconstruction, and a map, all `[row, column]` and of the same size.
#[derive(Clone, Debug)]
pub(crate) struct OverlaySlice {
    /// Its number in the scan in RAS+.
    pub slice: usize,
    /// The scan's, by channel; at least one.
    pub images: Vec<Array2<f32>>,
    /// The reconstruction, by channel.
    pub reconstructions: Vec<Array2<f32>>,
    /// The map's.
    pub map: Array2<f32>,
    /// The mask of detected lesions, which are outlined.
    pub marked: Option<Array2<bool>>,
}

/// Selects at most `count` slices (of the volume in RAS+), and at least one: those with the largest part of the first
/// three lesions, and others spread evenly through the foreground.
#[must_use]
pub(crate) fn chosen_slices<T: Copy + Into<u32>>(
    foreground: &Volume<bool>,
    labels: Option<&Volume<T>>,
    plane: Plane,
    count: usize,
) -> Vec<usize> {
    choose(foreground, labels, plane, count.max(1)).into_iter().collect()
}

/// The display window of a channel of a scan: from 0, or the lowest value of the foreground if that is negative, to the
/// value that one in 200 exceeds.
///
/// # Errors
/// None in practice: an empty range is widened.
pub(crate) fn scan_window(
    channel: &ArrayRef3<f32>,
    foreground: &Volume<bool>,
) -> Result<Scale, PresentationError> {
    let foreground = foreground.data();
    // Any order is valid, so the order in memory is used.
    let pair = match (channel.as_slice_memory_order(), foreground.as_slice_memory_order()) {
        (Some(values), Some(inside)) if channel.strides() == foreground.strides() => Some((values, inside)),
        _ => None,
    };
    Ok(match pair {
        Some((values, inside)) => {
            window(values.iter().zip(inside).filter(|&(_, &inside)| inside).map(|(&value, _)| value))?
        }
        None => {
            let inside = channel.iter().zip(foreground).filter(|&(_, &inside)| inside);
            window(inside.map(|(&value, _)| value))?
        }
    })
}

/// A montage with slices in columns. Each channel and its reconstruction are rows; the last row is the map over the
/// first channel. Brightness (by channel) and colors are the same in all slices. `pixel` has the sides of a pixel, down and
/// across, in any unit: pictures have the proportions of the subject. Letters mark both sides if columns run
/// from the subject's left to the right.
///
/// # Errors
/// For slices whose pictures differ in size, and for no slices.
pub(crate) fn slice_montage(
    name: &str,
    heat_map: &HeatMap,
    channels: &[(String, Scale)],
    slices: &[OverlaySlice],
    pixel: [f64; 2],
    left_to_right: bool,
) -> Result<Montage, PresentationError> {
    let factors = |rows: usize, columns: usize| magnification(enlargement(rows), [rows, columns], pixel);
    let sided = |picture: Picture| if left_to_right { picture.with_sides("L", "R") } else { picture };
    let mut rows: Vec<(String, Vec<Picture>)> = Vec::with_capacity(2 * channels.len() + 1);
    for (place, (channel, window)) in channels.iter().enumerate() {
        let (image, expected) = match channels.len() {
            1 => ("image".to_owned(), "reconstruction".to_owned()),
            _ => (channel.clone(), format!("{channel}, reconstruction")),
        };
        for (name, of) in [(image, 0), (expected, 1)] {
            let mut row = Vec::with_capacity(slices.len());
            for slice in slices {
                let planes = if of == 0 { &slice.images } else { &slice.reconstructions };
                let Some(plane) = planes.get(place) else { continue };
                let picture = Picture::gray(plane.view(), *window)?;
                row.push(sided(picture.stretched(factors(plane.nrows(), plane.ncols()))?));
            }
            rows.push((name, row));
        }
    }
    let mut maps = Vec::with_capacity(slices.len());
    for OverlaySlice { images, map, marked, .. } in slices {
        if let (Some(image), Some((_, window))) = (images.first(), channels.first()) {
            let picture = Picture::gray(image.view(), *window)?;
            let factors = factors(picture.height(), picture.width());
            maps.push(sided(overlaid(picture, map.view(), heat_map, marked.as_ref(), factors)?));
        }
    }
    rows.push((name.to_owned(), maps));
    let columns = slices.iter().map(|slice| format!("slice {}", slice.slice));
    let mut montage = Montage::new(columns).color_bar(heat_map.clone());
    for (name, row) in rows {
        montage = montage.row(name, row)?;
    }
    Ok(montage)
}

/// A montage of a picture, its reconstruction, and its map `[row, column]`, side by side. Three channels are shown in
/// color; of any other number, the first is shown in gray. `labels` are detected lesions, numbered from 1, which are
/// outlined.
///
/// # Errors
/// For a map or labels of another size than the picture, and for an empty picture.
pub(crate) fn picture_montage(
    name: &str,
    heat_map: &HeatMap,
    image: &Image<f32>,
    reconstruction: &Image<f32>,
    map: ArrayView2<'_, f32>,
    labels: Option<ArrayView2<'_, u32>>,
) -> Result<Montage, PresentationError> {
    let window = image_window(image)?;
    let draw = |image: &Image<f32>| drawn_image(image, window);
    let factor = enlargement(image.height());
    let marked = labels.map(|labels| labels.mapv(|label| label > 0));
    let pictures = [
        draw(image)?.enlarged(factor)?,
        draw(reconstruction)?.enlarged(factor)?,
        overlaid(draw(image)?, map, heat_map, marked.as_ref(), [factor; 2])?,
    ];
    let montage = Montage::new(["image", "reconstruction", name]);
    Ok(montage.color_bar(heat_map.clone()).row("", pictures)?)
}

/// The brightness in which a picture is shown: of all its channels.
pub(crate) fn image_window(image: &Image<f32>) -> Result<Scale, PresentationError> {
    Ok(window(image.data().iter().copied())?)
}

/// A picture as it is shown: in colors, or the first of other numbers of channels in gray.
pub(crate) fn drawn_image(image: &Image<f32>, window: Scale) -> Result<Picture, PresentationError> {
    Ok(match image.channels() {
        1 | 3 => Picture::from_image(image, window)?,
        _ => Picture::gray(image.data().index_axis(Axis(0), 0), window)?,
    })
}

/// A picture with its map and the outline of detections, enlarged by these factors down and across.
fn overlaid(
    picture: Picture,
    map: ArrayView2<'_, f32>,
    heat_map: &HeatMap,
    marked: Option<&Array2<bool>>,
    factors: [usize; 2],
) -> Result<Picture, PresentationError> {
    let picture = picture.overlaid(map, heat_map)?.stretched(factors)?;
    Ok(match marked {
        Some(marked) => picture.outlined(marked.view(), OUTLINE)?,
        None => picture,
    })
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
        let mut labels = volume(0_u32);
        labels.data_mut().slice_mut(s![0..2, 0..2, 17]).fill(2);
        labels.data_mut().slice_mut(s![0..3, 0..3, 3]).fill(1);
        labels.data_mut().slice_mut(s![0..2, 0..3, 2]).fill(1);
        let chosen: Vec<usize> = choose(&foreground, Some(&labels), Plane::Axial, 4).into_iter().collect();
        assert_eq!(chosen, [3, 4, 8, 17]);
        assert_eq!(choose(&foreground, Some(&labels), Plane::Axial, 1).into_iter().collect::<Vec<_>>(), [3]);
        assert_eq!(choose::<u32>(&volume(false), None, Plane::Axial, 3).len(), 1);
    }

    #[test]
    fn montages_show_any_number_of_channels() {
        let heat = HeatMap::new(Scale::new(0.0, 1.0).unwrap());
        let plane = Array2::from_elem((8, 6), 0.5);
        for channels in 1..=3 {
            let planes = vec![plane.clone(); channels];
            let slice = OverlaySlice {
                slice: 3,
                images: planes.clone(),
                reconstructions: planes,
                map: plane.clone(),
                marked: Some(plane.mapv(|value| value > 1.0)),
            };
            let scales: Vec<_> =
                (0..channels).map(|k| (format!("c{k}"), Scale::new(0.0, 1.0).unwrap())).collect();
            let slices = vec![slice; 3];
            let draw = |left_to_right, pixel| {
                slice_montage("pixel-l1", &heat, &scales, &slices, pixel, left_to_right)
                    .unwrap()
                    .to_picture()
                    .unwrap()
            };
            let picture = draw(false, [1.0; 2]);
            assert_ne!(picture, draw(true, [1.0; 2]), "the sides are marked where they are known");
            // Voxels that are wider than high are drawn so.
            let wide = draw(false, [1.0, 4.0]);
            assert!(wide.width() > picture.width() && wide.height() < picture.height(), "{channels}");
            // Three slices of 8 rows and 6 columns, six times enlarged: two rows a channel, and one of maps.
            assert!(
                picture.width() > 3 * 6 * 6 && picture.height() > (2 * channels + 1) * 8 * 6,
                "{channels}"
            );
        }
        for channels in 1..=4 {
            let image = Image::new(Array3::from_elem((channels, 5, 7), 9.0));
            let map = ndarray::Array2::zeros((5, 7));
            assert!(picture_montage("m", &heat, &image, &image, map.view(), None).is_ok());
        }
    }
}
