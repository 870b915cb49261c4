// SPDX-License-Identifier: GPL-3.0-or-later

use super::*;

fn installed(path: &str) -> SourceRef {
    SourceRef::Installed { path: path.into() }
}

fn put(dir: &std::path::Path, path: &str, text: &str) {
    let path = dir.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

const DRIVER: &str = "int init_module(void) { return misc_register(&d); }\n";

fn vmmon(dir: &std::path::Path, at: &str) {
    put(dir, &format!("{at}/Makefile"), "DRIVER := vmmon\n");
    put(dir, &format!("{at}/linux/driver.c"), DRIVER);
    put(dir, &format!("{at}/include/iocontrols.h"), "#define VMMON_VERSION           (416 << 16 | 0)\n");
}

fn tar(dir: &std::path::Path, inside: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_dir_all(inside, dir).unwrap();
    builder.into_inner().unwrap()
}

#[test]
fn sources_are_read_wherever_they_usually_are() {
    let dir = tempfile::tempdir().unwrap();
    vmmon(dir.path(), "work/vmmon-only");
    put(dir.path(), "work/README", "x");
    vmmon(dir.path(), "usr/src/vmmon-17.6");
    put(dir.path(), "usr/src/vmmon-17.6/dkms.conf", "PACKAGE_NAME=vmmon\nPACKAGE_VERSION=\"17.6\"\n");
    let archive = tar(&dir.path().join("work/vmmon-only"), "vmmon-only");
    std::fs::create_dir_all(dir.path().join("usr/lib/vmware/modules/source")).unwrap();
    std::fs::write(dir.path().join("usr/lib/vmware/modules/source/vmmon.tar"), &archive).unwrap();
    let root = Root::open(dir.path()).unwrap();

    let folder = SourceTree::read(&root, "/work", "vmmon").unwrap();
    assert_eq!(folder.version(), Some("416.0"));
    assert_eq!(folder.source, installed("/work/vmmon-only"));
    assert_eq!(folder.files.len(), 3);
    let tarball = SourceTree::read(&root, INSTALLED, "vmmon").unwrap();
    assert_eq!(tarball.source, installed("/usr/lib/vmware/modules/source/vmmon.tar"));
    assert_eq!((&tarball.sha256, &tarball.files), (&folder.sha256, &folder.files));
    put(dir.path(), "usr/lib/vmware/modules/source/vmmon-only/Makefile", "left over");
    assert_eq!(SourceTree::read(&root, INSTALLED, "vmmon").unwrap(), tarball);
    let dkms = SourceTree::read(&root, "/usr/src/vmmon-17.6", "vmmon").unwrap();
    assert_eq!(dkms.recognised, Recognised::Dkms { version: Some("17.6".into()) });
    assert!(dkms.describe().contains("DKMS tree 17.6"), "{}", dkms.describe());

    let found = find(&root);
    let paths: Vec<&str> = found.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(paths, [INSTALLED, "/usr/src/vmmon-17.6"]);
    assert_eq!(found[0].modules, ["vmmon"]);
}

#[test]
fn what_is_read_again_by_its_reference_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    vmmon(dir.path(), "work/vmmon-only");
    let root = Root::open(dir.path()).unwrap();
    let tree = SourceTree::read(&root, "/work", "vmmon").unwrap();
    let again = source::load(&root, &tree.source, &BTreeMap::new(), "vmmon").unwrap();
    assert_eq!(source::tree_sha256(&again), tree.sha256);

    let archive = tar(&dir.path().join("work"), "repository-1a2b3c");
    let tree = SourceTree::from_archive(&archive, "a.tar", "vmmon").unwrap();
    assert_eq!(tree.folder, "repository-1a2b3c/vmmon-only");
    let SourceRef::Sealed { sha256, .. } = &tree.source else { panic!("{tree:?}") };
    let sealed = BTreeMap::from([(sha256.clone(), archive)]);
    let again = source::load(&root, &tree.source, &sealed, "vmmon").unwrap();
    assert_eq!(again, tree.files);
}

#[test]
fn what_is_no_vmmon_is_refused_with_what_is_missing() {
    let why = |files: &[(&str, &str)]| {
        let files: Files = files.iter().map(|(p, t)| ((*p).to_owned(), t.as_bytes().to_vec())).collect();
        SourceTree::from_files(&files, "vmmon", &installed("/x")).unwrap_err().to_string()
    };
    let make = ("vmmon-only/Makefile", "obj-m := vmmon.o");
    for (files, expected) in [
        (vec![("README", "x")], "no folder with a makefile that builds vmmon"),
        (
            vec![("vmmon-only/Makefile", "obj-m := other.o"), ("vmmon-only/a.c", "")],
            "no makefile in it builds vmmon",
        ),
        (vec![make, ("vmmon-only/a.c", "int x;")], "no init_module()"),
        (vec![make, ("vmmon-only/a.c", "int init_module(void);")], "no device registration"),
    ] {
        let e = why(&files);
        assert!(e.contains(expected) && e.contains("give an archive or a folder"), "{e}");
    }
}

#[test]
fn the_table_of_known_sources_is_good() {
    let known: Known = toml::from_str(include_str!("../../../data/known-sources.toml")).unwrap();
    assert!(known.source.len() >= 4);
    for source in &known.source {
        for sha in [&source.vmmon, &source.vmnet] {
            assert!(
                sha.len() == 64 && sha.chars().all(|c| c.is_ascii_hexdigit()),
                "{}: {sha}",
                source.product
            );
        }
    }
}

#[test]
fn the_practice_modules_are_recognised() {
    let root = Root::open(std::path::Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    for module in MODULES {
        let tree = SourceTree::read(&root, "/data/practice", module).unwrap();
        assert_eq!(tree.recognised, Recognised::Practice, "{module}");
        assert!(tree.version().is_some());
    }
}
