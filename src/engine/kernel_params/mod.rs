// SPDX-License-Identifier: GPL-3.0-or-later
//! The kernel command line in every configuration that boot loaders have: which words are there, and how
//! words are added. Pure: text in, text out.
//!
//! ```text
//!   text ──► read  ──► one CommandLine per entry         (what is there, and what a tool generated)
//!   text ──► add   ──► the same text with the words once (every other byte as it was)
//!   text ──► take_out ─► the same text without words that were added
//! ```
//!
//! Whatever is not understood (a substitution, an open quote, a heredoc) is an error that names the line.
//! A parameter that is there with another value is never replaced: that is somebody's own decision.

mod entry;
mod error;
mod generated;
mod grub;
mod limine;
mod plain;
mod refind;
mod shell;
#[cfg(test)]
mod tests;
mod words;

pub use error::ParamError;
pub use generated::{Generated, missing};
pub use grub::{DROP_IN, GrubFiles};
pub use words::{CommandLine, Parameter};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a file holds kernel command lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One line and nothing else (`/etc/kernel/cmdline`).
    Plain,
    /// `/etc/default/grub`: shell, read by grub-mkconfig.
    GrubDefaults,
    /// A boot loader entry of the Boot Loader Specification.
    LoaderEntry,
    /// `refind_linux.conf`.
    Refind,
    /// `limine.conf` (Limine 8 and later).
    Limine,
    /// `grub.cfg`: generated, only read.
    GrubConfig,
}

/// The command lines of a file, in its order.
///
/// # Errors
/// When the text is not understood.
pub fn read(format: Format, text: &str) -> Result<Vec<Generated>, ParamError> {
    match format {
        Format::Plain => Ok(vec![Generated::of("", plain::read(text)?)]),
        Format::GrubDefaults => grub::read(text),
        Format::LoaderEntry => entry::read(text),
        Format::Refind => refind::read(text),
        Format::Limine => limine::read(text),
        Format::GrubConfig => Ok(generated::grub_cfg(text)),
    }
}

/// The text with each of `wanted` in it exactly once; `None` when all are there already.
///
/// # Errors
/// When the text is not understood, or has one of them with another value.
pub fn add(format: Format, text: &str, wanted: &[Parameter]) -> Result<Option<String>, ParamError> {
    let changed = match format {
        Format::Plain => plain::add(text, wanted),
        Format::GrubDefaults => grub::add(text, wanted),
        Format::LoaderEntry => entry::add(text, wanted),
        Format::Refind => refind::add(text, wanted),
        Format::Limine => limine::add(text, wanted),
        Format::GrubConfig => {
            Err(ParamError::new(1, "grub.cfg is generated", "change /etc/default/grub instead"))
        }
    }?;
    if changed == text {
        return Ok(None);
    }
    // Also what is not edited must be understood: the check after the change reads all of it.
    read(format, text)?;
    if let Some(what) = missing(&read(format, &changed)?, wanted) {
        let same = text.lines().zip(changed.lines()).take_while(|(before, after)| before == after).count();
        return Err(ParamError::new(
            same + 1,
            format!("with the change {what}"),
            "write it in a simpler way and look again",
        ));
    }
    Ok(Some(changed))
}

/// The text of a boot loader entry without these words, each taken out once where it stands; for entries
/// that were made from a template after words were added to it. `None` when none of them is there.
///
/// # Errors
/// When the text is not understood.
pub fn take_out(text: &str, words: &[Parameter]) -> Result<Option<String>, ParamError> {
    let changed = entry::take_out(text, words)?;
    Ok((changed != text).then_some(changed))
}

/// Refuses what no format here has: other line ends and bytes that end a text early.
fn check_text(text: &str) -> Result<(), ParamError> {
    for (i, line) in text.split('\n').enumerate() {
        if line.contains('\r') {
            return Err(ParamError::new(
                i + 1,
                "this line ends the way of Windows (CR LF)",
                "write the file with Unix line ends (`sed -i 's/\\r$//' FILE`)",
            ));
        }
        if line.contains('\0') {
            return Err(ParamError::new(i + 1, "there is a NUL byte", "look at the file; it may be damaged"));
        }
    }
    Ok(())
}

/// The number of the line, from 1, in which byte `at` of `text` lies.
fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count()
}
