//! Tables of a page: nothing of them is hidden, however narrow the window.

use crate::number::fixed;
use crate::table::{Table, TableCell};
use crate::text::{escaped, estimated_width};

/// Size of the text of tables, in CSS pixels.
const FONT: f64 = 14.4;
/// Room before a column.
const GAP: f64 = 21.0;
/// Width that a page offers on a desk, and on a telephone.
const WIDE: f64 = 870.0;
const NARROW: f64 = 340.0;
/// From this width on, texts in cells are broken.
const BROKEN: f64 = 170.0;

/// Adds a table. One that is wider than a page is set in several parts below each other; in a window that is too narrow for a part,
/// its rows are set as lists.
pub(super) fn push_table(html: &mut String, table: &Table, number: usize) {
    html.push_str(&format!(
        "<figure class=\"table\">\n<figcaption><b>Table {number}.</b> {}</figcaption>\n",
        escaped(table.caption())
    ));
    let best = table.best();
    let widths: Vec<f64> = (0..table.columns().len()).map(|column| width(table, column)).collect();
    for columns in parts(&widths) {
        push_part(html, table, &best, &columns, columns.iter().map(|&column| widths[column]).sum());
    }
    if best.iter().any(Option::is_some) {
        html.push_str("<p class=\"note\">Bold: the best of its column.</p>\n");
    }
    html.push_str("</figure>\n");
}

/// Columns of the parts of a table: the first is in all of them.
fn parts(widths: &[f64]) -> Vec<Vec<usize>> {
    let Some((&first, rest)) = widths.split_first() else { return vec![Vec::new()] };
    let filled = |limit: f64| {
        let (mut parts, mut used) = (vec![vec![0]], first);
        for (column, &width) in (1..).zip(rest) {
            if used + width > limit && parts.last().is_some_and(|part| part.len() > 1) {
                parts.push(vec![0]);
                used = first;
            }
            used += width;
            parts.iter_mut().last().into_iter().for_each(|part| part.push(column));
        }
        parts
    };
    let parts = filled(WIDE);
    // About equally wide, if that makes no more of them.
    let even = first
        + rest.iter().sum::<f64>() / parts.len() as f64
        + rest.iter().copied().fold(0.0, f64::max) / 2.0;
    let balanced = filled(even.min(WIDE));
    if balanced.len() == parts.len() { balanced } else { parts }
}

/// About how wide a column is.
fn width(table: &Table, column: usize) -> f64 {
    let Some(own) = table.columns().get(column) else { return 0.0 };
    let texts = |text: &str| estimated_width(text, FONT).min(BROKEN);
    let words = own.name.split_whitespace().map(texts).fold(0.0, f64::max);
    let (mut value, mut interval): (f64, f64) = (0.0, 0.0);
    for cell in table.rows().iter().filter_map(|row| row.get(column)) {
        let (shown, around) = match cell {
            TableCell::Text(text) => (texts(text), 0.0),
            TableCell::Count(count) => (texts(&count.to_string()), 0.0),
            TableCell::Number(estimate) => {
                let around = estimate.interval_text(own.decimals);
                (
                    texts(&fixed(estimate.value, own.decimals)),
                    around.map_or(0.0, |text| texts(&text) + GAP / 3.0),
                )
            }
        };
        (value, interval) = (value.max(shown), interval.max(around));
    }
    words.max(value + interval) + GAP
}

fn push_part(html: &mut String, table: &Table, best: &[Option<String>], columns: &[usize], width: f64) {
    let fits = if width > NARROW { " lists" } else { "" };
    html.push_str(&format!(
        "<table class=\"data{fits}\" role=\"table\">\n<thead role=\"rowgroup\"><tr role=\"row\">"
    ));
    let intervals: Vec<_> = (0..table.columns().len()).map(|column| table.has_intervals(column)).collect();
    let shown = || columns.iter().filter_map(|&column| Some((column, table.columns().get(column)?)));
    for (i, column) in shown() {
        // Values and intervals are columns of their own, so that both are aligned.
        let (class, span) = match (table.is_numeric(i), intervals[i]) {
            (true, true) => (" class=\"number\"", " colspan=\"2\""),
            (true, false) => (" class=\"number\"", ""),
            (false, _) => ("", ""),
        };
        let name = escaped(&column.name);
        html.push_str(&format!("<th role=\"columnheader\" scope=\"col\"{class}{span}>{name}</th>"));
    }
    html.push_str("</tr></thead>\n<tbody role=\"rowgroup\">\n");
    for row in table.rows() {
        html.push_str("<tr role=\"row\">");
        for (i, column) in shown() {
            let Some(cell) = row.get(i) else { continue };
            let title = format!("role=\"cell\" data-title=\"{}\"", escaped(&column.name));
            let interval_cell = if intervals[i] { "<td role=\"cell\" class=\"interval\"></td>" } else { "" };
            match cell {
                TableCell::Text(text) if i == 0 => {
                    html.push_str(&format!("<th role=\"rowheader\" scope=\"row\">{}</th>", escaped(text)))
                }
                TableCell::Text(text) => {
                    html.push_str(&format!("<td {title}>{}</td>{interval_cell}", escaped(text)))
                }
                TableCell::Count(count) => {
                    html.push_str(&format!("<td class=\"number\" {title}>{count}</td>{interval_cell}"))
                }
                TableCell::Number(estimate) => {
                    let value = fixed(estimate.value, column.decimals);
                    let value = if best[i].as_ref() == Some(&value) {
                        format!("<strong>{value}</strong>")
                    } else {
                        value
                    };
                    html.push_str(&format!("<td class=\"number\" {title}>{value}</td>"));
                    if intervals[i] {
                        let interval = estimate.interval_text(column.decimals).unwrap_or_default();
                        html.push_str(&format!("<td role=\"cell\" class=\"interval\">{interval}</td>"));
                    }
                }
            }
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_every_column_once_and_the_first_always() {
        for columns in 1..40 {
            let widths: Vec<f64> = (0..columns).map(|column| 90.0 + f64::from(column % 7) * 20.0).collect();
            let found = parts(&widths);
            assert!(found.iter().all(|part| part[0] == 0), "{found:?}");
            let all: Vec<usize> = found.iter().flat_map(|part| part[1..].to_vec()).collect();
            assert_eq!(all, (1..widths.len()).collect::<Vec<_>>());
            for part in &found {
                assert!(part.iter().map(|&column| widths[column]).sum::<f64>() <= WIDE, "{found:?}");
            }
        }
        assert_eq!(parts(&[]), [Vec::<usize>::new()]);
        // A column that is too wide by itself stands alone.
        assert_eq!(parts(&[100.0, 2000.0, 50.0]), [vec![0, 1], vec![0, 2]]);
        // Evenly: not ten columns, and then one.
        let lengths: Vec<usize> = parts(&[70.0; 13]).iter().map(Vec::len).collect();
        assert_eq!(lengths.len(), 2);
        assert!(lengths[0].abs_diff(lengths[1]) <= 2, "{lengths:?}");
    }
}
