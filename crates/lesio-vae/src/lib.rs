//! Variational autoencoders of images: configuration, evidence lower bound, training.
