#!/usr/bin/env bash
# Asks the local Kinesis with the newest boto3 of PyPI, whichever the machine has: its service model, what is new, a queue whose
# consumers are killed, and the questions of the comparison in docs/LOCAL.md. In a directory that is removed afterwards.
#
# Exit status 77: skipped, and the reason is printed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=.ci/scratch.sh
source .ci/scratch.sh

# `pytest` is for the test in docs/LOCAL.md.
python_environment boto3 pytest
export PATH="$scratch/venv/bin:$PATH"
python3 -c 'import boto3; print("boto3", boto3.__version__)'
cargo test --workspace --test it -- clients::boto3 clients::the_questions service_model:: answers:: local::the_python_tests --nocapture 2>&1 |
  tee "$scratch/test.log"
# All of them are there now: a test that misses one has not looked where they are.
if sed -n 's/^skipped: //p' "$scratch/test.log" | grep -E 'boto3|botocore|pytest|python3'; then
  printf 'failed: these were skipped although boto3 is there\n' >&2
  exit 1
fi
