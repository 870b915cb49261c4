// SPDX-License-Identifier: GPL-3.0-or-later
//! Which key signs the modules, and how it comes to be trusted. Pure.

use super::choices::{Choices, SignChoice};
use super::facts::{KeyFacts, VmwareFacts};
use crate::detect::signing::{OWN_CERTIFICATE, OWN_KEY};
use crate::engine::Step;
use crate::engine::plan::{Refusal, Warning};
use crate::engine::steps::EnrollKey;

/// Which key signs, and whether it must be made first.
#[derive(Debug)]
pub(super) struct Signing {
    pub(super) key: Option<KeyFacts>,
    pub(super) create: bool,
    /// Whether some kernel here loads signed modules only.
    pub(super) required: bool,
    has_shim: bool,
    has_mokutil: bool,
}

impl Signing {
    /// No key yet.
    fn none(facts: &VmwareFacts) -> Self {
        let (has_shim, has_mokutil) = (facts.has_shim, facts.has_mokutil);
        Self { key: None, create: false, required: is_required(facts), has_shim, has_mokutil }
    }

    /// With this key, which is made first where it has to be.
    pub(super) fn with(key: KeyFacts, create: bool, facts: &VmwareFacts) -> Self {
        Self { key: Some(key), create, ..Self::none(facts) }
    }
}

pub(super) fn own_key() -> KeyFacts {
    KeyFacts {
        own: true,
        owner: "Hostwright".to_owned(),
        key: OWN_KEY.to_owned(),
        certificate: OWN_CERTIFICATE.to_owned(),
        trusted: Some(false),
        pending: false,
    }
}

/// Whether a kernel here loads signed modules only.
fn is_required(facts: &VmwareFacts) -> bool {
    facts.secure_boot == Some(true) || facts.kernels.iter().any(|k| k.forces_signatures)
}

pub(super) fn decide_signing(choices: &Choices, facts: &VmwareFacts) -> Result<Signing, Refusal> {
    let required = is_required(facts);
    let own = facts.keys.iter().find(|k| k.own);
    let distribution = facts.keys.iter().find(|k| !k.own);
    let make_own = || {
        if facts.has_openssl {
            Ok(Signing::with(own_key(), true, facts))
        } else {
            Err(Refusal::new(
                "openssl-missing",
                "A signing key must be made, and openssl is not installed.",
                "Install the package `openssl` and look again.",
            ))
        }
    };
    match choices.sign {
        SignChoice::Never if required => Err(Refusal::new(
            "signature-required",
            "This machine loads signed modules only; unsigned ones would never load.",
            "Leave --no-sign out.",
        )),
        SignChoice::Never => Ok(Signing::none(facts)),
        SignChoice::Own => own.map_or_else(make_own, |k| Ok(Signing::with(k.clone(), false, facts))),
        SignChoice::Distribution => match distribution {
            Some(key) => Ok(Signing::with(key.clone(), false, facts)),
            None => Err(Refusal::new(
                "no-distribution-key",
                "The distribution has no module signing key here.",
                "Use --sign own, or let the distribution make one (for instance by installing a DKMS module).",
            )),
        },
        SignChoice::Auto => match distribution.or(own) {
            Some(key) => Ok(Signing::with(key.clone(), false, facts)),
            None if required => make_own(),
            None => Ok(Signing::none(facts)),
        },
    }
}

pub(super) fn enroll(choices: &Choices, signing: &Signing, warnings: &mut Vec<Warning>) -> Option<Step> {
    let key = signing.key.as_ref()?;
    if key.trusted == Some(true) {
        return None;
    }
    if key.pending {
        warnings.push(Warning {
            message: "The signing key waits to be enrolled.".to_owned(),
            remedy: Some(
                "Restart and choose “Enroll MOK” on the blue screen, with the password you set.".to_owned(),
            ),
        });
        return None;
    }
    if choices.enroll && signing.has_shim && signing.has_mokutil {
        return Some(Step::EnrollKey(EnrollKey { certificate: key.certificate.clone() }));
    }
    if signing.required {
        let remedy = if !signing.has_shim {
            "This machine does not boot through shim: sign with a key that its firmware or kernel trusts."
        } else if !signing.has_mokutil {
            "Install the package `mokutil`, then plan again with --enroll."
        } else {
            "Plan again with --enroll to queue it for the next boot."
        };
        warnings.push(Warning {
            message: "The signing key is not trusted yet; the kernel will not load the modules until it is."
                .to_owned(),
            remedy: Some(remedy.to_owned()),
        });
    }
    None
}
