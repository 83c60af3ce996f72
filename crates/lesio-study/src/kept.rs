//! Helpers to store collected scores as JSON without losing a bit.

use serde::{Deserialize, Serialize};

/// A score as its bits, because JSON cannot represent infinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bits(u32);

impl From<f32> for Bits {
    fn from(value: f32) -> Self {
        Self(value.to_bits())
    }
}

impl From<Bits> for f32 {
    fn from(bits: Bits) -> Self {
        Self::from_bits(bits.0)
    }
}

/// Stores a map as a list of pairs, because keys of JSON objects must be strings.
pub(crate) mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(crate) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_json_has_not_comes_back() {
        #[derive(PartialEq, Debug, Serialize, Deserialize)]
        struct Kept {
            #[serde(with = "pairs")]
            map: BTreeMap<(String, u8), Bits>,
        }
        let map = [("a", 1, f32::INFINITY), ("a", 2, -0.0), ("b", 1, 1e-45), ("c", 0, 0.1)]
            .map(|(name, number, value)| ((name.to_owned(), number), value.into()));
        let kept = Kept { map: map.into() };
        let text = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<Kept>(&text).unwrap(), kept);
    }
}
