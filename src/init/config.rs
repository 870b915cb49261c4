// SPDX-License-Identifier: GPL-3.0-or-later
//! What one boot is to do: typed on both sides, lines of escaped words in between (see [`super::protocol`]).
//!
//! ```text
//!   hostwright 1
//!   root 9p hostwright-root 512000
//!   task command
//!   arg uname
//!   arg -r
//! ```

use super::protocol::{VERSION, escape, unescape};

/// What one boot is to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// What becomes `/`.
    pub root: Root,
    /// Whether the root is mounted to be written to; else a layer in memory takes what is written.
    pub writable: bool,
    /// What runs there.
    pub task: Task,
    /// Whether the host feeds [`super::protocol::STDIN`]; else standard input is `/dev/null`.
    pub stdin: bool,
    /// Modules of the caller, inserted in this order after the ports are open and before the root is mounted:
    /// paths in the initramfs.
    pub insert: Vec<String>,
    /// Files or patterns (`*`, `?` in any part of the path) that are handed over at the end.
    pub collect: Vec<String>,
    /// Host name of the guest; none: as the kernel has it.
    pub hostname: Option<String>,
}

/// What becomes `/`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Root {
    /// The initramfs stays.
    #[default]
    None,
    /// A directory of the host over 9p.
    Ninep {
        /// The device's `mount_tag`.
        tag: String,
        /// Largest message in bytes (`msize`).
        msize: u32,
    },
    /// A directory of the host over virtiofs.
    Virtiofs {
        /// The device's tag.
        tag: String,
    },
    /// A virtio disk, found by its serial number, as QEMU gives it (20 bytes at most). When it has partitions,
    /// the largest that holds a root is taken.
    Disk {
        /// Serial number.
        serial: String,
    },
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// A command; the guest ends with it. Without any word: nothing runs, and that is success.
    Command {
        /// Program and arguments, any bytes but zero.
        argv: Vec<Vec<u8>>,
        /// Variables, beside `PATH`, `HOME` and `TERM`.
        env: Vec<(Vec<u8>, Vec<u8>)>,
        /// Working directory; `/` when none.
        cwd: Option<Vec<u8>>,
    },
    /// The tree's own init takes over.
    Init {
        /// Path in the new root.
        path: String,
        /// Its arguments.
        args: Vec<String>,
    },
    /// VMware's modules are used (see `init::rehearse`).
    Rehearse {
        /// Whether only loading and opening is tried.
        only_load: bool,
    },
    /// VMware's modules are measured (see `init::rehearse::measure`).
    Measure {
        /// For how long each figure, in milliseconds.
        milliseconds: u32,
    },
}

impl Default for Task {
    fn default() -> Self {
        Self::Command { argv: Vec::new(), env: Vec::new(), cwd: None }
    }
}

/// Why a configuration cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Line, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub reason: String,
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {} of the configuration: {}", self.line, self.reason)
    }
}

impl Config {
    /// The configuration as lines; [`Config::parse`] reads the same back.
    pub fn lines(&self) -> String {
        let mut out = Lines(String::new());
        out.line("hostwright", &[VERSION.to_string().as_bytes()]);
        match &self.root {
            Root::None => {}
            Root::Ninep { tag, msize } => {
                out.line("root", &[b"9p", tag.as_bytes(), msize.to_string().as_bytes()]);
            }
            Root::Virtiofs { tag } => out.line("root", &[b"virtiofs", tag.as_bytes()]),
            Root::Disk { serial } => out.line("root", &[b"disk", serial.as_bytes()]),
        }
        if self.writable {
            out.line("writable", &[]);
        }
        if self.stdin {
            out.line("stdin", &[]);
        }
        if let Some(name) = &self.hostname {
            out.line("hostname", &[name.as_bytes()]);
        }
        self.insert.iter().for_each(|path| out.line("insert", &[path.as_bytes()]));
        self.collect.iter().for_each(|pattern| out.line("collect", &[pattern.as_bytes()]));
        match &self.task {
            Task::Command { argv, env, cwd } => {
                out.line("task", &[b"command"]);
                argv.iter().for_each(|word| out.line("arg", &[word]));
                env.iter().for_each(|(name, value)| out.line("env", &[name, value]));
                if let Some(cwd) = cwd {
                    out.line("cwd", &[cwd]);
                }
            }
            Task::Init { path, args } => {
                out.line("task", &[b"init", path.as_bytes()]);
                args.iter().for_each(|word| out.line("arg", &[word.as_bytes()]));
            }
            Task::Rehearse { only_load } => {
                out.line("task", &[b"rehearse", if *only_load { b"load" } else { b"use" }]);
            }
            Task::Measure { milliseconds } => {
                out.line("task", &[b"measure", milliseconds.to_string().as_bytes()]);
            }
        }
        out.0
    }

    /// Reads what [`Config::lines`] wrote.
    ///
    /// # Errors
    /// With the line that is none of its.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        let mut greeted = false;
        for (number, line) in text.lines().enumerate() {
            let fail = |reason: &str| ConfigError { line: number + 1, reason: reason.to_owned() };
            let mut words = line.split(' ');
            let key = words.next().unwrap_or_default();
            let words: Vec<Vec<u8>> =
                words.map(unescape).collect::<Option<_>>().ok_or_else(|| fail("a word is not escaped"))?;
            if !greeted {
                let same = key == "hostwright" && words == [VERSION.to_string().into_bytes()];
                if !same {
                    return Err(fail("it is of another version of Hostwright"));
                }
                greeted = true;
                continue;
            }
            config.take(key, &words).map_err(|reason| fail(&reason))?;
        }
        if greeted { Ok(config) } else { Err(ConfigError { line: 1, reason: "it is empty".to_owned() }) }
    }

    fn take(&mut self, key: &str, words: &[Vec<u8>]) -> Result<(), String> {
        match (key, words) {
            ("root", [kind, rest @ ..]) => {
                self.root = match (kind.as_slice(), rest) {
                    (b"9p", [tag, msize]) => Root::Ninep {
                        tag: text(tag)?,
                        msize: text(msize)?.parse().map_err(|_| "msize is no number".to_owned())?,
                    },
                    (b"virtiofs", [tag]) => Root::Virtiofs { tag: text(tag)? },
                    (b"disk", [serial]) => Root::Disk { serial: text(serial)? },
                    _ => return Err("no such root".to_owned()),
                }
            }
            ("writable", []) => self.writable = true,
            ("stdin", []) => self.stdin = true,
            ("hostname", [name]) => self.hostname = Some(text(name)?),
            ("insert", [path]) => self.insert.push(text(path)?),
            ("collect", [pattern]) => self.collect.push(text(pattern)?),
            ("task", [kind, rest @ ..]) => {
                self.task = match (kind.as_slice(), rest) {
                    (b"command", []) => Task::default(),
                    (b"init", [path]) => Task::Init { path: text(path)?, args: Vec::new() },
                    (b"rehearse", [what]) if what == b"load" => Task::Rehearse { only_load: true },
                    (b"rehearse", [what]) if what == b"use" => Task::Rehearse { only_load: false },
                    (b"measure", [time]) => Task::Measure {
                        milliseconds: text(time)?.parse().map_err(|_| "that is no time".to_owned())?,
                    },
                    _ => return Err("no such task".to_owned()),
                }
            }
            ("arg", [word]) => match &mut self.task {
                Task::Command { argv, .. } => argv.push(no_zero(word)?),
                Task::Init { args, .. } => args.push(text(&no_zero(word)?)?),
                Task::Rehearse { .. } | Task::Measure { .. } => {
                    return Err("a rehearsal has no arguments".to_owned());
                }
            },
            ("env", [name, value]) => match &mut self.task {
                Task::Command { env, .. } => env.push((no_zero(name)?, no_zero(value)?)),
                _ => return Err("only a command has variables".to_owned()),
            },
            ("cwd", [dir]) => match &mut self.task {
                Task::Command { cwd, .. } => *cwd = Some(no_zero(dir)?),
                _ => return Err("only a command has a working directory".to_owned()),
            },
            _ => return Err(format!("unknown: {key} with {} words", words.len())),
        }
        Ok(())
    }
}

fn text(word: &[u8]) -> Result<String, String> {
    String::from_utf8(word.to_vec()).map_err(|_| "a word is no UTF-8".to_owned())
}

fn no_zero(word: &[u8]) -> Result<Vec<u8>, String> {
    if word.contains(&0) { Err("a word has a zero byte".to_owned()) } else { Ok(word.to_vec()) }
}

struct Lines(String);

impl Lines {
    fn line(&mut self, key: &str, words: &[&[u8]]) {
        self.0.push_str(key);
        for word in words {
            self.0.push(' ');
            self.0.push_str(&escape(word));
        }
        self.0.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn word() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(1u8..=255, 0..12)
    }

    fn task() -> impl Strategy<Value = Task> {
        let command = (
            proptest::collection::vec(word(), 0..5),
            proptest::collection::vec((word(), word()), 0..3),
            proptest::option::of(word()),
        );
        prop_oneof![
            command.prop_map(|(argv, env, cwd)| Task::Command { argv, env, cwd }),
            (".*", proptest::collection::vec("[^\0]*", 0..3))
                .prop_map(|(path, args)| Task::Init { path, args }),
            any::<bool>().prop_map(|only_load| Task::Rehearse { only_load }),
            any::<u32>().prop_map(|milliseconds| Task::Measure { milliseconds }),
        ]
    }

    fn root() -> impl Strategy<Value = Root> {
        prop_oneof![
            Just(Root::None),
            (".*", any::<u32>()).prop_map(|(tag, msize)| Root::Ninep { tag, msize }),
            ".*".prop_map(|tag| Root::Virtiofs { tag }),
            ".*".prop_map(|serial| Root::Disk { serial }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            root in root(), task in task(), writable: bool, stdin: bool,
            insert in proptest::collection::vec(".*", 0..3), collect in proptest::collection::vec(".*", 0..3),
            hostname in proptest::option::of(".*"),
        ) {
            let config = Config { root, writable, task, stdin, insert, collect, hostname };
            prop_assert_eq!(Config::parse(&config.lines()), Ok(config));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "(?s).*") {
            let _ = Config::parse(&text);
            let _ = Config::parse(&format!("hostwright 1\n{text}"));
        }
    }

    #[test]
    fn an_argument_with_a_newline_and_an_empty_one_stay_words_of_their_own() {
        let argv = vec![b"a\nb c".to_vec(), Vec::new(), b"%".to_vec()];
        let config = Config { task: Task::Command { argv, env: vec![], cwd: None }, ..Config::default() };
        assert_eq!(config.lines(), "hostwright 1\ntask command\narg a%0Ab%20c\narg %\narg %25\n");
    }

    #[test]
    fn another_version_is_refused_with_its_line() {
        let error = Config::parse("hostwright 2\n").unwrap_err();
        assert_eq!(error.line, 1);
        assert!(Config::parse("").is_err());
    }
}
