"""Test cases that have one instance with drives for all their tests, and trees to put on them."""

import filecmp
import contextlib
import os
import pwd
import re
import shutil
import signal
import unittest

import landfall_test as lt

SERVED = "landfall"
TREE_FILES = 5200

ODD_NAMES = [
    "with space", " leading and trailing ", "hash#hash", "plus+plus", "per%cent", "per%41cent", "amper&sand", "quote'single",
    'quote"double', "new\nline", "tab\there", "back\\slash", "ques?tion", "star*", "semi;colon", "colon:colon", "equals=x", "at@x",
    "tilde~", "dollar$", "paren(theses)", "[brackets]", "{braces}", "pipe|", "less<greater>", "comma,", "exclam!", "caret^", "back`tick",
    "-leading-dash", ".hidden", "...", "umlaut-äöü", "e\u0301-decomposed", "日本語", "emoji-🦀", "control-\x01", "x" * 255, "ü" * 127,
]


def make_tree(path, files=TREE_FILES, most_bytes=262144, root="/usr/share"):
    """A copy of the first files of /usr/share, as they come in sorted order: a real tree, without links. Returns their number."""
    taken = 0
    for here, names, leaves in os.walk(root):
        names.sort()
        for leaf in sorted(leaves):
            source = os.path.join(here, leaf)
            if os.path.islink(source) or not os.path.isfile(source) or os.path.getsize(source) > most_bytes:
                continue
            target = os.path.join(path, os.path.relpath(source, root))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copyfile(source, target)
            taken += 1
            if taken == files:
                return taken
    return taken


def fill(path, size, seed=1):
    """A file whose every MiB is different, so that a misplaced part shows."""
    block = os.urandom(1 << 20)
    with open(path, "wb") as f:
        for i in range(0, size, 1 << 20):
            f.write((seed.to_bytes(8, "little") + i.to_bytes(8, "little") + block[16:])[:min(1 << 20, size - i)])


@contextlib.contextmanager
def put_whole(bucket, name):
    """The path to make a file at that is in the folder, its owner's, when this ends. A listing that found it there before
    it is whole would be believed until the next one."""
    made, owner = os.path.join(os.path.dirname(bucket), "new"), os.stat(bucket)
    yield made
    os.chown(made, owner.st_uid, owner.st_gid)
    os.rename(made, os.path.join(bucket, name))


def difference(a, b):
    """What diff -r says: nothing for equal trees."""
    return lt.run("diff", "-r", "--no-dereference", a, b, check=False, text=False).stdout[:2000]


class DriveCase(unittest.TestCase):
    """`instance` runs for the class. As root it serves the account landfall."""

    arguments = ()
    starter = ()       # a command that runs the supervisor

    @classmethod
    def setUpClass(cls):
        if not lt.ROOT:
            raise unittest.SkipTest("needs root")
        cls.instance = lt.Instance(arguments=cls.arguments)
        cls.instance.starter = list(cls.starter)
        cls.instance.start()
        cls.addClassCleanup(cls.instance.remove)
        cls.scratch = lt.temporary_directory("lf-scratch-")
        cls.addClassCleanup(lt.remove_tree, cls.scratch)

    @classmethod
    def folder_drive(cls, name="local", **more):
        """A drive on a folder of this machine. Returns (mount point, folder)."""
        cloud = os.path.join(cls.instance.dir, "cloud-" + name)
        bucket = os.path.join(cloud, "bucket")
        account = pwd.getpwnam(SERVED)
        for path in (cloud, bucket):
            os.mkdir(path, 0o700)
            os.chown(path, account.pw_uid, account.pw_gid)
        account = cls.instance.add_folder_account(cloud, name="account " + name)
        return cls.instance.add_drive(account, "bucket", name=name, **more)["localPath"], bucket

    def assertSameTree(self, a, b):
        self.assertEqual(difference(a, b), b"")

    def assertSameFile(self, a, b):
        self.assertTrue(filecmp.cmp(a, b, shallow=False), f"{a} and {b} differ")

    def restart_instance(self):
        self.assertEqual(self.instance.stop(), 0)
        self.instance.start()

    def worker(self):
        """The pid of the worker that was started last."""
        with open(os.path.join(self.instance.dir, "log", "mountd.log")) as log:
            return int(re.findall(r"worker_started .*pid=([0-9]+)", log.read())[-1])

    def kill_worker(self):
        pid = self.worker()
        os.kill(pid, signal.SIGKILL)
        lt.wait_until(lambda: self.worker() != pid, 20, "another worker")
