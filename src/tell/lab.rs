// SPDX-License-Identifier: GPL-3.0-or-later
//! How guests of the lab ended, in words. Pure.

use super::Problem;
use crate::flows::lab::session::SessionError;
use crate::guest::{Outcome, Report, TroubleKind};

/// How a guest ended, for people.
pub(crate) fn words(report: &Report) -> String {
    match &report.outcome {
        Outcome::Exited { status } => format!("the command ended with exit status {status}"),
        Outcome::Signalled { signal } => format!("signal {signal} ended the command"),
        Outcome::InitFailed { reason } => format!("the guest could not do its work: {reason}"),
        Outcome::PoweredOff => "the guest powered itself off".into(),
        Outcome::Panic { message } => message.clone(),
        Outcome::Oops { message } => format!("the kernel met a mistake of its own: {message}"),
        Outcome::LockUp { message } => format!("the kernel hung: {message}"),
        Outcome::OutOfMemory { message } => format!("memory ran out: {message}"),
        Outcome::NeverReachedInit { reason } => {
            format!("the kernel never got to its first process: {reason}")
        }
        Outcome::NothingBootable { reason } => format!("the firmware found nothing to boot: {reason}"),
        Outcome::Reached { line } => format!("what was waited for came: {}", line.trim()),
        Outcome::TimedOut { seconds } => format!("the guest did not end within {seconds} s, and was ended"),
        Outcome::Cancelled => "cancelled".into(),
        Outcome::Stopped => "the guest was stopped from outside".into(),
        Outcome::QemuFailed { message } => format!("QEMU failed: {message}"),
    }
}

/// A kind of complaint, for people.
pub(crate) fn trouble(kind: TroubleKind) -> &'static str {
    match kind {
        TroubleKind::Panic => "panic",
        TroubleKind::Oops => "oops",
        TroubleKind::LockUp => "lock-up",
        TroubleKind::OutOfMemory => "out of memory",
        TroubleKind::Warning => "warning",
        TroubleKind::NoRoot => "no root",
        TroubleKind::NoInit => "no init",
        TroubleKind::Module => "module refused",
    }
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Lab(error) => error.into(),
            SessionError::Guest(error) => error.into(),
        }
    }
}
