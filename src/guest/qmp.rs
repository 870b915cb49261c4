// SPDX-License-Identifier: GPL-3.0-or-later
//! QEMU's own control: the QEMU Machine Protocol (docs/interop/qmp-spec.rst), one JSON object on a line.

use super::error::GuestError;
use serde_json::{Value, json};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// The longest message that is read; QEMU's longest answers are some hundred KiB.
const LONGEST: usize = 16 << 20;

/// A message of QEMU.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// The first one.
    Greeting {
        /// QEMU's version ("7.2.22").
        version: String,
    },
    /// The answer to the command with this number.
    Answer {
        /// The number that came with the command.
        id: u64,
        /// Its result, or what QEMU says against it.
        result: Result<Value, String>,
    },
    /// Something happened.
    Event {
        /// Its name (`SHUTDOWN`, `STOP`, `RESUME`…).
        name: String,
        /// What belongs to it.
        data: Value,
    },
}

/// Reads one line. Pure.
///
/// # Errors
/// When it is no message of the protocol.
pub fn parse(line: &str) -> Result<Message, GuestError> {
    let bad = || GuestError::Qmp(format!("`{}` is no message", line.chars().take(200).collect::<String>()));
    let value: Value = serde_json::from_str(line).map_err(|_| bad())?;
    if let Some(greeting) = value.get("QMP") {
        let number = |part| greeting.pointer(&format!("/version/qemu/{part}")).and_then(Value::as_u64);
        let part = |part| number(part).unwrap_or_default();
        return Ok(Message::Greeting {
            version: format!("{}.{}.{}", part("major"), part("minor"), part("micro")),
        });
    }
    if let Some(name) = value.get("event").and_then(Value::as_str) {
        let data = value.get("data").cloned().unwrap_or(Value::Null);
        return Ok(Message::Event { name: name.to_owned(), data });
    }
    let id = value.get("id").and_then(Value::as_u64).unwrap_or_default();
    if let Some(result) = value.get("return") {
        return Ok(Message::Answer { id, result: Ok(result.clone()) });
    }
    let said = value.pointer("/error/desc").and_then(Value::as_str).ok_or_else(bad)?;
    Ok(Message::Answer { id, result: Err(said.to_owned()) })
}

/// A connection to QEMU's control.
#[derive(Debug)]
pub struct Qmp {
    stream: UnixStream,
    buffer: Vec<u8>,
    next: u64,
    /// Messages that came while an answer was waited for.
    waiting: Vec<Message>,
}

impl Qmp {
    /// Begins to talk on a connected socket.
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub fn new(stream: UnixStream) -> Result<Self, GuestError> {
        stream.set_nonblocking(true).map_err(|e| broken(&e))?;
        let mut qmp = Self { stream, buffer: Vec::new(), next: 0, waiting: Vec::new() };
        qmp.send("qmp_capabilities", &Value::Null)?;
        Ok(qmp)
    }

    /// Sends a command and does not wait; the number is that of its answer.
    ///
    /// # Errors
    /// When QEMU does not take it.
    pub fn send(&mut self, command: &str, arguments: &Value) -> Result<u64, GuestError> {
        self.next += 1;
        let mut message = json!({ "execute": command, "id": self.next });
        if let (Some(message), false) = (message.as_object_mut(), arguments.is_null()) {
            message.insert("arguments".into(), arguments.clone());
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(b'\n');
        // A command is far shorter than the socket's buffer, which QEMU empties at once.
        self.stream.write_all(&bytes).map_err(|e| broken(&e))?;
        Ok(self.next)
    }

    /// Sends a command and waits for its answer.
    ///
    /// # Errors
    /// When QEMU refuses it, does not answer in time, or is gone.
    pub fn execute(
        &mut self,
        command: &str,
        arguments: &Value,
        patience: Duration,
    ) -> Result<Value, GuestError> {
        let wanted = self.send(command, arguments)?;
        let began = Instant::now();
        loop {
            let open = self.fill()?;
            for message in self.lines()? {
                match message {
                    Message::Answer { id, result } if id == wanted => {
                        return result.map_err(|said| GuestError::Qmp(format!("`{command}`: {said}")));
                    }
                    other => self.waiting.push(other),
                }
            }
            if !open {
                return Err(GuestError::Qmp(format!("QEMU ended before it answered `{command}`")));
            }
            let left = patience.saturating_sub(began.elapsed());
            if left.is_zero() {
                return Err(GuestError::Qmp(format!(
                    "no answer to `{command}` within {} s",
                    patience.as_secs()
                )));
            }
            super::wires::wait_readable(self.stream.as_fd(), left.min(Duration::from_millis(200)))?;
        }
    }

    /// The messages that are there. The second value tells whether more can come.
    ///
    /// # Errors
    /// When QEMU says something that is none.
    pub fn pump(&mut self) -> Result<(Vec<Message>, bool), GuestError> {
        let open = self.fill()?;
        let mut messages = std::mem::take(&mut self.waiting);
        messages.extend(self.lines()?);
        Ok((messages, open))
    }

    /// The messages that came while an answer was waited for.
    pub fn take_waiting(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.waiting)
    }

    fn fill(&mut self) -> Result<bool, GuestError> {
        let mut chunk = [0; 16384];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(false),
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return Ok(false),
                Err(e) => return Err(broken(&e)),
            }
            if self.buffer.len() > LONGEST {
                return Err(GuestError::Qmp("a message is too long".into()));
            }
        }
    }

    fn lines(&mut self) -> Result<Vec<Message>, GuestError> {
        let mut messages = Vec::new();
        while let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            if !line.trim().is_empty() {
                messages.push(parse(line.trim())?);
            }
        }
        Ok(messages)
    }
}

impl AsFd for Qmp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn broken(error: &std::io::Error) -> GuestError {
    GuestError::Qmp(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};

    #[test]
    fn messages_are_told_apart() {
        let greeting = r#"{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian 1:7.2"}, "capabilities": ["oob"]}}"#;
        assert_eq!(parse(greeting).unwrap(), Message::Greeting { version: "7.2.22".into() });
        let event = r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}"#;
        let Message::Event { name, data } = parse(event).unwrap() else { panic!() };
        assert_eq!((name.as_str(), data["reason"].as_str()), ("SHUTDOWN", Some("guest-reset")));
        let error = r#"{"id": 4, "error": {"class": "GenericError", "desc": "There is no console to take a screendump from"}}"#;
        let Message::Answer { id: 4, result: Err(said) } = parse(error).unwrap() else { panic!() };
        assert!(said.contains("no console"));
        assert!(parse("{\"hello\": 1}").is_err());
    }

    #[test]
    fn an_answer_is_found_between_events_which_are_kept() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let qemu = std::thread::spawn(move || {
            let mut lines = BufReader::new(theirs.try_clone().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            assert!(first.contains("qmp_capabilities"), "{first}");
            let asked: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            let mut out = theirs;
            out.write_all(b"{\"QMP\":{}}\r\n{\"return\":{},\"id\":1}\r\n{\"event\":\"STOP\"}\r\n").unwrap();
            out.write_all(
                format!("{{\"return\":{{\"status\":\"paused\"}},\"id\":{}}}\r\n", asked["id"]).as_bytes(),
            )
            .unwrap();
        });
        let mut qmp = Qmp::new(ours).unwrap();
        let status = qmp.execute("query-status", &Value::Null, Duration::from_secs(10)).unwrap();
        assert_eq!(status["status"], "paused");
        assert!(
            qmp.take_waiting().iter().any(|m| matches!(m, Message::Event { name, .. } if name == "STOP"))
        );
        qemu.join().unwrap();
        assert!(qmp.execute("quit", &Value::Null, Duration::from_secs(10)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_line_makes_the_parser_fall(line in "\\PC{0,120}") {
            let _ = parse(&line);
        }
    }
}
