# rokini run orders --group billing --handler lines -- python3 examples/handlers/bill.py
import json
import sys

for line in sys.stdin:
    record = json.loads(line)
    try:
        print("billed", record["data"], file=sys.stderr)  # the work
    except Exception as error:
        print(json.dumps({"fail": record["token"], "error": str(error)}), flush=True)
    else:
        print(record["token"], flush=True)
