//! Documents with each of their numbers replaced by an invalid value, for tests of readers.

use serde_json::{Value, json};

/// One change to a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Mutation {
    /// The position, as a JSON pointer.
    pub place: String,
    /// The new value.
    pub value: Value,
    /// The changed document.
    pub document: Value,
}

/// The document with one value changed at a time: each number becomes 0, a negative, a tiny and a huge one, the largest
/// integer, a text and nothing; each list becomes empty.
///
/// A reader must return an error for each of these or accept it as a valid document; it must not panic, abort or hang.
///
/// ```
/// let document = serde_json::json!({ "steps": 3, "range": [0.0, 1.0] });
/// let changed = lesio_settings::mutation::mutations(&document);
/// assert!(changed.iter().any(|own| own.document["steps"] == serde_json::json!(u64::MAX)));
/// assert!(changed.iter().any(|own| own.place == "/range/1"));
/// ```
#[must_use]
pub fn mutations(document: &Value) -> Vec<Mutation> {
    let mut places = Vec::new();
    walk(document, String::new(), &mut places);
    let mut all = Vec::new();
    for (place, is_number) in places {
        let numbers = [
            json!(0),
            json!(-1),
            json!(-0.5),
            json!(1e-300),
            json!(1e18),
            json!(-1e18),
            json!(1_000_000_000_000_000_000u64),
            json!(u64::MAX),
            json!("NaN"),
            Value::Null,
        ];
        let values = if is_number { numbers.to_vec() } else { vec![json!([])] };
        for value in values {
            let mut document = document.clone();
            if let Some(own) = document.pointer_mut(&place) {
                *own = value.clone();
            }
            all.push(Mutation { place: place.clone(), value, document });
        }
    }
    all
}

/// Collects the positions of numbers and of lists that are not empty.
fn walk(value: &Value, place: String, places: &mut Vec<(String, bool)>) {
    match value {
        Value::Number(_) => places.push((place, true)),
        Value::Array(items) => {
            if !items.is_empty() {
                places.push((place.clone(), false));
            }
            items.iter().enumerate().for_each(|(index, item)| walk(item, format!("{place}/{index}"), places));
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                walk(field, format!("{place}/{}", name.replace('~', "~0").replace('/', "~1")), places);
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}
