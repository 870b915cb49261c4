// SPDX-License-Identifier: GPL-3.0-or-later
//! What keeps the helper here: every call in progress (also one that waits for a password) and every run.
//! When there is none for a while, it leaves.
//!
//! Leaving must not lose a call: the name is given up first; a call that came in before that is seen
//! ([`Work::arrive`]), waits at [`Arrived::begin`], and makes the helper take the name back.

use crate::ipc::Error;
use async_channel::{Receiver, Sender, bounded};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many calls one user (not root) may have in progress.
const PER_USER: usize = 16;
/// How many calls may be in progress in all.
const IN_ALL: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    Open,
    /// The name is being given up; calls wait.
    Leaving,
    /// No new work any more.
    Closed,
}

#[derive(Debug)]
struct State {
    door: Door,
    in_progress: usize,
    per_user: HashMap<u32, usize>,
    /// Calls that have come in and neither begun nor been turned away.
    arrived: usize,
    idle_since: Instant,
}

/// Counts what is in progress.
#[derive(Debug, Clone)]
pub(super) struct Work {
    state: Arc<Mutex<State>>,
    /// Never sent on; closed and made anew when the door moves.
    moved: Arc<Mutex<(Sender<()>, Receiver<()>)>>,
}

/// A call that has come in. To be made before anything is waited for.
#[derive(Debug)]
pub(super) struct Arrived(Work);

/// One piece of work; over when dropped.
#[derive(Debug)]
pub(super) struct Piece {
    state: Arc<Mutex<State>>,
    uid: u32,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind our locks is whole at every moment; a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Work {
    pub(super) fn new() -> Self {
        let state = State {
            door: Door::Open,
            in_progress: 0,
            per_user: HashMap::new(),
            arrived: 0,
            idle_since: Instant::now(),
        };
        Self { state: Arc::new(Mutex::new(state)), moved: Arc::new(Mutex::new(bounded(1))) }
    }

    /// Notes that a call has come in.
    pub(super) fn arrive(&self) -> Arrived {
        lock(&self.state).arrived += 1;
        Arrived(self.clone())
    }

    async fn begin_unless(&self, uid: u32, closed: bool) -> Result<Piece, Error> {
        loop {
            let moved = {
                let mut state = lock(&self.state);
                match state.door {
                    Door::Open => return self.count(&mut state, uid),
                    Door::Closed if closed => return Err(Error::Leaving),
                    Door::Closed => return self.count(&mut state, uid),
                    Door::Leaving => {}
                }
                lock(&self.moved).1.clone()
            };
            let _ = moved.recv().await;
        }
    }

    fn count(&self, state: &mut State, uid: u32) -> Result<Piece, Error> {
        let own = state.per_user.get(&uid).copied().unwrap_or(0);
        if state.in_progress >= IN_ALL || (uid != 0 && own >= PER_USER) {
            return Err(Error::Busy(
                "too many calls are in progress at once; wait for one of them to end and call again"
                    .to_owned(),
            ));
        }
        state.in_progress += 1;
        *state.per_user.entry(uid).or_insert(0) += 1;
        Ok(Piece { state: self.state.clone(), uid })
    }

    /// How long there has been nothing to do; zero while there is.
    pub(super) fn idle_for(&self) -> Duration {
        let state = lock(&self.state);
        if state.in_progress + state.arrived > 0 { Duration::ZERO } else { state.idle_since.elapsed() }
    }

    /// Lets calls wait while the name is given up. False when there is work after all.
    pub(super) fn start_leaving(&self) -> bool {
        let mut state = lock(&self.state);
        let free = state.in_progress + state.arrived == 0 && state.door == Door::Open;
        if free {
            state.door = Door::Leaving;
        }
        free
    }

    /// Whether calls came in while the name was given up.
    pub(super) fn is_awaited(&self) -> bool {
        lock(&self.state).arrived > 0
    }

    /// Stays after all: what waited begins.
    pub(super) fn stay(&self) {
        self.move_door(Door::Open);
    }

    /// Takes no new work any more; what waited is told to call again.
    pub(super) fn close(&self) {
        self.move_door(Door::Closed);
    }

    fn move_door(&self, to: Door) {
        let mut state = lock(&self.state);
        if state.door != Door::Closed {
            state.door = to;
            state.idle_since = Instant::now();
        }
        let old = std::mem::replace(&mut *lock(&self.moved), bounded(1));
        old.0.close();
    }
}

impl Arrived {
    /// Begins the work of a call, for a user.
    ///
    /// # Errors
    /// [`Error::Busy`] when that user has too much in progress, [`Error::Leaving`] when the helper goes.
    pub(super) async fn begin(self, uid: u32) -> Result<Piece, Error> {
        self.0.begin_unless(uid, true).await
    }

    /// Begins work that has to do with a run that goes on: that can be followed and cancelled to its end,
    /// also when the helper takes nothing new any more.
    ///
    /// # Errors
    /// [`Error::Busy`] when that user has too much in progress.
    pub(super) async fn begin_at_run(self, uid: u32) -> Result<Piece, Error> {
        self.0.begin_unless(uid, false).await
    }
}

impl Drop for Arrived {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.arrived -= 1;
        state.idle_since = Instant::now();
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.in_progress -= 1;
        state.idle_since = Instant::now();
        if let Some(own) = state.per_user.get_mut(&self.uid) {
            *own -= 1;
            if *own == 0 {
                state.per_user.remove(&self.uid);
            }
        }
    }
}

/// Does blocking work on a thread of its own.
///
/// # Errors
/// [`Error::Failed`] when no thread can be made or the work panicked.
pub(super) async fn in_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let (sender, receiver) = bounded(1);
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let _ = sender.try_send(work());
        })
        .map_err(|e| {
            Error::Failed(format!("no thread could be made ({e}); try again when the machine has less to do"))
        })?;
    receiver.recv().await.map_err(|_| {
        Error::Failed("an error inside the helper ended the work; `journalctl -u hostwright-helper` says more, please report it".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_once};

    #[test]
    fn a_piece_of_work_keeps_it_here() {
        let work = Work::new();
        let piece = block_on(work.arrive().begin(1000)).unwrap();
        assert!(!work.start_leaving());
        assert_eq!(work.idle_for(), Duration::ZERO);
        drop(piece);
        assert!(work.start_leaving());
    }

    #[test]
    fn a_call_that_comes_while_leaving_waits_and_begins_when_it_stays() {
        let work = Work::new();
        assert!(work.start_leaving());
        block_on(async {
            let mut call = Box::pin(work.arrive().begin(1000));
            assert!(poll_once(&mut call).await.is_none());
            assert!(work.is_awaited());
            work.stay();
            call.await.unwrap();
            assert!(!work.is_awaited());
        });
    }

    #[test]
    fn a_call_that_comes_while_leaving_is_told_to_call_again_when_it_goes() {
        let work = Work::new();
        assert!(work.start_leaving());
        block_on(async {
            let mut call = Box::pin(work.arrive().begin(1000));
            assert!(poll_once(&mut call).await.is_none());
            work.close();
            assert_eq!(call.await.unwrap_err(), Error::Leaving);
            work.stay();
            assert_eq!(work.arrive().begin(0).await.unwrap_err(), Error::Leaving);
            work.arrive().begin_at_run(0).await.unwrap();
        });
    }

    #[test]
    fn one_user_cannot_take_all_places() {
        let work = Work::new();
        let mine: Vec<_> = (0..PER_USER).map(|_| block_on(work.arrive().begin(1000)).unwrap()).collect();
        assert!(matches!(block_on(work.arrive().begin(1000)), Err(Error::Busy(_))));
        assert!(block_on(work.arrive().begin(1001)).is_ok());
        drop(mine);
        assert!(block_on(work.arrive().begin(1000)).is_ok());
    }

    #[test]
    fn a_panic_in_the_work_is_an_answer() {
        let result = block_on(in_thread("t", || -> u32 { panic!("on purpose") }));
        assert!(matches!(result, Err(Error::Failed(_))), "{result:?}");
    }
}
