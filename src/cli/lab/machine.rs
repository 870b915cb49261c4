// SPDX-License-Identifier: GPL-3.0-or-later
//! The options that say what machine a guest gets: the same for `lab boot` and `lab run`.

use crate::flows::lab::find;
use crate::flows::lab::size::{TIMEOUT, default_size, memory_here, processors};
use crate::guest::spec::{Accelerator, Boot, Disk, Display, Guest, Network};
use clap::Args;

/// What machine a guest gets.
#[derive(Debug, Args)]
#[command(next_help_heading = "The machine")]
pub(super) struct Machine {
    /// Virtual processors; without: 1 for a kernel, 4 for an ISO image or a disk, never more than there are
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=255))]
    cpus: Option<u32>,
    /// Memory; without: 1G for a kernel, 4G for an ISO image or a disk, never more than half of what there is
    #[arg(short, long, value_name = "SIZE", value_parser = memory)]
    memory: Option<u32>,
    /// What runs the guest; auto: KVM where a guest really makes progress with it
    #[arg(long, value_enum, default_value_t = Accel::Auto, value_name = "WHICH")]
    accel: Accel,
    /// Where the guest's screen is shown
    #[arg(long, value_enum, default_value_t = Screen::None, value_name = "WHERE")]
    display: Screen,
    /// The guest's network; user: out through this machine, nothing in
    #[arg(long, value_enum, default_value_t = Net::None, value_name = "KIND")]
    network: Net,
    /// Forward a port of 127.0.0.1 to the guest's port 22; without a number a free one, which is said
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "0", require_equals = true)]
    ssh: Option<u16>,
    /// End the guest after this time (90, 90s, 10m, 2h); 0: never. Without: 10m, or never with a window
    #[arg(short, long, value_name = "TIME", value_parser = find::seconds)]
    timeout: Option<u32>,
}

/// `--accel`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Accel {
    Auto,
    Kvm,
    Tcg,
}

/// `--display`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Screen {
    None,
    Gtk,
    Sdl,
}

/// `--network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Net {
    None,
    User,
}

/// A memory size in MiB.
fn memory(text: &str) -> Result<u32, String> {
    let mib = find::size(text)? >> 20;
    match u32::try_from(mib) {
        Ok(mib @ 32..) => Ok(mib),
        _ => Err("a guest needs 32M or more".into()),
    }
}

impl Machine {
    /// A guest on this machine; `large`: with a whole system in it.
    pub(super) fn guest(&self, boot: Boot, disks: Vec<Disk>, until: Option<String>, large: bool) -> Guest {
        let (cpus, memory) = default_size(large, processors(), memory_here());
        Guest {
            boot,
            cpus: self.cpus.unwrap_or(cpus),
            memory: self.memory.unwrap_or(memory),
            accelerator: match self.accel {
                Accel::Auto => Accelerator::Auto,
                Accel::Kvm => Accelerator::Kvm,
                Accel::Tcg => Accelerator::Tcg,
            },
            display: match self.display {
                Screen::None => Display::None,
                Screen::Gtk => Display::Gtk,
                Screen::Sdl => Display::Sdl,
            },
            network: match (self.ssh, self.network) {
                (Some(port), _) => Network::Ssh { port },
                (None, Net::User) => Network::User,
                (None, Net::None) => Network::None,
            },
            disks,
            timeout: self.timeout.unwrap_or(if self.display == Screen::None { TIMEOUT } else { 0 }),
            until,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_as_people_write_it() {
        assert_eq!(memory("2G"), Ok(2048));
        assert!(memory("31M").is_err() && memory("16").is_err());
    }
}
