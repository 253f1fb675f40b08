"""A small ext4 of its own on a loop device, which can lose power, fill up and go bad as a disk does."""

import contextlib
import fcntl
import os
import struct

import landfall_test as lt

SHUTDOWN, NOLOGFLUSH = 0x8004587D, 2          # _IOR('X', 125, __u32), linux/fs/ext4/ext4.h


class LoopDisk:
    def __init__(self, point, size, *options):
        self.point = point
        self.image = lt.temporary_directory("lf-disk-") + "/image"
        with open(self.image, "wb") as f:
            f.truncate(size)
        lt.run("mkfs.ext4", "-q", "-F", "-m", "0", *options, self.image)
        os.makedirs(point, exist_ok=True)
        self.attach()

    def attach(self):
        lt.run("mount", "-o", "loop", self.image, self.point)

    def own(self, account, mode=0o700):
        os.chown(self.point, account.pw_uid, account.pw_gid)
        os.chmod(self.point, mode)
        fd = os.open(self.point, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(fd)
        os.close(fd)
        return self

    def cut_power(self):
        """From here on nothing reaches the disk: what was not synced is lost."""
        fd = os.open(self.point, os.O_RDONLY | os.O_DIRECTORY)
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, fd)
            fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", NOLOGFLUSH))

    def detach(self):
        lt.run("umount", self.point)

    def remove(self):
        lt.run("umount", "-l", self.point, check=False)
        lt.remove_tree(os.path.dirname(self.image))


def reach_disk(path):
    """Writes one file's pages back now, as the kernel may at any time, alone among all."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDWR)
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, fd)
            os.fdatasync(fd)
