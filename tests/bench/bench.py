#!/usr/bin/python3
"""Measures drives on one radosgw: each system mounts the same bucket, fresh, and does the same work.

Every figure is the median of several rounds. For each piece of work the systems take turns, another one first each round, so that a slow
minute of the machine hits all of them. docs/BENCH.md says what is measured and what the figures do not say.
"""

import argparse
import datetime
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Callable, NamedTuple

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

PROGRAMS = ["rclone", "s3fs", "radosgw", "s3cmd", "curl", "fio", "wrk", "gocryptfs", "nginx"]
BUILT = ["cryptd_bench", "hello", "random_read"]       # `make bench` makes them


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--build", help="build tree; the current directory otherwise")
    parser.add_argument("--runs", type=int, default=3, choices=range(1, 6), help="rounds; 3 otherwise")
    parser.add_argument("--only", help="names of systems, or how they begin, separated by commas; all otherwise")
    parser.add_argument("--only-rows", help="keys of rows, or how they begin, separated by commas; all otherwise")
    parser.add_argument("--rows", action="store_true", help="say which rows there are, and end")
    parser.add_argument("--scratch", help="directory on a local disk for caches; a temporary one otherwise")
    parser.add_argument("--json", default="bench.json", help="every figure of every round goes here; bench.json otherwise")
    parser.add_argument("--insert", action="store_true", help="put the tables into docs/BENCH.md, those that have rows in this run")
    options = parser.parse_args()
    if options.build:
        os.environ["LANDFALL_BUILD"] = os.path.abspath(options.build)
    return options


OPTIONS = parse_arguments()

import landfall_test as lt  # noqa: E402: reads LANDFALL_BUILD
import api  # noqa: E402
import encrypted  # noqa: E402
import limits  # noqa: E402
import mounts  # noqa: E402
import rows as r  # noqa: E402
import systems as s  # noqa: E402
import table  # noqa: E402
import work  # noqa: E402
from ground import Ground  # noqa: E402


class Task(NamedTuple):
    """Rows (how their keys begin) that are measured together, of some systems in turn and by some measurements without a system."""

    rows: tuple
    measure: Callable = None
    systems: tuple = ()
    references: tuple = ()
    once: bool = False           # in the first round only


PEERS = (s.Landfall, s.Rclone, s.S3fs)
WRITERS = (s.Landfall, s.Rclone, s.RcloneAtOnce, s.S3fs)
TASKS = [
    Task(("cold_read",), mounts.cold, PEERS, (limits.cold_by_curl, limits.cold_by_ranges)),
    Task(("warm_read", "warm_random"), mounts.warm, (s.Landfall, s.Rclone, s.S3fsCache)),
    Task(("write_close", "write_cloud"), mounts.write, WRITERS, (limits.written_by_parts, limits.written_to_disk)),
    Task(("small_in", "small_cloud"), mounts.small_in, WRITERS, (limits.puts,)),
    Task(("waiting_",), mounts.waiting, (s.Landfall,)),
    Task(("small_out",), mounts.small_out, PEERS, (limits.gets,)),
    Task(("list_first", "list_again", "memory_idle", "memory_listed"), mounts.list_tree, PEERS, (limits.pages,)),
    Task(("find_", "rename"), mounts.names, (s.Landfall,), once=True),
    Task(("stall_",), mounts.stall, (s.Landfall,)),
    Task(("copy_",), mounts.copy_tree, (s.Landfall, s.Rclone)),
    Task(("copy_",), mounts.copy_tree, (s.S3fs,), once=True),
    Task(("crypt_read", "crypt_random"), encrypted.warm, (s.EncryptedCache, s.Gocryptfs)),
    Task(("crypt_write",), encrypted.write, (s.Landfall, s.EncryptedCache, s.Gocryptfs)),
    Task(("crypt_cold",), encrypted.cold, (s.Landfall, s.EncryptedObjects, s.EncryptedBoth)),
    Task(("crypt_upload",), encrypted.upload, (s.Landfall, s.EncryptedObjects, s.EncryptedBoth)),
    Task(("api_status", "api_drives", "api_list"), api.requests, (s.Landfall,)),
    Task(("api_stream",), api.stream, (s.Landfall,)),
    Task(("api_listeners",), api.listeners, (s.Landfall,)),
    Task(("crypt_cpu",), references=(encrypted.cpu,)),
    Task(("memory_indexing", "memory_million", "million_"), mounts.million, (s.Landfall,), once=True),
]


class Run:
    """The rounds. `results` is row to column to the figures of all rounds; what failed is noted, and the rest goes on."""

    def __init__(self, ground, systems, rows):
        self.ground, self.systems = ground, {type(s): s for s in systems}
        self.keys, self.results, self.failures = [row.key for row in rows], {}, []

    def steps(self, task, n):
        """(name, measurement) in the order of this round."""
        turns = [self.systems[c] for c in task.systems if c in self.systems]
        turns = turns[n % max(1, len(turns)):] + turns[:n % max(1, len(turns))]
        for system in turns:
            yield f"{task.measure.__name__} of {system.name}", task.measure(system, f"{system.short}-{n}")
        for reference in task.references:
            yield reference.__name__, reference(self.ground, str(n))

    def measure(self, name, measurement, n):
        began = time.monotonic()
        try:
            for row, column, value in measurement:
                self.results.setdefault(row, {}).setdefault(column, []).append(value)
        except (AssertionError, OSError, ValueError, subprocess.SubprocessError) as e:
            self.failures.append(f"{name} in round {n + 1}: {str(e).partition(chr(10))[0]}")
            print(f"round {n + 1}: {name} failed: {e}", file=sys.stderr)
        print(f"round {n + 1}: {name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)

    def round(self, n):
        for task in TASKS:
            if any(key.startswith(task.rows) for key in self.keys) and not (task.once and n > 0):
                for name, measurement in self.steps(task, n):
                    self.measure(name, measurement, n)
        self.ground.collect_garbage()


def machine():
    with open("/proc/meminfo") as f:
        memory = next(int(line.split()[1]) >> 20 for line in f if line.startswith("MemTotal"))
    with open("/proc/loadavg") as f:
        load = f.read().split()[0]
    return f"{os.cpu_count()} cores, {memory} GiB of memory, Linux {'.'.join(platform.release().split('.')[:2])}; " \
           f"load average before the first round: {load}"


def describe(run, on):
    measured = {column for columns in run.results.values() for column in columns}
    return {
        "date": str(datetime.date.today()),
        "machine": on,
        "server": lt.run("radosgw", "--version").stdout.split(" (")[0] + ", one OSD in memory (memstore), plain HTTP over loopback",
        "rounds": OPTIONS.runs,
        "systems": {x.name: {"version": x.version(), "settings": x.settings, "cloud": x.cloud} for x in run.systems.values()
                    if x.key in measured},
        "references": {name: what for name, what in s.REFERENCES.items() if name in measured},
        "failures": run.failures,
    }


def measure_all(scratch, systems, rows):
    on = machine()
    work.touch_memory()
    ground = Ground(scratch, [row.key for row in rows])
    tempfile.tempdir = scratch       # what is temporary lies there from now on; the server does not
    run = Run(ground, [c(ground) for c in systems], rows)
    for n in range(OPTIONS.runs):
        run.round(n)
    return run, describe(run, on)


def choose():
    names = tuple(OPTIONS.only.split(",")) if OPTIONS.only else ("",)
    systems = [c for c in s.SYSTEMS if c.name.startswith(names)]
    rows = r.chosen(OPTIONS.only_rows.split(",") if OPTIONS.only_rows else [])
    if not systems or not rows:
        sys.exit("bench: --only and --only-rows leave nothing to measure; --rows lists the rows.")
    for program in PROGRAMS:
        if not shutil.which(program):
            sys.exit(f"bench: {program} is not installed; setup/packages lists what is needed.")
    for program in BUILT:
        if not os.path.exists(os.path.join(lt.BUILD, "tests", "bench", program)):
            sys.exit(f"bench: tests/bench/{program} is not built; `make tests/bench/{program}` does it.")
    if os.geteuid() != 0:
        sys.exit("bench: it needs root.")
    return systems, rows


def main():
    if OPTIONS.rows:
        print("\n".join(f"{row.key:24} {row.title}" for row in r.ROWS))
        return
    systems, rows = choose()
    scratch = tempfile.mkdtemp(prefix="lf-bench-data-", dir=OPTIONS.scratch)
    os.chmod(scratch, 0o755)
    try:
        run, about = measure_all(scratch, systems, rows)
    finally:
        lt.remove_tree(scratch)
    table.write_json(OPTIONS.json, about, rows, run.results)
    for name, text in table.documents(about, rows, run.results):
        print(text)
        if OPTIONS.insert:
            table.insert(name, text)
    sys.exit(1 if run.failures else 0)


if __name__ == "__main__":
    main()
