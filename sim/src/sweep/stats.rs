//! What the runs of one cell come to, and what theory says about it.

use super::grid::{Act, Cell};
use super::measure::Row;
use super::theory::FixedDeadtime;
use crate::plan::time::parse;
use std::time::Duration;

/// The way of a packet in the usual network, in seconds: 150 us to 250 us.
const USUAL_DELAY: f64 = 200e-6;

/// Measures of many runs, in ascending order, in seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// Of microseconds in any order.
    pub(crate) fn of_micros(micros: impl Iterator<Item = u64>) -> Sample {
        let mut micros: Vec<u64> = micros.collect();
        micros.sort_unstable();
        Sample(micros.into_iter().map(seconds).collect())
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mean; zero of none.
    pub fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / count(self.0.len().max(1))
    }

    /// The least value that so many parts in a thousand do not exceed (nearest rank); zero of none.
    pub fn quantile(&self, thousandths: usize) -> f64 {
        let rank = (self.0.len() * thousandths).div_ceil(1000).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    /// The largest; zero of none.
    pub fn max(&self) -> f64 {
        self.0.last().copied().unwrap_or_default()
    }

    /// The largest distance between the distribution of these values and another one (Kolmogorov).
    ///
    /// Values that are equal are one step: only its ends are compared.
    pub fn distance(&self, within: impl Fn(f64) -> f64) -> f64 {
        let all = count(self.0.len().max(1));
        let mut far: f64 = 0.0;
        let mut below = 0;
        for equal in self.0.chunk_by(|a, b| a.total_cmp(b).is_eq()) {
            let (value, upto) = (equal[0], below + equal.len());
            // Just before a value the other distribution may have a step of its own, at zero.
            let before = if value > 0.0 { within(value) } else { 0.0 };
            far = far.max((before - count(below) / all).abs()).max((within(value) - count(upto) / all).abs());
            below = upto;
        }
        far
    }

    /// All values, ascending.
    pub fn values(&self) -> &[f64] {
        &self.0
    }
}

/// What came of a cell. Spans are in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The cell.
    pub cell: Cell,
    /// How many runs there were.
    pub runs: usize,
    /// In how many the pair did not even settle; those count for nothing else.
    pub unsettled: usize,
    /// Violated checks in all runs.
    pub violations: u64,
    /// Detection times.
    pub detection: Sample,
    /// Times until the other node served.
    pub takeover: Sample,
    pub(crate) outage: Sample,
    pub(crate) overlap: Sample,
    /// How many mistakes there were.
    pub mistakes: u64,
    /// How long they lasted together.
    pub mistaken: f64,
    /// How long reachable nodes were observed together.
    pub observed: f64,
}

impl Summary {
    /// Sums the runs of a cell up.
    pub fn new(cell: &Cell, rows: &[Row]) -> Summary {
        let settled = || rows.iter().filter(|row| row.settled);
        let sum = |of: fn(&Row) -> u64| settled().map(of).sum::<u64>();
        Summary {
            cell: cell.clone(),
            runs: rows.len(),
            unsettled: rows.len() - settled().count(),
            violations: rows.iter().map(|row| row.violations).sum(),
            detection: Sample::of_micros(settled().filter_map(|row| row.detection)),
            takeover: Sample::of_micros(settled().filter_map(|row| row.takeover)),
            outage: Sample::of_micros(settled().map(|row| row.outage)),
            overlap: Sample::of_micros(settled().map(|row| row.overlap)),
            mistakes: sum(|row| row.mistakes),
            mistaken: seconds(sum(|row| row.mistaken)),
            observed: seconds(sum(|row| row.observed)),
        }
    }

    /// Longest outages.
    pub fn outage(&self) -> &Sample {
        &self.outage
    }

    /// Overlaps.
    pub fn overlap(&self) -> &Sample {
        &self.overlap
    }

    /// Mistakes of one observer of one node in an hour.
    pub fn mistakes_an_hour(&self) -> Option<f64> {
        (self.observed > 0.0).then(|| precise(self.mistakes) / self.observed * 3600.0)
    }

    /// The mean duration of a mistake, in seconds.
    pub fn mistake_duration(&self) -> Option<f64> {
        (self.mistakes > 0).then(|| self.mistaken / precise(self.mistakes))
    }

    /// What theory can say: nothing where the delay of packets varies much.
    pub fn theory(&self) -> Option<FixedDeadtime> {
        theory(&self.cell)
    }

    /// Whether the runs tell when `h1` was taken for dead after an act that takes it away for long enough.
    pub fn has_detection(&self) -> bool {
        let lasts_long = self.cell.lasts.is_none_or(|lasts| lasts > self.cell.deadtime + self.cell.keepalive);
        matches!(self.cell.act, Act::Crash | Act::Partition) && lasts_long && !self.detection.is_empty()
    }
}

/// The model of a cell, if its delay is constant as the model's is.
pub(crate) fn theory(cell: &Cell) -> Option<FixedDeadtime> {
    let delay = match cell.delay.split_ascii_whitespace().collect::<Vec<_>>()[..] {
        [] => USUAL_DELAY,
        ["constant", time] => parse(time)?.as_secs_f64(),
        // What varies by less than a hundredth of a keepalive is as good as constant.
        ["uniform", least, most] => {
            let (least, most) = (parse(least)?, parse(most)?);
            (most.saturating_sub(least) < cell.keepalive / 100).then_some((least + most).as_secs_f64() / 2.0)?
        }
        _ => return None,
    };
    Some(FixedDeadtime {
        keepalive: cell.keepalive.as_secs_f64(),
        deadtime: cell.deadtime.as_secs_f64(),
        loss: cell.heartbeat_loss(),
        delay,
    })
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "nobody makes 2^52 runs")]
fn count(number: usize) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "counts of a sweep are far below 2^52")]
fn precise(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let sample = Sample::of_micros([4_000_000, 1_000_000, 3_000_000, 2_000_000].into_iter());
        for (thousandths, value) in [(0, 1.0), (250, 1.0), (251, 2.0), (500, 2.0), (990, 4.0), (1000, 4.0)] {
            assert!((sample.quantile(thousandths) - value).abs() < 1e-9, "{thousandths}");
        }
        assert!((sample.mean() - 2.5).abs() < 1e-9);
        assert!(Sample::default().quantile(500).abs() < 1e-9);
    }
}
