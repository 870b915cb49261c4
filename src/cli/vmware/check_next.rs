// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright vmware check-next`: whether the modules will work with the kernel that comes next, before it is booted,
//! or even installed.

use super::offered;
use super::options::{ModeArg, Options};
use super::rehearse::try_all;
use crate::cli::errors::{Exit, Problem};
use crate::cli::look::{Mark, clean};
use crate::cli::progress::looking;
use crate::cli::session::Session;
use crate::detect::{self, Facts};
use crate::engine::{Event, Inputs};
use crate::flows::vmware::choices::{Choices, KernelChoice, SourceChoice};
use crate::flows::vmware::next::{self, Answer, State};
use crate::flows::vmware::offers::Offer;
use crate::flows::vmware::updates::PROFILE;
use crate::flows::{self, PlanError, vmware};
use crate::guest::rehearsal::Verdict;
use crate::host::{Host, own_cache};
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Where the product keeps its module sources, when its configuration names no other place.
const SOURCES: &str = "/usr/lib/vmware/modules/source";

/// Say whether the modules will build, load and be trusted on the kernel that comes next
///
/// Looks at kernels that are installed and not booted yet, and at the one that apt, dnf, zypper or pacman is about to
/// install: that one is downloaded into a private folder and never installed. The modules are built for it and tried in a virtual machine. Needs no root and
/// changes nothing. Ends with 0 when all is good, or no kernel comes next, and with 1 otherwise.
#[derive(Debug, Args)]
pub(crate) struct CheckNext {
    /// The package that brings kernels; without it the one that is installed ("linux-image-amd64")
    #[arg(long, value_name = "PACKAGE")]
    package: Option<String>,
    /// Only kernels that are installed: nothing is downloaded
    #[arg(long, conflicts_with = "package")]
    installed: bool,
    /// Module sources to use instead of the installed product's: a folder, a checkout or a tar archive
    #[arg(short, long, value_name = "FOLDER|TARBALL")]
    source: Option<PathBuf>,
    /// With which compiler flags
    #[arg(short, long, value_enum)]
    mode: Option<ModeArg>,
}

/// What is known of a kernel that comes next.
#[derive(Debug, Serialize)]
struct Next {
    release: String,
    /// The package, when it is not installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    package: Option<String>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    build: Answer,
    load: Answer,
    trust: Answer,
}

impl Next {
    fn state(&self) -> State {
        self.build.state.max(self.load.state).max(self.trust.state)
    }
}

/// Runs `vmware check-next`.
pub(super) fn run(session: &mut Session, args: &CheckNext) -> Result<Exit, Problem> {
    let host = session.host()?;
    let facts = detect::gather(&host, None);
    let mut notes = Vec::new();
    let mut kernels = Vec::new();
    for release in next::installed(&facts) {
        kernels.push(look_at(session, args, &host, &facts, &release, None)?);
    }
    if !args.installed {
        match offered::all(&host, args.package.as_deref()) {
            Ok(all) => {
                for offer in all {
                    kernels.push(fetched(session, args, &facts, &host, &offer)?);
                }
            }
            Err(why) => notes.push(why),
        }
    }
    let worst = kernels.iter().map(Next::state).max().unwrap_or(State::Good);
    if session.json() {
        let document = serde_json::json!({ "verdict": worst, "kernels": kernels, "notes": notes });
        session.screen.document(&document)?;
    } else {
        let text = told(session, &kernels, &notes);
        session.screen.print(&text);
    }
    Ok(if worst == State::Good { Exit::Done } else { Exit::Failed })
}

/// Downloads a kernel and its headers into a private folder, and looks there.
fn fetched(
    session: &Session,
    args: &CheckNext,
    facts: &Facts,
    machine: &Host,
    offer: &Offer,
) -> Result<Next, Problem> {
    let cache = own_cache().map(|c| c.join("hostwright")).filter(|c| std::fs::create_dir_all(c).is_ok());
    let folder = match cache {
        Some(cache) => tempfile::Builder::new().prefix("next-").tempdir_in(cache),
        None => tempfile::tempdir(),
    };
    let folder = folder.map_err(|e| Problem::file("make a folder in", &std::env::temp_dir(), &e))?;
    let tree = folder.path().join("tree");
    fs_err::create_dir_all(tree.join("etc")).map_err(|e| Problem::file("make the folder", &tree, &e))?;
    if !session.json() {
        let words =
            format!("Downloading {} into a private folder: {}\n", offer.release, offer.parts.join(", "));
        session.voice.say(&words);
    }
    if let Err(why) = offered::unpack(session, machine, folder.path(), &tree, offer) {
        let unknown = || Answer::new(State::Unknown, "not looked at");
        return Ok(Next {
            release: offer.release.clone(),
            package: Some(offer.package.clone()),
            version: Some(offer.version.clone()),
            build: Answer::new(State::Unknown, format!("it could not be downloaded: {why}")),
            load: unknown(),
            trust: unknown(),
        });
    }
    let host = Host::scratch(&tree)?;
    look_at(session, args, &host, facts, &offer.release, Some(offer))
}

/// Builds for one kernel of `host` and tries it. `facts` are the machine's own.
fn look_at(
    session: &Session,
    args: &CheckNext,
    host: &Host,
    facts: &Facts,
    release: &str,
    offer: Option<&Offer>,
) -> Result<Next, Problem> {
    let (choices, inputs) = choices(session, args, facts, release, offer.is_some())?;
    let mut answers = (Answer::new(State::Unknown, "not tried"), Answer::new(State::Unknown, "not tried"));
    let cancel = session.watch.cancel.clone();
    let planned = looking(&session.voice, &session.watch, session.screen.verbose, false, |sink| {
        match vmware::rehearsals(host, &choices, &inputs, &cancel, sink) {
            Ok(wanted) => Ok(Ok((wanted, true))),
            // Where it cannot be tried it can still be built.
            Err(PlanError::Refused(refusal)) if refusal.code == "rehearsal-impossible" => {
                answers.1 = Answer::new(State::Unknown, refusal.reason.clone());
                // Here nobody gave the option that it ends with.
                answers.1.remedy = refusal.remedy.map(|r| r.replace(" Or leave --rehearse out.", ""));
                Ok(vmware::builds(host, &choices, &inputs, &cancel, sink).map(|_| (Vec::new(), false)))
            }
            other => Ok(other.map(|wanted| (wanted, true))),
        }
    })?;
    match planned {
        Ok((wanted, true)) => {
            let tried = try_all(session, host, &wanted, &inputs)?;
            for (_, verdict) in tried.value {
                answers = judged(verdict);
            }
        }
        Ok((_, false)) => answers.0 = built(session, host, &choices, &inputs)?,
        Err(PlanError::Refused(refusal)) => {
            answers.0 = Answer::new(State::Bad, refusal.reason);
            answers.0.remedy = refusal.remedy;
        }
        Err(other) => return Err(other.into()),
    }
    let seen;
    let config = if offer.is_some() {
        seen = detect::gather(host, None);
        seen.kernel(release).and_then(|k| k.config.seen())
    } else {
        facts.kernel(release).and_then(|k| k.config.seen())
    };
    let mut trust = next::trust(facts, config);
    trust.remedy = trust.remedy.map(|r| session.named(&r));
    Ok(Next {
        release: release.to_owned(),
        package: offer.map(|o| o.package.clone()),
        version: offer.map(|o| o.version.clone()),
        build: answers.0,
        load: answers.1,
        trust,
    })
}

fn judged(verdict: Result<Verdict, crate::engine::StepError>) -> (Answer, Answer) {
    let built = Answer::new(State::Good, "they compile, and the results were checked");
    match verdict {
        Err(e) => (Answer::new(State::Bad, e.to_string()), Answer::new(State::Unknown, "not tried")),
        Ok(Verdict::Passed { .. }) => {
            (built, Answer::new(State::Good, "they load and work in a virtual machine with this kernel"))
        }
        Ok(Verdict::Failed { why, .. }) => (built, Answer::new(State::Bad, why)),
        Ok(Verdict::CouldNotLook { why, .. }) => (built, Answer::new(State::Unknown, why)),
    }
}

/// Builds without trying.
fn built(session: &Session, host: &Host, choices: &Choices, inputs: &Inputs) -> Result<Answer, Problem> {
    let cancel = session.watch.cancel.clone();
    let sink = &mut |_: Event| {};
    for step in vmware::builds(host, choices, inputs, &cancel, sink)? {
        if let Err(error) = crate::engine::build_or_reuse(host, &step, inputs, &cancel, sink) {
            return if error.is_cancelled() {
                Err(Problem::cancelled())
            } else {
                Ok(Answer::new(State::Bad, error.to_string()))
            };
        }
    }
    Ok(Answer::new(State::Good, "they compile, and the results were checked"))
}

/// The choices that kernel updates build with, else those of the person who asks.
fn choices(
    session: &Session,
    args: &CheckNext,
    facts: &Facts,
    release: &str,
    elsewhere: bool,
) -> Result<(Choices, Inputs), Problem> {
    let profile = PathBuf::from(session.outside(PROFILE));
    let sources = facts
        .vmware
        .seen()
        .and_then(|v| v.module_sources.first())
        .and_then(|s| Path::new(&s.path).parent().map(|p| p.display().to_string()))
        .unwrap_or_else(|| SOURCES.to_owned());
    let options = Options {
        profile: profile.exists().then_some(profile),
        mode: args.mode,
        // A tree of packages has none of its own.
        source: args.source.clone().or_else(|| elsewhere.then(|| PathBuf::from(session.outside(&sources)))),
        ..Options::default()
    };
    let request = options.request(session)?;
    let mut choices = Choices::from_json(&request.choices).map_err(Problem::usage)?;
    choices.kernels = KernelChoice::Releases(vec![release.to_owned()]);
    debug_assert!(!elsewhere || matches!(choices.source, SourceChoice::Sealed { .. }));
    Ok((choices, Inputs { explain: flows::explain(), ..request.inputs }))
}

fn told(session: &Session, kernels: &[Next], notes: &[String]) -> String {
    let look = session.look();
    let mut text = String::new();
    if kernels.is_empty() {
        text.push_str("No kernel comes next: the newest one that is installed or offered runs already.\n");
    }
    for kernel in kernels {
        let from = match (&kernel.package, &kernel.version) {
            (Some(package), Some(version)) => format!("offered by {package} {version}"),
            _ => "installed, and not running".to_owned(),
        };
        text.push_str(&format!("{}  {}\n", look.bold(&clean(&kernel.release)), look.dim(&clean(&from))));
        for (what, answer) in [("build", &kernel.build), ("load", &kernel.load), ("trust", &kernel.trust)] {
            let mark = match answer.state {
                State::Good => Mark::Good,
                State::Unknown => Mark::Unknown,
                State::Bad => Mark::Bad,
            };
            text.push_str(&look.item(2, mark, &format!("{what}: {}", clean(&answer.text))));
            if let Some(remedy) = &answer.remedy {
                text.push_str(&look.remedy(4, remedy));
            }
        }
    }
    for note in notes {
        text.push_str(&look.item(0, Mark::Neutral, note));
    }
    text
}
