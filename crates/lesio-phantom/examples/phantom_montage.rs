//! Saves montages of every phantom to look at: `cargo run -p lesio-phantom --example phantom_montage -- FOLDER`.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a tool of the developers")]

use lesio_phantom::{
    BrainConfig, BrainPhantom, CardiacPhase, Contrast, HeartConfig, HeartPhantom, LesionConfig,
    LesionInjector, LesionKind,
};
use ndarray::{Array2, ArrayView2, s};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::path::PathBuf::from(std::env::args().nth(1).ok_or("which folder to save to")?);
    let mut rows = Vec::new();
    for contrast in [Contrast::Flair, Contrast::T1] {
        let phantom = BrainPhantom::new(BrainConfig::new([256, 256], contrast, 1))?;
        rows.push((0..4).map(|n| phantom.slice(n).image).collect::<Vec<_>>());
        rows.push((0..4).map(|n| phantom.slice_at(7, f64::from(n) * 18.0 - 4.0).image).collect());
    }
    save(&folder.join("brain.png"), &rows, 0.8)?;
    let phantom = BrainPhantom::new(BrainConfig::new([128, 128], Contrast::Flair, 1))?;
    let start = std::time::Instant::now();
    for n in 0..200 {
        std::hint::black_box(phantom.slice(n));
    }
    println!("{:?} a slice", start.elapsed() / 200);
    let rows: Vec<Vec<Array2<f32>>> = (0..3)
        .map(|r| (0..8).map(|c| phantom.slice(r * 8 + c).image).collect())
        .chain([(0..8).map(|c| phantom.slice(c).labels.mapv(|l| f32::from(l) / 5.0)).collect()])
        .chain([(0..8).map(|c| phantom.slice_at(3, c as f64 * 8.5).image).collect()])
        .collect();
    save(&folder.join("brain128.png"), &rows, 0.8)?;

    // Healthy, ill and the truth, kind by kind.
    let phantom = BrainPhantom::new(BrainConfig::new([180, 180], Contrast::Flair, 1))?;
    let mut rows = Vec::new();
    for kind in LesionKind::ALL {
        let [_, contrast] = kind.usual_contrasts();
        let config = LesionConfig::new(kind, contrast).in_brain_tissue().radius(8.0, 14.0);
        let injector = LesionInjector::new(config)?;
        let mut row = Vec::new();
        for n in 0..2 {
            let healthy = phantom.slice(n);
            let ill =
                injector.inject_slice(healthy.image.view(), healthy.labels.view(), phantom.pixel(), n)?;
            row.extend([healthy.image, ill.image, ill.truth.mapv(|t| f32::from(u8::from(t)))]);
        }
        rows.push(row);
    }
    save(&folder.join("lesions.png"), &rows, 0.8)?;

    let hearts = HeartPhantom::new(HeartConfig::new([170, 170], 1))?;
    let phases = [CardiacPhase::EndDiastole, CardiacPhase::EndSystole];
    let rows: Vec<Vec<Array2<f32>>> = (0..3)
        .map(|r| (0..6).map(|c| hearts.slice(r * 6 + c).image).collect())
        .chain(
            phases.map(|phase| (0..6).map(|c| hearts.slice_at(3, phase, f64::from(c) / 5.0).image).collect()),
        )
        .chain([(0..6).map(|c| hearts.slice(c).labels.mapv(|l| f32::from(l) / 3.0)).collect()])
        .collect();
    save(&folder.join("heart.png"), &rows, 0.9)?;
    let start = std::time::Instant::now();
    for n in 0..200 {
        std::hint::black_box(hearts.slice(n));
    }
    println!("{:?} a heart slice of 170 x 170", start.elapsed() / 200);
    Ok(())
}

fn save(path: &std::path::Path, rows: &[Vec<Array2<f32>>], white: f32) -> Result<(), image::ImageError> {
    let height: usize = rows.iter().map(|row| row[0].nrows()).sum();
    let width = rows.iter().map(|row| row.iter().map(Array2::ncols).sum::<usize>()).max().unwrap_or(0);
    let mut canvas = Array2::zeros((height, width));
    let mut top = 0;
    for row in rows {
        let mut left = 0;
        for tile in row {
            let view: ArrayView2<'_, f32> = tile.view();
            canvas.slice_mut(s![top..top + tile.nrows(), left..left + tile.ncols()]).assign(&view);
            left += tile.ncols();
        }
        top += row[0].nrows();
    }
    let bytes = canvas.iter().map(|&v: &f32| (v / white * 255.0).clamp(0.0, 255.0) as u8).collect();
    image::GrayImage::from_raw(width as u32, height as u32, bytes).unwrap().save(path)
}
