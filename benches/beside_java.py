"""Rokini beside the Java daemon of the KCL: the same application, properties, stream and load. Started by beside_java.sh.

`cost` measures memory, CPU, the first record, and the silence of a rolling deploy and of a kill; `behaviour` does to both what
production does, and counts what is lost, repeated and out of order.
"""

import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import boto3
from botocore.config import Config

SCRATCH = Path(os.environ["scratch"])
ROKINI = os.environ["ROKINI"]
JAVA_OPTIONS = os.environ.get("JAVA_OPTIONS", "-Xmx256m").split()
SHARDS, BUSY = 28, 8
RECORD = 1024
BEGAN = time.monotonic()
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

# ---- the handlers --------------------------------------------------------------------------------------------

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


# ---- processes ----------------------------------------------------------------------------------------------

TICKS = os.sysconf("SC_CLK_TCK")


def stats():
    """Of every process: its parent and its CPU seconds."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z":
                found[int(entry)] = (int(fields[1]), (int(fields[11]) + int(fields[12])) / TICKS)
    return found


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def is_app(pid):
    line = command_line(pid)
    return "exec-child" not in line and any(name in line for name in ("kcl_app.py", "function.handler", "lines.py")) and "java" not in line and not line.startswith(ROKINI)


def app_processes(home):
    def is_here(pid):
        try:
            return os.readlink(f"/proc/{pid}/cwd") == str(home)
        except OSError:
            return False

    return [pid for pid in stats() if is_app(pid) and is_here(pid)]


def tree(pid):
    """The daemon with what it has beside it, and the children with user code."""
    all_of_them = stats()
    members, grew = {pid}, True
    while grew:
        more = {each for each, (parent, _) in all_of_them.items() if parent in members} - members
        members |= more
        grew = bool(more)
    children = {each for each in members if is_app(each)}
    return members - children, children


def memory(pids):
    """Resident memory, and the part of it that is not shared with others, in MB."""
    rss = pss = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        values = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
        rss, pss = rss + values["Rss"], pss + values["Pss"]
    return rss / 1024, pss / 1024


def threads(pid):
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("Threads"))
    return int(line.split()[1])


class Cpu:
    """CPU seconds from now on, of the daemon and of its children."""

    def __init__(self, pid):
        self.pid, self.begun = pid, stats()

    def spent(self):
        now, (daemon, children) = stats(), tree(self.pid)
        spent = lambda pids: sum(now[pid][1] - self.begun.get(pid, (0, 0))[1] for pid in pids if pid in now)
        return spent(daemon), spent(children)


# ---- what is measured ----------------------------------------------------------------------------------------


def say(text):
    print(f"{time.monotonic() - BEGAN:6.0f} s  {text}", file=sys.stderr, flush=True)


def load(system, seconds):
    """900 records a second to each busy shard; the time until all of them are handled."""
    begun = time.time()
    at = begun
    for _ in range(int(seconds * 2)):
        system.put(range(len(system.points)), 450)
        at += 0.5
        time.sleep(max(0, at - time.time()))
    assert system.until("the load", system.all_handled, 180) is not None, f"{system.kind} does not handle its load"
    return time.time() - begun


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


def resources(system, worker, figures):
    time.sleep(10)
    daemon, children = tree(worker.pid)
    figures["threads"], figures["children"] = threads(worker.pid), len(children)
    idle = Cpu(worker.pid)
    time.sleep(20)
    figures["idle CPU, % of a core, daemon"] = idle.spent()[0] / 20 * 100
    figures["idle memory, MB, daemon"] = memory(daemon)[0]
    figures["idle memory, MB, tree"] = sum(memory(part)[0] for part in (daemon, children))
    say(f"{system.kind}: idle {figures}")
    load(system, 8)
    cpu, before = Cpu(worker.pid), len(system.puts)
    peak, stop = [0.0, 0.0], threading.Event()

    def watch():
        while not stop.wait(0.5):
            daemon, children = tree(worker.pid)
            sizes = [memory(daemon)[0], memory(children)[0]]
            peak[0], peak[1] = max(peak[0], sizes[0]), max(peak[1], sum(sizes))

    watching = threading.Thread(target=watch)
    watching.start()
    took = load(system, 20)
    gigabytes = (len(system.puts) - before) * RECORD / 1e9
    daemon, children = cpu.spent()
    stop.set()
    watching.join()
    figures["load, MB/s"] = gigabytes * 1000 / took
    figures["CPU s/GB, daemon"] = daemon / gigabytes
    figures["CPU s/GB, tree"] = (daemon + children) / gigabytes
    figures["most memory under load, MB, daemon"], figures["most memory under load, MB, tree"] = peak


def moves(system, worker, figures):
    """A rolling deploy of two workers, and the death of one."""
    with Trickle(system):
        since = time.time()
        other = system.start()
        figures["second worker has its share, s"] = system.until("its share", lambda: started_since(system, since) >= SHARDS // 2 - 2, 150)
        figures["silence of a newcomer, s"] = silence(system, since)
        time.sleep(5)
        say(f"{system.kind}: a second worker works")
        since = time.time()
        worker.send_signal(signal.SIGTERM)
        third = system.start()
        system.until("delivery", lambda: system.delivers(since + 10), 240)
        system.until("its end", lambda: worker.poll() is not None, 60)
        system.until("its share", lambda: started_since(system, since) >= SHARDS // 2 - 2, 60)
        time.sleep(5)
        figures["silence of a deploy, s"] = silence(system, since)
        say(f"{system.kind}: {figures}")
        since = time.time()
        os.kill(other.pid, signal.SIGKILL)
        system.until("delivery", lambda: system.delivers(since + 15), 300)
        figures["silence of a kill, s"] = silence(system, since)
        assert third.poll() is None, "the last worker ended"
    figures["handled in the end"] = system.until("everything", system.all_handled, 120) is not None


def cost(kind):
    system = System(kind, SHARDS)
    try:
        figures = {}
        system.put(range(BUSY), 1)
        begun = time.time()
        worker = system.start()
        assert system.until("the first record", lambda: system.handled.read() or system.handled.first, 300) is not None
        figures["first record, s"] = min(system.handled.first.values()) - begun
        assert system.until("the first records", system.all_handled, 120) is not None
        figures["first record of the last shard, s"] = max(system.handled.first.values()) - begun
        if kind in ("java", "rokini"):
            system.until("its children", lambda: started_since(system, 0) >= SHARDS, 120)
            figures["last child started, s"] = max(at for _, at in system.handled.started) - begun
        say(f"{kind}: {figures}")
        resources(system, worker, figures)
        say(f"{kind}: {figures}")
        if kind in ("java", "rokini"):
            moves(system, worker, figures)
        say(f"{kind}: {figures}")
        return figures
    finally:
        system.close()


def cell(value):
    if isinstance(value, dict):
        return f"{value['longest']:.1f} ({value['median']:.1f})"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    return f"{value:.0f}" if abs(value) >= 20 or value == int(value) else f"{value:.2f}"


def table(results):
    rows = list(dict.fromkeys(row for figures in results.values() for row in figures))
    print("\n| | " + " | ".join(results) + " |\n|" + "---|" * (len(results) + 1))
    for row in rows:
        print(f"| {row} | " + " | ".join(cell(figures.get(row)) for figures in results.values()) + " |")


# ---- what production does ------------------------------------------------------------------------------------


class Supervised:
    """A worker that is started anew at once when it ends, as a supervisor does it."""

    def __init__(self, system):
        self.system, self.on, self.starts = system, True, 0
        self.worker = system.start()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while self.on:
            if self.worker.poll() is not None:
                self.starts += 1
                self.worker = self.system.start()
            time.sleep(0.1)


def children_of(worker):
    return sorted(tree(worker.pid)[1])


def kill_child(system, supervised):
    os.kill(children_of(supervised.worker)[0], signal.SIGKILL)


def kill_daemon(system, supervised):
    os.kill(supervised.worker.pid, signal.SIGKILL)


def kill_both(system, supervised):
    kill_child(system, supervised)
    kill_daemon(system, supervised)


def terminate(system, supervised):
    supervised.worker.send_signal(signal.SIGTERM)


def freeze_child(system, supervised):
    os.kill(children_of(supervised.worker)[0], signal.SIGSTOP)


def fail_to_initialize(system, supervised):
    """Every child, for 15 s."""
    (system.home / "broken").touch()
    for child in children_of(supervised.worker):
        os.kill(child, signal.SIGKILL)
    time.sleep(15)
    (system.home / "broken").unlink()


def split(system, supervised):
    system.kinesis.split_shard(StreamName="orders", ShardToSplit="shardId-000000000000", NewStartingHashKey=str(1 << 125))


def merge(system, supervised):
    system.kinesis.merge_shards(
        StreamName="orders", ShardToMerge="shardId-000000000002", AdjacentShardToMerge="shardId-000000000003"
    )


def freeze_daemon(system, supervised):
    """Thirty seconds, with another worker beside it."""
    supervised.on = False
    since = time.time()
    other = system.start()
    system.until("its share", lambda: started_since(system, since) >= 2, 150)
    time.sleep(5)
    worker = supervised.worker
    begun = time.time()
    worker.send_signal(signal.SIGSTOP)
    system.until("delivery", lambda: system.delivers(begun + 5), 240)
    time.sleep(max(0, begun + 30 - time.time()))
    worker.send_signal(signal.SIGCONT)
    time.sleep(20)
    return begun


EVENTS = {
    "kill -9 of a child": kill_child,
    "kill -9 of the daemon": kill_daemon,
    "kill -9 of both": kill_both,
    "SIGTERM": terminate,
    "a child frozen": freeze_child,
    "children that exit in initialize for 15 s": fail_to_initialize,
    "split": split,
    "merge": merge,
    "the daemon frozen for 30 s, beside another": freeze_daemon,
}


def judge(system, since, until):
    """What became of the records that were put in this time."""
    system.handled.read()
    entries = [entry for entry, at in list(system.puts.items()) if since <= at <= until]
    lost = [entry for entry in entries if entry not in system.handled.first]
    repeated = sum(system.handled.times.get(entry, 1) > 1 for entry in entries)
    backwards = 0
    for point in range(len(system.points)):
        at = [system.handled.first[entry] for entry in sorted(entries) if entry[0] == point and entry in system.handled.first]
        backwards += sum(a > b for a, b in zip(at, at[1:]))
    return {"records": len(entries), "lost": len(lost), "repeated": repeated, "out of order": backwards}


def behaviour(kind):
    # A limit, without which a child that stands still is waited for by both for ever.
    system = System(kind, 4, more="timeoutInSeconds = 10")
    system.points = [(1 << 128) // 8 * at + (1 << 124) for at in range(8)]
    system.next = [0] * 8
    results = {}
    try:
        with Trickle(system):
            supervised = Supervised(system)
            assert system.until("delivery", lambda: system.delivers(0), 300) is not None, "it does not start"
            for name, event in EVENTS.items():
                time.sleep(12)
                starts, began = supervised.starts, time.time()
                figures = {}
                since = event(system, supervised) or began
                # What was put five seconds after it is delivered, and to everybody.
                after = time.time() + 5
                recovered = system.until("delivery", lambda: system.delivers(after), 300)
                figures["recovered"] = recovered is not None
                # A daemon that ended may end once more; then children whose daemon has ended.
                time.sleep(10)
                figures["silence, s"] = silence(system, since - 1)
                alive = {worker.pid for worker in system.workers if worker.poll() is None}
                mine = set().union(*(tree(pid)[1] for pid in alive)) if alive else set()
                figures["left behind"] = len(set(app_processes(system.home)) - mine)
                figures["daemon ended"] = supervised.starts - starts
                results[name] = (figures, since - 1, time.time())
                say(f"{kind}: {name}: {figures}")
                if not supervised.on:
                    break
                if supervised.worker.poll() is not None:
                    time.sleep(1)
        system.until("everything", system.all_handled, 300)
        for name, (figures, since, until) in results.items():
            figures.update(judge(system, since - 10, until))
            say(f"{kind}: {name}: {figures}")
        supervised.on = False
        for worker in system.workers:
            worker.send_signal(signal.SIGTERM)
        for worker in system.workers:
            try:
                worker.wait(60)
            except subprocess.TimeoutExpired:
                say(f"{kind}: {worker.pid} does not end within 60 s of SIGTERM")
        time.sleep(5)
        say(f"{kind}: {len(app_processes(system.home))} processes left after the end")
        return {name: figures for name, (figures, _, _) in results.items()}
    finally:
        system.close()


def main():
    mode, kinds = sys.argv[1], sys.argv[2:]
    print(f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}")
    results = {}
    for kind in kinds or (["rokini", "java", "lambda", "lines"] if mode == "cost" else ["rokini", "java"]):
        results[kind] = {"cost": cost, "behaviour": behaviour}[mode](kind)
    if mode == "cost":
        table(results)
    else:
        for kind, events in results.items():
            print(f"\n{kind}")
            table(events)
    print(json.dumps(results))


main()
