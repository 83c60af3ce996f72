//! Fewer points of a rising curve.

/// A point of a curve from (0, 0) to (1, 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Vertex {
    pub(crate) threshold: Option<f32>,
    pub(crate) x: f64,
    pub(crate) y: f64,
}

/// Keeps points that are a step apart, along a path whose length is at most 2 since neither coordinate ever falls.
pub(crate) struct Thinned {
    kept: Vec<Vertex>,
    step: f64,
}

impl Thinned {
    /// Starts at (0, 0); at most `max(points, 2)` will be kept, both ends among them.
    pub(crate) fn new(points: usize) -> Self {
        let between = points.saturating_sub(2);
        let step = if between == 0 { f64::INFINITY } else { 2.0 / between as f64 };
        Self { kept: vec![Vertex { threshold: None, x: 0.0, y: 0.0 }], step }
    }

    /// Takes the next point if it is far enough from the last.
    pub(crate) fn offer(&mut self, point: Vertex) {
        let far = |last: &Vertex| point.x - last.x + point.y - last.y >= self.step;
        if self.kept.last().is_none_or(far) {
            self.kept.push(point);
        }
    }

    /// Ends at a point that replaces the last one if they coincide.
    pub(crate) fn finish(mut self, end: Vertex) -> Vec<Vertex> {
        if self.kept.len() > 1 && self.kept.last().is_some_and(|last| last.x == end.x && last.y == end.y) {
            self.kept.pop();
        }
        self.kept.push(end);
        self.kept
    }
}
