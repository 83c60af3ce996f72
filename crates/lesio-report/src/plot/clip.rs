//! Clipping and thinning of lines and areas.

/// Thins consecutive points within a quarter of a pixel's width to the first, the last, the highest and the lowest: the
/// drawn line is the same.
pub(super) fn thinned(points: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let column = |point: &[f64; 2]| (point[0] * 4.0).floor();
    let mut kept = Vec::new();
    for group in points.chunk_by(|a, b| column(a) == column(b)) {
        let extreme = |better: fn(f64, f64) -> bool| {
            (1..group.len()).fold(0, |best, i| if better(group[i][1], group[best][1]) { i } else { best })
        };
        let mut indices = [0, extreme(|a, b| a < b), extreme(|a, b| a > b), group.len() - 1];
        indices.sort_unstable();
        for (i, &index) in indices.iter().enumerate() {
            if i == 0 || indices[i - 1] != index {
                kept.push(group[index]);
            }
        }
    }
    kept
}

/// The pieces of a line that lie in a rectangle `[[left, top], [right, bottom]]`, by the method of
/// Liang and Barsky (1984) for each segment. A line of one point is a piece of one point.
pub(super) fn clipped_line(line: &[[f64; 2]], [low, high]: [[f64; 2]; 2]) -> Vec<Vec<[f64; 2]>> {
    // A point on the border is inside, even if rounding moved it slightly.
    const SLACK: f64 = 1e-6;
    let mut pieces: Vec<Vec<[f64; 2]>> = Vec::new();
    if let [point] = line {
        let inside = (0..2).all(|axis| (low[axis] - SLACK..=high[axis] + SLACK).contains(&point[axis]));
        return if inside { vec![vec![*point]] } else { pieces };
    }
    for pair in line.windows(2) {
        let [from, to] = [pair[0], pair[1]];
        let (mut enter, mut leave) = (0.0_f64, 1.0_f64);
        for axis in 0..2 {
            let step = to[axis] - from[axis];
            let (before, behind) = (low[axis] - SLACK - from[axis], high[axis] + SLACK - from[axis]);
            if step == 0.0 {
                if before > 0.0 || behind < 0.0 {
                    leave = -1.0;
                }
            } else {
                let (a, b) = (before / step, behind / step);
                enter = enter.max(a.min(b));
                leave = leave.min(a.max(b));
            }
        }
        if enter > leave {
            continue;
        }
        let along = |t: f64| [from[0] + t * (to[0] - from[0]), from[1] + t * (to[1] - from[1])];
        match pieces.last_mut() {
            Some(piece) if enter == 0.0 && piece.last() == Some(&from) => piece.push(along(leave)),
            _ => pieces.push(vec![along(enter), along(leave)]),
        }
    }
    pieces
}

/// The part of a polygon that lies in a rectangle `[[left, top], [right, bottom]]`, cut by one side
/// after the other (Sutherland and Hodgman 1974).
pub(super) fn clipped_polygon(mut polygon: Vec<[f64; 2]>, [low, high]: [[f64; 2]; 2]) -> Vec<[f64; 2]> {
    for axis in 0..2 {
        for (limit, sign) in [(low[axis], 1.0), (high[axis], -1.0)] {
            // How far a corner lies on the inner side.
            let depth = |point: &[f64; 2]| sign * (point[axis] - limit);
            let mut cut = Vec::with_capacity(polygon.len());
            for (i, to) in polygon.iter().enumerate() {
                let from = &polygon[if i == 0 { polygon.len() - 1 } else { i - 1 }];
                let (before, here) = (depth(from), depth(to));
                if (before < 0.0) != (here < 0.0) {
                    let t = before / (before - here);
                    let mut crossing = [0, 1].map(|i| from[i] + t * (to[i] - from[i]));
                    crossing[axis] = limit;
                    cut.push(crossing);
                }
                if here >= 0.0 {
                    cut.push(*to);
                }
            }
            polygon = cut;
        }
    }
    polygon
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOX: [[f64; 2]; 2] = [[0.0, 0.0], [10.0, 10.0]];

    #[test]
    fn lines_are_cut_at_the_border() {
        let line = [[-5.0, 5.0], [5.0, 5.0], [5.0, 20.0], [8.0, 20.0], [8.0, 0.0]];
        let pieces = clipped_line(&line, BOX);
        let rounded: Vec<Vec<[f64; 2]>> =
            pieces.iter().map(|piece| piece.iter().map(|p| p.map(|v| v.round())).collect()).collect();
        assert_eq!(rounded, [vec![[0.0, 5.0], [5.0, 5.0], [5.0, 10.0]], vec![[8.0, 10.0], [8.0, 0.0]]]);
        assert!(clipped_line(&[[11.0, 0.0], [11.0, 10.0]], BOX).is_empty());
        assert!(clipped_line(&[[-1.0, 9.0], [1.0, 11.5]], BOX).is_empty(), "passes the corner outside");
        assert_eq!(clipped_line(&[[10.0, 3.0]], BOX), [[[10.0, 3.0]]]);
        assert!(clipped_line(&[[10.1, 3.0]], BOX).is_empty());
    }

    #[test]
    fn thinning_keeps_spikes() {
        let mut points: Vec<_> = (0..100_000).map(|i| [f64::from(i) / 1000.0, 50.0]).collect();
        points[33_333][1] = 3.0;
        points[66_666][1] = 97.0;
        let kept = thinned(&points);
        assert!(kept.len() < 900, "{}", kept.len());
        assert_eq!((kept[0], kept[kept.len() - 1]), (points[0], points[99_999]));
        assert!(kept.contains(&points[33_333]) && kept.contains(&points[66_666]));
        let few = [[0.0, 1.0], [5.0, 2.0], [9.0, 0.0]];
        assert_eq!(thinned(&few), few);
    }

    #[test]
    fn areas_are_cut_at_the_border() {
        let triangle = vec![[-10.0, 5.0], [20.0, -10.0], [20.0, 20.0]];
        let cut = clipped_polygon(triangle, BOX);
        let area = (0..cut.len()).map(|i| {
            let [a, b] = [cut[i], cut[(i + 1) % cut.len()]];
            0.5 * (a[0] * b[1] - b[0] * a[1])
        });
        assert!((area.sum::<f64>().abs() - 100.0).abs() < 1e-9, "the triangle covers the box: {cut:?}");
        let inside = vec![[1.0, 1.0], [2.0, 1.0], [2.0, 2.0]];
        assert_eq!(clipped_polygon(inside.clone(), BOX), inside);
        assert!(clipped_polygon(vec![[11.0, 1.0], [12.0, 1.0], [12.0, 2.0]], BOX).is_empty());
        assert!(clipped_polygon(Vec::new(), BOX).is_empty());
    }
}
