//! Parts of the files that PyTorch writes, for tests.

/// A text of a pickle.
pub(super) fn text(text: &str) -> Vec<u8> {
    [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

pub(super) fn integer(number: i64) -> Vec<u8> {
    [&b"\x8a\x08"[..], &number.to_le_bytes()].concat()
}

pub(super) fn tuple(elements: &[Vec<u8>]) -> Vec<u8> {
    [b"(".to_vec(), elements.concat(), b"t".to_vec()].concat()
}

pub(super) fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let entries = entries.iter().flat_map(|(name, value)| [text(name), value.clone()].concat());
    [b"}(".to_vec(), entries.collect(), b"u".to_vec()].concat()
}

/// A tensor: the class and the name of its storage, its first number there, its shape and its strides.
pub(super) fn tensor(class: &str, storage: &str, first: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let sizes = |sizes: &[i64]| tuple(&sizes.iter().map(|&own| integer(own)).collect::<Vec<_>>());
    let class = format!("ctorch\n{class}\n").into_bytes();
    let place = tuple(&[text("storage"), class, text(storage), text("cpu"), integer(0)]);
    let place = [place, b"Q".to_vec()].concat();
    let arguments =
        tuple(&[place, integer(first), sizes(shape), sizes(strides), b"\x89".to_vec(), b"}".to_vec()]);
    [b"ctorch._utils\n_rebuild_tensor_v2\n".to_vec(), arguments, b"R".to_vec()].concat()
}

/// The file with a value and the storages of its tensors.
pub(super) fn file(value: &[u8], storages: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut files = vec![("archive/data.pkl".to_owned(), [b"\x80\x02", value, b"."].concat())];
    files.extend(storages.iter().map(|(name, bytes)| (format!("archive/data/{name}"), bytes.clone())));
    zip(&files)
}

/// A zip archive whose files are not compressed.
pub(super) fn zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let halves = |numbers: &[u16]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
    let words = |numbers: &[u32]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
    let (mut archive, mut directory): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let (first, size) = (archive.len() as u32, bytes.len() as u32);
        // Version 2.0, no flags, not compressed, midnight, 1980-01-01.
        let about = [
            halves(&[20, 0, 0, 0, 33]),
            words(&[crc32fast::hash(bytes), size, size]),
            halves(&[name.len() as u16, 0]),
        ]
        .concat();
        archive.extend([&b"PK\x03\x04"[..], &about, name.as_bytes(), bytes].concat());
        directory.extend([&b"PK\x01\x02"[..], &halves(&[20]), &about].concat());
        directory.extend([halves(&[0, 0, 0]), words(&[0, first]), name.clone().into_bytes()].concat());
    }
    let (first, count) = (archive.len() as u32, files.len() as u16);
    let end = [halves(&[0, 0, count, count]), words(&[directory.len() as u32, first]), halves(&[0])];
    archive.extend(directory);
    archive.extend(b"PK\x05\x06");
    archive.extend(end.concat());
    archive
}
