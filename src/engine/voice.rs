// SPDX-License-Identifier: GPL-3.0-or-later
//! What a run says: to whoever listens, and to `events.jsonl` in its folder.

use super::event::{Event, Sink};
use crate::host::Root;
use std::fs::File;
use std::io::Write;

/// How much of the lines of tools is kept in a run's events, in bytes; the build log has all of it.
const LOG_LIMIT: usize = 4 << 20;
/// How much of one line is kept, in bytes.
const LINE_LIMIT: usize = 2 << 10;

/// Tells events and keeps them.
pub(super) struct Voice<'a> {
    sink: &'a mut dyn Sink,
    file: Option<File>,
    log_left: usize,
}

impl<'a> Voice<'a> {
    /// A voice that also appends to the file `path`. The events are for people to look back at and no
    /// part of undo: when they cannot be kept, the run goes on.
    pub fn new(sink: &'a mut dyn Sink, root: &Root, path: &str) -> Self {
        let file = root.append(path, 0o600);
        if let Err(error) = &file {
            tracing::warn!(%error, "the events of this run are not kept");
        }
        Self { sink, file: file.ok(), log_left: LOG_LIMIT }
    }

    /// Tells an event.
    pub fn say(&mut self, event: Event) {
        let Some(kept) = self.worth_keeping(&event) else { return self.sink.passing(event) };
        if let Some(file) = &mut self.file
            && let Ok(mut line) = serde_json::to_vec(&kept)
        {
            line.push(b'\n');
            if let Err(error) = file.write_all(&line) {
                tracing::warn!(%error, "the events of this run are no longer kept");
                self.file = None;
            }
        }
        self.sink.event(event);
    }

    /// The event as it is kept: progress is of the moment, and long logs have a file of their own.
    fn worth_keeping(&mut self, event: &Event) -> Option<Event> {
        let Event::Log { step, stream, line } = event else {
            return (!matches!(event, Event::Progress { .. })).then(|| event.clone());
        };
        if self.log_left == 0 {
            return None;
        }
        let mut end = line.len().min(LINE_LIMIT);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        let mut line = if end < line.len() { format!("{}…", &line[..end]) } else { line.clone() };
        self.log_left = self.log_left.saturating_sub(line.len() + 1);
        if self.log_left == 0 {
            line.push_str(" [further lines are not kept here]");
        }
        Some(Event::Log { step: *step, stream: *stream, line })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Stream;

    #[test]
    fn endless_logs_are_told_but_kept_only_so_far() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let mut told = 0usize;
        let mut sink = |_: Event| told += 1;
        let mut voice = Voice::new(&mut sink, &root, "/events.jsonl");
        for _ in 0..10_000 {
            let line = "ü".repeat(3000);
            voice.say(Event::Log { step: 0, stream: Stream::Out, line });
        }
        voice.say(Event::StepDone { step: 0, unchanged: false });
        assert_eq!(told, 10_001);
        let kept = root.read_text("/events.jsonl").unwrap();
        assert!(kept.len() < LOG_LIMIT + LOG_LIMIT / 10, "{} bytes", kept.len());
        let events: Vec<Event> = kept.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert!(
            matches!(&events[events.len() - 2], Event::Log { line, .. } if line.ends_with("not kept here]"))
        );
        assert!(matches!(events.last(), Some(Event::StepDone { .. })));
    }
}
