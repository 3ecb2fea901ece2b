//! Again and again until a signal: repainted on a terminal, elsewhere one block or one JSON line when something changed.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use super::failure::Failure;
use super::output::{Form, coloured, shown};
use crate::telemetry::plain_json;

/// What has not changed for this long is printed again, so that a reader knows that we are there.
const REMINDER: Duration = Duration::from_secs(60);
/// However often it is asked for.
const LEAST: Duration = Duration::from_millis(100);
/// Values that change without anything happening.
const VOLATILE: [&str; 7] = [
    "activeAgeSeconds",
    "nextAgeSeconds",
    "nextRotationSeconds",
    "written",
    "writtenUnix",
    "lastStatus",
    "connections",
];

/// One look: as data, as JSON on one line, and as text.
pub(super) struct Look {
    pub(super) data: Value,
    pub(super) json: String,
    pub(super) text: String,
}

/// Calls `look` every `interval` until SIGINT or SIGTERM, or until nobody reads any more.
pub(super) fn watch(form: Form, interval: Duration, mut look: impl FnMut() -> Look) -> Result<(), Failure> {
    let failed = |why: io::Error| Failure::failed(format!("cannot watch: {why}"), "run it without --watch");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    runtime.block_on(async {
        let mut interrupted = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminated = signal(SignalKind::terminate()).map_err(failed)?;
        let mut screen = Screen::new(form);
        while screen.show(&look()).is_ok() {
            tokio::select! {
                _ = interrupted.recv() => break,
                _ = terminated.recv() => break,
                () = tokio::time::sleep(interval.max(LEAST)) => {}
            }
        }
        Ok(())
    })
}

struct Screen {
    form: Form,
    repaints: bool,
    last: Option<(Value, Instant)>,
}

impl Screen {
    fn new(form: Form) -> Self {
        Self {
            form,
            repaints: form == Form::Text && io::stdout().is_terminal(),
            last: None,
        }
    }

    fn show(&mut self, look: &Look) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.repaints {
            let fresh = if self.last.is_none() { "\x1b[2J" } else { "" };
            let text = coloured(shown(&look.text).trim_end()).replace('\n', "\x1b[K\n");
            write!(out, "{fresh}\x1b[H{text}\x1b[K\n\x1b[J")?;
            self.last = Some((Value::Null, Instant::now()));
            return out.flush();
        }
        let steady = steady(&look.data);
        let known = self
            .last
            .as_ref()
            .is_some_and(|(last, at)| *last == steady && at.elapsed() < REMINDER);
        if known {
            return Ok(());
        }
        match self.form {
            Form::Json => writeln!(out, "{}", plain_json(&look.json))?,
            Form::Text => writeln!(out, "{}\n", shown(&look.text).trim_end())?,
        }
        self.last = Some((steady, Instant::now()));
        out.flush()
    }
}

/// The data without what changes by itself.
fn steady(data: &Value) -> Value {
    match data {
        Value::Object(map) => {
            let kept = map.iter().filter(|(name, _)| !VOLATILE.contains(&name.as_str()));
            kept.map(|(name, value)| (name.clone(), steady(value))).collect()
        }
        Value::Array(items) => items.iter().map(steady).collect(),
        other => other.clone(),
    }
}
