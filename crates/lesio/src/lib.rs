//! Anomaly localization in images and segmentation quality, without labels.
//!
//! This crate only re-exports its parts; each can be used by itself. Without its default features it is what localizes, alone:
//! `quality`, `report`, `study` and `candle` (models written with candle, and its devices) can be left out.
//!
//! | module | what it is for |
//! |---|---|
//! | [`image`] | scans with their geometry, preprocessing, filters |
//! | [`io`] | NIfTI, PNG, JPEG, TIFF, BMP, data set layouts |
//! | [`nn`] | networks as values, engines, devices, training |
//! | [`vae`] | variational autoencoders and denoisers |
//! | [`anomaly`] | predictors, calibration, the [`Localizer`](anomaly::Localizer) |
//! | [`quality`] | segmentation quality without ground truth |
//! | [`metrics`] | exact evaluation metrics |
//! | `onnx` (a feature) | models of other programs, from and to ONNX |
//! | [`phantom`] | test images with exact truth |
//! | [`report`] | pictures, plots, HTML and JSON |
//! | [`study`] | data sets to localizers and their evaluation |
//!
//! ```
//! use lesio::prelude::*;
//!
//! // A small untrained model scores an image on its own grid.
//! let config = VaeConfig::new(1, 32, 32).widths([8, 16]).latent(Latent::Dense { dimensions: 8 });
//! let model = Model::Vae(Vae::new(config, 1.0, 7, &Device::Cpu)?.into());
//! let preprocessing = Preprocessing::new([32, 32]).fit([] as [Scan; 0])?;
//! let localizer = Localizer::new(model, preprocessing, Provenance::new(7, "none"))?;
//!
//! let image = Image::new(ndarray::Array3::from_shape_fn((1, 40, 50), |(_, y, x)| ((y * x) % 7) as f32 / 7.0));
//! let scored = localizer.score(&image.into(), &[PredictorName::PixelL1, PredictorName::GradKl])?;
//! let map = scored.scores[0].raw.upright_plane(Plane::Axial, 0);
//! assert_eq!(map.map(|map| map.dim()), Some((40, 50)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// docs.rs labels items with the feature that enables them.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

pub use lesio_anomaly as anomaly;
pub use lesio_image as image;
pub use lesio_io as io;
pub use lesio_metrics as metrics;
pub use lesio_nn as nn;
#[cfg(feature = "onnx")]
pub use lesio_onnx as onnx;
pub use lesio_phantom as phantom;
#[cfg(feature = "quality")]
pub use lesio_quality as quality;
#[cfg(feature = "report")]
pub use lesio_report as report;
#[cfg(feature = "study")]
pub use lesio_study as study;
pub use lesio_vae as vae;

/// What most programs need.
pub mod prelude {
    pub use lesio_anomaly::{Localizer, Model, PredictorName, Provenance};
    pub use lesio_image::{Geometry, Image, Plane, Preprocessing, Scan, Volume};
    pub use lesio_io::{read_image, read_scan, read_volume, write_volume};
    pub use lesio_nn::Device;
    pub use lesio_vae::{Latent, Likelihood, Vae, VaeConfig};
}

/// The README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// Compiles and runs the program in README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeOfCrate;
