// SPDX-License-Identifier: GPL-3.0-or-later
//! A decision of the vgpu flow in words. Pure.

use super::{Exit, Mark, Problem, Row, sentence};
use crate::flows::vgpu::catalogue::{ETC_DIR, Support};
use crate::flows::vgpu::decision::{
    Card, Checksum, Decision, ExpectedInterface, KernelAction, PreparationState, Row as Branch, Verdict,
};
use crate::flows::vgpu::own::{OwnError, config_dir};

impl From<OwnError> for Problem {
    fn from(error: OwnError) -> Self {
        let mut text = error.to_string();
        match error {
            OwnError::Refused(refusal) => refusal.into(),
            OwnError::Folder { dir, source } => Self::file("open the folder", &dir, &source.source),
            OwnError::Rules(error) => Self::internal("read its own rules", &error),
            OwnError::Catalogue(_) => {
                // Files of the person's folder are named from that folder on.
                if let Some(home) =
                    config_dir().filter(|_| text.starts_with('/') && !text.starts_with(ETC_DIR))
                {
                    text = format!("{}{text}", home.display());
                }
                Self::new(Exit::Usage, "bad-catalogue", "A table of your own cannot be used", sentence(&text))
            }
        }
    }
}

/// The machine and its cards.
pub(crate) fn machine(decision: &Decision) -> Vec<Row> {
    let kernel = decision.kernel.as_deref().unwrap_or("not known");
    let mut rows = vec![
        Row::new(Mark::Neutral, "Proxmox VE", &decision.proxmox),
        Row::new(Mark::Neutral, "Next kernel", kernel),
    ];
    if decision.cards.is_empty() {
        rows.push(Row::new(Mark::Bad, "Card", "there is no card of NVIDIA's"));
    }
    rows.extend(decision.cards.iter().map(card));
    rows
}

fn card(card: &Card) -> Row {
    let name = match (&card.name, &card.generation) {
        (Some(name), Some(generation)) => format!("{name} ({generation})"),
        (Some(name), None) => name.clone(),
        (None, _) => format!("unknown card 10de:{}", card.device_id),
    };
    let (mark, support) = match card.support {
        Some(Support::Native) => (Mark::Good, "made for vGPU"),
        Some(Support::Unlock) => (Mark::Warning, "can be unlocked"),
        Some(Support::None) => (Mark::Bad, "no vGPU"),
        None => (Mark::Unknown, "unknown"),
    };
    let role = match card.role {
        crate::flows::vgpu::Role::Vgpu => "for vGPU",
        crate::flows::vgpu::Role::Passthrough => "for passthrough as a whole",
        crate::flows::vgpu::Role::Host => "left as it is",
    };
    let mut text = format!("{name}: {support}; {role}");
    if let Some(remark) = card.remark.as_ref().or(card.role_reason.as_ref()) {
        text.push_str(&format!(" ({remark})"));
    }
    Row::new(mark, &card.address, text)
}

/// What a verdict says.
pub(crate) fn verdict(verdict: &Verdict) -> (Mark, String) {
    let joined = |texts: Vec<&str>| {
        let (first, more) = texts.split_first().unwrap_or((&"", &[]));
        more.iter().fold((*first).to_owned(), |all, text| all + &format!("; and {text}"))
    };
    match verdict {
        Verdict::Works => (Mark::Good, "works".to_owned()),
        Verdict::WorksIf { conditions } => {
            let texts = joined(conditions.iter().map(|c| c.text.as_str()).collect());
            (Mark::Warning, format!("works if {texts}"))
        }
        Verdict::No { reasons } => {
            let texts = joined(reasons.iter().map(|r| r.text.as_str()).collect());
            (Mark::Bad, format!("no, because {texts}"))
        }
    }
}

/// All branches, newest first; neighbours of which the same is said stand together.
pub(crate) fn branches(decision: &Decision) -> Vec<Row> {
    // Of a card that has no vGPU at all its own line says so.
    let can = |address: &str| {
        let card = decision.cards.iter().find(|c| c.address == address);
        card.is_some_and(|c| matches!(c.support, Some(Support::Native | Support::Unlock)))
    };
    let said = |branch: &Branch| {
        let mut lines = vec![verdict(&branch.verdict)];
        for alone in branch.cards.iter().filter(|c| c.verdict != branch.verdict && can(&c.address)) {
            let (_, text) = verdict(&alone.verdict);
            lines.push((Mark::Neutral, format!("{} alone: {text}", alone.address)));
        }
        lines
    };
    type Said = Vec<(Mark, String)>;
    let mut groups: Vec<(Vec<&Branch>, Said)> = Vec::new();
    for branch in &decision.rows {
        let lines = said(branch);
        match groups.last_mut() {
            Some((members, last)) if *last == lines => members.push(branch),
            _ => groups.push((vec![branch], lines)),
        }
    }
    let mut rows = Vec::new();
    for (members, lines) in groups {
        let label = match members.as_slice() {
            [one] => format!("{} ({})", one.branch, one.host_driver),
            [newest, .., oldest] => format!("{} to {}", newest.branch, oldest.branch),
            [] => continue,
        };
        for (i, (mark, text)) in lines.into_iter().enumerate() {
            rows.push(Row::new(mark, if i == 0 { &label } else { "" }, text));
        }
    }
    rows
}

/// What must be so before the driver is installed.
pub(crate) fn preparation(decision: &Decision) -> Vec<Row> {
    let row = |p: &crate::flows::vgpu::decision::Preparation| {
        let mark = match p.state {
            PreparationState::Done => Mark::Good,
            PreparationState::ToDo => Mark::Warning,
            PreparationState::Unknown => Mark::Unknown,
        };
        let mut label = p.code.clone();
        if let Some(first) = label.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        Row::new(mark, &label, &p.text)
    };
    let mut rows: Vec<Row> = decision.preparation.iter().map(row).collect();
    rows.extend(decision.warnings.iter().map(|w| Row::new(Mark::Warning, "Note", w)));
    rows
}

/// The branch that was decided for.
pub(crate) fn chosen(branch: &Branch, by_hand: bool) -> Vec<Row> {
    let (mark, text) = verdict(&branch.verdict);
    let how = if by_hand { "chosen" } else { "the best here" };
    let mut rows = vec![
        Row::new(Mark::Neutral, "Branch", format!("{}, {how}", branch.branch)),
        Row::new(mark, "Verdict", text),
    ];
    if matches!(branch.verdict, Verdict::No { .. }) {
        return rows;
    }
    rows.push(Row::new(Mark::Neutral, "Host driver", &branch.host_driver));
    let (mark, file) = match branch.checksum {
        Checksum::Sha256 => (Mark::Good, "its SHA-256 is known"),
        Checksum::Md5 => (Mark::Warning, "only its MD5 is known: that finds damage, and proves no origin"),
        Checksum::Unknown => (
            Mark::Warning,
            "no checksum of it is known: its SHA-256 is pinned at its first use, after consent",
        ),
    };
    rows.push(Row::new(mark, "Driver file", file));
    if let Some(patch) = &branch.unlock_patch {
        rows.push(Row::new(Mark::Neutral, "Unlock patch", patch));
    }
    if let Some(kernel) = &branch.kernel {
        let how = match kernel.action {
            KernelAction::Keep => "runs anyway",
            KernelAction::Pin => "is installed, and is to be pinned",
            KernelAction::InstallAndPin => "is to be installed and pinned",
        };
        rows.push(Row::new(Mark::Neutral, "Kernel", format!("{} {how}", kernel.release)));
    }
    rows.push(Row::new(Mark::Neutral, "Installer", branch.installer.join(" ")));
    let interface = match branch.interface {
        ExpectedInterface::Mdev => "mediated devices of the card",
        ExpectedInterface::SriovMdev => "mediated devices of SR-IOV functions",
        ExpectedInterface::VendorVfio => {
            "the vendor's VFIO interface of SR-IOV functions; `mdevctl types` is empty then, and that is right"
        }
    };
    rows.push(Row::new(Mark::Neutral, "Interface", interface));
    rows
}
