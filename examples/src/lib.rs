//! Shared parts of lesio's examples.
