"""What infra/envoy/envoy.yaml promises around a vendor, seen row by row: the counterparts of App Mesh's settings in docs/envoy.md."""

import collections
import concurrent.futures
import socket
import time

from rig import until


def at_once(envoy, calls, **call):
    """That many calls side by side, each on a connection of its own."""
    with concurrent.futures.ThreadPoolExecutor(calls) as pool:
        return list(pool.map(lambda _: envoy.caller().call(**call), range(calls)))


def bodies(envoy, calls=20, **call):
    caller = envoy.caller()
    return collections.Counter(caller.call(**call).body for _ in range(calls))


def pool_overflow_is_503_at_once(rig, envoy):
    for vendor in rig.vendors:
        vendor.delay_s = 0.8
    answers = at_once(envoy, 60)
    for vendor in rig.vendors:
        vendor.delay_s = 0.0
    over = [answer for answer in answers if answer.status == 503]
    passed = sum(answer.status == 200 for answer in answers)
    # 20 connections and 10 that wait for one.
    assert len(over) + passed == 60 and 20 <= passed <= 32, (len(over), passed)
    assert all(answer.refused is None for answer in over)
    assert envoy.stat("cluster.vendor.upstream_rq_pending_overflow") >= len(over)


def a_route_time_out_is_504(rig, envoy):
    for vendor in rig.vendors:
        vendor.delay_s = 2.6
    answer = envoy.caller().call()
    for vendor in rig.vendors:
        vendor.delay_s = 0.0
    assert answer.status == 504 and 1.9 <= answer.took_s < 2.6, (answer.status, answer.took_s)


def a_request_that_does_not_end_is_408(_, envoy):
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", envoy.port), timeout=10) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nab")
        status = connection.recv(100).split()[1]
    assert status == b"408" and 2.9 <= time.monotonic() - began < 5, status


def a_503_is_tried_three_times_where_that_is_safe_and_once_where_not(rig, envoy):
    tried = lambda: sum(vendor.calls for vendor in rig.vendors)
    for vendor in rig.vendors[:2]:
        vendor.status = 503
    before = tried()
    assert envoy.caller().call(path="/inquiries").status == 503 and tried() - before == 3
    assert envoy.caller().call(path="/charges").status == 503 and tried() - before == 4
    # One endpoint that answers is enough.
    rig.vendors[1].status = 200
    assert envoy.caller().call(path="/inquiries").status == 200
    rig.vendors[0].status = 200
    bodies(envoy)


def a_sick_endpoint_is_ejected_and_let_back(rig, envoy):
    sick, ejected, caller = rig.vendors[0], "cluster.vendor.outlier_detection.ejections_active", envoy.caller()
    sick.status = 500
    until("vendor-1 is ejected", lambda: caller.call().status and envoy.stat(ejected) == 1)
    assert bodies(envoy) == {"vendor-2": 20}, "though its health check succeeds"
    sick.status = 200
    until("vendor-1 is let back", lambda: bodies(envoy, 4)["vendor-1"])


def a_failed_health_check_removes_an_endpoint(rig, envoy):
    rig.vendors[1].healthy = False
    until("vendor-2 gets no call", lambda: bodies(envoy) == {"vendor-1": 20})
    rig.vendors[1].healthy = True
    until("vendor-2 gets calls again", lambda: bodies(envoy)["vendor-2"])


def calls_fail_over_and_come_back(rig, envoy):
    for vendor in rig.vendors[:2]:
        vendor.healthy = False
    until("the standby gets all calls", lambda: bodies(envoy) == {"standby": 20})
    for vendor in rig.vendors[:2]:
        vendor.healthy = True
    until("and none afterwards", lambda: bodies(envoy)["standby"] == 0)


def weights_are_80_to_20(_, envoy):
    calls = 1_000
    share = bodies(envoy, calls, path="/quotes")["canary"] / calls
    print(f"    weight 20: {share:.1%} of {calls} calls")
    assert abs(share - 0.2) < 0.05, share


def a_header_chooses_the_route(_, envoy):
    assert bodies(envoy, x_version="canary") == {"canary": 20}
    assert "canary" not in bodies(envoy, x_version="other")


def faults_by_share_and_by_header(rig, envoy):
    now_ms = rig.redis.now_ms()
    fault = {"since_ms": now_ms, "until_ms": now_ms + 60_000, "delay_ppm": 500_000, "delay_ms": 300}
    rig.redis.publish("0009", fault=fault)
    until("some wait", lambda: envoy.caller().call("0009").took_s >= 0.3)
    caller = envoy.caller()
    waited = sum(caller.call("0009").took_s >= 0.3 for _ in range(24))
    assert 3 <= waited <= 21, f"300 ms for half of 24: {waited}"
    marked = {"name": "x-fault", "value": "abort"}
    rig.redis.publish("0009", fault={**fault, "delay_ppm": 0, "delay_ms": 0, "abort_ppm": 1_000_000, "only": marked})
    until("calls with the header are aborted", lambda: caller.call("0009", x_fault="abort").status == 503)
    assert all(caller.call("0009", x_fault="abort").status == 503 for _ in range(10))
    assert all(caller.call("0009").status == 200 for _ in range(10))
    rig.redis.publish("0009")


ROWS = [
    pool_overflow_is_503_at_once,
    a_route_time_out_is_504,
    a_request_that_does_not_end_is_408,
    a_503_is_tried_three_times_where_that_is_safe_and_once_where_not,
    a_sick_endpoint_is_ejected_and_let_back,
    a_failed_health_check_removes_an_endpoint,
    calls_fail_over_and_come_back,
    weights_are_80_to_20,
    a_header_chooses_the_route,
    faults_by_share_and_by_header,
]
