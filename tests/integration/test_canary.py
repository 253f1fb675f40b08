#!/usr/bin/python3
"""Where contents and keys of an encrypted drive are not: on the disk that has state, cache and logs, in swap, in what processes
leave when they die. A pattern goes through a drive in every way there is, with too little memory; then every process is killed, and
the raw disk is searched. That the search finds is shown by the same without encryption, and by a process that may be swapped."""

import contextlib
import ctypes
import fcntl
import glob
import mmap
import os
import pwd
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

import landfall_test as lt
from drive_case import SERVED
from formats import FileKey, data_key, drive_keys, stored_keys
from killer import descendants
from landfall_test import wait_until
from loop_disk import LoopDisk
from sealed_file import MAP_KEY
from test_keys import IDENTITY, secret_of

MIB = 1 << 20
PATTERN = 32
LIMIT = 96 * MIB
CGROUP = "/sys/fs/cgroup/memory/landfall-canary"          # version 1; of version 2:
CGROUP2 = "/sys/fs/cgroup/landfall-canary"
CORES = "/proc/sys/kernel/core_pattern"
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4


def parts(f):
    """What a file has but holes, in parts that overlap."""
    at, end = 0, os.fstat(f.fileno()).st_size
    while at < end:
        try:
            at = os.lseek(f.fileno(), at, os.SEEK_DATA)
        except OSError:
            return
        hole = os.lseek(f.fileno(), at, os.SEEK_HOLE)
        while at < hole:
            f.seek(max(0, at - 128))
            yield f.read(min(hole - at, 8 * MIB) + 128)
            at += 8 * MIB
        at = hole


def search(path, needles):
    """Which of the needles a file has."""
    found = set()
    with open(path, "rb") as f:
        for data in parts(f):
            found |= {name for name, needle in needles.items() if needle in data}
    return found


class Pressure:
    """A group of processes that have little memory."""

    def __init__(self):
        self.folder = CGROUP if os.path.isdir(os.path.dirname(CGROUP)) else CGROUP2
        self.limit = "memory.limit_in_bytes" if self.folder == CGROUP else "memory.max"
        self.missing = None
        try:
            os.makedirs(self.folder, exist_ok=True)
            self.set(1 << 40)
        except OSError as e:
            self.missing = f"no control group for memory: {e}"

    def set(self, limit):
        with open(os.path.join(self.folder, self.limit), "w") as f:
            f.write(str(limit))

    def squeeze(self):
        """As much as goes, once; what is locked stays."""
        for limit in range(LIMIT, 4 * MIB, -4 * MIB):
            with contextlib.suppress(OSError):
                self.set(limit)
        self.set(LIMIT)

    def relieve(self):
        if not self.missing:
            self.set(1 << 40)

    def starter(self):
        return [] if self.missing else ["sh", "-c", f'echo $$ >{self.folder}/cgroup.procs && exec "$@"', "sh"]

    def remove(self):
        if self.missing:
            return
        with contextlib.suppress(OSError):
            self.set(1 << 40)
        wait_until(lambda: not open(os.path.join(self.folder, "cgroup.procs")).read(), 20, "the end of all in the group")
        wait_until(lambda: os.rmdir(self.folder) or True, 20, "the end of the group")


class Swap:
    def __init__(self, folder):
        self.image, self.missing, self.device = os.path.join(folder, "swap"), None, None
        with open(self.image, "wb") as f:
            f.truncate(512 * MIB)
        try:
            self.device = lt.run("losetup", "-f", "--show", self.image).stdout.strip()
            lt.run("mkswap", self.device)
            lt.run("swapon", "-p", "32000", self.device)
        except AssertionError as e:
            self.missing = f"no swap here: {e}"

    def used(self):
        with open("/proc/swaps") as f:
            return next(int(line.split()[3]) for line in f if line.startswith(self.device))

    def flush(self):
        lt.run("sync")
        lt.run("blockdev", "--flushbufs", self.device)

    def remove(self):
        if not self.missing:
            lt.run("swapoff", self.device, check=False)
        if self.device:
            lt.run("losetup", "-d", self.device, check=False)


class CanaryCase(unittest.TestCase):
    """An instance with all of its files but the root key on a disk of its own, and swap."""

    drive_options = {}

    @classmethod
    def setUpClass(cls):
        if not lt.ROOT:
            raise unittest.SkipTest("needs root")
        cls.alone()
        cls.stay_in_memory()
        cls.outside = lt.temporary_directory("lf-canary-")
        cls.addClassCleanup(lt.remove_tree, cls.outside)
        cls.canary = os.urandom(PATTERN)
        cls.point = lt.temporary_directory("lf-")
        cls.addClassCleanup(lt.remove_tree, cls.point)
        cls.disk = LoopDisk(cls.point, 512 * MIB)
        cls.addClassCleanup(cls.disk.remove)
        cls.pressure = Pressure()
        cls.addClassCleanup(cls.pressure.remove)
        cls.swap = Swap(cls.outside)
        cls.addClassCleanup(cls.swap.remove)
        cls.cores = os.path.join(cls.point, "cores")
        os.mkdir(cls.cores, 0o1777)
        os.chmod(cls.cores, 0o1777)
        with open(CORES) as f:
            cls.addClassCleanup(cls.set_cores, f.read())
        cls.set_cores(f"{cls.cores}/core.%p")
        cls.instance = lt.Instance(directory=cls.point, arguments=["--set", f"KeyFile={cls.outside}/root.key"])
        cls.instance.starter = [*cls.pressure.starter(), "prlimit", "--core=unlimited", "--"]
        cls.addClassCleanup(cls.instance.stop)
        cls.instance.start()
        cls.start_drive()
        cls.use()
        cls.end()

    @classmethod
    def alone(cls):
        """The machine has one pattern for cores and one swap: another run of these tests has its turn before."""
        lock = open(os.path.join(tempfile.gettempdir(), "landfall-canary.lock"), "w")
        cls.addClassCleanup(lock.close)
        fcntl.flock(lock, fcntl.LOCK_EX)

    @classmethod
    def stay_in_memory(cls):
        """Nor is what these tests have of the pattern and the keys swapped, where they may keep it from that."""
        libc = ctypes.CDLL(None)
        libc.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)
        cls.addClassCleanup(libc.munlockall)

    @staticmethod
    def set_cores(pattern):
        with open(CORES, "w") as f:
            f.write(pattern)

    @classmethod
    def start_drive(cls):
        account = pwd.getpwnam(SERVED)
        cls.cloud = os.path.join(cls.outside, "cloud")
        cls.bucket = os.path.join(cls.cloud, "bucket")
        for path in cls.cloud, cls.bucket:
            os.mkdir(path, 0o700)
            os.chown(path, account.pw_uid, account.pw_gid)
        cls.drive = cls.instance.add_drive(cls.instance.add_folder_account(cls.cloud), "bucket", name="canary", syncIntervalSeconds=1,
                                           **cls.drive_options)
        cls.mount = cls.drive["localPath"]

    # --- use -------------------------------------------------------------------------------------

    @classmethod
    def path(cls, name):
        return os.path.join(cls.mount, name)

    @classmethod
    def write(cls, name, size, at=0, mode="wb"):
        with open(cls.path(name), mode) as f:
            f.seek(at)
            f.write((cls.canary * (size // PATTERN + 1))[:size])

    @classmethod
    def read(cls, name, at=0, n=-1):
        with open(cls.path(name), "rb") as f:
            f.seek(at)
            return f.read(n)

    @classmethod
    def use(cls):
        for n in range(100):
            cls.write(f"small-{n}", 1 + n * 997)
        cls.write("large", 24 * MIB)
        cls.write("large", 3 * MIB, 777_777, "r+b")
        cls.write("cut", 5 * MIB)
        os.truncate(cls.path("cut"), 2 * MIB + 17)
        with open(cls.path("cut"), "ab") as f:
            f.write(cls.canary * 1000)
        os.rename(cls.path("small-7"), cls.path("renamed"))
        with open(cls.path("mapped"), "w+b") as f:
            f.write(cls.canary * 10000)
            f.flush()
            with mmap.mmap(f.fileno(), 0) as m:
                m[4096:4096 + PATTERN] = cls.canary
                m.flush()
        with open(cls.path("removed"), "w+b") as f:
            f.write(cls.canary * 20000)
            f.flush()
            os.fsync(f.fileno())
            os.unlink(cls.path("removed"))
            f.seek(0)
            f.read()
        cls.squeeze()
        cls.instance.wait_uploaded(cls.mount)
        cls.from_the_cloud()
        cls.by_the_api()
        cls.squeeze()
        for n in range(0, 100, 3):
            cls.read(f"small-{n}" if n != 7 else "renamed")
        cls.read("large", 10 * MIB, MIB)
        cls.unsent()

    @classmethod
    def from_the_cloud(cls):
        """Evicted and fetched again: what another name has in the bucket, and what was given up here."""
        shutil.copyfile(os.path.join(cls.bucket, "large"), os.path.join(cls.bucket, "from-cloud"))
        if not cls.drive_options.get("cloudObjectsEncrypted"):
            wait_until(lambda: os.path.exists(cls.path("from-cloud")), 20, "the new object")
            cls.read("from-cloud", 10 * MIB, MIB)
            cls.read("from-cloud")
        cls.instance.api("POST", "/management/object_remove_offline", path=cls.path("large"))
        cls.read("large", 20 * MIB, MIB)

    @classmethod
    def by_the_api(cls):
        cls.instance.api("GET", "/management/object_make_offline", path=cls.path("cut"))
        for name, extra in ("large", "&start=100000&end=9000000"), ("small-70", ""), ("cut", ""):
            reply = cls.instance.request("GET", f"/management/get_object_stream?path={cls.path(name)}{extra}")
            assert cls.canary in reply.body, (name, reply.status)
        lt.run("cp", cls.path("large"), cls.path("copied"))
        shutil.copyfile(cls.path("copied"), os.path.join(cls.outside, "downloaded"))
        cls.instance.wait_uploaded(cls.mount)

    @classmethod
    def unsent(cls):
        """Changes that are on their way when all is killed."""
        cls.write("unsent", 9 * MIB)
        cls.write("large", 64 * 1024, 20 * MIB, "r+b")
        for n in range(20):
            cls.write(f"unsent-{n}", 100_000)

    @classmethod
    def squeeze(cls):
        if not cls.pressure.missing:
            cls.pressure.squeeze()

    # --- the end ----------------------------------------------------------------------------------

    @classmethod
    def end(cls):
        """Keys are taken down; each process gets a signal that makes one dump core, then is killed, and the disk is written out."""
        pids = cls.instance.info()["pids"]
        workers = descendants(pids["mountd"])
        cls.dumpable = {name: cls.is_dumpable(pid) for name, pid in [*pids.items(), *((f"worker-{p}", p) for p in workers)]}
        cls.spy = cls.start_spy()
        cls.squeeze()
        cls.swapped = None if cls.swap.missing else cls.swap.used()
        cls.pressure.relieve()      # what is exported is plain in frontd and the command, on its way to a person (docs/SECURITY.md)
        kit = cls.instance.landfall("key", "export", "canary").stdout if cls.drive_options else ""
        cls.squeeze()               # afterwards nothing of it is left there
        cls.pressure.relieve()
        os.kill(cls.spy.pid, signal.SIGABRT)
        cls.spy.wait()
        victims = [cls.instance.process.pid, *descendants(cls.instance.process.pid)]
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        for pid in victims:
            for sig in signal.SIGABRT, signal.SIGCONT, signal.SIGKILL:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, sig)
        cls.instance.process.wait(20)
        wait_until(lambda: not any(lt.alive(p) for p in victims), 20, "the end of all")
        lt.Instance.live.remove(cls.instance)
        lt.run("umount", "-l", cls.mount, check=False)
        lt.run("sync")
        if not cls.swap.missing:
            cls.swap.flush()
        cls.needles = {"content": cls.canary, **(cls.keys(kit) if cls.drive_options else {})}

    @classmethod
    def keys(cls, kit):
        with open(os.path.join(cls.outside, "root.key"), "rb") as f:
            root = f.read()
        with open(os.path.join(cls.point, "keys", "keys"), "rb") as f:
            data = data_key(root, f.read())
        for name in "state.db", "state.db-wal":
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(os.path.join(cls.point, "state", name), os.path.join(cls.outside, name))
        epochs = drive_keys(data, stored_keys(os.path.join(cls.outside, "state.db"), cls.drive["id"]), cls.drive["id"])
        found = {"root key": root, "root key in hex": root.hex().encode(), "data key": data}
        for text in IDENTITY.findall(kit):
            found.update({"identity": text.encode(), "identity in small letters": text.lower().encode(), "identity's bytes": secret_of(text)})
        assert found["identity's bytes"] == epochs[-1].identity
        found["cache key"] = epochs[-1].cache_key
        for path in glob.glob(os.path.join(cls.point, "state", "cache", cls.drive["id"], "*", "*.map"))[:8]:
            with open(path, "rb") as f:
                wrapped = f.read(MAP_KEY + 104)[MAP_KEY:]
            if any(wrapped):
                found[f"key of {os.path.basename(path)}"] = FileKey(epochs, cls.drive["id"], wrapped).key
        return found

    @staticmethod
    def is_dumpable(pid):
        """Files in /proc of a process that is not dumpable are root's."""
        with open(f"/proc/{pid}/status") as f:
            uid = int(next(line for line in f if line.startswith("Uid:")).split()[1])
        return os.stat(f"/proc/{pid}/environ").st_uid == uid and uid != 0

    @classmethod
    def start_spy(cls):
        """An ordinary process among the others that has a pattern of its own in memory."""
        cls.other = os.urandom(PATTERN)
        code = "import sys, time\npattern = sys.stdin.buffer.read(32) * 32768\nkept = [pattern + bytes([n]) for n in range(64)]\n" \
               "print('ready', flush=True)\ntime.sleep(600)"
        spy = subprocess.Popen([*cls.pressure.starter(), "prlimit", "--core=unlimited", "--", sys.executable, "-c", code], env=lt.clean_env(),
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        cls.addClassCleanup(spy.stdout.close)
        cls.addClassCleanup(spy.kill)
        spy.stdin.write(cls.other)
        spy.stdin.close()
        assert spy.stdout.readline() == b"ready\n"
        return spy

    # --- the search --------------------------------------------------------------------------------

    def files(self):
        for folder, _, names in os.walk(self.point):
            for name in names:
                path = os.path.join(folder, name)
                if os.path.isfile(path) and not os.path.islink(path):
                    yield path

    def found_on_disk(self):
        return search(self.disk.image, self.needles)

    def core_of_spy(self):
        return os.path.join(self.cores, f"core.{self.spy.pid}")


class Encrypted(CanaryCase):
    """The cache is encrypted, objects are plain: the cloud, and only that, has the pattern."""

    drive_options = {"localCacheEncrypted": True}

    def test_the_disk_has_nothing(self):
        self.assertEqual(self.found_on_disk(), set())

    def test_no_file_has_anything(self):
        for path in self.files():
            if not path.startswith(self.cores):
                self.assertEqual(search(path, self.needles), set(), path)
                self.assertNotIn(self.canary[:8], os.fsencode(path))

    def test_processes_leave_no_core(self):
        self.assertEqual([n for n, d in self.dumpable.items() if d], [])
        self.assertTrue(os.path.exists(self.core_of_spy()), "cores are written here")
        self.assertIn("it", search(self.core_of_spy(), {"it": self.other}))
        for name in os.listdir(self.cores):
            self.assertEqual(search(os.path.join(self.cores, name), self.needles), set(), name)

    def in_swap(self, needles):
        if self.swap.missing or self.pressure.missing:
            self.skipTest(self.swap.missing or self.pressure.missing)
        self.assertGreater(self.swapped, 0)
        self.assertEqual(search(self.swap.image, {"it": self.other}), {"it"}, "an ordinary process is swapped")
        return search(self.swap.image, needles)

    def test_swap_has_no_keys(self):
        self.assertEqual(self.in_swap({name: needle for name, needle in self.needles.items() if name != "content"}), set())

    def test_swap_has_no_content(self):
        if "memory_not_locked" in self.instance.log("syncd") + self.instance.log("mountd"):
            self.skipTest("RLIMIT_MEMLOCK is small and cannot be raised here: what the log says may be swapped")
        self.assertEqual(self.in_swap({"content": self.canary}), set())

    def test_the_cloud_has_it(self):
        self.assertEqual(search(os.path.join(self.bucket, "cut"), {"content": self.canary}), {"content"})


class EncryptedObjects(Encrypted):
    """Nor has the cloud."""

    drive_options = {"localCacheEncrypted": True, "cloudObjectsEncrypted": True}

    def test_the_cloud_has_it(self):
        for name in "cut", "large", "copied", "small-90":
            self.assertEqual(search(os.path.join(self.bucket, name), self.needles), set(), name)


class Plain(CanaryCase):
    """The search finds what is there."""

    def test_it_is_found(self):
        self.assertEqual(self.found_on_disk(), {"content"})


del CanaryCase

if __name__ == "__main__":
    unittest.main()
