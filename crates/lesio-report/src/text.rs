//! Makes foreign text safe to display.

/// A text without characters that HTML and XML do not allow: control characters but tab and line
/// feed become U+FFFD. So do bidirectional control characters, which can make one file name look like
/// another.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\t' | '\n' => character,
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
            _ if character.is_control() => '\u{fffd}',
            _ => character,
        })
        .collect()
}

/// Escapes a text for an HTML or SVG element, or for an attribute in either kind of quotes.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in printable(text).chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(character),
        }
    }
    safe
}

/// Approximate width of a text in a sans-serif font, rather too large than too small.
pub(crate) fn estimated_width(text: &str, font_size: f64) -> f64 {
    let widths = text.chars().map(|character| match character {
        'i' | 'j' | 'l' | 't' | 'f' | 'r' | 'I' | ' ' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | '('
        | ')' | '[' | ']' | '/' | '-' => 0.37,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 0.92,
        '0'..='9' => 0.58,
        _ if character.is_lowercase() => 0.58,
        _ if character.is_ascii() => 0.70,
        _ => 1.0,
    });
    widths.sum::<f64>() * font_size
}

/// Shortens a text to approximately `width`, with an ellipsis if it was shortened.
pub(crate) fn shortened(text: &str, font_size: f64, width: f64) -> String {
    if estimated_width(text, font_size) <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    for character in text.chars() {
        short.push(character);
        if estimated_width(&short, font_size) + font_size > width {
            short.pop();
            break;
        }
    }
    short + "\u{2026}"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_is_only_text() {
        assert_eq!(
            escaped("</title><script>alert('x') & \"y\"</script>"),
            "&lt;/title&gt;&lt;script&gt;alert(&#39;x&#39;) &amp; &quot;y&quot;&lt;/script&gt;"
        );
        assert_eq!(
            escaped("a\u{0}b\u{1b}[31m\u{202e}gpj.exe\r\n"),
            "a\u{fffd}b\u{fffd}[31m\u{fffd}gpj.exe\u{fffd}\n"
        );
    }

    #[test]
    fn shortening_keeps_what_fits() {
        assert_eq!(shortened("pixel-l1", 12.0, 200.0), "pixel-l1");
        let short = shortened(&"x".repeat(100), 12.0, 60.0);
        assert!(short.ends_with('\u{2026}') && (4..=8).contains(&short.chars().count()), "{short}");
        assert!(estimated_width("WWW", 10.0) > estimated_width("iii", 10.0));
    }
}
