// SPDX-License-Identifier: GPL-3.0-or-later
//! Keeps the machine awake and up while it is changed: a block inhibitor of logind
//! (org.freedesktop.login1(5)), given back when dropped.

use async_io::Timer;
use futures_lite::future;
use std::time::Duration;
use zbus::Connection;
use zbus::zvariant::OwnedFd;

/// Held while a run changes the machine.
#[derive(Debug)]
pub(super) struct Inhibitor {
    _held: OwnedFd,
}

impl Inhibitor {
    /// Asks logind. A machine without logind cannot be kept awake this way; that is told in the log and
    /// does not stop a run.
    pub(super) async fn take(connection: &Connection, why: &str) -> Option<Self> {
        let ask = async {
            let reply = connection
                .call_method(
                    Some("org.freedesktop.login1"),
                    "/org/freedesktop/login1",
                    Some("org.freedesktop.login1.Manager"),
                    "Inhibit",
                    &("shutdown:sleep", "Hostwright", why, "block"),
                )
                .await?;
            reply.body().deserialize::<OwnedFd>()
        };
        let late = async {
            Timer::after(Duration::from_secs(5)).await;
            Err(zbus::Error::Failure("no answer within 5 s".to_owned()))
        };
        match future::or(ask, late).await {
            Ok(held) => Some(Self { _held: held }),
            Err(error) => {
                tracing::info!(%error, "no inhibitor against sleep and shutdown");
                None
            }
        }
    }
}
