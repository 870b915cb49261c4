// SPDX-License-Identifier: GPL-3.0-or-later
use super::super::choices::{GuestToken, KeptFile};
use super::super::setup::gather;
use super::super::tests::unpack;
use super::super::{Catalogue, Rules, Stage, plan};
use super::*;
use crate::engine::packages::{PackageChange, PackageManager};
use crate::engine::plan::Plan;
use std::path::Path;

const NAME: &str = "client_configuration_token_01-02-2026-03-04-05.tok";

fn token_choices() -> Choices {
    let file = KeptFile { name: NAME.into(), sha256: "ab".repeat(32), size: 5 };
    let token = Some(GuestToken { vm: 100, file });
    Choices { stage: Some(Stage::Token), token, ..Choices::default() }
}

/// Plans on a recorded host without a card: licences need none.
fn planned(more: &str, choices: &Choices) -> Result<Plan, Refusal> {
    let (catalogue, rules) = (Catalogue::built_in().unwrap(), Rules::built_in().unwrap());
    let facts = gather(&unpack("pve9-no-card", more).host, choices, &catalogue, &rules)?;
    plan::plan(choices, &facts, &catalogue, &rules)
}

const OFF: &str = "\n== file /etc/pve/qemu-server/100.conf\nname: desk\nagent: 1\n";
const ON: &str = "\n== file /run/qemu-server/100.pid\n4242\n== dir /proc/4242\n";
const LINUX: &str = r#"
== answer qm guest cmd 100 get-osinfo
{"id": "debian", "pretty-name": "Debian GNU/Linux 12 (bookworm)"}
== answer qm guest exec 100 --timeout 60 -- systemctl cat -- nvidia-gridd.service
{"exitcode": 0, "exited": 1, "out-data": "[Unit]"}
== answer qm guest exec 100 --timeout 60 -- find /etc/nvidia/ClientConfigToken -maxdepth 1 -type f -name '*.tok' -exec sha256sum -- '{}' +
{"exitcode": 0, "exited": 1, "out-data": "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd  /etc/nvidia/ClientConfigToken/older.tok\n"}
== answer qm guest exec 100 --timeout 60 -- find /etc/nvidia/ClientConfigToken -maxdepth 1 -type f -name '*.tok' -printf '%m %p\n'
{"exitcode": 0, "exited": 1, "out-data": "744 /etc/nvidia/ClientConfigToken/older.tok\n"}
"#;

#[test]
fn a_linux_guest_with_an_agent_gets_the_token_and_its_service_is_restarted() {
    let plan = planned(&format!("{OFF}{ON}{LINUX}"), &token_choices()).unwrap();
    let [Step::GiveGuestToken(step)] = plan.steps.as_slice() else { panic!("{:?}", plan.steps) };
    assert_eq!((step.vm, step.os, step.name.as_str(), step.restart), (100, GuestOs::Linux, NAME, true));
    assert!(!plan.needs_reboot);
    assert_eq!(plan.warnings.len(), 1);
    assert!(plan.warnings[0].message.contains("older.tok"), "{}", plan.warnings[0].message);
    assert!(plan.permissions.contains(&Permission::VgpuInstall));
}

#[test]
fn a_guest_that_has_this_token_gets_nothing() {
    let mut choices = token_choices();
    let file = &mut choices.token.as_mut().unwrap().file;
    (file.name, file.sha256) = ("older.tok".into(), "cd".repeat(32));
    let more = |guest: &str| format!("{OFF}{ON}{guest}");
    let plan = planned(&more(LINUX), &choices).unwrap();
    assert!(plan.steps.is_empty() && plan.permissions.is_empty() && plan.warnings.is_empty(), "{plan:?}");
    // The driver reads it with other permissions, too, but they are not what NVIDIA asks for.
    let plan = planned(&more(&LINUX.replace("744 /etc", "600 /etc")), &choices).unwrap();
    assert_eq!(plan.steps.len(), 1);
    choices.token.as_mut().unwrap().file.sha256 = "ab".repeat(32);
    assert_eq!(planned(&more(LINUX), &choices).unwrap().steps.len(), 1, "another content");
}

#[test]
fn a_guest_without_nvidias_driver_gets_the_token_and_a_warning() {
    let without = LINUX.replace(
        "{\"exitcode\": 0, \"exited\": 1, \"out-data\": \"[Unit]\"}",
        "{\"exitcode\": 1, \"exited\": 1}",
    );
    let plan = planned(&format!("{OFF}{ON}{without}"), &token_choices()).unwrap();
    let [Step::GiveGuestToken(step)] = plan.steps.as_slice() else { panic!() };
    assert!(!step.restart);
    assert!(
        plan.warnings[1].message.contains("driver is not installed in Debian GNU/Linux 12"),
        "{:?}",
        plan.warnings
    );
}

#[test]
fn where_no_agent_answers_it_is_told_what_to_type() {
    let refused = |more: &str| planned(more, &token_choices()).unwrap_err();
    assert_eq!(refused("").code, "no-such-vm");
    let off = refused(OFF);
    assert_eq!(off.code, "vm-off");
    let typed = off.remedy.unwrap();
    for part in [
        &format!(
            "install -D -m 744 {NAME} /etc/nvidia/ClientConfigToken/{NAME} && systemctl restart nvidia-gridd"
        ),
        r"Copy-Item",
        r"C:\Program Files\NVIDIA Corporation\vGPU Licensing\ClientConfigToken",
        "Restart-Service -Force NVDisplay.ContainerLocalSystem",
    ] {
        assert!(typed.contains(part), "{part} is not in {typed}");
    }
    let silent = refused(&format!("{OFF}{ON}"));
    assert_eq!(silent.code, "no-agent");
    assert!(silent.remedy.unwrap().contains("--agent enabled=1"));
    let mut choices = token_choices();
    choices.token.as_mut().unwrap().file.name = "'; rm x.tok".into();
    assert_eq!(planned(&format!("{OFF}{ON}{LINUX}"), &choices).unwrap_err().code, "bad-name");
}

fn server_choices() -> LicenceServer {
    LicenceServer {
        image: format!("docker.io/who/fastapi-dls@sha256:{}", "0f".repeat(32)),
        listen: "192.0.2.7".into(),
        port: 8443,
        names: vec!["dls.example".into()],
        time_zone: "Europe/Vienna".into(),
        lease_days: 30,
        renewal_percent: 5,
        engine: None,
        entitled: true,
    }
}

/// A plan for a machine with these programs, where all packages can be had.
fn with(server: LicenceServer, there: &Containers) -> Result<Part, Refusal> {
    beside(None, &[], server, there)
}

/// The same beside a server that is here, and these files of it.
fn beside(
    now: Option<ServerNow>,
    files: &[TextFile],
    server: LicenceServer,
    there: &Containers,
) -> Result<Part, Refusal> {
    let facts = LicensingFacts {
        containers: Some(there.clone()),
        zone_known: true,
        server: now,
        ..LicensingFacts::default()
    };
    let wanted = server_packages(&server, there, Some("8.2.4"));
    let change = |n: &String| PackageChange { name: n.clone(), version: "1".into(), from: None };
    let packages = PackageFacts {
        manager: Some(PackageManager::Apt),
        missing: Finding::Seen(wanted.clone()),
        changes: Finding::Seen(Some(wanted.iter().map(change).collect())),
        wanted,
        removed: Vec::new(),
    };
    let choices = Choices { licence_server: Some(server), ..Choices::default() };
    let host = super::super::gather(&unpack("pve9-no-card", "").host);
    super::server(&choices, &facts, &host, &packages, files)
}

fn text<'p>(part: &'p Part, path: &str) -> &'p str {
    let written = part.steps.iter().find_map(|s| match s {
        Step::WriteFile(w) if w.path == path => Some(w.content.as_str()),
        _ => None,
    });
    written.unwrap()
}

#[test]
fn a_server_that_runs_as_it_is_wanted_is_left_alone() {
    let there = Containers { docker: true, docker_compose: true, ..Containers::default() };
    let first = with(server_choices(), &there).unwrap();
    let file =
        |path: &str| TextFile { path: path.to_owned(), text: text(&first, path).to_owned(), mode: 0o644 };
    let files = [file(COMPOSE), file(UNIT_FILE)];
    let container = Container { image: server_choices().image, health: HEALTHY.into() };
    let runs = ServerNow { container, keys: true, enabled: true };
    let steps = |now: &ServerNow, files: &[TextFile], server: LicenceServer| {
        beside(Some(now.clone()), files, server, &there).unwrap().steps.len()
    };
    assert_eq!(steps(&runs, &files, server_choices()), 0);
    assert_eq!(steps(&runs, &files[..1], server_choices()), 4, "its unit is not as it should be");
    assert_eq!(steps(&runs, &files, LicenceServer { lease_days: 1, ..server_choices() }), 4);
    for other in [
        ServerNow { keys: false, ..runs.clone() },
        ServerNow { enabled: false, ..runs.clone() },
        ServerNow {
            container: Container { health: "starting".into(), ..runs.container.clone() },
            ..runs.clone()
        },
        ServerNow {
            container: Container { image: "other".into(), ..runs.container.clone() },
            ..runs.clone()
        },
    ] {
        assert_eq!(steps(&other, &files, server_choices()), 3, "{other:?}");
    }
}

#[test]
fn a_server_is_keys_image_compose_file_and_a_unit_that_starts_it() {
    let part = with(server_choices(), &Containers::default()).unwrap();
    let titles: Vec<String> = part.steps.iter().map(Step::title).collect();
    assert_eq!(titles.len(), 6, "{titles:#?}");
    assert_eq!(
        titles[1],
        "Make the certificate of dls.example, 192.0.2.7, localhost, 127.0.0.1 in /etc/hostwright/dls"
    );
    assert!(titles[2].starts_with("Fetch the image docker.io/who/fastapi-dls@sha256:0f0f"), "{}", titles[2]);
    assert_eq!(titles[5], "Enable and start hostwright-dls.service");
    let unit = text(&part, UNIT_FILE);
    assert!(unit.contains(
        "ExecStart=/usr/bin/docker-compose -p hostwright-dls -f /etc/hostwright/dls/compose.yaml up\n"
    ));
    assert!(unit.contains("Requires=docker.service"));
    let permissions: Vec<_> = part.steps[1..].iter().flat_map(Step::permissions).collect();
    assert!(permissions.iter().all(|p| *p == Permission::VgpuInstall), "{permissions:?}");
}

/// The compose files that `tests/vgpu/compose.sh` has docker-compose read.
#[test]
fn the_compose_files_are_those_that_docker_compose_was_asked_about() {
    let v6 = LicenceServer { listen: "2001:db8::7".into(), names: Vec::new(), port: 443, ..server_choices() };
    for (name, server) in [("named", server_choices()), ("address", v6)] {
        let part = with(server, &Containers::default()).unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vgpu/compose/{name}.yaml"));
        let now = text(&part, COMPOSE);
        if std::env::var_os("HOSTWRIGHT_WRITE_COMPOSE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, now).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap();
        assert_eq!(now, kept, "HOSTWRIGHT_WRITE_COMPOSE=1 writes it anew; then run tests/vgpu/compose.sh");
    }
}

#[test]
fn docker_that_is_there_is_used_and_nothing_of_it_is_installed_or_removed() {
    let elsewhere = Containers { docker: true, compose_plugin: true, ..Containers::default() };
    let part = with(server_choices(), &elsewhere).unwrap();
    assert!(!part.steps.iter().any(|s| matches!(s, Step::InstallPackages(_))), "{:?}", part.steps);
    assert!(text(&part, UNIT_FILE).contains("ExecStart=/usr/bin/docker compose -p"));
    assert_eq!(server_packages(&server_choices(), &elsewhere, Some("9.0.3")), [""; 0]);
    let bare = Containers { docker: true, ..Containers::default() };
    assert_eq!(server_packages(&server_choices(), &bare, Some("8.2.4")), ["docker-compose"]);
    let unguarded = Containers { apparmor_parser_missing: true, ..elsewhere };
    assert_eq!(server_packages(&server_choices(), &unguarded, Some("9.0.3")), ["apparmor"]);
}

#[test]
fn each_release_gets_its_packages_and_podman_serves_where_it_is_alone() {
    let none = Containers::default();
    assert_eq!(server_packages(&server_choices(), &none, Some("8.2.4")), ["docker.io", "docker-compose"]);
    let nine = ["docker.io", "docker-cli", "docker-compose"];
    assert_eq!(server_packages(&server_choices(), &none, Some("9.0.3")), nine);
    let podman = Containers { podman: true, ..Containers::default() };
    assert_eq!(server_packages(&server_choices(), &podman, Some("9.0.3")), ["podman-compose"]);
    let part = with(server_choices(), &podman).unwrap();
    assert!(text(&part, UNIT_FILE).contains("ExecStart=/usr/bin/podman-compose -p"));
    assert!(!text(&part, UNIT_FILE).contains("docker.service"));
    assert!(
        text(&part, UNIT_FILE)
            .contains("\nExecStopPost=-/usr/bin/podman network rm hostwright-dls_default\n")
    );
    let chosen = LicenceServer { engine: Some(ContainerEngine::Podman), ..server_choices() };
    assert_eq!(server_packages(&chosen, &none, Some("8.2.4")), ["podman", "podman-compose"]);
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_reason() {
    let code = |change: &dyn Fn(&mut LicenceServer)| {
        let mut server = server_choices();
        change(&mut server);
        with(server, &Containers::default()).unwrap_err().code
    };
    assert_eq!(code(&|s| s.entitled = false), "terms");
    assert_eq!(code(&|s| s.image = "docker.io/who/fastapi-dls:latest".into()), "image");
    assert_eq!(code(&|s| s.image = format!("who/x:latest@sha256:{}", "0f".repeat(32))), "image");
    assert_eq!(code(&|s| s.listen = "0.0.0.0".into()), "listen");
    assert_eq!(code(&|s| s.listen = "::".into()), "listen");
    assert_eq!(code(&|s| s.listen = "dls.example".into()), "listen");
    assert_eq!(code(&|s| s.names = vec!["a\"b".into()]), "server-name");
    assert_eq!(code(&|s| s.lease_days = 91), "lease");
    assert_eq!(code(&|s| s.renewal_percent = 0), "lease");
    assert_eq!(code(&|s| s.time_zone = "Europe/Vienna\"\n".into()), "time-zone");
}

#[test]
fn terms_and_branch_18_are_always_told_and_a_loopback_address_is() {
    let said = |server: LicenceServer| -> String {
        let part = with(server, &Containers::default()).unwrap();
        part.warnings.iter().map(|w| format!("{} {:?}\n", w.message, w.remedy)).collect()
    };
    let usual = said(server_choices());
    for part in ["NVIDIA's terms", "branch 18 and newer", "patches nothing in guests"] {
        assert!(usual.contains(part), "{part} is not in {usual}");
    }
    assert!(!usual.contains("loopback"));
    assert!(said(LicenceServer { listen: "127.0.0.1".into(), ..server_choices() }).contains("loopback"));
}

#[test]
fn a_time_zone_is_looked_up_on_the_host() {
    let choices = |zone: &str| Choices {
        stage: Some(Stage::LicenceServer),
        licence_server: Some(LicenceServer { time_zone: zone.into(), ..server_choices() }),
        ..Choices::default()
    };
    let zone = "\n== file /usr/share/zoneinfo/Europe/Vienna\nTZif2\n";
    assert_eq!(planned(zone, &choices("Europe/Atlantis")).unwrap_err().code, "time-zone");
    assert_eq!(planned(zone, &choices("../zoneinfo/Europe/Vienna")).unwrap_err().code, "time-zone");
    // So far it gets: the recorded host has no package manager.
    assert_eq!(planned(zone, &choices("Europe/Vienna")).unwrap_err().code, "no-package-manager");
}

#[test]
fn licences_are_no_stage_to_go_on_with() {
    assert!(Stage::Token.is_aside() && Stage::LicenceServer.is_aside() && Stage::Assign.is_aside());
    assert!(!Stage::Prepare.is_aside() && !Stage::Install.is_aside());
}
