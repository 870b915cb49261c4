// SPDX-License-Identifier: GPL-3.0-or-later
//! The command line as data: what can be asked for. Each subcommand's own arguments are in its file.

use super::screen::Colour;
use super::{
    apply, bench, completions, detect, doctor, export, lab, log, man, plan, profile, runs, status, tuning,
    undo, vgpu, vmware,
};
use crate::ipc::remote::Place;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// What follows every long help.
const AFTER: &str = "\
Exit status:
  0    done, or nothing to do
  1    failed, or (status, doctor) something needs attention
  2    wrong usage
  3    refused, with the reason
  4    not authorized
  10   --check: something would change; profile diff: they differ
  130  cancelled

Nothing is changed before it was shown and confirmed. What was changed can be taken back with `hostwright undo`.";

/// Gets a Linux machine ready to run virtual machines, and keeps it ready.
#[derive(Debug, Parser)]
#[command(
    name = "hostwright",
    version,
    about,
    long_about = None,
    after_long_help = AFTER,
    max_term_width = 100,
    disable_help_subcommand = true,
    disable_help_flag = true,
    disable_version_flag = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    /// Options of every subcommand.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What is asked for.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every subcommand.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every subcommand")]
pub(crate) struct Global {
    /// Work on the directory tree DIR instead of this machine
    ///
    /// DIR stands for a whole machine. This process itself reads and writes there, with no other rights than its
    /// own; the running kernel is not touched.
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) root: Option<PathBuf>,
    /// Work on another machine, over ssh: USER@HOST[:PORT]
    ///
    /// Your own ssh is used, with its configuration, keys and agent; the helper over there does the work. For detect,
    /// status, plan, apply, runs, log and undo.
    #[arg(long, value_name = "MACHINE", global = true, conflicts_with = "root")]
    pub(crate) host: Option<Place>,
    /// Write JSON: one document, or one line for each event of a run
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to use colours; auto: on a terminal, unless NO_COLOR is set
    #[arg(
        long,
        value_name = "WHEN",
        value_enum,
        default_value_t,
        global = true,
        hide_possible_values = false
    )]
    pub(crate) color: Colour,
    /// Say more: the output of the tools; twice: what Hostwright itself does
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// Print help; -h prints a summary
    #[arg(short, long, action = clap::ArgAction::Help, global = true)]
    help: Option<bool>,
    /// Print the version
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
}

/// What is asked for.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Detect(detect::Detect),
    Status(status::Status),
    Vmware(vmware::Vmware),
    Tuning(tuning::Tuning),
    Bench(bench::Bench),
    Lab(lab::Lab),
    Vgpu(vgpu::Vgpu),
    Plan(plan::Plan),
    Apply(apply::Apply),
    Undo(undo::Undo),
    Runs(runs::Runs),
    Log(log::Log),
    Export(export::Export),
    Profile(profile::Profile),
    Doctor(doctor::Doctor),
    Completions(completions::Completions),
    Man(man::Man),
}
