#!/usr/bin/env bash
# The pages of a worker, of `group page` and of the local Kinesis in headless Chromium, with axe-core: at 400, 1280 and 3840 pixels, light and dark,
# by keyboard.
#
#   .ci/page.sh [DIRECTORY]   also puts pictures there
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
pictures=${1:-}
skip() { echo "skipped: $1"; exit 77; }

command -v npm >/dev/null || skip "npm is not installed"
CHROMIUM=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [[ -z "$CHROMIUM" && "$(id -u)" == 0 ]] && command -v apt-get >/dev/null; then
  timeout 300 apt-get install --yes --no-install-recommends chromium >/dev/null 2>&1 || true
  CHROMIUM=$(command -v chromium || true)
fi
[[ -n "$CHROMIUM" ]] || skip "Chromium is not installed"
export CHROMIUM

rokini=${CARGO_TARGET_DIR:-target}/debug/rokini
[[ -x "$rokini" ]] || cargo build --quiet --package rokini-cli
rokini=$(realpath "$rokini")
work=$(mktemp -d)
running=()
cleanup() {
  ((${#running[@]} == 0)) || kill "${running[@]}" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
(cd "$work" && npm install --silent --no-audit --no-fund playwright-core axe-core >/dev/null 2>&1) ||
  skip "npm cannot install playwright-core and axe-core"

"$rokini" local --kinesis-port 0 --dynamodb-port 0 --stream orders:4 --stream kinds:1 --stream stuck:3 >"$work/local" 2>/dev/null &
running+=($!)
until grep -q SECRET "$work/local" 2>/dev/null; do sleep 0.1; done
# shellcheck disable=SC1091
source "$work/local"
"$rokini" stream split orders 0 >/dev/null
# One record of each kind that the local Kinesis's page tells apart, of known bytes; and a consumer and a queue.
node - "$AWS_ENDPOINT_URL_KINESIS" <<'EOF'
const zlib = require('node:zlib');
const crypto = require('node:crypto');
const field = (number, data) => Buffer.concat([Buffer.from([(number << 3) | 2, data.length]), data]);
const packed = (text) => field(3, Buffer.concat([Buffer.from([0x08, 0x00]), field(3, Buffer.from(text))]));
const body = Buffer.concat([field(1, Buffer.from('ann')), packed('packed one'), packed('packed two')]);
const kpl = Buffer.concat([Buffer.from([0xf3, 0x89, 0x9a, 0xc2]), body, crypto.createHash('md5').update(body).digest()]);
const records = [Buffer.from('a plain line'), Buffer.from('{"order":7}'), Buffer.from([0x00, 0xff, 0x10]),
  zlib.gzipSync('{"inside":true}'), kpl];
(async () => {
  const ask = async (operation, body) => {
    const answer = await fetch(process.argv[2], {
      method: 'POST',
      headers: { 'X-Amz-Target': `Kinesis_20131202.${operation}`, 'Content-Type': 'application/x-amz-json-1.1' },
      body: JSON.stringify(body),
    });
    const said = await answer.text();
    if (!answer.ok) throw new Error(said);
    return said ? JSON.parse(said) : {};
  };
  for (const data of records) {
    await ask('PutRecord', { StreamName: 'kinds', PartitionKey: 'k', Data: data.toString('base64') });
  }
  // A stream with a consumer and a queue, one of whose three records is in flight.
  await ask('CreateStream', { StreamName: 'jobs', StreamModeDetails: { StreamMode: 'ON_DEMAND' } });
  const StreamARN = (await ask('DescribeStreamSummary', { StreamName: 'jobs' })).StreamDescriptionSummary.StreamARN;
  await ask('RegisterStreamConsumer', { StreamARN, ConsumerName: 'archive' });
  const { QueueDescription } = await ask('CreateQueue', { QueueName: 'work', StreamConfigurationList: [{ StreamARN }] });
  for (const key of ['a', 'b', 'c']) await ask('PutRecord', { StreamName: 'jobs', PartitionKey: key, Data: 'QUFBQQ==' });
  await ask('ReceiveQueueRecords', { QueueARN: QueueDescription.QueueARN, Limit: 1, VisibilityTimeoutSeconds: 43200 });
})();
EOF
"$rokini" put orders --random 100000 --rate 50 >/dev/null 2>&1 &
running+=($!)
"$rokini" consume orders --group billing --worker a --set monitoring_page=true --set monitoring_listen=127.0.0.1:0 \
  >/dev/null 2>"$work/consume" &
running+=($!)
until grep -q 'http://' "$work/consume"; do sleep 0.1; done
url=$(grep -o 'http://[^ ]*' "$work/consume" | head -1)

# A group in trouble: shard 0 has a record that nobody acknowledges, shard 1 is paused, shard 2 is well.
"$rokini" run stuck --group stuck --worker b --handler lines -- sh -c 'while read -r _; do :; done' >/dev/null 2>"$work/run" &
running+=($!)
until [[ $(grep -c 'started at' "$work/run") == 3 ]]; do sleep 0.1; done
# This key's hash begins with 0c.
"$rokini" put stuck --key a "a record" >/dev/null
"$rokini" group pause stuck --shard 1 >/dev/null
"$rokini" group page stuck --listen 127.0.0.1:0 --json >"$work/page" 2>/dev/null &
running+=($!)
until grep -q url "$work/page"; do sleep 0.1; done
observed=$(grep -o 'http://[^"]*' "$work/page")
timeout 480 node .ci/page.mjs "${url%/}/" "${observed%/}/" "${AWS_ENDPOINT_URL_KINESIS%/}/" "$work" ${pictures:+"$(realpath "$pictures")"}
