"""A queue is consumed by three processes with boto3 that are killed at random, with a reader of the stream beside them.

Every record is acknowledged or a dead letter; no dead letter was handed out more often than the queue says, or less; what was
acknowledged never comes again; what is restored comes anew. QUEUE_RECORDS says how many records, QUEUE_SEED repeats a run's choices.
"""

import os
import random
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

import boto3

RECORDS = int(os.environ.get("QUEUE_RECORDS", "600"))
SEED = int(os.environ.get("QUEUE_SEED", str(random.SystemRandom().randrange(1 << 32))))
WORKERS = 3
MAX_RECEIVES = 4
VISIBILITY = 2
BATCH = 10
POISON = {n for n in range(RECORDS) if n % 50 == 7}

print(f"QUEUE_SEED={SEED} QUEUE_RECORDS={RECORDS}", flush=True)
chance = random.Random(SEED)
notes = Path(tempfile.mkdtemp())
parent = boto3.client("kinesis")


def put_all():
    for first in range(0, RECORDS, 500):
        entries = [{"Data": str(n).encode(), "PartitionKey": str(n)} for n in range(first, min(first + 500, RECORDS))]
        assert parent.put_records(StreamName="work", Records=entries)["FailedRecordCount"] == 0


def work(queue, name, seed):
    """Handles records until it is killed. What it has done is noted before and after each call that tells the queue."""
    kinesis = boto3.client("kinesis")
    choice = random.Random(seed)
    with open(notes / name, "w", buffering=1) as out:
        while True:
            records = kinesis.receive_queue_records(QueueARN=queue, Limit=BATCH, WaitTimeSeconds=1)["QueueRecords"]
            for record in records:
                out.write(f"received {int(record['Data'])} {record['ReceiveCount']}\n")
            # Now and then longer than they are hidden: they are handed to somebody else meanwhile.
            time.sleep(VISIBILITY * 1.2 if choice.random() < 0.08 else choice.uniform(0.02, 0.15))
            good = {record["ReceiptHandle"]: int(record["Data"]) for record in records if int(record["Data"]) not in POISON}
            if not good:
                continue
            for n in good.values():
                out.write(f"handled {n} 0\n")
            answer = kinesis.acknowledge_queue_records(
                QueueARN=queue, Entries=[{"ReceiptHandle": handle} for handle in good]
            )
            for entry in answer["Successful"]:
                out.write(f"done {good[entry['ReceiptHandle']]} 0\n")
            for entry in answer["Failed"]:
                assert entry["ErrorCode"] in ("InvalidArgumentException", "ResourceNotFoundException"), entry
                out.write(f"late {good[entry['ReceiptHandle']]} 0\n")


def read(shards):
    """Reads the stream beside the queue, each record once."""
    kinesis = boto3.client("kinesis")
    with open(notes / "reader", "w", buffering=1) as out:
        iterators = {
            shard: kinesis.get_shard_iterator(StreamName="work", ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
            for shard in shards
        }
        while True:
            for shard in shards:
                page = kinesis.get_records(ShardIterator=iterators[shard], Limit=100)
                iterators[shard] = page["NextShardIterator"]
                for record in page["Records"]:
                    out.write(f"read {int(record['Data'])} 0\n")
            time.sleep(0.05)


def start(target, *arguments):
    pid = os.fork()
    if pid == 0:
        try:
            target(*arguments)
        except BaseException as error:  # Told by its note; the parent looks for it.
            (notes / f"failed.{os.getpid()}").write_text(repr(error))
        os._exit(1)
    return pid


def noted(what):
    """The records of a kind of note, with the number beside them."""
    found = []
    for path in sorted(notes.iterdir()):
        assert not path.name.startswith("failed"), path.read_text()
        for line in path.read_text().splitlines(keepends=True):
            # The last line of one that was killed may be half a line.
            if line.endswith("\n") and line.startswith(what + " "):
                _, n, beside = line.split()
                found.append((int(n), int(beside)))
    return found


def records(what):
    return {n for n, _ in noted(what)}


def end(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


parent.create_stream(StreamName="work", StreamModeDetails={"StreamMode": "ON_DEMAND"})
parent.get_waiter("stream_exists").wait(StreamName="work")
stream = parent.describe_stream_summary(StreamName="work")["StreamDescriptionSummary"]["StreamARN"]
queue = parent.create_queue(
    QueueName="work",
    StreamConfigurationList=[{"StreamARN": stream, "StartingPosition": {"Type": "TRIM_HORIZON"}}],
    QueueAttributes={
        "VisibilityTimeoutSeconds": VISIBILITY,
        "DeadLetterConfiguration": {"TargetType": "BUILT_IN", "MaxReceiveCount": MAX_RECEIVES},
    },
)["QueueDescription"]["QueueARN"]
shards = [shard["ShardId"] for shard in parent.list_shards(StreamName="work")["Shards"]]

began = time.monotonic()
reader = start(read, shards)
names = iter(range(1_000_000))
worker = lambda: start(work, queue, f"worker.{next(names)}", chance.randrange(1 << 32))
workers = [worker() for _ in range(WORKERS)]
put_all()

# Until nine tenths are done somebody is killed all the time.
kills = 0
while len(records("done")) < 0.9 * (RECORDS - len(POISON)):
    assert time.monotonic() - began < 60 + RECORDS / 20, "it does not get on"
    time.sleep(chance.uniform(0.2, 0.6))
    victim = chance.randrange(WORKERS)
    end(workers[victim])
    kills += 1
    workers[victim] = worker()
# Then they finish: nobody is given anything for longer than any record is hidden.
seen, since = -1, time.monotonic()
while time.monotonic() - since < 3 * VISIBILITY:
    now = len(noted("received"))
    if now != seen:
        seen, since = now, time.monotonic()
    time.sleep(0.2)
for pid in workers:
    end(pid)
while len(records("read")) < RECORDS:
    assert time.monotonic() - began < 120 + RECORDS / 20, "the reader does not get on"
    time.sleep(0.1)
end(reader)
took = time.monotonic() - began

everything = set(range(RECORDS))
assert Counter(n for n, _ in noted("read")) == Counter(everything), "the reader beside read each record once"
assert parent.receive_queue_records(QueueARN=queue, WaitTimeSeconds=1)["QueueRecords"] == [], "nothing is left"
dead = []
while letters := parent.receive_dead_letter_queue_records(
    QueueARN=queue, WaitTimeSeconds=1, VisibilityTimeoutSeconds=600
)["QueueRecords"]:
    dead += letters
letters = Counter(int(record["Data"]) for record in dead)
assert set(letters.values()) <= {1}, "each dead letter once"

done = noted("done")
assert len(done) == len({n for n, _ in done}), "nothing is acknowledged twice"
assert not records("done") & set(letters), "what is acknowledged is no dead letter"
assert POISON <= set(letters), POISON - set(letters)
# Whoever was killed after a call had an effect and before it noted that: one batch at most.
unknown = everything - records("done") - set(letters)
assert unknown <= records("handled"), f"lost: {sorted(unknown - records('handled'))[:5]}"
assert len(unknown) <= BATCH * (kills + WORKERS), unknown
# How often each was handed out: never more often than the queue allows, each time with the next number, and a dead letter as often as
# it takes, but for what those who were killed did not note.
given = Counter(noted("received"))
assert set(given.values()) <= {1}, [times for times in given.items() if times[1] > 1][:5]
assert max(count for _, count in given) <= MAX_RECEIVES
times = Counter(n for n, _ in given)
missing = sum(MAX_RECEIVES - times[n] for n in letters)
assert missing <= BATCH * (kills + WORKERS), missing
assert all(record["ReceiveCount"] > MAX_RECEIVES for record in dead), "a dead letter is received once more"

for first in range(0, len(dead), BATCH):
    entries = [{"ReceiptHandle": record["ReceiptHandle"]} for record in dead[first : first + BATCH]]
    assert not parent.restore_dead_letter_queue_records(QueueARN=queue, Entries=entries)["Failed"]
restored = []
while batch := parent.receive_queue_records(QueueARN=queue, WaitTimeSeconds=1)["QueueRecords"]:
    restored += batch
    entries = [{"ReceiptHandle": record["ReceiptHandle"]} for record in batch]
    assert not parent.acknowledge_queue_records(QueueARN=queue, Entries=entries)["Failed"]
assert Counter(int(record["Data"]) for record in restored) == letters
assert {record["ReceiveCount"] for record in restored} <= {1}, "restoring resets the count"
parent.delete_queue(QueueARN=queue)
parent.delete_stream(StreamName="work")
print(
    f"{RECORDS} records, {kills} kills in {took:.0f} s: {len(done)} acknowledged, {len(letters)} dead letters ({len(POISON)} poisonous), "
    f"{len(unknown)} acknowledged by those who were killed, {len(records('late'))} acknowledged too late; ok"
)
