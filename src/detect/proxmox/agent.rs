// SPDX-License-Identifier: GPL-3.0-or-later
//! The system inside a running virtual machine, asked through its guest agent by Proxmox' own tool (`qm guest`).

use crate::detect::Finding;
use crate::host::{Command, Host};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// The kind of system in a virtual machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GuestOs {
    /// Linux.
    Linux,
    /// Windows.
    Windows,
}

impl GuestOs {
    /// Where NVIDIA's driver looks for the client configuration token (NVIDIA, Virtual GPU Client Licensing User Guide).
    pub fn token_folder(self) -> &'static str {
        match self {
            Self::Linux => "/etc/nvidia/ClientConfigToken",
            Self::Windows => r"C:\Program Files\NVIDIA Corporation\vGPU Licensing\ClientConfigToken",
        }
    }

    /// The service of NVIDIA's driver that fetches the licence.
    pub fn licence_service(self) -> &'static str {
        match self {
            Self::Linux => "nvidia-gridd.service",
            Self::Windows => "NVDisplay.ContainerLocalSystem",
        }
    }
}

/// A virtual machine and what its agent says of the system inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Guest {
    /// Its number.
    pub vm: u32,
    /// Its name; `None` when there is no such virtual machine on this node.
    pub name: Finding<Option<String>>,
    /// Whether it runs: its process is there.
    pub runs: bool,
    /// The system inside. Could not look: the agent does not answer, or refuses.
    pub system: Finding<GuestSystem>,
}

/// The system inside, as far as licences go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GuestSystem {
    /// Its kind.
    pub os: GuestOs,
    /// What it calls itself ("Debian GNU/Linux 12 (bookworm)").
    pub called: String,
    /// Whether the service that fetches licences is there: NVIDIA's guest driver is installed.
    pub service: bool,
    /// The tokens that are there.
    pub tokens: Vec<TokenFile>,
}

/// A token's file inside a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenFile {
    /// Its name.
    pub name: String,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// Its permission bits, octal; empty on Windows.
    pub mode: String,
}

impl TokenFile {
    /// Whether it is a token with this content, as the step that puts it there leaves it.
    pub fn is(&self, name: &str, sha256: &str) -> bool {
        self.name == name && self.sha256 == sha256 && (self.mode.is_empty() || self.mode == TOKEN_MODE)
    }
}

/// NVIDIA wants a token's owner to be able to execute it (Virtual GPU Client Licensing User Guide).
pub const TOKEN_MODE: &str = "744";

/// What a command inside a guest left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestOutput {
    /// Its exit status.
    pub code: i64,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Why a guest could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GuestError(String);

/// How long a command inside a guest may take, in seconds.
const PATIENCE: u64 = 60;

/// The command that runs `argv` inside a guest. `stdin` goes to its standard input and is no argument: arguments can be
/// read by every user of the host.
pub fn exec(vm: u32, argv: &[&str], stdin: Option<&[u8]>) -> Command {
    let command = Command::new("qm").args(["guest", "exec", &vm.to_string()]);
    let command =
        command.args(["--timeout", &PATIENCE.to_string()]).timeout(Duration::from_secs(PATIENCE + 30));
    let command = match stdin {
        Some(bytes) => command.args(["--pass-stdin", "1"]).stdin(bytes),
        None => command,
    };
    command.arg("--").args(argv.iter().copied())
}

/// Reads what `qm guest exec` prints when the command inside has ended. Pure.
///
/// # Errors
/// When it has not ended, or this is something else.
pub fn parse_exec(text: &str) -> Result<GuestOutput, GuestError> {
    #[derive(Deserialize)]
    struct Printed {
        #[serde(default)]
        exited: serde_json::Value,
        exitcode: Option<i64>,
        signal: Option<i64>,
        #[serde(default, rename = "out-data")]
        out: String,
        #[serde(default, rename = "err-data")]
        err: String,
    }
    let printed: Printed = serde_json::from_str(text)
        .map_err(|e| GuestError(format!("what `qm guest exec` printed is not understood: {e}")))?;
    // Perl has no truth values of its own: 1, and "1" after some operations.
    let exited = match &printed.exited {
        serde_json::Value::Bool(yes) => *yes,
        serde_json::Value::Number(n) => n.as_u64() == Some(1),
        serde_json::Value::String(s) => s == "1",
        _ => false,
    };
    match (exited, printed.exitcode, printed.signal) {
        (true, Some(code), _) => Ok(GuestOutput { code, out: printed.out, err: printed.err }),
        (true, None, Some(signal)) => Err(GuestError(format!("signal {signal} ended the command inside"))),
        _ => Err(GuestError(format!("the command inside the guest did not end within {PATIENCE} seconds"))),
    }
}

/// Runs a command inside a guest.
///
/// # Errors
/// When the agent does not answer, or refuses; the exit status inside is for the caller.
pub fn ask(host: &Host, command: Command) -> Result<GuestOutput, GuestError> {
    let Some(command) = host.tool(command) else {
        return Err(GuestError("this root has no virtual machines of its own".to_owned()));
    };
    let output = host.runner().run_ok(&command).map_err(|e| GuestError(e.to_string()))?;
    parse_exec(&output.stdout)
}

/// A PowerShell script as argv. No double quotes in it: each layer on the way would take them for its own.
pub fn powershell(script: &str) -> [&str; 5] {
    ["powershell.exe", "-NoProfile", "-NonInteractive", "-Command", script]
}

/// Reads what the agent's `get-osinfo` answers: the kind of system, and what it calls itself. Pure.
///
/// # Errors
/// When this is something else.
pub fn parse_osinfo(text: &str) -> Result<(GuestOs, String), GuestError> {
    #[derive(Deserialize)]
    struct Info {
        #[serde(default)]
        id: String,
        #[serde(default, rename = "pretty-name")]
        name: String,
    }
    let info: Info = serde_json::from_str(text)
        .map_err(|e| GuestError(format!("what the agent says of its system is not understood: {e}")))?;
    let os = if info.id == "mswindows" { GuestOs::Windows } else { GuestOs::Linux };
    Ok((os, if info.name.is_empty() { info.id } else { info.name }))
}

/// Reads which tokens there are: lines of `sha256sum`, and lines with mode and path. A name that is no plain one
/// (`sha256sum` writes a backslash before such a line) is none of a licence server's. Pure.
pub fn parse_tokens(sums: &str, modes: &str) -> Vec<TokenFile> {
    let modes: BTreeMap<&str, &str> =
        modes.lines().filter_map(|l| l.split_once(' ').map(|(m, p)| (p, m))).collect();
    let token = |line: &str| {
        let (sum, path) = line.split_once("  ")?;
        let name = path.rsplit(['/', '\\']).next()?;
        let sum = (sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit()))
            .then(|| sum.to_ascii_lowercase())?;
        let mode = modes.get(path).copied().unwrap_or_default().to_owned();
        name.ends_with(".tok").then(|| TokenFile { name: name.to_owned(), sha256: sum, mode })
    };
    sums.lines().filter_map(|l| token(l.trim_end())).collect()
}

fn system(host: &Host, vm: u32) -> Result<GuestSystem, GuestError> {
    let command = Command::new("qm").args(["guest", "cmd", &vm.to_string(), "get-osinfo"]);
    let Some(command) = host.tool(command.timeout(Duration::from_secs(PATIENCE))) else {
        return Err(GuestError("this root has no virtual machines of its own".to_owned()));
    };
    let output = host.runner().run_ok(&command).map_err(|e| GuestError(e.to_string()))?;
    let (os, called) = parse_osinfo(&output.stdout)?;
    let (folder, unit) = (os.token_folder(), os.licence_service());
    let (service, tokens) = match os {
        GuestOs::Linux => {
            let service = ask(host, exec(vm, &["systemctl", "cat", "--", unit], None))?.code == 0;
            // A folder that is not there has none; what `find` says of it goes elsewhere.
            let modes = ["find", folder, "-maxdepth", "1", "-type", "f", "-name", "*.tok"];
            let mut sums = modes.to_vec();
            sums.extend(["-exec", "sha256sum", "--", "{}", "+"]);
            let modes = [&modes[..], &["-printf", "%m %p\\n"]].concat();
            let sums = ask(host, exec(vm, &sums, None))?.out;
            (service, parse_tokens(&sums, &ask(host, exec(vm, &modes, None))?.out))
        }
        GuestOs::Windows => {
            let script = format!("if (Get-Service -Name '{unit}' -ErrorAction SilentlyContinue) {{ 'yes' }}");
            let service = ask(host, exec(vm, &powershell(&script), None))?.out.trim() == "yes";
            let script = format!(
                "Get-ChildItem -File -LiteralPath '{folder}' -Filter '*.tok' -ErrorAction SilentlyContinue | \
                 ForEach-Object {{ (Get-FileHash -LiteralPath $_.FullName).Hash + '  ' + $_.FullName }}"
            );
            (service, parse_tokens(&ask(host, exec(vm, &powershell(&script), None))?.out, ""))
        }
    };
    Ok(GuestSystem { os, called, service, tokens })
}

/// Looks at a virtual machine and, through its agent, at the system inside.
pub fn guest(host: &Host, vm: u32) -> Guest {
    let name = match host.root().read_text(&format!("/etc/pve/qemu-server/{vm}.conf")) {
        Ok(text) => Finding::Seen(Some(super::parse_vm(&text).0)),
        Err(e) if e.is_not_found() => Finding::Seen(None),
        Err(e) => Finding::unseen(e.to_string()),
    };
    let runs = super::machines::runs(host, vm);
    let system = if runs {
        system(host, vm).map_or_else(|e| Finding::unseen(e.to_string()), Finding::Seen)
    } else {
        Finding::unseen("it does not run")
    };
    Guest { vm, name, runs, system }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_command_inside_left_is_read_from_perls_json() {
        let text = "{\n   \"err-data\" : \"ls: no\\n\",\n   \"exitcode\" : 2,\n   \"exited\" : 1\n}\n";
        let read = parse_exec(text).unwrap();
        assert_eq!(read, GuestOutput { code: 2, out: String::new(), err: "ls: no\n".into() });
        assert!(parse_exec(r#"{"pid": 1234}"#).unwrap_err().to_string().contains("did not end"));
        assert!(parse_exec(r#"{"exited": 1, "signal": 9}"#).unwrap_err().to_string().contains("signal 9"));
        assert!(parse_exec("QEMU guest agent is not running").is_err());
    }

    #[test]
    fn windows_and_linux_are_told_apart() {
        let (os, called) = parse_osinfo(r#"{"id":"mswindows","pretty-name":"Windows 11 Pro"}"#).unwrap();
        assert_eq!((os, called.as_str()), (GuestOs::Windows, "Windows 11 Pro"));
        assert_eq!(parse_osinfo(r#"{"id":"debian"}"#).unwrap(), (GuestOs::Linux, "debian".to_owned()));
    }

    #[test]
    fn what_goes_to_standard_input_is_no_argument() {
        let command = exec(100, &["install", "/dev/stdin", "/x"], Some(b"secret"));
        assert_eq!(
            command.display(),
            "qm guest exec 100 --timeout 60 --pass-stdin 1 -- install /dev/stdin /x"
        );
        assert_eq!(command.stdin.as_deref(), Some(b"secret".as_slice()));
    }

    #[test]
    fn tokens_are_told_by_name_content_and_mode_on_both_systems() {
        let (one, two) = ("ab".repeat(32), "CD".repeat(32));
        let sums = format!(
            "{one}  /etc/nvidia/ClientConfigToken/a b.tok\n\\{one}  /etc/nvidia/x\\ny.tok\nsha256sum: no\n"
        );
        let modes = "744 /etc/nvidia/ClientConfigToken/a b.tok\n";
        let read = parse_tokens(&sums, modes);
        assert_eq!(read, [TokenFile { name: "a b.tok".into(), sha256: one.clone(), mode: "744".into() }]);
        assert!(read[0].is("a b.tok", &one));
        assert!(
            !read[0].is("a b.tok", &two)
                && !TokenFile { mode: "600".into(), ..read[0].clone() }.is("a b.tok", &one)
        );
        let windows = format!(
            "{two}  C:\\Program Files\\NVIDIA Corporation\\vGPU Licensing\\ClientConfigToken\\c.tok\r\n"
        );
        assert!(parse_tokens(&windows, "")[0].is("c.tok", &two.to_lowercase()));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(?s).*") {
            let _ = parse_exec(&text);
            let _ = parse_osinfo(&text);
            let _ = parse_tokens(&text, &text);
        }
    }
}
