//! Shared parts of lesio's tests.
