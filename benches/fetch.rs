// SPDX-License-Identifier: GPL-3.0-or-later
//! A file from a server on loopback, written and hashed in one pass, against `curl`, `sha256sum` and `md5sum` one
//! after the other. Fails when it takes more than 0.7 of their time.
//!
//! `HOSTWRIGHT_BENCH_MIB` sets the size (512), `HOSTWRIGHT_BENCH_DIR` the folder.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::panic, missing_docs)]

use hostwright::fetch::{Expected, Folder, Net, Retry, Source, fetch};
use hostwright::host::Cancel;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const MOST: f64 = 0.7;
const RUNS: usize = 3;

fn serve(content: Arc<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/driver.run", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, content) = (stream.unwrap(), Arc::clone(&content));
            std::thread::spawn(move || {
                let mut head = [0u8; 4096];
                let _ = stream.read(&mut head);
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    content.len()
                );
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&content));
            });
        }
    });
    url
}

fn ours(url: &str, dir: &Path) -> (Duration, String, String) {
    let folder = Folder::open(dir).unwrap();
    let source = Source::Url(url.to_owned());
    let began = Instant::now();
    let (net, retry, cancel) = (Net::default(), Retry::default(), Cancel::new());
    let expected = Expected::default();
    let ready = fetch(&source, &expected, &folder, "a.run", &net, &retry, &cancel, &mut |_| {}).unwrap();
    folder.keep(ready.part, "a.run").unwrap();
    let took = began.elapsed();
    std::fs::remove_file(dir.join("a.run")).unwrap();
    (took, ready.digests.sha256, ready.digests.md5)
}

fn theirs(url: &str, dir: &Path) -> (Duration, String, String) {
    let path = dir.join("b.run");
    let run = |program: &str, args: &[&str]| {
        let out = Command::new(program).args(args).arg(&path).output().unwrap();
        assert!(out.status.success(), "{program}: {out:?}");
        String::from_utf8(out.stdout).unwrap().split(' ').next().unwrap().to_owned()
    };
    let began = Instant::now();
    run("curl", &["-sS", "--fail", url, "-o"]);
    // Both end with the file on the disk.
    run("sync", &[]);
    let (sha256, md5) = (run("sha256sum", &[]), run("md5sum", &[]));
    let took = began.elapsed();
    std::fs::remove_file(&path).unwrap();
    (took, sha256, md5)
}

fn main() {
    let mib: usize = std::env::var("HOSTWRIGHT_BENCH_MIB").ok().and_then(|m| m.parse().ok()).unwrap_or(512);
    let content: Vec<u8> = (0..mib << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let url = serve(Arc::new(content));
    let dir = match std::env::var_os("HOSTWRIGHT_BENCH_DIR") {
        Some(dir) => tempfile::tempdir_in(dir).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let (mut best, mut best_theirs) = (Duration::MAX, Duration::MAX);
    for _ in 0..RUNS {
        // In turn, so that a busy moment of the machine meets both.
        let (took, sha256, md5) = ours(&url, dir.path());
        let (took_theirs, sha256_theirs, md5_theirs) = theirs(&url, dir.path());
        assert_eq!((sha256, md5), (sha256_theirs, md5_theirs));
        println!("ours {took:>10.3?}   curl + sync + sha256sum + md5sum {took_theirs:>10.3?}");
        best = best.min(took);
        best_theirs = best_theirs.min(took_theirs);
    }
    let ratio = best.as_secs_f64() / best_theirs.as_secs_f64();
    println!("{mib} MiB, best of {RUNS}: {best:.3?} against {best_theirs:.3?}, ratio {ratio:.2}");
    assert!(ratio <= MOST, "more than {MOST} of their time");
}
