//! Progress of long work: a bar on a terminal, occasional lines elsewhere.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle, WeakProgressBar};

use crate::output::note;

/// Time between two lines without a terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// The visible bar, which is hidden while something else is printed.
static SHOWN: Mutex<Option<WeakProgressBar>> = Mutex::new(None);

/// The progress of one task.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    what: String,
    started: Instant,
    /// When the progress was printed last as a line. Other lines do not count: there may be one for each case.
    last_line: Mutex<Instant>,
    pace: Mutex<Option<Pace>>,
}

/// The stage from which the remaining time is estimated: a task can have several of different lengths, and begin in the
/// middle of one that it resumes.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// When the first report of the stage came, and how much was done then.
    since: Instant,
    from: u64,
    /// The latest report.
    done: u64,
    all: u64,
}

impl Pace {
    /// Continues with another report, which begins another stage if the length differs or fewer parts are done.
    fn reported(before: Option<Self>, done: u64, all: u64, now: Instant) -> Self {
        match before {
            Some(pace) if pace.all == all && pace.done <= done => Self { done, ..pace },
            _ => Self { since: now, from: done, done, all },
        }
    }

    /// The remaining time, as text.
    fn left(&self, now: Instant) -> String {
        left(self.done - self.from, self.all.saturating_sub(self.from), (now - self.since).as_secs_f64())
    }
}

/// Starts to show the progress of a task of `parts` parts.
#[must_use]
pub fn bar(length: u64, what: &str) -> Progress {
    let bar = ProgressBar::new(length);
    let style = ProgressStyle::with_template("{msg:28} [{bar:30}] {pos}/{len} {elapsed} (left {eta})");
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(what.to_owned());
    *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.downgrade());
    let now = Instant::now();
    Progress { bar, what: what.to_owned(), started: now, last_line: Mutex::new(now), pace: Mutex::new(None) }
}

impl Progress {
    /// The number of parts.
    pub fn set_length(&self, length: u64) {
        self.bar.set_length(length);
    }

    /// Sets the number of finished parts.
    pub fn set_position(&self, position: u64) {
        self.bar.set_position(position);
        self.tell();
    }

    /// Adds to the number of finished parts.
    pub fn inc(&self, parts: u64) {
        self.bar.inc(parts);
        self.tell();
    }

    /// Sets the text beside the bar.
    pub fn set_message(&self, message: impl Into<String>) {
        self.bar.set_message(message.into());
    }

    /// Ends the task and removes the bar.
    pub fn finish_and_clear(&self) {
        self.bar.finish_and_clear();
    }

    /// Prints a line on standard error.
    pub fn line(&self, text: &str) {
        note(text);
    }

    /// Prints the progress as a line if there is no visible bar and enough time has passed.
    fn tell(&self) {
        if !self.bar.is_hidden() {
            return;
        }
        let now = Instant::now();
        let pace = {
            let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
            // Read while the others wait: the number of parts would seem to fall otherwise.
            let (done, all) = (self.bar.position(), self.bar.length().unwrap_or_default());
            let next = Pace::reported(*pace, done, all, now);
            *pace.insert(next)
        };
        let mut last = self.last_line.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() < BETWEEN_LINES {
            return;
        }
        *last = now;
        let spent = self.started.elapsed().as_secs_f64();
        note(&format!("{}: {} of {}, {spent:.0} s{}", self.what, pace.done, pace.all, pace.left(now)));
    }
}

/// The remaining time at the present pace, as text; empty at the beginning and the end.
fn left(done: u64, all: u64, spent: f64) -> String {
    if done == 0 || done >= all {
        return String::new();
    }
    let seconds = spent / done as f64 * (all - done) as f64;
    match seconds {
        0.0..120.0 => format!(", about {seconds:.0} s left"),
        120.0..7200.0 => format!(", about {:.0} min left", seconds / 60.0),
        _ => format!(", about {:.0} h left", seconds / 3600.0),
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Hides the bar while `print` runs.
pub(crate) fn suspended(print: impl FnOnce()) {
    let bar =
        SHOWN.lock().unwrap_or_else(PoisonError::into_inner).as_ref().and_then(WeakProgressBar::upgrade);
    match bar {
        Some(bar) if !bar.is_hidden() => bar.suspend(print),
        _ => print(),
    }
}

#[cfg(test)]
mod tests {
    use indicatif::ProgressDrawTarget;

    use super::*;

    #[test]
    fn the_time_left_is_in_units_that_people_use() {
        let found = [(0, 10, 5.0), (5, 10, 10.0), (1, 10, 60.0), (1, 100, 600.0), (10, 10, 5.0)]
            .map(|(done, all, spent)| left(done, all, spent));
        assert_eq!(found, ["", ", about 10 s left", ", about 9 min left", ", about 16 h left", ""]);
    }

    /// Without a terminal, a line for each case is no reason to say nothing of the others.
    #[test]
    fn lines_of_cases_do_not_delay_the_progress() {
        let progress = bar(9, "localizing");
        progress.bar.set_draw_target(ProgressDrawTarget::hidden());
        let last_line = || *progress.last_line.lock().unwrap();
        let due = Instant::now().checked_sub(BETWEEN_LINES).unwrap();
        *progress.last_line.lock().unwrap() = due;
        progress.line("a: results in maps/a");
        assert_eq!(last_line(), due);
        progress.set_position(1);
        let printed = last_line();
        assert!(printed > due);
        // At most one in ten seconds.
        progress.set_position(2);
        assert_eq!(last_line(), printed);
    }

    #[test]
    fn the_time_left_is_that_of_the_present_stage() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let reports = |all: &[(u64, u64, u64)]| {
            let fold = |pace, &(seconds, done, all): &(u64, u64, u64)| {
                Some(Pace::reported(pace, done, all, at(seconds)))
            };
            all.iter().fold(None, fold).unwrap().left(at(all.last().unwrap().0))
        };
        assert_eq!(reports(&[(1, 1, 101), (11, 11, 101)]), ", about 90 s left");
        // Resumed in the middle of a training.
        assert_eq!(reports(&[(1, 500, 600), (11, 510, 600)]), ", about 90 s left");
        // After a long stage of another length, and of the same one.
        assert_eq!(
            reports(&[(1, 1, 10), (9000, 10, 10), (9010, 1, 101), (9020, 11, 101)]),
            ", about 90 s left"
        );
        assert_eq!(
            reports(&[(1, 1, 101), (9000, 101, 101), (9010, 1, 101), (9020, 11, 101)]),
            ", about 90 s left"
        );
        // Nothing can be said at the beginning.
        assert_eq!(reports(&[(9000, 101, 101), (9010, 1, 101)]), "");
    }
}
