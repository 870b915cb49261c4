// SPDX-License-Identifier: GPL-3.0-or-later
//! What a console says about a guest: where it got to, and what its kernel complains about. Pure, line by
//! line. The words are those of the kernel's sources (kernel/panic.c, kernel/watchdog.c, mm/oom_kill.c,
//! init/main.c, init/do_mounts.c, kernel/module/, arch/x86/kernel/dumpstack.c), of SeaBIOS and of EDK2.

use super::report::{Trouble, TroubleKind};

/// Lines of one complaint that are kept.
const LINES: usize = 60;

/// Complaints that are kept; a kernel in trouble can repeat itself for hours.
const TROUBLES: usize = 50;

/// What one line told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The guest got to a place ("kernel", "init"…), with what is said of it.
    Stage(&'static str, String),
    /// The firmware found nothing that it could start, and waits for a person.
    NothingBootable(String),
}

/// Reads a console.
#[derive(Debug, Default)]
pub struct Console {
    troubles: Vec<Trouble>,
    open: bool,
}

impl Console {
    /// Reads the next line.
    pub fn line(&mut self, raw: &str) -> Option<Told> {
        let clean = plain(raw);
        let text = without_time(&clean);
        self.trouble(text);
        told(text)
    }

    /// The complaints so far.
    pub fn troubles(&self) -> &[Trouble] {
        &self.troubles
    }

    /// All complaints.
    pub fn into_troubles(self) -> Vec<Trouble> {
        self.troubles
    }

    fn trouble(&mut self, text: &str) {
        let kind = classify(text);
        if let (true, Some(last)) = (self.open, self.troubles.last_mut()) {
            // An oops has several lines that could begin one; only another kind of complaint begins anew.
            let same = kind.is_none_or(|k| k == last.kind);
            if same {
                if last.lines.len() < LINES {
                    last.lines.push(text.to_owned());
                } else {
                    self.open = false;
                }
                // The killer first tells of the memory, then whom it took.
                if last.kind == TroubleKind::OutOfMemory && text.contains("Killed process") {
                    text.clone_into(&mut last.message);
                }
                if text.starts_with("---[ end ") || text.trim().is_empty() {
                    self.open = false;
                }
                return;
            }
        }
        self.open = false;
        if let Some(kind) = kind
            && self.troubles.len() < TROUBLES
        {
            self.troubles.push(Trouble { kind, message: text.to_owned(), lines: vec![text.to_owned()] });
            self.open = kind != TroubleKind::Module;
        }
    }
}

/// The line without the escape sequences of a terminal.
pub(super) fn plain(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut chars = raw.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            // ECMA-48: a control sequence ends with a character from @ to ~; other escapes are one character.
            if chars.next() == Some('[') {
                for c in chars.by_ref() {
                    if ('@'..='~').contains(&c) {
                        break;
                    }
                }
            }
        } else if !c.is_control() || c == '\t' {
            out.push(c);
        }
    }
    out
}

/// The line without the kernel's time (`[    1.234567] `) and, where it is there, the caller (`[    T1] `).
fn without_time(line: &str) -> &str {
    let mut rest = line.trim_end();
    for _ in 0..2 {
        let Some((inside, after)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) else { break };
        let inside = inside.trim();
        let time = !inside.is_empty() && inside.chars().all(|c| c.is_ascii_digit() || c == '.');
        let caller = inside.len() > 1
            && inside.starts_with(['T', 'C'])
            && inside[1..].chars().all(|c| c.is_ascii_digit());
        if !(time || caller) {
            break;
        }
        rest = after.strip_prefix(' ').unwrap_or(after);
    }
    rest
}

fn classify(text: &str) -> Option<TroubleKind> {
    let has = |words: &[&str]| words.iter().any(|w| text.contains(w));
    let begins = |words: &[&str]| words.iter().any(|w| text.starts_with(w));
    if let Some(reason) = text.strip_prefix("Kernel panic - not syncing: ") {
        return Some(if reason.contains("Unable to mount root fs") {
            TroubleKind::NoRoot
        } else if reason.contains("No working init found") || reason.starts_with("Requested init") {
            TroubleKind::NoInit
        } else if has(&["Out of memory", "out of memory", "deadlocked on memory"]) {
            TroubleKind::OutOfMemory
        } else {
            TroubleKind::Panic
        });
    }
    if begins(&["VFS: Cannot open root device"]) {
        return Some(TroubleKind::NoRoot);
    }
    if has(&["BUG: soft lockup", "hard LOCKUP", "BUG: workqueue lockup"])
        || (has(&["rcu"]) && has(&["detected stall", "self-detected stall"]))
        || (text.starts_with("INFO: task ") && text.contains(" blocked for more than "))
    {
        return Some(TroubleKind::LockUp);
    }
    if has(&["invoked oom-killer", "Out of memory: Killed process", "Memory cgroup out of memory"]) {
        return Some(TroubleKind::OutOfMemory);
    }
    let fault = text.contains("[#")
        && has(&[
            "Oops",
            "general protection fault",
            "invalid opcode",
            "int3",
            "divide error",
            "stack segment",
        ]);
    if fault
        || begins(&[
            "BUG: unable to handle",
            "BUG: kernel NULL pointer",
            "kernel BUG at ",
            "BUG: KASAN",
            "BUG: KFENCE",
        ])
        || begins(&[
            "BUG: stack guard page",
            "BUG: TASK stack guard page",
            "traps: PANIC",
            "BUG: Bad page",
            "double fault:",
        ])
    {
        return Some(TroubleKind::Oops);
    }
    if begins(&[
        "WARNING: CPU: ",
        "WARNING: possible ",
        "BUG: sleeping function",
        "BUG: scheduling while atomic",
    ]) || (text.starts_with("WARNING: ") && text.contains(" at ") && text.contains('+'))
        || text.starts_with("UBSAN: ")
    {
        return Some(TroubleKind::Warning);
    }
    if has(&[
        ": Unknown symbol ",
        ": disagrees about version of symbol",
        "' should be '",
        "Loading of unsigned module is rejected",
        "Loading of module with unavailable key is rejected",
        "unsigned module loading is restricted",
        ": exports duplicate symbol ",
    ]) {
        return Some(TroubleKind::Module);
    }
    None
}

fn told(text: &str) -> Option<Told> {
    let stage = |name, note: &str| Some(Told::Stage(name, note.trim().to_owned()));
    if text.starts_with("Linux version ") {
        let release = text.split_whitespace().nth(2).unwrap_or_default();
        return stage("kernel", release);
    }
    if let Some(rest) = text.strip_prefix("SeaBIOS (version ") {
        return stage("firmware", &format!("SeaBIOS {}", rest.trim_end_matches(')')));
    }
    // EDK2 starts its own shell when nothing else can be started.
    if text.contains("BdsDxe: starting ") && text.contains("EFI Internal Shell") {
        return Some(Told::NothingBootable("UEFI found nothing else than its own shell".into()));
    }
    if let Some((_, rest)) = text.split_once("BdsDxe: starting ") {
        return stage("boot loader", rest);
    }
    if let Some(rest) = text.strip_prefix("Booting from ")
        && !rest.starts_with("0000:")
    {
        return stage("boot loader", rest.trim_end_matches('.'));
    }
    if text.starts_with("Run /") && text.ends_with(" as init process") {
        return stage("init", text.split_whitespace().nth(1).unwrap_or_default());
    }
    if text.starts_with("systemd[1]: systemd ") && text.contains(" running in ") {
        return stage("systemd", text.split_whitespace().nth(2).unwrap_or_default());
    }
    if let Some((_, target)) = text.split_once("Reached target ") {
        let target = target.trim_end_matches('.');
        let main = ["multi-user.target", "Multi-User System", "graphical.target", "Graphical Interface"];
        if main.iter().any(|m| target.contains(m)) {
            return stage("target", target);
        }
    }
    let nothing = text.contains("BdsDxe: No bootable option or device was found")
        || text.trim() == "No bootable device."
        || text.contains("No bootable device.  Retrying");
    nothing.then(|| Told::NothingBootable(text.trim().to_owned()))
}

#[cfg(test)]
#[path = "console_tests.rs"]
mod tests;
