// SPDX-License-Identifier: GPL-3.0-or-later
//! Problems on standard error. With `--json` the same as one JSON object.

use super::look::Look;
pub(crate) use crate::tell::{Exit, Problem, machine_changed, sentence};
use std::process::ExitCode;

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl Problem {
    /// The problem as people read it on standard error.
    pub(crate) fn render(&self, look: Look) -> String {
        let title = if self.exit == Exit::Cancelled { look.bold(&self.title) } else { look.red(&self.title) };
        let mut out = format!("{title}\n");
        if !self.reason.is_empty() {
            out.push_str(&look.wrap(&self.reason, "  ", "  "));
        }
        if let Some(remedy) = &self.remedy {
            out.push_str(&look.remedy(2, remedy));
        }
        out
    }
}
