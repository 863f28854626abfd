"""Testcontainers for Python. Needs testcontainers, boto3 and pytest."""

import boto3
import pytest
from testcontainers.core.container import DockerContainer
from testcontainers.core.waiting_utils import wait_for_logs


@pytest.fixture(scope="session")
def kinesis():
    container = (
        DockerContainer("rokini:static")
        .with_command(["local", "--listen", "0.0.0.0", "--host-name", "*", "--stream", "orders:1"])
        .with_exposed_ports(4567, 8000)
    )
    with container:
        # Printed once both services answer.
        wait_for_logs(container, "AWS_ENDPOINT_URL_KINESIS=", timeout=30)
        url = f"http://{container.get_container_host_ip()}:{container.get_exposed_port(4567)}"
        yield boto3.client(
            "kinesis",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )


def test_what_was_put_is_read(kinesis):
    kinesis.put_record(StreamName="orders", PartitionKey="k", Data=b"hello")
    iterator = kinesis.get_shard_iterator(
        StreamName="orders", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    records = kinesis.get_records(ShardIterator=iterator)["Records"]
    assert [record["Data"] for record in records] == [b"hello"]
