// SPDX-License-Identifier: GPL-3.0-or-later
//! The view in which the cases run: users, rules of polkit, the helper's files on the bus, a scratch root.

use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use zbus::blocking::{Connection, fdo::DBusProxy};
use zbus::names::{BusName, WellKnownName};

pub const NAME: &str = hostwright::ipc::NAME;
/// Everything that the cases and the processes they start share.
pub const HERE: &str = "/run/helper-test";
/// The password of `boss`, who is the one administrator.
pub const PASSWORD: &str = "correct horse 42";
const SERVICES: &str = "/usr/share/dbus-1/system-services";

/// Users and what polkit's rules say about them (`inspect` is allowed to all but `stranger`).
const USERS: [&str; 6] = [
    "may",      // everything
    "maynot",   // no change, no undo
    "looker",   // nothing else is said: an administrator's password
    "boss",     // the same, and is the administrator
    "stranger", // not even looking
    "picky",    // changes of the kernel 6.1-test only
];

const RULES: &str = r#"
polkit.addAdminRule(function(action, subject) { return ["unix-user:boss"]; });
polkit.addRule(function(action, subject) {
  if (action.id.indexOf("org.hostwright.") != 0) return polkit.Result.NOT_HANDLED;
  var look = action.id == "org.hostwright.inspect";
  if (subject.user == "may") return polkit.Result.YES;
  if (subject.user == "maynot") return look ? polkit.Result.YES : polkit.Result.NO;
  if (subject.user == "picky")
    return look || action.lookup("kernels") == "6.1-test" ? polkit.Result.YES : polkit.Result.NO;
  if (look && (subject.user == "looker" || subject.user == "boss")) return polkit.Result.YES;
  return polkit.Result.NOT_HANDLED;
});
"#;

pub struct World {
    pub bus: Connection,
}

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

impl World {
    pub fn make() -> Self {
        fs::create_dir_all(HERE).unwrap();
        // Other users may not be able to reach the build folder.
        fs::copy(std::env::current_exe().unwrap(), program()).unwrap();
        for user in USERS {
            run("useradd", &["--create-home", "--user-group", user]);
        }
        let mut chpasswd = Command::new("chpasswd").stdin(Stdio::piped()).spawn().unwrap();
        writeln!(chpasswd.stdin.take().unwrap(), "boss:{PASSWORD}").unwrap();
        assert!(chpasswd.wait().unwrap().success());
        fs::create_dir_all("/etc/polkit-1/rules.d").unwrap();
        fs::write("/etc/polkit-1/rules.d/00-helper-test.rules", RULES).unwrap();
        fs::copy(
            project("data/polkit/org.hostwright.policy"),
            "/usr/share/polkit-1/actions/org.hostwright.policy",
        )
        .unwrap();
        fs::copy(
            project("data/dbus/org.hostwright.Helper1.conf"),
            "/usr/share/dbus-1/system.d/org.hostwright.Helper1.conf",
        )
        .unwrap();
        let world = Self { bus: Connection::system().unwrap() };
        world.install(&format!("{} serve", program()));
        // Started anew by the bus, with the rules and actions above.
        world.end_polkit();
        world
    }

    /// What each case finds: no helper, an empty scratch root, no wishes to the helper.
    pub fn reset(&self) {
        let _ = fs::remove_file(wish("hold"));
        self.end_helper();
        for entry in fs::read_dir(HERE).unwrap().flatten() {
            if entry.path() != Path::new(&program()) {
                let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
            }
        }
        fs::create_dir_all(root("etc")).unwrap();
        fs::create_dir_all(root("run")).unwrap();
        fs::write(root("etc/input"), "first\n").unwrap();
        self.install(&format!("{} serve", program()));
    }

    /// The file by which the bus starts the helper.
    pub fn install(&self, exec: &str) {
        let text = format!("[D-BUS Service]\nName={NAME}\nExec={exec}\nUser=root\n");
        fs::write(format!("{SERVICES}/{NAME}.service"), text).unwrap();
        self.dbus().reload_config().unwrap();
    }

    pub fn uninstall(&self) {
        fs::remove_file(format!("{SERVICES}/{NAME}.service")).unwrap();
        self.dbus().reload_config().unwrap();
    }

    pub fn dbus(&self) -> DBusProxy<'_> {
        DBusProxy::new(&self.bus).unwrap()
    }

    fn pid_of(&self, name: &str) -> Option<u32> {
        self.dbus().get_connection_unix_process_id(BusName::try_from(name).unwrap()).ok()
    }

    /// The process of the helper, if it is there.
    pub fn helper(&self) -> Option<u32> {
        self.pid_of(NAME)
    }

    pub fn start_helper(&self) -> u32 {
        self.dbus().start_service_by_name(WellKnownName::try_from(NAME).unwrap(), 0).unwrap();
        self.helper().unwrap()
    }

    pub fn signal(&self, pid: u32, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
    }

    pub fn end_helper(&self) {
        if let Some(pid) = self.helper() {
            self.signal(pid, nix::sys::signal::Signal::SIGKILL);
            wait_for("the helper's end", || self.helper() != Some(pid));
        }
    }

    pub fn end_polkit(&self) {
        if let Some(pid) = self.pid_of("org.freedesktop.PolicyKit1") {
            self.signal(pid, nix::sys::signal::Signal::SIGKILL);
            wait_for("polkit's end", || self.pid_of("org.freedesktop.PolicyKit1").is_none());
        }
    }

    /// A machine without polkit, as long as the answer lives.
    pub fn without_polkit(&self) -> NoPolkit<'_> {
        let file = format!("{SERVICES}/org.freedesktop.PolicyKit1.service");
        fs::rename(&file, wish("polkit.service"))
            .or_else(|_| fs::copy(&file, wish("polkit.service")).and_then(|_| fs::remove_file(&file)))
            .unwrap();
        self.dbus().reload_config().unwrap();
        self.end_polkit();
        NoPolkit(self)
    }
}

pub struct NoPolkit<'a>(&'a World);

impl Drop for NoPolkit<'_> {
    fn drop(&mut self) {
        let file = format!("{SERVICES}/org.freedesktop.PolicyKit1.service");
        fs::copy(wish("polkit.service"), file).unwrap();
        self.0.dbus().reload_config().unwrap();
    }
}

fn program() -> String {
    format!("{HERE}/helper-test")
}

/// A file below the scratch root.
pub fn root(path: &str) -> String {
    format!("{HERE}/root/{path}")
}

/// A file by which a case tells the helper of the cases how to behave (see `flow.rs`).
pub fn wish(name: &str) -> String {
    format!("{HERE}/{name}")
}

pub fn read(path: &str) -> String {
    fs::read_to_string(root(path)).unwrap_or_else(|e| format!("{path}: {e}"))
}

#[track_caller]
pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(20), "waited 20 s for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A client that runs as a user and does what it is told, one call after the other on one connection.
pub struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    answers: Receiver<Value>,
}

/// How a client is started.
pub fn client_command(user: &str, script: &Value) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", user, "--regid", user, "--init-groups", "--"]);
    command.args([&program(), "call", &script.to_string()]);
    command.env_clear().env("PATH", "/usr/bin:/bin");
    command
}

impl Client {
    pub fn start(user: &str, script: &Value) -> Self {
        let mut command = client_command(user, script);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Self::from(command.spawn().unwrap())
    }

    pub fn from(mut child: Child) -> Self {
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let answer = serde_json::from_str(&line).unwrap_or_else(|_| json!({ "line": line }));
                if sender.send(answer).is_err() {
                    break;
                }
            }
        });
        Self { stdin: child.stdin.take(), child, answers }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next answer.
    #[track_caller]
    pub fn next(&self) -> Value {
        self.answers.recv_timeout(Duration::from_secs(30)).expect("no answer from the client within 30 s")
    }

    /// Lets it go on from `wait`.
    pub fn go(&mut self) {
        writeln!(self.stdin.as_mut().unwrap(), "go").unwrap();
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// All answers to its end.
    #[track_caller]
    pub fn all(mut self) -> Vec<Value> {
        drop(self.stdin.take());
        let mut answers = Vec::new();
        loop {
            match self.answers.recv_timeout(Duration::from_secs(60)) {
                Ok(answer) => answers.push(answer),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                Err(_) => panic!("the client does not end; so far: {answers:?}"),
            }
        }
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the client ended with {status}: {answers:?}");
        answers
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does a script as a user; all answers.
#[track_caller]
pub fn calls(user: &str, script: Value) -> Vec<Value> {
    Client::start(user, &script).all()
}

/// Does one call as a user; its answer.
#[track_caller]
pub fn one(user: &str, call: Value) -> Value {
    let answers = calls(user, json!([call]));
    assert_eq!(answers.len(), 1, "{answers:?}");
    answers.into_iter().next().unwrap()
}

/// The kind of error in an answer.
#[track_caller]
pub fn kind(answer: &Value) -> &str {
    answer["error"]["kind"].as_str().unwrap_or_else(|| panic!("no error: {answer}"))
}

#[track_caller]
pub fn assert_error(answer: &Value, expected: &str, words: &str) {
    assert_eq!(kind(answer), expected, "{answer}");
    let text = answer["error"]["text"].as_str().unwrap();
    assert!(text.contains(words), "{words:?} is not in: {text}");
}

/// The state in which the events of a followed run end.
#[track_caller]
pub fn end_state(answers: &[Value]) -> &str {
    let last = answers.last().unwrap();
    last["event"]["state"].as_str().unwrap_or_else(|| panic!("no end: {answers:#?}"))
}
