//! Checkers that are told lies: what the correct core cannot be brought to do is done to the truth, or said of it.
//!
//! A [`Liar`] stands between a healthy run and a second copy of a checker. The copy must see what it is told; the run's
//! own checkers, who hear the truth, must see nothing; and the same copy without the lie sees nothing either. What the
//! core does break is in `tests/canaries.rs`.

use super::*;
use crate::ground::Power;
use crate::plan::Event;
use crate::recording::Detail;
use crate::run::play_watched;
use hb_core::ids::{Generation, Seq};

const PAIR: &str = "base C2\nset auto_failback off\nboot h1 h2\nsettle\n";
/// When the lie begins: all that was done to the pair is long ago.
const LONG_SINCE: Duration = Duration::from_secs(30);

/// What a liar may say: it hears a fact and tells its checker others, of the same truth or another.
type Lie = Box<dyn FnMut(&Moment<'_>, &Fact<'_>, &mut dyn FnMut(&Moment<'_>, &Fact<'_>))>;

struct Liar {
    check: Box<dyn Check>,
    lie: Lie,
}

impl Check for Liar {
    fn name(&self) -> &'static str {
        "liar"
    }

    fn see(&mut self, moment: &Moment<'_>, fact: &Fact<'_>, found: &mut Vec<String>) {
        (self.lie)(moment, fact, &mut |moment, fact| self.check.see(moment, fact, found));
    }
}

fn parse(text: &str) -> Plan {
    Plan::parse("canary", text).unwrap_or_else(|problems| panic!("{}", crate::render_all(&problems, text)))
}

/// What a checker finds that is told this, in a run in which nothing is wrong.
fn told(text: &str, check: impl FnOnce(&Plan) -> Box<dyn Check>, lie: Lie) -> Vec<String> {
    let plan = parse(text);
    let (world, _) = play_watched(&plan, 1, Detail::Lines, |world| {
        world.watch(Box::new(Liar { check: check(&plan), lie }));
    });
    let (lies, real): (Vec<&Violation>, Vec<&Violation>) =
        world.violations.iter().partition(|violation| violation.check == "liar");
    assert!(real.is_empty(), "{real:?}");
    lies.into_iter().map(|violation| violation.what.clone()).collect()
}

/// Nothing but the truth.
fn truth() -> Lie {
    Box::new(|moment, fact, tell| tell(moment, fact))
}

/// From some time after the beginning of the world on, another truth.
fn other_ground(from: Duration, mut change: impl FnMut(&Moment<'_>, &mut Ground) + 'static) -> Lie {
    let mut begin = None;
    Box::new(move |moment, fact, tell| {
        if moment.now < moment.begin(&mut begin, from) {
            return tell(moment, fact);
        }
        let mut ground = moment.ground.clone();
        change(moment, &mut ground);
        tell(&Moment { ground: &ground, ..*moment }, fact);
    })
}

/// At every wall-clock step of the plan, these facts instead.
fn instead_of_steps(mut say: impl FnMut(&Moment<'_>, &mut dyn FnMut(&Moment<'_>, &Fact<'_>)) + 'static) -> Lie {
    Box::new(move |moment, fact, tell| match fact {
        Fact::Happened(Event::StepClock(..)) => say(moment, tell),
        _ => tell(moment, fact),
    })
}

impl Moment<'_> {
    fn begin(&self, begin: &mut Option<Instant>, after: Duration) -> Instant {
        begin.get_or_insert_with(|| self.now.plus(after)).to_owned()
    }
}

/// A host runs a whole group.
fn give(moment: &Moment<'_>, ground: &mut Ground, host: usize, group: usize) {
    for resource in ground.resources(group).to_vec() {
        ground.set_running(moment.now, host, resource, Some(moment.life(host)));
    }
}

/// A host runs nothing of a group.
fn take(moment: &Moment<'_>, ground: &mut Ground, host: usize, group: usize) {
    for resource in ground.resources(group).to_vec() {
        ground.set_running(moment.now, host, resource, None);
    }
}

// --- single owner

fn single_owner(plan: &Plan) -> Box<dyn Check> {
    Box::new(SingleOwner::new(plan))
}

/// Both are in contact, nothing was killed, nothing is stuck: no hazard explains a second owner.
#[test]
fn hazards_do_not_excuse_a_second_owner_out_of_nothing() {
    for policy in ["", "hazards\n"] {
        let text = format!("{PAIR}{policy}end 40\n");
        let second = other_ground(LONG_SINCE, |moment, ground| give(moment, ground, 1, 0));
        let found = told(&text, single_owner, second);
        assert_eq!(found, ["group 10.77.0.100/24/eth0 has two owners, h1 and h2, for 0 ms so far; 0 ms are allowed"]);
        assert!(told(&text, single_owner, truth()).is_empty());
    }
}

/// One resource is enough.
#[test]
fn a_part_of_a_group_is_an_owner() {
    let text = format!("{PAIR}hazards\nend 40\n");
    let second = other_ground(LONG_SINCE, |moment, ground| {
        let last = *ground.resources(0).last().unwrap();
        ground.set_running(moment.now, 1, last, Some(moment.life(1)));
    });
    assert_eq!(told(&text, single_owner, second).len(), 1);
}

#[test]
fn what_an_earlier_life_started_is_a_hazard_and_only_that() {
    let text = |policy: &str| format!("{PAIR}{policy}end 40\n");
    let orphan = || {
        other_ground(LONG_SINCE, |moment, ground| {
            for resource in ground.resources(0).to_vec() {
                ground.set_running(moment.now, 1, resource, Some(moment.life(1) + 1));
            }
        })
    };
    assert!(told(&text("hazards\n"), single_owner, orphan()).is_empty());
    assert_eq!(told(&text(""), single_owner, orphan()).len(), 1);
}

/// A silence excuses two owners while it lasts and for as long as the loser needs; then they are reported.
#[test]
fn what_a_partition_excused_is_not_excused_for_ever() {
    let cut = format!("{PAIR}hazards\nat 0 cut h1\nat 10 heal h1\nend 40\n");
    let bound = release_bound(&parse(&cut));
    // The pair has settled some six seconds after its beginning, and four after a cut contact is long over.
    let (from, healed) = (Duration::from_secs(10), Duration::from_secs(16));
    for (until, is_seen) in [(healed + bound / 2, false), (healed + bound + Duration::from_secs(2), true)] {
        let mut begin = None;
        let second = other_ground(from, move |moment, ground| {
            if moment.now < moment.begin(&mut begin, until.saturating_sub(from)) {
                give(moment, ground, 0, 1);
            }
        });
        assert_eq!(!told(&cut, single_owner, second).is_empty(), is_seen);
    }
}

// --- announced by its owner

fn announced(_: &Plan) -> Box<dyn Check> {
    Box::new(Announced::default())
}

#[test]
fn an_announcement_of_what_is_not_there_is_seen() {
    let text = format!("{PAIR}at 0 standby h1 local\nend 8\n");
    let swapped: Lie = Box::new(|moment, fact, tell| match fact {
        Fact::Announced(host, address) => tell(moment, &Fact::Announced(1 - host, *address)),
        _ => tell(moment, fact),
    });
    let found = told(&text, announced, swapped);
    assert!(!found.is_empty() && found.iter().all(|what| what.contains("without having it")), "{found:?}");
    assert!(told(&text, announced, truth()).is_empty());
}

#[test]
fn clients_that_believe_another_host_are_seen() {
    let text = format!("{PAIR}end 60\n");
    let stolen = other_ground(Duration::from_secs(1), |moment, ground| {
        let (address, _) = ground.addresses().next().unwrap();
        ground.announce(moment.now, 1, address);
    });
    assert_eq!(told(&text, announced, stolen), ["h1 alone has 10.77.0.100, but clients believe h2"]);
    assert!(told(&text, announced, truth()).is_empty());
}

/// An owner that never says so is not believed; the group must be there, and clients must be able to hear it.
#[test]
fn an_address_that_nobody_announces_is_seen() {
    let silent = |policy: &str| {
        let mut kept: Option<Ground> = None;
        let lie: Lie = Box::new(move |moment, fact, tell| {
            // The truth of a world in which nobody announces: power, cables and shares follow, caches do not.
            let (address, _) = moment.ground.addresses().next().unwrap();
            let ground = kept.get_or_insert_with(|| moment.ground.clone());
            for host in 0..moment.ground.host_count() {
                if ground.power(host) != moment.ground.power(host) {
                    ground.set_power(moment.now, host, moment.ground.power(host));
                }
                ground.set_cut(moment.now, host, "eth0", !moment.ground.is_address_reachable(host, address));
                for resource in 0..moment.ground.resource_count() {
                    let life = moment.ground.runs(host, resource).then(|| moment.life(host));
                    ground.set_running(moment.now, host, resource, life);
                }
            }
            tell(&Moment { ground, ..*moment }, fact);
        });
        // Zero is the start: what is to happen must happen before judgement.
        let text = format!("{PAIR}{policy}end 30\n").replace("settle\n", "");
        told(&text, announced, lie)
    };
    let found = silent("");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|what| what.ends_with("but clients believe nobody")), "{found:?}");
    // Nobody must say anything of what nobody has, or where nobody hears it.
    for reason in ["at 0 stop h1\nat 0 stop h2\n", "fate service h1:eth0 h2:eth0\nat 0 cut service\n"] {
        assert!(silent(reason).is_empty(), "{reason}");
    }
}

// --- no death while heard

#[test]
fn a_death_too_early_is_seen_and_one_in_time_is_not() {
    let death = |silence: &str| {
        let text = format!("{PAIR}hazards\nat 20 crash h2\nat {silence} step-clock h1 0\nend 30\n");
        let lie = instead_of_steps(|moment, tell| {
            let dead = hb_core::Event::NodeDead {
                node: "h2".to_owned(),
                silent: Duration::from_secs(9),
                limit: Duration::from_secs(9),
                never_heard: false,
            };
            tell(moment, &Fact::Reported(0, &dead));
        });
        told(&text, |_| Box::new(Alive), lie)
    };
    let early = death("22.5");
    assert!(matches!(&early[..], [what] if what.starts_with("h1 buried h2 after 2")), "{early:?}");
    assert!(death("23.1").is_empty());
    // While it speaks, it is at most a keepalive ago that it was heard.
    assert_eq!(death("10").len(), 1);
}

// --- one owner after calm

fn liveness(plan: &Plan) -> Box<dyn Check> {
    Box::new(Liveness::new(plan))
}

#[test]
fn a_group_that_nobody_or_everybody_or_half_a_node_runs_after_the_calm_is_seen() {
    type Change = fn(&Moment<'_>, &mut Ground);
    let text = format!("{PAIR}calm 5\nend 80\n");
    let changes: [(&str, Change); 3] = [
        ("is on []", |moment, ground| take(moment, ground, 0, 0)),
        ("is on [h1 h2]", |moment, ground| give(moment, ground, 1, 0)),
        ("is on [h1]", |moment, ground| {
            let last = *ground.resources(0).last().unwrap();
            ground.set_running(moment.now, 0, last, None);
        }),
    ];
    for (expected, change) in changes {
        let found = told(&text, liveness, other_ground(LONG_SINCE, change));
        assert!(matches!(&found[..], [what] if what.ends_with(expected)), "{expected}: {found:?}");
    }
    assert!(told(&text, liveness, truth()).is_empty());
    // Without a calm nothing is promised.
    let storm = text.replace("calm 5\n", "");
    assert!(told(&storm, liveness, other_ground(LONG_SINCE, changes[0].1)).is_empty());
}

/// What is only late is seen, too: the moment of judgement is the bound, not the end of the run.
#[test]
fn a_group_that_comes_after_the_bound_is_seen() {
    let text = format!("{PAIR}calm 0\nend 120\n");
    let bound = liveness::bound(&parse(&text));
    for (slack, is_seen) in [(Duration::from_secs(5), true), (Duration::ZERO, false)] {
        let mut begin = None;
        let late = other_ground(Duration::ZERO, move |moment, ground| {
            // The pair needs some six seconds to settle before zero.
            let back = Duration::from_secs(2) + bound + slack;
            if moment.now < moment.begin(&mut begin, back) {
                take(moment, ground, 0, 0);
            }
        });
        assert_eq!(!told(&text, liveness, late).is_empty(), is_seen);
    }
}

// --- moves

/// Group A starts on the other host, and back, that often.
fn moves(times: u32) -> Lie {
    instead_of_steps(move |moment, tell| {
        let first = moment.ground.resources(0)[0];
        for time in 0..times {
            tell(moment, &Fact::Runs(usize::try_from((time + 1) % 2).unwrap(), first, true));
        }
    })
}

#[test]
fn a_group_that_moves_again_and_again_for_nothing_is_seen() {
    let text = format!("{PAIR}at 30 step-clock h1 0\nend 40\n");
    let flapping = |_: &Plan| -> Box<dyn Check> { Box::new(Flapping::default()) };
    let found = told(&text, flapping, moves(40));
    assert!(found.first().is_some_and(|what| what.contains("reasons at most")), "{found:?}");
    // Each reason excuses a move away and one home, not more: two starts, and who was heard for the first time.
    assert!(told(&text, flapping, moves(2)).is_empty());
    assert!(told(&text, flapping, moves(13)).len() == 1, "{:?}", told(&text, flapping, moves(13)));
    assert!(told(&text, flapping, truth()).is_empty());
    // With more reasons the same moves are none too many.
    let cuts = "at 1 cut h1 eth9\nat 2 heal h1 eth9\n".repeat(10);
    assert!(told(&format!("{text}{cuts}"), flapping, moves(40)).is_empty());
}

#[test]
fn a_group_that_leaves_an_owner_who_lives_and_was_not_asked_is_seen() {
    let sticky = |plan: &Plan| -> Box<dyn Check> { Box::new(Sticky::new(plan)) };
    let text = |failback: &str, before: &str| {
        format!("base C2\nset auto_failback {failback}\nboot h1 h2\nsettle\n{before}at 45 step-clock h1 0\nend 50\n")
    };
    let gone = ["group 10.77.0.100/24/eth0 went from h1 to h2, and nobody had asked for it"];
    assert_eq!(told(&text("off", ""), sticky, moves(1)), gone);
    assert_eq!(told(&text("on", ""), sticky, moves(1)), gone);
    // Home is allowed with `on` only.
    assert_eq!(told(&text("on", ""), sticky, moves(2)).len(), 1);
    assert_eq!(told(&text("off", ""), sticky, moves(2)).len(), 2);
    // Reasons: somebody asked; one of them was just started; they have lost sight of each other.
    for reason in ["at 44 takeover h2 foreign\n", "at 44 start h2\n", "hazards\nat 44 cut h1\n"] {
        let found = told(&text("off", reason), sticky, moves(1));
        assert!(found.is_empty(), "{reason}: {found:?}");
    }
    // Reasons that are too old.
    for reason in ["at 0 standby h2 foreign\n", "at 0 start h2\n", "hazards\nat 0 cut h1\nat 1 heal h1\n"] {
        assert_eq!(told(&text("off", reason), sticky, moves(1)).len(), 1, "{reason}");
    }
}

/// In one direction, and only where ipfail runs.
#[test]
fn a_ping_node_excuses_a_move_to_whom_it_answers() {
    let sticky = |plan: &Plan| -> Box<dyn Check> { Box::new(Sticky::new(plan)) };
    let text = |ipfail: &str, before: &str| {
        format!(
            "base C2\nset auto_failback off\nset ping 10.77.0.254\nset deadping 3\n{ipfail}ping-target 10.77.0.254 eth0\n\
             boot h1 h2\nsettle\n{before}at 45 step-clock h1 0\nend 50\n"
        )
    };
    let (on, lost) = ("set respawn hacluster /usr/lib/heartbeat/ipfail\n", "at 40 cut h1 eth0\n");
    assert_eq!(told(&text(on, ""), sticky, moves(1)).len(), 1, "it answers both");
    assert_eq!(told(&text("", lost), sticky, moves(1)).len(), 1, "nobody runs ipfail");
    // There is the group since h1 lost it. That it returns nobody had asked for.
    assert!(told(&text(on, lost), sticky, truth()).is_empty());
    assert_eq!(told(&text(on, lost), sticky, moves(2)).len(), 1);
}

// --- delivered once, and fresh

fn delivery(plan: &Plan) -> Box<dyn Check> {
    Box::new(Delivery::new(plan.hosts.len()))
}

/// What arrives is said to be something else.
fn relabelled(mut change: impl FnMut(&mut Label) + 'static) -> Lie {
    Box::new(move |moment, fact, tell| match fact {
        Fact::Arrives(arrival) if arrival.from != arrival.to => {
            let mut label = arrival.label;
            label.iter_mut().for_each(&mut change);
            tell(moment, &Fact::Arrives(&Arrival { label, ..**arrival }));
        }
        _ => tell(moment, fact),
    })
}

#[test]
fn a_message_that_is_taken_in_twice_is_seen() {
    let text = format!("{PAIR}end 3\n");
    let again = relabelled(|label| label.seq = label.seq.map(|seq| Seq(seq.0.min(9))));
    let found = told(&text, delivery, again);
    let is_twice = |what: &String| what.contains("took in message 9 of h") && what.ends_with("twice");
    assert!(!found.is_empty() && found.iter().all(is_twice), "{found:?}");
    assert!(told(&text, delivery, truth()).is_empty());
    // Copies that are refused are no harm.
    assert!(told(&format!("{text}net duplicate 1\n"), delivery, truth()).is_empty());
}

#[test]
fn a_message_of_an_earlier_life_that_counts_is_seen() {
    let text = format!("{PAIR}end 3\n");
    let mut number = 0;
    let old = relabelled(move |label| {
        number += 1;
        if number > 30 {
            label.generation = Generation(label.generation.0 - 1);
        }
    });
    let found = told(&text, delivery, old);
    let is_stale = |what: &String| what.contains("of an earlier life of h") && what.contains("change its mind");
    assert!(!found.is_empty() && found.iter().all(is_stale), "{found:?}");
    // Late copies of an earlier life do arrive, and change nothing.
    let late =
        format!("{PAIR}net delay uniform 0 2000ms\nnet reorder 1\nat 0 kill h2\nat 0.2 start h2\nhazards\nend 10\n");
    assert!(told(&late, delivery, truth()).is_empty());
}

// --- bounded; its queues are looked at in `bounded.rs`

fn bounded(plan: &Plan) -> Box<dyn Check> {
    Box::new(Bounded::new(plan))
}

#[test]
fn output_without_end_is_seen() {
    let text = format!("{PAIR}at 0 standby h1\nend 12\n");
    let much: Lie = Box::new(|moment, fact, tell| match fact {
        Fact::Stepped(host, effects) if *effects > 1 => tell(moment, &Fact::Stepped(*host, effects * 10_000)),
        _ => tell(moment, fact),
    });
    let found = told(&text, bounded, much);
    assert!(found.first().is_some_and(|what| what.contains("effects of one step")), "{found:?}");
    let often: Lie = Box::new(|moment, fact, tell| {
        let times = if matches!(fact, Fact::Sent(..)) { 1000 } else { 1 };
        (0..times).for_each(|_| tell(moment, fact));
    });
    let found = told(&text, bounded, often);
    assert!(found.first().is_some_and(|what| what.starts_with("h1 sent more than")), "{found:?}");
    assert!(told(&text, bounded, truth()).is_empty());
}

// --- proof

/// A device that says yes is believed only if the machine is off.
#[test]
fn a_confirmation_is_looked_up_in_the_truth() {
    let takeover = |fenced: bool, power: crate::ground::Power| {
        // Nobody takes anything by itself.
        let pair = PAIR.replace("boot", "set ownership at-most-one\nboot");
        let text = format!("{pair}at 15 crash h1\nat 30 step-clock h2 0\nend 31\n");
        let lie = instead_of_steps(move |moment, tell| {
            let mut ground = moment.ground.clone();
            ground.set_power(moment.now, 0, power);
            let moment = Moment { ground: &ground, ..*moment };
            tell(&moment, &Fact::Fenced(0, fenced));
            tell(&moment, &Fact::Runs(1, ground.resources(0)[0], true));
        });
        told(&text, |_| Box::new(BeforeTakeover::new(Proof::Fenced)), lie)
    };
    assert!(takeover(true, Power::Off).is_empty());
    assert_eq!(takeover(true, Power::On).len(), 1);
    assert_eq!(takeover(false, Power::Off).len(), 1);
}
