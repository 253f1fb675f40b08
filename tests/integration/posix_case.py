"""A drive beside a directory of ext4, for tests of what programs may expect of a directory."""

import errno
import os

import landfall_test as lt
from drive_case import DriveCase

MIB = 1 << 20


def answer(call, *args):
    """What the call returned, or the name of its errno."""
    try:
        return call(*args)
    except OSError as e:
        return errno.errorcode[e.errno].replace("ENOTSUP", "EOPNOTSUPP")   # one number


def in_child(body):
    """Runs it in a process of its own; its exit status, 0 when nothing was raised."""
    pid = os.fork()
    if pid == 0:
        try:
            body()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def read(path):
    with open(path, "rb") as f:
        return f.read()


class PosixCase(DriveCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mount, cls.bucket = cls.folder_drive()
        cls.native = cls.make_native()

    @classmethod
    def make_native(cls):
        """A directory on ext4: in the scratch folder, or in an image where that is something else."""
        if lt.run("stat", "-f", "-c", "%T", cls.scratch).stdout.strip() == "ext2/ext3":
            return cls.scratch
        image, point = os.path.join(cls.scratch, "image"), os.path.join(cls.scratch, "ext4")
        with open(image, "wb") as f:
            f.truncate(256 * MIB)
        os.mkdir(point)
        lt.run("mkfs.ext4", "-q", image)
        lt.run("mount", "-o", "loop", image, point)
        cls.addClassCleanup(lt.run, "umount", point)
        return point

    def both(self, name):
        """The same new directory on both: (drive, ext4)"""
        paths = os.path.join(self.mount, name), os.path.join(self.native, name)
        for path in paths:
            os.mkdir(path)
        return paths

    def same(self, name, call):
        """Runs call(directory) on both; what it returned, which must be the same."""
        drive, native = (call(path) for path in self.both(name))
        self.assertEqual(drive, native)
        return drive

    def path(self, *names):
        return os.path.join(self.mount, *names)
