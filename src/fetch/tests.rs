// SPDX-License-Identifier: GPL-3.0-or-later
//! Transfers from a real server on loopback, through real sockets and TLS.

use super::server::{Act, Server};
use super::*;
use crate::host::Cancel;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const MB: usize = 1 << 20;

/// Bytes that are nowhere alike, so that a wrong order shows.
fn content(size: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    (0..size)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn right(bytes: &[u8]) -> Expected {
    Expected { sha256: Some(sha256(bytes)), ..Expected::default() }
}

fn quick() -> Retry {
    Retry { attempts: 4, pause: Duration::from_millis(5), longest: Duration::from_millis(40) }
}

fn impatient() -> Net {
    Net { silence: Duration::from_millis(400), connect: Duration::from_secs(5), ..Net::default() }
}

fn get(url: &str, expected: &Expected, dir: &Path) -> Result<Ready, FetchError> {
    get_with(url, expected, dir, &impatient())
}

fn get_with(url: &str, expected: &Expected, dir: &Path, net: &Net) -> Result<Ready, FetchError> {
    let source = Source::Url(format!("{url}/driver.run"));
    let folder = Folder::open(dir)?;
    fetch(&source, expected, &folder, "driver.run", net, &quick(), &Cancel::new(), &mut |_| {})
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_is_fetched_verified_and_only_then_named() {
    let bytes = content(3 * MB + 17);
    let server = Server::new(bytes.clone(), |_, _| Act::Serve);
    let dir = tempfile::tempdir().unwrap();
    let ready = get(&server.url, &right(&bytes), dir.path()).unwrap();
    assert_eq!(ready.verified, Verified::Sha256);
    assert!(!dir.path().join("driver.run").exists());
    let folder = Folder::open(dir.path()).unwrap();
    assert_eq!(folder.keep(ready.part, "driver.run").unwrap(), None);
    assert_eq!(std::fs::read(dir.path().join("driver.run")).unwrap(), bytes);
    assert_eq!(names(dir.path()), ["driver.run"]);
}

#[test]
fn a_cut_connection_is_gone_on_with_and_no_byte_crosses_twice() {
    let bytes = content(8 * MB);
    let server = Server::new(bytes.clone(), |n, _| match n {
        0 => Act::Cut(3 * MB + 5),
        1 => Act::Cut(2 * MB),
        _ => Act::Serve,
    });
    let dir = tempfile::tempdir().unwrap();
    let ready = get(&server.url, &right(&bytes), dir.path()).unwrap();
    assert_eq!(ready.digests.sha256, sha256(&bytes));
    let ranges: Vec<Option<String>> =
        server.requests().iter().map(|r| r.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges, [None, Some("bytes=3145733-".to_owned()), Some("bytes=5242885-".to_owned())]);
    assert_eq!(server.sent(), bytes.len(), "no byte crossed twice");
    assert_eq!(ready.transferred, bytes.len() as u64);
}

#[test]
fn another_run_goes_on_where_a_cancelled_one_ended() {
    let bytes = content(6 * MB);
    let server = Server::new(bytes.clone(), |n, _| match n {
        0 => Act::Stall(2 * MB, Duration::from_secs(5)),
        _ => Act::Serve,
    });
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    let cancel = Cancel::new();
    let (stop, began) = (cancel.clone(), Instant::now());
    let source = Source::Url(format!("{}/driver.run", server.url));
    let patient = Net { silence: Duration::from_secs(30), ..impatient() };
    let error =
        fetch(&source, &right(&bytes), &folder, "driver.run", &patient, &quick(), &cancel, &mut |p| {
            if p.done >= 2 * MB as u64 - 300_000 {
                stop.cancel();
            }
        })
        .unwrap_err();
    assert!(matches!(error, FetchError::Cancelled), "{error}");
    assert!(began.elapsed() < Duration::from_secs(3), "heard at once: {:?}", began.elapsed());
    let there = std::fs::metadata(dir.path().join(".driver.run.part")).unwrap().len();
    assert!(there > MB as u64, "{there}");
    let ready = get(&server.url, &right(&bytes), dir.path()).unwrap();
    assert_eq!(ready.transferred, bytes.len() as u64 - there);
    let last = server.requests().pop().unwrap();
    assert_eq!(last.header("range"), Some(format!("bytes={there}-").as_str()));
    assert_eq!(last.sent as u64, bytes.len() as u64 - there);
}

#[test]
fn a_server_that_changed_its_file_is_asked_for_the_whole_of_it() {
    let (old, new) = (content(3 * MB), content(2 * MB).iter().map(|b| b ^ 0x55).collect::<Vec<u8>>());
    let other = Arc::new(new.clone());
    let server = Server::new(old, move |n, _| match n {
        0 => Act::Cut(MB),
        _ => Act::Other(Arc::clone(&other)),
    });
    let dir = tempfile::tempdir().unwrap();
    let ready = get(&server.url, &Expected::default(), dir.path()).unwrap();
    assert_eq!(ready.digests.sha256, sha256(&new), "not half of each");
    assert_eq!(ready.verified, Verified::Nothing);
    assert_eq!(server.requests()[1].header("if-range"), Some("\"same\""));
}

#[test]
fn a_server_without_parts_is_asked_for_the_whole_again() {
    let bytes = content(2 * MB);
    let server = Server::new(bytes.clone(), |n, _| if n == 0 { Act::Cut(MB) } else { Act::Whole });
    let dir = tempfile::tempdir().unwrap();
    let ready = get(&server.url, &right(&bytes), dir.path()).unwrap();
    assert_eq!(ready.digests.size, bytes.len() as u64);
}

#[test]
fn a_part_from_elsewhere_is_not_taken() {
    let bytes = content(2 * MB);
    let server = Server::new(bytes.clone(), |n, _| if n == 0 { Act::Cut(MB) } else { Act::WrongPart });
    let dir = tempfile::tempdir().unwrap();
    let error = get(&server.url, &right(&bytes), dir.path()).unwrap_err();
    assert!(matches!(error, FetchError::Nonsense { .. }), "{error}");
}

#[test]
fn a_wrong_checksum_takes_no_name_and_leaves_nothing() {
    let server = Server::new(content(MB), |_, _| Act::Serve);
    let dir = tempfile::tempdir().unwrap();
    let wrong = right(b"another file");
    let error = get(&server.url, &wrong, dir.path()).unwrap_err();
    assert!(matches!(error, FetchError::Checksum { what: "SHA-256", .. }), "{error}");
    let md5 = Expected { md5: Some("0".repeat(32)), ..Expected::default() };
    let error = get(&server.url, &md5, dir.path()).unwrap_err();
    assert!(matches!(error, FetchError::Checksum { what: "MD5", .. }), "{error}");
    assert_eq!(names(dir.path()), Vec::<String>::new());
}

#[test]
fn wrong_sizes_are_told_before_or_while_the_file_comes() {
    let bytes = content(MB);
    // Announces more than it sends, again and again: never taken for complete.
    let server = Server::new(bytes.clone(), |_, _| Act::Announce(2 * MB as u64));
    let dir = tempfile::tempdir().unwrap();
    let error = get(&server.url, &Expected::default(), dir.path()).unwrap_err();
    assert!(matches!(error, FetchError::Network { .. } | FetchError::Nonsense { .. }), "{error}");

    // Announces less than it has: what was announced is taken, and the checksum tells.
    let server = Server::new(bytes.clone(), |_, _| Act::Announce(1000));
    let dir = tempfile::tempdir().unwrap();
    let error = get(&server.url, &right(&bytes), dir.path()).unwrap_err();
    assert!(matches!(error, FetchError::Checksum { .. }), "{error}");

    // Another size than is known of the file: told before a byte is taken.
    let server = Server::new(bytes.clone(), |_, _| Act::Serve);
    let expected = Expected { size: Some(5), ..Expected::default() };
    let error = get(&server.url, &expected, dir.path()).unwrap_err();
    assert!(matches!(error, FetchError::Size { expected: 5, .. }), "{error}");
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let bytes = content(MB);
    let server = Server::new(bytes.clone(), |_, path| match path {
        "/driver.run" => Act::Redirect("/moved/driver.run".to_owned()),
        _ => Act::Serve,
    });
    let dir = tempfile::tempdir().unwrap();
    get(&server.url, &right(&bytes), dir.path()).unwrap();
    assert_eq!(server.requests().last().unwrap().path, "/moved/driver.run");

    let server = Server::new(bytes, |_, path| {
        Act::Redirect(if path == "/a" { "/b".to_owned() } else { "/a".to_owned() })
    });
    let error = get(&server.url, &Expected::default(), dir.path()).unwrap_err();
    assert!(matches!(error, FetchError::Redirect { .. }), "{error}");
    assert!(server.requests().len() < 20);
}

#[test]
fn a_server_that_falls_silent_is_asked_again_for_the_rest() {
    let bytes = content(3 * MB);
    let server = Server::new(bytes.clone(), |n, _| match n {
        0 => Act::Stall(MB, Duration::from_secs(3)),
        _ => Act::Serve,
    });
    let dir = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let ready = get(&server.url, &right(&bytes), dir.path()).unwrap();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(ready.digests.sha256, sha256(&bytes));
    assert_eq!(server.sent(), bytes.len());
}

#[test]
fn a_slow_server_is_waited_for_as_long_as_it_sends() {
    let bytes = content(MB);
    let server = Server::new(bytes.clone(), |_, _| Act::Slow(128 << 10, Duration::from_millis(100)));
    let dir = tempfile::tempdir().unwrap();
    get(&server.url, &right(&bytes), dir.path()).unwrap();
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_busy_server_is_asked_again_and_a_refusal_is_not() {
    let bytes = content(MB);
    let server = Server::new(bytes.clone(), |n, _| match n {
        0 => Act::Status(503, "Retry-After: 0\r\n"),
        1 => Act::Status(429, ""),
        _ => Act::Serve,
    });
    let dir = tempfile::tempdir().unwrap();
    get(&server.url, &right(&bytes), dir.path()).unwrap();
    assert_eq!(server.requests().len(), 3);
    for (status, word) in [(404, "template"), (401, "mirror.toml")] {
        let server = Server::new(vec![], move |_, _| Act::Status(status, ""));
        let error = get(&server.url, &Expected::default(), dir.path()).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn a_server_that_is_not_there_is_given_up_with_what_to_do() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let dir = tempfile::tempdir().unwrap();
    let error = get(&url, &Expected::default(), dir.path()).unwrap_err();
    assert!(matches!(error, FetchError::Network { attempts: 4, .. }), "{error}");
}

/// A certificate for `localhost`, and one for another name, of an authority of the test's own.
fn certificates(dir: &Path, name: &str) -> (Vec<u8>, Arc<rustls::ServerConfig>) {
    let run = |args: &[&str]| {
        let out = std::process::Command::new("openssl").args(args).current_dir(dir).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    };
    let ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let ca =
        ["req", "-x509", "-subj", "/CN=Test authority", "-days", "2", "-keyout", "ca.key", "-out", "ca.pem"];
    run(&[&ca[..1], &ec[..], &ca[1..]].concat());
    let subject = format!("/CN={name}");
    let request = ["req", "-subj", &subject, "-keyout", "s.key", "-out", "s.csr"];
    run(&[&request[..1], &ec[..], &request[1..]].concat());
    std::fs::write(dir.join("ext"), format!("subjectAltName=DNS:{name}\nextendedKeyUsage=serverAuth\n"))
        .unwrap();
    run(&[
        "x509",
        "-req",
        "-in",
        "s.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        "ext",
        "-out",
        "s.pem",
    ]);
    run(&["pkcs8", "-topk8", "-nocrypt", "-in", "s.key", "-outform", "DER", "-out", "s.der"]);
    run(&["x509", "-in", "s.pem", "-outform", "DER", "-out", "s.crt"]);
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(std::fs::read(dir.join("s.der")).unwrap());
    let chain = vec![rustls::pki_types::CertificateDer::from(std::fs::read(dir.join("s.crt")).unwrap())];
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key.into())
        .unwrap();
    (std::fs::read(dir.join("ca.pem")).unwrap(), Arc::new(config))
}

#[test]
fn certificates_are_checked_and_so_are_their_names() {
    let bytes = content(2 * MB);
    let (keys, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ca, tls) = certificates(keys.path(), "localhost");
    let server = Server::with_tls(bytes.clone(), tls, |n, _| if n == 0 { Act::Cut(MB) } else { Act::Serve });

    // An authority that this machine does not know.
    let error = get(&server.url, &right(&bytes), dir.path()).unwrap_err();
    assert!(matches!(error, FetchError::Tls { .. }), "{error:?}");
    assert_eq!(server.requests().len(), 0, "nothing was asked of it");

    let trusting = Net { authorities: Some(ca), ..impatient() };
    let ready = get_with(&server.url, &right(&bytes), dir.path(), &trusting).unwrap();
    assert_eq!(ready.verified, Verified::Sha256);
    assert_eq!(server.sent(), bytes.len());
    drop(ready);

    // The right authority, and a certificate for another name.
    let keys = tempfile::tempdir().unwrap();
    let (ca, tls) = certificates(keys.path(), "elsewhere.example");
    let server = Server::with_tls(bytes.clone(), tls, |_, _| Act::Serve);
    let trusting = Net { authorities: Some(ca), ..impatient() };
    let error = get_with(&server.url, &right(&bytes), dir.path(), &trusting).unwrap_err();
    assert!(matches!(error, FetchError::Tls { .. }), "{error:?}");
}

#[test]
fn an_encrypted_address_never_leads_to_an_open_one() {
    let (keys, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open = Server::new(content(MB), |_, _| Act::Serve);
    let (ca, tls) = certificates(keys.path(), "localhost");
    let target = format!("{}/driver.run", open.url);
    let server = Server::with_tls(vec![], tls, move |_, _| Act::Redirect(target.clone()));
    let trusting = Net { authorities: Some(ca), ..impatient() };
    let error = get_with(&server.url, &Expected::default(), dir.path(), &trusting).unwrap_err();
    assert!(matches!(error, FetchError::Redirect { .. }), "{error}");
    assert_eq!(open.requests().len(), 0);
}

#[test]
fn credentials_go_to_their_server_only_and_never_in_the_clear() {
    let bytes = content(MB);
    let (keys, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ca, tls) = certificates(keys.path(), "localhost");
    let elsewhere = Server::with_tls(bytes.clone(), Arc::clone(&tls), |_, _| Act::Serve);
    let target = format!("{}/driver.run", elsewhere.url).replace("localhost", "LOCALHOST");
    let server = Server::with_tls(vec![], tls, move |_, _| Act::Redirect(target.clone()));
    let credentials = Credentials::Basic { user: "me".to_owned(), password: "secret".to_owned() };
    let net = Net { authorities: Some(ca), credentials: Some(credentials), ..impatient() };
    get_with(&server.url, &right(&bytes), dir.path(), &net).unwrap();
    assert_eq!(server.requests()[0].header("authorization"), Some("Basic bWU6c2VjcmV0"));
    assert_eq!(elsewhere.requests()[0].header("authorization"), None);

    let open = Server::new(bytes, |_, _| Act::Serve);
    let error = get_with(&open.url, &Expected::default(), dir.path(), &net).unwrap_err();
    assert!(matches!(error, FetchError::ClearCredentials(_)), "{error}");
    assert!(open.requests().is_empty());
    assert!(!format!("{net:?}").contains("secret"));
}

#[test]
fn what_had_the_name_before_is_kept_and_never_written_over() {
    let bytes = content(MB);
    let server = Server::new(bytes.clone(), |_, _| Act::Serve);
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    std::fs::write(dir.path().join("driver.run"), "old").unwrap();
    std::fs::write(dir.path().join("driver.run.bak.1"), "older").unwrap();
    let ready = get(&server.url, &right(&bytes), dir.path()).unwrap();
    assert_eq!(folder.keep(ready.part, "driver.run").unwrap().as_deref(), Some("driver.run.bak.2"));
    let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    assert_eq!(
        (read("driver.run"), read("driver.run.bak.1"), read("driver.run.bak.2")),
        (bytes, b"older".to_vec(), b"old".to_vec())
    );
}

#[test]
fn a_part_that_somebody_else_placed_is_not_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    let victim = dir.path().join("victim");
    std::fs::write(&victim, "precious").unwrap();
    std::os::unix::fs::symlink(&victim, dir.path().join(".driver.run.part")).unwrap();
    assert!(folder.part("driver.run").is_err());
    std::fs::remove_file(dir.path().join(".driver.run.part")).unwrap();
    std::fs::hard_link(&victim, dir.path().join(".driver.run.part")).unwrap();
    let error = folder.part("driver.run").unwrap_err().to_string();
    assert!(error.contains("somebody else"), "{error}");
    assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
    for name in ["../x", ".hidden", "", "a/b", "-rf"] {
        assert!(folder.part(name).is_err(), "{name}");
    }
}

#[test]
fn one_process_at_a_time_has_a_part() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    let part = folder.part("driver.run").unwrap();
    assert!(folder.part("driver.run").unwrap_err().to_string().contains("another process"));
    drop(part);
    folder.part("driver.run").unwrap();
}

#[test]
fn a_file_of_this_machine_is_copied_hashed_and_stays() {
    let bytes = content(2 * MB + 1);
    let dir = tempfile::tempdir().unwrap();
    let mine = dir.path().join("mine.run");
    std::fs::write(&mine, &bytes).unwrap();
    let folder = Folder::open(&dir.path().join("to")).unwrap();
    let told = AtomicUsize::new(0);
    let source = Source::File(mine.clone());
    let ready = fetch(
        &source,
        &right(&bytes),
        &folder,
        "driver.run",
        &Net::default(),
        &quick(),
        &Cancel::new(),
        &mut |p| {
            told.fetch_max(usize::try_from(p.done).unwrap(), Ordering::Relaxed);
        },
    )
    .unwrap();
    assert_eq!(told.load(Ordering::Relaxed), bytes.len());
    folder.keep(ready.part, "driver.run").unwrap();
    assert_eq!(std::fs::read(&mine).unwrap(), std::fs::read(folder.path_of("driver.run")).unwrap());
    let folder_in_place = Source::File(dir.path().to_owned());
    let error = fetch(
        &folder_in_place,
        &Expected::default(),
        &folder,
        "x.run",
        &Net::default(),
        &quick(),
        &Cancel::new(),
        &mut |_| {},
    )
    .unwrap_err();
    assert!(error.to_string().contains("no regular file"), "{error}");
}

/// Runs itself once more where a small disk can be mounted: in a mount namespace of its own.
#[test]
fn a_full_disk_is_told_and_the_part_is_gone_on_with_when_there_is_room() {
    const INSIDE: &str = "HOSTWRIGHT_TEST_SMALL_DISK";
    let name = "fetch::tests::a_full_disk_is_told_and_the_part_is_gone_on_with_when_there_is_room";
    let Some(disk) = std::env::var_os(INSIDE) else {
        let dir = tempfile::tempdir().unwrap();
        let how = if rustix::process::geteuid().is_root() { "-m" } else { "-rm" };
        let script = "mount -t tmpfs -o size=3M none \"$1\" && exec \"$2\" --exact \"$3\" --nocapture";
        let out = std::process::Command::new("unshare")
            .args([how, "/bin/sh", "-c", script, "sh"])
            .arg(dir.path())
            .arg(std::env::current_exe().unwrap())
            .arg(name)
            .env(INSIDE, dir.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(
            out.status.success() && said.contains("1 passed"),
            "{said}\n{}",
            String::from_utf8_lossy(&out.stderr)
        );
        return;
    };
    let disk = Path::new(&disk);
    let bytes = content(2 * MB);
    std::fs::write(disk.join("ballast"), vec![1u8; 2 * MB]).unwrap();
    let server = Server::new(bytes.clone(), |_, _| Act::Serve);
    let error = get(&server.url, &right(&bytes), disk).unwrap_err();
    assert!(matches!(error, FetchError::Full { .. }), "{error}");
    assert!(error.to_string().contains("make room"), "{error}");
    let there = std::fs::metadata(disk.join(".driver.run.part")).unwrap().len();
    assert!(there > 0 && there < bytes.len() as u64, "{there}");
    std::fs::remove_file(disk.join("ballast")).unwrap();
    let ready = get(&server.url, &right(&bytes), disk).unwrap();
    assert_eq!(ready.transferred, bytes.len() as u64 - there);
    assert_eq!(server.requests().last().unwrap().header("range"), Some(format!("bytes={there}-").as_str()));
}
