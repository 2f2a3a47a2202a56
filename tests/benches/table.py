#!/usr/bin/env python3
"""Makes the first table of docs/benchmarks.md, and its plots, of the figures that the benches printed.

A figure is a line `figure NAME VALUE UNIT` in a bench's log. Nothing in the table is typed by hand: machine, versions, date and
command are asked for here, and what is wanted is judged here. A figure that is missing stands as a dash, and is an error in the end.

Usage: tests/benches/table.py LOGS --load L --secs S [--commit C] [--write]      called by tests/bench; C: where LOGS were made, if not here
"""

import argparse
import datetime
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import plot

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/benchmarks.md"
PLOTS = ROOT / "docs/plots"
BEGIN, END = "<!-- tests/bench --write: begin -->", "<!-- tests/bench --write: end -->"
HOPS = (
    ("SNS event in → callback out", "function"),
    ("callback in → commit", "commit"),
    ("commit → last client refuses", "clients"),
    ("**from the event to the last refusal**", "sum"),
)
RUNS = (("1", "1"), ("100", "100"), ("100, callback by TLS", "100.tls"), ("1,000", "1000"))
BREAKERS = (10, 100, 1_000, 10_000, 100_000)
CLIENTS = (1, 10, 100, 1_000)
CLIENTS_OF_FLIPS = (1, 100, 1_000)
# Whose output stands below the tables as it was printed.
PRINTED = ("admit", "peers", "flip", "commit", "stack", "callbacks", "reconcile", "page")
# What stands in the table of single figures: a text with the figures' names in braces.
ROWS = (
    ("Asking a held handle, 1,000 keys, 1 thread", "{admit.held.1000.1.admit} ns; one relaxed load behind an `Arc` takes {admit.held.1000.1.one-relaxed-load-behind-an-Arc} ns", "admit"),
    ("The same, 100,000 keys in random order", "{admit.held.100000.1.admit} ns, two threads {admit.held.100000.2.admit}; the load {admit.held.100000.1.one-relaxed-load-behind-an-Arc} and {admit.held.100000.2.one-relaxed-load-behind-an-Arc}", "admit"),
    ("Asking by name, nothing open", "{admit.named.1000.1.family-admit-key-nothing-open} ns; a cached map takes {admit.named.1000.1.foldhash-in-a-cached-ArcSwap-map} ns", "admit"),
    ("A counted call that succeeds, 1,000 keys, 1 thread", "{admit.call.1000.1.cutout-call-blocking} ns; recloser {admit.call.1000.1.recloser-1-4}, failsafe {admit.call.1000.1.failsafe-1-3-consecutive} (consecutive) and {admit.call.1000.1.failsafe-1-3-by-default} (default), circuitbreaker-rs {admit.call.1000.1.circuitbreaker-rs-0-1}, tower-resilience {admit.call.1000.1.tower-resilience-0-14}", "admit"),
    ("The whole stack around a GET on loopback, 4 at a time on one thread", "{stack.cost} % of the requests per second, {stack.processor} µs of processor", "stack"),
    ("… one at a time on the runtime of `#[tokio::main]`", "{stack.one_at_a_time.cost} % of the requests per second", "stack"),
    ("From the commit to 1 client (p50, p99)", "{flip.1.p50}, {flip.1.p99} ms", "flip"),
    ("From the commit to the last of 100 (p50, p99)", "{flip.100.p50}, {flip.100.p99} ms", "flip"),
    ("The same beside one `XADD` that is read, one `PUBLISH` that is heard: 1 client, 100", "{flip.1.to_xadd} and {flip.1.to_publish} times, {flip.100.to_xadd} and {flip.100.to_publish} times", "flip"),
    ("The commit alone, a round trip", "{commit.script} µs; of a script that does nothing {commit.nothing} µs, of an `XADD` {commit.xadd} µs", "commit"),
    ("Reconcile of 10,000 groups of 500 monitors: first run, quiet, one group of each changed", "{reconcile.first} ms, {reconcile.quiet} ms, {reconcile.changed} ms", "reconcile"),
    ("A process that follows 100,000 breakers and holds a handle on each", "{growth.breakers.100000.memory} MiB resident; with 10 breakers {growth.breakers.10.memory} MiB", "growth"),
    ("What the client keeps for a handle, with it, at 100,000", "{admit.bytes} bytes", "admit"),
    ("The operators' page with 10,000 breakers, the list", "{page.list} ms", "page"),
    ("The function's start, beside Python with `requests`", "{function.start} ms and {function.python_start} ms: {function.start_ratio} times", "function"),
    ("Its memory by then", "{function.memory} MiB and {function.python_memory} MiB: {function.memory_ratio} times", "function"),
    ("Its zip", "{function.zip} MB", "function"),
)


# What is wanted: the words, the figure, the limit, and whether that is a floor.
STACK = "The whole stack around a GET, in requests per second"
WANTED = (
    ("The whole path, event to the last of 100 clients, p99", "path.100.sum.p99", "ms", 15, False),
    *(
        (f"`admit()` on a held handle, of one relaxed load; {keys} keys, {threads} thread{'s' * (threads > 1)}", f"admit.held.{keys}.{threads}.admit.ratio", "times", 2, False)
        for keys in (1, 1_000, 100_000)
        for threads in (1, 2)
    ),
    *(
        (f"Look-up by name, of a cached map; {keys} keys, {threads} thread{'s' * (threads > 1)}, one other open", f"admit.named.{keys}.{threads}.one-other-key-open.ratio", "times", 1.5, False)
        for keys in (1, 1_000, 100_000)
        for threads in (1, 2)
    ),
    *(
        (f"The quickest peer's call, of ours; {keys} keys, {threads} thread{'s' * (threads > 1)}", f"admit.call.{keys}.{threads}.nearest", "times", 1, True)
        for keys in (1, 1_000, 100_000)
        for threads in (1, 2)
    ),
    *(
        (f"tripswitch's call, of ours; {keys} keys, {threads} thread{'s' * (threads > 1)}", f"peers.{keys}.{threads}.tripswitch", "times", 1, True)
        for keys in (1, 1_000, 100_000)
        for threads in (1, 2)
    ),
    ("Two threads that count calls of one breaker, of one thread", "admit.counting.cutout-call-blocking", "times", 1.7, False),
    ("A breaker that is held, at 100,000 keys", "admit.bytes", "bytes", 150, False),
    (f"{STACK}, 4 at a time on one thread", "stack.cost", "%", 5, False),
    (f"{STACK}, one at a time on the runtime of `#[tokio::main]`", "stack.one_at_a_time.cost", "%", 5, False),
    *(
        (f"From the commit to the last of {clients} refusing, of bare {what} of the same commit", f"flip.{clients}.{name}", "times", limit, False)
        for clients in CLIENTS_OF_FLIPS
        for what, name, limit in (("`XREAD BLOCK` followers", "to_stream", 1.3), ("pub/sub followers", "to_pubsub", 2.5))
    ),
    *(
        (f"The same, of bare {what}", f"flip.{clients}.{name}", "times", limit, False)
        for clients in CLIENTS_OF_FLIPS
        for what, name, limit in ((f"followers of one `XADD`; {clients} client{'s' * (clients > 1)}", "to_xadd", 1.3), (f"subscribers of one `PUBLISH`; {clients} client{'s' * (clients > 1)}", "to_publish", 2.5))
    ),
    ("Flips lost while every connection was cut again and again", "flip.lost", "flips", 0, False),
    *(
        (f"Callbacks a second, of the yardstick's; {what}", f"callbacks.{name}.ratio", "times", 0.75, True)
        for what, name in (("mix", "mix"), ("confirmed, 1 group", "confirmed"), ("confirmed, 20 groups", "large"), ("changed", "changed"), ("changed, all of one monitor", "hot"))
    ),
    ("The function's start, of Python's", "function.start_ratio", "times", 40, True),
    ("Its memory, of Python's", "function.memory_ratio", "times", 6, True),
    ("Its zip", "function.zip", "MB", 1.5, False),
)


OURS = "cutout-call-blocking"
PEERS = ("recloser-1-4", "failsafe-1-3-consecutive", "failsafe-1-3-by-default", "circuitbreaker-rs-0-1", "tower-resilience-0-14")


class Figures:
    """What the benches told, by name; remembers what was missing."""

    def __init__(self, logs):
        self.all, self.missing = {}, []
        self.printed = {}
        for log in sorted(logs.glob("*.log")):
            lines = log.read_text(encoding="utf-8").splitlines()
            for line in lines:
                if match := re.fullmatch(r"figure (\S+) (\S+) (.+)", line):
                    self.all[match[1]] = (float(match[2]), match[3])
            self.printed[log.stem] = "\n".join(line.rstrip() for line in lines if not line.startswith("figure ")).strip()

        for keys in (1, 1_000, 100_000):
            for threads in (1, 2):
                self.derive_nearest(f"admit.call.{keys}.{threads}")

    def derive_nearest(self, call):
        """How many times our call the quickest of the peers' takes."""
        theirs = [self.all[f"{call}.{peer}"][0] for peer in PEERS if f"{call}.{peer}" in self.all]
        ours = self.all.get(f"{call}.{OURS}")
        if ours and theirs:
            self.all[f"{call}.nearest"] = (min(theirs) / ours[0], "times")

    def text(self, name):
        """The value as a person reads it."""
        if name not in self.all:
            self.missing.append(name)
            return "–"
        value = self.all[name][0]
        if value >= 1000:
            return f"{value:,.0f}"
        return f"{value:.2g}" if value < 1 else f"{value:.3g}"

    def filled(self, text):
        return re.sub(r"{([^}]+)}", lambda match: self.text(match[1]), text)

    def series(self, names):
        """Points of a plot: those that are there."""
        found = []
        for at, name in names:
            if name in self.all:
                found.append((at, self.all[name][0]))
            else:
                self.missing.append(name)
        return found


def asked(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.strip()


def machine():
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.M)
    kib = int(re.search(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(encoding="utf-8"), re.M)[1])
    system = re.search(r'^PRETTY_NAME="?([^"\n]+)', Path("/etc/os-release").read_text(encoding="utf-8"), re.M)
    return (
        f"{os.cpu_count()} cores ({model[1].strip() if model else platform.machine()}), {kib / 2**20:.0f} GiB, "
        f"{system[1] if system else platform.system()}, Linux {platform.release().split('-')[0]}"
    )


def versions(commit):
    rust = asked("rustc", "--version").split()[1]
    redis = re.search(r"v=(\S+)", asked("redis-server", "--version"))[1]
    changed = " with changes" if asked("git", "status", "--porcelain", "--untracked-files=no") else ""
    at = commit or f"{asked('git', 'rev-parse', '--short=10', 'HEAD')}{changed}"
    return f"Cutout at {at}, Rust {rust}, Redis {redis}"


def path_rows(figures):
    yield "| clients | hop | p50 | p99 | max |"
    yield "|---|---|---|---|---|"
    for label, run in RUNS:
        for hop, name in HOPS:
            cells = [figures.text(f"path.{run}.{name}.{which}") for which in ("p50", "p99", "max")]
            if name == "sum":
                cells = [f"**{cell}**" for cell in cells]
            yield f"| {label} | {hop} | {' | '.join(cells)} |"
            label = ""


def largest_hop(figures):
    """Which hop of the whole path is the largest, and what stands beside it."""
    hops = [(figures.all[name][0], text) for text, hop in HOPS[:3] if (name := f"path.100.{hop}.p50") in figures.all]
    if not hops:
        return "The whole path was not measured."
    events, connections = figures.text("path.100.events"), figures.text("path.100.connections")
    tls = figures.text("path.100.tls.connections")
    return (
        f"With 100 clients the largest hop, by the median, is {max(hops)[1]}. "
        f"The {events} events and those before them that are not counted opened so many connections to the service: {connections}, with TLS {tls}; a warm function shakes hands once. "
        f"Behind the function stand its answer to AWS, at {figures.text('path.100.invocation.p50')} ms, and before it the service's 200, {figures.text('path.100.answer.p50')} ms after the callback (medians)."
    )


def wanted_rows(figures):
    yield "| what is wanted | limit | measured | |"
    yield "|---|---|---|---|"
    for what, name, unit, limit, is_floor in WANTED:
        measured = figures.text(name)
        value = figures.all.get(name, (None,))[0]
        is_met = value is not None and (value >= limit if is_floor else value <= limit)
        yield f"| {what} | {'at least' if is_floor else 'at most'} {limit} {unit} | {measured} | {'met' if is_met else '**not met**'} |"


def growth_rows(figures):
    yield "| breakers | client's memory, MiB | operators' list, 100 of them, ms | a callback of 20 groups, ms | quiet reconcile, ms |"
    yield "|---|---|---|---|---|"
    for count in BREAKERS:
        cells = [figures.text(f"growth.breakers.{count}.{name}") for name in ("memory", "list", "callback", "reconcile")]
        yield f"| {count:,} | {' | '.join(cells)} |"
    yield ""
    yield "| clients | commit → last refuses, p50, ms | p99, ms | Redis's processor for an event, µs | Redis's processor when nothing changes, % |"
    yield "|---|---|---|---|---|"
    for count in CLIENTS:
        cells = [figures.text(f"growth.clients.{count}.{name}") for name in ("p50", "p99", "redis_event", "redis_idle")]
        yield f"| {count:,} | {' | '.join(cells)} |"


def plots(figures):
    """The files' names with their pictures."""
    by_breakers = lambda name: figures.series([(count, f"growth.breakers.{count}.{name}") for count in BREAKERS])
    by_clients = lambda name: figures.series([(count, f"growth.clients.{count}.{name}") for count in CLIENTS])
    yield "memory.svg", plot.chart("Memory of a client that holds all handles", "breakers", "MiB", [("resident", by_breakers("memory"))])
    yield "latency.svg", plot.chart(
        "What waits for the service", "breakers", "ms, median", [("a callback of 20 groups", by_breakers("callback")), ("the operators' list", by_breakers("list"))]
    )
    yield "reconcile.svg", plot.chart("A scheduled run, nothing changed", "breakers", "ms, median", [("20 groups a monitor", by_breakers("reconcile"))])
    yield "clients.svg", plot.chart("From the commit to the last refusal", "clients", "ms", [("p50", by_clients("p50")), ("p99", by_clients("p99"))])
    yield "redis.svg", plot.chart("What Redis works for an event", "clients", "µs of processor", [("an event", by_clients("redis_event"))])


def table(figures, load, secs, commit):
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    yield f"Made by `tests/bench --write` on {date} in {secs / 60:.0f} minutes: {machine()}; {versions(commit)}; release build; load of the machine before the first bench {load}. The short forms, `flip` whole; everything on loopback."
    yield ""
    yield "From a notification of SNS to the last of N clients refusing, milliseconds (`tests/bench path`): the function is warm, Datadog answers at once, Redis has an append-only file (`everysec`)."
    yield ""
    yield from path_rows(figures)
    yield ""
    yield largest_hop(figures)
    yield ""
    yield "What is wanted, each judged by this run alone:"
    yield ""
    yield from wanted_rows(figures)
    yield ""
    yield "| what | figure | `tests/bench …` |"
    yield "|---|---|---|"
    for what, text, bench in ROWS:
        yield f"| {what} | {figures.filled(text)} | `{bench}` |"
    yield ""
    yield "How costs grow (`tests/bench growth`):"
    yield ""
    yield from growth_rows(figures)
    yield ""
    for name, _ in plots(figures):
        yield f"![{name.removesuffix('.svg')}](plots/{name})"
    yield ""
    yield "What the benches printed, whole:"
    for name in PRINTED:
        if text := figures.printed.get(name):
            yield from ("", f"<details><summary>tests/bench {name}</summary>", "", "```", text, "```", "", "</details>")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("logs", type=Path)
    parser.add_argument("--load", required=True)
    parser.add_argument("--secs", type=int, required=True)
    parser.add_argument("--commit")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    figures = Figures(arguments.logs)
    text = "\n".join(table(figures, arguments.load, arguments.secs, arguments.commit))
    print(text)
    if arguments.write:
        PLOTS.mkdir(exist_ok=True)
        for name, picture in plots(figures):
            (PLOTS / name).write_text(picture, encoding="utf-8")
        page = PAGE.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        _, end, after = rest.partition(END)
        if not end:
            sys.exit(f"{PAGE.relative_to(ROOT)} lacks its two markers: {BEGIN} and {END}")
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")
    if missing := sorted(set(figures.missing)):
        sys.exit(f"not measured: {', '.join(missing)}")


if __name__ == "__main__":
    main()
