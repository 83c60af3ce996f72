//! Metrics, filters and reading.

use std::path::{Path, PathBuf};

use lesio_image::{Components, Volume, label_volume, median_filter_plane, median_filter_volume};
use lesio_metrics::{Connectivity, PixelCurve, RegionCurve};
use ndarray::{Array2, Array3, Axis};

use super::{Case, read};
use crate::Result;
use crate::tensors::Tensors;

/// AUROC and average precision of 10^7 pixels.
#[derive(Debug)]
pub(super) struct Ranking {
    scores: Vec<f32>,
    truth: Vec<bool>,
    result: [f64; 2],
}

impl Ranking {
    pub(super) fn new(data: &Path) -> Result<Self> {
        let tensors = read(data, "ranking")?;
        let scores = tensors.f32("scores")?.1.to_vec();
        Ok(Self { scores, truth: tensors.mask("truth")?.1, result: [0.0; 2] })
    }
}

impl Case for Ranking {
    fn run(&mut self) -> Result<()> {
        let mut pixels = PixelCurve::new();
        pixels.update(&self.scores, &self.truth)?;
        let ranked = pixels.rank()?;
        self.result = [ranked.auroc(), ranked.average_precision()];
        Ok(())
    }

    fn outputs(&mut self) -> Result<Tensors> {
        self.run()?;
        let mut tensors = Tensors::default();
        tensors.insert_f64("auroc", &[], vec![self.result[0]]);
        tensors.insert_f64("average_precision", &[], vec![self.result[1]]);
        Ok(tensors)
    }
}

/// Area under the per-region overlap curve up to a false positive rate of 0.3.
#[derive(Debug)]
pub(super) struct Aupro {
    scores: Array3<f32>,
    truth: Array3<bool>,
    result: f64,
}

impl Aupro {
    pub(super) fn new(data: &Path) -> Result<Self> {
        let tensors = read(data, "regions")?;
        Ok(Self { scores: volume(&tensors, "scores")?, truth: mask(&tensors, "truth")?, result: 0.0 })
    }
}

impl Case for Aupro {
    fn run(&mut self) -> Result<()> {
        let mut regions = RegionCurve::new(Connectivity::Vertex);
        for (scores, truth) in self.scores.axis_iter(Axis(0)).zip(self.truth.axis_iter(Axis(0))) {
            regions.update(scores, truth)?;
        }
        self.result = regions.rank()?.aupro(0.3)?;
        Ok(())
    }

    fn outputs(&mut self) -> Result<Tensors> {
        self.run()?;
        let mut tensors = Tensors::default();
        tensors.insert_f64("aupro", &[], vec![self.result]);
        Ok(tensors)
    }
}

/// A 5x5 median of every slice of a volume.
#[derive(Debug)]
pub(super) struct Median2d {
    slices: Array3<f32>,
    medians: Vec<Array2<f32>>,
}

impl Median2d {
    pub(super) fn new(data: &Path) -> Result<Self> {
        Ok(Self { slices: volume(&read(data, "volume")?, "slices")?, medians: Vec::new() })
    }
}

impl Case for Median2d {
    fn run(&mut self) -> Result<()> {
        self.medians.clear();
        for plane in self.slices.axis_iter(Axis(0)) {
            self.medians.push(median_filter_plane(&plane, [5, 5])?);
        }
        Ok(())
    }

    fn outputs(&mut self) -> Result<Tensors> {
        self.run()?;
        let values: Vec<f32> = self.medians.iter().flatten().copied().collect();
        let mut tensors = Tensors::default();
        tensors.insert("median", self.slices.shape(), &values);
        Ok(tensors)
    }
}

/// A 5x5x5 median of a volume.
#[derive(Debug)]
pub(super) struct Median3d {
    volume: Array3<f32>,
    median: Array3<f32>,
}

impl Median3d {
    pub(super) fn new(data: &Path) -> Result<Self> {
        Ok(Self { volume: volume(&read(data, "volume")?, "volume")?, median: Array3::zeros([0; 3]) })
    }
}

impl Case for Median3d {
    fn run(&mut self) -> Result<()> {
        self.median = median_filter_volume(&self.volume, [5; 3])?;
        Ok(())
    }

    fn outputs(&mut self) -> Result<Tensors> {
        self.run()?;
        let values: Vec<f32> = self.median.iter().copied().collect();
        let mut tensors = Tensors::default();
        tensors.insert("median", self.median.shape(), &values);
        Ok(tensors)
    }
}

/// A compressed volume of 16-bit integers, read to f32.
#[derive(Debug)]
pub(super) struct ReadNifti {
    path: PathBuf,
    volume: Option<Volume<f32>>,
}

impl ReadNifti {
    pub(super) fn new(data: &Path) -> Result<Self> {
        Ok(Self { path: data.join("volume.nii.gz"), volume: None })
    }
}

impl Case for ReadNifti {
    fn run(&mut self) -> Result<()> {
        self.volume = None; // As the peer's, the last one is gone before the next is read.
        self.volume = Some(lesio_io::read_volume(&self.path)?);
        Ok(())
    }

    fn outputs(&mut self) -> Result<Tensors> {
        self.run()?;
        let data = self.volume.as_ref().ok_or("nothing was read")?.data();
        let values: Vec<f32> = data.iter().copied().collect();
        let mut tensors = Tensors::default();
        tensors.insert("voxels", data.shape(), &values);
        Ok(tensors)
    }
}

/// Components of a volume's mask, neighbors by face, edge or corner.
#[derive(Debug)]
pub(super) struct Labelling {
    mask: Array3<bool>,
    components: Option<Components<3>>,
}

impl Labelling {
    pub(super) fn new(data: &Path) -> Result<Self> {
        Ok(Self { mask: mask(&read(data, "mask")?, "mask")?, components: None })
    }
}

impl Case for Labelling {
    fn run(&mut self) -> Result<()> {
        self.components = Some(label_volume(&self.mask, lesio_image::Connectivity::Vertex));
        Ok(())
    }

    fn outputs(&mut self) -> Result<Tensors> {
        self.run()?;
        let components = self.components.as_ref().ok_or("nothing was labeled")?;
        // Counted anew from the labels: what is compared is the picture, not the library's account of it.
        let mut sizes = vec![0_u32; components.components().len() + 1];
        for &label in components.labels() {
            sizes[label as usize] += 1;
        }
        sizes.remove(0);
        sizes.sort_unstable();
        let sizes: Vec<f64> = sizes.into_iter().map(f64::from).collect();
        let mut tensors = Tensors::default();
        tensors.insert_f64("count", &[], vec![sizes.len() as f64]);
        tensors.insert_f64("sizes", &[sizes.len()], sizes);
        Ok(tensors)
    }
}

fn volume(tensors: &Tensors, name: &str) -> Result<Array3<f32>> {
    let (shape, values) = tensors.f32(name)?;
    Ok(Array3::from_shape_vec(three(shape)?, values.to_vec())?)
}

fn mask(tensors: &Tensors, name: &str) -> Result<Array3<bool>> {
    let (shape, values) = tensors.mask(name)?;
    Ok(Array3::from_shape_vec(three(shape)?, values)?)
}

fn three(shape: &[usize]) -> Result<[usize; 3]> {
    Ok(shape.try_into().map_err(|_| format!("shape {shape:?}, expected three axes"))?)
}
