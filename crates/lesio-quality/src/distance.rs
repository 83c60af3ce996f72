//! Surface distances as numbers from 0 to 1, for networks.

use crate::framing::Framing;

/// The logarithm of 1 + the longest distance within the frame, in grid pixels.
///
/// Grid pixels are what networks see: how many image pixels they are differs from frame to frame.
pub(crate) fn scale(framing: &Framing) -> f32 {
    let [height, width] = framing.grid.map(|side| side as f64);
    (1.0 + height.hypot(width)).ln() as f32
}

/// A distance of at least 0 grid pixels as 0 to 1: logarithmic, since a pixel more matters less the more there are.
pub(crate) fn encode(distance: f64, scale: f32) -> f32 {
    ((1.0 + distance).ln() as f32 / scale).min(1.0)
}

/// The distance of a code, in grid pixels.
pub(crate) fn decode(code: f32, scale: f32) -> f32 {
    (code * scale).exp() - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_span_the_frame() {
        let scale = scale(&Framing::new([1]).grid([30, 40]));
        assert_eq!(encode(0.0, scale), 0.0);
        assert!((encode(50.0, scale) - 1.0).abs() < 1e-6);
        assert_eq!(encode(500.0, scale), 1.0);
        assert!((decode(encode(7.5, scale), scale) - 7.5).abs() < 1e-4);
    }
}
