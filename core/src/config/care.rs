//! How resources are looked after: time limits, stops that fail, monitoring. All *ours*: 3.0.6 has no time limit, ten
//! retries of a stop and no monitoring (CLUSTER d.6, k.15, k.16).
//!
//! ```text
//! script_limit start|stop|status|monitor TIME [KEY ...]   without keys: for all groups
//! monitor TIME [fall N] [rise N] [RESOURCE-WORD ...]      without words: of all resources
//! stop_retries N                                          0: for ever
//! stop_failure stay|reboot
//! ```
//!
//! Of several lines about the same the last counts; one that names a group or resource counts before one that does not.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::diagnostic::{Code, Report, Span};
use super::haresources::{Group, Resource};
use super::text::{Line, Word, is_blank, nearest};
use super::timing::parse_time;
use crate::action::Verb;
use crate::time::Millis;

/// What ending a script by force takes at most once its time limit has passed: SIGTERM, two seconds, SIGKILL, two seconds.
pub const FORCED_END: Duration = Duration::from_secs(4);
/// What an operation on a built-in address counts: it is a few system calls, which nothing interrupts.
pub const ADDRESS_LIMIT: Duration = Duration::from_secs(1);

/// Shorter pauses between two looks at a resource cost more than they tell.
const MONITOR_LEAST: Duration = Duration::from_millis(100);
/// What `fall` and `rise` may be.
const COUNT_MAX: u32 = 1000;

/// How long the operations of a group's scripts may take; each is over zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// `start`.
    pub start: Duration,
    /// `stop`, each attempt.
    pub stop: Duration,
    /// `status` before a start, after a failed stop and when the node starts.
    pub status: Duration,
    /// `status` again and again while the group runs.
    pub monitor: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        let (long, short) = (Duration::from_mins(5), Duration::from_mins(1));
        Limits { start: long, stop: long, status: short, monitor: short }
    }
}

impl Limits {
    /// That of one verb.
    pub const fn of(&self, verb: Verb) -> Duration {
        match verb {
            Verb::Start => self.start,
            Verb::Stop => self.stop,
            Verb::Status => self.status,
            Verb::Monitor => self.monitor,
        }
    }

    /// The longest that releasing these resources takes if it succeeds at the first attempt.
    ///
    /// That is: the operation under way comes to its end, at worst by force ([`FORCED_END`] after its limit), and then every
    /// resource is stopped once, scripts within `stop`, built-in addresses within [`ADDRESS_LIMIT`]. A stop that takes longer
    /// or fails has failed: it is tried again, and until one succeeds the group is not released, however long that takes.
    pub fn release(&self, resources: &[Resource]) -> Duration {
        let stop = |resource: &Resource| match resource {
            Resource::Address(_) => ADDRESS_LIMIT,
            Resource::Script(_) => self.stop,
        };
        let under_way = |resource: &Resource| match resource {
            Resource::Address(_) => ADDRESS_LIMIT,
            Resource::Script(_) => self.start.max(self.status).max(self.monitor).saturating_add(FORCED_END),
        };
        let begun = resources.iter().map(under_way).max().unwrap_or_default();
        resources.iter().map(stop).fold(begun, Duration::saturating_add)
    }
}

/// When and how a running resource is asked whether it still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Monitor {
    /// From the answer to the next question; at least 100 ms.
    pub every: Duration,
    /// So many failures in a row mean that the group has failed; at least 1.
    pub fall: u32,
    /// So many successes in a row after a restart until failures are counted from zero again; at least 1.
    pub rise: u32,
}

impl fmt::Display for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms fall {} rise {}", Millis(self.every), self.fall, self.rise)
    }
}

/// What happens when a resource cannot be stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StopFailure {
    /// Its group is stuck here and given to nobody, until an operator has helped.
    #[default]
    Stay,
    /// The machine reboots at once, so that others may have the group.
    Reboot,
}

impl StopFailure {
    /// The word in ha.cf.
    pub const fn word(self) -> &'static str {
        match self {
            StopFailure::Stay => "stay",
            StopFailure::Reboot => "reboot",
        }
    }
}

/// How all resources are looked after.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Care {
    limits: BTreeMap<&'static str, Duration>,
    limits_of: BTreeMap<(String, &'static str), Duration>,
    monitor: Option<Monitor>,
    monitor_of: BTreeMap<String, Monitor>,
    /// How often a failed stop is tried again; `None` is for ever.
    pub(crate) stop_retries: Option<u32>,
    pub(crate) stop_failure: StopFailure,
}

impl Care {
    /// The limits of the group with that key.
    pub(crate) fn limits(&self, key: &str) -> Limits {
        let usual = Limits::default();
        let of = |verb: Verb| {
            let own = self.limits_of.iter().find(|((of, word), _)| of == key && *word == verb.word());
            own.map(|(_, limit)| *limit).or_else(|| self.limits.get(verb.word()).copied()).unwrap_or(usual.of(verb))
        };
        Limits { start: of(Verb::Start), stop: of(Verb::Stop), status: of(Verb::Status), monitor: of(Verb::Monitor) }
    }

    /// Whether and how the resource written as `word` is monitored.
    pub(crate) fn monitor(&self, word: &str) -> Option<Monitor> {
        self.monitor_of.get(word).copied().or(self.monitor)
    }

    /// A line for each directive, as the difference of two configurations shows them.
    pub(crate) fn lines(&self) -> Vec<String> {
        let limits = self.limits.iter().map(|(verb, limit)| format!("script_limit {verb} {} ms", Millis(*limit)));
        let own = self.limits_of.iter();
        let own = own.map(|((key, verb), limit)| format!("script_limit {verb} {} ms {key}", Millis(*limit)));
        let monitor = self.monitor.iter().map(|monitor| format!("monitor {monitor}"));
        let monitors = self.monitor_of.iter().map(|(word, monitor)| format!("monitor {monitor} {word}"));
        limits.chain(own).chain(monitor).chain(monitors).collect()
    }
}

/// The lines of ha.cf read so far, and the names in them that haresources must have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft {
    pub(crate) care: Care,
    keys: Vec<(String, Span)>,
    words: Vec<(String, Span)>,
}

impl Draft {
    /// Reads `script_limit VERB TIME [KEY ...]`.
    pub(crate) fn script_limit(&mut self, line: &Line<'_>, report: &mut Report) {
        const HELP: &str =
            "write `script_limit start|stop|status|monitor TIME`, then the first resources of groups, or nothing";
        let words = line.words(is_blank, report);
        let [_, verb, time, keys @ ..] = words.as_slice() else {
            return report.advise(Code::ArgumentMissing, line.end(), "script_limit needs a verb and a time", HELP);
        };
        let verbs = [Verb::Start, Verb::Stop, Verb::Status, Verb::Monitor].map(Verb::word);
        let Some(verb) = verbs.into_iter().find(|known| *known == verb.text) else {
            let message = format_args!("Illegal value [{}] for script_limit", verb.text);
            return report.advise(Code::IllegalValue, verb.span, message, HELP);
        };
        let Some(limit) = self::time(*time, "script_limit", Duration::from_nanos(1), report) else { return };
        if keys.is_empty() {
            self.care.limits.insert(verb, limit);
        }
        for key in keys {
            self.care.limits_of.insert((key.text.to_string(), verb), limit);
            self.keys.push((key.text.to_string(), key.span));
        }
    }

    /// Reads `monitor TIME [fall N] [rise N] [RESOURCE-WORD ...]`.
    pub(crate) fn monitor(&mut self, line: &Line<'_>, report: &mut Report) {
        let words = line.words(is_blank, report);
        let Some((every, mut rest)) = words.get(1..).and_then(<[Word<'_>]>::split_first) else { return };
        let Some(every) = self::time(*every, "monitor", MONITOR_LEAST, report) else { return };
        let mut monitor = Monitor { every, fall: 1, rise: 1 };
        while let [name @ Word { text: "fall" | "rise", .. }, after @ ..] = rest {
            let Some((number, after)) = after.split_first() else {
                let message = format_args!("{} needs a number", name.text);
                let help = "write `monitor TIME fall N rise N`, then words of haresources, or nothing";
                return report.advise(Code::ArgumentMissing, line.end(), message, help);
            };
            let Some(count) = number.text.parse().ok().filter(|count| (1..=COUNT_MAX).contains(count)) else {
                let message = format_args!("Illegal value [{}] for {} of monitor", number.text, name.text);
                let help = format_args!("write a whole number from 1 to {COUNT_MAX}");
                return report.advise(Code::IllegalValue, number.span, message, help);
            };
            *(if name.text == "fall" { &mut monitor.fall } else { &mut monitor.rise }) = count;
            rest = after;
        }
        if rest.is_empty() {
            self.care.monitor = Some(monitor);
        }
        for word in rest {
            self.care.monitor_of.insert(word.text.to_string(), monitor);
            self.words.push((word.text.to_string(), word.span));
        }
    }

    /// Says which names haresources does not have: on a node that lists only some groups that is no error.
    pub(crate) fn check(&self, groups: &[Group], report: &mut Report) {
        let keys = || groups.iter().map(|group| group.key.as_str());
        let words = || groups.iter().flat_map(|group| &group.resources).map(Resource::word);
        for (key, span) in self.keys.iter().filter(|(key, _)| keys().all(|known| known != key)) {
            let message = format_args!("haresources has no group [{key}]: the limit is that of nothing");
            report.advise(Code::CareOfNothing, *span, message, did_you_mean(nearest(key, keys())));
        }
        for (word, span) in self.words.iter().filter(|(word, _)| words().all(|known| known != word)) {
            let message = format_args!("haresources has no resource [{word}]: nothing is monitored");
            report.advise(Code::CareOfNothing, *span, message, did_you_mean(nearest(word, words())));
        }
    }
}

fn did_you_mean(near: Option<&str>) -> String {
    near.map_or_else(|| "write the word as it stands in haresources".into(), |near| format!("did you mean `{near}`?"))
}

fn time(word: Word<'_>, of: &str, least: Duration, report: &mut Report) -> Option<Duration> {
    match parse_time(word.text) {
        Ok(time) if time >= least => Some(time),
        Ok(_) | Err(_) => {
            let message = format_args!("Illegal value [{}] for {of}", word.text);
            let least = if least < Duration::from_millis(1) { "over zero" } else { "of at least 100ms" };
            report.advise(
                Code::IllegalValue,
                word.span,
                message,
                format_args!("a time {least} is needed, such as `30` or `500ms`"),
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, SourceText, Sources};
    use crate::ids::GroupId;

    const FIRST: &str = "node h1 h2\nbcast eth0\nauto_failback on\nlogfacility daemon\n";

    fn read(lines: &str) -> (Option<Config>, Vec<String>) {
        let text = |name, bytes| SourceText { name, bytes };
        let ha_cf = format!("{FIRST}{lines}");
        let reading = Config::read(&Sources {
            local_name: "h1",
            ha_cf: text("ha.cf", ha_cf.as_bytes()),
            haresources: Some(text("haresources", b"h1 10.0.0.1 Tst::A Tst::B\nh2 Web\n")),
            authkeys: text("authkeys", b"auth 1\n1 sha1 k\n"),
        });
        let problems = reading.diagnostics.iter();
        let problems = problems.map(|one| format!("{}:{} {}", one.span.line, one.span.column, one.code));
        (reading.config, problems.collect())
    }

    fn good(lines: &str) -> Config {
        let (config, problems) = read(lines);
        assert_eq!(problems, [""; 0], "{lines}");
        config.expect("no problems")
    }

    const A: GroupId = GroupId(0);
    const WEB: GroupId = GroupId(1);

    #[test]
    fn without_a_word_the_limits_are_minutes_and_nothing_is_monitored() {
        let config = good("");
        assert_eq!((config.limits(A), config.limits(GroupId(9))), (Limits::default(), Limits::default()));
        assert_eq!((config.monitor(A, 0), config.stop_retries()), (None, Some(10)));
        assert_eq!(config.stop_failure(), StopFailure::Stay);
    }

    #[test]
    fn a_limit_of_a_group_counts_before_that_of_all_wherever_it_stands() {
        let config = good(
            "script_limit stop 20 Web 10.0.0.1\nscript_limit stop 30\nscript_limit stop 500ms Web\nscript_limit monitor 5\n",
        );
        let (a, web) = (config.limits(A), config.limits(WEB));
        assert_eq!((a.stop, web.stop), (Duration::from_secs(20), Duration::from_millis(500)));
        assert_eq!((a.monitor, a.start), (Duration::from_secs(5), Duration::from_mins(5)));
    }

    #[test]
    fn a_monitor_of_a_resource_counts_before_that_of_all() {
        let config = good("monitor 10 fall 3 Tst::B Web\nmonitor 2 rise 4 fall 2\n");
        let (all, own) = (config.monitor(A, 0), config.monitor(A, 2));
        assert_eq!(all, Some(Monitor { every: Duration::from_secs(2), fall: 2, rise: 4 }));
        assert_eq!(own, Some(Monitor { every: Duration::from_secs(10), fall: 3, rise: 1 }));
        assert_eq!((config.monitor(WEB, 0), config.monitor(WEB, 1)), (own, None));
    }

    #[test]
    fn how_often_a_stop_is_tried_again_may_stand_in_two_places() {
        for (lines, retries) in [
            ("stop_retries 3\n", Some(3)),
            ("stop_retries 0\n", None),
            ("env STOPRETRYMAX=4\n", Some(4)),
            ("env STOPRETRYMAX=-1\n", None),
            ("env STOPRETRYMAX=0\nstop_retries 2\n", Some(2)),
        ] {
            assert_eq!(good(lines).stop_retries(), retries, "{lines}");
        }
        assert_eq!(good("stop_failure Reboot\n").stop_failure(), StopFailure::Reboot);
    }

    #[test]
    fn what_is_wrong_is_said_where_it_is_wrong() {
        for (line, problem) in [
            ("script_limit stop", "5:18 E0104"),
            ("script_limit kill 3", "5:14 E0102"),
            ("script_limit stop 0", "5:19 E0102"),
            ("script_limit stop soon", "5:19 E0102"),
            ("script_limit stop 3 Wob", "5:21 W0215"),
            ("monitor 50ms", "5:9 E0102"),
            ("monitor 1 fall", "5:15 E0104"),
            ("monitor 1 fall 0", "5:16 E0102"),
            ("monitor 1 rise x Web", "5:16 E0102"),
            ("monitor 1 Tst::C", "5:11 W0215"),
            ("stop_retries -1", "5:14 E0102"),
            ("stop_failure panic", "5:14 E0102"),
            ("env STOPRETRYMAX=often", "5:5 E0102"),
        ] {
            assert_eq!(read(line).1, [problem], "{line}");
        }
    }

    #[test]
    fn a_release_is_the_end_of_what_is_under_way_and_one_stop_of_each() {
        let config = good(
            "script_limit start 7 10.0.0.1\nscript_limit stop 3\nscript_limit monitor 9 Web\nscript_limit status 1\nscript_limit monitor 2 10.0.0.1\n",
        );
        let release = |group: GroupId| config.limits(group).release(&config.groups()[group.index()].resources);
        // Start 7, by force 4, two scripts 3 each, an address 1.
        assert_eq!(release(A), Duration::from_secs(7 + 4 + 2 * 3 + 1));
        // The start's limit is the usual one here, and longer than the monitor's.
        assert_eq!(release(WEB), Duration::from_secs(300 + 4 + 3));
        let addresses = &config.groups()[0].resources[..1];
        assert_eq!(config.limits(A).release(addresses), Duration::from_secs(2));
        assert_eq!(config.limits(A).release(&[]), Duration::ZERO);
    }
}
