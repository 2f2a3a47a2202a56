//! What the settings are when nothing is said, and that every mistake is told.

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const FILE: &str = "[[breaker]]\nname = \"a\"\nmonitors = { ids = [1] }\n";

fn read(variables: &[(&str, &str)]) -> Result<Settings, Problems> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::read(&variables.collect(), &|path| match path.to_str() {
        Some("/etc/good.toml") => Ok(FILE.to_owned()),
        Some("/etc/bad.toml") => Ok(format!("{FILE}mode = \"dry-run\"\nramp = 5\n")),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    })
}

fn good() -> Vec<(&'static str, &'static str)> {
    vec![
        (REDIS_URL, "redis://user:redis-password@127.0.0.1:6379"),
        (BREAKERS, "/etc/good.toml"),
        (SIGNING_SECRETS, SECRET),
    ]
}

fn mistakes(variables: &[(&str, &str)]) -> Vec<String> {
    read(variables).expect_err("there is a mistake").iter().map(ToOwned::to_owned).collect()
}

#[test]
fn what_is_not_set_has_its_default_and_what_is_set_arrives() {
    let settings = read(&good()).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.parts.public_url, None);
    let mut all = good();
    all.extend([(LISTEN, "[::1]:9"), (PUBLIC_URL, "https://a.example/cb"), (SCOPE, "payments")]);
    all[2].1 = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw, whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let settings = read(&all).unwrap();
    assert_eq!(settings.listen.to_string(), "[::1]:9");
    assert_eq!(settings.parts.public_url.as_ref().map(Url::as_str), Some("https://a.example/cb"));
    assert_eq!((settings.parts.secrets.len(), settings.parts.breakers.declarations.len()), (2, 1));
}

#[test]
fn a_told_default_is_the_default() {
    // What only matters to operators is read with one.
    let hash = "0".repeat(64);
    let operators = format!("ann:{hash}:viewer");
    let mut without: Vec<(&str, &str)> = good();
    without.push((OPERATORS, &operators));
    // The store is opened anew each time, and says nothing of its settings.
    let shown = |settings: &Settings| {
        let Settings { listen, operators, metrics_listen, drain, .. } = settings;
        format!("{listen:?} {operators:?} {metrics_listen:?} {drain:?}")
    };
    let expected = shown(&read(&without).unwrap());
    let mut tried = 0;
    for variable in VARIABLES {
        let Some(default) = variable.default_value() else { continue };
        let mut with = without.clone();
        with.push((variable.name, default));
        assert_eq!(shown(&read(&with).unwrap()), expected, "{variable}");
        tried += 1;
    }
    assert!(tried > 4, "only {tried} defaults were tried");
    assert_eq!(variables_default(SCOPE), Some(SCOPE_DEFAULT));
    let kept = AuditKept::default();
    assert_eq!(variables_default(AUDIT_ENTRIES), Some(&*kept.entries.to_string()));
    assert_eq!(variables_default(AUDIT_AGE).and_then(|age| duration::parse_ms(age).ok()), Some(kept.age_ms));
}

fn variables_default(name: &str) -> Option<&'static str> {
    VARIABLES.iter().find(|variable| variable.name == name)?.default_value()
}

#[test]
fn every_mistake_is_told_at_once_those_of_the_file_too() {
    let told = mistakes(&[
        (LISTEN, "localhost:8080"),
        (BREAKERS, "/etc/bad.toml"),
        (SIGNING_SECRETS, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw,,nonsense"),
        (PUBLIC_URL, "service-a"),
        ("CUTOUT_REDIS_ULR", "redis://x"),
        (OPERATORS, "ann:hash:admin"),
        (OPERATORS_LISTEN, "8081"),
        (METRICS_LISTEN, "9464"),
        (DRAIN, "1h"),
        (AUDIT_AGE, "90d"),
        (AUDIT_ENTRIES, "10"),
    ]);
    let expected = [
        "CUTOUT_REDIS_ULR is not a setting: did you mean CUTOUT_REDIS_URL?",
        "CUTOUT_LISTEN is an IP address and a port",
        "CUTOUT_OPERATORS_LISTEN is an IP address and a port",
        "CUTOUT_OPERATORS, entry 1: the second part is the SHA-256",
        "CUTOUT_METRICS_LISTEN is an IP address and a port",
        "CUTOUT_DRAIN is from 0s to 300s, such as 5s, not \"1h\"",
        "CUTOUT_AUDIT_AGE is from 1h to 87600h, such as 2160h, not \"90d\"",
        "CUTOUT_AUDIT_ENTRIES is a number from 1000 to 10000000, not \"10\"",
        "/etc/bad.toml, line 4: mode is one of enforce, watch",
        "/etc/bad.toml, line 5: ramp is a text",
        "CUTOUT_SIGNING_SECRETS, entry 2: a signing secret starts with whsec_",
        "CUTOUT_SIGNING_SECRETS, entry 3: a signing secret starts with whsec_",
        "CUTOUT_PUBLIC_URL is not an http(s) URL",
        "CUTOUT_REDIS_URL is not set",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}");
    }
}

#[test]
fn the_operators_api_is_there_for_operators_alone_and_on_loopback_unless_told_otherwise() {
    let of = |more: &[(&'static str, &'static str)]| {
        let mut variables = good();
        variables.extend(more);
        read(&variables)
    };
    let ann = "ann:2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90:operator";
    assert!(of(&[]).unwrap().operators.is_none());
    let api = of(&[(OPERATORS, ann), (AUDIT_AGE, "24h"), (AUDIT_ENTRIES, "5000")]).unwrap();
    assert_eq!(api.parts.store.audit_kept(), AuditKept { entries: 5_000, age_ms: 86_400_000 });
    let api = api.operators.unwrap();
    assert_eq!((api.listen.to_string(), api.operators.len()), ("127.0.0.1:8081".to_owned(), 1));
    let api = of(&[(OPERATORS, ann), (OPERATORS_LISTEN, "[::1]:9")]).unwrap().operators.unwrap();
    assert_eq!(api.listen.to_string(), "[::1]:9");
    let told = of(&[(OPERATORS_LISTEN, "[::1]:9")]).unwrap_err().to_string();
    assert!(told.contains("nobody may use it"), "{told}");
    let told = of(&[(OPERATORS, ann), (OPERATORS_LISTEN, "127.0.0.1:8080")]).unwrap_err().to_string();
    assert!(told.contains("two listeners"), "{told}");
}

#[test]
fn people_come_in_by_a_secret_of_the_sessions_own_and_by_a_proxy_if_all_of_it_is_told() {
    let of = |more: &[(&'static str, &'static str)]| {
        let mut variables = good();
        variables.extend(more);
        read(&variables)
    };
    let ann = "ann:2bd806c97f0e00af1a1fc3328fa763a9269723c8db8fac4f93af71db186d6e90:operator";
    let secrets = "0123456789abcdef0123456789abcdef, fedcba9876543210fedcba9876543210";
    let page = of(&[(OPERATORS, ann), (SESSION_SECRETS, secrets)]).unwrap().operators.unwrap().page;
    assert_eq!((page.session_secrets.len(), page.proxy, &*page.base), (2, None, ""));
    let all = [
        (OPERATORS_HEADER, "x-forwarded-email"),
        (OPERATORS_HEADER_FROM, "10.0.0.0/8"),
        (OPERATORS_HEADER_ROLES, "*:viewer"),
    ];
    let alone = of(&all).unwrap().operators.unwrap();
    assert!(alone.operators.is_empty() && alone.page.proxy.is_some(), "nobody needs a token then");
    for missing in 0..all.len() {
        let mut some = all.to_vec();
        some.remove(missing);
        let told = of(&[&some[..], &[(OPERATORS, ann)]].concat()).unwrap_err().to_string();
        assert!(told.contains("belong together"), "{told}");
    }
    let told = of(&[(OPERATORS, ann), (SESSION_SECRETS, "short-secret")]).unwrap_err().to_string();
    assert!(told.contains("CUTOUT_SESSION_SECRETS, entry 1:") && !told.contains("short-secret"), "{told}");
    let told = of(&[(SESSION_SECRETS, secrets)]).unwrap_err().to_string();
    assert!(told.contains("nobody may use it") && !told.contains("0123456789"), "{told}");
}

#[test]
fn nothing_that_must_be_set_has_a_default() {
    for missing in [REDIS_URL, BREAKERS, SIGNING_SECRETS] {
        for value in [None, Some(""), Some("  ")] {
            let mut variables = good();
            variables.retain(|(name, _)| *name != missing);
            variables.extend(value.map(|value| (missing, value)));
            let told = mistakes(&variables);
            assert!(told.len() == 1 && told[0].starts_with(&format!("{missing} is not set: ")), "{told:?}");
        }
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let mut variables = good();
    variables[1].1 = "/etc/none.toml";
    let told = mistakes(&variables);
    assert!(told.len() == 1 && told[0].contains("the file /etc/none.toml cannot be read"), "{told:?}");
}

#[test]
fn memory_is_for_loopback_alone() {
    for (listen, allowed) in [
        ("127.0.0.1:0", true),
        ("127.8.0.1:0", true),
        ("[::1]:0", true),
        ("0.0.0.0:0", false),
        ("10.0.0.1:0", false),
    ] {
        let mut variables = good();
        variables[0].1 = "memory:";
        variables.push((LISTEN, listen));
        let told = read(&variables);
        assert_eq!(told.is_ok(), allowed, "{listen}");
        if let Err(told) = told {
            assert!(told.to_string().contains("serves one process"), "{told}");
        }
    }
}

#[test]
fn a_store_that_is_no_store_is_told() {
    let form = "CUTOUT_REDIS_URL cannot be used: it has to be redis://";
    let scope = "CUTOUT_SCOPE cannot be used: it has to be";
    let sentinel = "CUTOUT_REDIS_URL cannot be used: a sentinel is";
    let primary = "CUTOUT_REDIS_URL cannot be used: behind the sentinels stands the primary's name";
    let cases: [(&str, &str, &[&str]); 5] = [
        ("http://127.0.0.1", "default", &[form]),
        ("redis", "a{b}", &[form, scope]),
        ("redis+sentinel://10.0.0.1:26379", "default", &[primary]),
        ("redis+sentinel://10.0.0.1:x,10.0.0.2/mymaster", "default", &[sentinel]),
        ("redis+sentinel://10.0.0.1:x", "a{b}", &[sentinel, primary, scope]),
    ];
    for (url, of_scope, expected) in cases {
        let mut variables = good();
        variables[0].1 = url;
        variables.push((SCOPE, of_scope));
        let told = mistakes(&variables);
        assert_eq!(told.len(), expected.len(), "{told:?}");
        assert!(told.iter().zip(expected).all(|(told, expected)| told.starts_with(expected)), "{told:?}");
    }
    let mut variables = good();
    variables[0].1 = "redis+sentinel://:redis-password@10.0.0.1,10.0.0.2:26380/mymaster/1";
    assert!(read(&variables).is_ok());
}

#[test]
fn what_an_orchestrator_sets_for_a_service_named_cutout_is_no_mistake() {
    let mut variables = good();
    variables.extend([
        ("CUTOUT_SERVICE_SERVICE_HOST", "10.0.0.1"),
        ("CUTOUT_SERVICE_SERVICE_PORT_HTTP", "80"),
        ("CUTOUT_SERVICE_PORT", "tcp://10.0.0.1:80"),
        ("CUTOUT_SERVICE_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("OTHER", "x"),
    ]);
    assert!(read(&variables).is_ok());
}

#[test]
fn no_secret_is_shown() {
    let shown = format!("{:?}", read(&good()).unwrap());
    assert!(shown.contains("127.0.0.1:8080"), "{shown}");
    let mut wrong = good();
    wrong[0].1 = "redis://user:redis-password@127.0.0.1:notaport";
    wrong[2].1 = "whsec_MfKQ9r8GKYqrTwjU";
    wrong.push((PUBLIC_URL, "https://user:url-password@a.example/"));
    let told = read(&wrong).unwrap_err().to_string();
    for secret in ["MfKQ9r8G", "redis-password", "url-password"] {
        assert!(!shown.contains(secret) && !told.contains(secret), "{shown} {told}");
    }
}
