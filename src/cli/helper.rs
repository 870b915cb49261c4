// SPDX-License-Identifier: GPL-3.0-or-later
//! The machine itself, or another one, through the helper on its system bus.

use super::confirm::can_ask;
use super::detect::Row;
use super::errors::{Exit, Problem};
use super::look::Mark;
use super::machine::Machine;
use super::remote::{self, Asker};
use super::watch::Voice;
use crate::detect::Facts;
use crate::engine::event::{Event, Sink};
use crate::engine::{self, Inputs, Plan, RunReport, RunState, RunSummary, StepPreview, UndoPreview};
use crate::host::{Cancel, Host};
use crate::ipc::blocking::{Client, Control, Run};
use crate::ipc::remote::Place;
use crate::ipc::{Agent, Error, NAME, Sealed, SealedError};
use serde_json::Value;
use std::cell::{OnceCell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often the wish to stop is looked at while a run goes on.
const LOOK: Duration = Duration::from_millis(100);

/// The helper of this machine, or of another.
pub(crate) struct Helper {
    client: RefCell<Client>,
    /// What the steps of the last plan would do, by its digest: another machine tells both at once.
    previews: RefCell<Option<(String, Vec<StepPreview>)>>,
    voice: Voice,
    ask: bool,
    /// Who asks for the password; kept to the end, as later calls may need it too.
    agent: OnceCell<Option<Asking>>,
}

/// Who asks for passwords, for as long as this lives.
enum Asking {
    /// For this machine's polkit.
    Here { _agent: Agent },
    /// For the other machine's.
    There { _asker: Asker },
}

/// Connects to the helper. `ask`: whether a person may be asked for a password.
///
/// # Errors
/// When there is no system bus, or the other machine (`place`) cannot be reached.
pub(crate) fn machine(voice: &Voice, ask: bool, place: Option<&Place>) -> Result<Box<dyn Machine>, Problem> {
    let can = can_ask(voice.json);
    let ask = ask && can;
    let client = match place {
        None => Client::connect()?,
        Some(place) => Client::connect_to(place, &remote::asking(can))?,
    };
    Ok(Box::new(Helper {
        client: RefCell::new(client.interactive(ask)),
        previews: RefCell::new(None),
        voice: voice.clone(),
        ask,
        agent: OnceCell::new(),
    }))
}

impl Helper {
    /// Makes sure that a password can be asked for.
    fn ready_to_ask(&self) {
        self.agent.get_or_init(|| {
            if !self.ask {
                return None;
            }
            let client = self.client();
            let started = match client.link() {
                Some(link) => {
                    Asker::start(link, &self.voice).map(|a| a.map(|_asker| Asking::There { _asker }))
                }
                None => Agent::start()
                    .map(|a| a.map(|_agent| Asking::Here { _agent }))
                    .map_err(|e| Error::CouldNotAsk(e.to_string())),
            };
            // Without one the session's own agent may still be there; polkit tells if none is.
            started.unwrap_or_else(|error| {
                self.voice.say(&self.voice.look.item(0, Mark::Warning, &error.to_string()));
                None
            })
        });
    }

    fn client(&self) -> Client {
        self.client.borrow().clone()
    }

    /// An error in words; that nobody was to be asked is our own doing, not the helper's.
    fn problem(&self, error: Error) -> Problem {
        match error {
            Error::CouldNotAsk(_) if !self.ask => Problem::new(
                Exit::NotAuthorized,
                "could-not-ask",
                "Nobody could be asked for permission",
                "A password is needed, and there is no terminal to ask for it.",
            )
            .remedy("Do the same on a terminal, or as root."),
            other => other.into(),
        }
    }

    /// Follows a run to its end, and asks it to stop when somebody wishes so.
    fn follow(&self, run: Run, cancel: &Cancel, sink: &mut dyn Sink) -> Result<RunReport, Problem> {
        let number = run.number();
        let (mut checks, mut kernels) = (Vec::new(), Vec::new());
        let mut ended: Option<(RunState, String)> = None;
        let (mut run, mut next) = (run, 0);
        let refused = loop {
            let over = Arc::new(AtomicBool::new(false));
            let watcher = watch(run.control(), cancel.clone(), over.clone());
            let mut failed = None;
            for item in run.follow_from(next) {
                match item {
                    Ok(numbered) => {
                        match &numbered.event {
                            Event::Checked { check } => checks.push(check.clone()),
                            Event::Kernel { result } => kernels.push(result.clone()),
                            Event::Finished { state, message } => ended = Some((*state, message.clone())),
                            _ => {}
                        }
                        next = numbered.number.map_or(next, |n| n + 1);
                        sink.event(numbered.event);
                    }
                    Err(error) => failed = Some(error),
                }
            }
            over.store(true, Ordering::SeqCst);
            let refused = watcher.and_then(|w| w.join().ok()).flatten();
            match failed {
                None => break refused,
                // It goes on over there.
                Some(error @ Error::Lost { .. }) => run = self.again(error, number, cancel)?,
                Some(error) => return Err(error.into()),
            }
        };
        if let Some(error) = refused {
            self.voice.say(&self.voice.look.item(
                0,
                Mark::Warning,
                &format!("The run could not be cancelled: {error}"),
            ));
        }
        let Some((state, message)) = ended else { return Err(Error::Gone.into()) };
        // Where the log is, is not worth another password.
        let runs = self.client().interactive(false).runs().unwrap_or_default();
        let log = runs.into_iter().find(|r| r.run == number).and_then(|r| r.log);
        Ok(RunReport { run: number, state, message, checks, log, kernels })
    }
}

impl Helper {
    /// The run once more, after the connection to its machine was lost.
    fn again(&self, lost: Error, run: u32, cancel: &Cancel) -> Result<Run, Problem> {
        let link = self.client().link().cloned();
        let Some(link) = link else { return Err(lost.into()) };
        let say = |mark, text: &str| self.voice.say(&self.voice.look.item(0, mark, text));
        let place = link.place();
        say(Mark::Warning, &format!("{lost}. Trying to reach {place} again."));
        let client = remote::reach_again(place, &remote::asking(can_ask(self.voice.json)), cancel)
            .ok_or_else(|| Problem::from(lost))?;
        say(Mark::Good, &format!("{place} is reached again; the run is followed from where it was."));
        let client = client.interactive(self.ask);
        self.client.replace(client.clone());
        client.run(run).map_err(|e| self.problem(e))
    }
}

/// Hands a wish to stop on to the helper. Ends with the run; what it returns is why that failed.
fn watch(
    control: Control,
    cancel: Cancel,
    over: Arc<AtomicBool>,
) -> Option<std::thread::JoinHandle<Option<Error>>> {
    let work = move || {
        while !over.load(Ordering::SeqCst) {
            if cancel.is_cancelled() {
                return control.cancel().err();
            }
            std::thread::sleep(LOOK);
        }
        None
    };
    std::thread::Builder::new().name("cancel".into()).spawn(work).ok()
}

fn sealed(inputs: &Inputs) -> Result<Vec<Sealed>, Problem> {
    let failed = |e: SealedError| Problem::internal("hand over the archives", &e);
    let mut files: Vec<Sealed> =
        inputs.sealed.values().map(|b| Sealed::source(b)).collect::<Result<_, _>>().map_err(failed)?;
    for (sha256, file) in &inputs.large {
        files.push(Sealed::large(sha256, file).map_err(failed)?);
    }
    for (sha256, image) in &inputs.images {
        files.push(Sealed::image(sha256, image).map_err(failed)?);
    }
    if let Some(password) = &inputs.mok_password {
        files.push(Sealed::mok_password(password.expose()).map_err(failed)?);
    }
    Ok(files)
}

impl Machine for Helper {
    fn plan(
        &self,
        flow: &str,
        choices: &Value,
        inputs: &Inputs,
        _cancel: &Cancel,
        _sink: &mut dyn Sink,
    ) -> Result<Plan, Problem> {
        self.ready_to_ask();
        // The password belongs to the run only.
        let archives = Inputs { sealed: inputs.sealed.clone(), ..Inputs::default() };
        let (client, files) = (self.client(), sealed(&archives)?);
        if client.link().is_none() {
            return client.plan(flow, choices, &files).map_err(|e| self.problem(e));
        }
        let told = client.preview(flow, choices, &files).map_err(|e| self.problem(e))?;
        self.previews.replace(Some((told.plan.digest(), told.steps)));
        Ok(told.plan)
    }

    fn facts(&self) -> Result<Facts, Problem> {
        self.ready_to_ask();
        let facts = self.client().gather().map_err(|e| self.problem(e))?;
        Ok(serde_json::from_value(facts).map_err(|e| Error::Protocol(e.to_string()))?)
    }

    fn preview(&self, plan: &Plan) -> Result<Vec<StepPreview>, Problem> {
        if self.client().link().is_none() {
            return Ok(engine::preview(plan, &Host::machine()?));
        }
        let told = self.previews.borrow();
        let told = told.as_ref().filter(|(digest, _)| *digest == plan.digest());
        told.map(|(_, steps)| steps.clone())
            .ok_or_else(|| Problem::internal("show the plan", &"another plan was made meanwhile"))
    }

    fn execute(
        &self,
        plan: &Plan,
        inputs: &Inputs,
        cancel: &Cancel,
        sink: &mut dyn Sink,
    ) -> Result<RunReport, Problem> {
        self.ready_to_ask();
        let files = sealed(inputs)?;
        let run = self
            .client()
            .execute(&plan.flow, &plan.choices, &plan.digest(), &files)
            .map_err(|e| self.problem(e))?;
        self.follow(run, cancel, sink)
    }

    fn runs(&self) -> Result<Vec<RunSummary>, Problem> {
        self.ready_to_ask();
        self.client().runs().map_err(|e| self.problem(e))
    }

    fn events(&self, run: u32) -> Result<Vec<Event>, Problem> {
        self.ready_to_ask();
        let run = self.client().run(run).map_err(|e| self.problem(e))?;
        let mut events = Vec::new();
        let mut from = 0;
        loop {
            let (documents, next, ended) = run.log(from).map_err(|e| self.problem(e))?;
            let none = documents.is_empty();
            for json in documents {
                let event = serde_json::from_str(&json).map_err(|e| Error::Protocol(e.to_string()))?;
                events.push(event);
            }
            from = next;
            if none || ended {
                return Ok(events);
            }
        }
    }

    fn undo_preview(&self, run: u32) -> Result<UndoPreview, Problem> {
        self.ready_to_ask();
        self.client().undo_preview(run).map_err(|e| self.problem(e))
    }

    fn undo(&self, run: u32, cancel: &Cancel, sink: &mut dyn Sink) -> Result<RunReport, Problem> {
        self.ready_to_ask();
        let run = self.client().undo(run).map_err(|e| self.problem(e))?;
        self.follow(run, cancel, sink)
    }

    fn prune(&self, numbers: &[u32], lose_undo: bool) -> Result<Vec<u32>, Problem> {
        self.ready_to_ask();
        self.client().prune(numbers, lose_undo).map_err(|e| self.problem(e))
    }

    fn runs_elsewhere(&self) -> bool {
        true
    }
}

/// What `doctor` says about the way to root's rights: bus, polkit, helper.
pub(crate) fn doctor() -> Vec<Row> {
    let bus = match zbus::blocking::Connection::system() {
        Ok(connection) => connection,
        Err(e) => {
            return vec![Row::new(Mark::Bad, "System bus", format!("cannot be reached: {e}")).remedy(
                "Start it (as root: systemctl start dbus), or work on a directory tree with --root DIR.",
            )];
        }
    };
    let names = || -> zbus::Result<Vec<String>> {
        let proxy = zbus::blocking::fdo::DBusProxy::new(&bus)?;
        let mut names: Vec<String> = proxy.list_names()?.into_iter().map(|n| n.to_string()).collect();
        names.extend(proxy.list_activatable_names()?.into_iter().map(|n| n.to_string()));
        Ok(names)
    };
    let names = match names() {
        Ok(names) => names,
        Err(e) => return vec![Row::new(Mark::Unknown, "System bus", format!("could not look: {e}"))],
    };
    let has = |name: &str| names.iter().any(|n| n == name);
    let mut rows = vec![Row::new(Mark::Good, "System bus", "can be reached")];
    rows.push(if has("org.freedesktop.PolicyKit1") {
        Row::new(Mark::Good, "polkit", "can be reached")
    } else {
        Row::new(Mark::Bad, "polkit", "is not there: nobody can be authorized")
            .remedy("Install the package polkitd (or polkit).")
    });
    rows.push(if has(NAME) {
        Row::new(Mark::Good, "Helper", "is installed")
    } else {
        Row::new(Mark::Bad, "Helper", "is not installed").remedy("As root: make install")
    });
    rows
}
