//! Shared parts of lesio's benches.
