// SPDX-License-Identifier: GPL-3.0-or-later
//! From what a person writes (`6.1.0-56-amd64`, `~/linux`, `host`, `4G`) to what a guest is made of.

use crate::guest::GuestError;
use crate::guest::kernel::release_of;
use crate::guest::spec::{GuestRoot, ImageFormat};
use std::path::{Path, PathBuf};

/// A kernel, and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelPlace {
    /// The image.
    pub image: PathBuf,
    /// Its modules.
    pub modules: Option<PathBuf>,
    /// Its configuration.
    pub config: Option<PathBuf>,
}

/// Finds a kernel by its release (`running`: the one that runs here), by the path of an image, or by a build tree.
///
/// # Errors
/// When there is none, with the releases that there are.
pub fn kernel(wanted: &str) -> Result<KernelPlace, GuestError> {
    kernel_below(Path::new("/"), wanted)
}

fn kernel_below(top: &Path, wanted: &str) -> Result<KernelPlace, GuestError> {
    let path = Path::new(wanted);
    if path.is_dir() {
        return tree(path);
    }
    if path.is_file() {
        return image(top, path);
    }
    if wanted.contains('/') {
        return Err(GuestError::refused(
            "no-kernel",
            format!("there is no kernel image {wanted}"),
            "name a release, an image or a build tree",
        ));
    }
    let running;
    let release = if wanted == "running" {
        running = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        running.trim()
    } else {
        wanted
    };
    let places = [
        top.join("boot").join(format!("vmlinuz-{release}")),
        top.join("lib/modules").join(release).join("vmlinuz"),
        top.join("usr/lib/modules").join(release).join("vmlinuz"),
    ];
    let Some(found) = places.into_iter().find(|p| p.is_file()) else {
        let there = releases(top);
        let there = if there.is_empty() {
            "no kernel image is in /boot or below /lib/modules; install one, or name an image by its path"
                .to_owned()
        } else {
            format!("name one of {}, or an image by its path", there.join(", "))
        };
        return Err(GuestError::refused("no-kernel", format!("there is no kernel {release} here"), there));
    };
    Ok(KernelPlace {
        modules: directory(top.join("lib/modules").join(release)),
        config: file(top.join("boot").join(format!("config-{release}")))
            .or_else(|| file(top.join("lib/modules").join(release).join("config"))),
        image: found,
    })
}

/// The releases whose images are on this machine.
pub fn releases(top: &Path) -> Vec<String> {
    let names = |dir: PathBuf| std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut all: Vec<String> = names(top.join("boot"))
        .filter_map(|e| Some(e.file_name().to_str()?.strip_prefix("vmlinuz-")?.to_owned()))
        .collect();
    all.extend(
        names(top.join("lib/modules"))
            .filter(|e| e.path().join("vmlinuz").is_file())
            .filter_map(|e| e.file_name().into_string().ok()),
    );
    all.sort();
    all.dedup();
    all
}

/// An image by its path; what belongs to it is looked for beside it, then on this machine.
fn image(top: &Path, path: &Path) -> Result<KernelPlace, GuestError> {
    let path = &std::path::absolute(path).map_err(|e| GuestError::file("find", path, e))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    // arch/x86/boot/bzImage of a build tree, whose configuration is at its top.
    if let Some(tree) = folder.ancestors().nth(3)
        && folder.ends_with("arch/x86/boot")
    {
        return Ok(KernelPlace { image: path.clone(), modules: None, config: file(tree.join(".config")) });
    }
    // /lib/modules/RELEASE/vmlinuz
    if folder.join("modules.dep").is_file() {
        let config = file(folder.join("config"));
        return Ok(KernelPlace { image: path.clone(), modules: Some(folder.to_owned()), config });
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Some(release) = release_of(path)?.or_else(|| name.split_once('-').map(|(_, r)| r.to_owned())) else {
        return Ok(KernelPlace { image: path.clone(), modules: None, config: None });
    };
    // boot/vmlinuz-RELEASE of some tree: its own modules, before those of this machine.
    let beside = folder.parent().unwrap_or(Path::new("/"));
    let modules = [beside, top].iter().find_map(|t| directory(t.join("lib/modules").join(&release)));
    let configs =
        [folder.join(format!("config-{release}")), top.join("boot").join(format!("config-{release}"))];
    Ok(KernelPlace { image: path.clone(), modules, config: configs.into_iter().find_map(file) })
}

/// A build tree.
fn tree(path: &Path) -> Result<KernelPlace, GuestError> {
    let path = std::path::absolute(path).map_err(|e| GuestError::file("find", path, e))?;
    let image = path.join("arch/x86/boot/bzImage");
    if !image.is_file() {
        return Err(GuestError::refused(
            "no-kernel",
            format!("{} holds no arch/x86/boot/bzImage", path.display()),
            "build the kernel there (`make bzImage`), or name an image",
        ));
    }
    Ok(KernelPlace { image, modules: None, config: file(path.join(".config")) })
}

fn file(path: PathBuf) -> Option<PathBuf> {
    path.is_file().then_some(path)
}

fn directory(path: PathBuf) -> Option<PathBuf> {
    path.is_dir().then_some(path)
}

/// A root: `none`, `host`, a directory or an image.
///
/// # Errors
/// When there is no such file.
pub fn root(wanted: &Path) -> Result<GuestRoot, GuestError> {
    match wanted.to_str() {
        Some("none") => return Ok(GuestRoot::None),
        Some("host") => return Ok(GuestRoot::Directory { path: PathBuf::from("/") }),
        _ => {}
    }
    let path = wanted.canonicalize().map_err(|e| GuestError::file("find the root", wanted, e))?;
    if path.is_dir() {
        return Ok(GuestRoot::Directory { path });
    }
    Ok(GuestRoot::Image { format: format(&path)?, path })
}

/// How an image is written, by its first bytes (QEMU's docs/interop/qcow2.txt).
///
/// # Errors
/// When it cannot be read.
pub fn format(path: &Path) -> Result<ImageFormat, GuestError> {
    use std::io::Read;
    let mut magic = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| GuestError::file("open", path, e))?;
    file.take(4).read_to_end(&mut magic).map_err(|e| GuestError::file("read", path, e))?;
    Ok(if magic == b"QFI\xfb" { ImageFormat::Qcow2 } else { ImageFormat::Raw })
}

/// A size: a number of bytes, or one with K, M, G or T (powers of 1024).
///
/// # Errors
/// When it is none, in words.
pub fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no size; write for instance 512M or 20G");
    let text = text.trim().trim_end_matches("iB").trim_end_matches('B');
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).filter(|n| *n > 0).ok_or_else(wrong)
}

/// A time in seconds: a number, or one with s, m or h; 0 for none.
///
/// # Errors
/// When it is none, in words.
pub fn seconds(text: &str) -> Result<u32, String> {
    let wrong = || format!("`{text}` is no time; write for instance 90, 90s, 10m or 2h");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    digits.parse::<u32>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for path in [
            "boot/vmlinuz-6.1.0-1-amd64",
            "boot/config-6.1.0-1-amd64",
            "lib/modules/6.1.0-1-amd64/modules.dep",
            "lib/modules/6.9.1-arch1-1/vmlinuz",
            "lib/modules/6.9.1-arch1-1/modules.dep",
            "linux, my tree/arch/x86/boot/bzImage",
            "linux, my tree/.config",
        ] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        dir
    }

    #[test]
    fn a_kernel_is_found_by_release_with_all_that_belongs_to_it() {
        let dir = machine();
        let at = |p: &str| dir.path().join(p);
        let debian = kernel_below(dir.path(), "6.1.0-1-amd64").unwrap();
        assert_eq!(debian.image, at("boot/vmlinuz-6.1.0-1-amd64"));
        assert_eq!(debian.modules, Some(at("lib/modules/6.1.0-1-amd64")));
        assert_eq!(debian.config, Some(at("boot/config-6.1.0-1-amd64")));
        let arch = kernel_below(dir.path(), "6.9.1-arch1-1").unwrap();
        assert_eq!(arch.image, at("lib/modules/6.9.1-arch1-1/vmlinuz"));
        let error = kernel_below(dir.path(), "5.0").unwrap_err().to_string();
        assert!(error.contains("6.1.0-1-amd64, 6.9.1-arch1-1"), "{error}");
    }

    #[test]
    fn an_image_brings_the_modules_of_its_own_tree() {
        let dir = machine();
        let path = dir.path().join("boot/vmlinuz-6.1.0-1-amd64");
        let place = kernel_below(Path::new("/nonexistent"), path.to_str().unwrap()).unwrap();
        assert_eq!(place.modules, Some(dir.path().join("lib/modules/6.1.0-1-amd64")));
        assert_eq!(place.config, Some(dir.path().join("boot/config-6.1.0-1-amd64")));
    }

    #[test]
    fn a_build_tree_is_a_kernel_also_with_commas_in_its_name() {
        let dir = machine();
        let tree = dir.path().join("linux, my tree");
        let by_tree = kernel_below(dir.path(), tree.to_str().unwrap()).unwrap();
        let image = tree.join("arch/x86/boot/bzImage");
        assert_eq!(by_tree.config, Some(tree.join(".config")));
        assert_eq!(kernel_below(dir.path(), image.to_str().unwrap()).unwrap(), by_tree);
        assert!(
            kernel_below(dir.path(), dir.path().to_str().unwrap())
                .unwrap_err()
                .to_string()
                .contains("bzImage")
        );
    }

    #[test]
    fn sizes_and_times_are_read_as_people_write_them() {
        assert_eq!(size("20G"), Ok(20 << 30));
        assert_eq!(size("512MiB"), Ok(512 << 20));
        assert_eq!(size("1024"), Ok(1024));
        for bad in ["", "G", "0", "-1G", "1.5G", "20X", "99999999999T"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert_eq!((seconds("90"), seconds("10m"), seconds("0")), (Ok(90), Ok(600), Ok(0)));
        for bad in ["", "m", "-1", "1d", "9999999999", "4294967295h"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
