// SPDX-License-Identifier: GPL-3.0-or-later
//! Who calls: the unique name that the bus puts on the message, and the user that the bus knows behind it.

use super::work;
use crate::engine::Owner;
use crate::ipc::Error;
use futures_lite::StreamExt;
use zbus::message::{Flags, Header, Type};
use zbus::names::{BusName, OwnedUniqueName};
use zbus::{Connection, MatchRule, MessageStream, fdo};

/// Who sent a message.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// The sender's unique name on the bus. The bus writes it; it cannot be forged.
    pub(super) name: OwnedUniqueName,
    /// The user behind it.
    pub(super) uid: u32,
    /// Whether a person may be asked for a password.
    pub(super) interactive: bool,
    /// What the bus and polkit are asked over. Not the connection that is called: the bus lets no more than
    /// 64 files wait for a connection (max_outgoing_unix_fds, dbus-daemon(1)) and drops whatever else comes
    /// for it meanwhile, its own answers too. So anybody could make us wait for ever for an answer.
    pub(super) asking: Connection,
}

impl Caller {
    /// Who sent this message.
    ///
    /// # Errors
    /// When the message has no sender, or the bus does not know it (any more).
    pub(super) async fn of(asking: &Connection, header: &Header<'_>) -> Result<Self, Error> {
        let sender = header.sender().ok_or_else(|| {
            Error::BadArgument("the call has no sender; call over the system bus".to_owned())
        })?;
        let bus = fdo::DBusProxy::new(asking).await?;
        let uid = bus
            .get_connection_unix_user(BusName::from(sender.clone()))
            .await
            .map_err(|e| Error::CouldNotAsk(format!("the bus does not know who called ({e}); call again")))?;
        let interactive = header.primary().flags().contains(Flags::AllowInteractiveAuth);
        Ok(Self { name: sender.to_owned().into(), uid, interactive, asking: asking.clone() })
    }

    /// The user as it is written into a run's records. May ask name services, hence off the executor.
    pub(super) async fn owner(&self) -> Result<Owner, Error> {
        let uid = self.uid;
        work::in_thread("user-name", move || {
            let known = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok().flatten();
            Owner { uid, name: known.map_or_else(|| uid.to_string(), |u| u.name) }
        })
        .await
    }

    /// Comes back when the caller has left the bus, and never before.
    pub(super) async fn gone(&self) {
        if self.wait_gone().await.is_err() {
            // Without the bus nobody can be seen leaving; nor does anything else work then.
            futures_lite::future::pending::<()>().await;
        }
    }

    async fn wait_gone(&self) -> zbus::Result<()> {
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender("org.freedesktop.DBus")?
            .interface("org.freedesktop.DBus")?
            .member("NameOwnerChanged")?
            .arg(0, self.name.as_str())?
            .build();
        // Listen first, look then: it may leave in between.
        let mut changes = MessageStream::for_match_rule(rule, &self.asking, None).await?;
        let bus = fdo::DBusProxy::new(&self.asking).await?;
        if !bus.name_has_owner(BusName::from(self.name.inner().clone())).await? {
            return Ok(());
        }
        while let Some(change) = changes.next().await {
            let (_, _, new) = change?.body().deserialize::<(String, String, String)>()?;
            if new.is_empty() {
                return Ok(());
            }
        }
        Err(zbus::Error::Failure("the connection to the bus ended".to_owned()))
    }
}
