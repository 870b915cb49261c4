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
    }
}

/// What a container's own health check says ("healthy", "starting", "unhealthy"), by `docker` or `podman`.
pub fn health(host: &Host, program: &str, container: &str) -> Finding<String> {
    let command = Command::new(program).args(["inspect", "--format", "{{.State.Health.Status}}", container]);
    let Some(command) = host.tool(command.timeout(Duration::from_secs(20))) else {
        return Finding::unseen("this root has no containers of its own");
    };
    match host.runner().run_ok(&command) {
        Ok(output) => Finding::Seen(output.stdout.trim().to_owned()),
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
        let runner = FakeRunner::new().ok("docker", "healthy\n");
        let host = host(dir.path(), Arc::new(runner), HostKind::Machine).unwrap();
        assert_eq!(containers(&host), Containers::default());
        for path in ["/usr/bin/docker", "/usr/libexec/docker/cli-plugins/docker-compose"] {
            host.root().create_dirs(path.rsplit_once('/').unwrap().0, 0o755).unwrap();
            host.root().write(path, b"", 0o755, None).unwrap();
        }
        let there = Containers { docker: true, compose_plugin: true, ..Containers::default() };
        assert_eq!(containers(&host), there);
        assert_eq!(health(&host, "docker", "x"), Finding::Seen("healthy".to_owned()));
        assert!(matches!(health(&host, "podman", "x"), Finding::CouldNotLook { .. }));
    }
}
