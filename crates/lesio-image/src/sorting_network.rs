//! Sorting networks that find the median of a window.

/// How many windows a network works on at once: enough that the cost of stepping through its
/// comparators vanishes, few enough that a window's values stay in the innermost cache.
pub(crate) const LANES: usize = 32;

/// What of a comparator's two results is needed afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needed {
    Both,
    Least,
    Greatest,
}

/// A sequence of comparators that leaves the median of a window at one place.
///
/// The window of `sizes[0] x sizes[1] x sizes[2]` values comes sorted along its first two axes,
/// which neighboring windows share. The network sorts it along the third, after which a value is
/// not below any with smaller indices. Values with too many below or above them cannot be the
/// median and are left out; the others go through Batcher's sorting network, of which only what
/// leads to the median is kept.
#[derive(Clone, Debug)]
pub(crate) struct MedianNetwork {
    comparators: Vec<(usize, usize, Needed)>,
    output: usize,
}

impl MedianNetwork {
    /// The network for a window with an odd number of values.
    pub(crate) fn new(sizes: [usize; 3]) -> Self {
        let [a, b, c] = sizes;
        let total = a * b * c;
        let middle = total.div_ceil(2);
        let mut pairs = Vec::new();
        let along = batcher(c);
        for line in 0..a * b {
            pairs.extend(along.iter().map(|(i, j)| (line * c + i, line * c + j)));
        }
        // Of the values with no greater indices none is above, of those with no smaller none below.
        let (mut candidates, mut below) = (Vec::new(), 0);
        for position in 0..total {
            let index = [position / (b * c), position / c % b, position % c];
            let no_greater: usize = index.iter().map(|i| i + 1).product();
            let no_smaller: usize = index.iter().zip(sizes).map(|(i, n)| n - i).product();
            if no_smaller > middle {
                below += 1;
            } else if no_greater <= middle {
                candidates.push(position);
            }
        }
        let sorting = batcher(candidates.len());
        pairs.extend(sorting.iter().map(|&(i, j)| (candidates[i], candidates[j])));
        let output = candidates[middle - 1 - below];
        Self { comparators: needed(&pairs, total, output), output }
    }

    /// Runs over `LANES` windows at once, one value of each in every row of `block`.
    pub(crate) fn run<'a>(&self, block: &'a mut [[f32; LANES]]) -> &'a [f32; LANES] {
        for &(low, high, needed) in &self.comparators {
            let (head, tail) = block.split_at_mut(high);
            let (x, y) = (&mut head[low], &mut tail[0]);
            match needed {
                Needed::Both => compare(x, y),
                Needed::Least => {
                    for (x, y) in x.iter_mut().zip(&*y) {
                        *x = least(*x, *y);
                    }
                }
                Needed::Greatest => {
                    for (x, y) in x.iter().zip(y) {
                        *y = greatest(*x, *y);
                    }
                }
            }
        }
        &block[self.output]
    }
}

/// Sorts `rows` rows of `length` values position by position: the least comes into the first row.
pub(crate) fn sort_rows(values: &mut [f32], length: usize, comparators: &[(usize, usize)]) {
    for &(low, high) in comparators {
        let (head, tail) = values.split_at_mut(high * length);
        compare(&mut head[low * length..(low + 1) * length], &mut tail[..length]);
    }
}

fn compare(x: &mut [f32], y: &mut [f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        (*x, *y) = (least(*x, *y), greatest(*x, *y));
    }
}

// Without a rule for NaN, which is refused before, each is one instruction.
fn least(x: f32, y: f32) -> f32 {
    if x < y { x } else { y }
}

fn greatest(x: f32, y: f32) -> f32 {
    if x < y { y } else { x }
}

/// Batcher's odd-even merge sort for `count` values (Knuth, The Art of Computer Programming 3,
/// 5.2.2, algorithm M): pairs of positions, the lower first.
pub(crate) fn batcher(count: usize) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    if count < 2 {
        return pairs;
    }
    let top = count.next_power_of_two() / 2;
    let mut p = top;
    while p > 0 {
        let (mut q, mut r, mut d) = (top, 0, p);
        loop {
            for i in 0..count.saturating_sub(d) {
                if i & p == r {
                    pairs.push((i, i + d));
                }
            }
            if q == p {
                break;
            }
            d = q - p;
            q /= 2;
            r = p;
        }
        p /= 2;
    }
    pairs
}

/// The comparators that lead to `output`, each with what of its results does.
fn needed(pairs: &[(usize, usize)], total: usize, output: usize) -> Vec<(usize, usize, Needed)> {
    let mut live = vec![false; total];
    live[output] = true;
    let mut kept: Vec<_> = pairs
        .iter()
        .rev()
        .filter_map(|&(low, high)| {
            let needed = match (live[low], live[high]) {
                (true, true) => Needed::Both,
                (true, false) => Needed::Least,
                (false, true) => Needed::Greatest,
                (false, false) => return None,
            };
            (live[low], live[high]) = (true, true);
            Some((low, high, needed))
        })
        .collect();
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batcher_sorts_every_sequence_of_zeros_and_ones() {
        // By the zero-one principle that is enough.
        for count in 0..12_usize {
            let pairs = batcher(count);
            for pattern in 0..1_u32 << count {
                let mut bits: Vec<u32> = (0..count).map(|i| pattern >> i & 1).collect();
                for &(i, j) in &pairs {
                    if bits[i] > bits[j] {
                        bits.swap(i, j);
                    }
                }
                assert!(bits.is_sorted(), "{count} {pattern:b}");
            }
        }
    }

    #[test]
    fn the_network_finds_the_median_of_sorted_columns() {
        // Zero-one principle again: columns sorted along the first axis are given by the number of
        // ones in each.
        for sizes in [[3, 1, 3], [1, 3, 3], [5, 1, 3], [3, 1, 5], [5, 1, 5], [1, 1, 9]] {
            let network = MedianNetwork::new(sizes);
            let (rows, columns) = (sizes[0] * sizes[1], sizes[2]);
            let patterns = (rows + 1).pow(columns as u32);
            for pattern in 0..patterns {
                let ones: Vec<usize> =
                    (0..columns).map(|c| pattern / (rows + 1).pow(c as u32) % (rows + 1)).collect();
                let mut block = vec![[0.0; LANES]; rows * columns];
                for row in 0..rows {
                    for column in 0..columns {
                        block[row * columns + column] =
                            [f32::from(u8::from(row + ones[column] >= rows)); LANES];
                    }
                }
                let expected = f32::from(u8::from(2 * ones.iter().sum::<usize>() > rows * columns));
                assert_eq!(network.run(&mut block)[7], expected, "{sizes:?} {ones:?}");
            }
        }
    }

    #[test]
    fn leaving_out_pays() {
        let operations = |sizes| -> usize {
            let network = MedianNetwork::new(sizes);
            network.comparators.iter().map(|(.., n)| if *n == Needed::Both { 2 } else { 1 }).sum()
        };
        // The best known network for 9 values needs 38 operations, 18 of which sort columns.
        assert!(operations([3, 1, 3]) <= 14);
        assert!(operations([5, 1, 5]) <= 140);
    }
}
