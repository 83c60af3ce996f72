//! Where voxels are, and where they cannot be.

use super::build::Nifti;
use super::{Expect, List};

pub fn list(list: &mut List) {
    matrix(list);
    quaternion(list);
    sizes(list);
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
