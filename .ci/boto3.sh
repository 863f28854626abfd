#!/usr/bin/env bash
# Asks the local Kinesis with the newest boto3 of PyPI, whichever the machine has: its service model, what is new, a queue whose
# consumers are killed, and the questions of the comparison in docs/LOCAL.md. In a directory that is removed afterwards.
#
# Exit status 77: skipped, and the reason is printed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

skip() { printf 'skipped: %s\n' "$1"; exit 77; }
command -v python3 >/dev/null 2>&1 || skip "python3 is not installed"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

python3 -m venv "$scratch/venv" >"$scratch/venv.log" 2>&1 \
  || skip "python3 cannot make an environment: $(tail -n 1 "$scratch/venv.log")"
# `pytest` is for the test in docs/LOCAL.md.
timeout 240 "$scratch/venv/bin/pip" install --quiet boto3 pytest >"$scratch/pip.log" 2>&1 \
  || skip "pip cannot install boto3: $(tail -n 1 "$scratch/pip.log")"

export PATH="$scratch/venv/bin:$PATH"
python3 -c 'import boto3; print("boto3", boto3.__version__)'
cargo test --workspace --test it -- clients::boto3 clients::the_questions service_model:: local::the_python_tests --nocapture 2>&1 |
  tee "$scratch/test.log"
# All of them are there now: a test that misses one has not looked where they are.
if sed -n 's/^skipped: //p' "$scratch/test.log" | grep -E 'boto3|botocore|pytest|python3'; then
  printf 'failed: these were skipped although boto3 is there\n' >&2
  exit 1
fi
