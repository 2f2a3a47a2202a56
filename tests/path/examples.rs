//! The examples with a store of somebody else's: whoever owns the breakers there opens them.

use cutout::State;
use cutout_tests::binaries::example;
use cutout_tests::flips::{Flipper, KEY};
use cutout_tests::process::Program;
use cutout_tests::redis::RedisServer;

/// Each example, and what becomes of a payment while its bank's breaker is open.
const EXAMPLES: [(&str, &str); 3] =
    [("payments_reqwest", "Refused"), ("payments_tower", "Refused"), ("payments_failover", "Elsewhere")];

#[tokio::test]
async fn each_follows_the_store_that_it_is_given() {
    let redis = RedisServer::start();
    let mut flipper = Flipper::new(&redis.url()).await;
    for (name, refused) in EXAMPLES {
        flipper.set(State::Open).await;
        let program = Program::start(Program::command(&example(name), &[("CUTOUT_REDIS_URL", &redis.url())]));
        // A line tells a second: `a second  0001 57 Refused · 0002 57 Charged`.
        let told = |of_this: &str| {
            program.wait_for(of_this, 0, |line| {
                let ended = |bank: &str, how: &str| {
                    let parts = line.as_str().into_iter().flat_map(|line| line.split(" · "));
                    let mut of_bank = parts.filter(|part| part.contains(&format!("{bank} ")));
                    of_bank.next().is_some_and(|part| part.ends_with(how)) && of_bank.next().is_none()
                };
                (ended(KEY, of_this) && ended("0002", "Charged")).then_some(())
            });
        };
        told(refused);
        flipper.set(State::Closed).await;
        told("Charged");
    }
}
