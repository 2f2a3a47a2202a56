//! A payment service in a process of its own, as small as it can be: it follows a store, asks its breakers all the time,
//! and prints a line of JSON whenever an answer changes. Ends when its standard input does.
//!
//! Usage: caller URL NAME KEY [KEY …]     one breaker NAME/KEY each

use cutout::{Breaker, Client};
use serde_json::json;
use std::error::Error;
use std::io::{Read, Write};
use std::time::Duration;

const ASK_EVERY: Duration = Duration::from_millis(5);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (url, name) = arguments.next().zip(arguments.next()).ok_or("usage: caller URL NAME KEY [KEY …]")?;
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let client = Client::builder(url).breaker(&name).connect().await?;
    let breakers: Vec<Breaker> =
        arguments.map(|key| client.breaker(&name, &[key])).collect::<Result<_, _>>()?;
    let mut told = vec![None; breakers.len()];
    loop {
        for (breaker, told) in breakers.iter().zip(&mut told) {
            let answer = (breaker.state(), breaker.admit().is_ok(), client.health().connected);
            if told.replace(answer) != Some(answer) {
                let (state, admitted, connected) = answer;
                let line = json!({"breaker": breaker.id(), "state": state, "admitted": admitted, "connected": connected});
                writeln!(std::io::stdout(), "{line}")?;
            }
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}
