"""What a program with boto3 does with a stream, from creation to the end of a shard."""

import datetime

import boto3
from botocore.exceptions import ClientError

kinesis = boto3.client("kinesis")
kinesis.create_stream(StreamName="orders", ShardCount=1)
kinesis.get_waiter("stream_exists").wait(StreamName="orders")
arn = kinesis.describe_stream_summary(StreamName="orders")["StreamDescriptionSummary"]["StreamARN"]

before = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=5)
put = kinesis.put_records(
    StreamARN=arn,
    Records=[{"Data": bytes([i, 0, 255]), "PartitionKey": f"clé-{i}"} for i in range(10)],
)
assert put["FailedRecordCount"] == 0, put
one = kinesis.put_record(StreamName="orders", Data=b"last", PartitionKey="k")
assert one["ShardId"] == "shardId-000000000000", one

shard = kinesis.list_shards(StreamName="orders")["Shards"][0]
kinesis.split_shard(StreamName="orders", ShardToSplit=shard["ShardId"], NewStartingHashKey=str(2**127))
iterator = kinesis.get_shard_iterator(
    StreamName="orders", ShardId=shard["ShardId"], ShardIteratorType="AT_TIMESTAMP", Timestamp=before
)["ShardIterator"]
data, children = [], None
while iterator:
    page = kinesis.get_records(ShardIterator=iterator, Limit=4)
    data += [record["Data"] for record in page["Records"]]
    for record in page["Records"]:
        assert abs((record["ApproximateArrivalTimestamp"] - before).total_seconds()) < 600, record
    iterator, children = page.get("NextShardIterator"), page.get("ChildShards")
assert data == [bytes([i, 0, 255]) for i in range(10)] + [b"last"], data
assert [child["ParentShards"] for child in children] == [[shard["ShardId"]]] * 2, children

# Its paginator gives StreamName along with NextToken, which the service forbids.
page = kinesis.list_shards(StreamName="orders", MaxResults=2)
rest = kinesis.list_shards(NextToken=page["NextToken"])
assert [len(page["Shards"]), len(rest["Shards"])] == [2, 1] and "NextToken" not in rest, rest

consumer = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="c")["Consumer"]
events = kinesis.subscribe_to_shard(
    ConsumerARN=consumer["ConsumerARN"], ShardId=shard["ShardId"], StartingPosition={"Type": "TRIM_HORIZON"}
)["EventStream"]
pushed = []
for event in events:
    event = event["SubscribeToShardEvent"]
    pushed += [record["Data"] for record in event["Records"]]
assert pushed == data, pushed
assert len(event["ChildShards"]) == 2, event

for call, code in [
    (lambda: kinesis.describe_stream(StreamName="nope"), "ResourceNotFoundException"),
    (lambda: kinesis.get_records(ShardIterator="garbage"), "InvalidArgumentException"),
    (lambda: kinesis.create_stream(StreamName="orders", ShardCount=1), "ResourceInUseException"),
]:
    try:
        call()
        raise AssertionError(f"{code} expected")
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        assert error.response["ResponseMetadata"]["RequestId"], error.response

kinesis.delete_stream(StreamName="orders", EnforceConsumerDeletion=True)
assert kinesis.list_streams()["StreamNames"] == []
print("ok")
