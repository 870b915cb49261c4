// SPDX-License-Identifier: GPL-3.0-or-later
//! The main job on a scratch root, by the real binary with the real compiler: this machine's kernel headers,
//! the practice sources, apply, look, apply again, undo, compare.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail the test")]

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A scratch root with one of this machine's kernels and the practice sources in VMware's place.
struct Practice {
    dir: tempfile::TempDir,
    release: String,
}

fn sh(script: &str) {
    let output = Command::new("sh").args(["-euc", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The newest kernel of this machine with headers; `make deps` installs one.
fn release() -> String {
    let mut found: Vec<String> = std::fs::read_dir("/lib/modules")
        .expect("no /lib/modules; run `make deps`")
        .filter_map(|e| e.unwrap().file_name().into_string().ok())
        .filter(|r| Path::new(&format!("/lib/modules/{r}/build/Module.symvers")).exists())
        .collect();
    found.sort();
    found.pop().expect("no kernel headers are installed; run `make deps`")
}

impl Practice {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let release = release();
        let root = dir.path().display();
        let project = env!("CARGO_MANIFEST_DIR");
        sh(&format!(
            "cd {root}
             mkdir -p usr/lib/modules/{release} usr/src usr/bin usr/lib/vmware/modules/source etc/vmware boot proc
             ln -s usr/lib lib
             cp -a /lib/modules/{release}/build /lib/modules/{release}/modules.builtin* /lib/modules/{release}/modules.order lib/modules/{release}/
             mkdir -p lib/modules/{release}/kernel
             cp -a /lib/modules/{release}/kernel/lib lib/modules/{release}/kernel/
             if [ -L /lib/modules/{release}/source ]; then cp -a /lib/modules/{release}/source lib/modules/{release}/; fi
             # Links where they can be: nothing writes into these trees.
             cp -al /usr/src/linux-headers-* usr/src/ 2>/dev/null || {{ rm -rf usr/src/*; cp -a /usr/src/linux-headers-* usr/src/; }}
             cp -a /usr/lib/linux-kbuild-* usr/lib/
             cp /etc/os-release etc/
             printf 'product.name = \"VMware Workstation\"\\nproduct.version = \"17.5.1\"\\nlibdir = \"/usr/lib/vmware\"\\n' > etc/vmware/config
             for m in vmmon vmnet; do tar -C {project}/data/practice -cf usr/lib/vmware/modules/source/$m.tar $m-only; done
             depmod -b . {release}"
        ));
        // Tests run as root too: then another user builds, who must be able to pass through.
        sh(&format!("chmod 755 {root}"));
        Self { dir, release }
    }

    fn root(&self) -> &Path {
        self.dir.path()
    }

    fn hostwright(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_hostwright"))
            .arg("--root")
            .arg(self.root())
            .args(args)
            .env("NO_COLOR", "1")
            .output()
            .unwrap()
    }

    /// Runs and expects an exit status; returns both streams.
    fn expect(&self, status: i32, args: &[&str]) -> String {
        let output = self.hostwright(args);
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(status), "hostwright {}:\n{text}", args.join(" "));
        text
    }

    fn modules(&self) -> PathBuf {
        self.root().join("usr/lib/modules").join(&self.release)
    }

    /// Everything but Hostwright's own history and caches: path → kind, mode, owner, content.
    fn tree(&self) -> BTreeMap<String, String> {
        fn walk(root: &Path, dir: &Path, out: &mut BTreeMap<String, String>) {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(root).unwrap().display().to_string();
                if ["var/lib/hostwright", "var/cache/hostwright", "run/hostwright", "usr/src"]
                    .contains(&name.as_str())
                {
                    continue;
                }
                let meta = path.symlink_metadata().unwrap();
                let content = if meta.is_symlink() {
                    std::fs::read_link(&path).unwrap().display().to_string()
                } else if meta.is_file() {
                    use sha2::Digest;
                    hex::encode(sha2::Sha256::digest(std::fs::read(&path).unwrap()))
                } else {
                    walk(root, &path, out);
                    String::new()
                };
                out.insert(name, format!("{:o} {}:{} {content}", meta.mode(), meta.uid(), meta.gid()));
            }
        }
        let mut out = BTreeMap::new();
        walk(self.root(), self.root(), &mut out);
        // Folders of Hostwright's own state, left behind on purpose.
        for own in ["var", "var/lib", "var/cache", "run"] {
            out.remove(own);
        }
        out
    }
}

fn modinfo(file: &Path, field: &str) -> String {
    let output = Command::new("/sbin/modinfo").args(["-F", field]).arg(file).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn the_modules_are_built_installed_verified_and_taken_back_byte_for_byte() {
    let practice = Practice::new();
    let before = practice.tree();

    let plan = practice.expect(0, &["vmware", "plan"]);
    assert!(plan.contains("Compile vmmon and vmnet"), "{plan}");
    assert_eq!(practice.tree(), before, "planning changed something");

    let applied = practice.expect(0, &["vmware", "apply", "--yes"]);
    for module in ["vmmon", "vmnet"] {
        let file = practice.modules().join(format!("updates/dkms/{module}.ko"));
        assert!(modinfo(&file, "vermagic").starts_with(&format!("{} ", practice.release)), "{applied}");
        assert!(
            !modinfo(&file, "hostwright_record").is_empty(),
            "{module} does not say what it was built from"
        );
    }
    let dep = std::fs::read_to_string(practice.modules().join("modules.dep")).unwrap();
    assert!(dep.contains("updates/dkms/vmmon.ko:") && dep.contains("updates/dkms/vmnet.ko:"));
    assert!(practice.root().join("etc/modules-load.d/hostwright-vmware.conf").exists());

    let again = practice.expect(0, &["vmware", "apply", "--yes"]);
    assert!(again.contains("othing to do"), "{again}");

    practice.expect(0, &["undo", "--last", "--yes"]);
    assert_eq!(practice.tree(), before, "undo did not restore the tree");
}

#[test]
fn modules_that_were_there_are_displaced_and_come_back() {
    let practice = Practice::new();
    for (place, mode) in [("updates/dkms/vmmon.ko", 0o640), ("misc/vmnet.ko", 0o644)] {
        let file = practice.modules().join(place);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, b"\x7fELF of somebody else's").unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    }
    let before = practice.tree();
    practice.expect(0, &["vmware", "apply", "--yes"]);
    assert!(!practice.modules().join("misc/vmnet.ko").exists());
    practice.expect(0, &["undo", "--last", "--yes"]);
    assert_eq!(practice.tree(), before);
}

#[test]
fn an_edited_file_stops_undo_and_is_left_alone() {
    let practice = Practice::new();
    practice.expect(0, &["vmware", "apply", "--yes"]);
    let conf = practice.root().join("etc/modules-load.d/hostwright-vmware.conf");
    std::fs::write(&conf, "vmmon # mine\n").unwrap();
    let said = practice.expect(1, &["undo", "--last", "--yes"]);
    assert!(said.contains("hostwright-vmware.conf"), "{said}");
    assert_eq!(std::fs::read_to_string(&conf).unwrap(), "vmmon # mine\n");
}

#[test]
fn sources_that_do_not_compile_change_nothing_and_name_the_error() {
    let practice = Practice::new();
    let work = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/practice");
    sh(&format!(
        "cp -r {}/vmmon-only {}/vmnet-only {}",
        from.display(),
        from.display(),
        work.path().display()
    ));
    let driver = work.path().join("vmmon-only/linux/driver.c");
    let text = std::fs::read_to_string(&driver).unwrap();
    std::fs::write(&driver, format!("{text}\nint broken(void) {{ return no_such_name_here; }}\n")).unwrap();
    let before = practice.tree();
    let said = practice.expect(1, &["vmware", "apply", "--yes", "--source", work.path().to_str().unwrap()]);
    assert!(said.contains("no_such_name_here"), "{said}");
    assert_eq!(practice.tree(), before);
}

#[test]
fn a_kernel_without_headers_is_refused_with_the_package_to_install() {
    let practice = Practice::new();
    std::fs::remove_file(practice.modules().join("build")).unwrap();
    std::fs::remove_dir_all(practice.root().join("usr/src")).unwrap();
    let said = practice.expect(3, &["vmware", "plan"]);
    assert!(said.contains(&format!("linux-headers-{}", practice.release)), "{said}");
}
