//! Estimators of segmentation quality for images of several channels, and for photographs, from files to maps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use lesio_image::{Image, Volume};
use lesio_io::atomic::Existing;
use lesio_io::dataset::{Case, Dataset, Layout, Mask};
use lesio_io::{Matching, ReadOptions, read_image, read_volume, write_png, write_volume};
use lesio_nn::Device;
use lesio_phantom::{CardiacPhase, HeartConfig, HeartPhantom};
use lesio_quality::{Method, PipelineConfig, QualityModel, SliceVerdict, Widths};
use lesio_study::quality::{
    GradeConfig, GradedFile, QualityData, QualityDataConfig, QualityProgress, QualityStudyError,
    grade_folder, train_quality,
};
use lesio_study::{FinishedCases, explain};
use ndarray::{Array3, Axis};

const PATIENTS: u64 = 6;

fn heart(patient: u64) -> (Volume<f32>, Volume<u8>) {
    let mut config = HeartConfig::new([24, 24], 9);
    config.slices = 3;
    let heart = HeartPhantom::new(config).unwrap().volume(patient, CardiacPhase::EndDiastole).unwrap();
    (heart.image, heart.labels)
}

/// The same heart in the contrast of another scan.
fn inverted(image: &Volume<f32>) -> Volume<f32> {
    image.map(|value| 7.0 - 3.0 * value)
}

fn read(folder: &Path, layout: Layout) -> Result<QualityData, QualityStudyError> {
    let config = QualityDataConfig::new(layout, 1).labels([2]).size(16);
    config.read_training(folder, &mut |_| ControlFlow::Continue(()))
}

fn train(data: &mut QualityData, folder: &Path) -> QualityModel {
    let mut pipeline = PipelineConfig::new(1).scaled(0.0002);
    (pipeline.segmenters, pipeline.stages) = (vec![vec![4, 8]], vec![1]);
    (pipeline.training_per_bin, pipeline.validation_per_bin) = (4, 2);
    data.estimators = data.estimators.clone().widths(Widths::uniform([4, 8]));
    fs::create_dir_all(folder).unwrap();
    let observer = &mut |_: &QualityProgress<'_>| ControlFlow::Continue(());
    train_quality(data, Method::SecondOpinion, pipeline, folder, &Device::Cpu, observer).unwrap().model
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn studies_of_two_channels_are_graded_in_any_order_of_their_files() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    for patient in 0..PATIENTS {
        let (image, labels) = heart(patient);
        let own = data.join(format!("p{patient}"));
        fs::create_dir_all(&own).unwrap();
        write_volume(own.join("flair.nii.gz"), &image).unwrap();
        write_volume(own.join("t1.nii.gz"), &inverted(&image)).unwrap();
        write_volume(own.join("mask.nii.gz"), &labels).unwrap();
    }
    let layout = |images: &[&str]| Layout::Cases {
        images: images.iter().map(|&name| name.to_owned()).collect(),
        mask: Some("mask.nii.gz".to_owned()),
    };
    let mut read = read(&data, layout(&["flair.nii.gz", "t1.nii.gz"])).unwrap();
    assert_eq!((read.channels.join(" "), read.estimators.channels), ("flair t1".to_owned(), 2));
    let model = train(&mut read, &root.path().join("steps"));
    assert_eq!(model.channel_names(), ["flair", "t1"]);

    let own = data.join("p0");
    let grade = |files: &[&str]| {
        let files = files.iter().map(|name| own.join(name));
        let case = Case::of_files("p0", files, Mask::File(own.join("mask.nii.gz")), Matching::Place);
        GradedFile::read(&model, &case, &ReadOptions::new())
    };
    let graded = grade(&["t1.nii.gz", "flair.nii.gz"]).unwrap();
    let straight = grade(&["flair.nii.gz", "t1.nii.gz"]).unwrap();
    assert_eq!(graded.assessment.slices, straight.assessment.slices);
    let error = explain(&grade(&["flair.nii.gz"]).unwrap_err());
    assert!(
        error.contains("flair.nii.gz") && error.ends_with("the channels are flair, expected flair, t1"),
        "{error}"
    );

    // The names in a table decide which channel is which: once they are corrected, nothing is kept.
    let table = data.join("cases.csv");
    let grades = |header: &str, out: &str, finished| {
        let row = "p0/flair.nii.gz,p0/t1.nii.gz,p0/mask.nii.gz,p0";
        fs::write(&table, format!("{header},mask,case\n{row}\n")).unwrap();
        let cases = Dataset::open(&table, &Layout::Manifest).unwrap();
        let config = GradeConfig::new(root.path().join(out)).existing(Existing::Replace).finished(finished);
        grade_folder(&model, &cases, &config, &mut ()).unwrap().cases[0].slices.clone()
    };
    let wrong = grades("image:t1,image:flair", "resumed", FinishedCases::Redo);
    assert_ne!(wrong, graded.assessment.slices);
    let right = grades("image:flair,image:t1", "resumed", FinishedCases::Keep);
    assert_eq!(right, graded.assessment.slices);

    let out = root.path().join("out");
    fs::create_dir(&out).unwrap();
    let mut written = graded.write(&out, Existing::Refuse).unwrap();
    written.sort();
    assert_eq!(written, names(&out));
    let mut expected = GradedFile::file_names(&model, true);
    expected.sort();
    assert_eq!(written, expected);
    assert!(written.contains(&"reconstruction_t1.nii.gz".to_owned()), "{written:?}");
    // Each map belongs to the image of its name: nothing is reconstructed beyond the frames.
    for name in ["flair", "t1"] {
        let read = |map: &str| read_volume(out.join(format!("{map}_{name}.nii.gz"))).unwrap();
        let image = read_volume(own.join(format!("{name}.nii.gz"))).unwrap();
        let (reconstruction, difference) = (read("reconstruction"), read("difference"));
        let sum = reconstruction.data() + difference.data();
        assert!(sum.iter().zip(image.data()).all(|(a, b)| (a - b).abs() < 1e-4), "{name}");
        let corner = |volume: &Volume<f32>| volume.data()[[0, 0, 1]];
        assert_eq!(corner(&reconstruction), corner(&image), "{name}");
    }
}

#[test]
fn photographs_are_graded() {
    let root = tempfile::tempdir().unwrap();
    let mut table = "image,mask,case\n".to_owned();
    let file = |name: String| root.path().join(name);
    for patient in 0..PATIENTS {
        let (image, labels) = heart(patient);
        let plane =
            |k: usize| image.data().index_axis(Axis(2), k).t().mapv(|value| (40.0 + 30.0 * value) as u8);
        let color =
            Array3::from_shape_fn((3, 24, 24), |(c, row, column)| plane(1)[[row, column]] / (1 + c as u8));
        let truth = labels.data().index_axis(Axis(2), 1).t().to_owned();
        write_png(file(format!("i{patient}.png")), &Image::new(color), Existing::Refuse).unwrap();
        write_png(file(format!("m{patient}.png")), &Image::from_plane(truth), Existing::Refuse).unwrap();
        table += &format!("i{patient}.png,m{patient}.png,p{patient}\n");
    }
    let cases = file("cases.csv".to_owned());
    fs::write(&cases, table).unwrap();
    let mut data = read(&cases, Layout::Manifest).unwrap();
    assert_eq!((data.estimators.channels, data.channels.len()), (3, 0));
    let model = train(&mut data, &file("steps".to_owned()));
    assert_eq!((model.pixel_millimeters(), model.orientation()), (None, None));

    let case =
        |mask: PathBuf| Case::of_files("p", [file("i0.png".to_owned())], Mask::File(mask), Matching::Place);
    let grade = |mask: PathBuf| GradedFile::read(&model, &case(mask), &ReadOptions::new());
    let graded = grade(file("m0.png".to_owned())).unwrap();
    assert!(
        matches!(graded.assessment.slices[..], [ref only] if matches!(only.verdict, SliceVerdict::Graded { .. }))
    );
    let volume = graded.assessment.volume.as_ref().unwrap()[0];
    assert!(volume.distance_millimeters.is_none(), "pixels have no known size");
    let out = file("out".to_owned());
    fs::create_dir(&out).unwrap();
    let mut written = graded.write(&out, Existing::Refuse).unwrap();
    written.sort();
    let maps = |map: &str| (0..3).map(|channel| format!("{map}_{channel}.tiff")).collect::<Vec<_>>();
    let mut expected = vec!["assessment.png".to_owned(), "error.tiff".to_owned()];
    expected.extend(["difference", "reconstruction"].into_iter().flat_map(maps));
    expected.sort();
    assert_eq!(written, expected);
    // A model without an error map shows no column of errors, which would look like none.
    let mut without = grade(file("m0.png".to_owned())).unwrap();
    without.assessment.error = None;
    let other = file("without".to_owned());
    fs::create_dir(&other).unwrap();
    fs::write(other.join("report.json"), "of an earlier run").unwrap();
    without.write(&other, Existing::Replace).unwrap();
    assert!(!other.join("report.json").exists());
    let width = |folder: &Path| read_image(folder.join("assessment.png")).unwrap().width();
    assert!(4 * width(&other) < 3 * width(&out) + width(&out) / 5, "{} {}", width(&other), width(&out));
    // Rows of maps run down, as those of the picture.
    let picture = read_image(file("i0.png".to_owned())).unwrap();
    for channel in 0..3 {
        let read = |map: &str| read_image(out.join(format!("{map}_{channel}.tiff"))).unwrap();
        let sum = read("reconstruction").data() + read("difference").data();
        let own = picture.channel(channel).unwrap();
        assert!(sum.iter().zip(own).all(|(a, b)| (a - b).abs() < 1e-3), "{channel}");
    }
    // Labels are exact, gray, and of the picture's size.
    let other = file("other.png".to_owned());
    for (labels, why) in [
        (Image::new(Array3::<u8>::zeros((3, 24, 24))), "colors of 3 channels"),
        (Image::new(Array3::<u8>::zeros((1, 20, 24))), "[20, 24]"),
        // What can be read is of another structure.
        (Image::new(Array3::<u8>::from_elem((1, 24, 24), 200)), "label 200"),
    ] {
        write_png(&other, &labels, Existing::Replace).unwrap();
        let error = explain(&grade(other.clone()).unwrap_err());
        assert!(error.contains(why) && (error.contains("other.png") || error.contains("i0.png")), "{error}");
    }
}
