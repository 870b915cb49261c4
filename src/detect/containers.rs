// SPDX-License-Identifier: GPL-3.0-or-later
//! What runs containers here, and how one of them is.

use super::Finding;
use super::look::Look;
use crate::host::{Command, Host};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Programs that run containers, by their files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Containers {
    /// Whether `docker` is there.
    pub docker: bool,
    /// Whether `podman` is there.
    pub podman: bool,
    /// Whether Docker has compose as its plugin (`docker compose`).
    pub compose_plugin: bool,
    /// Whether `docker-compose` is there.
    pub docker_compose: bool,
    /// Whether `podman-compose` is there.
    pub podman_compose: bool,
    /// Whether the kernel has AppArmor on and its parser is not there: Docker then starts no container.
    #[serde(default)]
    pub apparmor_parser_missing: bool,
}

/// Looks which programs run containers here.
pub fn containers(host: &Host) -> Containers {
    let look = &Look::new(host);
    let any = |paths: &[&str]| look.first_of(paths).is_some();
    Containers {
        docker: any(&["/usr/bin/docker", "/usr/local/bin/docker"]),
        podman: any(&["/usr/bin/podman"]),
        compose_plugin: any(&[
            "/usr/libexec/docker/cli-plugins/docker-compose",
            "/usr/lib/docker/cli-plugins/docker-compose",
            "/usr/local/lib/docker/cli-plugins/docker-compose",
        ]),
        docker_compose: any(&["/usr/bin/docker-compose"]),
        podman_compose: any(&["/usr/bin/podman-compose"]),
        apparmor_parser_missing: host
            .root()
            .read_text("/sys/module/apparmor/parameters/enabled")
            .is_ok_and(|enabled| enabled.trim() == "Y")
            && !any(&["/usr/sbin/apparmor_parser", "/sbin/apparmor_parser"]),
    }
}

/// A container, as its engine tells.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Container {
    /// The image that it was made from, as it was named.
    pub image: String,
    /// What its own health check says ("healthy", "starting", "unhealthy"); of one that was never started, its state
    /// ("created").
    pub health: String,
}

/// Looks at a container, by `docker` or `podman`. Could not look: also when there is none.
pub fn container(host: &Host, program: &str, name: &str) -> Finding<Container> {
    let format = "{{.Config.Image}} {{with .State.Health}}{{.Status}}{{else}}{{.State.Status}}{{end}}";
    let command = Command::new(program).args(["inspect", "--format", format, name]);
    let Some(command) = host.tool(command.timeout(Duration::from_secs(20))) else {
        return Finding::unseen("this root has no containers of its own");
    };
    match host.runner().run_ok(&command) {
        Ok(output) => {
            let (image, health) = output.stdout.trim().split_once(' ').unwrap_or_default();
            Finding::Seen(Container { image: image.to_owned(), health: health.to_owned() })
        }
        Err(e) => Finding::unseen(e.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostKind;
    use crate::host::fake::{FakeRunner, host};
    use std::sync::Arc;

    #[test]
    fn programs_are_told_by_their_files_and_health_by_the_engine() {
        let dir = tempfile::tempdir().unwrap();
        let runner = FakeRunner::new().ok("docker", "who/what@sha256:00 healthy\n");
        let host = host(dir.path(), Arc::new(runner), HostKind::Machine).unwrap();
        assert_eq!(containers(&host), Containers::default());
        for path in ["/usr/bin/docker", "/usr/libexec/docker/cli-plugins/docker-compose"] {
            host.root().create_dirs(path.rsplit_once('/').unwrap().0, 0o755).unwrap();
            host.root().write(path, b"", 0o755, None).unwrap();
        }
        let there = Containers { docker: true, compose_plugin: true, ..Containers::default() };
        assert_eq!(containers(&host), there);
        let said = Container { image: "who/what@sha256:00".into(), health: "healthy".into() };
        assert_eq!(container(&host, "docker", "x"), Finding::Seen(said));
        assert!(matches!(container(&host, "podman", "x"), Finding::CouldNotLook { .. }));
    }
}
