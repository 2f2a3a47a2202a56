//! A payment service with a second way to its banks, and with a book for what neither way takes.
//!
//! While a bank's own breaker is open its payments go through an aggregator, which has a breaker of its own. While that is open too, they
//! are written down to be charged later.
//!
//! Run it: `cargo run -p cutout-tests --example payments_failover`

mod stage;

use cutout::{CallError, Failover, Lane, Upstream};
use stage::{BoxError, Paid, Stage};

#[derive(Debug, thiserror::Error)]
#[error("the vendor has failed")]
struct VendorFailed;

/// One charge. Yields what it was, if the vendor took it.
async fn post(http: reqwest::Client, url: String, taken: Paid) -> Result<Paid, VendorFailed> {
    let answer = http.post(url).send().await.map_err(|_| VendorFailed)?;
    if answer.status().is_success() { Ok(taken) } else { Err(VendorFailed) }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let stage = Stage::set().await?;
    let banks = Upstream::builder("bank-charge").class("charge").build(&stage.client)?;
    let aggregator = Upstream::builder("aggregator").build(&stage.client)?.lane::<&str>(&[]);
    let http = reqwest::Client::builder().build()?;
    let charge = async |bank: &str| {
        let ways = Failover::new(banks.lane(&[bank]), aggregator.clone());
        let send = |lane: &Lane| {
            let (path, taken) = match lane.breaker().id().name() {
                "aggregator" => ("aggregator", Paid::Elsewhere),
                _ => (bank, Paid::Charged),
            };
            post(http.clone(), format!("{}/{path}", stage.banks), taken)
        };
        let write_down = |error: &CallError<VendorFailed>| error.is_not_sent().then_some(Paid::Later);
        let paid = ways.first().fall_back(ways.call(send).await, write_down);
        paid.unwrap_or(Paid::Failed)
    };
    stage.play(charge, Paid::Elsewhere, Some(Paid::Later)).await
}
