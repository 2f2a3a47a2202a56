//! The reference parts of the pages tell what the programs know, docs/cli.md what the command takes, and shells complete it.

use crate::run;
use std::path::Path;
use std::process::Command;

const BEGIN: &str = "<!-- reference: made by `cutout reference` -->\n";

#[test]
fn the_document_holds_every_command_and_flag() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let document = std::fs::read_to_string(path).unwrap();
    let (_, written) = document.split_once(BEGIN).expect("docs/cli.md has a reference part");
    let made = cutout_cli::reference();
    assert!(
        written.trim() == made.trim(),
        "docs/cli.md has fallen behind: put what `cargo run -- reference` prints below its marker\n{made}"
    );
}

#[test]
fn the_pages_hold_every_variable_setting_metric_and_operation() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let parts = cutout_cli::parts();
    for part in &parts {
        let page = std::fs::read_to_string(docs.join(part.page)).unwrap();
        let made = cutout_core::reference::placed(&page, part.name, &part.text);
        let made = made.unwrap_or_else(|| panic!("docs/{} has no markers for {}", part.page, part.name));
        assert!(
            page == made,
            "docs/{}, {}, has fallen behind: cargo run -- reference --write docs",
            part.page,
            part.name
        );
    }
    assert!(parts.iter().all(|part| part.text.lines().count() > 3), "{parts:?}");
}

#[test]
fn shells_complete_its_words() {
    let (succeeded, script) = run(&["completions", "bash"]);
    assert!(succeeded, "{script}");
    // What bash itself makes of it: the words that begin with `re` after `cutout`.
    let asked = format!(
        "{script}\nCOMP_WORDS=(cutout re); COMP_CWORD=1; _cutout cutout re cutout; echo found: ${{COMPREPLY[@]}}"
    );
    let told = Command::new("bash").args(["-c", &asked]).output().unwrap();
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("found: ") && told.contains("release") && told.contains("resume"), "{told}");
    for shell in ["zsh", "fish"] {
        let (succeeded, script) = run(&["completions", shell]);
        assert!(succeeded && script.contains("fail-if-open"), "{shell}: {script}");
    }
}
