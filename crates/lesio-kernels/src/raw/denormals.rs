//! Treating denormal numbers as zero while a pass runs.
//!
//! Activations and gradients that fade out pass through the denormal range (below 1.2e-38), where each
//! operation takes about a hundred times as long on x86. Nothing of interest lives there.
//!
//! The language reference lets compilers assume the default floating-point environment. What they may
//! conclude from it here is how constants fold, and no kernel computes with denormal constants; the
//! guard is dropped before foreign code runs on the thread again.

/// Flushes denormals on this thread until dropped.
pub(super) struct FlushDenormals {
    before: u64,
}

impl FlushDenormals {
    pub(super) fn new() -> Self {
        let before = read();
        write(before | FLUSH);
        Self { before }
    }
}

impl Drop for FlushDenormals {
    fn drop(&mut self) {
        write(self.before);
    }
}

/// Flush-to-zero (bit 15) and denormals-are-zero (bit 6) of MXCSR.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const FLUSH: u64 = 1 << 15 | 1 << 6;

#[cfg(all(target_arch = "x86_64", not(miri)))]
fn read() -> u64 {
    let mut register = 0_u32;
    // SAFETY: stores the control register, which every x86-64 processor has, to a local variable.
    unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut register, options(nostack)) };
    u64::from(register)
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
fn write(value: u64) {
    let register = value as u32;
    // SAFETY: only the two flags above ever differ from what `read` found, so no reserved bit is set;
    // see the module's comment on the floating-point environment.
    unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const register, options(nostack, readonly)) };
}

/// Flush-to-zero (bit 24) of FPCR.
#[cfg(all(target_arch = "aarch64", not(miri)))]
const FLUSH: u64 = 1 << 24;

#[cfg(all(target_arch = "aarch64", not(miri)))]
fn read() -> u64 {
    let register: u64;
    // SAFETY: reads the control register, which every aarch64 processor has.
    unsafe { std::arch::asm!("mrs {}, fpcr", out(reg) register, options(nomem, nostack)) };
    register
}

#[cfg(all(target_arch = "aarch64", not(miri)))]
fn write(value: u64) {
    // SAFETY: only the flag above ever differs from what `read` found.
    unsafe { std::arch::asm!("msr fpcr, {}", in(reg) value, options(nomem, nostack)) };
}

#[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
const FLUSH: u64 = 0;

#[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn read() -> u64 {
    0
}

#[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn write(_: u64) {}

#[cfg(all(test, target_arch = "x86_64", not(miri)))]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    fn denormals_vanish_and_come_back() {
        let half = || black_box(f32::MIN_POSITIVE) * black_box(0.5);
        assert!(half() > 0.0);
        {
            let _guard = FlushDenormals::new();
            assert_eq!(half(), 0.0);
        }
        assert!(half() > 0.0);
    }
}
