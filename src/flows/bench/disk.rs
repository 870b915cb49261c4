// SPDX-License-Identifier: GPL-3.0-or-later
//! Disks by fio(1), past the page cache (`direct=1`): a file on the host, and a disk in a guest. The output that is
//! read: fio's documentation, "JSON output".

use super::document::{LeftOut, Place, Recorder};
use super::metrics::{DISK_RANDOM_READ, DISK_RANDOM_WRITE, DISK_READ, DISK_READ_TAIL, DISK_WRITE, Metric};
use super::run::{Setup, Step, Trouble};
use super::start::{boot, guest};
use crate::guest::spec::{Disk as GuestDisk, GuestRoot, ImageFormat};
use crate::guest::{GuestEvent, Setup as GuestSetup};
use crate::host::{Command, CommandError};
use serde::Deserialize;
use std::fs::File;
use std::time::Duration;

/// What is done to a disk.
struct Job {
    name: &'static str,
    rw: &'static str,
    block: &'static str,
    depth: &'static str,
}

const JOBS: [Job; 4] = [
    Job { name: "read", rw: "read", block: "1M", depth: "8" },
    Job { name: "write", rw: "write", block: "1M", depth: "8" },
    Job { name: "random-read", rw: "randread", block: "4k", depth: "32" },
    Job { name: "random-write", rw: "randwrite", block: "4k", depth: "32" },
];

/// fio's arguments: all jobs, one after the other. Pure.
fn arguments(file: &str, bytes: u64, time: Duration, direct: bool) -> Vec<String> {
    let mut args = vec![
        "--output-format=json".to_owned(),
        // A colon would part two names (fio(1), filename).
        format!("--filename={}", file.replace(':', "\\:")),
        format!("--size={bytes}"),
        "--ioengine=libaio".to_owned(),
        format!("--direct={}", u8::from(direct)),
        "--time_based".to_owned(),
        format!("--runtime={}ms", time.as_millis().max(100)),
        "--randseed=7".to_owned(),
        "--group_reporting".to_owned(),
    ];
    for job in &JOBS {
        args.push(format!("--name={}", job.name));
        args.push("--stonewall".to_owned());
        args.push(format!("--rw={}", job.rw));
        args.push(format!("--bs={}", job.block));
        args.push(format!("--iodepth={}", job.depth));
    }
    args
}

#[derive(Debug, Deserialize)]
struct Output {
    jobs: Vec<JobOutput>,
}

#[derive(Debug, Deserialize)]
struct JobOutput {
    jobname: String,
    error: i64,
    read: Side,
    write: Side,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Side {
    bw_bytes: f64,
    iops: f64,
    clat_ns: Latency,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Latency {
    percentile: std::collections::BTreeMap<String, f64>,
}

/// The figures of fio's output. Pure.
fn figures(text: &str) -> Result<Vec<(Metric, f64)>, String> {
    // Notes of fio's may stand before the document.
    let json = text.find('{').map_or("", |at| &text[at..]);
    let mut documents = serde_json::Deserializer::from_str(json).into_iter::<Output>();
    let output = documents.next().and_then(Result::ok).ok_or("fio's output could not be read")?;
    let mut found = Vec::new();
    for job in &output.jobs {
        if job.error != 0 {
            let error = std::io::Error::from_raw_os_error(i32::try_from(job.error).unwrap_or(5));
            return Err(format!("fio's job {}: {error}", job.jobname));
        }
        match job.jobname.as_str() {
            "read" => found.push((DISK_READ, job.read.bw_bytes / 1e6)),
            "write" => found.push((DISK_WRITE, job.write.bw_bytes / 1e6)),
            "random-read" => {
                found.push((DISK_RANDOM_READ, job.read.iops));
                let tail = job.read.clat_ns.percentile.get("99.000000");
                found.extend(tail.map(|ns| (DISK_READ_TAIL, ns / 1000.0)));
            }
            "random-write" => found.push((DISK_RANDOM_WRITE, job.write.iops)),
            _ => {}
        }
    }
    if found.iter().any(|(_, v)| *v <= 0.0) || found.len() < JOBS.len() {
        return Err("fio did not get to do anything".to_owned());
    }
    Ok(found)
}

/// The workload.
#[derive(Default)]
pub(super) struct Disk {
    file: Option<tempfile::TempPath>,
    direct: bool,
    /// Why there is no guest.
    without_guest: Option<String>,
    boots: usize,
}

impl Disk {
    fn on_host(&self, setup: &Setup<'_>) -> Result<Vec<(Metric, f64)>, Trouble> {
        let Some(file) = &self.file else { return Err(Trouble::left_out("there is no file")) };
        fio(setup, &file.display().to_string(), setup.time, self.direct)
    }

    fn in_guest(&mut self, setup: &Setup<'_>) -> Result<(Place, Vec<(Metric, f64)>), Trouble> {
        self.boots += 1;
        let folder = setup.folder(&format!("disk-{}", self.boots))?;
        let image = folder.join("disk.raw");
        File::create_new(&image)
            .and_then(|f| f.set_len(setup.disk_bytes))
            .map_err(|e| Trouble::left_out(format!("{}: {e}", image.display())))?;
        let fio = arguments("/dev/vda", setup.disk_bytes, setup.time, true);
        let argv = std::iter::once("fio".to_owned()).chain(fio).collect();
        let mut wanted = guest(setup, GuestRoot::Directory { path: "/".into() }, argv)?;
        wanted.disks.push(GuestDisk {
            path: image.clone(),
            format: ImageFormat::Raw,
            writable: true,
            usb: false,
        });
        let run = folder.join("run");
        std::fs::create_dir(&run).map_err(|e| Trouble::left_out(format!("{}: {e}", run.display())))?;
        let mut out = Vec::new();
        let report = boot(setup, &wanted, GuestSetup::new(setup.host, &setup.cache, run), &mut |event| {
            if let GuestEvent::Stdout(bytes) = event {
                out.extend_from_slice(bytes);
            }
        });
        // The next round gets a new one, and disks are large.
        let _ = std::fs::remove_file(&image);
        let report = report?;
        let figures = figures(&String::from_utf8_lossy(&out)).map_err(Trouble::left_out)?;
        Ok((Place::Guest { accelerator: report.accelerator.name.clone() }, figures))
    }
}

fn fio(setup: &Setup<'_>, file: &str, time: Duration, direct: bool) -> Result<Vec<(Metric, f64)>, Trouble> {
    let command = Command::new("fio")
        .args(arguments(file, setup.disk_bytes, time, direct))
        .timeout(time * JOBS.len() as u32 + Duration::from_secs(120));
    let output = setup.host.runner().run_lines(&command, setup.cancel, &mut |_| {});
    match output.and_then(|o| crate::host::check_status(&command, o)) {
        Ok(output) => figures(&output.stdout).map_err(Trouble::left_out),
        Err(CommandError::Cancelled { .. }) => Err(Trouble::Cancelled),
        Err(CommandError::Start { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Err(Trouble::left_out("fio is not installed (the package `fio` of every distribution)"))
        }
        Err(e) => Err(Trouble::left_out(e.to_string())),
    }
}

impl Step for Disk {
    fn prepare(&mut self, setup: &Setup<'_>) -> Result<Vec<LeftOut>, Trouble> {
        let place = setup.disk.display();
        let file = tempfile::Builder::new()
            .prefix(".hostwright-bench-")
            .tempfile_in(&setup.disk)
            .map_err(|e| Trouble::left_out(format!("no file can be made in {place}: {e}")))?;
        let free = rustix::fs::fstatvfs(&file).map_or(0, |s| s.f_bavail.saturating_mul(s.f_frsize));
        if free < setup.disk_bytes.saturating_mul(3) {
            return Err(Trouble::left_out(format!(
                "{place} has {} MiB left, and {} are needed; name another folder with --directory",
                free >> 20,
                setup.disk_bytes.saturating_mul(3) >> 20
            )));
        }
        self.file = Some(file.into_temp_path());
        self.direct = true;
        let mut parts = Vec::new();
        // Writes the file too, so that reading reads something.
        let short = Duration::from_millis(100);
        if let Some(file) = &self.file {
            let name = file.display().to_string();
            match fio(setup, &name, short, true) {
                Ok(_) => {}
                Err(Trouble::LeftOut(why)) if why.contains("Invalid argument") => {
                    self.direct = false;
                    fio(setup, &name, short, false)?;
                    let why = format!("the file system of {place} cannot do that; through it instead");
                    parts.push(LeftOut::new("past the page cache", why));
                }
                Err(e) => return Err(e),
            }
        }
        if let Err(why) = &setup.kernel {
            self.without_guest = Some(why.clone());
        } else if let Err(Trouble::LeftOut(why)) = self.in_guest(setup) {
            self.without_guest = Some(why);
        }
        parts.extend(self.without_guest.iter().map(|why| LeftOut::new("in a guest", why)));
        setup.stop_if_cancelled()?;
        Ok(parts)
    }

    fn round(&mut self, setup: &Setup<'_>, to: &mut Recorder) -> Result<(), Trouble> {
        for (metric, value) in self.on_host(setup)? {
            to.add(metric, None, &Place::Host, value);
        }
        if self.without_guest.is_none() {
            let (place, figures) = self.in_guest(setup)?;
            for (metric, value) in figures {
                to.add(metric, None, &place, value);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_output_of_fio_becomes_figures() {
        let job = |name: &str, side: &str, bw: u64, iops: f64| {
            let other = if side == "read" { "write" } else { "read" };
            serde_json::json!({
                "jobname": name, "error": 0,
                side: { "bw_bytes": bw, "iops": iops, "clat_ns": { "percentile": { "99.000000": 250_000 } } },
                other: { "bw_bytes": 0, "iops": 0.0 },
            })
        };
        let all = serde_json::json!({ "jobs": [
            job("read", "read", 500_000_000, 500.0), job("write", "write", 200_000_000, 200.0),
            job("random-read", "read", 4096, 9000.0), job("random-write", "write", 4096, 7000.0),
        ]});
        let found = figures(&format!("fio: a note\n{all}")).unwrap();
        let values: Vec<(&str, f64)> = found.iter().map(|(m, v)| (m.id, *v)).collect();
        assert_eq!(
            values,
            [
                ("disk.read", 500.0),
                ("disk.write", 200.0),
                ("disk.random_read", 9000.0),
                ("disk.random_read_p99", 250.0),
                ("disk.random_write", 7000.0)
            ]
        );
        let failed = all.to_string().replacen("\"error\":0", "\"error\":28", 1);
        assert!(figures(&failed).unwrap_err().contains("No space left"));
        for bad in ["", "{", "nonsense", "{\"jobs\":[]}"] {
            assert!(figures(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_colon_in_the_name_of_the_folder_does_not_make_two_files() {
        let args = arguments("/mnt/a:b/file", 1 << 20, Duration::from_secs(2), true);
        assert!(args.contains(&"--filename=/mnt/a\\:b/file".to_owned()), "{args:?}");
        assert!(args.contains(&"--runtime=2000ms".to_owned()));
    }
}
