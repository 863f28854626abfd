// What a program with the AWS SDK for JavaScript does with a stream. It speaks HTTP/2 with prior knowledge.
import assert from "node:assert/strict";
import {
  KinesisClient,
  CreateStreamCommand,
  DescribeStreamSummaryCommand,
  GetRecordsCommand,
  GetShardIteratorCommand,
  PutRecordsCommand,
  RegisterStreamConsumerCommand,
  SplitShardCommand,
  SubscribeToShardCommand,
  waitUntilStreamExists,
} from "@aws-sdk/client-kinesis";

const client = new KinesisClient({});
const send = (command) => client.send(command);

await send(new CreateStreamCommand({ StreamName: "orders", ShardCount: 1 }));
await waitUntilStreamExists({ client, maxWaitTime: 30 }, { StreamName: "orders" });
const { StreamDescriptionSummary } = await send(new DescribeStreamSummaryCommand({ StreamName: "orders" }));
const Records = [...Array(10).keys()].map((i) => ({ Data: Uint8Array.of(i, 0, 255), PartitionKey: `clé-${i}` }));
const put = await send(new PutRecordsCommand({ StreamName: "orders", Records }));
assert.equal(put.FailedRecordCount, 0);
const ShardId = "shardId-000000000000";
await send(
  new SplitShardCommand({ StreamName: "orders", ShardToSplit: ShardId, NewStartingHashKey: (1n << 127n).toString() }),
);

const first = await send(
  new GetShardIteratorCommand({
    StreamName: "orders",
    ShardId,
    ShardIteratorType: "AT_TIMESTAMP",
    Timestamp: new Date(Date.now() - 5000),
  }),
);
let { ShardIterator } = first;
const data = [];
let page;
while (ShardIterator) {
  page = await send(new GetRecordsCommand({ ShardIterator, Limit: 4 }));
  data.push(...page.Records.map((record) => [...record.Data]));
  for (const record of page.Records) {
    assert.ok(Math.abs(record.ApproximateArrivalTimestamp - Date.now()) < 600_000);
  }
  ShardIterator = page.NextShardIterator;
}
assert.deepEqual(data, Records.map((record) => [...record.Data]));
assert.equal(page.ChildShards.length, 2);

const { Consumer } = await send(
  new RegisterStreamConsumerCommand({ StreamARN: StreamDescriptionSummary.StreamARN, ConsumerName: "c" }),
);
const { EventStream } = await send(
  new SubscribeToShardCommand({
    ConsumerARN: Consumer.ConsumerARN,
    ShardId,
    StartingPosition: { Type: "TRIM_HORIZON" },
  }),
);
const pushed = [];
let last;
for await (const event of EventStream) {
  last = event.SubscribeToShardEvent;
  pushed.push(...last.Records.map((record) => [...record.Data]));
}
assert.deepEqual(pushed, data);
assert.equal(last.ChildShards.length, 2);

await assert.rejects(send(new DescribeStreamSummaryCommand({ StreamName: "nope" })), {
  name: "ResourceNotFoundException",
});
client.destroy();
console.log("ok");
