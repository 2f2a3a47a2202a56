"""Asks every operation of a description without a token, and with a wrong one: all must answer 401 with a problem.

Usage: nobody.py OPENAPI_JSON BASE_URL
"""

import json
import sys
import urllib.error
import urllib.request

METHODS = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"]


def status_of(method, url, headers):
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers.get_content_type()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers.get_content_type()


def main(description, base):
    with open(description, encoding="utf-8") as file:
        paths = list(json.load(file)["paths"]) + ["/none", "/v1", "/v1/none", "/v1/openapi.json"]
    asked = 0
    for path in paths:
        url = base + path.replace("{id}", "bank-charge/0001")
        for method in METHODS:
            for headers in [{}, {"Authorization": "Bearer " + "x" * 40}, {"Cookie": "token=x"}]:
                got = status_of(method, url, headers)
                if got != (401, "application/problem+json"):
                    sys.exit(f"{method} {path} with {headers or 'nothing'} answers {got}")
                asked += 1
    print(f"{asked} requests, each answered 401")


if __name__ == "__main__":
    main(*sys.argv[1:])
