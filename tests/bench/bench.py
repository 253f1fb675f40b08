#!/usr/bin/python3
"""Measures drives on one radosgw: each system mounts the same bucket, fresh, and does the same work.

Every figure is the median of several rounds; the systems take turns within a round, so that a slow minute of the machine
hits all of them. Before anything is measured, memory that a virtual machine has not been given yet is touched once.
"""

import argparse
import contextlib
import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

MIB = 1 << 20
BIG, SMALL_FILES, SMALL_BYTES = 256 * MIB, 1000, 4096
LIST_DIRECTORIES, LIST_FILES = 100, 100
WARM_UP = 4096 * MIB

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
    ("memory", "peak resident memory of its processes"),
]


def parse_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", help="build tree; the current directory otherwise")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", help="names of systems, separated by commas")
    parser.add_argument("--write", help="Markdown file for the table")
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
    path = os.path.join("/dev/shm", f"landfall-warm-{os.getpid()}")
    with open(path, "wb") as f:
        for _ in range(WARM_UP // MIB):
            f.write(block)
    os.unlink(path)


def peak_memory(pids):
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/status") as f:
            total += next(int(line.split()[1]) for line in f if line.startswith("VmHWM")) * 1024
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
        shutil.rmtree(tree)

    def ask(self, method, path):
        import http.client
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)) as c:
            c.request(method, f"/{self.name}{path}")
            reply = c.getresponse()
            return reply.status, reply.headers, reply.read()

    def wait_object(self, key, size):
        lt.wait_until(lambda: self.ask("HEAD", "/" + key)[1].get("Content-Length") == str(size) and
                      self.ask("HEAD", "/" + key)[0] == 200, 120, f"{key} in the bucket")

    def wait_objects(self, prefix, number):
        lt.wait_until(lambda: self.ask("GET", f"?list-type=2&max-keys=1000&prefix={prefix}&start-after={prefix}")[2].count(b"<Size>4096<") >= number, 300,
                      f"{number} objects in the bucket")

    def remove(self, prefix):
        self.server.rclone("purge", f"s3:{self.name}/{prefix}", check=False)


class System:
    """One way of mounting the bucket. mount() starts fresh, with an empty cache."""

    def __init__(self, bucket, scratch):
        self.bucket, self.scratch = bucket, scratch

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
        shutil.rmtree(self.dir)

    def spawn(self, *argv):
        with open(os.path.join(self.dir, "log"), "ab") as log:
            self.process = subprocess.Popen(argv, env=lt.clean_env(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def pids(self):
        return descendants(self.process.pid)


class Landfall(System):
    name = "Landfall"

    @staticmethod
    def version():
        return lt.run(os.path.join(lt.programs(), "landfall"), "version").stdout.split()[1]

    def mount(self):
        self.instance = lt.Instance().start()
        account = self.instance.add_s3_account(self.bucket.server)
        self.point = self.instance.add_drive(account, self.bucket.name)["localPath"]

    def unmount(self):
        self.instance.remove()

    def pids(self):
        return descendants(self.instance.process.pid)


class Rclone(System):
    name = "rclone mount"

    @staticmethod
    def version():
        return lt.run("rclone", "version").stdout.split()[1]

    def start(self):
        self.spawn(*self.bucket.server.rclone_argv("mount", f"s3:{self.bucket.name}", self.point, "--vfs-cache-mode", "full",
                                                   "--cache-dir", os.path.join(self.dir, "cache")))


class S3fs(System):
    name = "s3fs"

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


@contextlib.contextmanager
def mounted(system, memory):
    drop_caches()
    system.mount()
    try:
        yield system.point
        memory.append(peak_memory(system.pids()))
    finally:
        system.unmount()


def measure(system, round_number, source):
    """All figures of one system in one round. Reading, writing and listing each get a fresh mount."""
    found, memory = {}, []
    bucket, tag = system.bucket, f"{system.name.split()[0]}-{round_number}"
    with mounted(system, memory) as point:
        found["cold_read"] = timed(lambda: read_file(os.path.join(point, "big")))
        found["warm_read"] = timed(lambda: read_file(os.path.join(point, "big")))
        found["small_out"] = timed(lambda: read_directory(os.path.join(point, "read")))
    with mounted(system, memory) as point:
        began = time.perf_counter()
        shutil.copyfile(source, os.path.join(point, f"written-{tag}"))
        found["write_close"] = time.perf_counter() - began
        bucket.wait_object(f"written-{tag}", BIG)
        found["write_cloud"] = time.perf_counter() - began
        began = time.perf_counter()
        write_directory(os.path.join(point, f"in-{tag}"))
        found["small_in"] = time.perf_counter() - began
        bucket.wait_objects(f"in-{tag}/", SMALL_FILES)
        found["small_cloud"] = time.perf_counter() - began
    with mounted(system, memory) as point:
        found["list_first"] = timed(lambda: list_tree(os.path.join(point, "list")))
        found["list_again"] = timed(lambda: list_tree(os.path.join(point, "list")))
    found["memory"] = max(memory)
    bucket.server.rclone("deletefile", f"s3:{bucket.name}/written-{tag}")
    bucket.remove(f"in-{tag}")
    return found


# --- the table ---------------------------------------------------------------------------------

def shown(key, value):
    if key == "memory":
        return f"{value / MIB:.0f} MiB"
    if key in ("cold_read", "warm_read", "write_close", "write_cloud"):
        return f"{value:.2f} s ({BIG / MIB / value:.0f} MiB/s)"
    return f"{value:.2f} s"


def table(results, names):
    own, peers = names[0], names[1:]
    yield "| | " + " | ".join(names) + "".join(f" | {own} : {p}" for p in peers) + " |"
    yield "|---" * (1 + len(names) + len(peers)) + "|"
    for key, title in MEASURES:
        values = [statistics.median(r[key] for r in results[n]) for n in names]
        ratios = [f"{values[0] / v:.2f}" for v in values[1:]]
        yield f"| {title} | " + " | ".join([shown(key, v) for v in values] + ratios) + " |"


def spread(results, names):
    """How far the rounds lie apart, at worst: a ratio closer to 1 than this says nothing."""
    worst = max((max(v) / min(v), key, n) for n in names for key, _ in MEASURES for v in [[r[key] for r in results[n]]] if min(v) > 0.05)
    return f"Widest spread between rounds: {worst[0]:.2f}× ({dict(MEASURES)[worst[1]]}, {worst[2]})."


def document(results, systems):
    names = [s.name for s in systems]
    memory = next(int(line.split()[1]) >> 20 for line in open("/proc/meminfo") if line.startswith("MemTotal"))
    yield "# Measurements"
    yield ""
    yield f"Made by `tests/bench/run --runs {OPTIONS.runs} --write docs/BENCH.md` on {datetime.date.today()}: {os.cpu_count()} cores, {memory} GiB, " \
          f"Linux {platform.release()}; client and server share the machine."
    yield "Server: radosgw over one OSD in memory, on loopback. " + ", ".join(f"{s.name} {s.version()}" for s in systems) + "."
    yield "rclone runs with `--vfs-cache-mode full`, s3fs without `use_cache`; each measurement starts with a fresh mount, an empty cache and"
    yield "dropped page cache. Medians; memory was touched once beforehand. A ratio below 1 means that Landfall needs less."
    yield ""
    yield from table(results, names)
    yield ""
    yield spread(results, names)


def main():
    wanted = OPTIONS.only.split(",") if OPTIONS.only else None
    systems_wanted = [s for s in SYSTEMS if not wanted or s.name in wanted or s.name.split()[0] in wanted]
    for program in ("rclone", "s3fs", "radosgw"):
        if not shutil.which(program):
            sys.exit(f"bench: {program} is not installed; setup/packages lists what is needed.")
    scratch = lt.temporary_directory("lf-bench-data-")
    try:
        touch_memory()
        bucket = Bucket(lt.Radosgw.shared(), "bench")
        bucket.prepare(scratch)
        source = os.path.join(scratch, "source")
        with open(source, "wb") as f:
            f.write(os.urandom(BIG))
        systems = [s(bucket, scratch) for s in systems_wanted]
        results = {s.name: [] for s in systems}
        for round_number in range(OPTIONS.runs):
            for system in systems:
                results[system.name].append(measure(system, round_number, source))
                print(f"round {round_number + 1}: {system.name}: " +
                      ", ".join(f"{k} {shown(k, v)}" for k, v in results[system.name][-1].items()), file=sys.stderr, flush=True)
        text = "\n".join(document(results, systems)) + "\n"
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(text)
    if OPTIONS.write:
        with open(OPTIONS.write, "w") as f:
            f.write(text)


if __name__ == "__main__":
    main()
