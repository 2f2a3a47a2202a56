//! The fixtures: constructed ones stand in the repository, recorded ones beside it where they may be read.

use serde_json::Value;
use std::path::{Path, PathBuf};

/// The folder of the constructed fixtures of one kind.
pub(crate) fn constructed(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/constructed").join(kind)
}

/// The folder of the recorded fixtures of one kind, if it is there.
pub(crate) fn recorded(kind: &str) -> Option<PathBuf> {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures/recorded").join(kind);
    if !recorded.is_dir() {
        println!(
            "skipped: recorded fixtures are third parties' and not kept here; {} is not there",
            recorded.display()
        );
        return None;
    }
    Some(recorded)
}

/// The names of a folder's fixtures, without `.json`, in order.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let files =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = files.filter_map(|name| Some(name.strip_suffix(".json")?.to_owned())).collect();
    names.sort();
    names
}

pub(crate) fn read(folder: &Path, name: &str) -> Value {
    serde_json::from_str(&text(folder, name)).unwrap()
}

pub(crate) fn text(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name).with_extension("json")).unwrap()
}

/// Fails unless the rows of a table name exactly the fixtures of a folder.
pub(crate) fn assert_every_fixture_has_a_row(folder: &Path, rows: impl IntoIterator<Item = &'static str>) {
    let mut rows: Vec<_> = rows.into_iter().map(str::to_owned).collect();
    rows.sort();
    rows.dedup();
    assert_eq!(rows, names(folder), "rows of the table, and fixtures in {}", folder.display());
}
