//! Docs: a link leads somewhere, a path is there, a page can be found, from the README and in the book, and what the README tells
//! a stranger to run is what CI runs.

use crate::{files, root, text};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The folders at the root, as a path begins that is named in full.
const FOLDERS: [&str; 10] =
    ["core/", "flags/", "lambda/", "service/", "client/", "envoy/", "cli/", "infra/", "tests/", "docs/"];

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

/// What a page names between backquotes as a path of this tree; patterns and placeholders are none.
fn paths(markdown: &str) -> impl Iterator<Item = &str> {
    let is_path = |letter: char| letter.is_ascii_alphanumeric() || "/._-".contains(letter);
    let coded = markdown.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let words = coded.filter_map(|code| code.split_whitespace().next());
    words.filter(move |word| {
        word.chars().all(is_path) && FOLDERS.iter().any(|folder| word.starts_with(folder))
    })
}

#[test]
fn every_path_that_the_docs_name_is_there() {
    let mut seen = 0;
    // What has changed may be gone.
    for page in files(".md").iter().filter(|page| !page.ends_with("CHANGELOG.md")) {
        for path in paths(&text(page)) {
            assert!(root().join(path).exists(), "{}: `{path}` is not there", page.display());
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} paths were seen");
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

/// Scripts that take longer than a change may wait; CI does not run them.
const SLOW: [&str; 6] =
    ["tests/audit", "tests/bench", "tests/coverage", "tests/fuzz", "tests/mutants", "tests/newcomer"];
/// What CI runs, and what that runs at its end for itself alone.
const CI: &str = "tests/run";
const PARTS: [&str; 1] = ["tests/canaries"];

/// What a README tells a stranger to type, in its first block of code: each command with what is said of it.
fn commands(readme: &str) -> Vec<(String, String)> {
    let readme = text(Path::new(readme));
    let block = readme.split("```").nth(1).expect("a block of code");
    let parted = |line: &str| {
        line.split_once('#').map_or((line.to_owned(), String::new()), |(command, told)| {
            (command.trim().to_owned(), told.trim().to_owned())
        })
    };
    block.lines().filter(|line| !line.trim().is_empty()).map(parted).collect()
}

fn is_script(command: &str) -> bool {
    command.starts_with("tests/")
}

/// Whether CI runs exactly this, whatever arguments follow.
fn ci_runs(command: &str) -> bool {
    let command = format!("{command} ");
    let ci = text(Path::new(CI));
    ci.lines().any(|line| !line.trim_start().starts_with('#') && format!("{line} ").contains(&command))
}

#[test]
fn what_the_readme_tells_to_run_is_there_and_ci_runs_it() {
    let commands = commands("README.md");
    assert!(commands.len() >= 2, "{commands:?}");
    for (command, told) in &commands {
        assert!(!told.is_empty(), "README.md does not say what `{command}` is for");
        let words = command.replace("cargo run -- ", "cargo run --quiet -- ");
        let is_slow = SLOW.contains(&command.as_str());
        assert!(is_slow || command == CI || ci_runs(&words), "{CI} does not run `{command}`");
    }
    assert!(
        text(Path::new(".ci/run")).lines().any(|line| line.ends_with(&format!("exec {CI}"))),
        ".ci/run is not {CI}"
    );
    for slow in SLOW {
        assert!(!ci_runs(slow), "{slow} is not that slow: {CI} runs it");
    }
}

/// Pages in Japanese, behind the English ones that they say all of.
const TRANSLATED: [(&str, &str); 2] =
    [("README.md", "README.ja.md"), ("docs/introduction.md", "docs/ja/introduction.md")];

/// What a page leads to: links and named paths, a translated page as the English one; each as often as it stands there.
fn leads_to(page: &str) -> Vec<String> {
    let markdown = text(Path::new(page));
    let root = root().canonicalize().unwrap();
    let resolved = |link: &String| {
        let target = target(Path::new(page), link).canonicalize().unwrap();
        let target = target.strip_prefix(&root).unwrap().to_str().unwrap();
        let english = TRANSLATED.iter().find(|(_, japanese)| *japanese == target);
        let target = english.map_or(target, |(english, _)| english);
        link.split_once('#').map_or(target.to_owned(), |(_, anchor)| format!("{target}#{anchor}"))
    };
    let links = links(&markdown);
    let mut found: Vec<String> = links.iter().filter(|link| is_within(link)).map(resolved).collect();
    found.extend(paths(&markdown).map(str::to_owned));
    found.sort();
    found
}

#[test]
fn pages_in_japanese_say_what_the_english_ones_say() {
    let (english, japanese) = (commands("README.md"), commands("README.ja.md"));
    let typed = |all: &[(String, String)]| all.iter().map(|(command, _)| command.clone()).collect::<Vec<_>>();
    assert_eq!(typed(&japanese), typed(&english), "README.ja.md, README.md");
    assert!(japanese.iter().all(|(_, told)| !told.is_empty()), "README.ja.md: {japanese:?}");
    for (english, japanese) in TRANSLATED {
        assert_eq!(leads_to(japanese), leads_to(english), "{japanese}, {english}");
        let parts = |page: &str| text(Path::new(page)).lines().filter(|line| line.starts_with('#')).count();
        assert_eq!(parts(japanese), parts(english), "headings of {japanese}, {english}");
        let rows = |page: &str| text(Path::new(page)).lines().filter(|line| line.starts_with('|')).count();
        assert_eq!(rows(japanese), rows(english), "rows of {japanese}, {english}");
    }
}

#[test]
fn every_script_can_be_run_tells_how_and_stands_in_the_readme() {
    let commands = commands("README.md");
    let scripts: Vec<PathBuf> = files("")
        .into_iter()
        .filter(|file| file.extension().is_none() && file.parent() == Some(Path::new("tests")))
        .collect();
    for (script, _) in commands.iter().filter(|(command, _)| is_script(command)) {
        assert!(scripts.iter().any(|file| file == Path::new(script)), "README.md: {script} is not there");
    }
    for file in scripts {
        let name = file.to_str().unwrap();
        let mode = root().join(&file).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{name} cannot be run: chmod +x");
        assert!(text(&file).contains(&format!("Usage: {name}")), "{name} does not tell its usage");
        let is_told = commands.iter().any(|(command, _)| command == name);
        assert!(is_told || PARTS.contains(&name) && ci_runs(name), "README.md does not tell of {name}");
    }
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
