#!/usr/bin/env bash
# How long the local Kinesis takes from its start until it answers, and what it holds in memory with 100 shards:
#
#   cargo build --release --workspace --bin rokini && .ci/cold-start.sh
#
# ROKINI names another program. It prints the median and the slowest of 20 starts, and the resident memory of the last, and fails where
# the median is 50 ms or more, or the memory 20 MB.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

rokini=${ROKINI:-${CARGO_TARGET_DIR:-target}/release/rokini}
[[ -x "$rokini" ]] || { echo "there is no $rokini: build it first" >&2; exit 2; }
scratch=$(mktemp -d)
server=
finish() {
  [[ -z "$server" ]] || kill "$server" 2>/dev/null || true
  rm -rf "$scratch"
}
trap finish EXIT
mkfifo "$scratch/ready"

times=()
for run in $(seq 20); do
  began=$(date +%s%N)
  "$rokini" local --kinesis-port 0 --dynamodb-port 0 --stream orders:100 --ready-fd 4 4<>"$scratch/ready" >/dev/null 2>&1 &
  server=$!
  read -r _ <"$scratch/ready"
  times+=($((($(date +%s%N) - began) / 10000)))
  ((run == 20)) && resident=$(awk '/^VmRSS/ { print $2 }' "/proc/$server/status")
  kill "$server"
  wait "$server" || true
  server=
done
mapfile -t sorted < <(printf '%s\n' "${times[@]}" | sort -n)
awk -v median="${sorted[10]}" -v slowest="${sorted[19]}" -v resident="$resident" 'BEGIN {
  printf "cold start: median %.1f ms, slowest %.1f ms; resident with 100 shards: %.1f MB\n", median / 100, slowest / 100, resident / 1024
  exit median >= 5000 || resident >= 20 * 1024
}'
