"""What processes use of the machine. By `/proc`."""

import os
from pathlib import Path

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
    return "exec-child" not in line and any(name in line for name in ("kcl_app.py", "function.handler", "lines.py")) and "java" not in line and not line.startswith(os.environ["ROKINI"])


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
