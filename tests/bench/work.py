"""The work that is measured, as programs do it, and the clock. Knows paths only, not what is mounted there."""

import contextlib
import itertools
import json
import mmap
import os
import random
import subprocess
import time
from concurrent import futures

import landfall_test as lt

MIB = 1 << 20
SMALL_FILES, SMALL_BYTES = 1000, 4096
LIST_DIRECTORIES, LIST_FILES = 100, 100
FIO_SECONDS = 4
COPY_SECONDS = 900
TREE_DIRECTORIES, TREE_FILES, TREE_DEPTH = 700, 6300, 4


def timed(work, *args):
    began = time.perf_counter()
    work(*args)
    return time.perf_counter() - began


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3")


def touch_memory(most=6144 * MIB):
    """The first use of a page is slow in a virtual machine; it must not count for whoever comes first."""
    block = os.urandom(MIB)
    with open("/proc/meminfo") as f:
        available = next(int(line.split()[1]) for line in f if line.startswith("MemAvailable")) * 1024
    path = os.path.join("/dev/shm", f"lf-bench-{os.getpid()}")
    with open(path, "wb") as f:
        os.unlink(path)
        for _ in range(min(most, available // 2) // MIB):
            f.write(block)


def random_file(path, size):
    with open(path, "wb") as f:
        for _ in range(size // MIB):
            f.write(os.urandom(MIB))


# --- content -----------------------------------------------------------------------------------

def read_file(path):
    with open(path, "rb", buffering=0) as f, mmap.mmap(-1, MIB) as pages:   # bytes() lie where copying is slow
        while f.readinto(pages):
            pass


def cat(path):
    subprocess.run(["cat", path], env=lt.clean_env(), stdout=subprocess.DEVNULL, check=True)


def random_read_seconds(path, size):
    """Of one read of 4 KiB by fio, on average, whose first open of the file this is."""
    said = lt.run("fio", "--name=random", f"--filename={path}", "--rw=randread", "--bs=4k", "--ioengine=psync", "--invalidate=0",
                  "--thread", "--readonly", "--allow_file_create=0", f"--size={size}", "--time_based", f"--runtime={FIO_SECONDS}",
                  "--gtod_reduce=1", "--output-format=json", cwd="/").stdout
    return 1 / json.loads(said[said.index("{"):])["jobs"][0]["read"]["iops"]


def pages_at_random_seconds(path):
    """Of one read of 4 KiB, on average, when each page is read once; the open counts."""
    said = lt.run(os.path.join(lt.BUILD, "tests", "bench", "random_read"), path).stdout
    return float(said) / (os.path.getsize(path) // mmap.PAGESIZE)


# --- small files -------------------------------------------------------------------------------

def small_names():
    return [f"small-{i}" for i in range(SMALL_FILES)]


def by_number(path):
    return small_names()


def as_listed(path):
    names = os.listdir(path)
    assert len(names) == SMALL_FILES, f"{path} has {len(names)} names"
    return names


def at_random(path):
    names = small_names()
    random.Random(3).shuffle(names)
    return names


def read_directory(path, order):
    for name in order(path):
        read_file(os.path.join(path, name))


def write_directory(path):
    os.mkdir(path)
    block = os.urandom(SMALL_BYTES)
    for name in small_names():
        with open(os.path.join(path, name), "wb") as f:
            f.write(block)


# --- names and trees ---------------------------------------------------------------------------

def list_tree(path):
    said = lt.run("ls", "-lR", path, text=False).stdout
    assert said.count(b"object-") == LIST_DIRECTORIES * LIST_FILES, "the listing is not complete"


def ls(path, number):
    """One folder."""
    said = lt.run("ls", path, text=False).stdout
    assert said.count(b"object-") == number, f"{path} is not listed completely"


def find(path, number):
    """`number` files and the directories they are in."""
    said = lt.run("find", path, text=False, timeout=900).stdout
    found = said.count(b"/object-")
    assert found == number, f"find saw {found} of {number} objects"


def make_names(path, directories, files):
    """Empty files."""
    for d in range(directories):
        here = os.path.join(path, f"directory-{d}")
        os.mkdir(here)
        for i in range(files):
            os.close(os.open(os.path.join(here, f"object-{i}"), os.O_CREAT | os.O_WRONLY, 0o644))


def make_tree(path):
    """A tree as documentation is: many small files, few larger ones, some levels of directories. The same each time, without links."""
    dice = random.Random(7)
    directories, parents = [path], [path]
    os.mkdir(path)
    for i in range(TREE_DIRECTORIES):
        here = os.path.join(dice.choice(parents[:1] * 3 + parents[-20:]), f"directory-{i}")
        os.mkdir(here)
        directories.append(here)
        if len(os.path.relpath(here, path).split("/")) < TREE_DEPTH:
            parents.append(here)
    for i in range(TREE_FILES):
        leaf = os.path.join(dice.choice(directories), f"file-{i}")
        with open(leaf, "wb") as f:
            f.write(dice.randbytes(min(MIB, int(dice.lognormvariate(7.6, 1.6)))))
        os.utime(leaf, (1.6e9, 1.6e9 + i))


def count_entries(path):
    return sum(len(directories) + len(files) for _, directories, files in os.walk(path))


def copy_tree(source, target):
    """What cp complained about, a line each. Whether all is there is for the caller to see."""
    return lt.run("cp", "-a", source, target, timeout=COPY_SECONDS, check=False).stderr.splitlines()


# --- programs that go on while something happens ---------------------------------------------------

class Calls:
    """Makes calls in a loop until it is told to end, and remembers the slow ones."""

    SLOW = 0.002

    def __init__(self, *calls):
        self.calls, self.slow, self.over = calls, [], False

    def run(self):
        while not self.over:
            for call in self.calls:
                began = time.monotonic()
                call()
                took = time.monotonic() - began
                if took > self.SLOW:
                    self.slow.append((began, took))

    def longest(self, since, until):
        """Of those that were under way between these two moments."""
        return max((took for began, took in self.slow if began < until and began + took > since), default=0)


@contextlib.contextmanager
def reader_and_writer(read, written):
    """One reads a file again and again through fresh opens, one writes to another that stays open; both until the end, without an error."""
    random_file(read, MIB)
    block, places = b"w" * SMALL_BYTES, itertools.cycle(range(0, 64 * MIB, SMALL_BYTES))
    with open(written, "wb", buffering=0) as f, futures.ThreadPoolExecutor() as pool:
        programs = Calls(lambda: read_file(read), lambda: os.stat(read)), Calls(lambda: os.pwrite(f.fileno(), block, next(places)))
        running = [pool.submit(p.run) for p in programs]
        try:
            yield programs
        finally:
            for program in programs:
                program.over = True
        for program in running:
            program.result()
