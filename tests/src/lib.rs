//! Nothing but tests: what holds of the workspace as a whole stands in `tests/`.

#![forbid(unsafe_code)]
