//! Maps of a two-dimensional picture.

use lesio_image::{Geometry, Image, Plane, Scan, Volume};
use lesio_io::write_tiff;
use lesio_report::{ImageSheet, Picture, Scale, Sheet};
use ndarray::{Array2, Axis};

use super::config::WrittenMaps;
use super::files::CaseFiles;
use super::pages::Slices;
use super::work::{Mapped, Work, channel_names};
use crate::findings::Findings;
use crate::folder::prepare_folder;
use crate::overlay::{drawn_image, heat_map, image_window, picture_montage};
use crate::workflow_error::WorkflowError;

impl Work<'_> {
    /// Maps a picture and writes the results into a folder.
    pub(super) fn map_picture(&self, scan: Scan, files: &CaseFiles) -> Result<Mapped, WorkflowError> {
        let scored = self.localizer.maps(&scan, self.predictors)?;
        let existing = self.config.existing;
        prepare_folder(files.folder())?;
        let names_of_channels = channel_names(&scan);
        let mut channels = Vec::with_capacity(self.predictors.len());
        for &predictor in self.predictors {
            let mut written = Vec::new();
            for (path, map) in self.channel_maps(&scan, predictor, files, "tiff")? {
                write_tiff(&path, &upright(&map)?, existing)?;
                written.push(path);
            }
            channels.push(written);
        }
        let reconstruction = scored.reconstruction(&scan)?.into_image();
        let names = scan.names().to_vec();
        let image = scan.into_image();
        let foreground = one_slice(upright(scored.foreground())?);
        let window = image_window(&image)?;
        let drawn = if image.channels() == 3 { 1 } else { image.channels() };
        let mut draft = self.draft(Slices::Picture, &foreground, drawn);
        let mut mapped = Vec::new();
        for (maps, channels) in scored.maps().zip(channels) {
            let predictor = maps.predictor();
            let raw = maps.raw()?;
            if self.config.maps == WrittenMaps::All {
                write_tiff(files.raw(predictor, "tiff"), &upright(&raw)?, existing)?;
            }
            let map = one_slice(upright(&maps.postprocessed(raw)?)?);
            let found = self.find(predictor, &map, &foreground, scored.resolution(), None, scored.doubt())?;
            let plane = map.data().index_axis(Axis(2), 0);
            let verdict = self.judge(predictor, &map, &foreground, scored.doubt())?;
            let mut result = self.describe(predictor, files, "tiff", found.as_ref(), verdict);
            if !channels.is_empty() {
                result.channel_names.clone_from(&names_of_channels);
            }
            result.channels = channels;
            if let Some(file) = &result.map {
                write_tiff(file, &plane, existing)?;
            }
            let labels = found.as_ref().map(Findings::labels);
            let labels = labels.as_ref().map(|labels| labels.data().index_axis(Axis(2), 0));
            let colors = heat_map(self.localizer, predictor, plane)?;
            let montage =
                picture_montage(predictor.as_str(), &colors, &image, &reconstruction, plane, labels)?;
            montage.to_picture()?.write_png(&result.overlay, existing)?;
            if let Some(draft) = &mut draft {
                draft.keep(self, &result, &map, &foreground, scored.resolution(), colors)?;
            }
            mapped.push(result);
        }
        let page = match draft {
            None => None,
            Some(draft) => {
                let reduction = draft.reduction();
                let picture =
                    |_: usize| -> Result<Picture, WorkflowError> { Ok(drawn_image(&image, window)?) };
                let sheets = || image_sheets(&image, window, &names, reduction);
                draft.finish(self, &mut mapped, files, [1.0; 2], picture, sheets)?
            }
        };
        Ok((mapped, *scored.resolution(), scored.doubt().cloned(), page))
    }
}

/// The channels of an image as sheets of one slice; three channels together are colors.
fn image_sheets(
    image: &Image<f32>,
    window: Scale,
    names: &[String],
    reduction: usize,
) -> Result<Vec<(String, Sheet)>, WorkflowError> {
    if image.channels() == 3 {
        let mut sheet = ImageSheet::new(reduction);
        sheet.push_image(image, window)?;
        return Ok(vec![("image".to_owned(), sheet.encode()?)]);
    }
    let planes = image.data().outer_iter().enumerate().map(|(channel, plane)| {
        let mut sheet = ImageSheet::new(reduction);
        sheet.push(plane, window)?;
        let name = names.get(channel).cloned().unwrap_or_else(|| format!("channel {channel}"));
        Ok((name, sheet.encode()?))
    });
    planes.collect()
}

/// The only slice of a picture's map, `[row, column]`.
fn upright<T: Clone>(map: &Volume<T>) -> Result<Array2<T>, WorkflowError> {
    let plane = map.upright_plane(Plane::Axial, 0);
    let plane = plane.ok_or_else(|| WorkflowError::Without { whole: "picture", part: "a slice" })?;
    Ok(plane.as_standard_layout().into_owned())
}

/// A plane as a volume whose voxels are indexed by `(row, column, 0)`.
fn one_slice<T>(plane: Array2<T>) -> Volume<T> {
    Volume::new(plane.insert_axis(Axis(2)), Geometry::default())
}
