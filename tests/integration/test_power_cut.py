#!/usr/bin/python3
"""Power cuts: state and caches lie on a file system that is shut down without writing back, in the middle of reads, writes,
uploads, evictions and renames. Pages reach the disk in any order before: some are written back alone, by chance.

Every file's pages say of which version they are, so that any other byte is seen. LANDFALL_SEED repeats a run's
decisions, LANDFALL_SOAK says for how many seconds to go on instead of a few rounds."""

import collections
import contextlib
import glob
import mmap
import os
import pwd
import random
import shutil
import signal
import sqlite3
import struct
import tempfile
import threading
import time
import unittest

import landfall_test as lt
from drive_case import SERVED, DriveCase, put_whole
from fault_case import SEED, SOAK, read_file, write_file
from landfall_test import wait_until
from loop_disk import LoopDisk, reach_disk

PAGE, CHUNK = 4096, 64 << 10
MIB = 1 << 20


def content(name, version, size):
    """Each page begins with the file's name and version and its number, and is filled with bytes of its own."""
    pages = []
    for at in range(0, size, PAGE):
        head = struct.pack("<16sQQ", name.encode(), version, at // PAGE)
        pages.append(head + bytes([(version * 31 + at // PAGE) % 251 + 1]) * (PAGE - len(head)))
    return b"".join(pages)[:size]


def version_of(name, page, at):
    """0: zeros; -1: anything but the page of a version, whose end may be zeros where the file ended once."""
    bare = page.rstrip(b"\0")
    if not bare:
        return 0
    version = struct.unpack_from("<16sQQ", page)[1] if len(page) >= 32 else -1
    return version if 0 < version < 1 << 32 and content(name, version, at + len(bare))[at:] == bare else -1


def versions(name, data):
    return [version_of(name, data[at:at + PAGE], at) for at in range(0, len(data), PAGE)]


def mixed_versions(known, data):
    """As versions(); but where a version ended within a page, what follows may be of another: the cloud has nothing for that
    part of the page, so a program's bytes stay there when what lies before them comes from the cloud again."""
    found = versions(known.name, data)
    for n in [n for n, version in enumerate(found) if version == -1]:
        at = n * PAGE
        page = data[at:at + PAGE]
        for ended in [v for v, size in known.sizes.items() if v > 0 and at < size < at + len(page)]:
            end = known.sizes[ended] - at
            whole = content(known.name, ended, known.sizes[ended])
            rest = [v for v in known.sizes if v > 0 and content(known.name, v, at + len(page))[at + end:] == page[end:]]
            if rest and whole[at:] == page[:end]:
                found[n] = min(ended, *rest)
    return found


def last_frame(path):
    """The head of the last frame of a write-ahead log of SQLite, which no other one has."""
    data = read_file(path)
    size, at, last = 24 + int.from_bytes(data[8:12], "big"), 32, b""
    while len(data) >= at + size and data[at + 8:at + 16] == data[16:24]:
        last, at = data[at:at + 24], at + size
    return last


def abort_mounts(directory):
    """Nobody answers the kernel any more; a worker's child that gives it pages waits for one that is being read, where no signal reaches it."""
    with open("/proc/self/mountinfo") as f:
        numbers = [line.split()[2].split(":")[1] for line in f if line.split()[4].startswith(directory + "/") and " - fuse" in line]
    with tempfile.TemporaryDirectory() as control:
        lt.run("mount", "-t", "fusectl", "none", control)
        try:
            for number in numbers:
                with contextlib.suppress(FileNotFoundError):
                    write_file(os.path.join(control, number, "abort"), b"1")
        finally:
            lt.run("umount", control)


class PowerCase(DriveCase):
    """Landfall whose state directory is on a disk of its own. Each start after a cut is one of another machine, by its word."""

    blocks = PAGE

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.account_of_state = pwd.getpwnam(SERVED)
        cls.state = os.path.join(cls.instance.dir, "state")
        cls.starts = 0
        cls.instance.stop()
        lt.remove_tree(cls.state)
        cls.disk = LoopDisk(cls.state, 384 * MIB, "-b", str(cls.blocks)).own(cls.account_of_state)
        cls.addClassCleanup(cls.disk.remove)
        cls.addClassCleanup(cls.instance.stop)
        cls.start()

    @classmethod
    def start(cls):
        cls.starts += 1
        cls.instance.arguments = [*cls.arguments, "--set", f"BootId=start-{cls.starts}"]
        cls.instance.start()

    @classmethod
    def pids(cls):
        """The supervisor first, so that it starts nobody again, then the daemons and their children."""
        known = cls.instance.info()["pids"]
        daemons = [pid for name, pid in known.items() if name != "landfall" and pid]
        workers = []
        for pid in daemons:
            for path in glob.glob(f"/proc/{pid}/task/*/children"):
                workers += [int(child) for child in read_file(path).split()]
        return [known["landfall"], *daemons, *workers]

    @classmethod
    def cut_power(cls, programs_end=lambda: None):
        pids = cls.pids()
        cls.signal(pids, signal.SIGSTOP)
        cls.disk.cut_power()
        cls.signal(pids, signal.SIGKILL)
        cls.instance.stop()
        wait_until(lambda: not any(lt.alive(pid) for pid in pids), 10, "the end of all processes")
        abort_mounts(cls.instance.dir)
        programs_end()
        for point in lt.mounts_below(cls.instance.dir):
            if point != cls.state:
                lt.run("umount", "-l", point)
        wait_until(lambda: lt.run("umount", cls.state, check=False).returncode == 0, 10, "the end of the file system")
        cls.disk.attach()

    @staticmethod
    def signal(pids, number):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def some_pages_reach_the_disk(self, dice):
        """Any subset may be there: maps without data, data without maps, either without the index; what is sealed without any."""
        files = sorted(glob.glob(os.path.join(self.state, "cache", "*", "??", "*")))
        files += glob.glob(os.path.join(self.state, "drives", "*", "index.db-wal"))
        kinds = tuple(kind for kind in ("map", "data", "seal", "wal") if dice.random() < 0.5)
        for path in files:
            if path.endswith(kinds) and dice.random() < 0.8:
                reach_disk(path)


class Known:
    """What is known of a file that one thread changes."""

    def __init__(self, name):
        self.name = name
        self.version = 0               # the last that was begun
        self.synced = 0                # the last whose fsync came back
        self.sizes = {0: 0}


class Cuts(PowerCase):
    arguments = ("--set", "SettleMilliseconds=100")
    FILES = 24
    NEVER_SYNCED = [f"o{n}" for n in range(12)]

    def write(self, mount, known, dice):
        """A new version of the whole file: over the old one in place, or from nothing; synced or not."""
        known.version += 1
        size = dice.choice([3 * PAGE, 5 * PAGE + 100, 17 * PAGE, 100 * PAGE])
        known.sizes[known.version] = size
        in_place = known.name not in self.NEVER_SYNCED and dice.random() < 0.5
        flags = os.O_RDWR | os.O_CREAT | (0 if in_place else os.O_TRUNC)
        fd = os.open(os.path.join(mount, known.name), flags, 0o644)
        try:
            data, at = content(known.name, known.version, size), 0
            while at < size:
                at += os.pwrite(fd, data[at:at + 16 * PAGE], at)
            os.ftruncate(fd, size)
            if known.name not in self.NEVER_SYNCED and dice.random() < 0.5:
                os.fsync(fd)
                known.synced = known.version
        finally:
            os.close(fd)

    def churn(self, mount, files, dice, ended):
        try:
            while not ended.is_set():
                self.write(mount, dice.choice(files), dice)
                ended.wait(dice.random() * 0.1)
        except OSError:
            pass

    def read(self, mount, names, dice, ended):
        try:
            while not ended.is_set():
                name = dice.choice(names)
                with open(os.path.join(mount, name), "rb", buffering=0) as f:
                    f.seek(dice.randrange(100) * PAGE)
                    f.read(20 * PAGE)
        except OSError:
            pass

    def replace(self, bucket, known, dice, ended):
        """Another tool puts new versions into the cloud."""
        while not ended.is_set():
            k = dice.choice(known)
            k.version += 1
            self.put(bucket, k, dice.choice([2, 9, 70, 150]) * PAGE + dice.choice([0, 77]))
            ended.wait(0.05)

    def put(self, bucket, known, size):
        known.sizes[known.version] = size
        path = os.path.join(bucket, known.name)
        write_file(path + "~", content(known.name, known.version, size))
        os.chown(path + "~", self.account_of_state.pw_uid, self.account_of_state.pw_gid)
        os.rename(path + "~", path)

    def assertSound(self, known, data, where):
        """A file of the cloud: one version whole."""
        found = set(versions(known.name, data))
        self.assertEqual(len(found), 1, f"{where} of {known.name} is of versions {sorted(found)}")
        version = found.pop()
        self.assertGreater(version, 0, f"{where} of {known.name} has foreign bytes or zeros")
        self.assertEqual(len(data), known.sizes[version], f"{where} of {known.name}: size of version {version}")
        return version

    def test_at_any_moment(self):
        mount, bucket = self.folder_drive("any", syncIntervalSeconds=1, maximumCacheSize=24 * MIB, rotationalCache=True)
        theirs = [Known(f"t{n}") for n in range(self.FILES)]
        ours = [Known(f"o{n}") for n in range(self.FILES)]
        for k in theirs:
            k.version = 1
            self.put(bucket, k, 50 * PAGE)
        end, turn = time.monotonic() + SOAK, 0
        told = collections.Counter()
        while turn < 6 or time.monotonic() < end:
            turn += 1
            self.one_cut(mount, bucket, theirs, ours, random.Random(f"{SEED} {turn}"), told, turn)
        print(f"    {turn} cuts: {dict(told)}", flush=True)

    def one_cut(self, mount, bucket, theirs, ours, dice, told, turn):
        ended = threading.Event()
        wait_until(lambda: set(k.name for k in theirs) <= set(os.listdir(mount)), 30, "the names of the cloud")
        threads = [threading.Thread(target=self.churn, args=(mount, ours[n::2], random.Random(dice.random()), ended)) for n in range(2)]
        threads += [threading.Thread(target=self.read, args=(mount, [k.name for k in theirs], random.Random(dice.random()), ended))
                    for _ in range(2)]
        threads.append(threading.Thread(target=self.replace, args=(bucket, theirs, random.Random(dice.random()), ended)))
        for t in threads:
            t.start()
        ended.wait(dice.choice([0.2, 0.7, 1.5, 3.0]))
        self.some_pages_reach_the_disk(dice)
        before = [k.synced for k in ours]

        def programs_end():
            ended.set()
            for t in threads:
                t.join()

        self.cut_power(programs_end)
        for k, synced in zip(ours, before):
            k.synced = synced   # what came back during the cut may or may not count: what came before does
        good = {k.name: self.in_cloud(bucket, k) for k in ours}
        self.start()
        self.instance.wait_mounted(mount)
        self.check_ours(mount, ours, told)
        self.check_theirs(mount, bucket, theirs, told)
        self.check_bucket(mount, bucket, ours, good, told)

    def check_ours(self, mount, ours, told):
        """Synced bytes are there, unless they were written over; nothing is older, nothing is foreign."""
        for k in ours:
            path = os.path.join(mount, k.name)
            if not os.path.exists(path):
                self.assertEqual(k.synced, 0, f"{k.name} was synced and is gone")
                continue
            try:
                found = mixed_versions(k, read_file(path))
            except OSError:   # what was written over is neither here nor in the cloud: soon it is a copy
                self.assertLess(k.synced, k.version, f"{k.name} was synced and cannot be read")
                continue
            self.assertNotIn(-1, found, f"{k.name}: foreign bytes")
            self.assertFalse([v for v in found if 0 < v < k.synced], f"{k.name}, synced as version {k.synced}, is {found}")
            if k.synced == k.version:
                self.assertEqual(set(found), {k.version}, f"{k.name}, synced as version {k.version}")
            told["synced" if k.synced == k.version else "unsynced"] += 1

    def check_theirs(self, mount, bucket, theirs, told):
        for k in theirs:
            data = read_file(os.path.join(mount, k.name))
            self.assertSound(k, data, "the mount")
        told["theirs"] += len(theirs)

    def in_cloud(self, bucket, known):
        """The whole version that the cloud has, or None."""
        try:
            data = read_file(os.path.join(bucket, known.name))
        except FileNotFoundError:
            return None
        found = set(versions(known.name, data))
        version = found.pop() if len(found) == 1 else 0
        return version if version > 0 and len(data) == known.sizes[version] else None

    def check_bucket(self, mount, bucket, ours, good, told):
        """When all is uploaded: what was good in the cloud was replaced only by what is whole, or was synced."""
        def state(name):
            return os.getxattr(os.path.join(mount, name), "user.landfall.state")
        waiting = lambda: {n: state(n) for n in os.listdir(mount) if state(n) != b"clean"}
        try:
            wait_until(lambda: not waiting(), 100, "the uploads")     # what fails once is tried again after 30 s
        except AssertionError as e:
            raise AssertionError(f"{e}: {waiting()}") from e
        for k in ours:
            if k.synced and k.synced == k.version:
                self.assertEqual(self.in_cloud(bucket, k), k.version, f"{k.name}, synced as version {k.version}")
            elif good[k.name] and k.name in self.NEVER_SYNCED:
                now = self.in_cloud(bucket, k)
                self.assertIsNotNone(now, f"{k.name}, good in the cloud as version {good[k.name]}")
                told["kept"] += now == good[k.name] < k.version
        for n in os.listdir(mount):
            if "conflict" in n:
                told["copies"] += 1
                os.unlink(os.path.join(mount, n))


class Punched(PowerCase):
    """A hole that a program made among bytes of the cloud is not taken for bytes that never arrived."""

    arguments = ("--set", "SettleMilliseconds=60000")

    def test_a_synced_hole_stays(self):
        mount, bucket = self.folder_drive("holes", syncIntervalSeconds=1)
        write_file(os.path.join(bucket, "f"), b"x" * 300_000)
        os.chmod(os.path.join(bucket, "f"), 0o644)
        path = os.path.join(mount, "f")
        wait_until(lambda: os.path.exists(path), 20, "the name")
        lt.run("fallocate", "--punch-hole", "--offset", "1000", "--length", "200000", path)
        with open(path, "rb") as f:
            os.fsync(f.fileno())
        self.cut_power()
        self.start()
        self.instance.wait_mounted(mount)
        self.assertEqual(read_file(path), b"x" * 1000 + bytes(200_000) + b"x" * 99_000)


class Shorter(PowerCase):
    """A synced file is cut, and grows again. Its new length is on the disk before anything else of it."""

    arguments = ("--set", "SettleMilliseconds=60000")

    def reach_disk(self, kind):
        for path in glob.glob(os.path.join(self.state, "cache", "*", "??", "*." + kind)):
            reach_disk(path)

    def after_cut(self, keeping, synced):
        """What there is of it when it had 300 kB of x, and has y from `keeping` on."""
        path = os.path.join(self.mount, f"f{keeping}")
        write_file(path, b"w")
        write_file(path, b"x" * 300_000)   # of what is written over something is known what must be there
        with open(path, "r+b", buffering=0) as f:
            os.fsync(f.fileno())
            f.truncate(keeping)
            if synced:
                os.fsync(f.fileno())
            else:
                self.reach_disk(lt.CONTENT)
            f.seek(keeping)
            f.write(b"y" * (300_000 - keeping))
        self.reach_disk("data")
        self.cut_power()
        self.start()
        self.instance.wait_mounted(self.mount)
        data = read_file(path)
        self.assertEqual(data[:keeping], b"x" * keeping)
        return data

    def test_it_can_be_read(self):
        self.mount, _ = self.folder_drive("read")
        for keeping in 0, 100_000:
            rest = self.after_cut(keeping, synced=False)[-(-keeping // CHUNK) * CHUNK:]   # a chunk is there as it was, or as it is
            self.assertLessEqual(set(rest), set(b"\0y"), f"what was cut off at {keeping} is there again")

    def test_what_was_cut_off_is_gone(self):
        self.mount, _ = self.folder_drive("gone")
        for keeping in 70_000, 100_000:
            rest = self.after_cut(keeping, synced=True)[keeping:]
            self.assertLessEqual(set(rest), set(b"\0y"), f"what was cut off at {keeping} is there again")


class Halves(PowerCase):
    """What an encrypted cache has of the cloud: that it has it is on the disk, and what it has is not."""

    arguments = ("--set", "SettleMilliseconds=20000")

    def read_before(self, name):
        """A file of the cloud that was read, and all of it reached the disk: (path, the bucket, what it is sealed in)."""
        mount, bucket = self.folder_drive(name, syncIntervalSeconds=1, **{**lt.ENCRYPTED, "localCacheEncrypted": True})
        path = os.path.join(mount, "f")
        self.put(bucket, b"x" * 300_000)
        wait_until(lambda: os.path.exists(path), 20, "the name")
        self.assertEqual(read_file(path), b"x" * 300_000)
        seal = max(glob.glob(os.path.join(self.state, "cache", "*", "??", "*.seal")), key=os.path.getmtime)   # the other test has one, too
        for place in "cache/*/??/*", "drives/*/index.db-wal":
            for there in glob.glob(os.path.join(self.state, place)):
                reach_disk(there)
        return path, bucket, seal

    def put(self, bucket, data):
        with put_whole(bucket, "f") as made:
            write_file(made, data)

    def start_mounted(self, path):
        self.start()
        self.instance.wait_mounted(os.path.dirname(path))

    def test_another_version_in_the_cloud(self):
        path, bucket, seal = self.read_before("halves")
        self.put(bucket, b"y" * 300_000)
        self.cut_power()
        lt.run("fallocate", "--punch-hole", "--offset", str(5 * PAGE), "--length", str(os.stat(seal).st_size - 5 * PAGE), seal)
        self.start_mounted(path)
        self.assertEqual(read_file(path), b"y" * 300_000)

    def test_the_key_before(self):
        path, _, seal = self.read_before("before")
        self.cut_power()
        on_disk = read_file(seal)
        os.removexattr(seal[:-len("seal")] + "data", "user.landfall.version")   # so it is not trusted, and has another key
        self.start_mounted(path)
        with open(path, "r+b", buffering=0) as f:
            f.write(b"z")
        self.cut_power()
        write_file(seal, on_disk)   # as it is where the disk has nothing of it since
        self.start_mounted(path)
        self.assertEqual(read_file(path), b"x" * 300_000)
        self.instance.wait_uploaded(path)


class GivenUp(PowerCase):
    """What was uploaded a moment ago is given up here: the disk knows of the upload before."""

    arguments = ("--set", "SettleMilliseconds=100")

    def test_it_is_not_taken_for_changed(self):
        mount, bucket = self.folder_drive("given")
        path = os.path.join(mount, "f")
        for turn in range(3):
            data = bytes([turn + 1]) * 300_000
            write_file(path, data)
            with open(path, "r+b") as f:
                os.fsync(f.fileno())
            self.instance.wait_uploaded(path)
            wait_until(lambda: self.instance.landfall("evict", path, check=False).returncode == 0, 20, "the end of its use")
            for there in glob.glob(os.path.join(self.state, "cache", "*", "??", "*")):
                reach_disk(there)
            self.cut_power()
            self.start()
            self.instance.wait_mounted(mount)
            self.instance.wait_uploaded(path)
            self.assertEqual(os.listdir(mount), ["f"])
            self.assertTrue(read_file(path) == data)
            self.assertTrue(read_file(os.path.join(bucket, "f")) == data)


class SmallBlocks(PowerCase):
    """A file system whose files end at 4 TiB."""

    blocks = 1024

    def test_a_file_loses_what_it_is_sealed_in(self):
        mount, bucket = self.folder_drive("blocks", syncIntervalSeconds=1, **{**lt.ENCRYPTED, "localCacheEncrypted": True})
        with put_whole(bucket, "f") as made:
            write_file(made, b"x" * 300_000)
        path = os.path.join(mount, "f")
        wait_until(lambda: os.path.exists(path), 20, "the name")
        self.assertEqual(read_file(path), b"x" * 300_000)
        self.assertEqual(self.instance.stop(), 0)
        for place in glob.glob(os.path.join(self.state, "cache", "*", "??", "*.seal")):
            os.unlink(place)
        self.start()
        self.instance.wait_mounted(mount)
        self.assertEqual(read_file(path), b"x" * 300_000)


class Rested(PowerCase):
    """What nobody asked to have on the disk, and was there when the power went."""

    arguments = ("--set", "SettleMilliseconds=20000")

    def is_on_disk(self, data):
        with open(self.disk.image, "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as image:
            return image.find(data) >= 0

    def reach_disk_by_itself(self, *names):
        """Until the disk has what programs have written, and that it has it, without one of them having asked for it."""
        path, = glob.glob(os.path.join(self.state, "drives", "*", "index.db"))

        def there():   # syncd has the index for itself: a copy, in which something may be missing
            for end in "", "-wal":
                shutil.copyfile(path + end, os.path.join(self.scratch, "copy" + end))
            with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(os.path.join(self.scratch, "copy"))) as db:
                rows = db.execute("SELECT i.name FROM inode i JOIN unsynced u ON i.ino = u.ino WHERE i.generation = u.generation").fetchall()
                return set(names) <= {name for name, in rows} and self.is_on_disk(last_frame(os.path.join(self.scratch, "copy-wal")))
        wait_until(there, 30, "a turn of the background")

    def test_it_keeps_its_name(self):
        mount, bucket = self.folder_drive("rested", syncIntervalSeconds=1)
        before = {"over": b"b" * 300_000, "from-nothing": b"b" * 300_000, "appended": b"b" * 300_000}
        after = {"over": b"a" * 300_000, "from-nothing": b"a" * 200_000, "appended": b"b" * 300_000 + b"a" * 70_000}
        for name, data in before.items():
            write_file(os.path.join(mount, name), data)
        for name in before:
            with open(os.path.join(mount, name), "r+b") as f:
                os.fsync(f.fileno())
        self.instance.wait_uploaded(mount)
        for name, data in after.items():
            with open(os.path.join(mount, name), {"over": "r+b", "from-nothing": "wb", "appended": "ab"}[name]) as f:
                f.write(data[len(before[name]):] if name == "appended" else data)
        self.reach_disk_by_itself(*after)
        self.cut_power()
        self.start()
        self.instance.wait_mounted(mount)
        self.instance.wait_uploaded(mount)
        self.assertEqual(sorted(os.listdir(mount)), sorted(after))
        for name, data in after.items():
            self.assertTrue(read_file(os.path.join(mount, name)) == data, name)
            self.assertTrue(self.instance.opened("rested", read_file(os.path.join(bucket, name))) == data, name)


if __name__ == "__main__":
    unittest.main()
