//! Mistakes of a settings source, all at once.
//!
//! Whoever reads settings notes every mistake and goes on with a stand-in, then asks [`Problems::or`] for the
//! result: one error that lists them all, or the value. Texts name the place and the remedy, never a secret's value.

use std::fmt;

/// The mistakes found so far, in the order found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<String>);

impl Problems {
    /// Notes one mistake: where it is, what is wrong, what to do.
    pub fn note(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    /// `value` if nothing was noted.
    ///
    /// # Errors
    /// These problems, if there is any.
    pub fn or<T>(self, value: T) -> Result<T, Problems> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }

    /// Adds what another reader found.
    pub fn extend(&mut self, other: Problems) {
        self.0.extend(other.0);
    }

    /// Each mistake's text.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} mistake(s) in the settings:", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  - {problem}"))
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_told() {
        let mut problems = Problems::default();
        problems.note("A is not set");
        problems.note("B is not a number");
        let told = problems.or(()).unwrap_err().to_string();
        assert!(
            told.contains("2 mistake(s)")
                && told.contains("A is not set")
                && told.contains("B is not a number")
        );
        assert_eq!(Problems::default().or(7), Ok(7));
    }

    #[test]
    fn what_another_reader_found_comes_after_it_and_each_is_told_by_itself() {
        let mut problems = Problems::default();
        problems.note("A is not set");
        let mut other = Problems::default();
        other.note("B is not a number");
        problems.extend(other);
        assert_eq!(problems.iter().collect::<Vec<_>>(), ["A is not set", "B is not a number"]);
        assert_eq!(
            problems.to_string(),
            "2 mistake(s) in the settings:\n  - A is not set\n  - B is not a number"
        );
    }
}
