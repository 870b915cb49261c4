// SPDX-License-Identifier: GPL-3.0-or-later
//! A client that does what it is told: a JSON array of calls, one answer line for each (and one for each
//! event of a run that is followed).

use crate::agents::OwnAgent;
use hostwright::ipc::{Agent, Error, Sealed, blocking};
use serde_json::{Value, json};
use std::io::BufRead;
use std::process::ExitCode;

fn answer(value: Value) {
    println!("{value}");
}

fn failed(error: &Error) -> Value {
    let shown = format!("{error:?}");
    let kind: String = shown.chars().take_while(char::is_ascii_alphanumeric).collect();
    json!({ "error": { "kind": kind, "text": error.to_string() } })
}

fn files(call: &Value) -> Vec<Sealed> {
    let mut files = Vec::new();
    if let Some(text) = call["source"].as_str() {
        files.push(Sealed::source(text.as_bytes()).unwrap());
    }
    if let Some(times) = call["source-times"].as_u64() {
        let text = "an archive".repeat(usize::try_from(times).unwrap());
        files.push(Sealed::source(text.as_bytes()).unwrap());
    }
    if let Some(text) = call["mok_password"].as_str() {
        files.push(Sealed::mok_password(text.as_bytes()).unwrap());
    }
    files
}

fn follow(run: blocking::Run) {
    answer(json!({ "run": run.number() }));
    for item in run.follow() {
        match item {
            Ok(told) => answer(json!({ "number": told.number, "event": told.event })),
            Err(error) => answer(failed(&error)),
        }
    }
}

fn execute(client: &blocking::Client, call: &Value) -> Result<blocking::Run, Error> {
    let (flow, choices, files) = (call["flow"].as_str().unwrap_or("test"), &call["choices"], files(call));
    let digest = match call["digest"].as_str() {
        Some(digest) => digest.to_owned(),
        None => client.plan(flow, choices, &files)?.digest(),
    };
    client.execute(flow, choices, &digest, &files)
}

fn number(call: &Value) -> u32 {
    u32::try_from(call["run"].as_u64().unwrap()).unwrap()
}

pub fn main(script: &str) -> ExitCode {
    let script: Vec<Value> = serde_json::from_str(script).unwrap();
    let mut client = match blocking::Client::connect() {
        Ok(client) => client,
        Err(error) => {
            answer(failed(&error));
            return ExitCode::SUCCESS;
        }
    };
    // Whatever has to live as long as this process.
    let mut keep: Vec<Box<dyn std::any::Any>> = Vec::new();
    for call in &script {
        let op = call["op"].as_str().unwrap();
        let result = match op {
            "wait" => {
                let mut line = String::new();
                std::io::stdin().lock().read_line(&mut line).unwrap();
                continue;
            }
            "pid" => Ok(json!(std::process::id())),
            "quiet" => {
                client = client.interactive(false);
                continue;
            }
            "own-agent" => {
                keep.push(Box::new(OwnAgent::register()));
                continue;
            }
            "terminal-agent" => match Agent::start() {
                Ok(agent) => {
                    let started = agent.is_some();
                    keep.push(Box::new(agent));
                    Ok(json!(started))
                }
                Err(error) => Ok(json!({ "agent": error.to_string() })),
            },
            "gather" => client.gather(),
            "plan" => {
                let flow = call["flow"].as_str().unwrap_or("test");
                client
                    .plan(flow, &call["choices"], &files(call))
                    .map(|p| json!({ "digest": p.digest(), "plan": p }))
            }
            "execute" => match execute(&client, call) {
                Ok(run) => {
                    follow(run);
                    continue;
                }
                Err(error) => Err(error),
            },
            // Begins it and does not wait for its end.
            "begin" => execute(&client, call).map(|run| json!({ "run": run.number() })),
            "undo" => match client.undo(number(call)) {
                Ok(run) => {
                    follow(run);
                    continue;
                }
                Err(error) => Err(error),
            },
            "follow" => match client.run(number(call)) {
                Ok(run) => {
                    follow(run);
                    continue;
                }
                Err(error) => Err(error),
            },
            "undo-preview" => client.undo_preview(number(call)).map(|p| json!(p)),
            "runs" => client.runs().map(|r| json!(r)),
            "cancel" => client.run(number(call)).and_then(|r| r.control().cancel()).map(|()| json!("ok")),
            "log" => client
                .run(number(call))
                .and_then(|r| r.log(call["from"].as_u64().unwrap_or(0)))
                .map(|(events, next, ended)| json!({ "events": events.len(), "next": next, "ended": ended })),
            "state" => client
                .run(number(call))
                .and_then(|r| Ok((r.state()?, r.step()?, r.progress()?)))
                .map(|(state, step, progress)| json!({ "state": state, "step": step, "progress": progress })),
            other => crate::hostile::call(other, call),
        };
        answer(match result {
            Ok(value) => json!({ "ok": value }),
            Err(error) => failed(&error),
        });
    }
    drop(keep);
    ExitCode::SUCCESS
}
