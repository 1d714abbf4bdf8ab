//! Virtual addresses, changed and looked for beside the loop.
//!
//! The kernel changes addresses under a lock that belongs to everybody who changes interfaces, and where containers come
//! and go by the hundred it is held for seconds. No heartbeat may wait for that: a node that stands still so long is dead
//! to its peers, or killed by its own guard.
//!
//! Operations are done one after the other, in the order they were asked for, so that a stop never overtakes the start
//! that it undoes. Each is told as soon as it is done: of fifty groups that move, each is missed for a moment only.

use crate::net::cables::Back;
use crate::net::netlink::Netlink;
use crate::net::vip::{self, Placed, Presence, VipError};
use crate::realtime;
use hb_core::config::VirtualIp;
use hb_core::ids::OpId;
use hb_core::time::Instant;
use hb_core::{Failure, Outcome, ResourceRun, Verb};
use mio::Waker;
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// The thread keeps little on its stack, and with locked memory all of it is there.
const STACK: usize = 256 * 1024;

/// So many operations may wait for a kernel that hangs: more than any configuration begins at once.
const ORDERS_MAX: usize = 4096;

/// What is to be done.
struct Order {
    op: OpId,
    address: VirtualIp,
    verb: Verb,
    /// Where it was put.
    placed: Option<Placed>,
}

/// What came of it.
struct Done {
    op: OpId,
    result: Result<Effect, VipError>,
}

enum Effect {
    Added(Placed),
    Removed,
    Present(bool),
}

struct UnderWay {
    run: ResourceRun,
    address: IpAddr,
    until: Instant,
}

/// The loop's end of the work.
pub(crate) struct Addresses {
    orders: SyncSender<Order>,
    done: Receiver<Done>,
    under_way: BTreeMap<OpId, UnderWay>,
    placed: BTreeMap<IpAddr, Placed>,
}

impl Addresses {
    /// Starts the thread, which asks the kernel through `netlink`. With `realtime` it enters the class of the loop, of
    /// that priority: a takeover waits for it.
    pub(crate) fn open(
        mut netlink: Netlink,
        wake: Arc<Waker>,
        realtime: Option<realtime::Priority>,
    ) -> io::Result<Addresses> {
        Addresses::start(wake, realtime, move |order| order.carry_out(&mut netlink))
    }

    fn start(
        wake: Arc<Waker>,
        realtime: Option<realtime::Priority>,
        mut carry_out: impl FnMut(&Order) -> Result<Effect, VipError> + Send + 'static,
    ) -> io::Result<Addresses> {
        let (orders, ordered) = sync_channel::<Order>(ORDERS_MAX);
        let (tell, done) = sync_channel(ORDERS_MAX);
        std::thread::Builder::new().name("addresses".into()).stack_size(STACK).spawn(move || {
            if let Some(priority) = realtime {
                // Where that fails it fails for the loop too, which says so.
                let _slower = realtime::schedule(priority);
            }
            while let Ok(order) = ordered.recv() {
                let result = carry_out(&order);
                if tell.send(Done { op: order.op, result }).is_err() || wake.wake().is_err() {
                    return;
                }
            }
        })?;
        Ok(Addresses { orders, done, under_way: BTreeMap::new(), placed: BTreeMap::new() })
    }

    /// Begins an operation; what came of it is told by [`next`](Self::next).
    pub(crate) fn run(&mut self, now: Instant, op: OpId, run: ResourceRun, address: VirtualIp) {
        let (verb, ip) = (run.verb, address.address);
        let until = now.plus(run.limit);
        self.under_way.insert(op, UnderWay { run, address: ip, until });
        // Where the thread is gone, or has too much to do, the limit ends the operation as if it hung.
        let _gone_or_full = self.orders.try_send(Order { op, address, verb, placed: self.placed.get(&ip).cloned() });
    }

    /// When the first limit ends.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.under_way.values().map(|work| work.until).min()
    }

    /// The next operation that is over: done, or past its limit. One that is done later than that is not told again; what
    /// is asked for next comes after it all the same.
    pub(crate) fn next(&mut self, now: Instant) -> Option<(OpId, ResourceRun, Outcome)> {
        while let Ok(Done { op, result }) = self.done.try_recv() {
            let work = self.under_way.remove(&op);
            let outcome = match result {
                Ok(Effect::Added(placed)) => {
                    self.placed.insert(placed.address, placed);
                    Outcome::Done
                }
                Ok(Effect::Removed) => {
                    if let Some(work) = &work {
                        self.placed.remove(&work.address);
                    }
                    Outcome::Done
                }
                Ok(Effect::Present(true)) => Outcome::Running,
                Ok(Effect::Present(false)) => Outcome::NotRunning,
                Err(error) => Outcome::Failed(Failure::Machine(error.to_string())),
            };
            if let Some(work) = work {
                return Some((op, work.run, outcome));
            }
        }
        let late = self.under_way.iter().find(|(_, work)| work.until <= now).map(|(op, _)| *op)?;
        let run = self.under_way.remove(&late)?.run;
        let seconds = u32::try_from(run.limit.as_secs()).unwrap_or(u32::MAX);
        Some((late, run, Outcome::Failed(Failure::TimedOut(seconds))))
    }

    /// The addresses here that may be reached again, now that this is back.
    pub(crate) fn behind<'a>(&'a self, back: &'a Back) -> impl Iterator<Item = IpAddr> + 'a {
        let is_behind = move |placed: &&Placed| match back {
            Back::Interface(link) => placed.link == *link,
            Back::Anything => true,
        };
        self.placed.values().filter(is_behind).map(|placed| placed.address)
    }

    /// Where an address is that was put up here.
    pub(crate) fn placed(&self, address: IpAddr) -> Option<&Placed> {
        self.placed.get(&address)
    }
}

impl Order {
    fn carry_out(&self, netlink: &mut Netlink) -> Result<Effect, VipError> {
        match self.verb {
            Verb::Start => {
                let placed = vip::resolve(netlink, &self.address)?;
                vip::add(netlink, &placed)?;
                Ok(Effect::Added(placed))
            }
            // Wherever it is, whatever the routes and the configuration say meanwhile.
            Verb::Stop => vip::remove_address(netlink, self.address.address).map(|()| Effect::Removed),
            Verb::Status | Verb::Monitor => {
                let placed = match (&self.placed, self.verb) {
                    (Some(placed), Verb::Monitor) => placed.clone(),
                    _ => vip::resolve(netlink, &self.address)?,
                };
                let presence = vip::present(netlink, &placed)?;
                Ok(Effect::Present(presence != Presence::Absent))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hb_core::config::{AddressClass, Resource, Span};
    use hb_core::ids::GroupId;
    use mio::{Events, Poll, Token};
    use std::sync::Mutex;
    use std::time::Duration;

    fn address() -> VirtualIp {
        VirtualIp {
            class: AddressClass::IPaddr,
            address: [10, 77, 0, 100].into(),
            prefix: Some(24),
            interface: Some("eth0".into()),
            label: None,
            broadcast: None,
            word: "10.77.0.100/24/eth0".into(),
            span: Span::default(),
        }
    }

    fn run(verb: Verb) -> ResourceRun {
        ResourceRun { group: GroupId(0), resource: Resource::Address(address()), verb, limit: Duration::from_secs(5) }
    }

    fn kernel() -> VipError {
        VipError::Forbidden(address().address)
    }

    #[test]
    fn a_kernel_that_hangs_costs_no_more_than_the_limit_and_the_order_stays() {
        let mut poll = Poll::new().unwrap();
        let wake = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let (go_on, hangs) = sync_channel::<()>(2);
        let (hangs, orders) = (Mutex::new(hangs), Arc::new(Mutex::new(Vec::new())));
        let seen = Arc::clone(&orders);
        let mut addresses = Addresses::start(wake, None, move |order| {
            hangs.lock().unwrap().recv().unwrap();
            seen.lock().unwrap().push(order.verb);
            if order.verb == Verb::Stop { Ok(Effect::Removed) } else { Err(kernel()) }
        })
        .unwrap();
        let now = Instant::after_origin(Duration::from_secs(100));
        addresses.run(now, OpId(1), run(Verb::Start), address());
        let until = addresses.next_deadline().unwrap();
        assert_eq!(until, now.plus(Duration::from_secs(5)));
        assert_eq!(addresses.next(now), None);
        let (op, _, outcome) = addresses.next(until).unwrap();
        assert_eq!((op, outcome), (OpId(1), Outcome::Failed(Failure::TimedOut(5))));
        // What is asked for next comes after what hangs still, whose end nobody hears.
        addresses.run(until, OpId(2), run(Verb::Stop), address());
        go_on.send(()).unwrap();
        go_on.send(()).unwrap();
        let done = loop {
            poll.poll(&mut Events::with_capacity(1), Some(Duration::from_mins(1))).unwrap();
            if let Some(done) = addresses.next(until) {
                break done;
            }
        };
        assert_eq!((done.0, done.2), (OpId(2), Outcome::Done));
        assert_eq!(*orders.lock().unwrap(), [Verb::Start, Verb::Stop]);
        assert_eq!(addresses.next_deadline(), None);
    }

    #[test]
    fn what_the_kernel_refuses_is_told_in_words() {
        let poll = Poll::new().unwrap();
        let wake = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        let mut addresses = Addresses::start(wake, None, |_| Err(kernel())).unwrap();
        let now = Instant::after_origin(Duration::from_secs(100));
        addresses.run(now, OpId(1), run(Verb::Start), address());
        let (_, _, outcome) = loop {
            if let Some(done) = addresses.next(now) {
                break done;
            }
            std::thread::yield_now();
        };
        let Outcome::Failed(Failure::Machine(text)) = outcome else { panic!("{outcome:?}") };
        assert!(text.contains("CAP_NET_ADMIN"), "{text}");
    }
}
