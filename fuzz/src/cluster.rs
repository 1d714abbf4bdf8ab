//! A cluster, and a short storm that the bytes choose; then calm. The checkers of the simulator are armed.
//!
//! The swarm draws storms from seeds; here a fuzzer steers them by what the core did: files, machines and weather come
//! from a seed of the swarm, so that they are such as it makes, and everything that happens comes from the bytes. A
//! storm is bounded in events and time, so that a run takes milliseconds.

use arbitrary::{Arbitrary as _, Result, Unstructured};
use core::time::Duration;
use hb_core::{Verb, Which};
use hb_sim::check::liveness;
use hb_sim::plan::net::{Change, Delay, Loss, NetRule, Ppm, Rate, Way};
use hb_sim::plan::{Device, DeviceDoes, Event, How, Plan, Quirk};
use hb_sim::search::{generate, shrink, swarm};

/// Events of one storm; more of them need not be found at once.
const EVENTS_MAX: usize = 24;
/// A storm is over then at the latest.
const STORM_MAX: Duration = Duration::from_mins(2);
/// Resources of one plan that take their time, or fail.
const QUIRKS_MAX: u8 = 2;

/// Any bytes as a storm over a cluster.
///
/// # Panics
/// If a property of the simulator's checkers is violated: with the violation, and the smallest scenario that breaks the
/// same property. A panic of a node becomes a violation, too; a fuzzer that ends the process at the first panic tells
/// only the panic, and the tests of this crate tell the scenario of its input.
pub fn cluster(bytes: &[u8]) {
    let mut choices = Unstructured::new(bytes);
    // Too few bytes to choose a cluster are no case.
    let Ok((plan, seed)) = plan(&mut choices) else { return };
    let Some(violation) = swarm::examine(&plan, seed, None).1 else { return };
    let shrunk = shrink::shrink(&plan, seed, violation, |_, _| {});
    panic!(
        "{}: {}\nscenario, which shows it with `hbsim run FILE --seed {seed} --timeline`:\n{}",
        shrunk.violation.check, shrunk.violation.what, shrunk.plan
    );
}

/// The plan that the bytes choose, and the seed of its luck.
fn plan(choices: &mut Unstructured<'_>) -> Result<(Plan, u64)> {
    let base = u64::from(u16::arbitrary(choices)?);
    // Groups need two nodes; one cluster of three in four tries what more peers do to membership.
    let nodes = if choices.int_in_range(0_u8..=3)? == 0 { 3 } else { 2 };
    let seed = u64::from(u8::arbitrary(choices)?);
    let mut plan = generate::plan(base, nodes, generate::Promise::Any);
    plan.title = format!("files and machines of seed {base}");
    plan.events.clear();
    let mut storm = Storm { plan, at: Duration::ZERO };
    // Bytes that end in the middle of something end the storm before it.
    let _ = storm.blow(choices);
    let mut plan = storm.plan;
    let calm = storm.at + Duration::from_secs(1);
    plan.calm = Some(calm);
    plan.end = calm + liveness::bound(&plan) + Duration::from_secs(1);
    Ok((plan, seed))
}

struct Storm {
    plan: Plan,
    /// When the last event happened.
    at: Duration,
}

impl Storm {
    fn blow(&mut self, choices: &mut Unstructured<'_>) -> Result<()> {
        self.quirks(choices)?;
        while !choices.is_empty() && self.plan.events.len() < EVENTS_MAX {
            let at = self.at + self.pause(choices)?;
            if at > STORM_MAX {
                break;
            }
            let event = self.event(choices)?;
            self.at = at;
            self.plan.events.push((at, event));
        }
        Ok(())
    }

    fn quirks(&mut self, choices: &mut Unstructured<'_>) -> Result<()> {
        let groups = self.plan.hosts[0].config.groups().iter();
        let resources: Vec<String> =
            groups.flat_map(|group| &group.resources).map(|resource| resource.word().to_owned()).collect();
        self.plan.quirks.clear();
        for _ in 0..choices.int_in_range(0..=QUIRKS_MAX)? {
            if resources.is_empty() {
                break;
            }
            let how = match choices.int_in_range(0_u8..=4)? {
                0 => How::Fails,
                _ => How::Takes(millis(choices, 12_000)?),
            };
            let resource = choices.choose(&resources)?.clone();
            let verb = *choices.choose(&[Verb::Start, Verb::Stop, Verb::Status])?;
            self.plan.quirks.push(Quirk { host: self.host(choices)?, resource, verb, how });
        }
        Ok(())
    }

    /// How long after the last event the next one comes: mostly about as long as something that the nodes wait for.
    fn pause(&self, choices: &mut Unstructured<'_>) -> Result<Duration> {
        let timing = self.plan.hosts[0].config.timing();
        let part = |of: Duration, choices: &mut Unstructured<'_>| -> Result<Duration> {
            Ok(of * u32::from(u8::arbitrary(choices)?) / 128)
        };
        Ok(match choices.int_in_range(0_u8..=7)? {
            0 => Duration::ZERO,
            // What a packet, a script and an answer need.
            1 | 2 => Duration::from_micros(choices.int_in_range(0..=2000)?),
            3 => part(timing.keepalive(), choices)?,
            4 | 5 => part(timing.deadtime(), choices)?,
            6 => timing.deadtime() * 9 / 10 + part(timing.deadtime() / 10, choices)?,
            _ => millis(choices, 12_000)?,
        })
    }

    fn host(&self, choices: &mut Unstructured<'_>) -> Result<usize> {
        choices.choose_index(self.plan.hosts.len())
    }

    /// One of the host's interfaces, the service network, or all.
    fn interface(&self, host: usize, choices: &mut Unstructured<'_>) -> Result<Option<String>> {
        let media = self.plan.hosts[host].config.media();
        let at = choices.choose_index(media.len() + 2)?;
        let service = (at == media.len()).then(|| "eth0".to_owned());
        Ok(media.get(at).map(|medium| medium.name.clone()).or(service))
    }

    fn event(&self, choices: &mut Unstructured<'_>) -> Result<Event> {
        let host = self.host(choices)?;
        Ok(match choices.int_in_range(0_u8..=23)? {
            0 | 1 => Event::Start(host),
            2 => Event::Crash(host),
            3 => Event::Kill(host),
            4 => Event::Stop(host),
            5 => Event::Suspend(host),
            6 => Event::Stall(host),
            7 => Event::Freeze(host),
            8 | 9 => Event::Resume(host),
            10 => Event::StepClock(host, i64::from(i16::arbitrary(choices)?) * 4),
            11 => Event::Fence(host),
            12 => {
                let does = [DeviceDoes::Works, DeviceDoes::Lies, DeviceDoes::Fails, DeviceDoes::Hangs];
                Event::Device(host, Device { does: *choices.choose(&does)?, takes: millis(choices, 10_000)? })
            }
            13 => Event::Cut(host, self.interface(host, choices)?),
            14 => Event::Deafen(host, self.interface(host, choices)?),
            15 => Event::Mute(host, self.interface(host, choices)?),
            16 | 17 => Event::Heal(host, self.interface(host, choices)?),
            18 => Event::Block(host, self.host(choices)?, self.interface(host, choices)?),
            19 => Event::Open(host, self.host(choices)?, self.interface(host, choices)?),
            20 => Event::Standby(host, which(choices)?),
            21 => Event::Takeover(host, which(choices)?),
            _ => Event::Net(NetRule { way: self.way(host, choices)?, change: change(choices)? }),
        })
    }

    fn way(&self, host: usize, choices: &mut Unstructured<'_>) -> Result<Way> {
        Ok(match choices.int_in_range(0_u8..=2)? {
            0 => Way::default(),
            1 => Way { from: Some(host), ..Way::default() },
            _ => Way { from: Some(host), to: Some(self.host(choices)?), interface: self.interface(host, choices)? },
        })
    }
}

fn which(choices: &mut Unstructured<'_>) -> Result<Which> {
    Ok(*choices.choose(&[Which::All, Which::Local, Which::Foreign, Which::Failback])?)
}

/// A span from 1 ms to `most` milliseconds.
fn millis(choices: &mut Unstructured<'_>, most: u64) -> Result<Duration> {
    Ok(Duration::from_millis(choices.int_in_range(1..=most)?))
}

fn ppm(choices: &mut Unstructured<'_>) -> Result<Ppm> {
    Ok(Ppm(u32::from(u8::arbitrary(choices)?) * 3921))
}

fn change(choices: &mut Unstructured<'_>) -> Result<Change> {
    Ok(match choices.int_in_range(0_u8..=9)? {
        0 | 1 => Change::Loss(Loss::Independent(ppm(choices)?)),
        2 => {
            let (begin, end) = (ppm(choices)?, ppm(choices)?);
            Change::Loss(Loss::Bursts { begin, end, good: Ppm(0), bad: ppm(choices)? })
        }
        3 => Change::Delay(Delay::Constant(Duration::from_micros(200))),
        4 => Change::Delay(Delay::Uniform(Duration::ZERO, millis(choices, 3000)?)),
        5 => Change::Delay(Delay::Pareto(Duration::from_micros(500), choices.int_in_range(800..=3000)?)),
        6 => Change::Duplicate(ppm(choices)?),
        7 => Change::Reorder(ppm(choices)?),
        8 => Change::Corrupt(ppm(choices)?),
        // The swarm's slowest line: a slower one has no room for what follows a partition.
        _ => Change::Rate(bool::arbitrary(choices)?.then_some(Rate { bits: 256_000, per_byte: 8 })),
    })
}

#[cfg(test)]
mod tests {
    use crate::samples::{corpus, random};

    #[test]
    fn cluster_survives_its_corpus() {
        for (_, bytes) in corpus("cluster") {
            super::cluster(&bytes);
        }
    }

    #[test]
    fn cluster_survives_random_bytes() {
        for seed in 0..40 {
            super::cluster(&random(seed, 160));
        }
    }
}
