//! Scans: co-registered channels on one grid.

use std::fmt;

use ndarray::{Array2, Array3, Array4, ArrayView2, ArrayView3, Axis, ShapeBuilder};

use crate::agreement::GridError;
use crate::error::{ImageError, check_contrast, check_shape};
use crate::geometry::Geometry;
use crate::image::Image;
use crate::orientation::Orientation;
use crate::volume::{Plane, Volume, upright_slice};

/// One or several co-registered channels on one grid: a volume of many slices, or a picture, which is one slice.
///
/// Channels have names where they are known, such as `flair` and `t1`; a model keeps the order of those it was trained on.
/// A picture's columns are its first axis and its rows the second, which runs downwards; its pixels have no size.
///
/// ```
/// use lesio_image::{Geometry, Image, Plane, Scan, Volume};
/// use ndarray::Array3;
///
/// let grid = Geometry::from_spacing([1.0, 1.0, 3.0])?;
/// let volume = |value: f32| Volume::new(Array3::from_elem((4, 5, 6), value), grid);
/// let scan = Scan::joined(vec![volume(1.0), volume(2.0)])?.with_names(["flair", "t1"])?;
/// assert_eq!((scan.channels(), scan.grid()), (2, [4, 5, 6]));
///
/// let picture = Scan::from(Image::new(Array3::<f32>::zeros((3, 20, 30))));
/// assert!(picture.is_picture());
/// assert_eq!(picture.slice(Plane::Axial, 0, 2).map(|slice| slice.dim()), Some((20, 30)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Scan {
    /// `[channel, i, j, k]`.
    data: Array4<f32>,
    geometry: Geometry,
    kind: Kind,
    names: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Volume,
    Picture,
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan")
            .field("kind", &self.kind)
            .field("shape", &self.data.shape())
            .field("geometry", &self.geometry)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// Why channels do not form a scan, or not the expected one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ScanError {
    /// No channel was given.
    #[error("a scan has at least one channel")]
    NoChannels,
    /// A channel has another position than the first.
    #[error("channel {channel} has another position in space than channel 0")]
    Grid {
        /// Which, from 0.
        channel: usize,
        /// How they differ.
        source: GridError,
    },
    /// Another number of names than channels.
    #[error(
        "{found} name{} given for {expected} channel{}",
        if *found == 1 { "" } else { "s" },
        if *expected == 1 { "" } else { "s" }
    )]
    Names {
        /// How many were given.
        found: usize,
        /// How many channels there are.
        expected: usize,
    },
    /// A name that occurs twice.
    #[error("two channels are named {name:?}")]
    Repeated {
        /// The name.
        name: String,
    },
    /// Channels with other names than expected.
    #[error("the channels are {}, expected {}", listed(found), listed(expected))]
    Channels {
        /// The names found.
        found: Vec<String>,
        /// The expected names.
        expected: Vec<String>,
    },
}

fn listed(names: &[String]) -> String {
    names.join(", ")
}

impl Scan {
    /// Volumes as the channels of one scan, on the grid of the first. Those whose voxels are in another order are brought
    /// into the first's, by both affines.
    ///
    /// # Errors
    /// [`ScanError::NoChannels`], and [`ScanError::Grid`] for a volume elsewhere or of another shape.
    pub fn joined(volumes: Vec<Volume<f32>>) -> Result<Self, ScanError> {
        let count = volumes.len();
        let mut volumes = volumes.into_iter();
        let first = volumes.next().ok_or(ScanError::NoChannels)?;
        if count == 1 {
            return Ok(first.into());
        }
        let (geometry, shape) = (*first.geometry(), first.shape());
        // Each channel lies in memory as the first does.
        let is_fortran = !first.data().is_standard_layout() && first.data().t().is_standard_layout();
        let [i, j, k] = shape;
        let mut data = match is_fortran {
            true => Array4::zeros((i, j, k, count).f()).permuted_axes([3, 0, 1, 2]),
            false => Array4::zeros((count, i, j, k)),
        };
        data.index_axis_mut(Axis(0), 0).assign(first.data());
        drop(first);
        for (channel, volume) in (1..).zip(volumes) {
            let (volume, _) =
                volume.aligned_to(&geometry, shape).map_err(|source| ScanError::Grid { channel, source })?;
            data.index_axis_mut(Axis(0), channel).assign(volume.data());
        }
        Ok(Self { data, geometry, kind: Kind::Volume, names: Vec::new() })
    }

    /// Sets the names of its channels, in their order.
    ///
    /// # Errors
    /// [`ScanError::Names`] for another number of them, [`ScanError::Repeated`].
    pub fn with_names(
        mut self,
        names: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self, ScanError> {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let (found, expected) = (names.len(), self.channels());
        if found != expected {
            return Err(ScanError::Names { found, expected });
        }
        if let Some(name) =
            names.iter().enumerate().find_map(|(k, name)| names[..k].contains(name).then_some(name))
        {
            return Err(ScanError::Repeated { name: name.clone() });
        }
        self.names = names;
        Ok(self)
    }

    /// The channels of these names, in their order; the scan itself where it has no names, or these.
    ///
    /// # Errors
    /// [`ScanError::Channels`] if one is missing.
    pub fn with_channels(self, names: &[String]) -> Result<Self, ScanError> {
        if self.names.is_empty() || self.names == names {
            return Ok(self);
        }
        let place = |name: &String| self.names.iter().position(|own| own == name);
        match names.iter().map(place).collect::<Option<Vec<usize>>>() {
            Some(places) => {
                Ok(Self { data: self.data.select(Axis(0), &places), names: names.to_vec(), ..self })
            }
            None => Err(ScanError::Channels { found: self.names, expected: names.to_vec() }),
        }
    }

    /// The values, `[channel, i, j, k]`.
    #[must_use]
    pub fn data(&self) -> &Array4<f32> {
        &self.data
    }

    /// The values, `[channel, i, j, k]`.
    #[must_use]
    pub fn into_data(self) -> Array4<f32> {
        self.data
    }

    /// Other values, `[channel, i, j, k]`, on the grid of this scan: of the same kind, with the same names of channels.
    ///
    /// # Errors
    /// [`ImageError::ShapeMismatch`] for values of another shape.
    pub fn with_values(&self, values: Array4<f32>) -> Result<Self, ImageError> {
        check_shape("values", values.shape(), self.data.shape())?;
        Ok(self.like(values))
    }

    /// A volume with its voxels in the order of another orientation, as [`Volume::reoriented`] does; a picture as it is.
    #[must_use]
    pub fn reoriented(&self, target: &Orientation) -> Self {
        if self.is_picture() {
            return self.clone();
        }
        let turned = |values: ArrayView3<'_, f32>| self.placed(values.to_owned()).reoriented(target);
        let channels: Vec<Volume<f32>> = self.data.outer_iter().map(turned).collect();
        let views: Vec<_> = channels.iter().map(|channel| channel.data().view()).collect();
        // Equal shapes always join; a volume has a channel.
        match (channels.first(), ndarray::stack(Axis(0), &views)) {
            (Some(first), Ok(data)) => {
                Self { data, geometry: *first.geometry(), kind: self.kind, names: self.names.clone() }
            }
            _ => self.clone(),
        }
    }

    /// Number of channels: at least 1, but 0 for a picture of an image without channels, which cannot be prepared.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.data.len_of(Axis(0))
    }

    /// The names of the channels; none where they are not known.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Checks that there is something to work with: finite values that differ, in each channel of a volume, and in all
    /// channels of a picture together, as they are scaled.
    ///
    /// # Errors
    /// [`ImageError::NonFiniteVoxels`] and [`ImageError::ConstantImage`], within [`ImageError::Channel`] if a volume has
    /// several channels; [`ImageError::EmptyImage`].
    pub fn check(&self) -> Result<(), ImageError> {
        if self.is_picture() {
            return check_contrast(&self.data);
        }
        let mut channels = self.data.outer_iter().enumerate();
        channels.try_for_each(|(index, channel)| {
            check_contrast(&channel).map_err(|error| self.in_channel(index, error))
        })
    }

    /// The error of a channel, which is named if there are several.
    pub(crate) fn in_channel(&self, channel: usize, error: ImageError) -> ImageError {
        if self.channels() == 1 {
            return error;
        }
        let channel = self.names.get(channel).cloned().unwrap_or_else(|| channel.to_string());
        ImageError::Channel { channel, source: Box::new(error) }
    }

    /// One channel, axes `(i, j, k)`; `None` past the last.
    #[must_use]
    pub fn channel(&self, channel: usize) -> Option<ArrayView3<'_, f32>> {
        (channel < self.channels()).then(|| self.data.index_axis(Axis(0), channel))
    }

    /// Number of voxels along each axis.
    #[must_use]
    pub fn grid(&self) -> [usize; 3] {
        let shape = self.data.shape();
        [shape[1], shape[2], shape[3]]
    }

    /// The geometry. For a picture: columns run to the right and rows down, in pixels.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Whether it is a picture: one slice, whose pixels have no known size.
    #[must_use]
    pub fn is_picture(&self) -> bool {
        self.kind == Kind::Picture
    }

    /// The plane of the slices: the requested one for a volume, the picture itself for a picture.
    #[must_use]
    pub fn plane(&self, of_volume: Plane) -> Plane {
        if self.is_picture() { Plane::Axial } else { of_volume }
    }

    /// The voxel axis through the slices of a plane.
    #[must_use]
    pub fn slicing_axis(&self, plane: Plane) -> usize {
        let plane = self.plane(plane);
        let codes = self.geometry.axis_codes();
        codes.iter().position(|code| code.world().0 == plane.axis()).unwrap_or(plane.axis())
    }

    /// Number of slices of a plane.
    #[must_use]
    pub fn slices(&self, plane: Plane) -> usize {
        self.grid()[self.slicing_axis(plane)]
    }

    /// One slice of a channel, `[row, column]`, of the scan in RAS+, as a view; `None` past the last. The only slice of
    /// a picture is the picture.
    #[must_use]
    pub fn slice(&self, plane: Plane, index: usize, channel: usize) -> Option<ArrayView2<'_, f32>> {
        upright_slice(&self.geometry, self.channel(channel)?, self.plane(plane), index)
    }

    /// The values of one channel alone, axes `(i, j, k)`; of the last past it. Without voxels if there is no channel.
    #[must_use]
    pub fn into_channel(self, channel: usize) -> Array3<f32> {
        match self.channels().checked_sub(1) {
            Some(last) => self.data.index_axis_move(Axis(0), channel.min(last)),
            None => Array3::zeros((0, 0, 0)),
        }
    }

    /// Makes a volume of values on this scan's grid.
    #[must_use]
    pub fn placed<T>(&self, values: Array3<T>) -> Volume<T> {
        Volume::new(values, self.geometry)
    }

    /// One channel as a volume; `None` past the last.
    #[must_use]
    pub fn volume(&self, channel: usize) -> Option<Volume<f32>> {
        self.channel(channel).map(|view| self.placed(view.to_owned()))
    }

    /// Values `[row, column]` of a picture as a volume of one slice on its grid; nothing is copied.
    #[must_use]
    pub fn of_picture<T>(values: Array2<T>) -> Volume<T> {
        Volume::new(values.reversed_axes().insert_axis(Axis(2)), Geometry::picture())
    }

    /// This scan inside a mask on its grid; outside of it another scan of the same shape, whose channels are taken in
    /// the order given, one for each.
    ///
    /// # Errors
    /// [`ImageError::ShapeMismatch`] for a mask or a scan of another shape, [`ImageError::CountMismatch`] for an
    /// order of another number of channels or with a channel that the other scan does not have.
    pub fn outside(
        mut self,
        inside: &Volume<bool>,
        other: &Self,
        order: &[usize],
    ) -> Result<Self, ImageError> {
        check_shape("mask", &inside.shape(), &self.grid())?;
        check_shape("scan", &other.grid(), &self.grid())?;
        let counted =
            |found: usize, expected: usize| ImageError::CountMismatch { what: "channels", found, expected };
        if order.len() != self.channels() {
            return Err(counted(order.len(), self.channels()));
        }
        for (mut own, &channel) in self.data.outer_iter_mut().zip(order) {
            let missing = || counted(other.channels(), channel.saturating_add(1));
            let other = other.channel(channel).ok_or_else(missing)?;
            ndarray::Zip::from(&mut own).and(&other).and(inside.data()).for_each(|value, &other, &inside| {
                if !inside {
                    *value = other;
                }
            });
        }
        Ok(self)
    }

    /// The pixels of a picture, `[channel, row, column]`.
    pub(crate) fn pixels(&self) -> ArrayView3<'_, f32> {
        self.data.index_axis(Axis(3), 0).permuted_axes([0, 2, 1])
    }

    /// Number of intensity scales: one for each channel of a volume, one for a picture.
    pub(crate) fn scaled_channels(&self) -> usize {
        if self.is_picture() { 1 } else { self.channels() }
    }

    /// Another scan of the same geometry and names.
    pub(crate) fn like(&self, data: Array4<f32>) -> Self {
        Self { data, geometry: self.geometry, kind: self.kind, names: self.names.clone() }
    }
}

impl From<Volume<f32>> for Scan {
    fn from(volume: Volume<f32>) -> Self {
        let geometry = *volume.geometry();
        let data = volume.into_data().insert_axis(Axis(0));
        Self { data, geometry, kind: Kind::Volume, names: Vec::new() }
    }
}

impl From<Image<f32>> for Scan {
    fn from(image: Image<f32>) -> Self {
        let data = image.into_data().permuted_axes([0, 2, 1]).insert_axis(Axis(3));
        Self { data, geometry: Geometry::picture(), kind: Kind::Picture, names: Vec::new() }
    }
}

impl Scan {
    /// The pixels of a picture, `[channel, row, column]`; the first slice of a volume along its last axis, without
    /// pixels if it has none.
    #[must_use]
    pub fn into_image(self) -> Image<f32> {
        if self.data.len_of(Axis(3)) == 0 {
            return Image::new(Array3::zeros((self.channels(), 0, 0)));
        }
        let first = self.data.index_axis_move(Axis(3), 0);
        Image::new(first.permuted_axes([0, 2, 1]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(offset: usize) -> Volume<f32> {
        let data = Array3::from_shape_fn((3, 4, 5), |(i, j, k)| (offset + 100 * i + 10 * j + k) as f32);
        Volume::new(data, Geometry::from_spacing([1.0, 2.0, 3.0]).unwrap())
    }

    #[test]
    fn channels_of_another_order_of_voxels_are_brought_to_the_first() {
        let turned = volume(7).reoriented(&"PSL".parse::<Orientation>().unwrap());
        let scan = Scan::joined(vec![volume(0), turned]).unwrap();
        assert_eq!(scan.channel(1).unwrap(), volume(7).data().view());
        let elsewhere = Volume::new(volume(0).into_data(), Geometry::default());
        let error = Scan::joined(vec![volume(0), volume(1), elsewhere]).unwrap_err();
        assert!(matches!(error, ScanError::Grid { channel: 2, .. }), "{error}");
        assert_eq!(Scan::joined(Vec::new()), Err(ScanError::NoChannels));
        // Whatever the order in memory.
        let columns = Volume::new(volume(0).into_data().reversed_axes(), *volume(0).geometry());
        let scan = Scan::joined(vec![columns.clone(), columns.clone()]).unwrap();
        assert_eq!(scan.channel(1).unwrap(), columns.data().view());
        assert_eq!(scan.channel(0).unwrap().strides(), columns.data().strides());
    }

    #[test]
    fn all_channels_turn_together() {
        let scan = Scan::joined(vec![volume(0), volume(7)]).unwrap().with_names(["a", "b"]).unwrap();
        let target = "PSL".parse::<Orientation>().unwrap();
        let turned = scan.reoriented(&target);
        for (channel, offset) in [(0, 0), (1, 7)] {
            assert_eq!(turned.volume(channel).unwrap(), volume(offset).reoriented(&target));
        }
        assert_eq!(turned.names(), scan.names());
        let other = scan.with_values(scan.data() * 2.0).unwrap();
        assert_eq!((other.geometry(), other.names()), (scan.geometry(), scan.names()));
        assert_eq!(other.into_data()[[1, 0, 0, 1]], 16.0);
        assert!(scan.with_values(Array4::zeros((1, 3, 4, 5))).is_err());
        let picture = Scan::from(Image::new(Array3::zeros((2, 3, 4))));
        assert_eq!(picture.reoriented(&target), picture);
    }

    #[test]
    fn channels_go_by_name() {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let scan = Scan::joined(vec![volume(0), volume(1)]).unwrap();
        assert_eq!(scan.clone().with_channels(&names(&["a", "b"])).unwrap(), scan);
        let scan = scan.with_names(["a", "b"]).unwrap();
        let turned = scan.clone().with_channels(&names(&["b", "a"])).unwrap();
        assert_eq!(turned.channel(0).unwrap(), volume(1).data().view());
        let error = scan.clone().with_channels(&names(&["a", "c"])).unwrap_err().to_string();
        assert!(error.contains("a, b") && error.contains("a, c"), "{error}");
        let few = scan.clone().with_names(["a"]).unwrap_err();
        assert_eq!(few.to_string(), "1 name given for 2 channels");
        assert_eq!(few, ScanError::Names { found: 1, expected: 2 });
        assert!(matches!(scan.with_names(["a", "a"]), Err(ScanError::Repeated { .. })));
    }

    #[test]
    fn a_picture_is_seen_as_it_is() {
        let image = Image::new(Array3::from_shape_fn((2, 3, 4), |(c, y, x)| (100 * c + 10 * y + x) as f32));
        let scan = Scan::from(image.clone());
        assert_eq!((scan.grid(), scan.slices(Plane::Sagittal)), ([4, 3, 1], 1));
        for channel in 0..2 {
            assert_eq!(scan.slice(Plane::Coronal, 0, channel).unwrap(), image.channel(channel).unwrap());
        }
        assert_eq!(scan.slice(Plane::Axial, 1, 0), None);
        let mask = Scan::of_picture(image.channel(1).unwrap().to_owned());
        assert_eq!((mask.geometry(), mask.shape()), (scan.geometry(), scan.grid()));
        assert_eq!(mask.upright_plane(Plane::Axial, 0).unwrap(), image.channel(1).unwrap());
        assert_eq!(scan.into_image(), image);
    }

    #[test]
    fn what_has_no_channel_or_slice_is_empty_and_no_panic() {
        let none = Scan::from(Image::new(Array3::<f32>::zeros((0, 3, 4))));
        assert_eq!((none.channels(), none.channel(0), none.slice(Plane::Axial, 0, 0)), (0, None, None));
        assert!(matches!(none.check(), Err(ImageError::EmptyImage { .. })));
        assert!(none.into_channel(0).is_empty());
        let flat = Scan::from(Volume::new(Array3::<f32>::zeros((3, 4, 0)), Geometry::default()));
        assert_eq!(flat.into_image().data().dim(), (1, 0, 0));
        // Past the last channel it is the last.
        let scan = Scan::joined(vec![volume(0), volume(1)]).unwrap();
        assert_eq!(scan.into_channel(7), volume(1).into_data());
    }

    #[test]
    fn outside_of_a_mask_is_the_other_scan_of_the_same_shape() {
        let scan = |first, second| Scan::joined(vec![volume(first), volume(second)]).unwrap();
        let (own, other) = (scan(0, 1), scan(5, 6));
        let inside = own.placed(Array3::from_shape_fn((3, 4, 5), |(i, ..)| i == 0));
        let mixed = own.clone().outside(&inside, &other, &[1, 0]).unwrap();
        for (channel, there) in [(0, 6), (1, 5)] {
            let expected = Array3::from_shape_fn((3, 4, 5), |at| match inside.data()[at] {
                true => volume(channel).data()[at],
                false => volume(there).data()[at],
            });
            assert_eq!(mixed.channel(channel).unwrap(), expected.view());
        }
        let refused = |inside: &Volume<bool>, other: &Scan, order: &[usize]| {
            own.clone().outside(inside, other, order).unwrap_err().to_string()
        };
        let small = own.placed(Array3::from_elem((3, 4, 4), true));
        assert_eq!(refused(&small, &other, &[0, 1]), "mask has shape [3, 4, 4], expected [3, 4, 5]");
        let picture = Scan::from(Image::new(Array3::<f32>::zeros((2, 3, 4))));
        assert_eq!(refused(&inside, &picture, &[0, 1]), "scan has shape [4, 3, 1], expected [3, 4, 5]");
        assert_eq!(refused(&inside, &other, &[0]), "1 channels given, expected 2");
        assert_eq!(refused(&inside, &other, &[0, 2]), "2 channels given, expected 3");
    }
}
