//! Compares the names of a model's channels with those of the images it is used on.

use lesio_io::ReadOptions;
use lesio_io::dataset::Case;

use crate::observer::{Notice, Observer};
use crate::subject::Subject;

/// Tells the observer ([`Notice::OtherChannel`]) if a model, whose channels have these names, has one channel with a name, such as `flair`, and all of
/// two or more cases have one with another, such as `t1c`. The model may still be valid for them: a file can be renamed.
/// Several channels are compared when a scan is scored, and are errors if they differ. Those of the fourth axis of a file
/// have no names to compare, which the observer is told as well ([`Notice::UnnamedChannels`]).
pub fn notice_other_channel(
    model: &[String],
    cases: &[Case],
    options: &ReadOptions,
    observer: &mut dyn Observer,
) {
    // A case has the names of its files, or those in the options.
    let unnamed = |case: &Case| case.is_volume() && case.channel_names(options).len() < model.len();
    if model.len() > 1 && options.has_channel_axis() && cases.iter().any(unnamed) {
        observer.notice(&Notice::UnnamedChannels { model });
    }
    let names = cases.iter().map(|case| only(case.channel_names(options)));
    if let ([model], Some(cases)) = (model, shared(names))
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

#[cfg(test)]
mod tests {
    use lesio_anomaly::{Localizer, Model, Provenance};
    use lesio_image::{Preprocessing, Scan};
    use lesio_io::dataset::Mask;
    use lesio_io::{FourthAxis, Matching};
    use lesio_nn::Device;
    use lesio_vae::{Vae, VaeConfig};

    use super::*;

    #[derive(Default)]
    struct Heard(Vec<String>);

    impl Observer for Heard {
        fn notice(&mut self, notice: &Notice<'_>) {
            self.0.push(format!("{notice:?}"));
        }
    }

    #[test]
    fn channels_without_names_are_told_once() {
        let vae = Vae::new(VaeConfig::new(2, 16, 16).widths([4]), 1.0, 7, &Device::Cpu).unwrap();
        let preprocessing = Preprocessing::new([16, 16]).fit([] as [Scan; 0]).unwrap();
        let made = Localizer::new(Model::Vae(vae.into()), preprocessing, Provenance::default()).unwrap();
        let named = made.clone().with_channel_names(["flair", "t1c"]).unwrap();
        let case = |files: &[&str]| Case::of_files("a", files, Mask::Unknown, Matching::default());
        let stacked = [case(&["a.nii"]), case(&["b.nii"])];
        let heard = |model: &Localizer, cases: &[Case], options: &ReadOptions| {
            let mut heard = Heard::default();
            notice_other_channel(model.channel_names(), cases, options, &mut heard);
            heard.0
        };
        let axis = ReadOptions::new().fourth_axis(FourthAxis::Channels);
        assert_eq!(heard(&named, &stacked, &axis), ["UnnamedChannels { model: [\"flair\", \"t1c\"] }"]);
        // Where there is nothing to compare, or channels have names, or there is but one.
        let told = axis.clone().channel_names(["flair", "t1c"]);
        let nothing = Vec::<String>::new();
        assert_eq!(heard(&made, &stacked, &axis), nothing);
        assert_eq!(heard(&named, &stacked, &told), nothing);
        assert_eq!(heard(&named, &stacked, &ReadOptions::new()), nothing);
        assert_eq!(heard(&named, &[case(&["flair.nii", "t1c.nii"])], &axis), nothing);
        assert_eq!(heard(&named, &[case(&["a.png"])], &axis), nothing);
    }
}
