// SPDX-License-Identifier: GPL-3.0-or-later
//! The helper of the cases: all of it real but the flow, which writes the files that the choices name, and
//! the clock, which can hold a run in the middle.

use crate::world::{HERE, wish};
use hostwright::engine::event::{Check, CheckOutcome};
use hostwright::engine::plan::{PLAN_VERSION, Refusal};
use hostwright::engine::steps::WriteFile;
use hostwright::engine::{Inputs, Plan, Sink, Step, failpoint};
use hostwright::flows::PlanError;
use hostwright::helper::{Flows, Options, serve_host};
use hostwright::host::{Cancel, Clock, Host, HostKind, RealRunner, Root};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the flow is told.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Choices {
    /// Path → text.
    files: BTreeMap<String, String>,
    /// Refuse.
    refuse: bool,
    /// Take long to plan.
    dawdle: bool,
    /// Panic while planning.
    stumble: bool,
    /// What the prompt names.
    kernels: String,
    /// SHA-256 of an archive, whose size is written to `/etc/size`.
    source: Option<String>,
}

impl Default for Choices {
    fn default() -> Self {
        Self {
            files: BTreeMap::new(),
            refuse: false,
            dawdle: false,
            stumble: false,
            kernels: "6.1-test".to_owned(),
            source: None,
        }
    }
}

struct TestFlows;

fn write(path: &str, content: &str) -> Step {
    let (path, content) = (path.to_owned(), content.to_owned());
    Step::WriteFile(WriteFile { path, content, mode: 0o644, reason: "a case asked for it".to_owned() })
}

impl Flows for TestFlows {
    fn gather(&self, host: &Host) -> Result<Value, String> {
        let input = host.root().read_text("/etc/input").map_err(|e| e.to_string())?;
        Ok(json!({ "input": input }))
    }

    fn plan(
        &self,
        host: &Host,
        flow: &str,
        choices: &Value,
        inputs: &Inputs,
        cancel: &Cancel,
        _sink: &mut dyn Sink,
    ) -> Result<Plan, PlanError> {
        if flow != "test" {
            return Err(PlanError::UnknownFlow(flow.to_owned()));
        }
        let wanted: Choices =
            serde_json::from_value(choices.clone()).map_err(|e| PlanError::BadChoices(e.to_string()))?;
        if wanted.refuse {
            return Err(Refusal::new("test-refusal", "the case asked for it", "Do not ask for it.").into());
        }
        assert!(!wanted.stumble, "the case asked for it");
        if wanted.dawdle {
            let began = Instant::now();
            std::fs::write(wish("planning"), "").map_err(|e| PlanError::Failed(e.to_string()))?;
            while began.elapsed() < Duration::from_secs(20) {
                if cancel.is_cancelled() {
                    std::fs::write(wish("planning-cancelled"), "")
                        .map_err(|e| PlanError::Failed(e.to_string()))?;
                    return Err(PlanError::Cancelled);
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        let mut steps: Vec<Step> = wanted.files.iter().map(|(p, c)| write(p, c)).collect();
        if let Some(sha256) = &wanted.source {
            let archive =
                inputs.sealed.get(sha256).ok_or_else(|| PlanError::Failed("no archive".to_owned()))?;
            steps.push(write("/etc/size", &archive.len().to_string()));
        }
        let input = host.root().read_text("/etc/input").map_err(|e| PlanError::Failed(e.to_string()))?;
        let permissions = steps.iter().flat_map(Step::permissions).collect();
        Ok(Plan {
            version: PLAN_VERSION,
            flow: flow.to_owned(),
            title: String::new(),
            choices: choices.clone(),
            facts: json!({ "input": input, "has_password": inputs.mok_password.is_some() }),
            steps,
            permissions,
            details: BTreeMap::from([("kernels".to_owned(), wanted.kernels)]),
            warnings: Vec::new(),
            left_out: Vec::new(),
            notes: Vec::new(),
            needs_reboot: false,
        })
    }

    fn check(&self, host: &Host, _plan: &Plan) -> Vec<Check> {
        let outcome = if host.root().exists("/etc/spoil-the-check") {
            CheckOutcome::Bad { reason: "the case asked for it".to_owned() }
        } else {
            CheckOutcome::Good
        };
        vec![Check { what: "the case is content".to_owned(), outcome }]
    }
}

/// Holds the thread of a run, when its first file is written and the case wishes it.
struct HoldingClock;

impl Clock for HoldingClock {
    fn now(&self) -> jiff::Timestamp {
        let began = Instant::now();
        let first = format!("{HERE}/root/etc/a-first");
        while std::thread::current().name() == Some("run")
            && Path::new(&wish("hold")).exists()
            && Path::new(&first).exists()
            && began.elapsed() < Duration::from_secs(30)
        {
            std::thread::sleep(Duration::from_millis(10));
        }
        jiff::Timestamp::now()
    }
}

pub fn serve() -> ExitCode {
    let told = |name: &str| std::fs::read_to_string(wish(name)).ok();
    let idle = told("idle").and_then(|t| t.trim().parse().ok()).unwrap_or(30.0);
    if let Some(at) = told("die-at") {
        failpoint::die_at(at.trim(), 1);
    }
    if let Ok(log) = std::fs::File::options().create(true).append(true).open(wish("log")) {
        tracing_subscriber::fmt()
            .with_writer(std::sync::Mutex::new(log))
            .with_ansi(false)
            .with_max_level(tracing::Level::DEBUG)
            .init();
    }
    let root = Root::open(Path::new(&format!("{HERE}/root"))).unwrap();
    let host = Host::from_parts(root, Arc::new(RealRunner), Arc::new(HoldingClock), HostKind::PartialRoot);
    let options = Options { idle_exit: Duration::from_secs_f64(idle), ..Options::default() };
    match serve_host(host, &options, Box::new(TestFlows)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "not served");
            ExitCode::FAILURE
        }
    }
}
