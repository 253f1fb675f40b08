"""The processes of a system, all together: their memory, and the time they spend."""

import contextlib
import os
import threading
import time

from killer import children

LOOK_SECONDS = 0.1


def descendants(pid):
    found = [pid]
    with contextlib.suppress(OSError):
        for child in children(pid):
            found += descendants(child)
    return found


def memory_of(pids):
    """(PSS, RSS) in bytes. What processes share counts once in the first, and in each of them in the second."""
    total = {"Pss:": 0, "Rss:": 0}
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as f:
            for line in f:
                name, value, *_ = line.split()
                if name in total:
                    total[name] += int(value) * 1024
    return total["Pss:"], total["Rss:"]


def processor_seconds(pids):
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as f:
            user, system = f.read().rpartition(")")[2].split()[11:13]
            ticks += int(user) + int(system)
    return ticks / os.sysconf("SC_CLK_TCK")


def time_spent(pids, seconds):
    """Of the processors, within the next so many seconds."""
    before = processor_seconds(pids)
    time.sleep(seconds)
    return processor_seconds(pids) - before


def busy_seconds():
    """What all processors together were not idle since the machine started."""
    with open("/proc/stat") as f:
        user, nice, system, _, _, *more = (int(field) for field in f.readline().split()[1:9])
    return (user + nice + system + sum(more)) / os.sysconf("SC_CLK_TCK")


class Spent:
    """Where the processors' time went while something was measured: to the system, to the server, to all together, and
    how much there was."""

    def __init__(self, system):
        self.parts = [system.pids, system.ground.server.pids().values]

    def look(self):
        return [processor_seconds(pids()) for pids in self.parts] + [busy_seconds(), os.cpu_count() * time.monotonic()]

    def __enter__(self):
        self.before = self.look()
        return self

    def __exit__(self, *_):
        self.ours, self.server, self.all, self.there = (b - a for a, b in zip(self.before, self.look()))


class Watch(threading.Thread):
    """The most that a system's processes took at any look while it lasted."""

    def __init__(self, system):
        super().__init__(daemon=True)
        self.pids, self.most, self.over = system.pids, (0, 0), threading.Event()

    def look(self):
        self.most = tuple(map(max, self.most, memory_of(self.pids())))

    def run(self):
        while not self.over.wait(LOOK_SECONDS):
            self.look()

    def __enter__(self):
        self.look()
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()
        self.look()
