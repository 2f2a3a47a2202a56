//! Keys of another number of values than their breaker is declared with: nothing would ever open them, so they are told.

use crate::counted::Counted;
use crate::world::World;
use cutout::{FakeClient, Upstream};
use cutout_core::{Act, Forced, Policy};

const UNDECLARED: &str = "cutout_client_undeclared_total{breaker=bank-charge}";

#[tokio::test(start_paused = true)]
async fn a_handle_and_an_upstream_by_other_tags_are_errors() {
    let world = World::new(Policy::default()).await;
    for key in [&[][..], &["0001", "eu"]] {
        let unknown = world.client.breaker("bank-charge", key).unwrap_err();
        assert_eq!(unknown.key_tags(), Some(&["bank_code".to_owned()][..]));
        let told = format!(
            "has one value for each of [`bank_code`]; with {} it is a breaker that nothing",
            key.len()
        );
        assert!(unknown.to_string().contains(&told), "{unknown}");
    }
    let tags = |tags: &[&str]| {
        let built = Upstream::builder("bank-charge").key_tags(tags.to_vec()).build(&world.client);
        built.map(drop).map_err(|mistakes| mistakes.to_string())
    };
    assert_eq!((tags(&["bank_code"]), tags(&[])), (Ok(()), Ok(())));
    let told = tags(&["network"]).unwrap_err();
    assert!(told.contains(r#"key_tags: ["network"] are not the first of the tags"#), "{told}");
    assert!(tags(&["bank_code", "network"]).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_comes_with_a_call_flows_and_is_told_once() {
    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let mut world = World::new(Policy::default()).await;
    let family = world.client.family("bank-charge").unwrap();
    assert!(family.admit(&["0001"]).is_ok());
    assert_eq!(counted.get(UNDECLARED), 0.0);
    for _ in 0..3 {
        assert!(family.admit::<&str>(&[]).is_ok() && family.admit(&["0001", "eu"]).is_ok());
    }
    assert_eq!(counted.get(UNDECLARED), 1.0);
    world.ordered(Act::Force { state: Forced::Open, until_ms: None }).await;
    assert!(family.admit(&["0001"]).is_err() && family.admit::<&str>(&[]).is_ok());
    assert!(family.breaker(&["0001", "eu"]).admit().is_ok());

    let counted = Counted::default();
    let _counting = metrics::set_default_local_recorder(&counted);
    let world = World::new(Policy::default()).await;
    let banks = Upstream::builder("bank-charge").build(&world.client).unwrap();
    for key in [&[][..], &["0001", "eu"], &["0002", "eu"]] {
        let lane = banks.lane(key);
        assert_eq!(lane.breaker().id().key_len(), key.len());
        lane.call(|| async { Ok::<_, ()>(()) }).await.unwrap();
    }
    assert_eq!(counted.get(UNDECLARED), 1.0);
}

#[test]
fn a_fake_takes_every_key_unless_it_is_told_the_tags() {
    let fake = FakeClient::new(["bank-charge", "rates"]);
    assert!(fake.client().breaker::<&str>("bank-charge", &[]).is_ok());
    assert!(fake.open("bank-charge", &["0001", "eu"]).is_ok());
    let fake = fake.keyed("bank-charge", ["bank_code"]);
    assert!(fake.client().breaker::<&str>("bank-charge", &[]).is_err());
    assert!(
        fake.open("bank-charge", &["0001", "eu"]).is_err() && fake.open("bank-charge", &["0001"]).is_ok()
    );
    assert!(fake.open("rates", &["EUR", "USD"]).is_ok(), "of others nothing is said");
}
