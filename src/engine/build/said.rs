// SPDX-License-Identifier: GPL-3.0-or-later
//! What compilers and their kin said during a build, and words for a build that failed.

use crate::engine::diagnose::{self, Diagnostic, Severity};
use crate::engine::event::{Event, Level};
use crate::engine::report::Explain;
use crate::host::{Host, INSIDE};

/// Everything that was said, each message once for each module.
#[derive(Debug, Default)]
pub(in crate::engine) struct Said {
    found: Vec<(usize, Diagnostic)>,
}

impl Said {
    /// Reads a line of output; returns the event to tell when it is a message that was not there before,
    /// and not just make saying that a command failed which has said why itself.
    pub fn line(&mut self, step: usize, module: usize, line: &str) -> Option<Event> {
        let found = shorten(diagnose::parse_line(line)?);
        if self.found.iter().any(|(m, d)| *m == module && *d == found) {
            return None;
        }
        let event = (!diagnose::is_echo(&found)).then(|| event_of(step, &found));
        self.found.push((module, found));
        event
    }

    /// How many different warnings there were.
    pub fn warnings(&self) -> usize {
        self.found.iter().filter(|(_, d)| d.severity == Severity::Warning).count()
    }

    /// The first real error of a module's build, what to do where that is plain, and what it may have to
    /// do with.
    pub fn first_error(&self, host: &Host, explain: &Explain, module: usize) -> Option<String> {
        let of_module: Vec<Diagnostic> =
            self.found.iter().filter(|(m, _)| *m == module).map(|(_, d)| d.clone()).collect();
        let error = diagnose::first_error(&of_module)?;
        let more = match advice(&error.message) {
            Some(advice) => Some(advice.to_owned()),
            None => explain.of(host, error),
        };
        Some(format!("{error}{}", more.map(|m| format!(" ({m})")).unwrap_or_default()))
    }
}

/// What to do about errors that have nothing to do with the sources.
fn advice(message: &str) -> Option<&'static str> {
    const KNOWN: [(&str, &str); 6] = [
        ("No space left on device", "free some space in /var/cache/hostwright and try again"),
        ("File size limit exceeded", "no file of a build may grow this large"),
        ("Killed signal", "memory ran out: close other programs and try again"),
        ("virtual memory exhausted", "memory ran out: close other programs and try again"),
        (": not found", "install the package with that program"),
        ("Resource temporarily unavailable", "too many processes run: try again when fewer do"),
    ];
    KNOWN.iter().find(|(part, _)| message.contains(part)).map(|(_, advice)| *advice)
}

/// Files as a person knows them: without the place of the sources in the sandbox.
fn shorten(mut found: Diagnostic) -> Diagnostic {
    let inside = format!("{INSIDE}/");
    found.file = found.file.map(|f| f.strip_prefix(&inside).map(str::to_owned).unwrap_or(f));
    found
}

fn event_of(step: usize, found: &Diagnostic) -> Event {
    let level = match found.severity {
        Severity::Note => Level::Note,
        Severity::Warning => Level::Warning,
        Severity::Error => Level::Error,
    };
    Event::Diagnostic {
        step,
        level,
        file: found.file.clone(),
        line: found.line,
        message: found.message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_told_once_for_each_module_with_its_place_in_the_sources() {
        let mut said = Said::default();
        let line = "/build/vmnet-only/vnetInt.h:49: warning: \"MAX\" redefined";
        assert_eq!(
            said.line(3, 1, line),
            Some(Event::Diagnostic {
                step: 3,
                level: Level::Warning,
                file: Some("vmnet-only/vnetInt.h".to_owned()),
                line: Some(49),
                message: "\"MAX\" redefined".to_owned(),
            })
        );
        assert_eq!(said.line(3, 1, line), None);
        assert!(said.line(3, 0, line).is_some());
        assert_eq!(said.line(3, 0, "  CC [M]  /build/vmnet-only/hub.o"), None);
        assert_eq!(said.warnings(), 2);
    }

    #[test]
    fn make_saying_that_a_command_failed_is_no_message_of_its_own() {
        let mut said = Said::default();
        assert!(said.line(0, 0, "a.c:1:1: error: no such thing").is_some());
        for echo in [
            "make[2]: *** [/usr/src/linux/scripts/Makefile.build:255: /build/vmmon-only/a.o] Error 1",
            "make[1]: *** [Makefile:1994: /build/vmmon-only] Error 2",
            "make: *** [Makefile.kernel:38: vmmon.ko] Error 2",
            "make[2]: *** Waiting for unfinished jobs....",
        ] {
            assert_eq!(said.line(0, 0, echo), None, "{echo}");
        }
        assert!(said.line(0, 0, "make: *** No rule to make target 'x'.  Stop.").is_some());
        // When nothing else said why, it is all there is.
        let mut said = Said::default();
        said.line(0, 0, "make: *** [Makefile.kernel:38: vmmon.ko] Error 2");
        let error = said.first_error(&Host::machine().unwrap(), &Explain::default(), 0).unwrap();
        assert!(error.contains("Error 2"), "{error}");
    }

    #[test]
    fn errors_of_the_machine_are_told_from_errors_of_the_sources() {
        let host = Host::machine().unwrap();
        let explain = Explain::by(|_, _| Some("an adaptation".to_owned()));
        let of = |line: &str| {
            let mut said = Said::default();
            said.line(0, 0, line);
            said.first_error(&host, &explain, 0)
        };
        let full = of("a.c:1:1: fatal error: error writing to /tmp/x.s: No space left on device").unwrap();
        assert!(full.ends_with("(free some space in /var/cache/hostwright and try again)"), "{full}");
        let missing = of("/bin/sh: 1: gcc-12: not found").unwrap();
        assert!(missing.ends_with("(install the package with that program)"), "{missing}");
        assert_eq!(of("a.c:1:1: error: no such thing").unwrap(), "a.c:1: no such thing (an adaptation)");
        assert_eq!(of("nothing of interest"), None);
    }
}
