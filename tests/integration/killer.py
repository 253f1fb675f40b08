"""Daemons of an instance, and the workers of its drives, are killed at random moments while something runs."""

import contextlib
import os
import random
import signal
import threading
import time

import landfall_test as lt
from landfall_test import wait_until

VICTIMS = [*lt.DAEMONS, "worker"]


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(p) for p in f.read().split()]


def descendants(pid):
    below = []
    for child in children(pid):
        with contextlib.suppress(OSError):
            below += [child, *descendants(child)]
    return below


class Killer:
    """Kills one process after the other. A victim that is down already is waited for first, so each kill hits one that serves."""

    def __init__(self, instance):
        self.instance = instance
        self.killed = dict.fromkeys(VICTIMS, 0)

    def workers(self):
        return sorted(p for p in children(self.instance.pid("mountd")) if lt.alive(p))

    def ready(self, victim):
        if victim == "worker":
            return self.ready("mountd") and self.workers()
        return f" ready daemon={victim} pid={self.instance.pid(victim)}\n" in self.instance.said()

    def kill(self, victim, sig=signal.SIGKILL, worker=None):
        """worker: which of several, 0 is the first drive's."""
        while True:
            wait_until(lambda: self.ready(victim), 60, f"a {victim} to kill")
            with contextlib.suppress(OSError, IndexError):   # it went with another one meanwhile
                pid = self.instance.pid(victim) if victim != "worker" else self.workers()[worker or 0]
                os.kill(pid, sig)
                self.killed[victim] += 1
                return pid

    def kill_soon(self, victim, seconds, sig=signal.SIGKILL):
        """In the middle of what the caller does next. Returns the thread that does it, to be joined."""
        def later():
            time.sleep(seconds)
            self.kill(victim, sig)
        thread = threading.Thread(target=later, daemon=True)
        thread.start()
        return thread

    def wait(self):
        """Until all daemons are up."""
        wait_until(lambda: all(self.ready(v) for v in VICTIMS), 60, "all daemons")


class Schedule(threading.Thread):
    """Kills each victim `times` times, in random order, while the caller works; a random while after it has come back from the kill before."""

    def __init__(self, instance, times, seed, pause=0.3, victims=VICTIMS):
        super().__init__(daemon=True)
        self.killer = Killer(instance)
        self.dice = random.Random(seed)
        self.order = [v for v in victims for _ in range(times)]
        self.dice.shuffle(self.order)
        self.pause = pause
        self.log, self.stopped, self.failure = [], threading.Event(), None

    def run(self):
        try:
            for victim in self.order:
                wait_until(lambda v=victim: self.stopped.is_set() or self.killer.ready(v), 60, f"a {victim} to kill")
                if self.stopped.wait(self.dice.uniform(0, 2 * self.pause)):
                    return
                pid = self.killer.kill(victim)
                self.log.append((time.monotonic(), victim, pid))
        except Exception as e:      # is raised where the caller joins
            self.failure = e

    @property
    def over(self):
        return not self.is_alive()

    def end(self):
        """Waits for the last kill, and until all have come back."""
        self.join()
        if self.failure:
            raise self.failure
        self.killer.wait()

    def summary(self):
        return ", ".join(f"{v} {n}" for v, n in self.killer.killed.items())
