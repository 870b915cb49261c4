// SPDX-License-Identifier: GPL-3.0-or-later
//! A screen in memory, whose pixels are a file: what is on it can be seen without asking anybody.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The size of the assistant's window when it is new.
const SIZE: &str = "920x760x24";

pub(crate) struct Screen {
    server: Child,
    display: String,
    folder: tempfile::TempDir,
}

impl Screen {
    /// A new screen, black, with nothing on it.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", SIZE, "-nolisten", "tcp", "-noreset", "-fbdir"])
            .arg(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("Xvfb cannot be started ({e}); `make deps` installs it"));
        let mut number = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut number).unwrap();
        Self { server, display: format!(":{}", number.trim()), folder }
    }

    /// A program that shows itself here, with settings of its own.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env("DISPLAY", &self.display)
            .envs([("GDK_BACKEND", "x11"), ("GSK_RENDERER", "cairo"), ("GSETTINGS_BACKEND", "memory")])
            .env("XDG_CONFIG_HOME", self.folder.path())
            .env("LC_ALL", "C.UTF-8");
        command
    }

    /// The pixels.
    pub(crate) fn pixels(&self) -> Pixels {
        Pixels::open(&self.folder.path().join("Xvfb_screen0"))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A screen's memory, in the format of xwd.
pub(crate) struct Pixels {
    file: File,
    start: u64,
    line: u64,
}

impl Pixels {
    fn open(path: &Path) -> Self {
        let file = File::open(path).unwrap();
        let word = |n: u64| {
            let mut bytes = [0; 4];
            file.read_exact_at(&mut bytes, n * 4).unwrap();
            u64::from(u32::from_be_bytes(bytes))
        };
        // XWDFile.h: the size of the header, the colours after it (12 bytes each), the bytes of a line.
        let (header, colours, line) = (word(0), word(19), word(12));
        Self { file, start: header + colours * 12, line }
    }

    /// Whether something bright is at a place.
    pub(crate) fn bright(&self, x: u64, y: u64) -> bool {
        let mut pixel = [0; 4];
        self.file.read_exact_at(&mut pixel, self.start + y * self.line + x * 4).unwrap();
        pixel.iter().any(|b| *b > 0x80)
    }
}
