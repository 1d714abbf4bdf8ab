//! What one look at the whole cluster costs: the native rule over every group, as after any input that changes nothing.
//!
//! ```text
//! cargo bench -p hb-tests --bench decision
//! ```
//!
//! Sixteen nodes in one process settle with their groups; then one of them is given inputs that say nothing about
//! groups. What is printed is the whole step, of which the rule is nearly everything.

use anyhow::{Context as _, Result, ensure};
use hb_core::config::{Config, SourceText, Sources};
use hb_core::ids::{Generation, MediumId, NodeUuid};
use hb_core::time::{Instant, UnixTime};
use hb_core::{Action, Boot, Frame, Input, Node, Outcome, Transcript, Verb};
use nix::time::{ClockId, clock_gettime};
use serde_json::json;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Duration;

const STEPS: u32 = 2000;
const ROUNDS: usize = 5;

fn main() -> Result<()> {
    for (nodes, groups) in [(2, 2), (3, 50), (16, 200)] {
        let mut cluster = Cluster::new(nodes, groups)?;
        cluster.run(Duration::from_secs(30));
        let owned = cluster
            .nodes
            .iter()
            .map(|node| node.status().groups().filter(|group| group.owner == Some(node.config().local_name())).count());
        let owned: usize = owned.sum();
        ensure!(owned == groups, "{owned} of {groups} groups run");
        let node = &mut cluster.nodes[0];
        let mut best = Duration::MAX;
        for _ in 0..ROUNDS {
            let begin = processor();
            for _ in 0..STEPS {
                black_box(node.handle(cluster.now, Input::WallClock(UnixTime(1_700_000_000))).count());
            }
            best = best.min(processor().saturating_sub(begin) / STEPS);
        }
        let micros = best.as_secs_f64() * 1e6;
        println!(
            "{}",
            json!({"benchmark": "a step that changes nothing", "nodes": nodes, "groups": groups, "microseconds": micros})
        );
    }
    Ok(())
}

/// Time on the processor, so that other work on the machine does not count.
fn processor() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

/// Nodes joined by a perfect cable.
struct Cluster {
    now: Instant,
    nodes: Vec<Node>,
    wire: VecDeque<(usize, Frame)>,
}

impl Cluster {
    fn new(nodes: usize, groups: usize) -> Result<Cluster> {
        let names: Vec<String> = (1..=nodes).map(|number| format!("h{number}")).collect();
        let ha_cf = format!(
            "node {}\nbcast eth1\nkeepalive 1\ndeadtime 10\ninitdead 20\nauto_failback off\nlogfacility none\n",
            names.join(" ")
        );
        let mut haresources = String::new();
        for group in 0..groups {
            writeln!(haresources, "h{} 10.77.{}.{}/16/eth0", group % nodes + 1, group / 200, group % 200 + 1)?;
        }
        let now = Instant::from_nanos(1_000_000_000);
        let mut cluster = Cluster { now, nodes: Vec::new(), wire: VecDeque::new() };
        for (at, name) in names.iter().enumerate() {
            let text = |name, text: &'static [u8]| SourceText { name, bytes: text };
            let reading = Config::read(&Sources {
                local_name: name,
                ha_cf: SourceText { name: "ha.cf", bytes: ha_cf.as_bytes() },
                haresources: Some(SourceText { name: "haresources", bytes: haresources.as_bytes() }),
                authkeys: text("authkeys", b"auth 1\n1 crc\n"),
            });
            let config = reading.config.with_context(|| format!("{:?}", reading.diagnostics))?;
            let number = u8::try_from(at + 1)?;
            let boot = Boot {
                now,
                wall_clock: UnixTime(1_700_000_000),
                generation: Generation(100),
                uuid: NodeUuid([number; 16]),
                seed: [number; 32],
                hostcache: hb_core::config::Hostcache::default(),
                longest_deadtime: Duration::ZERO,
                cut_short: Vec::new(),
            };
            cluster.nodes.push(Node::new(config, boot));
        }
        Ok(cluster)
    }

    fn step(&mut self, which: usize, input: Input<'_>) {
        let mut done = Vec::new();
        for action in self.nodes[which].handle(self.now, input) {
            match action {
                Action::Send { frame, .. } => self.wire.push_back((which, frame)),
                Action::RunResource { op, run } => {
                    let asks = matches!(run.verb, Verb::Status | Verb::Monitor);
                    done.push((op, if asks { Outcome::NotRunning } else { Outcome::Done }));
                }
                _ => {}
            }
        }
        for (op, outcome) in done {
            self.step(which, Input::OpDone { op, outcome, said: Transcript::default() });
        }
    }

    fn settle(&mut self) {
        while let Some((from, frame)) = self.wire.pop_front() {
            for to in (0..self.nodes.len()).filter(|to| *to != from) {
                self.step(to, Input::Frame { medium: MediumId(0), bytes: &frame });
            }
        }
    }

    fn run(&mut self, span: Duration) {
        let end = self.now.plus(span);
        for which in 0..self.nodes.len() {
            self.step(which, Input::Wake);
        }
        self.settle();
        while let Some(next) = self.nodes.iter().filter_map(Node::next_deadline).min().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            for which in 0..self.nodes.len() {
                self.step(which, Input::Wake);
            }
            self.settle();
        }
        self.now = end;
    }
}
