//! An error with all its causes, for one field of a log line. Every error's own text tells its own layer only.

use std::error::Error;
use std::fmt;

/// How many causes are shown.
const CAUSES_MAX: usize = 16;

/// Displays an error and its causes, parted by `: `.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        for _ in 0..CAUSES_MAX {
            let Some(error) = cause else { break };
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn every_cause_is_shown() {
        let error = Outer(std::io::Error::other("inner"));
        assert_eq!(Chain(&error).to_string(), "outer: inner");
    }

    #[test]
    fn an_error_that_is_its_own_cause_ends() {
        #[derive(Debug, thiserror::Error)]
        #[error("again")]
        struct Again;
        #[derive(Debug)]
        struct Circle;
        impl fmt::Display for Circle {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "circle")
            }
        }
        impl Error for Circle {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&Circle)
            }
        }
        assert_eq!(Chain(&Again).to_string(), "again", "no cause, nothing after it");
        assert_eq!(Chain(&Circle).to_string(), ["circle"; 1 + CAUSES_MAX].join(": "));
    }
}
