// SPDX-License-Identifier: GPL-3.0-or-later
//! Restarting the machine, as a person's own wish: asked of logind (org.freedesktop.login1(5)), which asks polkit
//! itself. The helper has no part in it.

use super::Error;
use zbus::Connection;

/// Asks the logind on this bus to restart its machine; a person may be asked for a password.
///
/// # Errors
/// What logind says.
pub(super) async fn restart(bus: &Connection) -> Result<(), Error> {
    let manager = zbus::Proxy::new(
        bus,
        "org.freedesktop.login1",
        "/org/freedesktop/login1",
        "org.freedesktop.login1.Manager",
    )
    .await?;
    match manager.call::<_, _, ()>("Reboot", &(true,)).await {
        Ok(()) => Ok(()),
        Err(zbus::Error::MethodError(name, sentence, _)) => {
            let why = sentence.unwrap_or_else(|| name.to_string());
            let why = why.trim_end_matches('.');
            Err(Error::Failed(format!(
                "logind did not restart the machine: {why}; restart it from the system menu"
            )))
        }
        Err(error) => {
            Err(Error::Failed(format!("logind could not be asked: {error}; restart it from the system menu")))
        }
    }
}
