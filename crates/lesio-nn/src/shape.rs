//! The shape of one sample's value inside a network.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Channels, rows and columns of one sample; the batch is not part of it.
///
/// A vector of `n` features is `n` channels of one pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// Number of channels, at least 1.
    pub channels: usize,
    /// Number of rows, at least 1.
    pub height: usize,
    /// Number of columns, at least 1.
    pub width: usize,
}

impl Shape {
    /// An image of `channels` channels, `height` rows and `width` columns.
    #[must_use]
    pub const fn new(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, height, width }
    }

    /// A vector of `features` values.
    #[must_use]
    pub const fn vector(features: usize) -> Self {
        Self::new(features, 1, 1)
    }

    /// Number of values in one sample; `usize::MAX` on overflow.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.channels.saturating_mul(self.pixels())
    }

    /// Whether a sample has no values; no shape inside a [`Network`](crate::Network) is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of pixels in one channel; `usize::MAX` on overflow.
    #[must_use]
    pub const fn pixels(&self) -> usize {
        self.height.saturating_mul(self.width)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {}, {}]", self.channels, self.height, self.width)
    }
}
