//! Convolution kernels for CPUs with run-time dispatch: the one crate of lesio that holds unsafe code.
