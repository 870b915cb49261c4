// SPDX-License-Identifier: GPL-3.0-or-later
//! Reads adaptation files: TOML → [`Adaptation`], with everything checked that can be checked without a
//! kernel.

use super::expr::{Expr, ExprError};
use super::model::{
    Adaptation, Apply, BUILT_IN, Edit, EditAction, Glob, ModelError, Probe, ProbeKind, SCHEMA, VARIABLES,
};
use regex::bytes::{Regex, RegexBuilder};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAdaptation {
    schema: u32,
    id: String,
    title: String,
    modules: Vec<String>,
    since: String,
    source: String,
    #[serde(default)]
    after: Vec<String>,
    #[serde(default)]
    symptoms: Vec<String>,
    #[serde(default)]
    probe: Vec<RawProbe>,
    apply: Vec<RawApply>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProbe {
    name: String,
    code: Option<String>,
    #[serde(default)]
    flags: Vec<String>,
    symbol: Option<String>,
    config: Option<String>,
    source: Option<String>,
    file: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawApply {
    when: Option<String>,
    reason: String,
    #[serde(default)]
    modules: Vec<String>,
    uses: Option<String>,
    fixed: Option<String>,
    compat: Option<String>,
    #[serde(default)]
    make: Vec<String>,
    #[serde(default)]
    cflags: Vec<String>,
    #[serde(default)]
    edit: Vec<RawEdit>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEdit {
    file: String,
    needed: Option<String>,
    fixed: Option<String>,
    find: Option<String>,
    regex: Option<String>,
    replace: Option<String>,
    append: Option<String>,
    #[serde(default)]
    all: bool,
}

fn regex(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text)
        .multi_line(true)
        .size_limit(1 << 20)
        .build()
        .map_err(|e| format!("the pattern `{text}` is wrong: {e}"))
}

fn optional(text: Option<&String>) -> Result<Option<Regex>, String> {
    text.map(|t| regex(t)).transpose()
}

fn is_word(text: &str, more: &str) -> bool {
    !text.is_empty()
        && text.len() <= 80
        && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
}

/// Text between `'''` begins after the first line break in TOML already; only the end is evened out.
fn block(text: &str) -> String {
    let text = text.trim_end();
    if text.is_empty() { String::new() } else { format!("{text}\n") }
}

impl Adaptation {
    /// Reads an adaptation file.
    ///
    /// # Errors
    /// When it is not TOML of the right form, has unknown fields, wrong patterns or conditions, or
    /// conditions that use names nobody defines. The error says which file and where.
    pub fn parse(file: &str, text: &str) -> Result<Self, ModelError> {
        let fail = |why: String| ModelError { file: file.to_owned(), why };
        let raw: RawAdaptation = toml::from_str(text).map_err(|e| fail(e.to_string()))?;
        Self::check(file, text, raw).map_err(fail)
    }

    fn check(file: &str, text: &str, raw: RawAdaptation) -> Result<Self, String> {
        if raw.schema != SCHEMA {
            return Err(format!(
                "it has schema {}, this program reads {SCHEMA}; a newer Hostwright is needed for it",
                raw.schema
            ));
        }
        let stem = file.rsplit('/').next().unwrap_or(file).trim_end_matches(".toml");
        if raw.id != stem || !is_word(&raw.id, "-") {
            return Err(format!("its id `{}` must be the file's name, of letters, digits and -", raw.id));
        }
        for (name, value) in [("title", &raw.title), ("since", &raw.since), ("source", &raw.source)] {
            if value.trim().is_empty() || value.contains('\n') {
                return Err(format!("`{name}` must be one line of text"));
            }
        }
        if raw.modules.is_empty() || !raw.modules.iter().all(|m| is_word(m, "_")) {
            return Err("`modules` must name at least one module".into());
        }
        if raw.apply.is_empty() {
            return Err("it has no [[apply]], so it would do nothing".into());
        }
        let mut probes = Vec::new();
        for probe in raw.probe {
            let probe = Probe::check(probe)?;
            if probes.iter().any(|p: &Probe| p.name == probe.name) {
                return Err(format!("there are two probes `{}`", probe.name));
            }
            probes.push(probe);
        }
        let mut applies = Vec::new();
        for (i, apply) in raw.apply.into_iter().enumerate() {
            let apply = Apply::check(apply, &probes).map_err(|e| format!("[[apply]] {}: {e}", i + 1))?;
            if let Some(other) = apply.modules.iter().find(|m| !raw.modules.contains(m)) {
                return Err(format!("[[apply]] {}: `{other}` is not among its modules", i + 1));
            }
            applies.push(apply);
        }
        for probe in &probes {
            if !applies.iter().any(|a| a.when.names().contains(probe.name.as_str())) {
                return Err(format!("no condition uses the probe `{}`", probe.name));
            }
        }
        Ok(Self {
            id: raw.id,
            title: raw.title,
            modules: raw.modules,
            since: raw.since,
            source: raw.source,
            after: raw.after,
            symptoms: raw.symptoms.iter().map(|s| regex(s)).collect::<Result<_, _>>()?,
            probes,
            applies,
            file: file.to_owned(),
            text: text.to_owned(),
        })
    }
}

impl Probe {
    fn check(raw: RawProbe) -> Result<Self, String> {
        let name = raw.name;
        let fail = |why: &str| Err(format!("probe `{name}`: {why}"));
        if !is_word(&name, "_") || name.starts_with(|c: char| c.is_ascii_digit()) {
            return fail("a name is letters, digits and _, and does not begin with a digit");
        }
        if BUILT_IN.contains(&name.as_str()) || name == "true" || name == "false" {
            return fail("this name is a built-in word");
        }
        if !raw.flags.is_empty() && raw.code.is_none() {
            return fail("`flags` go with `code` only");
        }
        if raw.file.is_some() && raw.source.is_none() {
            return fail("`file` goes with `source` only");
        }
        let kind = match (raw.code, raw.symbol, raw.config, raw.source) {
            (Some(code), None, None, None) => {
                let ok = |f: &String| f.starts_with('-') && is_word(f, "-=.+@{}_");
                if !raw.flags.iter().all(ok) {
                    return fail("each of `flags` must be one compiler option");
                }
                variables(&code).and_then(|()| raw.flags.iter().try_for_each(|f| variables(f)))?;
                ProbeKind::Code { code: block(&code), flags: raw.flags }
            }
            (None, Some(symbol), None, None) if is_word(&symbol, "_") => ProbeKind::Symbol(symbol),
            (None, None, Some(config), None) if config.starts_with("CONFIG_") && is_word(&config, "_") => {
                ProbeKind::Config(config)
            }
            (None, None, None, Some(source)) => ProbeKind::Source {
                regex: regex(&source)?,
                file: raw.file.as_deref().map(Glob::parse).transpose()?,
            },
            _ => {
                return fail(
                    "exactly one of `code`, `symbol` (a C name), `config` (CONFIG_…) and `source` is needed",
                );
            }
        };
        Ok(Self { name, kind })
    }
}

impl Apply {
    fn check(raw: RawApply, probes: &[Probe]) -> Result<Self, String> {
        let when =
            Expr::parse(raw.when.as_deref().unwrap_or("true")).map_err(|e: ExprError| e.to_string())?;
        for name in when.names() {
            if !BUILT_IN.contains(&name) && !probes.iter().any(|p| p.name == name) {
                return Err(format!(
                    "`{name}` in its condition is neither a probe of this file nor built in"
                ));
            }
        }
        if raw.reason.trim().is_empty() {
            return Err("`reason` must say why, for the person who reads the plan".into());
        }
        let compat = block(raw.compat.as_deref().unwrap_or_default());
        check_compat(&compat)?;
        for var in &raw.make {
            let ok = var.split_once('=').is_some_and(|(name, value)| {
                is_word(name, "_-") && !name.starts_with('-') && !value.chars().any(char::is_control)
            });
            if !ok || var.starts_with("KCFLAGS") {
                return Err(format!(
                    "`{var}` in `make` is no NAME=value (for compiler flags there is `cflags`)"
                ));
            }
            variables(var)?;
        }
        for flag in &raw.cflags {
            if !flag.starts_with('-') || !is_word(flag, "-=.,_+@{}") {
                return Err(format!("`{flag}` in `cflags` is no compiler option"));
            }
            variables(flag)?;
        }
        variables(&compat)?;
        let edits = raw.edit.into_iter().map(Edit::check).collect::<Result<Vec<_>, _>>()?;
        if compat.is_empty() && raw.make.is_empty() && raw.cflags.is_empty() && edits.is_empty() {
            return Err("it does nothing: `compat`, `make`, `cflags` or [[apply.edit]] is needed".into());
        }
        Ok(Self {
            when,
            reason: raw.reason.trim().to_owned(),
            modules: raw.modules,
            uses: optional(raw.uses.as_ref())?,
            fixed: optional(raw.fixed.as_ref())?,
            compat,
            make: raw.make,
            cflags: raw.cflags,
            edits,
        })
    }
}

impl Edit {
    fn check(raw: RawEdit) -> Result<Self, String> {
        let file = Glob::parse(&raw.file)?;
        let fail = |why: &str| Err(format!("edit of `{file}`: {why}"));
        let action = match (raw.find, raw.regex, raw.replace, raw.append) {
            (Some(find), None, Some(with), None) if !find.is_empty() => {
                variables(&with)?;
                let regex = regex(&regex::escape(&find))?;
                EditAction::Replace { regex, shown: find, with, expand: false, all: raw.all }
            }
            (None, Some(pattern), Some(with), None) => {
                variables(&with.replace("${", ""))?;
                let regex = regex(&pattern)?;
                if regex.is_match(b"") {
                    return fail("its pattern matches the empty text");
                }
                EditAction::Replace { regex, shown: pattern, with, expand: true, all: raw.all }
            }
            (None, None, None, Some(text)) if !raw.all && !text.is_empty() => {
                variables(&text)?;
                EditAction::Append(block(&text))
            }
            _ => {
                return fail(
                    "either `find` and `replace`, or `regex` and `replace`, or `append` alone is needed",
                );
            }
        };
        let (needed, fixed) = (optional(raw.needed.as_ref())?, optional(raw.fixed.as_ref())?);
        if matches!(action, EditAction::Append(_)) && needed.is_none() && fixed.is_none() {
            return fail("`append` needs `needed` or `fixed`, or it would be done again and again");
        }
        Ok(Self { file, needed, fixed, action })
    }
}

/// Refuses `@{name}` with a name that has no value.
fn variables(text: &str) -> Result<(), String> {
    for part in text.split("@{").skip(1) {
        match part.split_once('}') {
            Some((name, _)) if VARIABLES.contains(&name) => {}
            _ => {
                return Err(format!(
                    "`@{{{}` refers to none of {}",
                    part.chars().take(20).collect::<String>(),
                    VARIABLES.join(", ")
                ));
            }
        }
    }
    Ok(())
}

/// The force-included header comes before everything else: any kernel header but `linux/version.h` in
/// it would be read before the module's own definitions and break them.
fn check_compat(compat: &str) -> Result<(), String> {
    for line in compat.lines() {
        let directive = line.trim_start().strip_prefix('#').map(str::trim_start);
        if let Some(rest) = directive.and_then(|d| d.strip_prefix("include"))
            && rest.trim() != "<linux/version.h>"
        {
            return Err(format!(
                "`{}` in `compat`: the force-included header holds macros, declarations and <linux/version.h> only",
                line.trim()
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
