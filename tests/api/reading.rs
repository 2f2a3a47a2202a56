//! What there is: the list with its filters and pages, one breaker with what stands behind it, what is held.

use cutout_tests::rig::{EVENT_URL, Kept, MONITOR, MONITOR_URL, Rig, Who, on_each_store, until};
use serde_json::{Value, json};

on_each_store!(
    a_list_is_filtered_and_paged,
    a_breaker_is_shown_with_what_stands_behind_it,
    what_max_open_holds_is_shown_and_released,
);

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["breaker"].as_str().unwrap()).collect()
}

async fn a_list_is_filtered_and_paged(kept: Kept) {
    let rig = Rig::start(kept).await;
    rig.say(MONITOR, &[("0001", "Alert"), ("0002", "OK"), ("0003", "OK"), ("a/b", "Alert")]).await;
    rig.say(5_200_003, &[("0001", "Alert")]).await;
    rig.until_state("bank-charge/a%2Fb", "open").await;
    rig.until_state("fleet", "closed").await;
    let list = async |query: &str| rig.get(Who::Vic, &format!("/v1/breakers{query}")).await.body;

    let all = list("").await;
    let every = ["bank-charge/0001", "bank-charge/0002", "bank-charge/0003", "bank-charge/a%2Fb", "fleet"];
    assert_eq!(names(&all), every);
    assert_eq!((&all["total"], &all["next"]), (&json!(5), &Value::Null));
    assert_eq!(all["states"], json!({"open": 2, "closed": 3}));
    assert!(all["age_ms"].as_i64().unwrap() < 5_000, "{all}");
    let fleet = &all["items"][4];
    assert_eq!(
        (&fleet["mode"], &fleet["would"], &fleet["key"]),
        (&json!("watch"), &json!("open"), &Value::Null)
    );

    assert_eq!(names(&list("?state=open").await), ["bank-charge/0001", "bank-charge/a%2Fb"]);
    assert_eq!(names(&list("?name=fleet").await), ["fleet"]);
    assert_eq!(names(&list("?key=0002").await), ["bank-charge/0002"]);
    assert_eq!(names(&list("?key=a%252Fb&state=open").await), ["bank-charge/a%2Fb"]);
    assert_eq!(names(&list("?overridden=true").await), [""; 0]);
    let (mut seen, mut after) = (Vec::new(), String::new());
    for _ in 0..3 {
        let page = list(&format!("?limit=2{after}")).await;
        assert_eq!(page["total"], 5);
        seen.extend(names(&page).into_iter().map(str::to_owned));
        let next = page["next"].as_str().map(|next| next.replace('%', "%25"));
        after = next.map(|next| format!("&after={next}")).unwrap_or_default();
    }
    assert_eq!((seen.iter().map(String::as_str).collect::<Vec<_>>(), &*after), (every.to_vec(), ""));
    for wrong in ["?limit=0", "?limit=1001", "?limit=x", "?state=ajar", "?sate=open", "?overridden=2"] {
        let answered = rig.get(Who::Vic, &format!("/v1/breakers{wrong}")).await;
        assert_eq!(answered.problem(), (400, "malformed"), "{wrong}: {answered:?}");
    }
}

async fn a_breaker_is_shown_with_what_stands_behind_it(kept: Kept) {
    let rig = Rig::start(kept).await;
    rig.say(MONITOR, &[("0001", "Alert"), ("a/b", "OK")]).await;
    let answered = rig.get(Who::Vic, "/v1/breakers/bank-charge/0001").await;
    let shown = &answered.body;
    assert_eq!(answered.status, 200, "{answered:?}");
    for (field, value) in [
        ("breaker", json!("bank-charge/0001")),
        ("name", json!("bank-charge")),
        ("key", json!("0001")),
        ("state", json!("open")),
        ("would", Value::Null),
        ("mode", json!("enforce")),
        ("share_ppm", json!(10_000)),
        ("override", Value::Null),
        ("forced_by", Value::Null),
        ("held", Value::Null),
        ("hints", json!([])),
    ] {
        assert_eq!(shown[field], value, "{field}: {shown}");
    }
    assert_eq!(answered.header("etag"), format!("\"{}\"", shown["version"].as_str().unwrap()));
    assert_eq!(
        (&shown["policy"]["max_age_ms"], &shown["policy"]["ramp_ms"]),
        (&json!(900_000), &json!(300_000))
    );
    let signal = &shown["signals"][0];
    let monitor = json!({"id": MONITOR, "name": "Bank API", "url": MONITOR_URL, "event_url": EVENT_URL});
    for (field, value) in [
        ("monitor", monitor),
        ("group", json!("bank_code:0001")),
        ("status", json!("Alert")),
        ("asks", json!("open")),
        ("muted", json!(false)),
        ("vanished", json!(false)),
    ] {
        assert_eq!(signal[field], value, "{field}: {signal}");
    }
    assert!(signal["age_ms"].as_i64().unwrap() < 20_000 && signal["changed_at"].is_string(), "{signal}");

    // However it is spelled, it is the same breaker.
    for path in ["bank-charge%2F0001", "bank-charge/a%2Fb", "bank-charge/A%252fb", "bank-charge%2Fa%252Fb"] {
        let answered = rig.get(Who::Vic, &format!("/v1/breakers/{path}")).await;
        let spelled = if path.contains("0001") { "bank-charge/0001" } else { "bank-charge/a%2Fb" };
        // A slash inside a value must be encoded, or it parts two values.
        if path == "bank-charge/a%2Fb" {
            assert_eq!(answered.problem(), (404, "undeclared"), "{path}: {answered:?}");
        } else {
            assert_eq!(answered.body["breaker"], spelled, "{path}: {answered:?}");
        }
    }
    for (path, code) in [
        ("bank-charge/9999", "unknown"),
        ("bank-charge", "undeclared"),
        ("bank-charge/0001/x", "undeclared"),
        ("bank-chrage/0001", "undeclared"),
        ("fleet", "unknown"),
    ] {
        let answered = rig.get(Who::Vic, &format!("/v1/breakers/{path}")).await;
        assert_eq!(answered.problem(), (404, code), "{path}: {answered:?}");
    }
}

async fn what_max_open_holds_is_shown_and_released(kept: Kept) {
    let rig = Rig::start(kept).await;
    rig.say(5_200_002, &[("1", "OK"), ("2", "OK"), ("3", "OK")]).await;
    assert_eq!(rig.get(Who::Vic, "/v1/held").await.body, json!({"items": [], "next": null}));
    rig.say(5_200_002, &[("1", "Alert"), ("2", "Alert"), ("3", "OK")]).await;
    rig.until_state("capped/1", "open").await;
    let mut held = Value::Null;
    until("one is held", async || {
        held = rig.get(Who::Vic, "/v1/held").await.body;
        !names(&held).is_empty()
    })
    .await;
    assert_eq!(names(&held), ["capped/2"]);
    let item = &held["items"][0];
    assert_eq!(
        (&item["held"], &item["state"], &item["would"]),
        (&json!("max-open"), &json!("closed"), &json!("open"))
    );

    for (path, problem) in [
        ("/v1/held/capped/2", (400, "malformed")),
        ("/v1/held/capped/2?why=%20", (422, "invalid")),
        ("/v1/held/capped/1?why=x", (404, "not-held")),
        ("/v1/held/none/1?why=x", (404, "undeclared")),
    ] {
        assert_eq!(rig.delete(Who::Ann, path).await.problem(), problem, "{path}");
    }
    let released = rig.delete(Who::Ann, "/v1/held/capped/2?why=it%20is%20real").await;
    assert_eq!((released.status, &released.body["state"]), (200, &json!("open")), "{released:?}");
    assert_eq!(released.body["held"], Value::Null);
    until("nothing is held", async || names(&rig.get(Who::Vic, "/v1/held").await.body).is_empty()).await;
    assert_eq!(rig.delete(Who::Ann, "/v1/held/capped/2?why=again").await.problem(), (404, "not-held"));
}

#[tokio::test]
async fn with_the_store_away_the_list_is_answered_and_all_else_says_what_is_missing() {
    let mut rig = Rig::start(Kept::Redis).await;
    rig.say(MONITOR, &[("0001", "Alert")]).await;
    rig.until_state("bank-charge/0001", "open").await;
    rig.redis.as_mut().unwrap().kill();
    let list = rig.get(Who::Vic, "/v1/breakers").await;
    assert_eq!((list.status, names(&list.body)), (200, vec!["bank-charge/0001"]));
    let breaker = "/v1/breakers/bank-charge/0001";
    for path in [breaker, "/v1/pause", "/v1/history", "/v1/history/export"] {
        let answered = rig.get(Who::Vic, path).await;
        assert_eq!(answered.problem(), (503, "store"), "{path}");
        assert_eq!(answered.header("retry-after"), "2", "{path}");
    }
    let body = json!({"state": "closed", "why": "a drill", "until": "30m"});
    let answered = rig.put(Who::Ann, "/v1/overrides/bank-charge/0001", &body).await;
    assert_eq!(answered.problem(), (503, "store"), "nothing was decided, and that is said");
    // How old the list is can be seen.
    until("its age grows", async || {
        rig.get(Who::Vic, "/v1/breakers").await.body["age_ms"].as_i64().unwrap() > 1_500
    })
    .await;
}
