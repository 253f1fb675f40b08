"""A small ext4 of its own on a loop device, which can lose power, fill up and go bad as a disk does."""

import contextlib
import fcntl
import os
import struct
import subprocess

import landfall_test as lt

SHUTDOWN, NOLOGFLUSH = 0x8004587D, 2          # _IOR('X', 125, __u32), linux/fs/ext4/ext4.h
FIEMAP = 0xC020660B                           # _IOWR('f', 11, struct fiemap), linux/fs.h


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
        """A file system lives on while anybody has a copy of the mounts of then, and would come back shut down as it is."""
        lt.wait_until(lambda: not lt.run("losetup", "--associated", self.image).stdout, 300,
                      f"the end of the file system in {self.image}")
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


class BadDisk(LoopDisk):
    """One with places that cannot be read, or written (bad_disk.c), which are named by the files there."""

    PROGRAM = os.path.join(lt.BUILD, "tests", "integration", "bad_disk")

    def attach(self):
        folder = os.path.dirname(self.image)
        self.behind, self.faults = os.path.join(folder, "behind"), os.path.join(folder, "faults")
        os.makedirs(self.behind, exist_ok=True)
        self.mend()
        self.process = subprocess.Popen([self.PROGRAM, self.image, self.faults, self.behind], env=lt.clean_env())
        lt.wait_until(lambda: os.path.exists(os.path.join(self.behind, "disk")), 10, "the disk")
        lt.run("mount", "-o", "loop,errors=continue", os.path.join(self.behind, "disk"), self.point)

    def mend(self):
        with open(self.faults, "w"):
            pass

    def break_files(self, *paths, ways="r"):
        """Their bytes are still on the disk, and come back when it is mended. `ways`: what fails, of "rw"."""
        self.sync()
        with open(self.faults, "a") as f:
            f.writelines(f"{at} {at + length} {ways}\n" for path in paths for at, length in places(path))
        self.forget_pages()

    def break_all(self):
        with open(self.faults, "a") as f:
            f.write(f"0 {os.path.getsize(self.image)} rw\n")
        self.forget_pages()

    def sync(self):
        """This disk alone: what others have written meanwhile may take a machine longer than any test waits."""
        lt.run("sync", "--file-system", self.point, check=False)    # what goes wrong is told elsewhere

    def forget_pages(self):
        """What was read before is read from the disk again, unless somebody has it mapped."""
        self.sync()
        with open("/proc/sys/vm/drop_caches", "w") as f:
            f.write("3")

    def remove(self):
        self.mend()
        lt.run("umount", self.point, check=False)
        lt.run("umount", "-l", self.point, check=False)
        lt.run("umount", "-l", self.behind, check=False)
        self.process.wait(20)
        lt.remove_tree(os.path.dirname(self.image))


def places(path):
    """Where the file lies on its disk: (offset, length) in bytes."""
    head, extent, most = "=QQIIII", "=QQQQQIIII", 256
    answer = bytearray(struct.pack(head, 0, (1 << 64) - 1, 1, 0, most, 0) + bytes(most * struct.calcsize(extent)))
    with open(path, "rb") as f:
        fcntl.ioctl(f, FIEMAP, answer)
    mapped, = struct.unpack_from("=I", answer, 20)
    at = [struct.unpack_from(extent, answer, struct.calcsize(head) + n * struct.calcsize(extent)) for n in range(mapped)]
    return [(physical, length) for _, physical, length, *_ in at]


def reach_disk(path):
    """Writes one file's pages back now, as the kernel may at any time, alone among all."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDWR)
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, fd)
            os.fdatasync(fd)
