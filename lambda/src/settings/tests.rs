//! The function's environment: whole, and with mistakes, all told at once.

use super::*;

const SECRET: &str = "whsec_Y2FuYXJ5LXNlY3JldC1zaWduaW5nLWtleS1udW1iZXItMQ==";
const OTHER: &str = "whsec_Y2FuYXJ5LXNlY3JldC1zaWduaW5nLWtleS1udW1iZXItMg==";

/// A complete environment with some variables put in; an empty value takes one out.
fn read(changes: &[(&str, &str)]) -> Result<Settings, Problems> {
    let complete = [
        (DD_API_KEY, "canary-secret-dd-api-key"),
        (DD_APP_KEY, "canary-secret-dd-app-key"),
        (SIGNING_SECRETS, SECRET),
        (CALLBACK_ALLOW, "*.svc.example.com"),
        ("PATH", "/usr/bin"),
        ("DD_SERVICE", "of another program"),
    ];
    let variables = complete.iter().chain(changes);
    Settings::read(
        variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<BTreeMap<_, _>>(),
    )
}

#[test]
fn what_must_be_set_is_enough() {
    let settings = read(&[]).unwrap();
    assert_eq!(settings.datadog.site, "datadoghq.com".parse().unwrap());
    assert!(settings.datadog.url.is_none());
    assert_eq!(settings.callback_timeout, CALLBACK_TIMEOUT_DEFAULT);
    assert_eq!(settings.reread_after, REREAD_AFTER_DEFAULT);
    assert_eq!(settings.reconcile_tag, "cutout");
    assert!(!settings.guard.allow_http && settings.guard.allow_cidrs.is_empty());
    assert_eq!(settings.guard.allow, ["*.svc.example.com".parse().unwrap()]);
}

#[test]
fn a_told_default_is_the_default() {
    let without = format!("{:?}", read(&[]).unwrap());
    let told = VARIABLES.iter().filter_map(|variable| Some((variable.name, variable.default_value()?)));
    for (name, default) in told.clone() {
        assert_eq!(format!("{:?}", read(&[(name, default)]).unwrap()), without, "{name}");
    }
    assert!(told.count() > 3);
}

#[test]
fn everything_can_be_set() {
    let settings = read(&[
        (DD_SITE, "datadoghq.eu"),
        (DATADOG_URL, "http://127.0.0.1:9"),
        (CALLBACK_ALLOW, "a.example, b.example:8443,"),
        (CALLBACK_ALLOW_CIDR, "10.0.0.0/8,fd00::/8, 192.168.1.2"),
        (CALLBACK_ALLOW_HTTP, "true"),
        (CALLBACK_TIMEOUT, " 1500ms\n"),
        (REREAD_AFTER, "0s"),
        (RECONCILE_TAG, "breaker-managed"),
    ])
    .unwrap();
    assert_eq!(settings.datadog.site, "datadoghq.eu".parse().unwrap());
    assert_eq!(settings.datadog.url.unwrap().as_str(), "http://127.0.0.1:9/");
    assert_eq!(settings.guard.allow, ["a.example".parse().unwrap(), "b.example:8443".parse().unwrap()]);
    assert_eq!(settings.guard.allow_cidrs[2], "192.168.1.2/32".parse().unwrap());
    assert!(settings.guard.allow_http);
    assert_eq!(settings.callback_timeout, Duration::from_millis(1500));
    assert_eq!(settings.reread_after, Duration::ZERO);
    assert_eq!(settings.reconcile_tag, "breaker-managed");
}

#[test]
fn each_mistake_names_its_variable_and_what_to_do() {
    for (name, value, told) in [
        (DD_SITE, "app.datadoghq.com", "DD_SITE is not a site of Datadog; it is one of datadoghq.com"),
        (DD_API_KEY, "", "DD_API_KEY is not set"),
        (DD_APP_KEY, " ", "DD_APP_KEY is not set"),
        (DD_API_KEY, "a\u{7}b", "DD_API_KEY holds a character"),
        (DATADOG_URL, "datadog", "CUTOUT_DATADOG_URL is not a URL"),
        (DATADOG_URL, "http://datadog.example", "CUTOUT_DATADOG_URL must start with https://"),
        (DATADOG_URL, "https://user:pass@datadog.example", "CUTOUT_DATADOG_URL must have no user"),
        (SIGNING_SECRETS, "", "CUTOUT_SIGNING_SECRETS is not set"),
        (SIGNING_SECRETS, "secret", "CUTOUT_SIGNING_SECRETS entry 1: a signing secret starts with whsec_"),
        (CALLBACK_ALLOW, "", "CUTOUT_CALLBACK_ALLOW is not set"),
        (CALLBACK_ALLOW, "a.example,https://b.example", "CUTOUT_CALLBACK_ALLOW: \"https://b.example\""),
        (CALLBACK_ALLOW_CIDR, "10.0.0.0/33", "CUTOUT_CALLBACK_ALLOW_CIDR: \"10.0.0.0/33\" is not a range"),
        (CALLBACK_ALLOW_HTTP, "yes", "CUTOUT_CALLBACK_ALLOW_HTTP must be true or false"),
        (CALLBACK_TIMEOUT, "10", "CUTOUT_CALLBACK_TIMEOUT must be a time from 100ms to 60s"),
        (CALLBACK_TIMEOUT, "-10s", "CUTOUT_CALLBACK_TIMEOUT must be"),
        (CALLBACK_TIMEOUT, "2m", "CUTOUT_CALLBACK_TIMEOUT must be"),
        (REREAD_AFTER, "31s", "CUTOUT_REREAD_AFTER must be a time from 0ns to 30s"),
        (RECONCILE_TAG, "team:bank", "CUTOUT_RECONCILE_TAG must be one bare tag"),
        (
            "CUTOUT_CALLBACK_ALOW",
            "x",
            "CUTOUT_CALLBACK_ALOW is not a setting of this function: is it CUTOUT_CALLBACK_ALLOW?",
        ),
        ("CUTOUT_ZZZ", "x", "CUTOUT_ZZZ is not a setting of this function: remove it"),
    ] {
        let problems = read(&[(name, value)]).expect_err(told);
        assert_eq!(problems.iter().count(), 1, "{problems}");
        assert!(problems.to_string().contains(told), "{told:?} is not in {problems}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let problems =
        Settings::read([("CUTOUT_CALLBACK_ALLOW_HTTP".to_owned(), "maybe".to_owned())]).unwrap_err();
    let told: Vec<_> = problems.iter().map(|text| text.split_whitespace().next().unwrap()).collect();
    assert_eq!(told, [DD_API_KEY, DD_APP_KEY, SIGNING_SECRETS, CALLBACK_ALLOW, CALLBACK_ALLOW_HTTP]);
}

#[test]
fn a_host_uses_its_own_secrets_if_it_has_any_and_else_the_general_ones() {
    let (secret, other) = (SECRET.parse().unwrap(), OTHER.parse().unwrap());
    let signing = |text: &str| match read(&[(SIGNING_SECRETS, text)]).unwrap().signing {
        Source::Given(secrets) => secrets,
        Source::Kept(reference) => panic!("{reference}"),
    };
    let of_one_host = signing(&format!("a.example={SECRET}"));
    let signing = signing(&format!("{SECRET}, A.example={OTHER},a.example = {SECRET}"));
    assert_eq!(signing.of("a.example"), [other, secret]);
    assert_eq!(signing.of("b.example"), [SECRET.parse().unwrap()]);
    assert!(of_one_host.of("b.example").is_empty());
}

#[test]
fn mistakes_in_secrets_are_told_by_position_and_never_by_text() {
    let many = vec![SECRET; 17].join(",");
    for (text, told) in [
        (format!("{SECRET},canary-secret"), "entry 2: a signing secret starts with whsec_"),
        ("a.example=canary-secret".to_owned(), "entry 1: a signing secret starts with whsec_"),
        ("whsec_canary".to_owned(), "entry 1: a signing secret"),
        (format!("canary secret={SECRET}"), "entry 1: what stands before = is not a host"),
        (many, "more than 16 secrets"),
    ] {
        let problems = read(&[(SIGNING_SECRETS, &text)]).unwrap_err().to_string();
        assert!(problems.contains(told), "{told:?} is not in {problems}");
        assert!(!problems.contains("canary"), "{problems}");
    }
}

const ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:cutout/dd-api-key-AbCdEf";
const TOKEN: &str = "canary-secret-session-token";

#[test]
fn a_secret_may_be_named_instead_of_given() {
    let settings = read(&[
        (DD_API_KEY, ""),
        ("DD_API_KEY_SECRET_ARN", ARN),
        (SIGNING_SECRETS, ""),
        ("CUTOUT_SIGNING_SECRETS_SSM_NAME", "/cutout/signing"),
        (SESSION_TOKEN, TOKEN),
    ])
    .unwrap();
    assert!(matches!(&settings.datadog.api_key, Source::Kept(Reference::SecretsManager(arn)) if arn == ARN));
    assert!(
        matches!(&settings.signing, Source::Kept(Reference::ParameterStore(name)) if name == "/cutout/signing")
    );
    assert!(matches!(settings.datadog.app_key, Source::Given(_)));
    assert_eq!(settings.extension.unwrap().port, PORT_DEFAULT);
    assert!(read(&[]).unwrap().extension.is_none());
}

#[test]
fn mistakes_in_names_of_secrets_are_told_without_repeating_them() {
    let arn = ("DD_API_KEY_SECRET_ARN", ARN);
    for (changes, told) in [
        (
            vec![(DD_API_KEY, ""), arn],
            "AWS_SESSION_TOKEN is not set, which AWS Lambda sets: DD_API_KEY_SECRET_ARN",
        ),
        (vec![(SESSION_TOKEN, TOKEN), arn], "exclude each other"),
        (
            vec![(SESSION_TOKEN, TOKEN), (DD_API_KEY, ""), arn, ("DD_API_KEY_SSM_NAME", "/x")],
            "DD_API_KEY, DD_API_KEY_SECRET_ARN and DD_API_KEY_SSM_NAME exclude each other",
        ),
        (
            vec![(SESSION_TOKEN, TOKEN), (DD_API_KEY, ""), ("DD_API_KEY_SECRET_ARN", "canary-secret")],
            "DD_API_KEY_SECRET_ARN must be the ARN of a secret",
        ),
        (
            vec![(SESSION_TOKEN, TOKEN), (DD_API_KEY, ""), ("DD_API_KEY_SSM_NAME", "canary-secret")],
            "DD_API_KEY_SSM_NAME must be the full name of a parameter",
        ),
        (
            vec![(SESSION_TOKEN, TOKEN), (DD_API_KEY, ""), arn, (EXTENSION_PORT, "no")],
            "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT",
        ),
        (vec![(DD_API_KEY, r#"{"DD_API_KEY": "canary-secret"}"#)], "DD_API_KEY is a JSON object"),
    ] {
        let problems = read(&changes).expect_err(told);
        assert_eq!(problems.iter().count(), 1, "{problems}");
        assert!(problems.to_string().contains(told), "{told:?} is not in {problems}");
        assert!(!problems.to_string().contains("canary"), "{problems}");
    }
}

#[test]
fn nothing_secret_is_in_debug() {
    let shown = format!("{:?}", read(&[]).unwrap());
    assert!(!shown.contains("canary") && !shown.contains("Y2Fu"), "{shown}");
    let kept = read(&[(DD_API_KEY, ""), ("DD_API_KEY_SECRET_ARN", ARN), (SESSION_TOKEN, TOKEN)]).unwrap();
    let shown = format!("{kept:?}");
    assert!(shown.contains(ARN) && !shown.contains("canary"), "{shown}");
}

fn variables(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_part_is_read_by_itself() {
    let keys = [(DD_API_KEY, "canary-secret-a"), (DD_APP_KEY, "canary-secret-b"), (DD_SITE, "datadoghq.eu")];
    let read = datadog(variables(&keys)).unwrap();
    assert_eq!(read.site, "datadoghq.eu".parse().unwrap());
    let told = datadog(variables(&[(DD_API_KEY, "a\nb"), (DATADOG_URL, "ftp://x")])).unwrap_err().to_string();
    for mistake in ["DD_API_KEY holds", "DD_APP_KEY is not set", "CUTOUT_DATADOG_URL must"] {
        assert!(told.contains(mistake), "{told}");
    }
    assert!(!told.contains("DD_API_KEY is not set"), "{told}");

    assert!(guard(variables(&[(CALLBACK_ALLOW_HTTP, "true")])).unwrap().is_none());
    let read = guard(variables(&[(CALLBACK_ALLOW_CIDR, "10.0.0.0/8")])).unwrap().unwrap();
    assert!(read.allow.is_empty() && read.allow_cidrs.len() == 1);
    assert!(guard(variables(&[(CALLBACK_ALLOW, "https://x")])).is_err());

    assert_eq!(managed_tag(variables(&[])).unwrap(), "cutout");
    assert_eq!(managed_tag(variables(&[(RECONCILE_TAG, "cutout-eu")])).unwrap(), "cutout-eu");
    assert!(managed_tag(variables(&[(RECONCILE_TAG, "a:b")])).is_err());
}
