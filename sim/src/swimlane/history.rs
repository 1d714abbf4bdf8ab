//! What a recording says about each host over time: changes become spans, packets become shares of columns.

use crate::ground::{Power, Share};
use crate::network::Lost;
use crate::recording::{Recording, What};
use hb_core::time::Instant;

/// Something that was so for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span<T> {
    pub(super) from: Instant,
    pub(super) to: Instant,
    pub(super) what: T,
}

/// What keeps a daemon from running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hindrance {
    Nothing,
    /// It is not scheduled; the machine works.
    NotScheduled,
    /// The machine stands still.
    Still,
}

/// One host.
pub(super) struct Host {
    /// The daemon's word for itself: `init`, `up`, `active`; `down` without a daemon, `off` without power.
    pub(super) states: Vec<Span<&'static str>>,
    pub(super) hindrances: Vec<Span<Hindrance>>,
    /// For each group, the spans in which anything of it runs here.
    pub(super) groups: Vec<Vec<Span<Share>>>,
    /// For each group, the spans in which something of it runs here and elsewhere, too.
    pub(super) crowded: Vec<Vec<Span<()>>>,
}

/// Something that happened at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) at: Instant,
    pub(super) text: String,
    /// The hosts it is about; all if none.
    pub(super) hosts: Vec<usize>,
}

/// All that is drawn, but for packets.
pub(super) struct History {
    pub(super) hosts: Vec<Host>,
    pub(super) marks: Vec<Mark>,
    pub(super) violations: Vec<Mark>,
}

/// A value over time.
struct Track<T> {
    since: Instant,
    now: T,
    spans: Vec<Span<T>>,
}

impl<T: Copy + PartialEq> Track<T> {
    fn new(since: Instant, now: T) -> Track<T> {
        Track { since, now, spans: Vec::new() }
    }

    fn change(&mut self, at: Instant, new: T) {
        if new != self.now {
            self.end(at);
            self.now = new;
        }
    }

    fn end(&mut self, at: Instant) {
        if at > self.since {
            self.spans.push(Span { from: self.since, to: at, what: self.now });
        }
        self.since = at;
    }
}

/// A host while the entries are read.
struct Tracks {
    power: Power,
    word: &'static str,
    is_scheduled: bool,
    state: Track<&'static str>,
    hindrance: Track<Hindrance>,
    groups: Vec<Track<Share>>,
    crowded: Vec<Track<bool>>,
}

impl Tracks {
    /// Works out state and hindrance anew.
    fn look(&mut self, at: Instant) {
        self.state.change(at, if self.power == Power::Off { "off" } else { self.word });
        let hindrance = match (self.power, self.is_scheduled) {
            (Power::Still, _) => Hindrance::Still,
            (Power::On, false) => Hindrance::NotScheduled,
            _ => Hindrance::Nothing,
        };
        self.hindrance.change(at, hindrance);
    }

    fn finish(mut self, end: Instant) -> Host {
        self.state.end(end);
        self.hindrance.end(end);
        let groups = self.groups.into_iter().map(|mut track| {
            track.end(end);
            track.spans.retain(|span| span.what != Share::Nothing);
            track.spans
        });
        let crowded = self.crowded.into_iter().map(|mut track| {
            track.end(end);
            let crowded = track.spans.into_iter().filter(|span| span.what);
            crowded.map(|Span { from, to, .. }| Span { from, to, what: () }).collect()
        });
        Host {
            groups: groups.collect(),
            crowded: crowded.collect(),
            states: self.state.spans,
            hindrances: self.hindrance.spans.into_iter().filter(|span| span.what != Hindrance::Nothing).collect(),
        }
    }
}

impl History {
    /// Reads a recording.
    pub(super) fn of(recording: &Recording) -> History {
        let begin = recording.begin();
        let groups = recording.groups.len();
        let mut hosts: Vec<Tracks> = (0..recording.hosts.len())
            .map(|_| Tracks {
                power: Power::Off,
                word: "down",
                is_scheduled: true,
                state: Track::new(begin, "off"),
                hindrance: Track::new(begin, Hindrance::Nothing),
                groups: (0..groups).map(|_| Track::new(begin, Share::Nothing)).collect(),
                crowded: (0..groups).map(|_| Track::new(begin, false)).collect(),
            })
            .collect();
        let (mut marks, mut violations) = (Vec::new(), Vec::new());
        for entry in &recording.entries {
            let at = entry.at;
            let mark = |text: &String, hosts: Vec<usize>| Mark { at, text: text.clone(), hosts };
            match &entry.what {
                What::Happened(text, hosts) => marks.push(mark(text, hosts.clone())),
                What::Device(host, text) => marks.push(mark(text, vec![*host])),
                What::Violated(text) => violations.push(mark(text, Vec::new())),
                What::Machine(host, power) => {
                    let of_host = &mut hosts[*host];
                    of_host.power = *power;
                    // A machine that was switched off begins with a processor.
                    of_host.is_scheduled |= *power == Power::Off;
                    of_host.look(at);
                }
                What::Scheduled(host, is_scheduled) => {
                    hosts[*host].is_scheduled = *is_scheduled;
                    hosts[*host].look(at);
                }
                What::Life(host, word) => {
                    hosts[*host].word = word;
                    // Whoever ended cannot be kept waiting.
                    hosts[*host].is_scheduled |= *word == "down";
                    hosts[*host].look(at);
                }
                What::Share(host, group, share) => {
                    hosts[*host].groups[*group].change(at, *share);
                    let holders = hosts.iter().filter(|host| host.groups[*group].now != Share::Nothing).count();
                    for host in &mut hosts {
                        let is_crowded = holders > 1 && host.groups[*group].now != Share::Nothing;
                        host.crowded[*group].change(at, is_crowded);
                    }
                }
                What::Runs(..) | What::Said(..) | What::Answered(..) => {}
            }
        }
        let hosts = hosts.into_iter().map(|host| host.finish(recording.end)).collect();
        History { hosts, marks: folded(marks), violations: folded(violations) }
    }
}

/// The same text again and again is one mark with a number.
fn folded(marks: Vec<Mark>) -> Vec<Mark> {
    let mut folded: Vec<(Mark, u32)> = Vec::new();
    for mark in marks {
        match folded.last_mut() {
            Some((last, times)) if last.text == mark.text && last.hosts == mark.hosts => *times += 1,
            _ => folded.push((mark, 1)),
        }
    }
    let numbered = folded.into_iter().map(|(mut mark, times)| {
        if times > 1 {
            mark.text = format!("{} ({times} times)", mark.text);
        }
        mark
    });
    numbered.collect()
}

/// Why packets were lost, in classes that have a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    Cut,
    Luck,
    Full,
    /// It arrived, and a real node refused it.
    Refused,
}

impl Cause {
    pub(super) const ALL: [Cause; 4] = [Cause::Cut, Cause::Luck, Cause::Full, Cause::Refused];

    fn of(lost: Lost) -> Option<Cause> {
        match lost {
            Lost::Cut => Some(Cause::Cut),
            Lost::Luck => Some(Cause::Luck),
            Lost::Queue | Lost::Buffer => Some(Cause::Full),
            // The lane shows that the machine is not there.
            Lost::NoReceiver => None,
        }
    }
}

/// The packets to one host in a column of the picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) sent: u32,
    /// By [`Cause`].
    pub(super) lost: [u32; 4],
}

impl Column {
    pub(super) fn lost(&self) -> u32 {
        self.lost.iter().sum()
    }

    /// Why most of them were lost.
    pub(super) fn cause(&self) -> Cause {
        let most = self.lost.iter().max().copied().unwrap_or(0);
        Cause::ALL.into_iter().find(|cause| self.lost[*cause as usize] == most).unwrap_or(Cause::Luck)
    }

    pub(super) fn add(&mut self, other: &Column) {
        self.sent += other.sent;
        for (mine, more) in self.lost.iter_mut().zip(other.lost) {
            *mine += more;
        }
    }
}

/// For each host, what became of the packets that others sent it or that reached it, by the `columns` that `column` puts a time in.
pub(super) fn losses(
    recording: &Recording,
    columns: usize,
    column: impl Fn(Instant) -> Option<usize>,
) -> Vec<Vec<Column>> {
    let mut hosts = vec![vec![Column::default(); columns]; recording.hosts.len()];
    for packet in recording.packets.iter().filter(|packet| packet.from != packet.to) {
        let cause = packet.fate.err().and_then(Cause::of);
        let Some(at) = column(packet.at) else { continue };
        // The end of the axis belongs to the last column.
        let Some(of_column) = hosts[packet.to].get_mut(at.min(columns.saturating_sub(1))) else { continue };
        of_column.sent += 1;
        if let Some(cause) = cause {
            of_column.lost[cause as usize] += 1;
        }
    }
    for heard in &recording.heard {
        let Some(at) = column(heard.at) else { continue };
        let Some(of_column) = hosts[heard.by].get_mut(at.min(columns.saturating_sub(1))) else { continue };
        of_column.sent += 1;
        of_column.lost[Cause::Refused as usize] += u32::from(heard.is_refused);
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::Entry;
    use std::time::Duration;

    fn at(seconds: u64) -> Instant {
        Instant::after_origin(Duration::from_secs(seconds))
    }

    fn spans<T: Copy>(spans: &[Span<T>]) -> Vec<(u64, u64, T)> {
        let seconds = |at: Instant| at.as_nanos() / 1_000_000_000;
        spans.iter().map(|span| (seconds(span.from), seconds(span.to), span.what)).collect()
    }

    #[test]
    fn changes_become_spans_and_two_owners_are_seen_on_both() {
        let entries = [
            (1, What::Machine(0, Power::On)),
            (1, What::Machine(1, Power::On)),
            (1, What::Life(0, "up")),
            (2, What::Share(0, 0, Share::All)),
            (3, What::Scheduled(0, false)),
            (4, What::Machine(0, Power::Still)),
            (4, What::Share(1, 0, Share::Part)),
            (5, What::Machine(0, Power::On)),
            (6, What::Life(0, "down")),
            (7, What::Share(1, 0, Share::Nothing)),
            (8, What::Machine(0, Power::Off)),
        ];
        let recording = Recording {
            hosts: vec!["h1".into(), "h2".into()],
            groups: vec!["A".into()],
            zero: at(2),
            end: at(9),
            entries: entries.into_iter().map(|(seconds, what)| Entry { at: at(seconds), what }).collect(),
            ..Recording::default()
        };
        let history = History::of(&recording);
        let [h1, h2] = &history.hosts[..] else { panic!("two hosts") };
        assert_eq!(spans(&h1.states), [(1, 6, "up"), (6, 8, "down"), (8, 9, "off")]);
        assert_eq!(
            spans(&h1.hindrances),
            [(3, 4, Hindrance::NotScheduled), (4, 5, Hindrance::Still), (5, 6, Hindrance::NotScheduled)]
        );
        assert_eq!(spans(&h1.groups[0]), [(2, 9, Share::All)]);
        assert_eq!(spans(&h2.groups[0]), [(4, 7, Share::Part)]);
        assert_eq!(spans(&h1.crowded[0]), [(4, 7, ())]);
        assert_eq!(h1.crowded, h2.crowded);
    }

    #[test]
    fn the_same_event_again_and_again_is_one_mark() {
        let mark = |text: &str| Mark { at: at(1), text: text.into(), hosts: vec![0] };
        let texts: Vec<String> =
            folded(["a", "b", "b", "b", "a"].map(mark).to_vec()).into_iter().map(|mark| mark.text).collect();
        assert_eq!(texts, ["a", "b (3 times)", "a"]);
    }
}
