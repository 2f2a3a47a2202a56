//! Faults set and cleared by the form of a breaker's page: over HTTP, and by a person in a browser.

use crate::access::{form, form_token, origin, page, request, session};
use crate::browser::Browser;
use cutout_tests::canary;
use cutout_tests::rig::{Answer, Kept, Rig, Who, answer, until};
use reqwest::Method;
use reqwest::header::{COOKIE, ORIGIN};
use serde_json::{Value, json};

const BREAKER: &str = "/breakers/bank-charge/0001";
const SHOWN: &str = "/v1/breakers/bank-charge/0001";

/// Sends the form of a breaker's page as `who`.
async fn send(rig: &Rig, who: Who, fields: &[(&str, &str)]) -> Answer {
    let cookie = session(rig, who).await;
    let shown = page(rig, &cookie, BREAKER).await;
    let token = form_token(&shown);
    // What the form itself carries for who has seen somebody else's fault.
    let (_, inject) = shown.text.split_once("aria-label=\"Inject a fault\"").expect("the form");
    let seen = inject.split_once("name=\"seen\" value=\"").map(|(_, rest)| rest.split('"').next().unwrap());
    let mut fields = fields.to_vec();
    fields.push(("form_token", &token));
    fields.extend(seen.map(|seen| ("seen", seen)));
    let sent = request(rig, Method::POST, BREAKER).header(ORIGIN, origin(rig)).header(COOKIE, cookie);
    answer(form(sent, &fields)).await
}

/// A form with these fields in the place of the drill's.
fn drill<'a>(other: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut fields = vec![
        ("act", "inject"),
        ("abort", "10%"),
        ("delay-share", "2.5%"),
        ("delay", "300ms"),
        ("why", "a drill"),
        ("until", "15m"),
    ];
    fields.retain(|(name, _)| other.iter().all(|(changed, _)| changed != name));
    fields.extend(other);
    fields
}

#[tokio::test]
async fn a_form_injects_a_fault_within_the_limits_and_ends_it() {
    let rig = Rig::start(Kept::Redis).await;
    let wrong: [(&[(&str, &str)], &str); 9] = [
        (&[("until", "never")], "a fault has an end"),
        (&[("until-typed", "2h")], "at most 3600000 ms"),
        (&[("abort", "51%")], "at most 500000 of a million"),
        (&[("abort", "10")], "what ends unsent is a share such as 10%"),
        (&[("delay", "1.5s")], "a duration is a whole number"),
        (&[("delay", "31s")], "at most 30000 ms"),
        (&[("delay", "")], "or delays a share of them by some time"),
        (&[("header-value", "yes")], "before it"),
        (&[("why", "")], "why is a reason"),
    ];
    for (fields, told) in wrong {
        let refused = send(&rig, Who::Ann, &drill(fields)).await;
        assert!(refused.status == 422 && refused.text.contains(told), "{fields:?}: {refused:?}");
        let kept = if fields[0].0 == "why" { "value=\"2.5%\"" } else { "a drill</textarea>" };
        assert!(refused.text.contains(kept), "what was typed stays: {refused:?}");
    }
    assert_eq!(rig.get(Who::Vic, SHOWN).await.problem(), (404, "unknown"), "nothing was done");

    let marked = [("abort", "100%"), ("header", "X-Drill"), ("header-value", "yes")];
    let done = send(&rig, Who::Ann, &drill(&marked)).await;
    assert_eq!((done.status, done.header("location")), (303, &*format!("{BREAKER}?done=inject")), "{done:?}");
    let shown = rig.get(Who::Vic, SHOWN).await.body;
    let fault = &shown["fault"];
    assert_eq!(
        (&fault["abort_ppm"], &fault["delay_ppm"], &fault["delay_ms"], &fault["header"]),
        (&json!(1_000_000), &json!(25_000), &json!(300), &json!({"name": "x-drill", "value": "yes"}))
    );
    assert_eq!(shown["fault_by"], json!({"by": "ann", "why": "a drill"}));

    // Who has the page open sees whose it is, and replaces it knowingly.
    let replaced = send(&rig, Who::Bob, &drill(&[("why", "another drill")])).await;
    assert_eq!(replaced.status, 303, "{replaced:?}");
    assert_eq!(rig.get(Who::Vic, SHOWN).await.body["fault_by"]["by"], "bob");
    let stale = send(&rig, Who::Ann, &[&drill(&[])[..], &[("seen", "e-1")]].concat()).await;
    assert_eq!(stale.status, 412, "the first of two is what was seen: {stale:?}");
    let ended = send(&rig, Who::Ann, &[("act", "end-fault"), ("why", "enough")]).await;
    assert_eq!(ended.status, 303, "anybody may end it: {ended:?}");
    assert_eq!(rig.get(Who::Vic, SHOWN).await.body["fault"], Value::Null);

    let vic = session(&rig, Who::Vic).await;
    assert!(!page(&rig, &vic, BREAKER).await.text.contains("Inject a fault"), "viewers look");
}

#[tokio::test]
async fn an_operator_injects_a_fault_and_ends_it() {
    let rig = Rig::start(Kept::Redis).await;
    let base = format!("http://{}", rig.operators_at());
    let mut browser = Browser::start();
    browser.window(json!({"script": false}));
    browser.sign_in(&base, canary::OPERATOR_TOKEN);
    browser.open(&format!("{base}{BREAKER}"));
    browser.fill("#inject-abort", "10%");
    browser.fill("#inject-delay-share", "20%");
    browser.fill("#inject-delay", "300ms");
    browser.fill("#inject-header", "x-drill");
    browser.act("choose", json!({"at": "#inject-until", "value": "30m"}));
    browser.fill("#inject-why", "does the till fall back?");
    browser.shot("fault-form");
    browser.click("form[aria-label='Inject a fault'] button");
    browser.seen(".done");
    let said = browser.text("main");
    for told in [
        "The fault is injected.",
        "Fault injected by ann",
        "10 % of calls end unsent, 20 % are delayed by 300ms, only requests with x-drill",
        "for another 29 min",
        "ann injected a fault: does the till fall back?",
    ] {
        assert!(said.contains(told), "{told} is missing in {said}");
    }
    browser.shot("fault-injected");
    browser.fill("#end-fault-why", "it does");
    browser.click("form[aria-label='End the fault'] button");
    browser.seen(".done");
    assert!(browser.text("main").contains("The fault is ended."));
    until("it is ended", async || rig.get(Who::Vic, SHOWN).await.body["fault"].is_null()).await;
    for (width, height) in [(1280, 900), (360, 740)] {
        browser.window(json!({"width": width, "height": height}));
        browser.sign_in(&base, canary::OPERATOR_TOKEN);
        browser.open(&format!("{base}{BREAKER}"));
        assert_eq!(browser.act("barriers", json!({})), json!([]), "{width}");
    }
    assert_eq!(browser.complaints(), json!([]));
}
