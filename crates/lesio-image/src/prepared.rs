//! Images on a network's grid, and mapping of network outputs back to the scan.

use lesio_grid::{BoundingBox, trimmed_box};
use ndarray::{Array2, Array3, Array4, ArrayBase, ArrayRef2, ArrayRef3, Axis, Data, Ix2, ShapeBuilder};
use rayon::prelude::*;

use crate::alignment::AlignmentScope;
use crate::error::ImageError;
use crate::fitted::{FittedPreprocessing, PreprocessError};
use crate::intensity_scale::IntensityScale;
use crate::orientation::{Orientation, Turn};
use crate::placement::Placement;
use crate::preprocess::{Background, Frame, SlicePosition};
use crate::scan::{Scan, ScanError};
use crate::volume::{Plane, Volume};

/// One slice or image on the network's grid.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PreparedPlane {
    /// The input of the network, `[channel, row, column]`: approximately [0, 1], 0 outside the image.
    pub input: Array3<f32>,
    /// The foreground, `[row, column]`; `false` beyond the image.
    pub mask: Array2<bool>,
    /// The relative position between the first (0) and the last (1) slice with foreground; 0.5 for a picture and for a
    /// volume with one slice of foreground. Slices outside get the nearer end.
    pub position: f32,
    /// The mapping from the image to the grid and back.
    pub placement: Placement,
}

/// A scan on the network's grid, slice by slice.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PreparedScan {
    /// The slices, in the order of [`Scan::slice`]: for axial slices from the bottom to the top; one of a picture.
    pub planes: Vec<PreparedPlane>,
    /// The foreground on the scan's own grid.
    pub foreground: Volume<bool>,
    /// The scale of each channel's intensities.
    pub scales: Vec<IntensityScale>,
    plane: Plane,
    turn: Turn,
    /// Without values: what the restored scan is like.
    like: Scan,
}

impl FittedPreprocessing {
    /// Maps a scan of any orientation to the network's grid.
    ///
    /// # Errors
    /// [`PreprocessError::Image`] for a scan that is empty, not finite, constant (where the
    /// configuration looks for contrast) or without foreground; [`PreprocessError::Channels`] for other channels than those
    /// that a scale was learned from; [`PreprocessError::Config`] where sizes and grid do not go together.
    pub fn prepare(&self, scan: &Scan) -> Result<PreparedScan, PreprocessError> {
        PreparedScan::new(self, scan)
    }
}

impl PreparedScan {
    fn new(fitted: &FittedPreprocessing, scan: &Scan) -> Result<Self, PreprocessError> {
        let config = fitted.config();
        let plane = scan.plane(config.plane);
        let turn = scan.geometry().orientation().turn_to(&Orientation::RAS);
        let found = config.foreground_of(scan, &turn)?;
        let scales = fitted.scales(scan, &turn, found.as_ref())?;
        // Views: volumes are large, and nothing needs a turned copy of one.
        let channels: Vec<_> = scan.data().outer_iter().map(|channel| turn.view(channel)).collect();
        let Some(first) = channels.first() else { return Err(ScanError::NoChannels.into()) };
        let mask = found.unwrap_or_else(|| first.mapv(|_| true));

        let spacing = turn.source.map(|axis| scan.geometry().spacing()[axis]);
        let placements = Placements::new(&config.frame, &mask, spacing, plane)?;
        let along = trimmed_box::<_, 3>(&mask, 0.0).ok_or(ImageError::EmptyForeground)?;
        let stack = (along.start[plane.axis()], along.end[plane.axis()] - 1);
        let planes = (0..first.len_of(Axis(plane.axis())))
            .into_par_iter()
            .map(|index| {
                let inside = plane.slice(mask.view(), index);
                let placement = placements.of_slice(&inside)?;
                let position = position_in(index, stack);
                let (rows, columns) = inside.dim();
                let mut scaled = Array3::zeros((channels.len(), rows, columns));
                for ((mut out, channel), scale) in scaled.outer_iter_mut().zip(&channels).zip(&scales) {
                    let values = plane.slice(channel.view(), index);
                    scale_into(&mut out, &values, &inside, scale, config.clip, config.background);
                }
                let input = input_of(&scaled, &placement, position, config.slice_position)?;
                Ok(PreparedPlane { input, mask: placement.mask_to_grid(&inside)?, position, placement })
            })
            .collect::<Result<Vec<_>, PreprocessError>>()?;
        let foreground = scan.placed(turn.undo(mask));
        let like = scan.like(Array4::zeros((channels.len(), 0, 0, 0)));
        Ok(Self { planes, foreground, scales, plane, turn, like })
    }

    /// Restores maps `(row, column)` on the network's grid, one for each slice, to the scan's grid, orientation and
    /// geometry; voxels outside the network's grid are `fill`. Values are not rescaled.
    ///
    /// # Errors
    /// [`ImageError::CountMismatch`] and [`ImageError::ShapeMismatch`] if the maps do not fit
    /// this scan.
    pub fn restore_map(&self, maps: &[Array2<f32>], fill: f32) -> Result<Volume<f32>, ImageError> {
        self.restore(maps, fill, |placement, map| placement.to_image(map, fill))
    }

    /// Restores masks `(row, column)` on the network's grid, one for each slice, to the scan's grid, orientation and
    /// geometry; voxels outside the network's grid are `false`.
    ///
    /// # Errors
    /// Those of [`PreparedScan::restore_map`].
    pub fn restore_mask(&self, masks: &[Array2<bool>]) -> Result<Volume<bool>, ImageError> {
        self.restore(masks, false, |placement, mask| placement.mask_to_image(mask))
    }

    /// Network outputs that are images `[channel, row, column]`, such as reconstructions, one for each slice: as
    /// [`PreparedScan::restore_map`], and values brought back to the channels' intensities; voxels that no grid
    /// covers are what 0 stands for.
    ///
    /// # Errors
    /// Those of [`PreparedScan::restore_map`]; also for another number of channels than the scan's.
    pub fn restore_intensities(&self, planes: &[Array3<f32>]) -> Result<Scan, ImageError> {
        let channels = self.scales.len();
        if let Some(other) = planes.iter().find(|plane| plane.len_of(Axis(0)) != channels) {
            let (found, expected) = (other.len_of(Axis(0)), channels);
            return Err(ImageError::CountMismatch { what: "channels", found, expected });
        }
        let mut restored = Vec::with_capacity(channels);
        for (channel, scale) in self.scales.iter().enumerate() {
            let own: Vec<_> = planes.iter().map(|plane| plane.index_axis(Axis(0), channel)).collect();
            let mut map = self.restore(&own, 0.0, |placement, map| placement.to_image(map, 0.0))?;
            map.data_mut().mapv_inplace(|value| scale.inverse(value));
            restored.push(map.into_data());
        }
        Ok(self.like.like(stacked(restored)))
    }

    fn restore<T, S>(
        &self,
        slices: &[ArrayBase<S, Ix2>],
        fill: T,
        back: impl Fn(&Placement, &ArrayRef2<T>) -> Result<Array2<T>, ImageError> + Send + Sync,
    ) -> Result<Volume<T>, ImageError>
    where
        T: Copy + Send + Sync,
        S: Data<Elem = T> + Sync,
    {
        if slices.len() != self.planes.len() {
            let (found, expected) = (slices.len(), self.planes.len());
            return Err(ImageError::CountMismatch { what: "slices", found, expected });
        }
        let like = self.foreground.data();
        // Lies in memory as the scan does, so that neither filters nor writers have to turn it.
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

/// Channels of one shape as one array; of one channel nothing is copied.
fn stacked(mut channels: Vec<Array3<f32>>) -> Array4<f32> {
    if channels.len() == 1
        && let Some(only) = channels.pop()
    {
        return only.insert_axis(Axis(0));
    }
    let (i, j, k) = channels.first().map_or((0, 0, 0), Array3::dim);
    let mut data = Array4::zeros((channels.len(), i, j, k));
    data.outer_iter_mut().zip(channels).for_each(|(mut out, channel)| out.assign(&channel));
    data
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

/// The values of a slice on the scale of its channel.
fn scale_into(
    out: &mut ArrayRef2<f32>,
    values: &ArrayRef2<f32>,
    mask: &ArrayRef2<bool>,
    scale: &IntensityScale,
    clip: Option<[f32; 2]>,
    background: Background,
) {
    ndarray::Zip::from(out).and(values).and(mask).for_each(|out, &intensity, &inside| {
        let value = scale.value(intensity);
        let clipped = clip.map_or(value, |[low, high]| value.clamp(low, high));
        *out = if background == Background::Zero && !inside { 0.0 } else { clipped };
    });
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
