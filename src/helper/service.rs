// SPDX-License-Identifier: GPL-3.0-or-later
//! `org.hostwright.Helper1` at `/org/hostwright/Helper1`. Each call: who, well-formed, may they, and only
//! then the work.

use super::admit;
use super::caller::Caller;
use super::job::{Task, run_error};
use super::shared::{Call, Shared};
use super::work;
use crate::engine::{self, Permission, Plan};
use crate::ipc::{Error, PlanPreview};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use zbus::Connection;
use zbus::message::Header;
use zbus::zvariant::{OwnedFd, OwnedObjectPath};

/// After an authorization that took longer than this, the plan is made once more: somebody typed a
/// password meanwhile, and the machine may have changed.
const STALE: Duration = Duration::from_secs(1);

/// Cheap checks of all arguments, before polkit is asked and before any file is read.
fn admissible(flow: &str, choices: &str, files: &HashMap<String, OwnedFd>) -> Result<(), Error> {
    admit::flow(flow)?;
    admit::choices(choices)?;
    admit::names(files)
}

/// All that must be granted: what the plan says, and what each of its steps says.
fn needed(plan: &Plan) -> Result<BTreeSet<Permission>, Error> {
    let mut permissions = plan.permissions.clone();
    permissions.extend(plan.steps.iter().flat_map(engine::Step::permissions));
    if permissions.is_empty() && !plan.is_empty() {
        return Err(Error::Failed(
            "the plan names no permission, so that nobody can grant it; please report this".to_owned(),
        ));
    }
    Ok(permissions)
}

fn document(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value)
        .map_err(|e| Error::Failed(format!("the answer could not be written ({e}); please report this")))
}

/// The object on the bus.
#[derive(Debug)]
pub(super) struct Service(pub(super) Arc<Shared>);

impl Service {
    async fn call<'a>(&self, connection: &'a Connection, header: &Header<'_>) -> Result<Call<'a>, Error> {
        let arrived = self.0.work.arrive();
        let caller = Caller::of(self.0.asking()?, header).await?;
        let piece = Arc::new(arrived.begin(caller.uid).await?);
        Ok(Call { connection, caller, piece })
    }
}

#[zbus::interface(name = "org.hostwright.Helper1", introspection_docs = false)]
impl Service {
    #[zbus(out_args("facts"))]
    async fn gather(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<String, Error> {
        let call = self.call(connection, &header).await?;
        call.may_inspect().await?;
        let shared = self.0.clone();
        let facts = work::in_thread("gather", move || shared.flows.gather(&shared.host)).await?;
        document(&facts.map_err(Error::Failed)?)
    }

    #[zbus(out_args("plan"))]
    async fn plan(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        flow: &str,
        choices: &str,
        files: HashMap<String, OwnedFd>,
    ) -> Result<String, Error> {
        let call = self.call(connection, &header).await?;
        admissible(flow, choices, &files)?;
        call.may_inspect().await?;
        let request = call.request(flow, choices, files).await?;
        document(&self.0.plan(&call, &request).await?)
    }

    #[zbus(out_args("preview"))]
    async fn preview(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        flow: &str,
        choices: &str,
        files: HashMap<String, OwnedFd>,
    ) -> Result<String, Error> {
        let call = self.call(connection, &header).await?;
        admissible(flow, choices, &files)?;
        call.may_inspect().await?;
        let request = call.request(flow, choices, files).await?;
        let plan = self.0.plan(&call, &request).await?;
        let shared = self.0.clone();
        let preview = work::in_thread("preview", move || {
            let steps = engine::preview_for_anybody(&plan, &shared.host);
            PlanPreview { plan, steps }
        });
        document(&preview.await?)
    }

    #[zbus(out_args("run"))]
    #[allow(clippy::too_many_arguments)] // The interface is as it is; two of these are not arguments.
    async fn execute(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        flow: &str,
        choices: &str,
        digest: &str,
        files: HashMap<String, OwnedFd>,
    ) -> Result<OwnedObjectPath, Error> {
        let call = self.call(connection, &header).await?;
        admissible(flow, choices, &files)?;
        let digest = admit::digest(digest)?;
        // Nobody should type a password only to hear that another run goes on.
        self.0.is_free()?;
        call.may_inspect().await?;
        let request = call.request(flow, choices, files).await?;
        let mut plan = self.0.plan(&call, &request).await?;
        if plan.digest() != digest {
            return Err(Error::MachineChanged);
        }
        let asked = Instant::now();
        call.may(&needed(&plan)?, &plan.details).await?;
        if asked.elapsed() > STALE {
            plan = self.0.plan(&call, &request).await?;
            if plan.digest() != digest {
                return Err(Error::MachineChanged);
            }
        }
        let task = Task::Execute { plan: Box::new(plan), inputs: request.inputs.clone() };
        self.0.start(call, task).await
    }

    #[zbus(out_args("runs"))]
    async fn runs(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<String, Error> {
        let call = self.call(connection, &header).await?;
        call.may_inspect().await?;
        let shared = self.0.clone();
        let runs = work::in_thread("runs", move || engine::runs(&shared.host)).await?;
        document(&runs.map_err(|e| run_error(&e))?)
    }

    #[zbus(out_args("preview"))]
    async fn undo_preview(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        number: u32,
    ) -> Result<String, Error> {
        let call = self.call(connection, &header).await?;
        call.may_inspect().await?;
        let shared = self.0.clone();
        let preview =
            work::in_thread("undo-preview", move || engine::undo_preview(&shared.host, number)).await?;
        document(&preview.map_err(|e| run_error(&e))?)
    }

    #[zbus(out_args("run"))]
    async fn undo(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        number: u32,
    ) -> Result<OwnedObjectPath, Error> {
        let call = self.call(connection, &header).await?;
        self.0.is_free()?;
        let shared = self.0.clone();
        let runs =
            work::in_thread("runs", move || engine::runs(&shared.host)).await?.map_err(|e| run_error(&e))?;
        // Whether a run exists is told to those only who may know.
        let title = runs.into_iter().find(|s| s.run == number).map(|s| s.title);
        let about = BTreeMap::from([
            ("run".to_owned(), number.to_string()),
            ("title".to_owned(), title.clone().unwrap_or_default()),
        ]);
        call.may(&BTreeSet::from([Permission::Undo]), &about).await?;
        title.ok_or(Error::NoSuchRun(number))?;
        self.0.start(call, Task::Undo { run: number }).await
    }

    #[zbus(out_args("gone"))]
    async fn prune(
        &self,
        #[zbus(header)] header: Header<'_>,
        #[zbus(connection)] connection: &Connection,
        numbers: Vec<u32>,
        lose_undo: bool,
    ) -> Result<Vec<u32>, Error> {
        let call = self.call(connection, &header).await?;
        self.0.is_free()?;
        let message =
            "Authentication is required to forget old runs of Hostwright, which cannot be taken back then.";
        let about = BTreeMap::from([("polkit.message".to_owned(), message.to_owned())]);
        call.may(&BTreeSet::from([Permission::Undo]), &about).await?;
        let owner = call.caller.owner().await?;
        let shared = self.0.clone();
        let gone = work::in_thread("prune", move || engine::prune(&shared.host, &numbers, lose_undo, &owner));
        gone.await?.map_err(|e| run_error(&e))
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Inputs, Owner};
    use crate::flows::PlanError;
    use crate::helper::Flows;
    use crate::helper::run::{Entry, RunObject};
    use crate::host::{Cancel, Host};
    use serde_json::Value;
    use zbus::object_server::Interface;

    struct NoFlows;

    impl Flows for NoFlows {
        fn gather(&self, _: &Host) -> Result<Value, String> {
            Err("none".to_owned())
        }
        fn plan(
            &self,
            _: &Host,
            flow: &str,
            _: &Value,
            _: &Inputs,
            _: &Cancel,
            _: &mut dyn engine::Sink,
        ) -> Result<Plan, PlanError> {
            Err(PlanError::UnknownFlow(flow.to_owned()))
        }
        fn check(&self, _: &Host, _: &Plan) -> Vec<engine::Check> {
            Vec::new()
        }
    }

    /// The interfaces of a document without comments and space.
    fn interfaces(xml: &str) -> String {
        let comments = regex::Regex::new("(?s)<!--.*?-->").unwrap();
        let xml = comments.replace_all(xml, "");
        let from = xml.find("<interface").unwrap();
        let to = xml.rfind("</interface>").unwrap();
        xml[from..to].lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_published_interface_is_the_one_that_is_served() {
        let dir = tempfile::tempdir().unwrap();
        let shared = Arc::new(Shared::new(Host::scratch(dir.path()).unwrap(), Box::new(NoFlows), None));
        let entry = Arc::new(Entry::new(1, Owner { uid: 0, name: String::new() }));
        let mut served = String::new();
        Service(shared.clone()).introspect_to_writer(&mut served, 0);
        RunObject { shared, entry }.introspect_to_writer(&mut served, 0);
        let published = include_str!("../../data/dbus/org.hostwright.Helper1.xml");
        assert_eq!(interfaces(&served), interfaces(published));
    }

    #[test]
    fn every_member_can_be_called_over_the_bus_and_no_other() {
        let members = regex::Regex::new("<(?:interface|method) name=\"([^\"]+)\"").unwrap();
        let mut interface = String::new();
        let mut published = BTreeSet::new();
        for found in members.captures_iter(include_str!("../../data/dbus/org.hostwright.Helper1.xml")) {
            match &found[1] {
                name if name.contains('.') => name.clone_into(&mut interface),
                member => {
                    published.insert((interface.clone(), member.to_owned()));
                }
            }
        }
        let allowed = regex::Regex::new(
            "send_type=\"method_call\"\\s+send_interface=\"(org.hostwright[^\"]+)\"\\s+send_member=\"([^\"]+)\"",
        )
        .unwrap();
        let policy: BTreeSet<_> = allowed
            .captures_iter(include_str!("../../data/dbus/org.hostwright.Helper1.conf"))
            .map(|c| (c[1].to_owned(), c[2].to_owned()))
            .collect();
        assert_eq!(policy, published);
    }

    #[test]
    fn a_plan_needs_what_its_steps_need_even_when_it_does_not_say_so() {
        let step = engine::Step::WriteFile(engine::steps::WriteFile {
            path: "/etc/x".to_owned(),
            content: String::new(),
            mode: 0o644,
            reason: "test".to_owned(),
        });
        let mut plan: Plan = serde_json::from_value(serde_json::json!({
            "version": 1, "flow": "t", "choices": {}, "facts": {}, "steps": [], "permissions": ["inspect"],
        }))
        .unwrap();
        plan.steps.push(step.clone());
        let all = needed(&plan).unwrap();
        assert!(all.contains(&Permission::Inspect) && all.is_superset(&step.permissions()), "{all:?}");
        assert!(all.len() > 1, "a change without a permission of its own: {all:?}");
    }
}
