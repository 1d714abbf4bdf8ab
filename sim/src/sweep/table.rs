//! The table of failover times that a sweep ends with.

use super::grid::{Act, Percent, Short};
use super::stats::{Sample, Summary};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};

/// The columns, and whether they are numbers.
const COLUMNS: [(&str, bool); 14] = [
    ("do", false),
    ("keepalive", true),
    ("deadtime", true),
    ("links", true),
    ("loss", true),
    ("delay", false),
    ("runs", true),
    ("detected p50", true),
    ("p99", true),
    ("served p50", true),
    ("p99", true),
    ("outage max", true),
    ("overlap max", true),
    ("mistakes/h", true),
];

/// One line for each point of the grid.
pub fn table(summaries: &[Summary]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(COLUMNS.map(|(name, _)| name));
    for (column, (_, is_number)) in table.column_iter_mut().zip(COLUMNS) {
        if is_number {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for summary in summaries {
        table.add_row(row(summary));
    }
    table.to_string()
}

/// The words of a line.
pub(crate) fn row(summary: &Summary) -> Vec<String> {
    let cell = &summary.cell;
    let quantile = |sample: &Sample, thousandths: usize| {
        let is_measured = !sample.is_empty() && cell.act != Act::Quiet;
        if is_measured { seconds(sample.quantile(thousandths)) } else { "-".to_owned() }
    };
    vec![
        cell.deed(),
        Short(cell.keepalive).to_string(),
        Short(cell.deadtime).to_string(),
        cell.links.to_string(),
        Percent(cell.loss).to_string(),
        if cell.delay.is_empty() { "usual".to_owned() } else { cell.delay.clone() },
        (summary.runs - summary.unsettled).to_string(),
        quantile(&summary.detection, 500),
        quantile(&summary.detection, 990),
        quantile(&summary.takeover, 500),
        quantile(&summary.takeover, 990),
        seconds(summary.outage.max()),
        seconds(summary.overlap.max()),
        // In the moments before an act there is nothing to be learned about mistakes.
        match summary.mistakes_an_hour().filter(|_| cell.act == Act::Quiet) {
            Some(rate) => format!("{rate:.3}"),
            None => "-".to_owned(),
        },
    ]
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.3} s")
}

/// The heads of the columns.
pub(crate) fn columns() -> impl Iterator<Item = &'static str> {
    COLUMNS.into_iter().map(|(name, _)| name)
}
