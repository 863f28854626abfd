"""What Kinesis has learned since 2025, asked by boto3. Each check is a statement of the API reference."""

import json
import os
import time

import boto3
from botocore.exceptions import ClientError

kinesis = boto3.client("kinesis")
checks = 0


def refused(code, call, **arguments):
    global checks
    checks += 1
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, (code, error)
        return error.response
    raise AssertionError(f"{code} expected of {arguments}")


def is_so(what, *context):
    global checks
    checks += 1
    assert what, context


def summary(name):
    return kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]


# Every operation of this boto3 is known.
for operation in kinesis.meta.service_model.operation_names:
    shape = kinesis.meta.service_model.operation_model(operation).input_shape
    method = boto3.session.botocore.xform_name(operation)
    if shape is None or not shape.required_members:
        continue
    raw = boto3.client("kinesis", config=boto3.session.Config(parameter_validation=False, retries={"max_attempts": 0}))
    try:
        getattr(raw, method)()
    except ClientError as error:
        code = error.response["Error"]["Code"]
        is_so(code == "ValidationException", operation, error)
    except Exception as error:  # An endpoint cannot be made up without an ARN.
        is_so("ndpoint" in str(error) or "ARN" in str(error), operation, error)

# Streams that distribute records by themselves.
kinesis.create_stream(StreamName="auto", StreamModeDetails={"StreamMode": "ON_DEMAND"}, RecordDistributionStrategy="AUTO")
auto = summary("auto")
is_so(auto["RecordDistributionStrategy"] == "AUTO" and auto["ChannelCount"] == 0 and auto["QueueCount"] == 0, auto)
is_so({kinesis.put_record(StreamName="auto", Data=b"x")["ShardId"] for _ in range(4)} == {f"shardId-{n:012}" for n in range(4)})
put = kinesis.put_records(StreamName="auto", Records=[{"Data": b"x"}, {"Data": b"y", "PartitionKey": "k"}])
is_so(put["FailedRecordCount"] == 0, put)
number = put["Records"][0]["SequenceNumber"]
refused("InvalidArgumentException", kinesis.put_record, StreamName="auto", Data=b"x", SequenceNumberForOrdering=number)
at = kinesis.get_shard_iterator(StreamName="auto", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON")
is_so("PartitionKey" not in kinesis.get_records(ShardIterator=at["ShardIterator"])["Records"][0])
kinesis.update_stream_record_distribution_strategy(
    StreamARN=auto["StreamARN"], RecordDistributionStrategy="USER_PARTITION_KEY"
)
refused("ValidationException", kinesis.put_record, StreamName="auto", Data=b"x")
kinesis.create_stream(StreamName="orders", ShardCount=1)
orders = summary("orders")
is_so("RecordDistributionStrategy" not in orders, orders)
refused(
    "InvalidArgumentException",
    kinesis.update_stream_record_distribution_strategy,
    StreamARN=orders["StreamARN"],
    RecordDistributionStrategy="AUTO",
)

# Dry runs.
answer = refused("DryRunOperationException", kinesis.put_record, StreamName="orders", Data=b"x", PartitionKey="k", DryRun=True)
is_so(answer["ResponseMetadata"]["HTTPStatusCode"] == 400)
refused("ResourceNotFoundException", kinesis.put_record, StreamName="nope", Data=b"x", PartitionKey="k", DryRun=True)
refused("DryRunOperationException", kinesis.get_shard_iterator, StreamName="orders", ShardId="shardId-000000000000",
        ShardIteratorType="LATEST", DryRun=True)

# Account settings.
is_so(kinesis.describe_account_settings()["MinimumThroughputBillingCommitment"]["Status"] == "DISABLED")
refused("ValidationException", kinesis.update_stream_warm_throughput, StreamName="auto", WarmThroughputMiBps=6)
kinesis.update_account_settings(MinimumThroughputBillingCommitment={"Status": "ENABLED"})
warm = kinesis.update_stream_warm_throughput(StreamName="auto", WarmThroughputMiBps=6)["WarmThroughput"]
is_so(warm == {"TargetMiBps": 6, "CurrentMiBps": 4}, warm)
is_so(summary("auto")["WarmThroughput"]["CurrentMiBps"] == 6)
ending = kinesis.update_account_settings(MinimumThroughputBillingCommitment={"Status": "DISABLED"})
is_so(ending["MinimumThroughputBillingCommitment"]["Status"] == "ENABLED_UNTIL_EARLIEST_ALLOWED_END", ending)

# Regions, partitions, accounts, policies.
for region, partition in [("eu-west-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]:
    there = boto3.client("kinesis", region_name=region)
    refused("ResourceNotFoundException", there.describe_stream_summary, StreamName="orders")
    there.create_stream(StreamName="orders", ShardCount=1)
    arn = there.describe_stream_summary(StreamName="orders")["StreamDescriptionSummary"]["StreamARN"]
    is_so(arn == f"arn:{partition}:kinesis:{region}:000000000000:stream/orders", arn)
    is_so(there.list_shards(StreamARN=arn)["Shards"])
other = boto3.client("kinesis", aws_access_key_id="222222222222", aws_secret_access_key="x")
is_so(other.list_streams()["StreamNames"] == [])
refused("AccessDeniedException", other.list_shards, StreamARN=orders["StreamARN"])
statement = {"Effect": "Allow", "Principal": {"AWS": "222222222222"}, "Action": ["kinesis:ListShards"],
             "Resource": orders["StreamARN"]}
text = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
kinesis.put_resource_policy(ResourceARN=orders["StreamARN"], Policy=text)
is_so(kinesis.get_resource_policy(ResourceARN=orders["StreamARN"])["Policy"] == text)
is_so(other.list_shards(StreamARN=orders["StreamARN"])["Shards"])
refused("AccessDeniedException", other.describe_stream_summary, StreamARN=orders["StreamARN"])
kinesis.delete_resource_policy(ResourceARN=orders["StreamARN"])
refused("ResourceNotFoundException", kinesis.get_resource_policy, ResourceARN=orders["StreamARN"])

# Consumers with tags, channels.
consumer = kinesis.register_stream_consumer(StreamARN=orders["StreamARN"], ConsumerName="c", Tags={"team": "a"})["Consumer"]
is_so(kinesis.list_tags_for_resource(ResourceARN=consumer["ConsumerARN"])["Tags"] == [{"Key": "team", "Value": "a"}])
is_so(kinesis.list_channels()["ChannelSummaries"] == [])

# Queues: every record is processed once, or is a dead letter that is restored.
source = [{"StreamARN": auto["StreamARN"], "StartingPosition": {"Type": "LATEST"}}]
refused("ValidationException", kinesis.create_queue, QueueName="q", StreamConfigurationList=[{"StreamARN": orders["StreamARN"]}])
queue = kinesis.create_queue(
    QueueName="work",
    StreamConfigurationList=source,
    QueueAttributes={"VisibilityTimeoutSeconds": 1,
                     "DeadLetterConfiguration": {"TargetType": "BUILT_IN", "MaxReceiveCount": 2}},
    Tags={"team": "a"},
)["QueueDescription"]
arn = queue["QueueARN"]
is_so(kinesis.describe_queue(QueueARN=arn)["QueueDescription"]["QueueStatus"] == "ACTIVE")
is_so([q["QueueName"] for q in kinesis.list_queues()["QueueSummaries"]] == ["work"])
is_so(kinesis.list_tags_for_resource(ResourceARN=arn)["Tags"][0]["Key"] == "team")
refused("ResourceInUseException", kinesis.delete_stream, StreamName="auto", EnforceConsumerDeletion=True)

began = time.monotonic()
is_so(kinesis.receive_queue_records(QueueARN=arn, WaitTimeSeconds=1)["QueueRecords"] == [])
is_so(0.9 < time.monotonic() - began < 5, "it waits as long as it is told to")

RECORDS = int(os.environ.get("QUEUE_RECORDS", "500"))
for first in range(0, RECORDS, 100):
    entries = [{"Data": str(n).encode(), "PartitionKey": str(n)} for n in range(first, min(first + 100, RECORDS))]
    is_so(kinesis.put_records(StreamName="auto", Records=entries)["FailedRecordCount"] == 0)
done, poison = set(), {n for n in range(RECORDS) if n % 50 == 7}
idle = 0
while idle < 3:
    records = kinesis.receive_queue_records(QueueARN=arn, WaitTimeSeconds=1)["QueueRecords"]
    idle = 0 if records else idle + 1
    good = [record for record in records if int(record["Data"]) not in poison]
    # A consumer that dies now and then leaves its batch to be received again.
    if good and len(done) % 7 != 3:
        answer = kinesis.acknowledge_queue_records(
            QueueARN=arn, Entries=[{"ReceiptHandle": record["ReceiptHandle"]} for record in good]
        )
        is_so(not answer["Failed"], answer["Failed"])
        done |= {int(record["Data"]) for record in good}
    elif good:
        done |= {-1}  # Only so that the next batch is acknowledged.
        assert all(record["ReceiveCount"] <= 2 for record in good), good
done.discard(-1)

dead = []
while records := kinesis.receive_dead_letter_queue_records(QueueARN=arn, WaitTimeSeconds=1, VisibilityTimeoutSeconds=600)["QueueRecords"]:
    dead += records
letters = {int(record["Data"]) for record in dead}
is_so(poison <= letters, poison - letters)
is_so(done | letters == set(range(RECORDS)) and not done & letters, "none lost, each dead letter accounted for")
for first in range(0, len(dead), 10):
    entries = [{"ReceiptHandle": record["ReceiptHandle"]} for record in dead[first : first + 10]]
    is_so(not kinesis.restore_dead_letter_queue_records(QueueARN=arn, Entries=entries)["Failed"])
restored = set()
while records := kinesis.receive_queue_records(QueueARN=arn, WaitTimeSeconds=1)["QueueRecords"]:
    restored |= {int(record["Data"]) for record in records}
    kinesis.acknowledge_queue_records(
        QueueARN=arn, Entries=[{"ReceiptHandle": record["ReceiptHandle"]} for record in records]
    )
is_so(restored == letters, restored ^ letters)
kinesis.delete_queue(QueueARN=arn)
refused("ResourceNotFoundException", kinesis.describe_queue, QueueARN=arn)
kinesis.delete_stream(StreamName="auto")
print(f"{checks} checks ok")
