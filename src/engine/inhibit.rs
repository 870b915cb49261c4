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
    ask(why).map(Some)
}

fn ask(why: &str) -> Result<Inhibitor, String> {
    let bus = Connection::system().map_err(|e| format!("there is no system bus ({e})"))?;
    let name = "org.freedesktop.login1";
    let known = DBusProxy::new(&bus)
        .and_then(|dbus| {
            let name = zbus::names::BusName::try_from(name)?;
            Ok(dbus.name_has_owner(name)?)
        })
        .map_err(|e: zbus::Error| format!("the system bus does not answer ({e})"))?;
    if !known {
        return Err("logind does not run".to_owned());
    }
    let fd: OwnedFd = Proxy::new(&bus, name, "/org/freedesktop/login1", "org.freedesktop.login1.Manager")
        .and_then(|manager| manager.call("Inhibit", &("shutdown:sleep", "Hostwright", why, "block")))
        .map_err(|e| format!("logind refused ({e})"))?;
    Ok(Inhibitor { _fd: fd })
}
