// SPDX-License-Identifier: GPL-3.0-or-later
//! Licences for virtual GPUs: the token of a licence server into a guest, and a licence server of one's own
//! (FastAPI-DLS) in a container. Pure.

use super::choices::{Choices, LicenceServer};
use super::facts::VgpuFacts;
use super::setup::TextFile;
use crate::detect::Finding;
use crate::detect::containers::{Container, Containers};
use crate::detect::proxmox::{Guest, GuestOs};
use crate::engine::Step;
use crate::engine::plan::{Note, Permission, Refusal, Warning};
use crate::engine::steps::{
    ContainerEngine, CreateServerKeys, EnableServices, GiveGuestToken, PullImage, WriteFile, is_server_name,
    is_token_name, wrong_with_image,
};
use crate::flows::packages::{self, PackageFacts};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Name of the licence server's container.
pub(super) const CONTAINER: &str = "hostwright-dls";
const FOLDER: &str = "/etc/hostwright/dls";
const COMPOSE: &str = "/etc/hostwright/dls/compose.yaml";
const UNIT: &str = "hostwright-dls.service";
const UNIT_FILE: &str = "/etc/systemd/system/hostwright-dls.service";

/// Where it is when it is started with the machine.
pub(super) const ENABLED: &str = "/etc/systemd/system/multi-user.target.wants/hostwright-dls.service";

/// The files that only this part writes.
pub(super) const OWN_FILES: [&str; 2] = [COMPOSE, UNIT_FILE];

/// How long the certificate is valid, in days: guests do not look at it, and nobody would think of renewing it.
const CERTIFICATE_DAYS: u32 = 3650;

/// What plans of licensing read beside the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LicensingFacts {
    /// The virtual machine that a token is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<Guest>,
    /// What runs containers here, where a licence server is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers: Option<Containers>,
    /// Whether the time zone that was chosen is one.
    #[serde(default)]
    pub zone_known: bool,
    /// The licence server that is here already, where one is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerNow>,
}

/// A licence server that is here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerNow {
    /// Its container.
    pub container: Container,
    /// Whether its certificate is for the names that are wanted, and all of its keys are there.
    pub keys: bool,
    /// Whether it is started with the machine.
    pub enabled: bool,
}

/// What the container says when it answers.
pub(super) const HEALTHY: &str = "healthy";

/// Steps, and what must be told with them.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) steps: Vec<Step>,
    pub(super) warnings: Vec<Warning>,
    pub(super) notes: Vec<Note>,
}

/// What a person types where no agent does it. `at` is the folder inside the guest.
fn by_hand(os: Option<GuestOs>, name: &str) -> String {
    let linux = format!(
        "install -D -m 744 {name} {}/{name} && systemctl restart {}",
        GuestOs::Linux.token_folder(),
        GuestOs::Linux.licence_service()
    );
    let windows = format!(
        "Copy-Item {name} '{}'; Restart-Service -Force {}",
        GuestOs::Windows.token_folder(),
        GuestOs::Windows.licence_service()
    );
    match os {
        Some(GuestOs::Linux) => format!("in a Linux guest: `{linux}`"),
        Some(GuestOs::Windows) => format!("in Windows (PowerShell as administrator): `{windows}`"),
        None => format!("in a Linux guest: `{linux}`; in Windows (PowerShell as administrator): `{windows}`"),
    }
}

/// The steps that put a token into a guest, and what should be told.
///
/// # Errors
/// A refusal: no such virtual machine, it is off, or its agent does not answer; it tells what to type instead.
pub(super) fn token(choices: &Choices, facts: &LicensingFacts) -> Result<Part, Refusal> {
    let (Some(wanted), Some(guest)) = (&choices.token, &facts.guest) else {
        return Err(Refusal::new(
            "no-token",
            "No token was given.",
            "Name the virtual machine and the token's file.",
        ));
    };
    if !is_token_name(&wanted.file.name) {
        let reason = format!("`{}` is no name of a token.", wanted.file.name.escape_debug());
        return Err(Refusal::new(
            "bad-name",
            reason,
            "Give the file as the licence server named it; it ends in .tok.",
        ));
    }
    let hand = format!("Or by hand, {}.", by_hand(None, &wanted.file.name));
    match &guest.name {
        Finding::Seen(Some(_)) => {}
        Finding::Seen(None) => {
            let reason = format!("There is no virtual machine {} on this node.", guest.vm);
            return Err(Refusal::new("no-such-vm", reason, "`qm list` shows those that are."));
        }
        Finding::CouldNotLook { why } => {
            let reason = format!("The virtual machine {} could not be looked at: {why}.", guest.vm);
            return Err(Refusal::new("no-look", reason, "Run this as root on the Proxmox host."));
        }
    }
    if !guest.runs {
        let reason = format!(
            "The virtual machine {} is off, and the token goes in through its guest agent.",
            guest.vm
        );
        return Err(Refusal::new("vm-off", reason, format!("`qm start {}`, then again. {hand}", guest.vm)));
    }
    let system = match &guest.system {
        Finding::Seen(system) => system,
        Finding::CouldNotLook { why } => {
            let reason =
                format!("The guest agent of the virtual machine {} cannot be used: {why}.", guest.vm);
            let remedy = format!(
                "Install qemu-guest-agent inside and switch it on (`qm set {} --agent enabled=1`, then stop and start). {hand}",
                guest.vm
            );
            return Err(Refusal::new("no-agent", reason, remedy));
        }
    };
    let mut warnings = Vec::new();
    let others: Vec<&str> =
        system.tokens.iter().map(|t| t.name.as_str()).filter(|n| *n != wanted.file.name).collect();
    if !others.is_empty() {
        warnings.push(Warning {
            message: format!("Other tokens are there too and stay: {}.", others.join(", ")),
            remedy: Some("Remove those of servers that are not asked any more.".to_owned()),
        });
    }
    if !system.service {
        warnings.push(Warning {
            message: format!(
                "{} is not there: NVIDIA's guest driver is not installed in {}.",
                system.os.licence_service(),
                system.called
            ),
            remedy: Some("Install it; it finds the token at its first start.".to_owned()),
        });
    }
    if system.tokens.iter().any(|t| t.is(&wanted.file.name, &wanted.file.sha256)) {
        return Ok(Part { warnings, ..Part::default() });
    }
    let step = Step::GiveGuestToken(GiveGuestToken {
        vm: guest.vm,
        os: system.os,
        name: wanted.file.name.clone(),
        sha256: wanted.file.sha256.clone(),
        restart: system.service,
    });
    Ok(Part { steps: vec![step], warnings, ..Part::default() })
}

/// Who runs the container: the one chosen, else the one that is there, else Docker.
pub(super) fn engine(server: &LicenceServer, there: &Containers) -> ContainerEngine {
    let present =
        if there.podman && !there.docker { ContainerEngine::Podman } else { ContainerEngine::Docker };
    server.engine.unwrap_or(present)
}

/// The packages that are missing for a licence server. Docker that came from elsewhere is used as it is. Pure.
///
/// Debian 13 (Proxmox 9) has Docker's command in a package of its own.
pub(super) fn server_packages(
    server: &LicenceServer,
    there: &Containers,
    proxmox: Option<&str>,
) -> Vec<String> {
    let major = proxmox.and_then(|v| v.split('.').next()?.parse::<u32>().ok());
    let names: &[(&str, bool)] = match engine(server, there) {
        ContainerEngine::Docker => &[
            ("docker.io", there.docker),
            ("docker-cli", there.docker || major.is_none_or(|m| m < 9)),
            ("docker-compose", there.compose_plugin || there.docker_compose),
            // Only recommended by Docker's package, and no container starts without it.
            ("apparmor", !there.apparmor_parser_missing),
        ],
        ContainerEngine::Podman => &[("podman", there.podman), ("podman-compose", there.podman_compose)],
    };
    names.iter().filter(|(_, there)| !there).map(|(name, _)| (*name).to_owned()).collect()
}

/// A choice that cannot be meant.
fn bad(code: &str, reason: String, remedy: &str) -> Refusal {
    Refusal::new(code, reason, remedy)
}

fn check_server(server: &LicenceServer, facts: &LicensingFacts) -> Result<IpAddr, Refusal> {
    if !server.entitled {
        return Err(bad(
            "terms",
            "A licence server of one's own is for those who are entitled to the licences that it gives: NVIDIA's terms ask \
             for licences of vGPU software, and FastAPI-DLS is none of NVIDIA's products."
                .to_owned(),
            "Read NVIDIA's licence agreement; when you are entitled, say so: `--i-am-entitled`. Otherwise use NVIDIA's own \
             servers (CLS, DLS) and `hostwright vgpu token`.",
        ));
    }
    if let Some(why) = wrong_with_image(&server.image) {
        return Err(bad(
            "image",
            format!("The image `{}` is not taken: {why}.", server.image.escape_debug()),
            "Look the digest up where the image is published, compare it from a second place, and give NAME@sha256:DIGEST.",
        ));
    }
    let Ok(address) = server.listen.parse::<IpAddr>() else {
        let reason = format!("`{}` is no address.", server.listen.escape_debug());
        return Err(bad("listen", reason, "Give an address of this host (192.0.2.7), or 127.0.0.1."));
    };
    if address.is_unspecified() || address.is_multicast() {
        return Err(bad(
            "listen",
            format!("{address} means every network that this host is in."),
            "Give the one address that guests reach.",
        ));
    }
    if let Some(wrong) = server.names.iter().find(|n| !is_server_name(n)) {
        let reason = format!("`{}` is no host name and no address.", wrong.escape_debug());
        return Err(bad("server-name", reason, "Give the name by which guests reach this host."));
    }
    if !(1..=90).contains(&server.lease_days) {
        let reason = format!("A lease of {} days cannot be given.", server.lease_days);
        return Err(bad("lease", reason, "Choose 1 to 90 days."));
    }
    if !(1..=99).contains(&server.renewal_percent) {
        let reason = format!("A lease cannot be renewed after {} % of its time.", server.renewal_percent);
        return Err(bad("lease", reason, "Choose 1 to 99 percent."));
    }
    if server.port == 0 {
        return Err(bad("listen", "Port 0 is none.".to_owned(), "443 is what guests try by themselves."));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "/_+-".contains(c);
    if server.time_zone.is_empty() || !server.time_zone.chars().all(plain) || !facts.zone_known {
        let reason = format!("`{}` is no time zone.", server.time_zone.escape_debug());
        return Err(bad("time-zone", reason, "`timedatectl list-timezones` lists them."));
    }
    Ok(address)
}

/// What makes the certificate and keys of a server.
pub(super) fn keys(server: &LicenceServer, address: IpAddr) -> CreateServerKeys {
    CreateServerKeys { folder: FOLDER.to_owned(), names: names(server, address), days: CERTIFICATE_DAYS }
}

/// The names of the certificate: those by which guests reach it, and those of the health check.
fn names(server: &LicenceServer, address: IpAddr) -> Vec<String> {
    let mut names = server.names.clone();
    for more in [address.to_string(), "localhost".to_owned(), "127.0.0.1".to_owned()] {
        if !names.contains(&more) {
            names.push(more);
        }
    }
    names
}

/// The compose file. Its variables, port, folders and health address are those of FastAPI-DLS's own description. Keys are
/// mounted one by one, so that the server can keep others of its own beside them, which later versions do.
fn compose(server: &LicenceServer, address: IpAddr) -> String {
    let first = server.names.first().cloned().unwrap_or_else(|| address.to_string());
    let host = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
    let mounts: String = ["webserver.key", "webserver.crt", "instance.private.pem", "instance.public.pem"]
        .map(|f| format!("      - \"{FOLDER}/{f}:/app/cert/{f}:ro\"\n"))
        .concat();
    format!(
        "# Written by Hostwright.\nversion: \"3.7\"\nservices:\n  dls:\n    image: \"{}\"\n    container_name: {CONTAINER}\n    \
         restart: \"no\"\n    environment:\n      TZ: \"{}\"\n      DLS_URL: \"{first}\"\n      DLS_PORT: \"{}\"\n      \
         LEASE_EXPIRE_DAYS: \"{}\"\n      LEASE_RENEWAL_PERIOD: \"0.{:02}\"\n      \
         DATABASE: \"sqlite:////app/database/db.sqlite\"\n      DEBUG: \"false\"\n    ports:\n      - \"{host}:{}:443\"\n    \
         volumes:\n      - \"cert:/app/cert\"\n{mounts}      - \"database:/app/database\"\n    cap_drop:\n      - ALL\n    \
         cap_add:\n      - NET_BIND_SERVICE\n    security_opt:\n      - \"no-new-privileges\"\n    healthcheck:\n      \
         test: [\"CMD\", \"curl\", \"--silent\", \"--fail\", \"--cacert\", \"/app/cert/webserver.crt\", \
         \"https://localhost/-/health\"]\n      interval: 30s\n      timeout: 5s\n      retries: 3\n      \
         start_period: 30s\nvolumes:\n  cert:\n  database:\n",
        server.image, server.time_zone, server.port, server.lease_days, server.renewal_percent, server.port
    )
}

/// The unit that starts and stops it. Compose stays in the foreground: its end is the service's.
fn unit(engine: ContainerEngine, there: &Containers) -> String {
    let (tool, needs) = match engine {
        ContainerEngine::Podman => ("/usr/bin/podman-compose", ""),
        // The distribution's package brings the command, also where it is a plugin too.
        ContainerEngine::Docker if there.compose_plugin && !there.docker_compose => {
            ("/usr/bin/docker compose", "Requires=docker.service\nAfter=docker.service\n")
        }
        ContainerEngine::Docker => {
            ("/usr/bin/docker-compose", "Requires=docker.service\nAfter=docker.service\n")
        }
    };
    let compose = format!("{tool} -p {CONTAINER} -f {COMPOSE}");
    // podman-compose leaves the network that it made.
    let after = match engine {
        ContainerEngine::Podman => {
            format!("ExecStopPost=-/usr/bin/podman network rm {CONTAINER}_default\n")
        }
        ContainerEngine::Docker => String::new(),
    };
    format!(
        "# Written by Hostwright.\n[Unit]\nDescription=Licence server for virtual GPUs (FastAPI-DLS)\n\
         Wants=network-online.target\nAfter=network-online.target\n{needs}\n[Service]\nExecStart={compose} up\n\
         ExecStop={compose} down\n{after}Restart=on-failure\nRestartSec=15\nTimeoutStopSec=60\n\n[Install]\n\
         WantedBy=multi-user.target\n"
    )
}

/// The steps that set a licence server up, and what must be told.
///
/// # Errors
/// A refusal: no consent to the terms, an image without digest, an address that is none or all, packages.
pub(super) fn server(
    choices: &Choices,
    facts: &LicensingFacts,
    host: &VgpuFacts,
    packages: &PackageFacts,
    files: &[TextFile],
) -> Result<Part, Refusal> {
    let (Some(server), Some(there)) = (&choices.licence_server, &facts.containers) else {
        return Err(Refusal::new(
            "no-server",
            "Nothing was said of the licence server.",
            "Name image and address.",
        ));
    };
    let address = check_server(server, facts)?;
    let engine = engine(server, there);
    let mut steps = packages::steps(packages, false, "to run the licence server's container")?;
    let mut written = vec![(COMPOSE, compose(server, address)), (UNIT_FILE, unit(engine, there))];
    written.retain(|(path, content)| {
        !files.iter().any(|f| f.path == *path && f.text == *content && f.mode == 0o644)
    });
    let runs = |now: &ServerNow| {
        now.keys && now.enabled && now.container.image == server.image && now.container.health == HEALTHY
    };
    let (warnings, notes) = (warnings(address, host), notes(server, address));
    if steps.is_empty() && written.is_empty() && facts.server.as_ref().is_some_and(runs) {
        return Ok(Part { warnings, notes, ..Part::default() });
    }
    steps.push(Step::CreateServerKeys(keys(server, address)));
    steps.push(Step::PullImage(PullImage { engine, image: server.image.clone() }));
    steps.extend(written.into_iter().map(|(path, content)| {
        let reason = "the licence server".to_owned();
        Step::WriteFile(WriteFile { path: path.to_owned(), content, mode: 0o644, reason })
    }));
    steps.push(Step::EnableServices(EnableServices {
        units: vec![UNIT.to_owned()],
        start: true,
        permission: Permission::VgpuInstall,
    }));
    Ok(Part { steps, warnings, notes })
}

fn warnings(address: IpAddr, host: &VgpuFacts) -> Vec<Warning> {
    let mut found = vec![
        Warning {
            message: "NVIDIA's terms ask for a licence for each virtual GPU, whoever hands it out. You said that you are \
                      entitled."
                .to_owned(),
            remedy: Some("FastAPI-DLS is no product of NVIDIA's; nobody but its authors stands up for the image.".to_owned()),
        },
        Warning {
            message: "Guest drivers of branch 18 and newer check the server's certificates and take no licence from this \
                      one as they are. Hostwright patches nothing in guests."
                .to_owned(),
            remedy: Some("Use branches 16 or 17 in guests, or NVIDIA's own licence servers.".to_owned()),
        },
    ];
    if let Finding::Seen(Some(driver)) = &host.driver
        && let Some(loaded) = &driver.loaded
        && loaded.split('.').next().and_then(|m| m.parse::<u32>().ok()).is_some_and(|major| major >= 570)
    {
        found.push(Warning {
            message: format!(
                "The host driver {loaded} is of branch 18 or newer, and guests of its branch will be such."
            ),
            remedy: None,
        });
    }
    if address.is_loopback() {
        found.push(Warning {
            message: "Only this host itself reaches a loopback address; guests do not.".to_owned(),
            remedy: Some("`--listen` with the address of the bridge that guests are on.".to_owned()),
        });
    }
    found
}

fn notes(server: &LicenceServer, address: IpAddr) -> Vec<Note> {
    let named = server.names.first().cloned().unwrap_or_else(|| address.to_string());
    let at = if named.contains(':') { format!("[{named}]") } else { named };
    let port = if server.port == 443 { String::new() } else { format!(":{}", server.port) };
    let note = |topic: &str, text: String| Note { topic: topic.to_owned(), text, diff: None };
    vec![
        note(
            "tokens",
            format!(
                "for guests, on this host: `curl --cacert {FOLDER}/webserver.crt -OJ https://{at}{port}/-/client-token`, then \
                 `hostwright vgpu token VM FILE`"
            ),
        ),
        note(
            "leases",
            format!(
                "the volumes {CONTAINER}_database and {CONTAINER}_cert stay when the server is taken back"
            ),
        ),
    ]
}

#[cfg(test)]
#[path = "licensing_tests.rs"]
mod tests;
