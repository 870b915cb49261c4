// SPDX-License-Identifier: GPL-3.0-or-later
//! The names of all actions, as code, menus and shortcuts write them.

/// Every action of the application and its windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Ends the application; a run goes on in the helper.
    Quit,
    /// About this program.
    About,
    /// How to use it.
    Help,
    /// Which keys there are.
    Shortcuts,
    /// What a person can set for the assistant itself.
    Preferences,
    /// The vmware assistant, from the desktop's menu.
    OpenVmware,
    /// The lab, from the desktop's menu.
    OpenLab,
    /// The first view.
    Home,
    /// The vmware assistant, from its first page.
    Vmware,
    /// The test lab.
    Lab,
    /// What NVIDIA vGPU comes to here.
    Vgpu,
    /// What can be tuned.
    Tuning,
    /// What a change brings.
    Bench,
    /// The runs.
    History,
    /// The saved choices.
    Profiles,
    /// Looks at the machine anew.
    Refresh,
    /// The next page.
    Next,
    /// The page before.
    Back,
    /// Asks whether to stop the run.
    CancelRun,
    /// A page tells the window that something was picked, or that it is another one now.
    PageChanged,
}

impl Action {
    /// The name with its group, as widgets name it.
    pub(super) const fn full(self) -> &'static str {
        match self {
            Self::Quit => "app.quit",
            Self::About => "app.about",
            Self::Help => "app.help",
            Self::Shortcuts => "app.shortcuts",
            Self::Preferences => "app.preferences",
            Self::OpenVmware => "app.vmware",
            Self::OpenLab => "app.lab",
            Self::Home => "win.home",
            Self::Vmware => "win.vmware",
            Self::Lab => "win.lab",
            Self::Vgpu => "win.vgpu",
            Self::Tuning => "win.tuning",
            Self::Bench => "win.bench",
            Self::History => "win.history",
            Self::Profiles => "win.profiles",
            Self::Refresh => "win.refresh",
            Self::Next => "win.next",
            Self::Back => "win.back",
            Self::CancelRun => "win.cancel-run",
            Self::PageChanged => "win.page-changed",
        }
    }

    /// The name inside its group.
    pub(super) fn name(self) -> &'static str {
        self.full().split_once('.').map_or(self.full(), |(_, name)| name)
    }

    /// The keys that do it.
    pub(super) const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Quit => &["<Control>q"],
            Self::Help => &["F1"],
            Self::Shortcuts => &["<Control>question"],
            Self::Preferences => &["<Control>comma"],
            Self::Home => &["<Alt>Home"],
            Self::Lab => &["<Control>l"],
            Self::Tuning => &["<Control>t"],
            Self::Bench => &["<Control>b"],
            Self::Profiles => &["<Control>p"],
            Self::History => &["<Control>h"],
            Self::Refresh => &["<Control>r", "F5"],
            Self::Next => &["<Alt>Right"],
            Self::Back => &["<Alt>Left"],
            Self::About
            | Self::OpenVmware
            | Self::OpenLab
            | Self::Vmware
            | Self::Vgpu
            | Self::CancelRun
            | Self::PageChanged => &[],
        }
    }

    /// All that have keys.
    pub(super) const WITH_KEYS: [Self; 13] = [
        Self::Quit,
        Self::Help,
        Self::Shortcuts,
        Self::Preferences,
        Self::Home,
        Self::Lab,
        Self::Tuning,
        Self::Bench,
        Self::History,
        Self::Profiles,
        Self::Refresh,
        Self::Next,
        Self::Back,
    ];
}
