//! Tables of a report of the study of quality, read from it: what is shown is what was written.

use lesio_quality::{AttackUnit, Method, NaturalShift};
use lesio_report::{Best, Column, Estimate, Table, TableCell, TableError};
use serde_json::Value;

use crate::quality::certification::certified;
use crate::quality::figures::{REFERENCES, Reference};
use crate::quality::schema::{Perturbation, QualityReport, QualityRow, document_name};

/// The estimators in the order in which they are shown.
pub(super) const SHOWN: [Method; 4] =
    [Method::RecReg, Method::Direct, Method::ShapeOnly, Method::SecondOpinion];

/// What people call an estimator.
pub(super) fn estimator_title(method: Method) -> &'static str {
    match method {
        Method::RecReg => "REC-Net + REG-Net",
        Method::Direct => "direct regression",
        Method::ShapeOnly => "segmentation alone",
        Method::SecondOpinion => "second opinion",
        _ => "another",
    }
}

/// All tables with a title each, in the order of a page.
///
/// # Errors
/// None but a defect of this module: rows that are not as long as their tables are wide.
pub fn tables(report: &QualityReport) -> Result<Vec<(&'static str, Table)>, TableError> {
    let (std, range) = (AttackUnit::Std, AttackUnit::Range);
    let by_deviations = "by its strength in deviations of the image";
    let by_range = "by its strength as a share of the image's range";
    let mut tables = vec![
        ("FGSM, strength in deviations", errors(report, Perturbation::Fgsm, std, "FGSM", by_deviations)?),
        ("PGD, strength in deviations", errors(report, Perturbation::Pgd, std, "PGD", by_deviations)?),
        (
            "FGSM, strength as a share of the range",
            errors(report, Perturbation::Fgsm, range, "FGSM", by_range)?,
        ),
        (REFERENCES[0].title, differences(report, REFERENCES[0])?),
        (REFERENCES[1].title, differences(report, REFERENCES[1])?),
        ("Clean images", clean(report)?),
        ("By true Dice", by_true_dice(report)?),
        ("Natural changes", shifts(report)?),
        ("Images made against others", transfer(report)?),
    ];
    if report.rows.iter().any(|row| !labels(row).is_empty()) {
        tables.push(("By label, FGSM", by_label(report, Perturbation::Fgsm, "FGSM")?));
        tables.push(("By label, PGD", by_label(report, Perturbation::Pgd, "PGD")?));
    }
    tables.extend(certified(report)?.map(|table| ("Certified", table)));
    Ok(tables)
}

/// The figures of a row for each label apart; none if there is one label.
fn labels(row: &QualityRow) -> &[Value] {
    row.extra.get("by_label").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn by_label(report: &QualityReport, attack: Perturbation, named: &str) -> Result<Table, TableError> {
    let strengths = strengths(report, attack, AttackUnit::Std);
    let columns = strengths.iter().map(|epsilon| Column::new(format!("{epsilon}")));
    let columns = [Column::new("estimator, label"), Column::new("clean")].into_iter().chain(columns);
    let caption = format!(
        "Mean absolute error of the predicted Dice of each label under {named}, by its strength in deviations of the \
         image; 95 % intervals over patients."
    );
    let mut table = Table::new(caption, columns);
    for method in SHOWN {
        let clean = find(report, method, Perturbation::None, AttackUnit::Std, 0.0);
        let attacked =
            strengths.iter().map(|&epsilon| find(report, method, attack, AttackUnit::Std, epsilon));
        let rows: Vec<Option<&QualityRow>> = std::iter::once(clean).chain(attacked).collect();
        for (place, known) in clean.map_or(&[][..], labels).iter().enumerate() {
            let cells = rows.iter().map(|row| {
                let Some(own) = row.and_then(|row| labels(row).get(place)) else {
                    return TableCell::from(None);
                };
                let end = |k: usize| own["mae_ci95"].get(k).and_then(Value::as_f64);
                match (own["mae"].as_f64(), end(0), end(1)) {
                    (Some(mae), Some(low), Some(high)) => Estimate::new(mae).with_interval(low, high).into(),
                    (mae, ..) => TableCell::from(mae),
                }
            });
            let title = format!("{}, label {}", estimator_title(method), known["label"]);
            table = table.row(std::iter::once(title.as_str().into()).chain(cells))?;
        }
    }
    Ok(table)
}

fn errors(
    report: &QualityReport,
    attack: Perturbation,
    unit: AttackUnit,
    named: &str,
    by: &str,
) -> Result<Table, TableError> {
    let strengths = strengths(report, attack, unit);
    let columns = strengths.iter().map(|epsilon| Column::new(format!("{epsilon}")).best(Best::Lowest));
    let columns =
        [Column::new("estimator"), Column::new("clean").best(Best::Lowest)].into_iter().chain(columns);
    let caption = format!(
        "Mean absolute error of the predicted Dice under {named}, {by}; 95 % intervals over patients."
    );
    let mut table = Table::new(caption, columns);
    for method in SHOWN {
        let clean = find(report, method, Perturbation::None, AttackUnit::Std, 0.0);
        let attacked = strengths.iter().map(|&epsilon| find(report, method, attack, unit, epsilon));
        let cells =
            std::iter::once(clean).chain(attacked).map(|row| estimate(row, "mae_ci95", |row| row.mae));
        table = table.row(std::iter::once(estimator_title(method).into()).chain(cells))?;
    }
    Ok(table)
}

fn differences(report: &QualityReport, reference: Reference) -> Result<Table, TableError> {
    let strengths = strengths(report, Perturbation::Fgsm, AttackUnit::Std);
    let columns = strengths.iter().map(|epsilon| Column::new(format!("{epsilon}")));
    let columns = [Column::new("estimator, attack"), Column::new("clean")].into_iter().chain(columns);
    let caption = format!(
        "Mean absolute error less that of the {} on the same segmentations, each under attacks on itself, by strength in \
         deviations: below 0 is better than it; 95 % intervals over patients.",
        estimator_title(reference.method)
    );
    let mut table = Table::new(caption, columns);
    for method in
        SHOWN.into_iter().filter(|&method| method != reference.method && method != Method::ShapeOnly)
    {
        for (attack, named) in [(Perturbation::Fgsm, "FGSM"), (Perturbation::Pgd, "PGD")] {
            let clean = find(report, method, Perturbation::None, AttackUnit::Std, 0.0);
            let attacked =
                strengths.iter().map(|&epsilon| find(report, method, attack, AttackUnit::Std, epsilon));
            let cells = std::iter::once(clean).chain(attacked).map(|row| {
                estimate(row, reference.interval, |row| {
                    row.extra.get(reference.difference).and_then(Value::as_f64)
                })
            });
            table = table
                .row(std::iter::once(format!("{}, {named}", estimator_title(method)).into()).chain(cells))?;
        }
    }
    Ok(table)
}

fn clean(report: &QualityReport) -> Result<Table, TableError> {
    let mut table = Table::new(
        "Clean images: errors, correlations, detection of a Dice below .7; of the first label also the coverage and mean width \
         of 90 % intervals, and how well its HD95 is predicted, in pixels of the image.",
        [
            Column::new("estimator"),
            Column::new("MAE").best(Best::Lowest),
            Column::new("SD"),
            Column::new("RMSE").best(Best::Lowest),
            Column::new("Pearson").best(Best::Highest),
            Column::new("Spearman").best(Best::Highest),
            Column::new("Kendall").best(Best::Highest),
            Column::new("AUROC of failure").best(Best::Highest),
            Column::new("coverage"),
            // The best would be intervals that cover too little.
            Column::new("width"),
            Column::new("HD95 MAE").decimals(1).best(Best::Lowest),
            Column::new("HD95 Spearman").best(Best::Highest),
        ],
    );
    for method in SHOWN {
        let Some(row) = find(report, method, Perturbation::None, AttackUnit::Std, 0.0) else { continue };
        let extra = |key: &str| row.extra.get(key).and_then(Value::as_f64);
        let interval = |key: &str| {
            let all = report.extra.get("intervals")?.as_array()?;
            let is_own = |own: &&Value| own["estimator"] == document_name::of(method);
            all.iter().find(is_own)?.get(key)?.as_f64()
        };
        table = table.row([
            estimator_title(method).into(),
            estimate(Some(row), "mae_ci95", |row| row.mae),
            row.mae_sd.into(),
            row.rmse.into(),
            estimate(Some(row), "pearson_ci95", |row| row.pearson),
            row.spearman.into(),
            extra("kendall_tau_b").into(),
            extra("failure_auroc").into(),
            interval("coverage").into(),
            interval("mean_width").into(),
            interval("hd95_mae_pixels").into(),
            interval("hd95_spearman").into(),
        ])?;
    }
    Ok(table)
}

fn by_true_dice(report: &QualityReport) -> Result<Table, TableError> {
    let ranges = |row: &QualityRow| row.extra.get("by_true_dice").and_then(Value::as_array).cloned();
    let first = report.rows.iter().find_map(ranges).unwrap_or_default();
    let number = |range: &Value, key: &str| range.get(key).and_then(Value::as_f64);
    let columns = first.iter().map(|range| {
        let end = |key: &str| number(range, key).unwrap_or(f64::NAN);
        Column::new(format!("{:.1} to {:.1}", end("lower"), end("upper"))).best(Best::Lowest)
    });
    let columns = std::iter::once(Column::new("estimator")).chain(columns);
    let mut table = Table::new("Mean absolute error on clean images by range of the true Dice.", columns);
    for method in SHOWN {
        let own = find(report, method, Perturbation::None, AttackUnit::Std, 0.0)
            .and_then(ranges)
            .unwrap_or_default();
        let cells = (0..first.len()).map(|k| own.get(k).and_then(|range| number(range, "mae")).into());
        table = table.row(std::iter::once(estimator_title(method).into()).chain(cells))?;
    }
    Ok(table)
}

fn shifts(report: &QualityReport) -> Result<Table, TableError> {
    let kinds = [
        (NaturalShift::Noise, "noise"),
        (NaturalShift::BiasField, "bias field"),
        (NaturalShift::Contrast, "contrast"),
        (NaturalShift::Blur, "blur"),
        (NaturalShift::Motion, "motion"),
    ];
    let strongest = strengths(report, Perturbation::Shift(NaturalShift::Noise), AttackUnit::Std)
        .last()
        .copied()
        .unwrap_or(0.0);
    let columns = kinds.iter().map(|(_, named)| Column::new(*named).best(Best::Lowest));
    let columns = std::iter::once(Column::new("estimator")).chain(columns);
    let caption = format!("Mean absolute error under natural changes of the image, of strength {strongest}.");
    let mut table = Table::new(caption, columns);
    for method in SHOWN {
        let cells = kinds.iter().map(|&(shift, _)| {
            let row = find(report, method, Perturbation::Shift(shift), AttackUnit::Std, strongest);
            estimate(row, "mae_ci95", |row| row.mae)
        });
        table = table.row(std::iter::once(estimator_title(method).into()).chain(cells))?;
    }
    Ok(table)
}

fn transfer(report: &QualityReport) -> Result<Table, TableError> {
    let all = report.extra.get("transfer").and_then(Value::as_array).cloned().unwrap_or_default();
    let strengths = strengths(report, Perturbation::Pgd, AttackUnit::Std);
    let columns = strengths.iter().map(|epsilon| Column::new(format!("{epsilon}")));
    let columns = std::iter::once(Column::new("images made against")).chain(columns);
    let mut table = Table::new(
        "Mean absolute error of the second opinion on images that PGD made, against itself and against other estimators: were \
         its gradients hidden, those of others would harm it more.",
        columns,
    );
    for surrogate in [Method::SecondOpinion, Method::Direct, Method::RecReg] {
        let cells = strengths.iter().map(|&epsilon| {
            let own =
                find(report, surrogate, Perturbation::Pgd, AttackUnit::Std, epsilon).and_then(|row| row.mae);
            let of = |row: &&Value| {
                row["surrogate"] == document_name::of(surrogate)
                    && row.get("epsilon").and_then(Value::as_f64) == Some(epsilon)
            };
            let other = || all.iter().find(of)?.get("mae")?.as_f64();
            TableCell::from(if surrogate == Method::SecondOpinion { own } else { other() })
        });
        table = table.row(std::iter::once(estimator_title(surrogate).into()).chain(cells))?;
    }
    Ok(table)
}

/// Strengths of an attack, rising.
fn strengths(report: &QualityReport, attack: Perturbation, unit: AttackUnit) -> Vec<f64> {
    let own = report.rows.iter().filter(|row| row.attack == attack && row.unit == unit);
    let mut strengths: Vec<f64> = own.map(|row| row.epsilon).collect();
    strengths.sort_by(f64::total_cmp);
    strengths.dedup();
    strengths
}

pub(super) fn find(
    report: &QualityReport,
    method: Method,
    attack: Perturbation,
    unit: AttackUnit,
    epsilon: f64,
) -> Option<&QualityRow> {
    report
        .rows
        .iter()
        .find(|row| (row.estimator, row.attack, row.unit) == (method, attack, unit) && row.epsilon == epsilon)
}

/// A figure of a row with its interval, kept under a name of its own.
fn estimate(row: Option<&QualityRow>, interval: &str, of: impl Fn(&QualityRow) -> Option<f64>) -> TableCell {
    let Some((row, value)) = row.and_then(|row| Some((row, of(row)?))) else { return TableCell::from(None) };
    let end = |k: usize| row.extra.get(interval)?.get(k)?.as_f64();
    match (end(0), end(1)) {
        (Some(lower), Some(upper)) => Estimate::new(value).with_interval(lower, upper).into(),
        _ => TableCell::from(value),
    }
}
