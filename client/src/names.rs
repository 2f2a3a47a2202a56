//! Names checked against what the owning service declares, so that a typing mistake is an error and not a breaker
//! that never opens.

use cutout_core::Declared;
use std::fmt;

/// How many near names an error lists.
const NEAREST_MAX: usize = 3;
/// How alike a name must be to be listed (Jaro-Winkler, 0 to 1).
const NEAREST_LIKENESS: f64 = 0.7;

/// A breaker that no service declares in this scope.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let fake = cutout::FakeClient::new(["bank-charge"]);
/// let unknown = fake.client().breaker("bank-chrage", &["0001"]).unwrap_err();
/// assert_eq!((unknown.name(), unknown.nearest()), ("bank-chrage", &["bank-charge".to_owned()][..]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownBreaker {
    name: String,
    nearest: Vec<String>,
}

impl UnknownBreaker {
    /// The name asked for.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Declared names that are like it, the most alike first.
    #[must_use]
    pub fn nearest(&self) -> &[String] {
        &self.nearest
    }
}

impl fmt::Display for UnknownBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no service declares a breaker `{}` in this scope", self.name)?;
        if !self.nearest.is_empty() {
            write!(f, "; did you mean `{}`?", self.nearest.join("`, `"))?;
        }
        f.write_str(" Declare it in the service's breakers file, or call allow_undeclared()")
    }
}

impl std::error::Error for UnknownBreaker {}

/// Checks one name.
pub(crate) fn check(declared: &Declared, name: &str) -> Result<(), UnknownBreaker> {
    if declared.breakers.contains_key(name) {
        return Ok(());
    }
    let alike = declared.breakers.keys().map(|known| (strsim::jaro_winkler(name, known), known));
    let mut alike: Vec<_> = alike.filter(|(likeness, _)| *likeness >= NEAREST_LIKENESS).collect();
    alike.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let nearest = alike.into_iter().take(NEAREST_MAX).map(|(_, known)| known.clone()).collect();
    Err(UnknownBreaker { name: name.to_owned(), nearest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_is_told_with_the_nearest_declared_ones() {
        let names = ["bank-charge", "bank-change", "card-network"];
        let breakers =
            names.map(|name| (name.to_owned(), cutout_core::declaration::DeclaredBreaker::default()));
        let declared = Declared { revision: 0, breakers: breakers.into() };
        assert_eq!(check(&declared, "bank-charge"), Ok(()));
        let error = check(&declared, "bank-chrage").unwrap_err();
        assert_eq!(error.nearest().first().map(String::as_str), Some("bank-charge"));
        assert!(error.to_string().contains("did you mean `bank-charge`"), "{error}");
        assert!(check(&declared, "zzz").unwrap_err().nearest().is_empty());
    }
}
