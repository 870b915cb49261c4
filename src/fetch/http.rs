// SPDX-License-Identifier: GPL-3.0-or-later
//! One request: where to begin, what the server says, chunks of what it sends.

use super::FetchError;
use super::digest::CHUNK;
use super::place::Memo;
use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig, parse_pem};

/// How many chunks may wait to be written.
const WAITING: usize = 16;

/// How long a chunk is filled.
const LONGEST: Duration = Duration::from_millis(100);

/// How a server knows who asks. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Name and password (RFC 7617).
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A token (RFC 6750).
    Bearer(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic(…)",
            Self::Bearer(_) => "Bearer(…)",
        })
    }
}

impl Credentials {
    fn header(&self) -> String {
        match self {
            Self::Basic { user, password } => {
                format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
            }
            Self::Bearer(token) => format!("Bearer {token}"),
        }
    }
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let n = three.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - three.len()));
        for i in 0..4 {
            let letter = LETTERS[(n >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= three.len() { letter as char } else { '=' });
        }
    }
    out
}

/// How the network is used.
#[derive(Debug, Clone)]
pub struct Net {
    /// Who asks.
    pub credentials: Option<Credentials>,
    /// Certificates of authorities to trust in place of the system's (PEM).
    pub authorities: Option<Vec<u8>>,
    /// How long a connection may take.
    pub connect: Duration,
    /// How long a server may send nothing.
    pub silence: Duration,
}

impl Default for Net {
    fn default() -> Self {
        Self {
            credentials: None,
            authorities: None,
            connect: Duration::from_secs(20),
            silence: Duration::from_secs(30),
        }
    }
}

/// What the server began to send.
pub(super) struct Answer {
    /// Where the bytes begin in the file.
    pub(super) from: u64,
    /// Size of the whole file.
    pub(super) total: Option<u64>,
    /// What tells whether it is still the same file.
    pub(super) validator: Option<String>,
    /// The chunks; an error is the last.
    pub(super) chunks: Receiver<std::io::Result<Arc<Vec<u8>>>>,
}

/// What came of a request.
pub(super) enum Asked {
    /// Bytes.
    Answer(Answer),
    /// The server has nothing from there on: the file has this size.
    NothingFrom(Option<u64>),
    /// Worth another attempt, after this long when the server says so.
    Again(String, Option<Duration>),
}

fn host_of(url: &str) -> Result<Uri, FetchError> {
    let wrong = |why: &str| FetchError::Address { url: without_secrets(url), why: why.to_owned() };
    let uri: Uri = url.parse().map_err(|_| wrong("it cannot be read"))?;
    match uri.scheme_str() {
        Some("https" | "http") => {}
        _ => return Err(wrong("it is neither https nor http")),
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(wrong("it names no host"));
    }
    if uri.authority().is_some_and(|a| a.as_str().contains('@')) {
        return Err(wrong("it holds a password, which would be seen in logs; put it into mirror.toml"));
    }
    Ok(uri)
}

/// An address without what may be secret in it: the part before `@`, and the query.
pub(super) fn without_secrets(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(s, r)| (s, r));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit('@').next().unwrap_or(authority);
    let path = path.split(['?', '#']).next().unwrap_or("");
    let scheme = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    format!("{scheme}{host}{path}")
}

/// Asks for a file from a byte on. `memo` is what is known of the part that is there.
pub(super) fn ask(net: &Net, url: &str, from: u64, memo: &Memo) -> Result<Asked, FetchError> {
    let uri = host_of(url)?;
    let shown = without_secrets(url);
    let secure = uri.scheme_str() == Some("https");
    if net.credentials.is_some() && !secure {
        return Err(FetchError::ClearCredentials(uri.host().unwrap_or_default().to_owned()));
    }
    let roots = match &net.authorities {
        None => RootCerts::PlatformVerifier,
        Some(pem) => RootCerts::Specific(Arc::new(certificates(pem, &shown)?)),
    };
    let agent = ureq::Agent::config_builder()
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .https_only(secure)
        .http_status_as_error(false)
        .max_redirects(8)
        .timeout_connect(Some(net.connect))
        .timeout_recv_response(Some(net.silence))
        .timeout_per_read(Some(net.silence))
        .user_agent(concat!("hostwright/", env!("CARGO_PKG_VERSION")))
        .accept_encoding("identity")
        .build()
        .new_agent();
    let mut request = agent.get(uri);
    if let Some(credentials) = &net.credentials {
        request = request.header("Authorization", credentials.header());
    }
    if from > 0 {
        request = request.header("Range", format!("bytes={from}-"));
        if let Some(validator) = &memo.validator {
            request = request.header("If-Range", validator);
        }
    }
    let response = match request.call() {
        Ok(response) => response,
        Err(e) => return of_error(e, &shown),
    };
    let status = response.status().as_u16();
    let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let validator = header("etag").filter(|e| !e.starts_with("W/")).or_else(|| header("last-modified"));
    let length: Option<u64> = header("content-length").and_then(|l| l.parse().ok());
    let nonsense = |why: String| FetchError::Nonsense { url: shown.clone(), why };
    let (begin, total) = match status {
        200 => (0, length),
        206 => {
            let said = header("content-range").unwrap_or_default();
            let Some((begin, total)) = parse_content_range(&said) else {
                return Err(nonsense(format!("the server sends a part and does not say which ({said})")));
            };
            if begin != from {
                return Err(nonsense(format!("the server sends a part from {begin} in place of {from}")));
            }
            (begin, total)
        }
        416 => {
            let said = header("content-range").unwrap_or_default();
            return Ok(Asked::NothingFrom(said.strip_prefix("bytes */").and_then(|t| t.trim().parse().ok())));
        }
        408 | 425 | 429 | 500 | 502 | 503 | 504 => {
            let after = header("retry-after").and_then(|s| s.parse().ok()).map(Duration::from_secs);
            return Ok(Asked::Again(format!("the server answered {status}"), after));
        }
        status => {
            let remedy = match status {
                401 | 403 | 407 => "look at the name and the password or token in mirror.toml",
                404 | 410 => "look at the address, or at the template of the mirror",
                _ => "look at the address in a browser",
            };
            return Err(FetchError::Status { url: shown, status, remedy });
        }
    };
    let (to, chunks) = sync_channel(WAITING);
    let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
    // Not joined: after a cancellation it ends when its next read does, at the latest after `silence`.
    std::thread::spawn(move || {
        loop {
            let (chunk, ended) = fill(&mut body);
            if !chunk.is_empty() && to.send(Ok(Arc::new(chunk))).is_err() {
                return;
            }
            match ended {
                None => {}
                Some(Ok(())) => return,
                Some(Err(e)) => {
                    let _ = to.send(Err(e));
                    return;
                }
            }
        }
    });
    Ok(Asked::Answer(Answer { from: begin, total, validator, chunks }))
}

/// Reads until a chunk is full or has waited long enough. What came before a failure counts.
fn fill(body: &mut dyn Read) -> (Vec<u8>, Option<std::io::Result<()>>) {
    let mut chunk = vec![0u8; CHUNK];
    let mut done = 0;
    let began = Instant::now();
    let ended = loop {
        match body.read(&mut chunk[done..]) {
            Ok(0) if done < CHUNK => break Some(Ok(())),
            Ok(n) => done += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => break Some(Err(e)),
        }
        if done == CHUNK || (done > 0 && began.elapsed() > LONGEST) {
            break None;
        }
    };
    chunk.truncate(done);
    (chunk, ended)
}

fn certificates(pem: &[u8], shown: &str) -> Result<Vec<Certificate<'static>>, FetchError> {
    let wrong = |why: String| FetchError::Tls { url: shown.to_owned(), why };
    let mut found = Vec::new();
    for item in parse_pem(pem) {
        match item {
            Ok(ureq::tls::PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(e) => return Err(wrong(format!("ca_file is no PEM file: {e}"))),
        }
    }
    if found.is_empty() {
        return Err(wrong("ca_file holds no certificate".to_owned()));
    }
    Ok(found)
}

/// `Content-Range: bytes 5-9/10` (RFC 9110, section 14.4): begin and size of the whole.
pub(super) fn parse_content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (begin, end) = range.trim().split_once('-')?;
    let (begin, end): (u64, u64) = (begin.parse().ok()?, end.parse().ok()?);
    let total = match total.trim() {
        "*" => None,
        number => Some(number.parse().ok()?),
    };
    (begin <= end && total.is_none_or(|t| end < t)).then_some((begin, total))
}

fn of_error(error: ureq::Error, shown: &str) -> Result<Asked, FetchError> {
    use ureq::Error as E;
    let url = shown.to_owned();
    match error {
        E::TooManyRedirects | E::RedirectFailed => Err(FetchError::Redirect {
            url,
            why: "the server sends from one address to the next without end".to_owned(),
        }),
        E::RequireHttpsOnly(_) => Err(FetchError::Redirect {
            url,
            why: "the server sends to an address without encryption".to_owned(),
        }),
        E::Rustls(e) => Err(FetchError::Tls { url, why: e.to_string() }),
        E::Tls(why) => Err(FetchError::Tls { url, why: why.to_owned() }),
        E::Pem(e) => Err(FetchError::Tls { url, why: e.to_string() }),
        E::BadUri(why) => Err(FetchError::Address { url, why }),
        E::InvalidProxyUrl => {
            Err(FetchError::Address { url, why: "the proxy of the environment is no address".to_owned() })
        }
        E::Io(e) => {
            // rustls tells a bad certificate through an I/O error.
            let inner = e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            match inner {
                Some(tls) => Err(FetchError::Tls { url, why: tls.to_string() }),
                None => Ok(Asked::Again(e.to_string(), None)),
            }
        }
        other => Ok(Asked::Again(other.to_string(), None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn secrets_of_an_address_are_not_shown() {
        assert_eq!(without_secrets("https://me:pw@h.example/a/b.run?token=x#y"), "https://h.example/a/b.run");
        assert!(host_of("https://me:pw@h.example/a").unwrap_err().to_string().contains("mirror.toml"));
        for wrong in ["ftp://x/y", "x", "https://", "file:///etc/passwd"] {
            assert!(host_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn base64_is_that_of_the_standard() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn a_part_must_say_where_it_begins() {
        assert_eq!(parse_content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(parse_content_range("bytes 5-9/*"), Some((5, None)));
        for wrong in ["bytes 9-5/10", "bytes 5-10/10", "5-9/10", "bytes */10", "bytes a-b/c"] {
            assert_eq!(parse_content_range(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_these_parsers_panic(text in "\\PC*") {
            parse_content_range(&text);
            parse_content_range(&format!("bytes {text}"));
            without_secrets(&text);
            let _ = host_of(&text);
        }
    }
}
