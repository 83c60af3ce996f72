//! The truth of programs: where masks lie, which are missing, and what is left out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // A test may.

mod support;

use std::fs;
use std::path::Path;

use lesio::image::{Geometry, Volume};
use lesio::io::write_volume;
use serde_json::Value;
use support::{fail, head, program, ran, succeed, untrained_heads};

/// Heads of which the upper half holds a lesion, as `CASE/image.nii.gz` and `CASE/mask.nii.gz`.
fn write(root: &Path, mask_of: impl Fn(&Volume<u8>) -> Volume<u8>) {
    for subject in 0..3 {
        let case = root.join(format!("c{subject}"));
        fs::create_dir_all(&case).unwrap();
        let head = head(subject);
        let marked = |(i, j, k): (usize, usize, usize)| u8::from(i < 14 && j > 12 && j < 20 && k > 4);
        let mask = Volume::new(
            ndarray::Array3::from_shape_fn(head.image.data().dim(), marked),
            *head.image.geometry(),
        );
        write_volume(case.join("image.nii.gz"), &head.image).unwrap();
        write_volume(case.join("mask.nii.gz"), &mask_of(&mask)).unwrap();
    }
}

#[test]
fn masks_count_at_their_place_in_every_program() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.safetensors");
    untrained_heads(&model);
    let evaluate = |data: &str, more: &[&str]| {
        let out = folder.path().join(format!("report-{data}"));
        let mut command = program("evaluate");
        command.arg("--model").arg(&model).arg("--data").arg(folder.path().join(data)).arg("--out").arg(&out);
        command.args(["--mask", "mask.nii.gz", "--split", "all", "--predictors", "pixel-l1"]);
        command.args(["--replicates", "20"]).args(more);
        (command, out.join("report.json"))
    };
    let scopes = |path: &Path| {
        let mut report: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        report["scopes"].as_array_mut().unwrap().iter_mut().for_each(|scope| {
            let rows = scope["predictors"].as_array_mut().unwrap();
            rows.iter_mut().for_each(|row| drop(row.as_object_mut().unwrap().remove("seconds_per_image")));
        });
        report["scopes"].clone()
    };
    write(&folder.path().join("aligned"), Clone::clone);
    let (mut command, straight) = evaluate("aligned", &[]);
    succeed(&mut command);
    // Mirrored, in another order of axes, and rounded to three decimals: the same place, the same figures.
    let round = |mask: &Volume<u8>| {
        let affine = mask.geometry().affine().map(|row| row.map(|value| (value * 1e3).round() / 1e3));
        Volume::new(mask.data().clone(), Geometry::new(affine).unwrap())
    };
    let turned = |codes: &'static str| move |mask: &Volume<u8>| mask.reoriented(&codes.parse().unwrap());
    write(&folder.path().join("mirrored"), turned("LAS"));
    write(&folder.path().join("sagittal"), turned("ASL"));
    write(&folder.path().join("rounded"), round);
    for name in ["mirrored", "sagittal", "rounded"] {
        let (mut command, report) = evaluate(name, &[]);
        succeed(&mut command);
        assert_eq!(scopes(&report), scopes(&straight), "{name}");
    }
    // A mask of probabilities, of which all is above 0.
    write(&folder.path().join("soft"), |mask| {
        Volume::new(mask.data().mapv(|one| 50 + 100 * one), *mask.geometry())
    });
    let (mut command, report) = evaluate("soft", &["--mask-above", "99.5"]);
    succeed(&mut command);
    assert_eq!(scopes(&report), scopes(&straight));
    assert_eq!(ran(&mut evaluate("soft", &["--mask-above", "nan"]).0).code, Some(2));
    // Without their place masks are refused, unless the user says that the order of voxels is right.
    write(&folder.path().join("lost"), |mask| {
        Volume::new(mask.data().clone(), Geometry::from_spacing([1.0, 1.0, 1.0]).unwrap())
    });
    let own = head(0).image.geometry().to_string();
    let both = ["c0/mask.nii.gz", "c0/image.nii.gz", "[1 0 0 0; 0 1 0 0; 0 0 1 0]", &own];
    fail(&mut evaluate("lost", &[]).0, &both);
    let (mut command, report) = evaluate("lost", &["--match", "position"]);
    succeed(&mut command);
    assert_eq!(scopes(&report), scopes(&straight));

    let train = |data: &str, more: &[&str]| {
        let mut command = program("train");
        command.args(["--split", "all", "--size", "32", "--widths", "4,8", "--latent", "4", "--epochs", "1"]);
        command.args(["--mask", "mask.nii.gz"]).args(more);
        command.arg("--data").arg(folder.path().join(data));
        command
            .arg("--out")
            .arg(folder.path().join(format!("train-{data}-{}", more.len())))
            .arg("--overwrite");
        command
    };
    // Five of eight slices are normal, whichever way the mask lies.
    let slices = |text: &str| text.lines().find(|line| line.contains("normal slices")).unwrap().to_owned();
    let expected = slices(&succeed(&mut train("aligned", &[])).out);
    assert_eq!(slices(&succeed(&mut train("sagittal", &[])).out), expected);
    fail(&mut train("lost", &[]), &both);

    // A missing mask is no normal image.
    fs::rename(folder.path().join("aligned/c0/mask.nii.gz"), folder.path().join("aligned/c0/tumour.nii.gz"))
        .unwrap();
    for command in [&mut train("aligned", &[]), &mut evaluate("aligned", &[]).0] {
        fail(command, &["1 of 3 cases has no mask mask.nii.gz: c0", "tumour.nii.gz"]);
    }
    let skipped = succeed(&mut train("aligned", &["--missing-mask", "skip"]));
    assert!(slices(&skipped.out).contains("of 1 cases"), "{}", skipped.out);
}

#[test]
fn results_do_not_become_data() {
    let folder = tempfile::tempdir().unwrap();
    let (model, images) = (folder.path().join("model.safetensors"), folder.path().join("images"));
    untrained_heads(&model);
    fs::create_dir(&images).unwrap();
    write_volume(images.join("a.nii.gz"), &head(0).image).unwrap();
    let localize = |out: &Path| {
        let mut command = program("localize");
        command.arg("--model").arg(&model).arg("--input").arg(&images).arg("--out").arg(out);
        command
    };
    fail(&mut localize(&images.join("maps")), &["--out", "lies in"]);
    let out = folder.path().join("maps");
    succeed(&mut localize(&out));
    // Moved into the folder by hand, they are still no data.
    fs::rename(&out, images.join("maps")).unwrap();
    succeed(&mut localize(&out));
    let report: Value = serde_json::from_slice(&fs::read(out.join("report.json")).unwrap()).unwrap();
    assert_eq!(report["cases"].as_array().unwrap().len(), 1);
}
