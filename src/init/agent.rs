// SPDX-License-Identifier: GPL-3.0-or-later
//! The agent: this program as a unit of a systemd guest. It tells when the guest got to what, and hands files
//! over when the guest goes down, or when the host asks for them.

use super::devices::{News, open_port};
use super::mounts::make_folder;
use super::port::Port;
use super::protocol::{self, Said, Told};
use super::sys::{self, IN, Watch};
use super::voice::{self, Voice};
use super::{Failure, collect};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

/// Where the agent is left in a guest whose own init takes over.
pub const FOLDER: &str = "/run/hostwright";
/// Where stages are noted.
const STAGES: &str = "/run/hostwright/stages";
/// What it makes of the journal before it hands files over.
const JOURNAL: &str = "/run/hostwright/journal.txt";

/// The unit of the agent. It starts early and stops late: what happens between is what it is for.
pub fn unit(program: &str, patterns: &[String]) -> String {
    let words: String = patterns.iter().map(|p| format!(" {}", quote(p))).collect();
    format!(
        "[Unit]\nDescription=Hostwright's agent in this virtual machine\nDefaultDependencies=no\n\
         After=systemd-journald.service\nBefore=shutdown.target sysinit.target\nConflicts=shutdown.target\n\n\
         [Service]\nExecStart={program} agent{words}\nTimeoutStopSec=60\nKillMode=process\n\n\
         [Install]\nWantedBy=sysinit.target\n"
    )
}

/// The unit that notes that the guest is up.
pub fn up_unit(program: &str) -> String {
    format!(
        "[Unit]\nDescription=Notes that this virtual machine is up\nDefaultDependencies=no\n\
         After=multi-user.target hostwright-agent.service\n\n\
         [Service]\nType=oneshot\nExecStart={program} stage multi-user\n\n\
         [Install]\nWantedBy=multi-user.target\n"
    )
}

/// A word of `ExecStart=`, as systemd.service(5) reads it.
fn quote(word: &str) -> String {
    let mut out = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '$' => out.push_str("$$"),
            '%' => out.push_str("%%"),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Leaves the agent and its units in `/run`, for the init that takes over.
///
/// # Errors
/// When something cannot be written.
pub fn leave(patterns: &[String]) -> Result<(), Failure> {
    let program = format!("{FOLDER}/init");
    let systemd = "/run/systemd/system";
    for folder in [FOLDER, "/run/systemd", systemd] {
        make_folder(folder)?;
    }
    let written = (|| {
        // The new root is entered: the program is read through this process.
        std::fs::copy("/proc/self/exe", &program)?;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
        for (name, text, target) in [
            ("hostwright-agent.service", unit(&program, patterns), "sysinit.target"),
            ("hostwright-up.service", up_unit(&program), "multi-user.target"),
        ] {
            std::fs::write(format!("{systemd}/{name}"), text)?;
            let wants = format!("{systemd}/{target}.wants");
            std::fs::create_dir_all(&wants)?;
            symlink(format!("../{name}"), format!("{wants}/{name}"))?;
        }
        Ok::<_, std::io::Error>(())
    })();
    written.map_err(Failure::at("switch", "could not leave the agent in /run"))
}

/// `hostwright-init stage NAME`.
pub fn stage(name: &str) -> i32 {
    let noted = OpenOptions::new().write(true).custom_flags(0o4000).open(STAGES).and_then(|mut pipe| {
        // One write, so that two stages at once do not mix.
        pipe.write_all(format!("{}\n", protocol::escape(name.as_bytes())).as_bytes())
    });
    match noted {
        Ok(()) => 0,
        Err(e) => {
            voice::console(&format!("the stage could not be noted: {STAGES}: {e}; is the agent running?"));
            1
        }
    }
}

/// `hostwright-init agent PATTERN…`.
pub fn agent(patterns: &[&str]) -> i32 {
    let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
    match watch(&patterns) {
        Ok(()) => 0,
        Err(failure) => {
            voice::console(&format!("agent: {}: {}", failure.stage, failure.reason));
            1
        }
    }
}

fn watch(patterns: &[String]) -> Result<(), Failure> {
    let at = |what: &'static str| Failure::at("agent", what);
    let signals = sys::signal_file(&[sys::SIGTERM, SIGINT, SIGHUP]).map_err(at("signals"))?;
    let stages = stage_pipe().map_err(at("could not make the pipe for stages"))?;
    // Before udev and the modules of the root, the ports may not be there yet.
    let news = News::open();
    let mut voice = Voice::default();
    voice.connect(open_port(&news, protocol::CONTROL)?)?;
    let mut files = Some(open_port(&news, protocol::FILES)?);
    voice.stage("agent");
    let mut noted = Vec::new();
    loop {
        let mut watches = vec![Watch::new(signals.as_fd(), IN), Watch::new(stages.as_fd(), IN)];
        watches.extend(voice.port().map(|port| Watch::new(port.as_fd(), IN)));
        sys::wait_for(&mut watches, None).map_err(at("waiting"))?;
        note(&stages, &mut noted, &mut voice);
        let goes_down = watches[0].seen != 0;
        let told = voice.hear();
        let is_asked = goes_down || told.contains(&Told::Collect);
        if is_asked && let Some(port) = files.take() {
            hand_over(&mut voice, port, patterns)?;
        }
        if goes_down || told.contains(&Told::Off) {
            return Ok(());
        }
        if watches.get(2).is_some_and(|w| w.seen & sys::HUP != 0) {
            // Nobody listens any more; only a signal ends this.
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
    }
}

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;

fn stage_pipe() -> std::io::Result<File> {
    std::fs::create_dir_all(FOLDER)?;
    match sys::make_fifo(STAGES) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    // Open for writing too: it never comes to its end.
    OpenOptions::new().read(true).write(true).custom_flags(0o4000).open(STAGES)
}

fn note(mut stages: &File, noted: &mut Vec<u8>, voice: &mut Voice) {
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stages.read(&mut buffer) {
        noted.extend_from_slice(&buffer[..count]);
    }
    while let Some(end) = noted.iter().position(|b| *b == b'\n') {
        let line: Vec<u8> = noted.drain(..=end).collect();
        let name = std::str::from_utf8(&line[..end]).ok().and_then(protocol::unescape);
        if let Some(name) = name {
            let name = String::from_utf8_lossy(&name).into_owned();
            voice.say(&Said::Stage { name, ms: sys::uptime(), note: None });
        }
    }
}

/// The journal as text first: its own files are of use only where journalctl is.
fn hand_over(voice: &mut Voice, port: Port, patterns: &[String]) -> Result<(), Failure> {
    voice.stage("collect");
    let mut patterns = patterns.to_vec();
    if journal() {
        patterns.push(JOURNAL.to_owned());
    }
    voice.sent.files = collect::hand_over(port, "/", &patterns)
        .map_err(Failure::at("collect", "could not hand the files over"))?;
    let sent = voice.sent;
    voice.say(&Said::Sent { stdout: 0, stderr: 0, files: sent.files });
    Ok(())
}

fn journal() -> bool {
    let Some(program) =
        ["/usr/bin/journalctl", "/bin/journalctl"].into_iter().find(|p| Path::new(p).exists())
    else {
        return false;
    };
    let Ok(out) = File::create(JOURNAL) else { return false };
    let mut command = Command::new(program);
    command.args(["--boot", "--no-pager", "--output=short-monotonic"]);
    command.stdin(Stdio::null()).stdout(out).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_stays_one_word_of_the_unit() {
        let unit = unit("/run/hostwright/init", &["/var/log/a b/*".to_owned(), "$HOME/%i\"\\".to_owned()]);
        assert!(
            unit.contains(r#"ExecStart=/run/hostwright/init agent "/var/log/a b/*" "$$HOME/%%i\"\\""#),
            "{unit}"
        );
    }
}
