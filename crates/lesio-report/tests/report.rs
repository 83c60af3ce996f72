//! The page as a reader's program sees it: whole, alone, and only text where text was given.
// Tests may panic: that is how they fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::time::{Duration, UNIX_EPOCH};

use lesio_report::{
    BarPlot, Best, Column, Curve, Estimate, Existing, Figure, HeatMap, HtmlReport, LinePlot, Montage,
    Picture, RunRecord, Scale, ScatterPlot, Table,
};
use ndarray::Array2;
use proptest::prelude::*;

/// A report in which every text is `text`.
fn report(text: &str) -> HtmlReport {
    let unit = Scale::new(0.0, 1.0).unwrap();
    let curve = Curve::new(text, [0.0, 0.5, 1.0], [0.0, 0.8, 1.0]).unwrap();
    let curve = curve.band([0.0, 0.4, 1.0], [0.0, 0.7, 1.0], [0.0, 0.9, 1.0]).unwrap();
    let lines = LinePlot::new(text, text, text).curve(curve).horizontal(0.3, text).to_svg().unwrap();
    let bars = BarPlot::new(text, text, [text]).series(text, [Estimate::new(0.4)]).unwrap();
    let bars = bars.series(text, [Estimate::new(0.3).with_interval(0.2, 0.4)]).unwrap().to_svg().unwrap();
    let points = ScatterPlot::new(text, text, text).identity().points(text, [0.1], [0.2]).unwrap();
    let points = points.to_svg().unwrap();

    let values = Array2::from_shape_fn((6, 5), |(row, column)| (row * column) as f32 / 20.0);
    let gray = Picture::gray(values.view(), unit).unwrap();
    let heat_map = HeatMap::new(unit).label(text);
    let map = gray.clone().overlaid(values.view(), &heat_map).unwrap();
    let montage = Montage::new([text, text]).color_bar(heat_map.clone());
    let montage = montage.row(text, [gray.clone(), map.clone()]).unwrap();

    let columns = [Column::new(text), Column::new(text).best(Best::Highest), Column::new(text)];
    let table = Table::new(text, columns)
        .row([text.into(), Estimate::new(0.5).with_interval(0.4, 0.6).into(), text.into()])
        .unwrap()
        .row([text.into(), Estimate::new(f64::NAN).into(), 7_usize.into()])
        .unwrap();
    let provenance = RunRecord::new(text)
        .seed(3)
        .created(UNIX_EPOCH + Duration::from_secs(1_700_000_000))
        .seconds(1.5)
        .version(text, text)
        .entry(text, text);
    HtmlReport::new(text)
        .lead(text)
        .section(text)
        .subsection(text)
        .paragraph(text)
        .facts([(text, text)])
        .code(text)
        .section(text)
        .table(table)
        .section(text)
        .figures([Figure::svg(&lines, text), Figure::svg(&bars, text), Figure::svg(&points, text)])
        .figure(Figure::png(&map, text).unwrap().color_bar(&heat_map))
        .montage(&montage, text)
        .unwrap()
        .provenance(provenance)
}

/// Names of all tags in order, and of their attributes; panics where `<` or quotes are not closed.
fn tags(html: &str) -> Vec<String> {
    let mut tags = Vec::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        let mut tag = String::new();
        let mut quoted = false;
        let mut length = None;
        for (i, character) in rest[start + 1..].char_indices() {
            match character {
                '"' => quoted = !quoted,
                '>' if !quoted => {
                    length = Some(i);
                    break;
                }
                _ if !quoted => tag.push(character),
                _ => {}
            }
        }
        rest = &rest[start + 1 + length.expect("tag is closed")..];
        tags.push(tag);
    }
    tags
}

/// Panics unless every element that is opened is closed, in order.
fn check_nesting(tags: &[String]) {
    let mut open = Vec::new();
    for tag in tags {
        let name = tag.split([' ', '/']).find(|part| !part.is_empty()).unwrap().to_owned();
        if tag.starts_with('/') {
            assert_eq!(open.pop().as_ref(), Some(&name), "</{name}> closes another element");
        } else if !tag.ends_with('/') && !["!DOCTYPE", "meta", "img"].contains(&name.as_str()) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "never closed: {open:?}");
}

#[test]
fn the_page_needs_nothing_else() {
    let html = report("plain").to_html();
    for forbidden in ["http:", "https:", "//", "<script", "<link", "<iframe", "@import", "url(", "srcset"] {
        // Base64 may contain two slashes in a row; nothing else here does.
        let without_pictures: String =
            html.split("base64,").map(|part| part.split_once('"').map_or(part, |(_, rest)| rest)).collect();
        let found = if forbidden == "//" { without_pictures.find("//") } else { html.find(forbidden) };
        assert_eq!(found, None, "{forbidden} in the page");
    }
    for (attribute, start) in [("src=\"", "data:image/png;base64,"), ("href=\"", "#section-")] {
        let values: Vec<_> = html.split(attribute).skip(1).collect();
        assert!(values.len() >= 3);
        assert!(values.iter().all(|value| value.starts_with(start)), "{attribute}");
    }
}

#[test]
fn the_page_is_well_formed_and_complete() {
    let html = report("plain").to_html();
    let tags = tags(&html);
    check_nesting(&tags);
    let count = |name: &str| tags.iter().filter(|tag| tag.split(' ').next() == Some(name)).count();
    assert_eq!((count("svg"), count("img"), count("figure"), count("h2"), count("title")), (3, 3, 6, 4, 4));
    for text in ["Table 1.", "Figure 5.", "<strong>0.500</strong>", "[0.40, 0.60]", "2023-11-14T22:13:20Z"] {
        // A single value is not the best of anything.
        assert_eq!(html.contains(text), text != "<strong>0.500</strong>", "{text}");
    }
}

#[test]
fn pictures_in_the_page_are_the_pictures_given() {
    use base64::Engine as _;
    let picture =
        Picture::gray(ndarray::array![[0.0, 1.0, 0.5]].view(), Scale::new(0.0, 1.0).unwrap()).unwrap();
    let html = HtmlReport::new("t").figure_png(&picture, "c").unwrap().to_html();
    let encoded = html.split("base64,").nth(1).unwrap().split('"').next().unwrap();
    let png = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap();
    let decoded = image::load_from_memory(&png).unwrap().to_luma8();
    assert_eq!(decoded.as_raw(), &[0, 255, 128]);
}

#[test]
fn values_that_are_not_finite_are_owned_up_to() {
    let scale = Scale::new(0.0, 1.0).unwrap();
    let broken = Array2::from_elem((3, 3), f32::NAN);
    let picture = Picture::gray(broken.view(), scale).unwrap();
    let html = HtmlReport::new("t").figure_png(&picture, "a map").unwrap().to_html();
    assert!(html.contains("9 values are not finite"));
    let sound = Picture::gray(Array2::zeros((3, 3)).view(), scale).unwrap();
    assert!(!HtmlReport::new("t").figure_png(&sound, "a map").unwrap().to_html().contains("not finite"));
}

#[test]
fn same_report_same_bytes() {
    assert_eq!(report("x").to_html(), report("x").to_html());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    report("x").write(&path, Existing::Refuse).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), report("x").to_html());
    assert!(report("y").write(&path, Existing::Refuse).is_err());
}

#[test]
fn hostile_texts_stay_texts() {
    let harmless = tags(&report("x").to_html());
    for text in [
        "</title><script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "</style><style>*{display:none}",
        "]]><!--",
        "&lt;b&gt; &#60;script&#62;",
        "a\u{0}b\u{1b}]0;title\u{7}",
    ] {
        let html = report(text).to_html();
        assert_eq!(tags(&html), harmless, "{text:?}");
        assert!(!html.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_stays_text(text in "\\PC{0,12}|[<>&\"'/ a=]{1,20}") {
        // An empty text leaves out what would be empty.
        prop_assume!(!text.is_empty());
        prop_assert_eq!(tags(&report(&text).to_html()), tags(&report("x").to_html()));
    }
}
