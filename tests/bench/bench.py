#!/usr/bin/python3
"""Measures drives on one radosgw: each system mounts the same bucket, fresh, and does the same work.

Every figure is the median of several rounds. The systems take turns within a round, and another one begins each round, so
that a slow minute of the machine hits all of them. docs/BENCH.md says what is measured and what the figures do not say.
"""

import argparse
import contextlib
import datetime
import http.client
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

MIB = 1 << 20
BIG, SMALL_FILES, SMALL_BYTES = 256 * MIB, 1000, 4096
LIST_DIRECTORIES, LIST_FILES = 100, 100
WARM_UP = 6144 * MIB
LOOK_SECONDS = 0.1       # between two looks at memory, or at the bucket
MARKERS = "<!-- figures: begin -->", "<!-- figures: end -->"

# What is measured: key, what the table calls it.
MEASURES = [
    ("cold_read", "read 256 MiB, cold"),
    ("warm_read", "read 256 MiB, again"),
    ("write_close", "write 256 MiB, until close returns"),
    ("write_cloud", "write 256 MiB, until it is in the bucket"),
    ("small_in", "1000 × 4 KiB in, until the last close"),
    ("small_cloud", "1000 × 4 KiB in, until all are in the bucket"),
    ("small_out", "1000 × 4 KiB out, cold"),
    ("list_first", "`ls -lR` of 10 000 objects, first"),
    ("list_again", "`ls -lR` of 10 000 objects, again"),
    ("memory", "memory of its processes at most (PSS)"),
]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--build", help="build tree; the current directory otherwise")
    # The server keeps in memory what is deleted: more rounds would fill it.
    parser.add_argument("--runs", type=int, default=3, choices=range(1, 6), help="rounds; 3 otherwise")
    parser.add_argument("--only", help="names of systems, separated by commas; all otherwise")
    parser.add_argument("--scratch", help="directory on a local disk for caches; a temporary one otherwise")
    parser.add_argument("--json", default="bench.json", help="every figure of every round goes here; bench.json otherwise")
    parser.add_argument("--insert", action="store_true", help="put the table into docs/BENCH.md")
    options = parser.parse_args()
    if options.build:
        os.environ["LANDFALL_BUILD"] = os.path.abspath(options.build)
    return options


OPTIONS = parse_arguments()

import landfall_test as lt  # noqa: E402: reads LANDFALL_BUILD


def timed(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3")


def touch_memory():
    """The first use of a page is slow in a virtual machine; it must not count for whoever comes first."""
    block = os.urandom(MIB)
    with open("/proc/meminfo") as f:
        available = next(int(line.split()[1]) for line in f if line.startswith("MemAvailable")) * 1024
    with tempfile.TemporaryFile(dir="/dev/shm") as f:
        for _ in range(min(WARM_UP, available // 2) // MIB):
            f.write(block)


def memory_of(pids):
    """Proportional set size: what processes share counts once."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as f:
            total += sum(int(line.split()[1]) for line in f if line.startswith("Pss:")) * 1024
    return total


def descendants(pid):
    found = [pid]
    with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{pid}/children") as f:
        for child in f.read().split():
            found += descendants(int(child))
    return found


class Bucket:
    """The bucket, with the objects that all systems read. Anybody may read it, so that watching costs next to nothing."""

    def __init__(self, server, name):
        self.server, self.name = server, server.make_bucket(name)
        policy = os.path.join(server.dir, "policy.json")
        with open(policy, "w") as f:
            json.dump({"Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:ListBucket"],
                "Resource": [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"]}]}, f)
        server.s3cmd("setpolicy", policy, f"s3://{name}")

    def prepare(self, scratch):
        tree = os.path.join(scratch, "bucket")
        for d in range(LIST_DIRECTORIES):
            os.makedirs(os.path.join(tree, "list", f"directory-{d}"))
            for i in range(LIST_FILES):
                with open(os.path.join(tree, "list", f"directory-{d}", f"object-{i}"), "wb") as f:
                    f.write(b"x" * 100)
        os.mkdir(os.path.join(tree, "read"))
        for i in range(SMALL_FILES):
            with open(os.path.join(tree, "read", f"small-{i}"), "wb") as f:
                f.write(os.urandom(SMALL_BYTES))
        with open(os.path.join(tree, "big"), "wb") as f:
            for _ in range(BIG // MIB):
                f.write(os.urandom(MIB))
        self.server.rclone("copy", "--transfers", "32", "--checkers", "32", tree, f"s3:{self.name}", timeout=900)

    def ask(self, method, path):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)) as c:
            c.request(method, f"/{self.name}{path}")
            reply = c.getresponse()
            return reply.status, reply.headers, reply.read()

    def wait(self, condition, what, seconds=300):
        """Looks now and then: the server that is asked is the one that is measured."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                sys.exit(f"bench: {what} did not arrive in the bucket within {seconds} s.")
            time.sleep(LOOK_SECONDS)

    def has_object(self, key, size):
        status, headers, _ = self.ask("HEAD", "/" + key)
        return status == 200 and headers.get("Content-Length") == str(size)

    def has_objects(self, prefix, number, size):
        page = self.ask("GET", f"?list-type=2&max-keys=1000&prefix={prefix}&start-after={prefix}")[2]
        return page.count(b"<Size>%d<" % size) >= number

    def remove(self, prefix):
        self.server.rclone("purge", f"s3:{self.name}/{prefix}", check=False)


class System:
    """One way of mounting the bucket. mount() starts fresh, with an empty cache. Directories are left behind until the end:
    ext4 passes over the inodes of files deleted within the last minutes one by one, at the cost of whoever makes files next."""

    def __init__(self, bucket):
        self.bucket = bucket

    def mount(self):
        self.dir = lt.temporary_directory("lf-bench-")
        self.point = os.path.join(self.dir, "mnt")
        os.mkdir(self.point)
        self.start()
        lt.wait_until(lambda: os.path.ismount(self.point) and os.listdir(self.point), 60, f"the mount of {self.name}")

    def unmount(self):
        subprocess.run(["fusermount3", "-u", self.point], check=True)
        try:
            self.process.wait(120)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def spawn(self, *argv):
        with open(os.path.join(self.dir, "log"), "ab") as log:
            self.process = subprocess.Popen(argv, env=lt.clean_env(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def pids(self):
        return descendants(self.process.pid)


class Landfall(System):
    name = "Landfall"
    settings = "`landfall run` with its defaults: all four daemons, each under its own user, sandboxes on"
    cloud = "begins to upload when nothing was changed for 0.3 s, or changes have gone on for 3 s (`SettleMilliseconds`)"

    @staticmethod
    def version():
        return lt.run(os.path.join(lt.programs(), "landfall"), "version").stdout.split()[1]

    def mount(self):
        self.instance = lt.Instance(directory=lt.temporary_directory("lf-bench-")).start()
        self.process = self.instance.process
        account = self.instance.add_s3_account(self.bucket.server)
        self.point = self.instance.add_drive(account, self.bucket.name)["localPath"]

    def unmount(self):
        self.instance.stop()


class Rclone(System):
    name = "rclone mount"
    settings = "`--vfs-cache-mode full`, else its defaults"
    cloud = "begins to upload 5 s after the close (`--vfs-write-back`)"

    @staticmethod
    def version():
        return lt.run("rclone", "version").stdout.split()[1]

    def start(self):
        self.spawn(*self.bucket.server.rclone_argv("mount", f"s3:{self.bucket.name}", self.point, "--vfs-cache-mode", "full",
                                                   "--cache-dir", os.path.join(self.dir, "cache")))


class S3fs(System):
    name = "s3fs"
    settings = "without `use_cache`, else its defaults"
    cloud = "uploads within the close"

    @staticmethod
    def version():
        return lt.run("s3fs", "--version").stdout.split("V")[1].split()[0]

    def start(self):
        keys = os.path.join(self.dir, "keys")
        with open(keys, "w") as f:
            f.write(f"{self.bucket.server.access_key}:{self.bucket.server.secret_key}\n")
        os.chmod(keys, 0o600)
        self.spawn("s3fs", self.bucket.name, self.point, "-f", "-o",
                   f"passwd_file={keys},url={self.bucket.server.url},use_path_request_style,sigv4,endpoint={self.bucket.server.region}")


SYSTEMS = [Landfall, Rclone, S3fs]


# --- the work ----------------------------------------------------------------------------------

def read_file(path):
    with open(path, "rb", buffering=0) as f:
        while f.read(MIB):
            pass


def read_directory(path):
    for i in range(SMALL_FILES):
        read_file(os.path.join(path, f"small-{i}"))


def write_directory(path):
    os.mkdir(path)
    block = os.urandom(SMALL_BYTES)
    for i in range(SMALL_FILES):
        with open(os.path.join(path, f"small-{i}"), "wb") as f:
            f.write(block)


def list_tree(path):
    said = subprocess.run(["ls", "-lR", path], env=lt.clean_env(), stdout=subprocess.PIPE, check=True).stdout
    assert said.count(b"object-") == LIST_DIRECTORIES * LIST_FILES, "the listing is not complete"


class Memory(threading.Thread):
    """The most that a system's processes took together while it was watched."""

    def __init__(self, system):
        super().__init__(daemon=True)
        self.pids, self.most, self.over = system.pids, 0, threading.Event()

    def run(self):
        while not self.over.wait(LOOK_SECONDS):
            self.most = max(self.most, memory_of(self.pids()))

    def end(self):
        self.most = max(self.most, memory_of(self.pids()))
        self.over.set()
        self.join()


@contextlib.contextmanager
def mounted(system, found):
    drop_caches()
    system.mount()
    try:
        memory = Memory(system)
        memory.start()
        yield system.point
        memory.end()
        found["memory"] = max(found.get("memory", 0), memory.most)
    finally:
        system.unmount()


def measure_reading(system, found):
    with mounted(system, found) as point:
        found["cold_read"] = timed(lambda: read_file(os.path.join(point, "big")))
        found["warm_read"] = timed(lambda: read_file(os.path.join(point, "big")))
        found["small_out"] = timed(lambda: read_directory(os.path.join(point, "read")))


def measure_writing(system, found, source, tag):
    bucket = system.bucket
    with mounted(system, found) as point:
        began = time.perf_counter()
        shutil.copyfile(source, os.path.join(point, f"written-{tag}"))
        found["write_close"] = time.perf_counter() - began
        bucket.wait(lambda: bucket.has_object(f"written-{tag}", BIG), f"the file that {system.name} wrote")
        found["write_cloud"] = time.perf_counter() - began
        began = time.perf_counter()
        write_directory(os.path.join(point, f"in-{tag}"))
        found["small_in"] = time.perf_counter() - began
        bucket.wait(lambda: bucket.has_objects(f"in-{tag}/", SMALL_FILES, SMALL_BYTES), f"all of what {system.name} wrote")
        found["small_cloud"] = time.perf_counter() - began


def measure_listing(system, found):
    with mounted(system, found) as point:
        found["list_first"] = timed(lambda: list_tree(os.path.join(point, "list")))
        found["list_again"] = timed(lambda: list_tree(os.path.join(point, "list")))


def measure(system, round_number, source):
    """All figures of one system in one round. Reading, writing and listing each get a fresh mount."""
    found, tag = {}, f"{system.name.split()[0]}-{round_number}"
    measure_reading(system, found)
    measure_writing(system, found, source, tag)
    measure_listing(system, found)
    system.bucket.server.rclone("deletefile", f"s3:{system.bucket.name}/written-{tag}")
    system.bucket.remove(f"in-{tag}")
    return found


def measure_all(systems, source):
    results = {s.name: [] for s in systems}
    for n in range(OPTIONS.runs):
        for system in systems[n % len(systems):] + systems[:n % len(systems)]:
            figures = measure(system, n, source)
            results[system.name].append(figures)
            print(f"round {n + 1}: {system.name}: " + ", ".join(f"{k} {shown(k, figures[k])}" for k, _ in MEASURES),
                  file=sys.stderr, flush=True)
    return results


# --- what is said about it ---------------------------------------------------------------------

def shown(key, value):
    if key == "memory":
        return f"{value / MIB:.0f} MiB"
    if key in ("cold_read", "warm_read", "write_close", "write_cloud"):
        return f"{value:.2f} s ({BIG / MIB / value:.0f} MiB/s)"
    return f"{value:.2f} s"


def medians(results, key):
    return [statistics.median(r[key] for r in rounds) for rounds in results.values()]


def table(results):
    names = list(results)
    yield "| | " + " | ".join(names) + "".join(f" | {names[0]} : {p}" for p in names[1:]) + " |"
    yield "|---" * (2 * len(names)) + "|"
    for key, title in MEASURES:
        values = medians(results, key)
        ratios = [f"{values[0] / v:.2f}" for v in values[1:]]
        yield f"| {title} | " + " | ".join([shown(key, v) for v in values] + ratios) + " |"


def spread(results):
    """How far the rounds lie apart, at worst: a ratio closer to 1 than this says nothing."""
    found = [(max(v) / min(v), title, n) for n, rounds in results.items() for key, title in MEASURES
             for v in [[r[key] for r in rounds]] if min(v) > 0.05]
    worst = max(found)
    return f"Slowest round against the quickest, at worst: {worst[0]:.2f} ({worst[1]}, {worst[2]}); median of all rows " \
           f"{statistics.median(w for w, _, _ in found):.2f}."


def machine():
    with open("/proc/meminfo") as f:
        memory = next(int(line.split()[1]) >> 20 for line in f if line.startswith("MemTotal"))
    with open("/proc/loadavg") as f:
        load = f.read().split()[0]
    return f"{os.cpu_count()} cores, {memory} GiB of memory, Linux {'.'.join(platform.release().split('.')[:2])}; " \
           f"load average before the first round: {load}"


def describe(systems, on):
    return {
        "date": str(datetime.date.today()),
        "machine": on,
        "server": lt.run("radosgw", "--version").stdout.split(" (")[0] + ", one OSD in memory (memstore), plain HTTP over loopback",
        "rounds": OPTIONS.runs,
        "systems": {s.name: {"version": s.version(), "settings": s.settings, "cloud": s.cloud} for s in systems},
    }


def document(about, results):
    yield f"Measured {about['date']}, rounds: {about['rounds']}. Machine: {about['machine']}. Server: {about['server']}."
    yield ""
    for name, s in about["systems"].items():
        yield f"* {name} {s['version']}: {s['settings']}; {s['cloud']}."
    yield ""
    yield from table(results)
    yield ""
    yield spread(results)


def insert(text):
    path = os.path.join(lt.SOURCE, "docs", "BENCH.md")
    with open(path) as f:
        before, begin, rest = f.read().partition(MARKERS[0])
    _, end, after = rest.partition(MARKERS[1])
    if not begin or not end:
        sys.exit(f"bench: {path} does not have the lines {MARKERS[0]} and {MARKERS[1]}.")
    with open(path, "w") as f:
        f.write(f"{before}{begin}\n{text}{end}{after}")


def write_json(about, results):
    with open(OPTIONS.json, "w") as f:
        json.dump({**about, "figures": results, "medians": {
            name: {key: statistics.median(r[key] for r in rounds) for key, _ in MEASURES} for name, rounds in results.items()}},
            f, indent=1)
        f.write("\n")


def prepare(scratch):
    """The bucket and the file to be written. What is temporary lies in `scratch` from now on, but for the server."""
    touch_memory()
    bucket = Bucket(lt.Radosgw.shared(), "bench")
    tempfile.tempdir = scratch
    bucket.prepare(scratch)
    return bucket, os.path.join(scratch, "bucket", "big")


def main():
    wanted = OPTIONS.only.split(",") if OPTIONS.only else None
    chosen = [s for s in SYSTEMS if not wanted or s.name in wanted or s.name.split()[0] in wanted]
    for program in ("rclone", "s3fs", "radosgw", "s3cmd"):
        if not shutil.which(program):
            sys.exit(f"bench: {program} is not installed; setup/packages lists what is needed.")
    if not chosen or os.geteuid() != 0:
        sys.exit("bench: it needs root, and --only the name of a system.")
    scratch = tempfile.mkdtemp(prefix="lf-bench-data-", dir=OPTIONS.scratch)
    os.chmod(scratch, 0o755)
    try:
        on = machine()
        bucket, source = prepare(scratch)
        systems = [s(bucket) for s in chosen]
        results = measure_all(systems, source)
        about = describe(systems, on)
    finally:
        lt.remove_tree(scratch)
    text = "\n".join(document(about, results)) + "\n"
    write_json(about, results)
    print(text)
    if OPTIONS.insert:
        insert(text)


if __name__ == "__main__":
    main()
