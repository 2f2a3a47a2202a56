//! A stand-in for the AWS parameters-and-secrets extension and the stores behind it, in the shapes that AWS documents.
//! It answers only who shows the session token, as the real one does, and keeps no cache.

use crate::canary;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The running stand-in. It stops when dropped.
pub struct SecretStore {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    texts: Mutex<HashMap<String, String>>,
    reads: Mutex<Vec<String>>,
    /// What it answers instead of everything else.
    status: Mutex<Option<StatusCode>>,
}

impl SecretStore {
    /// Starts it on a free port, with nothing in it.
    pub async fn start() -> SecretStore {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::<Shared>::default();
        let router = Router::new()
            .route("/secretsmanager/get", get(secret))
            .route("/systemsmanager/parameters/get", get(parameter))
            .layer(from_fn_with_state(shared.clone(), guard))
            .with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        SecretStore { address, shared, server }
    }

    /// Keeps a text under an ARN or a name.
    pub fn keep(&self, name: &str, text: &str) {
        self.shared.texts.lock().unwrap().insert(name.to_owned(), text.to_owned());
    }

    /// From now on answers only this status, or everything again.
    pub fn answer_only(&self, status: Option<u16>) {
        *self.shared.status.lock().unwrap() = status.map(|status| StatusCode::from_u16(status).unwrap());
    }

    /// What was asked for so far, by the right token.
    pub fn reads(&self) -> Vec<String> {
        self.shared.reads.lock().unwrap().clone()
    }

    /// What a function's environment needs to reach it.
    pub fn variables(&self) -> [(String, String); 2] {
        [
            ("AWS_SESSION_TOKEN".to_owned(), canary::SESSION_TOKEN.to_owned()),
            ("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT".to_owned(), self.address.port().to_string()),
        ]
    }
}

impl Drop for SecretStore {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn guard(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    let token = headers.get("X-Aws-Parameters-Secrets-Token");
    if token.is_none_or(|token| token != canary::SESSION_TOKEN) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let status = *shared.status.lock().unwrap();
    match status {
        Some(status) => status.into_response(),
        None => next.run(request).await,
    }
}

async fn secret(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    let arn = &query(&uri)["secretId"];
    let answer = |text| json!({"ARN": arn, "Name": "cutout", "SecretString": text, "VersionId": "1", "VersionStages": ["AWSCURRENT"]});
    shared.answer(arn, answer)
}

async fn parameter(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    let query = query(&uri);
    let name = &query["name"];
    // Without decryption AWS answers the ciphertext.
    let decrypts = query.get("withDecryption").is_some_and(|asked| asked == "true");
    let answer = |text: String| {
        let value = if decrypts { text } else { "AQICAHh".to_owned() };
        json!({"Parameter": {"Name": name, "Type": "SecureString", "Value": value, "Version": 1}, "ResultMetadata": {}})
    };
    shared.answer(name, answer)
}

fn query(uri: &Uri) -> HashMap<String, String> {
    reqwest::Url::parse(&format!("http://localhost{uri}")).unwrap().query_pairs().into_owned().collect()
}

impl Shared {
    fn answer(&self, name: &str, answer: impl Fn(String) -> serde_json::Value) -> Response {
        self.reads.lock().unwrap().push(name.to_owned());
        match self.texts.lock().unwrap().get(name) {
            Some(text) => Json(answer(text.clone())).into_response(),
            None => StatusCode::BAD_REQUEST.into_response(),
        }
    }
}
