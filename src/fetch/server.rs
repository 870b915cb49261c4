// SPDX-License-Identifier: GPL-3.0-or-later
//! A server on loopback that misbehaves as it is told, and counts what it sends.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the server does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Serves the file, or the part that is asked for.
    Serve,
    /// Serves, and hangs up after so many bytes.
    Cut(usize),
    /// Serves so many bytes and then nothing for a while.
    Stall(usize, Duration),
    /// Serves slowly: a pause after every so many bytes.
    Slow(usize, Duration),
    /// Announces another length than it sends.
    Announce(u64),
    /// Serves the whole file whatever is asked for.
    Whole,
    /// Says that a part begins elsewhere.
    WrongPart,
    /// Serves another file, with another validator.
    Other(Arc<Vec<u8>>),
    /// Sends elsewhere.
    Redirect(String),
    /// Answers with this status and these headers.
    Status(u16, &'static str),
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) head: String,
    /// Bytes of the file that were sent.
    pub(crate) sent: usize,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|l| {
            let (key, value) = l.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

pub(crate) struct Server {
    pub(crate) url: String,
    pub(crate) seen: Arc<Mutex<Vec<Seen>>>,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// How requests are told apart: their number from 0, and the path.
pub(crate) type Script = Box<dyn Fn(usize, &str) -> Act + Send + Sync>;

impl Server {
    pub(crate) fn new(content: Vec<u8>, script: impl Fn(usize, &str) -> Act + Send + Sync + 'static) -> Self {
        Self::start(content, Box::new(script), None)
    }

    pub(crate) fn with_tls(
        content: Vec<u8>,
        tls: Arc<rustls::ServerConfig>,
        script: impl Fn(usize, &str) -> Act + Send + Sync + 'static,
    ) -> Self {
        Self::start(content, Box::new(script), Some(tls))
    }

    fn start(content: Vec<u8>, script: Script, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let host = if tls.is_some() { "localhost" } else { "127.0.0.1" };
        let url = format!("{scheme}://{host}:{}", listener.local_addr().unwrap().port());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (content, script, log) = (Arc::new(content), Arc::new(script), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                let (content, script, log) = (Arc::clone(&content), Arc::clone(&script), Arc::clone(&log));
                let tls = tls.clone();
                std::thread::spawn(move || serve(stream, tls, &content, &script, &log));
            }
        });
        Self { url, seen }
    }

    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Bytes of the file that were sent in all.
    pub(crate) fn sent(&self) -> usize {
        self.requests().iter().map(|s| s.sent).sum()
    }
}

fn serve(
    stream: TcpStream,
    tls: Option<Arc<rustls::ServerConfig>>,
    content: &Arc<Vec<u8>>,
    script: &Script,
    log: &Mutex<Vec<Seen>>,
) {
    let mut stream: Box<dyn Stream> = match tls {
        None => Box::new(stream),
        Some(config) => {
            let connection = rustls::ServerConnection::new(config).unwrap();
            Box::new(rustls::StreamOwned::new(connection, stream))
        }
    };
    let mut head = Vec::new();
    let mut byte = [0u8; 1];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
    let (number, act) = {
        let mut log = log.lock().unwrap();
        log.push(Seen { path: path.clone(), head: head.clone(), sent: 0 });
        let number = log.len() - 1;
        (number, script(number, &path))
    };
    let seen = log.lock().unwrap()[number].clone();
    let (file, etag) = match &act {
        Act::Other(other) => (Arc::clone(other), "\"other\""),
        _ => (Arc::clone(content), "\"same\""),
    };
    let asked = seen.header("range").and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let fits = seen.header("if-range").is_none_or(|v| v == etag);
    let from: usize = match (&act, asked) {
        (Act::Whole, _) | (_, None) => 0,
        (_, Some(from)) if fits => from,
        _ => 0,
    };
    let total = file.len();
    if from > 0 && from >= total {
        let _ = write!(
            stream,
            "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{total}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let _ = stream.flush();
        return;
    }
    let body = &file[from..];
    let answer = match &act {
        Act::Redirect(to) => {
            format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        }
        Act::Status(status, headers) => {
            format!("HTTP/1.1 {status} Told\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n")
        }
        _ => {
            let length = if let Act::Announce(n) = &act { *n } else { body.len() as u64 };
            let begin = if matches!(act, Act::WrongPart) { from + 1 } else { from };
            let part = match from {
                0 => "200 OK\r\n".to_owned(),
                _ => format!("206 Partial Content\r\nContent-Range: bytes {begin}-{}/{total}\r\n", total - 1),
            };
            format!("HTTP/1.1 {part}ETag: {etag}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
        }
    };
    if stream.write_all(answer.as_bytes()).is_err() || matches!(act, Act::Redirect(_) | Act::Status(..)) {
        let _ = stream.flush();
        return;
    }
    let mut sent = 0;
    let mut send = |stream: &mut Box<dyn Stream>, bytes: &[u8]| {
        let ok = stream.write_all(bytes).and_then(|()| stream.flush()).is_ok();
        if ok {
            sent += bytes.len();
            log.lock().unwrap()[number].sent = sent;
        }
        ok
    };
    match act {
        Act::Cut(n) => {
            send(&mut stream, &body[..n.min(body.len())]);
        }
        Act::Stall(n, time) => {
            send(&mut stream, &body[..n.min(body.len())]);
            std::thread::sleep(time);
        }
        Act::Slow(n, pause) => {
            for part in body.chunks(n) {
                if !send(&mut stream, part) {
                    return;
                }
                std::thread::sleep(pause);
            }
        }
        _ => {
            for part in body.chunks(64 << 10) {
                if !send(&mut stream, part) {
                    return;
                }
            }
        }
    }
}
