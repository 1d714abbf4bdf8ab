//! The status of a node as JSON and as tables. docs/control.md describes the fields.

use crate::check;
use crate::control::VERSION;
use comfy_table::{Table, presets};
use hb_core::config::Config;
use hb_core::time::Instant;
use hb_core::{Carrier, Node};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;

/// What the machine adds to what the node knows.
#[derive(Clone, Copy, Debug)]
pub struct MachineStatus {
    /// The wall clock now, in seconds since 1970.
    pub unix_time: u64,
    /// Log lines lost because the disk was too slow.
    pub log_dropped: u64,
    /// Packets from interfaces that carry no medium.
    pub strays: u64,
    /// What local clients were refused, by door.
    pub refused: [(&'static str, u64); 3],
}

/// Everything, as the answer to `status`.
pub fn json(node: &Node, now: Instant, machine: &MachineStatus) -> Value {
    let status = node.status();
    let ago = |at: Instant| millis(now.since(at));
    let nodes = status.nodes().map(|node| {
        let links = status
            .links(node.name)
            .map(|link| json!({"medium": link.medium, "up": link.up, "heard_ms": link.heard.map(ago)}));
        json!({
            "name": node.name,
            "type": "normal",
            "status": node.status,
            "local": node.is_local,
            "gone": node.gone,
            "generation": node.generation.0,
            "uuid": node.uuid.map(|uuid| uuid.to_string()),
            "heard_ms": node.heard.map(ago),
            "deadtime_ms": node.dead_time.map(millis),
            "native": node.native,
            "pings": node.pings,
            "weight": node.weight,
            "site": node.site,
            "missing": node.missing,
            "links": links.collect::<Vec<_>>(),
        })
    });
    let pings = status.pings().map(|ping| {
        let heard = ping.heard.map(ago);
        json!({
            "name": ping.name,
            "type": "ping",
            "status": ping.status,
            "local": false,
            "gone": false,
            "heard_ms": heard,
            "deadtime_ms": millis(node.config().timing().deadping()),
            "links": [{"medium": ping.name, "up": ping.status == "ping", "heard_ms": heard}],
        })
    });
    let groups = status.groups().map(|group| {
        json!({
            "key": group.key,
            "home": group.home,
            "owner": group.owner,
            "since": group.since.map(|at| machine.unix_time.saturating_sub(now.since(at).as_secs())),
            "since_ms": group.since.map(ago),
            "here": group.doing.word(),
            "failure": group.blame.map(ToString::to_string),
            "why": group.why.to_string(),
        })
    });
    let (native, kept_by) = status.dialect();
    let (policy, policy_text) = policy(node.config(), native.is_some());
    let failures = status.fencing_failures().map(|(node, failure)| (node.to_owned(), json!(failure.to_string())));
    let media = status.media().map(|medium| json!({"name": medium.name, "carrier": medium.carrier == Carrier::Up}));
    json!({
        "v": VERSION,
        "ok": true,
        "node": status.local_name(),
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_ms": ago(status.started()),
        "active": status.is_active(),
        "holding": status.holding(),
        "stable": status.is_stable(),
        "manages_resources": node.config().manages_resources(),
        "policy": policy,
        "policy_text": policy_text,
        "dialect": if native.is_some() { "native" } else { "classic" },
        "dialect_version": native,
        "dialect_kept_by": kept_by,
        "clogged": status.is_clogged(),
        "fencing_failures": failures.collect::<serde_json::Map<_, _>>(),
        "nodes": nodes.chain(pings).collect::<Vec<_>>(),
        "groups": groups.collect::<Vec<_>>(),
        "media": media.collect::<Vec<_>>(),
        "dropped": status.drops().map(|(kind, count)| (kind.word().to_owned(), json!(count))).collect::<serde_json::Map<_, _>>(),
        "strays": machine.strays,
        "refused": machine.refused.iter().map(|(door, count)| ((*door).to_owned(), json!(count))).collect::<serde_json::Map<_, _>>(),
        "log_dropped": machine.log_dropped,
    })
}

/// The policy that is in force, and what it means for the administrator.
fn policy(config: &Config, is_native: bool) -> (&'static str, &'static str) {
    let usual = config.exclusion(None);
    match check::policy(config) {
        Some(policy @ check::AT_LEAST_ONE) => {
            (policy, "neither fencing nor quorum is configured: during a partition two owners are possible")
        }
        Some(_) if !is_native && !usual.fencing => {
            (check::AT_LEAST_ONE, "the classic dialect knows no quorum: during a partition two owners are possible")
        }
        Some(policy) if usual.fencing => {
            (policy, "a silent node is reset, or confirmed to be down, before its groups start")
        }
        Some(policy) if usual.quorum => {
            (policy, "a majority consents to every start, and who loses it releases in time")
        }
        Some(policy) => (policy, "see the `ownership` lines of ha.cf"),
        None => ("at-most-one", "there is no other node, or no group"),
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The same for people, from the JSON of a daemon.
pub fn text(status: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let mut out = String::new();
    // Writing to a string cannot fail.
    let manages = status["manages_resources"] != false;
    let holds = format!(
        "holds {}{}; policy {} ({})",
        word(&status["holding"]),
        if status["stable"] == true { "" } else { ", in transition" },
        word(&status["policy"]),
        word(&status["policy_text"]),
    );
    let _infallible = writeln!(
        out,
        "{} {}; dialect {}{}",
        word(&status["node"]),
        if manages { &holds } else { "manages no resources" },
        word(&status["dialect"]),
        status["dialect_kept_by"].as_str().map_or_else(String::new, |node| format!(" (kept by {node})")),
    );
    for (node, failure) in status["fencing_failures"].as_object().into_iter().flatten() {
        let _infallible = writeln!(out, "NODE {node} COULD NOT BE RESET: {}", word(failure));
    }
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut nodes = table(&["node", "status", "heard", "links"]);
    for node in list(&status["nodes"]) {
        let links = list(&node["links"]).into_iter().map(|link| {
            let state = if link["up"] == true { "up" } else { "dead" };
            format!("{} {state} {}", word(&link["medium"]), age(&link["heard_ms"]))
        });
        let reach = node["pings"].as_u64().map_or_else(String::new, |pings| format!(", reaches {pings} ping nodes"));
        let state = word(&node["status"]) + if node["gone"] == true { ", said goodbye" } else { "" } + &reach;
        let heard = if node["local"] == true { "this node".to_owned() } else { age(&node["heard_ms"]) };
        nodes.add_row([word(&node["name"]), state, heard, links.collect::<Vec<_>>().join("\n")]);
    }
    let mut groups = table(&["group", "owner", "since", "here", "why"]);
    for group in list(&status["groups"]) {
        let owner = group["owner"].as_str().unwrap_or("nobody").to_owned();
        let failure = group["failure"].as_str().map_or_else(String::new, |failure| format!(" ({failure})"));
        let (since, here) = (age(&group["since_ms"]), word(&group["here"]) + &failure);
        groups.add_row([word(&group["key"]), owner, since, here, word(&group["why"])]);
    }
    let _infallible = write!(out, "\n{nodes}\n");
    if manages {
        let _infallible = write!(out, "\n{groups}\n");
    }
    out
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    table
}

/// A span as people read it.
fn age(millis: &Value) -> String {
    match millis.as_u64() {
        None => "never".to_owned(),
        Some(millis @ ..10_000) => format!("{}.{} s ago", millis / 1000, millis % 1000 / 100),
        Some(millis @ ..600_000) => format!("{} s ago", millis / 1000),
        Some(millis @ ..36_000_000) => format!("{} min ago", millis / 60_000),
        Some(millis) => format!("{} h ago", millis / 3_600_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_short() {
        for (millis, text) in [(0, "0.0 s ago"), (9_999, "9.9 s ago"), (10_000, "10 s ago"), (600_000, "10 min ago")] {
            assert_eq!(age(&json!(millis)), text);
        }
        assert_eq!(age(&Value::Null), "never");
    }

    #[test]
    fn the_table_names_owner_and_reason() {
        let status = json!({
            "node": "h1", "holding": "all", "stable": true, "policy": "at-least-one", "policy_text": "two owners are possible",
            "fencing_failures": {"h2": "exit code 2"},
            "nodes": [{"name": "h1", "status": "active", "local": true, "links": []},
                      {"name": "h3", "status": "active", "pings": 2, "links": []},
                      {"name": "h2", "status": "dead", "heard_ms": 12000, "links": [{"medium": "eth1", "up": false}]}],
            "groups": [{"key": "10.0.0.1", "owner": "h1", "since_ms": 9000, "here": "running", "why": "node h2 is dead"},
                       {"key": "Web", "here": "failed", "failure": "Web start: Return code 1", "why": "-"}],
        });
        let text = text(&status);
        for phrase in [
            "h1 holds all; policy at-least-one",
            "eth1 dead never",
            "NODE h2 COULD NOT BE RESET: exit code 2",
            "node h2 is dead",
            "9.0 s ago",
            "active, reaches 2 ping nodes",
            "failed (Web start: Return code 1)",
        ] {
            assert!(text.contains(phrase), "{phrase}:\n{text}");
        }
    }
}
