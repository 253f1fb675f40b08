#!/usr/bin/python3
"""What programs may expect of a directory, asked of a drive and, where that knows better, of ext4 as well. docs/CONFORMANCE.md says the same in
words."""

import ctypes
import fcntl
import json
import mmap
import os
import pwd
import re
import shutil
import socket
import struct
import sys
import unittest

import landfall_test as lt
import posix_exclusions
from drive_case import SERVED
from fault_case import SEED, SOAK
from posix_case import PosixCase, answer, in_child, read, write

HERE = os.path.dirname(os.path.abspath(__file__))
DOCUMENT = os.path.join(HERE, "..", "..", "docs", "CONFORMANCE.md")
KIB, MIB, TIB = 1 << 10, 1 << 20, 1 << 40
LIBC = ctypes.CDLL(None, use_errno=True)
SECOND = 1_000_000_000


class Matrix(PosixCase):
    arguments = ("--set", "SettleMilliseconds=60000")   # nothing stays long enough to be uploaded

    def test_every_call_answers_as_on_ext4(self):
        os.chmod(self.scratch, 0o755)
        drive, native = self.both("matrix")
        os.chmod(self.mount, 0o711)
        parts = "1" if SOAK else "3"
        done = lt.run(sys.executable, "-B", os.path.join(HERE, "posix_matrix.py"), drive, native, str(pwd.getpwnam(SERVED).pw_uid),
                      parts, str(SEED))
        report = json.loads(done.stdout)
        print(f"  {report['cases']} cases, {report['equal']} equal, excluded: {report['excluded']}", flush=True)
        self.assertEqual(report["deviations"], [])
        self.assertGreater(report["equal"], 1000)
        self.assertEqual(report["excluded"].keys(), posix_exclusions.EXCLUSIONS.keys(), "an exclusion that nothing falls under")

    def test_the_document_has_every_exclusion(self):
        with open(DOCUMENT) as f:
            named = re.findall(r"^\| `([a-z-]+)` \|", f.read(), re.MULTILINE)
        self.assertEqual(sorted(named), sorted(posix_exclusions.EXCLUSIONS))


# --- locks ----------------------------------------------------------------------------------------------------------------

F_OFD_SETLK = 37


def ofd(fd):
    fcntl.fcntl(fd, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))


LOCKS = {
    "flock": lambda fd: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB),
    "fcntl": lambda fd: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB),
    "ofd": ofd,
}


class Processes(PosixCase):
    def lockable(self, path, lock):
        def body():
            with open(path, "r+b") as f:
                lock(f.fileno())
        return in_child(body) == 0

    def test_locks_hold_between_processes_and_beyond_a_worker(self):
        write(self.path("locked"), b"")
        for name, lock in LOCKS.items():
            with self.subTest(lock=name):
                with open(self.path("locked"), "r+b") as f:
                    lock(f.fileno())
                    self.assertFalse(self.lockable(self.path("locked"), lock))
                    self.kill_worker()
                    self.assertFalse(self.lockable(self.path("locked"), lock))
                self.assertTrue(self.lockable(self.path("locked"), lock))

    def test_parts_of_a_file_are_locked(self):
        write(self.path("parts"), b"x" * 100)
        with open(self.path("parts"), "r+b") as f:
            fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 50)

            def lock_from(start):
                def body():
                    with open(self.path("parts"), "r+b") as g:
                        fcntl.lockf(g, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, start)
                return in_child(body) == 0

            self.assertEqual([lock_from(0), lock_from(45), lock_from(60)], [True, False, True])

    def test_one_of_many_makes_an_exclusive_file(self):
        def make(n):
            for turn in range(50):
                try:
                    with open(self.path(f"once-{turn}"), "xb") as f:
                        f.write(bytes([n]))
                except FileExistsError:
                    pass
                else:
                    os.write(wins, bytes([turn]))

        won, wins = os.pipe()
        children = []
        for n in range(4):
            children.append(os.fork())
            if children[-1] == 0:
                try:
                    make(n)
                    os._exit(0)
                finally:
                    os._exit(1)
        self.assertEqual([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children], [0] * 4)
        os.close(wins)
        self.assertEqual(sorted(os.read(won, 4096)), list(range(50)))
        os.close(won)

    def test_two_processes_append(self):
        def append(letter):
            fd = os.open(self.path("log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            for _ in range(300):
                assert os.write(fd, letter * 99 + b"\n") == 100

        children = []
        for letter in (b"a", b"b"):
            children.append(os.fork())
            if children[-1] == 0:
                try:
                    append(letter)
                    os._exit(0)
                finally:
                    os._exit(1)
        self.assertEqual([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children], [0, 0])
        lines = read(self.path("log")).splitlines()
        self.assertEqual(sorted(lines), [b"a" * 99] * 300 + [b"b" * 99] * 300)

    def test_mappings_are_one_memory(self):
        path = self.path("mapped")
        write(path, bytes(3 * 4096))

        def body():
            with open(path, "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
                m[5000:5005] = b"child"
                m.flush()
        with open(path, "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
            m[0:6] = b"parent"
            self.assertEqual(in_child(body), 0)
            self.assertEqual(m[5000:5005], b"child")
            self.assertEqual(os.pread(f.fileno(), 6, 0), b"parent")
            os.pwrite(f.fileno(), b"by write", 9000)
            self.assertEqual(m[9000:9008], b"by write")
        self.instance.wait_uploaded(path)
        there = read(os.path.join(self.bucket, "mapped"))
        self.assertEqual((there[:6], there[5000:5005], there[9000:9008]), (b"parent", b"child", b"by write"))

    def test_fifos_and_sockets_work_between_processes(self):
        os.mkfifo(self.path("fifo"))

        def body():
            write(self.path("fifo"), b"through the fifo")
        pid = os.fork()
        if pid == 0:
            try:
                body()
                os._exit(0)
            finally:
                os._exit(1)
        self.assertEqual(read(self.path("fifo")), b"through the fifo")
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
            server.bind(self.path("socket"))
            server.listen()
            client.connect(self.path("socket"))
            with server.accept()[0] as accepted:
                client.sendall(b"hello")
                self.assertEqual(accepted.recv(5), b"hello")


# --- contents ---------------------------------------------------------------------------------------------------------------

KEEP_SIZE, PUNCH_HOLE, COLLAPSE, ZERO_RANGE, INSERT, UNSHARE = 1, 2, 8, 16, 32, 64


def fallocate(fd, mode, offset, length):
    if LIBC.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)):
        raise OSError(ctypes.get_errno(), "fallocate")


class Contents(PosixCase):
    def test_fallocate_makes_zeros_and_room(self):
        size = 9 * MIB + 123
        block = os.urandom(64 * KIB)
        content = (block * (size // len(block) + 1))[:size]
        ranges = [(0, 1), (100, 5000), (4096, 8192), (4 * MIB - 10, 20), (3 * MIB + 7, 5 * MIB), (size - 100, 50), (size - 10, 5000),
                  (size + 10, 10), (0, size)]

        def attempts(directory):
            results = []
            for mode in (0, KEEP_SIZE, PUNCH_HOLE | KEEP_SIZE, ZERO_RANGE, ZERO_RANGE | KEEP_SIZE, PUNCH_HOLE):
                for offset, length in ranges:
                    path = os.path.join(directory, f"{mode}-{offset}")
                    write(path, content)
                    with open(path, "r+b") as f:
                        results.append((mode, offset, answer(fallocate, f.fileno(), mode, offset, length)))
                    results.append(hash(read(path)))
                    os.unlink(path)
            return results
        self.same("fallocate", attempts)

    def test_zeros_go_to_the_cloud(self):
        path = self.path("punched")
        write(path, b"x" * 300_000)
        self.instance.wait_uploaded(path)
        before = os.stat(path)
        with open(path, "r+b") as f:
            fallocate(f.fileno(), PUNCH_HOLE | KEEP_SIZE, 1000, 200_000)
        self.assertGreater(os.stat(path).st_mtime_ns, before.st_mtime_ns)
        self.instance.wait_uploaded(path)
        self.assertEqual(read(os.path.join(self.bucket, "punched")), b"x" * 1000 + bytes(200_000) + b"x" * 99_000)

    def test_what_moves_bytes_is_refused(self):
        write(self.path("collapse"), b"x" * 100_000)
        with open(self.path("collapse"), "r+b") as f:
            for mode in (COLLAPSE, INSERT, UNSHARE):
                self.assertEqual(answer(fallocate, f.fileno(), mode, 0, 4096), "EOPNOTSUPP")

    def test_holes_are_found(self):
        def attempts(directory):
            with open(os.path.join(directory, "sparse"), "w+b") as f:
                f.truncate(10 * MIB)
                os.pwrite(f.fileno(), b"x" * 65536, MIB)
                os.pwrite(f.fileno(), b"y" * 65536, 5 * MIB)
                os.fsync(f.fileno())
                return [answer(os.lseek, f.fileno(), at, whence) for whence in (os.SEEK_DATA, os.SEEK_HOLE)
                        for at in (0, MIB, MIB + 5, 2 * MIB, 5 * MIB, 5 * MIB + 65536, 10 * MIB - 1, 10 * MIB, 11 * MIB, -1)]
        if lt.CONTENT == "seal":
            self.assertEqual(attempts(self.mount), [0, MIB, MIB + 5, 2 * MIB, 5 * MIB, 5 * MIB + 65536, 10 * MIB - 1, "ENXIO", "ENXIO", "ENXIO",
                                                    *[10 * MIB] * 7, "ENXIO", "ENXIO", "ENXIO"])
            return
        self.assertIn(5 * MIB, self.same("holes", attempts))

    def test_copies_by_the_kernel(self):
        content = os.urandom(3 * MIB + 5)

        def by_copy_file_range(source, target):
            done = 0
            while n := os.copy_file_range(source, target, 10 * MIB, done, done):
                done += n

        def by_sendfile(source, target):
            while os.sendfile(target, source, None, MIB):
                pass

        def by_splice(source, target):
            out, into = os.pipe()
            while n := os.splice(source, into, 65536):
                while n > 0:
                    n -= os.splice(out, target, n)
            os.close(out)
            os.close(into)

        write(self.path("copied-from"), content)
        for copy in (by_copy_file_range, by_sendfile, by_splice):
            with self.subTest(copy=copy.__name__):
                path = self.path(copy.__name__)
                with open(self.path("copied-from"), "rb") as source, open(path, "wb") as target:
                    copy(source.fileno(), target.fileno())
                self.assertEqual(read(path), content)
                self.instance.wait_uploaded(path)
                self.assertEqual(read(os.path.join(self.bucket, copy.__name__)), content)

    def test_sizes(self):
        path = self.path("large")
        with open(path, "w+b") as f:
            os.unlink(path)                   # nobody wants 5 TiB in the folder
            f.truncate(5 * TIB)
            self.assertEqual(os.fstat(f.fileno()).st_size, 5 * TIB)
            self.assertEqual(os.pwrite(f.fileno(), b"end", 5 * TIB - 3), 3)
            self.assertEqual(os.pread(f.fileno(), 10, 5 * TIB - 5), b"\0\0end")
            most = 5 * TIB if lt.CONTENT == "seal" else 8 * TIB
            if lt.CONTENT == "data":
                self.assertLess(os.fstat(f.fileno()).st_blocks * 512, MIB)
            self.assertEqual(answer(f.truncate, most + 1), "EFBIG")
            self.assertEqual(answer(os.pwrite, f.fileno(), b"x", most), "EFBIG")

    def test_there_are_no_nameless_files(self):
        self.assertEqual(answer(os.open, self.mount, os.O_TMPFILE | os.O_RDWR), "EOPNOTSUPP")


# --- attributes ---------------------------------------------------------------------------------------------------------------

class Attributes(PosixCase):
    def test_reading_is_no_access(self):
        path = self.path("read")
        write(path, b"x")
        os.utime(path, ns=(10 * SECOND, 20 * SECOND))
        read(path)
        os.listdir(self.mount)
        self.assertEqual(os.stat(path).st_atime_ns, 10 * SECOND)

    def test_no_access_lists(self):
        write(self.path("acl"), b"")
        entries = [(1, 6, -1), (2, 6, 12345), (4, 4, -1), (16, 6, -1), (32, 4, -1)]   # acl(5): u::rw u:12345:rw g::r m::rw o::r
        value = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
        for name in ("system.posix_acl_access", "trusted.x"):
            with self.subTest(name=name):
                self.assertEqual(answer(os.setxattr, self.path("acl"), name, value), "EOPNOTSUPP")
                self.assertEqual(answer(os.getxattr, self.path("acl"), name), "EOPNOTSUPP")
        self.assertEqual(os.listxattr(self.path("acl")), [])

    def test_attributes_have_as_much_room_as_an_object(self):
        path = self.path("weight")
        write(path, b"")
        os.setxattr(path, "user.fits", b"x" * 1000)
        self.assertEqual(answer(os.setxattr, path, "user.much", b"x" * 1000), "E2BIG")
        self.assertEqual(os.getxattr(path, "user.fits"), b"x" * 1000)
        os.removexattr(path, "user.fits")
        os.setxattr(path, "user.much", b"x" * 1000)
        self.assertEqual(answer(os.symlink, "x" * 1601, self.path("far")), "ENAMETOOLONG")

    def test_space_makes_sense(self):
        space = os.statvfs(self.mount)
        self.assertEqual((space.f_bavail, space.f_namemax), (space.f_bfree, 255))
        self.assertGreater(space.f_blocks, space.f_bfree)
        self.assertGreater(space.f_ffree, 0)
        self.assertGreaterEqual(space.f_files, space.f_ffree)
        for option in ("-B1", "-i"):
            self.assertIn(self.mount, lt.run("df", option, self.mount).stdout)

    def test_there_is_no_time_of_birth(self):
        write(self.path("born"), b"")
        self.assertEqual(lt.run("stat", "-c", "%w %W", self.path("born")).stdout.split(), ["-", "0"])

    def test_numbers_outlive_a_restart(self):
        os.makedirs(self.path("numbers", "d"))
        write(self.path("numbers", "f"), b"x")
        os.symlink("f", self.path("numbers", "l"))
        os.mkfifo(self.path("numbers", "p"))

        def numbers():
            return {name: (os.lstat(self.path("numbers", name)).st_ino, os.lstat(self.path("numbers", name)).st_mode) for name in "dflp"}
        before = numbers()
        self.restart_instance()
        self.instance.wait_mounted(self.mount)
        self.assertEqual(numbers(), before)


# --- directories --------------------------------------------------------------------------------------------------------------

class Dirent(ctypes.Structure):
    _fields_ = [("ino", ctypes.c_uint64), ("off", ctypes.c_int64), ("reclen", ctypes.c_uint16), ("type", ctypes.c_uint8),
                ("name", ctypes.c_char * 256)]


LIBC.opendir.restype = ctypes.c_void_p
LIBC.readdir.restype = ctypes.POINTER(Dirent)
LIBC.telldir.restype = ctypes.c_long


class Stream:
    """opendir(3) and what goes with it."""

    def __init__(self, path):
        self.dir = ctypes.c_void_p(LIBC.opendir(os.fsencode(path)))

    def next(self):
        entry = LIBC.readdir(self.dir)
        return entry.contents if entry else None

    def rest(self):
        names = []
        while entry := self.next():
            names.append(entry.name.decode())
        return names

    def tell(self):
        return LIBC.telldir(self.dir)

    def seek(self, at):
        LIBC.seekdir(self.dir, ctypes.c_long(at))

    def rewind(self):
        LIBC.rewinddir(self.dir)

    def close(self):
        LIBC.closedir(self.dir)


class Directories(PosixCase):
    def test_reading_while_names_come_and_go(self):
        names = {f"n{n:04}" for n in range(600)}
        os.mkdir(self.path("changing"))
        for name in names:
            write(self.path("changing", name), b"")
        stream = Stream(self.path("changing"))
        seen = [stream.next().name.decode() for _ in range(200)]
        place = stream.tell()
        removed = set(sorted(names - set(seen))[::2]) | set(seen[2:60])
        for name in removed:
            os.unlink(self.path("changing", name))
        for n in range(100):
            write(self.path("changing", f"new{n}"), b"")
        rest = stream.rest()
        self.assertEqual(len(seen + rest), len(set(seen + rest)), "a name came twice")
        self.assertLessEqual(names - removed, set(seen + rest), "a name that stayed did not come")
        stream.seek(place)
        again = stream.rest()
        self.assertLessEqual(names - removed - set(seen), set(again))
        self.assertFalse(set(again) & set(seen), "behind the place is what came before it")
        stream.rewind()
        self.assertEqual(set(stream.rest()) - {".", ".."}, set(os.listdir(self.path("changing"))))
        stream.close()

    def test_types_come_with_the_names(self):
        os.mkdir(self.path("types"))
        os.mkdir(self.path("types", "d"))
        write(self.path("types", "f"), b"")
        os.symlink("f", self.path("types", "l"))
        os.mkfifo(self.path("types", "p"))
        stream = Stream(self.path("types"))
        types = {}
        while entry := stream.next():
            types[entry.name.decode()] = entry.type
        stream.close()
        self.assertEqual(types, {".": 4, "..": 4, "d": 4, "f": 8, "l": 10, "p": 1})

    def test_links_count_directories(self):
        def links(directory):
            counts = [os.stat(directory).st_nlink]
            os.mkdir(os.path.join(directory, "a"))
            os.makedirs(os.path.join(directory, "b", "c"))
            write(os.path.join(directory, "file"), b"")
            counts += [os.stat(directory).st_nlink, os.stat(os.path.join(directory, "b")).st_nlink]
            os.rename(os.path.join(directory, "b", "c"), os.path.join(directory, "c"))
            counts += [os.stat(directory).st_nlink, os.stat(os.path.join(directory, "b")).st_nlink]
            os.rmdir(os.path.join(directory, "a"))
            return counts + [os.stat(directory).st_nlink]
        self.assertEqual(self.same("links", links), [2, 4, 3, 5, 2, 4])

    def test_keys_have_a_limit(self):
        deep = self.path(*["k" * 200] * 4)
        os.makedirs(deep)
        self.assertEqual(answer(os.mkdir, os.path.join(deep, "k" * 220)), "ENAMETOOLONG")
        os.mkdir(os.path.join(deep, "k" * 200))
        shutil.rmtree(self.path("k" * 200))


if __name__ == "__main__":
    unittest.main()
