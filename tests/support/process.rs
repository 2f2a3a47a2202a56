//! A compiled program under test: its lines are read as they come, kept, and written to the run's logs.
//!
//! Its environment holds only what the test gives. It is killed when dropped.

use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running program.
#[derive(Debug)]
pub struct Program {
    child: Child,
    lines: Arc<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    all: Mutex<Vec<String>>,
    readers: Mutex<Vec<JoinHandle<()>>>,
    grown: Condvar,
}

impl Program {
    /// A command whose environment holds only `environment`.
    #[must_use]
    pub fn command(path: &Path, environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(path);
        command.env_clear().envs(environment.iter().copied());
        command
    }

    /// Starts a command. Its standard input stays open until the program is dropped.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(mut command: Command) -> Program {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap_or_else(|error| panic!("starting {command:?}: {error}"));
        let lines = Arc::<Lines>::default();
        let log = log_file(Path::new(command.get_program()));
        collect(child.stdout.take().unwrap(), &lines, log.as_ref());
        collect(child.stderr.take().unwrap(), &lines, log.as_ref());
        Program { child, lines }
    }

    /// Waits for the first line after `skip` lines in which `found` finds something.
    ///
    /// # Panics
    /// If none comes within [`PATIENCE`]; the message shows all lines.
    pub fn wait_for<T>(&self, what: &str, skip: usize, found: impl Fn(&Value) -> Option<T>) -> T {
        self.wait_within(PATIENCE, what, skip, found)
    }

    /// The same with a patience of one's own.
    ///
    /// # Panics
    /// If none comes in time; the message shows all lines.
    pub fn wait_within<T>(
        &self,
        patience: Duration,
        what: &str,
        skip: usize,
        found: impl Fn(&Value) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + patience;
        let mut all = self.lines.all.lock().unwrap();
        let mut looked_at = skip;
        loop {
            while let Some(line) = all.get(looked_at) {
                let line = serde_json::from_str(line).unwrap_or_else(|_| Value::String(line.clone()));
                if let Some(found) = found(&line) {
                    return found;
                }
                looked_at += 1;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no line tells: {what}\n{}", all.join("\n"));
            all = self.lines.grown.wait_timeout(all, left).unwrap().0;
        }
    }

    /// Waits until everything that it printed is read. For one that has ended.
    pub fn read_to_end(&mut self) {
        let readers = std::mem::take(&mut *self.lines.readers.lock().unwrap());
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    }

    /// How many lines there are, to wait only for later ones.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lines.all.lock().unwrap().len()
    }

    /// All lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.all.lock().unwrap().clone()
    }

    /// The process's number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        // Either fails only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// If it does not within [`PATIENCE`].
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end\n{}", self.lines().join("\n"));
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until something is so.
///
/// # Panics
/// If it is not within [`PATIENCE`].
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it does not come to this: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn collect(stream: impl Read + Send + 'static, lines: &Arc<Lines>, log: Option<&Arc<Mutex<File>>>) {
    let (kept, log) = (Arc::clone(lines), log.cloned());
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if let Some(log) = &log {
                let _ = writeln!(log.lock().unwrap(), "{line}");
            }
            kept.all.lock().unwrap().push(line);
            kept.grown.notify_all();
        }
    });
    lines.readers.lock().unwrap().push(reader);
}

/// A file of its own for each program, in the folder that `tests/run` searches for secrets afterwards.
fn log_file(program: &Path) -> Option<Arc<Mutex<File>>> {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    let folder = PathBuf::from(std::env::var_os("TEST_LOGS")?);
    let name = program.file_name()?.to_string_lossy();
    let number = STARTED.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!("{name}-{}-{number}.log", std::process::id()));
    Some(Arc::new(Mutex::new(File::create(path).ok()?)))
}
