"""What the kernel has of files in its page cache: looked at, dropped, brought in."""

import ctypes
import errno
import mmap
import os

import landfall_test as lt
import work

CACHESTAT = 451                # the system call's number on every architecture that is served; from Linux 6.5 on
ON_ITS_WAY = 10                # seconds
TRIES = 3


class Range(ctypes.Structure):
    _fields_ = [("at", ctypes.c_uint64), ("length", ctypes.c_uint64)]


class Counts(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("cached", "dirty", "written", "evicted", "evicted_lately")]


LIBC = ctypes.CDLL(None, use_errno=True)


def cached_bytes(f):
    """Of an open file; nothing is read for it."""
    counts = Counts()
    if LIBC.syscall(CACHESTAT, f.fileno(), ctypes.byref(Range(0, 0)), ctypes.byref(counts), 0):
        code = ctypes.get_errno()
        raise OSError(code, f"cachestat: {os.strerror(code)}")
    return counts.cached * mmap.PAGESIZE


def data(f):
    """(offset, length) of what is not a hole."""
    at = 0
    while True:
        try:
            at = os.lseek(f.fileno(), at, os.SEEK_DATA)
        except OSError as e:
            if e.errno == errno.ENXIO:
                return
            raise
        end = os.lseek(f.fileno(), at, os.SEEK_HOLE)
        yield at, end - at
        at = end


def read_all(f, ranges):
    with mmap.mmap(-1, work.MIB) as pages, memoryview(pages) as view:
        for at, length in ranges:
            f.seek(at)
            while length > 0:
                length -= f.readinto(view[:min(length, work.MIB)])


def bring_in(path):
    """All of its data. Returns how much that is."""
    with open(path, "rb", buffering=0) as f:
        ranges = list(data(f))
        wanted = sum(length for _, length in ranges)
        for _ in range(TRIES):             # others may drop the page cache too
            read_all(f, ranges)
            if cached_bytes(f) >= wanted:
                return wanted
    raise AssertionError(f"{path} has {wanted} bytes, and not all of them stay in the page cache")


def leave_only(path, stored):
    """Of the file at `path`, which a system keeps in the files of `stored` in another form, the kernel has no page any more, and
    of those files all. Whoever opens it now gets each byte from the system for the first time."""
    size = os.stat(path).st_size
    with open(path, "rb", buffering=0) as f:       # from before, so the next open is not this one
        work.drop_caches()
        lt.wait_until(lambda: cached_bytes(f) == 0, ON_ITS_WAY, f"the page cache without {path}")
        brought = sum(bring_in(s) for s in stored)
        assert brought >= size, f"{path} has {size} bytes, and what it is stored in {brought}"
        assert cached_bytes(f) == 0, f"{path} is in the page cache itself"
    work.touch_memory(max(2 * size, work.MIB))     # its pages will be fresh ones, and who knows which
