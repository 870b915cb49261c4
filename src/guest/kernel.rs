// SPDX-License-Identifier: GPL-3.0-or-later
//! A kernel image: what it is, how QEMU starts it fastest, and what it can do.

use super::bzimage::{self, ImageError};
use super::cache;
use super::error::GuestError;
use super::index::Index;
use super::modules::{Abilities, parse_config};
use super::spec::KernelBoot;
use super::vmlinux::{self, ElfError};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// How QEMU starts a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// An ELF file with a PVH note: started in 32-bit mode directly, on microvm too.
    Pvh,
    /// A bzImage: through the firmware and the kernel's own setup and decompression code.
    BzImage,
}

/// A kernel that can be booted.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// The release (`6.1.0-56-amd64`), as the image says; "unknown" when it does not.
    pub release: String,
    /// The file for QEMU's `-kernel`: the ELF file taken out of the image (in the cache), else the image itself.
    pub boot: PathBuf,
    /// What [`Self::boot`] is.
    pub entry: Entry,
    /// Why it is no PVH entry, when it is none.
    pub slow_because: Option<String>,
    /// What it can do.
    pub abilities: Abilities,
}

/// Opens the kernel of `boot`. What is taken out of the image is kept below `cache`, by the image's path, size,
/// times and inode.
///
/// # Errors
/// When the image cannot be read, is truncated or is no x86 kernel; when its modules' folder was named and is
/// none.
pub fn open(boot: &KernelBoot, cache: &Path) -> Result<Kernel, GuestError> {
    let image = &boot.image;
    let file = |e| GuestError::file("read", image, e);
    let refused = |e: ImageError| {
        let text = e.to_string();
        let (reason, remedy) = text.rsplit_once("; ").unwrap_or((&text, "name another image"));
        GuestError::refused("kernel-image", format!("{}: {reason}", image.display()), remedy)
    };
    let mut source = File::open(image).map_err(file)?;
    let meta = source.metadata().map_err(file)?;
    if !meta.is_file() {
        return Err(refused(ImageError::Foreign));
    }
    let mut head = Vec::with_capacity(bzimage::HEAD);
    source.by_ref().take(bzimage::HEAD as u64).read_to_end(&mut head).map_err(file)?;
    let is_elf = head.starts_with(b"\x7fELF");
    let header = if is_elf {
        None
    } else {
        let header = bzimage::header(&head).map_err(refused)?;
        if meta.len() < header.length {
            return Err(refused(ImageError::Truncated { is: meta.len(), wanted: header.length }));
        }
        Some(header)
    };
    let key = cache::key("kernel 1", [cache::stamp(image).map_err(file)?]);
    let elf = cache.join(format!("kernel-{key}.elf"));
    let facts = cache.join(format!("kernel-{key}.txt"));
    let mut unpacked = None;
    let kept = std::fs::read_to_string(&facts).ok().and_then(|text| Kept::parse(&text));
    let kept = match kept.filter(|kept| kept.slow_because.is_some() || elf.exists()) {
        Some(kept) => {
            cache::touch(&facts);
            cache::touch(&elf);
            kept
        }
        None => {
            let mut bytes = head;
            source.read_to_end(&mut bytes).map_err(file)?;
            let (kept, plain) = unpack(&bytes, header.as_ref()).map_err(refused)?;
            if let Some(Ok(slim)) = &plain {
                cache::write(&elf, slim)?;
            }
            cache::write(&facts, kept.text().as_bytes())?;
            unpacked = plain.and_then(Result::ok);
            kept
        }
    };
    let release = header.and_then(|h| h.release).or(kept.release).unwrap_or_else(|| "unknown".to_owned());
    let abilities = abilities(boot, &release, || {
        unpacked.or_else(|| std::fs::read(&elf).ok()).as_deref().and_then(vmlinux::ikconfig)
    })?;
    let (boot, entry) = match &kept.slow_because {
        None => (elf, Entry::Pvh),
        Some(_) if is_elf => {
            return Err(GuestError::refused(
                "kernel-image",
                format!("{}: {}", image.display(), kept.slow_because.unwrap_or_default()),
                "name its bzImage (arch/x86/boot/bzImage of its build tree)",
            ));
        }
        Some(_) => (image.clone(), Entry::BzImage),
    };
    Ok(Kernel { release, boot, entry, slow_because: kept.slow_because, abilities })
}

/// The release that a bzImage says it is; `None` when it is no bzImage or says nothing.
///
/// # Errors
/// When the image cannot be read.
pub fn release_of(image: &Path) -> Result<Option<String>, GuestError> {
    let mut head = Vec::with_capacity(bzimage::HEAD);
    let source = File::open(image).map_err(|e| GuestError::file("read", image, e))?;
    let read = source.take(bzimage::HEAD as u64).read_to_end(&mut head);
    read.map_err(|e| GuestError::file("read", image, e))?;
    Ok(bzimage::header(&head).ok().and_then(|header| header.release))
}

/// What is remembered of an image beside the ELF file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    release: Option<String>,
    slow_because: Option<String>,
}

impl Kept {
    fn text(&self) -> String {
        let line = |key: &str, value: &Option<String>| {
            value.as_ref().map(|v| format!("{key} {}\n", v.replace('\n', " "))).unwrap_or_default()
        };
        format!("{}{}end\n", line("release", &self.release), line("slow", &self.slow_because))
    }

    fn parse(text: &str) -> Option<Self> {
        let lines = text.strip_suffix("end\n")?;
        let find = |key: &str| lines.lines().find_map(|l| l.strip_prefix(key)).map(str::to_owned);
        Some(Self { release: find("release "), slow_because: find("slow ") })
    }
}

type Slim = Result<Vec<u8>, ElfError>;

/// What an image holds, and its ELF file made small where it can be started directly.
fn unpack(bytes: &[u8], header: Option<&bzimage::Header>) -> Result<(Kept, Option<Slim>), ImageError> {
    let plain = match header {
        None => Ok(bytes.to_vec()),
        Some(header) => match &header.payload {
            None => Err(ImageError::Packing("a boot protocol older than 2.08".to_owned())),
            Some(range) => {
                let is = bytes.len() as u64;
                let packed =
                    bytes.get(range.clone()).ok_or(ImageError::Truncated { is, wanted: range.end as u64 })?;
                bzimage::unpack(packed)
            }
        },
    };
    match plain {
        Ok(plain) => {
            let slim = vmlinux::slim(&plain);
            let release = vmlinux::release(&plain);
            let slow_because = slim.as_ref().err().map(ToString::to_string);
            if header.is_none() && matches!(slim, Err(ElfError::Foreign(_))) {
                return Err(ImageError::Foreign);
            }
            Ok((Kept { release, slow_because }, Some(slim)))
        }
        // The image itself can unpack what cannot be unpacked here.
        Err(e @ ImageError::Packing(_)) => {
            Ok((Kept { release: None, slow_because: Some(e.to_string()) }, None))
        }
        Err(e) => Err(e),
    }
}

fn abilities(
    boot: &KernelBoot,
    release: &str,
    ikconfig: impl FnOnce() -> Option<String>,
) -> Result<Abilities, GuestError> {
    let folder = match &boot.modules {
        Some(folder) => Some(folder.clone()),
        None => modules_beside(&boot.image, release),
    };
    // A kernel of which everything is built in has no modules.
    let index = match (folder, &boot.modules) {
        (Some(folder), Some(_)) => Some(Index::open(&folder)?),
        (Some(folder), None) => Index::open(&folder).ok(),
        (None, _) => None,
    };
    let text = match &boot.config {
        Some(path) => Some(std::fs::read_to_string(path).map_err(|e| GuestError::file("read", path, e))?),
        None => config_places(&boot.image, release, boot.modules.as_deref())
            .into_iter()
            .find_map(|place| std::fs::read_to_string(place).ok())
            .or_else(|| if index.is_none() { ikconfig() } else { None }),
    };
    Ok(Abilities { config: text.as_deref().map(parse_config), index })
}

/// The build tree of an image that lies in one (`TREE/arch/x86/boot/bzImage`, `TREE/vmlinux`).
fn build_tree(image: &Path) -> Option<PathBuf> {
    let real = image.canonicalize().ok()?;
    let tree = match real.file_name()?.to_str()? {
        "bzImage" => real.parent()?.parent()?.parent()?.parent()?,
        "vmlinux" => real.parent()?,
        _ => return None,
    };
    tree.join("modules.order").exists().then(|| tree.to_owned())
}

fn modules_beside(image: &Path, release: &str) -> Option<PathBuf> {
    if let Some(tree) = build_tree(image) {
        return Some(tree);
    }
    let beside = image.parent().filter(|p| p.join("modules.dep").exists()).map(Path::to_owned);
    beside.or_else(|| {
        // ROOT/boot/vmlinuz-R belongs to ROOT/lib/modules/R.
        let root = image.parent()?.parent()?;
        ["usr/lib/modules", "lib/modules"]
            .iter()
            .map(|dir| root.join(dir).join(release))
            .chain([Path::new("/lib/modules").join(release)])
            .find(|folder| folder.join("modules.dep").exists())
    })
}

fn config_places(image: &Path, release: &str, modules: Option<&Path>) -> Vec<PathBuf> {
    let mut places = Vec::new();
    places.extend(build_tree(image).map(|tree| tree.join(".config")));
    places.extend(image.parent().map(|dir| dir.join(format!("config-{release}"))));
    places.extend(modules.map(|dir| dir.join("config")));
    places.extend(image.parent().map(|dir| dir.join("config")).filter(|_| image.ends_with("vmlinuz")));
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::spec::{GuestRoot, Task};

    fn boot(image: &Path) -> KernelBoot {
        KernelBoot {
            image: image.to_owned(),
            modules: None,
            config: None,
            root: GuestRoot::None,
            writable: false,
            task: Task::Command { argv: vec![], env: vec![], cwd: None },
            append: vec![],
            insert: vec![],
            collect: vec![],
        }
    }

    #[test]
    fn what_is_no_kernel_is_refused_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a file, with spaces");
        std::fs::write(&file, "text").unwrap();
        let error = open(&boot(&file), dir.path()).unwrap_err().to_string();
        assert!(error.contains("no x86 kernel image") && error.contains("name a bzImage"), "{error}");
        let error = open(&boot(dir.path()), dir.path()).unwrap_err().to_string();
        assert!(error.contains("no x86 kernel image"), "{error}");
        let error = open(&boot(&dir.path().join("none")), dir.path()).unwrap_err().to_string();
        assert!(error.contains("could not read"), "{error}");
    }

    #[test]
    fn a_truncated_image_is_told_with_both_sizes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("vmlinuz");
        let mut image = vec![0; 2048];
        image[0x1f1] = 1;
        image[0x1fe..0x206].copy_from_slice(b"\x55\xaa\0\0HdrS");
        image[0x1f4] = 0xff;
        std::fs::write(&file, &image).unwrap();
        let error = open(&boot(&file), dir.path()).unwrap_err().to_string();
        assert!(error.contains("truncated: 2048 bytes of at least 5104; copy"), "{error}");
    }

    #[test]
    fn what_is_remembered_of_an_image_is_read_back_or_not_at_all() {
        let kept = Kept { release: Some("6.1".into()), slow_because: Some("a\nb".into()) };
        assert_eq!(Kept::parse(&kept.text()).unwrap().slow_because.as_deref(), Some("a b"));
        assert_eq!(Kept::parse("release 6.1\n"), None);
    }

    /// With a kernel that this machine has; the tests in QEMU use another.
    #[test]
    fn an_installed_kernel_is_opened_and_the_second_time_from_the_cache() {
        let Some(image) = std::fs::read_dir("/boot").ok().and_then(|mut entries| {
            entries.find_map(|e| {
                let path = e.ok()?.path();
                path.file_name()?.to_str()?.starts_with("vmlinuz-").then_some(path)
            })
        }) else {
            return eprintln!("no kernel is installed in /boot: nothing to open");
        };
        let cache = tempfile::tempdir().unwrap();
        let kernel = open(&boot(&image), cache.path()).unwrap();
        assert!(image.to_string_lossy().contains(&kernel.release));
        let again = open(&boot(&image), cache.path()).unwrap();
        assert_eq!((again.boot, again.entry, again.release), (kernel.boot, kernel.entry, kernel.release));
    }
}
