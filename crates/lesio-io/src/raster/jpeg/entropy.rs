//! Reads every code of a scan, to detect data that end too early.
//!
//! Nothing is decoded to pixels here. Codes are read as defined in ITU-T T.81 (F.2.2 for sequential scans, G.1.2 for
//! progressive ones). Only the state that later codes depend on is kept: which coefficients are not zero.

use super::super::budget::MemoryBudget;
use super::super::fault::damaged_jpeg as damaged;
use super::bits::{Bits, Table};
use crate::error::ReadErrorKind;

/// A component of the frame, and the state of its scans.
#[derive(Debug)]
pub(super) struct Component {
    pub(super) id: u8,
    /// Horizontal and vertical sampling.
    pub(super) factors: [usize; 2],
    pub(super) quantization: usize,
    /// Blocks, columns and rows, that hold pixels.
    size: [usize; 2],
    /// Blocks including the padding of the last units of interleaved scans.
    padded: [usize; 2],
    /// For each coefficient, the number of low bits still to come; `None` before its first scan.
    known: [Option<u8>; 64],
    /// Which coefficients of each block are not zero, in progressive frames.
    nonzero: Vec<u64>,
}

impl Component {
    pub(super) fn new(
        id: u8,
        factors: [usize; 2],
        most: [usize; 2],
        size: [usize; 2],
        quantization: usize,
    ) -> Self {
        let blocks = |axis: usize| (size[axis] * factors[axis]).div_ceil(8 * most[axis]);
        let padded = |axis: usize| size[axis].div_ceil(8 * most[axis]) * factors[axis];
        Self {
            id,
            factors,
            quantization,
            size: [blocks(0), blocks(1)],
            padded: [padded(0), padded(1)],
            known: [None; 64],
            nonzero: Vec::new(),
        }
    }

    /// Blocks that hold pixels.
    pub(super) fn blocks(&self) -> u64 {
        self.size[0] as u64 * self.size[1] as u64
    }

    pub(super) fn padded_blocks(&self) -> u64 {
        self.padded[0] as u64 * self.padded[1] as u64
    }

    /// Allocates the state of progressive scans.
    pub(super) fn remember(&mut self, budget: &mut MemoryBudget) -> Result<(), ReadErrorKind> {
        self.nonzero = budget.zeros(self.padded_blocks())?;
        Ok(())
    }

    /// The first coefficient that is incomplete after all scans.
    pub(super) fn missing(&self) -> Option<usize> {
        self.known.iter().position(|&bits| bits != Some(0))
    }
}

/// The Huffman tables in force.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) dc: [Option<Table>; 4],
    pub(super) ac: [Option<Table>; 4],
}

/// The header of a scan.
#[derive(Debug)]
pub(super) struct ScanHeader {
    /// Index of the component, of its tables for the first and for other coefficients.
    pub(super) components: Vec<(usize, usize, usize)>,
    first: usize,
    last: usize,
    /// Number of low bits still to come before this scan and after it.
    before: u8,
    after: u8,
    is_progressive: bool,
}

impl ScanHeader {
    pub(super) fn read(
        header: &[u8],
        components: &[Component],
        is_progressive: bool,
    ) -> Result<Self, ReadErrorKind> {
        let cut = || damaged("the header of a scan is cut short");
        let (&count, rest) = header.split_first().ok_or_else(cut)?;
        let (list, rest) = rest.split_at_checked(2 * usize::from(count)).ok_or_else(cut)?;
        let [first, last, bits] = rest else { return Err(cut()) };
        let mut chosen: Vec<(usize, usize, usize)> = Vec::new();
        for [id, tables] in list.as_chunks::<2>().0 {
            let index = components.iter().position(|component| component.id == *id);
            let index = index
                .ok_or_else(|| damaged(format!("a scan has component {id}, which is not in the frame")))?;
            // Components of a scan are in the order of the frame.
            if chosen.last().is_some_and(|&(before, _, _)| before >= index) {
                return Err(damaged("the components of a scan are not in the order of the frame"));
            }
            chosen.push((index, usize::from(tables >> 4), usize::from(tables & 15)));
        }
        if chosen.is_empty() {
            return Err(damaged("a scan has no component"));
        }
        let scan = if is_progressive {
            let (before, after) = (bits >> 4, bits & 15);
            Self {
                components: chosen,
                first: (*first).into(),
                last: (*last).into(),
                before,
                after,
                is_progressive,
            }
        } else {
            // Sequential scans always contain whole blocks; these fields have no effect.
            Self { components: chosen, first: 0, last: 63, before: 0, after: 0, is_progressive }
        };
        let is_right = if scan.first == 0 {
            scan.last == 0 || !is_progressive
        } else {
            scan.first <= scan.last && scan.last < 64 && scan.components.len() == 1
        };
        if !is_right || scan.after > 13 || scan.before > 0 && scan.before != scan.after + 1 {
            return Err(damaged("the header of a scan has an invalid range of coefficients"));
        }
        Ok(scan)
    }

    /// Checks that this scan is a valid successor of the previous ones, and updates their state.
    pub(super) fn check_order(&self, components: &mut [Component]) -> Result<(), ReadErrorKind> {
        for &(index, _, _) in &self.components {
            let Some(component) = components.get_mut(index) else { continue };
            let first_known = component.known[0];
            for known in component.known.get_mut(self.first..=self.last).unwrap_or_default() {
                let follows = match (*known, self.before) {
                    (None, 0) => true,
                    (Some(bits), before) => before > 0 && bits == before,
                    (None, _) => false,
                };
                if !follows || self.first > 0 && first_known.is_none() {
                    return Err(damaged("a scan repeats another, or refines one that is missing"));
                }
                *known = Some(self.after);
            }
        }
        Ok(())
    }

    /// Reads all codes from `at`, and returns the position of their end.
    pub(super) fn walk(
        &self,
        components: &mut [Component],
        tables: &Tables,
        restart: usize,
        bytes: &[u8],
        at: usize,
    ) -> Result<usize, ReadErrorKind> {
        let mut bits = Bits::new(bytes, at);
        let mut run = 0_u32;
        // The blocks of a scan of one component are in rows; a scan of several has units with blocks of each component.
        let (units, is_single) = match self.components.as_slice() {
            [(index, _, _)] => (components.get(*index).map_or([0, 0], |component| component.size), true),
            list => {
                let unit =
                    |component: &Component, axis: usize| component.padded[axis] / component.factors[axis];
                let first = list.first().and_then(|(index, _, _)| components.get(*index));
                (first.map_or([0, 0], |component| [unit(component, 0), unit(component, 1)]), false)
            }
        };
        let mut left = restart;
        let mut number = 0_u8;
        for row in 0..units[1] {
            for column in 0..units[0] {
                if restart > 0 && left == 0 {
                    bits.restart(number)?;
                    (left, number, run) = (restart, (number + 1) % 8, 0);
                }
                left = left.saturating_sub(1);
                for &(index, dc, ac) in &self.components {
                    let Some(component) = components.get_mut(index) else { continue };
                    let [across, down] = if is_single { [1, 1] } else { component.factors };
                    let dc = tables.dc.get(dc).and_then(Option::as_ref);
                    let ac = tables.ac.get(ac).and_then(Option::as_ref);
                    for block in 0..across * down {
                        let place = (row * down + block / across) * component.padded[0]
                            + column * across
                            + block % across;
                        let mut none = 0;
                        let nonzero = component.nonzero.get_mut(place).unwrap_or(&mut none);
                        self.block(&mut bits, dc, ac, nonzero, &mut run)?;
                    }
                }
            }
        }
        bits.end()
    }

    fn block(
        &self,
        bits: &mut Bits,
        dc: Option<&Table>,
        ac: Option<&Table>,
        nonzero: &mut u64,
        run: &mut u32,
    ) -> Result<(), ReadErrorKind> {
        let dc = || dc.ok_or_else(|| damaged("a Huffman table is missing"));
        let ac = || ac.ok_or_else(|| damaged("a Huffman table is missing"));
        if self.first == 0 {
            if self.before > 0 {
                bits.take(1)?;
            } else {
                let size = bits.symbol(dc()?)?;
                if size > 15 {
                    return Err(damaged(format!("a difference has {size} bits")));
                }
                bits.take(u32::from(size))?;
            }
        }
        if !self.is_progressive {
            return sequential(bits, ac()?);
        }
        if self.first == 0 {
            return Ok(());
        }
        if self.before == 0 {
            self.first_bits(bits, ac()?, nonzero, run)
        } else {
            self.next_bit(bits, ac()?, nonzero, run)
        }
    }

    /// The first bits of some coefficients.
    fn first_bits(
        &self,
        bits: &mut Bits,
        table: &Table,
        nonzero: &mut u64,
        run: &mut u32,
    ) -> Result<(), ReadErrorKind> {
        if *run > 0 {
            *run -= 1;
            return Ok(());
        }
        let mut place = self.first;
        while place <= self.last {
            let symbol = bits.symbol(table)?;
            let (zeros, size) = (symbol >> 4, symbol & 15);
            match (zeros, size) {
                (15, 0) => place += 16,
                (zeros, 0) => {
                    *run = (1 << zeros) - 1 + bits.take(u32::from(zeros))?;
                    return Ok(());
                }
                _ => {
                    place += usize::from(zeros);
                    if place > self.last {
                        return Err(damaged("a run of zeros leaves its block"));
                    }
                    bits.take(u32::from(size))?;
                    *nonzero |= 1 << place;
                    place += 1;
                }
            }
        }
        Ok(())
    }

    /// Refines nonzero coefficients by one bit, and adds new nonzero coefficients.
    fn next_bit(
        &self,
        bits: &mut Bits,
        table: &Table,
        nonzero: &mut u64,
        run: &mut u32,
    ) -> Result<(), ReadErrorKind> {
        let mut place = self.first;
        while *run == 0 && place <= self.last {
            let symbol = bits.symbol(table)?;
            let (mut zeros, size) = (symbol >> 4, symbol & 15);
            match (zeros, size) {
                (15, 0) | (_, 1) => {
                    if size == 1 {
                        bits.take(1)?;
                    }
                }
                (zeros, 0) => {
                    *run = (1 << zeros) + bits.take(u32::from(zeros))?;
                    break;
                }
                _ => return Err(damaged("a coefficient is refined by more than a bit")),
            }
            while place <= self.last {
                if *nonzero & (1 << place) != 0 {
                    bits.take(1)?;
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                place += 1;
            }
            if size == 1 {
                if place > self.last {
                    return Err(damaged("a run of zeros leaves its block"));
                }
                *nonzero |= 1 << place;
            }
            place += 1;
        }
        if *run > 0 {
            let rest = (place..=self.last).filter(|place| *nonzero & (1 << place) != 0).count();
            for _ in 0..rest {
                bits.take(1)?;
            }
            *run -= 1;
        }
        Ok(())
    }
}

/// All coefficients of a block but the first.
fn sequential(bits: &mut Bits, table: &Table) -> Result<(), ReadErrorKind> {
    let mut place = 1;
    while place < 64 {
        let symbol = bits.symbol(table)?;
        let (zeros, size) = (usize::from(symbol >> 4), symbol & 15);
        match (zeros, size) {
            (15, 0) => place += 16,
            (_, 0) => break,
            _ => {
                place += zeros;
                if place > 63 {
                    return Err(damaged("a run of zeros leaves its block"));
                }
                bits.take(u32::from(size))?;
                place += 1;
            }
        }
    }
    Ok(())
}
