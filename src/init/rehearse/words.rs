// SPDX-License-Identifier: GPL-3.0-or-later
//! What a rehearsal says over the control port, one line each.

use crate::init::protocol::{escape, unescape};

/// The first word of all its lines.
pub const WORD: &str = "rehearse";

/// How the records of the kernel's log begin that say what is tried from here on.
pub const MARK: &str = "hostwright: ";

/// One thing that a rehearsal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It begins with this ("insert vmmon"): should nothing come after it, this is what it was doing.
    Trying {
        /// What.
        what: String,
    },
    /// That went well.
    Good {
        /// What.
        what: String,
        /// What was seen; may be empty.
        seen: String,
    },
    /// That did not.
    Bad {
        /// What.
        what: String,
        /// Why.
        why: String,
    },
    /// That could not be tried here.
    Skipped {
        /// What.
        what: String,
        /// Why not.
        why: String,
    },
    /// A record of the kernel's log, from the first module on.
    Kernel {
        /// Its level, 0 (emergency) to 7 (debug), as in syslog(2).
        level: u8,
        /// Its text.
        text: String,
    },
    /// The kernel's taint flags (`/proc/sys/kernel/tainted`) before the first module and at the end.
    Taint {
        /// Before.
        before: u64,
        /// At the end.
        after: u64,
    },
    /// It is over: everything was tried that could be.
    End,
}

impl Said {
    /// As a line, without its end.
    pub fn line(&self) -> String {
        let two = |word: &str, a: &str, b: &str| {
            format!("{WORD} {word} {} {}", escape(a.as_bytes()), escape(b.as_bytes()))
        };
        match self {
            Self::Trying { what } => format!("{WORD} trying {}", escape(what.as_bytes())),
            Self::Good { what, seen } => two("good", what, seen),
            Self::Bad { what, why } => two("bad", what, why),
            Self::Skipped { what, why } => two("skipped", what, why),
            Self::Kernel { level, text } => format!("{WORD} kernel {level} {}", escape(text.as_bytes())),
            Self::Taint { before, after } => format!("{WORD} taint {before} {after}"),
            Self::End => format!("{WORD} end"),
        }
    }

    /// The line that [`Said::line`] made; `None` for anything else.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        if words.next()? != WORD {
            return None;
        }
        let kind = words.next()?;
        let rest: Vec<&str> = words.collect();
        let text = |i: usize| {
            rest.get(i).and_then(|w| unescape(w)).map(|b| String::from_utf8_lossy(&b).into_owned())
        };
        let number = |i: usize| rest.get(i).and_then(|w| w.parse().ok());
        let (said, count) = match kind {
            "trying" => (Self::Trying { what: text(0)? }, 1),
            "good" => (Self::Good { what: text(0)?, seen: text(1)? }, 2),
            "bad" => (Self::Bad { what: text(0)?, why: text(1)? }, 2),
            "skipped" => (Self::Skipped { what: text(0)?, why: text(1)? }, 2),
            "kernel" => (Self::Kernel { level: u8::try_from(number(0)?).ok()?, text: text(1)? }, 2),
            "taint" => (Self::Taint { before: number(0)?, after: number(1)? }, 2),
            "end" => (Self::End, 0),
            _ => return None,
        };
        (rest.len() == count).then_some(said)
    }

    /// As a line for people; `None` where there is nothing to show.
    pub fn shown(&self) -> Option<String> {
        let with = |what: &str, more: &str| {
            if more.is_empty() { what.to_owned() } else { format!("{what}: {more}") }
        };
        match self {
            Self::Trying { .. } | Self::End => None,
            Self::Good { what, seen } => Some(with(what, seen)),
            Self::Bad { what, why } => Some(format!("FAILED {}", with(what, why))),
            Self::Skipped { what, why } => Some(format!("left out: {}", with(what, why))),
            Self::Kernel { text, .. } => Some(format!("kernel: {text}")),
            Self::Taint { before, after } if before == after => None,
            Self::Taint { before, after } => Some(format!("taint: {before} before, {after} at the end")),
        }
    }
}

/// A record of `/dev/kmsg` ("6,339,5140900,-;text\n KEY=value\n"): its level and text; `None` when it is none.
/// Escapes of the kernel (`\x1b`) stay as they are. Source: Documentation/ABI/testing/dev-kmsg.
pub fn kmsg(record: &str) -> Option<(u8, String)> {
    let (head, text) = record.split_once(';')?;
    let priority: u32 = head.split(',').next()?.parse().ok()?;
    let text = text.lines().next().unwrap_or_default();
    // The facility is above the lowest three bits.
    Some((u8::try_from(priority & 7).unwrap_or(7), text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_said_is_understood_as_it_was_meant() {
        let t = |s: &str| s.to_owned();
        for said in [
            Said::Trying { what: t("insert vmmon") },
            Said::Good { what: t("insert vmmon"), seen: String::new() },
            Said::Bad { what: t("a b"), why: t("100 %\nof it") },
            Said::Skipped { what: t(""), why: t("é") },
            Said::Kernel { level: 4, text: t("vmnet: loading out-of-tree module taints kernel.") },
            Said::Taint { before: 0, after: 12288 },
            Said::End,
        ] {
            let line = said.line();
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(Said::parse(&line), Some(said), "{line}");
        }
    }

    #[test]
    fn other_lines_are_none_of_it() {
        for line in [
            "",
            "exit 3",
            "rehearse",
            "rehearse good a",
            "rehearse end now",
            "rehearse kernel x y",
            "rehearse good a b c",
        ] {
            assert_eq!(Said::parse(line), None, "{line}");
        }
    }

    #[test]
    fn records_of_the_kernels_log_are_read() {
        let record = "4,1021,9143722,-;vmmon: loading out-of-tree module taints kernel.\n SUBSYSTEM=module\n";
        assert_eq!(kmsg(record), Some((4, "vmmon: loading out-of-tree module taints kernel.".to_owned())));
        assert_eq!(
            kmsg("30,1,2,-;from a daemon; with more"),
            Some((6, "from a daemon; with more".to_owned()))
        );
        assert_eq!(kmsg("no record"), None);
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in "(rehearse )?\\PC{0,60}") {
            let _ = (Said::parse(&line), kmsg(&line));
        }
    }
}
