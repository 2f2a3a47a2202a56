//! What the page loads: its style, its script and its sign, from the binary.

use crate::api::problem::Problem;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// How long a browser keeps them: their addresses change with them.
const KEPT: &str = "public, max-age=86400";

struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

const ASSETS: [Asset; 3] = [
    Asset { name: "page.css", kind: "text/css; charset=utf-8", text: include_str!("assets/page.css") },
    Asset { name: "page.js", kind: "text/javascript; charset=utf-8", text: include_str!("assets/page.js") },
    Asset { name: "sign.svg", kind: "image/svg+xml", text: include_str!("assets/sign.svg") },
];

/// What tells this version of them from others.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let all = ASSETS.iter().fold(Sha256::new(), |digest, asset| digest.chain_update(asset.text));
    all.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
});

/// The path of one of them.
pub(crate) fn path(name: &str) -> String {
    format!("/assets/{name}?v={}", *VERSION)
}

/// One of them. They hold nothing that anybody may not see.
pub(crate) async fn asset(Path(name): Path<String>) -> Result<Response, Problem> {
    let asset = ASSETS.iter().find(|asset| asset.name == name);
    let asset = asset.ok_or_else(|| Problem::of_status(StatusCode::NOT_FOUND))?;
    let mut response = asset.text.into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(KEPT));
    Ok(response)
}
