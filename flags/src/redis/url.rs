//! What a store's URL names: one host, or sentinels that know a primary.
//!
//! `redis[s]://[user[:password]@]host[:port][/number]`, or the form that several clients of other languages share,
//! `redis[s]+sentinel://[user[:password]@]host[:port][,host[:port]…]/primary[/number]`. User and password are the
//! primary's; the sentinels' own are options. The parts are read by the Redis library's own parser, so that both forms
//! take the same hosts, passwords and numbers. No text of the URL is ever repeated: it may hold a password.

use super::redirect::at;
use super::sentinel::Sentinels;
use crate::store::{Mistake, Setting};
use redis::{Client, ConnectionInfo, RedisConnectionInfo};

/// How many sentinels a URL may name.
pub(super) const SENTINELS_MAX: usize = 16;
/// The port of a sentinel unless the URL names another.
const SENTINEL_PORT: u16 = 26_379;
/// The longest name of a primary.
const PRIMARY_NAME_BYTES_MAX: usize = 200;
const USER_OPTION: &str = "sentinel_username";
const PASSWORD_OPTION: &str = "sentinel_password";

const FORM: &str = "it has to be redis://[user[:password]@]host[:port][/number], or \
     redis+sentinel://[user[:password]@]host[:port][,host[:port]…]/primary[/number]; rediss with TLS";
const NO_SENTINEL: &str = "a sentinel is host[:port], several are parted by commas, at most 16";
const NO_PRIMARY: &str =
    "behind the sentinels stands the primary's name, as the sentinels know it: …/mymaster";
const NO_NUMBER: &str = "behind the primary's name stands at most the database's number: …/mymaster/0";
const NO_LOGIN: &str = "what stands before the @ has to be user:password, :password or user, percent-encoded";
const NO_OPTION: &str =
    "its only options are sentinel_username and sentinel_password, percent-encoded; there is no #fragment";

/// Where a way to the primary begins.
pub(super) enum Start {
    /// At this host.
    Host(Box<ConnectionInfo>),
    /// At whichever host the sentinels name.
    Sentinels(Box<Sentinels>),
}

/// Reads a URL.
///
/// # Errors
/// All mistakes in it.
pub(super) fn parse(url: &str) -> Result<Start, Vec<Mistake>> {
    let sentinels = [("redis+sentinel://", "redis"), ("rediss+sentinel://", "rediss")];
    for (prefix, scheme) in sentinels {
        if let Some(rest) = url.strip_prefix(prefix) {
            return parse_sentinels(scheme, rest).map(|sentinels| Start::Sentinels(Box::new(sentinels)));
        }
    }
    let named = ["redis://", "rediss://"].iter().any(|scheme| url.starts_with(scheme));
    // The cause may quote the URL, and with it a password.
    let client = named.then(|| Client::open(url).ok()).flatten();
    client
        .map(|client| Start::Host(Box::new(client.get_connection_info().clone())))
        .ok_or_else(|| vec![wrong(FORM)])
}

/// Whether connections of this URL use TLS.
pub(super) fn wants_tls(url: &str) -> bool {
    url.starts_with("rediss")
}

fn wrong(problem: &'static str) -> Mistake {
    Mistake { setting: Setting::Url, problem }
}

/// Reads what follows the scheme; each part by itself, so that all mistakes are found.
fn parse_sentinels(scheme: &str, rest: &str) -> Result<Sentinels, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let (rest, options) = rest.split_once('?').map_or((rest, ""), |(rest, options)| (rest, options));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let mut note = |problem| mistakes.push(wrong(problem));

    let hosts: Vec<&str> = hosts.split(',').collect();
    let addresses: Vec<_> =
        hosts.iter().filter_map(|host| open(&format!("{scheme}://{}", with_port(host)))).collect();
    if addresses.len() != hosts.len() || hosts.len() > SENTINELS_MAX {
        note(NO_SENTINEL);
    }
    let (name, number) = path.split_once('/').unwrap_or((path, ""));
    if !is_primary_name(name) {
        note(NO_PRIMARY);
    }
    let number = number.strip_suffix('/').unwrap_or(number);
    let number: Option<u32> = if number.is_empty() { Some(0) } else { number.parse().ok() };
    if number.is_none() {
        note(NO_NUMBER);
    }
    // Any host serves to read a login.
    let login = open(&format!("{scheme}://{login}@host"));
    if login.is_none() {
        note(NO_LOGIN);
    }
    let own_login = own_login(scheme, options);
    if own_login.is_none() || rest.contains('#') {
        note(NO_OPTION);
    }
    match (addresses.first(), login, number, own_login) {
        (Some(first), Some(login), Some(number), Some(own_login)) if mistakes.is_empty() => {
            let settings = login.redis_settings().clone().set_db(i64::from(number));
            let primary = login.set_addr(at(first.addr(), "", 0)).set_redis_settings(settings);
            let asked = addresses.into_iter().map(|address| address.set_redis_settings(own_login.clone()));
            Ok(Sentinels::new(asked.collect(), name.to_owned(), primary))
        }
        _ => Err(mistakes),
    }
}

fn open(url: &str) -> Option<ConnectionInfo> {
    Client::open(url).ok().map(|client| client.get_connection_info().clone())
}

/// A sentinel's host with its port. Brackets hold an IPv6 address, whose colons part no port.
fn with_port(host: &str) -> String {
    let behind = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
    if behind.contains(':') { host.to_owned() } else { format!("{host}:{SENTINEL_PORT}") }
}

/// What Redis allows as a primary's name.
fn is_primary_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (1..=PRIMARY_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed)
}

/// What the sentinels themselves ask for.
fn own_login(scheme: &str, options: &str) -> Option<RedisConnectionInfo> {
    let (mut user, mut password) = ("", "");
    for option in options.split('&').filter(|option| !option.is_empty()) {
        match option.split_once('=')? {
            (USER_OPTION, value) => user = value,
            (PASSWORD_OPTION, value) => password = value,
            _ => return None,
        }
    }
    // Unless encoded, one of these would end the login.
    let is_plain = |value: &str| !value.contains(['/', '?', '#', '@', ':']);
    let colon = if password.is_empty() { "" } else { ":" };
    let info = open(&format!("{scheme}://{user}{colon}{password}@host"))?;
    (is_plain(user) && is_plain(password)).then(|| info.redis_settings().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(url: &str) -> Vec<&'static str> {
        let mistakes = parse(url).err().unwrap_or_default();
        mistakes.into_iter().map(|mistake| mistake.problem).collect()
    }

    #[test]
    fn a_url_of_sentinels_has_the_parts_that_it_names() {
        let url = "rediss+sentinel://app:p%40ss@one.example,[2001:db8::1]:7000,10.0.0.3:26380/bank.redis-1/3\
                   ?sentinel_username=watch&sentinel_password=w%2Ford";
        let Ok(Start::Sentinels(sentinels)) = parse(url) else { panic!("{:?}", problems(url)) };
        let at = sentinels.asked().map(|info| info.addr().to_string()).collect::<Vec<_>>();
        assert_eq!(at, ["one.example:26379", "2001:db8::1:7000", "10.0.0.3:26380"]);
        for asked in sentinels.asked() {
            let settings = asked.redis_settings();
            assert_eq!(
                (settings.username(), settings.password(), settings.db()),
                (Some("watch"), Some("w/ord"), 0)
            );
            assert!(
                wants_tls(url)
                    && matches!(asked.addr(), redis::ConnectionAddr::TcpTls { insecure: false, .. })
            );
        }
        assert_eq!(sentinels.name(), "bank.redis-1");
        let primary = sentinels.primary_at("10.0.0.9", 6390);
        let settings = primary.redis_settings();
        assert_eq!((settings.username(), settings.password(), settings.db()), (Some("app"), Some("p@ss"), 3));
        assert_eq!(primary.addr().to_string(), "10.0.0.9:6390");
        assert!(matches!(primary.addr(), redis::ConnectionAddr::TcpTls { insecure: false, .. }));
    }

    #[test]
    fn the_shortest_url_of_sentinels_asks_for_nothing_more() {
        let Ok(Start::Sentinels(sentinels)) = parse("redis+sentinel://one/mymaster") else {
            panic!("it is one")
        };
        let primary = sentinels.primary_at("h", 1);
        assert_eq!(primary.addr(), &redis::ConnectionAddr::Tcp("h".to_owned(), 1));
        let logins = [primary.redis_settings(), sentinels.asked().next().unwrap().redis_settings()];
        for login in logins {
            assert_eq!((login.username(), login.password(), login.db()), (None, None, 0));
        }
    }

    #[test]
    fn all_mistakes_are_told_and_nothing_of_the_url() {
        let cases: [(&str, &[&str]); 14] = [
            ("http://:hunter2@h", &[FORM]),
            ("redis://:hunter2@", &[FORM]),
            ("redis://:hunter2@h/x", &[FORM]),
            ("redis://:hunter2@h:1,h2:2/0", &[FORM]),
            ("sentinel://:hunter2@h/m", &[FORM]),
            ("redis+sentinel://:hunter2@/m", &[NO_SENTINEL]),
            ("redis+sentinel://:hunter2@h,,i/m", &[NO_SENTINEL]),
            ("redis+sentinel://:hunter2@h:x/m", &[NO_SENTINEL]),
            ("redis+sentinel://:hunter2@h", &[NO_PRIMARY]),
            ("redis+sentinel://:hunter2@h/my master", &[NO_PRIMARY]),
            ("redis+sentinel://:hunter2@h/m/-1", &[NO_NUMBER]),
            ("redis+sentinel://:hunter2@h/m?password=hunter2", &[NO_OPTION]),
            ("rediss+sentinel://:hunter2@h/m/#insecure", &[NO_NUMBER, NO_OPTION]),
            ("redis+sentinel://:hunter2@h:x//x?y", &[NO_SENTINEL, NO_PRIMARY, NO_NUMBER, NO_OPTION]),
        ];
        for (url, expected) in cases {
            assert_eq!(problems(url), expected, "{url}");
        }
        let many = ["h"; SENTINELS_MAX + 1].join(",");
        assert_eq!(problems(&format!("redis+sentinel://{many}/m")), [NO_SENTINEL]);
    }
}
