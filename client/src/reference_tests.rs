//! What tests of the reference's tables share: which settings the source of a builder has, and which a table tells.

use cutout_core::reference::Setting;
use std::collections::BTreeSet;

/// The public methods of a type that give it back, each behind `prefix`.
pub(crate) fn setters(source: &str, of: &str, prefix: &str) -> BTreeSet<String> {
    let (_, rest) = source.split_once(&format!("\nimpl {of} {{\n")).unwrap();
    let (methods, _) = rest.split_once("\n}\n").unwrap();
    let signatures = methods.split("    pub fn ").skip(1).filter_map(|method| method.split_once(" {\n"));
    let gives_back = format!(" -> {of}");
    let own = signatures.filter(|(signature, _)| signature.ends_with(&gives_back));
    let found: BTreeSet<String> = own.map(|(signature, _)| format!("{prefix}{}", name(signature))).collect();
    assert!(found.len() >= 3, "{of}: only {found:?}");
    found
}

/// The names in a table, without what they take.
pub(crate) fn told_of(settings: &[Setting]) -> BTreeSet<String> {
    let told: BTreeSet<String> = settings.iter().map(|setting| name(setting.name).to_owned()).collect();
    assert_eq!(told.len(), settings.len(), "told twice");
    told
}

/// What stands before what it takes.
fn name(signature: &str) -> &str {
    signature.split(['(', '<']).next().unwrap()
}
