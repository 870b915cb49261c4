// SPDX-License-Identifier: GPL-3.0-or-later
//! The program that inserts the modules, uses them and takes them out, step by step.

use super::words::{MARK, Said};
use super::{vmmon, vmnet};
use crate::init::sys;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Why something did not go well.
pub(super) type Fault = String;

/// How one thing went: what was seen of it.
pub(super) enum Seen {
    /// It is as it should be.
    Good(String),
    /// It could not be tried, and why.
    Skipped(String),
}

impl Seen {
    /// Good, and nothing more to say.
    pub(super) fn good() -> Self {
        Self::Good(String::new())
    }
}

/// What is tried, one after the other; nothing comes after what went wrong.
pub(super) struct Course<'a> {
    say: &'a mut dyn FnMut(Said),
    /// The kernel's log, for marks between its own records.
    log: Option<File>,
}

impl Course<'_> {
    /// Tries one thing. Says `what` before and how it went afterwards.
    ///
    /// # Errors
    /// When it did not go well: the rest is not tried.
    pub(super) fn step(&mut self, what: &str, act: impl FnOnce() -> Result<Seen, Fault>) -> Result<(), ()> {
        (self.say)(Said::Trying { what: what.to_owned() });
        if let Some(log) = &mut self.log {
            // Without these marks it is only harder to see what a complaint belongs to.
            // One write is one record.
            let _ = log.write(format!("<6>{MARK}{what}\n").as_bytes());
        }
        match act() {
            Ok(Seen::Good(seen)) => (self.say)(Said::Good { what: what.to_owned(), seen }),
            Ok(Seen::Skipped(why)) => (self.say)(Said::Skipped { what: what.to_owned(), why }),
            Err(why) => {
                (self.say)(Said::Bad { what: what.to_owned(), why });
                return Err(());
            }
        }
        Ok(())
    }
}

/// The whole program: `load` or `use`, and the module files. Its exit status is 0 when all went well.
pub fn main(how: &str, files: &[&str]) -> i32 {
    let mut out = io::stdout();
    let mut say = |said: Said| {
        // Whoever listens is the first process; when it is gone, so is the machine.
        let _ = writeln!(out, "{}", said.line()).and_then(|()| out.flush());
        if matches!(said, Said::Trying { .. }) {
            // The host has heard it when an answer comes.
            let _ = io::stdin().read(&mut [0]);
        }
    };
    let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
    let log = OpenOptions::new().write(true).open("/dev/kmsg").ok();
    match course(&mut Course { say: &mut say, log }, &files, how == "load") {
        Ok(()) => 0,
        Err(()) => 1,
    }
}

fn course(course: &mut Course<'_>, files: &[PathBuf], only_load: bool) -> Result<(), ()> {
    let names: Vec<String> = files.iter().map(|f| name_of(f)).collect();
    let has = |name: &str| names.iter().any(|n| n == name);
    for (file, name) in files.iter().zip(&names) {
        course.step(&format!("insert {name}"), || insert(file, name))?;
    }
    if has("vmmon") {
        course.step("open /dev/vmmon", vmmon::open)?;
    }
    if has("vmnet") {
        course.step("open /dev/vmnet0", || vmnet::open(0).map(|_| Seen::good()))?;
    }
    if !only_load {
        if has("vmmon") {
            vmmon::exercise(course)?;
        }
        if has("vmnet") {
            vmnet::exercise(course)?;
        }
    }
    for name in names.iter().rev() {
        course.step(&format!("remove {name}"), || remove(name))?;
    }
    // Once more: what a module leaves behind shows when it comes again.
    for (file, name) in files.iter().zip(&names).filter(|(_, n)| OURS.contains(&n.as_str())) {
        course.step(&format!("insert {name} again"), || insert(file, name))?;
    }
    for name in names.iter().rev().filter(|n| OURS.contains(&n.as_str())) {
        course.step(&format!("remove {name} again"), || remove(name))?;
    }
    Ok(())
}

/// The modules that all this is about; the others are what they need.
pub(super) const OURS: [&str; 2] = ["vmmon", "vmnet"];

/// "/hostwright/modules/02-vm-mon.ko" → "vm_mon", as the kernel calls it.
pub(super) fn name_of(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let numbered = |(number, name): &(&str, &str)| {
        !name.is_empty() && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    };
    let name = stem.split_once('-').filter(numbered).map_or(stem.as_ref(), |(_, name)| name);
    name.replace('-', "_")
}

pub(super) fn insert(file: &Path, name: &str) -> Result<Seen, Fault> {
    let opened = File::open(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let size = opened.metadata().map_or(0, |m| m.len());
    match sys::insert_module(&opened, "") {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && !OURS.contains(&name) => {
            return Ok(Seen::Skipped("it is there already".into()));
        }
        Err(e) => return Err(format!("the kernel refuses it: {e}")),
    }
    if Path::new("/sys/module").join(name).join("initstate").exists() {
        Ok(Seen::Good(format!("{size} bytes")))
    } else {
        Err(format!("the kernel took it, and there is no module {name}"))
    }
}

pub(super) fn remove(name: &str) -> Result<Seen, Fault> {
    match sys::remove_module(name) {
        Ok(()) => {}
        // What another one still needs may stay.
        Err(e) if !OURS.contains(&name) => return Ok(Seen::Skipped(e.to_string())),
        Err(e) => return Err(e.to_string()),
    }
    if Path::new("/sys/module").join(name).exists() {
        return Err("it is still there".into());
    }
    Ok(Seen::good())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_modules_tell_their_names() {
        for (file, name) in [
            ("/hostwright/modules/02-vmmon.ko", "vmmon"),
            ("vmnet.ko", "vmnet"),
            ("/x/00-vmw-vmci.ko", "vmw_vmci"),
            ("/x/snd-hda.ko", "snd_hda"),
        ] {
            assert_eq!(name_of(Path::new(file)), name);
        }
    }

    #[test]
    fn nothing_is_tried_after_what_went_wrong() {
        let mut said = Vec::new();
        let mut say = |s: Said| said.push(s.line());
        // No such files: the first insertion fails, and nothing of this machine is touched.
        let files = [PathBuf::from("/nowhere/vmmon.ko"), PathBuf::from("/nowhere/vmnet.ko")];
        assert!(course(&mut Course { say: &mut say, log: None }, &files, false).is_err());
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[1].starts_with("rehearse bad insert%20vmmon"), "{said:?}");
    }
}
