//! Sweeps: a grid of parameters times many seeds, measured, drawn, and compared with theory.
//!
//! | file | what |
//! |---|---|
//! | `plan.rs` | the plan of a sweep, TOML with diagnostics |
//! | `grid.rs` | one point of the grid, and its scenario |
//! | `measure.rs` | one run, and what is measured in it |
//! | `stats.rs` | all runs of a point |
//! | `theory.rs` | a fixed dead time under independent loss (docs/sweep.md) |
//! | `store.rs`, `parquet.rs` | the directory of a sweep: kept, resumed, written as CSV and Parquet |
//! | `figures.rs`, `canvas.rs` | what the figures show; how they are drawn, as SVG and PNG |
//! | `report.rs`, `table.rs` | one HTML page, one table for the terminal |
//!
//! Runs are independent, so threads share nothing; results are collected by place in the grid and seed. The bytes that
//! are written depend on the plan alone.

mod canvas;
mod figures;
mod grid;
mod measure;
#[cfg(feature = "parquet")]
mod parquet;
mod plan;
mod report;
mod stats;
mod store;
mod table;
pub mod theory;

pub use grid::{Act, Cell};
pub use measure::Row;
pub use plan::Sweep;
pub use stats::{Sample, Summary};
pub use table::table;

use anyhow::{Context as _, Result};
use rayon::iter::{IndexedParallelIterator as _, IntoParallelIterator as _, ParallelIterator as _};
use std::path::Path;
use store::Store;

/// What a sweep came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// One for each point of the grid, in its order.
    pub summaries: Vec<Summary>,
    /// The files that were written, in the directory of the sweep.
    pub files: Vec<String>,
    /// Steps that nodes made in all runs.
    pub steps: u64,
}

/// How far a sweep is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many runs were there already.
    Found(u64),
    /// One more run is done.
    Run,
}

/// Runs a sweep, or what is left of it, in `dir`, on `jobs` threads (as many as there are processors if zero). `text` is
/// the plan as it was read.
///
/// `progress` is called from all threads.
pub fn run(
    sweep: &Sweep,
    text: &str,
    dir: &Path,
    resume: bool,
    jobs: usize,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Outcome> {
    let store = Store::open(dir, text, sweep, resume)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(jobs).build().context("cannot start threads")?;
    let kept: Vec<Option<Vec<Row>>> = (0..sweep.cells.len()).map(|number| store.cell(number, sweep)).collect();
    let found = kept.iter().flatten().count() as u64;
    progress(Progress::Found(found * sweep.seeds));
    let rows: Vec<Vec<Row>> = pool.install(|| {
        let cells = kept.into_par_iter().enumerate().map(|(number, kept)| match kept {
            Some(rows) => Ok(rows),
            None => cell(sweep, number, &store, progress),
        });
        cells.collect::<Result<_>>()
    })?;
    let cells: Vec<(&Cell, Vec<Row>)> = sweep.cells.iter().zip(rows).collect();
    finish(sweep, text, &store, &cells)
}

/// All seeds of one point of the grid.
fn cell(sweep: &Sweep, number: usize, store: &Store, progress: &(dyn Fn(Progress) + Sync)) -> Result<Vec<Row>> {
    let seeds = sweep.first_seed..sweep.first_seed + sweep.seeds;
    let rows: Vec<Row> = seeds
        .into_par_iter()
        .map(|seed| {
            let row = measure::run(&sweep.cells[number], seed);
            progress(Progress::Run);
            row
        })
        .collect();
    store.keep(number, &rows)?;
    Ok(rows)
}

/// Writes everything that is made of the runs.
fn finish(sweep: &Sweep, text: &str, store: &Store, cells: &[(&Cell, Vec<Row>)]) -> Result<Outcome> {
    let summaries: Vec<Summary> = cells.iter().map(|(cell, rows)| Summary::new(cell, rows)).collect();
    let mut files = vec!["results.csv".to_owned(), "summary.csv".to_owned()];
    store.write("results.csv", store::results_csv(cells).as_bytes())?;
    store.write("summary.csv", store::summary_csv(&summaries).as_bytes())?;
    #[cfg(feature = "parquet")]
    {
        store.write("results.parquet", &parquet::file(cells).context("cannot make results.parquet")?)?;
        files.push("results.parquet".to_owned());
    }
    let figures = figures::all(&summaries);
    for figure in &figures {
        let (svg, png) = (format!("{}.svg", figure.name), format!("{}.png", figure.name));
        store.write(&svg, canvas::svg(figure)?.as_bytes())?;
        store.write(&png, &canvas::png(figure)?)?;
        files.extend([svg, png]);
    }
    store.write("report.html", report::page(sweep, text, &summaries, &figures)?.as_bytes())?;
    files.push("report.html".to_owned());
    let steps = cells.iter().flat_map(|(_, rows)| rows).map(|row| row.steps).sum();
    Ok(Outcome { summaries, files, steps })
}
