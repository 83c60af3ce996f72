//! Text from files, made safe for terminals and logs.

use std::fmt::{self, Write};

/// Displays a value with its control characters escaped, as in `\u{1b}` and `\n`.
///
/// File names and texts from files may contain characters that move a terminal's cursor, change its title or colors, or
/// start a line that looks like another message. The errors of this crate are displayed through this type; programs
/// should use it for any other text from a file. It escapes control characters (C0, DEL, C1), line and paragraph
/// separators, and bidirectional control characters.
///
/// ```
/// use lesio_io::Escaped;
///
/// assert_eq!(Escaped("scan\u{1b}[2J.nii").to_string(), "scan\\u{1b}[2J.nii");
/// assert_eq!(Escaped("Größe 3").to_string(), "Größe 3");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Escaped<T>(pub T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((place, character)) = rest.char_indices().find(|&(_, c)| is_unsafe(c)) {
            let (before, after) = rest.split_at(place);
            self.0.write_str(before)?;
            write!(self.0, "{}", character.escape_default())?;
            rest = after.get(character.len_utf8()..).unwrap_or_default();
        }
        self.0.write_str(rest)
    }
}

fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{61c}')
        || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_escaped_and_the_rest_is_not() {
        let cases = [
            ("plain.nii.gz", "plain.nii.gz"),
            ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
            ("two\r\nlines\t", "two\\r\\nlines\\t"),
            ("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}"),
            ("a\u{202e}gnp.exe\u{2028}", "a\\u{202e}gnp.exe\\u{2028}"),
            ("it's \"C:\\x\"", "it's \"C:\\x\""),
            ("\u{e4}\u{1f9e0} \u{65e5}\u{672c}", "\u{e4}\u{1f9e0} \u{65e5}\u{672c}"),
        ];
        for (text, expected) in cases {
            assert_eq!(Escaped(text).to_string(), expected);
        }
    }
}
