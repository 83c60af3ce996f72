//! Training, choice and test on different patients.

use std::collections::BTreeSet;

use crate::error::StudyError;

/// The number of patients that an error names.
const LISTED: usize = 10;

/// Checks that two parts of a study, such as the training and the test cases, have no patient in common. `parts` are
/// their names for the error, each with the patients of its cases.
///
/// ```
/// let error = lesio_study::require_apart(("training", ["ann", "bob"]), ("test", ["bob", "cid"])).unwrap_err();
/// assert_eq!(error.to_string(), "the training and the test cases have patients in common: bob");
/// ```
///
/// # Errors
/// [`StudyError::SharedPatients`].
pub fn require_apart<'a>(
    (one, own): (&'static str, impl IntoIterator<Item = &'a str>),
    (other, others): (&'static str, impl IntoIterator<Item = &'a str>),
) -> Result<(), StudyError> {
    let own: BTreeSet<&str> = own.into_iter().collect();
    let shared: BTreeSet<&str> = others.into_iter().filter(|patient| own.contains(patient)).collect();
    if shared.is_empty() {
        return Ok(());
    }
    let patients = shared.iter().take(LISTED).map(|&patient| patient.to_owned()).collect();
    Err(StudyError::SharedPatients { parts: [one, other], patients, count: shared.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_patients_are_named_and_the_others_counted() {
        let names: Vec<String> = (10..22).map(|number| format!("p{number}")).collect();
        let all = || names.iter().map(String::as_str);
        assert!(require_apart(("training", all()), ("test", ["p9"])).is_ok());
        assert!(require_apart(("training", all()), ("test", [])).is_ok());
        let error = require_apart(("training", all()), ("test", all().chain(["p10"]))).unwrap_err();
        assert!(
            error.to_string().ends_with("p10, p11, p12, p13, p14, p15, p16, p17, p18, p19 and 2 more"),
            "{error}"
        );
    }
}
