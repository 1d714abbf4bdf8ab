//! The report of a sweep: one HTML page that needs nothing else, in light and dark.

use super::canvas;
use super::figures::Figure;
use super::plan::Sweep;
use super::stats::Summary;
use super::table;
use super::theory::band;
use anyhow::Result;
use std::fmt::Write as _;

const STYLE: &str = "\
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1f2328; --grid: #d8dde3; --quiet: #59636e; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14181d; --ink: #dde3ea; --grid: #323a43; --quiet: #9aa5b1; }
}
body { background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
p.quiet, figcaption { color: var(--quiet); }
p.alarm { border-left: 4px solid #c84b4b; padding-left: .8rem; }
figure { margin: 1.5rem 0; } figure svg { width: 100%; height: auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--grid); text-align: right; }
th:first-child, td:first-child { text-align: left; }
pre { border: 1px solid var(--grid); padding: .8rem; overflow-x: auto; }
";

/// The page.
pub(crate) fn page(sweep: &Sweep, text: &str, summaries: &[Summary], figures: &[Figure]) -> Result<String> {
    let title = escape(&sweep.title);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    let last = sweep.first_seed + sweep.seeds - 1;
    let _ = writeln!(
        page,
        "<p class=\"quiet\">{} points of a grid, seeds {} to {last}: {} runs of hbsim {}. {}</p>",
        sweep.cells.len(),
        sweep.first_seed,
        sweep.runs(),
        env!("CARGO_PKG_VERSION"),
        match sweep.skipped {
            0 => String::new(),
            one_or_more => format!("{one_or_more} combinations that no cluster can have were left out."),
        }
    );
    alarms(&mut page, summaries);
    for figure in figures {
        let _ = writeln!(
            page,
            "<figure>\n{}\n<figcaption>{}</figcaption>\n</figure>",
            canvas::svg_for_page(figure)?.trim_end(),
            escape(&figure.caption)
        );
    }
    page.push_str("<h2>Failover times</h2>\n");
    html_table(&mut page, table::columns(), summaries.iter().map(table::row));
    let compared: Vec<Vec<String>> = summaries.iter().filter_map(compare).collect();
    if !compared.is_empty() {
        page.push_str(
            "<h2>Measured and predicted</h2>\n<p>A fixed dead time under independent loss: each heartbeat is lost alone, with \
             the probability of the network, and a node is dead after its dead time of silence. The distance is the largest \
             one between the measured and the predicted distribution of the detection time; it stays within the bound with \
             99.9 % probability if the prediction is true. Mistakes are given with 95 % confidence. A node that makes one \
             talks about it, which spares the other some: the prediction is too high by a part of about <i>talk</i> \
             (docs/sweep.md).</p>\n",
        );
        html_table(&mut page, COMPARED.into_iter(), compared.into_iter());
    }
    let _ = write!(page, "<h2>The plan</h2>\n<pre>{}</pre>\n", escape(text));
    if let Some(summary) = summaries.first() {
        let _ = write!(
            page,
            "<p>Each run is a scenario. The first is this one; <code>hbsim run FILE --seed {} --timeline</code> shows it.</p>\n\
             <pre>{}</pre>\n",
            sweep.first_seed,
            escape(&summary.cell.scenario(sweep.first_seed))
        );
    }
    page.push_str("</body>\n</html>\n");
    Ok(page)
}

/// What a reader must know before believing anything else.
fn alarms(page: &mut String, summaries: &[Summary]) {
    let unsettled: usize = summaries.iter().map(|summary| summary.unsettled).sum();
    let violations: u64 = summaries.iter().map(|summary| summary.violations).sum();
    if unsettled > 0 {
        let _ = writeln!(page, "<p class=\"alarm\">In {unsettled} runs the pair never settled; they are left out.</p>");
    }
    if violations > 0 {
        let _ = writeln!(
            page,
            "<p class=\"alarm\">Checks were violated {violations} times: see the column <code>violations</code> of \
             results.csv.</p>"
        );
    }
}

const COMPARED: [&str; 9] = [
    "point",
    "detection mean",
    "theory",
    "distance",
    "bound",
    "mistakes/h",
    "theory",
    "mistake lasts (theory)",
    "talk",
];

/// A line about a point for which theory says something that was measured.
fn compare(summary: &Summary) -> Option<Vec<String>> {
    let theory = summary.theory()?;
    let mut row = vec![summary.cell.to_string()];
    if summary.has_detection() {
        let far = summary.detection.distance(|time| theory.detected_within(time));
        row.extend([
            format!("{:.4} s", summary.detection.mean()),
            format!("{:.4} s", theory.mean_detection()),
            format!("{far:.4}"),
            format!("{:.4}", band(summary.detection.len(), 0.999)),
        ]);
    } else {
        row.extend(["-"; 4].map(str::to_owned));
    }
    match summary.mistakes_an_hour().filter(|_| summary.cell.act == super::Act::Quiet) {
        Some(rate) => {
            let spread = 1.96 * rate / (rate * summary.observed / 3600.0).sqrt().max(1e-9);
            row.push(if rate > 0.0 { format!("{rate:.3} \u{b1} {spread:.3}") } else { "0".to_owned() });
            row.push(format!("{:.3}", theory.mistake_rate() * 3600.0));
            let lasts = summary.mistake_duration().map_or("-".to_owned(), |lasts| format!("{lasts:.3} s"));
            row.push(format!("{lasts} ({:.3} s)", theory.mistake_duration()));
            row.push(format!("{:.1} %", theory.talk() * 100.0));
        }
        None if summary.has_detection() => row.extend(["-"; 4].map(str::to_owned)),
        None => return None,
    }
    Some(row)
}

fn html_table(page: &mut String, columns: impl Iterator<Item = &'static str>, rows: impl Iterator<Item = Vec<String>>) {
    page.push_str("<div class=\"wide\"><table>\n<tr>");
    for column in columns {
        let _ = write!(page, "<th>{}</th>", escape(column));
    }
    page.push_str("</tr>\n");
    for row in rows {
        page.push_str("<tr>");
        for word in row {
            let _ = write!(page, "<td>{}</td>", escape(&word));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table></div>\n");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_cannot_become_markup() {
        assert_eq!(escape("<b>\"a\" & b</b>"), "&lt;b&gt;&quot;a&quot; &amp; b&lt;/b&gt;");
    }
}
