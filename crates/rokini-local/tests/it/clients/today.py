"""What Kinesis has learned since 2025, asked by boto3: the statements of docs/LOCAL.md by their labels.

Each is asked in an account of its own, against an endpoint on which changes of state take ten seconds. The clock that passes is the
endpoint's. Prints `asked LABEL` for each.
"""

import itertools
import json
import os
import urllib.request
from contextlib import contextmanager

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ENDPOINT = os.environ["AWS_ENDPOINT_URL_KINESIS"]
FIRST = "shardId-000000000000"
HALF = str(1 << 127)
MIB = 1 << 20
session = boto3.session.Session()
accounts = itertools.count(100_000_000_001)
statements = []


def client(account, region=None, **config):
    config = Config(retries={"max_attempts": 0}, **config)
    return session.client(
        "kinesis", aws_access_key_id=str(account), aws_secret_access_key="x", region_name=region, config=config
    )


def control(path, **body):
    head = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{ENDPOINT}/_rokini/{path}", json.dumps(body).encode(), head)
    return json.load(urllib.request.urlopen(request))


def pass_time(seconds):
    """The endpoint's time afterwards, in seconds."""
    return control("clock", advance_millis=int(seconds * 1000))["now_millis"] / 1000


def hours(count):
    return pass_time(3600 * count)


def settle():
    """What is CREATING, UPDATING or DELETING is so no longer."""
    return pass_time(10)


@contextmanager
def without(*limits):
    control("limits", **{name: False for name in limits})
    try:
        yield
    finally:
        control("limits", **{name: True for name in limits})


def asks(label):
    return lambda ask: statements.append((label, ask))


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, (code, error)
        return error.response["Error"].get("Message", "")
    raise AssertionError(f"{code} expected of {arguments}")


def rate(per_second, call, **arguments):
    """An operation is refused for its rate after so many calls, whatever else becomes of them."""
    passed = 0
    for _ in range(50 * per_second):
        try:
            call(**arguments)
        except ClientError as error:
            if "Rate exceeded for" in str(error):
                assert error.response["Error"]["Code"] == "LimitExceededException", error
                assert passed >= per_second, passed
                return
        passed += 1
    raise AssertionError(f"{passed} calls and no limit")


def summary(kinesis, name="orders"):
    return kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]


def status(kinesis, name="orders"):
    return summary(kinesis, name)["StreamStatus"]


def created(kinesis, name="orders", shards=1, **more):
    """A stream that is ACTIVE, and its ARN."""
    kinesis.create_stream(StreamName=name, ShardCount=shards, **more)
    settle()
    return summary(kinesis, name)["StreamARN"]


def on_demand(kinesis, name="orders", **more):
    kinesis.create_stream(StreamName=name, StreamModeDetails={"StreamMode": "ON_DEMAND"}, **more)
    settle()
    return summary(kinesis, name)["StreamARN"]


def put(kinesis, data=b"x", name="orders", **more):
    return kinesis.put_record(StreamName=name, Data=data, **({"PartitionKey": "k"} | more))


def iterator(kinesis, kind="TRIM_HORIZON", shard=FIRST, name="orders", **more):
    return kinesis.get_shard_iterator(StreamName=name, ShardId=shard, ShardIteratorType=kind, **more)["ShardIterator"]


def read(kinesis, at):
    return [record["Data"] for record in kinesis.get_records(ShardIterator=at)["Records"]]


def advantage(kinesis, to):
    answer = kinesis.update_account_settings(MinimumThroughputBillingCommitment={"Status": to})
    return answer["MinimumThroughputBillingCommitment"]


def allow(resource, account, action):
    statement = {"Effect": "Allow", "Principal": {"AWS": str(account)}, "Action": f"kinesis:{action}", "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def consumer_of(kinesis, arn, name="c", **more):
    return kinesis.register_stream_consumer(StreamARN=arn, ConsumerName=name, **more)["Consumer"]["ConsumerARN"]


# ---- records without keys ------------------------------------------------------------------------------------


@asks("statement_01")
def _(kinesis, _account):
    on_demand(kinesis, RecordDistributionStrategy="AUTO")
    shards = [put(kinesis, ExplicitHashKey="0")["ShardId"] for _ in range(8)]
    assert all(shards.count(f"shardId-{n:012}") == 2 for n in range(4)), shards


@asks("statement_02")
def _(kinesis, _account):
    on_demand(kinesis, RecordDistributionStrategy="AUTO")
    keyless = kinesis.put_record(StreamName="orders", Data=b"x")
    keyed = put(kinesis)
    many = kinesis.put_records(StreamName="orders", Records=[{"Data": b"x"}, {"Data": b"y", "PartitionKey": "k"}])
    assert many["FailedRecordCount"] == 0, many
    for answer, key in [(keyless, None), (keyed, "k")]:
        records = kinesis.get_records(ShardIterator=iterator(kinesis, shard=answer["ShardId"]))["Records"]
        assert records[0].get("PartitionKey") == key, records


@asks("statement_03")
def _(kinesis, _account):
    on_demand(kinesis, RecordDistributionStrategy="AUTO")
    number = put(kinesis)["SequenceNumber"]
    refused("InvalidArgumentException", put, kinesis=kinesis, SequenceNumberForOrdering=number)


@asks("statement_04")
def _(kinesis, _account):
    created(kinesis, "provisioned")
    on_demand(kinesis, "demand")
    for name in ["provisioned", "demand"]:
        said = refused("ValidationException", kinesis.put_record, StreamName=name, Data=b"x")
        assert "Value null at 'partitionKey'" in said, said


@asks("statement_05")
def _(kinesis, _account):
    arn = created(kinesis)
    update = kinesis.update_stream_record_distribution_strategy
    refused("InvalidArgumentException", update, StreamARN=arn, RecordDistributionStrategy="AUTO")
    auto = dict(StreamName="other", ShardCount=1, RecordDistributionStrategy="AUTO")
    refused("InvalidArgumentException", kinesis.create_stream, **auto)


@asks("statement_06")
def _(kinesis, _account):
    arn = on_demand(kinesis)
    assert summary(kinesis)["RecordDistributionStrategy"] == "USER_PARTITION_KEY"
    for strategy in ["AUTO", "USER_PARTITION_KEY"]:
        kinesis.update_stream_record_distribution_strategy(StreamARN=arn, RecordDistributionStrategy=strategy)
        told = summary(kinesis)
        assert (told["StreamStatus"], told["RecordDistributionStrategy"]) == ("ACTIVE", strategy), told
    created(kinesis, "other")
    assert "RecordDistributionStrategy" not in summary(kinesis, "other")


# ---- dry runs ------------------------------------------------------------------------------------------------


@asks("statement_08")
def _(kinesis, _account):
    consumer = consumer_of(kinesis, created(kinesis))
    settle()
    at = iterator(kinesis)
    dry = "DryRunOperationException"
    refused(dry, put, kinesis=kinesis, DryRun=True)
    refused("ThrottlingException", kinesis.get_records, ShardIterator=at, DryRun=True)
    entries = [{"Data": b"x", "PartitionKey": "k"}]
    for call, more in [
        (kinesis.get_records, {"ShardIterator": at}),
        (kinesis.put_records, {"StreamName": "orders", "Records": entries}),
        (kinesis.get_shard_iterator, {"StreamName": "orders", "ShardId": FIRST, "ShardIteratorType": "LATEST"}),
        (kinesis.subscribe_to_shard, {"ConsumerARN": consumer, "ShardId": FIRST, "StartingPosition": {"Type": "LATEST"}}),
    ]:
        pass_time(1)
        refused(dry, call, DryRun=True, **more)
    assert read(kinesis, at) == [], "nothing was written"


@asks("statement_09")
def _(kinesis, _account):
    created(kinesis)
    refused("ResourceNotFoundException", put, kinesis=kinesis, name="nope", DryRun=True)
    later = pass_time(0) + 3600
    future = dict(StreamName="orders", ShardId=FIRST, ShardIteratorType="AT_TIMESTAMP", Timestamp=later, DryRun=True)
    refused("InvalidArgumentException", kinesis.get_shard_iterator, **future)
    refused("ValidationException", kinesis.put_record, StreamName="orders", Data=b"x", DryRun=True)


# ---- accounts' settings and warm throughput --------------------------------------------------------------------


@asks("statement_11")
def _(kinesis, _account):
    told = lambda: kinesis.describe_account_settings()["MinimumThroughputBillingCommitment"]
    assert told()["Status"] == "DISABLED"
    enabled = advantage(kinesis, "ENABLED")
    assert (enabled["EarliestAllowedEndAt"] - enabled["StartedAt"]).total_seconds() == 86400, enabled
    hours(1)
    assert advantage(kinesis, "DISABLED")["Status"] == "ENABLED_UNTIL_EARLIEST_ALLOWED_END"
    hours(24)
    assert told()["Status"] == "DISABLED" and told()["EndedAt"], told()


@asks("statement_12")
def _(kinesis, _account):
    on_demand(kinesis)
    warm = lambda mibps: kinesis.update_stream_warm_throughput(StreamName="orders", WarmThroughputMiBps=mibps)
    refused("ValidationException", warm, mibps=10)
    assert "WarmThroughput" not in summary(kinesis)
    advantage(kinesis, "ENABLED")
    assert warm(10)["WarmThroughput"] == {"TargetMiBps": 10, "CurrentMiBps": 4}
    settle()
    told = summary(kinesis)
    assert (told["OpenShardCount"], told["WarmThroughput"]["CurrentMiBps"]) == (10, 10), told
    refused("LimitExceededException", warm, mibps=10_241)
    created(kinesis, "other")
    refused("ValidationException", kinesis.update_stream_warm_throughput, StreamName="other", WarmThroughputMiBps=6)


@asks("statement_13")
def _(kinesis, _account):
    advantage(kinesis, "ENABLED")
    on_demand(kinesis, WarmThroughputMiBps=7)
    assert summary(kinesis)["OpenShardCount"] == 7
    arn = created(kinesis, "other")
    kinesis.update_stream_mode(StreamARN=arn, StreamModeDetails={"StreamMode": "ON_DEMAND"}, WarmThroughputMiBps=6)
    settle()
    assert summary(kinesis, "other")["OpenShardCount"] == 6


@asks("statement_14")
def _(kinesis, _account):
    arn = on_demand(kinesis)
    with without("call_limits"):
        for first, last in [(0, 20), (20, 50)]:
            for n in range(first, last):
                consumer_of(kinesis, arn, f"c{n}")
                if n % 5 == 4:
                    settle()
            refused("LimitExceededException", consumer_of, kinesis=kinesis, arn=arn, name="more")
            advantage(kinesis, "ENABLED")


@asks("statement_51")
def _(kinesis, _account):
    began = advantage(kinesis, "ENABLED")["StartedAt"]
    hours(1)
    advantage(kinesis, "DISABLED")
    hours(1)
    again = advantage(kinesis, "ENABLED")
    assert (again["Status"], again["StartedAt"]) == ("ENABLED", began), again
    hours(48)
    assert advantage(kinesis, "DISABLED")["Status"] == "DISABLED"
    hours(1)
    assert advantage(kinesis, "ENABLED")["StartedAt"] > began


@asks("statement_52")
def _(kinesis, _account):
    on_demand(kinesis)
    advantage(kinesis, "ENABLED")
    warm = lambda mibps: kinesis.update_stream_warm_throughput(StreamName="orders", WarmThroughputMiBps=mibps)
    warm(6)
    assert status(kinesis) == "UPDATING"
    refused("ResourceInUseException", warm, mibps=8)
    put(kinesis)
    settle()
    assert (status(kinesis), summary(kinesis)["OpenShardCount"]) == ("ACTIVE", 6)


# ---- resource policies, accounts, regions ------------------------------------------------------------------------


@asks("statement_15")
def _(kinesis, account):
    arn = created(kinesis)
    refused("ResourceNotFoundException", kinesis.get_resource_policy, ResourceARN=arn)
    text = allow(arn, account, "GetRecords")
    kinesis.put_resource_policy(ResourceARN=arn, Policy=text)
    assert kinesis.get_resource_policy(ResourceARN=arn)["Policy"] == text
    refused("InvalidArgumentException", kinesis.put_resource_policy, ResourceARN=arn, Policy="{")
    kinesis.delete_resource_policy(ResourceARN=arn)
    refused("ResourceNotFoundException", kinesis.get_resource_policy, ResourceARN=arn)


@asks("statement_16")
def _(kinesis, _account):
    arn, guest = created(kinesis), next(accounts)
    other = client(guest)
    refused("AccessDeniedException", other.list_shards, StreamARN=arn)
    kinesis.put_resource_policy(ResourceARN=arn, Policy=allow(arn, guest, "ListShards"))
    assert other.list_shards(StreamARN=arn)["Shards"]
    refused("AccessDeniedException", other.describe_stream_summary, StreamARN=arn)
    refused("ResourceNotFoundException", other.list_shards, StreamName="orders")


@asks("statement_17")
def _(kinesis, _account):
    created(kinesis)
    refused("AccessDeniedException", client(next(accounts)).get_records, ShardIterator=iterator(kinesis))


@asks("statement_18")
def _(kinesis, account):
    created(kinesis)
    for region, partition in [("eu-west-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]:
        there = client(account, region)
        arn = created(there)
        assert arn == f"arn:{partition}:kinesis:{region}:{account}:stream/orders", arn
        assert there.list_shards(StreamARN=arn)["Shards"]
    other = client(next(accounts))
    assert other.list_streams()["StreamNames"] == []
    created(other)


@asks("statement_19")
def _(kinesis, account):
    arn, elsewhere = created(kinesis), client(account, "eu-west-1")
    assert "eu-west-1" in refused("ResourceNotFoundException", elsewhere.list_shards, StreamARN=arn)
    assert "It is in us-east-1" in refused("ResourceNotFoundException", elsewhere.list_shards, StreamName="orders")


@asks("statement_50")
def _(kinesis, _account):
    arn, guest = created(kinesis), next(accounts)
    consumer, other = consumer_of(kinesis, arn), client(guest)
    settle()
    subscribe = dict(ConsumerARN=consumer, ShardId=FIRST, StartingPosition={"Type": "LATEST"})
    for resource, action in [(arn, "SubscribeToShard"), (consumer, "DescribeStreamConsumer")]:
        kinesis.put_resource_policy(ResourceARN=resource, Policy=allow(resource, guest, action))
        refused("AccessDeniedException", other.subscribe_to_shard, **subscribe)
    kinesis.put_resource_policy(ResourceARN=consumer, Policy=allow(consumer, guest, "SubscribeToShard"))
    other.subscribe_to_shard(**subscribe)["EventStream"].close()


# ---- channels, StreamId, tags, consumers ---------------------------------------------------------------------------


@asks("statement_20")
def _(kinesis, account):
    arn = on_demand(kinesis)
    create = dict(
        ChannelName="c",
        ServiceExecutionRoleARN=f"arn:aws:iam::{account}:role/r",
        StreamConfigurationList=[{"StreamARN": arn, "RecordConfiguration": {"RecordFormatType": "STRING"}}],
    )
    raw = client(account, parameter_validation=False)
    assert "no channels" in refused("InvalidArgumentException", raw.create_channel, **create)
    assert kinesis.list_channels()["ChannelSummaries"] == [] and summary(kinesis)["ChannelCount"] == 0
    missing = f"arn:aws:kinesis:us-east-1:{account}:channel/c"
    refused("ResourceNotFoundException", kinesis.describe_channel, ChannelARN=missing)


@asks("statement_22")
def _(kinesis, _account):
    consumer = consumer_of(kinesis, created(kinesis), Tags={"team": "a"})
    assert kinesis.list_tags_for_resource(ResourceARN=consumer)["Tags"] == [{"Key": "team", "Value": "a"}]
    kinesis.untag_resource(ResourceARN=consumer, TagKeys=["team"])
    assert kinesis.list_tags_for_resource(ResourceARN=consumer)["Tags"] == []


@asks("statement_23")
def _(kinesis, _account):
    arn = created(kinesis)
    with without("call_limits"):
        kinesis.add_tags_to_stream(StreamName="orders", Tags={"Käse: a/b=c+d-e@f_g.h": "ü 1"})
        for tags in [{"a#": "b"}, {"a": "b;"}, {"a%": "b"}, {"aws:x": "b"}]:
            refused("InvalidArgumentException", kinesis.add_tags_to_stream, StreamName="orders", Tags=tags)
        refused("InvalidArgumentException", consumer_of, kinesis=kinesis, arn=arn, Tags={"a#": "b"})


@asks("statement_24")
def _(kinesis, account):
    created(kinesis)
    raw = client(account, parameter_validation=False)
    with without("call_limits"):
        for tags in [{"k" * 129: "v"}, {"": "v"}, {"k": "v" * 257}, {}]:
            refused("ValidationException", raw.add_tags_to_stream, StreamName="orders", Tags=tags)
        kinesis.add_tags_to_stream(StreamName="orders", Tags={f"k{n}": "" for n in range(50)})
        refused("InvalidArgumentException", kinesis.add_tags_to_stream, StreamName="orders", Tags={"more": ""})


@asks("statement_25")
def _(kinesis, _account):
    consumer = consumer_of(kinesis, created(kinesis))
    settle()
    kinesis.deregister_stream_consumer(ConsumerARN=consumer)
    pass_time(6)
    kinesis.deregister_stream_consumer(ConsumerARN=consumer)
    pass_time(5)
    refused("ResourceNotFoundException", kinesis.describe_stream_consumer, ConsumerARN=consumer)


@asks("statement_26")
def _(kinesis, _account):
    arn = created(kinesis)
    kinesis.delete_stream(StreamName="orders")
    refused("ResourceInUseException", consumer_of, kinesis=kinesis, arn=arn)


@asks("statement_28")
def _(kinesis, _account):
    arn, other = created(kinesis), created(kinesis, "other")
    for name in ["a", "b"]:
        consumer_of(kinesis, arn, name)
    token = kinesis.list_stream_consumers(StreamARN=arn, MaxResults=1)["NextToken"]
    rest = kinesis.list_stream_consumers(StreamARN=arn, NextToken=token)["Consumers"]
    assert [consumer["ConsumerName"] for consumer in rest] == ["b"], rest
    refused("InvalidArgumentException", kinesis.list_stream_consumers, StreamARN=other, NextToken=token)


@asks("statement_45")
def _(kinesis, account):
    arn = f"arn:aws:kinesis:us-east-1:{account}:stream/orders"

    def each(code):
        for call, arguments in [
            (kinesis.add_tags_to_stream, {"StreamName": "orders", "Tags": {"team": "a"}}),
            (kinesis.tag_resource, {"ResourceARN": arn, "Tags": {"team": "a"}}),
            (kinesis.remove_tags_from_stream, {"StreamName": "orders", "TagKeys": ["team"]}),
            (kinesis.untag_resource, {"ResourceARN": arn, "TagKeys": ["team"]}),
        ]:
            refused(code, call, **arguments) if code else call(**arguments)

    kinesis.create_stream(StreamName="orders", ShardCount=1, Tags={"team": "a"})
    each("ResourceInUseException")
    assert kinesis.list_tags_for_stream(StreamName="orders")["Tags"], "those it was created with are told"
    settle()
    kinesis.split_shard(StreamName="orders", ShardToSplit=FIRST, NewStartingHashKey=HALF)
    each(None)
    settle()
    kinesis.delete_stream(StreamName="orders")
    each("ResourceInUseException")


# ---- limits and rates -------------------------------------------------------------------------------------------------


@asks("statement_27")
def _(kinesis, _account):
    arns = [created(kinesis, name) for name in ["a", "b"]]
    turns = itertools.count()
    rate(5, lambda: consumer_of(kinesis, arns[next(turns) % 2]))


@asks("statement_29")
def _(kinesis, _account):
    created(kinesis)
    key = dict(StreamName="orders", EncryptionType="KMS", KeyId="key")
    for _ in range(25):
        kinesis.start_stream_encryption(**key)
        settle()
        kinesis.stop_stream_encryption(**key)
        settle()
    refused("LimitExceededException", kinesis.stop_stream_encryption, **key)


@asks("statement_30")
def _(kinesis, _account):
    created(kinesis, shards=2)
    rate(10, kinesis.update_shard_count, StreamName="orders", TargetShardCount=50, ScalingType="UNIFORM_SCALING")


@asks("statement_31")
def _(kinesis, account):
    created(kinesis)
    raw = client(account, parameter_validation=False)
    metrics = ["IncomingBytes"] * 8
    refused("ValidationException", raw.enable_enhanced_monitoring, StreamName="orders", ShardLevelMetrics=metrics)


@asks("statement_32")
def _(kinesis, _account):
    created(kinesis)
    refused("ValidationException", put, kinesis=kinesis, ExplicitHashKey="1" * 40)
    refused("InvalidArgumentException", put, kinesis=kinesis, ExplicitHashKey="9" * 39)
    split = dict(StreamName="orders", ShardToSplit=FIRST, NewStartingHashKey="1" * 40)
    refused("ValidationException", kinesis.split_shard, **split)


@asks("statement_33")
def _(kinesis, account):
    created(kinesis)
    raw = client(account, parameter_validation=False)
    records = [{"Data": b"x", "PartitionKey": ""}]
    said = refused("ValidationException", raw.put_records, StreamName="orders", Records=records)
    assert "records.1.member.partitionKey" in said, said


@asks("statement_34")
def _(kinesis, _account):
    broken = dict(StreamName="?", ShardToSplit="a b", NewStartingHashKey="01")
    said = refused("ValidationException", kinesis.split_shard, **broken)
    assert said.startswith("3 validation errors detected: "), said


@asks("statement_42")
def _(kinesis, _account):
    arn = created(kinesis)
    kinesis.update_max_record_size(StreamARN=arn, MaxRecordSizeInKiB=10_240)
    settle()
    nine = bytes(9 * MIB)
    put(kinesis, nine)
    refused("ProvisionedThroughputExceededException", put, kinesis=kinesis, data=nine)
    pass_time(9)
    put(kinesis, b"small")
    put(kinesis, nine)


@asks("statement_53")
def _(kinesis, _account):
    rate(5, kinesis.describe_account_settings)
    rate(5, kinesis.update_account_settings, MinimumThroughputBillingCommitment={"Status": "ENABLED"})


@asks("statement_54")
def _(kinesis, _account):
    on_demand(kinesis)
    rate(5, kinesis.update_stream_warm_throughput, StreamName="orders", WarmThroughputMiBps=5)


@asks("statement_55")
def _(kinesis, account):
    arn = f"arn:aws:kinesis:us-east-1:{account}:channel/c"
    for call in [kinesis.describe_channel, kinesis.update_channel, kinesis.delete_channel]:
        rate(5, call, ChannelARN=arn)
    rate(5, kinesis.list_channels)


@asks("statement_56")
def _(kinesis, _account):
    created(kinesis)
    rate(5, kinesis.increase_stream_retention_period, StreamName="orders", RetentionPeriodHours=48)
    rate(5, kinesis.enable_enhanced_monitoring, StreamName="orders", ShardLevelMetrics=["ALL"])


@asks("statement_57")
def _(kinesis, account):
    arn, raw = created(kinesis), client(account, parameter_validation=False)
    for kib in [1023, 10_241]:
        refused("ValidationException", raw.update_max_record_size, StreamARN=arn, MaxRecordSizeInKiB=kib)
        create = dict(StreamName="large", ShardCount=1, MaxRecordSizeInKiB=kib)
        refused("ValidationException", raw.create_stream, **create)
    refused("ValidationException", put, kinesis=kinesis, data=bytes(MIB))
    kinesis.update_max_record_size(StreamARN=arn, MaxRecordSizeInKiB=2048)
    settle()
    assert summary(kinesis)["MaxRecordSizeInKiB"] == 2048
    put(kinesis, bytes(2 * MIB - 1))


# ---- positions ------------------------------------------------------------------------------------------------------------


@asks("statement_35")
def _(kinesis, _account):
    created(kinesis)
    put(kinesis, b"a")
    between = pass_time(5)
    pass_time(5)
    put(kinesis, b"b")
    for time, expected in [(0, [b"a", b"b"]), (between, [b"b"])]:
        assert read(kinesis, iterator(kinesis, "AT_TIMESTAMP", Timestamp=time)) == expected, time


@asks("statement_36")
def _(kinesis, _account):
    created(kinesis)
    [shard] = kinesis.list_shards(StreamName="orders")["Shards"]
    number = shard["SequenceNumberRange"]["StartingSequenceNumber"]
    kinds = ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"]
    before = [iterator(kinesis, kind, StartingSequenceNumber=number) for kind in kinds]
    put(kinesis)
    assert [read(kinesis, at) for at in before] == [[b"x"]] * 2


@asks("statement_37")
def _(kinesis, _account):
    created(kinesis)
    put(kinesis)
    kinesis.split_shard(StreamName="orders", ShardToSplit=FIRST, NewStartingHashKey=HALF)
    settle()
    number = kinesis.list_shards(StreamName="orders")["Shards"][0]["SequenceNumberRange"]["EndingSequenceNumber"]
    for kind in ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"]:
        page = kinesis.get_records(ShardIterator=iterator(kinesis, kind, StartingSequenceNumber=number))
        assert page["Records"] == [] and len(page["ChildShards"]) == 2, page


@asks("statement_38")
def _(kinesis, _account):
    created(kinesis)
    put(kinesis, b"before")
    at = iterator(kinesis, "LATEST")
    pass_time(100)
    put(kinesis, b"after")
    assert read(kinesis, at) == [b"after"]


@asks("statement_39")
def _(kinesis, _account):
    before = pass_time(0) - 60
    created(kinesis, shards=2)
    pass_time(60)
    kinesis.split_shard(StreamName="orders", ShardToSplit=FIRST, NewStartingHashKey=str(1 << 126))
    settle()
    for kind, count in [("AT_TIMESTAMP", 2), ("FROM_TIMESTAMP", 4)]:
        listed = kinesis.list_shards(StreamName="orders", ShardFilter={"Type": kind, "Timestamp": before})["Shards"]
        assert len(listed) == count, (kind, listed)


@asks("statement_40")
def _(kinesis, _account):
    created(kinesis, shards=2)
    for last in ["shardId-000000000001", "shardId-000000000077"]:
        answer = kinesis.list_shards(StreamName="orders", ExclusiveStartShardId=last)
        assert answer["Shards"] == [] and "NextToken" not in answer, answer


@asks("statement_44")
def _(kinesis, _account):
    created(kinesis)
    number = put(kinesis)["SequenceNumber"]
    assert int(put(kinesis, SequenceNumberForOrdering=number)["SequenceNumber"]) > int(number)
    for wrong in ["1", "0"]:
        refused("InvalidArgumentException", put, kinesis=kinesis, SequenceNumberForOrdering=wrong)


@asks("statement_47")
def _(kinesis, _account):
    created(kinesis)
    future = dict(StreamName="orders", ShardId=FIRST, ShardIteratorType="AT_TIMESTAMP", Timestamp=pass_time(0) + 60)
    said = refused("InvalidArgumentException", kinesis.get_shard_iterator, **future)
    assert "cannot be greater than the currentTimestampInMillis" in said, said


@asks("statement_48")
def _(kinesis, _account):
    created(kinesis, shards=2)
    token = kinesis.list_shards(StreamName="orders", MaxResults=1)["NextToken"]
    assert len(kinesis.list_shards(NextToken=token)["Shards"]) == 1
    refused("InvalidArgumentException", kinesis.list_shards, StreamName="orders", NextToken=token)
    refused("AccessDeniedException", client(next(accounts)).list_shards, NextToken=token)
    refused("InvalidArgumentException", kinesis.list_streams, NextToken=token)


@asks("statement_49")
def _(kinesis, account):
    created(kinesis)
    created(kinesis, "payments")
    token = kinesis.list_streams(Limit=1)["NextToken"]
    for other in [client(next(accounts)), client(account, "eu-west-1")]:
        refused("InvalidArgumentException", other.list_streams, NextToken=token)
    assert kinesis.list_streams(NextToken=token)["StreamNames"] == ["payments"]


# ---- states -----------------------------------------------------------------------------------------------------------------


@asks("statement_41")
def _(kinesis, _account):
    created(kinesis)
    kinesis.split_shard(StreamName="orders", ShardToSplit=FIRST, NewStartingHashKey=HALF)
    longer = dict(StreamName="orders", RetentionPeriodHours=48)
    refused("ResourceInUseException", kinesis.increase_stream_retention_period, **longer)
    metrics = dict(StreamName="orders", ShardLevelMetrics=["ALL"])
    refused("ResourceInUseException", kinesis.enable_enhanced_monitoring, **metrics)
    settle()
    kinesis.increase_stream_retention_period(**longer)
    kinesis.enable_enhanced_monitoring(**metrics)


@asks("statement_46")
def _(kinesis, _account):
    def each():
        longer = dict(StreamName="orders", RetentionPeriodHours=48)
        refused("ResourceInUseException", kinesis.increase_stream_retention_period, **longer)
        for call in [kinesis.enable_enhanced_monitoring, kinesis.disable_enhanced_monitoring]:
            refused("ResourceInUseException", call, StreamName="orders", ShardLevelMetrics=["ALL"])

    kinesis.create_stream(StreamName="orders", ShardCount=1)
    each()
    settle()
    kinesis.delete_stream(StreamName="orders")
    each()


# ---- queues -----------------------------------------------------------------------------------------------------------------


def queue(kinesis, arn, name="work", start="TRIM_HORIZON", attributes=None, settles=True, **more):
    """A queue, ACTIVE unless told otherwise, and its ARN."""
    more |= {"QueueAttributes": attributes} if attributes else {}
    source = {"StreamARN": arn, "StartingPosition": start if isinstance(start, dict) else {"Type": start}}
    made = kinesis.create_queue(QueueName=name, StreamConfigurationList=[source], **more)["QueueDescription"]
    if settles:
        settle()
    return made["QueueARN"]


def receive(kinesis, arn, **more):
    return kinesis.receive_queue_records(QueueARN=arn, WaitTimeSeconds=1, **more)["QueueRecords"]


def receive_dead(kinesis, arn):
    return kinesis.receive_dead_letter_queue_records(QueueARN=arn, WaitTimeSeconds=1)["QueueRecords"]


def receipts(records):
    return [{"ReceiptHandle": record["ReceiptHandle"]} for record in records]


def acknowledge(kinesis, arn, records):
    """The codes of those that fail."""
    answer = kinesis.acknowledge_queue_records(QueueARN=arn, Entries=receipts(records))
    assert len(answer["Successful"]) + len(answer["Failed"]) == len(records), answer
    return [entry["ErrorCode"] for entry in answer["Failed"]]


def described(kinesis, arn):
    return kinesis.describe_queue(QueueARN=arn)["QueueDescription"]


def letters(count):
    return {"DeadLetterConfiguration": {"TargetType": "BUILT_IN", "MaxReceiveCount": count}}


@asks("queue_01")
def _(kinesis, account):
    provisioned, arn = created(kinesis, "provisioned"), on_demand(kinesis)
    refused("ValidationException", queue, kinesis=kinesis, arn=provisioned)
    two = [{"StreamARN": arn}] * 2
    refused("ValidationException", kinesis.create_queue, QueueName="work", StreamConfigurationList=two)
    refused("ResourceNotFoundException", queue, kinesis=kinesis, arn=f"arn:aws:kinesis:us-east-1:{account}:stream/nope")


@asks("queue_02")
def _(kinesis, _account):
    source = [{"StreamARN": on_demand(kinesis)}]
    arn = kinesis.create_queue(QueueName="work", StreamConfigurationList=source)["QueueDescription"]["QueueARN"]
    settle()
    told = described(kinesis, arn)
    expected = {"VisibilityTimeoutSeconds": 30} | letters(6)
    assert told["QueueAttributes"] == expected, told
    assert told["StreamConfigurationList"][0]["StartingPosition"]["Type"] == "LATEST", told


@asks("queue_03")
def _(kinesis, _account):
    stream = on_demand(kinesis)
    put(kinesis)
    arn = queue(kinesis, stream, settles=False)
    told = described(kinesis, arn)
    assert told["QueueStatus"] == "CREATING", told
    assert "Timestamp" not in told["StreamConfigurationList"][0]["StartingPosition"], told
    refused("ResourceNotFoundException", receive, kinesis=kinesis, arn=arn)
    settle()
    shorter = {"VisibilityTimeoutSeconds": 5}
    updating = kinesis.update_queue(QueueARN=arn, QueueAttributes=shorter)["QueueDescription"]
    assert (updating["QueueStatus"], updating["QueueAttributes"]["VisibilityTimeoutSeconds"]) == ("UPDATING", 5)
    refused("ResourceInUseException", kinesis.update_queue, QueueARN=arn, QueueAttributes=shorter)
    assert len(receive(kinesis, arn)) == 1, "while UPDATING"
    settle()
    kinesis.delete_queue(QueueARN=arn)
    assert described(kinesis, arn)["QueueStatus"] == "DELETING"
    refused("ResourceNotFoundException", receive, kinesis=kinesis, arn=arn)
    settle()
    refused("ResourceNotFoundException", described, kinesis=kinesis, arn=arn)


@asks("queue_04")
def _(kinesis, _account):
    arn = queue(kinesis, on_demand(kinesis))
    put(kinesis)
    [first] = receive(kinesis, arn)
    assert receive(kinesis, arn) == [], "in flight"
    pass_time(30)
    [second] = receive(kinesis, arn)
    assert (first["ReceiveCount"], second["ReceiveCount"]) == (1, 2)
    assert second["RecordId"] == first["RecordId"] and second["ReceiptHandle"] != first["ReceiptHandle"]
    assert acknowledge(kinesis, arn, [first]) == ["InvalidArgumentException"]
    assert acknowledge(kinesis, arn, [second]) == []
    pass_time(3600)
    assert receive(kinesis, arn) == []


@asks("queue_05")
def _(kinesis, account):
    arn, raw = queue(kinesis, on_demand(kinesis)), client(account, parameter_validation=False)
    kinesis.put_records(StreamName="orders", Records=[{"Data": b"x", "PartitionKey": str(n)} for n in range(25)])
    assert len(receive(kinesis, arn)) == 10 and len(receive(kinesis, arn, Limit=3)) == 3
    for bad in [{"Limit": 11}, {"Limit": 0}, {"VisibilityTimeoutSeconds": 43_201}, {"WaitTimeSeconds": 0}, {"WaitTimeSeconds": 21}]:
        refused("ValidationException", raw.receive_queue_records, QueueARN=arn, **bad)
    for entries in [[], [{"ReceiptHandle": "x"}] * 11]:
        refused("ValidationException", raw.acknowledge_queue_records, QueueARN=arn, Entries=entries)


@asks("queue_06")
def _(kinesis, _account):
    arn = queue(kinesis, on_demand(kinesis))
    put(kinesis)
    records = receive(kinesis, arn)
    assert acknowledge(kinesis, arn, [{"ReceiptHandle": "forged"}, *records]) == ["InvalidArgumentException"]
    assert acknowledge(kinesis, arn, records) == ["ResourceNotFoundException"]


@asks("queue_07")
def _(kinesis, _account):
    stream = on_demand(kinesis)
    one, two = queue(kinesis, stream), queue(kinesis, stream, "more")
    put(kinesis)
    records = receive(kinesis, one)
    assert acknowledge(kinesis, two, records) == ["InvalidArgumentException"]
    assert acknowledge(kinesis, one, records) == []
    assert receive(kinesis, two)[0]["RecordId"] == records[0]["RecordId"]


@asks("queue_08")
def _(kinesis, _account):
    arn = queue(kinesis, on_demand(kinesis))
    put(kinesis)
    [record] = receive(kinesis, arn)

    def change(seconds):
        entry = {"ReceiptHandle": record["ReceiptHandle"], "VisibilityTimeoutSeconds": seconds}
        return kinesis.update_queue_records_visibility(QueueARN=arn, Entries=[entry])

    pass_time(20)
    assert change(100)["Successful"]
    pass_time(90)
    assert receive(kinesis, arn) == []
    assert change(0)["Successful"] and len(receive(kinesis, arn)) == 1


@asks("queue_09")
def _(kinesis, _account):
    arn = queue(kinesis, on_demand(kinesis), attributes=letters(2))
    for key in ["a", "b"]:
        put(kinesis, PartitionKey=key)
    for count in [1, 2]:
        assert [record["ReceiveCount"] for record in receive(kinesis, arn)] == [count] * 2
        pass_time(30)
    assert receive(kinesis, arn) == []
    one, two = receive_dead(kinesis, arn)
    assert acknowledge(kinesis, arn, [one]) == ["InvalidArgumentException"], "they have operations of their own"
    assert kinesis.acknowledge_dead_letter_queue_records(QueueARN=arn, Entries=receipts([one]))["Successful"]
    show = [{"ReceiptHandle": two["ReceiptHandle"], "VisibilityTimeoutSeconds": 0}]
    assert kinesis.update_dead_letter_queue_records_visibility(QueueARN=arn, Entries=show)["Successful"]
    dead = receive_dead(kinesis, arn)
    assert kinesis.restore_dead_letter_queue_records(QueueARN=arn, Entries=receipts(dead))["Successful"]
    assert [record["ReceiveCount"] for record in receive(kinesis, arn)] == [1]


@asks("queue_10")
def _(kinesis, _account):
    arn = queue(kinesis, on_demand(kinesis), attributes={"DeadLetterConfiguration": {"TargetType": "NONE"}})
    put(kinesis)
    for count in range(1, 11):
        assert receive(kinesis, arn)[0]["ReceiveCount"] == count
        pass_time(30)
    incomplete = {"DeadLetterConfiguration": {"TargetType": "BUILT_IN"}}
    refused("ValidationException", kinesis.update_queue, QueueARN=arn, QueueAttributes=incomplete)


@asks("queue_11")
def _(kinesis, _account):
    stream = on_demand(kinesis)
    put(kinesis, b"old")
    pass_time(5)
    time = pass_time(5)
    put(kinesis, b"middle")
    at = {"Type": "AT_TIMESTAMP", "Timestamp": time}
    queues = {start: queue(kinesis, stream, str(n), start if n else at) for n, start in enumerate(["AT", "TRIM_HORIZON", "LATEST"])}
    put(kinesis, b"new")
    received = {start: {record["Data"] for record in receive(kinesis, arn)} for start, arn in queues.items()}
    assert received == {"AT": {b"middle", b"new"}, "TRIM_HORIZON": {b"old", b"middle", b"new"}, "LATEST": {b"new"}}, received
    for wrong in [{"Type": "AT_TIMESTAMP"}, {"Type": "LATEST", "Timestamp": time}]:
        refused("ValidationException", queue, kinesis=kinesis, arn=stream, name="wrong", start=wrong)


@asks("queue_12")
def _(kinesis, _account):
    arn = queue(kinesis, on_demand(kinesis))
    for key in ["a", "b"]:
        put(kinesis, PartitionKey=key)
    records = receive(kinesis, arn, Limit=1)
    hours(25)
    assert receive(kinesis, arn) == []
    assert acknowledge(kinesis, arn, records) == ["ResourceNotFoundException"]


@asks("queue_13")
def _(kinesis, _account):
    stream = on_demand(kinesis)
    arn = queue(kinesis, stream)
    delete = dict(StreamName="orders", EnforceConsumerDeletion=True)
    refused("ResourceInUseException", kinesis.delete_stream, **delete)
    mode = dict(StreamARN=stream, StreamModeDetails={"StreamMode": "PROVISIONED"})
    refused("ResourceInUseException", kinesis.update_stream_mode, **mode)
    kinesis.delete_queue(QueueARN=arn)
    settle()
    kinesis.update_stream_mode(**mode)
    settle()
    kinesis.delete_stream(**delete)


@asks("queue_14")
def _(kinesis, _account):
    stream = on_demand(kinesis)
    with without("call_limits"):
        for n in range(10):
            consumer_of(kinesis, stream, f"c{n}")
            queue(kinesis, stream, f"q{n}")
        refused("LimitExceededException", queue, kinesis=kinesis, arn=stream)
        refused("LimitExceededException", consumer_of, kinesis=kinesis, arn=stream, name="more")
    told = summary(kinesis)
    assert (told["ConsumerCount"], told["QueueCount"]) == (10, 10), told


@asks("queue_15")
def _(kinesis, _account):
    stream = on_demand(kinesis)
    for n in range(5):
        queue(kinesis, stream, f"q{n}", settles=False)
        refused("ResourceInUseException", queue, kinesis=kinesis, arn=stream, name=f"q{n}")
    refused("LimitExceededException", queue, kinesis=kinesis, arn=stream)
    settle()
    queue(kinesis, stream)


@asks("queue_16")
def _(kinesis, account):
    stream = on_demand(kinesis)
    arns = [queue(kinesis, stream, f"q{n}", Tags={"team": str(n)}) for n in range(3)]
    first = kinesis.list_queues(MaxResults=2)
    rest = kinesis.list_queues(NextToken=first["NextToken"])
    names = [queue["QueueName"] for queue in first["QueueSummaries"] + rest["QueueSummaries"]]
    assert names == ["q0", "q1", "q2"] and "NextToken" not in rest, (names, rest)
    other = [{"StreamARN": f"arn:aws:kinesis:us-east-1:{account}:stream/other"}]
    assert kinesis.list_queues(StreamFilter=other)["QueueSummaries"] == []
    assert kinesis.list_tags_for_resource(ResourceARN=arns[2])["Tags"] == [{"Key": "team", "Value": "2"}]


@asks("queue_17")
def _(kinesis, _account):
    arn = queue(kinesis, on_demand(kinesis), start="LATEST")
    advantage(kinesis, "ENABLED")
    batch = lambda: [{"Data": b"x", "PartitionKey": str(n)} for n in range(10)]
    kinesis.put_records(StreamName="orders", Records=batch())
    kinesis.update_stream_warm_throughput(StreamName="orders", WarmThroughputMiBps=9)
    settle()
    kinesis.put_records(StreamName="orders", Records=batch())
    ids = []
    while records := receive(kinesis, arn):
        ids += [record["RecordId"] for record in records]
        assert acknowledge(kinesis, arn, records) == []
    assert len(ids) == len(set(ids)) == 20, ids


@asks("queue_19")
def _(kinesis, _account):
    stream, guest = on_demand(kinesis), next(accounts)
    arn, other = queue(kinesis, stream), client(guest)
    put(kinesis)
    for resource, action in [(stream, "ReceiveQueueRecords"), (arn, "AcknowledgeQueueRecords")]:
        kinesis.put_resource_policy(ResourceARN=resource, Policy=allow(resource, guest, action))
        refused("AccessDeniedException", receive, kinesis=other, arn=arn)
    kinesis.put_resource_policy(ResourceARN=arn, Policy=allow(arn, guest, "ReceiveQueueRecords"))
    records = receive(other, arn)
    assert len(records) == 1
    refused("AccessDeniedException", other.acknowledge_queue_records, QueueARN=arn, Entries=receipts(records))


@asks("queue_20")
def _(kinesis, account):
    stream = on_demand(kinesis)
    for name in ["a", "b"]:
        queue(kinesis, stream, name)
    token = kinesis.list_queues(MaxResults=1)["NextToken"]
    for other in [client(next(accounts)), client(account, "eu-west-1")]:
        refused("InvalidArgumentException", other.list_queues, NextToken=token)


@asks("queue_21")
def _(kinesis, _account):
    arn = queue(kinesis, on_demand(kinesis))
    for _ in range(50):
        described(kinesis, arn)
        kinesis.list_queues()


@asks("queue_22")
def _(kinesis, _account):
    arn = queue(kinesis, on_demand(kinesis))
    put(kinesis)
    assert len(receive(kinesis, arn)) == 1
    kinesis.update_queue(QueueARN=arn, QueueAttributes={"VisibilityTimeoutSeconds": 2})
    settle()
    assert receive(kinesis, arn) == [], "in flight for the 30 seconds it was received with"
    pass_time(20)
    assert len(receive(kinesis, arn)) == 1
    pass_time(2)
    assert len(receive(kinesis, arn, VisibilityTimeoutSeconds=100)) == 1
    pass_time(50)
    assert receive(kinesis, arn) == [], "what the call says comes before what the queue says"
    assert described(kinesis, arn)["QueueAttributes"]["DeadLetterConfiguration"]["MaxReceiveCount"] == 6


@asks("queue_23")
def _(kinesis, _account):
    stream = on_demand(kinesis)
    made = summary(kinesis)["StreamCreationTimestamp"].timestamp()
    pass_time(60)
    arn = queue(kinesis, stream, start={"Type": "AT_TIMESTAMP", "Timestamp": made - 3600})
    told = described(kinesis, arn)["StreamConfigurationList"][0]["StartingPosition"]["Timestamp"].timestamp()
    assert abs(told - made) < 1, (told, made)


@asks("queue_25")
def _(kinesis, _account):
    stream = on_demand(kinesis)
    arn, other = queue(kinesis, stream), queue(kinesis, stream, "more")
    put(kinesis)
    records = receive(kinesis, arn)
    kinesis.delete_queue(QueueARN=arn)
    settle()
    refused("ResourceNotFoundException", acknowledge, kinesis=kinesis, arn=arn, records=records)
    refused("ResourceNotFoundException", kinesis.delete_queue, QueueARN=arn)
    assert len(receive(kinesis, other)) == 1
    anew = queue(kinesis, stream)
    assert anew != arn and acknowledge(kinesis, anew, records) == ["InvalidArgumentException"]


@asks("queue_26")
def _(kinesis, account):
    stream, raw = on_demand(kinesis), client(account, parameter_validation=False)
    for name in ["", "a b", "a/b", "q" * 129]:
        refused("ValidationException", queue, kinesis=raw, arn=stream, name=name)
    for bad in [letters(0), letters(1001), {"VisibilityTimeoutSeconds": -1}, {"VisibilityTimeoutSeconds": 43_201}]:
        refused("ValidationException", queue, kinesis=raw, arn=stream, attributes=bad)
    tags = {f"k{n}": "" for n in range(51)}
    refused("InvalidArgumentException", queue, kinesis=kinesis, arn=stream, Tags=tags)
    queue(kinesis, stream, "q" * 128, attributes=letters(1000), Tags=dict(list(tags.items())[:50]))


# Every operation of this boto3 is known.
anyone = client(next(accounts), parameter_validation=False)
for operation in anyone.meta.service_model.operation_names:
    shape = anyone.meta.service_model.operation_model(operation).input_shape
    if shape is None or not shape.required_members:
        continue
    try:
        getattr(anyone, boto3.session.botocore.xform_name(operation))()
    except ClientError as error:
        assert error.response["Error"]["Code"] == "ValidationException", (operation, error)
    except Exception as error:  # An endpoint cannot be made up without an ARN.
        assert "ndpoint" in str(error) or "ARN" in str(error), (operation, error)

failed = 0
for label, ask in statements:
    account = next(accounts)
    try:
        ask(client(account), account)
        print(f"asked {label}", flush=True)
    except Exception as error:  # Whatever it is, the others are asked too.
        failed += 1
        print(f"failed {label}: {type(error).__name__}: {error}", flush=True)
print(f"{failed} failed" if failed else f"{len(statements)} statements ok")
