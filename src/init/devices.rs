// SPDX-License-Identifier: GPL-3.0-or-later
//! Devices: waited for by the kernel's own news of them, with a bound; no udev, no sleeping.

use super::port::Port;
use super::{Failure, protocol, sys};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a device may take to appear.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The kernel's news of devices.
#[derive(Debug)]
pub struct News(Option<File>);

impl News {
    /// Listens from now on; open it before what makes the devices.
    pub fn open() -> Self {
        Self(sys::device_news().ok())
    }

    /// Looks by `look` now and after every news, `longest` at most.
    pub fn wait<T>(&self, longest: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + longest;
        loop {
            if let Some(found) = look() {
                return Some(found);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            match &self.0 {
                Some(socket) => {
                    // Once a second it is looked at anyway, should some news be lost.
                    let _ = sys::wait_for_one(socket.as_fd(), sys::IN, left.min(Duration::from_secs(1)));
                    let mut buffer = [0; 8192];
                    while (&*socket).read(&mut buffer).is_ok_and(|count| count > 0) {}
                }
                None => std::thread::sleep(left.min(Duration::from_millis(2))),
            }
        }
    }
}

/// The ports of this guest.
#[derive(Debug)]
pub struct Ports {
    /// See [`protocol::CONTROL`].
    pub control: Port,
    /// See [`protocol::STDIN`].
    pub stdin: Option<Port>,
    /// See [`protocol::STDOUT`].
    pub stdout: Port,
    /// See [`protocol::STDERR`].
    pub stderr: Port,
}

impl Ports {
    /// Waits for the ports and opens them.
    ///
    /// # Errors
    /// When one does not appear in time, or cannot be opened.
    pub fn open(news: &News, stdin: bool) -> Result<Self, Failure> {
        let stdin = if stdin {
            let port = open_port(news, protocol::STDIN)?;
            port.wait_connected(PATIENCE).map_err(Failure::at("ports", "standard input"))?;
            Some(port)
        } else {
            None
        };
        let stdout = open_port(news, protocol::STDOUT)?;
        let stderr = open_port(news, protocol::STDERR)?;
        Ok(Self { control: open_port(news, protocol::CONTROL)?, stdin, stdout, stderr })
    }
}

/// Waits for the port of this name and opens it.
///
/// # Errors
/// When it does not appear in time, or cannot be opened.
pub fn open_port(news: &News, name: &str) -> Result<Port, Failure> {
    let device = news.wait(PATIENCE, || port_device(name)).ok_or_else(|| Failure {
        stage: "ports",
        reason: format!(
            "no virtio port {name} appeared in {} seconds (there are: {})",
            PATIENCE.as_secs(),
            seen()
        ),
    })?;
    let path = node(&format!("/sys/class/virtio-ports/{device}"), &device, false)?;
    Port::open(&path).map_err(Failure::at("ports", format_args!("could not open {path} ({name})")))
}

fn port_device(name: &str) -> Option<String> {
    named("/sys/class/virtio-ports", "name", name)
}

/// The entry of a folder of `/sys` whose `attribute` is `value`.
pub fn named(class: &str, attribute: &str, value: &str) -> Option<String> {
    std::fs::read_dir(class).ok()?.flatten().find_map(|entry| {
        let text = std::fs::read_to_string(entry.path().join(attribute)).ok()?;
        (text.trim_end() == value).then(|| entry.file_name().to_string_lossy().into_owned())
    })
}

/// What there is instead, for messages.
fn seen() -> String {
    let list = |class: &str, attribute: &str| -> Vec<String> {
        let entries = std::fs::read_dir(class).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .map(|e| {
                let text = std::fs::read_to_string(e.path().join(attribute)).unwrap_or_default();
                format!("{} {}", e.file_name().to_string_lossy(), text.trim()).trim_end().to_owned()
            })
            .collect();
        names.sort();
        names
    };
    let ports = list("/sys/class/virtio-ports", "name");
    let devices = list("/sys/bus/virtio/devices", "device");
    if ports.is_empty() && devices.is_empty() {
        return "no virtio devices at all: the kernel lacks virtio_pci or virtio_mmio".to_owned();
    }
    format!("ports [{}], virtio devices [{}]", ports.join(", "), devices.join(", "))
}

/// The device's node in `/dev`, made when the kernel did not.
///
/// # Errors
/// When its numbers cannot be read or the node cannot be made.
pub fn node(sys_folder: &str, name: &str, is_block: bool) -> Result<String, Failure> {
    let path = format!("/dev/{name}");
    if Path::new(&path).exists() {
        return Ok(path);
    }
    let fail = |reason: String| Failure { stage: "devices", reason };
    let numbers = std::fs::read_to_string(format!("{sys_folder}/dev"))
        .map_err(|e| fail(format!("could not read {sys_folder}/dev: {e}")))?;
    let (major, minor) =
        parse_numbers(&numbers).ok_or_else(|| fail(format!("{sys_folder}/dev says {numbers}")))?;
    match sys::make_device(&path, is_block, 0o600, major, minor) {
        // The kernel was quicker.
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(fail(format!("could not make {path}: {e}")))
        }
        _ => Ok(path),
    }
}

fn parse_numbers(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Disks and partitions by name, with their size in sectors.
pub fn block_devices() -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for disk in std::fs::read_dir("/sys/class/block").into_iter().flatten().flatten() {
        let size = std::fs::read_to_string(disk.path().join("size")).ok();
        if let Some(size) = size.and_then(|s| s.trim().parse().ok()) {
            found.insert(disk.file_name().to_string_lossy().into_owned(), size);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_device_are_read() {
        assert_eq!(parse_numbers("251:3\n"), Some((251, 3)));
        assert_eq!(parse_numbers("251"), None);
    }

    #[test]
    fn waiting_has_an_end() {
        let start = Instant::now();
        assert_eq!(News(None).wait(Duration::from_millis(20), || None::<()>), None);
        assert!(start.elapsed() >= Duration::from_millis(20));
        assert_eq!(News(None).wait(Duration::ZERO, || Some(1)), Some(1));
    }
}
