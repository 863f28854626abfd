"""The services, the handlers and their workers, and what the handlers noted."""

import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import boto3
from botocore.config import Config

from processes import app_processes

SCRATCH = Path(os.environ["scratch"])
ROKINI = os.environ["ROKINI"]
JAVA_OPTIONS = os.environ.get("JAVA_OPTIONS", "-Xmx256m").split()
SHARDS, BUSY = 28, 8
RECORD = 1024
# What production has too: without credentials of a profile, and without a metadata service to wait for.
ENVIRONMENT = {
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_EC2_METADATA_DISABLED": "true",
    "PATH": os.environ["PATH"],
    "HOME": str(SCRATCH),
    "PYTHONPATH": os.environ["PYTHONPATH"],
}

# What all of them do with records: a line for each, written once for a batch.
NOTES = r'''
import os, time
class Notes:
    def __init__(self, shard):
        self.out = open("%s/%s.%d" % (os.environ["OUT"], shard, os.getpid()), "ab", buffering=0)
        self.out.write(b"started %f\n" % time.time())
    def note(self, data):
        now = b" %f\n" % time.time()
        self.out.write(b"".join(b" ".join(each[:40].split()[:2]) + now for each in data))
'''

KCL_APP = r'''
import os, time
from amazon_kclpy import kcl
from amazon_kclpy.v3 import processor
from notes import Notes
class Processor(processor.RecordProcessorBase):
    def initialize(self, input):
        self.notes, self.stored = Notes(input.shard_id), time.monotonic()
        if os.path.exists("broken"): os._exit(4)
    def process_records(self, input):
        self.notes.note([record.binary_data for record in input.records])
        # The sample does so once a minute.
        if time.monotonic() - self.stored > 5:
            input.checkpointer.checkpoint()
            self.stored = time.monotonic()
    def lease_lost(self, input): pass
    def shard_ended(self, input): input.checkpointer.checkpoint()
    def shutdown_requested(self, input): input.checkpointer.checkpoint()
kcl.KCLProcess(Processor()).run()
'''

FUNCTION = r'''
import base64, os
from notes import Notes
notes = Notes("function")
def handler(event, context):
    notes.note([base64.b64decode(record["kinesis"]["data"]) for record in event["Records"]])
'''

LINES = r'''
import json, sys
from notes import Notes
notes = Notes("lines")
for line in sys.stdin:
    record = json.loads(line)
    notes.note([record["data"].encode()])
    print(record["token"], flush=True)
'''

PROPERTIES = """
executableName = {python} -u kcl_app.py
streamName = orders
applicationName = billing
AwsCredentialsProvider = EnvironmentVariableCredentialsProvider
initialPositionInStream = TRIM_HORIZON
regionName = us-east-1
kinesisEndpoint = {kinesis}
dynamoDBEndpoint = {dynamodb}
retrievalMode = POLLING
metricsLevel = NONE
shutdownGraceMillis = 10000
{more}
"""


class System:
    """Services, a folder, and workers of one kind."""

    def __init__(self, kind, shards, more=""):
        self.kind, self.shards = kind, shards
        self.home = SCRATCH / f"{kind}-{time.time_ns()}"
        self.out = self.home / "out"
        self.out.mkdir(parents=True)
        self.workers = []
        command = [ROKINI, "local", "--stream", f"orders:{shards}", "--kinesis-port", "0", "--dynamodb-port", "0"]
        self.local = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ENVIRONMENT, text=True)
        said = {}
        while not {"AWS_ENDPOINT_URL_KINESIS", "AWS_ENDPOINT_URL_DYNAMODB"} <= said.keys():
            line = self.local.stdout.readline()
            assert line, "the services do not start"
            name, _, value = line.strip().removeprefix("export ").partition("=")
            said[name] = value.strip("'\"")
        threading.Thread(target=self.local.stdout.read, daemon=True).start()
        self.environment = {**ENVIRONMENT, **said, "OUT": str(self.out)}
        for name, text in [("notes.py", NOTES), ("kcl_app.py", KCL_APP), ("function.py", FUNCTION), ("lines.py", LINES)]:
            (self.home / name).write_text(text)
        (self.home / "app.properties").write_text(
            PROPERTIES.format(
                python=sys.executable,
                kinesis=said["AWS_ENDPOINT_URL_KINESIS"],
                dynamodb=said["AWS_ENDPOINT_URL_DYNAMODB"],
                more=more,
            )
        )
        self.kinesis = boto3.client(
            "kinesis",
            endpoint_url=said["AWS_ENDPOINT_URL_KINESIS"],
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
            config=Config(max_pool_connections=4),
        )
        width = (1 << 128) // shards
        # Spread over the stream, so that each worker has some of them.
        busy = min(BUSY, shards)
        self.points = [width * (at * shards // busy) + width // 2 for at in range(busy)]
        self.puts = {}
        self.next = [0] * len(self.points)
        self.lock = threading.Lock()
        self.handled = Handled(self.out)

    def command(self):
        run = [ROKINI, "run", "orders", "--group", "billing", "--from", "trim_horizon", "--handler"]
        return {
            "rokini": [ROKINI, "run", "--properties", "app.properties"],
            "lambda": [*run, "lambda", "--", sys.executable, "-u", "-m", "awslambdaric", "function.handler"],
            "lines": [*run, "lines", "--", sys.executable, "-u", "lines.py"],
            "java": [
                "java",
                *JAVA_OPTIONS,
                "-cp",
                f"{os.environ['JARS']}/*:.",
                "software.amazon.kinesis.multilang.MultiLangDaemon",
                "--properties-file",
                "app.properties",
            ],
        }[self.kind]

    def start(self):
        log = open(self.home / f"worker{len(self.workers)}.log", "wb")
        worker = subprocess.Popen(
            self.command(), cwd=self.home, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        self.workers.append(worker)
        return worker

    def put(self, points, count):
        """So many records to each of these points, in one call for at most 500 of them."""
        entries = []
        with self.lock:
            for _ in range(count):
                for point in points:
                    number, self.next[point] = self.next[point], self.next[point] + 1
                    entries.append((point, number))
        for at in range(0, len(entries), 500):
            part = entries[at : at + 500]
            while part:
                now = time.time()
                records = [
                    {
                        "Data": b"%d %d " % entry + b"x" * (RECORD - 24),
                        "PartitionKey": str(entry[0]),
                        "ExplicitHashKey": str(self.points[entry[0]]),
                    }
                    for entry in part
                ]
                answer = self.kinesis.put_records(StreamName="orders", Records=records)
                refused = []
                for entry, one in zip(part, answer["Records"]):
                    if "ErrorCode" in one:
                        refused.append(entry)
                    else:
                        self.puts[entry] = now
                # Those of one point stay in order: nothing of it goes before what was refused.
                part = refused
                if refused:
                    time.sleep(0.1)

    def until(self, what, wanted, limit):
        begun = time.time()
        while not wanted():
            if time.time() - begun > limit:
                return None
            time.sleep(0.05)
        return time.time() - begun

    def all_handled(self):
        self.handled.read()
        return all(entry in self.handled.first for entry in list(self.puts))

    def delivers(self, since):
        """Whether of each point a record is handled that was put after this time."""
        self.handled.read()
        puts = list(self.puts.items())
        seen = {entry[0] for entry, at in puts if at > since and entry in self.handled.first}
        return len(seen) == len(self.points)

    def close(self):
        for worker in self.workers:
            try:
                os.killpg(worker.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            worker.wait()
        time.sleep(1)
        for pid in app_processes(self.home):
            os.kill(pid, signal.SIGKILL)
        self.local.kill()
        self.local.wait()


class Handled:
    """What the handlers noted: when each record was handled first, and how often."""

    def __init__(self, folder):
        self.folder, self.places, self.first, self.times, self.started = folder, {}, {}, {}, []

    def read(self):
        for path in list(self.folder.iterdir()):
            with open(path, "rb") as file:
                file.seek(self.places.get(path, 0))
                data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            self.places[path] = self.places.get(path, 0) + len(whole)
            for line in whole.splitlines():
                words = line.split()
                if words[0] == b"started":
                    self.started.append((path.name, float(words[1])))
                    continue
                entry, at = (int(words[0]), int(words[1])), float(words[2])
                self.times[entry] = self.times.get(entry, 0) + 1
                self.first[entry] = min(at, self.first.get(entry, at))


class Trickle:
    """A record to each point ten times a second."""

    def __init__(self, system):
        self.system, self.stopped = system, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        points = range(len(self.system.points))
        while not self.stopped.wait(0.1):
            self.system.put(points, 1)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()


def silence(system, since):
    """Of each point the longest time from a put to its handling, of what was put after this time."""
    system.handled.read()
    longest = [0.0] * len(system.points)
    for (point, number), at in list(system.puts.items()):
        if at > since and (point, number) in system.handled.first:
            longest[point] = max(longest[point], system.handled.first[(point, number)] - at)
    return {"longest": max(longest), "median": statistics.median(longest)}


def started_since(system, since):
    system.handled.read()
    return sum(at > since for _, at in system.handled.started)
