//! Pages about many cases: only text where text was given, nothing loaded, the same bytes.
// Tests may panic: that is how they fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{fs, io};

use lesio_report::{
    CaseFinding, CaseMap, CasePage, CaseStatus, CohortContent, CohortPage, CohortResult, CohortRow, Existing,
    ImageSheet, LevelSheet, Levels, Link, Scale, WriteErrorKind,
};
use ndarray::Array2;
use proptest::prelude::*;

/// A page in which every text is `text`.
fn cohort(text: &str) -> CohortPage {
    let mut page = CohortPage::new(text, CohortContent::Volumes);
    page.notes.push(text.to_owned());
    page.predictors.push(text.to_owned());
    page.further.push(text.to_owned());
    page.files.push((text.to_owned(), Link::new(format!("{text}.csv"))));
    let mut result = CohortResult::new(CaseStatus::Abnormal);
    result.reason = Some(text.to_owned());
    (result.link, result.thumbnail) = (Some(Link::new(text)), Some(Link::new(text)));
    (result.score, result.p_value) = (Some(0.1), Some(f64::NAN));
    let mut row = CohortRow::new(text, [Some(result)]);
    (row.subject, row.further) = (Some(text.to_owned()), vec![text.to_owned()]);
    page.rows = vec![row, CohortRow::failed(text, text)];
    page
}

/// Likewise of a case.
fn case(text: &str) -> CasePage {
    let unit = Scale::new(0.0, 1.0).unwrap();
    let levels = Levels::new(unit, Some(0.5)).unwrap();
    let values = Array2::from_shape_fn((4, 6), |(row, column)| (row * column) as f32 / 15.0);
    let (mut image, mut sheet) = (ImageSheet::new(1), LevelSheet::new(levels, 1));
    image.push(values.view(), unit).unwrap();
    sheet.push(values.view(), values.mapv(|_| true).view()).unwrap();
    let mut map = CaseMap::new(text, sheet.encode().unwrap(), levels, unit);
    map.reason = Some(text.to_owned());
    let finding = CaseFinding { peak_at: [0, 3, 5], pixels: 4, volume_ml: None, peak: 1.0, p_value: None };
    map.findings = Some(vec![finding]);
    let mut page = CasePage::new(text, CohortContent::Volumes);
    page.back = Some(Link::new(text));
    page.facts.push((text.to_owned(), text.to_owned()));
    page.doubts.push(text.to_owned());
    page.images.push((text.to_owned(), image.encode().unwrap()));
    page.maps.push(map);
    page.files.push((text.to_owned(), Link::new(text)));
    page
}

/// The page without its data, and the data.
fn parts(html: &str) -> (String, serde_json::Value) {
    let (before, rest) = html.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
    let (data, after) = rest.split_once("</script>").unwrap();
    (format!("{before}{after}"), serde_json::from_str(data).unwrap())
}

/// The elements of the body before the scripts, in order, without what is between quotes.
fn elements(page: &str) -> Vec<String> {
    let body = page.split("<body>").nth(1).unwrap().split("<script>").next().unwrap();
    let mut outside = true;
    let kept: String = body
        .chars()
        .filter(|&character| {
            if character == '"' {
                outside = !outside;
            }
            outside
        })
        .collect();
    kept.split('<').skip(1).map(|tag| tag.split('>').next().unwrap().to_owned()).collect()
}

fn check(text: &str) {
    for (html, harmless) in [
        (cohort(text).to_html().unwrap(), cohort("x").to_html().unwrap()),
        (case(text).to_html().unwrap(), case("x").to_html().unwrap()),
    ] {
        let (page, data) = parts(&html);
        let (plain, _) = parts(&harmless);
        assert_eq!(elements(&page), elements(&plain), "{text:?}");
        assert_eq!(html.matches("<script").count(), harmless.matches("<script").count(), "{text:?}");
        assert!(!html.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{text:?}");
        assert!(data.is_object());
    }
}

#[test]
fn hostile_texts_stay_texts() {
    for text in [
        "</script><script>alert(1)</script>",
        "</title></style><!--",
        "\"><img src=x onerror=alert(1)>",
        "' onmouseover='alert(1)",
        "@@script@@ @@data@@",
        "javascript:alert(1)",
        "//evil.example/x",
        "a\u{0}b\u{1b}[31m\u{2028}\u{202e}gpj.exe",
        "頭 🧠 ü",
    ] {
        check(text);
    }
    let (_, data) = parts(&cohort("</script> \"頭\"").to_html().unwrap());
    assert_eq!(data["rows"][0]["n"], "</script> \"頭\"");
    assert_eq!(data["rows"][0]["r"][0]["l"], "%3C/script%3E%20%22%E9%A0%AD%22");
    // What is no number is none.
    assert!(data["rows"][0]["r"][0]["p"].is_null());
}

#[test]
fn pages_load_nothing() {
    for html in [cohort("x").to_html().unwrap(), case("x").to_html().unwrap()] {
        let (page, _) = parts(&html);
        // The name of a namespace is no address that is loaded.
        let page = page.replace("http://www.w3.org/2000/svg", "");
        for forbidden in
            ["http:", "https:", "<link", "<iframe", "@import", "url(", "fetch(", "XMLHttpRequest", "import("]
        {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        assert!(page.contains("default-src 'none'"));
        assert!(!page.contains("innerHTML"), "data are never read as markup");
        assert!(!page.contains("@@"), "every part of the frame is filled");
    }
}

#[test]
fn words_fit_what_is_shown() {
    let words = |content| {
        let mut page = CohortPage::new("t", content);
        page.rows.push(CohortRow::failed("a", "b"));
        parts(&page.to_html().unwrap()).1["words"].to_string()
    };
    assert!(
        words(CohortContent::Pictures).contains("pixels")
            && !words(CohortContent::Pictures).contains("patient")
    );
    assert!(
        words(CohortContent::Volumes).contains("voxels") && words(CohortContent::Volumes).contains("patient")
    );
}

#[test]
fn a_page_knows_which_side_is_left() {
    let mut page = case("x");
    for known in [false, true] {
        page.left_to_right = known;
        let (html, data) = parts(&page.to_html().unwrap());
        assert_eq!(data["left_to_right"], known);
        // Both letters are hidden until the script has read the data.
        for letter in ["L", "R"] {
            let edge = format!("<span class=\"edge\" aria-hidden=\"true\" hidden>{letter}</span>");
            assert!(html.contains(&edge), "{letter}");
        }
    }
}

#[test]
fn same_page_same_bytes() {
    assert_eq!(cohort("x").to_html().unwrap(), cohort("x").to_html().unwrap());
    assert_eq!(case("x").to_html().unwrap(), case("x").to_html().unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_stays_text(text in "\\PC{1,12}|[<>&\"'/ a=@!-]{1,20}") {
        check(&text);
    }
}

#[test]
fn rows_that_are_made_one_by_one_give_the_same_page() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    let row = |number: usize| CohortRow::new(format!("case <{number}> \u{2028}&"), [None]);
    let mut page = CohortPage::new("Cases", CohortContent::Volumes);
    page.predictors.push("pixel-l1".to_owned());
    page.rows.push(row(0));
    page.write_with(&path, Existing::Refuse, (1..5).map(|number| Ok(row(number)))).unwrap();
    page.rows.extend((1..5).map(row));
    let html = page.to_html().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), html);
    assert!(html.contains(r#""case \u003c4\u003e \u2028\u0026""#), "{html}");

    // An error leaves the earlier page.
    let rows = [Ok(row(5)), Err(io::Error::from(io::ErrorKind::StorageFull)), Ok(row(6))];
    let error = page.write_with(&path, Existing::Replace, rows).unwrap_err();
    assert!(matches!(error.kind(), WriteErrorKind::StorageFull { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), html);
}
