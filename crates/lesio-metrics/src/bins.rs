//! What each patient has in each bin of scores, in memory or in a scratch.

use rayon::prelude::*;

use crate::error::MetricError;
use crate::scratch::{Place, Scratch, damaged, pull, push};

/// Patients that are decoded at once: fixed, so that memory does not depend on the number of threads.
const AT_ONCE: usize = 64;

/// What one patient has in each bin of a grid.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PatientBins {
    positives: Values<u32>,
    negatives: Values<u32>,
    /// Sum over regions of the fraction of the region in the bin.
    overlap: Values<f64>,
    regions: u64,
}

/// One value for each bin, in the form that takes less memory: most patients have pixels in few bins.
#[derive(Clone, Debug, PartialEq)]
enum Values<T> {
    All(Vec<T>),
    /// Those that are not zero, with their bins.
    Some(Vec<(u16, T)>),
}

impl<T: Copy + Default + PartialEq> Values<T> {
    fn new(values: Vec<T>) -> Self {
        let some = || values.iter().enumerate().filter(|(_, value)| **value != T::default());
        // A grid has at most 4097 bins.
        if some().count() * size_of::<(u16, T)>() < values.len() * size_of::<T>() {
            Self::Some(some().map(|(bin, &value)| (bin as u16, value)).collect())
        } else {
            Self::All(values)
        }
    }

    /// Calls `add` with the bins and values that are not zero, and perhaps with others.
    fn each(&self, mut add: impl FnMut(usize, T)) {
        match self {
            Self::All(values) => values.iter().enumerate().for_each(|(bin, &value)| add(bin, value)),
            Self::Some(values) => values.iter().for_each(|&(bin, value)| add(usize::from(bin), value)),
        }
    }

    fn encode(&self, bits: impl Fn(T) -> u64, bytes: &mut Vec<u8>) {
        let mut count = 0u64;
        self.each(|_, value| count += u64::from(value != T::default()));
        push(count, bytes);
        let mut next = 0;
        self.each(|bin, value| {
            if value != T::default() {
                push((bin - next) as u64, bytes);
                push(bits(value), bytes);
                next = bin + 1;
            }
        });
    }

    /// Values of so many bins; `None` for bytes that [`Values::encode`] did not write.
    fn decode(bins: usize, of: impl Fn(u64) -> Option<T>, bytes: &mut &[u8]) -> Option<Self> {
        let mut values = vec![T::default(); bins];
        let mut next = 0usize;
        for _ in 0..pull(bytes)? {
            let bin = next.checked_add(usize::try_from(pull(bytes)?).ok()?)?;
            *values.get_mut(bin)? = of(pull(bytes)?)?;
            next = bin + 1;
        }
        Some(Self::new(values))
    }
}

impl PatientBins {
    /// Numbers of pixels of either class and, where regions are measured, the sum over regions of the fraction of the
    /// region, by bin; empty for what is not measured.
    pub(crate) fn new(positives: Vec<u32>, negatives: Vec<u32>, overlap: Vec<f64>, regions: u64) -> Self {
        let (positives, negatives) = (Values::new(positives), Values::new(negatives));
        Self { positives, negatives, overlap: Values::new(overlap), regions }
    }

    /// Appends the values to the scratch.
    pub(crate) fn store(&self, scratch: &mut Scratch) -> Result<Place, MetricError> {
        let mut bytes = Vec::new();
        self.positives.encode(u64::from, &mut bytes);
        self.negatives.encode(u64::from, &mut bytes);
        // Fractions have few digits in their lower half, so the upper half goes first.
        self.overlap.encode(|sum| sum.to_bits().swap_bytes(), &mut bytes);
        push(self.regions, &mut bytes);
        scratch.keep(&bytes)
    }

    fn decode(bins: usize, mut bytes: &[u8]) -> Option<Self> {
        let count = |bits: u64| u32::try_from(bits).ok();
        Some(Self {
            positives: Values::decode(bins, count, &mut bytes)?,
            negatives: Values::decode(bins, count, &mut bytes)?,
            overlap: Values::decode(bins, |bits| Some(f64::from_bits(bits.swap_bytes())), &mut bytes)?,
            regions: pull(&mut bytes)?,
        })
    }
}

/// Sums over patients, each as often as it was drawn.
#[derive(Clone, Debug)]
pub(crate) struct BinSums {
    pub(crate) positives: Vec<u64>,
    pub(crate) negatives: Vec<u64>,
    pub(crate) overlap: Vec<f64>,
    pub(crate) regions: u64,
}

impl BinSums {
    pub(crate) fn new(bins: usize) -> Self {
        Self { positives: vec![0; bins], negatives: vec![0; bins], overlap: vec![0.0; bins], regions: 0 }
    }

    pub(crate) fn add(&mut self, patient: &PatientBins, times: u32) {
        let drawn = u64::from(times);
        patient.positives.each(|bin, count| self.positives[bin] += u64::from(count) * drawn);
        patient.negatives.each(|bin, count| self.negatives[bin] += u64::from(count) * drawn);
        patient.overlap.each(|bin, part| self.overlap[bin] += f64::from(times) * part);
        self.regions += patient.regions * drawn;
    }
}

/// The patients that are resampled, in their order, a few at a time.
pub(crate) trait BinnedPatients {
    fn each_few(&mut self, each: impl FnMut(&[PatientBins])) -> Result<(), MetricError>;
}

impl BinnedPatients for &[PatientBins] {
    fn each_few(&mut self, mut each: impl FnMut(&[PatientBins])) -> Result<(), MetricError> {
        each(self);
        Ok(())
    }
}

/// Patients in a scratch.
pub(crate) struct StoredPatients<'a> {
    scratch: &'a mut Scratch,
    places: &'a [Place],
    /// Bins of each patient.
    bins: usize,
    /// The patients, if there are so few that they are decoded once.
    decoded: Option<Vec<PatientBins>>,
}

impl<'a> StoredPatients<'a> {
    pub(crate) fn new(scratch: &'a mut Scratch, places: &'a [Place], bins: usize) -> Self {
        Self { scratch, places, bins, decoded: None }
    }

    fn decode(&mut self, places: &[Place]) -> Result<Vec<PatientBins>, MetricError> {
        let encoded: Vec<Vec<u8>> =
            places.iter().map(|&place| self.scratch.kept(place)).collect::<Result<_, _>>()?;
        let decode = |bytes: Vec<u8>| PatientBins::decode(self.bins, &bytes);
        let patients: Option<Vec<PatientBins>> = encoded.into_par_iter().map(decode).collect();
        patients.ok_or_else(damaged)
    }
}

impl BinnedPatients for StoredPatients<'_> {
    fn each_few(&mut self, mut each: impl FnMut(&[PatientBins])) -> Result<(), MetricError> {
        if self.decoded.is_none() && self.places.len() <= AT_ONCE {
            self.decoded = Some(self.decode(self.places)?);
        }
        match &self.decoded {
            Some(patients) => each(patients),
            None => {
                for places in self.places.chunks(AT_ONCE) {
                    each(&self.decode(places)?);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn any_values<T: Clone + std::fmt::Debug + Default>(
        value: impl Strategy<Value = T>,
        bins: usize,
    ) -> impl Strategy<Value = Vec<T>> {
        let value = prop::option::weighted(0.4, value);
        prop::collection::vec(value.prop_map(Option::unwrap_or_default), bins)
    }

    fn any_patient(bins: usize) -> impl Strategy<Value = PatientBins> {
        let (positives, negatives) = (any_values(any::<u32>(), bins), any_values(0u32..9, bins));
        (positives, negatives, any_values(0.0f64..3.0, bins), any::<u64>()).prop_map(
            |(positives, negatives, overlap, regions)| {
                PatientBins::new(positives, negatives, overlap, regions)
            },
        )
    }

    proptest! {
        #[test]
        fn patients_are_read_as_they_were_stored(patients in prop::collection::vec(any_patient(9), 0..150)) {
            let mut scratch = Scratch::new(Cursor::new(Vec::new()));
            let places: Vec<Place> = patients.iter().map(|patient| patient.store(&mut scratch).unwrap()).collect();
            let mut read = Vec::new();
            let mut stored = StoredPatients::new(&mut scratch, &places, 9);
            stored.each_few(|few| read.extend_from_slice(few)).unwrap();
            prop_assert_eq!(&read, &patients);
            // Values of more bins than there are cannot have been stored.
            let empty = |patient: &PatientBins| {
                *patient == PatientBins::new(vec![0; 9], vec![0; 9], vec![0.0; 9], patient.regions)
            };
            let mut other = StoredPatients::new(&mut scratch, &places, 0);
            prop_assert_eq!(other.each_few(|_| ()).is_ok(), patients.iter().all(empty));
        }

        #[test]
        fn any_bytes_are_patients_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(patient) = PatientBins::decode(9, &bytes) {
                BinSums::new(9).add(&patient, 0);
            }
        }
    }
}
