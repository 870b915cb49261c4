// SPDX-License-Identifier: GPL-3.0-or-later
//! How recorded hosts are told, as snapshots that a person reads.

use super::*;
use crate::detect::gather;
use crate::recorded::{names, unpack};

fn told(name: &str, width: usize) -> String {
    render(Look::plain(width), &gather(&unpack(name).host, None), &[])
}

#[test]
fn recorded_hosts_are_told_as_they_are() {
    // Together they show every kind of line; what is found on all of them stands in detect's own tests.
    for name in ["ubuntu-24.04-secure-boot", "fedora-40", "cachyos-clang", "proxmox-8", "silverblue-40"] {
        insta::assert_snapshot!(name, told(name, 92));
    }
}

#[test]
fn a_narrow_terminal_loses_nothing() {
    let words = |t: &str| t.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let narrow = told("ubuntu-24.04-secure-boot", 40);
    assert_eq!(words(&told("ubuntu-24.04-secure-boot", 200)), words(&narrow));
    insta::assert_snapshot!("narrow", narrow);
}

#[test]
fn status_of_recorded_hosts_is_told_as_it_is() {
    for name in names() {
        let facts = gather(&unpack(&name).host, None);
        let text = crate::cli::status::told(Look::plain(92), &facts);
        insta::assert_snapshot!(format!("status_{name}"), text);
    }
}
