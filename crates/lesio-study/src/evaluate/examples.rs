//! Which test cases are shown: of each kind of defect the best, the median and the worst.

use std::collections::BTreeMap;

/// How well each map finds the lesions of each case.
#[derive(Debug, Default)]
pub(super) struct CasePrecisions(Vec<CasePrecision>);

#[derive(Debug)]
struct CasePrecision {
    /// The case's place among the test cases.
    place: usize,
    kind: Option<String>,
    by_map: BTreeMap<String, f64>,
}

/// A case to show.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Example {
    /// Its place among the test cases.
    pub(super) place: usize,
    /// Why it is shown, such as `crack, median, AP .71`.
    pub(super) why: String,
}

impl CasePrecisions {
    /// Adds the average precision of each map on the slices with lesions of a case.
    pub(super) fn add(&mut self, place: usize, kind: Option<&str>, by_map: BTreeMap<String, f64>) {
        self.0.push(CasePrecision { place, kind: kind.map(str::to_owned), by_map });
    }

    /// Of each kind the cases on which this map is best, median and worst, at most so many of all kinds together.
    pub(super) fn examples(&self, map: &str, most: usize) -> Vec<Example> {
        let mut kinds: BTreeMap<Option<&str>, Vec<(f64, usize)>> = BTreeMap::new();
        for case in &self.0 {
            if let Some(&precision) = case.by_map.get(map) {
                kinds.entry(case.kind.as_deref()).or_default().push((precision, case.place));
            }
        }
        let mut examples = Vec::new();
        for (kind, mut cases) in kinds {
            cases.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let last = cases.len() - 1;
            let mut named = vec![("best", 0), ("median", last / 2), ("worst", last)];
            // Of one or two cases none is shown twice.
            named.dedup_by_key(|(_, index)| *index);
            for (rank, index) in named {
                let (precision, place) = cases[index];
                let kind = kind.map(|kind| format!("{kind}, ")).unwrap_or_default();
                examples.push(Example { place, why: format!("{kind}{rank}, AP {precision:.2}") });
            }
        }
        examples.truncate(most);
        examples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_best_median_and_worst() {
        let mut cases = CasePrecisions::default();
        let by_map = |precision| BTreeMap::from([("marks".to_owned(), precision)]);
        for (place, (kind, precision)) in
            [("crack", 0.2), ("hole", 0.9), ("crack", 0.8), ("crack", 0.5), ("hole", 0.1), ("crack", 0.4)]
                .into_iter()
                .enumerate()
        {
            cases.add(place, Some(kind), by_map(precision));
        }
        // No map of this case was measured.
        cases.add(6, Some("hole"), BTreeMap::new());
        let found: Vec<(usize, String)> =
            cases.examples("marks", 9).into_iter().map(|example| (example.place, example.why)).collect();
        let expected = [
            (2, "crack, best, AP 0.80"),
            (3, "crack, median, AP 0.50"),
            (0, "crack, worst, AP 0.20"),
            (1, "hole, best, AP 0.90"),
            (4, "hole, worst, AP 0.10"),
        ];
        assert_eq!(found, expected.map(|(place, why)| (place, why.to_owned())));
        assert_eq!(cases.examples("marks", 2).len(), 2);
        assert!(cases.examples("other", 9).is_empty());
        let mut one = CasePrecisions::default();
        one.add(0, None, by_map(0.7));
        assert_eq!(one.examples("marks", 9), [Example { place: 0, why: "best, AP 0.70".to_owned() }]);
    }
}
