//! What people decide: force, end, release, pause, inject. The service writes down who and why.

use super::status::{by, detail};
use super::{Decision, EndArguments, FaultArguments, ForceArguments, PauseArguments};
use crate::ended::Failed;
use crate::terminal::Terminal;
use reqwest::Method;
use serde_json::{Value, json};

pub(super) async fn force(terminal: Terminal, state: &str, asked: &ForceArguments) -> Result<(), Failed> {
    let ForceArguments { breaker, until, decision } = asked;
    let request = decision.request(Method::PUT, &["overrides"], Some(breaker))?;
    let body = json!({"state": state, "why": decision.why, "until": until});
    tell(terminal, &request.body(&body).json().await?, decision)
}

/// Ends an override, a hold or a fault, by the word that stands in its path.
pub(super) async fn end(terminal: Terminal, word: &str, asked: &EndArguments) -> Result<(), Failed> {
    let EndArguments { breaker, decision } = asked;
    let request = decision.request(Method::DELETE, &[word], Some(breaker))?;
    tell(terminal, &request.query(&[("why", &decision.why)]).json().await?, decision)
}

pub(super) async fn inject(terminal: Terminal, asked: &FaultArguments) -> Result<(), Failed> {
    let FaultArguments { breaker, abort, delay, delay_share, header, until, decision } = asked;
    let header = header.as_deref().map(|header| match header.split_once(':') {
        Some((name, value)) => json!({"name": name.trim(), "value": value.trim()}),
        None => json!({"name": header.trim(), "value": null}),
    });
    let body = json!({
        "abort_ppm": abort.unwrap_or(0), "delay_ppm": delay_share.unwrap_or(0), "delay_ms": delay.unwrap_or(0),
        "header": header, "why": decision.why, "until": until,
    });
    let request = decision.request(Method::PUT, &["faults"], Some(breaker))?;
    tell(terminal, &request.body(&body).json().await?, decision)
}

pub(super) async fn pause(terminal: Terminal, asked: &PauseArguments) -> Result<(), Failed> {
    let PauseArguments { until, decision } = asked;
    let request = decision.request(Method::PUT, &["pause"], None)?;
    let shown = request.body(&json!({"why": decision.why, "until": until})).json().await?;
    let told =
        if decision.form.json { shown.to_string() } else { format!("paused by {}", by(&shown["pause"])) };
    Ok(terminal.line(&told)?)
}

pub(super) async fn resume(terminal: Terminal, decision: &Decision) -> Result<(), Failed> {
    let request = decision.request(Method::DELETE, &["pause"], None)?;
    request.query(&[("why", &decision.why)]).json().await?;
    let told = if decision.form.json { r#"{"pause":null}"# } else { "the pause is ended" };
    Ok(terminal.line(told)?)
}

fn tell(terminal: Terminal, shown: &Value, decision: &Decision) -> Result<(), Failed> {
    let told = if decision.form.json { terminal.line(&shown.to_string()) } else { detail(terminal, shown) };
    Ok(told?)
}
