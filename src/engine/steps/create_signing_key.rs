// SPDX-License-Identifier: GPL-3.0-or-later
//! Make an RSA-2048 key pair for signing modules (extendedKeyUsage codeSigning), readable by root only.

use super::Action;
use super::preview::preview;
use crate::engine::context::{After, Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome, Level};
use crate::engine::plan::Permission;
use crate::engine::report::{FileChange, Reversal, StepPreview};
use crate::engine::signing::{KeyPair, look, needs_openssl, openssl, outside};
use crate::host::{Command, FileKind, Host};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Make a key pair for signing modules. Never replaces a key that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSigningKey {
    /// Private key, PEM, mode 0600 ("/var/lib/hostwright/keys/hostwright.key").
    pub key: String,
    /// Certificate, DER ("/var/lib/hostwright/keys/hostwright.der"); a PEM copy is written beside it.
    pub certificate: String,
    /// Subject common name.
    pub common_name: String,
}

/// How long the certificate is valid: a hundred years, as DKMS has it. The kernel does not look at the
/// dates, and a key that expires would have to be enrolled again.
const DAYS: &str = "36500";

impl CreateSigningKey {
    /// The PEM copy of the certificate.
    fn pem(&self) -> String {
        format!("{}.pem", self.certificate.strip_suffix(".der").unwrap_or(&self.certificate))
    }

    fn folder(&self) -> &str {
        self.key.rsplit_once('/').map_or("/", |(folder, _)| folder)
    }

    /// The certificate request: Documentation/admin-guide/module-signing.rst, "Generating signing keys".
    fn config(&self) -> Result<String, StepError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || " -_.()@".contains(c);
        if self.common_name.is_empty() || self.common_name.len() > 64 || !self.common_name.chars().all(plain)
        {
            return Err(StepError::refused(
                format!("`{}` is no name for a certificate", self.common_name.escape_debug()),
                "choose 1 to 64 letters, digits and blanks",
            ));
        }
        Ok(format!(
            "[req]\ndistinguished_name = name\nx509_extensions = extensions\nprompt = no\nstring_mask = utf8only\n\
             [name]\nCN = {}\n\
             [extensions]\nbasicConstraints = critical,CA:FALSE\nkeyUsage = digitalSignature\n\
             extendedKeyUsage = codeSigning\nsubjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n",
            self.common_name
        ))
    }

    fn request(config: &str, key: &str, certificate: &str) -> Command {
        openssl()
            .args(["req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256", "-batch"])
            .args(["-days", DAYS, "-config", config, "-keyout", key])
            .args(["-outform", "DER", "-out", certificate])
    }

    /// Whether both files are there and belong together; half a pair is an error.
    fn is_there(&self, host: &Host) -> Result<bool, StepError> {
        match look(host, &self.key, &self.certificate)? {
            KeyPair::None => Ok(false),
            KeyPair::Whole => Ok(true),
            KeyPair::Half(what) => Err(StepError::refused(
                format!("{what}; it may be enrolled, so nothing is made in its place"),
                "put the other file back from a backup, or move this one away to begin with a new key that must be \
                 enrolled",
            )),
        }
    }

    fn check_access(&self, host: &Host) -> CheckOutcome {
        let me = nix::unistd::geteuid().as_raw();
        let look = |path: &str| host.root().symlink_metadata(path);
        match (look(&self.key), look(self.folder())) {
            (Ok(key), Ok(folder)) => {
                if key.kind == FileKind::File
                    && key.mode & 0o077 == 0
                    && key.uid == me
                    && folder.mode & 0o022 == 0
                {
                    CheckOutcome::Good
                } else {
                    CheckOutcome::Bad {
                        reason: format!(
                            "mode {:04o}, owner {}; only root may read it: chmod 600 {}",
                            key.mode, key.uid, self.key
                        ),
                    }
                }
            }
            (Err(e), _) | (_, Err(e)) => CheckOutcome::CouldNotLook { reason: e.to_string() },
        }
    }
}

impl Action for CreateSigningKey {
    fn title(&self) -> String {
        format!("Make the signing key {}", self.key)
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::KeysEnroll].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn weight(&self) -> u32 {
        5
    }

    fn preview(&self, host: &Host) -> StepPreview {
        let command = Self::request("openssl.cnf", &self.key, &self.certificate);
        let change = |path: &str, what: &str| FileChange {
            path: path.to_owned(),
            diff: if host.root().exists(path) { "kept as it is".to_owned() } else { what.to_owned() },
        };
        let files = vec![
            change(&self.key, "new private key, mode 0600"),
            change(&self.certificate, "its certificate, DER"),
            change(&self.pem(), "its certificate, PEM"),
        ];
        preview(self, &[command], files)
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        if self.is_there(ctx.host())? {
            // Nothing of it will be changed, so that no copy of the private key is kept either.
            return Ok(Before::default());
        }
        ctx.remember(&[&self.key, &self.certificate, &self.pem()])
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        if self.is_there(ctx.host())? {
            return Ok(Applied { unchanged: true, ..Applied::default() });
        }
        let root = ctx.host().root();
        let work = format!("{}/key", ctx.work_dir()?);
        root.create_dirs(&work, 0o700)?;
        let path = |name: &str| format!("{work}/{name}");
        root.write(&path("openssl.cnf"), self.config()?.as_bytes(), 0o600, None)?;
        let out = |name: &str| outside(root, &path(name));
        let (config, key, der, pem) = (out("openssl.cnf")?, out("key")?, out("der")?, out("pem")?);
        let run = |command: &Command| match ctx.command(command) {
            Err(StepError::Command(e)) => Err(needs_openssl(e)),
            other => other,
        };
        run(&Self::request(&config, &key, &der))?;
        run(&openssl().args(["x509", "-inform", "DER", "-in", &der, "-out", &pem]))?;
        let read = |name: &str| root.read_at_most(&path(name), 64 << 10);
        root.create_dirs(self.folder(), 0o700)?;
        // The private key last: a certificate alone, should this be interrupted here, signs nothing.
        ctx.write(&self.certificate, &read("der")?, 0o644)?;
        ctx.write(&self.pem(), &read("pem")?, 0o644)?;
        ctx.write(&self.key, &read("key")?, 0o600)?;
        Ok(Applied::default())
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let pair = match self.is_there(ctx.host()) {
            Ok(true) => CheckOutcome::Good,
            Ok(false) => CheckOutcome::Bad { reason: "it is not there; try again".to_owned() },
            Err(e) => CheckOutcome::CouldNotLook { reason: e.to_string() },
        };
        vec![
            Check { what: format!("{} belongs to {}", self.key, self.certificate), outcome: pair },
            Check {
                what: format!("only root can read {}", self.key),
                outcome: self.check_access(ctx.host()),
            },
        ]
    }

    fn undo(&self, ctx: &mut Context<'_>, before: &Before, after: Option<&After>) -> Result<(), StepError> {
        if !before.files.is_empty() && super::enroll_key::is_known(ctx.host(), &self.certificate) {
            // A lost key would have to be made and enrolled anew, at the machine, by a person.
            let kept = format!("the signing key {} stays, for the firmware knows it", self.key);
            ctx.say(Level::Note, kept.clone());
            ctx.note(kept);
            return Ok(());
        }
        ctx.restore(before, after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::RunState;
    use crate::engine::steps::Step;
    use crate::engine::testing::Scene;
    use crate::host::{RealRunner, Runner};

    fn step() -> CreateSigningKey {
        CreateSigningKey {
            key: "/var/lib/hostwright/keys/hostwright.key".into(),
            certificate: "/var/lib/hostwright/keys/hostwright.der".into(),
            common_name: "Hostwright module signing (test)".into(),
        }
    }

    fn show(scene: &Scene) -> String {
        let der = scene.host.root().outside(&step().certificate).display().to_string();
        let command = openssl().args(["x509", "-inform", "DER", "-noout", "-text", "-in", &der]);
        RealRunner.run_ok(&command).unwrap().stdout
    }

    #[test]
    fn the_key_is_what_the_kernel_and_shim_want_and_only_root_reads_it() {
        let scene = Scene::real();
        let report = scene.execute(vec![Step::CreateSigningKey(step())]).unwrap();
        assert_eq!(report.state, RunState::Done, "{report:?}");
        assert!(report.is_verified(), "{report:?}");
        let text = show(&scene);
        for part in [
            "Public-Key: (2048 bit)",
            "CN = Hostwright module signing (test)",
            "sha256WithRSAEncryption",
            "Code Signing",
            "Digital Signature",
            "CA:FALSE",
            "X509v3 Subject Key Identifier",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        let root = scene.host.root();
        assert_eq!(root.metadata(&step().key).unwrap().mode, 0o600);
        assert_eq!(root.metadata("/var/lib/hostwright/keys").unwrap().mode, 0o700);
        assert!(root.read_text(&step().pem()).unwrap().starts_with("-----BEGIN CERTIFICATE"));
        scene.undo(report.run).unwrap();
        assert!(!root.exists("/var/lib/hostwright/keys"), "something is left");
    }

    #[test]
    fn a_key_that_is_there_is_never_replaced_nor_copied() {
        let scene = Scene::real();
        scene.execute(vec![Step::CreateSigningKey(step())]).unwrap();
        let key = scene.host.root().read(&step().key).unwrap();
        let again = scene.execute(vec![Step::CreateSigningKey(step())]).unwrap();
        assert_eq!(again.state, RunState::Done);
        assert_eq!(scene.host.root().read(&step().key).unwrap(), key);
        assert!(scene.undo(again.run).is_err(), "there is something to take back");
        let copies = RealRunner
            .run(&Command::new("grep").args(["-rl", "PRIVATE KEY", &scene.path().display().to_string()]))
            .unwrap();
        assert_eq!(copies.stdout.lines().count(), 1, "{}", copies.stdout);
    }

    #[test]
    fn half_a_pair_is_recognised_and_left_alone() {
        let scene = Scene::real();
        scene.execute(vec![Step::CreateSigningKey(step())]).unwrap();
        let root = scene.host.root();
        let (key, der) = (root.read(&step().key).unwrap(), root.read(&step().certificate).unwrap());
        let refused = |said: &str| {
            let report = scene.execute(vec![Step::CreateSigningKey(step())]).unwrap();
            assert_ne!(report.state, RunState::Done);
            assert!(report.message.contains(said), "{}", report.message);
        };
        root.remove_file(&step().certificate).unwrap();
        refused("is there without its certificate");
        assert_eq!(root.read(&step().key).unwrap(), key);
        root.write(&step().certificate, &der, 0o644, None).unwrap();
        root.remove_file(&step().key).unwrap();
        refused("is there without its private key");
        root.write(&step().key, b"-----BEGIN PRIVATE KEY-----\nbroken\n", 0o600, None).unwrap();
        refused("do not belong together");
        assert_eq!(root.read(&step().certificate).unwrap(), der);
    }

    #[test]
    fn a_name_that_would_be_configuration_is_refused() {
        for bad in ["", "a\nb = c", "$ENV::HOME", "x/y", &"n".repeat(65)] {
            assert!(CreateSigningKey { common_name: bad.to_owned(), ..step() }.config().is_err(), "{bad:?}");
        }
    }
}
