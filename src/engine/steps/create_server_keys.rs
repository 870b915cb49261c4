// SPDX-License-Identifier: GPL-3.0-or-later
//! Make the certificate of a server of one's own, and the key pair that it signs with.

use super::{Action, preview::preview};
use crate::engine::context::{Applied, Before, Context};
use crate::engine::error::StepError;
use crate::engine::event::{Check, CheckOutcome};
use crate::engine::plan::Permission;
use crate::engine::report::{FileChange, Reversal, StepPreview};
use crate::engine::signing::{needs_openssl, openssl, outside};
use crate::host::{Command, FileKind, Host};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Make a self-signed certificate for a server with these names (subjectAltName), its private key, and an RSA key pair
/// that the server signs with. Private keys have mode 0600. Never replaces a key that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateServerKeys {
    /// The folder; it is made with mode 0700.
    pub folder: String,
    /// Host names and addresses that the certificate is for, the main one first.
    pub names: Vec<String>,
    /// How long the certificate is valid, in days.
    pub days: u32,
}

/// A file with its mode, and whether it is a private key.
const FILES: [(&str, u32); 4] = [
    ("webserver.key", 0o600),
    ("instance.private.pem", 0o600),
    ("webserver.crt", 0o644),
    ("instance.public.pem", 0o644),
];

/// Whether this is a host name (RFC 1123) or an address.
pub(crate) fn is_server_name(name: &str) -> bool {
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    name.parse::<IpAddr>().is_ok() || (name.len() <= 253 && name.split('.').all(label))
}

impl CreateServerKeys {
    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    fn paths(&self) -> [String; 4] {
        FILES.map(|(name, _)| self.path(name))
    }

    /// The certificate request (x509v3_config(5ssl)). A name that is no host name would be configuration.
    fn config(&self) -> Result<String, StepError> {
        if self.names.is_empty() || !self.names.iter().all(|n| is_server_name(n)) {
            return Err(StepError::refused(
                format!("`{}` are no names of a server", self.names.join(", ").escape_debug()),
                "give host names or addresses",
            ));
        }
        let names = self.names.iter().map(|n| match n.parse::<IpAddr>() {
            Ok(address) => format!("IP:{address}"),
            Err(_) => format!("DNS:{n}"),
        });
        // A common name has 64 characters at most; who connects looks at the alternative names.
        let common: String = self.names[0].chars().take(64).collect();
        Ok(format!(
            "[req]\ndistinguished_name = name\nx509_extensions = extensions\nprompt = no\nstring_mask = utf8only\n\
             [name]\nCN = {common}\n\
             [extensions]\nbasicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature,keyEncipherment\n\
             extendedKeyUsage = serverAuth\nsubjectKeyIdentifier = hash\nsubjectAltName = {}\n",
            names.collect::<Vec<_>>().join(",")
        ))
    }

    fn commands(&self, at: &dyn Fn(&str) -> String) -> [Command; 3] {
        let certificate = openssl()
            .args(["req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256", "-batch"])
            .args(["-days", &self.days.to_string(), "-config", &at("openssl.cnf")])
            .args(["-keyout", &at("webserver.key"), "-out", &at("webserver.crt")]);
        let private = at("instance.private.pem");
        let pair = openssl().args([
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
            "-out",
            &private,
        ]);
        let public = openssl().args(["pkey", "-in", &private, "-pubout", "-out", &at("instance.public.pem")]);
        [certificate, pair, public]
    }

    /// Whether all files are there.
    ///
    /// # Errors
    /// When only some of them are, or the certificate is for other names.
    pub(crate) fn is_there(&self, host: &Host) -> Result<bool, StepError> {
        let root = host.root();
        let there = self.paths().iter().filter(|p| root.exists(p)).count();
        if there == 0 {
            return Ok(false);
        }
        let aside = format!("move the folder {} away to begin with new keys", self.folder);
        if there < FILES.len() {
            let what = format!("some of the keys in {} are there, and others are not", self.folder);
            return Err(StepError::refused(what, aside));
        }
        for name in &self.names {
            if !self.covers(host, name)? {
                return Err(StepError::refused(
                    format!("the certificate in {} is not for {name}", self.folder),
                    aside,
                ));
            }
        }
        Ok(true)
    }

    /// Whether the certificate is for a name, as whoever connects looks at it.
    fn covers(&self, host: &Host, name: &str) -> Result<bool, StepError> {
        let certificate = outside(host.root(), &self.path("webserver.crt"))?;
        let question = if name.parse::<IpAddr>().is_ok() { "-checkip" } else { "-checkhost" };
        let command = openssl().args(["x509", "-noout", "-in", &certificate, question, name]);
        let output = host.runner().run_ok(&command).map_err(needs_openssl)?;
        Ok(output.stdout.contains("does match"))
    }

    fn check_access(&self, host: &Host) -> CheckOutcome {
        let me = nix::unistd::geteuid().as_raw();
        for (name, mode) in FILES {
            match host.root().symlink_metadata(&self.path(name)) {
                Ok(m) if m.kind == FileKind::File && m.mode == mode && m.uid == me => {}
                Ok(m) => {
                    let reason =
                        format!("{name} has mode {:04o}, owner {}; it should be {mode:04o}", m.mode, m.uid);
                    return CheckOutcome::Bad { reason };
                }
                Err(e) => return CheckOutcome::CouldNotLook { reason: e.to_string() },
            }
        }
        CheckOutcome::Good
    }
}

impl Action for CreateServerKeys {
    fn title(&self) -> String {
        format!("Make the certificate of {} in {}", self.names.join(", "), self.folder)
    }

    fn permissions(&self) -> BTreeSet<Permission> {
        [Permission::VgpuInstall].into()
    }

    fn reversal(&self) -> Reversal {
        Reversal::Full
    }

    fn weight(&self) -> u32 {
        5
    }

    fn preview(&self, host: &Host) -> StepPreview {
        let files = FILES.map(|(name, mode)| {
            let path = self.path(name);
            let there = host.root().exists(&path);
            let diff = if there { "kept as it is".to_owned() } else { format!("new, mode {mode:04o}") };
            FileChange { path, diff }
        });
        preview(self, &self.commands(&|name| self.path(name)), files.to_vec())
    }

    fn before(&self, ctx: &Context<'_>) -> Result<Before, StepError> {
        if self.is_there(ctx.host())? {
            // Nothing of it will be changed, so that no copy of a private key is kept either.
            return Ok(Before::default());
        }
        let paths = self.paths();
        ctx.remember(&paths.each_ref().map(String::as_str))
    }

    fn apply(&self, ctx: &mut Context<'_>) -> Result<Applied, StepError> {
        if self.is_there(ctx.host())? {
            return Ok(Applied { unchanged: true, ..Applied::default() });
        }
        let root = ctx.host().root();
        let work = format!("{}/server-keys", ctx.work_dir()?);
        root.create_dirs(&work, 0o700)?;
        root.write(&format!("{work}/openssl.cnf"), self.config()?.as_bytes(), 0o600, None)?;
        let real = outside(root, &format!("{work}/x"))?;
        let at = |name: &str| format!("{}{name}", real.strip_suffix('x').unwrap_or(&real));
        for command in self.commands(&at) {
            match ctx.command(&command) {
                Err(StepError::Command(e)) => return Err(needs_openssl(e)),
                other => other?,
            };
        }
        root.create_dirs(&self.folder, 0o700)?;
        for (name, mode) in FILES {
            let bytes = root.read_at_most(&format!("{work}/{name}"), 64 << 10)?;
            ctx.write(&self.path(name), &bytes, mode)?;
        }
        Ok(Applied::default())
    }

    fn verify(&self, ctx: &Context<'_>) -> Vec<Check> {
        let names = match self.is_there(ctx.host()) {
            Ok(true) => CheckOutcome::Good,
            Ok(false) => CheckOutcome::Bad { reason: "it is not there; try again".to_owned() },
            Err(e) => CheckOutcome::CouldNotLook { reason: e.to_string() },
        };
        let what = format!("the certificate in {} is for {}", self.folder, self.names.join(", "));
        vec![
            Check { what, outcome: names },
            Check {
                what: format!("only root can read the private keys in {}", self.folder),
                outcome: self.check_access(ctx.host()),
            },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::RunState;
    use crate::engine::steps::Step;
    use crate::engine::testing::Scene;
    use crate::host::{RealRunner, Runner};

    fn step(names: &[&str]) -> CreateServerKeys {
        let names = names.iter().map(|n| (*n).to_owned()).collect();
        CreateServerKeys { folder: "/etc/hostwright/dls".into(), names, days: 3650 }
    }

    fn verify(scene: &Scene, more: &[&str]) -> bool {
        let certificate = scene.path().join("etc/hostwright/dls/webserver.crt").display().to_string();
        let command =
            openssl().args(["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", &certificate]);
        RealRunner.run(&command.args(more.to_vec()).arg(&certificate)).unwrap().success()
    }

    #[test]
    fn openssl_verifies_the_certificate_for_each_of_its_names_and_for_no_other() {
        let scene = Scene::real();
        let step = step(&["dls.example", "192.0.2.7", "2001:db8::7", "localhost"]);
        let report = scene.execute(vec![Step::CreateServerKeys(step)]).unwrap();
        assert_eq!(report.state, RunState::Done, "{report:?}");
        assert!(report.is_verified(), "{report:?}");
        for good in [["-verify_hostname", "dls.example"], ["-verify_hostname", "localhost"]] {
            assert!(verify(&scene, &good), "{good:?}");
        }
        for good in [["-verify_ip", "192.0.2.7"], ["-verify_ip", "2001:db8::7"]] {
            assert!(verify(&scene, &good), "{good:?}");
        }
        for bad in [["-verify_hostname", "other.example"], ["-verify_ip", "192.0.2.8"]] {
            assert!(!verify(&scene, &bad), "{bad:?}");
        }
        let root = scene.host.root();
        for (name, mode) in FILES {
            assert_eq!(root.metadata(&format!("/etc/hostwright/dls/{name}")).unwrap().mode, mode, "{name}");
        }
        assert_eq!(root.metadata("/etc/hostwright/dls").unwrap().mode, 0o700);
    }

    #[test]
    fn the_instance_s_keys_belong_together_and_undo_leaves_nothing() {
        let scene = Scene::real();
        scene.there_and_back(vec![Step::CreateServerKeys(step(&["localhost"]))]);
        scene.execute(vec![Step::CreateServerKeys(step(&["localhost"]))]).unwrap();
        let private = scene.path().join("etc/hostwright/dls/instance.private.pem").display().to_string();
        let public = RealRunner.run_ok(&openssl().args(["pkey", "-pubout", "-in", &private])).unwrap().stdout;
        assert_eq!(scene.host.root().read_text("/etc/hostwright/dls/instance.public.pem").unwrap(), public);
    }

    #[test]
    fn keys_that_are_there_stay_and_a_certificate_for_other_names_is_refused() {
        let scene = Scene::real();
        scene.execute(vec![Step::CreateServerKeys(step(&["a.example", "192.0.2.7"]))]).unwrap();
        let before = scene.tree();
        let again = scene.execute(vec![Step::CreateServerKeys(step(&["a.example"]))]).unwrap();
        assert_eq!(again.state, RunState::Done, "{again:?}");
        let other = scene.execute(vec![Step::CreateServerKeys(step(&["b.example"]))]).unwrap();
        assert!(other.message.contains("is not for b.example"), "{}", other.message);
        crate::engine::testing::same(&scene.tree(), &before);
        scene.host.root().remove_file("/etc/hostwright/dls/instance.private.pem").unwrap();
        let half = scene.execute(vec![Step::CreateServerKeys(step(&["a.example"]))]).unwrap();
        assert!(half.message.contains("others are not"), "{}", half.message);
    }

    #[test]
    fn a_name_that_would_be_configuration_is_refused() {
        for bad in ["", "a\nb = c", "a,IP:0.0.0.0", "$ENV::HOME", "-a", "a..b", "a/b", "*.example"] {
            assert!(step(&[bad]).config().is_err(), "{bad:?}");
        }
        assert!(step(&[]).config().is_err());
        assert!(
            step(&["dls", "fe80::1"]).config().unwrap().contains("subjectAltName = DNS:dls,IP:fe80::1\n")
        );
    }
}
