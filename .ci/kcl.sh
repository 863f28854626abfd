#!/usr/bin/env bash
# There and back with a real Java KCL 3.1.3 (its MultiLang daemon, with the Python client amazon_kclpy) on `rokini local`: it
# consumes a stream that is split meanwhile, and is killed; `rokini import`; Rokini goes on: nothing is lost, and nothing comes
# twice but what the KCL had not checkpointed; `rokini export`, and the KCL goes on from there, with nothing lost or repeated.
#
# RETRIEVAL=FANOUT has the KCL subscribe to shards instead of polling them; it registers `billing` as its consumer.
#
# Three minutes, of which the KCL's two starts take two; eleven at most, downloads included. Exit status 77: skipped, and the reason is printed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

limit=420
fail() { printf 'failed: %s\n' "$1" >&2; exit 1; }

if [[ "${1:-}" != inside ]]; then
  # shellcheck source=.ci/scratch.sh
  source .ci/scratch.sh
  need java python3 curl timeout
  multilang_jars "$scratch/jars"
  kclpy 3.1.3 "$scratch" amazon_kclpy
  if [[ -z "${ROKINI:-}" ]]; then
    # The tests have built it, where they ran before.
    ROKINI=${CARGO_TARGET_DIR:-$PWD/target}/debug/rokini
    [[ -x "$ROKINI" ]] || cargo build --quiet --workspace --bin rokini
  fi
  export ROKINI scratch
  export AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_EC2_METADATA_DISABLED=true
  # Not exec: what is in the scratch directory is removed at the end.
  timeout --kill-after=10 "$limit" "$ROKINI" local --stream orders:4 -- bash "$PWD/.ci/kcl.sh" inside
  exit
fi

# ---- with both services here --------------------------------------------------------------------------------

cd "$scratch"
daemon=
finish() {
  local status=$?
  [[ -z "$daemon" ]] || kill -KILL -- "-$daemon" 2>/dev/null || true
  if ((status)); then tail -n 30 kcl.*.log rokini.log 2>/dev/null || true; fi
  exit "$status"
}
trap finish EXIT

# Notes each record, and then, now and then, that it is checkpointed.
cat >app.py <<'PY'
import os
from amazon_kclpy import kcl
from amazon_kclpy.v3 import processor

class Processor(processor.RecordProcessorBase):
    def initialize(self, input):
        self.shard, self.batches, self.handled = input.shard_id, 0, []
        self.out = open(f"{os.environ['OUT']}.{self.shard}.{os.getpid()}", "w", buffering=1)

    def note(self, what, data):
        self.out.write(f"{what} {data}\n")

    def checkpoint(self, checkpointer):
        checkpointer.checkpoint()
        for data in self.handled:
            self.note("stored", data)
        self.handled = []

    def process_records(self, input):
        for record in input.records:
            data = record.binary_data.decode()
            self.note("handled", data)
            self.handled.append(data)
        self.batches += 1
        if self.batches % 4 == 0 and self.handled:
            self.checkpoint(input.checkpointer)

    def lease_lost(self, input):
        pass

    def shard_ended(self, input):
        self.checkpoint(input.checkpointer)

    def shutdown_requested(self, input):
        self.checkpoint(input.checkpointer)

kcl.KCLProcess(Processor()).run()
PY
cat >app.properties <<PROPERTIES
executableName = python3 -u $scratch/app.py
streamName = orders
applicationName = billing
AwsCredentialsProvider = EnvironmentVariableCredentialsProvider
initialPositionInStream = TRIM_HORIZON
regionName = us-east-1
kinesisEndpoint = $AWS_ENDPOINT_URL_KINESIS
dynamoDBEndpoint = $AWS_ENDPOINT_URL_DYNAMODB
retrievalMode = ${RETRIEVAL:-POLLING}
idleTimeBetweenReadsInMillis = 250
maxRecords = 100
failoverTimeMillis = 5000
shardSyncIntervalMillis = 2000
parentShardPollIntervalMillis = 500
metricsLevel = NONE
disableWorkerMetrics = true
PROPERTIES

start_kcl() { # start_kcl NAME: its records go to NAME.*
  set -m
  OUT="$scratch/$1" PYTHONPATH="$scratch" java -Xmx256m -cp "jars/*:$scratch" \
    software.amazon.kinesis.multilang.MultiLangDaemon --properties-file app.properties >"kcl.$1.log" 2>&1 &
  daemon=$!
  set +m
}
# noted WHAT NAME: the data of records that this run of the KCL handled, or stored as done.
noted() { cat "$2".shardId-* 2>/dev/null | sed -n "s/^$1 //p" | sort; }
until_handled() { # until_handled NAME COUNT
  for _ in $(seq 600); do
    (($(noted handled "$1" | uniq | wc -l) >= $2)) && return
    kill -0 "$daemon" 2>/dev/null || fail "the KCL ended: $(tail -n 5 "kcl.$1.log")"
    sleep 0.25
  done
  fail "the KCL handled $(noted handled "$1" | uniq | wc -l) records of $2"
}
put() { # put FIRST LAST
  seq -f '%06g' "$1" "$2" | "$ROKINI" -q put orders >/dev/null
}
at() { printf '%4d s: %s\n' "$SECONDS" "$1"; }

put 1 4000
start_kcl there
until_handled there 2000
at "the KCL consumes"
"$ROKINI" -q stream scale orders 8 >/dev/null
put 4001 8000
until_handled there 7000
if "$ROKINI" import --from kcl --table billing --stream orders --group billing --yes >/dev/null 2>import.log; then
  fail "the import did not see that the KCL lives"
fi
# In the middle of its work.
put 8001 9000 &
sleep 1
kill -KILL -- "-$daemon"
wait
daemon=
at "the KCL is killed, with $(noted handled there | uniq | wc -l) records handled and $(noted stored there | uniq | wc -l) stored"
"$ROKINI" import --from kcl --table billing --stream orders --group billing --yes
put 9001 10000

"$ROKINI" consume orders --group billing --worker here --json >here.jsonl 2>rokini.log &
consumer=$!
noted stored there | uniq >stored
here() { sed -n 's/.*"data":"\([0-9]*\)".*/\1/p' here.jsonl | sort; }
for _ in $(seq 240); do
  (($(sort -u <(here) stored | wc -l) == 10000)) && break
  sleep 0.25
done
kill -TERM "$consumer"
wait "$consumer" || fail "the worker did not stop well"
at "Rokini has consumed $(here | wc -l)"
(($(sort -u <(here) stored | wc -l) == 10000)) || fail "records are lost: $(comm -23 <(seq -f '%06g' 1 10000) <(sort -u <(here) stored) | head -3)"
[[ -z "$(here | uniq -d)" ]] || fail "Rokini repeated $(here | uniq -d | head -3)"
[[ -z "$(comm -12 <(here) stored)" ]] || fail "what the KCL had checkpointed came again: $(comm -12 <(here) stored | head -3)"

"$ROKINI" export --to kcl --kcl-table billing billing --yes
put 10001 11000
# The KCL that was killed was the leader, and its lock would hold up the next one for two or three minutes.
curl --silent --show-error --fail --output /dev/null --aws-sigv4 aws:amz:us-east-1:dynamodb --user local:local \
  --header 'content-type: application/x-amz-json-1.0' --header 'x-amz-target: DynamoDB_20120810.DeleteItem' \
  --data '{"TableName":"billing-CoordinatorState","Key":{"key":{"S":"Leader"}}}' "$AWS_ENDPOINT_URL_DYNAMODB"
start_kcl back
until_handled back 1000
kill -TERM "$daemon"
wait "$daemon" || true
daemon=
[[ "$(noted handled back)" == "$(seq -f '%06g' 10001 11000)" ]] \
  || fail "the KCL went on elsewhere: $(diff <(noted handled back) <(seq -f '%06g' 10001 11000) | head -5)"
at "the KCL went on from there"
