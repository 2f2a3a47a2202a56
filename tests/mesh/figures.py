"""How long from a commit in Redis until Envoys refuse, beside Envoy's own file-watched update, in turns within one run."""

import json
import os
import time

import rig as stage
from rig import until

TURNS = 200
TYPES = "type.googleapis.com/envoy."


class Watched(stage.Envoy):
    """An Envoy with the same filter from a file that it watches, as teams do who sync files."""

    def __init__(self, rig):
        self.file = rig.folder / "watched.json"
        self.write(False)
        super().__init__(rig, "watched", config=lambda envoy: envoy.from_file())

    def from_file(self):
        ads = "config_source: {ads: {}, resource_api_version: V3, initial_fetch_timeout: 1s}"
        watched = f"config_source: {{path_config_source: {{path: {self.file}}}, resource_api_version: V3, initial_fetch_timeout: 1s}}"
        head, tail = self.configured(stage.TOKEN).split("          - name: cutout-faults/bank-charge", 1)
        assert head.count(ads) == 1
        # Both names of the anchor would read the file: the second filter goes.
        return head.replace(ads, watched) + "          - name: router" + tail.split("          - name: router", 1)[1]

    def write(self, is_open):
        """Replaces the file by a move, which is what Envoy watches for; yields the time just before the move."""
        filter_type = TYPES + "extensions.filters.http."
        noted = {"object_key": "cutout.refused", "factory_key": "envoy.string", "format_string": {"text_format_source": {"inline_string": "bank-charge/0001"}}}
        noting = {"@type": filter_type + "set_filter_state.v3.Config", "clear_route_cache": True, "on_request_headers": [noted]}
        action = {"@type": filter_type + "composite.v3.ExecuteFilterAction", "typed_config": {"name": "refuse", "typed_config": noting}}
        by_header = {"@type": TYPES + "type.matcher.v3.HttpRequestHeaderMatchInput", "header_name": "x-bank-code"}
        found = {"map": {"0001": {"action": {"name": "refuse", "typed_config": action}}}}
        matcher = {"matcher": {"matcher_tree": {"input": {"name": "key", "typed_config": by_header}, "exact_match_map": found}}} if is_open else {}
        composite = {"@type": filter_type + "composite.v3.Composite", **matcher}
        resource = {"@type": TYPES + "config.core.v3.TypedExtensionConfig", "name": "cutout/bank-charge", "typed_config": composite}
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps({"resources": [resource]}))
        began = time.monotonic()
        os.replace(new, self.file)
        return began


def refused_after_ms(began, callers):
    """Asks all Envoys side by side until each has refused once."""
    after, pending = [], list(callers)
    deadline = began + stage.PATIENCE_S
    while pending:
        for caller in pending:
            caller.send("0001")
        answers = [(caller, caller.receive(), time.monotonic()) for caller in pending]
        after += [(at - began) * 1e3 for _, answer, at in answers if answer.refused]
        pending = [caller for caller, answer, _ in answers if not answer.refused]
        assert time.monotonic() < deadline, "not refused"
    return after


def until_admitted(callers):
    until("all are admitted", lambda: all(caller.call("0001").status == 200 for caller in callers))


def told(name, after_ms):
    ordered = sorted(after_ms)
    at = lambda share: ordered[min(int(len(ordered) * share), len(ordered) - 1)]
    print(f"| {name} | {at(0.5):.1f} | {at(0.99):.1f} | {ordered[-1]:.1f} | {len(ordered)} |", flush=True)


def take(rig, envoy):
    fleet = [envoy] + [stage.Envoy(rig, f"envoy-{place}") for place in range(2, 21)]
    callers = [one.ready().caller() for one in fleet]
    watched = Watched(rig).ready()
    by_file = watched.caller()
    one, all_of_them, from_file = [], [], []
    until_admitted([*callers, by_file])
    for turn in range(TURNS):
        for group, figures in ((callers[:1], one), (callers, all_of_them)):
            figures += refused_after_ms(rig.redis.publish(state="open"), group)
            rig.redis.publish(state="closed")
            until_admitted(callers)
        from_file += refused_after_ms(watched.write(True), [by_file])
        watched.write(False)
        until_admitted([by_file])
    load = os.getloadavg()
    print(f"\n{TURNS} turns, 21 Envoys on {os.cpu_count()} cores, load {load[0]:.1f}; from just before the commit (or the move of the file) to the first refusal, ms\n")
    print("| | p50 | p99 | worst | flips seen |\n|---|---|---|---|---|")
    told("one Envoy, of 20 that are told", one)
    told("each of 20 Envoys, asked side by side", all_of_them)
    told("Envoy's own watched file, one Envoy", from_file)
