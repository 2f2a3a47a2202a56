//! Docs: a link leads somewhere, a page can be found, from the README and in the book, and what the README tells a stranger to
//! run is what CI runs.

use crate::{files, root, text};
use std::path::{Path, PathBuf};

/// Links of a Markdown text: what stands in `](…)`, outside of code.
fn links(markdown: &str) -> Vec<String> {
    let mut in_code = false;
    let mut found = Vec::new();
    for line in markdown.lines() {
        in_code ^= line.trim_start().starts_with("```");
        if in_code {
            continue;
        }
        let mut rest = line;
        while let Some((_, after)) = rest.split_once("](") {
            let Some((link, after)) = after.split_once(')') else { break };
            found.push(link.to_owned());
            rest = after;
        }
    }
    found
}

/// What a heading is linked by: lower case, blanks as hyphens, punctuation gone.
fn anchors(markdown: &str) -> Vec<String> {
    let headings = markdown.lines().filter_map(|line| line.strip_prefix('#'));
    headings
        .map(|heading| {
            let words = heading.trim_start_matches('#').trim().to_lowercase();
            words
                .chars()
                .filter(|letter| letter.is_alphanumeric() || [' ', '-', '_'].contains(letter))
                .map(|letter| if letter == ' ' { '-' } else { letter })
                .collect()
        })
        .collect()
}

fn is_within(link: &str) -> bool {
    !link.contains("://") && !link.starts_with("mailto:")
}

fn target(page: &Path, link: &str) -> PathBuf {
    let (file, _) = link.split_once('#').unwrap_or((link, ""));
    if file.is_empty() { root().join(page) } else { root().join(page).parent().unwrap().join(file) }
}

#[test]
fn every_link_of_the_docs_leads_somewhere() {
    let mut seen = 0;
    for page in files(".md") {
        for link in links(&text(&page)).iter().filter(|link| is_within(link)) {
            let target = target(&page, link);
            assert!(target.exists(), "{}: ({link}) leads nowhere", page.display());
            if let Some((_, anchor)) =
                link.split_once('#').filter(|_| target.extension().is_some_and(|end| end == "md"))
            {
                let known = anchors(&text(&target));
                assert!(
                    known.iter().any(|known| known == anchor),
                    "{}: ({link}): no such heading",
                    page.display()
                );
            }
            seen += 1;
        }
    }
    assert!(seen > 30, "only {seen} links were seen");
}

#[test]
fn every_page_can_be_found_from_the_readme() {
    let mut found = vec![root().join("README.md")];
    let mut nth = 0;
    while let Some(page) = found.get(nth).cloned() {
        nth += 1;
        for link in links(&text(&page)).iter().filter(|link| is_within(link)) {
            let target = std::path::absolute(target(&page, link)).unwrap();
            let target = target.canonicalize().unwrap_or(target);
            if target.extension().is_some_and(|end| end == "md") && !found.contains(&target) {
                found.push(target);
            }
        }
    }
    let is_page = |page: &&PathBuf| page.starts_with("docs") && !page.ends_with("SUMMARY.md");
    for page in files(".md").iter().filter(is_page) {
        let page_at = root().join(page).canonicalize().unwrap();
        assert!(found.contains(&page_at), "{}: no page that the README leads to links it", page.display());
    }
}

/// The book's table of contents: what stands there is built, and nothing else is.
const SUMMARY: &str = "docs/SUMMARY.md";

#[test]
fn every_page_stands_in_the_book_once() {
    let listed: Vec<PathBuf> =
        links(&text(Path::new(SUMMARY))).iter().map(|link| Path::new("docs").join(link)).collect();
    let pages = files(".md");
    for page in pages.iter().filter(|page| page.starts_with("docs") && !page.ends_with("SUMMARY.md")) {
        let times = listed.iter().filter(|listed| *listed == page).count();
        assert_eq!(times, 1, "{}: {SUMMARY} names it {times} times", page.display());
    }
    for page in listed {
        assert!(pages.contains(&page), "{SUMMARY} names {}, which is not there", page.display());
    }
}

/// The first block of code in the README is what a stranger types.
#[test]
fn what_the_readme_tells_to_run_is_there_and_ci_runs_it() {
    let readme = text(Path::new("README.md"));
    let block = readme.split("```").nth(1).expect("a block of code");
    let ci = text(Path::new("tests/run"));
    let commands: Vec<&str> = block
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.split('#').next().unwrap().trim())
        .collect();
    assert!(commands.len() >= 2, "{commands:?}");
    for command in commands {
        if let Some(script) = command.split_whitespace().next().filter(|word| word.starts_with("tests/")) {
            assert!(root().join(script).is_file(), "{script} is not there");
            let is_slow =
                ["tests/audit", "tests/bench", "tests/coverage", "tests/fuzz", "tests/mutants", "tests/run"]
                    .contains(&script);
            assert!(is_slow || ci.contains(script), "tests/run does not call {script}");
        } else {
            let words = command.replace("cargo run -- ", "cargo run --quiet -- ");
            assert!(ci.contains(&words), "tests/run does not run `{command}`");
        }
    }
    assert!(text(Path::new(".ci/run")).contains("tests/run"), ".ci/run is not tests/run");
}

/// A bench that `tests/bench` does not run is in no table; and the table needs its place.
#[test]
fn every_bench_is_run_for_the_table() {
    let (script, manifest) = (text(Path::new("tests/bench")), text(Path::new("tests/Cargo.toml")));
    let run: Vec<&str> = script
        .lines()
        .filter_map(|line| line.split_once("names=(").or(line.split_once("names+=(")))
        .flat_map(|(_, names)| names.trim_end_matches(')').split(' '))
        .collect();
    let benches = manifest.split("[[bench]]").skip(1).filter_map(|bench| bench.split('"').nth(1));
    for bench in benches {
        assert!(run.contains(&bench), "tests/bench does not run {bench}, only {run:?}");
    }
    let page = text(Path::new("docs/benchmarks.md"));
    let place = |edge: &str| page.find(&format!("<!-- tests/bench --write: {edge} -->"));
    assert!(place("begin").zip(place("end")).is_some_and(|(begin, end)| begin < end), "docs/benchmarks.md");
}
