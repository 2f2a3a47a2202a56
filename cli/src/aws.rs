//! Signed requests to AWS: as much of SQS and Lambda as the commands need, and no SDK.
//!
//! Region and endpoint come from the variables that AWS's own tools read. Answers are bounded, and an error is told with
//! AWS's own code and text.

mod credentials;
mod sign;

use crate::api::{client, is_loopback, read, unreached};
use crate::ended::{Failed, NOT_ALLOWED, REFUSED, UNREACHABLE};
use crate::terminal::plain;
use credentials::Credentials;
use jiff::Timestamp;
use reqwest::{Method, Response, StatusCode, Url};
use serde_json::Value;
use sign::{Unsigned, authorization};
use std::time::Duration;

/// The largest answer that is read. Ten messages of SQS have 2.5 MiB at the most.
const ANSWER_MAX_BYTES: usize = 8 * 1024 * 1024;
/// How long one answer may take: the longest time that a function has, and a little.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(65);

const JSON_1_0: &str = "application/x-amz-json-1.0";

/// AWS, in one region.
#[derive(Debug)]
pub(crate) struct Aws {
    credentials: Credentials,
    region: String,
    /// In the place of AWS's own addresses.
    endpoint: Option<Url>,
}

/// What a function answered.
pub(crate) enum Invoked {
    /// It did what it was asked.
    Done,
    /// It ended in an error, told in its own words.
    Failed(String),
}

impl Aws {
    /// As the environment says. `region`, if given, comes first.
    pub(crate) async fn of_environment(region: Option<&str>) -> Result<Aws, Failed> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let region = region
            .map(str::to_owned)
            .or_else(|| variable("AWS_REGION"))
            .or_else(|| variable("AWS_DEFAULT_REGION"));
        let region = region.filter(|region| region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
        let region = region.ok_or_else(|| Failed::usage("no region: set AWS_REGION, or give --region"))?;
        let endpoint = variable("AWS_ENDPOINT_URL").map(|url| crate::api::base(&url)).transpose()?;
        if endpoint.as_ref().is_some_and(|url| url.scheme() == "http" && !is_loopback(url)) {
            return Err(Failed::usage("AWS_ENDPOINT_URL is plain http to another machine: use https"));
        }
        Ok(Aws { credentials: Credentials::of_environment().await?, region, endpoint })
    }

    /// One action of SQS.
    pub(crate) async fn sqs(&self, action: &str, asked: &Value) -> Result<Value, Failed> {
        let target = format!("AmazonSQS.{action}");
        let headers = [("content-type", JSON_1_0), ("x-amz-target", target.as_str())];
        let answer = self.post("sqs", "/", &headers, asked.to_string().into_bytes()).await?;
        let body = read(answer, ANSWER_MAX_BYTES).await.map_err(|error| unreached("SQS", error))?;
        Ok(serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Invokes a function with an event, and waits for its end.
    pub(crate) async fn invoke(&self, function: &str, event: &Value) -> Result<Invoked, Failed> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if function.is_empty() || !function.bytes().all(is_plain) {
            return Err(Failed::usage("a function is given by its name"));
        }
        let path = format!("/2015-03-31/functions/{function}/invocations");
        let headers = [("content-type", "application/json"), ("x-amz-invocation-type", "RequestResponse")];
        let answer = self.post("lambda", &path, &headers, event.to_string().into_bytes()).await?;
        let failed = answer.headers().contains_key("x-amz-function-error");
        let body = read(answer, ANSWER_MAX_BYTES).await.map_err(|error| unreached("Lambda", error))?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if !failed {
            return Ok(Invoked::Done);
        }
        let told = body["errorMessage"].as_str().unwrap_or("it failed and does not say how; see its log");
        Ok(Invoked::Failed(plain(told)))
    }

    async fn post(
        &self,
        service: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Response, Failed> {
        let url = match &self.endpoint {
            Some(endpoint) => endpoint.join(path),
            None => Url::parse(&format!("https://{service}.{}.amazonaws.com{path}", self.region)),
        };
        let url = url.map_err(|error| Failed::usage(format!("no address for {service}: {error}")))?;
        let unsigned =
            Unsigned { method: Method::POST, url: &url, headers, body: &body, service, region: &self.region };
        let mut request = client(&url)?.post(url.clone()).timeout(ANSWER_TIMEOUT);
        for (name, value) in authorization(&unsigned, &self.credentials, Timestamp::now()) {
            request = request.header(name, value);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let place = format!("AWS ({service}, {})", self.region);
        let answer = request.body(body).send().await.map_err(|error| unreached(&place, error))?;
        if answer.status().is_success() { Ok(answer) } else { Err(refused(&place, answer).await) }
    }
}

/// AWS's own error: its code and its text.
async fn refused(place: &str, answer: Response) -> Failed {
    let status = answer.status();
    let body: Value =
        serde_json::from_slice(&read(answer, ANSWER_MAX_BYTES).await.unwrap_or_default()).unwrap_or_default();
    let text =
        |names: [&str; 2]| names.iter().find_map(|name| body[*name].as_str()).unwrap_or_default().to_owned();
    let (code, message) = (text(["__type", "code"]), text(["message", "Message"]));
    let code = code.rsplit('#').next().unwrap_or_default().to_owned();
    let is_denied =
        status == StatusCode::FORBIDDEN || code.contains("AccessDenied") || code.contains("Token");
    let exit = match status {
        _ if is_denied => NOT_ALLOWED,
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => UNREACHABLE,
        _ => REFUSED,
    };
    Failed::new(exit, plain(&format!("{place} answers {status} {code} {message}")))
}
