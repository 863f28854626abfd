#!/usr/bin/env bash
# Runs the fleet scenario (three processes, one killed, one stopped, nothing lost) against servers that others
# wrote: kinesis-local and dynalite, both from npm, in a directory that is removed afterwards.
#
# Exit status 77: skipped, and the reason is printed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

skip() { printf 'skipped: %s\n' "$1"; exit 77; }
for needed in node npm curl; do
  command -v "$needed" >/dev/null 2>&1 || skip "$needed is not installed"
done

scratch=$(mktemp -d)
servers=()
finish() {
  local status=$?
  trap - EXIT INT TERM
  for server in ${servers[@]+"${servers[@]}"}; do kill "$server" 2>/dev/null || true; done
  wait
  rm -rf "$scratch"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

npm install --prefix "$scratch" --no-audit --no-fund --loglevel=error kinesis-local@0.6.2 dynalite@4.0.0 \
  >"$scratch/npm.log" 2>&1 || skip "npm cannot install kinesis-local and dynalite: $(tail -n 1 "$scratch/npm.log")"

free_port() {
  node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close() })'
}
plain=$(free_port) tls=$(free_port) dynamodb=$(free_port)

# It looks for its files in the current directory.
(
  cd "$scratch/node_modules/kinesis-local"
  exec env KINESIS_MOCK_PLAIN_PORT="$plain" KINESIS_MOCK_TLS_PORT="$tls" CREATE_STREAM_DURATION=50ms \
    SHARD_LIMIT=100 LOG_LEVEL=ERROR node main.js
) >"$scratch/kinesis.log" 2>&1 &
servers+=($!)
node "$scratch/node_modules/dynalite/cli.js" --host 127.0.0.1 --port "$dynamodb" --createTableMs 20 >"$scratch/dynamodb.log" 2>&1 &
servers+=($!)

# wait_for NAME URL: until something answers there, whatever it says.
wait_for() {
  for _ in $(seq 150); do
    if curl --silent --output /dev/null --max-time 2 "$2"; then return; fi
    sleep 0.2
  done
  echo "$1 does not answer on $2"
  cat "$scratch"/*.log
  exit 1
}
wait_for kinesis-local "http://127.0.0.1:$plain/healthcheck"
wait_for dynalite "http://127.0.0.1:$dynamodb/"

INDEPENDENT_SERVERS=1 \
  AWS_ENDPOINT_URL_KINESIS="http://127.0.0.1:$plain" \
  AWS_ENDPOINT_URL_DYNAMODB="http://127.0.0.1:$dynamodb" \
  cargo test --workspace --test it independent:: -- --ignored --nocapture
