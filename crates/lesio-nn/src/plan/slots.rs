//! Which buffer each value and each gradient of a plan lies in.
//!
//! The inputs of a concatenation are written where the concatenation is read, as channels of its wider
//! pixels, wherever nobody would then read and write one buffer at a time.

use lesio_kernels::{Border, ImageLayout, KernelError};

use super::graph::{Graph, Item, Task};
use super::layout::{LayerWeights, WeightLayout};
use crate::shape::Shape;

/// A place for a value: a buffer and the layout in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) buffer: usize,
    pub(super) layout: ImageLayout,
}

/// Slots of values and gradients, and the sizes of the buffers.
#[derive(Debug, Default)]
pub(super) struct Slots {
    pub(super) values: Vec<Slot>,
    /// `None` where no gradient is wanted.
    pub(super) gradients: Vec<Option<Slot>>,
    pub(super) buffer_lens: Vec<usize>,
}

/// Where an item lies inside a concatenation: the outermost one, and the first channel there.
type Home = Option<(usize, usize)>;

impl Slots {
    pub(super) fn new(
        graph: &Graph,
        weights: &WeightLayout,
        capacity: usize,
        wanted: &[bool],
    ) -> Result<Self, KernelError> {
        let users = graph.users();
        let mut slots = Self::default();
        let borders = value_borders(graph, weights, &users);
        let homes = homes(graph, &users, |_, _| true);
        let all = vec![true; graph.items.len()];
        slots.values =
            slots.lay_out(graph, &homes, &borders, &all, capacity)?.into_iter().flatten().collect();
        let borders = gradient_borders(graph, weights);
        let homes = homes_of_gradients(graph, &users, wanted);
        slots.gradients = slots.lay_out(graph, &homes, &borders, wanted, capacity)?;
        Ok(slots)
    }

    /// One buffer for each item that is wanted and at home in no concatenation.
    fn lay_out(
        &mut self,
        graph: &Graph,
        homes: &[Home],
        borders: &[Border],
        wanted: &[bool],
        capacity: usize,
    ) -> Result<Vec<Option<Slot>>, KernelError> {
        let mut shared = borders.to_vec();
        for (item, home) in homes.iter().enumerate() {
            if let Some((root, _)) = home {
                shared[*root] = shared[*root].union(borders[item]);
            }
        }
        let mut slots: Vec<Option<Slot>> = vec![None; graph.items.len()];
        for (index, item) in graph.items.iter().enumerate() {
            if wanted[index] && homes[index].is_none() {
                let Shape { channels, height, width } = item.storage;
                let layout = ImageLayout::new(channels, height, width, shared[index])?;
                self.buffer_lens.push(layout.len(capacity)?);
                slots[index] = Some(Slot { buffer: self.buffer_lens.len() - 1, layout });
            }
        }
        for (index, home) in homes.iter().enumerate() {
            if let Some((root, first)) = *home
                && let Some(Slot { buffer, layout }) = slots[root]
            {
                let layout = layout.channel_range(first, graph.items[index].storage.channels)?;
                slots[index] = Some(Slot { buffer, layout });
            }
        }
        Ok(slots)
    }
}

/// Finds the inputs that can live inside a concatenation, the last concatenation first.
fn homes(graph: &Graph, users: &[Vec<usize>], may_live: impl Fn(usize, usize) -> bool) -> Vec<Home> {
    let mut homes: Vec<Home> = vec![None; graph.items.len()];
    for (index, item) in graph.items.iter().enumerate().rev() {
        if item.task != Task::Concatenate {
            continue;
        }
        let (root, mut first) = homes[index].unwrap_or((index, 0));
        let lives_there =
            |homes: &[Home], other: usize| other == root || homes[other].is_some_and(|home| home.0 == root);
        for &input in &item.inputs {
            // Nobody who writes into this buffer may read from it.
            let reads = graph.items[input].inputs.iter().any(|&other| lives_there(&homes, other));
            let is_read = users[input].iter().any(|&user| user != index && lives_there(&homes, user));
            let once = item.inputs.iter().filter(|&&other| other == input).count() == 1;
            if homes[input].is_none() && once && !reads && !is_read && may_live(input, index) {
                homes[input] = Some((root, first));
            }
            first += graph.items[input].storage.channels;
        }
    }
    homes
}

/// Like [`homes`], for gradients. The readers of a concatenation, the first in the backward pass to write
/// its gradient, replace what they find: nobody may have written an input's gradient before them.
fn homes_of_gradients(graph: &Graph, users: &[Vec<usize>], wanted: &[bool]) -> Vec<Home> {
    homes(graph, users, |input, concatenation| {
        let first_reader = users[concatenation].iter().min().copied();
        let is_output = graph.outputs.contains(&input);
        let others = users[input].iter().filter(|&&user| user != concatenation);
        wanted[input]
            && !is_output
            && others.max().is_none_or(|&last| first_reader.is_some_and(|first| last < first))
    })
}

/// Whether an input of a concatenation lies inside it.
pub(super) fn is_inside(part: &Slot, whole: &Slot) -> bool {
    part.buffer == whole.buffer
}

fn size(item: &Item) -> [usize; 2] {
    [item.storage.height, item.storage.width]
}

/// The border of each value: what the windows of its readers need.
fn value_borders(graph: &Graph, weights: &WeightLayout, users: &[Vec<usize>]) -> Vec<Border> {
    let need = |item: usize, user: usize| {
        let (own, theirs) = (size(&graph.items[item]), size(&graph.items[user]));
        match geometry(graph, weights, user) {
            Some((Direction::Plain, geometry)) => geometry.input_border(own, theirs),
            Some((Direction::Transposed, geometry)) => geometry.output_border(theirs, own),
            None => Border::NONE,
        }
    };
    let of_item = |(item, users): (usize, &Vec<usize>)| {
        users.iter().fold(Border::NONE, |border, &user| border.union(need(item, user)))
    };
    users.iter().enumerate().map(of_item).collect()
}

/// The border of each gradient: what the backward pass of its own layer needs.
fn gradient_borders(graph: &Graph, weights: &WeightLayout) -> Vec<Border> {
    let need = |(index, item): (usize, &Item)| {
        let own = size(item);
        match (geometry(graph, weights, index), item.inputs.first()) {
            (Some((Direction::Plain, geometry)), Some(&input)) => {
                geometry.output_border(size(&graph.items[input]), own)
            }
            (Some((Direction::Transposed, geometry)), Some(&input)) => {
                geometry.input_border(own, size(&graph.items[input]))
            }
            _ => Border::NONE,
        }
    };
    graph.items.iter().enumerate().map(need).collect()
}

enum Direction {
    Plain,
    Transposed,
}

fn geometry(
    graph: &Graph,
    weights: &WeightLayout,
    item: usize,
) -> Option<(Direction, lesio_kernels::ConvolutionShape)> {
    let (direction, node) = match graph.items[item].task {
        Task::Convolution(node) => (Direction::Plain, node),
        Task::TransposedConvolution(node) => (Direction::Transposed, node),
        _ => return None,
    };
    match weights.layers[node] {
        Some(LayerWeights::Convolution { geometry, .. }) => Some((direction, geometry)),
        _ => None,
    }
}
