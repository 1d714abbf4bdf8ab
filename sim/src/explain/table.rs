//! Outcomes and bounds as tables, a hundred columns wide whatever the terminal, so that they can be kept and compared.

use super::Kind;
use super::outcome::{Merged, Outcome};
use super::{Bound, Brief, Chapter, Explanation};
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle, Width};

const WIDTH: u16 = 100;
/// Lines only where a table begins and ends: there are many rows.
const STYLE: TableStyle = UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none());

/// Groups that fared alike.
pub(super) struct Class {
    pub(super) groups: Vec<usize>,
    /// Where it runs, and when it did, was missed, had two owners.
    words: [String; 4],
}

/// The groups of an outcome, those together that fared alike; in the order of haresources.
pub(super) fn classes(explanation: &Explanation, outcome: &Outcome) -> Vec<Class> {
    let mut classes: Vec<Class> = Vec::new();
    let is_untouched = outcome.groups.iter().all(Merged::is_untouched);
    for (group, merged) in outcome.groups.iter().enumerate() {
        let mut words = words(explanation, merged);
        if is_untouched && outcome.groups.len() > 1 {
            "as before".clone_into(&mut words[0]);
        }
        match classes.iter_mut().find(|class| class.words == words) {
            Some(class) => class.groups.push(group),
            None => classes.push(Class { groups: vec![group], words }),
        }
    }
    classes
}

fn words(explanation: &Explanation, merged: &Merged) -> [String; 4] {
    let place = |nodes: &[usize]| match names(explanation, nodes) {
        names if names.is_empty() => "nobody".to_owned(),
        names => names.join(", "),
    };
    let had = place(&merged.had);
    let ends: Vec<String> = merged.ends.iter().map(|end| place(end)).collect();
    let ends = ends.join(" or ");
    let runs = if had == ends || merged.had.is_empty() { ends } else { format!("{had} → {ends}") };
    let or_dash = |is: bool, text: String| if is { text } else { "-".to_owned() };
    let served = merged.served.map_or_else(|| "-".to_owned(), |served| Brief(served).to_string());
    let outage = match (merged.had.is_empty(), merged.outage_lasts) {
        (true, false) => "-".to_owned(),
        (_, true) => "lasts".to_owned(),
        (false, false) => or_dash(!merged.outage.is_zero(), Brief(merged.outage).to_string()),
    };
    let overlap = if merged.overlap_lasts {
        "yes".to_owned()
    } else {
        or_dash(!merged.overlap.is_zero(), Brief(merged.overlap).to_string())
    };
    [runs, served, outage, overlap]
}

fn names<'a>(explanation: &'a Explanation, nodes: &[usize]) -> Vec<&'a str> {
    nodes.iter().map(|node| explanation.nodes[*node].as_str()).collect()
}

/// Nodes as people read them.
pub(super) fn place(explanation: &Explanation, nodes: &[usize]) -> String {
    let names = names(explanation, nodes);
    match names.as_slice() {
        [] => "nobody".to_owned(),
        [first @ .., before, last] if !first.is_empty() => format!("{}, {before} and {last}", first.join(", ")),
        few => few.join(" and "),
    }
}

/// The names of groups; `all` if there are several and these are all.
pub(super) fn groups(explanation: &Explanation, groups: &[usize]) -> String {
    if groups.len() > 1 && groups.len() == explanation.groups.len() {
        return "all".to_owned();
    }
    let names: Vec<&str> = groups.iter().map(|group| explanation.groups[*group].as_str()).collect();
    names.join(", ")
}

/// What came of the experiments of a chapter.
pub(super) fn outcomes(explanation: &Explanation, chapter: Chapter) -> String {
    let mut table = new(["what happens", "group", "runs on", "dead", "serves", "outage", "two owners"], 3);
    let widths = [27, 18, 20, 8, 8, 8, 11];
    for (column, width) in table.column_iter_mut().zip(widths) {
        column.set_constraint(ColumnConstraint::UpperBoundary(Width::Fixed(width)));
    }
    for outcome in explanation.outcomes.iter().filter(|outcome| outcome.chapter == chapter) {
        let mut what = outcome.what.as_str();
        // Whoever said goodbye is silent, too, and nothing depends on when that is noticed.
        let dead = outcome.dead.filter(|_| !matches!(outcome.kind, Kind::Stop | Kind::Kill));
        let mut dead = dead.map_or_else(|| "-".to_owned(), |dead| Brief(dead).to_string());
        for class in classes(explanation, outcome) {
            let [runs, served, outage, overlap] = class.words;
            let names = groups(explanation, &class.groups);
            table.add_row([what.to_owned(), names, runs, dead, served, outage, overlap]);
            (what, dead) = ("", String::new());
        }
    }
    table.trim_fmt()
}

/// The steps and their bounds.
pub(super) fn bounds(bounds: &[Bound]) -> String {
    let mut table = new(["step", "at most", "longest seen", "follows from"], 1);
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Left);
    }
    let or_dash = |time: Option<std::time::Duration>| time.map_or_else(|| "-".to_owned(), |it| Brief(it).to_string());
    for bound in bounds {
        table.add_row([bound.step.clone(), or_dash(bound.limit), or_dash(bound.measured), bound.from.clone()]);
    }
    table.trim_fmt()
}

/// An empty table; from column number `numbers` on there are numbers.
fn new<const N: usize>(head: [&str; N], numbers: usize) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    table.set_header(head);
    for column in table.column_iter_mut().skip(numbers) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    table
}
