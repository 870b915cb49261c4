// SPDX-License-Identifier: GPL-3.0-or-later
//! The modules of one kernel: by `modules.dep` where it is installed, by `modules.order` and the modules
//! themselves in a build tree.

use super::error::GuestError;
use super::modules::Module;
use crate::detect::modules::{Modinfo, decompress, module_name};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The modules of one kernel.
#[derive(Debug, Clone, Default)]
pub struct Index {
    folder: PathBuf,
    /// Name → path below the folder, and the names it depends on (`None`: the module itself tells).
    modules: HashMap<String, (String, Option<Vec<String>>)>,
    built_in: Option<BTreeSet<String>>,
    /// Modules that are to be inserted before one, where there are (`modules.softdep`).
    before: BTreeMap<String, Vec<String>>,
    /// Other names (`crc32c` is `crc32c_generic` and `crc32c_intel`), of those that `before` has.
    /// Read when first asked for: the file is large.
    aliases: OnceLock<BTreeMap<String, Vec<String>>>,
}

impl Index {
    /// Reads the index of a folder (`/lib/modules/RELEASE`, or a build tree).
    ///
    /// # Errors
    /// When the folder has neither `modules.dep` nor `modules.order`, or one that cannot be read.
    pub fn open(folder: &Path) -> Result<Self, GuestError> {
        let text = |name: &str| read_text(&folder.join(name));
        let built_in = text("modules.builtin")?.map(|t| t.lines().filter_map(module_name).collect());
        let mut index = Self { folder: folder.to_owned(), built_in, ..Self::default() };
        if let Some(dep) = text("modules.dep")? {
            index.modules = parse_dep(&dep);
            index.before = parse_softdep(&text("modules.softdep")?.unwrap_or_default());
        } else if let Some(order) = text("modules.order")? {
            index.modules = parse_order(&order);
        } else {
            return Err(GuestError::refused(
                "no-modules",
                format!("{} has neither modules.dep nor modules.order", folder.display()),
                "name the folder of this kernel's modules (/lib/modules/RELEASE, after `depmod`), or its build tree",
            ));
        }
        Ok(index)
    }

    /// The folder it was read from.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether there is such a module.
    pub fn contains(&self, module: &str) -> bool {
        self.modules.contains_key(module)
    }

    /// Whether it is built in for certain.
    pub fn is_built_in(&self, module: &str) -> bool {
        self.built_in.as_ref().is_some_and(|names| names.contains(module))
    }

    /// Whether all that is built in is known.
    pub fn knows_built_in(&self) -> bool {
        self.built_in.is_some()
    }

    fn aliases(&self) -> &BTreeMap<String, Vec<String>> {
        self.aliases.get_or_init(|| {
            // Without the file a module is only known by its own name.
            let text = read_text(&self.folder.join("modules.alias")).ok().flatten().unwrap_or_default();
            parse_alias(&text, &self.before.values().flatten().map(String::as_str).collect())
        })
    }

    /// Puts `name` behind all that it depends on into `list`, unless it is there.
    ///
    /// # Errors
    /// When a module must be read to know what it depends on, and cannot be.
    pub fn resolve(
        &self,
        name: &str,
        only_for: Option<&'static str>,
        list: &mut Vec<Module>,
    ) -> Result<(), GuestError> {
        self.add(name, only_for, false, &mut BTreeSet::new(), list)
    }

    fn add(
        &self,
        name: &str,
        only_for: Option<&'static str>,
        optional: bool,
        open: &mut BTreeSet<String>,
        list: &mut Vec<Module>,
    ) -> Result<(), GuestError> {
        let is_there = |m: &Module| m.name == name && (m.only_for.is_none() || m.only_for == only_for);
        if list.iter().any(is_there) || !open.insert(name.to_owned()) {
            return Ok(());
        }
        let Some((path, depends)) = self.modules.get(name) else { return Ok(()) };
        let file = self.folder.join(path);
        let depends = match depends {
            Some(depends) => depends.clone(),
            None => depends_of(&file)?,
        };
        for before in self.before.get(name).into_iter().flatten() {
            let others = self.aliases().get(before).map_or(std::slice::from_ref(before), Vec::as_slice);
            for other in others {
                self.add(other, only_for, true, open, list)?;
            }
        }
        for dependency in &depends {
            self.add(dependency, only_for, optional, open, list)?;
        }
        list.push(Module { name: name.to_owned(), file, only_for, optional });
        Ok(())
    }
}

fn read_text(path: &Path) -> Result<Option<String>, GuestError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(GuestError::file("read", path, e)),
    }
}

fn depends_of(file: &Path) -> Result<Vec<String>, GuestError> {
    let bytes = std::fs::read(file).map_err(|e| GuestError::file("read", file, e))?;
    let refused = |e: crate::detect::modules::ModuleError| {
        GuestError::refused(
            "module-damaged",
            format!("{} is no usable module", file.display()),
            e.to_string(),
        )
    };
    let plain = decompress(&bytes).map_err(refused)?;
    let info = Modinfo::of_module(&plain).map_err(refused)?;
    let depends = info.fields.iter().filter(|(key, _)| key == "depends");
    Ok(depends
        .flat_map(|(_, names)| names.split(','))
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect())
}

type Modules = HashMap<String, (String, Option<Vec<String>>)>;

/// `kernel/fs/9p/9p.ko: kernel/net/9p/9pnet.ko …`: the last one is to be inserted first (modules.dep(5)).
pub fn parse_dep(text: &str) -> Modules {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .filter_map(|(path, depends)| {
            let depends = depends.split_ascii_whitespace().rev().filter_map(module_name).collect();
            Some((module_name(path)?, (path.to_owned(), Some(depends))))
        })
        .collect()
}

/// Paths of a build tree; older kernels have a prefix `kernel/`, and `.o` for `.ko` since 6.3.
pub fn parse_order(text: &str) -> Modules {
    text.lines()
        .filter_map(|line| {
            let path = line.trim().strip_prefix("kernel/").unwrap_or(line.trim());
            let path = path.strip_suffix(".o").map_or_else(|| path.to_owned(), |stem| format!("{stem}.ko"));
            Some((module_name(&path)?, (path, None)))
        })
        .collect()
}

/// `softdep NAME pre: a b post: c`: what stands behind `pre:`.
pub fn parse_softdep(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut before: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("softdep") {
            continue;
        }
        let Some(name) = words.next() else { continue };
        let mut is_before = false;
        for word in words {
            match word {
                "pre:" => is_before = true,
                "post:" => is_before = false,
                other if is_before => {
                    before.entry(name.replace('-', "_")).or_default().push(other.replace('-', "_"));
                }
                _ => {}
            }
        }
    }
    before
}

/// `alias OTHER NAME`: of the wanted others.
pub fn parse_alias(text: &str, wanted: &BTreeSet<&str>) -> BTreeMap<String, Vec<String>> {
    let mut aliases: BTreeMap<String, Vec<String>> = BTreeMap::new();
    if wanted.is_empty() {
        return aliases;
    }
    for line in text.lines() {
        let Some((other, name)) = line.strip_prefix("alias ").and_then(|l| l.split_once(' ')) else {
            continue;
        };
        // Patterns for devices hold a colon; there are tens of thousands of them.
        if !other.contains(':') && wanted.contains(other.replace('-', "_").as_str()) {
            aliases.entry(other.replace('-', "_")).or_default().push(name.trim().replace('-', "_"));
        }
    }
    aliases
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn index(dep: &str, softdep: &str, alias: &str) -> Index {
        let before = parse_softdep(softdep);
        let wanted: BTreeSet<&str> = before.values().flatten().map(String::as_str).collect();
        let aliases = parse_alias(alias, &wanted);
        Index {
            folder: "/m".into(),
            modules: parse_dep(dep),
            built_in: None,
            before,
            aliases: aliases.into(),
        }
    }

    fn names(list: &[Module]) -> Vec<&str> {
        list.iter().map(|m| m.name.as_str()).collect()
    }

    #[test]
    fn modules_come_after_what_they_depend_on_and_once() {
        let index = index(
            "kernel/fs/9p/9p.ko: kernel/net/9p/9pnet.ko kernel/fs/fscache.ko kernel/fs/netfs.ko\n\
             kernel/net/9p/9pnet.ko:\nkernel/fs/fscache.ko: kernel/fs/netfs.ko\nkernel/fs/netfs.ko:\n\
             kernel/net/9p/9pnet_virtio.ko.xz: kernel/net/9p/9pnet.ko\n",
            "",
            "",
        );
        let mut list = Vec::new();
        index.resolve("9pnet_virtio", None, &mut list).unwrap();
        index.resolve("9p", None, &mut list).unwrap();
        assert_eq!(names(&list), ["9pnet", "9pnet_virtio", "netfs", "fscache", "9p"]);
        assert_eq!(list[1].file, Path::new("/m/kernel/net/9p/9pnet_virtio.ko.xz"));
    }

    #[test]
    fn what_is_wanted_before_is_there_under_all_its_names_and_may_be_refused() {
        let index = index(
            "kernel/ext4.ko: kernel/mbcache.ko\nkernel/mbcache.ko:\nkernel/crc32c-intel.ko:\nkernel/crc32c_generic.ko:\n",
            "# Soft dependencies\nsoftdep ext4 pre: crc32c missing post: mbcache\n",
            "alias crc32c crc32c_intel\nalias crc32c crc32c_generic\nalias pci:v* x\n",
        );
        let mut list = Vec::new();
        index.resolve("ext4", Some("ext4"), &mut list).unwrap();
        assert_eq!(names(&list), ["crc32c_intel", "crc32c_generic", "mbcache", "ext4"]);
        assert_eq!(list.iter().map(|m| m.optional).collect::<Vec<_>>(), [true, true, false, false]);
        assert!(list.iter().all(|m| m.only_for == Some("ext4")));
    }

    #[test]
    fn a_circle_of_modules_ends() {
        let index = index("kernel/a.ko: kernel/b.ko\nkernel/b.ko: kernel/a.ko\n", "", "");
        let mut list = Vec::new();
        index.resolve("a", None, &mut list).unwrap();
        assert_eq!(names(&list), ["b", "a"]);
    }

    #[test]
    fn a_build_tree_of_any_age_is_read() {
        for order in ["kernel/fs/fuse/virtiofs.ko\n", "fs/fuse/virtiofs.ko\n", "fs/fuse/virtiofs.o\n"] {
            assert_eq!(parse_order(order)["virtiofs"].0, "fs/fuse/virtiofs.ko");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in "(?s).*", line in "(softdep|alias) [a-z: -]{0,30}") {
            parse_dep(&text);
            parse_order(&text);
            parse_softdep(&text);
            parse_softdep(&line);
            parse_alias(&line, &BTreeSet::from(["a"]));
        }
    }
}
