//! Files about members, written beside the loop: a disk that hangs must not cost a heartbeat.
//!
//! Of a file only what is newest waits, so that nothing grows while the disk is slow.

use crate::store::{Store, StoreError};
use hb_core::StateFile;
use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a daemon that ends waits for its disk.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// What waits to be written.
type Waiting = Arc<Mutex<BTreeMap<StateFile, String>>>;

/// The loop's end of the writing.
pub(crate) struct Keeper {
    waiting: Waiting,
    /// Says that something waits; absent once nothing more will.
    wake: Option<SyncSender<()>>,
    problems: Receiver<StoreError>,
    thread: Option<JoinHandle<()>>,
    done: Receiver<()>,
}

impl Keeper {
    /// Starts the thread, which writes to `store`.
    ///
    /// To be called by a thread in the normal scheduling class, which the new one inherits.
    pub(crate) fn open(store: Store) -> io::Result<Keeper> {
        let waiting = Waiting::default();
        let (wake, woken) = sync_channel::<()>(1);
        // A problem that nobody took yet is told once.
        let (tell, problems) = sync_channel(4);
        let (end, done) = sync_channel(1);
        let theirs = Arc::clone(&waiting);
        let thread = std::thread::Builder::new().name("keeper".into()).spawn(move || {
            while let Ok(()) = woken.recv() {
                write(&store, &theirs, &tell);
            }
            write(&store, &theirs, &tell);
            let _nobody_waits = end.send(());
        })?;
        Ok(Keeper { waiting, wake: Some(wake), problems, thread: Some(thread), done })
    }

    /// Writes a file, soon and never waiting.
    pub(crate) fn keep(&mut self, file: StateFile, text: String) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(file, text);
        if let Some(wake) = &self.wake {
            // If the channel is full the thread will look anyway.
            let _full = wake.try_send(());
        }
    }

    /// What could not be written, since this was last asked.
    pub(crate) fn next_problem(&mut self) -> Option<StoreError> {
        self.problems.try_recv().ok()
    }
}

impl Drop for Keeper {
    /// Waits a while for what is to be written still.
    fn drop(&mut self) {
        self.wake = None;
        if !matches!(self.done.recv_timeout(LAST_WRITE), Err(RecvTimeoutError::Timeout))
            && let Some(thread) = self.thread.take()
        {
            let _panicked = thread.join();
        }
    }
}

fn write(store: &Store, waiting: &Waiting, tell: &SyncSender<StoreError>) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_first();
        let Some((file, text)) = next else { return };
        if let Err(error) = store.keep(file, &text) {
            let _full = tell.try_send(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_last_is_there_when_the_keeper_is_gone() {
        let directory = crate::testbed::Directory::new().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let mut keeper = Keeper::open(store.clone()).unwrap();
        for text in ["one\n", "two\n", "h1\t00000000-0000-0000-0000-000000000000\t7\tx\n"] {
            keeper.keep(StateFile::Hostcache, text.into());
        }
        drop(keeper);
        let (cache, bad) = store.hostcache().unwrap();
        assert_eq!((cache.nodes[0].weight, cache.deleted.len(), bad.len()), (7, 0, 0));
    }

    #[test]
    fn what_cannot_be_written_is_told() {
        let directory = crate::testbed::Directory::new().unwrap();
        let store = Store::open(&directory.path().join("gone")).unwrap();
        std::fs::remove_dir(directory.path().join("gone")).unwrap();
        let mut keeper = Keeper::open(store).unwrap();
        keeper.keep(StateFile::Delhostcache, String::new());
        let told = keeper.problems.recv_timeout(Duration::from_mins(1)).unwrap();
        assert!(told.to_string().starts_with("cannot write ") && told.to_string().contains("delhostcache"), "{told}");
    }
}
