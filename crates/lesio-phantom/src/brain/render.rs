//! From anatomy to pixels.

use lesio_image::noise::{SmoothNoise, branch};
use ndarray::{Array2, Zip};

use super::anatomy::Anatomy;
use super::config::BrainConfig;
use super::contrast::Brightness;
use super::outline::{Outline, Vault};
use super::tissue::Tissue;
use crate::acquisition::{add_bias, add_rician_noise};
use crate::canvas::{DistanceField, SubjectFrame, coverage};
use crate::phantom::PhantomSlice;

/// Pixel size in millimeters.
pub(super) fn pixel(config: &BrainConfig) -> f64 {
    config.field_of_view / config.size[0].min(config.size[1]) as f64
}

/// The slice of a subject at a height in millimeters.
pub(super) fn slice(config: &BrainConfig, anatomy: &Anatomy, seed: u64, height: f64) -> PhantomSlice {
    let pixel = pixel(config);
    let [rows, columns] = config.size;
    let frame = SubjectFrame::new(config.size, pixel, anatomy.angle, anatomy.shift);
    let outline = anatomy.outline(height);
    let mut fields = Fields {
        sulci: DistanceField::new(frame, anatomy.cortex + 2.0 * pixel),
        ventricles: DistanceField::new(frame, 10.0),
        nuclei: DistanceField::new(frame, 2.0 * pixel),
    };
    anatomy.sulci(&outline, height).iter().for_each(|stroke| fields.sulci.stroke(stroke));
    anatomy.ventricles(height).iter().for_each(|stroke| fields.ventricles.stroke(stroke));
    anatomy.nuclei(height).iter().for_each(|stroke| fields.nuclei.stroke(stroke));
    let fine = SmoothNoise::new(branch(seed, 50), 5.0).plane(rows, columns, pixel, height);
    let broad = SmoothNoise::new(branch(seed, 51), 32.0).plane(rows, columns, pixel, height);

    let brightness = Brightness::new(config.contrast, branch(seed, 52));
    let air = outline.air() + pixel;
    let mut image = Array2::zeros((rows, columns));
    let mut labels = Array2::zeros((rows, columns));
    Zip::indexed(&mut image).and(&mut labels).and(&fine).and(&broad).for_each(
        |(row, column), value: &mut f32, label: &mut u8, &fine, &broad| {
            let place @ [x, y] = frame.place(row, column);
            if x * x + y * y > air * air {
                return;
            }
            let distances = fields.at(row, column);
            let point = Point { place, distances, texture: 1.0 + 0.018 * fine + 0.025 * broad, fine };
            let (intensity, tissue) = paint(&point, &outline, anatomy, &brightness, pixel);
            *value = intensity as f32;
            *label = tissue.label();
        },
    );
    add_bias(&mut image, branch(seed, 53), config.bias, pixel, height);
    add_rician_noise(&mut image, branch(branch(seed, 54), height.to_bits()), config.noise);
    PhantomSlice { image, labels }
}

struct Fields {
    sulci: DistanceField,
    ventricles: DistanceField,
    nuclei: DistanceField,
}

/// Distances in millimeters of one pixel, negative inside.
struct Distances {
    sulci: f64,
    ventricles: f64,
    nuclei: f64,
}

struct Point {
    place: [f64; 2],
    distances: Distances,
    texture: f32,
    fine: f32,
}

impl Fields {
    fn at(&self, row: usize, column: usize) -> Distances {
        let read = |field: &DistanceField| f64::from(field.values()[[row, column]]);
        Distances { sulci: read(&self.sulci), ventricles: read(&self.ventricles), nuclei: read(&self.nuclei) }
    }
}

/// Intensity and tissue of a pixel, with the partial volume of every boundary in it.
fn paint(
    point: &Point,
    outline: &Outline,
    anatomy: &Anatomy,
    brightness: &Brightness,
    pixel: f64,
) -> (f64, Tissue) {
    let (outside, direction) = outline.at(point.place);
    let texture = f64::from(point.texture);
    let brain = coverage(outside, pixel);
    let mut value = 0.0;
    let mut tissue = Tissue::Outside;
    if brain > 0.0 {
        let d = &point.distances;
        // Depth below the pia, whether at the surface or in a sulcus; gray matter follows both.
        let depth = (-outside - outline.fluid(direction)).min(d.sulci);
        let cortical_fluid = coverage(depth, pixel);
        let fluid = cortical_fluid.max(coverage(d.ventricles, pixel));
        // The ribbon thins a little at the bottom of sulci and thickens at the crowns.
        let ribbon = anatomy.cortex * (1.0 + 0.12 * f64::from(point.fine));
        let rest = 1.0 - fluid;
        let gray = rest * coverage(depth - ribbon, pixel);
        let deep_gray = (rest - gray) * coverage(d.nuclei, pixel);
        let white = rest - gray - deep_gray;
        let mut white_value = brightness.white;
        if brightness.caps > 0.0 {
            let [x, y] = point.place;
            let near = Anatomy::horns()
                .iter()
                .map(|&[hx, hy]| (-((x.abs() - hx).powi(2) + (y - hy).powi(2)) / 72.0).exp())
                .fold(0.0, f64::max);
            let rim = (-(d.ventricles - 1.5).max(0.0) / 2.5).exp();
            white_value += brightness.caps * rim * (0.25 + near);
        }
        let parts = [
            (Tissue::Fluid, fluid, brightness.fluid),
            (Tissue::Gray, gray, brightness.gray * texture),
            (Tissue::DeepGray, deep_gray, brightness.deep_gray * texture),
            (Tissue::White, white, white_value * texture),
        ];
        value = brain * parts.iter().map(|(_, share, value)| share * value).sum::<f64>();
        if brain >= 0.5 {
            // The first of equal shares, so that a tie does not depend on rounding order.
            let mut most = 0.0;
            for (candidate, share, _) in parts {
                if share > most {
                    (most, tissue) = (share, candidate);
                }
            }
        }
    }
    if brain < 1.0 {
        value += (1.0 - brain) * cover(outside, outline.vault(direction), brightness, pixel) * texture;
    }
    (value, tissue)
}

/// Brightness beyond the brain: skull with its marrow, muscle at the temples, scalp, air.
fn cover(outside: f64, vault: Vault, brightness: &Brightness, pixel: f64) -> f64 {
    let skull_end = vault.skull;
    let muscle_end = skull_end + vault.muscle;
    let scalp_end = muscle_end + vault.scalp;
    let within = |from: f64, to: f64| coverage(from - outside, pixel) * coverage(outside - to, pixel);
    let marrow = within(vault.table, skull_end - vault.table);
    let bone = within(0.0, skull_end) - marrow;
    bone.max(0.0) * brightness.bone
        + marrow * brightness.marrow
        + within(skull_end, muscle_end) * brightness.muscle
        + within(muscle_end, scalp_end) * brightness.fat
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BrainPhantom;

    #[test]
    fn the_pixel_fills_the_field_of_view() {
        let config = BrainConfig::new([64, 128], crate::Contrast::Flair, 0).field_of_view(192.0);
        assert_eq!(pixel(&config), 3.0);
        assert!(BrainPhantom::new(config).is_ok());
    }
}
