//! DNS from a table: each name has successive answers, and the last one stays.

use crate::fixtures;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;

pub(crate) struct Names {
    answers: BTreeMap<String, Vec<Vec<IpAddr>>>,
    lookups: Mutex<BTreeMap<String, usize>>,
}

/// The port that the table's resolver claims for each address. The connector must not believe it.
const CLAIMED_PORT: u16 = 22;

impl Names {
    /// `name<TAB>answers`: a comma parts addresses of one answer, `|` successive answers.
    pub(crate) fn new(lines: impl IntoIterator<Item = impl AsRef<str>>) -> Names {
        let answer = |text: &str| -> Vec<IpAddr> {
            text.split(',').filter(|addr| !addr.is_empty()).map(|addr| addr.parse().unwrap()).collect()
        };
        let named = |line: &str| {
            let (name, answers) = line.split_once('\t').unwrap();
            (name.to_owned(), answers.split('|').map(answer).collect())
        };
        let answers = lines.into_iter().map(|line| named(line.as_ref())).collect();
        Names { answers, lookups: Mutex::default() }
    }

    pub(crate) fn of_fixtures() -> Names {
        Names::new(fixtures::lines("ssrf_dns.tsv"))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &str> {
        self.answers.keys().map(String::as_str)
    }

    /// The first address of a name's first answer; none: the name is unknown or has no address.
    pub(crate) fn first(&self, name: &str) -> Option<IpAddr> {
        self.answers.get(name)?.first()?.first().copied()
    }

    fn next(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let answers = self.answers.get(name).ok_or_else(|| io::Error::other("NXDOMAIN"))?;
        let mut lookups = self.lookups.lock().unwrap();
        let count = lookups.entry(name.to_owned()).or_default();
        let answer = answers.get(*count).or(answers.last()).unwrap();
        *count += 1;
        Ok(answer.clone())
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let answer = self.next(name.as_str());
        Box::pin(async move {
            let addrs = answer?.into_iter().map(|addr| SocketAddr::new(addr, CLAIMED_PORT));
            Ok(Box::new(addrs) as Addrs)
        })
    }
}
