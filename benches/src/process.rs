//! What the kernel knows about this process: memory, and time spent waiting for a processor.

use std::fs;

use crate::Result;

/// Seconds that this process's threads have spent runnable but not running.
///
/// # Errors
/// A system without `/proc`.
pub fn waited_seconds() -> Result<f64> {
    let mut nanoseconds = 0_u64;
    for thread in fs::read_dir("/proc/self/task")? {
        // A thread may just have ended, or the kernel keep no such account.
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let waited = text.split_whitespace().nth(1).and_then(|field| field.parse::<u64>().ok());
        nanoseconds += waited.unwrap_or(0);
    }
    Ok(nanoseconds as f64 * 1e-9)
}

/// Bytes of this process in memory now.
///
/// # Errors
/// A system without `/proc`.
pub fn resident_bytes() -> Result<u64> {
    status("VmRSS")
}

/// The most bytes of this process in memory since [`reset_peak`].
///
/// # Errors
/// A system without `/proc`.
pub fn peak_bytes() -> Result<u64> {
    status("VmHWM")
}

/// Lets [`peak_bytes`] start anew.
///
/// # Errors
/// A system without `/proc`, or one that forbids it.
pub fn reset_peak() -> Result<()> {
    Ok(fs::write("/proc/self/clear_refs", "5")?)
}

fn status(field: &str) -> Result<u64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let kilobytes = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok())
        .ok_or_else(|| format!("/proc/self/status has no {field}"))?;
    Ok(kilobytes * 1024)
}
