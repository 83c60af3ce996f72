//! The matrix unit of some Intel processors (AMX): whether this process may use it, and how it is left.

use std::arch::asm;

/// Rows of a tile, and words of each row.
pub(super) const SIDE: usize = 16;
/// Bytes of a word.
pub(super) const WORD: usize = size_of::<f32>();

/// Whether the processor has such tiles and the system lets this process use them: it is asked once.
pub(super) fn are_granted() -> bool {
    #[cfg(all(target_os = "linux", not(miri)))]
    {
        static GRANTED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
        *GRANTED.get_or_init(|| are_there() && ask())
    }
    #[cfg(not(all(target_os = "linux", not(miri))))]
    false
}

/// Whether the processor has the instructions, and the system keeps their registers.
#[cfg(all(target_os = "linux", not(miri)))]
fn are_there() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    /// Of leaf 1, and of leaf 7: that control registers may be read, and AMX-BF16 and AMX-TILE.
    const OSXSAVE: u32 = 1 << 27;
    const INSTRUCTIONS: u32 = 1 << 22 | 1 << 24;
    /// Of the states that the system keeps: the shapes of tiles, and what they hold.
    const STATES: u32 = 1 << 17 | 1 << 18;
    /// The leaf that describes tiles; of its first palette, the size of a tile and of its rows, and how many there are.
    const TILES: u32 = 0x1d;
    const PALETTE: [u32; 3] = [(SIDE * SIDE * WORD) as u32, (SIDE * WORD) as u32 | 8 << 16, SIDE as u32];
    if __cpuid(0).eax < TILES
        || __cpuid(1).ecx & OSXSAVE == 0
        || __cpuid_count(7, 0).edx & INSTRUCTIONS != INSTRUCTIONS
    {
        return false;
    }
    let states: u32;
    // SAFETY: the processor says that this register may be read.
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") states, out("edx") _, options(nomem, nostack)) };
    let palette = __cpuid_count(TILES, 1);
    states & STATES == STATES && [palette.eax >> 16, palette.ebx, palette.ecx & 0xffff] == PALETTE
}

/// Asks Linux for the permission to use tiles, for all threads: their 8 KiB are not part of every thread's state.
#[cfg(all(target_os = "linux", not(miri)))]
fn ask() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: the call takes two numbers and changes no memory of this process.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

/// Tiles that this thread may have in use. Dropped, they are released: as long as they hold something, it is saved
/// and restored whenever the thread gives way to another.
pub(super) struct Release(());

impl Release {
    /// # Safety
    /// Only where there are tiles: see [`are_granted`].
    pub(super) unsafe fn when_dropped() -> Self {
        Self(())
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        // SAFETY: there are tiles, by `when_dropped`; no other code but this module's uses them, and it does not
        // expect them to hold anything.
        unsafe {
            asm!(
                "tilerelease",
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nomem, nostack),
            );
        }
    }
}
