"""What production does to both, and what is lost, repeated and out of order then."""

import os
import signal
import subprocess
import threading
import time

from output import say
from processes import app_processes, tree
from system import System, Trickle, silence, started_since


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
    results, supervised = {}, None
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
        if supervised:
            supervised.on = False
            supervised.thread.join()
        system.close()
