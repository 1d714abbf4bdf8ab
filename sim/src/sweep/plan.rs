//! The plan of a sweep: TOML to [`Sweep`], all problems at once.
//!
//! ```toml
//! title = "failover against dead time"
//! seeds = 200                    # runs of each point of the grid
//! first_seed = 1                 # may be left out
//! watch = "60s"                  # how long a run is watched, from what is done on
//! group = false                  # whether the pair has a resource group; true if left out
//! impossible = "skip"            # combinations that no cluster can have; "refuse" if left out
//!
//! [grid]                         # one value, or a list
//! do = ["crash", "quiet"]        # crash | quiet | partition | stop | pause
//! keepalive = ["250ms", "1s"]
//! deadtime = ["3s", "3.5x"]      # or so many keepalives
//! links = [1, 2]                 # may be left out: 1
//! loss = [0, 0.05]               # of each packet on each link; may be left out: 0
//! delay = ["uniform 1ms 5ms"]    # as `net delay` of a scenario; may be left out: the usual
//! lasts = ["2s", "10s"]          # pauses and partitions; without it a partition lasts to the end
//! ```
//!
//! Every combination becomes a scenario and goes through the scenario's parser here, so that a sweep that begins does not
//! stumble later.

use super::grid::{Act, Cell};
use crate::plan::{Plan, nearest};
use hb_core::config::{Code, Diagnostic, FileName, Span};
use std::fmt::Display;
use std::ops::Range;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// More runs than this are a slip of the pen: weeks of computing.
const RUNS_MAX: u64 = 10_000_000;
const TOP: &[&str] = &["title", "seeds", "first_seed", "watch", "group", "impossible", "grid"];
const GRID: &[&str] = &["do", "keepalive", "deadtime", "links", "loss", "delay", "lasts"];

/// A sweep: the points of the grid and the seeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// What it is about.
    pub title: String,
    /// Runs of each cell.
    pub seeds: u64,
    /// The seed of the first.
    pub first_seed: u64,
    /// All points, the first parameter slowest.
    pub cells: Vec<Cell>,
    /// How many combinations were left out since no cluster can have them.
    pub skipped: usize,
}

impl Sweep {
    /// Reads a plan; all problems at once.
    pub fn parse(name: &str, text: &str) -> Result<Sweep, Vec<Diagnostic>> {
        let mut reader = Reader { file: FileName(name.to_owned()), text, problems: Vec::new() };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let span = reader.span(error.span().unwrap_or(0..0));
            reader.problem(Code::SweepSyntax, span, error.message(), "see toml.io for how TOML is written");
        }
        let sweep = reader.sweep(table.get_ref());
        let mut problems = reader.problems;
        problems.sort_by_key(|problem| problem.span.start);
        match sweep {
            Some(sweep) if problems.is_empty() => Ok(sweep),
            _ => Err(problems),
        }
    }

    /// The number of all runs.
    pub fn runs(&self) -> u64 {
        self.seeds.saturating_mul(self.cells.len() as u64)
    }
}

/// A value of the grid, and where it stands.
#[derive(Clone)]
struct At<T> {
    value: T,
    span: Span,
}

/// A dead time as written.
#[derive(Clone, Copy)]
enum Deadtime {
    Time(Duration),
    /// In thousandths of a keepalive.
    Keepalives(u64),
}

struct Grid {
    acts: Vec<At<Act>>,
    keepalives: Vec<At<Duration>>,
    deadtimes: Vec<At<Deadtime>>,
    links: Vec<At<u32>>,
    losses: Vec<At<u32>>,
    delays: Vec<At<String>>,
    lasts: Vec<At<Duration>>,
}

/// What is the same for all points.
struct Common {
    watch: At<Duration>,
    has_group: bool,
    skip: bool,
}

struct Reader<'t> {
    file: FileName,
    text: &'t str,
    problems: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn problem(&mut self, code: Code, span: Span, message: impl Display, help: impl Display) {
        self.problems.push(Diagnostic::new(code, self.file.clone(), span, message).help(help));
    }

    /// A range of bytes as a piece of one line.
    fn span(&self, range: Range<usize>) -> Span {
        let mut start = range.start.min(self.text.len());
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        let begin = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let rest = self.text[start..].find(['\n', '\r']).unwrap_or(self.text.len() - start);
        let mut end = range.end.clamp(start, start + rest);
        while !self.text.is_char_boundary(end) {
            end += 1;
        }
        let line = self.text[..start].matches('\n').count() + 1;
        let column = self.text[begin..start].chars().count() + 1;
        let small = |number| u32::try_from(number).unwrap_or(u32::MAX);
        Span { line: small(line), column: small(column), start, end }
    }

    fn unknown_keys(&mut self, table: &DeTable<'_>, known: &'static [&'static str], place: &str) {
        for key in table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let help = match nearest(key.get_ref(), known) {
                Some(near) => format!("write `{near}`"),
                None if GRID.contains(&key.get_ref().as_ref()) => "it belongs into the table `[grid]`".to_owned(),
                None => format!("{place} knows {}", known.join(", ")),
            };
            let span = self.span(key.span());
            self.problem(Code::SweepKey, span, format!("unknown key `{}`", key.get_ref()), help);
        }
    }

    fn missing(&mut self, key: &str, example: &str) {
        self.problem(Code::SweepIncomplete, Span::FILE, format!("`{key}` is missing"), format!("write `{example}`"));
    }

    fn wrong(&mut self, value: &Spanned<DeValue<'_>>, help: impl Display) {
        let span = self.span(value.span());
        let written = self.text.get(span.start..span.end).unwrap_or_default();
        let message = format!("`{written}` cannot stand here");
        self.problem(Code::SweepValue, span, message, help);
    }

    fn sweep(&mut self, table: &DeTable<'_>) -> Option<Sweep> {
        self.unknown_keys(table, TOP, "the plan");
        let title = match table.get("title") {
            None => Some("a sweep".to_owned()),
            Some(value) => self.text_of(value, "a text in quotes").map(|title| title.value),
        };
        let seeds = match table.get("seeds") {
            None => {
                self.missing("seeds", "seeds = 200");
                None
            }
            Some(value) => {
                self.whole(value, 1, RUNS_MAX).map(|seeds| At { value: seeds, span: self.span(value.span()) })
            }
        };
        let first_seed = table.get("first_seed").map_or(Some(1), |value| self.whole(value, 0, u64::from(u32::MAX)));
        let watch = match table.get("watch") {
            None => {
                self.missing("watch", "watch = \"60s\"");
                None
            }
            Some(value) => self.time(value),
        };
        let skip = match table.get("impossible") {
            None => Some(false),
            Some(value) => self.word(value, &["refuse", "skip"]).map(|word| word.value == "skip"),
        };
        let has_group = match table.get("group") {
            None => Some(true),
            Some(value) => {
                let is = value.get_ref().as_bool();
                if is.is_none() {
                    self.wrong(value, "write true or false");
                }
                is
            }
        };
        let grid = match table.get("grid").map(|grid| (grid, grid.get_ref().as_table())) {
            None => {
                self.missing("grid", "[grid]");
                None
            }
            Some((value, None)) => {
                self.wrong(value, "write it as a table: `[grid]`");
                None
            }
            Some((_, Some(grid))) => self.grid(grid),
        };
        let (seeds, grid) = (seeds?, grid?);
        let all = Common { watch: watch?, has_group: has_group?, skip: skip? };
        let mut sweep =
            Sweep { title: title?, seeds: seeds.value, first_seed: first_seed?, cells: Vec::new(), skipped: 0 };
        self.cells(&mut sweep, &grid, &all);
        if sweep.runs() > RUNS_MAX {
            let message =
                format!("{} points of {} runs each are more than {RUNS_MAX} runs", sweep.cells.len(), seeds.value);
            self.problem(Code::SweepValue, seeds.span, message, "fewer seeds, or a smaller grid");
        }
        Some(sweep)
    }

    fn grid(&mut self, table: &DeTable<'_>) -> Option<Grid> {
        self.unknown_keys(table, GRID, "`[grid]`");
        let acts = self.list(table, "do", Some("do = [\"crash\"]"), |reader, value| {
            const WORDS: [&str; 5] =
                [Act::ALL[0].word(), Act::ALL[1].word(), Act::ALL[2].word(), Act::ALL[3].word(), Act::ALL[4].word()];
            let word = reader.word(value, &WORDS)?;
            let act = Act::ALL.into_iter().find(|act| act.word() == word.value)?;
            Some(At { value: act, span: word.span })
        });
        let keepalives = self.list(table, "keepalive", Some("keepalive = \"1s\""), Self::time);
        let deadtimes = self.list(table, "deadtime", Some("deadtime = [\"3s\", \"10s\"]"), Self::deadtime);
        let links = self.list(table, "links", None, |reader, value| {
            let links = reader.whole(value, 1, 16)?;
            Some(At { value: u32::try_from(links).ok()?, span: reader.span(value.span()) })
        });
        let losses = self.list(table, "loss", None, Self::loss);
        let delays = self.list(table, "delay", None, |reader, value| {
            reader.text_of(value, "a delay as in scenarios, such as \"uniform 1ms 5ms\"")
        });
        let lasts = self.list(table, "lasts", None, Self::time);
        let (acts, lasts) = (acts?, lasts?);
        if acts.iter().any(|act| act.value == Act::Pause) && lasts.is_empty() {
            self.missing("grid.lasts", "lasts = \"2s\"");
        }
        if let Some(first) = lasts.first().filter(|_| !acts.iter().any(|act| can_last(act.value))) {
            let help = "add \"pause\" or \"partition\" to `do`, or remove this";
            self.problem(Code::SweepValue, first.span, "nothing in this grid ends again", help);
        }
        let default = |value| At { value, span: Span::FILE };
        let mut grid = Grid {
            acts,
            keepalives: keepalives?,
            deadtimes: deadtimes?,
            links: links?,
            losses: losses?,
            delays: delays?,
            lasts,
        };
        if grid.links.is_empty() {
            grid.links.push(default(1));
        }
        if grid.losses.is_empty() {
            grid.losses.push(default(0));
        }
        if grid.delays.is_empty() {
            grid.delays.push(At { value: String::new(), span: Span::FILE });
        }
        Some(grid)
    }

    /// The values of one parameter: a list, or one value alone. An absent parameter is an empty list, unless `example`
    /// says that it must be there.
    fn list<T>(
        &mut self,
        table: &DeTable<'_>,
        key: &str,
        example: Option<&str>,
        mut read: impl FnMut(&mut Self, &Spanned<DeValue<'_>>) -> Option<At<T>>,
    ) -> Option<Vec<At<T>>> {
        let Some(value) = table.get(key) else {
            let Some(example) = example else { return Some(Vec::new()) };
            self.missing(&format!("grid.{key}"), example);
            return None;
        };
        let Some(array) = value.get_ref().as_array() else { return read(self, value).map(|one| vec![one]) };
        if array.is_empty() {
            self.wrong(value, "a list needs at least one value");
            return None;
        }
        // Every value is looked at, also after a wrong one.
        let values: Vec<Option<At<T>>> = array.iter().map(|value| read(self, value)).collect();
        values.into_iter().collect()
    }

    fn text_of(&mut self, value: &Spanned<DeValue<'_>>, help: &str) -> Option<At<String>> {
        let text = value.get_ref().as_str().filter(|text| !text.trim().is_empty() && !text.contains(char::is_control));
        let Some(text) = text else {
            self.wrong(value, help);
            return None;
        };
        Some(At { value: text.to_owned(), span: self.span(value.span()) })
    }

    fn word(&mut self, value: &Spanned<DeValue<'_>>, known: &[&'static str]) -> Option<At<&'static str>> {
        let text = value.get_ref().as_str().unwrap_or_default();
        let found = known.iter().find(|known| **known == text).copied();
        if found.is_none() {
            let help = match nearest(text, known) {
                Some(near) => format!("write \"{near}\""),
                None => format!("one of {}", known.join(", ")),
            };
            self.wrong(value, help);
        }
        Some(At { value: found?, span: self.span(value.span()) })
    }

    fn whole(&mut self, value: &Spanned<DeValue<'_>>, least: u64, most: u64) -> Option<u64> {
        let number =
            value.get_ref().as_integer().and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok());
        let number = number.filter(|number| (least..=most).contains(number));
        if number.is_none() {
            self.wrong(value, format!("a whole number from {least} to {most}"));
        }
        number
    }

    fn time(&mut self, value: &Spanned<DeValue<'_>>) -> Option<At<Duration>> {
        let time = value.get_ref().as_str().and_then(parse_time);
        if time.is_none() {
            self.wrong(
                value,
                "a time in quotes with its unit, at most a month: \"250ms\", \"1.5s\", \"10min\", \"2h\"",
            );
        }
        Some(At { value: time?, span: self.span(value.span()) })
    }

    fn deadtime(&mut self, value: &Spanned<DeValue<'_>>) -> Option<At<Deadtime>> {
        let text = value.get_ref().as_str().unwrap_or_default();
        let times = text.strip_suffix('x').and_then(|number| decimal(number, 3)).filter(|times| *times <= 1_000_000);
        let deadtime = times.map(Deadtime::Keepalives).or_else(|| parse_time(text).map(Deadtime::Time));
        if deadtime.is_none() {
            self.wrong(value, "a time such as \"3s\", or keepalives such as \"3.5x\"");
        }
        Some(At { value: deadtime?, span: self.span(value.span()) })
    }

    fn loss(&mut self, value: &Spanned<DeValue<'_>>) -> Option<At<u32>> {
        let text = match value.get_ref() {
            DeValue::Float(float) => float.as_str(),
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
            _ => "",
        };
        let ppm = decimal(text, 6).and_then(|ppm| u32::try_from(ppm).ok()).filter(|ppm| *ppm < 1_000_000);
        if ppm.is_none() {
            self.wrong(value, "a probability below 1 with at most six decimals, such as 0.05");
        }
        Some(At { value: ppm?, span: self.span(value.span()) })
    }

    /// All combinations, each through the scenario's parser.
    fn cells(&mut self, sweep: &mut Sweep, grid: &Grid, all: &Common) {
        let to_the_end = [None];
        let lasts: Vec<Option<Duration>> = grid.lasts.iter().map(|lasts| Some(lasts.value)).collect();
        let mut networks = Vec::new();
        for links in &grid.links {
            for loss in &grid.losses {
                networks.extend(grid.delays.iter().map(|delay| (links.value, loss.value, delay)));
            }
        }
        for act in &grid.acts {
            let lasts = if can_last(act.value) && !lasts.is_empty() { &lasts[..] } else { &to_the_end };
            for keepalive in &grid.keepalives {
                for deadtime in &grid.deadtimes {
                    let time = match deadtime.value {
                        Deadtime::Time(time) => time,
                        Deadtime::Keepalives(times) => millis(keepalive.value, times),
                    };
                    for (links, loss, delay) in &networks {
                        let cells = lasts.iter().map(|lasts| Cell {
                            act: act.value,
                            keepalive: keepalive.value,
                            deadtime: time,
                            links: *links,
                            loss: *loss,
                            delay: delay.value.clone(),
                            lasts: *lasts,
                            watch: all.watch.value,
                            has_group: all.has_group,
                        });
                        for cell in cells {
                            self.cell(sweep, cell, [deadtime.span, delay.span], all);
                        }
                    }
                }
            }
        }
        if sweep.cells.is_empty() && self.problems.is_empty() {
            let help = "a dead time must be longer than two keepalives";
            self.problem(Code::SweepImpossible, Span::FILE, "no combination of the grid is possible", help);
        }
    }

    fn cell(&mut self, sweep: &mut Sweep, cell: Cell, [deadtime, delay]: [Span; 2], all: &Common) {
        let wrong = Plan::parse("cell", &cell.scenario(sweep.first_seed)).err();
        let wrong = wrong.and_then(|problems| problems.into_iter().find(Diagnostic::is_error));
        if let Some(wrong) = wrong {
            let scenario = matches!(wrong.code, Code::ScenarioWord | Code::ScenarioValue | Code::ScenarioIncomplete);
            if scenario {
                let help = wrong.help.unwrap_or_else(|| "as `net delay` of a scenario".to_owned());
                self.once(Code::SweepValue, delay, wrong.message, &help);
            } else if all.skip {
                sweep.skipped += 1;
            } else {
                let message = format!("`{cell}`: {}", wrong.message);
                let help = "write `impossible = \"skip\"` to leave such points out";
                self.once(Code::SweepImpossible, deadtime, message, help);
            }
            return;
        }
        let needs = match cell.act {
            Act::Quiet | Act::Stop => Duration::ZERO,
            Act::Crash | Act::Partition => cell.deadtime + cell.keepalive,
            Act::Pause => cell.keepalive,
        } + cell.lasts.unwrap_or_default();
        if cell.watch <= needs {
            let message = format!("`{cell}` cannot be seen to its end in this time");
            let help = "watch longer than the longest dead time and whatever lasts";
            self.once(Code::SweepValue, all.watch.span, message, help);
        } else {
            sweep.cells.push(cell);
        }
    }

    /// One problem for one value, however many combinations have it.
    fn once(&mut self, code: Code, span: Span, message: String, help: &str) {
        if !self.problems.iter().any(|problem| problem.code == code && problem.span == span) {
            self.problem(code, span, message, help);
        }
    }
}

/// Whether an act can be undone.
fn can_last(act: Act) -> bool {
    matches!(act, Act::Pause | Act::Partition)
}

/// So many thousandths of a span, to the millisecond, which is as fine as ha.cf gets.
fn millis(span: Duration, thousandths: u64) -> Duration {
    let millis = (span.as_millis() * u128::from(thousandths) + 500) / 1000;
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// A decimal number as an integer with so many decimals.
fn decimal(text: &str, digits: usize) -> Option<u64> {
    let text = text.replace('_', "");
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || part.len() > digits || !is_number(whole) || !is_number(part) {
        return None;
    }
    format!("{whole}{part:0<digits$}").parse().ok()
}

/// A time with its unit, in whole milliseconds and longer than zero.
fn parse_time(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(at);
    let scale = match unit {
        "ms" => 1,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let thousandths = decimal(number.trim_end(), 3)?.checked_mul(scale)?;
    let millis = thousandths / 1000;
    let a_month = 31 * 24 * 3_600_000;
    (thousandths.is_multiple_of(1000) && (1..=a_month).contains(&millis)).then(|| Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "seeds = 3\nwatch = \"20s\"\n[grid]\ndo = [\"crash\", \"quiet\"]\nkeepalive = \"250ms\"\n\
        deadtime = [\"1s\", \"2.5x\"]\nloss = [0, 0.05]\n";

    #[test]
    fn a_grid_is_all_combinations_in_order() {
        let sweep = Sweep::parse("good", GOOD).unwrap();
        assert_eq!((sweep.cells.len(), sweep.runs(), sweep.skipped), (8, 24, 0));
        let words: Vec<String> = sweep.cells.iter().map(ToString::to_string).collect();
        assert_eq!(words[0], "crash, keepalive 250 ms, deadtime 1 s, 1 link, loss 0 %");
        assert_eq!(words[3], "crash, keepalive 250 ms, deadtime 625 ms, 1 link, loss 5 %");
        assert_eq!(words[7], "quiet, keepalive 250 ms, deadtime 625 ms, 1 link, loss 5 %");
    }

    #[test]
    fn impossible_points_are_left_out_if_the_plan_says_so() {
        let text = GOOD.replace("\"1s\"", "\"1s\", \"500ms\"");
        let problems = Sweep::parse("bad", &text).unwrap_err();
        assert_eq!(problems.len(), 1, "{}", crate::render_all(&problems, &text));
        assert_eq!((problems[0].code, problems[0].span.line, problems[0].span.column), (Code::SweepImpossible, 6, 19));
        let sweep = Sweep::parse("good", &format!("impossible = \"skip\"\n{text}")).unwrap();
        assert_eq!((sweep.cells.len(), sweep.skipped), (8, 4));
    }

    #[test]
    fn all_problems_of_a_plan_are_shown_at_once() {
        let text = "sedes = 5\nseeds = 0\nwatch = 20\nloss = 0.1\n[grid]\ndo = [\"crush\", \"pause\"]\nkeepalive = \"1\"\n\
            deadtime = []\nlinks = [1, 99]\nloss = [0.5, 1.5, \"x\"]\nkeepalife = 3\n";
        let problems = Sweep::parse("broken.toml", text).unwrap_err();
        insta::assert_snapshot!("sweep_diagnostics", crate::render_all(&problems, text));
    }

    #[test]
    fn what_is_not_toml_is_told_where() {
        let text = "seeds = 5\nwatch = \"20s\n[grid\ndo = = 3\n";
        let problems = Sweep::parse("broken.toml", text).unwrap_err();
        let lines: Vec<u32> =
            problems.iter().filter(|p| p.code == Code::SweepSyntax).map(|problem| problem.span.line).collect();
        assert!(lines.starts_with(&[2, 3]), "{}", crate::render_all(&problems, text));
    }

    #[test]
    fn times_need_a_unit() {
        for (text, millis) in
            [("250ms", Some(250)), ("1.5s", Some(1500)), ("2min", Some(120_000)), ("1h", Some(3_600_000))]
                .into_iter()
                .chain(["3", "", "s", "-1s", "1.5ms", "0s", "9999999h", "1 week"].map(|text| (text, None)))
        {
            assert_eq!(parse_time(text), millis.map(Duration::from_millis), "{text}");
        }
    }
}
