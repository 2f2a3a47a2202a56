//! Secrets that AWS keeps: read late and seldom, rotated under traffic, and never told.

use crate::bootstrap::killed;
use crate::fixtures::{self, constructed};
use crate::world::{AMPLE, World, ok, steps};
use cutout_lambda::datadog::Key;
use cutout_lambda::guard::SystemResolver;
use cutout_lambda::secrets::{Extension, READ_AGAIN_AFTER, Reference, SECRET_AGE_MAX, SecretSetting, Source};
use cutout_lambda::{Function, Settings};
use cutout_tests::binaries::binary;
use cutout_tests::canary;
use cutout_tests::runtime_api::RuntimeApi;
use cutout_tests::secret_store::SecretStore;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

const API_KEY_ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:cutout/dd-api-key-AbCdEf";
const APP_KEY_ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:cutout/dd-app-key-AbCdEf";
/// With what means something else in a query.
const SIGNING_NAME: &str = "/cutout/signing+secrets";

/// A world whose function has its secrets kept by AWS, and whose Datadog wants the right keys.
struct Keeping {
    world: World,
    store: SecretStore,
}

impl Keeping {
    async fn start() -> Keeping {
        let (world, store) = (World::start().await, SecretStore::start().await);
        let keeping = Keeping { world, store };
        keeping.store.keep(API_KEY_ARN, canary::DD_API_KEY);
        // As a file or an editor leaves it.
        keeping.store.keep(APP_KEY_ARN, &format!("{}\n", canary::DD_APP_KEY));
        keeping.store.keep(SIGNING_NAME, canary::SIGNING_SECRET);
        keeping.demand(canary::DD_API_KEY, canary::DD_APP_KEY);
        keeping
    }

    fn demand(&self, api_key: &str, app_key: &str) {
        self.world.datadog.demand("dd-api-key", api_key);
        self.world.datadog.demand("dd-application-key", app_key);
    }

    fn variables(&self) -> BTreeMap<String, String> {
        let mut variables = self.world.variables();
        for name in ["DD_API_KEY", "DD_APP_KEY", "CUTOUT_SIGNING_SECRETS"] {
            variables.remove(name);
        }
        variables.extend(self.store.variables());
        let references = [
            ("DD_API_KEY_SECRET_ARN", API_KEY_ARN),
            ("DD_APP_KEY_SECRET_ARN", APP_KEY_ARN),
            ("CUTOUT_SIGNING_SECRETS_SSM_NAME", SIGNING_NAME),
        ];
        variables.extend(references.map(|(name, value)| (name.to_owned(), value.to_owned())));
        variables
    }

    fn function(&self) -> Function {
        Function::new(Settings::read(self.variables()).unwrap(), Arc::new(SystemResolver)).unwrap()
    }

    fn alert(&self) -> Value {
        self.world.here(&fixtures::read(&constructed("sns"), "text_alert"))
    }
}

fn no_directive() -> Value {
    json!({"Records": [{"Sns": {"Message": "no directive"}}]})
}

#[tokio::test]
async fn a_secret_is_read_when_it_is_first_needed_and_then_known() {
    let (keeping, api) = (Keeping::start().await, RuntimeApi::start().await);
    let mut command = api.command(&binary("bootstrap"));
    let child = command.envs(keeping.variables()).stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(api.invoke(no_directive(), AMPLE).await, Ok(Value::Null));
    assert_eq!(keeping.store.reads(), [""; 0]);
    for _ in 0..3 {
        assert_eq!(api.invoke(keeping.alert(), AMPLE).await, Ok(Value::Null));
        let mut reads = keeping.store.reads();
        reads.sort();
        assert_eq!(reads, [SIGNING_NAME, API_KEY_ARN, APP_KEY_ARN]);
    }
    let callbacks = keeping.world.callbacks();
    assert!(callbacks.len() == 3 && callbacks.iter().all(|callback| callback.report.is_some()));
    assert!(!format!("{:?}", killed(child).await).contains("canary"));
}

#[tokio::test]
async fn keys_are_rotated_while_traffic_flows_and_nothing_is_lost_or_told() {
    let (keeping, api) = (Keeping::start().await, RuntimeApi::start().await);
    keeping.world.datadog.answer("/api/v1/monitor", [ok("[]")]);
    let mut command = api.command(&binary("bootstrap"));
    let child =
        command.envs(keeping.variables()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    for round in 0..30 {
        match round {
            10 => keeping.store.keep(API_KEY_ARN, canary::NEXT_DD_API_KEY),
            12 => keeping.demand(canary::NEXT_DD_API_KEY, canary::DD_APP_KEY),
            20 => {
                keeping.store.keep(APP_KEY_ARN, canary::NEXT_DD_APP_KEY);
                keeping.demand(canary::NEXT_DD_API_KEY, canary::NEXT_DD_APP_KEY);
                // The scheduled run comes first upon the new key.
                assert_eq!(api.invoke(json!({"cutout": "reconcile"}), AMPLE).await, Ok(Value::Null));
            }
            _ => {}
        }
        assert_eq!(api.invoke(keeping.alert(), AMPLE).await, Ok(Value::Null), "round {round}");
    }
    let callbacks = keeping.world.callbacks();
    assert_eq!(callbacks.len(), 30);
    assert!(callbacks.iter().all(|callback| callback.report.is_some()));
    // Three at first, and both keys at each of the two rotations.
    assert_eq!(keeping.store.reads().len(), 7, "{:?}", keeping.store.reads());
    let log = killed(child).await;
    assert!(log.iter().any(|line| line["message"] == "Datadog refused the keys: reading with new ones"));
    assert!(!format!("{log:?}").contains("canary"), "{log:?}");
}

#[tokio::test]
async fn keys_that_are_refused_and_not_rotated_are_tried_once() {
    let keeping = Keeping::start().await;
    keeping.demand("of another organisation", canary::DD_APP_KEY);
    let function = keeping.function();
    for invocations in 1..=2 {
        let outcome = function.handle(keeping.alert(), Instant::now() + AMPLE).await;
        assert_eq!(steps(outcome), ["monitor"]);
        assert_eq!(keeping.world.monitor_reads(), invocations);
        // Known from the first need on, and looked at again by each invocation that is refused.
        assert_eq!(keeping.store.reads().len(), 3 + 2 * invocations, "{:?}", keeping.store.reads());
    }
    // The hint needs no key of Datadog.
    assert!(keeping.world.callbacks().iter().all(|callback| callback.report.is_none()));
}

#[tokio::test]
async fn without_datadogs_keys_the_hint_goes_out_alone_and_without_a_signing_secret_nothing_does() {
    let keeping = Keeping::start().await;
    keeping.store.keep(APP_KEY_ARN, "{\"DD_APP_KEY\": \"canary-secret\"}");
    let error = keeping.function().handle(keeping.alert(), Instant::now() + AMPLE).await.unwrap_err();
    let told = "reading DD_APP_KEY from the secret arn:aws:secretsmanager:eu-west-1:123456789012:secret:cutout/dd-app-key-AbCdEf failed: what is kept there is a JSON object";
    assert!(error.to_string().contains(told) && !error.is_retryable(), "{error}");
    assert!(!error.to_string().contains("canary"), "{error}");
    assert_eq!(keeping.world.callbacks().len(), 1);
    assert!(keeping.world.callbacks()[0].report.is_none());

    keeping.store.answer_only(Some(400));
    let error = keeping.function().handle(keeping.alert(), Instant::now() + AMPLE).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("reading CUTOUT_SIGNING_SECRETS from the parameter /cutout/signing+secrets"),
        "{error}"
    );
    assert!(
        error.to_string().contains("status 400: check that it exists") && error.is_retryable(),
        "{error}"
    );
    let run = keeping.function().handle(json!({"cutout": "reconcile"}), Instant::now() + AMPLE).await;
    assert_eq!(steps(run), ["list", "secret"]);
    assert_eq!(keeping.world.callbacks().len(), 1);
}

#[tokio::test]
async fn a_function_without_the_extension_says_what_to_add() {
    let keeping = Keeping::start().await;
    let mut variables = keeping.variables();
    // Nobody listens there.
    variables.insert("PARAMETERS_SECRETS_EXTENSION_HTTP_PORT".to_owned(), "1".to_owned());
    let api = RuntimeApi::start().await;
    let mut command = api.command(&binary("bootstrap"));
    let child = command.envs(variables).stdout(Stdio::piped()).spawn().unwrap();
    let error = api.invoke(keeping.alert(), AMPLE).await.unwrap_err();
    assert!(error["errorMessage"].as_str().unwrap().contains("add its layer to the function"), "{error}");
    let log = killed(child).await;
    assert!(log.iter().any(|line| line["step"] == "secret" && line["retryable"] == true), "{log:?}");
    assert!(!format!("{log:?}{error}").contains("canary"), "{log:?}");
}

#[tokio::test]
async fn an_old_secret_is_read_anew_and_stays_in_use_while_the_store_is_away() {
    let keeping = Keeping::start().await;
    let extension = Settings::read(keeping.variables()).unwrap().extension.unwrap();
    let extension = Some(Arc::new(Extension::new(extension).unwrap()));
    let source = Source::Kept(Reference::SecretsManager(API_KEY_ARN.to_owned()));
    let secret = SecretSetting::<Key>::new("DD_API_KEY", source, extension);
    let key = |text: &str| Key::new(text).unwrap();
    let (start, instant) = (Instant::now(), Duration::from_nanos(1));
    let at =
        async |since: Duration| secret.current(start + since, Instant::now() + AMPLE).await.unwrap().value;

    assert_eq!(at(Duration::ZERO).await, key(canary::DD_API_KEY));
    keeping.store.keep(API_KEY_ARN, canary::NEXT_DD_API_KEY);
    assert_eq!(at(SECRET_AGE_MAX - instant).await, key(canary::DD_API_KEY));
    keeping.store.answer_only(Some(503));
    assert_eq!(at(SECRET_AGE_MAX).await, key(canary::DD_API_KEY));
    keeping.store.answer_only(None);
    assert_eq!(at(SECRET_AGE_MAX + READ_AGAIN_AFTER - instant).await, key(canary::DD_API_KEY));
    assert_eq!(at(SECRET_AGE_MAX + READ_AGAIN_AFTER).await, key(canary::NEXT_DD_API_KEY));
    assert_eq!(keeping.store.reads().len(), 2);
}
