// SPDX-License-Identifier: GPL-3.0-or-later
//! Builds modules for several kernels at once, under one job budget.
//!
//! ```text
//!   queue: K1 vmmon, K1 vmnet, K2 vmmon, K2 vmnet, …      one job server for all calls of make
//!            │ as many workers as jobs, and no more
//!            ▼
//!   worker: work folder and sandbox of the kernel (the first makes it) ► make ► the last checks and takes out
//! ```
//!
//! A worker stands for the one job that every `make` has of its own. When nothing is left to begin, its job goes to those
//! that are still at work. What one kernel's build says or breaks is no matter of the others.

use super::jobs::{JobServer, budget};
use super::run::{BuildError, Built, Place, Progressed};
use crate::engine::kbuild;
use crate::engine::source::Files;
use crate::engine::steps::BuildModules;
use crate::host::{Cancel, Command, CommandError, Host, Line, Output};
use std::collections::VecDeque;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The most that the build for one kernel may write, in bytes and in files; real ones stay below a tenth of it.
pub(super) const WRITE_LIMIT: (u64, u64) = (1 << 30, 50_000);

/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What is built for one kernel.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) struct Order<'a> {
    /// The kernel, the compiler, the modules.
    pub step: &'a BuildModules,
    /// The tree of each module, edited already.
    pub trees: &'a [Files],
}

enum Message {
    Begins(usize, Box<Command>),
    Line(usize, Line),
    Warning(String),
    /// A module was compiled, or a whole kernel's build has ended.
    Ended,
}

/// Builds for all kernels and checks what comes out; the results are in the order of `orders`. `tell` gets the index of
/// the order with what happens.
pub(in crate::engine) fn build_all(
    host: &Host,
    orders: &[Order<'_>],
    cancel: &Cancel,
    tell: &mut dyn FnMut(usize, Progressed<'_>),
) -> Vec<Result<Vec<Built>, BuildError>> {
    let lanes: VecDeque<Lane> = orders.iter().enumerate().flat_map(|(at, o)| lanes(at, o.step)).collect();
    let jobs = budget();
    let workers = jobs.min(lanes.len()).max(1);
    let server = match JobServer::new(jobs, workers) {
        Ok(server) => server,
        Err(e) => {
            let again = || std::io::Error::new(e.kind(), e.to_string());
            return orders.iter().map(|_| Err(BuildError::Jobs(again()))).collect();
        }
    };
    let mut sites: Vec<Site<'_>> = orders.iter().map(|o| Site::new(*o)).collect();
    for lane in &lanes {
        *lock(&sites[lane.at].left) += 1;
    }
    let pool = Pool { host, sites: &sites, queue: Mutex::new(lanes), server };
    let mut counts: Vec<Count> = orders.iter().map(|o| Count::new(o.trees)).collect();
    std::thread::scope(|scope| {
        let (sender, messages) = channel();
        for _ in 0..workers {
            let (sender, pool) = (sender.clone(), &pool);
            scope.spawn(move || pool.work(&sender));
        }
        drop(sender);
        loop {
            match messages.recv_timeout(Duration::from_millis(50)) {
                Ok((at, Message::Begins(module, command))) => {
                    tell(at, Progressed::Begins { module, command: &command });
                }
                Ok((at, Message::Line(module, line))) => {
                    tell(at, Progressed::Line { module, line: &line });
                    if let Some((done, total)) = counts[at].line(module, &line) {
                        tell(at, Progressed::Objects { done, total });
                    }
                }
                Ok((at, Message::Warning(text))) => tell(at, Progressed::Warning(text)),
                Ok((at, Message::Ended)) => {
                    if pool.sites[at].is_good() {
                        let total = counts[at].total();
                        tell(at, Progressed::Objects { done: total, total });
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            pool.look_after(cancel);
        }
    });
    drop(pool);
    sites.drain(..).map(|site| site.result(cancel)).collect()
}

/// Calls of `make` that one worker does one after the other.
struct Lane {
    /// Index of the order.
    at: usize,
    /// Indices of its modules.
    modules: Vec<usize>,
}

/// One module each, so that they are compiled side by side; all in one where one reads the symbols of another.
fn lanes(at: usize, step: &BuildModules) -> Vec<Lane> {
    let all = 0..step.modules.len();
    if step.modules.iter().any(kbuild::needs_previous) {
        vec![Lane { at, modules: all.collect() }]
    } else {
        all.map(|module| Lane { at, modules: vec![module] }).collect()
    }
}

/// The build for one kernel.
struct Site<'a> {
    order: Order<'a>,
    place: Mutex<Option<Arc<Place>>>,
    /// Lanes that have not ended yet.
    left: Mutex<usize>,
    result: Mutex<Option<Result<Vec<Built>, BuildError>>>,
    /// Asks its lanes to end.
    stop: Cancel,
    looked: Mutex<Instant>,
}

impl<'a> Site<'a> {
    fn new(order: Order<'a>) -> Self {
        Self {
            order,
            place: Mutex::default(),
            left: Mutex::default(),
            result: Mutex::default(),
            stop: Cancel::new(),
            looked: Mutex::new(Instant::now()),
        }
    }

    /// Folder and sandbox; made when they are first asked for, so that not all kernels' folders take space at once.
    fn place(&self, host: &Host) -> Result<Arc<Place>, BuildError> {
        let mut place = lock(&self.place);
        if let Some(place) = &*place {
            return Ok(place.clone());
        }
        let made = Arc::new(Place::make(host, self.order.step, self.order.trees)?);
        Ok(place.insert(made).clone())
    }

    /// The first reason counts.
    fn fail(&self, error: BuildError) {
        lock(&self.result).get_or_insert(Err(error));
    }

    fn is_good(&self) -> bool {
        matches!(&*lock(&self.result), Some(Ok(_)))
    }

    fn has_failed(&self) -> bool {
        matches!(&*lock(&self.result), Some(Err(_)))
    }

    /// Ends a build that writes more than `limit`, bytes and files; looks from time to time.
    fn watch_writes(&self, limit: (u64, u64), every: Duration) {
        let mut looked = lock(&self.looked);
        if looked.elapsed() < every {
            return;
        }
        *looked = Instant::now();
        let place = lock(&self.place).clone();
        let Some((bytes, files)) = place.map(|p| p.work.usage()) else { return };
        if bytes > limit.0 || files > limit.1 {
            self.fail(BuildError::TooMuch { bytes, files });
            // The jobs that it had from the server are lost to the others, which have one of their own each.
            self.stop.cancel();
        }
    }

    fn result(self, cancel: &Cancel) -> Result<Vec<Built>, BuildError> {
        match self.result.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(Ok(built)) => Ok(built),
            _ if cancel.is_cancelled() => Err(BuildError::Cancelled),
            Some(Err(error)) => Err(error),
            // A worker that ends says why; this is for one that panicked.
            None => Err(BuildError::Cancelled),
        }
    }
}

struct Pool<'a> {
    host: &'a Host,
    sites: &'a [Site<'a>],
    queue: Mutex<VecDeque<Lane>>,
    server: JobServer,
}

type Told = Sender<(usize, Message)>;

impl Pool<'_> {
    /// One worker: takes what is next until nothing is.
    fn work(&self, to: &Told) {
        loop {
            let Some(lane) = lock(&self.queue).pop_front() else { break };
            let site = &self.sites[lane.at];
            if !site.has_failed()
                && let Err(error) = self.lane(site, &lane, to)
            {
                site.fail(error);
            }
            let last = {
                let mut left = lock(&site.left);
                *left -= 1;
                *left == 0
            };
            if last {
                self.leave(site, lane.at, to);
            }
            // The receiver waits for all workers, so that it is still there.
            let _ = to.send((lane.at, Message::Ended));
        }
        if let Err(error) = self.server.give() {
            tracing::warn!(%error, "a job is lost to the builds that go on");
        }
    }

    fn lane(&self, site: &Site<'_>, lane: &Lane, to: &Told) -> Result<(), BuildError> {
        let place = site.place(self.host)?;
        let step = site.order.step;
        for module in &lane.modules {
            let command = kbuild::make(step, &step.modules[*module], self.server.jobs());
            let command = self.server.files().into_iter().fold(command, Command::inherit);
            let _ = to.send((lane.at, Message::Begins(*module, Box::new(command.clone()))));
            let wrapped = place.sandbox.wrap(&command);
            let ended = self.host.runner().run_lines(&wrapped, &site.stop, &mut |line| {
                let _ = to.send((lane.at, Message::Line(*module, line.clone())));
            });
            let ended: Result<Output, CommandError> =
                ended.and_then(|output| crate::host::check_status(&command, output));
            ended.map_err(|source| BuildError::Make { module: *module, source })?;
        }
        Ok(())
    }

    /// The last of a kernel's modules has ended: takes out what was made, and removes the folder.
    fn leave(&self, site: &Site<'_>, at: usize, to: &Told) {
        let place = lock(&site.place).take();
        let Some(place) = place.filter(|_| !site.has_failed()) else { return };
        let result = place.finish(self.host, site.order.step, &site.stop, &mut |text| {
            let _ = to.send((at, Message::Warning(text)));
        });
        lock(&site.result).get_or_insert(result);
    }

    /// Ends what should not go on.
    fn look_after(&self, cancel: &Cancel) {
        let ended = |site: &Site<'_>| lock(&site.result).is_some();
        // With nothing else at work, the other modules of a kernel that failed are not waited for. Else they are: a make
        // that is killed does not give back the jobs that it has from the server.
        if cancel.is_cancelled() || self.sites.iter().all(ended) {
            for site in self.sites {
                site.stop.cancel();
            }
        }
        if cancel.is_cancelled() {
            lock(&self.queue).clear();
        }
        for site in self.sites.iter().filter(|s| !ended(s)) {
            site.watch_writes(WRITE_LIMIT, LOOK);
        }
    }
}

/// Object files of one kernel's modules, as their commands go by.
struct Count(Vec<kbuild::Progress>);

impl Count {
    fn new(trees: &[Files]) -> Self {
        Self(trees.iter().map(|t| kbuild::Progress::new(kbuild::objects(t))).collect())
    }

    /// Reads a line; when one more object file is done, how many are, of how many.
    fn line(&mut self, module: usize, line: &Line) -> Option<(usize, usize)> {
        if !self.0.get_mut(module)?.line(&line.text) {
            return None;
        }
        Some((self.0.iter().map(kbuild::Progress::done).sum(), self.total()))
    }

    fn total(&self) -> usize {
        self.0.iter().map(kbuild::Progress::total).sum()
    }
}

/// What a worker that panicked left is as good as before: each is one value.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{BuildUser, Sandbox, WorkFolder};

    #[test]
    fn a_build_that_writes_without_end_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::scratch(dir.path()).unwrap();
        let sandbox = Sandbox::new(&Host::machine().unwrap(), dir.path(), BuildUser::find()).unwrap();
        let step = crate::engine::build::testkit::nothing();
        let site = || {
            let site = Site::new(Order { step: &step, trees: &[] });
            let work = WorkFolder::create(&host, &BuildUser::find()).unwrap();
            for i in 0..20 {
                work.write(&format!("vmmon-only/{i}"), &[1; 5000]).unwrap();
            }
            *lock(&site.place) = Some(Arc::new(Place { work, sandbox: sandbox.clone() }));
            site
        };
        let fine = site();
        fine.watch_writes((1 << 20, 100), Duration::ZERO);
        assert!(!fine.has_failed(), "20 small files are too much");
        fine.watch_writes((1000, 100), Duration::from_secs(600));
        assert!(!fine.has_failed(), "looked too often");
        for limit in [(50_000, 100), (1 << 20, 10)] {
            let site = site();
            site.watch_writes(limit, Duration::ZERO);
            assert!(site.stop.is_cancelled());
            let said = site.result(&Cancel::new()).unwrap_err().to_string();
            assert!(said.contains("in 21 files, far more than these modules need"), "{said}");
        }
    }
}
