//! A model of another program, from its ONNX file to maps, and out again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)] // A test may.

mod support;

use std::path::PathBuf;

use lesio::anomaly::{Localizer, PredictorName};
use lesio::nn::Device;
use support::{fail, manifest_folder, program, succeed, write_pictures};

fn golden(name: &str) -> PathBuf {
    manifest_folder().join("../crates/lesio-onnx/tests/golden").join(name)
}

#[test]
fn a_model_of_another_program_is_served_by_every_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write_pictures(&path("normals"), 6, 24);
    let import = |out: &str| {
        let mut command = program("import");
        command.args(["--likelihood", "bernoulli", "--range", "0,255"]);
        command.arg("--model").arg(golden("vae.onnx")).arg("--normals").arg(path("normals"));
        command.arg("--out").arg(path(out));
        command
    };
    let said = succeed(&mut import("own")).out;
    assert!(said.contains("ends with a sigmoid") && said.contains("grad-kl"), "{said}");
    fail(&mut import("own"), &["--overwrite"]);
    let made = Localizer::load(path("own/model.safetensors"), &Device::Cpu).unwrap();
    assert_eq!(made.calibration().get(PredictorName::GradKl).unwrap().subjects(), 6);
    assert!(made.provenance().notes["model"].starts_with("vae.onnx, "), "{:?}", made.provenance());

    let mut localize = program("localize");
    localize
        .arg("--model")
        .arg(path("own"))
        .arg("--input")
        .arg(path("normals"))
        .arg("--out")
        .arg(path("maps"));
    succeed(localize.args(["--layout", "images", "--predictor", "pixel-l1,grad-kl,projection"]));
    let mut inspect = program("inspect");
    succeed(inspect.arg(path("own/model.safetensors")));
    let mut recalibrate = program("recalibrate");
    recalibrate
        .arg("--model")
        .arg(path("own"))
        .arg("--data")
        .arg(path("normals"))
        .arg("--out")
        .arg(path("again"));
    succeed(recalibrate.args(["--layout", "images"]));

    let mut export = program("export");
    export.arg("--model").arg(path("own")).arg("--out").arg(path("onnx"));
    succeed(export.args(["--scaling", "inside"]));
    let mut back = program("import");
    back.arg("--encoder").arg(path("onnx/encoder.onnx")).arg("--decoder").arg(path("onnx/decoder.onnx"));
    back.args(["--likelihood", "bernoulli", "--range", "0,255"]).arg("--out").arg(path("back"));
    let said = succeed(&mut back).out;
    assert!(said.contains("recalibrate"), "{said}");
    fail(
        program("import").arg("--model").arg(golden("max_pool_uneven.onnx")).args([
            "--kind=reconstructor",
            "--beta=3",
            "--mean=m",
        ]),
        &[
            "MaxPool (opset 17)",
            "warning: --beta has no effect here: it is for --kind vae",
            "warning: --mean has no effect here",
        ],
    );
    // Preprocessing that has to be fitted needs something to be fitted on.
    let mut heads = program("import");
    heads
        .arg("--model")
        .arg(golden("vae.onnx"))
        .args(["--preprocessing", "heads"])
        .arg("--out")
        .arg(path("heads"));
    assert_ne!(support::ran(&mut heads).code, Some(0));
}
