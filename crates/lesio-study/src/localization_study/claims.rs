//! The claims of Zhou, Deng and Wu (2020), compared with the cells of a study.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::cell::{PredictorScore, StudyCell};
use super::settings::Variation;
use crate::interval::Interval95;

/// The verdict of the evidence on a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClaimStatus {
    /// The claim holds: the interval excludes 0 on the claim's side. Where one of several comparisons suffices, their
    /// intervals are those that hold together with a probability of 95 %.
    Yes,
    /// The opposite holds.
    No,
    /// The interval includes 0, or cells are missing.
    Undecided,
}

/// A claim with its evidence and verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// The claim.
    pub claim: String,
    /// The verdict.
    pub holds: ClaimStatus,
    /// The figures.
    pub evidence: Vec<String>,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.holds, self.claim)
    }
}

/// The paired differences in average precision of two predictors, over the same patients.
fn differences<'a>(
    one: &'a PredictorScore,
    other: &'a PredictorScore,
) -> impl Iterator<Item = Option<f64>> + 'a {
    one.replicates.iter().zip(&other.replicates).map(|(a, b)| Some((*a)? - (*b)?))
}

/// The predictor that projects and the one it must beat: both compare an image with a reconstruction.
const PROJECTED: &str = "projection-reconstruction";
const PLAIN: &str = "pixel-l1";

/// All claims that the cells allow; `medical` and `natural` name the domains.
#[must_use]
pub fn claims(cells: &[StudyCell], medical: &str, natural: &str) -> Vec<Claim> {
    vec![projection(cells, medical, natural), gradient_rank(cells), beta(cells), ensembling(cells)]
}

fn base<'a>(cells: &'a [StudyCell], domain: &str) -> Option<&'a StudyCell> {
    cells.iter().find(|cell| cell.domain == domain && cell.variation == Variation::default())
}

fn projection(cells: &[StudyCell], medical: &str, natural: &str) -> Claim {
    let claim = "Projection helps less on medical than on natural images.".to_owned();
    let mut evidence = Vec::new();
    let gain = |domain: &str| {
        let cell = base(cells, domain)?;
        let (one, other) = (cell.score(PROJECTED)?, cell.score(PLAIN)?);
        let values: Vec<Option<f64>> = differences(one, other).collect();
        Some((one.average_precision - other.average_precision, values))
    };
    let mut holds = ClaimStatus::Undecided;
    let found = [medical, natural].map(|domain| {
        let found = gain(domain);
        if let Some((estimate, values)) = &found {
            let interval = Interval95::of(*estimate, values.iter().copied());
            evidence.push(format!(
                "{domain}: average precision of {PROJECTED} minus that of {PLAIN}: {interval}"
            ));
        }
        found
    });
    if let [Some((medical, of_medical)), Some((natural, of_natural))] = found {
        // The domains share no patients, but all cells have the same seed: of equally many patients, the same replicate
        // draws the same places. Half of the replicates apart, draws are independent.
        let others = of_medical.iter().cycle().skip(of_medical.len() / 2);
        let gaps = of_natural.iter().zip(others).map(|(a, b)| Some((*a)? - (*b)?));
        let gap = Interval95::of(natural - medical, gaps);
        evidence.push(format!("gain on natural minus gain on medical images: {gap}"));
        holds = match gap.excludes_zero() {
            true if gap.estimate > 0.0 => ClaimStatus::Yes,
            true => ClaimStatus::No,
            false => ClaimStatus::Undecided,
        };
    }
    Claim { claim, holds, evidence }
}

/// Rank of a predictor among those that need a model, 1 being the best, in the data and each replicate; one of several
/// intervals that hold together.
fn rank(cell: &StudyCell, predictor: &str, intervals: usize) -> Option<Interval95> {
    let own = cell.score(predictor)?;
    let others: Vec<&PredictorScore> = cell
        .predictors
        .iter()
        .filter(|score| score.predictor != "intensity" && !score.predictor.starts_with("ensemble"))
        .collect();
    let count = |own: f64, of: &dyn Fn(&PredictorScore) -> Option<f64>| {
        1.0 + others.iter().filter(|other| of(other).is_some_and(|value| value > own)).count() as f64
    };
    let estimate = count(own.average_precision, &|other| Some(other.average_precision));
    let values =
        own.replicates.iter().enumerate().map(|(k, own)| Some(count((*own)?, &|other| other.replicates[k])));
    Some(Interval95::among(intervals, estimate, values))
}

fn gradient_rank(cells: &[StudyCell]) -> Claim {
    let claim = "The rank of the KL gradient among the predictors changes with model and data.".to_owned();
    let ranks: Vec<(String, Interval95)> = cells
        .iter()
        .filter_map(|cell| {
            let rank = rank(cell, "grad-kl", cells.len())?;
            Some((format!("{}, {}", cell.domain, cell.variation.name()), rank))
        })
        .collect();
    let evidence = ranks
        .iter()
        .map(|(cell, rank)| {
            format!("{cell}: rank {:.0} [{:.0}, {:.0}]", rank.estimate, rank.lower, rank.upper)
        })
        .collect();
    let apart = ranks.iter().any(|(_, a)| ranks.iter().any(|(_, b)| a.upper < b.lower));
    // Overlapping intervals cannot prove equal ranks; they only fail to refute them.
    Claim { claim, holds: if apart { ClaimStatus::Yes } else { ClaimStatus::Undecided }, evidence }
}

fn beta(cells: &[StudyCell]) -> Claim {
    let claim = "The weight of the divergence (beta) matters for localization.".to_owned();
    let mut compared = Vec::new();
    for cell in cells {
        let base_variation = Variation::default();
        let only_beta = Variation { beta: cell.variation.beta, ..base_variation } == cell.variation;
        if !only_beta || cell.variation == base_variation {
            continue;
        }
        let Some(base) = base(cells, &cell.domain) else { continue };
        for predictor in [PLAIN, "grad-kl", "grad-elbo"] {
            let (Some(one), Some(other)) = (cell.score(predictor), base.score(predictor)) else { continue };
            compared.push((cell, predictor, one, other));
        }
    }
    let mut evidence = Vec::new();
    let mut holds = ClaimStatus::Undecided;
    for &(cell, predictor, one, other) in &compared {
        let estimate = one.average_precision - other.average_precision;
        let difference = Interval95::among(compared.len(), estimate, differences(one, other));
        evidence.push(format!(
            "{}, {predictor}: beta {} minus beta 1: {difference}",
            cell.domain, cell.variation.beta
        ));
        if difference.excludes_zero() {
            holds = ClaimStatus::Yes;
        }
    }
    Claim { claim, holds, evidence }
}

fn ensembling(cells: &[StudyCell]) -> Claim {
    let claim = "An ensemble of calibrated predictors is better than each of its members.".to_owned();
    let mut compared = Vec::new();
    for cell in cells.iter().filter(|cell| cell.variation == Variation::default()) {
        for member in ["pixel-positive", "pixel-ssim", "grad-elbo", "restoration"] {
            if let (Some(ensemble), Some(own)) = (cell.score("ensemble-mean"), cell.score(member)) {
                compared.push((cell, member, ensemble, own));
            }
        }
    }
    let of = |intervals: usize| {
        let pairs = compared.iter();
        pairs.map(move |(_, _, one, other)| {
            let estimate = one.average_precision - other.average_precision;
            Interval95::among(intervals, estimate, differences(one, other))
        })
    };
    let evidence = compared.iter().zip(of(1));
    let evidence = evidence
        .map(|((cell, member, ..), difference)| {
            format!("{}: ensemble-mean minus {member}: {difference}", cell.domain)
        })
        .collect();
    // To be better than each, all must be decided, and each as if it were alone. One that is worse refutes it, so that
    // is asked of all together.
    let holds = if !compared.is_empty() && of(1).all(|difference| difference.lower > 0.0) {
        ClaimStatus::Yes
    } else if of(compared.len()).any(|difference| difference.upper < 0.0) {
        ClaimStatus::No
    } else {
        ClaimStatus::Undecided
    };
    Claim { claim, holds, evidence }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::localization_study::settings::Budget;

    fn cell(domain: &str, beta: f64, scores: &[(&str, f64)]) -> StudyCell {
        let budget =
            Budget { size: 1, widths: vec![1], epochs: 1, batch: 1, steps: 1, seed: 0, replicates: 101 };
        let predictors = scores
            .iter()
            .map(|&(name, score)| PredictorScore {
                predictor: name.to_owned(),
                average_precision: score,
                auroc: score,
                // The same noise for all: paired differences are exact.
                replicates: (0..101).map(|k| Some(score + (f64::from(k) - 50.0) / 1000.0)).collect(),
            })
            .collect();
        let variation = Variation { beta, ..Variation::default() };
        StudyCell {
            domain: domain.into(),
            variation,
            budget,
            prevalence: 0.1,
            patients: 9,
            seconds: 1.0,
            data: None,
            predictors,
        }
    }

    #[test]
    fn paired_noise_cancels() {
        let cell = cell("m", 1.0, &[("a", 0.5), ("b", 0.4)]);
        let [a, b] = ["a", "b"].map(|name| cell.score(name).unwrap());
        let difference = Interval95::of(0.1, differences(a, b));
        assert!((difference.lower - 0.1).abs() < 1e-9 && (difference.upper - 0.1).abs() < 1e-9);
    }

    #[test]
    fn verdicts_follow_the_figures_either_way() {
        let with = |gain_medical: f64, gain_natural: f64| {
            let scores = |gain: f64| vec![(PLAIN, 0.3), (PROJECTED, 0.3 + gain), ("grad-kl", 0.2)];
            let cells = [cell("m", 1.0, &scores(gain_medical)), cell("n", 1.0, &scores(gain_natural))];
            claims(&cells, "m", "n")[0].holds
        };
        assert_eq!(with(0.0, 0.1), ClaimStatus::Yes);
        assert_eq!(with(0.1, 0.0), ClaimStatus::No);
        assert_eq!(with(0.1, 0.1), ClaimStatus::Undecided);
        assert_eq!(claims(&[], "m", "n")[0].holds, ClaimStatus::Undecided);
    }

    /// Cells of one seed and equally many patients draw the same places in the same replicate. This must not make the
    /// gains of two domains vary together.
    #[test]
    fn replicates_of_two_domains_are_not_paired() {
        let with_noise = |domain: &str, gain: f64| {
            let mut cell = cell(domain, 1.0, &[(PLAIN, 0.3), (PROJECTED, 0.3 + gain)]);
            // Cyclic noise, so that any shift of the replicates would do.
            let replicates = cell.predictors[1].replicates.iter_mut().enumerate();
            replicates.for_each(|(k, value)| {
                let noise = 0.1 * (std::f64::consts::TAU * k as f64 / 101.0).sin();
                *value = value.map(|value| value + noise);
            });
            cell
        };
        let cells = [with_noise("m", 0.1), with_noise("n", 0.12)];
        let found = &claims(&cells, "m", "n")[0];
        assert_eq!(found.holds, ClaimStatus::Undecided, "{:?}", found.evidence);
        // A gap beyond the noise is one.
        assert_eq!(
            claims(&[with_noise("m", 0.1), with_noise("n", 0.5)], "m", "n")[0].holds,
            ClaimStatus::Yes
        );
    }

    #[test]
    fn many_comparisons_need_more_evidence_than_one() {
        let values = || (0..2000).map(|k| Some(f64::from(k) - 20.0));
        let [one, of_many] = [1, 10].map(|count| Interval95::among(count, 1000.0, values()));
        assert!(one.excludes_zero() && !of_many.excludes_zero(), "{one} {of_many}");
        assert_eq!(one, Interval95::of(1000.0, values()));
    }

    #[test]
    fn ranks_that_lie_apart_are_seen() {
        let first = cell("m", 1.0, &[("grad-kl", 0.9), (PLAIN, 0.1), ("intensity", 1.0)]);
        let last = cell("n", 1.0, &[("grad-kl", 0.1), (PLAIN, 0.9)]);
        assert_eq!(rank(&first, "grad-kl", 1).unwrap().estimate, 1.0);
        assert_eq!(rank(&last, "grad-kl", 1).unwrap().estimate, 2.0);
        assert_eq!(claims(&[first.clone(), last], "m", "n")[1].holds, ClaimStatus::Yes);
        assert_eq!(claims(&[first], "m", "n")[1].holds, ClaimStatus::Undecided);
    }
}
