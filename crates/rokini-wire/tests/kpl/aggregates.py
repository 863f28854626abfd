"""Aggregates by aws-kinesis-agg from PyPI.

    python aggregates.py make SEED   random aggregates, a JSON object each
    python aggregates.py read        reads the `data` of such objects from standard input, and writes what they hold
"""

import base64
import json
import random
import sys

from aws_kinesis_agg.aggregator import RecordAggregator
from aws_kinesis_agg.deaggregator import deaggregate_records


def text(data):
    return base64.b64encode(data).decode()


def user_records(rng):
    keys = ["k%d" % n for n in range(rng.randint(1, 8))] + ["", "gr\u00fcn", "\U0001f600" * 3, "x" * 256]
    for _ in range(rng.randint(2, 24)):
        # Empty keys are refused by Kinesis itself.
        key = rng.choice([key for key in keys if key])
        hash_key = rng.choice([None, None, str(rng.randrange(2**128)), "0", str(2**128 - 1)])
        yield key, hash_key, rng.randbytes(rng.choice([0, 1, 7, 100, 127, 128, 300] * 9 + [16384]))


def make(seed):
    for number in range(6):
        rng = random.Random("%s/%d" % (seed, number))
        aggregator, records = RecordAggregator(), []
        for key, hash_key, data in user_records(rng):
            assert aggregator.add_user_record(key, data, hash_key) is None, "it is full"
            records.append({"key": key, "hash_key": hash_key, "data": text(data)})
        _, _, data = aggregator.clear_and_get().get_contents()
        print(json.dumps({"by": "aws-kinesis-agg of PyPI", "data": text(data), "records": records}))


def read():
    for line in sys.stdin:
        kinesis = {"partitionKey": "outer", "sequenceNumber": "1", "data": json.loads(line)["data"]}
        outer = {"eventID": "shard:1", "kinesis": dict(kinesis, kinesisSchemaVersion="1.0", approximateArrivalTimestamp=1.5)}
        records = [
            {"key": inner["partitionKey"], "hash_key": inner.get("explicitHashKey") or None, "data": inner["data"].decode()}
            for inner in (record["kinesis"] for record in deaggregate_records([outer]))
        ]
        print(json.dumps({"records": records}))


if __name__ == "__main__":
    make(sys.argv[2]) if sys.argv[1] == "make" else read()
