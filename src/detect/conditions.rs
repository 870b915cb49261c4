// SPDX-License-Identifier: GPL-3.0-or-later
//! What a figure that was measured depends on beside the machine itself: kernel, frequencies, temperature, load.
//!
//! Sources: Documentation/admin-guide/pm/cpufreq.rst, Documentation/ABI/testing/sysfs-class-thermal and
//! sysfs-class-power, proc(5), sysfs interface of hwmon; `/etc/tuned/active_profile` of tuned(8).

use crate::host::{Host, Root};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How a machine is at one moment. What could not be seen is `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Conditions {
    /// The processor's name.
    pub processor: Option<String>,
    /// Processors that are online.
    pub processors: usize,
    /// Memory in MiB.
    pub memory_mib: Option<u64>,
    /// Whether this is itself a virtual machine.
    pub virtual_machine: Option<bool>,
    /// The kernel's release.
    pub kernel: Option<String>,
    /// Its command line.
    pub command_line: Option<String>,
    /// Frequency governors of all processors, each once ("performance").
    pub governors: BTreeSet<String>,
    /// Energy preferences of all processors, each once ("balance_performance").
    pub energy_preferences: BTreeSet<String>,
    /// The frequency of the first processor, MHz.
    pub frequency_mhz: Option<u64>,
    /// The profile of what looks after power ("tuned: virtual-host", "platform: balanced").
    pub profile: Option<String>,
    /// Whether it runs on a battery.
    pub on_battery: Option<bool>,
    /// The hottest of its sensors, °C.
    pub temperature: Option<f64>,
    /// Programs that ran or wanted to, over the last minute.
    pub load: Option<f64>,
    /// Transparent huge pages ("madvise").
    pub transparent_huge_pages: Option<String>,
}

/// Looks at the machine.
pub fn gather(host: &Host) -> Conditions {
    let root = host.root();
    let text = |path: &str| root.read_text(path).ok().map(|t| t.trim().to_owned());
    let cpuinfo = text("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        cpuinfo
            .lines()
            .filter_map(|l| l.split_once(':'))
            .find(|(k, _)| k.trim() == name)
            .map(|(_, v)| v.trim())
    };
    let number = |path: &str| text(path)?.parse::<u64>().ok();
    Conditions {
        processor: field("model name").map(str::to_owned),
        processors: cpuinfo.lines().filter(|l| l.starts_with("processor")).count(),
        memory_mib: text("/proc/meminfo").and_then(|t| total_kib(&t)).map(|kib| kib / 1024),
        virtual_machine: field("flags").map(|f| f.split_whitespace().any(|w| w == "hypervisor")),
        kernel: text("/proc/sys/kernel/osrelease"),
        command_line: text("/proc/cmdline"),
        governors: of_all_processors(root, "scaling_governor"),
        energy_preferences: of_all_processors(root, "energy_performance_preference"),
        frequency_mhz: number("/sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq")
            .map(|khz| khz / 1000),
        profile: text("/etc/tuned/active_profile")
            .filter(|p| !p.is_empty())
            .map(|p| format!("tuned: {p}"))
            .or_else(|| text("/sys/firmware/acpi/platform_profile").map(|p| format!("platform: {p}"))),
        on_battery: on_battery(root),
        temperature: temperature(root),
        load: text("/proc/loadavg").and_then(|t| t.split(' ').next()?.parse().ok()),
        transparent_huge_pages: text("/sys/kernel/mm/transparent_hugepage/enabled").map(|t| chosen(&t)),
    }
}

/// Of several words the one in brackets ("always \[madvise\] never").
fn chosen(text: &str) -> String {
    let inner = text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(word, _)| word);
    inner.unwrap_or(text).to_owned()
}

fn total_kib(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn of_all_processors(root: &Root, file: &str) -> BTreeSet<String> {
    const POLICIES: &str = "/sys/devices/system/cpu/cpufreq";
    let entries = root.list(POLICIES).unwrap_or_default();
    entries
        .iter()
        .filter_map(|e| root.read_text(&format!("{POLICIES}/{}/{file}", e.name)).ok())
        .map(|t| t.trim().to_owned())
        .collect()
}

fn on_battery(root: &Root) -> Option<bool> {
    const SUPPLIES: &str = "/sys/class/power_supply";
    let mut mains = None;
    for entry in root.list(SUPPLIES).ok()? {
        let read = |file: &str| root.read_text(&format!("{SUPPLIES}/{}/{file}", entry.name)).ok();
        if read("type").is_some_and(|t| t.trim() == "Mains") {
            let online = read("online").is_some_and(|t| t.trim() == "1");
            mains = Some(mains.unwrap_or(false) || online);
        }
    }
    mains.map(|online| !online)
}

fn temperature(root: &Root) -> Option<f64> {
    let mut hottest: Option<f64> = None;
    for (folder, file) in [("/sys/class/thermal", "temp"), ("/sys/class/hwmon", "temp1_input")] {
        for entry in root.list(folder).unwrap_or_default() {
            let millis = root.read_text(&format!("{folder}/{}/{file}", entry.name)).ok();
            let celsius = millis.and_then(|t| t.trim().parse::<f64>().ok()).map(|m| m / 1000.0);
            // What a sensor says that is not connected is no temperature.
            if let Some(c) = celsius.filter(|c| (1.0..150.0).contains(c)) {
                hottest = Some(hottest.map_or(c, |h| h.max(c)));
            }
        }
    }
    hottest
}

impl Conditions {
    /// What makes figures of one and of the other hard to compare, for people. Pure.
    pub fn cautions(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let words = |set: &BTreeSet<String>| {
            if set.is_empty() {
                "none".to_owned()
            } else {
                set.iter().cloned().collect::<Vec<_>>().join(", ")
            }
        };
        let mut differ = |what: &str, a: Option<&str>, b: Option<&str>| {
            if a != b {
                let (a, b) = (a.unwrap_or("not known"), b.unwrap_or("not known"));
                found.push(format!("{what}: {a} and {b}"));
            }
        };
        differ("different processors", self.processor.as_deref(), other.processor.as_deref());
        differ("different kernels", self.kernel.as_deref(), other.kernel.as_deref());
        differ("different kernel command lines", self.command_line.as_deref(), other.command_line.as_deref());
        differ("different governors", Some(&words(&self.governors)), Some(&words(&other.governors)));
        differ(
            "different energy preferences",
            Some(&words(&self.energy_preferences)),
            Some(&words(&other.energy_preferences)),
        );
        differ("different power profiles", self.profile.as_deref(), other.profile.as_deref());
        differ(
            "different transparent huge pages",
            self.transparent_huge_pages.as_deref(),
            other.transparent_huge_pages.as_deref(),
        );
        if self.on_battery != other.on_battery {
            found.push("one was measured on a battery".to_owned());
        }
        if let (Some(a), Some(b)) = (self.temperature, other.temperature)
            && (a - b).abs() > 10.0
        {
            found.push(format!("different temperatures: {a:.0} °C and {b:.0} °C"));
        }
        for (conditions, which) in [(self, "first"), (other, "second")] {
            if let Some(load) = conditions.busy() {
                found.push(format!(
                    "the machine was busy with something else at the {which} (load {load:.1})"
                ));
            }
        }
        found
    }

    /// The load, when it is so high that figures suffer: more than half a program for each processor.
    pub fn busy(&self) -> Option<f64> {
        self.load.filter(|load| *load > 0.5 * self.processors.max(1) as f64)
    }

    /// All of it as rows for people.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = Vec::new();
        let mut row = |what, text: Option<String>| rows.extend(text.map(|t| (what, t)));
        let join = |set: &BTreeSet<String>| {
            (!set.is_empty()).then(|| set.iter().cloned().collect::<Vec<_>>().join(", "))
        };
        let virtual_machine =
            if self.virtual_machine == Some(true) { ", itself a virtual machine" } else { "" };
        row(
            "Processor",
            self.processor.as_ref().map(|p| format!("{p} × {}{virtual_machine}", self.processors)),
        );
        row("Memory", self.memory_mib.map(|m| format!("{:.1} GiB", m as f64 / 1024.0)));
        row("Kernel", self.kernel.clone());
        row("Command line", self.command_line.clone());
        row(
            "Governor",
            join(&self.governors).or_else(|| Some("none: this kernel does not set frequencies".into())),
        );
        row("Energy preference", join(&self.energy_preferences));
        row("Frequency", self.frequency_mhz.map(|m| format!("{m} MHz")));
        row("Power profile", self.profile.clone());
        row("Power", self.on_battery.map(|b| if b { "battery" } else { "mains" }.to_owned()));
        row("Temperature", Some(self.temperature.map_or("no sensor".into(), |t| format!("{t:.0} °C"))));
        row("Load", self.load.map(|l| format!("{l:.2}")));
        row("Transparent huge pages", self.transparent_huge_pages.clone());
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostKind;
    use crate::host::fake::{FakeRunner, host};
    use std::sync::Arc;

    #[test]
    fn what_the_files_of_the_kernel_say_is_read_and_what_is_not_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put(
            "proc/cpuinfo",
            "processor\t: 0\nmodel name\t: Fast\nflags\t\t: fpu hypervisor\nprocessor\t: 1\n",
        );
        put("proc/meminfo", "MemTotal:       24689332 kB\n");
        put("proc/loadavg", "1.25 0.9 0.5 2/300 4000\n");
        put("sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "powersave\n");
        put("sys/devices/system/cpu/cpufreq/policy1/scaling_governor", "powersave\n");
        put("sys/class/thermal/thermal_zone0/temp", "54000\n");
        put("sys/class/thermal/thermal_zone1/temp", "-274000\n");
        put("sys/class/power_supply/AC/type", "Mains\n");
        put("sys/class/power_supply/AC/online", "0\n");
        put("etc/tuned/active_profile", "virtual-host\n");
        put("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
        let host = host(dir.path(), Arc::new(FakeRunner::new()), HostKind::Machine).unwrap();
        let seen = gather(&host);
        assert_eq!((seen.processors, seen.processor.as_deref()), (2, Some("Fast")));
        assert_eq!((seen.load, seen.temperature, seen.on_battery), (Some(1.25), Some(54.0), Some(true)));
        assert_eq!(seen.governors.iter().collect::<Vec<_>>(), ["powersave"]);
        assert_eq!(seen.profile.as_deref(), Some("tuned: virtual-host"));
        assert_eq!(seen.transparent_huge_pages.as_deref(), Some("madvise"));
        assert_eq!((seen.kernel.clone(), seen.virtual_machine), (None, Some(true)));
        assert_eq!(seen.busy(), Some(1.25));
        assert_eq!(seen.cautions(&seen).len(), 2, "busy both times");
        let quiet = Conditions { load: Some(0.1), temperature: Some(70.0), ..seen.clone() };
        let said = quiet.cautions(&Conditions { kernel: Some("7.3".into()), ..seen }).join("\n");
        assert!(said.contains("different kernels: not known and 7.3"), "{said}");
        assert!(
            said.contains("70 °C and 54 °C") && said.contains("busy with something else at the second"),
            "{said}"
        );
    }
}
