//! Ranges of axes and the numbers along them.

use serde::{Deserialize, Serialize};

use super::error::PlotError;
use crate::number::{compact, fixed, significant};
use crate::scale::Scale;

/// The scale of an axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AxisScale {
    /// Equal lengths are equal differences. The default.
    #[default]
    Linear,
    /// Equal lengths are equal ratios; every value must be positive.
    Log,
}

impl AxisScale {
    /// Converts a value to its position along the axis.
    pub(super) fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log => value.log10(),
        }
    }
}

/// The caller's settings for an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AxisRequest {
    pub(super) label: String,
    pub(super) scale: AxisScale,
    pub(super) range: Option<Scale>,
    /// Whether ticks are at integers only, as for epochs.
    pub(super) whole: bool,
}

impl AxisRequest {
    pub(super) fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), scale: AxisScale::Linear, range: None, whole: false }
    }

    /// The axis for these values: the requested range, or that of the finite values, extended at both ends by the
    /// fraction `margin` of its length. `None` if there is neither.
    pub(super) fn fit(
        &self,
        values: impl IntoIterator<Item = f64>,
        margin: f64,
    ) -> Result<Option<Axis>, PlotError> {
        let (low, high) = match self.range {
            Some(range) => (range.low(), range.high()),
            None => {
                let finite = values.into_iter().filter(|value| value.is_finite());
                let (low, high) =
                    finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (v.min(l), v.max(h)));
                if low > high {
                    return Ok(None);
                }
                (low, high)
            }
        };
        if self.scale == AxisScale::Log && low <= 0.0 {
            return Err(PlotError::NotPositive { series: self.label.clone(), value: low });
        }
        let (mut start, mut end) = (self.scale.place(low), self.scale.place(high));
        let length = end - start;
        if !(2.0 * length).is_finite() {
            return Err(PlotError::Range { low, high });
        }
        let magnitude = start.abs().max(end.abs());
        if length <= 1e-9 * magnitude || length == 0.0 {
            // A single value gets a range around it.
            let room = if magnitude > 0.0 && magnitude < 1.0 {
                0.5 * magnitude
            } else {
                (0.05 * magnitude).max(0.5)
            };
            (start, end) = (start - room, end + room);
        } else if self.range.is_none() {
            (start, end) = (start - margin * length, end + margin * length);
        }
        let ticks = match self.scale {
            AxisScale::Linear => linear_ticks(start, end, if self.whole { 1.0 } else { 0.0 }),
            AxisScale::Log => log_ticks(start, end),
        };
        Ok(Some(Axis { label: self.label.clone(), scale: self.scale, start, end, ticks }))
    }
}

/// An axis ready to be drawn; its coordinates are positions, see [`AxisScale::place`].
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    pub(super) label: String,
    pub(super) scale: AxisScale,
    pub(super) start: f64,
    pub(super) end: f64,
    /// Positions and labels of the ticks.
    pub(super) ticks: Vec<(f64, String)>,
}

/// Multiples of 1, 2 or 5 times a power of ten, about six of them, and at least `least` apart.
fn linear_ticks(start: f64, end: f64, least: f64) -> Vec<(f64, String)> {
    let rough = (end - start) / 6.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|&s| s >= rough * 0.999);
    let step = step.unwrap_or(10.0 * power).max(least);
    // The tolerance keeps an end that is a tick.
    let (first, last) = ((start / step - 1e-6).ceil(), (end / step + 1e-6).floor());
    let decimals = (-(step * 1.001).log10().floor()).max(0.0);
    let largest = start.abs().max(end.abs());
    let plain = decimals <= 5.0 && largest < 1e6;
    // Three digits, or as many more as tell neighboring ticks apart.
    let digits = ((largest / step).log10().ceil() + 1.0).max(3.0) as usize;
    (0..)
        .map(|i| first + f64::from(i))
        .take_while(|&i| i <= last)
        .take(16)
        .map(|i| {
            let value = i * step;
            (value, if plain { fixed(value, decimals as usize) } else { significant(value, digits) })
        })
        .collect()
}

/// Powers of ten; with few of them also 2 and 5 times these; within one power, equal steps.
fn log_ticks(start: f64, end: f64) -> Vec<(f64, String)> {
    let decades = end - start;
    let stride = (decades / 8.0).ceil().max(1.0);
    let factors: &[f64] = if decades > 3.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let mut ticks = Vec::new();
    let mut exponent = (start / stride).floor() * stride;
    while exponent <= end {
        let places = factors.iter().map(|factor| exponent + factor.log10());
        ticks.extend(places.filter(|place| (start - 1e-9..=end + 1e-9).contains(place)));
        exponent += stride;
    }
    if ticks.len() < 3 {
        let linear = linear_ticks(10_f64.powf(start), 10_f64.powf(end), 0.0);
        return linear
            .into_iter()
            .filter(|(value, _)| *value > 0.0)
            .map(|(value, text)| (value.log10(), text))
            .collect();
    }
    ticks.into_iter().map(|place| (place, compact(10_f64.powf(place)))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn axis(scale: AxisScale, values: &[f64]) -> Axis {
        let mut request = AxisRequest::new("x");
        request.scale = scale;
        request.fit(values.iter().copied(), 0.0).unwrap().unwrap()
    }

    fn texts(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(texts(&axis(AxisScale::Linear, &[0.0, 1.0])), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(texts(&axis(AxisScale::Linear, &[1.0, 25.0])), ["5", "10", "15", "20", "25"]);
        assert_eq!(
            texts(&axis(AxisScale::Linear, &[-0.02, 0.03])),
            ["\u{2212}0.02", "\u{2212}0.01", "0.00", "0.01", "0.02", "0.03"]
        );
        assert_eq!(texts(&axis(AxisScale::Log, &[0.01, 1000.0])), ["0.01", "0.1", "1", "10", "100", "1000"]);
        assert_eq!(texts(&axis(AxisScale::Log, &[0.9, 9.0])), ["1", "2", "5"]);
        assert_eq!(
            texts(&axis(AxisScale::Log, &[100.0, 130.0])),
            ["100", "105", "110", "115", "120", "125", "130"]
        );
    }

    #[test]
    fn labels_of_narrow_ranges_differ() {
        assert_eq!(
            texts(&axis(AxisScale::Linear, &[-1.2e6, -1.19e6])),
            ["1.2e6", "1.198e6", "1.196e6", "1.194e6", "1.192e6", "1.19e6"]
                .map(|text| format!("\u{2212}{text}"))
        );
        assert_eq!(
            texts(&axis(AxisScale::Linear, &[0.123_451, 0.123_459])),
            ["0.123452", "0.123454", "0.123456", "0.123458"]
        );
        // Three digits suffice.
        assert_eq!(texts(&axis(AxisScale::Linear, &[0.0, 5e6])), ["0", "1e6", "2e6", "3e6", "4e6", "5e6"]);
        assert_eq!(
            texts(&axis(AxisScale::Linear, &[1e-7, 5e-7])),
            [1, 2, 3, 4, 5].map(|k| format!("{k}e\u{2212}7"))
        );
    }

    #[test]
    fn every_range_has_between_two_and_a_dozen_ticks() {
        let values = [-3e200, -1e9, -1.0, -1e-9, 0.0, 1e-12, 0.1, 1.0, 1.000_001, 7.0, 1e6, 1e200];
        for (i, &low) in values.iter().enumerate() {
            for &high in &values[i..] {
                for scale in [AxisScale::Linear, AxisScale::Log] {
                    if scale == AxisScale::Log && low <= 0.0 {
                        continue;
                    }
                    let axis = axis(scale, &[low, high]);
                    let count = axis.ticks.len();
                    assert!((2..=12).contains(&count), "{scale:?} {low} {high}: {axis:?}");
                    let distinct: BTreeSet<&str> = texts(&axis).into_iter().collect();
                    assert_eq!(distinct.len(), count, "{scale:?} {low} {high}: {axis:?}");
                    assert!(axis.start < axis.end);
                }
            }
        }
    }

    #[test]
    fn epochs_are_whole() {
        let request = AxisRequest { whole: true, ..AxisRequest::new("epoch") };
        let axis = |values: &[f64]| request.fit(values.iter().copied(), 0.0).unwrap().unwrap();
        assert_eq!(texts(&axis(&[1.0, 4.0])), ["1", "2", "3", "4"]);
        assert_eq!(texts(&axis(&[1.0])), ["1"]);
        assert_eq!(texts(&axis(&[1.0, 25.0])), ["5", "10", "15", "20", "25"]);
    }

    #[test]
    fn refuses_what_has_no_axis() {
        let request = AxisRequest::new("x");
        assert_eq!(request.fit([f64::NAN, f64::INFINITY], 0.1), Ok(None));
        assert!(matches!(request.fit([f64::MIN, f64::MAX], 0.0), Err(PlotError::Range { .. })));
        let log = AxisRequest { scale: AxisScale::Log, ..request };
        assert!(matches!(log.fit([0.0, 1.0], 0.0), Err(PlotError::NotPositive { .. })));
    }
}
