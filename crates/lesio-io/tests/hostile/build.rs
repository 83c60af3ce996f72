//! NIfTI files made byte by byte, without the code under test.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

/// A file to be, with every field open to be set wrong.
#[derive(Clone)]
pub struct Nifti {
    pub two: bool,
    pub big: bool,
    pub sizeof_hdr: i32,
    pub magic: Vec<u8>,
    pub dim: [i64; 8],
    pub datatype: i16,
    pub bitpix: i16,
    pub pixdim: [f64; 8],
    pub vox_offset: f64,
    pub slope: f64,
    pub inter: f64,
    pub qform: i32,
    pub sform: i32,
    pub quaternion: [f64; 3],
    pub offset: [f64; 3],
    pub srow: [[f64; 4]; 3],
    pub intent: i32,
    pub units: i32,
    pub flag: Vec<u8>,
    /// What stands between the flag and the voxels.
    pub between: Vec<u8>,
    pub data: Vec<u8>,
}

impl Nifti {
    /// 3 by 2 by 2 voxels of one byte, 1 to 12, one millimeter each.
    pub fn one() -> Self {
        Self {
            two: false,
            big: false,
            sizeof_hdr: 348,
            magic: b"n+1\0".to_vec(),
            dim: [3, 3, 2, 2, 1, 1, 1, 1],
            datatype: 2,
            bitpix: 8,
            pixdim: [1.0; 8],
            vox_offset: 352.0,
            slope: 0.0,
            inter: 0.0,
            qform: 0,
            sform: 1,
            quaternion: [0.0; 3],
            offset: [0.0; 3],
            srow: [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]],
            intent: 0,
            units: 0,
            flag: vec![0; 4],
            between: Vec::new(),
            data: (1..=12).collect(),
        }
    }

    /// The same as NIfTI-2.
    pub fn two() -> Self {
        let magic = b"n+2\0\r\n\x1a\n".to_vec();
        Self { two: true, sizeof_hdr: 540, magic, vox_offset: 544.0, ..Self::one() }
    }

    pub fn version(two: bool) -> Self {
        if two { Self::two() } else { Self::one() }
    }

    /// The same in two files.
    pub fn pair(two: bool) -> Self {
        let mut nifti = Self::version(two);
        nifti.magic[1] = b'i';
        Self { vox_offset: 0.0, flag: Vec::new(), ..nifti }
    }

    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Between flag and voxels, with the offset that fits.
    pub fn between(mut self, bytes: Vec<u8>) -> Self {
        self.flag = vec![1, 0, 0, 0];
        self.vox_offset += bytes.len() as f64;
        self.between = bytes;
        self
    }

    pub fn header(&self) -> Vec<u8> {
        let mut bytes = vec![0; if self.two { 540 } else { 348 }];
        let mut set = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        macro_rules! number {
            ($value:expr, $type:ty) => {{
                let value = $value as $type;
                if self.big { value.to_be_bytes().to_vec() } else { value.to_le_bytes().to_vec() }
            }};
        }
        set(0, &number!(self.sizeof_hdr, i32));
        if self.two {
            set(4, &self.magic);
            set(12, &number!(self.datatype, i16));
            set(14, &number!(self.bitpix, i16));
            for (i, &dim) in self.dim.iter().enumerate() {
                set(16 + 8 * i, &number!(dim, i64));
                set(104 + 8 * i, &number!(self.pixdim[i], f64));
            }
            set(168, &number!(self.vox_offset, i64));
            set(176, &number!(self.slope, f64));
            set(184, &number!(self.inter, f64));
            set(344, &number!(self.qform, i32));
            set(348, &number!(self.sform, i32));
            for i in 0..3 {
                set(352 + 8 * i, &number!(self.quaternion[i], f64));
                set(376 + 8 * i, &number!(self.offset[i], f64));
            }
            for (i, &value) in self.srow.as_flattened().iter().enumerate() {
                set(400 + 8 * i, &number!(value, f64));
            }
            set(500, &number!(self.units, i32));
            set(504, &number!(self.intent, i32));
        } else {
            for (i, &dim) in self.dim.iter().enumerate() {
                set(40 + 2 * i, &number!(dim, i16));
                set(76 + 4 * i, &number!(self.pixdim[i], f32));
            }
            set(68, &number!(self.intent, i16));
            set(123, &[self.units as u8]);
            set(70, &number!(self.datatype, i16));
            set(72, &number!(self.bitpix, i16));
            set(108, &number!(self.vox_offset, f32));
            set(112, &number!(self.slope, f32));
            set(116, &number!(self.inter, f32));
            set(252, &number!(self.qform, i16));
            set(254, &number!(self.sform, i16));
            for i in 0..3 {
                set(256 + 4 * i, &number!(self.quaternion[i], f32));
                set(268 + 4 * i, &number!(self.offset[i], f32));
            }
            for (i, &value) in self.srow.as_flattened().iter().enumerate() {
                set(280 + 4 * i, &number!(value, f32));
            }
            set(344, &self.magic);
        }
        bytes
    }

    /// Header, flag and what stands between.
    pub fn start(&self) -> Vec<u8> {
        [self.header(), self.flag.clone(), self.between.clone()].concat()
    }

    /// The single file.
    pub fn file(&self) -> Vec<u8> {
        [self.start(), self.data.clone()].concat()
    }
}

/// A header extension of which the size is stated as it pleases.
pub fn extension(size: i32, code: i32, content: &[u8]) -> Vec<u8> {
    [&size.to_le_bytes()[..], &code.to_le_bytes(), content].concat()
}

/// One gzip member.
pub fn gzip(content: &[u8]) -> Vec<u8> {
    gzip_at(Compression::default(), content)
}

/// One gzip member of this level.
pub fn gzip_at(level: Compression, content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), level);
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}
