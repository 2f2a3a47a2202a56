"""Signs and verifies by the library `standardwebhooks`: a line of JSON asks, a line of JSON answers."""
import json, sys
from datetime import datetime, timezone
from standardwebhooks import Webhook, WebhookVerificationError

for line in sys.stdin.buffer:
    asked = json.loads(line)
    webhook = Webhook(asked["secret"])
    if asked["act"] == "sign":
        at = datetime.fromtimestamp(asked["at_secs"], tz=timezone.utc)
        answer = {"signature": webhook.sign(asked["id"], at, asked["body"])}
    else:
        try:
            answer = {"read": webhook.verify(asked["body"], asked["headers"])}
        except WebhookVerificationError as error:
            answer = {"refused": str(error)}
    print(json.dumps(answer), flush=True)
