//! A payment service, as small as it can be: it charges three banks a hundred times each and tells how many of the calls were
//! sent. Before each call it asks the bank's breaker; a refused call is not sent.
//!
//! Run it beside `cutout dev --redis auto`: `cargo run --example charge`. With `CUTOUT_REDIS_URL` it follows another store.

use cutout::Client;
use std::error::Error;
use std::io::Write;

/// The banks' codes, as the monitor's groups name them.
const BANKS: [&str; 3] = ["0001", "0002", "0003"];
const CHARGES: usize = 100;
/// Where `cutout dev --redis auto` keeps flags.
const REDIS_URL: &str = "redis://127.0.0.1:6390";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("CUTOUT_REDIS_URL").unwrap_or_else(|_| REDIS_URL.to_owned());
    let client = Client::builder(url).breaker("bank-charge").connect().await?;
    for code in BANKS {
        let bank = client.breaker("bank-charge", &[code])?;
        let (mut sent, mut told) = (0, String::new());
        for _ in 0..CHARGES {
            match bank.admit() {
                // Here a payment service would call its bank. The permit lasts as long as the call.
                Ok(_permit) => sent += 1,
                Err(refused) => told = format!(": {refused}"),
            }
        }
        writeln!(std::io::stdout(), "bank {code}: {sent} of {CHARGES} charges sent{told}")?;
    }
    Ok(())
}
