//! Images on a network's grid, and what the network says of them brought back.

use ndarray::{Array2, Array3, ArrayRef2, ArrayRef3, Axis, ShapeBuilder};
use rayon::prelude::*;

use crate::alignment::AlignmentScope;
use crate::bounds::{BoundingBox, trimmed_box};
use crate::error::{ImageError, check_shape};
use crate::image::Image;
use crate::orientation::{Orientation, Turn};
use crate::placement::Placement;
use crate::preprocess::{
    Background, FittedPreprocessing, Frame, IntensityScale, PreprocessError, SlicePosition, over_channels,
};
use crate::volume::{Plane, Volume};

/// One slice or image on the network's grid.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PreparedPlane {
    /// What the network sees, `[channel, row, column]`: about [0, 1], 0 beyond the image.
    pub input: Array3<f32>,
    /// The foreground, `[row, column]`; `false` beyond the image.
    pub mask: Array2<bool>,
    /// Where between the first (0) and the last (1) slice with foreground this one lies; 0.5 for an
    /// image and for a volume with one slice of foreground. Slices beyond take the nearer end.
    pub position: f32,
    /// The way from the image to the grid and back.
    pub placement: Placement,
}

/// A volume on the network's grid, slice by slice.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PreparedVolume {
    /// The slices, in the order of [`Volume::plane`] of the volume in RAS+: for axial slices from
    /// the bottom to the top.
    pub planes: Vec<PreparedPlane>,
    /// The foreground on the volume's own grid.
    pub foreground: Volume<bool>,
    /// The scale of the intensities.
    pub scale: IntensityScale,
    plane: Plane,
    turn: Turn,
}

/// An image on the network's grid.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PreparedImage {
    /// The image on the grid.
    pub plane: PreparedPlane,
    /// The foreground on the image's own grid, `[row, column]`.
    pub foreground: Array2<bool>,
    /// The scale of the intensities.
    pub scale: IntensityScale,
}

impl PreparedVolume {
    pub(crate) fn new(fitted: &FittedPreprocessing, volume: &Volume<f32>) -> Result<Self, PreprocessError> {
        let config = fitted.config();
        let plane = config.plane;
        let turn = volume.geometry().orientation().turn_to(&Orientation::RAS);
        // A view: volumes are large, and nothing needs a turned copy of one.
        let turned = turn.view(volume.data().view());
        let found = config.volume_foreground(&turned)?;
        let scale = fitted.scale(&turned, found.as_deref())?;
        let mask = found.unwrap_or_else(|| turned.mapv(|_| true));

        let spacing = turn.source.map(|axis| volume.geometry().spacing()[axis]);
        let placements = Placements::new(&config.frame, &mask, spacing, plane)?;
        let along = trimmed_box::<_, 3>(&mask, 0.0).ok_or(ImageError::EmptyForeground)?;
        let stack = (along.start[plane.axis()], along.end[plane.axis()] - 1);
        let planes = (0..turned.len_of(Axis(plane.axis())))
            .into_par_iter()
            .map(|index| {
                let values = plane.slice(turned.view(), index).insert_axis(Axis(0));
                let inside = plane.slice(mask.view(), index);
                let placement = placements.of_slice(&inside)?;
                let position = position_in(index, stack);
                let within = inside.insert_axis(Axis(0));
                let scaled = scaled_values(&values, &within, &scale, config.clip, config.background);
                let input = input_of(&scaled, &placement, position, config.slice_position)?;
                Ok(PreparedPlane { input, mask: placement.mask_to_grid(&inside)?, position, placement })
            })
            .collect::<Result<Vec<_>, PreprocessError>>()?;
        let foreground = Volume::new(turn.undo(mask), *volume.geometry());
        Ok(Self { planes, foreground, scale, plane, turn })
    }

    /// Maps on the network's grid, one for each slice, on the volume's own grid, orientation and
    /// geometry; voxels that no grid covers are `fill`. Values are not rescaled.
    ///
    /// # Errors
    /// [`ImageError::CountMismatch`] and [`ImageError::ShapeMismatch`] where the maps are not those
    /// of this volume.
    pub fn restore_map(&self, maps: &[Array2<f32>], fill: f32) -> Result<Volume<f32>, ImageError> {
        self.restore(maps, fill, |placement, map| placement.to_image(map, fill))
    }

    /// Masks on the network's grid, one for each slice, on the volume's own grid, orientation and
    /// geometry; `false` where no grid covers.
    ///
    /// # Errors
    /// As [`PreparedVolume::restore_map`].
    pub fn restore_mask(&self, masks: &[Array2<bool>]) -> Result<Volume<bool>, ImageError> {
        self.restore(masks, false, |placement, mask| placement.mask_to_image(mask))
    }

    /// Network outputs that are images, such as reconstructions: as [`PreparedVolume::restore_map`],
    /// and values brought back to the volume's intensities; voxels that no grid covers are what 0
    /// stands for.
    ///
    /// # Errors
    /// As [`PreparedVolume::restore_map`].
    pub fn restore_intensities(&self, planes: &[Array2<f32>]) -> Result<Volume<f32>, ImageError> {
        let mut restored = self.restore_map(planes, 0.0)?;
        restored.data_mut().mapv_inplace(|value| self.scale.inverse(value));
        Ok(restored)
    }

    fn restore<T: Copy + Send + Sync>(
        &self,
        slices: &[Array2<T>],
        fill: T,
        back: impl Fn(&Placement, &ArrayRef2<T>) -> Result<Array2<T>, ImageError> + Send + Sync,
    ) -> Result<Volume<T>, ImageError> {
        if slices.len() != self.planes.len() {
            let (found, expected) = (slices.len(), self.planes.len());
            return Err(ImageError::CountMismatch { what: "slices", found, expected });
        }
        let like = self.foreground.data();
        // Lies in memory as the volume does, so that neither filters nor writers have to turn it.
        let is_fortran = !like.is_standard_layout() && like.view().reversed_axes().is_standard_layout();
        let mut restored = Array3::from_elem(like.raw_dim().set_f(is_fortran), fill);
        let mut turned = self.turn.view_mut(restored.view_mut());
        let planes: Vec<_> = turned.axis_iter_mut(Axis(self.plane.axis())).collect();
        (planes.into_par_iter().zip(slices).zip(&self.planes)).try_for_each(
            |((plane, slice), prepared)| {
                Plane::upright(plane).assign(&back(&prepared.placement, slice)?);
                Ok(())
            },
        )?;
        Ok(Volume::new(restored, *self.foreground.geometry()))
    }
}

impl PreparedImage {
    pub(crate) fn new(fitted: &FittedPreprocessing, image: &Image<f32>) -> Result<Self, PreprocessError> {
        let config = fitted.config();
        let found = config.image_foreground(image)?;
        let over_all = found.as_ref().map(|mask| over_channels(mask, image));
        let scale = fitted.scale(image.data(), over_all.as_deref())?;
        let size = [image.height(), image.width()];
        let mask = found.unwrap_or_else(|| Array2::from_elem(size, true));
        let over_all = over_channels(&mask, image);
        let scaled = scaled_values(image.data(), &over_all, &scale, config.clip, config.background);
        let placement = match &config.frame {
            Frame::Fit(fit) => fit.place(size, [1.0, 1.0])?,
            Frame::Align(alignment) => {
                let bounds = trimmed_box(&mask, alignment.trim).ok_or(ImageError::EmptyForeground)?;
                alignment.place(size, &bounds, [1.0, 1.0])?
            }
        };
        let position = 0.5;
        let input = input_of(&scaled, &placement, position, config.slice_position)?;
        let plane = PreparedPlane { input, mask: placement.mask_to_grid(&mask)?, position, placement };
        Ok(Self { plane, foreground: mask, scale })
    }

    /// A map on the network's grid on the image's own; pixels that the grid does not cover are
    /// `fill`. Values are not rescaled.
    ///
    /// # Errors
    /// [`ImageError::ShapeMismatch`] for a map of another size than the grid.
    pub fn restore_map(&self, map: &ArrayRef2<f32>, fill: f32) -> Result<Array2<f32>, ImageError> {
        self.plane.placement.to_image(map, fill)
    }

    /// A network output that is an image, `[channel, row, column]`, on the image's own grid and in
    /// its intensities; pixels that the grid does not cover are what 0 stands for.
    ///
    /// # Errors
    /// [`ImageError::ShapeMismatch`] for another size than the grid.
    pub fn restore_intensities(&self, planes: &ArrayRef3<f32>) -> Result<Image<f32>, ImageError> {
        let [height, width] = self.plane.placement.image_size();
        let [grid_height, grid_width] = self.plane.placement.grid_size();
        let channels = planes.len_of(Axis(0));
        check_shape("output", planes.shape(), &[channels, grid_height, grid_width])?;
        let mut data = Array3::zeros((channels, height, width));
        for (mut out, plane) in data.outer_iter_mut().zip(planes.outer_iter()) {
            out.assign(&self.restore_map(&plane, 0.0)?);
        }
        data.mapv_inplace(|value| self.scale.inverse(value));
        Ok(Image::new(data))
    }
}

/// The placements of a volume's slices: one for all, or one by each one's foreground.
struct Placements<'a> {
    frame: &'a Frame,
    /// Size and spacing of the slices, `[row, column]`.
    size: [usize; 2],
    spacing: [f64; 2],
    common: Placement,
}

impl<'a> Placements<'a> {
    fn new(
        frame: &'a Frame,
        mask: &Array3<bool>,
        spacing: [f64; 3],
        plane: Plane,
    ) -> Result<Self, PreprocessError> {
        // Rows are the later of the axes that remain, reversed; columns the earlier.
        let axis = plane.axis();
        let (column, row) = if axis == 0 { (1, 2) } else { (0, if axis == 1 { 2 } else { 1 }) };
        let shape: [usize; 3] = mask.dim().into();
        let (size, spacing) = ([shape[row], shape[column]], [spacing[row], spacing[column]]);
        let common = match frame {
            Frame::Fit(fit) => fit.place(size, spacing)?,
            Frame::Align(alignment) => {
                let bounds: BoundingBox<3> =
                    trimmed_box(mask, alignment.trim).ok_or(ImageError::EmptyForeground)?;
                let rows = (shape[row] - bounds.end[row], shape[row] - bounds.start[row]);
                let seen =
                    BoundingBox { start: [rows.0, bounds.start[column]], end: [rows.1, bounds.end[column]] };
                alignment.place(size, &seen, spacing)?
            }
        };
        Ok(Self { frame, size, spacing, common })
    }

    fn of_slice(&self, mask: &ArrayRef2<bool>) -> Result<Placement, PreprocessError> {
        if let Frame::Align(alignment) = self.frame
            && alignment.scope == AlignmentScope::Plane
            && let Some(bounds) = trimmed_box(mask, alignment.trim)
        {
            return Ok(alignment.place(self.size, &bounds, self.spacing)?);
        }
        Ok(self.common.clone())
    }
}

fn scaled_values(
    data: &ArrayRef3<f32>,
    mask: &ArrayRef3<bool>,
    scale: &IntensityScale,
    clip: Option<[f32; 2]>,
    background: Background,
) -> Array3<f32> {
    let mut out = data.mapv(|intensity| {
        let value = scale.value(intensity);
        clip.map_or(value, |[low, high]| value.clamp(low, high))
    });
    if background == Background::Zero {
        ndarray::Zip::from(&mut out).and(mask).for_each(|value, &inside| {
            if !inside {
                *value = 0.0;
            }
        });
    }
    out
}

/// Channels on the grid, with the position as a last one where it is wanted.
fn input_of(
    channels: &ArrayRef3<f32>,
    placement: &Placement,
    position: f32,
    slice_position: SlicePosition,
) -> Result<Array3<f32>, ImageError> {
    let [height, width] = placement.grid_size();
    let own = channels.len_of(Axis(0));
    let extra = usize::from(slice_position == SlicePosition::Channel);
    let mut input = Array3::from_elem((own + extra, height, width), position);
    for (mut out, channel) in input.outer_iter_mut().zip(channels.outer_iter()) {
        out.assign(&placement.to_grid(&channel, 0.0)?);
    }
    Ok(input)
}

fn position_in(index: usize, (first, last): (usize, usize)) -> f32 {
    if last <= first {
        return 0.5;
    }
    ((index as f64 - first as f64) / (last - first) as f64).clamp(0.0, 1.0) as f32
}
