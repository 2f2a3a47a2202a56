//! `cutout watch`: the breakers that are not closed, then every change as it happens.
//!
//! Plain lines, so that they can be kept and searched. A broken stream is taken up again where it ended
//! (`Last-Event-ID`), at any instance of the service, for as long as it takes; only the first connection, and a token that
//! is no longer accepted, end the command.

use super::WatchArguments;
use super::status::{by, line, text};
use crate::api::{Api, unreached};
use crate::ended::Failed;
use crate::terminal::Terminal;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::io::Write;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// The first and the longest wait before a broken stream is taken up again.
const WAIT_MIN: Duration = Duration::from_millis(500);
const WAIT_MAX: Duration = Duration::from_secs(10);
/// The longest event that is read, bytes. One is about 1 KiB.
const EVENT_MAX_BYTES: usize = 256 * 1024;
/// How many breakers one request asks for.
const PAGE: &str = "1000";
/// How many pages the list at the start has at the most.
const PAGES_MAX: usize = 100;

pub(super) async fn run(api: &Api, terminal: Terminal, asked: &WatchArguments) -> Result<(), Failed> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut watch = Watch { api, terminal, asked, last_id: None, pause: Value::Null };
    tokio::select! {
        ended = watch.follow() => ended,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

struct Watch<'a> {
    api: &'a Api,
    terminal: Terminal,
    asked: &'a WatchArguments,
    /// Where the stream ended; none: it has not begun.
    last_id: Option<String>,
    /// The pause that was told last.
    pause: Value,
}

impl Watch<'_> {
    /// Reads stream after stream. It ends only by an error.
    async fn follow(&mut self) -> Result<(), Failed> {
        let mut wait = WAIT_MIN;
        let mut is_told = false;
        loop {
            let seen = self.last_id.clone();
            let ended = self.stream(&mut is_told).await;
            match ended {
                // A stream lasts a quarter of an hour, and is then taken up again without a word.
                Ok(()) => {}
                Err(failed) if failed.is_unreachable() && self.last_id.is_some() => {
                    if !is_told {
                        self.note(&format!("{}; coming back", failed.told()))?;
                        is_told = true;
                    }
                }
                Err(failed) => return Err(failed),
            }
            if self.last_id != seen {
                wait = WAIT_MIN;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(WAIT_MAX);
        }
    }

    /// Reads one stream to its end.
    async fn stream(&mut self, is_told: &mut bool) -> Result<(), Failed> {
        let mut request = self.api.get(&["changes"]).header("accept", "text/event-stream");
        if let Some(id) = &self.last_id {
            request = request.header("last-event-id", id);
        }
        let mut answer = request.streamed().await?;
        if std::mem::take(is_told) {
            self.note("connected again")?;
        }
        let mut events = Events::default();
        while let Some(chunk) = answer.chunk().await.map_err(|error| unreached(self.api.base(), error))? {
            for event in events.take(&chunk)? {
                self.event(&event).await?;
            }
        }
        Ok(())
    }

    async fn event(&mut self, event: &Event) -> Result<(), Failed> {
        let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
        match event.name.as_str() {
            // Told before the list is read: what changes meanwhile comes after it.
            "reset" => self.list(&data).await?,
            "flag" if self.is_asked(&data) => self.show("flag", &data)?,
            "pause" if data["pause"] != self.pause => {
                self.pause = data["pause"].clone();
                self.show("pause", &data)?;
            }
            _ => {}
        }
        if !event.id.is_empty() {
            self.last_id = Some(event.id.clone());
        }
        Ok(())
    }

    /// Shows what is not closed now.
    async fn list(&mut self, start: &Value) -> Result<(), Failed> {
        if self.last_id.is_some() {
            self.note("the store lost its data, or the stream could not be taken up: everything again")?;
        }
        if self.asked.form.json {
            self.terminal.line(&json!({"event": "reset", "data": start}).to_string())?;
        }
        let (mut after, mut shown) = (None::<String>, 0);
        for _ in 0..PAGES_MAX {
            let mut query = vec![("limit", PAGE)];
            query.extend(after.as_deref().map(|after| ("after", after)));
            let page = self.api.get(&["breakers"]).query(&query).json().await?;
            for item in page["items"].as_array().into_iter().flatten() {
                if self.is_asked(item) && (self.asked.form.json || item["state"] != "closed") {
                    self.show("flag", item)?;
                    shown += 1;
                }
            }
            match page["next"].as_str() {
                Some(next) => after = Some(next.to_owned()),
                None => break,
            }
        }
        if shown == 0 && !self.asked.form.json {
            self.terminal.line("all closed; waiting for changes")?;
        }
        Ok(())
    }

    fn is_asked(&self, item: &Value) -> bool {
        let asked = &self.asked.breakers;
        let is = |name: &String| item["breaker"] == name.as_str() || item["name"] == name.as_str();
        asked.is_empty() || asked.iter().any(is)
    }

    fn show(&self, kind: &str, data: &Value) -> Result<(), Failed> {
        if self.asked.form.json {
            return Ok(self.terminal.line(&json!({"event": kind, "data": data}).to_string())?);
        }
        let now = Timestamp::now();
        let told = match (kind, &data["pause"]) {
            ("flag", _) => line(self.terminal, data, 24, now),
            (_, Value::Null) => "the pause is ended".to_owned(),
            (_, pause) => format!("PAUSED by {}", by(pause)),
        };
        Ok(self.terminal.line(&format!("{}  {told}", now.strftime("%H:%M:%SZ")))?)
    }

    /// Tells what is not a change of any breaker, on standard error.
    fn note(&self, what: &str) -> Result<(), Failed> {
        // If standard error is closed there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "cutout: {}", text(&json!(what)));
        Ok(())
    }
}

/// A server-sent event.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Event {
    name: String,
    id: String,
    data: String,
}

/// The events of a stream, put together from what comes.
#[derive(Debug, Default)]
struct Events {
    rest: Vec<u8>,
    event: Event,
}

impl Events {
    /// The events that end in this piece.
    fn take(&mut self, chunk: &[u8]) -> Result<Vec<Event>, Failed> {
        let mut ended = Vec::new();
        self.rest.extend_from_slice(chunk);
        let mut lines = std::mem::take(&mut self.rest);
        while let Some(end) = lines.iter().position(|byte| *byte == b'\n') {
            let rest = lines.split_off(end + 1);
            let line = String::from_utf8_lossy(&lines).trim_end_matches(['\r', '\n']).to_owned();
            lines = rest;
            ended.extend(self.line(&line));
        }
        self.rest = lines;
        if self.rest.len() + self.event.data.len() > EVENT_MAX_BYTES {
            return Err(Failed::refused(format!(
                "an event of more than {EVENT_MAX_BYTES} bytes: is it the operators' API?"
            )));
        }
        Ok(ended)
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return (!event.data.is_empty()).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "id" => value.clone_into(&mut self.event.id),
            "data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_put_together_wherever_they_are_cut() {
        let stream = ": alive\n\nevent: flag\r\nid: e-1\ndata: {\"a\":\ndata: 1}\n\nid: e-2\n\nevent: pause\ndata:x\n\n";
        let event =
            |name: &str, id: &str, data: &str| Event { name: name.into(), id: id.into(), data: data.into() };
        let expected = [event("flag", "e-1", "{\"a\":\n1}"), event("pause", "", "x")];
        for size in 1..stream.len() {
            let mut events = Events::default();
            let pieces = stream.as_bytes().chunks(size);
            let found: Vec<Event> = pieces.flat_map(|piece| events.take(piece).unwrap()).collect();
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn an_event_without_end_is_not_kept() {
        let mut events = Events::default();
        assert!(events.take(&vec![b'x'; EVENT_MAX_BYTES + 1]).is_err());
        let mut events = Events::default();
        let line = format!("data: {}\n", "x".repeat(1_000));
        assert!((0..1_000).any(|_| events.take(line.as_bytes()).is_err()));
    }
}
