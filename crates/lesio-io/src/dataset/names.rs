//! Similar names.

use std::collections::BTreeSet;

use strsim::levenshtein;

/// The maximum number of suggestions for a name that does not exist.
const GIVEN: usize = 2;

/// The names most similar to one that does not exist: names that contain it or are contained in it, and names of
/// which at most half of the characters differ. The nearest is first; the list is empty if no name is similar.
pub(super) fn nearest(name: &str, names: &BTreeSet<String>) -> Vec<String> {
    let lower = name.to_lowercase();
    let mut found: Vec<(usize, &String)> = names
        .iter()
        .filter_map(|other| {
            let own = other.to_lowercase();
            let distance = levenshtein(&lower, &own);
            let longer = lower.chars().count().max(own.chars().count());
            let within = own.contains(&lower) || lower.contains(&own);
            (within || 2 * distance <= longer).then_some((distance, other))
        })
        .collect();
    found.sort();
    found.into_iter().take(GIVEN).map(|(_, name)| name.clone()).collect()
}

/// A name in quotes. If it has characters outside ASCII, the name with their code points follows, since `ü` looks the
/// same as one character and as two.
pub(super) fn quoted(name: &str) -> String {
    if name.is_ascii() {
        return format!("{name:?}");
    }
    let spelled: String = name
        .chars()
        .map(
            |letter| if letter.is_ascii() { letter.to_string() } else { letter.escape_unicode().to_string() },
        )
        .collect();
    format!("\"{name}\" ({spelled})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_are_those_that_a_person_would_mean() {
        let names: BTreeSet<String> =
            ["001", "002", "012", "patient003", "M\u{fc}ller"].map(str::to_owned).into();
        assert_eq!(nearest("2", &names), ["002", "012"]);
        assert_eq!(nearest("01", &names)[0], "001");
        assert_eq!(nearest("Patient3", &names), ["patient003"]);
        assert_eq!(nearest("Mu\u{308}ller", &names), ["M\u{fc}ller"]);
        assert_eq!(nearest("elsewhere", &names), [""; 0]);
        assert_eq!(quoted("M\u{fc}ller"), "\"M\u{fc}ller\" (M\\u{fc}ller)");
    }
}
