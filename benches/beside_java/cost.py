"""Memory, CPU, the first record, and the silence of a rolling deploy and of a kill."""

import os
import signal
import threading
import time

from output import say
from processes import Cpu, memory, threads, tree
from system import BUSY, RECORD, SHARDS, System, Trickle, silence, started_since


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
