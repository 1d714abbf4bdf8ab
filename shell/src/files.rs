//! The files of the configuration, read again beside the loop: a disk that hangs or a name that nobody resolves must not
//! cost a heartbeat.

use crate::config::{Loaded, load};
use hb_core::ids::ClientId;
use mio::Waker;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Who wants the files to be read again: a client, or a signal.
pub(crate) type Asker = Option<ClientId>;

/// So many may wait for one reading.
const WAITING_MAX: usize = 256;

/// The loop's end of the reading.
pub(crate) struct Files {
    orders: SyncSender<()>,
    read: Receiver<Box<Loaded>>,
    /// Whose request is under way.
    served: Vec<Asker>,
    /// Who asked after the reading had begun: the files may have changed since.
    waiting: Vec<Asker>,
}

impl Files {
    /// Starts the thread, which reads the files of `directory` for the node of that name whenever it is asked to; haresources
    /// if it manages resources.
    ///
    /// To be called by a thread in the normal scheduling class, which the new one inherits.
    pub(crate) fn open(directory: PathBuf, node: Option<String>, manages: bool, wake: Arc<Waker>) -> io::Result<Files> {
        let (orders, ordered) = sync_channel(1);
        let (tell, read) = sync_channel(1);
        std::thread::Builder::new().name("files".into()).spawn(move || {
            while let Ok(()) = ordered.recv() {
                if tell.send(Box::new(load(&directory, node.as_deref(), manages))).is_err() || wake.wake().is_err() {
                    return;
                }
            }
        })?;
        Ok(Files { orders, read, served: Vec::new(), waiting: Vec::new() })
    }

    /// Somebody wants the files to be read again; of many at once all are served by the next reading. False if too many
    /// wait for that already; a signal never is too many, since nobody waits for its answer.
    pub(crate) fn ask(&mut self, who: Asker) -> bool {
        let is_heard = self.waiting.len() < WAITING_MAX;
        if is_heard {
            self.waiting.push(who);
        }
        self.go_on();
        is_heard || who.is_none()
    }

    /// What was read, and who wanted it.
    pub(crate) fn next(&mut self) -> Option<(Box<Loaded>, Vec<Asker>)> {
        let loaded = self.read.try_recv().ok()?;
        let served = std::mem::take(&mut self.served);
        self.go_on();
        Some((loaded, served))
    }

    fn go_on(&mut self) {
        if self.served.is_empty() && !self.waiting.is_empty() && self.orders.try_send(()).is_ok() {
            self.served = std::mem::take(&mut self.waiting);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_counted_and_a_signal_is_always_heard() {
        let poll = mio::Poll::new().unwrap();
        let wake = Arc::new(Waker::new(poll.registry(), mio::Token(0)).unwrap());
        let mut files = Files::open("/nowhere".into(), Some("h1".into()), true, wake).unwrap();
        // The first begins a reading, at whose end nobody looks here; what comes later waits.
        let heard = (0..WAITING_MAX as u64 * 2).filter(|number| files.ask(Some(ClientId(*number)))).count();
        assert_eq!(heard, WAITING_MAX + 1);
        assert!(files.ask(None) && files.waiting.len() == WAITING_MAX);
    }
}
