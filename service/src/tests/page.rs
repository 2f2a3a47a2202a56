//! The page as a team mounts it: nested below a path of its own.

use super::*;
use crate::{Operators, Page};
use axum::Router;
use sha2::{Digest, Sha256};

const TOKEN: &str = "a-token-of-thirty-characters-x";

fn mounted(service: &Service) -> Router {
    let hash: String = Sha256::digest(TOKEN).iter().map(|byte| format!("{byte:02x}")).collect();
    let operators = Operators::parse("OPERATORS", &format!("ann:{hash}:operator")).unwrap();
    let page = Page { base: "/ops/".to_owned(), ..Page::default() };
    Router::new().nest("/ops", service.page(operators, page)).fallback(async || "the team's own")
}

async fn ask(router: &Router, request: http::request::Builder, body: &str) -> (Response, String) {
    let request = request.header(header::HOST, "localhost").header(header::ORIGIN, "http://localhost");
    let response = router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let text = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
    (Response::from_parts(parts, Body::empty()), text)
}

/// What a page links to, loads and sends its forms to, but for what is within it.
fn addresses(page: &str) -> Vec<&str> {
    let of = |name: &'static str| page.split(name).skip(1).filter_map(|rest| rest.split('"').next());
    let all = [" href=\"", " src=\"", " action=\"", " data-changes=\""].into_iter().flat_map(of);
    all.filter(|address| !address.starts_with('#')).collect()
}

#[tokio::test]
async fn nested_below_a_path_everything_stays_there_and_leads_somewhere() {
    let service = service(Arc::new(MemoryStore::new()));
    let router = mounted(&service);
    let run = tokio::spawn(service.run());
    let login = Request::post("/ops/login").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let (answered, _) = ask(&router, login, &format!("token={TOKEN}")).await;
    assert_eq!(answered.status(), StatusCode::SEE_OTHER);
    assert_eq!(answered.headers()[header::LOCATION], "/ops");
    let cookie =
        answered.headers()[header::SET_COOKIE].to_str().unwrap().split(';').next().unwrap().to_owned();
    let get = async |path: &str| {
        let (answered, text) = ask(&router, Request::get(path).header(header::COOKIE, &cookie), "").await;
        (answered.status(), text)
    };
    let deadline = Instant::now() + DEADLINE;
    while get("/ops").await.0 != StatusCode::OK {
        assert!(Instant::now() < deadline, "the list is not there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    send(&service, &callback(MONITOR, &[("bank_code:0001", "Alert")], 9)).await;
    while !get("/ops").await.1.contains("bank-charge/0001") {
        assert!(Instant::now() < deadline, "the breaker is not there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut followed = 0;
    for path in ["/ops", "/ops/breakers/bank-charge/0001", "/ops/history", "/ops/pause"] {
        let (status, page) = get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        for address in addresses(&page).into_iter().filter(|address| !address.starts_with("https://")) {
            let address = address.replace("&amp;", "&");
            assert!(
                address == "/ops" || address.starts_with("/ops/") || address.starts_with("/ops?"),
                "{address}"
            );
            if !address.ends_with("/logout") && !address.ends_with("/v1/changes") {
                assert_eq!(get(&address).await.0, StatusCode::OK, "{address} on {path}");
                followed += 1;
            }
        }
    }
    assert!(followed > 40, "{followed}");
    let (away, _) = ask(&router, Request::get("/ops/history?breaker=x"), "").await;
    assert_eq!(away.headers()[header::LOCATION], "/ops/login?next=%2Fhistory%3Fbreaker%3Dx");
    run.abort();
}
