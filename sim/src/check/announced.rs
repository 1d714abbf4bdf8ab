//! An address is announced only by a host that has it, and by the host that keeps it last.
//!
//! Clients believe the last announcement. Whoever has an address alone, is reached by clients and is managed by a
//! daemon must be the one that they believe, soon after it became the only one (PRODUCT, wish 4).

use super::{Check, Fact, Moment, is_orphan, is_stuck};
use crate::ground::Power;
use crate::plan::Event;
use hb_core::time::Instant;
use std::collections::BTreeSet;
use std::time::Duration;

/// The first announcement goes out with the address; after an overlap the winner must have noticed the end, which takes
/// a dead time if the other owner crashed.
const SOON: Duration = Duration::from_secs(3);

/// Watches announcements, and what clients believe.
#[derive(Clone, Debug, Default)]
pub struct Announced {
    /// By address: who has it alone, since when, and whether that was judged already.
    sole: Vec<Option<(usize, Instant, bool)>>,
    /// Hosts that have not announced an address, by its position, since they stood still with their clocks, or had a cable that
    /// failed in one direction: they cannot know that another host had it meanwhile, or that nobody heard them, unless they
    /// hear of it.
    unaware: BTreeSet<(usize, usize)>,
}

impl Check for Announced {
    fn name(&self) -> &'static str {
        "announced by its owner"
    }

    fn see(&mut self, moment: &Moment<'_>, fact: &Fact<'_>, found: &mut Vec<String>) {
        if let Fact::Announced(host, address) = fact
            && !moment.ground.has_address(*host, *address)
        {
            found.push(format!("{} announced {address} without having it", moment.name(*host)));
        }
        // Steps of nodes change nothing here but by what they announce and start.
        if matches!(fact, Fact::Sent(..) | Fact::Reported(..) | Fact::Stepped(..)) {
            return;
        }
        match fact {
            Fact::Happened(Event::Freeze(host) | Event::Deafen(host, _) | Event::Mute(host, _)) => {
                self.unaware.extend((0..moment.ground.addresses().count()).map(|at| (*host, at)));
            }
            Fact::Announced(host, address) if moment.ground.is_address_reachable(*host, *address) => {
                let position = moment.ground.addresses().position(|(known, _)| known == *address);
                self.unaware.retain(|(of, at)| (*of, Some(*at)) != (*host, position));
            }
            _ => {}
        }
        let dead_time = moment.plan.configs().map(|config| config.timing().deadtime()).max().unwrap_or_default();
        let soon = SOON + dead_time + super::slowness(moment.plan);
        for (at, (address, believed)) in moment.ground.addresses().enumerate() {
            if self.sole.len() <= at {
                self.sole.push(None);
            }
            let hosts = 0..moment.ground.host_count();
            let mut owners = hosts
                .filter(|host| moment.ground.power(*host) != Power::Off && moment.ground.has_address(*host, address));
            let sole = owners.next().filter(|_| owners.next().is_none());
            // Who cannot be reached cannot announce; who was, and had announced, need not do it again.
            let Some(host) = sole.filter(|host| moment.ground.is_address_reachable(*host, address)) else {
                self.sole[at] = None;
                continue;
            };
            // Nobody speaks for what a dead daemon left, or could not stop, nor for one that is not scheduled.
            let is_managed = moment.is_managed(host) && !matches!(fact, Fact::Scheduled(..));
            match &mut self.sole[at] {
                Some((known, since, judged)) if *known == host => {
                    // Two that have had it without knowing of each other may end without knowing, too.
                    let is_known = believed
                        .is_none_or(|other| host == other || !moment.contact.lasts(moment.now, host, other).is_zero());
                    let is_left = moment
                        .ground
                        .groups_of(address)
                        .any(|group| is_orphan(moment, group, host) || is_stuck(moment, group, host));
                    if !is_managed || !is_known || is_left {
                        *since = moment.now;
                    } else if !*judged && moment.now.since(*since) > soon {
                        *judged = true;
                        if believed != Some(host) && !self.unaware.contains(&(host, at)) {
                            let believed = believed.map_or("nobody", |host| moment.name(host));
                            let name = moment.name(host);
                            found.push(format!("{name} alone has {address}, but clients believe {believed}"));
                        }
                    }
                }
                other => *other = Some((host, moment.now, false)),
            }
        }
    }
}
