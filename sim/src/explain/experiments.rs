//! What is tried: which nodes start, which nodes and links are lost and come back.

use super::cluster::Cluster;
use crate::plan::Event;
use std::time::Duration;

/// Clusters of so few nodes have an experiment for each pair of nodes, too.
const PAIRS_MAX: usize = 4;
/// What always passes before a stage is over: announcements and acknowledgements.
const REST: Duration = Duration::from_secs(10);

/// A chapter of the explanation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Chapter {
    /// Nodes that start.
    Start,
    /// Nodes that are lost, and return.
    Nodes,
    /// Links that are lost, and return.
    Links,
}

/// What a stage is about; the bounds of steps are those of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All nodes start together.
    StartTogether,
    /// One starts alone.
    StartAlone,
    /// A node returns, or the rest does.
    Return,
    /// Power fails.
    Crash,
    /// All but one lose power.
    CrashOfMost,
    /// The daemon is told to stop.
    Stop,
    /// The daemon is killed.
    Kill,
    /// Links are cut, and so nodes are apart.
    Cut,
    /// Heartbeats pass in one direction only, or not between two of several.
    Deaf,
    /// Links are whole again.
    Heal,
}

/// Some events at one time, and then a wait.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    pub(super) what: String,
    pub(super) kind: Kind,
    pub(super) events: Vec<Event>,
    pub(super) wait: Duration,
}

/// Stages that follow each other on one cluster.
#[derive(Clone, Debug)]
pub(super) struct Experiment {
    pub(super) chapter: Chapter,
    /// Whether all nodes run and rest before the first stage; else none runs.
    pub(super) is_settled: bool,
    pub(super) stages: Vec<Stage>,
}

/// How long it takes until whatever follows from an event has followed.
fn patience(cluster: &Cluster, initial: bool) -> Duration {
    let timing = cluster.config().timing();
    let scripts: Duration = cluster.plan.quirks.iter().filter(|quirk| quirk.host == 0).map(takes).sum();
    let dead = timing.deadtime() * 3 + if initial { timing.initdead() } else { Duration::ZERO };
    dead + scripts * 2 + timing.keepalive() * 4 + REST
}

fn takes(quirk: &crate::plan::Quirk) -> Duration {
    match quirk.how {
        crate::plan::How::Takes(time) => time,
        crate::plan::How::Fails | crate::plan::How::Misreports => Duration::ZERO,
    }
}

/// The longest that all experiments together can take, in virtual time.
pub(super) fn longest(cluster: &Cluster) -> Duration {
    patience(cluster, true)
}

/// Everything that is tried with a cluster.
pub(super) fn all(cluster: &Cluster) -> Vec<Experiment> {
    let mut all = Maker { cluster, all: Vec::new() };
    all.starts();
    all.losses_of_nodes();
    all.losses_of_links();
    if cluster.names.len() > 2 {
        all.deafness();
    }
    all.all
}

struct Maker<'a> {
    cluster: &'a Cluster,
    all: Vec<Experiment>,
}

impl Maker<'_> {
    fn add(&mut self, chapter: Chapter, stages: Vec<(String, Kind, Vec<Event>)>) {
        let is_settled = chapter != Chapter::Start;
        let stage = |(what, kind, events)| Stage {
            what,
            kind,
            events,
            wait: patience(self.cluster, !is_settled || kind == Kind::Return),
        };
        let stages = stages.into_iter().map(stage).collect();
        self.all.push(Experiment { chapter, is_settled, stages });
    }

    fn nodes(&self) -> impl Iterator<Item = (usize, String)> + use<> {
        self.cluster.names.clone().into_iter().enumerate()
    }

    fn all_but(&self, node: usize) -> Vec<usize> {
        (0..self.cluster.names.len()).filter(|other| *other != node).collect()
    }

    fn starts(&mut self) {
        let every = self.nodes().map(|(node, _)| Event::Start(node)).collect();
        self.add(Chapter::Start, vec![("all nodes start".to_owned(), Kind::StartTogether, every)]);
        for (node, name) in self.nodes() {
            let others: Vec<Event> = self.all_but(node).into_iter().map(Event::Start).collect();
            let rest = match others.as_slice() {
                [Event::Start(other)] => format!("then {} starts", self.cluster.names[*other]),
                _ => "then the others start".to_owned(),
            };
            let alone = (format!("only {name} starts"), Kind::StartAlone, vec![Event::Start(node)]);
            self.add(Chapter::Start, vec![alone, (rest, Kind::Return, others)]);
        }
    }

    fn losses_of_nodes(&mut self) {
        for (node, name) in self.nodes() {
            let crash = (format!("{name} loses power"), Kind::Crash, vec![Event::Crash(node)]);
            let back = (format!("{name} is switched on again"), Kind::Return, vec![Event::Start(node)]);
            self.add(Chapter::Nodes, vec![crash, back]);
            let stop = (format!("{name} is stopped in order"), Kind::Stop, vec![Event::Stop(node)]);
            self.add(Chapter::Nodes, vec![stop]);
            let kill = (format!("{name}'s daemon is killed"), Kind::Kill, vec![Event::Kill(node)]);
            self.add(Chapter::Nodes, vec![kill]);
        }
        let count = self.cluster.names.len();
        // In a pair that is the loss of one.
        for (node, name) in self.nodes().filter(|(node, _)| count > 2 && (count <= PAIRS_MAX || *node == 0)) {
            let crashes = self.all_but(node).into_iter().map(Event::Crash).collect();
            self.add(Chapter::Nodes, vec![(format!("all but {name} lose power"), Kind::CrashOfMost, crashes)]);
        }
    }

    fn losses_of_links(&mut self) {
        let interfaces = self.cluster.interfaces.clone();
        for interface in &interfaces {
            let one = || Some(interface.clone());
            let cut = self.nodes().map(|(node, _)| Event::Cut(node, one())).collect();
            let heal = self.nodes().map(|(node, _)| Event::Heal(node, one())).collect();
            let what = (format!("{interface} fails everywhere"), Kind::Cut, cut);
            self.add(Chapter::Links, vec![what, (format!("{interface} works again"), Kind::Heal, heal)]);
        }
        for (node, name) in self.nodes() {
            // Of all links, those of a line that is tried included.
            let cut = (format!("{name} is cut off"), Kind::Cut, vec![Event::Cut(node, None)]);
            let heal = (format!("{name} is reached again"), Kind::Heal, vec![Event::Heal(node, None)]);
            self.add(Chapter::Links, vec![cut, heal]);
        }
        // With a single link that carries no clients this was the first experiment.
        let service = self.cluster.service_interfaces();
        if interfaces.len() > 1 || interfaces.iter().any(|interface| service.contains(interface)) {
            let ways = |act: fn(usize, usize, Option<String>) -> Event| {
                let nodes = 0..self.cluster.names.len();
                nodes.flat_map(|from| self.all_but(from).into_iter().map(move |to| act(from, to, None))).collect()
            };
            let (cut, heal) = (ways(Event::Block), ways(Event::Open));
            let what = ("no heartbeat arrives".to_owned(), Kind::Cut, cut);
            self.add(Chapter::Links, vec![what, ("heartbeats arrive again".to_owned(), Kind::Heal, heal)]);
        }
        for (node, name) in self.nodes() {
            let ways = |act: fn(usize, usize, Option<String>) -> Event| {
                self.all_but(node).into_iter().map(|other| act(node, other, None)).collect()
            };
            let (cut, heal) = (ways(Event::Block), ways(Event::Open));
            let what = (format!("nobody hears {name}"), Kind::Deaf, cut);
            self.add(Chapter::Links, vec![what, (format!("{name} is heard again"), Kind::Heal, heal)]);
        }
    }

    /// What only three nodes or more can have: one is deaf to all others, or two do not hear each other.
    fn deafness(&mut self) {
        for (node, name) in self.nodes() {
            let ways = |act: fn(usize, usize, Option<String>) -> Event| {
                self.all_but(node).into_iter().map(|other| act(other, node, None)).collect()
            };
            let (cut, heal) = (ways(Event::Block), ways(Event::Open));
            let what = (format!("{name} hears nobody"), Kind::Deaf, cut);
            self.add(Chapter::Links, vec![what, (format!("{name} hears again"), Kind::Heal, heal)]);
        }
        let count = self.cluster.names.len();
        let pairs = (0..count).flat_map(|one| (one + 1..count).map(move |other| (one, other)));
        for (one, other) in pairs.filter(|_| count <= PAIRS_MAX) {
            let ways =
                |act: fn(usize, usize, Option<String>) -> Event| vec![act(one, other, None), act(other, one, None)];
            let names = [one, other].map(|node| self.cluster.names[node].clone()).join(" and ");
            let (cut, heal) = (ways(Event::Block), ways(Event::Open));
            let what = (format!("{names} cut apart"), Kind::Deaf, cut);
            self.add(Chapter::Links, vec![what, ("they hear each other again".to_owned(), Kind::Heal, heal)]);
        }
    }
}
