//! What a client notices: an ICMP echo request in a steady rhythm, and the gaps in the answers.
//!
//! ```text
//!   requests   | | | | | | | | | |        arrival of an answer is stamped by the kernel, so that a
//!   answers    | | |           | |        prober that is held up does not see an outage of its own
//!                    |<- gap ->|
//! ```
//!
//! A gap begins when the first request is sent that is not answered within one interval, and ends when the next answer
//! arrives, of whichever request: one that waited for the address to be resolved is no sign that the service was up
//! before. An outage is so measured to within one interval.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hb_core::arp::checksum;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, recvmsg, sendto,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeSpec;

use super::namespace::Machine;

/// An ICMP header and the number of the probe.
const PACKET_LEN: usize = 16;
/// More than the longest IPv4 header before an answer.
const ANSWER_MAX: usize = 128;

/// A prober at work in a thread of its own.
#[derive(Debug)]
pub struct Probe {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Vec<Echo>>>,
    interval: Duration,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    sent: AtomicU64,
    answered: Mutex<u64>,
    more: Condvar,
}

/// One echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// When it left.
    pub sent: Instant,
    /// When its answer arrived.
    pub answered: Option<Instant>,
}

/// A time without answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// When the first request left that was not answered at once.
    pub from: Instant,
    /// When the next answer arrived, or the end of the measurement.
    pub until: Instant,
    /// Whether an answer ended it.
    pub healed: bool,
}

/// The requests of one measurement, in the order of sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// The requests.
    pub echoes: Vec<Echo>,
    /// The rhythm of sending.
    pub interval: Duration,
    /// The end of the measurement.
    pub end: Instant,
}

impl Probe {
    /// Begins to send a request from `machine` to `target` every `interval`; needs CAP_NET_RAW there.
    ///
    /// Requests that cannot even be sent, for want of a route or of memory, count as not answered.
    pub fn start(machine: &Machine, target: IpAddr, interval: Duration) -> io::Result<Probe> {
        let socket = machine.run(move || open(target))?;
        let shared = Arc::new(Shared::default());
        let prober = Prober { socket, target, ident: next_ident(), interval, shared: Arc::clone(&shared) };
        let thread = std::thread::Builder::new().name("echo".to_owned()).spawn(move || prober.run())?;
        Ok(Probe { shared, thread: Some(thread), interval })
    }

    /// Waits until a request that is sent from now on was answered; false if `limit` passes first.
    pub fn wait_for_answer(&self, limit: Duration) -> bool {
        let next = self.shared.sent.load(Ordering::Acquire);
        let answered = self.shared.answered.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.shared.more.wait_timeout_while(answered, limit, |answered| *answered <= next);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Ends the measurement.
    ///
    /// # Panics
    /// When the prober's thread panicked.
    pub fn stop(mut self) -> Answers {
        self.shared.stop.store(true, Ordering::Release);
        let thread = self.thread.take().expect("only stop and drop take the thread");
        let echoes = thread.join().expect("the prober does not panic");
        Answers { echoes, interval: self.interval, end: Instant::now() }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // Nobody asked for the result.
            let _: std::thread::Result<Vec<Echo>> = thread.join();
        }
    }
}

impl Answers {
    /// The gaps in the order of time; each is longer than one interval, unless the measurement ended in it.
    pub fn gaps(&self) -> Vec<Gap> {
        // For every request the first answer to it or to a later one.
        let mut next_answer = vec![None; self.echoes.len()];
        let mut earliest: Option<Instant> = None;
        for (echo, next) in self.echoes.iter().zip(&mut next_answer).rev() {
            earliest = echo.answered.into_iter().chain(earliest).min();
            *next = earliest;
        }

        let mut gaps: Vec<Gap> = Vec::new();
        for (echo, next) in self.echoes.iter().zip(next_answer) {
            let is_prompt = echo.answered.is_some_and(|answered| answered - echo.sent <= self.interval);
            let is_covered = gaps.last().is_some_and(|gap| echo.sent <= gap.until);
            if !is_prompt && !is_covered {
                gaps.push(Gap { from: echo.sent, until: next.unwrap_or(self.end), healed: next.is_some() });
            }
        }
        gaps
    }

    /// The longest gap that touches the time from `from` to `until` ([`Instant::now`] at the events of interest); zero without one.
    pub fn longest_gap_between(&self, from: Instant, until: Instant) -> Duration {
        let touching = self.gaps().into_iter().filter(|gap| gap.from <= until && gap.until >= from);
        touching.map(|gap| gap.until - gap.from).max().unwrap_or_default()
    }
}

struct Prober {
    socket: OwnedFd,
    target: IpAddr,
    ident: u16,
    interval: Duration,
    shared: Arc<Shared>,
}

impl Prober {
    fn run(self) -> Vec<Echo> {
        let clocks = Clocks::read();
        let target = SockaddrStorage::from(SocketAddr::new(self.target, 0));
        let mut echoes: Vec<Echo> = Vec::new();
        let mut due = Instant::now();
        while !self.shared.stop.load(Ordering::Acquire) {
            let now = Instant::now();
            if now >= due {
                let packet = request(self.target, self.ident, echoes.len() as u64);
                // What cannot be sent is not answered; that is all there is to know about it.
                let _: nix::Result<usize> = sendto(self.socket.as_raw_fd(), &packet, &target, MsgFlags::MSG_DONTWAIT);
                echoes.push(Echo { sent: now, answered: None });
                self.shared.sent.store(echoes.len() as u64, Ordering::Release);
                // After a delay go on in the rhythm: a burst would not tell more.
                due = (due + self.interval).max(now);
            }
            let mut readable = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            let wait = TimeSpec::from_duration(due.saturating_duration_since(Instant::now()));
            // An interrupted wait is a short one.
            let _: nix::Result<i32> = ppoll(&mut readable, Some(wait), None);
            self.receive(&clocks, &mut echoes);
        }
        echoes
    }

    fn receive(&self, clocks: &Clocks, echoes: &mut [Echo]) {
        let mut bytes = [0; ANSWER_MAX];
        let mut control = nix::cmsg_space!(TimeSpec);
        loop {
            let mut parts = [io::IoSliceMut::new(&mut bytes)];
            let flags = MsgFlags::MSG_DONTWAIT;
            let Ok(message) = recvmsg::<()>(self.socket.as_raw_fd(), &mut parts, Some(&mut control), flags) else {
                return;
            };
            let stamp = message.cmsgs().ok().and_then(|mut all| {
                all.find_map(|it| if let ControlMessageOwned::ScmTimestampns(stamp) = it { Some(stamp) } else { None })
            });
            let answer = message.iovs().next().and_then(|bytes| answered_number(self.target, self.ident, bytes));
            let Some(number) = answer else { continue };
            let Some(echo) = usize::try_from(number).ok().and_then(|number| echoes.get_mut(number)) else { continue };
            let arrival = stamp.and_then(|stamp| clocks.instant_of(stamp)).unwrap_or_else(Instant::now);
            echo.answered.get_or_insert(arrival.max(echo.sent));
            let mut answered = self.shared.answered.lock().unwrap_or_else(PoisonError::into_inner);
            *answered = (*answered).max(number + 1);
            self.shared.more.notify_all();
        }
    }
}

/// Both clocks at one moment: the kernel stamps arrivals with wall time.
struct Clocks {
    instant: Instant,
    wall: SystemTime,
}

impl Clocks {
    fn read() -> Clocks {
        Clocks { instant: Instant::now(), wall: SystemTime::now() }
    }

    /// The instant of a stamp; `None` before the clocks were read.
    fn instant_of(&self, stamp: TimeSpec) -> Option<Instant> {
        let wall = UNIX_EPOCH + Duration::from(stamp);
        Some(self.instant + wall.duration_since(self.wall).ok()?)
    }
}

fn open(target: IpAddr) -> io::Result<OwnedFd> {
    let (family, protocol) = match target {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    let socket = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, protocol)?;
    setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
    Ok(socket)
}

/// A number that no other prober of this process uses.
fn next_ident() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The types of request and answer.
fn types(target: IpAddr) -> (u8, u8) {
    if target.is_ipv4() { (8, 0) } else { (128, 129) }
}

fn request(target: IpAddr, ident: u16, number: u64) -> [u8; PACKET_LEN] {
    let [i0, i1] = ident.to_be_bytes();
    let mut packet = [0; PACKET_LEN];
    let (header, payload) = packet.split_at_mut(8);
    payload.copy_from_slice(&number.to_be_bytes());
    let [.., s0, s1] = number.to_be_bytes();
    header.copy_from_slice(&[types(target).0, 0, 0, 0, i0, i1, s0, s1]);
    if target.is_ipv4() {
        // For IPv6 the kernel does it, since only the kernel knows the source address.
        let sum = checksum([&packet[..]]).to_be_bytes();
        packet[2..4].copy_from_slice(&sum);
    }
    packet
}

/// The number of the request that `bytes` answers, if it is one of ours.
fn answered_number(target: IpAddr, ident: u16, bytes: &[u8]) -> Option<u64> {
    let icmp = match target {
        // IPv4 hands the packet over with its header, whose length in words is its second half byte.
        IpAddr::V4(_) => bytes.get(usize::from(bytes.first()? & 0xf) * 4..)?,
        IpAddr::V6(_) => bytes,
    };
    let (&[kind, _, _, _, i0, i1, _, _], payload) = icmp.split_first_chunk::<8>()?;
    let number = payload.first_chunk::<8>()?;
    (kind == types(target).1 && [i0, i1] == ident.to_be_bytes()).then(|| u64::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 77, 0, 100));

    fn at(start: Instant, micros: u64) -> Instant {
        start + Duration::from_micros(micros)
    }

    /// Requests every millisecond; for each the microsecond at which its answer arrives.
    fn measured(arrivals: &[Option<u64>]) -> (Instant, Answers) {
        let start = Instant::now();
        let echo = |(sent, arrival): (u64, &Option<u64>)| Echo {
            sent: at(start, sent * 1000),
            answered: arrival.map(|micros| at(start, micros)),
        };
        let end = at(start, arrivals.len() as u64 * 1000);
        (start, Answers { echoes: (0..).zip(arrivals).map(echo).collect(), interval: Duration::from_millis(1), end })
    }

    #[test]
    fn a_gap_reaches_from_the_first_lost_request_to_the_next_answer() {
        let (start, answers) = measured(&[Some(50), None, None, Some(3100), Some(4050)]);
        assert_eq!(answers.gaps(), [Gap { from: at(start, 1000), until: at(start, 3100), healed: true }]);
        assert_eq!(answers.longest_gap_between(start, answers.end), Duration::from_micros(2100));
        assert_eq!(answers.longest_gap_between(at(start, 3500), answers.end), Duration::ZERO);
    }

    #[test]
    fn a_request_that_waited_for_resolution_does_not_shorten_the_gap() {
        let (start, answers) = measured(&[Some(50), None, Some(4200), Some(4200), Some(4210), Some(5050)]);
        assert_eq!(answers.gaps(), [Gap { from: at(start, 1000), until: at(start, 4200), healed: true }]);
    }

    #[test]
    fn a_gap_that_nothing_ended_reaches_to_the_end() {
        let (start, answers) = measured(&[Some(50), None, None]);
        assert_eq!(answers.gaps(), [Gap { from: at(start, 1000), until: at(start, 3000), healed: false }]);
    }

    #[test]
    fn a_pause_of_the_prober_is_no_gap() {
        let start = Instant::now();
        let echo = |sent| Echo { sent: at(start, sent), answered: Some(at(start, sent + 40)) };
        let interval = Duration::from_millis(1);
        let answers = Answers { echoes: [0, 1000, 51_000].map(echo).to_vec(), interval, end: at(start, 52_000) };
        assert_eq!(answers.gaps(), []);
    }

    #[test]
    fn only_an_answer_to_our_own_request_counts() {
        let ip_header = [&[0x45][..], &[0; 19]].concat();
        let mut answer = request(TARGET, 7, 300);
        answer[0] = 0;
        let packet = [&ip_header[..], &answer].concat();
        assert_eq!(answered_number(TARGET, 7, &packet), Some(300));
        assert_eq!(answered_number(TARGET, 8, &packet), None, "another prober's");
        assert_eq!(answered_number(TARGET, 7, &[&ip_header[..], &request(TARGET, 7, 300)].concat()), None, "a request");
        for cut in 0..packet.len() {
            assert_eq!(answered_number(TARGET, 7, &packet[..cut]), None);
        }
    }

    #[test]
    fn a_request_carries_a_valid_checksum() {
        assert_eq!(checksum([&request(TARGET, 0x1234, 0xfedc_ba98)[..]]), 0);
    }
}
