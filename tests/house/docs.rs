//! Docs: a link leads somewhere, a page can be found, and what the README tells a stranger to run is what CI runs.

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
    for page in files(".md").iter().filter(|page| page.starts_with("docs")) {
        let page_at = root().join(page).canonicalize().unwrap();
        assert!(found.contains(&page_at), "{}: no page that the README leads to links it", page.display());
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
            let is_slow = ["tests/audit", "tests/bench", "tests/run"].contains(&script);
            assert!(is_slow || ci.contains(script), "tests/run does not call {script}");
        } else {
            let words = command.replace("cargo run -- ", "cargo run --quiet -- ");
            assert!(ci.contains(&words), "tests/run does not run `{command}`");
        }
    }
    assert!(text(Path::new(".ci/run")).contains("tests/run"), ".ci/run is not tests/run");
}
