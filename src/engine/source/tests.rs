// SPDX-License-Identifier: GPL-3.0-or-later

use super::*;
use proptest::prelude::*;
use std::io::Write;

const MAKEFILE: &[u8] = b"DRIVER := vmmon\nobj-m += $(DRIVER).o\n";

fn header(name: &str, kind: tar::EntryType, size: u64) -> tar::Header {
    let mut h = tar::Header::new_ustar();
    h.set_entry_type(kind);
    h.set_size(size);
    h.set_mode(0o644);
    // set_path refuses bad names; a hostile archive does not ask.
    let field = &mut h.as_ustar_mut().unwrap().name;
    field[..name.len()].copy_from_slice(name.as_bytes());
    h.set_cksum();
    h
}

fn tar_of(entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, data) in entries {
        builder.append(&header(name, *kind, data.len() as u64), *data).unwrap();
    }
    builder.into_inner().unwrap()
}

fn plain(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let all: Vec<_> = entries.iter().map(|(n, d)| (*n, tar::EntryType::Regular, *d)).collect();
    tar_of(&all)
}

fn read(bytes: &[u8]) -> Result<Files, SourceError> {
    read_archive(bytes, &Limits::default())
}

#[test]
fn plain_and_compressed_archives_hold_the_same_files() {
    let tar = plain(&[("vmmon-only/Makefile", MAKEFILE), ("./vmmon-only/linux/driver.c", b"int x;\n")]);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&tar).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&tar).unwrap();
    let zst = zstd::encode_all(tar.as_slice(), 1).unwrap();
    let expected = read(&tar).unwrap();
    assert_eq!(expected["vmmon-only/linux/driver.c"], b"int x;\n");
    for packed in [gz.finish().unwrap(), xz.finish().unwrap(), zst] {
        assert_eq!(read(&packed).unwrap(), expected);
        let cut = &packed[..packed.len() / 2];
        assert!(matches!(read(cut), Err(SourceError::Truncated { .. } | SourceError::NotAnArchive { .. })));
    }
}

#[test]
fn names_that_lead_out_are_refused() {
    for name in ["../evil.c", "vmmon-only/../../evil.c", "/etc/passwd", "a\\b", "a\nb"] {
        let e = read(&plain(&[("ok.c", b""), (name, b"x")])).unwrap_err();
        assert!(matches!(e, SourceError::BadName { .. }), "{name:?}: {e}");
        assert!(!e.to_string().contains('\n'), "{e}");
    }
}

#[test]
fn links_devices_and_pipes_are_refused() {
    use tar::EntryType as T;
    for kind in [T::Symlink, T::Link, T::Char, T::Block, T::Fifo, T::GNUSparse] {
        let e = read(&tar_of(&[("ok.c", T::Regular, b""), ("bad", kind, b"")])).unwrap_err();
        assert!(matches!(e, SourceError::NotAFile { .. } | SourceError::Truncated { .. }), "{kind:?}: {e}");
    }
}

#[test]
fn a_name_twice_is_refused() {
    let e = read(&plain(&[("a.c", b"1"), ("./a.c", b"2")])).unwrap_err();
    assert!(matches!(e, SourceError::Duplicate { .. }), "{e}");
    let e = read(&plain(&[("a", b"1"), ("a/b", b"2")])).unwrap_err();
    assert!(matches!(e, SourceError::Duplicate { .. }), "{e}");
}

#[test]
fn bombs_are_stopped_at_the_limit() {
    let limits = Limits { total: 1 << 20, ..Limits::default() };
    let zeros = vec![0u8; 8 << 20];
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gz.write_all(&zeros).unwrap();
    let zst = zstd::encode_all(zeros.as_slice(), 3).unwrap();
    for packed in [gz.finish().unwrap(), zst] {
        let e = read_archive(&packed, &limits).unwrap_err();
        assert!(matches!(e, SourceError::TooLarge { .. }), "{e}");
    }
    let many: Vec<String> = (0..50).map(|i| format!("f{i}.c")).collect();
    let many: Vec<(&str, &[u8])> = many.iter().map(|n| (n.as_str(), &b""[..])).collect();
    let e = read_archive(&plain(&many), &Limits { entries: 49, ..limits }).unwrap_err();
    assert!(matches!(e, SourceError::TooLarge { .. }), "{e}");
    let e = read_archive(&plain(&[("a.c", &[b'x'; 600])]), &Limits { file: 599, ..limits }).unwrap_err();
    assert!(matches!(e, SourceError::TooLarge { .. }), "{e}");
    // A size in the header that the archive does not have.
    let mut claims = header("a.c", tar::EntryType::Regular, 1 << 40).as_bytes().to_vec();
    claims.extend([0; 1024]);
    assert!(matches!(read(&claims), Err(SourceError::TooLarge { .. })));
}

#[test]
fn an_archive_cut_anywhere_is_refused() {
    let tar = plain(&[("vmmon-only/Makefile", MAKEFILE), ("vmmon-only/a.c", &[b'x'; 700])]);
    let end = tar.len() - 1024; // where the two zero blocks begin
    for cut in (0..=end).step_by(64) {
        assert!(read(&tar[..cut]).is_err(), "cut at {cut} of {end}");
    }
    assert!(matches!(read(&tar[..end]), Err(SourceError::Truncated { .. })));
}

#[test]
fn what_is_no_archive_is_said_so() {
    for bytes in [&b""[..], &b"#!/bin/sh\necho hello\n"[..], &[b'A'; 4096][..], &b"PK\x03\x04 a zip"[..]] {
        assert!(matches!(read(bytes), Err(SourceError::NotAnArchive { .. })), "{:?}", read(bytes));
    }
    assert!(matches!(read(&[0; 10240]), Err(SourceError::Empty { .. })));
}

#[test]
fn a_module_is_found_at_any_depth() {
    for prefix in ["", "vmmon-only/", "repo-1a2b3c/vmmon-only/", "a/b/c/vmmon-17.6/"] {
        let mut files = Files::new();
        files.insert(format!("{prefix}Makefile.kernel"), b"obj-m += vmmon.o\n".to_vec());
        files.insert(format!("{prefix}linux/driver.c"), b"int x;\n".to_vec());
        files.insert("elsewhere/README".into(), b"no".to_vec());
        let (dir, tree) = module_files(&files, "vmmon", "the archive").unwrap();
        assert_eq!(dir, prefix.trim_end_matches('/'));
        assert!(tree.contains_key("linux/driver.c"));
        assert!(module_files(&files, "vmnet", "the archive").is_err());
    }
}

#[test]
fn two_different_trees_of_one_module_are_not_guessed_between() {
    let mut files = Files::new();
    for v in ["17.5.1", "17.6.0"] {
        files.insert(format!("{v}/vmmon-only/Makefile"), MAKEFILE.to_vec());
        files.insert(format!("{v}/vmmon-only/a.c"), v.as_bytes().to_vec());
    }
    let e = module_files(&files, "vmmon", "x.tar").unwrap_err();
    assert!(e.to_string().contains("17.5.1/vmmon-only, 17.6.0/vmmon-only"), "{e}");
}

#[test]
fn a_folder_is_read_without_version_control_and_left_overs() {
    let dir = tempfile::tempdir().unwrap();
    let at = |p: &str| dir.path().join(p);
    std::fs::create_dir_all(at("src/vmmon-only/linux")).unwrap();
    std::fs::create_dir_all(at("src/.git/objects")).unwrap();
    std::fs::write(at("src/.git/objects/x"), "x").unwrap();
    std::fs::write(at("src/vmmon-only/Makefile"), MAKEFILE).unwrap();
    std::fs::write(at("src/vmmon-only/linux/driver.c"), "int x;").unwrap();
    std::fs::write(at("src/vmmon-only/linux/driver.o"), "elf").unwrap();
    let root = Root::open(dir.path()).unwrap();
    let files = read_folder(&root, "/src", &Limits::default()).unwrap();
    assert_eq!(files.keys().collect::<Vec<_>>(), ["vmmon-only/Makefile", "vmmon-only/linux/driver.c"]);
    let source = SourceRef::Installed { path: "/src".into() };
    let loaded = load(&root, &source, &BTreeMap::new(), "vmmon").unwrap();
    assert_eq!(loaded.keys().collect::<Vec<_>>(), ["Makefile", "linux/driver.c"]);
    std::os::unix::fs::symlink("/etc/passwd", at("src/vmmon-only/link.c")).unwrap();
    let e = read_folder(&root, "/src", &Limits::default()).unwrap_err();
    assert!(e.to_string().contains("link.c"), "{e}");
}

#[test]
fn a_sealed_archive_must_have_been_handed_over() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let source = SourceRef::Sealed { sha256: "00".into(), name: "x.tar".into() };
    let e = load(&root, &source, &BTreeMap::new(), "vmmon").unwrap_err();
    assert!(matches!(e, SourceError::NotHandedOver { .. }));
}

#[test]
fn the_digest_of_a_tree_sees_names_and_bytes() {
    let a = Files::from([("ab".into(), b"c".to_vec())]);
    let b = Files::from([("a".into(), b"bc".to_vec())]);
    assert_ne!(tree_sha256(&a), tree_sha256(&b));
    assert_eq!(tree_sha256(&a).len(), 64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let _ = read(&bytes);
    }

    #[test]
    fn a_damaged_archive_never_panics_and_never_leads_out(
        flips in proptest::collection::vec((0usize..4096, any::<u8>()), 1..12), cut in 0usize..4096,
        fix in any::<bool>(), name in "[./a-z]{1,30}",
    ) {
        let mut tar = plain(&[("vmmon-only/Makefile", MAKEFILE), (&name, b"int x;\n"), ("vmmon-only/b.c", b"")]);
        for (at, byte) in flips {
            let len = tar.len();
            tar[at % len] = byte;
        }
        if fix {
            // A matching checksum lets damaged headers through to the code behind it.
            for block in [0usize, 1024, 2048] {
                if let Some(h) = tar.get_mut(block..block + 512) {
                    h[148..156].fill(b' ');
                    let sum: u32 = h.iter().map(|&b| u32::from(b)).sum();
                    h[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
                }
            }
        }
        tar.truncate(tar.len() - cut % 700);
        if let Ok(files) = read(&tar) {
            for path in files.keys() {
                prop_assert!(!path.starts_with('/') && path.split('/').all(|p| !p.is_empty() && p != ".." && p != "."));
            }
        }
    }

    #[test]
    fn damaged_compressed_archives_never_panic(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), which in 0usize..3
    ) {
        let tar = plain(&[("vmmon-only/Makefile", MAKEFILE)]);
        let mut packed = match which {
            0 => { let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()); e.write_all(&tar).unwrap(); e.finish().unwrap() }
            1 => { let mut e = liblzma::write::XzEncoder::new(Vec::new(), 1); e.write_all(&tar).unwrap(); e.finish().unwrap() }
            _ => zstd::encode_all(tar.as_slice(), 1).unwrap(),
        };
        for (at, byte) in flips {
            let i = at.index(packed.len());
            packed[i] = byte;
        }
        let _ = read(&packed);
    }
}
