//! What people decide: force, end, release, pause. The service writes down who and why.

use super::status::{by, detail};
use super::{EndArguments, ForceArguments, PauseArguments, ResumeArguments};
use crate::api::Api;
use crate::ended::Failed;
use crate::terminal::Terminal;
use reqwest::Method;
use serde_json::{Value, json};

pub(super) async fn force(
    api: &Api,
    terminal: Terminal,
    state: &str,
    asked: &ForceArguments,
) -> Result<(), Failed> {
    let request = api.request(Method::PUT, &["overrides"], Some(&asked.breaker));
    let body = json!({"state": state, "why": asked.why, "until": asked.until});
    let shown = request.caution(&asked.seen.caution()).body(&body).json().await?;
    tell(terminal, &shown, asked.form.json)
}

/// Ends an override, or a hold, by the word that stands in its path.
pub(super) async fn end(
    api: &Api,
    terminal: Terminal,
    word: &str,
    asked: &EndArguments,
) -> Result<(), Failed> {
    let request = api.request(Method::DELETE, &[word], Some(&asked.breaker)).query(&[("why", &asked.why)]);
    let shown = request.caution(&asked.seen.caution()).json().await?;
    tell(terminal, &shown, asked.form.json)
}

pub(super) async fn pause(api: &Api, terminal: Terminal, asked: &PauseArguments) -> Result<(), Failed> {
    let request = api.request(Method::PUT, &["pause"], None).caution(&asked.seen.caution());
    let shown = request.body(&json!({"why": asked.why, "until": asked.until})).json().await?;
    let told = if asked.form.json { shown.to_string() } else { format!("paused by {}", by(&shown["pause"])) };
    Ok(terminal.line(&told)?)
}

pub(super) async fn resume(api: &Api, terminal: Terminal, asked: &ResumeArguments) -> Result<(), Failed> {
    let request = api.request(Method::DELETE, &["pause"], None).query(&[("why", &asked.why)]);
    request.caution(&asked.seen.caution()).json().await?;
    let told = if asked.form.json { r#"{"pause":null}"# } else { "the pause is ended" };
    Ok(terminal.line(told)?)
}

fn tell(terminal: Terminal, shown: &Value, is_json: bool) -> Result<(), Failed> {
    let told = if is_json { terminal.line(&shown.to_string()) } else { detail(terminal, shown) };
    Ok(told?)
}
