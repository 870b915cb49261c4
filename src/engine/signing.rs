// SPDX-License-Identifier: GPL-3.0-or-later
//! Signing keys and signed modules, by the machine's `openssl` and the kernel's `sign-file`. Private keys
//! are only ever read by those programs, from files; they pass through no argument, pipe or log.

use super::context::Context;
use super::error::StepError;
use super::modinfo;
use super::steps::SignWith;
use crate::host::{Command, CommandError, Host, HostKind, Root};

/// What is there of a key pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeyPair {
    /// Neither file.
    None,
    /// Both, and they belong together.
    Whole,
    /// One without the other, or two that do not belong together.
    Half(String),
}

/// Looks at a key pair: "look before calling", for a key that is enrolled must never be lost.
pub(super) fn look(host: &Host, key: &str, certificate: &str) -> Result<KeyPair, StepError> {
    let root = host.root();
    let there = |path: &str| match root.symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(e) if e.is_not_found() => Ok(false),
        Err(e) => Err(e),
    };
    Ok(match (there(key)?, there(certificate)?) {
        (false, false) => KeyPair::None,
        (true, false) => KeyPair::Half(format!("{key} is there without its certificate {certificate}")),
        (false, true) => KeyPair::Half(format!("{certificate} is there without its private key {key}")),
        (true, true) => match (public_of_key(host, key)?, public_of_certificate(host, certificate)?) {
            (a, b) if a == b && !a.is_empty() => KeyPair::Whole,
            _ => KeyPair::Half(format!("{key} and {certificate} do not belong together")),
        },
    })
}

/// The public half of a private key, PEM; empty when it is none.
fn public_of_key(host: &Host, key: &str) -> Result<String, StepError> {
    let command = openssl().args(["pkey", "-pubout", "-in", &outside(host.root(), key)?]);
    said(host, &command)
}

/// The public key in a certificate, PEM; empty when it is none.
fn public_of_certificate(host: &Host, certificate: &str) -> Result<String, StepError> {
    let form = if is_pem(&host.root().read_at_most(certificate, CERTIFICATE_LIMIT)?) { "PEM" } else { "DER" };
    let path = outside(host.root(), certificate)?;
    said(host, &openssl().args(["x509", "-noout", "-pubkey", "-inform", form, "-in", &path]))
}

/// Certificates are a kilobyte or two.
const CERTIFICATE_LIMIT: u64 = 64 << 10;

fn is_pem(bytes: &[u8]) -> bool {
    bytes.starts_with(b"-----BEGIN")
}

/// openssl, without a configuration of the machine's: its defaults may add extensions.
pub(super) fn openssl() -> Command {
    Command::new("openssl").env("OPENSSL_CONF", "/dev/null")
}

/// Standard output of a command that succeeded; nothing of one that did not.
fn said(host: &Host, command: &Command) -> Result<String, StepError> {
    let output = host.runner().run(command).map_err(needs_openssl)?;
    Ok(if output.success() { output.stdout } else { String::new() })
}

/// Names the package when the program is not there.
pub(super) fn needs_openssl(error: CommandError) -> StepError {
    match error {
        CommandError::Start { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            StepError::refused("the program openssl is not there", "install the package `openssl`")
        }
        other => other.into(),
    }
}

/// Where a file of the root is on the running machine, its folder's links resolved inside the root.
pub(super) fn outside(root: &Root, path: &str) -> Result<String, StepError> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let folder = root.resolve(if folder.is_empty() { "/" } else { folder })?;
    Ok(root.outside(&format!("{}/{name}", folder.trim_end_matches('/'))).display().to_string())
}

/// The program that signs, as it is called on this kind of machine.
enum Signer {
    /// Started on the running machine, with paths as they are there.
    Outside(String),
    /// Started inside a complete root, whose libraries it needs.
    Inside(String),
}

/// Finds the signing program and refuses one that anybody but root could have put there: it sees the
/// private key.
fn signer(host: &Host, sign_file: &str) -> Result<Signer, StepError> {
    let root = host.root();
    let refused = |why: String| {
        StepError::refused(
            format!("{sign_file} is not used to sign: {why}"),
            "install the kernel's headers with its kbuild package from your distribution, or kmodsign",
        )
    };
    let real = root.resolve(sign_file).map_err(|e| refused(e.to_string()))?;
    let me = nix::unistd::geteuid().as_raw();
    let mut path = real.as_str();
    while !path.is_empty() {
        let meta = root.symlink_metadata(path)?;
        // On a scratch root whoever made it owns its files.
        let owned = meta.uid == 0 || (!host.is_machine() && meta.uid == me);
        // A folder with the sticky bit (/tmp, where scratch roots are made) lets nobody replace others' files.
        let sticky = path != real && meta.mode & 0o1000 != 0;
        if !owned || (meta.mode & 0o022 != 0 && !sticky) {
            return Err(refused(format!(
                "others than root can change {path} (owner {}, mode {:04o})",
                meta.uid, meta.mode
            )));
        }
        path = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    }
    Ok(match host.kind() {
        HostKind::CompleteRoot => Signer::Inside(real),
        HostKind::Machine | HostKind::PartialRoot => {
            Signer::Outside(root.outside(&real).display().to_string())
        }
    })
}

/// The argv of signing one file in place (the kernel's scripts/sign-file.c; kmodsign takes the same).
fn sign_command(program: &str, with: &SignWith, key: &str, certificate: &str, file: &str) -> Command {
    Command::new(program).args([&with.hash, key, certificate, file])
}

/// The command as a preview shows it.
pub(super) fn shown(with: &SignWith, module: &str) -> Command {
    sign_command(&with.sign_file, with, &with.key, &with.certificate, &format!("{module}.ko"))
}

/// Signs a module and returns it with its signature, which was read back and verified.
pub(super) fn sign(
    ctx: &Context<'_>,
    with: &SignWith,
    module: &str,
    bytes: &[u8],
) -> Result<Vec<u8>, StepError> {
    let (host, root) = (ctx.host(), ctx.host().root());
    require_hash(&with.hash)?;
    let signer = signer(host, &with.sign_file)?;
    if let KeyPair::Half(what) = look(host, &with.key, &with.certificate)? {
        return Err(StepError::refused(
            format!("{module} cannot be signed: {what}"),
            "put the missing or right file back from a backup; a new pair would have to be enrolled again",
        ));
    }
    let folder = format!("{}/sign", ctx.work_dir()?);
    root.create_dirs(&folder, 0o700)?;
    let file = format!("{folder}/{module}.ko");
    root.write(&file, bytes, 0o600, None)?;
    match signer {
        Signer::Outside(program) => {
            let path = |p: &str| outside(root, p);
            let (key, certificate, file) = (path(&with.key)?, path(&with.certificate)?, path(&file)?);
            ctx.command(&sign_command(&program, with, &key, &certificate, &file))?;
        }
        Signer::Inside(program) => {
            ctx.tool(sign_command(&program, with, &with.key, &with.certificate, &file))?;
        }
    }
    let signed = root.read_at_most(&file, modinfo::MODULE_LIMIT)?;
    verify(ctx, with, module, &signed).map_err(|why| {
        StepError::refused(
            format!("{module} was signed, but its signature does not hold: {why}"),
            "look whether key and certificate belong together, and report this",
        )
    })?;
    let unsigned = modinfo::take_signature(&signed).ok().flatten().map(|s| s.module);
    if unsigned != Some(bytes) {
        return Err(StepError::refused(
            format!("{} changed more of {module} than its signature", with.sign_file),
            "install the kernel's headers with its kbuild package again",
        ));
    }
    Ok(signed)
}

/// Hashes that sign-file knows; anything else would be an option to it.
fn require_hash(hash: &str) -> Result<(), StepError> {
    const KNOWN: [&str; 8] =
        ["sha1", "sha224", "sha256", "sha384", "sha512", "sha3-256", "sha3-384", "sha3-512"];
    if KNOWN.contains(&hash) {
        return Ok(());
    }
    Err(StepError::refused(
        format!("`{}` is no hash that modules are signed with", hash.escape_debug()),
        "plan again; if it still says so, look at CONFIG_MODULE_SIG_HASH of the kernel and report this",
    ))
}

/// Verifies the appended signature of a module against a certificate, by `openssl cms`. Says why it
/// does not hold.
pub(super) fn verify(ctx: &Context<'_>, with: &SignWith, module: &str, signed: &[u8]) -> Result<(), String> {
    let (host, root) = (ctx.host(), ctx.host().root());
    let parts = modinfo::take_signature(signed).map_err(|e| e.to_string())?.ok_or("it has none")?;
    let text = |e: &dyn std::error::Error| e.to_string();
    let folder = format!("{}/verify", ctx.work_dir().map_err(|e| text(&e))?);
    root.create_dirs(&folder, 0o700).map_err(|e| text(&e))?;
    let file = |name: &str| format!("{folder}/{module}.{name}");
    root.write(&file("unsigned"), parts.module, 0o600, None).map_err(|e| text(&e))?;
    root.write(&file("p7s"), parts.message, 0o600, None).map_err(|e| text(&e))?;
    let path = |p: &str| outside(root, p).map_err(|e| text(&e));
    let certificate = root.read_at_most(&with.certificate, CERTIFICATE_LIMIT).map_err(|e| text(&e))?;
    let pem = if is_pem(&certificate) {
        path(&with.certificate)?
    } else {
        // openssl before 3.0 reads only PEM where certificates are expected.
        let pem = file("pem");
        let from = path(&with.certificate)?;
        let command = openssl().args(["x509", "-inform", "DER", "-in", &from, "-out", &path(&pem)?]);
        host.runner().run_ok(&command).map_err(|e| text(&needs_openssl(e)))?;
        path(&pem)?
    };
    // The certificate itself is what counts, no chain and no purpose: so it is with the kernel's keyrings.
    let command = openssl()
        .args(["cms", "-verify", "-binary", "-inform", "DER", "-in", &path(&file("p7s"))?])
        .args(["-content", &path(&file("unsigned"))?, "-certfile", &pem])
        .args(["-nointern", "-noverify", "-out", "/dev/null"]);
    host.runner().run_ok(&command).map_err(|e| text(&needs_openssl(e)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::Scene;

    fn with(sign_file: &str) -> SignWith {
        SignWith {
            key: "/k.key".to_owned(),
            certificate: "/k.der".to_owned(),
            hash: "sha256".to_owned(),
            sign_file: sign_file.to_owned(),
        }
    }

    #[test]
    fn the_preview_shows_the_command_that_signs() {
        let with = with("/usr/lib/linux-kbuild-6.1/scripts/sign-file");
        assert_eq!(
            shown(&with, "vmmon").display(),
            "/usr/lib/linux-kbuild-6.1/scripts/sign-file sha256 /k.key /k.der vmmon.ko"
        );
    }

    #[test]
    fn a_signing_program_that_others_can_change_never_sees_the_key() {
        let scene = Scene::real();
        scene.put("/usr/src/linux/scripts/sign-file", "#!/bin/sh\n", 0o755);
        let path = "/usr/src/linux/scripts/sign-file";
        assert!(signer(&scene.host, path).is_ok());
        let set = |path: &str, mode| {
            let at = scene.host.root().outside(path);
            std::fs::set_permissions(at, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        };
        set("/usr/src/linux", 0o775);
        let said = signer(&scene.host, path).err().unwrap().to_string();
        assert!(said.contains("others than root can change /usr/src/linux "), "{said}");
        set("/usr/src/linux", 0o755);
        set(path, 0o757);
        assert!(signer(&scene.host, path).is_err());
        assert!(signer(&scene.host, "/usr/src/none").err().unwrap().to_string().contains("install"));
    }

    #[test]
    fn only_hashes_are_passed_for_hashes() {
        assert!(require_hash("sha512").is_ok());
        for bad in ["", "-k", "md5", "sha256 -x"] {
            assert!(require_hash(bad).is_err(), "{bad}");
        }
    }
}
