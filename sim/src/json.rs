//! A run as JSON, an object a line; docs/hbsim.md says what they mean.

use crate::ground::{Power, Share};
use crate::recording::{Entry, Recording, What};
use crate::run::Report;
use crate::timeline::micros;
use serde_json::{Value, json};
use std::time::Duration;

/// A judged run: what it is, what happened, the verdicts, a summary.
pub fn report<'a>(report: &'a Report, scenario: &str, seed: u64) -> impl Iterator<Item = Value> + 'a {
    let recording = &report.recording;
    let first = json!({
        "kind": "run", "scenario": scenario, "title": report.title, "seed": seed, "hosts": recording.hosts,
        "groups": recording.groups,
    });
    let verdicts = report.verdicts.iter().map(|verdict| {
        json!({"kind": "expectation", "what": verdict.what, "met": verdict.missed.is_none(), "why": verdict.missed})
    });
    let served = report.served.iter().map(|served| {
        let places: Vec<_> =
            served.places.iter().map(|(at_us, place)| json!({"at_us": at_us, "place": place})).collect();
        json!({
            "kind": "served", "group": served.label, "places": places,
            "gap_us": micro(served.gap), "overlap_us": micro(served.overlap),
        })
    });
    let last = json!({
        "kind": "summary", "passed": report.passed(), "expectations": report.verdicts.len(),
        "missed": report.missed().count(), "violations": report.violations.len(),
        "end_us": micros(recording.zero, recording.end), "digest": report.digest.map(|digest| format!("{digest:016x}")),
    });
    [first].into_iter().chain(entries(recording)).chain(verdicts).chain(served).chain([last])
}

/// What happened.
pub fn entries(recording: &Recording) -> impl Iterator<Item = Value> + '_ {
    recording.entries.iter().map(|entry| self::entry(recording, entry))
}

fn entry(recording: &Recording, entry: &Entry) -> Value {
    let name = |host: &usize| &recording.hosts[*host];
    let mut value = match &entry.what {
        What::Happened(what, hosts) => {
            let hosts: Vec<_> = hosts.iter().map(name).collect();
            json!({"kind": "event", "what": what, "hosts": hosts})
        }
        What::Machine(host, power) => json!({"kind": "machine", "host": name(host), "power": power_word(*power)}),
        What::Scheduled(host, is) => json!({"kind": "scheduled", "host": name(host), "scheduled": is}),
        What::Life(host, state) => json!({"kind": "daemon", "host": name(host), "state": state}),
        What::Runs(host, resource, runs) => {
            json!({"kind": "resource", "host": name(host), "resource": resource, "runs": runs})
        }
        What::Share(host, group, share) => {
            let group = &recording.groups[*group];
            json!({"kind": "group", "host": name(host), "group": group, "share": share_word(*share)})
        }
        What::Said(host, level, text) => {
            json!({"kind": "log", "host": name(host), "level": level.word().to_lowercase(), "text": text})
        }
        What::Answered(host, text) => json!({"kind": "answer", "host": name(host), "text": text}),
        What::Device(host, what) => json!({"kind": "device", "host": name(host), "what": what}),
        What::Violated(text) => {
            let (check, what) = text.split_once(": ").unwrap_or(("", text));
            json!({"kind": "violation", "check": check, "what": what})
        }
    };
    value["at_us"] = micros(recording.zero, entry.at).into();
    value
}

fn micro(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn power_word(power: Power) -> &'static str {
    match power {
        Power::Off => "off",
        Power::Still => "still",
        Power::On => "on",
    }
}

fn share_word(share: Share) -> &'static str {
    match share {
        Share::Nothing => "nothing",
        Share::Part => "part",
        Share::All => "all",
    }
}
