//! Every judged URL, in all three policies, through the real connector, where a hole in the guard would connect.

use crate::fixtures::{Row, Verdict, policies, rows};
use crate::listeners::Listeners;
use crate::names::Names;
use crate::{DEADLINE, NOW_SECS, callbacks, guard, secret, tls};
use cutout_lambda::callbacks::{Callbacks, CallbacksError, DeliverError};
use cutout_lambda::guard::{CallbackUrl, Guard};
use cutout_tests::canary::SIGNING_SECRET;
use cutout_tests::namespace;
use reqwest::Url;
use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the process outside leaves the certificates for the one inside.
const FOLDER: &str = "CUTOUT_TEST_FOLDER";
/// Where something listens even if no row names it: plain and TLS, SSH, Docker, Lambda's extension, Redis, Lambda's API.
const PORTS: [u16; 8] = [22, 80, 443, 2375, 2773, 6379, 8080, 9001];
const PROXY_PORT: u16 = 3128;
/// The fixtures may grow; a table that lost its rows would judge nothing.
const ROWS_MIN: usize = 176;

#[test]
fn every_judged_url_in_all_three_policies() {
    if namespace::is_inside() {
        return inside(judge_all());
    }
    rerun("judged::every_judged_url_in_all_three_policies", &[]);
}

#[test]
fn a_proxy_in_the_environment_is_not_used() {
    if namespace::is_inside() {
        return inside(deliver_beside_a_proxy());
    }
    let proxy = format!("http://127.0.0.1:{PROXY_PORT}");
    let names = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];
    let variables = names.map(|name| (name, OsStr::new(&proxy)));
    rerun("judged::a_proxy_in_the_environment_is_not_used", &variables);
}

/// In a process of its own, because other tests install a provider.
#[test]
fn without_a_tls_provider_there_is_an_error_and_no_panic() {
    if !namespace::is_inside() {
        return rerun("judged::without_a_tls_provider_there_is_an_error_and_no_panic", &[]);
    }
    let names = Arc::new(Names::of_fixtures());
    let refused = Callbacks::new(guard("*", "", false), names, DEADLINE).unwrap_err();
    assert!(matches!(refused, CallbacksError::NoTlsProvider), "{refused:?}");
}

/// Runs a test of this file inside, trusting the test's CA and no other.
fn rerun(test: &str, variables: &[(&str, &OsStr)]) {
    let folder = tempfile::tempdir().unwrap();
    tls::make(folder.path(), hosts());
    let ca_file = tls::ca_file(folder.path());
    let trust = [("SSL_CERT_FILE", ca_file.as_os_str()), (FOLDER, folder.path().as_os_str())];
    namespace::rerun_inside(test, &[&trust, variables].concat());
}

fn inside(test: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new().unwrap().block_on(test);
}

/// All that a certificate must name: the names of the table, and the literals that some policy lets pass.
fn hosts() -> Vec<String> {
    let mut hosts: BTreeSet<String> = Names::of_fixtures().all().map(str::to_owned).collect();
    for (_, guard) in policies() {
        let passed = rows().into_iter().filter_map(|row| guard.check(&row.url).ok());
        hosts.extend(passed.filter_map(|url| literal(&url)).map(|addr| addr.to_string()));
    }
    hosts.into_iter().collect()
}

fn literal(url: &CallbackUrl) -> Option<IpAddr> {
    url.host().trim_matches(['[', ']']).parse().ok()
}

async fn judge_all() {
    let rows = rows();
    assert!(rows.len() >= ROWS_MIN, "only {} rows", rows.len());
    let folder = PathBuf::from(env::var_os(FOLDER).unwrap());
    let mut listeners = Listeners::start(ports(&rows), &tls::acceptor(&folder)).await;
    let mut wrong = Vec::new();
    for (column, (policy, guard)) in policies().into_iter().enumerate() {
        for row in &rows {
            // Nothing shared between rows: connections are kept, and answers counted, for one alone.
            let attempt = Attempt::new(&guard);
            if let Err(why) = attempt.judge(row, row.verdicts[column], &mut listeners).await {
                wrong.push(format!("row {} {policy} {:?}: {why}", row.id, row.url));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong of {} judged:\n{}", wrong.len(), 3 * rows.len(), wrong.join("\n"));
    println!("{} judged", 3 * rows.len());
}

/// Every number that a row may mean as a port, and the well-known ones.
fn ports(rows: &[Row]) -> BTreeSet<u16> {
    let after_colons = rows.iter().flat_map(|row| row.url.split(':').skip(1));
    let numbers =
        after_colons.filter_map(|text| text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
    numbers.filter(|port| *port != 0).chain(PORTS).collect()
}

/// A guard with its connector and its own count of lookups.
struct Attempt {
    guard: Arc<Guard>,
    names: Arc<Names>,
    /// Made when a URL passes the first time.
    callbacks: OnceCell<Callbacks>,
}

impl Attempt {
    fn new(guard: &Arc<Guard>) -> Attempt {
        let names = Arc::new(Names::of_fixtures());
        Attempt { guard: Arc::clone(guard), names, callbacks: OnceCell::new() }
    }

    async fn judge(&self, row: &Row, verdict: Verdict, listeners: &mut Listeners) -> Result<(), String> {
        let outcome = self.deliver(&row.url).await;
        let dialled = listeners.dialled().await;
        let seen = format!("dialled {dialled:?}, ended in {outcome:?}");
        let is_right = match verdict {
            Verdict::Deny => dialled.is_empty() && self.is_guards(&row.url, &outcome),
            Verdict::Allow => outcome.is_ok() && dialled == [self.vetted(&row.url)],
            Verdict::Pin | Verdict::NoFollow if self.guard.check(&row.url).is_err() => dialled.is_empty(),
            Verdict::Pin => {
                let again = self.deliver(&row.url).await;
                let dialled_again = listeners.dialled().await;
                let later_is_refused =
                    matches!(again, Err(DeliverError::Refused(_))) && dialled_again.is_empty();
                outcome.is_ok() && dialled == [self.vetted(&row.url)] && later_is_refused
            }
            Verdict::NoFollow => {
                let vetted = self.vetted(&row.url);
                let _ = self.deliver(&row.url).await;
                let answer_only = listeners.dialled().await == [vetted] && dialled == [vetted];
                answer_only && outcome.is_err() == row.url.contains("redirect3")
            }
        };
        if is_right { Ok(()) } else { Err(format!("should {verdict:?}, {seen}")) }
    }

    async fn deliver(&self, url: &str) -> Result<(), DeliverError> {
        let url = self.guard.check(url)?;
        let callbacks = self.callbacks.get_or_init(|| callbacks(&self.guard, &self.names, DEADLINE));
        callbacks.deliver(&url, &[secret(SIGNING_SECRET)], b"{}", NOW_SECS).await
    }

    /// Whether the guard said no: by a rule, or because the name has no address.
    fn is_guards(&self, url: &str, outcome: &Result<(), DeliverError>) -> bool {
        match outcome {
            Err(DeliverError::Refused(_)) => true,
            Err(DeliverError::Resolve { .. }) => {
                self.names.first(self.guard.check(url).unwrap().host()).is_none()
            }
            _ => false,
        }
    }

    /// The one address that a URL which passes may be dialled at.
    fn vetted(&self, url: &str) -> SocketAddr {
        let url = self.guard.check(url).unwrap();
        let port = Url::parse(url.as_str()).unwrap().port_or_known_default().unwrap();
        SocketAddr::new(literal(&url).or_else(|| self.names.first(url.host())).unwrap(), port)
    }
}

async fn deliver_beside_a_proxy() {
    let folder = PathBuf::from(env::var_os(FOLDER).unwrap());
    let mut listeners = Listeners::start([80, 443, PROXY_PORT], &tls::acceptor(Path::new(&folder))).await;
    for url in ["http://hooks.example.com/", "https://hooks.example.com/"] {
        let attempt = Attempt::new(&guard("*", "", true));
        attempt.deliver(url).await.unwrap();
        assert_eq!(listeners.dialled().await, [attempt.vetted(url)], "{url}");
    }
}
