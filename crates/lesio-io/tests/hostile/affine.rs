//! Where voxels are, and where they cannot be.

use super::build::Nifti;
use super::{Expect, List};

pub fn list(list: &mut List) {
    matrix(list);
    quaternion(list);
    sizes(list);
    contradictions(list);
    units(list);
}

fn scaled(x: f64, y: f64, z: f64, offset: [f64; 3]) -> Expect {
    Expect::Affine([
        [x, 0.0, 0.0, offset[0]],
        [0.0, y, 0.0, offset[1]],
        [0.0, 0.0, z, offset[2]],
        [0.0, 0.0, 0.0, 1.0],
    ])
}

fn matrix(list: &mut List) {
    let mut add = |name: &str, srow: [[f64; 4]; 3], expect| {
        for two in [false, true] {
            let nifti = Nifti::version(two).with(|n| n.srow = srow);
            let expect = match &expect {
                Expect::Affine(affine) => Expect::Affine(*affine),
                _ => Expect::Error("BadAffine"),
            };
            list.file(format!("sform {name} NIfTI-2 {two}"), "a.nii", nifti.file(), expect);
        }
    };
    let bad = || Expect::Error("BadAffine");
    let x = [1.0, 0.0, 0.0, 0.0];
    let y = [0.0, 1.0, 0.0, 0.0];
    let z = [0.0, 0.0, 1.0, 0.0];
    add("zero", [[0.0; 4]; 3], bad());
    add("of two equal rows", [x, x, z], bad());
    add("of a zero column", [[0.0, 1.0, 0.0, 0.0], y, z], bad());
    add("with NaN", [x, y, [0.0, f64::NAN, 1.0, 0.0]], bad());
    add("with an infinite offset", [[1.0, 0.0, 0.0, f64::INFINITY], y, z], bad());
    add("all NaN", [[f64::NAN; 4]; 3], bad());
    add("flipped", [[-2.0, 0.0, 0.0, 9.0], y, z], scaled(-2.0, 1.0, 1.0, [9.0, 0.0, 0.0]));
    let small = f64::from(1e-6_f32);
    add("of micrometres", [[small, 0.0, 0.0, 0.0], [0.0, small, 0.0, 0.0], [0.0, 0.0, small, 0.0]], {
        scaled(small, small, small, [0.0; 3])
    });
    let oblique = [[0.5, -0.5, 0.25, 1.0], [0.5, 0.5, 0.0, 2.0], [0.0, 0.125, 2.0, 3.0]];
    let [a, b, c] = oblique;
    add("sheared", oblique, Expect::Affine([a, b, c, [0.0, 0.0, 0.0, 1.0]]));
    for (name, sform) in [("6", 6), ("-1", -1), ("32767", 32767)] {
        let nifti = Nifti::one()
            .with(|n| (n.sform, n.qform, n.pixdim) = (sform, 1, [1.0, 2.0, 3.0, 4.0, 1.0, 1.0, 1.0, 1.0]));
        list.file(format!("sform code {name}"), "a.nii", nifti.file(), Expect::Odd("sform_code"));
        list.file(
            format!("sform code {name}, so qform"),
            "a.nii",
            nifti.file(),
            scaled(2.0, 3.0, 4.0, [0.0; 3]),
        );
    }
    for code in 1..=5 {
        let nifti = Nifti::one().with(|n| (n.sform, n.qform, n.pixdim) = (code, 1, [7.0; 8]));
        list.file(
            format!("sform code {code} before qform"),
            "a.nii",
            nifti.file(),
            scaled(1.0, 1.0, 1.0, [0.0; 3]),
        );
    }
}

fn quaternion(list: &mut List) {
    let qform = |change: fn(&mut Nifti)| {
        Nifti::one()
            .with(|n| {
                (n.sform, n.qform) = (0, 1);
                n.pixdim = [1.0, 2.0, 3.0, 4.0, 1.0, 1.0, 1.0, 1.0];
                n.offset = [10.0, 20.0, 30.0];
                n.srow = [[f64::NAN; 4]; 3];
            })
            .with(change)
            .file()
    };
    let mut add = |name: &str, change: fn(&mut Nifti), expect| {
        list.file(format!("qform {name}"), "a.nii", qform(change), expect);
    };
    let at = [10.0, 20.0, 30.0];
    add("of no turn", |_| {}, scaled(2.0, 3.0, 4.0, at));
    add("with qfac -1", |n| n.pixdim[0] = -1.0, scaled(2.0, 3.0, -4.0, at));
    add("with qfac 0", |n| n.pixdim[0] = 0.0, scaled(2.0, 3.0, 4.0, at));
    add("with qfac 0, told", |n| n.pixdim[0] = 0.0, Expect::Odd("pixdim[0]"));
    add("with qfac 2", |n| n.pixdim[0] = 2.0, scaled(2.0, 3.0, 4.0, at));
    add("with qfac NaN", |n| n.pixdim[0] = f64::NAN, scaled(2.0, 3.0, 4.0, at));
    add("of half a turn about x", |n| n.quaternion = [1.0, 0.0, 0.0], scaled(2.0, -3.0, -4.0, at));
    add("of half a turn about y", |n| n.quaternion = [0.0, 1.0, 0.0], scaled(-2.0, 3.0, -4.0, at));
    add("of half a turn about z", |n| n.quaternion = [0.0, 0.0, 1.0], scaled(-2.0, -3.0, 4.0, at));
    let rounded = |n: &mut Nifti| n.quaternion = [0.0, 0.0, 1.0 + f64::from(f32::EPSILON)];
    add("rounded past 1", rounded, scaled(-2.0, -3.0, 4.0, at));
    let quarter = Expect::Affine([
        [0.0, -3.0, 0.0, 10.0],
        [2.0, 0.0, 0.0, 20.0],
        [0.0, 0.0, 4.0, 30.0],
        [0.0, 0.0, 0.0, 1.0],
    ]);
    add("of a quarter turn about z", |n| n.quaternion = [0.0, 0.0, std::f64::consts::FRAC_1_SQRT_2], quarter);
    add("longer than 1", |n| n.quaternion = [1.0, 0.1, 0.0], Expect::Error("BadAffine"));
    add("of twos", |n| n.quaternion = [2.0; 3], Expect::Error("BadAffine"));
    add("of NaN", |n| n.quaternion = [f64::NAN, 0.0, 0.0], Expect::Error("BadAffine"));
    add("infinite", |n| n.quaternion = [f64::INFINITY, 0.0, 0.0], Expect::Error("BadAffine"));
    add("with NaN offset", |n| n.offset[1] = f64::NAN, Expect::Error("BadAffine"));
    add("with NaN size", |n| n.pixdim[1] = f64::NAN, Expect::Error("BadAffine"));
    add("with infinite size", |n| n.pixdim[2] = f64::INFINITY, Expect::Error("BadAffine"));
    add("with negative size", |n| n.pixdim[2] = -3.0, scaled(2.0, 3.0, 4.0, at));
    add("with negative size, told", |n| n.pixdim[2] = -3.0, Expect::Odd("pixdim[2]"));
    add("with zero size", |n| n.pixdim[3] = 0.0, scaled(2.0, 3.0, 1.0, at));
    add("with code 9", |n| n.qform = 9, scaled(-2.0, 3.0, 4.0, [2.0, -1.5, -2.0]));
    add("with code -3, told", |n| n.qform = -3, Expect::Odd("qform_code"));
}

fn sizes(list: &mut List) {
    let legacy = |change: fn(&mut Nifti)| {
        Nifti::one()
            .with(|n| {
                (n.sform, n.qform) = (0, 0);
                n.pixdim = [0.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0];
                n.quaternion = [f64::NAN; 3];
            })
            .with(change)
            .file()
    };
    let mut add = |name: &str, change: fn(&mut Nifti), expect| {
        list.file(format!("no form {name}"), "a.nii", legacy(change), expect);
    };
    add("3 by 2 by 2", |_| {}, scaled(-2.0, 3.0, 4.0, [2.0, -1.5, -2.0]));
    add("negative sizes", |n| n.pixdim = [-2.0; 8], scaled(-2.0, 2.0, 2.0, [2.0, -1.0, -1.0]));
    add("zero sizes", |n| n.pixdim = [0.0; 8], scaled(-1.0, 1.0, 1.0, [1.0, -0.5, -0.5]));
    add("zero sizes, told", |n| n.pixdim = [0.0; 8], Expect::Odd("pixdim[1]"));
    add("NaN size", |n| n.pixdim[2] = f64::NAN, Expect::Error("BadAffine"));
    add("infinite size", |n| n.pixdim[1] = f64::INFINITY, Expect::Error("BadAffine"));
    add("two axes", |n| n.dim = [2, 3, 4, 9, 9, 9, 9, 9], scaled(-2.0, 3.0, 1.0, [2.0, -4.5, 0.0]));
    add("one axis", |n| n.dim = [1, 12, 0, 0, 0, 0, 0, 0], scaled(-2.0, 1.0, 1.0, [11.0, 0.0, 0.0]));
}

/// The same place, or places that differ, by the two forms.
fn contradictions(list: &mut List) {
    let both = |change: fn(&mut Nifti), two: bool| {
        Nifti::version(two)
            .with(|n| {
                (n.sform, n.qform) = (1, 1);
                n.pixdim = [1.0, 1.5, 1.25, 10.0, 1.0, 1.0, 1.0, 1.0];
                n.offset = [-7.0, 8.0, 9.5];
                n.srow = [[1.5, 0.0, 0.0, -7.0], [0.0, 1.25, 0.0, 8.0], [0.0, 0.0, 10.0, 9.5]];
            })
            .with(change)
            .file()
    };
    let mut add = |name: &str, change: fn(&mut Nifti), expect: fn() -> Expect| {
        for two in [false, true] {
            list.file(format!("forms {name} NIfTI-2 {two}"), "a.nii", both(change, two), expect());
        }
    };
    let plain: fn() -> Expect = || Expect::Plain;
    add("that agree", |_| {}, plain);
    add("of which one is there", |n| n.qform = 0, plain);
    add("of which the quaternion is there", |n| n.sform = 0, plain);
    // As ACDC and others have it: the matrix lost the sizes.
    fn lost(n: &mut Nifti) {
        n.srow = [[-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
        n.quaternion = [0.0, 0.0, 1.0];
    }
    add("of other sizes", lost, || {
        Expect::Odd("voxels are 1 x 1 x 1 mm by sform and 1.5 x 1.25 x 10 mm by qform and pixdim")
    });
    add("of other sizes, by the matrix", lost, || scaled(-1.0, -1.0, 1.0, [0.0; 3]));
    fn pixdim(n: &mut Nifti) {
        (n.qform, n.pixdim[3]) = (0, 5.0);
    }
    add("of which pixdim differs", pixdim, || {
        Expect::Odd("1.5 x 1.25 x 10 mm by sform and 1.5 x 1.25 x 5 mm by pixdim; sform is taken")
    });
    add("of which pixdim is empty", |n| (n.qform, n.pixdim) = (0, [0.0; 8]), plain);
    add("of nearly equal sizes", |n| n.pixdim[1] = 1.501, plain);
    add("of sizes beyond the tolerance", |n| n.pixdim[1] = 1.502, || Expect::Odd("1.502 x"));
    add(
        "that are mirrored",
        |n| n.srow[0] = [-1.5, 0.0, 0.0, -7.0],
        || Expect::Odd("axes run to LAS by sform and to RAS by qform, a mirror image; sform is taken"),
    );
    add("of opposite qfac", |n| n.pixdim[0] = -1.0, || Expect::Odd("to RAI by qform, a mirror image"));
    add("that are turned", |n| n.quaternion = [0.0, 0.0, 1.0], || Expect::Odd("to LPS by qform; sform is"));
    add("mirrored in other spaces", |n| (n.sform, n.srow[0][0]) = (4, -1.5), || Expect::Odd("mirror"));
    add("that are tilted", |n| n.quaternion = [0.1, 0.0, 0.0], || Expect::Odd("mm apart; sform is taken"));
    add("that are shifted", |n| n.offset[2] = 10.5, || Expect::Odd("up to 1.000 mm apart"));
    add(
        "that are shifted in one space of two names",
        |n| (n.sform, n.offset[2]) = (2, 10.5),
        || Expect::Odd("apart"),
    );
    add("that are shifted by rounding", |n| n.offset[2] = 9.6, plain);
    add("that lead to two spaces", |n| (n.sform, n.offset[2]) = (4, 90.0), plain);
    add(
        "of which the quaternion is none",
        |n| n.quaternion = [1.0; 3],
        || Expect::Odd("qform gives no affine: b^2 + c^2 + d^2 of the quaternion is 3, expected at most 1"),
    );
    add(
        "of which the quaternion has NaN",
        |n| n.pixdim[2] = f64::NAN,
        || Expect::Odd("qform gives no affine"),
    );
    add("of which the matrix is flat", |n| n.srow[2] = [0.0; 4], || Expect::Error("BadAffine"));
    add("of an odd qfac beside the matrix", |n| n.pixdim[0] = 0.0, || Expect::Odd("pixdim[0] is 0"));
    add(
        "that are none",
        |n| (n.sform, n.qform) = (0, 0),
        || Expect::Odd("neither sform nor qform has a code"),
    );
    add("of which one has no code", |n| (n.sform, n.srow[0][0]) = (0, -3.0), plain);
}

fn units(list: &mut List) {
    for two in [false, true] {
        for (units, factor) in
            [(0, 1.0), (1, 1e3), (2, 1.0), (3, 1e-3), (2 | 8, 1.0), (1 | 16, 1e3), (3 | 24, 1e-3)]
        {
            let name = |form: &str| format!("{form} in unit {units} NIfTI-2 {two}");
            let (x, z) = (0.5 * factor, 3.0 * factor);
            let at = [-4.0 * factor, 2.0 * factor, 8.0 * factor];
            let nifti = Nifti::version(two).with(|n| {
                (n.units, n.pixdim) = (units, [1.0, 0.5, 0.5, 3.0, 1.0, 1.0, 1.0, 1.0]);
                n.srow = [[0.5, 0.0, 0.0, -4.0], [0.0, 0.5, 0.0, 2.0], [0.0, 0.0, 3.0, 8.0]];
                n.offset = [-4.0, 2.0, 8.0];
            });
            list.file(name("sform"), "a.nii", nifti.file(), scaled(x, x, z, at));
            let told = if factor == 1e3 { Expect::Odd("500 x 500 x 3000 mm") } else { Expect::Plain };
            list.file(name("sform, told"), "a.nii", nifti.file(), told);
            let qform = nifti.clone().with(|n| (n.sform, n.qform) = (0, 1));
            list.file(name("qform"), "a.nii", qform.file(), scaled(x, x, z, at));
            let none = nifti.with(|n| n.sform = 0);
            let at = [0.5 * factor, -0.25 * factor, -1.5 * factor];
            list.file(name("no form"), "a.nii", none.file(), scaled(-x, x, z, at));
        }
        for units in [4, 5, 6, 7, 255] {
            let nifti = Nifti::version(two).with(|n| n.units = units);
            let name = format!("unit {units} of space NIfTI-2 {two}");
            list.file(format!("{name}, taken"), "a.nii", nifti.file(), scaled(1.0, 1.0, 1.0, [0.0; 3]));
            list.file(name, "a.nii", nifti.file(), Expect::Odd("millimeters are assumed"));
        }
    }
}
