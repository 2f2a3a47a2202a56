//! Whether a node is the primary: only its answers are the truth.
//!
//! A replica answers reads as well, and after a fail-over it may do so for ever with what it knew then. So the role is asked
//! behind each request, on the same connection. Who may not ask (`ROLE` is refused) trusts the address.

use redis::aio::MultiplexedConnection;
use redis::{RedisError, Value, make_extension_error};

/// What a node says that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The primary.
    Primary,
    /// Something else: a replica, or a sentinel.
    Other,
    /// It does not tell this user.
    Untold,
}

/// Asks a node for its role.
pub(super) async fn ask(connection: &mut MultiplexedConnection) -> Result<Role, RedisError> {
    let answer: Result<Vec<Value>, RedisError> = redis::cmd("ROLE").query_async(connection).await;
    match answer {
        Ok(parts) => Ok(read(&parts)),
        Err(error) if error.clone().into_server_errors().is_some() => Ok(Role::Untold),
        Err(error) => Err(error),
    }
}

fn read(parts: &[Value]) -> Role {
    match parts.first() {
        Some(Value::BulkString(word)) if word == b"master" => Role::Primary,
        Some(Value::BulkString(word)) if word == b"slave" || word == b"sentinel" => Role::Other,
        _ => Role::Untold,
    }
}

/// The error of an answer that did not come from the primary. It passes when the address leads there.
pub(super) fn not_primary() -> RedisError {
    make_extension_error("READONLY".to_owned(), Some("this node is not the primary".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_says_that_it_is_something_else_is_refused() {
        let word = |text: &str| vec![Value::BulkString(text.into()), Value::Int(5)];
        assert_eq!(read(&word("master")), Role::Primary);
        assert_eq!([read(&word("slave")), read(&word("sentinel"))], [Role::Other; 2]);
        assert_eq!([read(&word("of tomorrow")), read(&[])], [Role::Untold; 2]);
    }
}
