//! The step from slice to slice of a series, which is the same everywhere.

use std::path::PathBuf;

use super::slice::Slice;
use crate::error::ReadErrorKind;

/// Largest distance of a slice from its place, as a share of the step (or of a pixel's shorter side, if that is
/// longer).
const EVEN: f64 = 0.01;

/// Largest distance that rounded positions excuse, as a share of the step. Rounding moves a slice and its place, which
/// the first and the last slice give, by half a unit of the last decimal each. Beyond this share, a slice that is
/// missing among few would not show.
const ROUNDED: f64 = 0.2;

/// Slices are missing from a gap of more than this many times the usual one, however positions are rounded.
const WIDE: f64 = 1.5;

/// The step from one slice to the next in patient coordinates, if it is the same for all slices; otherwise an error
/// with the file at which it differs.
///
/// The first and the last slice give the step, and each other slice is compared with its place between them: single
/// distances of thin slices differ much where positions have few decimals (0.63 and 0.62 mm, or 0.6 and 0.7).
pub(super) fn step(
    slices: &[Slice],
    height: impl Fn(&Slice) -> f64,
) -> Result<[f64; 3], (PathBuf, ReadErrorKind)> {
    let first = &slices[0];
    let last = &slices[slices.len() - 1];
    if slices.len() == 1 {
        let thickness = first.thickness.ok_or_else(|| {
            let expected = "a size above 0, because the series has one slice";
            let kind = ReadErrorKind::BadAttribute {
                attribute: "SliceThickness",
                found: "missing".into(),
                expected,
            };
            (first.path.clone(), kind)
        })?;
        return Ok(first.normal().map(|part| part * thickness));
    }
    let smallest = first.spacing[0].min(first.spacing[1]);
    let gaps: Vec<f64> = slices.windows(2).map(|pair| height(&pair[1]) - height(&pair[0])).collect();
    for (pair, &gap) in slices.windows(2).zip(&gaps) {
        if gap <= 1e-4 * smallest {
            let (with, position) = (pair[0].path.clone(), pair[1].position);
            return Err((pair[1].path.clone(), ReadErrorKind::SamePosition { with, position }));
        }
    }
    let steps = (slices.len() - 1) as f64;
    let step: [f64; 3] = std::array::from_fn(|axis| (last.position[axis] - first.position[axis]) / steps);
    let size = (height(last) - height(first)) / steps;
    let rounded = units(slices).map(|unit| unit.min(ROUNDED * size));
    // A tilted gantry shifts all slices equally; a single shifted slice would bend the volume.
    let place = |number: usize| -> [f64; 3] {
        std::array::from_fn(|axis| first.position[axis] + number as f64 * step[axis])
    };
    let is_off = |number: usize| {
        let (found, expected) = (slices[number].position, place(number));
        let parts: [f64; 3] = std::array::from_fn(|axis| (found[axis] - expected[axis]).abs());
        let distance = parts.iter().map(|part| part * part).sum::<f64>().sqrt();
        distance > EVEN * size.max(smallest) && parts.iter().zip(rounded).any(|(&part, unit)| part > unit)
    };
    let off = (0..slices.len()).find(|&number| is_off(number));
    let mut sorted = gaps.clone();
    sorted.sort_by(f64::total_cmp);
    // The lower median, since a missing slice causes a larger gap.
    let usual = sorted[(sorted.len() - 1) / 2];
    if off.is_none() && gaps.iter().all(|&gap| gap <= WIDE * usual) {
        tell_thinned(slices, size);
        return Ok(step);
    }
    // What is wrong: a gap that stands out by more than the rounding of four ends.
    let slack: f64 = first.normal().iter().zip(rounded).map(|(part, unit)| part.abs() * unit).sum();
    for (pair, &gap) in slices.windows(2).zip(&gaps) {
        let (after, distance, expected) = (pair[0].path.clone(), gap, usual);
        let times = (gap / usual).round();
        let kind = if times >= 2.0 && (gap - times * usual).abs() <= EVEN * gap + (times + 1.0) * slack {
            ReadErrorKind::MissingSlices { after, count: times as u64 - 1, distance, expected }
        } else if (gap - usual).abs() > EVEN * usual + 2.0 * slack {
            ReadErrorKind::UnevenSpacing { after, distance, expected }
        } else {
            continue;
        };
        return Err((pair[1].path.clone(), kind));
    }
    // Or a slice is shifted within its plane, or gaps grow little by little.
    let number = off.unwrap_or(slices.len() - 1);
    let slice = &slices[number];
    let kind = ReadErrorKind::SliceOffLine { position: slice.position, expected: place(number) };
    Err((slice.path.clone(), kind))
}

/// Warns of slices that are a whole multiple as far apart as all of their files state: then those between are missing, as
/// evenly as no gap shows.
fn tell_thinned(slices: &[Slice], size: f64) {
    let stated = slices[0].between.filter(|_| slices.iter().all(|slice| slice.between == slices[0].between));
    if let Some(times) = stated.and_then(|stated| thinned(stated.abs(), size)) {
        let (file, stated) = (slices[0].path.display(), stated.unwrap_or_default().abs());
        tracing::warn!(
            "the slices of the series of {file} are {size:.3} mm apart, their SpacingBetweenSlices is {stated} mm: all but one \
             of each {times} slices may be missing"
        );
    }
}

/// How many times the stated distance slices are apart, if it is a whole number above 1.
fn thinned(stated: f64, size: f64) -> Option<f64> {
    let times = (size / stated).round();
    (stated > 0.0 && times >= 2.0 && (size - times * stated).abs() <= EVEN * size).then_some(times)
}

/// One unit of the last decimal of the positions, for each coordinate; 0 where they are whole numbers, which are taken
/// as exact. Writers may leave out zeros at the end, so the longest text counts.
fn units(slices: &[Slice]) -> [f64; 3] {
    std::array::from_fn(|axis| {
        let decimals = slices.iter().map(|slice| slice.decimals[axis]).max().unwrap_or(0);
        // With room for the error of binary numbers.
        if decimals > 0 { 1.001 * 10_f64.powi(-decimals) } else { 0.0 }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_between_are_missing_at_whole_multiples_of_the_stated_distance() {
        assert_eq!([thinned(5.0, 10.0), thinned(5.0, 15.01)], [Some(2.0), Some(3.0)]);
        // As stated, by a gap that the writer does not count, and not at all.
        assert_eq!([thinned(5.0, 5.0), thinned(5.0, 7.5), thinned(0.0, 5.0), thinned(6.0, 5.0)], [None; 4]);
    }
}
