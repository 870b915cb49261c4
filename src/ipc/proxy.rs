// SPDX-License-Identifier: GPL-3.0-or-later
//! The interface of a run as a generated proxy.

/// A run at `/org/hostwright/Helper1/runs/N`. [`Run`](super::Run) is the comfortable way to it.
#[zbus::proxy(
    interface = "org.hostwright.Helper1.Run",
    default_service = "org.hostwright.Helper1",
    gen_blocking = false
)]
pub trait Run {
    /// Asks the run to stop and to take back what it did. Only for its owner and administrators.
    #[zbus(allow_interactive_auth)]
    fn cancel(&self) -> zbus::Result<()>;

    /// The run's events as JSON documents from number `from` on, at most a thousand; the number to ask
    /// for next; and whether no more will come. Whoever asks gets the later ones as signals.
    #[zbus(allow_interactive_auth)]
    fn log(&self, from: u64) -> zbus::Result<(Vec<String>, u64, bool)>;

    /// Where the run stands: a [`RunState`](crate::engine::journal::RunState) in its JSON word.
    #[zbus(property)]
    fn state(&self) -> zbus::Result<String>;

    /// The step that is being carried out (from 1; 0 before the first), how many there are, its title.
    #[zbus(property)]
    fn step(&self) -> zbus::Result<(u32, u32, String)>;

    /// How far the whole run is, from 0 to 1.
    #[zbus(property)]
    fn progress(&self) -> zbus::Result<f64>;

    /// One event of the moment (progress), which the log does not keep. Sent to the same.
    #[zbus(signal)]
    fn moment(&self, event: String) -> zbus::Result<()>;

    /// One event of this run, with its number in the log. Sent to those only who started the run or asked
    /// for its log.
    #[zbus(signal)]
    fn event(&self, number: u64, event: String) -> zbus::Result<()>;
}
