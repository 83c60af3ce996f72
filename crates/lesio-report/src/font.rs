//! A bitmap font for labels inside PNG files, so that they do not depend on the fonts of a machine.
//!
//! `font.txt` shows the glyphs: the characters from space to `~`, and a box for any other character, 16 in a row, each
//! 5 pixels wide and 9 high (7 above the base line).

use std::sync::OnceLock;

const GLYPH_WIDTH: usize = 5;
const GLYPH_ROWS: usize = 9;
const GLYPHS_PER_LINE: usize = 16;
const GLYPHS: usize = 96;

/// Height of a line of text in pixels, with the space below it.
pub(crate) const LINE_HEIGHT: usize = 11;

/// Distance between the left edges of neighboring characters.
pub(crate) const ADVANCE: usize = GLYPH_WIDTH + 1;

/// Width of a text in pixels, without the space after its last character.
pub(crate) fn text_width(text: &str) -> usize {
    (text.chars().count() * ADVANCE).saturating_sub(1)
}

/// The longest prefix of a text that fits into `width` pixels; a shortened text ends in two dots.
pub(crate) fn fitted(text: &str, width: usize) -> String {
    if text_width(text) <= width {
        return text.to_owned();
    }
    let room = (width + 1) / ADVANCE;
    text.chars().take(room.saturating_sub(2)).chain("..".chars()).take(room).collect()
}

/// The inked pixels `(row, column)` of a text with its upper left corner at the origin.
pub(crate) fn inked_pixels(text: &str) -> impl Iterator<Item = (usize, usize)> {
    text.chars().enumerate().flat_map(|(position, character)| {
        let glyph = glyph(character);
        (0..GLYPH_ROWS).flat_map(move |row| {
            (0..GLYPH_WIDTH)
                .filter(move |x| glyph[row] & (1 << x) != 0)
                .map(move |x| (row, position * ADVANCE + x))
        })
    })
}

/// Rows of a character's picture; bit `x` is the pixel in column `x`.
fn glyph(character: char) -> [u8; GLYPH_ROWS] {
    static FONT: OnceLock<[[u8; GLYPH_ROWS]; GLYPHS]> = OnceLock::new();
    let index = match character {
        // Dashes and the minus sign have the shape of a hyphen here.
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-' as usize - ' ' as usize,
        ' '..='~' => character as usize - ' ' as usize,
        _ => GLYPHS - 1,
    };
    FONT.get_or_init(|| {
        let mut font = [[0; GLYPH_ROWS]; GLYPHS];
        for (line, text) in include_str!("font.txt").lines().filter(|line| !line.is_empty()).enumerate() {
            let (block, row) = (line / GLYPH_ROWS, line % GLYPH_ROWS);
            for (i, pixels) in text.split(' ').enumerate() {
                for (x, pixel) in pixels.chars().enumerate() {
                    font[block * GLYPHS_PER_LINE + i][row] |= u8::from(pixel == '#') << x;
                }
            }
        }
        font
    })[index]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_has_its_own_picture() {
        let lines: Vec<_> = include_str!("font.txt").lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines.len(), GLYPHS / GLYPHS_PER_LINE * GLYPH_ROWS);
        assert!(lines.iter().all(|line| line.len() == GLYPHS_PER_LINE * ADVANCE - 1));
        let glyphs: std::collections::BTreeSet<_> = (' '..='~').map(glyph).collect();
        assert_eq!(glyphs.len(), GLYPHS - 1, "two characters look alike");
        assert_eq!(glyph('é'), glyph('\u{7f}'));
    }

    #[test]
    fn an_l_is_a_stem_and_a_foot() {
        let mut expected: Vec<_> = (0..6).map(|row| (row, 0)).collect();
        expected.extend((0..5).map(|column| (6, column)));
        assert_eq!(inked_pixels("L").collect::<Vec<_>>(), expected);
    }

    #[test]
    fn long_texts_end_in_dots() {
        assert_eq!(text_width("abc"), 17);
        assert_eq!(fitted("abc", 17), "abc");
        assert_eq!(fitted("abcdef", 23), "ab..");
        assert_eq!(fitted("abcdef", 0), "");
    }
}
