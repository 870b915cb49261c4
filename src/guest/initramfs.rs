// SPDX-License-Identifier: GPL-3.0-or-later
//! The initramfs: our init and the modules that this guest needs (kept in the cache), and behind them what one
//! boot is to do.

use super::cache;
use super::error::GuestError;
use super::kernel::Kernel;
use super::modules::{Module, Need};
use super::program::{self, Files};
use super::spec::{GuestRoot, KernelBoot, Task};
use crate::detect::modules::decompress;
use crate::init::config::{self, Config};
use crate::init::newc::Archive;
use crate::init::protocol::{CONFIG, MODULES, escape};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// An initramfs for one boot.
#[derive(Debug)]
pub struct Initramfs {
    /// The part that other boots use again, in the cache.
    pub base: PathBuf,
    /// The part of this boot.
    pub tail: Vec<u8>,
}

impl Initramfs {
    /// Both parts in one file in memory, for `-initrd /proc/self/fd/N`: nothing is left of it.
    ///
    /// # Errors
    /// When memory or the cached part is not to be had.
    pub fn file(&self) -> Result<File, GuestError> {
        use rustix::fs::{MemfdFlags, SealFlags};
        let made = (|| {
            let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
            let mut file = File::from(rustix::fs::memfd_create("hostwright-initramfs", flags)?);
            io::copy(&mut File::open(&self.base)?, &mut file)?;
            io::Write::write_all(&mut file, &self.tail)?;
            rustix::fs::fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK)?;
            Ok(file)
        })();
        made.map_err(|e| GuestError::file("put the initramfs into memory from", &self.base, e))
    }
}

/// Makes the initramfs of `boot`: what `needs` says as modules, the modules to insert, with `--root none` the
/// command's program with its libraries, and `config`, of which the caller chooses `root`, `stdin` and
/// `hostname`; the rest is taken from `boot`.
///
/// # Errors
/// When the kernel lacks something (with the missing option's name), or a file cannot be read or written.
pub fn prepare(
    boot: &KernelBoot,
    kernel: &Kernel,
    needs: &BTreeSet<Need>,
    config: Config,
    cache: &Path,
) -> Result<Initramfs, GuestError> {
    kernel
        .abilities
        .require([&Need::Initramfs].into_iter().chain(needs.iter().filter(|n| n.file_system().is_none())))?;
    let modules = kernel.abilities.modules(needs)?;
    let files = match (&boot.root, &boot.task) {
        (GuestRoot::None, Task::Command { argv, .. }) => match argv.first() {
            Some(program) => program::closure(program)?,
            None => Files::new(),
        },
        _ => Files::new(),
    };
    let base = base(&modules, &files, cache)?;
    Ok(Initramfs { base, tail: tail(boot, config)? })
}

/// The part that other boots use again.
fn base(modules: &[Module], files: &Files, cache: &Path) -> Result<PathBuf, GuestError> {
    let stamp = |path: &Path| cache::stamp(path).map_err(|e| GuestError::file("read", path, e));
    let mut parts = vec![init_digest().to_owned()];
    for module in modules {
        parts.push(format!("{} {:?} {}", module.name, module.only_for, module.optional));
        parts.push(stamp(&module.file)?);
    }
    for (path, file) in files {
        parts.push(format!("{:?}", path.as_os_str()));
        parts.push(stamp(file)?);
    }
    let path = cache.join(format!("initramfs-{}.cpio", cache::key("initramfs 1", parts)));
    if path.exists() {
        cache::touch(&path);
    } else {
        cache::write(&path, &archive(modules, files)?)?;
    }
    Ok(path)
}

/// The program's digest is asked for at every boot: once is enough.
fn init_digest() -> &'static str {
    static DIGEST: OnceLock<String> = OnceLock::new();
    DIGEST.get_or_init(|| hex::encode(Sha256::digest(super::init_image())))
}

fn archive(modules: &[Module], files: &Files) -> Result<Vec<u8>, GuestError> {
    let mut tree = Tree::new();
    tree.folder("dev");
    tree.write(|out| out.device(b"dev/console", 0o600, 5, 1));
    tree.write(|out| out.device(b"dev/null", 0o666, 1, 3));
    for folder in ["proc", "sys", "run", "tmp", "root", "hostwright", "hostwright/modules.d"] {
        tree.folder(folder);
    }
    tree.write(|out| out.file(b"init", 0o755, super::init_image()));
    let mut list = String::new();
    for (number, module) in modules.iter().enumerate() {
        let bytes = plain_module(&module.file)?;
        let path = format!("hostwright/modules.d/{number:02}-{}.ko", module.name);
        tree.write(|out| out.file(path.as_bytes(), 0o644, &bytes));
        let group = module.only_for.unwrap_or("always");
        let must = if module.optional { "may" } else { "must" };
        list.push_str(&format!("{group} {must} {}\n", escape(format!("/{path}").as_bytes())));
    }
    tree.write(|out| out.file(MODULES.trim_start_matches('/').as_bytes(), 0o644, list.as_bytes()));
    for (path, file) in files {
        let read = |e| GuestError::file("read", file, e);
        let bytes = std::fs::read(file).map_err(read)?;
        let mode = file.metadata().map_err(read)?.permissions().mode() & 0o777;
        tree.file(path, mode, &bytes);
    }
    tree.finish()
}

/// The part of one boot.
fn tail(boot: &KernelBoot, mut config: Config) -> Result<Vec<u8>, GuestError> {
    config.writable = boot.writable;
    config.collect.clone_from(&boot.collect);
    config.task = match &boot.task {
        Task::Command { argv, env, cwd } => config::Task::Command {
            argv: argv.iter().map(|word| word.clone().into_bytes()).collect(),
            env: env.iter().map(|(n, v)| (n.clone().into_bytes(), v.clone().into_bytes())).collect(),
            cwd: cwd.clone().map(String::into_bytes),
        },
        Task::Init { path, args } => config::Task::Init { path: path.clone(), args: args.clone() },
        Task::Rehearse { only_load } => config::Task::Rehearse { only_load: *only_load },
        Task::Measure { milliseconds } => config::Task::Measure { milliseconds: *milliseconds },
    };
    let mut tree = Tree::new();
    tree.folder("hostwright");
    tree.folder("hostwright/insert");
    for (number, file) in boot.insert.iter().enumerate() {
        let name = file.file_name().map(OsStrExt::as_bytes).unwrap_or_default();
        let name = String::from_utf8_lossy(name);
        let name = name.split_once(".ko").map_or(&*name, |(stem, _)| stem);
        let path = format!("hostwright/insert/{number:02}-{name}.ko");
        let bytes = plain_module(file)?;
        tree.write(|out| out.file(path.as_bytes(), 0o644, &bytes));
        config.insert.push(format!("/{path}"));
    }
    tree.write(|out| out.file(CONFIG.trim_start_matches('/').as_bytes(), 0o600, config.lines().as_bytes()));
    tree.finish()
}

/// A module as every kernel takes it: only some can unpack it themselves.
fn plain_module(file: &Path) -> Result<Vec<u8>, GuestError> {
    let bytes = std::fs::read(file).map_err(|e| GuestError::file("read", file, e))?;
    let plain = decompress(&bytes).map_err(|e| {
        GuestError::refused(
            "module-damaged",
            format!("{} is no usable module", file.display()),
            e.to_string(),
        )
    })?;
    Ok(plain.into_owned())
}

/// An archive in which every file's folders come before it, once.
struct Tree {
    out: Option<Archive<Vec<u8>>>,
    folders: BTreeSet<PathBuf>,
    failed: Option<io::Error>,
}

impl Tree {
    fn new() -> Self {
        Self { out: Some(Archive::new(Vec::new())), folders: BTreeSet::new(), failed: None }
    }

    fn write(&mut self, entry: impl FnOnce(&mut Archive<Vec<u8>>) -> io::Result<()>) {
        if let (Some(out), None) = (&mut self.out, &self.failed) {
            self.failed = entry(out).err();
        }
    }

    fn folder(&mut self, name: &str) {
        if self.folders.insert(PathBuf::from(name)) {
            self.write(|out| out.folder(name.as_bytes(), 0o755));
        }
    }

    fn file(&mut self, path: &Path, mode: u32, bytes: &[u8]) {
        let path = path.strip_prefix("/").unwrap_or(path);
        let mut above: Vec<&Path> = path.ancestors().skip(1).filter(|p| !p.as_os_str().is_empty()).collect();
        above.reverse();
        for folder in above {
            if self.folders.insert(folder.to_owned()) {
                self.write(|out| out.folder(folder.as_os_str().as_bytes(), 0o755));
            }
        }
        self.write(|out| out.file(path.as_os_str().as_bytes(), mode, bytes));
    }

    fn finish(mut self) -> Result<Vec<u8>, GuestError> {
        let system = |source| GuestError::System { what: "write the initramfs", source };
        if let Some(failed) = self.failed {
            return Err(system(failed));
        }
        let mut bytes = self.out.take().map_or(Ok(Vec::new()), Archive::finish).map_err(system)?;
        // Archives behind one another begin at a multiple of four bytes.
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        Ok(bytes)
    }
}
