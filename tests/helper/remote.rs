// SPDX-License-Identifier: GPL-3.0-or-later
//! Another machine over ssh: this one, by an sshd of the test's own on loopback, with its own keys and users.

use crate::Case;
use crate::world::{PASSWORD, World, read, root, wait_for, wish};
use hostwright::ipc::remote::{Agent, Asking, Link, Place, Prompt};
use hostwright::ipc::{Error, Sealed, blocking};
use serde_json::{Value, json};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

pub const CASES: &[Case] = &[
    ("another_machine_is_looked_at_changed_and_put_back_over_ssh", looked_at_changed_and_put_back),
    ("files_that_only_root_may_read_are_not_shown_to_others", only_roots_files_are_not_shown),
    ("open_files_do_not_go_through_ssh_and_that_is_said", open_files_do_not_go_through),
    ("an_unknown_host_key_is_refused_when_nobody_is_asked", an_unknown_host_key_is_refused),
    ("another_host_key_than_the_known_one_is_refused", another_host_key_is_refused),
    ("an_askpass_program_answers_for_host_key_and_password", askpass_answers),
    ("a_wrong_password_is_said", a_wrong_password_is_said),
    ("a_machine_that_is_not_there_is_said", a_machine_that_is_not_there_is_said),
    ("a_machine_without_the_bridge_is_said", a_machine_without_the_bridge_is_said),
    ("a_machine_without_the_helper_is_said_with_what_installs_it", without_the_helper),
    ("a_lost_connection_is_said_and_the_run_is_followed_again", a_lost_connection),
    ("polkit_over_there_asks_here", polkit_over_there_asks_here),
];

const SSH: &str = "/run/helper-test-ssh";
/// Everything of the client's: keys, known hosts, configuration.
const HOME: &str = "/run/helper-test-ssh/home";

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn key(name: &str) -> String {
    let path = format!("{SSH}/{name}");
    if fs::metadata(&path).is_err() {
        run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &path]);
    }
    path
}

/// An ssh server; ended with all its sessions when dropped.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// `passwords`: whether keys are not enough. `path`: where the sessions find their programs.
    fn start(passwords: bool, path: &str) -> Self {
        fs::create_dir_all(HOME).unwrap();
        fs::create_dir_all("/run/sshd").unwrap();
        let host_key = key("host");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let public = fs::read_to_string(format!("{}.pub", key("ada"))).unwrap();
        fs::write(format!("{SSH}/authorized"), public).unwrap();
        // The folders above the file must be root's alone for sshd.
        fs::set_permissions(SSH, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(format!("{SSH}/authorized"), fs::Permissions::from_mode(0o644)).unwrap();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {host_key}\nPidFile none\nUsePAM yes\nStrictModes no\n\
             AuthorizedKeysFile {SSH}/authorized\nPubkeyAuthentication {}\nPasswordAuthentication {}\n\
             KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nSetEnv PATH={path}\nLogLevel VERBOSE\n",
            if passwords { "no" } else { "yes" },
            if passwords { "yes" } else { "no" },
        );
        fs::write(format!("{SSH}/config"), config).unwrap();
        let log = fs::File::create(format!("{SSH}/log")).unwrap();
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f", &format!("{SSH}/config")])
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Self { child, port };
        wait_for("sshd", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        server
    }

    fn plain() -> Self {
        Self::start(false, "/usr/bin:/bin")
    }

    /// The client's configuration: which key, and whether the server's is known.
    fn known(&self, server_key: Option<&str>) {
        let known = server_key.map(|key| {
            let public = fs::read_to_string(format!("{key}.pub")).unwrap();
            format!("[127.0.0.1]:{} {public}", self.port)
        });
        fs::write(format!("{SSH}/known"), known.unwrap_or_default()).unwrap();
        // ssh takes its configuration from the user's entry in /etc/passwd, not from $HOME; the system's is ours here.
        let config = format!(
            "Host 127.0.0.1\n  IdentityFile {}\n  IdentitiesOnly yes\n  UserKnownHostsFile {SSH}/known\n  \
             GlobalKnownHostsFile /dev/null\n",
            key("ada")
        );
        fs::create_dir_all("/etc/ssh").unwrap();
        fs::write("/etc/ssh/ssh_config", config).unwrap();
    }

    fn place(&self, user: &str) -> Place {
        format!("{user}@127.0.0.1:{}", self.port).parse().unwrap()
    }

    fn connect(&self, user: &str) -> blocking::Client {
        self.known(Some(&key("host")));
        blocking::Client::connect_to(&self.place(user), &Asking::Nobody).unwrap_or_else(|e| {
            panic!("{e}; sshd: {}", fs::read_to_string(format!("{SSH}/log")).unwrap_or_default())
        })
    }

    /// Ends every session, as a cut cable would look to both ends.
    fn cut(&self) {
        for pid in descendants(self.child.id()) {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.cut();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All processes below one.
fn descendants(of: u32) -> Vec<i32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let parent =
            stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<i32>().ok());
        parents.extend(parent.map(|parent| (pid, parent)));
    }
    let mut found = vec![i32::try_from(of).unwrap()];
    let mut at = 0;
    while at < found.len() {
        let above = found[at];
        found.extend(parents.iter().filter(|(_, parent)| *parent == above).map(|(pid, _)| *pid));
        at += 1;
    }
    found.remove(0);
    found
}

/// Why there is no connection.
fn refused(place: &Place, asking: &Asking) -> Error {
    blocking::Client::connect_to(place, asking).expect_err("it connected")
}

fn files(path: &str, text: &str) -> Value {
    json!({ "files": { path: text } })
}

fn end(run: blocking::Run) -> String {
    let last = run.follow().last().unwrap().unwrap();
    serde_json::to_value(last.event).unwrap()["state"].as_str().unwrap_or_default().to_owned()
}

fn looked_at_changed_and_put_back(_: &World) {
    let server = Server::plain();
    let client = server.connect("may");
    assert_eq!(client.gather().unwrap()["input"], "first\n");
    let choices = files("/etc/new", "text\n");
    let told = client.preview("test", &choices, &[]).unwrap();
    assert!(told.steps[0].files[0].diff.contains("+text"), "{:?}", told.steps);
    let run = client.execute("test", &choices, &told.plan.digest(), &[]).unwrap();
    let number = run.number();
    assert_eq!(end(run), "done");
    assert_eq!(read("etc/new"), "text\n");
    assert_eq!(client.runs().unwrap()[0].run, number);
    assert_eq!(client.undo_preview(number).unwrap().steps.len(), 1);
    assert_eq!(end(client.undo(number).unwrap()), "undone");
    assert!(fs::metadata(root("etc/new")).is_err());
    // Who logs in there is who is authorized there.
    let denied = server.connect("maynot");
    let error = denied.execute("test", &choices, &told.plan.digest(), &[]).unwrap_err();
    assert!(matches!(error, Error::NotAuthorized(_)), "{error}");
}

fn only_roots_files_are_not_shown(_: &World) {
    fs::write(root("etc/secret"), "geheim\n").unwrap();
    fs::set_permissions(root("etc/secret"), fs::Permissions::from_mode(0o600)).unwrap();
    let server = Server::plain();
    let client = server.connect("looker");
    let told = client.preview("test", &files("/etc/secret", "open\n"), &[]).unwrap();
    let diff = &told.steps[0].files[0].diff;
    assert!(!diff.contains("geheim") && diff.contains("only root may read it"), "{diff}");
}

fn open_files_do_not_go_through(_: &World) {
    let server = Server::plain();
    let client = server.connect("may");
    let error = client.plan("test", &json!({}), &[Sealed::source(b"archive").unwrap()]).unwrap_err();
    assert!(matches!(error, Error::NotThroughSsh(_)), "{error}");
    // The connection is as good as before.
    client.gather().unwrap();
}

fn an_unknown_host_key_is_refused(_: &World) {
    let server = Server::plain();
    server.known(None);
    let error = refused(&server.place("may"), &Asking::Nobody);
    assert!(error.to_string().contains("Host key verification failed"), "{error}");
}

fn another_host_key_is_refused(_: &World) {
    let server = Server::plain();
    server.known(Some(&key("other-host")));
    let error = refused(&server.place("may"), &Asking::Nobody);
    assert!(error.to_string().contains("its host key is another"), "{error}");
}

/// A program that answers as ssh asks; the password is what is given.
fn askpass(password: &str) -> Asking {
    let path = format!("{SSH}/askpass");
    let script = format!(
        "#!/bin/sh\necho \"$1\" >>{SSH}/asked\ncase $1 in *yes/no*) echo yes ;; *) echo '{password}' ;; esac\n"
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let _ = fs::remove_file(format!("{SSH}/asked"));
    Asking::Program(path.into())
}

fn askpass_answers(_: &World) {
    let server = Server::start(true, "/usr/bin:/bin");
    server.known(None);
    let client = blocking::Client::connect_to(&server.place("boss"), &askpass(PASSWORD)).unwrap();
    client.gather().unwrap();
    let asked = fs::read_to_string(format!("{SSH}/asked")).unwrap();
    assert!(asked.contains("fingerprint") && asked.contains("password"), "{asked}");
    assert!(fs::read_to_string(format!("{SSH}/known")).unwrap().contains("ssh-ed25519"));
}

fn a_wrong_password_is_said(_: &World) {
    let server = Server::start(true, "/usr/bin:/bin");
    server.known(Some(&key("host")));
    let error = refused(&server.place("boss"), &askpass("wrong"));
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("Permission denied"), "{error}");
}

fn a_machine_that_is_not_there_is_said(_: &World) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = refused(&format!("may@127.0.0.1:{port}").parse().unwrap(), &Asking::Nobody);
    assert!(error.to_string().contains("Connection refused"), "{error}");
    let error = refused(&"may@no-such-machine.invalid".parse().unwrap(), &Asking::Nobody);
    assert!(error.to_string().contains("no-such-machine.invalid"), "{error}");
}

fn a_machine_without_the_bridge_is_said(_: &World) {
    fs::create_dir_all(format!("{SSH}/empty")).unwrap();
    let server = Server::start(false, &format!("{SSH}/empty"));
    server.known(Some(&key("host")));
    let error = refused(&server.place("may"), &Asking::Nobody);
    assert!(matches!(error, Error::NoBridge { .. }), "{error}");
}

fn without_the_helper(world: &World) {
    let server = Server::plain();
    let client = server.connect("may");
    world.uninstall();
    let error = client.gather().unwrap_err();
    assert!(matches!(error, Error::NotInstalledThere { .. }), "{error}");
    assert!(error.to_string().contains("sudo make install"), "{error}");
}

fn a_lost_connection(_: &World) {
    fs::write(wish("hold"), "").unwrap();
    let server = Server::plain();
    let client = server.connect("may");
    let choices = json!({ "files": { "/etc/a-first": "1", "/etc/b-second": "2" } });
    let digest = client.plan("test", &choices, &[]).unwrap().digest();
    let run = client.execute("test", &choices, &digest, &[]).unwrap();
    let number = run.number();
    wait_for("the first file", || fs::metadata(root("etc/a-first")).is_ok());
    let mut events = run.follow();
    let first = events.next().unwrap().unwrap();
    assert_eq!(first.number, Some(0));
    server.cut();
    let mut next = 1;
    let error = loop {
        match events.next().expect("the events ended without a word") {
            Ok(event) => next = event.number.map_or(next, |n| n + 1),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Lost { .. }), "{error:?}");
    assert!(error.to_string().contains("What was begun there goes on"), "{error}");
    let error = client.gather().unwrap_err();
    assert!(matches!(error, Error::Lost { .. }), "{error:?}");
    // The run did not care; it is followed from where it was.
    let again = server.connect("may");
    fs::remove_file(wish("hold")).unwrap();
    let rest: Vec<_> = again.run(number).unwrap().follow_from(next).map(|e| e.unwrap()).collect();
    let numbers: Vec<u64> = rest.iter().filter_map(|e| e.number).collect();
    assert_eq!(numbers, (next..next + numbers.len() as u64).collect::<Vec<_>>());
    let last = serde_json::to_value(&rest.last().unwrap().event).unwrap();
    assert_eq!(last["state"], "done");
    assert_eq!(read("etc/b-second"), "2");
}

/// What polkit over there asks next; nothing within some seconds is no question.
fn asks(agent: &Agent, seconds: u64) -> Option<Prompt> {
    let timeout = async {
        async_io::Timer::after(std::time::Duration::from_secs(seconds)).await;
        None
    };
    async_io::block_on(futures_lite::future::or(agent.next(), timeout))
}

fn polkit_over_there_asks_here(_: &World) {
    let server = Server::plain();
    let client = server.connect("looker");
    let link: &Link = client.link().unwrap();
    let choices = files("/etc/new", "text");
    let mut agent = async_io::block_on(Agent::start(link)).unwrap();
    let begin = |choices: &Value| {
        let (client, choices) = (client.clone(), choices.clone());
        std::thread::spawn(move || {
            let digest = client.plan("test", &choices, &[])?.digest();
            client.execute("test", &choices, &digest, &[]).map(end)
        })
    };
    let asked = begin(&choices);
    let prompt = asks(&agent, 30).expect("nobody was asked");
    assert!(prompt.secret, "{prompt:?}");
    assert!(prompt.about().contains("Authentication is required to change settings"), "{prompt:?}");
    agent.answer(PASSWORD).unwrap();
    assert_eq!(asked.join().unwrap().unwrap(), "done");
    // A wrong one is a no.
    let asked = begin(&files("/etc/other", "text"));
    assert!(asks(&agent, 30).is_some(), "nobody was asked");
    agent.answer("wrong").unwrap();
    let error = asked.join().unwrap().unwrap_err();
    assert!(matches!(error, Error::NotAuthorized(_)), "{error:?}");
    assert!(fs::metadata(root("etc/other")).is_err());
}
