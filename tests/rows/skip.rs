//! Which scenarios cannot be played with real machines, and why.

use std::time::Duration;

use hb_core::config::MediumKind;
use hb_sim::plan::net::{Change, Loss, NetRule};
use hb_sim::plan::{EngineKind, Event, HostPlan, Plan};

/// A scenario that takes longer is left to the simulator.
const LONGEST: Duration = Duration::from_secs(150);

/// What a run with real machines lacks for this scenario; `None` if it can be played.
pub(crate) fn reason(plan: &Plan) -> Option<String> {
    let lacks = |what: &str| Some(what.to_owned());
    if plan.end > LONGEST {
        return Some(format!(
            "it takes {} s; the longest played in real time is {} s",
            plan.end.as_secs(),
            LONGEST.as_secs()
        ));
    }
    if plan.calm.is_some() {
        return lacks("`calm` mends everything: only the simulator knows what is broken");
    }
    let of_hosts = plan.hosts.iter().find_map(of_host);
    let of_events = || plan.events.iter().find_map(|(_, event)| of_event(event));
    let of_net = || plan.net.iter().find_map(of_rule);
    of_hosts.or_else(of_events).or_else(of_net).map(str::to_owned).or_else(|| {
        let on_service =
            plan.hosts.iter().any(|host| media(host).any(|interface| interface == crate::machines::SERVICE));
        (on_service && needs_relay(plan)).then(|| "packets are lost one by one on heartbeat networks only".to_owned())
    })
}

/// Whether packets are lost otherwise than by a cut cable.
pub(crate) fn needs_relay(plan: &Plan) -> bool {
    let one_way = |event: &Event| {
        matches!(event, Event::Deafen(..) | Event::Mute(..) | Event::Block(..) | Event::Open(..) | Event::Net(..))
    };
    !plan.net.is_empty() || plan.events.iter().any(|(_, event)| one_way(event))
}

/// The interfaces of a node's media.
pub(crate) fn media(host: &HostPlan) -> impl Iterator<Item = &str> {
    host.config.media().iter().filter_map(|medium| match &medium.kind {
        MediumKind::Bcast { interface } | MediumKind::Mcast { interface, .. } => Some(interface.as_str()),
        _ => None,
    })
}

fn of_host(host: &HostPlan) -> Option<&'static str> {
    if host.kind == EngineKind::Model {
        return Some("a node is the model of 3.0.6; the original itself is played in tests/interop");
    }
    if host.drift_ppm != 0 || host.wall_offset != 0 {
        return Some("all machines have the clock of this one");
    }
    if !host.lag.is_zero() {
        return Some("how late a real daemon is scheduled is up to the kernel");
    }
    if host.watchdog.is_some() {
        return Some("there is no watchdog that would reset a namespace");
    }
    host.config.media().iter().find_map(|medium| match &medium.kind {
        MediumKind::Serial { .. } => Some("a serial line is special hardware"),
        MediumKind::Bcast { .. } | MediumKind::Mcast { .. } => None,
        kind if kind.is_ping() => None,
        _ => Some("the player's networks have no addresses for `ucast` and IPv6 media"),
    })
}

fn of_event(event: &Event) -> Option<&'static str> {
    match event {
        Event::Stall(_) | Event::Freeze(_) => Some("a namespace cannot stand still as a whole"),
        Event::StepClock(..) => Some("all machines have the clock of this one"),
        Event::LoseWrites(_) => Some("there is no disk that loses what was written"),
        Event::Fence(_) => Some("only daemons tell the player's fencing device what to do"),
        Event::Restart(_) => Some("a daemon that is exchanged under its resources is played in tests/live"),
        Event::Net(rule) => of_rule(rule),
        _ => None,
    }
}

fn of_rule(rule: &NetRule) -> Option<&'static str> {
    match rule.change {
        Change::Loss(Loss::Independent(_)) => None,
        _ => Some("the player's relay loses packets, and neither delays nor changes them"),
    }
}
