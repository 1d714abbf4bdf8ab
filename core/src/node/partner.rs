//! Beside a 3.0.6: what our ipfail and the one of the other node say to each other. Read CLUSTER e.2 and CLIENT 9, 13.2
//! first.
//!
//! While the classic book rules the built-in ipfail speaks as the original's program does, so that either end may be the
//! original: messages between clients called `ipfail`, one on each node.
//!
//! ```text
//! we reach other ping nodes, the partner joins or is back --num_ping_nodes--> it compares
//! num_ping_nodes of it: fewer  --you_are_dead--> it gives up everything in two keepalives
//!                       more   we give up everything in two keepalives
//!                       equal  --abort_giveup--> neither does; with auto_failback on what is not ours goes home
//! ```
//!
//! Giving up is a standby, asked for as an operator would (CLUSTER c.7). As with the original there is one partner: in a
//! classic cluster of more than two nodes nothing moves for the sake of ping nodes.
//!
//! *Ours*: where a standby cannot begin yet it is tried again after two keepalives; the original sleeps for ten seconds.

use super::Node;
use crate::client::letters::{decimal, text};
use crate::config::Failback;
use crate::deadlines::Timer;
use crate::event::{Event, Ipfail};
use crate::ids::NodeId;
use crate::mark::Aside;
use crate::membership::{Lifecycle, Liveness};
use crate::resource::classic::{self, Cause, Intent};
use crate::wire::message::{ClientStatus, Holding};
use crate::wire::{Body, Fields};
use alloc::borrow::Cow;
use alloc::string::ToString as _;
use core::cmp::Ordering;

/// The client's name, on both nodes.
const IPFAIL: &str = "ipfail";

/// What has passed between the two.
#[derive(Clone, Copy, Debug, Default, Hash)]
#[cfg_attr(feature = "trace", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Partner {
    /// We have said that we are here, as the client of this number.
    joined: Option<Aside<u64>>,
    /// How many ping nodes we said that we reach.
    said: Option<u32>,
    /// What is given up when [`Timer::GiveUp`] is due.
    giving: Option<Holding>,
}

impl Node {
    /// Whether clients are told that an ipfail is signed on here.
    pub(super) fn has_built_in(&self, client: &str) -> bool {
        client == IPFAIL && self.config.runs_ipfail() && self.life == Lifecycle::Active
    }

    /// Says that we are here, and how many ping nodes we reach whenever that changes.
    pub(super) fn mind_partner(&mut self) {
        if self.life != Lifecycle::Active || self.pings_reached().is_none() {
            return;
        }
        self.note_reach();
        let pings = self.reach.pings;
        let is_news = core::mem::replace(&mut self.partner.said, pings) != pings;
        if self.partner.joined.is_none() {
            let number = self.clients.take_number();
            self.partner.joined = Some(Aside(number));
            self.say_client(IPFAIL, true, "signon", number);
        } else if is_news {
            self.say_count();
        }
    }

    /// The native book rules, or we leave: who is left among the originals hears that we are off.
    pub(super) fn leave_partner(&mut self) {
        self.deadlines.clear(Timer::GiveUp);
        let partner = core::mem::take(&mut self.partner);
        if let Some(number) = partner.joined {
            self.say_client(IPFAIL, false, "signoff", *number);
        }
    }

    /// The one other node, if it is up.
    fn partner(&self) -> Option<NodeId> {
        let mut others = self.nodes.others();
        let (node, peer) = others.next().filter(|_| others.next().is_none())?;
        (peer.liveness == Liveness::Active && !peer.gone).then_some(node)
    }

    /// A client on another node came or went.
    pub(super) fn on_client_status(&mut self, from: NodeId, status: &ClientStatus<'_>) {
        if status.joined && status.from_id == IPFAIL && self.partner() == Some(from) {
            self.say_count();
        }
    }

    /// A message between clients of that name.
    pub(super) fn on_client_said(&mut self, from: NodeId, kind: &str, fields: &Fields<'_>) {
        let is_ours = text(fields, "from_id") == Some(IPFAIL) && self.partner() == Some(from);
        let Some(ours) = self.pings_reached().filter(|_| is_ours && self.partner.joined.is_some()) else { return };
        match kind {
            "num_ping_nodes" => {
                let Some(theirs) = decimal::<u32>(fields, "num_ping") else { return };
                match ours.cmp(&theirs) {
                    Ordering::Greater => {
                        self.report(Event::Ipfail(Ipfail::Tells));
                        self.say_to_partner("you_are_dead", |_| {});
                    }
                    Ordering::Less => self.give_up_soon(Holding::ALL, Ipfail::HasFewer),
                    Ordering::Equal => self.on_balance(),
                }
            }
            "you_are_dead" => self.give_up_soon(Holding::ALL, Ipfail::WasTold),
            "abort_giveup" => {
                self.keep_all();
            }
            _ => {}
        }
    }

    /// Both reach as many: neither gives up anything, and what is not ours may go home.
    fn on_balance(&mut self) {
        self.report(Event::Ipfail(Ipfail::Balanced));
        let name = self.config.local_name().to_string();
        self.say_to_partner("abort_giveup", |fields| fields.push_text("src", name));
        let had_begun = self.keep_all();
        let may_return = self.config.failback() == Failback::On && self.book.hold.foreign;
        if !had_begun && may_return && classic::is_stable(&self.view(), &self.book) {
            self.give_up_soon(Holding::FOREIGN, Ipfail::ReturnsForeign);
        }
    }

    fn give_up_soon(&mut self, set: Holding, why: Ipfail) {
        self.report(Event::Ipfail(why));
        self.partner.giving = Some(set);
        self.retry_giving();
    }

    fn retry_giving(&mut self) {
        let pause = self.config.timing().keepalive().saturating_mul(2);
        self.deadlines.set(Timer::GiveUp, self.now.plus(pause));
    }

    /// Gives up nothing; whether that was about to happen.
    fn keep_all(&mut self) -> bool {
        self.deadlines.clear(Timer::GiveUp);
        let had_begun = self.partner.giving.take().is_some();
        if had_begun {
            self.report(Event::Ipfail(Ipfail::Aborted));
        }
        had_begun
    }

    pub(super) fn on_give_up(&mut self) {
        let Some(set) = self.partner.giving.filter(|_| self.partner().is_some()) else {
            self.partner.giving = None;
            return;
        };
        if set.common(self.book.hold).is_none() {
            self.partner.giving = None;
            return;
        }
        match self.may_move() {
            Ok(to) => {
                self.partner.giving = None;
                self.carry_out(Intent::BeginStandby { set, to, cause: Cause::Local });
            }
            Err(_) => self.retry_giving(),
        }
    }

    /// Where either end may have missed what the other said.
    pub(super) fn say_count(&mut self) {
        let Some(pings) = self.pings_reached().filter(|_| self.partner.joined.is_some()) else { return };
        let name = self.config.local_name().to_string();
        self.say_to_partner("num_ping_nodes", |fields| {
            fields.push_text("src", name);
            fields.push_text("num_ping", pings.to_string());
        });
    }

    /// Says it as the client that we are, in the order of fields that the original's library has.
    fn say_to_partner(&mut self, kind: &'static str, what: impl FnOnce(&mut Fields<'static>)) {
        let Some((to, number)) = self.partner().zip(self.partner.joined) else { return };
        let mut fields = Fields::with_capacity(8);
        fields.push_text("t", kind);
        what(&mut fields);
        fields.push_text("dest", self.name(to));
        fields.push_text("from_id", IPFAIL);
        fields.push_text("to_id", IPFAIL);
        fields.push_text("client_gen", number.to_string());
        // What it says are configured names and numbers.
        let _sayable = self.post(Body::Client { kind: Cow::Borrowed(kind), fields }, Some(to));
    }
}
