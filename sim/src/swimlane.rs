//! A run as a picture: a lane for each host, time from left to right.
//!
//! ```text
//! title
//!          what the plan let happen, each label above its mark
//! name     [ the daemon: off, down, init, up, active; hatched while it cannot run ]
//!   group  [ a bar while all of it runs here, a low one for a part; red where it runs elsewhere, too ]
//!   lost   [ the share of the packets to this host that were lost, column by column ]
//!          what was violated
//!          time
//! legend
//! ```
//!
//! The picture is one SVG file without scripts; it follows the reader's light or dark scheme, and pointing at a bar or
//! mark tells its times. The same recording gives the same bytes everywhere.

mod axis;
mod canvas;
mod history;
mod labels;

use crate::ground::Share;
use crate::recording::Recording;
use axis::{Axis, Tenths, precise};
use canvas::{Anchor, CHAR, Canvas, HOST_CHAR, SMALL_CHAR, columns, shortened};
use hb_core::time::Instant;
use history::{Cause, Column, Hindrance, History, Host, Mark, losses};
use labels::Placed;
use std::fmt;

const WIDTH: Tenths = 12_000;
const MARGIN: Tenths = 160;
/// The room for names at the left: as much as they need, within these.
const GUTTER: (Tenths, Tenths) = (900, 2600);
const ROW: Tenths = 140;
/// Rows of labels above the lanes, and below.
const LABEL_ROWS: usize = 12;
const VIOLATION_ROWS: usize = 6;
/// The longest label, in characters.
const LABEL: Tenths = 60;
const VIOLATION: Tenths = 100;
/// Between a mark and its label.
const LABEL_PADDING: Tenths = 30;
/// The parts of a lane.
const PADDING: Tenths = 60;
const STATE: Tenths = 180;
const GROUP: Tenths = 100;
const LOST: Tenths = 140;
const GAP: Tenths = 40;
/// Columns of lost packets.
const COLUMN: Tenths = 20;
/// The narrowest bar: what is short must be seen all the same. Two owners even more so.
const NARROWEST: Tenths = 10;
const NARROWEST_CROWD: Tenths = 20;
/// Groups have that many colours; then these repeat.
const COLOURS: usize = 8;

/// What stands above the picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heading {
    /// What the run is about.
    pub title: String,
    /// A line below it: which scenario, which seed, what came of it.
    pub note: String,
    /// Whose view it shows.
    pub view: View,
}

/// Whose view a picture shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// What was true in the simulated world.
    #[default]
    World,
    /// What one real node knew.
    Node,
}

/// Draws a recording as an SVG file.
///
/// Lost packets are drawn if the recording has packets ([`Detail::Packets`](crate::Detail::Packets)).
pub fn draw(recording: &Recording, heading: &Heading) -> String {
    Picture::new(recording, heading.view).draw(heading)
}

/// A recording, measured.
struct Picture<'a> {
    recording: &'a Recording,
    view: View,
    history: History,
    axis: Axis,
    left: Tenths,
    right: Tenths,
    /// For each host, if anything was lost at all.
    losses: Option<Vec<Vec<Column>>>,
    /// The marks on the axis, and their places.
    marks: Vec<(Mark, Placed)>,
    violations: Vec<(Mark, Placed)>,
}

impl<'a> Picture<'a> {
    fn new(recording: &'a Recording, view: View) -> Picture<'a> {
        let history = History::of(recording);
        let names = recording.hosts.iter().map(|name| columns(name) * HOST_CHAR);
        let groups = recording.groups.iter().map(|label| columns(label) * SMALL_CHAR + 80);
        let counts = (0..recording.hosts.len()).map(|host| {
            let sent = recording.packets.iter().filter(|packet| packet.to == host).count();
            let most = sent + recording.heard.iter().filter(|heard| heard.by == host).count();
            columns(&lost_text(view, most, most)) * SMALL_CHAR + 80
        });
        let gutter = names.chain(groups).chain(counts).max().unwrap_or(0).clamp(GUTTER.0, GUTTER.1);
        let (left, right) = (MARGIN + gutter + 100, WIDTH - 2 * MARGIN);
        let axis = Axis::new(recording.zero, recording.begin(), recording.end, left, right - left);
        let count = usize::try_from((right - left) / COLUMN).unwrap_or(0);
        let column = |at: Instant| axis.has(at).then(|| usize::try_from((axis.x(at) - left) / COLUMN).unwrap_or(0));
        let losses = losses(recording, count, column);
        let has_losses = losses.iter().flatten().any(|column| column.lost() > 0);
        let placed = |marks: &[Mark], longest: Tenths, rows: usize| {
            let marks: Vec<Mark> = marks.iter().filter(|mark| axis.has(mark.at)).cloned().collect();
            let width = |mark: &Mark| columns(&shortened(&mark.text, longest)) * CHAR + 2 * LABEL_PADDING;
            let measured: Vec<(Tenths, Tenths)> = marks.iter().map(|mark| (axis.x(mark.at), width(mark))).collect();
            let placed = labels::place(&measured, (MARGIN, WIDTH - MARGIN / 2), rows);
            marks.into_iter().zip(placed).collect::<Vec<_>>()
        };
        let marks = placed(&history.marks, LABEL, LABEL_ROWS);
        let violations = placed(&history.violations, VIOLATION, VIOLATION_ROWS);
        Picture { recording, view, history, axis, left, right, losses: has_losses.then_some(losses), marks, violations }
    }

    fn lane_height(&self) -> Tenths {
        let groups = Tenths::try_from(self.recording.groups.len()).unwrap_or(0);
        let lost = if self.losses.is_some() { GAP + LOST } else { 0 };
        2 * PADDING + STATE + groups * (GAP + GROUP) + lost
    }

    fn draw(&self, heading: &Heading) -> String {
        let hosts = Tenths::try_from(self.recording.hosts.len()).unwrap_or(0);
        let labels_top = 620;
        let lanes_top = labels_top + rows(&self.marks) * ROW + 40;
        let lanes_bottom = lanes_top + hosts * (self.lane_height() + GAP) - GAP;
        let violations_top = lanes_bottom + 60;
        let axis_y = violations_top + rows(&self.violations) * ROW + 20;
        let legend = self.legend();
        let legend_top = axis_y + 360;
        let height = legend_top + legend_rows(&legend) * 200;
        let mut canvas = Canvas::new(&heading.title, WIDTH, height);
        canvas.text("title", (MARGIN, 280), Anchor::Start, &heading.title);
        canvas.text("note", (MARGIN, 460), Anchor::Start, &self.note(&heading.note));
        for lane in 0..hosts {
            let top = lanes_top + lane * (self.lane_height() + GAP);
            canvas.rect("lane", [MARGIN, top, self.right - MARGIN, self.lane_height()], None);
        }
        self.ticks(&mut canvas, lanes_top, axis_y);
        for (lane, host) in self.history.hosts.iter().enumerate() {
            let top = lanes_top + Tenths::try_from(lane).unwrap_or(0) * (self.lane_height() + GAP);
            self.lane(&mut canvas, lane, host, top + PADDING);
        }
        self.events(&mut canvas, labels_top, lanes_top, lanes_bottom);
        self.wrongs(&mut canvas, violations_top, lanes_top);
        draw_legend(&mut canvas, &legend, legend_top);
        canvas.finish()
    }

    /// The note, and what of the run is not in the picture.
    fn note(&self, note: &str) -> String {
        let mut parts = vec![note.to_owned()];
        let left_out = self.history.marks.len() - self.marks.len();
        if left_out > 0 {
            parts.push(format!("{left_out} events lie before the picture"));
        }
        let unlabelled = self.marks.iter().filter(|(_, placed)| placed.row.is_none()).count();
        if unlabelled > 0 {
            parts.push(format!("{unlabelled} events had no room for a label: point at their marks"));
        }
        parts.retain(|part| !part.is_empty());
        parts.join("; ")
    }

    fn ticks(&self, canvas: &mut Canvas, top: Tenths, axis_y: Tenths) {
        for (x, text) in self.axis.ticks() {
            canvas.vertical("grid", x, top, axis_y, None);
            canvas.vertical("axis", x, axis_y, axis_y + 50, None);
            canvas.text("small", (x, axis_y + 170), Anchor::Middle, &text);
        }
        if self.axis.has(self.recording.zero) {
            canvas.vertical("zero", self.axis.x(self.recording.zero), top, axis_y, None);
        }
        canvas.line("axis", [self.left, axis_y, self.right, axis_y], None);
    }

    // --- lanes

    fn lane(&self, canvas: &mut Canvas, lane: usize, host: &Host, top: Tenths) {
        let name = &self.recording.hosts[lane];
        let room = self.left - MARGIN - 100;
        canvas.text("host", (MARGIN + 40, top + 130), Anchor::Start, &shortened(name, room / HOST_CHAR));
        for span in &host.states {
            let Some(bar) = self.bar(span.from, span.to, NARROWEST, top, STATE) else { continue };
            canvas.rect(state_class(span.what), bar, Some(self.tip(name, span.what, span.from, span.to)));
        }
        for span in &host.hindrances {
            let Some(bar) = self.bar(span.from, span.to, NARROWEST_CROWD, top, STATE) else { continue };
            let (pattern, word) = hindrance(span.what);
            canvas.rect(pattern, bar, Some(self.tip(name, word, span.from, span.to)));
        }
        for span in &host.states {
            let Some([x, _, width, _]) = self.bar(span.from, span.to, NARROWEST, top, STATE) else { continue };
            if width >= columns(span.what) * CHAR + 80 {
                canvas.text("word", (x + 40, top + 130), Anchor::Start, span.what);
            }
        }
        let mut top = top + STATE + GAP;
        for (group, label) in self.recording.groups.iter().enumerate() {
            let text = shortened(label, (room - 80) / SMALL_CHAR);
            canvas.text("faint", (MARGIN + 120, top + 85), Anchor::Start, &text);
            self.group(canvas, host, group, (name, label), top);
            top += GROUP + GAP;
        }
        if let Some(losses) = &self.losses {
            self.lost(canvas, &losses[lane], top);
        }
    }

    fn group(&self, canvas: &mut Canvas, host: &Host, group: usize, (name, label): (&str, &str), top: Tenths) {
        let class = format!("g{}", group % COLOURS);
        for share in [Share::Part, Share::All] {
            let (top, height, word) = match share {
                Share::All => (top, GROUP, "all"),
                _ => (top + GROUP * 6 / 10, GROUP * 4 / 10, "a part"),
            };
            for span in host.groups[group].iter().filter(|span| span.what == share) {
                let Some(bar) = self.bar(span.from, span.to, NARROWEST, top, height) else { continue };
                let what = format!("runs {word} of {label}");
                canvas.rect(&class, bar, Some(self.tip(name, &what, span.from, span.to)));
            }
        }
        for span in &host.crowded[group] {
            let Some(bar) = self.bar(span.from, span.to, NARROWEST_CROWD, top - 10, GROUP + 20) else { continue };
            let tip = self.tip(name, &format!("is not alone in running {label}"), span.from, span.to);
            canvas.rect("#both", bar, None);
            canvas.rect("both-edge", bar, Some(tip));
        }
    }

    /// Columns as high as the share of the packets that were lost; equal neighbours are one rectangle.
    fn lost(&self, canvas: &mut Canvas, columns: &[Column], top: Tenths) {
        let mut total = Column::default();
        for column in columns {
            total.add(column);
        }
        if self.view == View::Node && total.sent == 0 {
            // What others received is not known.
            return;
        }
        let text = lost_text(self.view, total.lost(), total.sent);
        canvas.text("faint", (MARGIN + 120, top + 110), Anchor::Start, &text);
        let look = |column: &Column| {
            let height = u64::from(column.lost()) * u64::from(LOST.unsigned_abs()) / u64::from(column.sent.max(1));
            let height = Tenths::try_from(height).unwrap_or(LOST);
            // Whole pixels, and at least two.
            (column.lost() > 0).then(|| ((height / 10 * 10).max(20), column.cause()))
        };
        let mut at = 0;
        while at < columns.len() {
            let same = columns[at..].iter().take_while(|column| look(column) == look(&columns[at])).count();
            if let Some((height, cause)) = look(&columns[at]) {
                let [x, width] = [at, same].map(|count| Tenths::try_from(count).unwrap_or(0) * COLUMN);
                canvas.rect(cause_look(cause).0, [self.left + x, top + LOST - height, width, height], None);
            }
            at += same;
        }
    }

    /// The rectangle of a span, as far as it is on the axis.
    fn bar(&self, from: Instant, to: Instant, narrowest: Tenths, top: Tenths, height: Tenths) -> Option<[Tenths; 4]> {
        let (x, end) = (self.axis.x(from), self.axis.x(to));
        let is_seen = self.axis.has(from) || self.axis.has(to) || end > x;
        is_seen.then(|| [x.min(self.right - narrowest), top, (end - x).max(narrowest), height])
    }

    fn tip(&self, name: &str, what: &str, from: Instant, to: Instant) -> String {
        let zero = self.recording.zero;
        format!("{name}: {what}, {} to {}", precise(zero, from), precise(zero, to))
    }

    // --- marks

    fn events(&self, canvas: &mut Canvas, top: Tenths, lanes_top: Tenths, lanes_bottom: Tenths) {
        let time = |mark: &Mark| format!("{}: {}", precise(self.recording.zero, mark.at), mark.text);
        for (mark, placed) in &self.marks {
            let from = placed.row.map_or(lanes_top - 60, |row| top + row_top(row) + 20);
            canvas.vertical("mark", placed.x, from, lanes_bottom, Some(&time(mark)));
            for lane in
                (0..self.recording.hosts.len()).filter(|lane| mark.hosts.is_empty() || mark.hosts.contains(lane))
            {
                let from = lanes_top + Tenths::try_from(lane).unwrap_or(0) * (self.lane_height() + GAP);
                canvas.vertical("here", placed.x, from, from + self.lane_height(), Some(&time(mark)));
            }
        }
        for (mark, placed) in &self.marks {
            if let Some(row) = placed.row {
                let place = (placed.text_x + LABEL_PADDING, top + row_top(row) + 100);
                canvas.text("label", place, Anchor::Start, &shortened(&mark.text, LABEL));
            }
        }
    }

    fn wrongs(&self, canvas: &mut Canvas, top: Tenths, lanes_top: Tenths) {
        for (mark, placed) in &self.violations {
            let tip = format!("{}: {}", precise(self.recording.zero, mark.at), mark.text);
            let to = placed.row.map_or(top, |row| top + row_top(row) + 100);
            canvas.vertical("violation", placed.x, lanes_top, to, Some(&tip));
        }
        for (mark, placed) in &self.violations {
            if let Some(row) = placed.row {
                let place = (placed.text_x + LABEL_PADDING, top + row_top(row) + 100);
                canvas.text("label wrong", place, Anchor::Start, &shortened(&mark.text, VIOLATION));
            }
        }
    }

    // --- legend

    /// Class or hatching, and meaning, of everything that occurs.
    fn legend(&self) -> Vec<(&'static str, &'static str)> {
        let mut legend = Vec::new();
        let hosts = &self.history.hosts;
        let states = [
            ("off", "machine off"),
            ("down", "no daemon"),
            ("init", "daemon: init"),
            ("up", "daemon: up"),
            ("active", "daemon: active"),
            ("dead", "taken for dead"),
            ("unrecorded", "not recorded"),
        ];
        legend.extend(
            states
                .into_iter()
                .filter(|(word, _)| hosts.iter().flat_map(|host| &host.states).any(|span| span.what == *word)),
        );
        for what in [Hindrance::Still, Hindrance::NotScheduled] {
            if hosts.iter().flat_map(|host| &host.hindrances).any(|span| span.what == what) {
                legend.push(hindrance(what));
            }
        }
        let shares = hosts.iter().flat_map(|host| &host.groups).flatten();
        let has_part = shares.clone().any(|span| span.what == Share::Part);
        if shares.count() > 0 {
            legend.push(("g0", "all of a group"));
        }
        if has_part {
            legend.push(("g0 part", "a part of it"));
        }
        if hosts.iter().flat_map(|host| &host.crowded).flatten().next().is_some() {
            legend.push(("#both", "on several hosts"));
        }
        for cause in Cause::ALL {
            let has = |column: &Column| column.lost[cause as usize] > 0;
            if self.losses.iter().flatten().flatten().any(has) {
                legend.push(cause_look(cause));
            }
        }
        if !self.marks.is_empty() {
            let what = match self.view {
                View::World => "what the plan did",
                View::Node => "what the node saw and decided",
            };
            legend.push(("|here", what));
        }
        if !self.violations.is_empty() {
            legend.push(("|violation", "violated"));
        }
        legend
    }
}

/// How many of how many were lost.
fn lost_text(view: View, lost: impl fmt::Display, sent: impl fmt::Display) -> String {
    match view {
        View::World => format!("lost {lost}/{sent}"),
        View::Node => format!("refused {lost}/{sent}"),
    }
}

fn row_top(row: usize) -> Tenths {
    Tenths::try_from(row).unwrap_or(0) * ROW
}

/// The rows that these labels need.
fn rows(marks: &[(Mark, Placed)]) -> Tenths {
    let rows = marks.iter().filter_map(|(_, placed)| placed.row).max().map_or(0, |row| row + 1);
    Tenths::try_from(rows).unwrap_or(0)
}

fn state_class(word: &'static str) -> &'static str {
    match word {
        "off" | "down" | "init" | "up" | "active" | "dead" | "unrecorded" => word,
        _ => "other",
    }
}

fn hindrance(what: Hindrance) -> (&'static str, &'static str) {
    match what {
        Hindrance::Still => ("#still", "machine stands still"),
        Hindrance::NotScheduled | Hindrance::Nothing => ("#wait", "daemon not scheduled"),
    }
}

fn cause_look(cause: Cause) -> (&'static str, &'static str) {
    match cause {
        Cause::Cut => ("cut", "packets lost: cut"),
        Cause::Luck => ("luck", "packets lost: bad luck"),
        Cause::Full => ("full", "packets lost: queue full"),
        Cause::Refused => ("refused", "packets refused"),
    }
}

/// Where each entry of the legend is: row and left edge.
fn legend_places(legend: &[(&'static str, &'static str)]) -> Vec<(Tenths, Tenths)> {
    let (mut row, mut x) = (0, MARGIN);
    let places = legend.iter().map(|(_, meaning)| {
        let width = 280 + columns(meaning) * SMALL_CHAR + 180;
        if x + width > WIDTH {
            (row, x) = (row + 1, MARGIN);
        }
        let place = (row, x);
        x += width;
        place
    });
    places.collect()
}

fn legend_rows(legend: &[(&'static str, &'static str)]) -> Tenths {
    legend_places(legend).last().map_or(0, |(row, _)| row + 1)
}

fn draw_legend(canvas: &mut Canvas, legend: &[(&'static str, &'static str)], top: Tenths) {
    for ((class, meaning), (row, x)) in legend.iter().zip(legend_places(legend)) {
        let y = top + row * 200;
        if let Some(line) = class.strip_prefix('|') {
            canvas.vertical(line, x + 110, y - 20, y + 120, None);
        } else if let Some(colour) = class.strip_suffix(" part") {
            canvas.rect(colour, [x, y + 60, 220, 40], None);
        } else {
            canvas.rect(class, [x, y, 220, 100], None);
        }
        canvas.text("faint", (x + 280, y + 90), Anchor::Start, meaning);
    }
}
