//! The description of the API tells what is there: every operation, and nothing that is not; and the API can be mounted.

use crate::access::operations;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::routing::get;
use cutout_flags::MemoryStore;
use cutout_service::{Breakers, Operators, Parts, Service};
use cutout_tests::canary;
use cutout_tests::rig::{Kept, Rig, Who, answer};
use reqwest::Method;
use serde_json::Value;
use std::sync::Arc;
use tower::ServiceExt;

#[tokio::test]
async fn every_operation_is_there_and_no_other_method_is() {
    let rig = Rig::start(Kept::Memory).await;
    let description = rig.get(Who::Vic, "/v1/openapi.json").await.body;
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
    let described = operations(&description);
    let methods = [Method::GET, Method::PUT, Method::DELETE, Method::POST, Method::PATCH];
    let paths: std::collections::BTreeSet<&String> = described.iter().map(|(_, path)| path).collect();
    for path in paths {
        for method in &methods {
            if path == "/v1/changes" && *method == Method::GET {
                continue; // It does not end; the tests of streams ask it.
            }
            let answered = answer(rig.request(Who::Ann, method.clone(), path)).await;
            let is_described = described.contains(&(method.clone(), path.clone()));
            assert_eq!(answered.status == 405, !is_described, "{method} {path}: {answered:?}");
            if is_described {
                let at = path.replace("bank-charge/0001", "{id}");
                let responses = &description["paths"][&at][method.as_str().to_lowercase()]["responses"];
                let status = answered.status.to_string();
                assert!(
                    responses[&status].is_object(),
                    "{method} {path} answers {status}, which is not described"
                );
            }
        }
    }
    let secured = &description["components"]["securitySchemes"]["token"];
    assert_eq!((&secured["type"], &secured["scheme"]), (&"http".into(), &"bearer".into()));
}

#[tokio::test]
async fn a_team_nests_or_merges_the_api_beside_its_own_routes() {
    let breakers = Breakers::default();
    let secrets = vec![canary::SIGNING_SECRET.parse().unwrap()];
    let parts = Parts { store: Arc::new(MemoryStore::new()), breakers, secrets, public_url: None };
    let service = Service::new(parts);
    let operators = || Operators::parse("operators", &canary::operators()).unwrap();
    let running = tokio::spawn(service.run());
    let own = || Router::new().route("/", get(async || "ours")).fallback(async || "our fallback");
    let merged = own().merge(service.router()).merge(service.api(operators()));
    let nested = own().merge(service.router()).nest("/cutout", service.api(operators()));
    let ask = async |app: &Router, path: &str, token: Option<&str>| {
        let mut request = Request::get(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 65_536).await.unwrap();
        (status, String::from_utf8_lossy(&body).into_owned())
    };
    for (app, prefix) in [(merged, ""), (nested, "/cutout")] {
        let status = format!("{prefix}/v1/status");
        cutout_tests::rig::until("the API answers", async || {
            ask(&app, &status, Some(canary::VIEWER_TOKEN)).await.0 == 200
        })
        .await;
        assert_eq!(ask(&app, &status, None).await.0, 401, "{prefix}");
        assert_eq!(ask(&app, &format!("{prefix}/v1/none"), None).await.0, 401, "{prefix}");
        let (code, told) = ask(&app, &format!("{prefix}/v1/none"), Some(canary::VIEWER_TOKEN)).await;
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!((code, &told["code"]), (404, &"no-such-path".into()), "{prefix}");
        assert_eq!(ask(&app, "/", None).await, (200, "ours".to_owned()), "{prefix}");
        assert_eq!(ask(&app, "/elsewhere", None).await, (200, "our fallback".to_owned()), "{prefix}");
    }
    running.abort();
}
