//! The page: sections, paragraphs, tables, figures, provenance.

use std::path::Path;

use super::figure::Figure;
use super::table::push_table;
use crate::color::Rgb;
use crate::file::{Existing, WriteError, write_file};
use crate::montage::Montage;
use crate::number::fixed;
use crate::picture::{Picture, PictureError};
use crate::plot::Svg;
use crate::run_record::RunRecord;
use crate::table::Table;
use crate::text::escaped;

/// A report as one HTML page. It contains its style, plots and pictures, loads nothing and runs no script. It follows
/// the reader's light or dark setting, and is legible on a telephone and on paper.
///
/// Every text is escaped, so it is shown as text. Tables and figures are numbered in order.
///
/// ```
/// use lesio_report::{Curve, HtmlReport, LinePlot, RunRecord, Table};
///
/// let losses = Curve::new("training", [1.0, 2.0, 3.0], [9.0, 4.0, 3.5])?;
/// let html = HtmlReport::new("A small VAE")
///     .lead("Trained on 64 images of normal anatomy.")
///     .section("Training")
///     .figure_svg(&LinePlot::training("Loss", "-ELBO").curve(losses).to_svg()?, "Loss by epoch.")
///     .section("Results")
///     .table(Table::new("Test split.", ["predictor", "AP"]).row(["pixel-l1".into(), 0.41.into()])?)
///     .provenance(RunRecord::new("quickstart --seed 7").seed(7))
///     .to_html();
/// assert!(html.starts_with("<!DOCTYPE html>"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct HtmlReport {
    title: String,
    lead: String,
    blocks: Vec<Block>,
    provenance: Option<RunRecord>,
}

#[derive(Clone, Debug, PartialEq)]
enum Block {
    Section(String),
    Subsection(String),
    Paragraph(String),
    Facts(Vec<(String, String)>),
    Code(String),
    Table(Table),
    Figures(Vec<Figure>),
}

impl HtmlReport {
    /// An empty report.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), lead: String::new(), blocks: Vec::new(), provenance: None }
    }

    /// Sets a summary of one or two sentences below the title: what was done and the result.
    #[must_use]
    pub fn lead(mut self, text: impl Into<String>) -> Self {
        self.lead = text.into();
        self
    }

    /// Begins a section. Three or more get a table of contents.
    #[must_use]
    pub fn section(self, title: impl Into<String>) -> Self {
        self.with(Block::Section(title.into()))
    }

    /// Begins a subsection.
    #[must_use]
    pub fn subsection(self, title: impl Into<String>) -> Self {
        self.with(Block::Subsection(title.into()))
    }

    /// Adds a paragraph of plain text.
    #[must_use]
    pub fn paragraph(self, text: impl Into<String>) -> Self {
        self.with(Block::Paragraph(text.into()))
    }

    /// Adds short facts, each a name and a value, side by side.
    #[must_use]
    pub fn facts<N: Into<String>, V: Into<String>>(self, facts: impl IntoIterator<Item = (N, V)>) -> Self {
        self.with(Block::Facts(facts.into_iter().map(|(name, value)| (name.into(), value.into())).collect()))
    }

    /// Adds preformatted text, such as a command or a configuration.
    #[must_use]
    pub fn code(self, text: impl Into<String>) -> Self {
        self.with(Block::Code(text.into()))
    }

    /// Adds a table.
    #[must_use]
    pub fn table(self, table: Table) -> Self {
        self.with(Block::Table(table))
    }

    /// Adds a figure.
    #[must_use]
    pub fn figure(self, figure: Figure) -> Self {
        self.with(Block::Figures(vec![figure]))
    }

    /// Adds a group of figures, which are side by side if there is room.
    #[must_use]
    pub fn figures(self, figures: impl IntoIterator<Item = Figure>) -> Self {
        self.with(Block::Figures(figures.into_iter().collect()))
    }

    /// Adds a plot as a figure.
    #[must_use]
    pub fn figure_svg(self, svg: &Svg, caption: impl Into<String>) -> Self {
        self.figure(Figure::svg(svg, caption))
    }

    /// Adds a picture as a figure.
    ///
    /// # Errors
    /// Those of [`Picture::to_png`].
    pub fn figure_png(self, picture: &Picture, caption: impl Into<String>) -> Result<Self, PictureError> {
        Ok(self.figure(Figure::png(picture, caption)?))
    }

    /// Adds a montage as a figure.
    ///
    /// # Errors
    /// Those of [`Picture::to_png`].
    pub fn montage(self, montage: &Montage, caption: impl Into<String>) -> Result<Self, PictureError> {
        Ok(self.figure(Figure::montage(montage, caption)?))
    }

    /// Sets the provenance of the results, shown at the end.
    #[must_use]
    pub fn provenance(mut self, provenance: RunRecord) -> Self {
        self.provenance = Some(provenance);
        self
    }

    /// The page. The same report gives the same bytes.
    #[must_use]
    pub fn to_html(&self) -> String {
        let title = escaped(&self.title);
        let mut html = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
             <style>\n{}{}</style>\n</head>\n<body>\n<main>\n<header>\n<h1>{title}</h1>\n",
            include_str!("tokens.css"),
            include_str!("style.css")
        );
        if !self.lead.is_empty() {
            html.push_str(&format!("<p class=\"lead\">{}</p>\n", escaped(&self.lead)));
        }
        html.push_str("</header>\n");
        self.push_contents(&mut html);
        let (mut sections, mut tables, mut figures) = (0, 0, 0);
        for block in &self.blocks {
            match block {
                Block::Section(title) => {
                    sections += 1;
                    html.push_str(&format!("<h2 id=\"section-{sections}\">{}</h2>\n", escaped(title)));
                }
                Block::Subsection(title) => html.push_str(&format!("<h3>{}</h3>\n", escaped(title))),
                Block::Paragraph(text) => html.push_str(&format!("<p>{}</p>\n", escaped(text))),
                Block::Code(text) => html.push_str(&format!("<pre><code>{}</code></pre>\n", escaped(text))),
                Block::Facts(facts) => {
                    html.push_str("<dl class=\"facts\">\n");
                    for (name, value) in facts {
                        html.push_str(&format!(
                            "<div><dt>{}</dt><dd>{}</dd></div>\n",
                            escaped(name),
                            escaped(value)
                        ));
                    }
                    html.push_str("</dl>\n");
                }
                Block::Table(table) => {
                    tables += 1;
                    push_table(&mut html, table, tables);
                }
                Block::Figures(group) => {
                    html.push_str(if group.len() > 1 { "<div class=\"figures\">\n" } else { "<div>\n" });
                    for figure in group {
                        figures += 1;
                        push_figure(&mut html, figure, figures);
                    }
                    html.push_str("</div>\n");
                }
            }
        }
        if let Some(provenance) = &self.provenance {
            push_provenance(&mut html, provenance);
        }
        html.push_str("</main>\n</body>\n</html>\n");
        html
    }

    /// Writes the page, as [`write_file`] does.
    ///
    /// # Errors
    /// Those of [`write_file`].
    pub fn write(&self, path: impl AsRef<Path>, existing: Existing) -> Result<(), WriteError> {
        write_file(path, self.to_html().as_bytes(), existing)
    }

    fn with(mut self, block: Block) -> Self {
        self.blocks.push(block);
        self
    }

    fn push_contents(&self, html: &mut String) {
        let titles = self.blocks.iter().filter_map(|block| match block {
            Block::Section(title) => Some(title),
            _ => None,
        });
        if titles.clone().count() < 3 {
            return;
        }
        html.push_str("<nav aria-label=\"Contents\"><ol>\n");
        for (i, title) in titles.enumerate() {
            html.push_str(&format!("<li><a href=\"#section-{}\">{}</a></li>\n", i + 1, escaped(title)));
        }
        html.push_str("</ol></nav>\n");
    }
}

fn push_figure(html: &mut String, figure: &Figure, number: usize) {
    html.push_str(&format!(
        "<figure>\n{}<figcaption><b>Figure {number}.</b> {}",
        figure.body,
        escaped(&figure.caption)
    ));
    if figure.not_finite > 0 {
        html.push_str(&format!(
            " <span class=\"mark\" style=\"background:{}\"></span> {} not finite.",
            Rgb::NOT_FINITE.hex(),
            if figure.not_finite == 1 {
                "1 value is".to_owned()
            } else {
                format!("{} values are", figure.not_finite)
            },
        ));
    }
    html.push_str("</figcaption>\n</figure>\n");
}

fn push_provenance(html: &mut String, provenance: &RunRecord) {
    let mut entries = Vec::new();
    entries.extend(provenance.seed.map(|seed| ("seed".to_owned(), seed.to_string())));
    entries.extend(provenance.created.clone().map(|time| ("created".to_owned(), time)));
    entries.extend(
        provenance.seconds.map(|seconds| ("duration".to_owned(), format!("{} s", fixed(seconds, 1)))),
    );
    let named = provenance.versions.iter().chain(&provenance.entries);
    entries.extend(named.map(|(name, value)| (name.clone(), value.clone())));
    html.push_str(&format!(
        "<footer>\n<h2>Provenance</h2>\n<pre><code>{}</code></pre>\n<dl>\n",
        escaped(&provenance.command)
    ));
    for (name, value) in entries {
        html.push_str(&format!("<dt>{}</dt><dd>{}</dd>\n", escaped(&name), escaped(&value)));
    }
    html.push_str("</dl>\n</footer>\n");
}

#[cfg(test)]
mod tests {
    use crate::color::PALETTE;
    use crate::plot::page_colors;

    #[test]
    fn style_sheet_knows_the_colors_of_plots() {
        // A style rule overrides a color attribute: so a dark page changes the plots.
        let style = include_str!("style.css");
        let attribute = |color: crate::Rgb| format!("=\"{}\"]", color.hex().to_uppercase());
        for color in page_colors() {
            assert!(style.contains(&attribute(color)), "{color:?}");
        }
        let known: Vec<_> = page_colors().into_iter().chain(PALETTE).map(attribute).collect();
        for selector in style.match_indices("=\"#").map(|(at, _)| &style[at..at + 11]) {
            assert!(known.iter().any(|attribute| attribute == selector), "no plot has {selector}");
        }
    }
}
