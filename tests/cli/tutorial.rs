//! docs/tutorial.md: each of its commands, as printed, does what the page says.
//!
//! A block of `sh` is typed into one shell, a block of `sh leave-running` into another one that is left alone; a block of `text` right
//! behind it is what must come out, `…` standing for anything within a line, or for any lines. The page's ports are fixed,
//! so all of it runs in a network namespace of its own. Left out: cargo. Its place is taken by what the test has built, unless
//! `tests/newcomer` names a fresh clone: there all is as the reader has it.

use cutout_tests::binaries::binary;
use cutout_tests::namespace;
use cutout_tests::process::{PATIENCE, Program};
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Where the programs stand that the test has built.
const BUILT: &str = "CUTOUT_TEST_BUILT";
/// A fresh clone in which the page is followed with the reader's own cargo, network and time.
const CLONE: &str = "CUTOUT_TUTORIAL_CLONE";
/// How long a block may take there: the first ones compile everything.
const COMPILED_WITHIN: Duration = Duration::from_secs(3_600);
/// What a shell prints when a block is done, and a number behind it: how the last command ended.
const DONE: &str = "the block is done:";
/// Stands in for cargo: everything is built, and the one command that runs something through it is run.
const CARGO: &str = "#!/bin/sh
case \"$*\" in
'run -- demo') exec target/debug/cutout demo ;;
'build --bins --examples') ;;
*) echo \"not known here: cargo $*\" >&2; exit 97 ;;
esac
";

#[test]
fn each_command_does_what_the_tutorial_says() {
    if let Some(clone) = fresh_clone() {
        return follow_the_page(&clone);
    }
    if namespace::is_inside() {
        let built = PathBuf::from(std::env::var_os(BUILT).expect("where the programs stand"));
        let clone = tempfile::tempdir().unwrap();
        stand_in_for_cargo(clone.path(), &built);
        return follow_the_page(clone.path());
    }
    let built = binary("cutout").parent().unwrap().to_owned();
    build_charge(&built);
    let name = "tutorial::each_command_does_what_the_tutorial_says";
    namespace::rerun_inside(name, &[(BUILT, built.as_os_str())]);
}

/// The page's caller. It is no binary, so [`binary`] does not build it.
fn build_charge(built: &Path) {
    let profile = match built.file_name().and_then(OsStr::to_str) {
        Some("debug") => "dev",
        other => other.unwrap(),
    };
    let example = ["build", "--quiet", "-p", "cutout-cli", "--example", "charge", "--profile", profile];
    let status = Command::new(env!("CARGO"))
        .args(example)
        .arg("--target-dir")
        .arg(built.parent().unwrap())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(status.success(), "the example is built");
}

fn fresh_clone() -> Option<PathBuf> {
    std::env::var_os(CLONE).map(PathBuf::from)
}

/// A folder that looks like a clone in which all is built.
fn stand_in_for_cargo(clone: &Path, built: &Path) {
    fs::create_dir(clone.join("target")).unwrap();
    symlink(built, clone.join("target/debug")).unwrap();
    let cargo = clone.join("cargo");
    fs::write(&cargo, CARGO).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
}

fn follow_the_page(clone: &Path) {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tutorial.md")).unwrap();
    let mut shell = Shell::start(clone);
    let (mut left_running, mut told, mut commands) = (Vec::new(), None, 0);
    for Block { kind, text } in blocks(&page) {
        match kind {
            "sh" => {
                told = Some(shell.run(&text));
                commands += 1;
            }
            "sh leave-running" => {
                left_running.push(start(clone, &text));
                told = None;
                commands += 1;
            }
            "text" => match (told.take(), left_running.last()) {
                (Some(told), _) => {
                    assert!(fits(&text, &told), "the page shows\n{text}\nand it printed\n{told}");
                }
                (None, Some(LeftRunning(program))) => wait_for(program, &text),
                (None, None) => panic!("nothing has printed\n{text}"),
            },
            other => panic!("the tutorial has a block of {other:?}, which this test does not know"),
        }
    }
    assert!(commands > 10, "only {commands} blocks of commands were found");
}

struct Block<'a> {
    kind: &'a str,
    text: String,
}

/// The page's blocks of code.
fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut is_code = false;
    for line in page.lines() {
        match line.strip_prefix("```") {
            Some(kind) => {
                is_code = !is_code;
                if is_code {
                    blocks.push(Block { kind, text: String::new() });
                }
            }
            None if is_code => {
                let text = &mut blocks.last_mut().unwrap().text;
                text.push_str(line);
                text.push('\n');
            }
            None => {}
        }
    }
    blocks
}

/// Whether what was printed fits what is shown.
fn fits(shown: &str, told: &str) -> bool {
    let (shown, told): (Vec<&str>, Vec<&str>) =
        (shown.trim().lines().collect(), told.trim().lines().collect());
    lines_fit(&shown, &told)
}

fn lines_fit(shown: &[&str], told: &[&str]) -> bool {
    match (shown.split_first(), told.split_first()) {
        (None, told) => told.is_none(),
        (Some((&"…", rest)), told_first) => {
            lines_fit(rest, told) || told_first.is_some_and(|(_, told_rest)| lines_fit(shown, told_rest))
        }
        (Some((line, rest)), Some((told_line, told_rest))) => {
            line_fits(line, told_line) && lines_fit(rest, told_rest)
        }
        (Some(_), None) => false,
    }
}

fn line_fits(shown: &str, told: &str) -> bool {
    let Some((before, mut behind)) = shown.split_once('…') else {
        return shown.trim_end() == told.trim_end();
    };
    let Some(mut told) = told.strip_prefix(before) else { return false };
    while let Some((part, rest)) = behind.split_once('…') {
        let Some((_, after)) = told.split_once(part) else { return false };
        (behind, told) = (rest, after);
    }
    told.ends_with(behind)
}

/// The reader's. In a fresh clone this program's own, without what cargo has told it.
fn environment(clone: &Path) -> Vec<(String, String)> {
    if fresh_clone().is_some() {
        let is_told = |name: &str| name == "CARGO" || name.starts_with("CARGO_") || name == "LD_LIBRARY_PATH";
        let is_set = |name: &str| name == "CARGO_HOME" || !is_told(name);
        return std::env::vars().filter(|(name, _)| is_set(name)).collect();
    }
    let path = std::env::var("PATH").unwrap();
    let own = [("PATH", format!("{}:{path}", clone.display())), ("HOME", clone.display().to_string())];
    own.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

/// A program that is left running. It is asked to end at the end, and takes its own Redis along.
struct LeftRunning(Program);

impl Drop for LeftRunning {
    fn drop(&mut self) {
        let asked = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let is_asked = asked.is_ok_and(|status| status.success());
        if std::thread::panicking() {
            // Time to end, for a second panic would hide the first.
            std::thread::sleep(Duration::from_secs(1));
        } else {
            assert!(is_asked && self.0.wait().success(), "it ends in order");
        }
    }
}

fn start(clone: &Path, text: &str) -> LeftRunning {
    let environment = environment(clone);
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut command = Program::command(Path::new("/usr/bin/env"), &environment);
    // `env` takes what stands before the command as variables, and becomes the command.
    command.args(text.split_whitespace()).current_dir(clone);
    LeftRunning(Program::start(command))
}

/// Waits until the program has printed what is shown.
fn wait_for(program: &Program, shown: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !fits(shown, &program.lines().join("\n")) {
        assert!(
            Instant::now() < deadline,
            "the page shows\n{shown}\nand it printed\n{}",
            program.lines().join("\n")
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The reader's shell.
struct Shell {
    process: Child,
    typed: ChildStdin,
    printed: Receiver<String>,
}

impl Shell {
    fn start(clone: &Path) -> Shell {
        let mut process = Command::new("bash")
            .args(["--norc", "-c", "exec 2>&1; exec bash --norc -s"])
            .env_clear()
            .envs(environment(clone))
            .current_dir(clone)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash starts");
        let (typed, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let (send, printed) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.for_each(|line| drop(send.send(line)));
        });
        Shell { process, typed, printed }
    }

    /// Types a block, and yields what it printed.
    fn run(&mut self, text: &str) -> String {
        writeln!(self.typed, "{text}echo \"{DONE} $?\"").unwrap();
        let patience = if fresh_clone().is_some() { COMPILED_WITHIN } else { 2 * PATIENCE };
        let (deadline, mut told) = (Instant::now() + patience, String::new());
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.printed.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("it does not end:\n{text}\n{told}"));
            if let Some(code) = line.strip_prefix(DONE) {
                // Lint ends with 1 where it finds something, and the page lets it.
                let may_find = text.contains("cutout lint") && !text.contains("--fix-text");
                assert!(code.trim() == "0" || may_find, "it ended with{code}:\n{text}\n{told}");
                return told;
            }
            told.push_str(&line);
            told.push('\n');
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // Either fails only if it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
