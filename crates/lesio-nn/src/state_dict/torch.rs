//! Files of weights from PyTorch.

use std::collections::BTreeMap;
use std::path::Path;

use super::archive::Archive;
use super::dict::StateDict;
use super::error::StateDictError;
use super::floats::Float;
use super::pickle::{Pickle, Value};

/// Most bytes of the description of all tensors, which takes some hundred bytes for each.
const LARGEST_PICKLE: usize = 8 << 20;

/// As many numbers may be in a small file of tensors that share memory.
const NUMBERS_OF_A_SMALL_FILE: usize = 1 << 22;

/// The names under which checkpoints keep a `state_dict`.
const PLACES: [&str; 3] = ["state_dict", "model_state_dict", "model"];

/// Most axes of a tensor, as in PyTorch's own kernels.
const MOST_AXES: usize = 64;

/// Most names of a file that an error lists.
const NAMES_TOLD: usize = 8;

/// Adds the tensors of a file to a dict.
pub(super) fn read(dict: &mut StateDict, path: &Path, bytes: &[u8]) -> Result<(), StateDictError> {
    let damaged = |reason| StateDictError::Pickle { path: path.to_owned(), reason };
    let archive = Archive::new(bytes).map_err(damaged)?;
    let folders = archive.names().filter_map(|name| name.strip_suffix("data.pkl"));
    let folder = folders.filter(|folder| folder.is_empty() || folder.ends_with('/')).min_by_key(|f| f.len());
    let folder = folder.ok_or_else(|| damaged("it holds no \"data.pkl\"".to_owned()))?;
    if archive.content(&format!("{folder}byteorder")).is_ok_and(|order| order == b"big") {
        return Err(damaged("its numbers are big-endian".to_owned()));
    }
    let content = archive.content(&format!("{folder}data.pkl")).map_err(damaged)?;
    if content.len() > LARGEST_PICKLE {
        let found = content.len();
        return Err(damaged(format!("its pickle holds {found} bytes, expected at most {LARGEST_PICKLE}")));
    }
    let pickle = Pickle::new(content).map_err(damaged)?;
    let entries = state_dict(&pickle)
        .ok_or_else(|| StateDictError::Contents { path: path.to_owned(), found: described(&pickle) })?;
    let mut tensors = Vec::new();
    for (name, (function, arguments)) in tensors_of(&pickle, entries) {
        if !matches!(function, "_rebuild_tensor" | "_rebuild_tensor_v2") {
            dict.insert_other(name, function)?;
            continue;
        }
        let tensor = Tensor::new(&pickle, arguments);
        let tensor = tensor.ok_or_else(|| damaged(format!("its tensor {name:?} is described wrongly")))?;
        match tensor.kind {
            Ok(kind) => tensors.push((name, kind, tensor)),
            Err(other) => dict.insert_other(name, other)?,
        }
    }
    // Tensors may share memory, so a small file can hold many.
    let found = tensors.iter().fold(0, |sum: usize, (.., tensor)| sum.saturating_add(tensor.count));
    let limit = bytes.len().max(NUMBERS_OF_A_SMALL_FILE);
    if found > limit {
        return Err(StateDictError::Large { path: path.to_owned(), found, limit });
    }
    let mut storages = BTreeMap::new();
    for (name, kind, tensor) in tensors {
        let storage = match storages.get(tensor.storage) {
            Some(&storage) => storage,
            None => {
                let read = archive.content(&format!("{folder}data/{}", tensor.storage)).map_err(damaged)?;
                storages.insert(tensor.storage, read);
                read
            }
        };
        if tensor.end().is_none_or(|end| end > storage.len() / kind.bytes()) {
            return Err(damaged(format!("its tensor {name:?} lies outside of its storage")));
        }
        let values = kind.values(storage, tensor.places());
        dict.insert(name.to_owned(), tensor.shape, values)?;
        dict.set_place(name, tensor.storage, tensor.first);
    }
    Ok(())
}

/// The entries of the `state_dict`: the one in a checkpoint, or those of the file itself. The former come first, since
/// checkpoints hold other tensors beside it, such as the state of a generator of random numbers.
fn state_dict<'p, 'a>(pickle: &'p Pickle<'a>) -> Option<&'p [[Value<'a>; 2]]> {
    let top = pickle.entries(pickle.root())?;
    let at = |place| top.iter().find(|[key, _]| *key == Value::Text(place)).map(|[_, value]| *value);
    let nested = PLACES.into_iter().filter_map(|place| pickle.entries(at(place)?));
    nested.chain(std::iter::once(top)).find(|entries| tensors_of(pickle, entries).next().is_some())
}

/// The entries that are tensors: their names, the functions that build them, and the arguments.
fn tensors_of<'p, 'a>(
    pickle: &'p Pickle<'a>,
    entries: &'p [[Value<'a>; 2]],
) -> impl Iterator<Item = (&'a str, (&'a str, &'p [Value<'a>]))> {
    entries.iter().filter_map(|&[key, value]| match key {
        Value::Text(name) => Some((name, rebuilt(pickle, value)?)),
        _ => None,
    })
}

/// The function of PyTorch that builds a tensor, and its arguments; `None` for what is no tensor.
fn rebuilt<'p, 'a>(pickle: &'p Pickle<'a>, value: Value<'a>) -> Option<(&'a str, &'p [Value<'a>])> {
    let (mut callable, mut arguments) = pickle.call(value)?;
    // A parameter holds a tensor, and a tensor may have a class of its own. A damaged file could nest them endlessly.
    for _ in 0..4 {
        let given = pickle.list(arguments)?;
        match pickle.class(callable)? {
            ("torch._tensor", "_rebuild_from_type_v2") => {
                (callable, arguments) = (*given.first()?, *given.get(2)?);
            }
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                (callable, arguments) = pickle.call(*given.first()?)?;
            }
            ("torch._utils", function) if function.starts_with("_rebuild_") => {
                return Some((function, given));
            }
            _ => return None,
        }
    }
    None
}

/// What a file holds that has no `state_dict`.
fn described<'a>(pickle: &Pickle<'a>) -> String {
    let object = |value: Value<'a>| {
        let (module, name) = pickle.class(pickle.call(value)?.0)?;
        Some(format!("an object of the class {:?}: save its state_dict()", format!("{module}.{name}")))
    };
    let Some(entries) = pickle.entries(pickle.root()) else {
        return object(pickle.root()).unwrap_or_else(|| "a value that is no dict".to_owned());
    };
    let text = |&[key, value]: &[Value<'a>; 2]| match (key, object(value)) {
        (Value::Text(name), Some(object)) => format!("{name:?} is {object}"),
        (Value::Text(name), None) => format!("{name:?}"),
        _ => "a key that is no text".to_owned(),
    };
    let mut told: Vec<String> = entries.iter().take(NAMES_TOLD).map(text).collect();
    if entries.len() > NAMES_TOLD {
        told.push(format!("and {} more", entries.len() - NAMES_TOLD));
    }
    if told.is_empty() { "an empty dict".to_owned() } else { format!("a dict of {}", told.join(", ")) }
}

/// The description of a tensor.
#[derive(Debug)]
struct Tensor<'a> {
    /// The type of its numbers, or the name of a type that is no float.
    kind: Result<Float, &'a str>,
    /// The name of its storage, in numbers of which the rest is counted.
    storage: &'a str,
    first: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
    count: usize,
}

impl<'a> Tensor<'a> {
    fn new(pickle: &Pickle<'a>, arguments: &[Value<'a>]) -> Option<Self> {
        let &[storage, first, shape, strides, ..] = arguments else { return None };
        let size = |value| match value {
            Value::Integer(number) => usize::try_from(number).ok(),
            _ => None,
        };
        let sizes = |value| {
            let sizes = pickle.list(value).filter(|sizes| sizes.len() <= MOST_AXES)?;
            sizes.iter().map(|&own| size(own)).collect::<Option<Vec<_>>>()
        };
        let &[_, class, Value::Text(storage), ..] = pickle.list(pickle.outside(storage)?)? else {
            return None;
        };
        let kind = kind(pickle.class(class)?.1);
        let (shape, mut strides) = (sizes(shape)?, sizes(strides)?);
        if shape.len() != strides.len() {
            return None;
        }
        // No step is ever taken along an axis of one element, whose stride may be any number.
        for (stride, _) in strides.iter_mut().zip(&shape).filter(|(_, length)| **length < 2) {
            *stride = 0;
        }
        let count = shape.iter().try_fold(1usize, |product, &length| product.checked_mul(length))?;
        Some(Self { kind, storage, first: size(first)?, shape, strides, count })
    }

    /// The place after its last number; `None` if it is too large.
    fn end(&self) -> Option<usize> {
        if self.count == 0 {
            return Some(0);
        }
        let mut axes = self.shape.iter().zip(&self.strides);
        let last = axes.try_fold(self.first, |place, (length, stride)| {
            place.checked_add((length - 1).checked_mul(*stride)?)
        });
        last?.checked_add(1)
    }

    /// The places of its numbers in the storage, row-major.
    fn places(&self) -> impl Iterator<Item = usize> {
        let (mut index, mut place) = (vec![0; self.shape.len()], self.first);
        (0..self.count).map(move |_| {
            let own = place;
            for (axis, (length, stride)) in self.shape.iter().zip(&self.strides).enumerate().rev() {
                index[axis] += 1;
                place += stride;
                if index[axis] < *length {
                    break;
                }
                place -= index[axis] * stride;
                index[axis] = 0;
            }
            own
        })
    }
}

/// The type of the numbers in a storage. Types that are no floats get the names that they have in safetensors files.
fn kind(class: &str) -> Result<Float, &str> {
    match class {
        "HalfStorage" => Ok(Float::Half),
        "BFloat16Storage" => Ok(Float::Brain),
        "FloatStorage" => Ok(Float::Single),
        "DoubleStorage" => Ok(Float::Double),
        "LongStorage" => Err("I64"),
        "IntStorage" => Err("I32"),
        "ShortStorage" => Err("I16"),
        "CharStorage" => Err("I8"),
        "ByteStorage" => Err("U8"),
        "BoolStorage" => Err("BOOL"),
        other => Err(other),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{dict, file, integer, tensor, text, tuple, zip};
    use super::*;

    /// The numbers 0, 1 and so on.
    fn numbers(count: usize) -> Vec<u8> {
        (0..count).flat_map(|k| (k as f32).to_le_bytes()).collect()
    }

    fn read_bytes(bytes: &[u8]) -> Result<StateDict, StateDictError> {
        let mut dict = StateDict::default();
        read(&mut dict, Path::new("own.pth"), bytes)?;
        Ok(dict)
    }

    /// The dict in a file of one value, whose tensors lie in a storage of 24 numbers.
    fn read_value(value: &[u8]) -> Result<StateDict, StateDictError> {
        read_bytes(&file(value, &[("0", numbers(24))]))
    }

    fn vector(first: i64) -> Vec<u8> {
        tensor("FloatStorage", "0", first, &[2], &[1])
    }

    fn names(dict: &StateDict) -> Vec<&str> {
        dict.names().map(|(name, _)| name).collect()
    }

    /// Weights of a network with the layout `channels_last`, transposed ones, and some that other weights surround.
    #[test]
    fn tensors_are_gathered_by_their_strides() {
        let cases: [(i64, &[i64], &[i64], &[f32]); 7] = [
            (1, &[2, 3], &[3, 1], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            (0, &[3, 2], &[1, 3], &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]),
            (0, &[1, 2, 2, 2], &[99, 1, 4, 2], &[0.0, 2.0, 4.0, 6.0, 1.0, 3.0, 5.0, 7.0]),
            (4, &[3], &[2], &[4.0, 6.0, 8.0]),
            (23, &[3], &[0], &[23.0; 3]),
            (7, &[], &[], &[7.0]),
            (0, &[0, 5], &[5, 1], &[]),
        ];
        for (first, shape, strides, expected) in cases {
            let value = dict(&[("a", tensor("FloatStorage", "0", first, shape, strides))]);
            let found = read_value(&value).unwrap();
            let found = found.get("a").unwrap();
            assert_eq!(found.values(), expected, "{shape:?} {strides:?}");
            assert!(found.shape().iter().zip(shape).all(|(&a, &b)| a as i64 == b));
        }
        for (first, shape, strides) in [
            (23, &[2][..], &[1][..]),
            (0, &[2, 13], &[12, 1]),
            (0, &[2], &[i64::MAX]),
            (i64::MAX, &[2], &[1]),
            (0, &[3, 3], &[1 << 62, 1 << 62]),
            (-4, &[2], &[1]),
            (0, &[-2], &[1]),
            (0, &[2], &[1, 1]),
            (0, &[1 << 62, 8], &[8, 1]),
            (0, &[1; MOST_AXES + 1], &[1; MOST_AXES + 1]),
        ] {
            let value = dict(&[("a", tensor("FloatStorage", "0", first, shape, strides))]);
            let error = read_value(&value).unwrap_err();
            assert!(matches!(error, StateDictError::Pickle { .. }), "{error}");
            assert!(error.to_string().contains("tensor \"a\""), "{error}");
        }
    }

    #[test]
    fn a_checkpoint_holds_a_state_dict() {
        let weights = dict(&[("a.weight", vector(0)), ("a.bias", vector(2))]);
        let optimizer =
            dict(&[("lr", b"G\x3f\x50\x62\x4d\xd2\xf1\xa9\xfc".to_vec()), ("steps", b"]".to_vec())]);
        for place in PLACES {
            let value = dict(&[
                ("epoch", integer(3)),
                (place, weights.clone()),
                ("optimizer", optimizer.clone()),
                ("rng_state", tensor("ByteStorage", "0", 0, &[8], &[1])),
            ]);
            assert_eq!(names(&read_value(&value).unwrap()), ["a.bias", "a.weight"], "{place}");
        }
        // An ordered dict with attributes, whose values are parameters: what torch.save writes of most networks.
        let parameter = [
            b"ctorch._utils\n_rebuild_parameter\n".to_vec(),
            tuple(&[vector(4), b"\x88".to_vec(), b"}".to_vec()]),
            b"R".to_vec(),
        ];
        let ordered = [
            b"ccollections\nOrderedDict\nq\x00)Rq\x01(".to_vec(),
            text("a.weight"),
            b"q\x02".to_vec(),
            parameter.concat(),
            text("epoch"),
            b"Nu}(".to_vec(),
            text("_metadata"),
            b"h\x02ub".to_vec(),
        ];
        let found = read_value(&ordered.concat()).unwrap();
        assert_eq!(found.get("a.weight").unwrap().values(), [4.0, 5.0]);
        // Protocol 4: frames, short texts, names on the stack, memoized values.
        let storage = b"(\x8c\x07storage\x94\x8c\x05torch\x94\x8c\x0cFloatStorage\x94\x93\x94\
            \x8c\x010\x94\x8c\x03cpu\x94K\x18t\x94Q";
        let call = b"\x8c\x0ctorch._utils\x94\x8c\x12_rebuild_tensor_v2\x94\x93\x94(";
        let new = [
            &b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94"[..],
            call,
            storage,
            b"K\x05K\x02\x85\x94K\x01\x85\x94\x89}t\x94R\x94u",
        ];
        assert_eq!(read_value(&new.concat()).unwrap().get("a").unwrap().values(), [5.0, 6.0]);
    }

    #[test]
    fn a_file_without_a_state_dict_is_described() {
        let module =
            [b"c__main__\nNet\n)\x81".to_vec(), dict(&[("training", b"\x89".to_vec())]), b"b".to_vec()]
                .concat();
        for (value, expected) in [
            (
                module.clone(),
                "entry state_dict, model_state_dict or model, but an object of the class \"__main__.Net\": save its",
            ),
            (
                dict(&[("epoch", integer(3)), ("model", module)]),
                "a dict of \"epoch\", \"model\" is an object",
            ),
            (dict(&[("net", dict(&[("a", vector(0))]))]), "a dict of \"net\""),
            (dict(&[]), "an empty dict"),
            (b"]".to_vec(), "a value that is no dict"),
        ] {
            let error = read_value(&value).unwrap_err();
            assert!(matches!(error, StateDictError::Contents { .. }), "{error:?}");
            assert!(error.to_string().contains(expected), "{error}");
        }
        let many: Vec<String> = (0..20).map(|k| format!("k{k}")).collect();
        let many: Vec<(&str, Vec<u8>)> = many.iter().map(|name| (name.as_str(), b"N".to_vec())).collect();
        let error = read_value(&dict(&many)).unwrap_err().to_string();
        assert!(error.ends_with("\"k7\", and 12 more"), "{error}");
    }

    #[test]
    fn other_types_are_kept_by_name() {
        let quantized = b"ctorch._utils\n_rebuild_qtensor\n)R".to_vec();
        let value = dict(&[
            ("a", vector(0)),
            ("mask", tensor("BoolStorage", "absent", 0, &[2], &[1])),
            ("ids", tensor("LongStorage", "absent", 0, &[2], &[1])),
            ("packed", quantized),
            ("name", text("own")),
        ]);
        let found = read_value(&value).unwrap();
        assert_eq!(names(&found), ["a"]);
        // Names of one tensor, and of a copy.
        let value = dict(&[("a", vector(0)), ("b", vector(0)), ("c", vector(2))]);
        let same = read_value(&value).unwrap();
        assert!(same.is_same("a", "b") && !same.is_same("a", "c") && !same.is_same("x", "y"));
        let others = ["mask", "ids", "packed", "name"].map(|name| found.other_type(name));
        assert_eq!(others, [Some("BOOL"), Some("I64"), Some("_rebuild_qtensor"), None]);
        let half = dict(&[("a", tensor("HalfStorage", "0", 1, &[2], &[1]))]);
        let halves = [0_u16, 0x3c00, 0xc000].map(u16::to_le_bytes).concat();
        let found = read_bytes(&file(&half, &[("0", halves)])).unwrap();
        assert_eq!(found.get("a").unwrap().values(), [1.0, -2.0]);
    }

    /// Neither takes a stack or memory that the file is not worth.
    #[test]
    fn hostile_files_are_errors() {
        let nested = [
            [b"]".repeat(200_000), b"a".repeat(199_999)].concat(),
            [b"(".repeat(200_000), b"]".to_vec(), b"t".repeat(200_000)].concat(),
            [b")".to_vec(), b"\x85".repeat(200_000)].concat(),
            // Each list holds the one before twice: 2 to the power of 200 elements, if they were copied.
            [b"]q\x00".to_vec(), b"](h\x00h\x00eq\x00".repeat(200)].concat(),
            // A list that holds itself, and a parameter of itself.
            b"]q\x00h\x00a".to_vec(),
        ];
        for value in nested {
            assert!(matches!(read_value(&value), Err(StateDictError::Contents { .. })));
        }
        let endless = b"}X\x01\x00\x00\x00actorch._utils\n_rebuild_parameter\n]q\x00Rq\x01h\x00h\x01a0s";
        assert!(read_value(endless).is_err());
        let one = tensor("FloatStorage", "0", 0, &[1 << 20], &[1]);
        let shared: Vec<String> = (0..600).map(|k| format!("a{k}")).collect();
        let shared: Vec<(&str, Vec<u8>)> = shared.iter().map(|name| (name.as_str(), one.clone())).collect();
        let storages = [("0", numbers(1 << 20))];
        let error = read_bytes(&file(&dict(&shared), &storages)).unwrap_err();
        assert!(matches!(error, StateDictError::Large { found: 629_145_600, .. }), "{error}");
        // Weights under two names are usual.
        assert!(read_bytes(&file(&dict(&shared[..2]), &storages)).is_ok());
        let expanded = dict(&[("a", tensor("FloatStorage", "0", 0, &[1 << 40], &[0]))]);
        assert!(matches!(read_value(&expanded), Err(StateDictError::Large { .. })));
        let large = read_value(&vec![b'N'; LARGEST_PICKLE + 1]).unwrap_err().to_string();
        assert!(large.contains("its pickle holds 8388612 bytes"), "{large}");
        let big =
            zip(&[("a/data.pkl".to_owned(), b"}.".to_vec()), ("a/byteorder".to_owned(), b"big".to_vec())]);
        assert!(read_bytes(&big).unwrap_err().to_string().contains("big-endian"));
    }

    #[test]
    fn damaged_files_are_errors() {
        let value = dict(&[("a", vector(0)), ("b", tensor("DoubleStorage", "0", 0, &[2, 2], &[1, 2]))]);
        let good = file(&value, &[("0", numbers(24))]);
        let expected = read_bytes(&good).unwrap();
        for length in 0..good.len() {
            assert!(read_bytes(&good[..length]).is_err(), "{length}");
        }
        for place in 0..good.len() {
            for value in [0, 1, 127, 255, good[place] ^ 1] {
                let mut bytes = good.clone();
                bytes[place] = value;
                // What stands twice or means nothing may be anything.
                let _ = read_bytes(&bytes).is_ok_and(|found| found == expected);
            }
        }
        // The instructions, without a checksum that protects them.
        for place in 0..value.len() {
            for code in 0..=255 {
                let mut changed = value.clone();
                changed[place] = code;
                let _ = read_value(&changed);
            }
        }
        let damaged = |bytes: &[u8], expected: &str| {
            let error = read_bytes(bytes).unwrap_err();
            assert!(matches!(error, StateDictError::Pickle { .. }), "{error}");
            assert!(error.to_string().contains(expected), "{error}");
        };
        damaged(b"", "zip archive");
        damaged(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", "another format");
        damaged(&file(&value, &[]), "it holds no \"archive/data/0\"");
        damaged(&zip(&[]), "data.pkl");
        let mut bytes = good.clone();
        let number = bytes.windows(4).position(|four| four == 9.0_f32.to_le_bytes()).unwrap();
        bytes[number] ^= 1;
        damaged(&bytes, "the checksum of its \"archive/data/0\" is wrong");
        let mut bytes = good;
        let entry = bytes.windows(4).rposition(|four| four == b"PK\x01\x02").unwrap();
        bytes[entry + 10] = 8;
        damaged(&bytes, "\"archive/data/0\" is compressed");
    }
}
