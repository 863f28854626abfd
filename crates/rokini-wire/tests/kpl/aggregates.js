// Aggregates by aws-kinesis-agg from npm.
//
//     node aggregates.js make SEED   random aggregates, a JSON object each
//     node aggregates.js read        reads the `data` of such objects from standard input, and writes what they hold
//
// Its writer gives keys to other records where one of them is a whole number: objects order such keys first. So none of the
// keys here is, and neither is an explicit hash key that is a small one.

const { RecordAggregator, deaggregateSync } = require("aws-kinesis-agg");
const lines = require("readline");

function random(seed) {
  let state = BigInt(seed) * 2654435761n + 1n;
  return (below) => {
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn;
    return Number((state >> 33n) % BigInt(below));
  };
}

function make(seed) {
  for (let number = 0; number < 6; number++) {
    const below = random(Number(seed) * 1000 + number);
    const aggregator = new RecordAggregator();
    const records = [];
    for (let left = 2 + below(24); left > 0; left--) {
      const key = ["a", "b" + below(4), "gr\u00fcn", "x".repeat(256)][below(4)];
      const hash_key = below(3) ? null : String(2n ** 127n + BigInt(below(2 ** 30)));
      const data = Buffer.from(Array.from({ length: [1, 7, 100, 128, 300][below(5)] }, () => below(256)));
      aggregator.addUserRecord({ partitionKey: key, explicitHashKey: hash_key ?? undefined, data });
      records.push({ key, hash_key, data: data.toString("base64") });
    }
    const data = aggregator.build().data.toString("base64");
    console.log(JSON.stringify({ by: "aws-kinesis-agg of npm", data, records }));
  }
}

async function read() {
  for await (const line of lines.createInterface({ input: process.stdin })) {
    const { data } = JSON.parse(line);
    deaggregateSync({ partitionKey: "outer", sequenceNumber: "1", data }, true, (error, inner) => {
      if (error) throw error;
      const records = inner.map((record) => ({
        key: record.partitionKey,
        hash_key: record.explicitPartitionKey ?? record.explicitHashKey ?? null,
        data: Buffer.from(record.data, "base64").toString("base64"),
      }));
      console.log(JSON.stringify({ records }));
    });
  }
}

process.argv[2] === "make" ? make(process.argv[3]) : read();
