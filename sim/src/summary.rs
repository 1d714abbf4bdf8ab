//! What a run came to, a line a group: where it ran, and what its clients and the disk saw of it.

use crate::ground::Share;
use crate::recording::What;
use crate::timeline::micros;
use crate::world::World;
use std::fmt;
use std::time::Duration;

/// How a group was served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The group's label.
    pub label: String,
    /// Since when it ran where, in microseconds from the scenario's zero; as the scenario language writes places.
    pub places: Vec<(i64, String)>,
    /// The longest time that a client waited for one of its addresses.
    pub gap: Duration,
    /// For how long several hosts had something of it.
    pub overlap: Duration,
}

/// How each group was served.
pub(crate) fn served(world: &World) -> Vec<Served> {
    let hosts = &world.recording.hosts;
    let mut all: Vec<(Served, Vec<Share>)> = Vec::new();
    for (group, label) in world.recording.groups.iter().enumerate() {
        let (gap, overlap) = (world.ground.longest_gap(world.now(), group), world.ground.overlap(world.now(), group));
        let served = Served { label: label.clone(), places: Vec::new(), gap, overlap };
        all.push((served, vec![Share::Nothing; hosts.len()]));
    }
    for entry in &world.recording.entries {
        let What::Share(host, group, share) = entry.what else { continue };
        let Some((served, shares)) = all.get_mut(group) else { continue };
        shares[host] = share;
        let at = micros(world.recording.zero, entry.at);
        // What changes at one instant is one change, and what was before zero is where it begins.
        served.places.retain(|(before, _)| *before != at && !(*before < 0 && at < 0));
        served.places.push((at, place(shares, hosts)));
    }
    all.into_iter().map(|(served, _)| served).collect()
}

fn place(shares: &[Share], hosts: &[String]) -> String {
    let owners = shares.iter().zip(hosts).filter_map(|(share, name)| match share {
        Share::Nothing => None,
        Share::Part => Some(format!("~{name}")),
        Share::All => Some(name.clone()),
    });
    let owners: Vec<String> = owners.collect();
    if owners.is_empty() { "-".to_owned() } else { owners.join("+") }
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.label)?;
        let mut last = None;
        for (number, (at, place)) in self.places.iter().enumerate() {
            // Groups start and stop one resource after another: that counts where it stays so.
            if place.contains('~') && number + 1 < self.places.len() {
                continue;
            }
            if last.replace(place) == Some(place) {
                continue;
            }
            write!(f, " {place}")?;
            if *at >= 0 {
                write!(f, " {}", tenths(*at))?;
            }
            f.write_str(",")?;
        }
        write!(f, " gap {:.2} s", self.gap.as_secs_f64())?;
        if self.overlap.is_zero() { Ok(()) } else { write!(f, ", two owners for {:.2} s", self.overlap.as_secs_f64()) }
    }
}

/// Seconds with one decimal.
fn tenths(micros: i64) -> String {
    let tenths = (micros + 50_000) / 100_000;
    format!("{}.{}", tenths / 10, tenths % 10)
}
