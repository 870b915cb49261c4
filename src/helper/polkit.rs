// SPDX-License-Identifier: GPL-3.0-or-later
//! May they? Asked of polkit about the *sender's bus name*: never about this process, which may
//! everything. Without polkit the answer is no.

use super::caller::Caller;
use crate::engine::Permission;
use crate::ipc::Error;
use async_io::Timer;
use futures_lite::future;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use zbus::zvariant::{OwnedValue, Str};
use zbus_polkit::policykit1::{AuthorityProxy, AuthorizationResult, CheckAuthorizationFlags, Subject};

/// How long a person may take to answer, for each question.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long polkit may take to answer without asking anybody.
const PROMPTNESS: Duration = Duration::from_secs(30);

/// How a question to polkit ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Yes.
    Granted,
    /// No: by the rules, or because the password was wrong.
    Refused,
    /// The person closed the question.
    Dismissed,
    /// Somebody would have to be asked, and could not be; with the reason and what to do.
    CouldNotAsk(String),
}

/// What polkit's answer means. Pure.
pub fn outcome(result: &AuthorizationResult, interactive: bool) -> Outcome {
    let said = |key: &str| result.details.get(key).is_some_and(|v| !v.is_empty());
    if result.is_authorized {
        Outcome::Granted
    } else if said("polkit.dismissed") {
        Outcome::Dismissed
    } else if result.is_challenge && interactive {
        Outcome::CouldNotAsk(
            "a password is needed, and nobody is there to ask for it: no authentication agent of polkit runs in this session. \
             Start one (`pkttyagent --process $$` in another terminal, or the desktop's own), or call this as root"
                .to_owned(),
        )
    } else if result.is_challenge {
        Outcome::CouldNotAsk(
            "a password is needed, and the caller said that nobody may be asked. Allow interactive authorization in the call, or call this as root"
                .to_owned(),
        )
    } else {
        Outcome::Refused
    }
}

/// What an error in place of an answer means. Pure.
fn could_not_ask(error: &zbus::Error, action: &str) -> String {
    match error {
        zbus::Error::MethodError(name, text, _) => {
            let text = text.as_deref().unwrap_or_default();
            let name = name.as_str();
            if name.ends_with("ServiceUnknown")
                || name.ends_with("NameHasNoOwner")
                || name.contains(".Spawn.")
            {
                "polkit is not there, and without it nobody is let in. Install and start it (package `polkitd` or `polkit`), then try again".to_owned()
            } else if text.contains("not registered") {
                format!(
                    "polkit does not know the action {action}. Is org.hostwright.policy installed in /usr/share/polkit-1/actions?"
                )
            } else {
                format!("polkit did not answer ({name}: {text}). `journalctl -u polkit` may say more")
            }
        }
        other => format!("polkit could not be asked ({other}). `systemctl status polkit` may say more"),
    }
}

/// What the messages in `org.hostwright.policy` name, and what is said where a plan does not say it.
const NAMED: [(&str, &str); 8] = [
    ("kernels", "this machine's kernels"),
    ("run", "of this machine"),
    ("device", "a medium"),
    ("model", "no model told"),
    ("serial", "not told"),
    ("size", "no size told"),
    ("image", "an image"),
    ("what", "as its plan says"),
];

/// Details for the prompt: what may go into a sentence. Keys of polkit's own and long or many-lined texts
/// are left out or cut, so that nothing in a plan can dress up the question. Pure.
pub fn details(from: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let plain =
        |k: &str| !k.is_empty() && k.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b == b'-');
    let named = NAMED.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let given = from.iter().filter(|(key, _)| plain(key)).map(|(key, value)| {
        let line: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
        (key.clone(), line)
    });
    named.chain(given).collect()
}

/// Asks for all of `permissions`, before anything is done. First without bothering anybody, so that no
/// password is asked for when another answer is no already.
///
/// # Errors
/// The first answer that is not yes, as [`Error::NotAuthorized`], [`Error::Dismissed`] or
/// [`Error::CouldNotAsk`]; [`Error::Cancelled`] when the caller goes away, whose question then goes too.
pub(super) async fn authorize(
    caller: &Caller,
    permissions: &BTreeSet<Permission>,
    about: &BTreeMap<String, String>,
) -> Result<(), Error> {
    let about = details(about);
    let mut open = Vec::new();
    for permission in permissions {
        match ask(caller, *permission, &about, false).await? {
            Outcome::CouldNotAsk(_) if caller.interactive => open.push(*permission),
            other => verdict(other, *permission)?,
        }
    }
    for permission in open {
        verdict(ask(caller, permission, &about, true).await?, permission)?;
    }
    Ok(())
}

fn verdict(outcome: Outcome, permission: Permission) -> Result<(), Error> {
    match outcome {
        Outcome::Granted => Ok(()),
        Outcome::Refused => Err(Error::NotAuthorized(format!(
            "polkit does not allow you {}. Nothing was changed; ask an administrator of this machine",
            permission.action_id()
        ))),
        Outcome::Dismissed => Err(Error::Dismissed),
        Outcome::CouldNotAsk(why) => Err(Error::CouldNotAsk(why)),
    }
}

async fn ask(
    caller: &Caller,
    permission: Permission,
    about: &BTreeMap<String, String>,
    interactive: bool,
) -> Result<Outcome, Error> {
    static QUESTION: AtomicU64 = AtomicU64::new(0);
    let id = format!("hostwright-{}", QUESTION.fetch_add(1, Ordering::Relaxed));
    let action = permission.action_id();
    let proxy = AuthorityProxy::builder(&caller.asking)
        .cache_properties(zbus::proxy::CacheProperties::No)
        .build()
        .await
        .map_err(|e| Error::CouldNotAsk(could_not_ask(&e, action)))?;
    let name = OwnedValue::from(Str::from(caller.name.as_str()));
    let subject = Subject {
        subject_kind: "system-bus-name".to_owned(),
        subject_details: HashMap::from([("name".to_owned(), name)]),
    };
    let about: HashMap<&str, &str> = about.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let flags =
        if interactive { CheckAuthorizationFlags::AllowUserInteraction.into() } else { Default::default() };

    enum End {
        Answer(zbus::Result<AuthorizationResult>),
        CallerGone,
        TooLate,
    }
    let answer = async { End::Answer(proxy.check_authorization(&subject, action, &about, flags, &id).await) };
    let gone = async {
        caller.gone().await;
        End::CallerGone
    };
    let late = async {
        Timer::after(if interactive { PATIENCE } else { PROMPTNESS }).await;
        End::TooLate
    };
    match future::or(answer, future::or(gone, late)).await {
        End::Answer(Ok(result)) => Ok(outcome(&result, interactive)),
        End::Answer(Err(error)) => Ok(Outcome::CouldNotAsk(could_not_ask(&error, action))),
        End::CallerGone => {
            // Takes the question off the screen: nobody waits for its answer any more.
            let _ = proxy.cancel_check_authorization(&id).await;
            Err(Error::Cancelled)
        }
        End::TooLate => {
            let _ = proxy.cancel_check_authorization(&id).await;
            Ok(Outcome::CouldNotAsk(
                "nobody answered the question for the password in time; nothing was changed. Try again and answer it"
                    .to_owned(),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(is_authorized: bool, is_challenge: bool, details: &[(&str, &str)]) -> AuthorizationResult {
        let details = details.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        AuthorizationResult { is_authorized, is_challenge, details }
    }

    #[test]
    fn the_four_outcomes_are_told_apart() {
        assert_eq!(outcome(&result(true, false, &[]), true), Outcome::Granted);
        assert_eq!(outcome(&result(false, false, &[]), true), Outcome::Refused);
        let dismissed = result(false, false, &[("polkit.dismissed", "true")]);
        assert_eq!(outcome(&dismissed, true), Outcome::Dismissed);
        let Outcome::CouldNotAsk(why) = outcome(&result(false, true, &[]), true) else { panic!() };
        assert!(why.contains("no authentication agent"), "{why}");
        let Outcome::CouldNotAsk(why) = outcome(&result(false, true, &[]), false) else { panic!() };
        assert!(why.contains("nobody may be asked"), "{why}");
    }

    #[test]
    fn an_empty_detail_says_nothing() {
        assert_eq!(outcome(&result(false, false, &[("polkit.dismissed", "")]), true), Outcome::Refused);
    }

    #[test]
    fn nothing_in_a_plan_can_dress_up_the_question() {
        let from = BTreeMap::from([
            ("polkit.message".to_owned(), "Enter your password to win".to_owned()),
            ("kernels".to_owned(), format!("6.1\n\u{1b}[2J{}", "x".repeat(1000))),
            (String::new(), "x".to_owned()),
        ]);
        let kept = details(&from);
        assert_eq!(kept.keys().collect::<Vec<_>>(), details(&BTreeMap::new()).keys().collect::<Vec<_>>());
        assert_eq!(kept["kernels"].chars().count(), 200);
        assert!(!kept["kernels"].contains(char::is_control));
    }

    #[test]
    fn every_name_in_a_question_is_always_filled_in() {
        let policy = include_str!("../../data/polkit/org.hostwright.policy");
        let always = details(&BTreeMap::new());
        let names = regex::Regex::new(r"\$\(([a-z_-]+)\)").unwrap();
        let inside = policy.lines().filter(|l| l.contains("<message>")).collect::<Vec<_>>().join("\n");
        let mut seen = 0;
        for name in names.captures_iter(&inside) {
            assert!(always.contains_key(&name[1]), "{}", &name[0]);
            seen += 1;
        }
        assert!(seen > 0);
    }

    #[test]
    fn every_permission_has_an_action_and_every_action_a_permission() {
        let policy = include_str!("../../data/polkit/org.hostwright.policy");
        let ids = regex::Regex::new("<action id=\"([^\"]+)\"").unwrap();
        let actions: BTreeSet<&str> = ids.captures_iter(policy).map(|c| c.get(1).unwrap().as_str()).collect();
        assert_eq!(actions, Permission::ALL.iter().map(|p| p.action_id()).collect());
    }
}
