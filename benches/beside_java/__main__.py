"""Rokini beside the Java daemon of the KCL: the same application, properties, stream and load. Started by beside_java.sh."""

import json
import os
import platform
import sys

from behaviour import behaviour
from cost import cost
from judge import check, worse
from output import table


def main():
    mode, kinds = sys.argv[1], sys.argv[2:]
    check()
    print(f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}")
    results = {}
    for kind in kinds or (["rokini", "java", "lambda", "lines"] if mode == "cost" else ["rokini", "java"]):
        results[kind] = {"cost": cost, "behaviour": behaviour}[mode](kind)
    if mode == "cost":
        table(results)
    else:
        for kind, events in results.items():
            print(f"\n{kind}")
            table(events)
    print(json.dumps(results))
    if mode == "behaviour" and "rokini" in results:
        wrong = worse(results["rokini"], results.get("java"))
        print("\n".join(["", "Rokini is worse:", *wrong] if wrong else ["", "Rokini is nowhere worse."]))
        return 1 if wrong else 0
    return 0


sys.exit(main())
