// SPDX-License-Identifier: GPL-3.0-or-later
//! The whole project in the image: what `git` would commit with all changes added, an environment that leads
//! to it, a command that runs it, and the lab's agent.
//!
//! Git itself is asked for the list (`ls-files --cached --others --exclude-standard`), not a library that
//! reads `.gitignore`: files that are tracked although a pattern ignores them, `info/exclude`, the person's
//! own excludes and submodules then mean the same here as in every `git status`. A folder without git is
//! looked at with an empty repository beside it, so that a `.gitignore` counts there too.

use super::LabError;
use super::layer::{Entry, Layer, image_mode};
use super::spec::Image;
use crate::host::{Cancel, Command, Runner, Stream};
use crate::init::agent;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where the lab's own things are in an image.
pub const LIB: &str = "/usr/lib/hostwright";
/// The environment in an image: lines that both a shell and systemd read.
pub const ENVIRONMENT: &str = "/etc/hostwright/project.env";

/// A project's files, and what of it was left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Paths below the project's folder.
    pub files: Vec<PathBuf>,
    /// Left out, each with the reason.
    pub left_out: Vec<(PathBuf, &'static str)>,
    /// Sum of the files' sizes in bytes.
    pub bytes: u64,
}

/// What makes git harmless in a folder of somebody else's making: none of its own programs are run.
const HARMLESS: [&str; 12] = [
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.quotePath=true",
    "-c",
    "safe.directory=*",
    "-c",
    "core.untrackedCache=false",
    "-c",
    "protocol.allow=never",
];

fn git(folder: &Path, home: Option<&Path>) -> Command {
    let mut command = Command::new("git").args(HARMLESS).cwd(folder).env("GIT_OPTIONAL_LOCKS", "0");
    if let Some(home) = home {
        // The person's own excludes.
        command = command.env("HOME", home.display().to_string());
    }
    command
}

/// Lists the files of a project, sorted. `empty`: a folder for an empty repository, which is made when
/// the project has none. `without`: a file that is left out (the image itself, when it is built into the project).
///
/// # Errors
/// When git cannot list them, or a name cannot be read.
pub fn list(
    runner: &dyn Runner,
    folder: &Path,
    empty: &Path,
    without: &[PathBuf],
    cancel: &Cancel,
) -> Result<Listing, LabError> {
    let home = std::env::var_os("HOME").map(PathBuf::from).filter(|p| p.is_absolute());
    let inside = git(folder, home.as_deref()).args(["rev-parse", "--is-inside-work-tree"]);
    let repository = runner.run(&inside)?.stdout.trim() == "true";
    let mut command = git(folder, home.as_deref());
    if !repository {
        runner.run_ok(&git(empty, None).args(["init", "--quiet", "--bare", "."]))?;
        command = command
            .args([format!("--git-dir={}", empty.display()), format!("--work-tree={}", folder.display())]);
    }
    command = command.args(["ls-files", "--others", "--exclude-standard", "--cached", "--deduplicate"]);
    let mut listing = Listing::default();
    let mut bad = None;
    let output = runner.run_lines(&command, cancel, &mut |line| {
        if line.stream == Stream::Out {
            match unquote(&line.text) {
                Some(path) => listing.files.push(path),
                None => bad = Some(line.text.clone()),
            }
        }
    })?;
    crate::host::check_status(&command, output)?;
    if let Some(bad) = bad {
        return Err(LabError::refused(
            "file-name",
            format!("git names a file in a way that cannot be read: {bad}"),
            "rename it, or ignore it in .gitignore",
        ));
    }
    sift(folder, &mut listing, without, runner, empty, cancel)?;
    Ok(listing)
}

/// Keeps what can be put into an image; submodules are listed in their turn.
fn sift(
    folder: &Path,
    listing: &mut Listing,
    without: &[PathBuf],
    runner: &dyn Runner,
    empty: &Path,
    cancel: &Cancel,
) -> Result<(), LabError> {
    let mut kept = Vec::new();
    for path in std::mem::take(&mut listing.files) {
        let whole = folder.join(&path);
        // Git ends a nested repository with a slash.
        let path: PathBuf = path.components().collect();
        let meta = match whole.symlink_metadata() {
            Ok(meta) => meta,
            // Deleted, and not yet committed so.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(LabError::io(&whole, "could not look at")(e)),
        };
        if without.iter().any(|w| w == &whole) {
            listing.left_out.push((path, "it is the image that is built"));
        } else if meta.is_dir() {
            let below = list(runner, &whole, empty, without, cancel)?;
            listing.bytes += below.bytes;
            kept.extend(below.files.into_iter().map(|p| path.join(p)));
            listing.left_out.extend(below.left_out.into_iter().map(|(p, why)| (path.join(p), why)));
        } else if meta.is_file() || meta.is_symlink() {
            listing.bytes += meta.len();
            kept.push(path);
        } else {
            listing.left_out.push((path, "it is no file"));
        }
    }
    kept.sort();
    kept.dedup();
    listing.files = kept;
    Ok(())
}

/// A path as git writes it, in C quotes when it has unusual bytes (git-config(1), `core.quotePath`).
pub fn unquote(text: &str) -> Option<PathBuf> {
    let Some(inner) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) else {
        return (!text.is_empty() && !text.contains('"')).then(|| PathBuf::from(text));
    };
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next()? {
            b'a' => 7,
            b'b' => 8,
            b't' => b'\t',
            b'n' => b'\n',
            b'v' => 11,
            b'f' => 12,
            b'r' => b'\r',
            b @ (b'"' | b'\\') => b,
            b @ b'0'..=b'3' => {
                let mut digit = || rest.next().filter(|d| (b'0'..=b'7').contains(d)).map(|d| d - b'0');
                (b - b'0') * 64 + digit()? * 8 + digit()?
            }
            _ => return None,
        });
    }
    (!bytes.is_empty()).then(|| PathBuf::from(OsString::from_vec(bytes)))
}

/// What is put into an image: the project's files at its place, and what belongs to it.
///
/// # Errors
/// When a file of the project cannot be looked at.
pub fn layer(image: &Image, listing: &Listing, program: &'static [u8]) -> Result<Layer, LabError> {
    let mut layer = match &image.project {
        Some(project) => Layer::of_folder(&project.folder)?,
        None => Layer::default(),
    };
    if let Some(project) = &image.project {
        layer.add(&project.place, Entry::Folder { mode: 0o755 });
        for path in &listing.files {
            let whole = project.folder.join(path);
            let meta = whole.symlink_metadata().map_err(LabError::io(&whole, "could not look at"))?;
            let entry = if meta.is_symlink() {
                let target = whole.read_link().map_err(LabError::io(&whole, "could not read the link"))?;
                Entry::Link { target }
            } else {
                Entry::Copy { from: path.clone(), mode: image_mode(meta.mode()) }
            };
            layer.add(Path::new(&project.place).join(path), entry);
        }
    }
    layer.text("/etc/hostname", &format!("{}\n", host_name(&image.name)));
    layer.text(ENVIRONMENT, &environment(image));
    // Login shells, and every unit of systemd, find it.
    layer.text("/etc/profile.d/hostwright.sh", &profile());
    layer.text("/etc/systemd/system.conf.d/50-hostwright.conf", &defaults(image));
    if let Some(autorun) = &image.autorun {
        let script = script(&autorun.command, image.place().unwrap_or("/root"));
        layer.add(format!("{LIB}/autorun"), Entry::Bytes { bytes: script.into_bytes(), mode: 0o755 });
        let text = autorun_unit(autorun.power_off);
        unit(&mut layer, "hostwright-autorun.service", &text, "multi-user.target");
    }
    layer.add(format!("{LIB}/hostwright-init"), Entry::Bytes { bytes: program.to_vec(), mode: 0o755 });
    let program = format!("{LIB}/hostwright-init");
    unit(&mut layer, "hostwright-agent.service", &agent::unit(&program, &image.collect), "sysinit.target");
    unit(&mut layer, "hostwright-up.service", &agent::up_unit(&program), "multi-user.target");
    // On a real machine nobody listens.
    for name in ["hostwright-agent", "hostwright-up"] {
        let drop_in = "# Written by Hostwright.\n[Unit]\nConditionVirtualization=vm\n";
        layer.text(&format!("/etc/systemd/system/{name}.service.d/image.conf"), drop_in);
    }
    Ok(layer)
}

/// A host name (hostname(7)): letters, digits and hyphens.
fn host_name(name: &str) -> String {
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    name.trim_matches('-').to_ascii_lowercase()
}

/// A unit of systemd that is started with a target.
fn unit(layer: &mut Layer, name: &str, text: &str, target: &str) {
    layer.text(&format!("/etc/systemd/system/{name}"), text);
    layer.add(
        format!("/etc/systemd/system/{target}.wants/{name}"),
        Entry::Link { target: format!("../{name}").into() },
    );
}

/// One line for each variable. Double quotes with these escapes mean the same to sh(1) and to systemd
/// (`EnvironmentFile=` in systemd.exec(5)).
fn environment(image: &Image) -> String {
    let mut text = "# Written by Hostwright: where the project is in this image.\n".to_owned();
    for (key, value) in image.variables() {
        let mut quoted = String::new();
        for c in value.chars() {
            if matches!(c, '"' | '\\' | '$' | '`') {
                quoted.push('\\');
            }
            quoted.push(c);
        }
        text.push_str(&format!("{key}=\"{quoted}\"\n"));
    }
    text
}

fn profile() -> String {
    format!(
        "# Written by Hostwright.\nif [ -r {ENVIRONMENT} ]; then\n  set -a\n  . {ENVIRONMENT}\n  set +a\nfi\n"
    )
}

/// `DefaultEnvironment=` of systemd-system.conf(5): C quotes, and `%` doubled.
fn defaults(image: &Image) -> String {
    let mut text =
        "# Written by Hostwright: variables of every service.\n[Manager]\nDefaultEnvironment=".to_owned();
    let words: Vec<String> = image
        .variables()
        .iter()
        .map(|(k, v)| format!("\"{k}={}\"", v.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%")))
        .collect();
    text.push_str(&words.join(" "));
    text.push('\n');
    text
}

/// The autorun command as a script, so that nothing of it has to be escaped for anybody.
fn script(command: &str, place: &str) -> String {
    format!(
        "#!/bin/sh\n# Written by Hostwright: what runs when this image has booted.\ncd {} || exit 125\n{}\n",
        crate::host::Command::new(place).display(),
        command.trim_end()
    )
}

fn autorun_unit(power_off: bool) -> String {
    let end = if power_off {
        // Also when it failed: whoever waits for the machine reads how it ended.
        "\n# The machine's work is done.\nSuccessAction=poweroff\nFailureAction=poweroff\n"
    } else {
        "\n"
    };
    format!(
        "# Written by Hostwright.\n[Unit]\nDescription=Hostwright: the project's command\n\
         After=multi-user.target hostwright-agent.service hostwright-up.service{end}\n\
         [Service]\nType=oneshot\nEnvironment=HOME=/root\nEnvironmentFile=-{ENVIRONMENT}\n\
         ExecStartPre=-{LIB}/hostwright-init stage autorun\n\
         ExecStart={LIB}/autorun\n\
         ExecStopPost=-{LIB}/hostwright-init stage autorun:${{SERVICE_RESULT}}:${{EXIT_STATUS}}\n\
         StandardOutput=journal+console\nStandardError=journal+console\nTimeoutStartSec=infinity\n\
         SyslogIdentifier=autorun\n\n[Install]\nWantedBy=multi-user.target\n"
    )
}

/// Whether a project can be read at all, said before anything else is done.
///
/// # Errors
/// When it is no folder, or one that is surely no project.
pub fn check_project(folder: &Path) -> Result<PathBuf, LabError> {
    let real = folder.canonicalize().map_err(LabError::io(folder, "could not open the project"))?;
    if !real.is_dir() {
        return Err(LabError::refused(
            "no-project",
            format!("{} is no folder", folder.display()),
            "name the folder of the project",
        ));
    }
    let home = std::env::var_os("HOME").map(PathBuf::from).and_then(|h| h.canonicalize().ok());
    if real == Path::new("/") || home.is_some_and(|h| h == real) {
        return Err(LabError::refused(
            "no-project",
            format!("{} is a whole system or home folder, not a project", real.display()),
            "name the folder of the project",
        ));
    }
    if real.as_os_str().as_bytes().contains(&b'\n') {
        return Err(LabError::refused(
            "no-project",
            "the path of the project has a line break in it",
            "rename the folder",
        ));
    }
    Ok(real)
}

#[cfg(test)]
#[path = "inject_tests.rs"]
mod tests;
