//! What the figures of a sweep show, as data; `canvas.rs` draws it.
//!
//! Measured values are lines and points with bars, theory is dashed and has the colour of what it predicts. A figure
//! that would show nothing is left out.

use super::grid::{Act, Cell, Percent, Short};
use super::stats::{Sample, Summary, theory};
use super::theory::FixedDeadtime;
use std::collections::BTreeSet;

/// More lines than this cannot be told apart.
pub(crate) const SERIES_MAX: usize = 8;
/// Points of a curve: enough to look smooth, few enough for a small file.
const CURVE: u32 = 240;

/// A figure: one or more panels above each other, and one legend.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Figure {
    /// The name of its files.
    pub(crate) name: &'static str,
    pub(crate) title: String,
    /// What is to be seen, for the report.
    pub(crate) caption: String,
    pub(crate) panels: Vec<Panel>,
    pub(crate) legend: Vec<Key>,
}

/// One pair of axes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Panel {
    pub(crate) x: String,
    pub(crate) y: String,
    /// Whether the vertical axis is logarithmic.
    pub(crate) log: bool,
    /// The end of the vertical axis, if it is known.
    pub(crate) top: Option<f64>,
    pub(crate) marks: Vec<Mark>,
}

/// Something that is drawn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mark {
    pub(crate) colour: usize,
    pub(crate) shape: Shape,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    Line(Vec<(f64, f64)>),
    Dashed(Vec<(f64, f64)>),
    /// A point, and the bar from one value to another.
    Point {
        at: (f64, f64),
        bar: (f64, f64),
    },
    /// Nothing was seen: the truth is below this.
    Below((f64, f64)),
}

/// A line of the legend.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Key {
    Heading(String),
    Series(usize, String),
    Dashed(String),
}

/// All figures that show something.
pub(crate) fn all(summaries: &[Summary]) -> Vec<Figure> {
    [detection(summaries), mistakes(summaries), cost(summaries)].into_iter().flatten().collect()
}

// --- names of series

/// Which parameters differ among cells, and so must be named.
struct Names {
    varying: BTreeSet<&'static str>,
}

fn parts(cell: &Cell) -> Vec<(&'static str, String)> {
    let delay = if cell.delay.is_empty() { "usual" } else { &cell.delay };
    vec![
        ("do", cell.deed()),
        ("keepalive", format!("keepalive {}", Short(cell.keepalive))),
        ("deadtime", format!("deadtime {}", Short(cell.deadtime))),
        ("links", if cell.links == 1 { "1 link".to_owned() } else { format!("{} links", cell.links) }),
        ("loss", format!("loss {}", Percent(cell.loss))),
        ("delay", format!("delay {delay}")),
    ]
}

impl Names {
    fn among<'a>(cells: impl Iterator<Item = &'a Cell>, but: &[&'static str]) -> Names {
        let mut seen: Vec<(&'static str, BTreeSet<String>)> = Vec::new();
        for (name, text) in cells.flat_map(parts) {
            match seen.iter_mut().find(|(known, _)| *known == name) {
                Some((_, texts)) => {
                    texts.insert(text);
                }
                None => seen.push((name, BTreeSet::from([text]))),
            }
        }
        let varying = seen.into_iter().filter(|(name, texts)| texts.len() > 1 && !but.contains(name));
        Names { varying: varying.map(|(name, _)| name).collect() }
    }

    fn of(&self, cell: &Cell) -> String {
        let words: Vec<String> =
            parts(cell).into_iter().filter(|(name, _)| self.varying.contains(name)).map(|(_, text)| text).collect();
        if words.is_empty() { "measured".to_owned() } else { words.join(", ") }
    }

    /// What all have in common, for the title.
    fn common(&self, cell: &Cell, but: &[&'static str]) -> String {
        let same = parts(cell)
            .into_iter()
            .filter(|(name, text)| !self.varying.contains(name) && !but.contains(name) && text != "delay usual");
        same.map(|(_, text)| text).collect::<Vec<_>>().join(", ")
    }
}

/// As many as can be told apart: those that differ from the first in the fewest parameters, in the order of the grid.
fn choose<T>(all: &[T], cell: impl Fn(&T) -> &Cell) -> Vec<&T> {
    let Some(first) = all.first().map(|item| parts(cell(item))) else { return Vec::new() };
    let far = |item: &T| parts(cell(item)).iter().zip(&first).filter(|(one, other)| one != other).count();
    let mut places: Vec<usize> = (0..all.len()).collect();
    places.sort_by_key(|place| far(&all[*place]));
    places.truncate(SERIES_MAX);
    places.sort_unstable();
    places.into_iter().map(|place| &all[place]).collect()
}

fn left_out(shown: usize, all: usize) -> String {
    if shown == all {
        return String::new();
    }
    format!(" Drawn are {shown} of {all} series: those that differ least from the first; all are in summary.csv.")
}

// --- detection time

fn detection(summaries: &[Summary]) -> Option<Figure> {
    let of = |act: Act| move |summary: &&Summary| summary.cell.act == act && summary.has_detection();
    // A partition is detected as a crash is: its lines would lie on those.
    let mut all: Vec<&Summary> = summaries.iter().filter(of(Act::Crash)).collect();
    if all.is_empty() {
        all = summaries.iter().filter(of(Act::Partition)).collect();
    }
    let shown: Vec<&Summary> = choose(&all, |summary| &summary.cell).into_iter().copied().collect();
    let first = shown.first()?;
    let names = Names::among(shown.iter().map(|summary| &summary.cell), &[]);
    let mut marks = Vec::new();
    let mut legend = vec![Key::Heading("measured".to_owned())];
    let end = shown.iter().map(|summary| summary.detection.max()).fold(0.0, f64::max) * 1.03;
    for (colour, summary) in shown.iter().enumerate() {
        marks.push(Mark { colour, shape: Shape::Line(distribution(&summary.detection, end)) });
        if let Some(theory) = summary.theory() {
            marks.push(Mark { colour, shape: Shape::Dashed(curve(0.0, end, |time| theory.detected_within(time))) });
        }
        legend.push(Key::Series(colour, names.of(&summary.cell)));
    }
    if marks.iter().any(|mark| matches!(mark.shape, Shape::Dashed(_))) {
        legend.push(Key::Dashed("theory".to_owned()));
    }
    Some(Figure {
        name: "detection",
        title: format!("How soon a lost node is taken for dead ({})", names.common(&first.cell, &[])),
        caption: format!(
            "Distribution of the detection time: the share of runs in which the survivor had taken the lost node for dead \
             that long after the loss.{}",
            left_out(shown.len(), all.len())
        ),
        panels: vec![Panel {
            x: "detection time (s)".to_owned(),
            y: "share of runs".to_owned(),
            log: false,
            top: Some(1.0),
            marks,
        }],
        legend,
    })
}

/// The steps of a measured distribution.
fn distribution(sample: &Sample, end: f64) -> Vec<(f64, f64)> {
    let values = sample.values();
    #[expect(clippy::cast_precision_loss, reason = "nobody makes 2^52 runs")]
    let share = |rank: usize| rank as f64 / values.len() as f64;
    let stride = values.len().div_ceil(CURVE as usize).max(1);
    let mut points = vec![(0.0, 0.0)];
    for rank in (0..values.len()).step_by(stride).chain([values.len() - 1]) {
        points.extend([(values[rank], share(rank)), (values[rank], share(rank + 1))]);
    }
    points.push((end, 1.0));
    points
}

fn curve(from: f64, to: f64, of: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    let step = (to - from) / f64::from(CURVE);
    (0..=CURVE).map(|at| from + step * f64::from(at)).map(|x| (x, of(x))).collect()
}

// --- mistakes

/// A cell's neighbours along the dead time.
fn families<'a>(summaries: impl Iterator<Item = &'a Summary>) -> Vec<Vec<&'a Summary>> {
    let mut families: Vec<Vec<&Summary>> = Vec::new();
    for summary in summaries {
        let related = |other: &Cell| Cell { deadtime: other.deadtime, ..summary.cell.clone() } == *other;
        match families.iter_mut().find(|family| related(&family[0].cell)) {
            Some(family) => family.push(summary),
            None => families.push(vec![summary]),
        }
    }
    for family in &mut families {
        family.sort_by_key(|summary| summary.cell.deadtime);
    }
    families
}

fn mistakes(summaries: &[Summary]) -> Option<Figure> {
    let quiet = || summaries.iter().filter(|summary| summary.cell.act == Act::Quiet && summary.observed > 0.0);
    if quiet().all(|summary| summary.mistakes == 0) {
        return None;
    }
    // The mean detection time of the same pair, if the sweep has it for all.
    let detected = |cell: &Cell| {
        summaries
            .iter()
            .find(|other| other.has_detection() && other.cell.same_pair(cell))
            .map(|found| found.detection.mean())
    };
    let by_detection = quiet().all(|summary| detected(&summary.cell).is_some());
    let place = |cell: &Cell| detected(cell).filter(|_| by_detection).unwrap_or(cell.deadtime.as_secs_f64());
    let all = families(quiet());
    let shown: Vec<&Vec<&Summary>> = choose(&all, |family| &family[0].cell);
    let names = Names::among(shown.iter().map(|family| &family[0].cell), &["deadtime"]);
    let mut marks = Vec::new();
    let mut legend = vec![Key::Heading("measured".to_owned())];
    for (colour, family) in shown.iter().enumerate() {
        legend.push(Key::Series(colour, names.of(&family[0].cell)));
        marks.extend(family.iter().map(|summary| Mark { colour, shape: rate(summary, place(&summary.cell)) }));
        marks.extend(predicted_rates(family, by_detection).map(|line| Mark { colour, shape: Shape::Dashed(line) }));
    }
    if marks.iter().any(|mark| matches!(mark.shape, Shape::Dashed(_))) {
        legend.push(Key::Dashed("theory".to_owned()));
    }
    let common = names.common(&shown.first()?.first()?.cell, &["do", "deadtime"]);
    let x = if by_detection { "mean detection time of a crash (s)" } else { "deadtime (s)" };
    Some(Figure {
        name: "mistakes",
        title: format!("Mistakes against speed ({common})"),
        caption: format!(
            "How often a node that is up and connected is taken for dead, for one observer of one node; bars are 95 % \
             confidence of the count. An open triangle is a point without any mistake: the true rate is below it with 95 % \
             confidence.{}",
            left_out(shown.len(), all.len())
        ),
        panels: vec![Panel { x: x.to_owned(), y: "mistakes in an hour".to_owned(), log: true, top: None, marks }],
        legend,
    })
}

/// The rate of mistakes with its confidence: counts of rare things scatter by their root.
fn rate(summary: &Summary, x: f64) -> Shape {
    let hours = summary.observed / 3600.0;
    let Some(rate) = summary.mistakes_an_hour().filter(|_| summary.mistakes > 0) else {
        // No event in all that time: below three with 95 % confidence.
        return Shape::Below((x, 3.0 / hours));
    };
    let spread = 1.96 * rate / (rate * hours).sqrt();
    Shape::Point { at: (x, rate), bar: ((rate - spread).max(rate / 10.0), rate + spread) }
}

/// Theory between the least and the greatest dead time of a family, as a staircase of its own.
fn predicted_rates(family: &[&Summary], by_detection: bool) -> Option<Vec<(f64, f64)>> {
    let (first, last) = (family.first()?, family.last()?);
    let model = theory(&first.cell).filter(|model| model.loss > 0.0)?;
    let (from, to) = (first.cell.deadtime.as_secs_f64(), last.cell.deadtime.as_secs_f64());
    let line = curve(from, to.max(from * 1.001), |deadtime| deadtime);
    let at = |deadtime: f64| {
        let model = FixedDeadtime { deadtime, ..model };
        (if by_detection { model.mean_detection() } else { deadtime }, model.mistake_rate() * 3600.0)
    };
    Some(line.into_iter().map(|(deadtime, _)| at(deadtime)).collect())
}

// --- outage and overlap

fn cost(summaries: &[Summary]) -> Option<Figure> {
    let measured = summaries.iter().filter(|summary| summary.outage.max() > 0.0 || summary.overlap.max() > 0.0);
    let all = families(measured);
    let shown: Vec<&Vec<&Summary>> = choose(&all, |family| &family[0].cell);
    let names = Names::among(shown.iter().map(|family| &family[0].cell), &["deadtime"]);
    let common = names.common(&shown.first()?.first()?.cell, &["deadtime"]);
    let mut legend = vec![Key::Heading("median, bar to 1 % and 99 %".to_owned())];
    let (mut outage, mut overlap) = (Vec::new(), Vec::new());
    // Side by side, so that no bar hides another.
    let widest = shown.iter().flat_map(|family| *family).map(|summary| summary.cell.deadtime).max()?.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "there are at most eight")]
    let aside = |series: usize| (series as f64 - (shown.len() - 1) as f64 / 2.0) * widest * 0.006;
    for (colour, family) in shown.iter().enumerate() {
        legend.push(Key::Series(colour, names.of(&family[0].cell)));
        for (marks, of) in [(&mut outage, Summary::outage as fn(&Summary) -> &Sample), (&mut overlap, Summary::overlap)]
        {
            let place = |summary: &Summary| summary.cell.deadtime.as_secs_f64() + aside(colour);
            let line: Vec<(f64, f64)> =
                family.iter().map(|summary| (place(summary), of(summary).quantile(500))).collect();
            for (summary, at) in family.iter().zip(&line) {
                let bar = (of(summary).quantile(10), of(summary).quantile(990));
                marks.push(Mark { colour, shape: Shape::Point { at: *at, bar } });
            }
            if line.len() > 1 {
                marks.push(Mark { colour, shape: Shape::Line(line) });
            }
        }
    }
    let panel = |y: &str, marks| Panel { x: "deadtime (s)".to_owned(), y: y.to_owned(), log: false, top: None, marks };
    Some(Figure {
        name: "cost",
        title: format!("What the dead time costs ({common})"),
        caption: format!(
            "Above: the longest time in a run in which nobody answered a client of the group. Below: how long two nodes ran \
             the group.{}",
            left_out(shown.len(), all.len())
        ),
        panels: vec![panel("outage (s)", outage), panel("overlap (s)", overlap)],
        legend,
    })
}
