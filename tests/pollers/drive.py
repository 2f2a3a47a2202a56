"""Asks the documented poller for each line of standard input: {"operations": […]}, and answers with the shares."""
import json, sys
from breakers import Breakers

breakers = Breakers(sys.argv[1])
for line in sys.stdin:
    asked = json.loads(line)
    try:
        breakers.poll()
        problem = None
    except Exception as error:
        problem = type(error).__name__
    shares = [breakers.share(asked["breaker"], operation) for operation in asked["operations"]]
    print(json.dumps({"shares": shares, "problem": problem}), flush=True)
