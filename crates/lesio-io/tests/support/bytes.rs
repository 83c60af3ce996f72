//! One content as a file and as bytes: what is read must be the same, and what is refused, too.

use std::fs;
use std::path::Path;

use lesio_image::{Image, Volume};
use lesio_io::nifti::NiftiImage;
use lesio_io::{AffineSource, ExifOrientation, ReadError, ReadOptions};

/// What came of reading, to be compared: values bit by bit, or all that an error says but for the name.
type Outcome = Result<Vec<u64>, String>;

/// Reads content as a file and as bytes in every way that there is; tells how many ways read it.
///
/// The name of the file is that of its content, since bytes have none.
pub(crate) fn compare(bytes: &[u8], folder: &Path) -> Result<usize, String> {
    let path = folder.join(if bytes.starts_with(&[0x1f, 0x8b]) { "same.nii.gz" } else { "same.nii" });
    fs::write(&path, bytes).unwrap();
    let new = ReadOptions::new;
    let mut read = 0;
    let mut same = |way: &str, file: Outcome, memory: Outcome| {
        read += usize::from(file.is_ok());
        if file == memory {
            Ok(())
        } else {
            Err(format!("{way}: {file:.200?} of a file, {memory:.200?} of bytes"))
        }
    };
    for (way, options) in [
        ("read", new()),
        ("read the second volume", new().volume(1)),
        ("read by the sform", new().affine(AffineSource::Sform)),
        ("read by the qform", new().affine(AffineSource::Qform)),
        ("read in 8 bytes", new().max_bytes(8)),
        ("read in 96 bytes", new().max_bytes(96)),
        ("read in 4 KiB", new().max_bytes(4096)),
        ("read as stored", new().exif_orientation(ExifOrientation::Ignore)),
    ] {
        same(way, volume(options.read(&path)), volume(options.read_bytes(bytes)))?;
        same(way, volume(options.read_as::<u8>(&path)), volume(options.read_bytes_as::<u8>(bytes)))?;
        same(way, volume(options.read_as::<f64>(&path)), volume(options.read_bytes_as::<f64>(bytes)))?;
        same(way, mask(options.read_mask(&path)), mask(options.read_mask_bytes(bytes)))?;
        same(way, image(options.read_image(&path)), image(options.read_image_bytes(bytes)))?;
        let opened = (NiftiImage::open_with(&path, &options), NiftiImage::from_bytes_with(bytes, &options));
        match opened {
            (Ok(mut file), Ok(mut memory)) => {
                // NaN in a header is not equal to itself; its text is.
                let told = [
                    format!("{:?} {:?} {:?}", file.header(), file.geometry(), file.oddities()),
                    format!("{:?} {:?} {:?}", memory.header(), memory.geometry(), memory.oddities()),
                ];
                same(way, Err(told[0].clone()), Err(told[1].clone()))?;
                let raw = |found: Result<Vec<u8>, ReadError>| {
                    told_of(found, |bytes| bytes.into_iter().map(u64::from).collect())
                };
                same(way, raw(file.read_raw()), raw(memory.read_raw()))?;
                let of = |found: Result<_, ReadError>| {
                    told_of(found, |statistics: lesio_io::nifti::VoxelStatistics| {
                        vec![statistics.sum.to_bits(), statistics.nonfinite, statistics.voxels]
                    })
                };
                same(way, of(file.statistics()), of(memory.statistics()))?;
                let colors = |found: Result<ndarray::ArrayD<[u8; 4]>, ReadError>| {
                    told_of(found, |array| {
                        array.iter().map(|&color| u64::from(u32::from_le_bytes(color))).collect()
                    })
                };
                same(way, colors(file.read_rgba()), colors(memory.read_rgba()))?;
                let slabs =
                    [file.slabs::<f32>(2).map(Iterator::count), memory.slabs::<f32>(2).map(Iterator::count)]
                        .map(|found| told_of(found, |count| vec![count as u64]));
                let [file, memory] = slabs;
                same(way, file, memory)?;
            }
            (file, memory) => {
                same(way, told_of(file, |_| Vec::new()), told_of(memory, |_| Vec::new()))?;
            }
        }
    }
    Ok(read)
}

fn volume<T: Copy + Into<f64>>(found: Result<Volume<T>, ReadError>) -> Outcome {
    told_of(found, |volume| {
        let shape = volume.shape().map(|size| size as u64);
        let affine = volume.geometry().affine().as_flattened().iter().map(|value| value.to_bits());
        let values = volume.data().iter().map(|&value| value.into().to_bits());
        shape.into_iter().chain(affine).chain(values).collect()
    })
}

fn mask(found: Result<Volume<bool>, ReadError>) -> Outcome {
    volume(found.map(|mask| mask.map(|&inside| u8::from(inside))))
}

fn image(found: Result<Image<f32>, ReadError>) -> Outcome {
    told_of(found, |image| {
        let shape = [image.channels(), image.height(), image.width()].map(|size| size as u64);
        shape.into_iter().chain(image.data().iter().map(|value| u64::from(value.to_bits()))).collect()
    })
}

/// The result, or all that the error says but for the name.
fn told_of<T>(found: Result<T, ReadError>, values: impl FnOnce(T) -> Vec<u64>) -> Outcome {
    found.map(values).map_err(|error| {
        let name = error.path().display().to_string();
        let said = error.to_string();
        let said = said.strip_prefix(&format!("{name}: ")).expect("an error starts with its file").to_owned();
        assert!(name.ends_with("same.nii") || name.ends_with("same.nii.gz") || name == "<bytes>", "{name}");
        format!(
            "{}: {said}: {:?}",
            error.kind().name(),
            std::error::Error::source(&error).map(ToString::to_string)
        )
    })
}
