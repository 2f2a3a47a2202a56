//! Who may: nothing but health answers without a token, and who may look may not decide.

use cutout_tests::rig::{Kept, Rig, Who, answer, with_body};
use reqwest::Method;
use serde_json::{Value, json};

/// Every operation that the description names: method and path, with a breaker in the place of `{id}`.
pub(crate) fn operations(description: &Value) -> Vec<(Method, String)> {
    let paths = description["paths"].as_object().expect("the description has paths");
    let of_path = |(path, item): (&String, &Value)| {
        let path = path.replace("{id}", "bank-charge/0001");
        let methods =
            item.as_object().unwrap().keys().filter(|key| key.chars().all(|c| c.is_ascii_lowercase()));
        methods.map(|method| (method.to_uppercase().parse().unwrap(), path.clone())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

#[tokio::test]
async fn nothing_answers_without_a_token_but_health_on_the_other_address() {
    let rig = Rig::start(Kept::Memory).await;
    let description = rig.get(Who::Vic, "/v1/openapi.json").await.body;
    let mut asked = operations(&description);
    assert!(asked.len() >= 14, "{asked:?}");
    asked.extend(
        ["/v1", "/v1/", "/v1/none", "/healthz", "/metrics", "/no-such-page"]
            .map(|path| (Method::GET, path.to_owned())),
    );
    asked.push((Method::POST, "/v1/breakers".to_owned()));
    for (method, path) in asked {
        for who in [Who::Nobody, Who::Old] {
            let answered = answer(rig.request(who, method.clone(), &path)).await;
            let case = format!("{who:?} {method} {path}: {answered:?}");
            assert_eq!(answered.status, 401, "{case}");
            assert_eq!(answered.header("www-authenticate"), "Bearer realm=\"cutout\"", "{case}");
            assert_eq!(answered.header("content-type"), "application/problem+json", "{case}");
            assert_eq!(answered.body["request_id"], answered.header("x-request-id"), "{case}");
        }
    }
    // The callbacks' address has health, and no API.
    let at = rig.callbacks_at();
    for (path, status) in [("/healthz", 200), ("/readyz", 200), ("/v1/breakers", 404), ("/v1/status", 404)] {
        let answered = answer(reqwest::Client::new().get(format!("http://{at}{path}"))).await;
        assert_eq!(answered.status, status, "{path}");
    }
}

#[tokio::test]
async fn what_is_no_token_is_refused_and_stands_nowhere() {
    let rig = Rig::start(Kept::Memory).await;
    let long = "x".repeat(600);
    for given in ["Bearer", "Bearer ", "Bearer no-such-canary-secret-token", "Basic dXNlcjpwYXNz", "", &long]
    {
        let request = rig.request(Who::Nobody, Method::GET, "/v1/status").header("authorization", given);
        assert_eq!(answer(request).await.problem(), (401, "token"), "{given:?}");
    }
    let twice = rig.request(Who::Ann, Method::GET, "/v1/status").header("authorization", "Bearer other");
    assert_eq!(answer(twice).await.problem(), (401, "token"), "two of them leave a doubt");
    let token = cutout_tests::canary::OPERATOR_TOKEN;
    let lower = rig
        .request(Who::Nobody, Method::GET, "/v1/status")
        .header("authorization", format!("bearer {token}"));
    assert_eq!(answer(lower).await.status, 200, "the scheme has no case");
    assert!(!rig.lines("a token is refused").is_empty());
    assert!(!rig.log().contains("canary-secret"), "{}", rig.log());
}

#[tokio::test]
async fn a_viewer_looks_and_does_not_decide() {
    let rig = Rig::start(Kept::Memory).await;
    let status = rig.get(Who::Vic, "/v1/status").await;
    assert_eq!(
        status.body["you"],
        json!({"name": "vic", "role": "viewer", "expires": "2999-01-01T00:00:00Z"})
    );
    let description = rig.get(Who::Vic, "/v1/openapi.json").await.body;
    let deciding = operations(&description).into_iter().filter(|(method, _)| *method != Method::GET);
    let deciding: Vec<_> = deciding.collect();
    assert_eq!(deciding.len(), 7, "{deciding:?}");
    let body = json!({"state": "open", "why": "drill", "until": "never"});
    for (method, path) in deciding {
        let request = with_body(rig.request(Who::Vic, method.clone(), &format!("{path}?why=drill")), &body);
        let answered = answer(request).await;
        assert_eq!(answered.problem(), (403, "role"), "{method} {path}: {answered:?}");
    }
    let pause = rig.get(Who::Vic, "/v1/pause").await;
    assert_eq!(pause.body, json!({"pause": null}));
    assert_eq!(rig.get(Who::Vic, "/v1/history").await.body["items"], json!([]), "and nothing was done");
}

#[tokio::test]
async fn each_request_has_an_id_and_a_line_in_the_log() {
    let rig = Rig::start(Kept::Memory).await;
    let given = rig.request(Who::Ann, Method::GET, "/v1/none?token=x").header("x-request-id", "trace-7.a_b");
    let answered = answer(given).await;
    assert_eq!((answered.problem(), answered.header("x-request-id")), ((404, "no-such-path"), "trace-7.a_b"));
    let request = rig.request(Who::Ann, Method::GET, "/v1/status").header("x-request-id", "not {plain}");
    let own = answer(request).await.header("x-request-id").to_owned();
    assert!(own.len() == 16 && own.bytes().all(|byte| byte.is_ascii_hexdigit()), "{own}");
    let line = rig.lines("request").into_iter().find(|line| line["request_id"] == "trace-7.a_b").unwrap();
    assert_eq!((&line["operator"], &line["status"]), (&json!("ann"), &json!(404)));
    assert_eq!((&line["method"], &line["path"]), (&json!("GET"), &json!("/v1/none")));
}
