"""A real Envoy on infra/envoy/envoy.yaml follows the flags. Each check tells what a user sees; see tests/envoy."""

import os
import re
import signal
import sys
import threading
import time

import rig as stage
from rig import until

CHECKS, LONG = [], []


def check(function):
    CHECKS.append(function)
    return function


def long_check(function):
    """One that takes minutes: it runs when it is named."""
    LONG.append(function)
    return function


def refuses(caller, key="0001", **headers):
    return lambda: caller.call(key, **headers).refused


def admits(caller, key="0001", **headers):
    return lambda: caller.call(key, **headers).status == 200


@check
def a_flag_flipped_in_redis_makes_envoy_refuse_that_key_and_only_that_key(rig, envoy):
    caller = envoy.caller()
    assert [caller.call(key).status for key in ("0001", "0002", None)] == [200, 200, 200]
    rig.redis.publish(state="open")
    until("0001 is refused", refuses(caller))
    refused = caller.call("0001")
    assert (refused.status, refused.refused) == (503, "bank-charge/0001")
    assert [caller.call(key).status for key in ("0002", "00011", None)] == [200, 200, 200]
    assert caller.call("0002", cutout_refused="x").status == 200, "no request can ask for a refusal"
    line = until("the access log tells of it", lambda: [line for line in envoy.access_lines() if line["refused"] != None])[-1]
    told = (line["route"], line["details"], line["refused"], line["cluster"])
    assert told == ("cutout-refused", "direct_response", "bank-charge/0001", None), told
    assert envoy.counted(refused="bank-charge/0001") >= 2 and envoy.stat("cluster.vendor.upstream_rq_503") == 0
    rig.redis.publish(state="closed")
    until("0001 is admitted again", admits(caller))


@check
def classes_that_are_not_listed_pass(rig, envoy):
    caller = envoy.caller()
    rig.redis.publish(state="open", refuse=["charge"])
    until("charges are refused", refuses(caller, x_operation="charge"))
    assert caller.call("0001").refused, "a call without a class counts as listed"
    assert caller.call("0001", x_operation="refund").status == 200
    rig.redis.publish(state="closed")
    until("charges are admitted again", admits(caller, x_operation="charge"))


@check
def watch_mode_refuses_nobody_and_is_counted(rig, envoy):
    caller, before = envoy.caller(), envoy.counted(would_refuse="bank-charge/0003")
    rig.redis.publish("0003", mode="watch", would="open")
    until("it is counted", lambda: caller.call("0003").status == 200 and envoy.counted(would_refuse="bank-charge/0003") > before)
    answers = [caller.call("0003").status for _ in range(20)]
    assert answers == [200] * 20 and envoy.counted(refused="bank-charge/0003") == 0
    rig.redis.publish("0003")


def admitted_share(rig, envoy, flag, length_s, expected):
    """Calls for `length_s` from four connections; yields how many of each second's calls were admitted, and how many should be."""
    rig.redis.publish(**flag)
    offset_s = rig.redis.now_ms() / 1000 - time.monotonic()
    seen, ends = [], time.monotonic() + length_s

    def call():
        caller = envoy.caller()
        while time.monotonic() < ends:
            now_ms = (time.monotonic() + offset_s) * 1000
            seen.append((now_ms, caller.call("0001").status == 200, expected(now_ms)))

    callers = [threading.Thread(target=call) for _ in range(4)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    return seen


@check
def the_share_admitted_follows_the_ramp(rig, envoy):
    length_ms, parts = 18_000, 6
    from_ms = rig.redis.now_ms() + 500
    ramp = {"from_ms": from_ms, "to_ms": from_ms + length_ms, "from_ppm": 100_000}
    flag = {"state": "half-open", "ramp": ramp, "next": {"at_ms": ramp["to_ms"], "state": "closed"}}
    expected = lambda now_ms: min(1, 0.1 + 0.9 * max(0, now_ms - from_ms) / length_ms)
    # Meanwhile a fault holds: it is told again before it would lapse.
    fault = {"since_ms": from_ms, "until_ms": from_ms + 600_000, "abort_ppm": 1_000_000, "only": {"name": "x-fault", "value": None}}
    rig.redis.publish("0010", fault=fault)
    pushes = rig.metric("pushes_total")
    seen = [one for one in admitted_share(rig, envoy, flag, length_ms / 1000 + 2, expected) if one[0] > from_ms]
    filters = envoy.stat("extension_config_discovery.http_filter.cutout/bank-charge.config_reload")
    for part in range(parts):
        inside = [one for one in seen if from_ms + part * length_ms / parts <= one[0] < from_ms + (part + 1) * length_ms / parts]
        share, wanted = (sum(one[place] for one in inside) / len(inside) for place in (1, 2))
        print(f"    ramp, part {part + 1} of {parts}: admitted {share:.1%}, wanted {wanted:.1%}, of {len(inside)} calls")
        # What chance may do to so few calls comes on top.
        chance = 3 * (wanted * (1 - wanted) / len(inside)) ** 0.5
        assert abs(share - wanted) <= 0.03 + max(0, chance - 0.03), (share, wanted, len(inside))
    until("all are admitted at its end", lambda: all(envoy.caller().call("0001").status == 200 for _ in range(20)))
    assert envoy.caller().call("0010", x_fault="1").status == 503
    print(f"    pushes for the ramp: {rig.metric('pushes_total') - pushes}, filter changes so far: {filters}")
    rig.redis.publish_all([("0001", {}), ("0010", {})])


@check
def an_open_breaker_lets_its_probes_through(rig, envoy):
    seen = admitted_share(rig, envoy, {"state": "open", "probe_ppm": 100_000}, 4, lambda _: 0.1)
    settled = seen[len(seen) // 4 :]
    share = sum(one[1] for one in settled) / len(settled)
    assert abs(share - 0.1) < 0.03, share
    rig.redis.publish()
    until("it is closed", lambda: all(envoy.caller().call("0001").status == 200 for _ in range(20)))


@check
def faults_come_from_flags_by_share_and_by_header_and_end(rig, envoy):
    caller, now_ms = envoy.caller(), rig.redis.now_ms()
    fault = {"since_ms": now_ms, "until_ms": now_ms + 600_000, "abort_ppm": 0, "delay_ppm": 1_000_000, "delay_ms": 300}
    rig.redis.publish("0005", fault={**fault, "only": {"name": "x-fault", "value": "slow"}})
    until("calls that bear the mark wait", lambda: caller.call("0005", x_fault="slow").took_s >= 0.3)
    assert caller.call("0005").took_s < 0.3 and caller.call("0005", x_fault="other").took_s < 0.3 and caller.call("0006", x_fault="slow").took_s < 0.3
    rig.redis.publish("0005", fault={**fault, "abort_ppm": 1_000_000, "delay_ppm": 0, "delay_ms": 0})
    until("calls are aborted", lambda: caller.call("0005").status == 503)
    answers = [caller.call("0005") for _ in range(200)]
    aborted = sum(answer.status == 503 and answer.refused is None for answer in answers)
    assert 60 <= aborted <= 140, f"half of 200, which is the limit without a mark: {aborted}"
    ends_ms = rig.redis.now_ms() + 1_500
    rig.redis.publish("0005", fault={**fault, "until_ms": ends_ms, "abort_ppm": 500_000, "delay_ppm": 0, "delay_ms": 0})
    until("the fault ends by its own time", lambda: all(caller.call("0005").status == 200 for _ in range(20)))
    assert rig.redis.now_ms() >= ends_ms
    # What is refused is refused at once.
    rig.redis.publish("0005", state="open", fault={**fault, "only": {"name": "x-fault", "value": None}})
    until("it is refused", refuses(caller, "0005", x_fault="slow"))
    assert caller.call("0005", x_fault="slow").took_s < 0.3
    rig.redis.publish("0005")


@check
def a_storm_of_flips_is_few_pushes_and_many_open_keys_cost_a_call_nothing(rig, envoy):
    keys, caller = [f"s{place:04}" for place in range(1_000)], envoy.caller()
    median = lambda: sorted(caller.call("0002").took_s for _ in range(300))[150]
    few, pushes, began = median(), rig.metric("pushes_total"), time.monotonic()
    rig.redis.publish_all([(key, {"state": "open"}) for key in keys], of_each=2)
    until("the last of them is refused", refuses(caller, keys[-1]))
    took_s, pushed, many = time.monotonic() - began, rig.metric("pushes_total") - pushes, median()
    assert all(caller.call(key).refused == f"bank-charge/{key}" for key in keys)
    print(f"    1,000 flips in 500 commits in {took_s:.2f} s: {pushed} pushes; an admitted call took {few * 1e3:.2f} ms before, {many * 1e3:.2f} ms with 1,000 open keys")
    assert pushed <= 125, f"a push of each kind for each commit would be 1,000: {pushed}"
    rig.redis.publish_all([(key, {}) for key in keys])
    until("all are admitted again", lambda: all(caller.call(key).status == 200 for key in keys))


@check
def a_rejected_version_is_told_and_the_last_good_one_stays(rig, envoy):
    caller, now_ms = envoy.caller(), rig.redis.now_ms()
    nacks = rig.metric("nacks_total")
    fault = {"since_ms": now_ms, "until_ms": now_ms + 600_000, "abort_ppm": 1_000_000, "only": {"name": "not a\nheader", "value": None}}
    # In one commit with a change that must not be lost by it.
    rig.redis.publish_all([("0007", {"fault": fault}), ("0002", {"state": "open"})])
    until("0002 is refused", refuses(caller, "0002"))
    until("Envoy rejects a header that cannot be", lambda: rig.metric("nacks_total") > nacks)
    line = until("the reason is logged", lambda: [line for line in rig.plane.lines() if "rejected" in line])[-1]
    assert "header_name" in line.lower() or "HeaderName" in line, line
    assert caller.call("0007").status == 200
    rig.redis.publish(state="open")
    until("flags go on meanwhile", refuses(caller))
    rig.redis.publish_all([("0007", {}), ("0001", {}), ("0002", {})])
    until("and afterwards", lambda: caller.call("0001").status == caller.call("0002").status == 200)
    assert rig.metric("nacks_total") == nacks + 1, "what was rejected is not sent again"


@check
def a_control_plane_that_is_killed_costs_no_call_and_comes_back_right(rig, envoy):
    caller, now_ms = envoy.caller(), rig.redis.now_ms()
    fault = {"since_ms": now_ms, "until_ms": now_ms + 600_000, "abort_ppm": 1_000_000, "only": {"name": "x-fault", "value": None}}
    rig.redis.publish_all([("0001", {"state": "open"}), ("0008", {"fault": fault})])
    until("0001 is refused, 0008 has a fault", lambda: caller.call("0001").refused and caller.call("0008", x_fault="1").status == 503)
    rig.plane.kill()
    killed = time.monotonic()
    rig.redis.publish_all([("0001", {}), ("0002", {"state": "open"})])
    assert caller.call("0001").refused and caller.call("0002").status == 200, "Envoy goes on by what it knew last"
    # The layer of faults has a time to live; nothing else ends them here.
    until("the fault falls away without the control plane", admits(caller, "0008", x_fault="1"), patience_s=30)
    print(f"    a fault fell away {time.monotonic() - killed:.1f} s after the control plane was killed")
    assert time.monotonic() - killed > 9 and caller.call("0001").refused
    rig.start_plane()
    until("it tells the states of now", lambda: caller.call("0002").refused and caller.call("0001").status == 200)
    rig.redis.publish_all([("0002", {}), ("0008", {})])
    until("and follows", admits(caller, "0002"))


@check
def a_redis_that_is_killed_costs_no_call_and_comes_back_right(rig, envoy):
    caller = envoy.caller()
    rig.redis.publish(state="open")
    until("0001 is refused", refuses(caller))
    rig.redis.process.kill()
    for _ in range(50):
        assert caller.call("0001").refused and caller.call("0002").status == 200
    rig.redis.start()
    rig.redis.publish_all([("0001", {}), ("0002", {"state": "open"})])
    until("it follows again", lambda: caller.call("0002").refused and caller.call("0001").status == 200)
    rig.redis.publish("0002")
    until("0002 is admitted", admits(caller, "0002"))


@check
def an_envoy_starts_without_a_control_plane(rig, _):
    rig.redis.publish(state="open")
    rig.plane.kill()
    began = time.monotonic()
    alone = stage.Envoy(rig, "alone").ready()
    caller = alone.caller()
    until("it serves", admits(caller))
    print(f"    an Envoy without a control plane served after {time.monotonic() - began:.1f} s")
    rig.start_plane()
    until("it refuses as soon as it is told", refuses(caller))
    rig.redis.publish()
    until("and follows", admits(caller))
    alone.process.kill()


@check
def an_envoy_without_the_token_is_told_nothing(rig, _):
    refused = rig.metric("streams_refused_total")
    other = stage.Envoy(rig, "other", token="another-token").ready()
    until("it is turned away", lambda: rig.metric("streams_refused_total") > refused)
    other.process.kill()


@check
def an_envoy_that_stands_still_holds_up_nobody(rig, envoy):
    slow = stage.Envoy(rig, "slow").ready()
    until("it has its streams", lambda: rig.metric("streams") == 4)
    os.kill(slow.process.child.pid, signal.SIGSTOP)
    caller = envoy.caller()
    for turn in range(100):
        rig.redis.publish_all([("0001", {"state": "open"}), *((f"t{turn:03}{place}", {"state": "open"}) for place in range(5))])
        until("0001 is refused", refuses(caller), every_s=0)
        rig.redis.publish_all([("0001", {}), *((f"t{turn:03}{place}", {}) for place in range(5))])
        until("0001 is admitted", admits(caller), every_s=0)
    rig.redis.publish("0002", state="open")
    os.kill(slow.process.child.pid, signal.SIGCONT)
    late = slow.caller()
    until("it knows what holds now", lambda: late.call("0002").refused and late.call("0001").status == 200)
    rig.redis.publish("0002")
    slow.process.kill()
    until("its streams have ended", lambda: rig.metric("streams") == 2)


@check
def of_two_control_planes_either_will_do(rig, _):
    second = stage.free_port()
    rig.start_plane(ports=(second, stage.free_port()))
    one_of = "{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %d}}}}"

    def with_both(envoy):
        text = envoy.configured(stage.TOKEN)
        assert one_of % rig.xds_port in text
        return text.replace(one_of % rig.xds_port, f"{one_of % rig.xds_port}, {one_of % second}")

    both = stage.Envoy(rig, "both", config=with_both).ready()
    caller = both.caller()
    rig.redis.publish(state="open")
    until("0001 is refused", refuses(caller))
    rig.plane.kill()
    rig.redis.publish_all([("0001", {}), ("0002", {"state": "open"})])
    until("the other one tells it", lambda: caller.call("0002").refused and caller.call("0001").status == 200)
    both.process.kill()
    rig.start_plane()
    rig.redis.publish("0002")


@check
def an_envoy_shows_its_certificate_where_one_is_asked_for(rig, _):
    def with_tls(own_key):
        def configured(envoy):
            # The lines of the file for TLS, without their comment marks.
            head, tail = envoy.configured(stage.TOKEN).rsplit("    # transport_socket:", 1)
            text = head + re.sub(r"^    # ", "    ", "    # transport_socket:" + tail, flags=re.M)
            text = text if own_key else re.sub(r".*tls_certificates.*\n", "", text)
            return text.replace("/etc/cutout-envoy", str(rig.folder))

        return configured

    rig.plane.kill()
    rig.start_plane(**rig.certificates())
    rig.redis.publish(state="open")
    known = stage.Envoy(rig, "known", config=with_tls(True)).ready()
    until("0001 is refused", refuses(known.caller()))
    unknown = stage.Envoy(rig, "unknown", config=with_tls(False)).ready()
    until("it has tried", lambda: unknown.stat("cluster.cutout.upstream_cx_total") > 1)
    assert unknown.caller().call("0001").status == 200 and rig.metric("streams") == 2, "one Envoy with two streams"
    for process in (known.process, unknown.process, rig.plane):
        process.kill()
    rig.start_plane()
    rig.redis.publish()


def without_word_from_us(rig, then):
    """An Envoy on a hook with a policy, that has lost its control plane; yields it, and what it had been told of 0001."""
    rig.plane.kill()
    rig.start_plane((stage.ROOT / "infra/envoy/hooks.toml").read_text() + f'max_staleness_secs = 90\nthen = "{then}"\n')

    def lapsing(envoy):
        # The shares lapse too: on a stream of their own, as the file has it for faults.
        text = envoy.configured(stage.TOKEN)
        own = re.search(r"  - name: cutout-faults/bank-charge\n    rtds_layer:\n.*?\n(?=  - \{name: admin)", text, re.S)[0]
        return re.sub(r"  - name: cutout/bank-charge\n    rtds_layer: .*\n", own.replace("cutout-faults/", "cutout/"), text)

    rig.redis.publish(state="half-open")
    envoy = stage.Envoy(rig, f"lapsing-{then}", config=lapsing).ready()
    caller = envoy.caller()
    until("0001 is refused in part", refuses(caller))
    assert caller.call("0002").status == 200
    rig.plane.kill()
    return envoy, caller, time.monotonic()


@long_check
def without_a_control_plane_a_hook_closes_or_opens_as_it_says(rig, _):
    for then, settled in [
        ("closed", lambda caller: all(caller.call("0001").status == 200 for _ in range(40))),
        ("open", lambda caller: all(caller.call(key).refused for key in ("0001", "0002") for _ in range(20))),
    ]:
        envoy, caller, killed = without_word_from_us(rig, then)
        until("its policy acts", lambda: settled(caller), patience_s=110, every_s=0.5)
        print(f"    then = {then!r}: {time.monotonic() - killed:.0f} s after the control plane was killed")
        assert time.monotonic() - killed > 60 and caller.call().status == 200
        rig.start_plane((rig.folder / "hooks.toml").read_text())
        until("it follows again", lambda: caller.call("0002").status == 200 and caller.call("0001").refused)
        envoy.process.kill()
    rig.plane.kill()
    rig.start_plane()
    rig.redis.publish()


@long_check
def without_redis_a_hook_does_what_it_says(rig, _):
    rig.plane.kill()
    rig.start_plane((stage.ROOT / "infra/envoy/hooks.toml").read_text() + 'max_staleness_secs = 90\nthen = "closed"\n')
    rig.redis.publish(state="open")
    envoy = stage.Envoy(rig, "no-redis").ready()
    caller = envoy.caller()
    until("0001 is refused", refuses(caller))
    rig.redis.process.kill()
    killed = time.monotonic()
    until("its policy acts", admits(caller), patience_s=110, every_s=0.5)
    print(f"    without Redis: {time.monotonic() - killed:.0f} s after it was killed")
    assert time.monotonic() - killed > 80
    rig.redis.start()
    until("it follows again", refuses(caller))
    rig.redis.publish()
    envoy.process.kill()


def main():
    wanted = sys.argv[3:]
    rig, failed = stage.Rig(*sys.argv[1:3]), True
    try:
        rig.start_plane()
        envoy = stage.Envoy(rig, "envoy-1").ready()
        until("it has what it asked for", lambda: envoy.stat("extension_config_discovery.http_filter.cutout/bank-charge.update_success"))
        import figures
        import table

        if wanted == ["--figures"]:
            figures.take(rig, envoy)
            failed = False
            return
        named = lambda function: any(word in function.__name__ for word in wanted)
        checks = [*CHECKS, *table.ROWS]
        for function in filter(named, [*checks, *LONG]) if wanted else checks:
            began = time.monotonic()
            function(rig, envoy)
            print(f"ok  {function.__name__.replace('_', ' ')} ({time.monotonic() - began:.1f} s)", flush=True)
        failed = False
    finally:
        rig.close(failed)


if __name__ == "__main__":
    main()
