// SPDX-License-Identifier: GPL-3.0-or-later
//! The sources of vgpu_unlock-rs, from a folder or from git, as one archive.

use crate::cli::errors::{Exit, Problem};
use crate::host::{BuildUser, Command, Host, INSIDE, Sandbox, WorkFolder};
use crate::tell::sentence;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long git or cargo may take to fetch.
const LONG: Duration = Duration::from_secs(900);

/// A folder of sources as a compressed tar, with all that cargo checks (also `.orig` files of vendored crates), without
/// version control and earlier builds. Links are an error: what they lead to is not part of the folder.
///
/// # Errors
/// When something cannot be read, or is no file.
pub(super) fn packed(top: &Path) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut open = vec![PathBuf::new()];
    while let Some(dir) = open.pop() {
        let mut names: Vec<PathBuf> = std::fs::read_dir(top.join(&dir))?
            .map(|e| e.map(|e| dir.join(e.file_name())))
            .collect::<Result<_, _>>()?;
        // The same files make the same bytes.
        names.sort();
        for name in names {
            let path = top.join(&name);
            let meta = std::fs::symlink_metadata(&path)?;
            if meta.is_dir() {
                if name != Path::new(".git") && name != Path::new("target") {
                    open.push(name);
                }
                continue;
            }
            if !meta.is_file() {
                let what = format!("{} is no file: put what it leads to in its place", path.display());
                return Err(std::io::Error::other(what));
            }
            let mut header = tar::Header::new_gnu();
            header.set_size(meta.len());
            header.set_mode(0o644);
            archive.append_data(&mut header, &name, File::open(&path)?)?;
        }
    }
    archive.into_inner()?.finish()
}

/// Whether this names one commit for good: its whole hash, SHA-1 or SHA-256. Pure.
fn is_commit(text: &str) -> bool {
    [40, 64].contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Whether git is asked to fetch from there: over the network, nothing that it would run, no password. Pure.
fn is_address(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|r| {
        !r.is_empty()
            && !r.split('/').next().unwrap_or("").contains('@')
            && r.chars().all(|c| c.is_ascii_graphic())
    })
}

fn refused(code: &str, reason: &str, remedy: &str) -> Problem {
    Problem::new(Exit::Refused, code, "The sources of vgpu_unlock-rs were not fetched", sentence(reason))
        .remedy(remedy.to_owned())
}

/// git, without a configuration of anybody's, hooks, questions and other ways than HTTP.
fn git(args: &[&str]) -> Command {
    let quiet =
        ["-c", "core.hooksPath=/dev/null", "-c", "protocol.allow=never", "-c", "protocol.https.allow=always"];
    Command::new("git")
        .args(quiet)
        .args(["-c", "protocol.http.allow=always", "-c", "advice.detachedHead=false", "-C", "src"])
        .args(args.iter().copied())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .timeout(LONG)
}

/// Fetches one commit in the sandbox, as the build user, with its dependencies (`cargo vendor`) where they are not in
/// it; nothing of it is run. What git checks by the commit's own hash is what is packed.
///
/// # Errors
/// A refusal: no such commit, no git or cargo, no sandbox.
pub(super) fn from_git(host: &Host, url: &str, commit: &str) -> Result<Vec<u8>, Problem> {
    if !is_commit(commit) {
        return Err(refused(
            "no-commit",
            &format!(
                "`{}` is no whole hash of a commit: a name can mean another commit tomorrow",
                commit.escape_debug()
            ),
            "Look at the sources, and name the commit that you looked at by its 40 digits (`git rev-parse HEAD`).",
        ));
    }
    if !is_address(url) {
        return Err(refused(
            "bad-address",
            &format!("`{}` is no address that is fetched from", url.escape_debug()),
            "Give one that begins with https://, or a folder with --unlock-source.",
        ));
    }
    let failed = |e: &dyn std::fmt::Display| {
        refused(
            "git",
            &e.to_string(),
            "Look at the address and the commit, or give a folder with --unlock-source.",
        )
    };
    let user = BuildUser::find();
    let work = WorkFolder::create(host, &user).map_err(|e| failed(&e))?;
    work.hand_over().map_err(|e| failed(&e))?;
    let sandbox = Sandbox::of_machine(host, work.path(), user).map_err(|e| failed(&e))?.online();
    let run = |command: &Command| host.runner().run_ok(&sandbox.wrap(command));
    run(&Command::new("git").args(["init", "-q", "src"]).cwd(INSIDE)).map_err(|e| failed(&e))?;
    // Most servers hand out a commit by its hash; of others all is fetched.
    if run(&git(&["fetch", "-q", "--depth", "1", url, commit])).is_err() {
        run(&git(&["fetch", "-q", url, "+refs/*:refs/there/*"])).map_err(|e| failed(&e))?;
    }
    run(&git(&["checkout", "-q", "--detach", commit])).map_err(|e| failed(&e))?;
    let head = run(&git(&["rev-parse", "HEAD"])).map_err(|e| failed(&e))?;
    if head.stdout.trim() != commit {
        return Err(failed(&format!("git brought {} in place of {commit}", head.stdout.trim())));
    }
    let top = work.path().join("src");
    if !top.join("vendor").is_dir() {
        let mut vendor = Command::new("cargo").arg("vendor");
        // Without a lock file the newest that this compiler takes (cargo 1.84 and newer) are fetched, and packed with the
        // lock file that comes of it.
        if top.join("Cargo.lock").is_file() {
            vendor = vendor.arg("--locked");
        }
        let vendor = vendor
            .args(["--versioned-dirs", "vendor"])
            .cwd(format!("{INSIDE}/src"))
            .env("CARGO_HOME", format!("{INSIDE}/cargo"))
            .env("CARGO_RESOLVER_INCOMPATIBLE_RUST_VERSIONS", "fallback")
            .timeout(LONG);
        let config = run(&vendor).map_err(|e| {
            refused(
                "cargo-vendor",
                &format!("its dependencies could not be fetched: {e}"),
                "Install cargo (`apt install cargo`; of Debian 12 `cargo-web`, for its `cargo` is too old), or give a folder with \
                 them in it: --unlock-source.",
            )
        })?;
        let write = || {
            std::fs::create_dir_all(top.join(".cargo"))?;
            std::fs::write(top.join(".cargo/config.toml"), config.stdout.as_bytes())
        };
        write().map_err(|e: std::io::Error| failed(&e))?;
    }
    packed(&top).map_err(|e| failed(&e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::source::{Limits, read_archive};
    use crate::host::{RealRunner, Runner};
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    /// Serves the files of a folder over HTTP: what git calls a dumb server.
    fn serve(top: PathBuf) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut first = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                reader.read_line(&mut first).unwrap();
                let mut line = String::from("x");
                while !line.trim().is_empty() {
                    line.clear();
                    reader.read_line(&mut line).unwrap();
                }
                let path = first.split(' ').nth(1).unwrap_or("/").split('?').next().unwrap().to_owned();
                let (status, body) = match std::fs::read(top.join(path.trim_start_matches('/'))) {
                    Ok(bytes) => ("200 OK", bytes),
                    Err(_) => ("404 Not Found", Vec::new()),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
            }
        });
        url
    }

    fn sh(dir: &Path, args: &[&str]) -> String {
        let command = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.net", "-c", "init.defaultBranch=main"])
            .args(args.iter().copied())
            .cwd(dir);
        RealRunner.run_ok(&command).unwrap().stdout.trim().to_owned()
    }

    #[test]
    fn just_the_commit_that_was_named_is_packed() {
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path().join("repo");
        std::fs::create_dir_all(repo.join("vendor/x")).unwrap();
        std::fs::write(repo.join("Cargo.toml"), "[package]\nname = \"vgpu_unlock-rs\"\n").unwrap();
        std::fs::write(repo.join("vendor/x/lib.rs"), "// first\n").unwrap();
        sh(&repo, &["init", "-q"]);
        sh(&repo, &["add", "-A"]);
        sh(&repo, &["commit", "-q", "-m", "first"]);
        let first = sh(&repo, &["rev-parse", "HEAD"]);
        std::fs::write(repo.join("vendor/x/lib.rs"), "// evil\n").unwrap();
        sh(&repo, &["commit", "-q", "-a", "-m", "second"]);
        sh(&repo, &["update-server-info"]);
        let url = format!("{}repo/.git", serve(dir.path().to_owned()));
        let scratch = tempfile::tempdir().unwrap();
        let host = Host::scratch(scratch.path()).unwrap();
        let bytes = from_git(&host, &url, &first).unwrap_or_else(|p| panic!("{p:?}"));
        let files = read_archive(&bytes, &Limits::default()).unwrap();
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(names, ["Cargo.toml", "vendor/x/lib.rs"]);
        assert_eq!(files["vendor/x/lib.rs"], b"// first\n");
        // One that is not there.
        assert!(from_git(&host, &url, &"0".repeat(40)).is_err());
    }

    #[test]
    fn names_of_branches_and_addresses_that_git_would_run_are_refused() {
        for bad in ["main", "abc123", "HEAD", &"g".repeat(40), "--upload-pack=x", &"A".repeat(40)] {
            assert!(!is_commit(bad), "{bad}");
        }
        assert!(is_commit(&"a1".repeat(20)) && is_commit(&"a1".repeat(32)));
        for bad in [
            "ext::sh -c id",
            "--upload-pack=id",
            "file:///etc",
            "/etc",
            "ssh://h/x",
            "https://",
            "https://me:pw@h/x",
        ] {
            assert!(!is_address(bad), "{bad}");
        }
        assert!(is_address("https://git.example.net/vgpu_unlock-rs.git"));
    }
}
