//! Reading volumes.
fn main() {}
