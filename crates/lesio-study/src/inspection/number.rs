//! Formatting of numbers.

use serde_json::{Value, json};

/// A number in JSON; NaN and infinities are text in NumPy's spelling.
pub(super) fn number(value: f64) -> Value {
    if value.is_finite() {
        return json!(value);
    }
    json!(if value.is_nan() {
        "nan"
    } else if value > 0.0 {
        "inf"
    } else {
        "-inf"
    })
}

/// A number in few characters.
pub(super) fn short(value: f64) -> String {
    if value != 0.0 && !(1e-3..1e7).contains(&value.abs()) {
        return format!("{value:.3e}");
    }
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// A number of bytes for people.
pub(super) fn size(bytes: u64) -> String {
    let gib = bytes as f64 / (1_u64 << 30) as f64;
    if gib >= 0.1 { format!("{} GiB", short(gib)) } else { format!("{bytes} bytes") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_keep_what_json_does_not_know() {
        assert_eq!(
            [0.5, -0.0, 1e-4, 1e7, 12.34567].map(short),
            ["0.5", "0", "1.000e-4", "1.000e7", "12.3457"]
        );
        assert_eq!(
            [f64::NAN, f64::INFINITY, -f64::INFINITY, 2.5].map(number),
            [json!("nan"), json!("inf"), json!("-inf"), json!(2.5)]
        );
        assert_eq!([size(1000), size(1 << 30)], ["1000 bytes", "1 GiB"]);
    }
}
