//! Which errors of Redis are worth another try.
//!
//! Judged by the kind of error and by the code that starts an error reply, which is part of the protocol; never by
//! its text. Neither holds the URL, so no password comes through here.

use crate::store::StoreError;
use redis::{ErrorKind, RedisError};
use std::sync::Arc;

/// The codes of replies that say "not now": loading, fail-over, a cluster whose slots are on the move, a full memory, a
/// disk that refuses, too few replicas.
const PASSING_CODES: [&str; 12] = [
    "ASK",
    "BUSY",
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "MOVED",
    "NOREPLICAS",
    "OOM",
    "READONLY",
    "TRYAGAIN",
    "UNBLOCKED",
];

/// Puts an error of Redis into the store's words.
pub(super) fn store_error(doing: &'static str, error: RedisError) -> StoreError {
    let passing = is_passing(&error);
    let source = Arc::new(error);
    if passing { StoreError::Unreachable { doing, source } } else { StoreError::Refused { doing, source } }
}

fn is_passing(error: &RedisError) -> bool {
    match error.clone().into_server_errors() {
        // A pipeline's replies: one that passes makes the whole worth another try.
        Some(replies) => replies.iter().any(|(_, reply)| PASSING_CODES.contains(&reply.code())),
        None => error.kind() == ErrorKind::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::make_extension_error;
    use std::error::Error;

    #[test]
    fn what_passes_is_told_from_what_stays() {
        let reply = |code: &str| make_extension_error(code.to_owned(), None);
        let cases = [
            (RedisError::from(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)), true),
            (RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut)), true),
            (reply("LOADING"), true),
            (reply("OOM"), true),
            (reply("WRONGTYPE"), false),
            (reply("NOAUTH"), false),
            (reply("NOPERM"), false),
            (RedisError::from((ErrorKind::AuthenticationFailed, "wrong password")), false),
            (RedisError::from((ErrorKind::Parse, "not Redis")), false),
        ];
        for (error, passes) in cases {
            let told = error.to_string();
            let error = store_error("reading", error);
            assert_eq!(error.is_retryable(), passes, "{told}");
            assert_eq!(error.source().map(ToString::to_string), Some(told));
        }
    }
}
