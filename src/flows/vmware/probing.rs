// SPDX-License-Identifier: GPL-3.0-or-later
//! Asks a kernel's real headers: one kbuild run in the sandbox for all probes, its answers kept by what
//! was asked and of whom.

use super::adapt::probe::kernel_outcomes;
use super::adapt::resolve::Options;
use super::adapt::{Catalogue, Outcomes, ProbeDir};
use super::facts::KernelFacts;
use crate::engine::steps::Compiler;
use crate::flows::PlanError;
use crate::host::{BuildUser, Cancel, Command, CommandError, Host, INSIDE, Sandbox, WorkFolder};
use std::collections::BTreeSet;
use std::time::Duration;

/// Where answers are kept.
pub const CACHE: &str = "/var/cache/hostwright/probes";

/// Largest object that a probe can make, in bytes.
const OBJECT_LIMIT: u64 = 64 << 20;

/// The answers of one kernel to all probes of the catalogue.
///
/// # Errors
/// When the tree cannot compile anything, or somebody asked to stop.
pub fn probe(
    host: &Host,
    catalogue: &Catalogue,
    kernel: &KernelFacts,
    options: &Options,
    cancel: &Cancel,
) -> Result<Outcomes, PlanError> {
    let failed = |what: String| PlanError::Failed(format!("{}: {what}", kernel.release));
    let read = |file: &str| host.root().read_text(&format!("{}/{file}", kernel.build_dir));
    let config =
        read(".config").or_else(|_| read("include/config/auto.conf")).map_err(|e| failed(e.to_string()))?;
    let symvers = read("Module.symvers").map_err(|e| failed(e.to_string()))?;
    let known = kernel_outcomes(catalogue, &config, &symvers);

    let questions = ProbeDir::new(catalogue, &options.values());
    let compiler = Compiler { cc: kernel.cc.clone(), version: kernel.cc_version.clone(), llvm: kernel.llvm };
    let key = questions.cache_key(&kernel.build_id, &compiler);
    let kept = format!("{CACHE}/{key}.json");
    if let Some(answers) = read_kept(host, &kept).and_then(|a| complete(&questions, &a)) {
        return Ok(known.with(answers));
    }
    let answers = ask(host, kernel, &questions, &compiler, cancel)?;
    keep(host, &kept, &answers);
    Ok(known.with(answers))
}

fn ask(
    host: &Host,
    kernel: &KernelFacts,
    questions: &ProbeDir,
    compiler: &Compiler,
    cancel: &Cancel,
) -> Result<Outcomes, PlanError> {
    let failed = |what: String| PlanError::Failed(format!("{}: {what}", kernel.release));
    let user = BuildUser::find();
    let work = WorkFolder::create(host, &user).map_err(|e| failed(e.to_string()))?;
    for (name, bytes) in &questions.files {
        work.write(&format!("probes/{name}"), bytes).map_err(|e| failed(e.to_string()))?;
    }
    work.hand_over().map_err(|e| failed(e.to_string()))?;
    let sandbox = Sandbox::new(host, work.path(), user)
        .and_then(|s| s.with_kernel(host, &kernel.build_dir))
        .map_err(|e| failed(e.to_string()))?;
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let make = Command::new("make")
        .args(ProbeDir::make_args(&kernel.build_dir, &format!("{INSIDE}/probes"), jobs, compiler))
        .timeout(Duration::from_secs(300));
    let mut said = String::new();
    host.runner()
        .run_lines(&sandbox.wrap(&make), cancel, &mut |line| {
            said.push_str(&line.text);
            said.push('\n');
        })
        .map_err(|e| match e {
            CommandError::Cancelled { .. } => PlanError::Cancelled,
            other => failed(other.to_string()),
        })?;
    let made: BTreeSet<String> = questions
        .files
        .keys()
        .filter_map(|name| name.strip_suffix(".c").map(|o| format!("{o}.o")))
        .filter(|o| work.take(&format!("probes/{o}"), OBJECT_LIMIT).is_ok())
        .collect();
    questions.outcomes(&made, &said).map_err(|e| failed(e.to_string()))
}

/// Kept answers; anything odd about them means asking anew.
fn read_kept(host: &Host, path: &str) -> Option<Outcomes> {
    let meta = host.root().symlink_metadata(path).ok()?;
    let ours = nix::unistd::geteuid().as_raw();
    if meta.uid != ours || meta.mode & 0o022 != 0 {
        return None;
    }
    serde_json::from_slice(&host.root().read_at_most(path, 1 << 20).ok()?).ok()
}

/// Kept answers, if there is one to every question asked now. A question may have been renamed since
/// without a change of its text, and those that lack a value are never compiled: their answer is no.
fn complete(questions: &ProbeDir, kept: &Outcomes) -> Option<Outcomes> {
    let mut answers = Outcomes::default();
    for key in questions.objects.values().flatten() {
        answers.0.insert(key.clone(), *kept.0.get(key)?);
    }
    answers.0.extend(questions.without_value.iter().map(|key| (key.clone(), false)));
    Some(answers)
}

/// Keeping answers is a kindness to the next look; not being able to is no failure.
fn keep(host: &Host, path: &str, answers: &Outcomes) {
    let write = || -> Result<(), Box<dyn std::error::Error>> {
        host.root().create_dirs(CACHE, 0o755)?;
        host.root().write(path, &serde_json::to_vec(answers)?, 0o644, None)?;
        Ok(())
    };
    if let Err(error) = write() {
        tracing::debug!(%error, "the answers of the probes are not kept");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn questions() -> ProbeDir {
        let text = r#"
schema = 1
id = "march"
title = "t"
modules = ["vmmon"]
since = "always"
source = "s"
[[probe]]
name = "compiles"
code = "int x;"
[[probe]]
name = "tuned"
code = "int y;"
flags = ["-march=@{march}"]
[[apply]]
when = "compiles && tuned"
reason = "r"
make = ["X=1"]
"#;
        let catalogue = Catalogue::from_texts([("march.toml", text)]).unwrap();
        ProbeDir::new(&catalogue, &BTreeMap::new())
    }

    #[test]
    fn kept_answers_that_lack_one_are_asked_anew() {
        let kept = |name: &str| Outcomes(BTreeMap::from([(name.to_owned(), true)]));
        assert_eq!(complete(&questions(), &kept("renamed.compiles")), None);
        let answers = complete(&questions(), &kept("march.compiles")).unwrap();
        assert_eq!(answers.get("march", "compiles"), Some(true));
        assert_eq!(answers.get("march", "tuned"), Some(false), "without a processor there is no tuning");
    }
}
