"""How long puts to one stream of `rokini local` take beside heavy traffic on another stream.

    ROKINI=target/release/rokini python3 benches/neighbours.py [KIND...]

Four clients put to the stream `a`: alone; beside traffic on the stream `b` of another process, which costs the machine as much; and
beside the same traffic on the stream `b` of the same process. The second and the third are to be compared. Kinds of traffic:

- large: two readers of answers of 10 MB, of 10 records each
- many: two readers of answers of 10 MB, of 10,000 records each
- bulk: eight writers of PutRecords of 5 MB
- shards: two readers of ListShards over 10,000 shards
- thousand: the same over 1,000 shards
- idle: 400 subscriptions by fan-out, to which nothing is written
- subscriptions: 400 subscriptions by fan-out, and a writer of 500 records a second
- data: both streams in files (`--data`), and two writers of records of 100 KB
"""

import base64
import http.client
import json
import multiprocessing
import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROKINI = os.environ.get("ROKINI", "target/release/rokini")
SECONDS = float(os.environ.get("BENCH_SECONDS", "4"))
TARGET = "Kinesis_20131202."
JSON = "application/x-amz-json-1.1"


def start(*arguments):
    reader, writer = os.pipe()
    ports = ["--kinesis-port", "0", "--dynamodb-port", "0", "--no-limits", "--ready-fd", str(writer)]
    process = subprocess.Popen(
        [ROKINI, "local", *ports, *arguments], pass_fds=(writer,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(writer)
    with os.fdopen(reader) as told:
        return process, int(json.loads(told.readline())["kinesis"].rsplit(":", 1)[1])


class Client:
    def __init__(self, port):
        self.http = http.client.HTTPConnection("127.0.0.1", port)
        self.http.connect()
        self.http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, operation, **members):
        self.http.request("POST", "/", json.dumps(members), {"X-Amz-Target": TARGET + operation, "Content-Type": JSON})
        answer = self.http.getresponse()
        body = answer.read()
        if answer.status != 200:
            sys.exit(f"{operation}: {answer.status} {body[:200]}")
        return json.loads(body) if len(body) < 1 << 20 else None


def blob(size):
    return base64.b64encode(b"x" * size).decode()


def put_timed(port, times):
    client, found, data = Client(port), [], blob(200)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        began = time.perf_counter()
        client.call("PutRecord", StreamName="a", PartitionKey=str(os.getpid()), Data=data)
        found.append(time.perf_counter() - began)
        time.sleep(0.0005)
    times.put(found)


def read(port):
    client = Client(port)
    start = {"StreamName": "b", "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}
    at = client.call("GetShardIterator", **start)["ShardIterator"]
    while True:
        client.call("GetRecords", ShardIterator=at)
        time.sleep(0.02)


def list_shards(port):
    client = Client(port)
    while True:
        client.call("ListShards", StreamName="b", MaxResults=10_000)
        time.sleep(0.005)


def write(port, size):
    client, number, data = Client(port), 0, blob(size)
    while True:
        number += 1
        client.call("PutRecord", StreamName="b", PartitionKey=str(number), Data=data)
        time.sleep(0.002)


def write_bulk(port):
    client = Client(port)
    records = [{"PartitionKey": f"{os.getpid()}-{number}", "Data": blob(1_000_000)} for number in range(5)]
    body = json.dumps({"StreamName": "b", "Records": records})
    head = {"X-Amz-Target": TARGET + "PutRecords", "Content-Type": JSON}
    while True:
        client.http.request("POST", "/", body, head)
        client.http.getresponse().read()
        time.sleep(0.02)


def write_small(port):
    write(port, 200)


def write_large(port):
    write(port, 100_000)


def subscribe(port):
    client, selector = Client(port), selectors.DefaultSelector()
    arn = client.call("DescribeStreamSummary", StreamName="b")["StreamDescriptionSummary"]["StreamARN"]
    shards = [shard["ShardId"] for shard in client.call("ListShards", StreamName="b")["Shards"]]
    for number in range(20):
        consumer = client.call("RegisterStreamConsumer", StreamARN=arn, ConsumerName=f"c{number}")["Consumer"]["ConsumerARN"]
        for shard in shards:
            body = json.dumps({"ConsumerARN": consumer, "ShardId": shard, "StartingPosition": {"Type": "LATEST"}})
            connection = socket.create_connection(("127.0.0.1", port))
            head = f"X-Amz-Target: {TARGET}SubscribeToShard\r\nContent-Type: {JSON}\r\nContent-Length: {len(body)}"
            connection.sendall(f"POST / HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n{body}".encode())
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            key.fileobj.recv(1 << 16)


def fill_large(port):
    for _ in range(10):
        Client(port).call("PutRecord", StreamName="b", PartitionKey="k", Data=blob(1_000_000))


def fill_many(port):
    records = [{"PartitionKey": str(number), "Data": blob(1_000)} for number in range(500)]
    for _ in range(20):
        Client(port).call("PutRecords", StreamName="b", Records=records)


# Shards of `b`, what is put there before, and who uses it.
KINDS = {
    "large": (1, fill_large, [read, read]),
    "many": (1, fill_many, [read, read]),
    "bulk": (8, None, [write_bulk] * 8),
    "shards": (10_000, None, [list_shards, list_shards]),
    "thousand": (1_000, None, [list_shards, list_shards]),
    "idle": (20, None, [subscribe]),
    "subscriptions": (20, None, [subscribe, write_small]),
    "data": (4, None, [write_large, write_large]),
}


def measure(kind, where):
    shards, fill, users = KINDS[kind]
    directory = tempfile.mkdtemp()
    kept = [["--data", f"{directory}/{name}"] if kind == "data" else [] for name in "xy"]
    servers = [start("--stream", "a:4", "--stream", f"b:{shards}", *arguments) for arguments in kept]
    (_, port), (_, other) = servers
    target = {"same": port, "other": other}.get(where)
    processes = []
    if target:
        if fill:
            fill(target)
        processes = [multiprocessing.Process(target=user, args=(target,), daemon=True) for user in users]
    for process in processes:
        process.start()
    time.sleep(2 if target else 0)
    times = multiprocessing.Queue()
    putters = [multiprocessing.Process(target=put_timed, args=(port, times)) for _ in range(4)]
    for putter in putters:
        putter.start()
    found = sorted(took for _ in putters for took in times.get())
    for process in putters:
        process.join()
    for process in processes:
        process.kill()
        process.join()
    for server, _ in servers:
        server.kill()
        server.wait()
    shutil.rmtree(directory)
    p50, p99 = (found[int(len(found) * part)] * 1e3 for part in (0.5, 0.99))
    print(f"{kind:14} {where:6} {len(found):6} puts, p50 {p50:.2f} ms, p99 {p99:.2f} ms", flush=True)


if __name__ == "__main__":
    for kind in sys.argv[1:] or KINDS:
        for where in ["alone", "other", "same", "other", "same"]:
            measure(kind, where)
