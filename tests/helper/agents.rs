// SPDX-License-Identifier: GPL-3.0-or-later
//! Cases in which somebody is asked: polkit's own `pkttyagent` on a terminal with a real password, and an
//! agent that always dismisses.

use crate::Case;
use crate::world::{Client, PASSWORD, World, assert_error, client_command, end_state, read, root, wait_for};
use nix::pty::openpty;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use zbus::blocking::{Connection, connection};

pub const CASES: &[Case] = &[
    ("the_right_password_by_a_real_agent_lets_it_run", the_right_password_by_a_real_agent_lets_it_run),
    ("a_wrong_password_is_a_no", a_wrong_password_is_a_no),
    ("the_command_line_asks_on_its_own_terminal", the_command_line_asks_on_its_own_terminal),
    ("a_password_for_looking_is_asked_for_once", a_password_for_looking_is_asked_for_once),
    ("a_run_without_a_session_asks_once_for_looking_and_once_for_the_change", once_for_each),
    ("a_dismissed_question_is_told_apart_from_a_no", a_dismissed_question_is_told_apart_from_a_no),
    ("the_question_names_what_will_happen_and_to_what", the_question_names_what_will_happen_and_to_what),
    ("a_machine_that_changes_while_the_password_is_typed_is_left_alone", changed_while_typing),
    ("a_caller_that_goes_away_takes_its_question_along", a_caller_that_goes_away_takes_its_question_along),
    ("the_helper_stays_while_a_password_is_typed", the_helper_stays_while_a_password_is_typed),
];

/// A terminal, and a process for which it is the controlling one.
struct Terminal {
    master: File,
    shown: Arc<Mutex<String>>,
    child: Child,
}

impl Terminal {
    /// Starts `command` (a user's) on a terminal of its own. Its standard output is a pipe.
    fn start(command: &Command) -> Self {
        let pty = openpty(None, None).unwrap();
        let slave = || Stdio::from(pty.slave.try_clone().unwrap());
        let mut on_terminal = Command::new("setsid");
        on_terminal.arg("--ctty").arg(command.get_program()).args(command.get_args());
        on_terminal.env_clear().env("PATH", "/usr/bin:/bin");
        let child = on_terminal.stdin(slave()).stdout(Stdio::piped()).stderr(slave()).spawn().unwrap();
        let master = File::from(pty.master);
        let (mut reader, shown) = (master.try_clone().unwrap(), Arc::new(Mutex::new(String::new())));
        let to = shown.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut bytes) {
                to.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
        });
        Self { master, shown, child }
    }

    /// polkit's agent on a terminal, registered for a process of that user.
    fn agent(user: &str, process: u32) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", user, "--regid", user, "--init-groups", "--"]);
        command.args(["pkttyagent", "--notify-fd", "1", "--process", &process.to_string()]);
        let mut terminal = Self::start(&command);
        // The end of its standard output says that it is registered.
        terminal.child.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
        assert!(terminal.child.try_wait().unwrap().is_none(), "{}", terminal.shown());
        terminal
    }

    fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    fn wait_for(&self, words: &str) {
        wait_for(&format!("{words:?} on the terminal, which shows {}", self.shown()), || {
            self.shown().contains(words)
        });
    }

    /// Types a password. The agent drops what is typed before it has stopped the terminal's echo.
    fn type_in(&mut self, text: &str) {
        wait_for("the end of the echo", || {
            let flags = nix::sys::termios::tcgetattr(&self.master).unwrap().local_flags;
            !flags.contains(nix::sys::termios::LocalFlags::ECHO)
        });
        self.master.write_all(format!("{text}\n").as_bytes()).unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn execute() -> Value {
    json!({ "op": "execute", "choices": { "files": { "/etc/new": "text" } } })
}

/// A client of `user` that waits, and an agent for it.
fn client_with_agent(user: &str, call: &Value) -> (Client, Terminal) {
    let client = Client::start(user, &json!([{ "op": "wait" }, call]));
    // Before that it is still root, for whom a user's agent may not answer.
    let exe = format!("/proc/{}/exe", client.pid());
    wait_for("the client", || std::fs::read_link(&exe).is_ok_and(|exe| !exe.ends_with("setpriv")));
    let agent = Terminal::agent(user, client.pid());
    (client, agent)
}

fn the_right_password_by_a_real_agent_lets_it_run(_: &World) {
    for user in ["boss", "looker"] {
        let call = json!({ "op": "execute", "choices": { "files": { format!("/etc/by-{user}"): "text" } } });
        let (mut client, mut agent) = client_with_agent(user, &call);
        client.go();
        agent.wait_for("Password:");
        agent.type_in(PASSWORD);
        assert_eq!(end_state(&client.all()), "done", "{}", agent.shown());
        assert_eq!(read(&format!("etc/by-{user}")), "text");
    }
}

fn a_wrong_password_is_a_no(_: &World) {
    let (mut client, mut agent) = client_with_agent("boss", &execute());
    client.go();
    agent.wait_for("Password:");
    agent.type_in("no such horse");
    assert_error(&client.next(), "NotAuthorized", "ask an administrator");
    assert!(!std::path::Path::new(&root("etc/new")).exists());
}

fn the_command_line_asks_on_its_own_terminal(_: &World) {
    let script = json!([{ "op": "terminal-agent" }, execute()]);
    let mut terminal = Terminal::start(&client_command("boss", &script));
    // The process is the terminal's; the client reads its answers.
    let stdout = terminal.child.stdout.take();
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.stdout = stdout;
    let client = Client::from(child);
    assert_eq!(client.next(), json!({ "ok": true }), "{}", terminal.shown());
    terminal.wait_for("Password:");
    terminal.type_in(PASSWORD);
    assert_eq!(client.next()["run"], 1, "{}", terminal.shown());
    terminal.wait_for("AUTHENTICATION COMPLETE");
    assert!(!terminal.shown().contains(PASSWORD), "the password was shown");
    assert_eq!(terminal.child.wait().unwrap().code(), Some(0));
    assert_eq!(read("etc/new"), "text");
}

fn a_password_for_looking_is_asked_for_once(_: &World) {
    let plan = json!({ "op": "plan", "choices": {} });
    let script = json!([{ "op": "wait" }, { "op": "gather" }, plan, { "op": "runs" }]);
    let mut client = Client::start("stranger", &script);
    let mut agent = Terminal::agent("stranger", client.pid());
    client.go();
    agent.wait_for("Password:");
    agent.type_in(PASSWORD);
    let answers = client.all();
    assert_eq!(answers.len(), 3);
    assert!(answers.iter().all(|a| !a["ok"].is_null()), "{answers:?}");
    assert_eq!(agent.shown().matches("Password:").count(), 1, "{}", agent.shown());
}

/// All that `vmware apply` calls, over ssh and without logind.
fn once_for_each(_: &World) {
    let choices = json!({ "files": { "/etc/by-stranger": "text" } });
    let script = json!([
        { "op": "wait" },
        { "op": "plan", "choices": choices },
        { "op": "execute", "choices": choices },
        { "op": "runs" },
    ]);
    let mut client = Client::start("stranger", &script);
    let mut agent = Terminal::agent("stranger", client.pid());
    client.go();
    for asked in 1..=2 {
        wait_for(&format!("question {asked} on the terminal"), || {
            agent.shown().matches("Password:").count() == asked
        });
        agent.type_in(PASSWORD);
    }
    let answers = client.all();
    assert_eq!(end_state(&answers[..answers.len() - 1]), "done", "{answers:?} {}", agent.shown());
    assert_eq!(read("etc/by-stranger"), "text");
    assert_eq!(agent.shown().matches("Password:").count(), 2, "{}", agent.shown());
}

fn a_dismissed_question_is_told_apart_from_a_no(_: &World) {
    let answers = crate::world::calls("boss", json!([{ "op": "own-agent" }, execute()]));
    assert_error(answers.last().unwrap(), "Dismissed", "Ask again");
    assert!(!std::path::Path::new(&root("etc/new")).exists());
}

fn the_question_names_what_will_happen_and_to_what(_: &World) {
    let call = json!({ "op": "execute", "choices": {
        "files": { "/lib/modules/6.1-test/misc/x": "" }, "kernels": "6.1-test\nand\u{7} more",
    } });
    let answers = crate::world::calls("boss", json!([{ "op": "own-agent" }, call]));
    let asked = &answers[0]["asked"];
    assert_eq!(asked["action"], "org.hostwright.modules.install");
    let message = asked["message"].as_str().unwrap();
    assert!(message.contains("kernel modules for 6.1-test and  more."), "{message}");
    let answers = crate::world::calls("boss", json!([{ "op": "own-agent" }, { "op": "undo", "run": 7 }]));
    let message = answers[0]["asked"]["message"].as_str().unwrap();
    assert!(message.contains("in run 7"), "{message}");
}

fn changed_while_typing(_: &World) {
    let (mut client, mut agent) = client_with_agent("boss", &execute());
    client.go();
    agent.wait_for("Password:");
    std::fs::write(root("etc/input"), "second\n").unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    agent.type_in(PASSWORD);
    assert_error(&client.next(), "MachineChanged", "look again");
    assert!(!std::path::Path::new(&root("etc/new")).exists());
}

fn a_caller_that_goes_away_takes_its_question_along(world: &World) {
    std::fs::write(crate::world::wish("idle"), "1").unwrap();
    let (mut client, mut agent) = client_with_agent("boss", &execute());
    client.go();
    agent.wait_for("Password:");
    let helper = world.helper().unwrap();
    client.kill();
    // Nothing is pending any more: the helper leaves.
    wait_for("the helper's leaving", || world.helper() != Some(helper));
    agent.type_in(PASSWORD);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(crate::world::one("may", json!({ "op": "runs" })), json!({ "ok": [] }));
}

fn the_helper_stays_while_a_password_is_typed(world: &World) {
    std::fs::write(crate::world::wish("idle"), "0.5").unwrap();
    let (mut client, mut agent) = client_with_agent("boss", &execute());
    client.go();
    agent.wait_for("Password:");
    let helper = world.helper();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(world.helper(), helper);
    agent.type_in(PASSWORD);
    assert_eq!(end_state(&client.all()), "done");
    wait_for("the helper's leaving", || world.helper() != helper);
}

/// An agent of polkit in the caller's own process. It says what it was asked and dismisses.
pub struct OwnAgent {
    _connection: Connection,
}

struct Dismissing;

#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.freedesktop.PolicyKit1.Error")]
enum AgentAnswer {
    #[zbus(error)]
    Bus(zbus::Error),
    Cancelled(String),
}

type Identity = (String, std::collections::HashMap<String, zbus::zvariant::OwnedValue>);

#[zbus::interface(name = "org.freedesktop.PolicyKit1.AuthenticationAgent")]
impl Dismissing {
    fn begin_authentication(
        &self,
        action: &str,
        message: &str,
        _icon: &str,
        _details: std::collections::HashMap<String, String>,
        _cookie: &str,
        _identities: Vec<Identity>,
    ) -> Result<(), AgentAnswer> {
        println!("{}", json!({ "asked": { "action": action, "message": message } }));
        Err(AgentAnswer::Cancelled("the person closed the question".to_owned()))
    }

    fn cancel_authentication(&self, _cookie: &str) {}
}

impl OwnAgent {
    pub fn register() -> Self {
        let path = "/org/hostwright/test/Agent";
        let connection =
            connection::Builder::system().unwrap().serve_at(path, Dismissing).unwrap().build().unwrap();
        let subject =
            zbus_polkit::policykit1::Subject::new_for_owner(std::process::id(), None, None).unwrap();
        zbus_polkit::policykit1::AuthorityProxyBlocking::new(&connection)
            .unwrap()
            .register_authentication_agent(&subject, "C", path)
            .unwrap();
        Self { _connection: connection }
    }
}
