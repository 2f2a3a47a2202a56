"""Each operation that looks, or that takes a body, was carried out at least once: refusals of what fits the description are
expected, and an operation that refuses everything would pass by them.

Usage: answered.py OPENAPI_JSON SERVICE_LOG
"""

import json
import re
import sys

# It does not end, so the tests of streams ask it.
LEFT_OUT = {"/v1/changes"}


def carried_out(log):
    with open(log, encoding="utf-8") as lines:
        for line in lines:
            said = json.loads(line)
            if said.get("message") == "request" and 200 <= said["status"] < 300:
                yield said["method"], said["path"]


def main(description, log):
    with open(description, encoding="utf-8") as file:
        paths = json.load(file)["paths"]
    done = set(carried_out(log))
    asked = 0
    for path in sorted(set(paths) - LEFT_OUT):
        pattern = re.compile(re.escape(path).replace(r"\{id\}", ".+"))
        for method in {"get", "put"} & set(paths[path]):
            asked += 1
            if not any(by == method.upper() and pattern.fullmatch(at) for by, at in done):
                sys.exit(f"{method.upper()} {path} was never carried out, whatever it was asked")
    print(f"{asked} operations, each carried out")


if __name__ == "__main__":
    main(*sys.argv[1:])
