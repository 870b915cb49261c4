// SPDX-License-Identifier: GPL-3.0-or-later
//! Words on the kernel command line, for every flow that wants some: where they belong on this machine
//! ([`BootFacts`], gathered), and the steps that put them there ([`steps`], pure).

use crate::detect::{BootTool, CommandLinePlace, Facts, Finding};
use crate::engine::Step;
use crate::engine::kernel_params::{self, CommandLine, DROP_IN, Format, GrubFiles, ParamError, Parameter};
use crate::engine::plan::Refusal;
use crate::engine::steps::{BootLoaderTool, ParameterFile, SetKernelParameters, UpdateBootLoader};
use crate::host::{FileState, Host, HostKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// A configuration file as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BootFile {
    /// Its text.
    pub text: String,
    /// Its permission bits.
    pub mode: u32,
}

/// What is read of a machine to put words on its kernel command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BootFacts {
    /// Where it is decided.
    pub place: Finding<CommandLinePlace>,
    /// The files that decide it; those that could not be read with the reason.
    pub files: BTreeMap<String, Finding<BootFile>>,
    /// Whether tools of this root can run (false on a partial scratch root).
    pub tools_run: bool,
}

impl Default for BootFacts {
    fn default() -> Self {
        Self { place: Finding::unseen("not looked"), files: BTreeMap::new(), tools_run: false }
    }
}

/// Largest configuration file that is read, in bytes.
const LIMIT: u64 = 1 << 20;

/// Reads what [`steps`] needs, from facts with [`Topic::Bootloader`](crate::detect::Topic::Bootloader) in them.
pub fn gather(host: &Host, facts: &Facts) -> BootFacts {
    let place = facts.bootloader.as_ref().and_then(|b| b.command_line.clone());
    let mut files = BTreeMap::new();
    for path in place.seen().map(paths).unwrap_or_default() {
        match read(host, &path) {
            Ok(Some(file)) => {
                files.insert(path, Finding::Seen(file));
            }
            Ok(None) => {}
            Err(why) => {
                files.insert(path, Finding::unseen(why));
            }
        }
    }
    BootFacts { place, files, tools_run: host.kind() != HostKind::PartialRoot }
}

fn read(host: &Host, path: &str) -> Result<Option<BootFile>, String> {
    let root = host.root();
    match root.state(path).map_err(|e| e.to_string())? {
        FileState::Absent => Ok(None),
        FileState::File { mode, .. } => {
            let bytes = root.read_at_most(path, LIMIT).map_err(|e| e.to_string())?;
            match String::from_utf8(bytes) {
                Ok(text) => Ok(Some(BootFile { text, mode })),
                Err(_) => Err(format!("{path} is not UTF-8 text")),
            }
        }
        FileState::Symlink { target, .. } => {
            Err(format!("{path} is a link to {target}, which is not followed"))
        }
        FileState::Directory { .. } | FileState::Other => Err(format!("{path} is no file")),
    }
}

/// The files that are edited or read for a place.
fn paths(place: &CommandLinePlace) -> Vec<String> {
    match place {
        CommandLinePlace::Grub { defaults, drop_in_files, .. } => {
            std::iter::once(defaults).chain(drop_in_files).cloned().collect()
        }
        CommandLinePlace::Entries { entries, templates, defaults, .. } => {
            entries.iter().chain(templates).chain(defaults).cloned().collect()
        }
        CommandLinePlace::KernelCmdline { file, .. }
        | CommandLinePlace::Refind { file }
        | CommandLinePlace::Limine { file } => vec![file.clone()],
        CommandLinePlace::NotUnderstood { .. } => Vec::new(),
    }
}

fn tool(tool: BootTool) -> BootLoaderTool {
    match tool {
        BootTool::UpdateGrub => BootLoaderTool::UpdateGrub,
        BootTool::GrubMkconfig => BootLoaderTool::GrubMkconfig,
        BootTool::Grub2Mkconfig => BootLoaderTool::Grub2Mkconfig,
        BootTool::UpdateBootloader => BootLoaderTool::UpdateBootloader,
        BootTool::Sdbootutil => BootLoaderTool::Sdbootutil,
        BootTool::ProxmoxBootTool => BootLoaderTool::ProxmoxBootTool,
    }
}

fn not_understood(path: &str, error: &ParamError) -> Refusal {
    Refusal::new(
        "boot-configuration-not-understood",
        format!("{path}, line {}: {}.", error.line, error.what),
        capital(&error.remedy),
    )
}

/// A sentence of a clause.
fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", chars.as_str().trim_end_matches('.'))
}

impl BootFacts {
    fn file(&self, path: &str) -> Result<Option<&BootFile>, Refusal> {
        match self.files.get(path) {
            None => Ok(None),
            Some(Finding::Seen(file)) => Ok(Some(file)),
            Some(Finding::CouldNotLook { why }) => Err(Refusal::new(
                "boot-configuration-unseen",
                format!("The kernel command line is decided in {path}, and that could not be read: {why}."),
                "Look as root, and look at that file.",
            )),
        }
    }

    fn required(&self, path: &str) -> Result<&BootFile, Refusal> {
        self.file(path)?.ok_or_else(|| {
            Refusal::new("boot-configuration-gone", format!("{path} is not there any more."), "Look again.")
        })
    }

    /// Where the command line is decided.
    ///
    /// # Errors
    /// When one could not look, or looked and does not understand it.
    pub fn place(&self) -> Result<&CommandLinePlace, Refusal> {
        match &self.place {
            Finding::CouldNotLook { why } => Err(Refusal::new(
                "boot-configuration-unseen",
                format!("It could not be seen where the kernel command line is decided: {why}."),
                "Look as root, on the running machine.",
            )),
            Finding::Seen(CommandLinePlace::NotUnderstood { reason, remedy }) => Err(Refusal::new(
                "boot-loader-not-understood",
                format!("How this machine starts is not understood: {reason}."),
                capital(remedy),
            )),
            Finding::Seen(place) => Ok(place),
        }
    }

    /// GRUB's shell files, in the order in which they are read.
    fn grub_files(&self, defaults: &str, drop_ins: &[String]) -> Result<Vec<(String, String)>, Refusal> {
        let mut files = Vec::new();
        for path in std::iter::once(defaults).chain(drop_ins.iter().map(String::as_str)) {
            if let Some(file) = self.file(path)? {
                files.push((path.to_owned(), file.text.clone()));
            }
        }
        Ok(files)
    }

    /// The words that a start by this configuration gives the kernel: of several entries those that all of
    /// them have.
    ///
    /// # Errors
    /// As [`steps`].
    pub fn command_line(&self) -> Result<CommandLine, Refusal> {
        let of = |path: &str, format: Format| -> Result<Vec<CommandLine>, Refusal> {
            let text = &self.required(path)?.text;
            let found = kernel_params::read(format, text).map_err(|e| not_understood(path, &e))?;
            Ok(found.into_iter().filter(|g| !g.is_way_out).map(|g| g.line).collect())
        };
        let lines = match self.place()? {
            CommandLinePlace::Grub { defaults, drop_in_files, .. } => {
                let files = self.grub_files(defaults, drop_in_files)?;
                let line = GrubFiles(&files).command_line().map_err(|(path, e)| not_understood(&path, &e))?;
                vec![line]
            }
            CommandLinePlace::Entries { entries, .. } => {
                let mut lines = Vec::new();
                for path in entries {
                    lines.extend(of(path, Format::LoaderEntry)?);
                }
                lines
            }
            CommandLinePlace::KernelCmdline { file, .. } => of(file, Format::Plain)?,
            CommandLinePlace::Refind { file } => of(file, Format::Refind)?,
            CommandLinePlace::Limine { file } => of(file, Format::Limine)?,
            CommandLinePlace::NotUnderstood { .. } => Vec::new(),
        };
        let mut lines = lines.into_iter();
        let mut common = lines.next().unwrap_or_default();
        for line in lines {
            common.words.retain(|w| line.words.contains(w));
        }
        Ok(common)
    }
}

/// The steps that put `wanted` on the kernel command line; none when all are there. Pure.
///
/// # Errors
/// A refusal when this machine's boot loader or one of its files is not understood or could not be read,
/// when a parameter is there with another value, or when no tool can run here.
pub fn steps(facts: &BootFacts, wanted: &[Parameter]) -> Result<Vec<Step>, Refusal> {
    let place = facts.place()?;
    let mut edits = Edits { facts, wanted, files: Vec::new(), added: BTreeSet::new() };
    let mut update = None;
    match place {
        CommandLinePlace::Grub { defaults, drop_ins, drop_in_files, config, tool: by } => {
            match drop_ins {
                Some(folder) => edits.grub_drop_in(defaults, folder, drop_in_files)?,
                None => edits.edit(defaults, Format::GrubDefaults)?,
            }
            update = Some((*by, config.clone(), Vec::new()));
        }
        CommandLinePlace::Entries { entries, templates, defaults, .. } => {
            for path in entries {
                edits.edit(path, Format::LoaderEntry)?;
            }
            for path in templates {
                edits.edit(path, Format::Plain)?;
            }
            if let Some(path) = defaults {
                edits.edit(path, Format::GrubDefaults)?;
            }
        }
        CommandLinePlace::KernelCmdline { file, entries, tool: by } => {
            edits.edit(file, Format::Plain)?;
            update = Some((*by, None, entries.clone()));
        }
        CommandLinePlace::Refind { file } => edits.edit(file, Format::Refind)?,
        CommandLinePlace::Limine { file } => edits.edit(file, Format::Limine)?,
        CommandLinePlace::NotUnderstood { .. } => {}
    }
    let Edits { files, added, .. } = edits;
    if files.is_empty() {
        return Ok(Vec::new());
    }
    // In the order in which they were asked for: hugepagesz= comes before its hugepages=.
    let mut parameters: Vec<Parameter> = Vec::new();
    for parameter in wanted.iter().filter(|p| added.contains(*p)) {
        if !parameters.contains(parameter) {
            parameters.push(parameter.clone());
        }
    }
    let mut steps =
        vec![Step::SetKernelParameters(SetKernelParameters { parameters: parameters.clone(), files })];
    if let Some((by, config, entries)) = update {
        if !facts.tools_run {
            return Err(Refusal::new(
                "no-tools",
                "This root has no tools of its own, and its boot loader's configuration is made by them.",
                "Use a root with a whole system in it, or leave kernel parameters out.",
            ));
        }
        steps.push(Step::UpdateBootLoader(UpdateBootLoader { tool: tool(by), config, entries, parameters }));
    }
    Ok(steps)
}

struct Edits<'a> {
    facts: &'a BootFacts,
    wanted: &'a [Parameter],
    files: Vec<ParameterFile>,
    added: BTreeSet<Parameter>,
}

impl Edits<'_> {
    fn edit(&mut self, path: &str, format: Format) -> Result<(), Refusal> {
        let there = match format {
            // GRUB reads this file when it is there.
            Format::GrubDefaults => self.facts.file(path)?,
            _ => Some(self.facts.required(path)?),
        };
        let text = there.map_or("", |f| f.text.as_str());
        let before = kernel_params::read(format, text).map_err(|e| not_understood(path, &e))?;
        let changed = kernel_params::add(format, text, self.wanted).map_err(|e| not_understood(path, &e))?;
        let Some(content) = changed else { return Ok(()) };
        for parameter in self.wanted {
            if before.iter().filter(|g| !g.is_way_out).any(|g| g.line.count(parameter) == 0) {
                self.added.insert(parameter.clone());
            }
        }
        self.push(path, format, there.cloned().as_ref(), content);
        Ok(())
    }

    fn push(&mut self, path: &str, format: Format, there: Option<&BootFile>, content: String) {
        self.files.push(ParameterFile {
            path: path.to_owned(),
            format,
            from: there.map(|f| hex::encode(Sha256::digest(&f.text))),
            content,
            mode: there.map_or(0o644, |f| f.mode),
        });
    }

    fn grub_drop_in(&mut self, defaults: &str, folder: &str, drop_ins: &[String]) -> Result<(), Refusal> {
        let files = self.facts.grub_files(defaults, drop_ins)?;
        let own = format!("{folder}/{DROP_IN}");
        let refused = |(path, e): (String, ParamError)| not_understood(&path, &e);
        let before = GrubFiles(&files).command_line().map_err(refused)?;
        let Some(content) = GrubFiles(&files).drop_in(&own, self.wanted).map_err(refused)? else {
            return Ok(());
        };
        self.added.extend(self.wanted.iter().filter(|p| before.count(p) == 0).cloned());
        let there = self.facts.file(&own)?.cloned();
        self.push(&own, Format::GrubDefaults, there.as_ref(), content);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Finding<BootFile> {
        Finding::Seen(BootFile { text: text.into(), mode: 0o600 })
    }

    fn facts(place: CommandLinePlace, files: &[(&str, &str)]) -> BootFacts {
        let files = files.iter().map(|(p, t)| ((*p).to_owned(), file(t))).collect();
        BootFacts { place: Finding::Seen(place), files, tools_run: true }
    }

    fn wanted(words: &[&str]) -> Vec<Parameter> {
        words.iter().map(|w| w.parse().unwrap()).collect()
    }

    fn grub(drop_ins: bool) -> CommandLinePlace {
        CommandLinePlace::Grub {
            defaults: "/etc/default/grub".into(),
            drop_ins: drop_ins.then(|| "/etc/default/grub.d".into()),
            drop_in_files: vec![],
            config: Some("/boot/grub/grub.cfg".into()),
            tool: BootTool::UpdateGrub,
        }
    }

    #[test]
    fn only_what_is_lacking_is_added_and_in_the_order_asked_for() {
        let facts = facts(grub(false), &[("/etc/default/grub", "GRUB_CMDLINE_LINUX_DEFAULT=\"iommu=pt\"\n")]);
        let all = wanted(&["iommu=pt", "hugepagesz=1G", "hugepages=4", "hugepages=4"]);
        let steps = steps(&facts, &all).unwrap();
        let [Step::SetKernelParameters(set), Step::UpdateBootLoader(update)] = steps.as_slice() else {
            panic!("{steps:?}")
        };
        assert_eq!(set.parameters, wanted(&["hugepagesz=1G", "hugepages=4"]));
        assert_eq!(update.parameters, set.parameters);
        assert_eq!(set.files[0].mode, 0o600);
        assert_eq!(
            set.files[0].content,
            "GRUB_CMDLINE_LINUX_DEFAULT=\"iommu=pt hugepagesz=1G hugepages=4\"\n"
        );
    }

    #[test]
    fn nothing_is_done_where_all_is_there() {
        let facts = facts(grub(true), &[("/etc/default/grub", "GRUB_CMDLINE_LINUX=\"iommu=pt\"\n")]);
        assert_eq!(steps(&facts, &wanted(&["iommu=pt"])).unwrap(), []);
        assert_eq!(facts.command_line().unwrap().words, ["iommu=pt"]);
    }

    #[test]
    fn a_broken_file_an_unread_one_and_an_unknown_loader_are_three_refusals() {
        let params = wanted(&["iommu=pt"]);
        let broken = facts(grub(true), &[("/etc/default/grub", "A=1\nGRUB_CMDLINE_LINUX=\"quiet\nB=1\n")]);
        let refusal = steps(&broken, &params).unwrap_err();
        assert_eq!(refusal.code, "boot-configuration-not-understood");
        assert!(refusal.reason.starts_with("/etc/default/grub, line 2: a quote"), "{refusal}");
        let mut unread = facts(grub(true), &[]);
        unread.files.insert("/etc/default/grub".into(), Finding::unseen("no permission"));
        assert_eq!(steps(&unread, &params).unwrap_err().code, "boot-configuration-unseen");
        let unseen = BootFacts::default();
        assert_eq!(steps(&unseen, &params).unwrap_err().code, "boot-configuration-unseen");
        let unknown = facts(
            CommandLinePlace::NotUnderstood { reason: "it is odd".into(), remedy: "do it yourself".into() },
            &[],
        );
        let refusal = steps(&unknown, &params).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "How this machine starts is not understood: it is odd.\nDo it yourself."
        );
    }

    #[test]
    fn without_tools_what_they_make_is_not_promised() {
        let mut facts = facts(grub(true), &[("/etc/default/grub", "")]);
        facts.tools_run = false;
        assert_eq!(steps(&facts, &wanted(&["iommu=pt"])).unwrap_err().code, "no-tools");
        assert_eq!(steps(&facts, &[]).unwrap(), [], "nothing wanted, nothing needed");
    }

    #[test]
    fn entries_have_a_word_only_when_all_of_them_have_it() {
        let place = CommandLinePlace::Entries {
            entries: vec!["/a.conf".into(), "/b.conf".into()],
            ways_out: vec![],
            templates: vec![],
            defaults: None,
        };
        let facts = facts(
            place,
            &[("/a.conf", "linux /a\noptions ro iommu=pt\n"), ("/b.conf", "linux /b\noptions ro\n")],
        );
        assert_eq!(facts.command_line().unwrap().words, ["ro"]);
        let steps = steps(&facts, &wanted(&["iommu=pt"])).unwrap();
        let [Step::SetKernelParameters(set)] = steps.as_slice() else { panic!("{steps:?}") };
        assert_eq!(set.files.len(), 1, "the entry that has it stays as it is");
    }
}
