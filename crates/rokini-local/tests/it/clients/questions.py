"""The same questions to any local Kinesis, by boto3: what the service documents, asked from outside. One line for each, `yes` or `no` with what came
instead. AWS_ENDPOINT_URL_KINESIS says whom; a boto3 that knows queues is needed.

    rokini local -- python3 questions.py
"""

import http.client
import os
import sys
import time
from urllib.parse import urlparse

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

quick = Config(retries={"max_attempts": 0}, connect_timeout=5, read_timeout=20)
kinesis = boto3.client("kinesis", config=quick)
FIRST = "shardId-000000000000"
questions = []


def question(text):
    return lambda ask: questions.append((text, ask))


def refused(call, *codes, **arguments):
    """Whether a call fails with one of these errors; what came instead is raised."""
    try:
        call(**arguments)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        assert code in codes, code
        return error.response["Error"].get("Message", "")
    raise AssertionError("it is accepted")


def created(name, shards=1, client=kinesis, **more):
    client.create_stream(StreamName=name, **({"ShardCount": shards} if "StreamModeDetails" not in more else {}), **more)
    for _ in range(200):
        summary = client.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
        if summary["StreamStatus"] == "ACTIVE":
            return summary
        time.sleep(0.05)
    raise AssertionError("it does not become ACTIVE")


def settled(name):
    for _ in range(200):
        if kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE":
            return
        time.sleep(0.05)


def iterator(name, shard=FIRST, kind="TRIM_HORIZON", **more):
    return kinesis.get_shard_iterator(StreamName=name, ShardId=shard, ShardIteratorType=kind, **more)["ShardIterator"]


def split(name):
    created(name)
    before = kinesis.put_record(StreamName=name, PartitionKey="k", Data=b"before")
    kinesis.split_shard(StreamName=name, ShardToSplit=FIRST, NewStartingHashKey=str(2**127))
    settled(name)
    return before


ON_DEMAND = {"StreamModeDetails": {"StreamMode": "ON_DEMAND"}}


@question("a shard takes 1,000 records a second, and no more")
def _():
    created("writes")
    failed = 0
    for _ in range(4):
        answer = kinesis.put_records(StreamName="writes", Records=[{"Data": b"x", "PartitionKey": "k"}] * 500)
        failed += answer["FailedRecordCount"]
    assert failed > 0, "2,000 are taken"


@question("a shard is read 5 times a second, and no more")
def _():
    created("reads")
    at = iterator("reads")
    refused(lambda: [kinesis.get_records(ShardIterator=at) for _ in range(10)], "ProvisionedThroughputExceededException")


@question("an operation is called as often as documented, and no more")
def _():
    refused(lambda: [kinesis.describe_limits() for _ in range(5)], "LimitExceededException")


@question("a shard that was split ends with its children, and its records stay")
def _():
    split("ends")
    at, data = iterator("ends"), []
    for _ in range(5):
        page = kinesis.get_records(ShardIterator=at)
        data += [record["Data"] for record in page["Records"]]
        at = page.get("NextShardIterator")
        if not at:
            break
        time.sleep(0.25)
    assert data == [b"before"], data
    assert not at, "the iterators go on"
    assert [child["ParentShards"] for child in page.get("ChildShards", [])] == [[FIRST]] * 2, "no ChildShards"


@question("numbers of children are greater than all of their parent's")
def _():
    before = split("numbers")
    after = kinesis.put_record(StreamName="numbers", PartitionKey="k", Data=b"after")
    assert int(after["SequenceNumber"]) > int(before["SequenceNumber"]) and after["ShardId"] != FIRST


@question("ListShards filters by AT_LATEST")
def _():
    split("filters")
    shards = kinesis.list_shards(StreamName="filters", ShardFilter={"Type": "AT_LATEST"})["Shards"]
    assert FIRST not in [shard["ShardId"] for shard in shards], "the closed shard is listed"


@question("UpdateShardCount scales, at most to double")
def _():
    created("scales", 2)
    refused(kinesis.update_shard_count, "InvalidArgumentException", "LimitExceededException", StreamName="scales",
            TargetShardCount=5, ScalingType="UNIFORM_SCALING")
    kinesis.update_shard_count(StreamName="scales", TargetShardCount=4, ScalingType="UNIFORM_SCALING")
    settled("scales")
    open_shards = kinesis.describe_stream_summary(StreamName="scales")["StreamDescriptionSummary"]["OpenShardCount"]
    assert open_shards == 4, f"{open_shards} open shards"


@question("MillisBehindLatest tells how far behind a reader is")
def _():
    created("behind")
    kinesis.put_record(StreamName="behind", PartitionKey="k", Data=b"x")
    time.sleep(1.2)
    kinesis.put_record(StreamName="behind", PartitionKey="k", Data=b"y")
    page = kinesis.get_records(ShardIterator=iterator("behind"), Limit=1)
    assert page["MillisBehindLatest"] >= 1000, page["MillisBehindLatest"]


@question("an iterator in the future is refused")
def _():
    created("future")
    refused(kinesis.get_shard_iterator, "InvalidArgumentException", StreamName="future", ShardId=FIRST,
            ShardIteratorType="AT_TIMESTAMP", Timestamp=time.time() + 3600)


@question("a forged iterator is refused")
def _():
    refused(kinesis.get_records, "InvalidArgumentException", ShardIterator="A" * 100)


@question("SubscribeToShard pushes records, and ends with the shard")
def _():
    created("pushes")
    arn = kinesis.describe_stream_summary(StreamName="pushes")["StreamDescriptionSummary"]["StreamARN"]
    consumer = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="c")["Consumer"]["ConsumerARN"]
    for _ in range(100):
        if kinesis.describe_stream_consumer(ConsumerARN=consumer)["ConsumerDescription"]["ConsumerStatus"] == "ACTIVE":
            break
        time.sleep(0.05)
    kinesis.put_record(StreamName="pushes", PartitionKey="k", Data=b"x")
    kinesis.split_shard(StreamName="pushes", ShardToSplit=FIRST, NewStartingHashKey=str(2**127))
    settled("pushes")
    stream = kinesis.subscribe_to_shard(ConsumerARN=consumer, ShardId=FIRST, StartingPosition={"Type": "TRIM_HORIZON"})
    data, children = [], []
    for event in stream["EventStream"]:
        data += [record["Data"] for record in event["SubscribeToShardEvent"]["Records"]]
        children += event["SubscribeToShardEvent"].get("ChildShards", [])
    assert data == [b"x"] and len(children) == 2, (data, children)


@question("a second subscription within 5 seconds is refused")
def _():
    created("guards")
    arn = kinesis.describe_stream_summary(StreamName="guards")["StreamDescriptionSummary"]["StreamARN"]
    consumer = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="c")["Consumer"]["ConsumerARN"]
    time.sleep(1)
    ask = dict(ConsumerARN=consumer, ShardId=FIRST, StartingPosition={"Type": "LATEST"})
    kinesis.subscribe_to_shard(**ask)
    refused(kinesis.subscribe_to_shard, "ResourceInUseException", **ask)


@question("broken members are told in the words of the service")
def _():
    raw = boto3.client("kinesis", config=quick.merge(Config(parameter_validation=False)))
    said = refused(raw.create_stream, "ValidationException", StreamName="a b", ShardCount=0)
    assert "validation error" in said and "failed to satisfy constraint" in said, said


@question("records of 2 MiB, where the stream is told to take them")
def _():
    arn = created("large")["StreamARN"]
    large = dict(StreamName="large", PartitionKey="k", Data=b"x" * (2 << 20))
    refused(kinesis.put_record, "ValidationException", "InvalidArgumentException", **large)
    kinesis.update_max_record_size(StreamARN=arn, MaxRecordSizeInKiB=4096)
    settled("large")
    kinesis.put_record(**large)


@question("regions are apart, and ARNs bear theirs")
def _():
    there = boto3.client("kinesis", region_name="eu-west-1", config=quick)
    arn = created("apart", client=there)["StreamARN"]
    assert ":eu-west-1:" in arn, arn
    refused(kinesis.describe_stream_summary, "ResourceNotFoundException", StreamName="apart")


@question("accounts are apart, by access key ids of twelve digits")
def _():
    other = boto3.client("kinesis", aws_access_key_id="222222222222", aws_secret_access_key="x", config=quick)
    arn = created("theirs", client=other)["StreamARN"]
    assert ":222222222222:" in arn, arn
    refused(kinesis.describe_stream_summary, "ResourceNotFoundException", StreamName="theirs")


@question("resource policies are stored, and let another account in")
def _():
    arn = created("shared")["StreamARN"]
    statement = '{"Effect":"Allow","Principal":{"AWS":"222222222222"},"Action":"kinesis:ListShards","Resource":"%s"}' % arn
    other = boto3.client("kinesis", aws_access_key_id="222222222222", aws_secret_access_key="x", config=quick)
    refused(other.list_shards, "AccessDeniedException", StreamARN=arn)
    kinesis.put_resource_policy(ResourceARN=arn, Policy='{"Version":"2012-10-17","Statement":[%s]}' % statement)
    assert other.list_shards(StreamARN=arn)["Shards"]


@question("on-demand streams have four shards, and cannot be split")
def _():
    assert created("demand", **ON_DEMAND)["OpenShardCount"] == 4
    refused(kinesis.split_shard, "ValidationException", "InvalidArgumentException", StreamName="demand", ShardToSplit=FIRST,
            NewStartingHashKey="5")


@question("a stream spreads records without keys (AUTO)")
def _():
    created("auto", RecordDistributionStrategy="AUTO", **ON_DEMAND)
    assert len({kinesis.put_record(StreamName="auto", Data=b"x")["ShardId"] for _ in range(4)}) == 4


@question("DryRun checks and does nothing")
def _():
    created("dry")
    refused(kinesis.put_record, "DryRunOperationException", StreamName="dry", PartitionKey="k", Data=b"x", DryRun=True)
    assert not kinesis.get_records(ShardIterator=iterator("dry"))["Records"], "it is written"


@question("queues: visibility, dead letters, restoring")
def _():
    arn = created("queued", **ON_DEMAND)["StreamARN"]
    letters = {"TargetType": "BUILT_IN", "MaxReceiveCount": 1}
    queue = kinesis.create_queue(
        QueueName="q",
        StreamConfigurationList=[{"StreamARN": arn}],
        QueueAttributes={"VisibilityTimeoutSeconds": 1, "DeadLetterConfiguration": letters},
    )["QueueDescription"]["QueueARN"]
    kinesis.put_record(StreamName="queued", PartitionKey="k", Data=b"x")
    assert kinesis.receive_queue_records(QueueARN=queue, WaitTimeSeconds=5)["QueueRecords"]
    time.sleep(1.1)
    assert not kinesis.receive_queue_records(QueueARN=queue)["QueueRecords"]
    [dead] = kinesis.receive_dead_letter_queue_records(QueueARN=queue)["QueueRecords"]
    kinesis.restore_dead_letter_queue_records(QueueARN=queue, Entries=[{"ReceiptHandle": dead["ReceiptHandle"]}])
    assert kinesis.receive_queue_records(QueueARN=queue)["QueueRecords"][0]["ReceiveCount"] == 1


@question("consumers carry tags")
def _():
    arn = created("tagged")["StreamARN"]
    consumer = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="c", Tags={"team": "a"})["Consumer"]
    tags = kinesis.list_tags_for_resource(ResourceARN=consumer["ConsumerARN"])["Tags"]
    assert tags == [{"Key": "team", "Value": "a"}], tags


@question("CBOR, which the Java SDK and the KCL speak")
def _():
    url = urlparse(os.environ["AWS_ENDPOINT_URL_KINESIS"])
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=10)
    headers = {
        "Content-Type": "application/x-amz-cbor-1.1",
        "X-Amz-Target": "Kinesis_20131202.ListStreams",
        "X-Amz-Date": "20260101T000000Z",
        "Authorization": "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=ab",
    }
    connection.request("POST", "/", b"\xa0", headers)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200 and body[:1] >= b"\xa0" and b"StreamNames" in body, (answer.status, body[:80])


good = 0
for text, ask in questions:
    # What was asked before must not count against the rates of calls.
    time.sleep(1.1)
    try:
        ask()
        good += 1
        print(f"yes  {text}", flush=True)
    except Exception as error:  # Whatever it is, the answer is no.
        said = " ".join(str(error).split()) or type(error).__name__
        print(f"no   {text}: {said[:110]}", flush=True)
print(f"{good} of {len(questions)}")
if "--all" in sys.argv and good < len(questions):
    sys.exit(1)
