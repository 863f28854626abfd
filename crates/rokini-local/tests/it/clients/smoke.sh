#!/usr/bin/env bash
# What is done with the AWS CLI: a stream from creation to the end of a shard, and a queue, with no option that says where.
set -euo pipefail

k() { aws kinesis "$@" --output text; }
fail() { echo "failed: $1" >&2; exit 1; }

k create-stream --stream-name orders --shard-count 1
aws kinesis wait stream-exists --stream-name orders
[[ "$(k list-streams --query 'StreamNames[]')" == orders ]] || fail "the stream is not listed"
for n in 1 2 3; do
  # Version 1 takes data as it is, and shows it in base64.
  k put-record --stream-name orders --partition-key "k$n" --data "order $n" >/dev/null
done
k split-shard --stream-name orders --shard-to-split shardId-000000000000 --new-starting-hash-key "$(printf '1%038d' 0)"
at=$(k get-shard-iterator --stream-name orders --shard-id shardId-000000000000 --shard-iterator-type TRIM_HORIZON --query ShardIterator)
read_=$(k get-records --shard-iterator "$at" --query 'Records[].Data' | tr '\t' '\n' | while read -r data; do base64 -d <<<"$data"; echo; done)
[[ "$read_" == $'order 1\norder 2\norder 3' ]] || fail "read: $read_"
children=$(k get-records --shard-iterator "$at" --query 'length(ChildShards)')
[[ "$children" == 2 ]] || fail "$children children"
arn=$(k describe-stream-summary --stream-name orders --query StreamDescriptionSummary.StreamARN)
[[ "$arn" == arn:aws:kinesis:us-east-1:000000000000:stream/orders ]] || fail "$arn"
k register-stream-consumer --stream-arn "$arn" --consumer-name c >/dev/null
[[ "$(k list-stream-consumers --stream-arn "$arn" --query 'Consumers[].ConsumerName')" == c ]] || fail "no consumer"
# Pages of one each, by the client's own paginator.
k create-stream --stream-name payments --shard-count 1
[[ "$(k list-streams --page-size 1 --query 'StreamNames[]' | tr -s '[:space:]' ' ')" == "orders payments " ]] || fail "two streams in two pages"
if said=$(k describe-stream --stream-name nope 2>&1); then fail "a stream that is not there"; fi
[[ "$said" == *ResourceNotFoundException*"Stream nope"* ]] || fail "$said"
k delete-stream --stream-name orders --enforce-consumer-deletion
echo ok
