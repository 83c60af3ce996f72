//! BIDS names, such as `sub-01_ses-02_acq-3D_FLAIR`, and patterns that select names.

use std::fmt;

use crate::endings::without_ending;

/// Entities whose value is a number: `run-1` and `run-01` are the same.
const NUMBERED: [&str; 3] = ["echo", "inv", "run"];

/// Entities that describe a file derived from an image, and do not identify the image.
const DERIVED: [&str; 8] = ["den", "desc", "hemi", "label", "res", "scale", "seg", "space"];

/// An entity and its value, such as `acq` and `3D`.
pub(super) type Entity = (String, String);

/// A parsed name: its entities in order, and the suffix at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) entities: Vec<Entity>,
    pub(super) suffix: String,
}

impl Name {
    /// Parses a name without the file ending. The error describes the problem.
    pub(super) fn parse(stem: &str) -> Result<Self, String> {
        let (before, suffix) = stem.rsplit_once('_').unwrap_or(("", stem));
        if !is_label(suffix) {
            return Err(format!("{suffix:?} is no suffix, expected letters and digits"));
        }
        let mut entities: Vec<Entity> = Vec::new();
        for part in before.split('_').filter(|_| !before.is_empty()) {
            let (key, value) = part.split_once('-').unwrap_or((part, ""));
            if !is_label(key) || !is_label(value) {
                return Err(format!("{part:?} is no entity, expected a name, a hyphen, letters and digits"));
            }
            if entities.iter().any(|(earlier, _)| earlier == key) {
                return Err(format!("the entity {key} stands in it twice"));
            }
            entities.push((key.to_owned(), value.to_owned()));
        }
        Ok(Self { entities, suffix: suffix.to_owned() })
    }

    /// The value of an entity.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.entities.iter().find(|(own, _)| own == key).map(|(_, value)| value.as_str())
    }

    /// Whether a name without the file ending has this suffix, even if the rest of the name is not valid.
    pub(super) fn ends_in(stem: &str, suffix: &str) -> bool {
        stem.rsplit('_').next() == Some(suffix)
    }

    /// The entities that identify an image: all except those of the pattern, in the form in which they are compared.
    pub(super) fn key(&self, pattern: &Pattern) -> Vec<Entity> {
        let own = self.entities.iter().filter(|(key, _)| pattern.0.get(key).is_none());
        let mut key: Vec<Entity> =
            own.map(|(key, value)| (key.clone(), compared(key, value).to_owned())).collect();
        key.sort();
        key
    }

    /// The number of entities of an image that a file derived from it lacks; `None` if the file is derived from
    /// another image.
    pub(super) fn distance_to(&self, image: &Self, pattern: &Pattern) -> Option<usize> {
        let of_image = |(key, value): &Entity| match image.get(key) {
            Some(own) => compared(key, own) == compared(key, value),
            None => DERIVED.contains(&key.as_str()),
        };
        let mut own = self.entities.iter().filter(|(key, _)| pattern.0.get(key).is_none());
        let lacks = |(key, _): &&Entity| self.get(key).is_none();
        own.all(of_image).then(|| image.entities.iter().filter(lacks).count())
    }
}

/// Joins entities as in names.
pub(super) fn joined(entities: &[Entity]) -> String {
    let parts: Vec<String> = entities.iter().map(|(key, value)| format!("{key}-{value}")).collect();
    parts.join("_")
}

/// A value in the form in which it is compared.
pub(super) fn compared<'a>(key: &str, value: &'a str) -> &'a str {
    match NUMBERED.contains(&key) {
        true => value.trim_start_matches('0'),
        false => value,
    }
}

/// Whether a text is a label: letters and digits, and `+`, with which newer versions of BIDS join labels.
pub(super) fn is_label(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+')
}

/// A suffix with entities that a name must have, such as `label-lesion_mask`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(Name);

impl Pattern {
    /// Parses a pattern, which may have the file ending of a volume. The error describes the problem.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        Name::parse(without_ending(text)).map(Self).map_err(|reason| format!("{text:?}: {reason}"))
    }

    pub(super) fn suffix(&self) -> &str {
        &self.0.suffix
    }

    /// Whether a name has the suffix and all entities.
    pub(super) fn matches(&self, name: &Name) -> bool {
        let has = |(key, value): &Entity| {
            name.get(key).is_some_and(|own| compared(key, own) == compared(key, value))
        };
        self.0.suffix == name.suffix && self.0.entities.iter().all(has)
    }

    /// The file name with these entities and the entities and the suffix of the pattern.
    pub(super) fn file(&self, key: &[Entity]) -> String {
        format!("{}_{self}.nii.gz", joined(key))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entities = joined(&self.0.entities);
        let between = if entities.is_empty() { "" } else { "_" };
        write!(f, "{entities}{between}{}", self.0.suffix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        let name = Name::parse("sub-01_ses-a+b_run-02_T1w").unwrap();
        assert_eq!(
            (name.get("ses"), name.get("run"), name.suffix.as_str()),
            (Some("a+b"), Some("02"), "T1w")
        );
        assert_eq!(joined(&name.entities), "sub-01_ses-a+b_run-02");
        assert_eq!(Name::parse("T1w").unwrap().entities, []);
        for (bad, part) in [
            ("sub-01_run-1_run-2_T1w", "run stands in it twice"),
            ("sub-01__T1w", "\"\" is no entity"),
            ("sub-_T1w", "\"sub-\" is no entity"),
            ("sub-../x_T1w", "\"sub-../x\" is no entity"),
            ("sub-01_T1w copy", "\"T1w copy\" is no suffix"),
            ("sub-01_", "\"\" is no suffix"),
            ("", "\"\" is no suffix"),
            ("sub-\u{e9}_T1w", "is no entity"),
        ] {
            let reason = Name::parse(bad).unwrap_err();
            assert!(reason.contains(part), "{bad}: {reason}");
        }
    }

    #[test]
    fn patterns_choose_by_suffix_and_entities() {
        let pattern = Pattern::parse("label-lesion_mask.nii.gz").unwrap();
        assert_eq!(pattern.to_string(), "label-lesion_mask");
        let name = |text: &str| Name::parse(text).unwrap();
        assert!(pattern.matches(&name("sub-01_space-T1w_label-lesion_mask")));
        assert!(!pattern.matches(&name("sub-01_label-brain_mask")) && !pattern.matches(&name("sub-01_mask")));
        assert!(Pattern::parse("run-1_T1w").unwrap().matches(&name("sub-01_run-01_T1w")));
        let distance = |mask: &str, image: &str| name(mask).distance_to(&name(image), &pattern);
        assert_eq!(distance("sub-01_run-1_label-lesion_mask", "sub-01_run-01_FLAIR"), Some(0));
        assert_eq!(distance("sub-01_label-lesion_mask", "sub-01_run-1_FLAIR"), Some(1));
        assert_eq!(distance("sub-01_space-T1w_label-lesion_mask", "sub-01_FLAIR"), Some(0));
        assert_eq!(distance("sub-01_run-2_label-lesion_mask", "sub-01_run-1_FLAIR"), None);
        assert_eq!(distance("sub-01_acq-a_label-lesion_mask", "sub-01_FLAIR"), None);
    }
}
