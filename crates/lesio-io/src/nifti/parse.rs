//! Parses the bytes of a header.

use crate::error::ReadErrorKind;
use crate::nifti::byte_order::ByteOrder;
use crate::nifti::datatype::Datatype;
use crate::nifti::header::{Arrangement, FOLDED, FirstAxis, NiftiHeader, NiftiVersion, SIZE_1};
use crate::nifti::oddity::Oddity;

/// Version and byte order, from the first bytes of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) version: NiftiVersion,
    pub(crate) byte_order: ByteOrder,
}

impl Signature {
    /// Reads `sizeof_hdr`, from which version and byte order follow.
    pub(crate) fn of(start: [u8; 4]) -> Result<Self, ReadErrorKind> {
        for (byte_order, size) in
            [(ByteOrder::Little, i32::from_le_bytes(start)), (ByteOrder::Big, i32::from_be_bytes(start))]
        {
            match size {
                348 => return Ok(Self { version: NiftiVersion::One, byte_order }),
                540 => return Ok(Self { version: NiftiVersion::Two, byte_order }),
                _ => {}
            }
        }
        let reason = if start[..2] == [0x1f, 0x8b] {
            "the content is gzip-compressed, the name says it is not".to_owned()
        } else {
            format!("sizeof_hdr is {}, expected 348 or 540", i32::from_le_bytes(start))
        };
        Err(ReadErrorKind::NotNifti { reason })
    }
}

impl NiftiHeader {
    /// Parses the 348 or 540 bytes of a header, as in a `.nii` file, without extensions.
    ///
    /// # Errors
    /// All kinds of errors of reading a file that concern the header.
    ///
    /// ```
    /// let error = lesio_io::nifti::NiftiHeader::parse(b"no header").unwrap_err();
    /// assert_eq!(error.name(), "NotNifti");
    /// ```
    pub fn parse(bytes: &[u8]) -> Result<Self, ReadErrorKind> {
        let (header, arrangement, _) = Self::parse_with_oddities(bytes)?;
        header.check_offset(arrangement)?;
        Ok(header)
    }

    pub(crate) fn parse_with_oddities(
        bytes: &[u8],
    ) -> Result<(Self, Arrangement, Vec<Oddity>), ReadErrorKind> {
        let truncated = |need: usize| ReadErrorKind::Truncated {
            what: "the header",
            need: need as u64,
            have: bytes.len() as u64,
        };
        let start = bytes.first_chunk().ok_or_else(|| truncated(SIZE_1))?;
        let signature = Signature::of(*start)?;
        let size = signature.version.header_bytes();
        if let (NiftiVersion::Two, Some(magic)) =
            (signature.version, bytes.get(4..).and_then(<[u8]>::first_chunk))
        {
            // The error must not call a file too short for NIfTI-2 if it is not NIfTI-2.
            arrangement(*magic, NiftiVersion::Two)?;
        }
        let bytes = bytes.get(..size).ok_or_else(|| truncated(size))?;
        let fields = Fields { bytes, order: signature.byte_order };
        match signature.version {
            NiftiVersion::One => parse_1(&fields),
            NiftiVersion::Two => parse_2(&fields),
        }
    }
}

/// Numbers at their positions in a header. Reading past its end would give zeros, but no position is past it.
struct Fields<'a> {
    bytes: &'a [u8],
    order: ByteOrder,
}

impl Fields<'_> {
    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        self.bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
    }

    fn i16(&self, at: usize) -> i16 {
        match self.order {
            ByteOrder::Little => i16::from_le_bytes(self.bytes(at)),
            ByteOrder::Big => i16::from_be_bytes(self.bytes(at)),
        }
    }

    fn i32(&self, at: usize) -> i32 {
        match self.order {
            ByteOrder::Little => i32::from_le_bytes(self.bytes(at)),
            ByteOrder::Big => i32::from_be_bytes(self.bytes(at)),
        }
    }

    fn i64(&self, at: usize) -> i64 {
        match self.order {
            ByteOrder::Little => i64::from_le_bytes(self.bytes(at)),
            ByteOrder::Big => i64::from_be_bytes(self.bytes(at)),
        }
    }

    fn f32(&self, at: usize) -> f64 {
        f64::from(f32::from_bits(self.i32(at).cast_unsigned()))
    }

    fn f64(&self, at: usize) -> f64 {
        f64::from_bits(self.i64(at).cast_unsigned())
    }

    fn f32s<const N: usize>(&self, at: usize) -> [f64; N] {
        std::array::from_fn(|i| self.f32(at + 4 * i))
    }

    fn f64s<const N: usize>(&self, at: usize) -> [f64; N] {
        std::array::from_fn(|i| self.f64(at + 8 * i))
    }

    fn text(&self, at: usize, length: usize) -> Vec<u8> {
        let field = self.bytes.get(at..at + length).unwrap_or_default();
        field.iter().copied().take_while(|&byte| byte != 0).collect()
    }
}

fn parse_1(fields: &Fields<'_>) -> Result<(NiftiHeader, Arrangement, Vec<Oddity>), ReadErrorKind> {
    let arrangement = arrangement(fields.bytes(344), NiftiVersion::One)?;
    let mut oddities = Vec::new();
    let datatype = datatype(fields.i16(70))?;
    if let Err(found) = check_bits(datatype, fields.i16(72)) {
        oddities.push(Oddity::BitsPerVoxel { found, datatype });
    }
    let mut dim: [i64; 8] = std::array::from_fn(|i| i64::from(fields.i16(40 + 2 * i)));
    // A FreeSurfer surface has one value per vertex, more than 15 bits can count. FreeSurfer then writes -1 here and
    // the number into a field of Analyze that is unused in NIfTI-1.
    let mut first_axis = FirstAxis::Plain;
    if let ([3..=7, -1, 1, 1, ..], size @ 1..) = (dim, i64::from(fields.i32(144))) {
        dim[1] = size;
        first_axis = FirstAxis::InGlmin;
        oddities.push(Oddity::LongAxis { size });
    }
    let mut shape = shape(dim)?;
    // FreeSurfer may also fold the vertices of its finest sphere into a shape that fits.
    if let Some(sizes) = shape.first_chunk_mut().filter(|sizes| **sizes == FOLDED.1) {
        *sizes = FOLDED.0;
        first_axis = FirstAxis::Folded;
        oddities.push(Oddity::FoldedAxis);
    }
    let header = NiftiHeader {
        version: NiftiVersion::One,
        byte_order: fields.order,
        shape,
        datatype,
        bits_per_voxel: fields.i16(72),
        pixdim: fields.f32s(76),
        vox_offset: vox_offset(fields.f32(108))?,
        scl_slope: fields.f32(112),
        scl_inter: fields.f32(116),
        cal_max: fields.f32(124),
        cal_min: fields.f32(128),
        dim_info: fields.bytes::<1>(39)[0],
        slice_start: i64::from(fields.i16(74)),
        slice_end: i64::from(fields.i16(120)),
        slice_code: i32::from(fields.bytes::<1>(122)[0]),
        slice_duration: fields.f32(132),
        toffset: fields.f32(136),
        xyzt_units: i32::from(fields.bytes::<1>(123)[0]),
        intent_code: i32::from(fields.i16(68)),
        intent_parameters: fields.f32s(56),
        intent_name: fields.text(328, 16),
        description: fields.text(148, 80),
        auxiliary_file: fields.text(228, 24),
        qform_code: i32::from(fields.i16(252)),
        sform_code: i32::from(fields.i16(254)),
        quaternion: fields.f32s(256),
        quaternion_offset: fields.f32s(268),
        srow: [fields.f32s(280), fields.f32s(296), fields.f32s(312)],
        extensions: Vec::new(),
        first_axis,
    };
    finish(header, arrangement, oddities)
}

fn parse_2(fields: &Fields<'_>) -> Result<(NiftiHeader, Arrangement, Vec<Oddity>), ReadErrorKind> {
    let magic: [u8; 8] = fields.bytes(4);
    let arrangement = arrangement(fields.bytes(4), NiftiVersion::Two)?;
    let mut oddities = Vec::new();
    match &magic[4..] {
        b"\r\n\x1a\n" => {}
        // Some writers omit these bytes; a transfer in text mode would not make them zeros.
        [0, 0, 0, 0] => oddities.push(Oddity::MagicEnd),
        end => {
            let reason =
                format!("the magic ends in {end:02x?}, expected [0d, 0a, 1a, 0a]: was it copied as text?");
            return Err(ReadErrorKind::NotNifti { reason });
        }
    }
    let datatype = datatype(fields.i16(12))?;
    check_bits(datatype, fields.i16(14))
        .map_err(|found| ReadErrorKind::BadBitsPerVoxel { found, datatype })?;
    let offset = fields.i64(168);
    let header = NiftiHeader {
        version: NiftiVersion::Two,
        byte_order: fields.order,
        shape: shape(std::array::from_fn(|i| fields.i64(16 + 8 * i)))?,
        datatype,
        bits_per_voxel: fields.i16(14),
        pixdim: fields.f64s(104),
        vox_offset: u64::try_from(offset).map_err(|_| bad_offset(offset as f64))?,
        scl_slope: fields.f64(176),
        scl_inter: fields.f64(184),
        cal_max: fields.f64(192),
        cal_min: fields.f64(200),
        dim_info: fields.bytes::<1>(524)[0],
        slice_start: fields.i64(224),
        slice_end: fields.i64(232),
        slice_code: fields.i32(496),
        slice_duration: fields.f64(208),
        toffset: fields.f64(216),
        xyzt_units: fields.i32(500),
        intent_code: fields.i32(504),
        intent_parameters: fields.f64s(80),
        intent_name: fields.text(508, 16),
        description: fields.text(240, 80),
        auxiliary_file: fields.text(320, 24),
        qform_code: fields.i32(344),
        sform_code: fields.i32(348),
        quaternion: fields.f64s(352),
        quaternion_offset: fields.f64s(376),
        srow: [fields.f64s(400), fields.f64s(432), fields.f64s(464)],
        extensions: Vec::new(),
        first_axis: FirstAxis::Plain,
    };
    finish(header, arrangement, oddities)
}

fn finish(
    header: NiftiHeader,
    arrangement: Arrangement,
    mut oddities: Vec<Oddity>,
) -> Result<(NiftiHeader, Arrangement, Vec<Oddity>), ReadErrorKind> {
    // CIFTI stores matrices of brain models in NIfTI-2 files, whose axes are not spatial.
    if header.version == NiftiVersion::Two && (3000..3100).contains(&header.intent_code) {
        return Err(ReadErrorKind::UnsupportedIntent {
            code: header.intent_code,
            name: "CIFTI-2 connectivity or surface data",
        });
    }
    header.scaling()?;
    if !header.scl_slope.is_finite() {
        oddities.push(Oddity::SlopeIgnored { slope: header.scl_slope });
    }
    Ok((header, arrangement, oddities))
}

fn arrangement(magic: [u8; 4], version: NiftiVersion) -> Result<Arrangement, ReadErrorKind> {
    let [n, kind, digit, zero] = magic;
    let arrangement = match kind {
        b'i' => Some(Arrangement::Pair),
        b'+' => Some(Arrangement::Single),
        _ => None,
    };
    match arrangement {
        Some(arrangement) if n == b'n' && digit.is_ascii_digit() && zero == 0 => {
            let found = digit - b'0';
            if found == version.number() {
                Ok(arrangement)
            } else if matches!(found, 1 | 2) {
                let reason = format!(
                    "the magic says version {found}, a header of {} bytes is version {}",
                    version.header_bytes(),
                    version.number()
                );
                Err(ReadErrorKind::NotNifti { reason })
            } else {
                Err(ReadErrorKind::UnsupportedVersion { version: found })
            }
        }
        _ if magic == [0; 4] => {
            let reason =
                "the magic is empty, as in an Analyze file, which does not distinguish left and right";
            Err(ReadErrorKind::NotNifti { reason: reason.to_owned() })
        }
        _ => {
            let reason = format!(
                "the magic is \"{}\", expected n+{v} or ni{v}",
                magic.escape_ascii(),
                v = version.number()
            );
            Err(ReadErrorKind::NotNifti { reason })
        }
    }
}

fn datatype(code: i16) -> Result<Datatype, ReadErrorKind> {
    Datatype::from_code(code).map_err(|name| ReadErrorKind::UnsupportedDatatype { code, name, purpose: "" })
}

/// `bitpix`, if it differs from that of the datatype.
fn check_bits(datatype: Datatype, bits: i16) -> Result<(), i16> {
    if u64::try_from(bits) == Ok(datatype.bytes() * 8) { Ok(()) } else { Err(bits) }
}

fn shape(dim: [i64; 8]) -> Result<Vec<u64>, ReadErrorKind> {
    let [axes, sizes @ ..] = dim;
    let count = usize::try_from(axes)
        .ok()
        .filter(|count| (1..=7).contains(count))
        .ok_or(ReadErrorKind::BadDim { axis: 0, found: axes, expected: "1 to 7 dimensions" })?;
    sizes
        .into_iter()
        .take(count)
        .enumerate()
        .map(|(axis, found)| match u64::try_from(found) {
            Ok(size) if size > 0 => Ok(size),
            _ => Err(ReadErrorKind::BadDim { axis: axis + 1, found, expected: "at least 1 voxel" }),
        })
        .collect()
}

fn vox_offset(found: f64) -> Result<u64, ReadErrorKind> {
    // A 32-bit float represents every integer to 2^24 and some up to 2^128; no file is larger than 2^53.
    if found.is_finite() && found >= 0.0 && found.fract() == 0.0 && found < 9e15 {
        Ok(found as u64)
    } else {
        Err(bad_offset(found))
    }
}

fn bad_offset(found: f64) -> ReadErrorKind {
    ReadErrorKind::BadVoxOffset { found, expected: "a whole number of bytes, not negative".to_owned() }
}
