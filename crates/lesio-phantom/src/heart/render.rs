//! From the heart and what surrounds it to pixels.

use lesio_image::noise::{SmoothNoise, branch, drift, uniform};
use ndarray::{Array2, Zip};

use super::anatomy::{Anatomy, Distances};
use super::config::HeartConfig;
use super::part::HeartPart;
use super::phase::CardiacPhase;
use crate::acquisition::{add_bias, add_rician_noise};
use crate::canvas::{SubjectFrame, coverage};
use crate::phantom::PhantomSlice;

/// The slice of a subject in a phase at a level.
pub(super) fn slice(
    config: &HeartConfig,
    anatomy: &Anatomy,
    seed: u64,
    phase: CardiacPhase,
    level: f64,
) -> PhantomSlice {
    let [rows, columns] = config.size;
    let pixel = config.field_of_view / rows.min(columns) as f64;
    let frame = SubjectFrame::new(config.size, pixel, anatomy.angle, anatomy.shift);
    let section = anatomy.section(phase, level);
    let body = Body::new(seed, level);
    let height = 81.0 * level;
    let noise = |purpose: u64, cell: f64| {
        SmoothNoise::new(branch(seed, purpose), cell).plane(rows, columns, pixel, height)
    };
    let (fine, medium, broad) = (noise(50, 4.0), noise(51, 9.0), noise(52, 30.0));
    let mut image = Array2::zeros((rows, columns));
    let mut labels = Array2::zeros((rows, columns));
    Zip::indexed(&mut image).and(&mut labels).and(&fine).and(&medium).and(&broad).for_each(
        |(row, column), value: &mut f32, label: &mut u8, &fine, &medium, &broad| {
            let place = frame.place(row, column);
            let distances = section.at(place);
            let texture = Texture { fine: fine.into(), medium: medium.into(), broad: broad.into() };
            let surroundings = body.at(place, &distances, &texture, pixel);
            let (intensity, part) = body.heart(&distances, &texture, surroundings, pixel);
            *value = intensity as f32;
            *label = part.label();
        },
    );
    add_bias(&mut image, branch(seed, 53), config.bias, pixel, height);
    let phase_seed = branch(branch(seed, 54), phase as u64);
    add_rician_noise(&mut image, branch(phase_seed, level.to_bits()), config.noise);
    PhantomSlice { image, labels }
}

/// Smooth noise of unit variance at one pixel.
struct Texture {
    fine: f64,
    medium: f64,
    broad: f64,
}

/// The brightness of a subject's tissues and the place of what surrounds the heart.
struct Body {
    blood: f64,
    right_blood: f64,
    muscle: f64,
    fat: f64,
    liver: f64,
    lung: f64,
    /// Height of the diaphragm below the heart, its tilt, and distance and direction of the chest wall.
    diaphragm: f64,
    tilt: f64,
    chest: f64,
    chest_direction: [f64; 2],
    aorta: [f64; 3],
}

impl Body {
    fn new(seed: u64, level: f64) -> Self {
        let draw = |purpose, low, high| uniform(seed, purpose, low, high);
        let blood = draw(60, 0.66, 0.82);
        let turn: f64 = draw(61, 1.9, 2.5);
        let sway = |key| drift(branch(seed, key), 1.5 * level);
        Self {
            blood,
            right_blood: blood * draw(62, 0.86, 1.0),
            muscle: draw(63, 0.2, 0.3),
            fat: draw(64, 0.7, 0.95),
            liver: draw(65, 0.26, 0.4),
            lung: draw(66, 0.03, 0.07),
            diaphragm: -draw(67, 40.0, 52.0) + 3.0 * sway(70),
            tilt: draw(68, -0.25, 0.1),
            chest: draw(69, 62.0, 74.0) - 8.0 * level + 2.0 * sway(71),
            chest_direction: [turn.cos(), turn.sin()],
            aorta: [draw(72, 46.0, 60.0), -draw(73, 40.0, 56.0), draw(74, 9.0, 12.0)],
        }
    }

    /// Brightness of what is not the heart.
    fn at(&self, place: [f64; 2], heart: &Distances, texture: &Texture, pixel: f64) -> f64 {
        let [x, y] = place;
        let vessels = coverage(1.35 - texture.medium, 0.35);
        let mut value = self.lung + 0.22 * vessels * coverage(0.6 - texture.fine, 1.0);
        // Below the diaphragm the liver, with its own vessels, and the stomach beside it.
        let above = y - self.diaphragm - self.tilt * x + 0.0022 * (x + 20.0).powi(2) - 1.5 * texture.broad;
        let organ = if x < 22.0 + 6.0 * texture.broad {
            self.liver * (1.0 + 0.05 * texture.fine) + 0.18 * vessels
        } else {
            0.13 + 0.1 * texture.medium.max(0.0) + 0.35 * coverage(1.2 - texture.medium, 0.6)
        };
        value = mix(value, organ, coverage(above, pixel));
        let line = self.fat * 0.6 * coverage(above.abs() - 0.8, 2.0);
        value = value.max(line);
        // The aorta runs down behind the heart.
        let [ax, ay, radius] = self.aorta;
        let aorta = ((x - ax).powi(2) + (y - ay).powi(2)).sqrt() - radius;
        value = mix(value, self.muscle * 0.8, coverage(aorta - 1.8, pixel));
        value = mix(value, self.blood * 0.9, coverage(aorta, pixel));
        // Fat lies in the grooves around the heart, most beside the right ventricle.
        let [cx, cy] = self.chest_direction;
        let outwards = x * cx + y * cy;
        let around = heart.left.min(heart.right - 2.6);
        let pad = 2.5 + 2.2 * texture.medium + 0.05 * outwards - 0.03 * x;
        value = mix(value, self.fat * (0.9 + 0.05 * texture.fine), coverage(around - pad, 1.5 * pixel));
        value = mix(value, self.muscle * 0.5, coverage((around - pad).abs() - 0.4, pixel) * 0.7);
        // The chest wall: pleura and muscle, fat, skin, and air beyond.
        let bulge = 0.0022 * (x * cy - y * cx).powi(2);
        let depth = outwards - self.chest + bulge + 1.6 * texture.broad;
        let ribs = coverage(0.5 - texture.medium, 0.6);
        value = mix(value, self.muscle * (1.0 + 0.12 * texture.fine) - 0.1 * ribs, coverage(-depth, pixel));
        value = mix(value, self.fat * (1.0 + 0.03 * texture.fine), coverage(11.0 - depth, pixel));
        mix(value, 0.0, coverage(26.0 + 2.0 * texture.broad - depth, pixel))
    }

    /// Brightness and label with the heart drawn over its surroundings.
    fn heart(&self, d: &Distances, texture: &Texture, surroundings: f64, pixel: f64) -> (f64, HeartPart) {
        let muscle = self.muscle * (1.0 + 0.06 * texture.fine + 0.04 * texture.broad);
        let flow = 1.0 + 0.03 * texture.medium + 0.03 * texture.broad;
        // Trabeculae roughen the inside of both cavities.
        let rough = 1.3 * texture.fine.max(-0.5);
        let right = coverage(d.right, pixel);
        let left = coverage(d.left, pixel);
        let cavity = coverage(d.cavity, pixel);
        let mut value = mix(surroundings, muscle, coverage(d.right - 2.6, pixel));
        value = mix(value, self.right_blood * flow, coverage(d.right + 1.2 * rough.max(0.0), 1.4 * pixel));
        value = mix(value, muscle, left);
        value = mix(value, self.blood * flow, coverage(d.cavity + rough.max(0.0), 1.4 * pixel));
        value = mix(value, muscle * 1.1, coverage(d.papillary + 0.5 * texture.fine, 1.5 * pixel) * cavity);
        let part = if cavity >= 0.5 {
            HeartPart::LeftVentricle
        } else if left >= 0.5 {
            HeartPart::Myocardium
        } else if right >= 0.5 {
            HeartPart::RightVentricle
        } else {
            HeartPart::Background
        };
        (value.max(0.0), part)
    }
}

fn mix(below: f64, above: f64, share: f64) -> f64 {
    below + (above - below) * share
}
