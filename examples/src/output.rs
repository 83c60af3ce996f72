//! Text for the terminal: results on standard output, warnings on standard error.
//!
//! A failure to print never stops a program. If standard output is closed (`| head`), printing ends silently; any other
//! failure of standard output is reported once. Control characters, which file names may contain, are escaped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use lesio::io::Escaped;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::progress;

/// Prints a line of results on standard output, as `println!` does, and never panics.
#[macro_export]
macro_rules! say {
    () => { $crate::output::print("") };
    ($($argument:tt)*) => { $crate::output::print(&format!($($argument)*)) };
}

/// Whether standard output has failed. After that, nothing more is printed.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Prints a line on standard output.
pub fn print(text: &str) {
    if CLOSED.load(Ordering::Relaxed) {
        return;
    }
    let mut line = escaped(text);
    line.push('\n');
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(line.as_bytes()).and_then(|()| out.flush()) {
        CLOSED.store(true, Ordering::Relaxed);
        if error.kind() != io::ErrorKind::BrokenPipe {
            warn(&format!(
                "standard output: {error}; nothing more is printed, and results are still written"
            ));
        }
    }
}

/// Prints a line on standard error. A failure is ignored, since there is no other place to report it.
pub fn note(text: &str) {
    let text = escaped(text);
    progress::suspended(|| {
        let _ = writeln!(io::stderr().lock(), "{text}");
    });
}

/// Prints a warning on standard error.
pub fn warn(text: &str) {
    note(&format!("warning: {text}"));
}

/// Replaces control characters in a text by escapes such as `\u{1b}`. Keeps line breaks and tabs.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            // Bidirectional control characters can make one name look like another.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(shown, "{}", character.escape_unicode());
            }
            _ if character.is_control() => {
                let _ = write!(shown, "{}", character.escape_unicode());
            }
            _ => shown.push(character),
        }
    }
    shown
}

/// Returns a name on one line: as [`escaped`], and line breaks and tabs are escaped too.
#[must_use]
pub fn one_line(text: &str) -> String {
    escaped(text).replace('\n', "\\n").replace('\t', "\\t")
}

/// Returns JSON on one line, with all control characters escaped for a terminal.
#[must_use]
pub fn json_line(value: &Value) -> String {
    let mut line = String::new();
    for character in value.to_string().chars() {
        // JSON itself escapes the characters below.
        if character > '~' && Escaped(character).to_string().starts_with('\\') {
            let _ = write!(line, "\\u{:04x}", u32::from(character));
        } else {
            line.push(character);
        }
    }
    line + "\n"
}

/// Number of warnings of one kind that are shown; further ones are only counted.
const SHOWN: usize = 5;

/// Number of warnings so far, by their place in the code.
static WARNINGS: Mutex<BTreeMap<(&'static str, u32), usize>> = Mutex::new(BTreeMap::new());

/// The warnings that were told.
static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Starts showing the libraries' warnings on standard error.
pub fn show_warnings() {
    // A second call, in tests, finds the first one's subscriber in place.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Warnings));
}

/// Prints the number of warnings that were not shown.
pub fn count_hidden_warnings() {
    let warnings = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner);
    let hidden: usize = warnings.values().map(|count| count.saturating_sub(SHOWN)).sum();
    if hidden > 0 {
        warn(&not_shown(hidden));
    }
}

fn not_shown(hidden: usize) -> String {
    match hidden {
        1 => "1 more warning of the same kind was not shown".to_owned(),
        hidden => format!("{hidden} more warnings of the same kinds were not shown"),
    }
}

/// Passes on the warnings and errors of lesio's own crates.
struct Warnings;

impl<S: Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let origin = event.metadata();
        if *origin.level() > Level::WARN || !origin.target().starts_with("lesio") {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let text = text.finish();
        // A file that is read twice is told once.
        if !TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(text.clone()) {
            return;
        }
        let place = (origin.file().unwrap_or_default(), origin.line().unwrap_or_default());
        let earlier = {
            let mut warnings = WARNINGS.lock().unwrap_or_else(PoisonError::into_inner);
            let count = warnings.entry(place).or_default();
            *count += 1;
            *count - 1
        };
        if earlier < SHOWN {
            warn(&text);
        }
    }
}

/// The message of an event, and its other fields.
#[derive(Default)]
struct Text {
    message: String,
    fields: Vec<String>,
}

impl Text {
    fn finish(self) -> String {
        if self.fields.is_empty() {
            self.message
        } else {
            format!("{} ({})", self.message, self.fields.join(", "))
        }
    }
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.fields.push(format!("{name}: {value:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_hidden_warning_is_no_plural() {
        assert_eq!(not_shown(1), "1 more warning of the same kind was not shown");
        assert_eq!(not_shown(2), "2 more warnings of the same kinds were not shown");
    }

    #[test]
    fn what_controls_a_terminal_is_escaped() {
        assert_eq!(escaped("scan\u{1b}[2J\r\u{9b}31m.nii"), "scan\\u{1b}[2J\\u{d}\\u{9b}31m.nii");
        assert_eq!(escaped("cod\u{202e}gnp.exe"), "cod\\u{202e}gnp.exe");
        assert_eq!(escaped("Schädel 頭\t|\n"), "Schädel 頭\t|\n");
    }
}
