//! What `docs/semantics.md` promises, tried: each time line of the page runs through the real parser of the breakers'
//! file, the real service (signed callbacks, orders, restarts) and the real core, on a clock of its own, and a row
//! that is not so fails with its line.
//!
//! The page is the test's only input, so what it says and what is tested cannot drift apart. Left out: how long a
//! message takes, callers and their own timers (`tests/client`), stores that fail (`tests/stores`, `tests/service`).

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod coverage;
mod document;
mod events;
mod rig;
mod timeline;
mod world;

use document::{Block, Document};

const PAGE: &str = "docs/semantics.md";

fn page() -> Document {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(PAGE);
    Document::parse(&std::fs::read_to_string(path).unwrap()).unwrap_or_else(|problems| fail(&problems))
}

fn fail(problems: &[String]) -> ! {
    let lines: Vec<String> = problems.iter().map(|problem| format!("{PAGE}, {problem}")).collect();
    panic!("{} problem(s):\n{}", lines.len(), lines.join("\n"));
}

#[tokio::test]
async fn every_row_of_every_time_line_is_so() {
    let mut problems = Vec::new();
    for block in &page().blocks {
        problems.extend(timeline::check(block).await);
    }
    if !problems.is_empty() {
        fail(&problems);
    }
}

#[test]
fn every_word_of_every_setting_and_every_order_is_in_a_time_line() {
    let problems = coverage::missing(&page().blocks);
    if !problems.is_empty() {
        fail(&problems);
    }
}

#[test]
fn every_row_of_the_state_table_is_shown_in_a_time_line() {
    let page = page();
    assert!(page.transitions.len() > 10, "the state table is gone: {}", page.transitions.len());
    let problems: Vec<String> =
        page.transitions.iter().filter_map(|row| row.shown_in(&page.blocks).err()).collect();
    if !problems.is_empty() {
        fail(&problems);
    }
}

/// The one time line of a page, with `rows`.
fn one(rows: &str) -> Block {
    let text =
        format!("\n```timeline x\nramp = \"10s\"\n\nt | Datadog | arrives | bank-charge/0001\n{rows}```\n");
    Document::parse(&text).unwrap().blocks.remove(0)
}

#[tokio::test]
async fn a_row_that_is_not_so_is_told_with_its_line_and_what_is_so() {
    let right = "0:00 | OK | reconcile | closed 100 %\n0:10 | Alert | alert hint + report | open 1 %\n";
    assert_eq!(timeline::check(&one(right)).await, Vec::<String>::new());
    for (row, told) in [
        ("0:20 | OK | report | open 100 %\n", "line 8: bank-charge/0001 is `open 1 %`, not `open 100 %`"),
        (
            "0:20 | OK | report | half-open 10 %\n",
            "line 8: bank-charge/0001 is `open 1 %`, not `half-open 10 %`",
        ),
        ("0:20 | | #9 report -> 200 | open 1 %\n", "line 8: the answer is 422, not 200"),
        ("0:05 | | | open 1 %\n", "line 8: earlier than the row before"),
        ("0:20 | Allert | | open 1 %\n", "line 8: `Allert` is no status"),
        ("0:20 | | telegram | open 1 %\n", "line 8: `telegram` is nothing that can arrive"),
    ] {
        let problems = timeline::check(&one(&format!("{right}{row}"))).await;
        assert_eq!(problems.len(), 1, "{row}: {problems:?}");
        assert!(problems[0].starts_with(told), "{row}: {problems:?}");
    }
}

#[test]
fn what_no_row_would_check_is_refused() {
    for (text, told) in [
        ("\n```timeline x\nramp = \"10s\"\n\nt | Datadog | arrives | a\n```\n", "line 2: no row"),
        ("\n```timelines\n```\n", "line 2: a block of kind `timelines`"),
        (
            "\n```timeline x\n\nt | Datadog | arrives | a\n0:00 | OK | | closed 100 %\n",
            "line 2: the block has no end",
        ),
        (
            "\n```timeline x\n\nt | Datadog | arrives | a\n0:00 | OK | closed 100 %\n```\n",
            "line 5: 3 cells, not 4",
        ),
    ] {
        let problems = Document::parse(text).err().unwrap_or_default();
        assert!(problems.iter().any(|problem| problem.starts_with(told)), "{text}: {problems:?}");
    }
}
