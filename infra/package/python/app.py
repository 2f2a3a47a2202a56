"""The same function as a Python one with the usual library: for the comparison of infra/package/measure, not for use."""

import base64
import hashlib
import hmac
import json
import os
import re

import requests

DATADOG = os.environ.get("CUTOUT_DATADOG_URL", "https://api.datadoghq.com")
SESSION = requests.Session()
SESSION.headers.update({"DD-API-KEY": os.environ["DD_API_KEY"], "DD-APPLICATION-KEY": os.environ["DD_APP_KEY"]})
SECRET = base64.b64decode(os.environ["CUTOUT_SIGNING_SECRETS"].removeprefix("whsec_"))


def handler(event, _context):
    for record in event["Records"]:
        text = record["Sns"]["Message"]
        url = re.search(r"circuit-breaker-callback:\s*(\S+)", text, re.I)
        monitor = re.search(r"/monitors[#/](\d+)", text)
        if url and monitor:
            report = SESSION.get(f"{DATADOG}/api/v1/monitor/{monitor[1]}", params={"group_states": "all"}, timeout=5).json()
            body = json.dumps({"monitor_id": int(monitor[1]), "report": report}).encode()
            signature = base64.b64encode(hmac.new(SECRET, body, hashlib.sha256).digest()).decode()
            headers = {"webhook-signature": f"v1,{signature}", "content-type": "application/json"}
            requests.post(url[1], data=body, headers=headers, timeout=10).raise_for_status()
