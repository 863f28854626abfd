"""What is said meanwhile, and in the end."""

import sys
import time

BEGAN = time.monotonic()


def say(text):
    print(f"{time.monotonic() - BEGAN:6.0f} s  {text}", file=sys.stderr, flush=True)


def cell(value):
    if isinstance(value, dict):
        return f"{value['longest']:.1f} ({value['median']:.1f})"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    return f"{value:.0f}" if abs(value) >= 20 or value == int(value) else f"{value:.2f}"


def table(results):
    rows = list(dict.fromkeys(row for figures in results.values() for row in figures))
    print("\n| | " + " | ".join(results) + " |\n|" + "---|" * (len(results) + 1))
    for row in rows:
        print(f"| {row} | " + " | ".join(cell(figures.get(row)) for figures in results.values()) + " |")
