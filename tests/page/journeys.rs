//! What people do in a browser: look, decide, watch a change come by itself; in light and dark, on a narrow screen, without
//! the script, by the keyboard alone.

use crate::browser::Browser;
use cutout_tests::canary;
use cutout_tests::rig::{Kept, MONITOR, MONITOR_URL, Rig, Who};
use serde_json::json;

/// Held back beyond a third of its keys.
const CAPPED: u64 = 5_200_002;
/// In watch mode.
const WATCHED: u64 = 5_200_003;

/// A service with something to see: two breakers open, one half-open, others closed.
async fn rig() -> (Rig, String) {
    let rig = Rig::start(Kept::Redis).await;
    rig.say(MONITOR, &[("0001", "OK"), ("0002", "Alert"), ("0003", "Alert"), ("0004", "OK")]).await;
    rig.say(MONITOR, &[("0001", "OK"), ("0002", "Alert"), ("0003", "OK"), ("0004", "OK")]).await;
    rig.say(WATCHED, &[("0001", "Alert")]).await;
    rig.until_state("bank-charge/0002", "open").await;
    rig.until_state("bank-charge/0003", "half-open").await;
    let base = format!("http://{}", rig.operators_at());
    (rig, base)
}

/// Whether something is wider than the window.
const SIDEWAYS: &str = "document.documentElement.scrollWidth > document.documentElement.clientWidth";

#[tokio::test]
async fn an_operator_comes_in_looks_and_forces_a_breaker() {
    let (rig, base) = rig().await;
    let mut browser = Browser::start();
    browser.window(json!({}));
    browser.open(&format!("{base}/breakers/bank-charge/0002"));
    assert_eq!(browser.text("h1"), "Sign in");
    browser.shot("sign-in");
    browser.fill("#token", "no-such-canary-secret-token-at-all");
    browser.click("button[type=submit]");
    browser.seen("[role=alert]");
    browser.complaints(); // The browser tells the 401 too.
    browser.fill("#token", canary::OPERATOR_TOKEN);
    browser.click("button[type=submit]");
    browser.act("until_url", json!({"url": "**/breakers/bank-charge/0002"}));
    let said = browser.text("main");
    for told in
        ["Open", "bank-charge/0002", "Alert", "Bank API", "bank_code:0002", "of calls pass", "In the last"]
    {
        assert!(said.contains(told), "{told} is missing in {said}");
    }
    assert_eq!(browser.value("document.querySelector('#signals a').href"), MONITOR_URL);
    browser.shot("breaker-open");

    browser.act("check", json!({"at": "#force-closed"}));
    browser.fill("#force-why", "the bank says it is well");
    browser.act("choose", json!({"at": "#force-until", "value": "4h"}));
    browser.click("form[aria-label='Force a state'] button");
    browser.seen(".done");
    let said = browser.text("main");
    for told in
        ["It is forced closed.", "Forced by ann", "the bank says it is well", "for another 3 h 59 min"]
    {
        assert!(said.contains(told), "{told} is missing in {said}");
    }
    browser.shot("breaker-forced");
    let forced = rig.until_state("bank-charge/0002", "closed").await;
    assert_eq!(forced["override"]["state"], "closed");

    browser.fill("#clear-why", "it is not");
    browser.click("form[aria-label='End the override'] button");
    browser.until("document.querySelector('.done')?.textContent.includes('signals decide again')");
    rig.until_state("bank-charge/0002", "open").await;
    let said = browser.text("#past");
    assert!(said.contains("ann forced it: the bank says it is well"), "{said}");
    assert!(said.contains("ann ended the override: it is not"), "{said}");

    browser.open(&format!("{base}/history"));
    assert!(browser.text("#past").contains("ann ended the override"));
    browser.shot("history");
    browser.click("form[action='/logout'] button");
    browser.seen("#token");
    browser.open(&base);
    assert_eq!(browser.text("h1"), "Sign in");
    assert_eq!(browser.complaints(), json!([]));
}

#[tokio::test]
async fn a_change_comes_by_itself_and_is_said_and_what_is_typed_stays() {
    let (rig, base) = rig().await;
    let mut browser = Browser::start();
    browser.window(json!({}));
    browser.sign_in(&base, canary::OPERATOR_TOKEN);
    browser.until("document.getElementById('live').dataset.how === 'live'");
    browser.value("window.notLoadedAgain = true");
    rig.say(MONITOR, &[("0001", "Alert"), ("0002", "Alert"), ("0003", "OK"), ("0004", "OK")]).await;
    browser.seen("#attention [data-breaker='bank-charge/0001'][data-state='open']");
    browser.until("document.getElementById('news').textContent === 'bank-charge/0001 is now: Open'");
    browser.until("document.title.startsWith('2 open')");

    browser.open(&format!("{base}/breakers/bank-charge/0001"));
    browser.until("document.getElementById('live').dataset.how === 'live'");
    browser.value("window.notLoadedAgain = true");
    browser.fill("#force-why", "half a reas");
    rig.say(MONITOR, &[("0001", "OK"), ("0002", "Alert"), ("0003", "OK"), ("0004", "OK")]).await;
    browser.seen("#known[data-state='half-open']");
    assert_eq!(browser.value("document.getElementById('force-why').value"), "half a reas");
    assert_eq!(browser.value("document.activeElement.id"), "force-why");
    assert_eq!(browser.value("window.notLoadedAgain"), true);
    assert_eq!(browser.complaints(), json!([]));
}

/// Goes there by the key Tab; where the focus is can be seen.
fn go_to(browser: &mut Browser, wanted: &str, steps_max: usize) {
    for _ in 0..steps_max {
        if browser.value(&format!("document.activeElement.matches({wanted:?})")) == true {
            let seen = browser.value("getComputedStyle(document.activeElement).outlineStyle");
            assert_eq!(seen, "solid", "{wanted}");
            return;
        }
        browser.press("Tab");
    }
    panic!("{wanted} is not reached within {steps_max} steps");
}

#[tokio::test]
async fn a_breaker_is_forced_by_the_keyboard_alone() {
    let (rig, base) = rig().await;
    let mut browser = Browser::start();
    browser.window(json!({}));
    browser.open(&base);
    // The first thing to type stands ready, as soon as the browser has painted.
    browser.seen("#token:focus");
    browser.act("type", json!({"text": canary::OPERATOR_TOKEN}));
    browser.press("Enter");
    browser.seen(".who");
    browser.press("Tab");
    assert_eq!(browser.value("document.activeElement.textContent"), "To the content");
    browser.press("Enter");
    // What is to be looked at comes first.
    go_to(&mut browser, "#attention a.name[href='/breakers/bank-charge/0002']", 12);
    browser.press("Enter");
    browser.seen("#decide");
    go_to(&mut browser, "#force-open", 30);
    browser.press("Space");
    go_to(&mut browser, "#force-until", 3);
    go_to(&mut browser, "#force-why", 4);
    browser.act("type", json!({"text": "maintenance"}));
    go_to(&mut browser, "form[aria-label='Force a state'] button", 3);
    browser.press("Enter");
    browser.seen(".done");
    let list = rig.get(Who::Vic, "/v1/breakers?overridden=true").await.body;
    assert_eq!(list["items"][0]["breaker"], "bank-charge/0002");
    assert_eq!(browser.complaints(), json!([]));
}

#[tokio::test]
async fn it_is_readable_in_light_and_dark_and_on_a_narrow_screen() {
    let (rig, base) = rig().await;
    let body = json!({"state": "open", "why": "the bank has maintenance until six", "until": "2h"});
    rig.put(Who::Bob, "/v1/overrides/bank-charge/0004", &body).await;
    rig.until_state("bank-charge/0004", "open").await;
    let mut browser = Browser::start();
    for scheme in ["light", "dark"] {
        for (screen, width, height) in [("wide", 1280, 900), ("narrow", 360, 740)] {
            browser.window(json!({"scheme": scheme, "width": width, "height": height}));
            browser.sign_in(&base, canary::OPERATOR_TOKEN);
            for (name, path) in [
                ("list", "/"),
                ("breaker", "/breakers/bank-charge/0002"),
                ("forced", "/breakers/bank-charge/0004"),
                ("history", "/history"),
                ("pause", "/pause"),
                ("sign-in", "/login"),
            ] {
                assert_eq!(browser.open(&format!("{base}{path}")), 200);
                // The form to come in by has no script.
                browser.until("(document.getElementById('live')?.dataset.how ?? 'live') === 'live'");
                assert_eq!(browser.value(SIDEWAYS), false, "{name} {scheme} {screen} scrolls sideways");
                let barriers = browser.act("barriers", json!({}));
                assert_eq!(barriers, json!([]), "{name} {scheme} {screen}");
                browser.shot(&format!("{name}-{scheme}-{screen}"));
            }
        }
    }
    assert_eq!(browser.complaints(), json!([]));
}

#[tokio::test]
async fn without_a_script_everything_is_there_and_decisions_work() {
    let (rig, base) = rig().await;
    let mut browser = Browser::start();
    browser.window(json!({"script": false}));
    browser.sign_in(&base, canary::OPERATOR_TOKEN);
    let said = browser.text("main");
    for told in ["load it anew", "bank-charge/0002", "Alert", "Half-open", "The pipeline itself"] {
        assert!(said.contains(told), "{told} is missing in {said}");
    }
    browser.shot("no-script");
    browser.click("#attention a.name[href='/breakers/bank-charge/0002']");
    browser.act("check", json!({"at": "#force-closed"}));
    browser.fill("#force-why", "without a script");
    browser.click("form[aria-label='Force a state'] button");
    browser.seen(".done");
    rig.until_state("bank-charge/0002", "closed").await;
    assert_eq!(browser.complaints(), json!([]));
}

#[tokio::test]
async fn what_others_wrote_is_text_and_nothing_else() {
    let rig = Rig::start(Kept::Redis).await;
    let evil = r#"<script>window.evil=1</script>"'><img src=x onerror="window.evil=1">"#;
    let bank = "<b onclick=evil>&quot;";
    let mut callback = cutout_tests::rig::callback(MONITOR, &[(bank, "Alert")]);
    callback["report"]["monitor"]["name"] = json!(evil);
    callback["report"]["monitor"]["url"] = json!("javascript:window.evil=1");
    callback["event"]["url"] = json!("https://app.datadoghq.example/\"><script>window.evil=1</script>");
    rig.callback(&callback).await;
    let breaker = "bank-charge/<b onclick=evil>&quot;";
    let shown = rig.until_state(breaker, "open").await;
    let base = format!("http://{}", rig.operators_at());
    let mut browser = Browser::start();
    browser.window(json!({}));
    browser.sign_in(&base, canary::OPERATOR_TOKEN);
    let said = browser.text("#attention");
    assert!(said.contains(evil) && said.contains(breaker), "{said}");
    browser.shot("evil-list");
    browser.click("#attention a.name");
    browser.seen("#decide");
    browser.act("check", json!({"at": "#force-open"}));
    browser.fill("#force-why", evil);
    browser.click("form[aria-label='Force a state'] button");
    browser.seen(".done");
    let said = browser.text("main");
    assert!(said.matches(evil).count() >= 3, "monitor, override and history: {said}");
    browser.shot("evil-breaker");
    for path in ["/history", "/?name=%3Cscript%3E&key=%22%27%3E%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E"] {
        assert_eq!(browser.open(&format!("{base}{path}")), 200);
    }
    assert_eq!(browser.value("document.getElementById('key').value"), "\"'><img src=x onerror=alert(1)>");
    assert_eq!(browser.value("window.evil ?? null"), json!(null), "{shown}");
    assert_eq!(browser.count("main img, main b[onclick], a[href^=javascript]"), 0);
    assert_eq!(browser.complaints(), json!([]));
}

#[tokio::test]
async fn two_operators_do_not_undo_each_other_unseen() {
    let (rig, base) = rig().await;
    let mut browser = Browser::start();
    browser.window(json!({"script": false}));
    browser.sign_in(&base, canary::OPERATOR_TOKEN);
    browser.open(&format!("{base}/breakers/bank-charge/0004"));
    let body = json!({"state": "open", "why": "bob was first", "until": "2h"});
    assert_eq!(rig.put(Who::Bob, "/v1/overrides/bank-charge/0004", &body).await.status, 200);
    browser.act("check", json!({"at": "#force-closed"}));
    browser.fill("#force-why", "ann came later");
    browser.click("form[aria-label='Force a state'] button");
    browser.seen("#failed");
    let said = browser.text("main");
    assert!(said.contains("Somebody else has decided meanwhile") && said.contains("bob was first"), "{said}");
    rig.until_state("bank-charge/0004", "open").await;
    assert_eq!(browser.value("document.getElementById('force-why').value"), "ann came later");
    browser.shot("two-operators");
    // Now he has seen it.
    browser.click("form[aria-label='Force a state'] button");
    browser.seen(".done");
    rig.until_state("bank-charge/0004", "closed").await;
}

#[tokio::test]
async fn what_is_held_back_is_shown_and_released_and_the_scope_is_paused() {
    let (rig, base) = rig().await;
    rig.say(CAPPED, &[("a", "Alert"), ("b", "Alert"), ("c", "OK")]).await;
    let held = rig.until_held().await;
    let mut browser = Browser::start();
    browser.window(json!({}));
    browser.sign_in(&base, canary::OPERATOR_TOKEN);
    let said = browser.text(&format!("#attention [data-breaker='{held}']"));
    assert!(said.contains("It would be Open: held back"), "{said}");
    let said = browser.text("#attention [data-breaker='fleet']");
    assert!(said.contains("It would be Open: watch mode"), "{said}");
    browser.open(&format!("{base}/breakers/fleet"));
    let said = browser.text("main");
    assert!(said.contains("would have refused: open") && said.contains("(1 ×)"), "{said}");
    assert!(browser.text("#past .change").ends_with("Open (watch mode)"), "{}", browser.text("#past"));
    browser.shot("watch-mode");
    browser.open(&format!("{base}/breakers/{held}"));
    browser.fill("#release-why", "it is real");
    browser.click("form[aria-label='Release it'] button");
    browser.seen(".done");
    rig.until_state(&held, "open").await;

    browser.open(&format!("{base}/pause"));
    browser.fill("#pause-why", "a storm of false alerts");
    browser.click("form[aria-label='Pause the scope'] button");
    browser.seen("form[aria-label='End the pause']");
    browser.open(&base);
    browser.seen("#paused .banner");
    assert!(browser.text("#paused").contains("ann: a storm of false alerts"));
    browser.shot("paused");
    browser.open(&format!("{base}/pause"));
    browser.fill("#resume-why", "over");
    browser.click("form[aria-label='End the pause'] button");
    browser.until("!document.querySelector('form[aria-label=\"End the pause\"]')");
    assert!(rig.get(Who::Vic, "/v1/pause").await.body["pause"].is_null());
    assert_eq!(browser.complaints(), json!([]));
}
