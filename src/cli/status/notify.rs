// SPDX-License-Identifier: GPL-3.0-or-later
//! `hostwright status --notify`: says in a desktop notification what became of VMware's modules when kernels were
//! updated. Started at login; silent when there is nothing to tell. The interface is that of the Desktop Notifications
//! Specification.

use super::Problem;
use crate::flows::vmware::updates::Outcome;
use crate::tell::{Assessment, Mark};
use jiff::Timestamp;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use zbus::blocking::Connection;
use zbus::zvariant::Value;

/// How long a notification service is waited for after login.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct News {
    /// Whether something should be done.
    bad: bool,
    title: String,
    body: String,
}

/// What there is to tell: good news once, bad news at each login as long as they hold. Pure.
pub(super) fn news(assessment: &Assessment, updates: &[Outcome], told: Option<Timestamp>) -> Option<News> {
    let mut lines = Vec::new();
    let mut bad = false;
    for kernel in assessment.kernels.iter().filter(|k| k.runs) {
        if kernel.modules.iter().any(|m| m.mark == Mark::Bad) {
            bad = true;
            lines.push(format!(
                "{}, which runs now, has no modules of VMware that it can use.",
                kernel.release
            ));
        }
    }
    // Those that failed and were made good since are not among the notes.
    let stands = |o: &&Outcome| assessment.notes.iter().any(|n| n.text == o.message);
    for outcome in updates.iter().filter(stands) {
        let is_new = told.is_none_or(|t| outcome.at > t);
        if is_new || !outcome.good {
            bad |= !outcome.good;
            lines.push(outcome.message.clone());
        }
    }
    if lines.is_empty() {
        return None;
    }
    let title = if bad { "VMware will not start" } else { "VMware is ready for the new kernel" };
    if bad {
        lines.push("More: hostwright status".to_owned());
    }
    Some(News { bad, title: title.to_owned(), body: lines.join("\n") })
}

/// The file that says up to when this person was told.
fn record() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let state = state.or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".local/state")))?;
    Some(state.join("hostwright/told"))
}

/// Until when this person was told.
pub(super) fn told() -> Option<Timestamp> {
    std::fs::read_to_string(record()?).ok()?.trim().parse().ok()
}

/// Remembers that all up to now was told. That it cannot be is no reason to fail: it is told once more then.
pub(super) fn remember(now: Timestamp) {
    let Some(path) = record() else { return };
    let write = |path: &Path| -> std::io::Result<()> {
        std::fs::create_dir_all(path.parent().unwrap_or(path))?;
        std::fs::write(path, format!("{now}\n"))
    };
    if let Err(error) = write(&path) {
        tracing::warn!(%error, path = %path.display(), "could not be written");
    }
}

/// Shows a notification.
///
/// # Errors
/// When there is no session bus, or nobody there shows notifications within a minute.
pub(super) fn show(news: &News) -> Result<(), Problem> {
    let failed = |why: String| {
        Problem::new(super::Exit::Failed, "no-notification", "The notification could not be shown", why)
            .remedy("`hostwright status` says the same.")
    };
    let bus = Connection::session().map_err(|e| failed(format!("There is no session bus: {e}.")))?;
    send(&bus, news, PATIENCE).map_err(|e| failed(format!("Nobody shows notifications here: {e}.")))
}

fn send(bus: &Connection, news: &News, patience: Duration) -> zbus::Result<()> {
    const NAME: &str = "org.freedesktop.Notifications";
    let urgency: u8 = if news.bad { 2 } else { 1 };
    let hints: HashMap<&str, Value<'_>> = HashMap::from([
        ("urgency", Value::from(urgency)),
        ("desktop-entry", Value::from("org.hostwright.Hostwright")),
    ]);
    // The body may be read as markup.
    let body = news.body.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let nothing: Vec<&str> = Vec::new();
    let arguments =
        ("Hostwright", 0u32, "org.hostwright.Hostwright", news.title.as_str(), body, nothing, hints, -1i32);
    let began = Instant::now();
    loop {
        // The desktop may still be starting.
        match bus.call_method(Some(NAME), "/org/freedesktop/Notifications", Some(NAME), "Notify", &arguments)
        {
            Ok(_) => return Ok(()),
            Err(zbus::Error::MethodError(name, ..))
                if name.as_str().ends_with("ServiceUnknown") && began.elapsed() < patience =>
            {
                std::thread::sleep(Duration::from_secs(1));
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tell::{KernelStatus, ModuleStatus, Row};

    fn outcome(good: bool, message: &str) -> Outcome {
        let at = "2026-01-02T03:04:05Z".parse().unwrap();
        Outcome { release: "6.1".into(), at, good, message: message.into(), remedy: None }
    }

    fn assessment(updates: &[Outcome], modules: Mark) -> Assessment {
        let module = ModuleStatus {
            name: "vmmon",
            path: None,
            fits: None,
            signer: None,
            trusted: None,
            loaded: None,
            mark: modules,
            text: String::new(),
            remedy: None,
        };
        let kernel =
            KernelStatus { release: "6.1".into(), runs: true, starts_next: true, modules: vec![module] };
        let notes = updates.iter().map(|u| Row::new(Mark::Good, "Kernel update", u.message.clone()));
        Assessment { attention: false, kernels: vec![kernel], notes: notes.collect() }
    }

    #[test]
    fn good_news_are_told_once_and_bad_ones_as_long_as_they_hold() {
        let before = Some("2026-01-01T00:00:00Z".parse().unwrap());
        let after = Some("2026-01-03T00:00:00Z".parse().unwrap());
        let good = [outcome(true, "built")];
        let fine = assessment(&good, Mark::Good);
        assert!(!news(&fine, &good, before).unwrap().bad);
        assert!(news(&fine, &good, None).is_some());
        assert_eq!(news(&fine, &good, after), None);
        let bad = [outcome(false, "not built")];
        assert!(news(&assessment(&bad, Mark::Good), &bad, after).unwrap().bad);
        // It was made good since: no note of it is left.
        assert_eq!(news(&assessment(&[], Mark::Good), &bad, before), None);
    }

    #[test]
    fn a_running_kernel_without_modules_is_told_and_a_quiet_machine_is_left_in_peace() {
        assert!(news(&assessment(&[], Mark::Bad), &[], None).unwrap().body.contains("6.1, which runs now"));
        assert_eq!(news(&assessment(&[], Mark::Good), &[], None), None);
        assert_eq!(news(&assessment(&[], Mark::Warning), &[], None), None);
    }

    /// Shows notifications, as a desktop does, and keeps them.
    struct Desktop(std::sync::mpsc::Sender<(String, String, Vec<String>)>);

    #[zbus::interface(name = "org.freedesktop.Notifications")]
    impl Desktop {
        #[allow(clippy::too_many_arguments, reason = "the interface is as it is")]
        fn notify(
            &self,
            _app: &str,
            _replaces: u32,
            _icon: &str,
            title: &str,
            body: &str,
            _actions: Vec<String>,
            hints: HashMap<String, zbus::zvariant::OwnedValue>,
            _timeout: i32,
        ) -> u32 {
            let mut names: Vec<String> = hints.into_keys().collect();
            names.sort();
            let _ = self.0.send((title.to_owned(), body.to_owned(), names));
            7
        }
    }

    #[test]
    fn a_desktop_that_starts_late_still_shows_it() {
        use std::io::{BufRead, BufReader};
        use std::process::{Command, Stdio};
        let mut daemon = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--print-address=1"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let address = address.trim().to_owned();
        let connect = || zbus::blocking::connection::Builder::address(address.as_str()).unwrap();
        let news = News { bad: true, title: "T".into(), body: "a <b> & c".into() };
        let bus = connect().build().unwrap();
        assert!(send(&bus, &news, Duration::ZERO).is_err(), "nobody is there yet");
        let (sender, shown) = std::sync::mpsc::channel();
        let sending = std::thread::spawn(move || send(&bus, &news, Duration::from_secs(30)).is_ok());
        let _desktop = connect()
            .name("org.freedesktop.Notifications")
            .unwrap()
            .serve_at("/org/freedesktop/Notifications", Desktop(sender))
            .unwrap()
            .build()
            .unwrap();
        let (title, body, hints) = shown.recv_timeout(Duration::from_secs(30)).unwrap();
        assert_eq!((title.as_str(), body.as_str()), ("T", "a &lt;b&gt; &amp; c"));
        assert_eq!(hints, ["desktop-entry", "urgency"]);
        assert!(sending.join().unwrap());
        let _ = daemon.kill();
        let _ = daemon.wait();
    }
}
