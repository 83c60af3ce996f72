//! Where sums are written, and what is done with them before.

use super::vector::{LANES, Vector, load};

/// Where values begin in the operands, the output and, if there is one, the mask.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) a: *const f32,
    pub(super) b: *const f32,
    pub(super) c: *mut f32,
    pub(super) mask: *const f32,
}

/// What is done with sums before they are written: a bias, unless it is null, and two slopes.
#[derive(Clone, Copy)]
pub(super) struct Ending {
    pub(super) bias: *const f32,
    pub(super) slope: f32,
    pub(super) mask_slope: f32,
}

impl Ending {
    /// Does it with the first `room` lanes of a sum. `block` counts from the one whose bias comes first, and `mask` is
    /// null or where the values for that one begin.
    ///
    /// # Safety
    /// Like [`Call::item`](super::call::Call::item); bias and mask reach as far as the lanes.
    #[inline(always)]
    pub(super) unsafe fn of<V: Vector>(&self, mut sum: V, mask: *const f32, block: usize, room: usize) -> V {
        // SAFETY: the caller's.
        unsafe {
            if !self.bias.is_null() {
                sum = sum.add(load::<V>(self.bias.add(block * LANES), room));
            }
            sum = sum.rectify(sum, self.slope);
            if !mask.is_null() {
                sum = sum.rectify(load::<V>(mask.add(block * LANES), room), self.mask_slope);
            }
        }
        sum
    }
}
