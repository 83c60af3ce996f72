//! Compares the name of a model's only channel with that of the images it is used on.

use lesio_anomaly::Localizer;
use lesio_io::ReadOptions;
use lesio_io::dataset::Case;

use crate::observer::{Notice, Observer};
use crate::subject::Subject;

/// Tells the observer ([`Notice::OtherChannel`]) if the model has one channel with a name, such as `flair`, and all of
/// two or more cases have one with another, such as `t1c`. The model may still be valid for them: a file can be renamed.
/// Several channels are compared when a scan is scored, and are errors if they differ.
pub fn notice_other_channel(
    localizer: &Localizer,
    cases: &[Case],
    options: &ReadOptions,
    observer: &mut dyn Observer,
) {
    let names = cases.iter().map(|case| only(case.channel_names(options)));
    if let ([model], Some(cases)) = (localizer.channel_names(), shared(names))
        && *model != cases
    {
        observer.notice(&Notice::OtherChannel { model, cases: &cases });
    }
}

/// The channel names of a model of these subjects: a single one only if all of two or more subjects have it, since the
/// names of other files say nothing.
pub(crate) fn model_channels(subjects: &[Subject]) -> Vec<String> {
    let names = subjects.first().map(|subject| subject.scan.names()).unwrap_or_default();
    match names.len() {
        1 => shared(subjects.iter().map(|subject| only(subject.scan.names().to_vec()))).into_iter().collect(),
        _ => names.to_vec(),
    }
}

fn only(names: Vec<String>) -> Option<String> {
    <[String; 1]>::try_from(names).ok().map(|[name]| name)
}

/// The name that two or more of them, and all of them, have.
fn shared(mut names: impl ExactSizeIterator<Item = Option<String>>) -> Option<String> {
    let several = names.len() > 1;
    let first = names.next()??;
    (several && names.all(|name| name.as_ref() == Some(&first))).then_some(first)
}
