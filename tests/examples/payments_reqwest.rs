//! A payment service that charges several banks through reqwest.
//!
//! Run it: `cargo run -p cutout-tests --example payments_reqwest`

mod stage;

use cutout::{Bulkhead, LocalBreaker, Upstream, Window};
use reqwest_middleware::ClientWithMiddleware;
use stage::{BoxError, Paid, Stage};
use std::time::Duration;

/// One HTTP client for all banks: each request tells its bank in a header, and goes by that bank's breaker.
fn http_client(banks: &Upstream) -> Result<ClientWithMiddleware, BoxError> {
    let protection = cutout::reqwest::protect(banks).key(|asked| asked.header("x-bank-code"));
    Ok(protection.client(reqwest::Client::builder())?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let stage = Stage::set().await?;
    let banks = Upstream::builder("bank-charge")
        .class("charge")
        .request_timeout(Duration::from_secs(5))
        .bulkhead(Bulkhead { max_concurrent: 50, max_waiting: 10 })
        // The second line, for the minute before the monitor fires. It leaves the monitor's story alone here: only a row of 1,000 trips it.
        .local_breaker(LocalBreaker::over(Window::Time(Duration::from_secs(10))).consecutive_failures(1_000))
        .build(&stage.client)?;
    let http = http_client(&banks)?;
    let charge = async |bank: &str| {
        let sent = http.post(format!("{}/{bank}", stage.banks)).header("x-bank-code", bank).send().await;
        match sent {
            Ok(answer) if answer.status().is_success() => Paid::Charged,
            Err(error) if cutout::reqwest::told(&error).is_some_and(cutout::CallError::is_not_sent) => {
                Paid::Refused
            }
            Ok(_) | Err(_) => Paid::Failed,
        }
    };
    stage.play(charge, Paid::Refused, None).await
}
