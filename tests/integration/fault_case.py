"""Test cases whose instance reaches its server only through a network that can be made to fail. Seeded: LANDFALL_SEED repeats a run,
LANDFALL_SOAK says for how many seconds each of the long tests goes on instead of its short turn."""

import os
import random
import signal
import subprocess
import time

import landfall_test as lt
from drive_case import DriveCase
from fault_proxy import FaultProxy
from landfall_test import wait_until

SEED = int(os.environ.get("LANDFALL_SEED", "1"))
SOAK = int(os.environ.get("LANDFALL_SOAK", "0"))


def turns():
    """The numbers of the turns of a long test: one, or as many as fit into the time."""
    end = time.monotonic() + SOAK
    turn = 0
    while turn == 0 or time.monotonic() < end:
        yield turn
        turn += 1


def content(dice, size):
    """Bytes of which no two pages are alike."""
    return dice.randbytes(size)


def read_file(path):
    with open(path, "rb", buffering=0) as f:
        return f.read()


def write_file(path, data):
    with open(path, "wb", buffering=0) as f:
        assert f.write(data) == len(data)


def took(call, *args):
    """(seconds, result or OSError)"""
    began = time.monotonic()
    try:
        result = call(*args)
    except OSError as e:
        result = e
    return time.monotonic() - began, result


def interrupted(*argv, after=1.0):
    """Starts a program, sends it SIGINT when it has been running for that long, and returns after how many seconds it was gone."""
    with subprocess.Popen(argv, env=lt.clean_env(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as p:
        try:
            p.wait(after)
            raise AssertionError(f"{argv} ended before it was interrupted")
        except subprocess.TimeoutExpired:
            pass
        began = time.monotonic()
        p.send_signal(signal.SIGINT)
        p.wait()
        return time.monotonic() - began


class FaultCase(DriveCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = lt.Radosgw.shared()
        cls.proxy = FaultProxy(cls.server.port, SEED, cls.make_cable()).start()
        cls.addClassCleanup(cls.proxy.stop)
        cls.account = cls.instance.api("POST", "/cloud/insert_account", {
            "name": "through the proxy", "cloudType": 8, "serviceUrl": cls.proxy.url, "region": cls.server.region,
            "accessKey": cls.server.access_key, "secretKey": cls.server.secret_key})

    @classmethod
    def make_cable(cls):
        return None

    def setUp(self):
        self.dice = random.Random(f"{SEED} {self.id()}")
        self.addCleanup(self.proxy.heal)

    @classmethod
    def s3_drive(cls, name, **more):
        """A drive on a bucket of its own. Returns (mount point, bucket)."""
        bucket = cls.server.make_bucket("lf-" + name)
        more = {"syncIntervalSeconds": 1, **more}
        return cls.instance.add_drive(cls.account, bucket, name=name, **more)["localPath"], bucket

    def put(self, bucket, files):
        """Into the bucket, past the proxy; files: name to bytes."""
        folder = os.path.join(self.scratch, f"put-{len(os.listdir(self.scratch))}")
        for name, data in files.items():
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write_file(path, data)
        self.server.rclone("copy", "--transfers", "8", folder, f"s3:{bucket}")

    def see(self, mount, names):
        wait_until(lambda: all(os.path.exists(os.path.join(mount, name)) for name in names), 60, "the names in the mount")

    def stored(self, bucket, check=True):
        """What the bucket has, read past the proxy: key to bytes. Without check: while it changes."""
        folder = os.path.join(self.scratch, f"stored-{len(os.listdir(self.scratch))}")
        self.server.rclone("copy", "--fast-list", "--transfers", "8", f"s3:{bucket}", folder, check=check)
        found = {}
        for here, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(here, name)
                found[os.path.relpath(path, folder)] = read_file(path)
        lt.remove_tree(folder)
        return found

    def state(self, path):
        return os.getxattr(path, "user.landfall.state").decode()

    def wait_clean(self, paths, seconds=60):
        """Until all of them are in the cloud. Returns how long that took."""
        began = time.monotonic()
        waiting = list(paths)
        while waiting:
            waiting = [p for p in waiting if self.state(p) != "clean"]
            if waiting and time.monotonic() > began + lt.patience(seconds):
                raise AssertionError(f"after {seconds} s not in the cloud: " + ", ".join(f"{p}: {self.state(p)}" for p in waiting[:5]))
            time.sleep(0.05)
        return time.monotonic() - began

    def assertStored(self, bucket, wanted):
        """The bucket has these files with these bytes, and nothing else."""
        found = self.stored(bucket)
        self.assertEqual(sorted(found), sorted(wanted))
        wrong = [name for name in wanted if found[name] != wanted[name]]
        self.assertEqual(wrong, [], "these have other bytes")
