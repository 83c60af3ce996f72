//! Maps of a volume.

use lesio_anomaly::{Resolution, ScanMaps};
use lesio_image::{Plane, Scan, Volume};
use lesio_io::WriteOptions;
use lesio_io::dataset::Case;
use lesio_report::{HeatMap, ImageSheet, Picture, Scale, Sheet};
use ndarray::{Array2, Zip};

use super::case::MappedPredictor;
use super::config::WrittenMaps;
use super::files::CaseFiles;
use super::pages::Slices;
use super::work::{Mapped, Work, channel_names};
use crate::display::{left_to_right, pixel_of};
use crate::findings::Findings;
use crate::folder::prepare_folder;
use crate::overlay::{OverlaySlice, chosen_slices, heat_map, scan_window, slice_montage};
use crate::workflow_error::WorkflowError;

/// The size of a volume, in bytes, from which on it is not kept in memory beside its maps.
const LARGE: usize = 128 << 20;

/// The slices of a map that are shown: index, scores, and the lesions that were found in them.
type ShownSlices = Vec<(usize, Array2<f32>, Option<Array2<bool>>)>;

/// How the slices of a volume are drawn.
struct View {
    /// The name and the display window of each channel.
    windows: Vec<(String, Scale)>,
    /// Whether columns run from the subject's left to the right.
    left_to_right: bool,
}

impl Work<'_> {
    /// Maps a volume and writes the results into a folder.
    pub(super) fn map_volume(
        &self,
        case: &Case,
        scan: Scan,
        files: &CaseFiles,
    ) -> Result<Mapped, WorkflowError> {
        let scored = self.localizer.maps(&scan, self.predictors)?;
        prepare_folder(files.folder())?;
        let options = WriteOptions::new().existing(self.config.existing);
        let header = case.header()?;
        let options = header.iter().fold(options, |options, header| options.like(header));
        let plane = self.localizer.preprocessing().config().plane;
        let mut windows = Vec::with_capacity(scan.channels());
        for (channel, values) in scan.data().outer_iter().enumerate() {
            let name = scan.names().get(channel).cloned().unwrap_or_default();
            windows.push((name, scan_window(&values, scored.foreground())?));
        }
        let view = View { windows, left_to_right: left_to_right(plane, header.as_ref()) };
        let voxel_ml = scan.geometry().voxel_volume() / 1000.0;
        let names_of_channels = channel_names(&scan);
        let mut channels = Vec::with_capacity(self.predictors.len());
        for &predictor in self.predictors {
            let mut written = Vec::new();
            for (path, map) in self.channel_maps(&scan, predictor, files, "nii.gz")? {
                options.write(&path, &map)?;
                written.push(path);
            }
            channels.push(written);
        }
        // There is no memory for a large volume beside its maps: it is read again when its slices are drawn.
        let mut kept = Some(scan).filter(|scan| 4 * scan.data().len() < LARGE);
        let (mut mapped, mut shown) = (Vec::new(), Vec::new());
        let mut draft = self.draft(Slices::Along(plane), scored.foreground(), view.windows.len());
        // There is memory for one map, which is filtered in place, and later for its labels.
        for (maps, channels) in scored.maps().zip(channels) {
            let predictor = maps.predictor();
            let raw = maps.raw()?;
            if self.config.maps == WrittenMaps::All {
                options.write(files.raw(predictor, "nii.gz"), &raw)?;
            }
            let map = maps.postprocessed(raw)?;
            let found = self.find(
                predictor,
                &map,
                scored.foreground(),
                scored.resolution(),
                Some(voxel_ml),
                scored.doubt(),
            )?;
            let verdict = self.judge(predictor, &map, scored.foreground(), scored.doubt())?;
            let mut result = self.describe(predictor, files, "nii.gz", found.as_ref(), verdict);
            if !channels.is_empty() {
                result.channel_names.clone_from(&names_of_channels);
            }
            result.channels = channels;
            if let Some(file) = &result.map {
                options.write(file, &map)?;
            }
            let heat_map = heat_map(self.localizer, predictor, map.data())?;
            if let Some(draft) = &mut draft {
                draft.keep(
                    self,
                    &result,
                    &map,
                    scored.foreground(),
                    scored.resolution(),
                    heat_map.clone(),
                )?;
            }
            shown.push((heat_map, self.shown_slices(&map, scored.foreground(), found.as_ref(), plane)));
            drop(map);
            if let Some(found) = found.as_ref().filter(|_| self.config.maps != WrittenMaps::None) {
                let labels = files.lesions(predictor);
                options.write(&labels, &found.labels())?;
                result.labels = Some(labels);
            }
            mapped.push(result);
        }
        let scan = match kept.take() {
            Some(scan) => scan,
            None => match self.read(case)?.scan {
                scan if scan.grid() == scored.foreground().shape() => scan,
                _ => return Err(WorkflowError::Changed),
            },
        };
        for (result, (heat_map, slices)) in mapped.iter().zip(shown) {
            self.write_overlay(result, &scan, &scored, &view, &heat_map, slices)?;
        }
        let mut page = None;
        if let Some(draft) = draft {
            let reduction = draft.reduction();
            let picture = |slice: usize| -> Result<Picture, WorkflowError> {
                match (scan.slice(plane, slice, 0), view.windows.first()) {
                    (Some(image), Some((_, window))) => Ok(Picture::gray(image, *window)?),
                    _ => Err(WorkflowError::Without { whole: "volume", part: "a slice" }),
                }
            };
            let sheets = || volume_sheets(&scan, plane, &view.windows, reduction);
            let pixel = pixel_of(scan.geometry(), plane);
            page = draft.finish(self, &mut mapped, files, pixel, picture, sheets)?;
        }
        if let (Some(page), Resolution::Volume([_, row, column])) = (&mut page, scored.resolution()) {
            (page.aspect, page.voxel_ml) = (row / column, Some(voxel_ml));
            page.left_to_right = view.left_to_right;
        }
        Ok((mapped, *scored.resolution(), scored.doubt().cloned(), page))
    }

    fn shown_slices(
        &self,
        map: &Volume<f32>,
        foreground: &Volume<bool>,
        found: Option<&Findings>,
        plane: Plane,
    ) -> ShownSlices {
        let marks = found.map(Findings::marks);
        let mut slices = Vec::new();
        for slice in chosen_slices(foreground, marks.as_ref(), plane, self.config.slices) {
            let Some(map) = map.upright_plane(plane, slice).map(|map| map.to_owned()) else { continue };
            let marked = marks.as_ref().and_then(|marks| marks.upright_plane(plane, slice));
            slices.push((slice, map, marked.map(|marks| marks.mapv(|mark| mark > 0))));
        }
        slices
    }

    fn write_overlay(
        &self,
        result: &MappedPredictor,
        scan: &Scan,
        scored: &ScanMaps<'_>,
        view: &View,
        heat_map: &HeatMap,
        slices: ShownSlices,
    ) -> Result<(), WorkflowError> {
        let plane = self.localizer.preprocessing().config().plane;
        let mut overlay = Vec::with_capacity(slices.len());
        for (slice, map, marked) in slices {
            let (mut images, mut reconstructions) = (Vec::new(), Vec::new());
            for channel in 0..scan.channels() {
                let image = scan.slice(plane, slice, channel).map(|image| image.to_owned());
                let inside = scored.foreground().upright_plane(plane, slice);
                let parts = (image, inside, scored.reconstructed_slice(slice, channel)?);
                let (Some(image), Some(inside), Some(mut reconstruction)) = parts else { continue };
                // Outside the foreground, which the model does not see, the scan itself is shown.
                Zip::from(&mut reconstruction).and(&image).and(&inside).for_each(|value, &own, &inside| {
                    if !inside {
                        *value = own;
                    }
                });
                images.push(image);
                reconstructions.push(reconstruction);
            }
            overlay.push(OverlaySlice { slice, images, reconstructions, map, marked });
        }
        let name = result.name.as_str();
        let pixel = pixel_of(scan.geometry(), plane);
        let picture = slice_montage(name, heat_map, &view.windows, &overlay, pixel, view.left_to_right)?
            .to_picture()?;
        Ok(picture.write_png(&result.overlay, self.config.existing)?)
    }
}

/// The slices of each channel, as one sheet for each.
fn volume_sheets(
    scan: &Scan,
    plane: Plane,
    windows: &[(String, Scale)],
    reduction: usize,
) -> Result<Vec<(String, Sheet)>, WorkflowError> {
    let sheet = |(channel, (name, window)): (usize, &(String, Scale))| {
        let mut sheet = ImageSheet::new(reduction);
        for slice in (0..scan.slices(plane)).filter_map(|slice| scan.slice(plane, slice, channel)) {
            sheet.push(slice, *window)?;
        }
        let name = if name.is_empty() { format!("channel {channel}") } else { name.clone() };
        Ok((name, sheet.encode()?))
    };
    windows.iter().enumerate().map(sheet).collect()
}
