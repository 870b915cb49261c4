// SPDX-License-Identifier: GPL-3.0-or-later
//! Which machine: `user@host[:port]`, as one types it for ssh.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A machine that ssh reaches. What is left out is for the person's ssh configuration to say.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Place {
    user: Option<String>,
    host: String,
    port: Option<u16>,
}

/// Why a text names no machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no machine; write user@host or user@host:port")]
pub struct PlaceError(String);

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let wrong = || PlaceError(text.to_owned());
        let bare = text.trim().strip_prefix("ssh://").unwrap_or(text.trim()).trim_end_matches('/');
        let (user, rest) = match bare.rsplit_once('@') {
            Some((user, rest)) => (Some(user.to_owned()), rest),
            None => (None, bare),
        };
        let (host, port) = if let Some(inside) = rest.strip_prefix('[') {
            let (host, after) = inside.split_once(']').ok_or_else(wrong)?;
            (host, if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or_else(wrong)?) })
        } else {
            match rest.split_once(':') {
                // More colons than one: an address of IPv6, without a port.
                Some((_, more)) if more.contains(':') => (rest, None),
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            }
        };
        let port = port.map(|p| p.parse::<u16>().ok().filter(|p| *p != 0).ok_or_else(wrong)).transpose()?;
        // ssh is given these as arguments, and its configuration makes words of them for shells.
        let plain = |text: &str, more: &str| {
            !text.is_empty()
                && text.len() <= 255
                && !text.starts_with('-')
                && text.chars().all(|c| c.is_alphanumeric() || more.contains(c))
        };
        let user_good = user.as_deref().is_none_or(|u| plain(u, "._-\\+@"));
        if !user_good || !plain(host, "._-:%") {
            return Err(wrong());
        }
        Ok(Self { user, host: host.to_owned(), port })
    }
}

impl TryFrom<String> for Place {
    type Error = PlaceError;

    fn try_from(text: String) -> Result<Self, PlaceError> {
        text.parse()
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.to_string()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match (self.host.contains(':'), self.port) {
            (true, Some(port)) => write!(f, "[{}]:{port}", self.host),
            (false, Some(port)) => write!(f, "{}:{port}", self.host),
            (_, None) => f.write_str(&self.host),
        }
    }
}

impl Place {
    /// The arguments that name it to ssh; a command may follow them.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        if let Some(port) = self.port {
            arguments.extend(["-p".to_owned(), port.to_string()]);
        }
        if let Some(user) = &self.user {
            arguments.extend(["-l".to_owned(), user.clone()]);
        }
        arguments.extend(["--".to_owned(), self.host.clone()]);
        arguments
    }

    /// How a person logs in there, as one could paste it.
    pub fn login(&self) -> String {
        let mut words = vec!["ssh".to_owned()];
        if let Some(port) = self.port {
            words.push(format!("-p {port}"));
        }
        words.push(match &self.user {
            Some(user) => format!("{user}@{}", self.host),
            None => self.host.clone(),
        });
        words.join(" ")
    }

    /// What installs Hostwright there, from the folder with its sources.
    pub fn install(&self) -> String {
        let login = self.login();
        let terminal = login.replacen("ssh", "ssh -t", 1);
        format!(
            "git archive --prefix=hostwright/ HEAD | {login} tar -x && {terminal} 'cd hostwright && make deps && make GUI=no && sudo make install'"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_named_as_for_ssh_and_shown_as_it_was_named() {
        for text in ["host", "ada@host", "ada@host:2222", "::1", "ada@[fe80::1%eth0]:22", "d\\ada@10.0.0.7"] {
            let place: Place = text.parse().unwrap();
            assert_eq!(place.to_string(), text);
            assert_eq!(place.to_string().parse::<Place>(), Ok(place));
        }
        assert_eq!("ssh://ada@host:22/".parse::<Place>().unwrap().to_string(), "ada@host:22");
        assert_eq!("[::1]".parse::<Place>().unwrap().to_string(), "::1");
    }

    #[test]
    fn what_ssh_would_take_for_an_option_or_a_shell_for_a_command_is_no_machine() {
        for text in [
            "",
            "@",
            "ada@",
            "@host",
            "-oProxyCommand=x",
            "ada@-host",
            "-l@host",
            "ho st",
            "a;b",
            "$(x)",
            "`x`",
            "host:",
            "host:0",
            "host:70000",
            "host:ssh",
            "[::1",
            "[::1]22",
            "host\n",
            "a|b@host",
        ] {
            assert!(text.trim() == "host" || text.parse::<Place>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn ssh_is_told_by_separate_arguments() {
        let place: Place = "ada@[::1]:2222".parse().unwrap();
        assert_eq!(place.arguments(), ["-p", "2222", "-l", "ada", "--", "::1"]);
        assert_eq!(place.login(), "ssh -p 2222 ada@::1");
        assert!(place.install().contains("| ssh -p 2222 ada@::1 tar -x && ssh -t -p 2222 ada@::1 '"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_stumble_or_an_option(text in "\\PC{0,40}") {
            if let Ok(place) = text.parse::<Place>() {
                let arguments = place.arguments();
                let host = arguments.last().unwrap();
                assert!(!host.starts_with('-') && !host.contains([' ', '\'', '"', '`', '$', ';', '|', '&']));
            }
        }
    }
}
