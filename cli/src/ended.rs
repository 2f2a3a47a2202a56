//! How a command ends: its exit code and the one line that it tells on standard error.
//!
//! Scripts rely on the numbers, so they are fixed here by hand and stand in docs/cli.md.

use crate::stack::BoxError;
use std::process::ExitCode;

/// It was not done: the service refused, or what was asked about is not so.
pub(crate) const REFUSED: u8 = 1;
/// The command line, or a setting of it, is wrong. The number that clap uses.
pub(crate) const USAGE: u8 = 2;
/// Nobody answers, or not now: the same may succeed later.
pub(crate) const UNREACHABLE: u8 = 3;
/// The token, secret or role does not allow it.
pub(crate) const NOT_ALLOWED: u8 = 4;

/// Why a command did not do what it was asked.
///
/// It is no error itself, so that any error can become one by `?`, which then counts as [`REFUSED`].
#[derive(Debug)]
pub(crate) struct Failed {
    code: u8,
    error: BoxError,
}

impl Failed {
    pub(crate) fn new(code: u8, error: impl Into<BoxError>) -> Failed {
        Failed { code, error: error.into() }
    }

    pub(crate) fn refused(error: impl Into<BoxError>) -> Failed {
        Failed::new(REFUSED, error)
    }

    pub(crate) fn usage(error: impl Into<BoxError>) -> Failed {
        Failed::new(USAGE, error)
    }

    pub(crate) fn unreachable(error: impl Into<BoxError>) -> Failed {
        Failed::new(UNREACHABLE, error)
    }

    /// Whether the same may succeed later with nothing changed by a person.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.code == UNREACHABLE
    }

    /// Whether it is an error of this type of which `is` holds.
    pub(crate) fn is_of<E: std::error::Error + 'static>(&self, is: impl Fn(&E) -> bool) -> bool {
        self.error.downcast_ref().is_some_and(is)
    }

    /// Whether nobody reads what the command prints any more (`… | head`).
    pub(crate) fn is_unread(&self) -> bool {
        let io = self.error.downcast_ref::<std::io::Error>();
        io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }

    /// All that is known of it. One line, but where every mistake of the settings is told.
    pub(crate) fn told(&self) -> String {
        let chain: Vec<String> = crate::dev::causes(self.error.as_ref()).collect();
        let lines: Vec<String> = chain.join(": ").lines().map(crate::terminal::plain).collect();
        lines.join("\n")
    }
}

impl<E: Into<BoxError>> From<E> for Failed {
    fn from(error: E) -> Failed {
        Failed::refused(error)
    }
}
