//! The flight recorder: what happens to the node goes to a ring of files, so that it can be lived through again.
//!
//! ```text
//! loop --encoded steps--> bounded queue --> thread `trace` --> DIR/NUMBER.hbtrace (see `ring.rs`)
//! ```
//!
//! Invariants:
//! - the loop never waits: what the queue does not take is dropped and counted,
//! - what is dropped is told: in the log once, and in the head of the next segment, which begins with the whole node and
//!   so can be replayed without what is missing,
//! - no secret is recorded.
//!
//! Waking the thread and writing costs fifty microseconds, as much as a sixth of a quiet second; so steps are gathered, and handed over when something worth a
//! log line happened, when they are many, or when they have waited for [`HAND_OVER_EVERY`]. What a daemon that is killed
//! has not handed over is lost.

mod ring;

use crate::clock;
use crate::log::Log;
use hb_core::time::Instant;
use hb_core::trace::{Dropped, Head, State, Steps};
use hb_core::{Action, Input, Level, Node, Reload, Verb};
use ring::{Ring, RingError};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Steps wait no longer than this for company.
const HAND_OVER_EVERY: Duration = Duration::from_secs(10);
/// So many bytes are handed over at once.
const BATCH: usize = 64 * 1024;
/// So many bytes may wait for the disk: some minutes of a quiet node, seconds of a busy one.
const WAITING_MAX: u64 = 1024 * 1024;
/// So many batches may wait.
const ORDERS_MAX: usize = 64;
/// After a failure the next attempt is made so much later.
const RETRY: Duration = Duration::from_secs(5);
/// The disk is said to hang when it has taken nothing for so long.
const STALL: Duration = Duration::from_secs(10);
/// The log hears of trouble at most this often.
const SAY_EVERY: Duration = Duration::from_mins(1);
/// How long the end of the program waits for the last bytes.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// How long a panic waits for them: less than anybody notices.
const RESCUE_LIMIT: Duration = Duration::from_millis(100);

/// Where recordings go and how large they may become together.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The directory of the files; made if it is missing.
    pub directory: PathBuf,
    /// In bytes, all files together; 0 turns the recorder off.
    pub size: u64,
}

/// What the loop asks of the thread.
enum Order {
    /// A new segment; what was dropped before it.
    Begin { state: Box<State>, reload: Option<Box<Reload>>, dropped: Option<Dropped> },
    /// Encoded steps of the present segment, and how many.
    Steps { bytes: Vec<u8>, steps: u64 },
}

/// What the thread tells the loop.
enum News {
    /// A segment was begun.
    Began,
    /// Nothing is written until the next segment begins.
    Failed(String),
}

/// What both sides count.
#[derive(Debug, Default)]
struct Shared {
    /// Bytes handed over and not yet written.
    waiting: AtomicU64,
    /// Orders done, to see whether the disk moves.
    done: AtomicU64,
    /// Steps that the thread could not write.
    lost: AtomicU64,
}

thread_local! {
    /// The recorder of the loop that runs on this thread. A panic hook is given nothing to reach it by.
    static ACTIVE: RefCell<Option<Active>> = const { RefCell::new(None) };
}

/// The process is about to end by a panic of this thread: hands over what is there, the step that panicked included.
pub(crate) fn rescue() {
    // Whatever the panic interrupted, this must not panic again: a recorder in use is left alone.
    let active = ACTIVE.try_with(|active| active.try_borrow_mut().ok().and_then(|mut active| active.take()));
    if let Some(mut active) = active.ok().flatten().filter(|active| active.mode == Mode::Recording) {
        if active.is_open {
            // Without actions, as nobody saw one through.
            let _unwritable = active.steps.end(&mut active.buffer);
        }
        active.finish(clock::now(), RESCUE_LIMIT);
    }
}

/// The loop's end, bound to the thread of the loop.
pub(crate) struct Recorder {
    thread: PhantomData<*const ()>,
}

struct Active {
    queue: SyncSender<Order>,
    news: Receiver<News>,
    /// Hears when the thread has written everything.
    ended: Option<Receiver<()>>,
    shared: Arc<Shared>,
    mode: Mode,
    steps: Steps,
    buffer: Vec<u8>,
    /// Steps in the buffer.
    buffered: u64,
    /// A step has begun and not ended.
    is_open: bool,
    /// What the node was last told to reload: it is part of what the next segment begins with.
    reload: Option<Box<Reload>>,
    /// Bytes of the present segment so far, its state not counted.
    segment: u64,
    segment_max: u64,
    hand_over_at: Instant,
    is_notable: bool,
    /// The count of orders done when it was last seen to change, and when that was.
    progress: (u64, Instant),
    trouble: Trouble,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Recording,
    /// Steps are counted, not recorded, until this time at least.
    Dropping {
        steps: u64,
        retry: Instant,
    },
}

/// What the log was told.
#[derive(Default)]
struct Trouble {
    said: Option<Instant>,
    /// The log knows that nothing is recorded and is to hear when it is again.
    is_open: bool,
    why: String,
}

/// Both ends, not running yet.
fn connect(settings: &Settings, head: Head, node: &Node, now: Instant) -> (Active, Writer, Receiver<Order>) {
    let (queue, orders) = sync_channel(ORDERS_MAX);
    let (tell, news) = sync_channel(ORDERS_MAX);
    let shared = Arc::new(Shared::default());
    let ring = Ring::new(&settings.directory, settings.size);
    let writer = Writer { ring, head, shared: Arc::clone(&shared), tell, why: String::new() };
    let active = Active {
        queue,
        news,
        ended: None,
        shared,
        mode: Mode::Recording,
        steps: Steps::after(&State::of(node)),
        buffer: Vec::with_capacity(BATCH / 4),
        buffered: 0,
        is_open: false,
        reload: None,
        segment: 0,
        segment_max: ring::segment_max(settings.size),
        hand_over_at: now.plus(HAND_OVER_EVERY),
        is_notable: false,
        progress: (0, now),
        trouble: Trouble::default(),
    };
    (active, writer, orders)
}

impl Recorder {
    /// A recorder that records nothing.
    pub(crate) fn off() -> Recorder {
        Recorder { thread: PhantomData }
    }

    /// Starts the thread and the first segment. Trouble with the directory shows later, in the log.
    ///
    /// To be called by a thread in the normal scheduling class, which the new one inherits.
    pub(crate) fn start(settings: &Settings, head: Head, node: &Node, now: Instant) -> std::io::Result<Recorder> {
        if settings.size == 0 {
            return Ok(Recorder::off());
        }
        let (mut active, writer, orders) = connect(settings, head, node, now);
        let (finished, ended) = sync_channel(1);
        active.ended = Some(ended);
        std::thread::Builder::new().name("trace".into()).stack_size(256 * 1024).spawn(move || {
            writer.run(&orders);
            // Nobody waits for this unless the recorder is being closed.
            let _unheard = finished.try_send(());
        })?;
        active.begin_segment(State::of(node), None, now);
        ACTIVE.set(Some(active));
        Ok(Recorder { thread: PhantomData })
    }

    /// A step is about to be made.
    pub(crate) fn begin(&mut self, now: Instant, input: &Input<'_>) {
        self.with(|active| active.begin(now, input));
    }

    /// One action of the step.
    pub(crate) fn action(&mut self, action: &Action) {
        self.with(|active| active.action(action));
    }

    /// The step was made.
    pub(crate) fn end(&mut self, now: Instant) {
        self.with(|active| active.end(now));
    }

    /// Once a turn, between two steps of `node`: hands over what is due, begins segments, tells the log.
    pub(crate) fn tend(&mut self, now: Instant, node: &Node, log: &Log) {
        self.with(|active| active.tend(now, node, log));
    }

    /// Hands over what is left and waits, for two seconds at most, until it is written.
    pub(crate) fn close(self, now: Instant) {
        let Recorder { thread: PhantomData } = self;
        if let Some(active) = ACTIVE.take() {
            active.finish(now, CLOSE_LIMIT);
        }
    }

    fn with(&mut self, work: impl FnOnce(&mut Active)) {
        let Recorder { thread: PhantomData } = self;
        ACTIVE.with_borrow_mut(|active| active.as_mut().map_or((), work));
    }
}

impl Active {
    fn begin(&mut self, now: Instant, input: &Input<'_>) {
        if let Input::Reload(reload) = input {
            self.reload = Some(reload.clone());
        }
        match &mut self.mode {
            Mode::Dropping { steps, .. } => *steps = steps.saturating_add(1),
            Mode::Recording => match self.steps.begin(&mut self.buffer, now, input) {
                Ok(()) => {
                    self.buffered = self.buffered.saturating_add(1);
                    self.is_open = true;
                }
                Err(error) => self.drop_on(now, 1, error.to_string()),
            },
        }
    }

    fn action(&mut self, action: &Action) {
        if self.is_open {
            self.steps.action(action);
            self.is_notable |= match action {
                Action::Report(event) => event.level() > Level::Debug,
                Action::RunResource { run, .. } => run.verb != Verb::Monitor,
                Action::Reply { .. }
                | Action::Exit(_)
                | Action::Reboot
                | Action::Fence { .. }
                | Action::Inspect { .. }
                | Action::CeaseFire { .. }
                | Action::Alarm { .. }
                | Action::Door(_)
                | Action::Persist { .. }
                | Action::StartProgram { .. }
                | Action::StopProgram { .. } => true,
                Action::Send { .. }
                | Action::ArmTimer { .. }
                | Action::FireArp { .. }
                | Action::Tell { .. }
                | Action::Allow { .. }
                | Action::Dismiss { .. }
                | Action::Entrust { .. } => false,
            };
        }
    }

    fn end(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_open) {
            match self.steps.end(&mut self.buffer) {
                Ok(()) if self.buffer.len() >= BATCH => self.hand_over(now),
                Ok(()) => {}
                Err(error) => self.drop_on(now, 0, error.to_string()),
            }
        }
    }

    fn tend(&mut self, now: Instant, node: &Node, log: &Log) {
        self.hear(now, log);
        match self.mode {
            Mode::Recording if self.segment.saturating_add(self.buffer.len() as u64) >= self.segment_max => {
                self.hand_over(now);
                if self.mode == Mode::Recording {
                    self.begin_segment(State::of(node), None, now);
                }
            }
            Mode::Recording if self.is_notable || now >= self.hand_over_at => self.hand_over(now),
            Mode::Dropping { steps, retry } if now >= retry && self.shared.waiting.load(Ordering::Relaxed) == 0 => {
                let dropped = Dropped { steps, why: self.trouble.why.clone() };
                self.mode = Mode::Recording;
                self.begin_segment(State::of(node), Some(dropped), now);
            }
            Mode::Recording | Mode::Dropping { .. } => {}
        }
        self.watch(now);
        self.confess(now, log);
    }

    fn finish(mut self, now: Instant, limit: Duration) {
        if self.mode == Mode::Recording {
            self.hand_over(now);
        }
        let Active { queue, ended, .. } = self;
        drop(queue);
        // Late or never: the program ends all the same.
        let _late = ended.map(|ended| ended.recv_timeout(limit));
    }

    fn begin_segment(&mut self, state: State, dropped: Option<Dropped>, now: Instant) {
        self.steps = Steps::after(&state);
        self.segment = 0;
        let steps = dropped.as_ref().map_or(0, |dropped| dropped.steps);
        let begin = Order::Begin { state: Box::new(state), reload: self.reload.clone(), dropped };
        if self.queue.try_send(begin).is_err() {
            self.drop_on(now, steps, "the disk is too slow".into());
        }
    }

    fn hand_over(&mut self, now: Instant) {
        self.hand_over_at = now.plus(HAND_OVER_EVERY);
        self.is_notable = false;
        if self.buffer.is_empty() {
            return;
        }
        let bytes = std::mem::replace(&mut self.buffer, Vec::with_capacity(BATCH / 4));
        let (length, steps) = (bytes.len() as u64, std::mem::take(&mut self.buffered));
        // Counted before it is sent: the thread may be done with it before the next line.
        let waiting = self.shared.waiting.fetch_add(length, Ordering::Relaxed).saturating_add(length);
        if waiting > WAITING_MAX || self.queue.try_send(Order::Steps { bytes, steps }).is_err() {
            self.shared.waiting.fetch_sub(length, Ordering::Relaxed);
            return self.drop_on(now, steps, "the disk is too slow".into());
        }
        self.segment = self.segment.saturating_add(length);
    }

    /// From here on steps are counted and not recorded; `steps` of them are lost already.
    fn drop_on(&mut self, now: Instant, steps: u64, why: String) {
        let steps = steps.saturating_add(std::mem::take(&mut self.buffered));
        self.buffer.clear();
        (self.is_notable, self.is_open) = (false, false);
        let steps = match self.mode {
            Mode::Recording => steps,
            Mode::Dropping { steps: before, .. } => before.saturating_add(steps),
        };
        self.mode = Mode::Dropping { steps, retry: now.plus(RETRY) };
        self.trouble.why = why;
    }

    fn hear(&mut self, now: Instant, log: &Log) {
        while let Ok(news) = self.news.try_recv() {
            match news {
                News::Failed(why) => self.drop_on(now, 0, why),
                News::Began if self.mode == Mode::Recording && std::mem::take(&mut self.trouble.is_open) => {
                    log.line(Level::Info, "flight recorder: recording again");
                }
                News::Began => {}
            }
        }
    }

    /// Notices a disk that takes nothing at all long before the queue is full.
    fn watch(&mut self, now: Instant) {
        let done = self.shared.done.load(Ordering::Relaxed);
        if done != self.progress.0 || self.shared.waiting.load(Ordering::Relaxed) == 0 {
            self.progress = (done, now);
        } else if self.mode == Mode::Recording && now.since(self.progress.1) >= STALL {
            self.drop_on(now, 0, format!("the disk has taken nothing for {} s", STALL.as_secs()));
        }
    }

    fn confess(&mut self, now: Instant, log: &Log) {
        let Trouble { said, is_open, why } = &mut self.trouble;
        let is_due = said.is_none_or(|at| now.since(at) >= SAY_EVERY);
        if self.mode != Mode::Recording && !*is_open && is_due {
            log.line(Level::Warn, format!("flight recorder: {why}: what happens is not recorded until it can be"));
            (*said, *is_open) = (Some(now), true);
        }
    }
}

/// The thread's end.
struct Writer {
    ring: Ring,
    head: Head,
    shared: Arc<Shared>,
    tell: SyncSender<News>,
    /// Why the last attempt failed.
    why: String,
}

impl Writer {
    fn run(mut self, orders: &Receiver<Order>) {
        for order in orders {
            match order {
                Order::Begin { state, reload, dropped } => {
                    self.head.reload = reload;
                    self.begin(&state, dropped);
                }
                Order::Steps { bytes, steps } => {
                    self.write(&bytes, steps);
                    self.shared.waiting.fetch_sub(bytes.len() as u64, Ordering::Relaxed);
                }
            }
            self.shared.done.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn begin(&mut self, state: &State, dropped: Option<Dropped>) {
        let lost = self.shared.lost.swap(0, Ordering::Relaxed);
        let steps = lost.saturating_add(dropped.as_ref().map_or(0, |dropped| dropped.steps));
        let why = dropped.map_or_else(|| self.why.clone(), |dropped| dropped.why);
        self.head.dropped = (steps > 0).then_some(Dropped { steps, why });
        match self.ring.begin(&self.head, state) {
            Ok(()) => self.tell(News::Began),
            Err(error) => {
                self.shared.lost.store(steps, Ordering::Relaxed);
                self.fail(&error);
            }
        }
    }

    fn write(&mut self, bytes: &[u8], steps: u64) {
        match self.ring.write(bytes) {
            Ok(true) => {}
            // Between a failure and the next segment.
            Ok(false) => {
                self.shared.lost.fetch_add(steps, Ordering::Relaxed);
            }
            Err(error) => {
                self.shared.lost.fetch_add(steps, Ordering::Relaxed);
                self.fail(&error);
            }
        }
    }

    fn fail(&mut self, error: &RingError) {
        self.why = error.to_string();
        self.tell(News::Failed(self.why.clone()));
    }

    fn tell(&self, news: News) {
        // A loop that has not listened for so long hears the next.
        let _unheard = self.tell.try_send(news);
    }
}

#[cfg(test)]
mod tests;
