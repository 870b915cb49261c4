// SPDX-License-Identifier: GPL-3.0-or-later
//! One command over many kernels and images: the file that says which, and what came of it as JUnit XML.

use super::find;
use crate::guest::spec::{Accelerator, Boot, Disk, Display, Firmware, Guest, KernelBoot, Network, Task};
use crate::guest::{GuestError, Outcome, Report};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `FILE.toml` of `lab matrix`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// The command, for every kernel that names none of its own.
    #[serde(default)]
    pub command: Vec<String>,
    /// The root, the same way ("host" when nothing is said).
    #[serde(default)]
    pub root: Option<String>,
    /// Memory of each guest ("1G").
    #[serde(default)]
    pub memory: Option<String>,
    /// Processors of each guest.
    #[serde(default)]
    pub cpus: Option<u32>,
    /// Time for each guest ("5m").
    #[serde(default)]
    pub timeout: Option<String>,
    /// What runs the guests.
    #[serde(default)]
    pub accelerator: Accelerator,
    /// Kernels with nothing special about them.
    #[serde(default)]
    pub kernels: Vec<String>,
    /// All others.
    #[serde(default)]
    pub guest: Vec<Row>,
}

/// One guest of a matrix.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// What it is called; without, after its kernel or image.
    #[serde(default)]
    pub name: Option<String>,
    /// A kernel, as `lab boot --kernel` takes it.
    #[serde(default)]
    pub kernel: Option<String>,
    /// An ISO image.
    #[serde(default)]
    pub iso: Option<PathBuf>,
    /// A disk image.
    #[serde(default)]
    pub disk: Option<PathBuf>,
    /// Firmware of an ISO or disk image.
    #[serde(default)]
    pub firmware: Option<Firmware>,
    /// The root of a kernel.
    #[serde(default)]
    pub root: Option<String>,
    /// The command of a kernel.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// More words for the kernel command line.
    #[serde(default)]
    pub append: Vec<String>,
    /// Modules that are inserted first.
    #[serde(default)]
    pub insert: Vec<PathBuf>,
    /// Success of an image: a line of its console (regular expression).
    #[serde(default)]
    pub until: Option<String>,
    /// Its time, when it needs another.
    #[serde(default)]
    pub timeout: Option<String>,
}

/// Reads the file. Pure.
///
/// # Errors
/// With the line that is wrong.
pub fn parse(text: &str) -> Result<Matrix, GuestError> {
    let matrix: Matrix = toml::from_str(text).map_err(|e| bad(e.to_string().trim().to_owned()))?;
    if matrix.kernels.is_empty() && matrix.guest.is_empty() {
        return Err(bad("it names no guest".into()));
    }
    Ok(matrix)
}

#[allow(clippy::needless_pass_by_value, reason = "it stands where an error is mapped")]
fn bad(reason: String) -> GuestError {
    let remedy =
        "docs/lab.md shows what such a file looks like; the least is `kernels = [\"6.1.0-56-amd64\"]`";
    GuestError::refused("bad-matrix", format!("the matrix cannot be used: {reason}"), remedy)
}

impl Matrix {
    /// All guests by their names; paths are meant below `folder`. `command`, when there is one, is run in all
    /// kernels instead of theirs.
    ///
    /// # Errors
    /// When a kernel or a file is not there, or something is no size or time.
    pub fn guests(&self, folder: &Path, command: &[String]) -> Result<Vec<(String, Guest)>, GuestError> {
        let plain = self.kernels.iter().map(|k| Row { kernel: Some(k.clone()), ..Row::default() });
        let mut all: Vec<(String, Guest)> = Vec::new();
        for row in plain.chain(self.guest.iter().cloned()) {
            let guest = self.one(&row, folder, command)?;
            let base = row.name.clone().unwrap_or_else(|| name(&row));
            let mut unique = base.clone();
            let mut n = 1;
            while all.iter().any(|(name, _)| *name == unique) {
                n += 1;
                unique = format!("{base} ({n})");
            }
            all.push((unique, guest));
        }
        Ok(all)
    }

    fn one(&self, row: &Row, folder: &Path, command: &[String]) -> Result<Guest, GuestError> {
        let firmware = row.firmware.unwrap_or_default();
        let mut disks = Vec::new();
        if let Some(disk) = &row.disk {
            let path = folder.join(disk);
            disks.push(Disk { format: find::format(&path)?, writable: false, usb: false, path });
        }
        let boot = match (&row.kernel, &row.iso) {
            (Some(kernel), None) => Boot::Kernel(self.kernel(row, kernel, folder, command)?),
            (None, Some(iso)) => Boot::Iso { path: folder.join(iso), firmware },
            (None, None) if row.disk.is_some() => Boot::Disk { firmware },
            (Some(_), Some(_)) => return Err(bad("a guest has both a kernel and an iso".into())),
            (None, None) => return Err(bad("a guest has neither a kernel nor an iso nor a disk".into())),
        };
        let large = !matches!(boot, Boot::Kernel(_));
        let memory = match &self.memory {
            Some(text) => u32::try_from(find::size(text).map_err(bad)? >> 20).unwrap_or(u32::MAX),
            None if large => 2048,
            None => 1024,
        };
        let timeout = row.timeout.as_deref().or(self.timeout.as_deref()).map_or(Ok(300), find::seconds);
        Ok(Guest {
            boot,
            cpus: self.cpus.unwrap_or(1),
            memory,
            accelerator: self.accelerator,
            display: Display::None,
            network: Network::None,
            disks,
            timeout: timeout.map_err(bad)?,
            until: row.until.clone(),
        })
    }

    fn kernel(
        &self,
        row: &Row,
        kernel: &str,
        folder: &Path,
        command: &[String],
    ) -> Result<KernelBoot, GuestError> {
        // A path is meant below the file's folder; anything without a slash may be a release.
        let below = folder.join(kernel);
        let place = if kernel.contains('/') || below.exists() {
            find::kernel(&below.to_string_lossy())?
        } else {
            find::kernel(kernel)?
        };
        let root = row.root.as_deref().or(self.root.as_deref()).unwrap_or("host");
        let root = match root {
            "host" | "none" => find::root(Path::new(root))?,
            path => find::root(&folder.join(path))?,
        };
        let argv = match (command, &row.command) {
            ([], Some(own)) => own.clone(),
            ([], None) => self.command.clone(),
            (given, _) => given.to_vec(),
        };
        Ok(KernelBoot {
            image: place.image,
            modules: place.modules,
            config: place.config,
            root,
            writable: false,
            task: Task::Command { argv, env: vec![], cwd: None },
            append: row.append.clone(),
            insert: row.insert.iter().map(|p| folder.join(p)).collect(),
            collect: vec![],
        })
    }
}

fn name(row: &Row) -> String {
    let file = |p: &Path| p.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match (&row.kernel, row.iso.as_ref().or(row.disk.as_ref())) {
        (Some(kernel), _) => {
            let name = file(Path::new(kernel));
            name.strip_prefix("vmlinuz-").map(str::to_owned).unwrap_or(name)
        }
        (None, Some(path)) => file(path),
        (None, None) => "guest".into(),
    }
}

/// What came of one guest.
#[derive(Debug, Clone, Serialize)]
pub struct Cell {
    /// Its name.
    pub name: String,
    /// The number of its run.
    pub run: Option<u32>,
    /// Its report; none when it could not be started.
    pub report: Option<Report>,
    /// Why it could not be started.
    pub error: Option<String>,
    /// Its command's standard output.
    pub stdout: String,
    /// Its command's standard error.
    pub stderr: String,
}

impl Cell {
    /// Whether all is well: it ended with success, and its kernel has nothing worse than a warning to say.
    pub fn good(&self) -> bool {
        self.report.as_ref().is_some_and(|r| r.success() && r.worst().is_none())
    }

    /// Why it is not, in one line.
    pub fn reason(&self) -> Option<String> {
        if self.good() {
            return None;
        }
        let Some(report) = &self.report else { return self.error.clone() };
        Some(match (&report.outcome, report.worst()) {
            (Outcome::Exited { status: 0 }, Some(trouble)) => trouble.message.clone(),
            (Outcome::Exited { status }, _) => format!("exit status {status}"),
            (Outcome::Signalled { signal }, _) => format!("signal {signal}"),
            (Outcome::InitFailed { reason }, _)
            | (Outcome::NeverReachedInit { reason }, _)
            | (Outcome::NothingBootable { reason }, _) => reason.clone(),
            (Outcome::Panic { message }, _)
            | (Outcome::Oops { message }, _)
            | (Outcome::LockUp { message }, _)
            | (Outcome::OutOfMemory { message }, _)
            | (Outcome::QemuFailed { message }, _) => message.clone(),
            (Outcome::TimedOut { seconds }, _) => format!("not done within {seconds} s"),
            (Outcome::Cancelled, _) => "cancelled".into(),
            (Outcome::Stopped, _) => "stopped from outside".into(),
            (Outcome::PoweredOff | Outcome::Reached { .. }, trouble) => {
                trouble.map_or_else(|| "failed".to_owned(), |t| t.message.clone())
            }
        })
    }
}

/// The matrix as JUnit XML, as continuous integration reads it. Pure.
pub fn junit(suite: &str, cells: &[Cell]) -> String {
    let time = |ms: u64| format!("{:.3}", Duration::from_millis(ms).as_secs_f64());
    let took = |c: &Cell| c.report.as_ref().map_or(0, |r| r.took_ms);
    let failures = cells.iter().filter(|c| c.report.is_some() && !c.good()).count();
    let errors = cells.iter().filter(|c| c.report.is_none()).count();
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        out,
        "<testsuites><testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" time=\"{}\">",
        xml(suite),
        cells.len(),
        time(cells.iter().map(took).sum()),
    );
    for cell in cells {
        let (name, class, time) = (xml(&cell.name), xml(suite), time(took(cell)));
        let _ = writeln!(out, "  <testcase name=\"{name}\" classname=\"{class}\" time=\"{time}\">");
        if let Some(reason) = cell.reason() {
            let tag = if cell.report.is_some() { "failure" } else { "error" };
            let lines = cell.report.as_ref().map(|r| match r.worst() {
                Some(trouble) => trouble.lines.join("\n"),
                None => r.console_tail.join("\n"),
            });
            let lines = xml(&lines.unwrap_or_default());
            let _ = writeln!(out, "    <{tag} message=\"{}\">{lines}</{tag}>", xml(&reason));
        }
        for (tag, text) in [("system-out", &cell.stdout), ("system-err", &cell.stderr)] {
            if !text.is_empty() {
                let _ = writeln!(out, "    <{tag}>{}</{tag}>", xml(text));
            }
        }
        out.push_str("  </testcase>\n");
    }
    out.push_str("</testsuite></testsuites>\n");
    out
}

/// A text inside XML 1.0: what has a meaning there is escaped, what must not be there is left out.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            '\u{fffe}' | '\u{ffff}' => {}
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_says_what_is_wrong_with_it() {
        for (text, says) in [
            ("", "names no guest"),
            ("kernel = ['6.1']", "unknown field `kernel`"),
            ("[[guest]]\nkernel = 3", "expected a string"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
        let error = |text: &str| parse(text).unwrap().guests(Path::new("/"), &[]).unwrap_err().to_string();
        assert!(error("[[guest]]\nname = 'x'").contains("neither a kernel"));
        assert!(error("kernels = ['no-such-release']").contains("no kernel no-such-release"));
    }

    #[test]
    fn rows_take_what_is_said_for_all_unless_they_say_their_own() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("vmlinuz-1.2"), "x").unwrap();
        let text = "command = ['true']\nroot = 'none'\ntimeout = '1m'\nmemory = '512M'\nkernels = ['./vmlinuz-1.2']\n\
                    [[guest]]\nkernel = './vmlinuz-1.2'\ncommand = ['uname', '-r']\ntimeout = '5'\n\
                    [[guest]]\niso = 'a, b.iso'\nfirmware = 'bios'\nuntil = 'login:'";
        let guests = parse(text).unwrap().guests(dir.path(), &[]).unwrap();
        let names: Vec<&str> = guests.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names, ["1.2", "1.2 (2)", "a, b.iso"]);
        let argv = |n: usize| match &guests[n].1.boot {
            Boot::Kernel(KernelBoot { task: Task::Command { argv, .. }, .. }) => argv.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!((argv(0), argv(1)), (vec!["true".to_owned()], vec!["uname".to_owned(), "-r".to_owned()]));
        assert_eq!((guests[0].1.timeout, guests[1].1.timeout, guests[2].1.memory), (60, 5, 512));
        let given = parse(text).unwrap().guests(dir.path(), &["id".to_owned()]).unwrap();
        assert!(
            matches!(&given[1].1.boot, Boot::Kernel(k) if matches!(&k.task, Task::Command { argv, .. } if argv == &["id"]))
        );
    }

    #[test]
    fn junit_holds_nothing_that_xml_forbids() {
        let cell = Cell {
            name: "a<b>&\"c\"".into(),
            run: None,
            report: None,
            error: Some("no\u{1b}[31m kernel".into()),
            stdout: "x]]>\u{0}y\n".into(),
            stderr: String::new(),
        };
        let text = junit("m", &[cell]);
        assert!(text.contains("name=\"a&lt;b&gt;&amp;&quot;c&quot;\""), "{text}");
        assert!(text.contains("<error message=\"no[31m kernel\">"), "{text}");
        assert!(text.contains("errors=\"1\"") && !text.contains('\u{0}'), "{text}");
    }
}
