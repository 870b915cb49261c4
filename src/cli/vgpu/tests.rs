// SPDX-License-Identifier: GPL-3.0-or-later
//! Decisions on recorded hosts as people read them.

use crate::cli::detect::render_rows;
use crate::cli::look::Look;
use crate::flows::vgpu::tests::{names, unpack};
use crate::flows::vgpu::{Catalogue, Choices, Rules, decide, gather};
use crate::tell::vgpu as tell;

#[test]
fn decisions_on_recorded_hosts_are_told_as_they_are() {
    let (catalogue, rules) = (Catalogue::built_in().unwrap(), Rules::built_in().unwrap());
    for name in names() {
        let facts = gather(&unpack(&name, "").host);
        let decision = decide(&Choices::default(), &facts, &catalogue, &rules).unwrap();
        let mut sections =
            vec![("Machine", tell::machine(&decision)), ("Branches", tell::branches(&decision))];
        if let Some(row) = decision.row() {
            sections.push(("Driver", tell::chosen(row, false)));
        }
        sections.push(("Before", tell::preparation(&decision)));
        insta::assert_snapshot!(name.as_str(), render_rows(Look::plain(92), &sections));
    }
}
