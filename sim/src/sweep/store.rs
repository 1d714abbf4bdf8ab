//! The directory of a sweep: what is finished is kept, so that an interrupted sweep goes on where it was.
//!
//! | file | what |
//! |---|---|
//! | `sweep.toml` | the plan as it was read |
//! | `cells/NNNNN.csv` | all runs of one point of the grid; appears when the last of them is done |
//! | `results.csv`, `results.parquet` | a line or row for every run |
//! | `summary.csv` | a line for every point |
//! | `*.svg`, `*.png`, `report.html` | figures and report |
//!
//! Every file is written beside its place and moved there: an interrupted sweep leaves whole files only. Numbers are
//! whole microseconds, and nothing depends on the order in which runs end: equal plans give equal bytes.

use super::grid::Cell;
use super::measure::{self, Row};
use super::plan::Sweep;
use super::stats::Summary;
use anyhow::{Context as _, Result, bail, ensure};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const COLUMNS: &str = "seed,settled,detection_us,takeover_us,outage_us,overlap_us,mistakes,mistaken_us,observed_us,steps,\
    violations,digest";
/// The last line of a cell's file, before the number of runs.
const END: &str = "# runs ";

/// The directory of one sweep.
#[derive(Debug)]
pub(crate) struct Store {
    dir: PathBuf,
}

impl Store {
    /// Opens the directory: a new one, or that of an interrupted sweep by the same plan and program.
    pub(crate) fn open(dir: &Path, text: &str, sweep: &Sweep, resume: bool) -> Result<Store> {
        let store = Store { dir: dir.to_owned() };
        let plan = dir.join("sweep.toml");
        if plan.exists() {
            ensure!(
                resume,
                "{} holds a sweep already: add --resume to go on with it, or name another directory",
                dir.display()
            );
            let before = fs::read_to_string(&plan).with_context(|| format!("cannot read {}", plan.display()))?;
            ensure!(
                before == text,
                "{} holds a sweep by another plan: name another directory, or take the plan from {}",
                dir.display(),
                plan.display()
            );
            store.probe(sweep)?;
        } else {
            fs::create_dir_all(dir.join("cells")).with_context(|| format!("cannot make {}", dir.display()))?;
            store.write("sweep.toml", text.as_bytes())?;
        }
        Ok(store)
    }

    /// One run is made again: if it differs, the program has changed since, and its figures would be mixed.
    fn probe(&self, sweep: &Sweep) -> Result<()> {
        for (number, cell) in sweep.cells.iter().enumerate() {
            let Some(row) = self.cell(number, sweep).and_then(|rows| rows.into_iter().next()) else { continue };
            if measure::run(cell, row.seed) != row {
                bail!(
                    "{} was begun by another version of this program: its figures would be mixed; begin anew elsewhere",
                    self.dir.display()
                );
            }
            break;
        }
        Ok(())
    }

    /// The runs of a finished cell. A file that is damaged counts for none: its cell is run again.
    pub(crate) fn cell(&self, number: usize, sweep: &Sweep) -> Option<Vec<Row>> {
        let text = fs::read_to_string(self.dir.join(file_of(number))).ok()?;
        let mut lines = text.lines();
        if lines.next() != Some(COLUMNS) {
            return None;
        }
        let end = format!("{END}{}", sweep.seeds);
        let rows: Option<Vec<Row>> = lines.by_ref().take_while(|line| *line != end).map(parse_row).collect();
        let seeds = sweep.first_seed..sweep.first_seed + sweep.seeds;
        rows.filter(|rows| text.ends_with(&format!("{end}\n")) && rows.iter().map(|row| row.seed).eq(seeds))
    }

    /// Keeps the runs of a cell.
    pub(crate) fn keep(&self, number: usize, rows: &[Row]) -> Result<()> {
        let mut text = format!("{COLUMNS}\n");
        for row in rows {
            text.push_str(&row_text(row));
            text.push('\n');
        }
        let _ = writeln!(text, "{END}{}", rows.len());
        self.write(&file_of(number), text.as_bytes())
    }

    /// Writes a file whole, or leaves what was there.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.dir.join(name);
        let beside = self.dir.join(format!("{name}.part"));
        fs::write(&beside, bytes)
            .and_then(|()| fs::rename(&beside, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

fn file_of(number: usize) -> String {
    format!("cells/{number:05}.csv")
}

fn row_text(row: &Row) -> String {
    let maybe = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
    format!(
        "{},{},{},{},{},{},{},{},{},{},{},{:016x}",
        row.seed,
        u8::from(row.settled),
        maybe(row.detection),
        maybe(row.takeover),
        row.outage,
        row.overlap,
        row.mistakes,
        row.mistaken,
        row.observed,
        row.steps,
        row.violations,
        row.digest
    )
}

fn parse_row(line: &str) -> Option<Row> {
    let words: Vec<&str> = line.split(',').collect();
    let [seed, settled, detection, takeover, outage, overlap, mistakes, wrong, observed, steps, violations, digest] =
        words[..]
    else {
        return None;
    };
    let number = |text: &str| text.parse::<u64>().ok();
    let maybe = |text: &str| if text.is_empty() { Some(None) } else { number(text).map(Some) };
    Some(Row {
        seed: number(seed)?,
        settled: number(settled)? == 1,
        detection: maybe(detection)?,
        takeover: maybe(takeover)?,
        outage: number(outage)?,
        overlap: number(overlap)?,
        mistakes: number(mistakes)?,
        mistaken: number(wrong)?,
        observed: number(observed)?,
        steps: number(steps)?,
        violations: number(violations)?,
        digest: u64::from_str_radix(digest, 16).ok()?,
    })
}

const CELL_COLUMNS: &str = "cell,do,keepalive_ms,deadtime_ms,links,loss,delay,lasts_ms";

fn cell_text(number: usize, cell: &Cell) -> String {
    let lasts = cell.lasts.map(|lasts| lasts.as_millis().to_string()).unwrap_or_default();
    format!(
        "{number},{},{},{},{},{},{},{lasts}",
        cell.act.word(),
        cell.keepalive.as_millis(),
        cell.deadtime.as_millis(),
        cell.links,
        f64::from(cell.loss) / 1e6,
        quoted(&cell.delay)
    )
}

/// A text as CSV has it where it could be taken for more (RFC 4180).
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// A line for every run.
pub(crate) fn results_csv(cells: &[(&Cell, Vec<Row>)]) -> String {
    let mut text = format!("{CELL_COLUMNS},{COLUMNS}\n");
    for (number, (cell, rows)) in cells.iter().enumerate() {
        let head = cell_text(number, cell);
        for row in rows {
            let _ = writeln!(text, "{head},{}", row_text(row));
        }
    }
    text
}

/// A line for every point of the grid, with what theory predicts.
pub(crate) fn summary_csv(summaries: &[Summary]) -> String {
    const SAMPLES: [&str; 4] = ["detection", "takeover", "outage", "overlap"];
    let mut text = format!("{CELL_COLUMNS},runs,unsettled,violations");
    for name in SAMPLES {
        let _ = write!(text, ",{name}_runs,{name}_mean_s,{name}_p50_s,{name}_p90_s,{name}_p99_s,{name}_max_s");
    }
    text.push_str(",mistakes,observed_s,mistakes_per_hour,mistake_mean_s");
    text.push_str(",theory_detection_mean_s,theory_mistakes_per_hour,theory_mistake_mean_s\n");
    for (number, summary) in summaries.iter().enumerate() {
        let head = cell_text(number, &summary.cell);
        let _ = write!(text, "{head},{},{},{}", summary.runs, summary.unsettled, summary.violations);
        for sample in [&summary.detection, &summary.takeover, &summary.outage, &summary.overlap] {
            let [p50, p90, p99] = [500, 900, 990].map(|part| sample.quantile(part));
            let _ =
                write!(text, ",{},{:.6},{p50:.6},{p90:.6},{p99:.6},{:.6}", sample.len(), sample.mean(), sample.max());
        }
        let maybe = |value: Option<f64>| value.map(|value| format!("{value:.6}")).unwrap_or_default();
        let (rate, duration) = (summary.mistakes_an_hour(), summary.mistake_duration());
        let _ = write!(text, ",{},{:.6},{},{}", summary.mistakes, summary.observed, maybe(rate), maybe(duration));
        let theory = summary.theory();
        let detection = theory.filter(|_| summary.has_detection()).map(|theory| theory.mean_detection());
        let mistakes = theory.filter(|_| rate.is_some()).map(|theory| theory.mistake_rate() * 3600.0);
        let lasts = theory.filter(|_| duration.is_some()).map(|theory| theory.mistake_duration());
        let _ = writeln!(text, ",{},{},{}", maybe(detection), maybe(mistakes), maybe(lasts));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let row = Row {
            seed: 7,
            settled: true,
            detection: Some(1_000_001),
            takeover: None,
            outage: 5,
            overlap: 6,
            mistakes: 1,
            mistaken: 2,
            observed: 3,
            steps: 4,
            digest: u64::MAX - 1,
            violations: 9,
        };
        assert_eq!(parse_row(&row_text(&row)), Some(row));
        for wrong in ["", "1,2", "7,1,x,,5,6,1,2,3,4,9,00", "7,1,,,5,6,1,2,3,4,9,zz"] {
            assert_eq!(parse_row(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn texts_with_commas_stay_one_field() {
        assert_eq!(quoted("uniform 1ms 2ms"), "uniform 1ms 2ms");
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
