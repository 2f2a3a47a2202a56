//! Names and keys checked against what the owning service declares, so that a mistake is an error and not a breaker
//! that never opens.

use arc_swap::ArcSwapOption;
use cutout_core::Declared;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How many near names an error lists.
const NEAREST_MAX: usize = 3;
/// How alike a name must be to be listed (Jaro-Winkler, 0 to 1).
const NEAREST_LIKENESS: f64 = 0.7;

/// A breaker that no service declares in this scope: its name is not declared, or not with so many values in a key.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let fake = cutout::FakeClient::new(["bank-charge"]).keyed("bank-charge", ["bank_code"]);
/// let unknown = fake.client().breaker("bank-chrage", &["0001"]).unwrap_err();
/// assert_eq!((unknown.name(), unknown.nearest()), ("bank-chrage", &["bank-charge".to_owned()][..]));
/// let keyless = fake.client().breaker::<&str>("bank-charge", &[]).unwrap_err();
/// assert_eq!(keyless.key_tags(), Some(&["bank_code".to_owned()][..]), "a key has a value for each");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownBreaker {
    name: String,
    nearest: Vec<String>,
    key: Option<WrongKey>,
}

/// A key of a declared name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct WrongKey {
    values: usize,
    tags: Vec<String>,
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

    /// The tags that make the key, if the name is declared and the key has not one value for each.
    #[must_use]
    pub fn key_tags(&self) -> Option<&[String]> {
        self.key.as_ref().map(|key| &*key.tags)
    }
}

impl fmt::Display for UnknownBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(WrongKey { values, tags }) = &self.key {
            let (name, tags) = (&self.name, tags.join("`, `"));
            return write!(
                f,
                "the key of `{name}` has one value for each of [`{tags}`]; with {values} it is a breaker that nothing opens"
            );
        }
        write!(f, "no service declares a breaker `{}` in this scope", self.name)?;
        if !self.nearest.is_empty() {
            write!(f, "; did you mean `{}`?", self.nearest.join("`, `"))?;
        }
        f.write_str(" Declare it in the service's breakers file, or call allow_undeclared()")
    }
}

impl std::error::Error for UnknownBreaker {}

/// What is declared, as far as it is known, and what the program uses of it.
#[derive(Debug)]
pub(crate) struct Names {
    declared: ArcSwapOption<Declared>,
    /// Names that the program uses, checked as soon as the declared ones are known.
    used: BTreeSet<String>,
    allow_undeclared: bool,
    /// Whether `connect` went on without the declared names: a wrong name can then only be told, not returned.
    start_is_over: AtomicBool,
    are_checked: AtomicBool,
    /// Names of which a wrong key was told.
    told: Mutex<BTreeSet<String>>,
}

impl Names {
    pub(crate) fn new(used: BTreeSet<String>, allow_undeclared: bool) -> Names {
        Names {
            declared: ArcSwapOption::empty(),
            used,
            allow_undeclared,
            start_is_over: AtomicBool::new(false),
            are_checked: AtomicBool::new(false),
            told: Mutex::default(),
        }
    }

    /// Whether that is news.
    pub(crate) fn learn(&self, declared: Option<&Arc<Declared>>) -> bool {
        let known = self.declared.load();
        // The follower hands the same one over and over: comparing two that differ in nothing costs more than all else of a message.
        let is_same = match (known.as_ref(), declared) {
            (Some(known), Some(declared)) => Arc::ptr_eq(known, declared) || known == declared,
            (known, declared) => known.is_none() && declared.is_none(),
        };
        if !is_same {
            self.declared.store(declared.cloned());
        }
        !is_same
    }

    /// Ends the start: which of the names that the program uses are not declared. If the declared ones are not known yet,
    /// nothing is wrong, and a wrong name is told when they are.
    pub(crate) fn check_used(&self) -> Vec<UnknownBreaker> {
        if self.declared.load().is_some() {
            self.are_checked.store(true, Ordering::SeqCst);
            return self.unknown().collect();
        }
        self.start_is_over.store(true, Ordering::SeqCst);
        self.check_used_late();
        Vec::new()
    }

    fn unknown(&self) -> impl Iterator<Item = UnknownBreaker> {
        self.used.iter().filter_map(|name| self.check(name).err())
    }

    /// A program that started before the declared names were known learns here that it uses names nobody declares:
    /// it goes on, loudly.
    pub(crate) fn check_used_late(&self) {
        let ready = self.start_is_over.load(Ordering::SeqCst) && self.declared.load().is_some();
        if ready && !self.are_checked.swap(true, Ordering::SeqCst) {
            self.unknown().for_each(|unknown| tell(&unknown));
        }
    }

    /// Whether a name is declared, as far as that is known.
    pub(crate) fn check(&self, name: &str) -> Result<(), UnknownBreaker> {
        match self.declared.load().as_deref() {
            Some(declared) if !self.allow_undeclared => check(declared, name),
            _ => Ok(()),
        }
    }

    /// Whether a name is declared, and with so many values in a key.
    pub(crate) fn check_key(&self, name: &str, values: usize) -> Result<(), UnknownBreaker> {
        let declared = self.declared.load();
        let tags = declared.as_ref().and_then(|declared| tags_in(declared, name));
        match tags {
            Some(tags) if tags.len() == values => Ok(()),
            Some(tags) => {
                let key = Some(WrongKey { values, tags: tags.to_vec() });
                Err(UnknownBreaker { name: name.to_owned(), nearest: Vec::new(), key })
            }
            None => self.check(name),
        }
    }

    /// The tags that make the key of a name; none: not known.
    pub(crate) fn tags(&self, name: &str) -> Option<Vec<String>> {
        self.declared.load().as_ref().and_then(|declared| tags_in(declared, name)).map(<[String]>::to_vec)
    }

    /// A key came with a call and has a wrong number of values: told once for each name, since keys may come from anybody.
    #[cold]
    pub(crate) fn tell_key(&self, name: &str, values: usize) {
        let Err(unknown) = self.check_key(name, values) else { return };
        if self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned()) {
            tell(&unknown);
        }
    }
}

/// How a test that fakes breakers declares a name whose keys may have any number of values. No service declares such a tag.
pub(crate) const UNTOLD: &str = "";

fn tags_in<'a>(declared: &'a Declared, name: &str) -> Option<&'a [String]> {
    let tags = &*declared.breakers.get(name)?.key;
    (tags != [UNTOLD]).then_some(tags)
}

/// Tells in the log and in the metrics what can no more be returned as an error.
fn tell(unknown: &UnknownBreaker) {
    let name = unknown.name().to_owned();
    tracing::error!(breaker = name, error = %unknown, "a breaker in use is not declared, so nothing opens it");
    metrics::counter!("cutout_client_undeclared_total", "breaker" => name).increment(1);
}

/// Checks one name.
fn check(declared: &Declared, name: &str) -> Result<(), UnknownBreaker> {
    if declared.breakers.contains_key(name) {
        return Ok(());
    }
    let alike = declared.breakers.keys().map(|known| (strsim::jaro_winkler(name, known), known));
    let mut alike: Vec<_> = alike.filter(|(likeness, _)| *likeness >= NEAREST_LIKENESS).collect();
    alike.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let nearest = alike.into_iter().take(NEAREST_MAX).map(|(_, known)| known.clone()).collect();
    Err(UnknownBreaker { name: name.to_owned(), nearest, key: None })
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
