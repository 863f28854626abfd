#!/usr/bin/env bash
# Runs the tests of handlers with the clients that people have: amazon_kclpy (without its jars), awslambdaric, Powertools, boto3 and
# cloudevents from PyPI, aws-kcl from npm, lambda_runtime from crates.io, the runtime interface emulator of Lambda by Go, in a directory
# that is removed afterwards.
#
# Exit status 77: skipped, and the reason is printed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=.ci/scratch.sh
source .ci/scratch.sh
need python3 node npm

python_packages "$scratch/py" awslambdaric==4.2.2 aws-lambda-powertools boto3 cloudevents
kclpy 3.2.0 "$scratch/py" amazon_kclpy samples
npm install --prefix "$scratch" --ignore-scripts --no-audit --no-fund --loglevel=error aws-kcl@2.3.2 >"$scratch/npm.log" 2>&1 \
  || skip "npm cannot install aws-kcl: $(tail -n 1 "$scratch/npm.log")"

# A function of another workspace, so with a target of its own; half a minute of CPU time.
if CARGO_TARGET_DIR="$scratch/target" CARGO_PROFILE_DEV_DEBUG=0 timeout 400 cargo build --quiet --locked \
  --manifest-path examples/handlers/rust/Cargo.toml >"$scratch/cargo.log" 2>&1; then
  export RUST_FUNCTION="$scratch/target/debug/function"
else
  printf 'without the function in Rust: %s\n' "$(tail -n 1 "$scratch/cargo.log")"
fi

# As of October 2026; a container image of a function for Lambda has it in it.
emulator=github.com/aws/aws-lambda-runtime-interface-emulator/cmd/aws-lambda-rie@v0.0.0-20261030222936-bef5c4ba774d
if GOBIN="$scratch" timeout 240 go install "$emulator" >"$scratch/go.log" 2>&1; then
  export LAMBDA_EMULATOR="$scratch/aws-lambda-rie"
else
  printf 'without the runtime interface emulator: %s\n' "$(tail -n 1 "$scratch/go.log")"
fi

export PYTHONPATH="$scratch/py" NODE_PATH="$scratch/node_modules"
cargo test --workspace --test it -- handlers:: --nocapture 2>&1 | tee "$scratch/test.log"
# All of them are there now: a test that misses one has not looked where they are. What needs another installation may be left out.
if sed -n 's/^skipped: //p' "$scratch/test.log" | grep -E 'kclpy|awslambdaric|powertools|cloudevents|aws-kcl'; then
  printf 'failed: these were skipped although their clients are there\n' >&2
  exit 1
fi
