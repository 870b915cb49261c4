// SPDX-License-Identifier: GPL-3.0-or-later
//! Asks logind not to let the machine sleep or shut down in the middle of a run
//! (`org.freedesktop.login1.Manager.Inhibit`, see org.freedesktop.login1(5)).

use crate::host::Host;
use zbus::blocking::{Connection, Proxy, fdo::DBusProxy};
use zbus::zvariant::OwnedFd;

/// Held while a run is under way; logind lets go when it is dropped.
pub(super) struct Inhibitor {
    _fd: OwnedFd,
}

/// Takes an inhibitor. `Ok(None)` on anything but the running machine, whose sleep is of no matter to it.
///
/// # Errors
/// Why none could be had, for people; the run goes on without.
pub(super) fn take(host: &Host, why: &str) -> Result<Option<Inhibitor>, String> {
    if !host.is_machine() {
        return Ok(None);
    }
    let bus = Connection::system().map_err(|e| format!("there is no system bus ({e})"))?;
    ask(&bus, why).map(Some)
}

fn ask(bus: &Connection, why: &str) -> Result<Inhibitor, String> {
    let name = "org.freedesktop.login1";
    let known = DBusProxy::new(bus)
        .and_then(|dbus| {
            let name = zbus::names::BusName::try_from(name)?;
            Ok(dbus.name_has_owner(name)?)
        })
        .map_err(|e: zbus::Error| format!("the system bus does not answer ({e})"))?;
    if !known {
        return Err("logind does not run".to_owned());
    }
    let fd: OwnedFd = Proxy::new(bus, name, "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
        .and_then(|manager| manager.call("Inhibit", &("shutdown:sleep", "Hostwright", why, "block")))
        .map_err(|e| format!("logind refused ({e})"))?;
    Ok(Inhibitor { _fd: fd })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Read};
    use std::os::unix::net::UnixStream;
    use std::process::{Child, Command, Stdio};
    use std::sync::mpsc::{Sender, channel};
    use zbus::blocking::connection::Builder;

    /// A bus of the test's own, ended with it.
    struct Bus(Child, String);

    impl Bus {
        fn start() -> Self {
            let mut daemon = Command::new("dbus-daemon")
                .args(["--session", "--nofork", "--nopidfile", "--print-address=1"])
                .stdout(Stdio::piped())
                .spawn()
                .expect("dbus-daemon starts");
            let mut address = String::new();
            BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
            Self(daemon, address.trim().to_owned())
        }

        fn connect(&self) -> Builder<'_> {
            Builder::address(self.1.as_str()).unwrap()
        }
    }

    impl Drop for Bus {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// Keeps its end of the pipe, as logind does, and tells what it was asked.
    struct Logind(Sender<(Vec<String>, UnixStream)>);

    #[zbus::interface(name = "org.freedesktop.login1.Manager")]
    impl Logind {
        fn inhibit(&self, what: &str, who: &str, why: &str, mode: &str) -> zbus::zvariant::OwnedFd {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let asked = [what, who, why, mode].map(str::to_owned).to_vec();
            self.0.send((asked, ours)).unwrap();
            std::os::fd::OwnedFd::from(theirs).into()
        }
    }

    #[test]
    fn logind_is_asked_and_let_go_when_the_run_is_over() {
        let bus = Bus::start();
        let (sender, asked) = channel();
        let _logind = bus
            .connect()
            .name("org.freedesktop.login1")
            .unwrap()
            .serve_at("/org/freedesktop/login1", Logind(sender))
            .unwrap()
            .build()
            .unwrap();
        let held = ask(&bus.connect().build().unwrap(), "modules for 6.1").unwrap();
        let (words, mut end) = asked.recv().unwrap();
        assert_eq!(words, ["shutdown:sleep", "Hostwright", "modules for 6.1", "block"]);
        end.set_nonblocking(true).unwrap();
        let error = end.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "it is held");
        drop(held);
        end.set_nonblocking(false).unwrap();
        assert_eq!(end.read(&mut [0]).unwrap(), 0, "it was let go");
    }

    #[test]
    fn a_bus_without_logind_is_said_so() {
        let bus = Bus::start();
        let said = ask(&bus.connect().build().unwrap(), "x").map(|_| ()).unwrap_err();
        assert_eq!(said, "logind does not run");
    }
}
