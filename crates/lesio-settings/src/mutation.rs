//! Documents and configurations with one change each, for tests of what reads and what checks them: an invalid value
//! or an unknown field.

use std::fmt::Debug;

use serde_json::{Value, json};

use crate::SettingError;

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
    walk(document, String::new(), &mut |place, value| {
        // Numbers, and lists that are not empty.
        if value.is_number() || value.as_array().is_some_and(|items| !items.is_empty()) {
            places.push((place.to_owned(), value.is_number()));
        }
    });
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

/// The document with an unknown field `newer` in one of its objects at a time. A reader that ignores the field would
/// also ignore settings of a later version.
///
/// ```
/// let changed = lesio_settings::mutation::with_unknown_fields(&serde_json::json!({ "range": { "low": 0.0 } }));
/// assert_eq!(changed[1].document, serde_json::json!({ "range": { "low": 0.0, "newer": 1 } }));
/// assert_eq!(changed[1].place, "/range");
/// ```
#[must_use]
pub fn with_unknown_fields(document: &Value) -> Vec<Mutation> {
    let mut places = Vec::new();
    walk(document, String::new(), &mut |place, value| {
        if value.is_object() {
            places.push(place.to_owned());
        }
    });
    let changed = |place: String| {
        let mut document = document.clone();
        if let Some(Value::Object(fields)) = document.pointer_mut(&place) {
            fields.insert("newer".to_owned(), json!(1));
        }
        Mutation { place, value: json!(1), document }
    };
    places.into_iter().map(changed).collect()
}

/// A function that asserts that a configuration is refused with each of these values in one setting. It takes the
/// setting's name, which the error must state, and what sets it.
///
/// # Panics
/// If `check` refuses the `valid` configuration. The function panics if `check` accepts a value or names another setting.
///
/// ```
/// use lesio_settings::{in_range, mutation::refusals};
///
/// let check = |range: &[f64; 2]| in_range("low", range[0], 0.0..=range[1]);
/// let refused = refusals([0.0, 1.0], check, [f64::NAN, -1.0, 1e18]);
/// refused("low", |range, value| range[0] = value);
/// ```
pub fn refusals<C: Clone, V: Copy + Debug, const N: usize>(
    valid: C,
    check: impl Fn(&C) -> Result<(), SettingError>,
    values: [V; N],
) -> impl Fn(&str, fn(&mut C, V)) {
    assert_eq!(check(&valid), Ok(()), "refused before a change");
    move |setting, set| {
        for value in values {
            let mut config = valid.clone();
            set(&mut config, value);
            let refused = check(&config).map_err(|error| error.setting);
            assert_eq!(refused, Err(setting.to_owned()), "{setting} of {value:?}");
        }
    }
}

/// Visits every value, with its position.
fn walk(value: &Value, place: String, visit: &mut impl FnMut(&str, &Value)) {
    visit(&place, value);
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| walk(item, format!("{place}/{index}"), visit));
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                walk(field, format!("{place}/{}", name.replace('~', "~0").replace('/', "~1")), visit);
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Number(_) => {}
    }
}
