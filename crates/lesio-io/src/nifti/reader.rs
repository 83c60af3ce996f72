//! Reads voxels in file order, with memory in proportion to the data that the file is known to contain.

use crate::error::ReadErrorKind;
use crate::mask_doubts::MaskDoubts;
use crate::mask_rule::MaskRule;
use crate::nifti::header::NiftiHeader;
use crate::nifti::voxel::{Decoding, Voxel};
use crate::source::{CHUNK, Content, MOST_PER_COMPRESSED_BYTE, Stream, reserve};

/// Compressed images rarely shrink to less than a sixteenth; a higher ratio is accepted only step by step.
const USUAL_PER_COMPRESSED_BYTE: u64 = 16;

/// Voxels of a mask that are decoded at a time.
const BLOCK: u64 = 8192;

/// The file with the voxels, or the bytes of such a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DataFile<'a> {
    pub(crate) content: Content<'a>,
    /// Its length, as it is stored.
    pub(crate) bytes: u64,
    pub(crate) compressed: bool,
    /// Where the voxels start in what is stored or decompressed.
    pub(crate) offset: u64,
    /// Memory limit for reading, and limit for the bytes after the voxels of a compressed file.
    pub(crate) limit: u64,
}

impl DataFile<'_> {
    /// Bytes of voxels that a file of this size is likely to hold.
    fn likely(&self) -> u64 {
        self.bytes.saturating_mul(if self.compressed { USUAL_PER_COMPRESSED_BYTE } else { 1 })
    }

    /// Whether memory for `count` voxels is allocated in steps.
    pub(crate) fn may_grow(&self, header: &NiftiHeader, count: u64) -> bool {
        count > first_step(self.likely(), header.datatype.bytes())
    }

    /// Compares the claims of the header with the size of the file, and returns how many bytes follow the voxels of an
    /// uncompressed file. [`VoxelReader::finish`] counts those of a compressed one.
    pub(crate) fn check_claim(&self, header: &NiftiHeader, voxels: u64) -> Result<u64, ReadErrorKind> {
        let most =
            if self.compressed { self.bytes.saturating_mul(MOST_PER_COMPRESSED_BYTE) } else { self.bytes };
        let impossible = |claimed| ReadErrorKind::ImpossibleClaim { claimed, bytes: self.bytes, most };
        let need = voxels
            .checked_mul(header.datatype.bytes())
            .and_then(|bytes| bytes.checked_add(self.offset))
            .ok_or_else(|| impossible(u64::MAX))?;
        if need <= most {
            return Ok(if self.compressed { 0 } else { most - need });
        }
        Err(if self.compressed {
            impossible(need)
        } else if self.offset > self.bytes {
            let expected = format!("at most {}, where the file ends", self.bytes);
            ReadErrorKind::BadVoxOffset { found: self.offset as f64, expected }
        } else {
            ReadErrorKind::Truncated { what: "the image", need, have: self.bytes }
        })
    }
}

/// Reads voxels one after the other.
#[derive(Debug)]
pub(crate) struct VoxelReader<'a> {
    stream: Stream<'a>,
    decoding: Decoding,
    /// The number of the next voxel.
    position: u64,
    /// Voxels of the file.
    voxels: u64,
    offset: u64,
    /// Bytes of voxels that a file of this size is likely to hold.
    likely: u64,
    limit: u64,
    buffer: Vec<u8>,
}

impl<'a> VoxelReader<'a> {
    /// A reader positioned before voxel `first`.
    pub(crate) fn new(data: DataFile<'a>, header: &NiftiHeader, first: u64) -> Result<Self, ReadErrorKind> {
        let bytes = header.datatype.bytes();
        let decoding =
            Decoding { datatype: header.datatype, order: header.byte_order, scaling: header.scaling()? };
        let mut reader = Self {
            stream: Stream::new(data.content, data.compressed)?,
            decoding,
            position: first,
            voxels: header.voxels()?,
            offset: data.offset,
            likely: data.likely(),
            limit: data.limit,
            buffer: Vec::new(),
        };
        reader.buffer.resize(CHUNK - CHUNK % usize::try_from(bytes).unwrap_or(1), 0);
        // The claim was checked when the file was opened: this does not overflow.
        let start = data.offset + first * bytes;
        let passed = reader.stream.skip(start)?;
        if passed < start {
            return Err(ReadErrorKind::Truncated { what: "the image", need: start, have: passed });
        }
        Ok(reader)
    }

    /// Passes the bytes of the next `count` voxels to `take`, whole voxels at a time.
    fn for_each_chunk(
        &mut self,
        count: u64,
        mut take: impl FnMut(&Decoding, &[u8], u64) -> Result<(), ReadErrorKind>,
    ) -> Result<(), ReadErrorKind> {
        let size = self.decoding.datatype.bytes();
        let end = self.position + count;
        while self.position < end {
            let wanted = (end - self.position).saturating_mul(size).min(self.buffer.len() as u64);
            let chunk = self.buffer.get_mut(..wanted as usize).unwrap_or_default();
            let read = self.stream.read(chunk)? as u64;
            if read < wanted {
                let need = self.offset + end * size;
                let have = self.offset + self.position * size + read;
                return Err(ReadErrorKind::Truncated { what: "the image", need, have });
            }
            take(&self.decoding, chunk, self.position)?;
            self.position += wanted / size;
        }
        Ok(())
    }

    /// Appends the next `count` voxels to `values`, which has room for them.
    pub(crate) fn next_values<T: Voxel>(
        &mut self,
        count: u64,
        values: &mut Vec<T>,
    ) -> Result<(), ReadErrorKind> {
        self.for_each_chunk(count, |decoding, bytes, position| {
            decoding.decode(bytes, values).map_err(|lossy| ReadErrorKind::LossyConversion {
                voxel: position + lossy.index as u64,
                value: lossy.value,
                target: T::DATATYPE.name(),
            })
        })
    }

    /// Reads the next `count` voxels, which must be the last that are read: a compressed file is then verified to its end.
    /// Also returns what [`VoxelReader::finish`] does, as the other methods that read to the end do.
    pub(crate) fn collect_values<T: Voxel>(mut self, count: u64) -> Result<(Vec<T>, u64), ReadErrorKind> {
        let mut values = Vec::new();
        while (values.len() as u64) < count {
            let step = self.make_room(&mut values, count)?;
            self.next_values(step, &mut values)?;
        }
        let rest = self.finish()?;
        Ok((values, rest))
    }

    /// Whether each of the next `count` voxels is inside, by the rule. They must be the last that are read. Its values are
    /// added to `doubts`.
    pub(crate) fn collect_mask(
        mut self,
        count: u64,
        rule: MaskRule,
        doubts: &mut MaskDoubts,
    ) -> Result<(Vec<bool>, u64), ReadErrorKind> {
        let mut inside = Vec::new();
        let mut block: Vec<f64> = Vec::new();
        let (mut nan, mut first_nan) = (0, None);
        while (inside.len() as u64) < count {
            let end = inside.len() as u64 + self.make_room(&mut inside, count)?;
            while (inside.len() as u64) < end {
                let first = self.position;
                block.clear();
                self.next_values((end - inside.len() as u64).min(BLOCK), &mut block)?;
                for (voxel, value) in (first..).zip(&block) {
                    if value.is_nan() {
                        nan += 1;
                        first_nan.get_or_insert(voxel);
                    }
                    doubts.add(*value);
                    inside.push(rule.is_inside(*value));
                }
            }
        }
        let rest = self.finish()?;
        match first_nan {
            Some(first) => Err(ReadErrorKind::NotANumber { count: nan, voxels: count, first }),
            None => Ok((inside, rest)),
        }
    }

    /// Like [`VoxelReader::collect_values`], for other values, `per_voxel` of them from each voxel's bytes.
    pub(crate) fn collect<T>(
        mut self,
        count: u64,
        per_voxel: usize,
        mut append: impl FnMut(&[u8], &mut Vec<T>),
    ) -> Result<(Vec<T>, u64), ReadErrorKind> {
        let mut values = Vec::new();
        let size = usize::try_from(self.decoding.datatype.bytes()).unwrap_or(1);
        self.for_each_chunk(count, |_, bytes, _| {
            let more = (bytes.len() / size).saturating_mul(per_voxel);
            values.try_reserve(more).map_err(|_| ReadErrorKind::OutOfMemory { bytes: more as u64 })?;
            append(bytes, &mut values);
            Ok(())
        })?;
        let rest = self.finish()?;
        Ok((values, rest))
    }

    /// Reads to the end of a compressed file, to verify it, and returns how many bytes follow its last voxel; 0 for a
    /// file that is not compressed, whose size shows it.
    pub(crate) fn finish(&mut self) -> Result<u64, ReadErrorKind> {
        let voxels = (self.voxels - self.position).saturating_mul(self.decoding.datatype.bytes());
        let passed = self.stream.verify_rest(self.limit.saturating_add(voxels))?;
        Ok(passed.saturating_sub(voxels))
    }

    /// Allocates room for as many of `count` voxels as the file is likely to contain, and returns that number.
    ///
    /// The first step follows from the size of the file, each further one is four times the data read so far. The steps
    /// are powers of a quarter of the whole, so the last one starts at a quarter of it and ends at the whole. Even if
    /// memory is moved to grow, no more than five quarters of the whole are allocated at a time.
    fn make_room<T>(&self, values: &mut Vec<T>, count: u64) -> Result<u64, ReadErrorKind> {
        let have = values.len() as u64;
        let likely = first_step(self.likely, self.decoding.datatype.bytes());
        let mut room = count;
        while room > likely && room.div_ceil(4) > have {
            room = room.div_ceil(4);
        }
        reserve(values, room - have)?;
        Ok(room - have)
    }
}

/// Voxels in the first allocation, given the bytes of voxels that the file is likely to contain.
fn first_step(likely: u64, bytes: u64) -> u64 {
    (likely / bytes).max(4096)
}
