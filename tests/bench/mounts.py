"""What is measured of a system through its mount. Each measurement yields rows, columns and values, in seconds or bytes."""

import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import time
from concurrent import futures

import ground as g
import landfall_test as lt
import processes
import systems as s
import work

NAMES_TIMES = 3
KILLS, KILL_SECONDS = 3, 6      # one that dies within its first second is followed later and later
MILLION_DIRECTORIES, MILLION_FILES = 1000, 1000
BUSY_FILES, BUSY_BYTES = 200, 256 * 1024


# --- content -----------------------------------------------------------------------------------

def spent_rows(row, system, spent):
    if isinstance(system, s.Landfall):
        yield f"{row}_spent", system.key, spent.ours
        yield f"{row}_spent", s.SERVERS, spent.server
        yield f"{row}_spent", s.ALL, spent.all
        yield f"{row}_spent", s.THERE, spent.there


def cold(system, tag):
    with system.mounted(system.ground.read) as point:
        with processes.Spent(system) as spent:
            yield "cold_read", system.key, work.timed(work.read_file, os.path.join(point, "big"))
        yield from spent_rows("cold_read", system, spent)


def warm(system, tag):
    with system.mounted(system.ground.read) as point:
        path = os.path.join(point, "great")
        work.cat(path)
        os.sync()        # what writes the cache back later would count
        yield "warm_read", system.key, work.timed(work.cat, path)
        yield "warm_random", system.key, work.random_read_seconds(path, g.GREAT)
        if isinstance(system, s.Landfall):
            path = system.cache_file(path)
            yield "warm_read", s.FILE, work.timed(work.cat, path)
            yield "warm_random", s.FILE, work.random_read_seconds(path, g.GREAT)


def small_out(system, tag):
    rows = (("small_out", work.by_number), ("small_out_listed", work.as_listed), ("small_out_random", work.at_random))
    with system.mounted(system.ground.read) as point:
        for n, (row, order) in enumerate(rows):
            with processes.Spent(system) as spent:
                yield row, system.key, work.timed(work.read_directory, os.path.join(point, f"out-{n}"), order)
            yield from spent_rows(row, system, spent)


def write(system, tag):
    bucket, key = system.ground.written, f"written-{tag}"
    with system.mounted(bucket) as point:
        work.read_file(system.ground.big)
        began = time.perf_counter()
        with processes.Spent(system) as spent:
            shutil.copyfile(system.ground.big, os.path.join(point, key))
            yield "write_close", system.key, time.perf_counter() - began
            bucket.wait(lambda: bucket.has_object(key, g.BIG), f"the file that {system.name} wrote")
            yield "write_cloud", system.key, time.perf_counter() - began
        yield from spent_rows("write_cloud", system, spent)


def small_in(system, tag):
    bucket, directory = system.ground.written, f"in-{tag}"
    with system.mounted(bucket) as point:
        began = time.perf_counter()
        with processes.Spent(system) as spent:
            work.write_directory(os.path.join(point, directory))
            yield "small_in", system.key, time.perf_counter() - began
            bucket.wait(lambda: bucket.has_directory(directory + "/"), f"all of what {system.name} wrote")
            yield "small_cloud", system.key, time.perf_counter() - began
        yield from spent_rows("small_cloud", system, spent)


def waiting(system, tag):
    """What lies in the cache and may go all at once: uploads alone, without the writing and the wait for its end."""
    bucket, key, directory = system.ground.written, f"written-waiting-{tag}", f"in-waiting-{tag}"
    with system.mounted(bucket) as point:
        with system.ground.silent():
            shutil.copyfile(system.ground.big, os.path.join(point, key))
            os.sync()
        yield "waiting_big", system.key, work.timed(bucket.wait, lambda: bucket.has_object(key, g.BIG), "the file that waited")
        with system.ground.silent():
            work.write_directory(os.path.join(point, directory))
            os.sync()
        yield "waiting_small", system.key, work.timed(
            bucket.wait, lambda: bucket.has_directory(directory + "/"), "the files that waited")


def copy_tree(system, tag):
    with system.mounted(system.ground.written) as point:
        target = os.path.join(point, f"tree-{tag}")
        began = time.perf_counter()
        complaints = work.copy_tree(system.ground.tree, target)
        yield "copy_tree", system.key, time.perf_counter() - began
        yield "copy_complaints", system.key, len(complaints)
        there, here = work.count_entries(target), work.count_entries(system.ground.tree)
        assert there == here, f"{there} of {here} entries were copied"


# --- names -------------------------------------------------------------------------------------

def memory_rows(name, column, most):
    yield f"memory_{name}_pss", column, most[0]
    yield f"memory_{name}_rss", column, most[1]


def list_tree(system, tag):
    with system.mounted(system.ground.read) as point:
        yield from memory_rows("idle", system.key, processes.memory_of(system.pids()))
        with processes.Watch(system) as watch:
            yield "list_first", system.key, work.timed(work.list_tree, os.path.join(point, "list"))
            yield "list_again", system.key, work.timed(work.list_tree, os.path.join(point, "list"))
        yield from memory_rows("listed", system.key, watch.most)


def names(system, tag):
    number = g.NAMES_DIRECTORIES * g.NAMES_FILES
    with system.mounted(system.ground.names) as point:
        path = os.path.join(point, "names")
        yield "find_first", system.key, work.timed(work.find, path, number)
        system.wait_quiet()
        for _ in range(NAMES_TIMES):
            yield "find_warm", system.key, work.timed(work.find, path, number)
            yield "rename", system.key, slowest_rename(path)
            renames_are_done(system, path)
            system.stop()
            system.restart()
            yield "find_restart", system.key, work.timed(work.find, path, number)
            system.stop()
            with system.ground.silent():
                system.restart()
                yield "find_offline", system.key, work.timed(work.find, path, number)


def slowest_rename(path):
    """There and back, twice: in the end nothing is to be done in the bucket."""
    there = path + "-renamed"
    return max(work.timed(os.rename, *pair) for pair in ((path, there), (there, path)) * 2)


def renames_are_done(system, path):
    done = "/management/get_directory_rename_status"
    lt.wait_until(lambda: system.instance.api("GET", done, path=path), 300, "the end of the renames")


# --- Landfall alone ----------------------------------------------------------------------------

@contextlib.contextmanager
def million_names(scratch):
    """A folder with a million empty files, in memory, owned by the served user as the one above it, the cloud."""
    memory = os.path.join(scratch, "million")
    os.mkdir(memory)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755,size=4g,nr_inodes=2m", "tmpfs", memory], check=True)
    try:
        cloud = os.path.join(memory, "cloud")
        bucket = os.path.join(cloud, "bucket")
        os.makedirs(bucket)
        work.make_names(bucket, MILLION_DIRECTORIES, MILLION_FILES)
        account = s.served_account()
        for path in (cloud, bucket):
            os.chmod(path, 0o700)
            os.chown(path, account.pw_uid, account.pw_gid)
        yield bucket
    finally:
        subprocess.run(["umount", memory], check=True)


@contextlib.contextmanager
def away(folder):
    """The folder is not there, as when its disk was taken out."""
    os.rename(folder, folder + ".away")
    try:
        yield
    finally:
        os.rename(folder + ".away", folder)


def million(system, tag):
    number = MILLION_DIRECTORIES * MILLION_FILES
    with million_names(system.ground.scratch) as folder, system.folder_mounted(folder) as point:
        with processes.Watch(system) as watch:
            work.find(point, number)
        yield from memory_rows("indexing", system.key, watch.most)
        with processes.Watch(system) as watch:
            be_busy(system, point, number)
        yield from memory_rows("million", system.key, watch.most)
        for _ in range(NAMES_TIMES):
            yield from start_with_million(system, point, "restart")
            with away(os.path.dirname(folder)):
                yield from start_with_million(system, point, "offline")


def start_with_million(system, point, row):
    """All of Landfall's processes are ended and started; what has been looked at before is known to the index alone."""
    system.stop()
    began = time.perf_counter()
    system.restart()
    there = sum(name.startswith("directory-") for name in os.listdir(point))
    yield f"million_{row}", system.key, time.perf_counter() - began
    assert there == MILLION_DIRECTORIES, f"the root shows {there} directories"
    yield f"million_{row}_folder", system.key, work.timed(work.ls, os.path.join(point, f"directory-{there // 2}"), MILLION_FILES)


def be_busy(system, point, number):
    """All names are looked through again while files are written, read, and uploaded."""
    directory = os.path.join(point, "busy")
    os.mkdir(directory)
    paths = [os.path.join(directory, str(n)) for n in range(BUSY_FILES)]
    with futures.ThreadPoolExecutor() as pool:
        finding = pool.submit(work.find, point, number)
        for path in paths:
            with open(path, "wb") as f:
                f.write(os.urandom(BUSY_BYTES))
        for path in paths:
            work.read_file(path)
        system.instance.wait_uploaded(*paths)
        finding.result()


def stall(system, tag):
    with system.mounted(system.ground.written) as point:
        with work.reader_and_writer(*[os.path.join(point, f"stall-{n}-{tag}") for n in "rw"]) as programs:
            kills = [kill_worker(system) for _ in range(KILLS)]
        stalls = [max(p.longest(*kill) for p in programs) for kill in kills]
        yield "stall_median", system.key, statistics.median(stalls)
        yield "stall_worst", system.key, max(stalls)


def kill_worker(system):
    """Returns from when to when what stalls does so for this."""
    worker, = system.workers()
    began = time.monotonic()
    os.kill(worker, signal.SIGKILL)
    lt.wait_until(lambda: [w for w in system.workers() if w != worker], 20, "the next worker")
    time.sleep(KILL_SECONDS)     # both programs go on for a while
    return began, time.monotonic()
