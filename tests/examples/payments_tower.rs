//! A payment service that charges several banks through a tower stack.
//!
//! Run it: `cargo run -p cutout-tests --example payments_tower`

mod stage;

use cutout::Upstream;
use stage::{BoxError, Paid, Stage};
use tower::{ServiceBuilder, ServiceExt, service_fn};

/// What the stack is asked for: its type is the team's own.
struct Charge {
    bank: String,
    url: String,
}

/// The bank said no, or nothing.
#[derive(Debug, thiserror::Error)]
#[error("the bank has failed")]
struct BankFailed;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let stage = Stage::set().await?;
    let banks = Upstream::builder("bank-charge").class("charge").build(&stage.client)?;
    let http = reqwest::Client::builder().build()?;
    let send = service_fn(move |charge: Charge| {
        let http = http.clone();
        async move {
            let answer = http.post(charge.url).send().await?;
            if answer.status().is_success() { Ok(()) } else { Err::<(), BoxError>(BankFailed.into()) }
        }
    });
    let service = ServiceBuilder::new()
        .layer(cutout::tower::protect(&banks).key(|charge: &Charge| Some(&charge.bank)))
        .service(send);
    let charge = async |bank: &str| {
        let charge = Charge { bank: bank.to_owned(), url: format!("{}/{bank}", stage.banks) };
        match service.clone().oneshot(charge).await {
            Ok(()) => Paid::Charged,
            Err(error) if cutout::tower::told(&error).is_some_and(cutout::CallError::is_not_sent) => {
                Paid::Refused
            }
            Err(_) => Paid::Failed,
        }
    };
    stage.play(charge, Paid::Refused, None).await
}
