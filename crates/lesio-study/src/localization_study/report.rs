//! The claims and figures of a study as a page.

use lesio_report::{Best, Column, Estimate, HtmlReport, Table, TableCell};
use serde_json::{Value, json};

use super::cell::StudyCell;
use super::claims::{Claim, claims};
use crate::interval::Interval95;
use crate::workflow_error::WorkflowError;

/// The cells of a study with the verdicts on the claims.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StudyReport {
    /// The claims.
    pub claims: Vec<Claim>,
    /// The cells.
    pub cells: Vec<StudyCell>,
    domains: [String; 2],
}

impl StudyReport {
    /// Compares the claims with cells; `medical` and `natural` name the domains.
    #[must_use]
    pub fn new(cells: Vec<StudyCell>, medical: &str, natural: &str) -> Self {
        let claims = claims(&cells, medical, natural);
        Self { claims, cells, domains: [medical.to_owned(), natural.to_owned()] }
    }

    /// As `report.json` of the program `study_localization` has it, but for the command and the time.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"schema": 1, "verdicts": self.claims, "cells": self.cells})
    }

    /// For each domain of which there are cells: its name, and a table of average precisions with predictors in rows and
    /// models in columns.
    ///
    /// # Errors
    /// None in practice; the tables check their own rows.
    pub fn tables(&self) -> Result<Vec<(&str, Table)>, WorkflowError> {
        let mut tables = Vec::new();
        for domain in &self.domains {
            let own: Vec<&StudyCell> = self.cells.iter().filter(|cell| cell.domain == *domain).collect();
            if !own.is_empty() {
                tables.push((domain.as_str(), table(domain, &own)?));
            }
        }
        Ok(tables)
    }

    /// A page with the claims, their evidence and the tables.
    ///
    /// # Errors
    /// None in practice; the tables check their own rows.
    pub fn page(&self) -> Result<HtmlReport, WorkflowError> {
        let mut page = HtmlReport::new("A study of localization").lead(format!(
            "{} models of normal images on two domains. Figures are average precisions of post-processed scores on slices or \
             images with lesions, with 95 % intervals over patients or images.",
            self.cells.len()
        ));
        page = page.section("Verdicts");
        for claim in &self.claims {
            page = page.subsection(claim.to_string());
            for line in &claim.evidence {
                page = page.paragraph(line.as_str());
            }
        }
        for (domain, table) in self.tables()? {
            page = page.section(domain).table(table);
        }
        Ok(page)
    }
}

/// Predictors in rows, models in columns.
fn table(domain: &str, cells: &[&StudyCell]) -> Result<Table, WorkflowError> {
    let prevalence = cells.first().map_or(f64::NAN, |cell| cell.prevalence);
    let patients = cells.first().map_or(0, |cell| cell.patients);
    let caption =
        format!("Average precision, {domain}; prevalence {prevalence:.4}, {patients} patients or images.");
    let columns = cells.iter().map(|cell| Column::new(cell.variation.name()).decimals(3).best(Best::Highest));
    let mut table = Table::new(caption, std::iter::once(Column::new("predictor")).chain(columns));
    let names = cells.first().map_or(&[][..], |cell| &cell.predictors);
    for name in names {
        let mut row = vec![TableCell::from(name.predictor.as_str())];
        row.extend(cells.iter().map(|cell| TableCell::from(estimate(cell, &name.predictor))));
        table = table.row(row)?;
    }
    Ok(table)
}

/// The average precision of a predictor, with its interval if there are replicates.
fn estimate(cell: &StudyCell, predictor: &str) -> Estimate {
    let Some(score) = cell.score(predictor) else { return Estimate::new(f64::NAN) };
    let found = Interval95::of(score.average_precision, score.replicates.iter().copied());
    let estimate = Estimate::new(score.average_precision);
    match found.lower.is_nan() {
        true => estimate,
        false => estimate.with_interval(found.lower, found.upper),
    }
}
