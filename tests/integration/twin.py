"""The same operations on a drive and on a directory of an ordinary file system, and what is compared after each: what they returned,
their errno, what stat(2) says. Whoever finds a difference raises Difference."""

import ctypes
import errno
import hashlib
import mmap
import os
import stat

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
NOREPLACE, EXCHANGE = 1, 2
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
PAGE = 4096
OLD = 10**18             # nanoseconds; times before it were set by utimensat(2), those of now are far behind it
NEAR = 90 * 10**9        # how far two clocks' times of one operation may lie apart: a daemon may be down in between
DRIVE, PLAIN = 0, 1


class Difference(AssertionError):
    pass


def attempt(call, *args):
    """What it returned, or the name of its errno."""
    try:
        return call(*args)
    except OSError as e:
        return errno.errorcode.get(e.errno, e.errno)


def checked(result):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def renameat2(old, new, flags):
    return checked(LIBC.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags))


def fallocate(fd, mode, offset, length):
    return checked(LIBC.fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length)))


def aligned(data):
    buffer = mmap.mmap(-1, max(len(data), PAGE))
    buffer[:len(data)] = data
    return memoryview(buffer)[:len(data)]


def read_aligned(fd, size, offset):
    buffer = mmap.mmap(-1, size)
    n = os.preadv(fd, [buffer], offset)
    return buffer[:n]


def attributes(path):
    """The extended attributes that a person set."""
    names = sorted(n for n in os.listxattr(path, follow_symlinks=False) if n.startswith("user.") and not n.startswith("user.landfall."))
    return {n: os.getxattr(path, n, follow_symlinks=False) for n in names}


def facts(st):
    """What must be the same of two files; the size of a directory is its file system's business."""
    kind = stat.S_IFMT(st.st_mode)
    return {"mode": oct(st.st_mode), "uid": st.st_uid, "gid": st.st_gid, "size": None if stat.S_ISDIR(kind) else st.st_size,
            "nlink": None if stat.S_ISDIR(kind) else st.st_nlink}


def same_time(a, b):
    return a == b if min(a, b) < OLD else abs(a - b) < NEAR


def compare_stat(what, a, b):
    if facts(a) != facts(b):
        raise Difference(f"{what}: {facts(a)} in the drive, {facts(b)} is right")
    if not same_time(a.st_mtime_ns, b.st_mtime_ns):
        raise Difference(f"{what}: mtime {a.st_mtime_ns} in the drive, {b.st_mtime_ns} is right")


def content(path):
    with open(path, "rb", buffering=0) as f:
        return f.readall()


def where_differing(a, b):
    if len(a) != len(b):
        return f"{len(a)} bytes, {len(b)} are right"
    first = next(i for i in range(len(a)) if a[i] != b[i])
    last = next(i for i in range(len(a) - 1, -1, -1) if a[i] != b[i])
    return f"bytes {first} to {last} of {len(a)}: {a[first:first + 16].hex()}..., {b[first:first + 16].hex()}... are right"


def compare_content(what, a, b):
    if a != b:
        raise Difference(f"{what} has other content: {where_differing(a, b)}")


def walk(root):
    """Every path below it, sorted, without the root; directories end in a slash."""
    found = []
    for here, folders, names in os.walk(root):
        links = [n for n in folders if os.path.islink(os.path.join(here, n))]
        found += [os.path.relpath(os.path.join(here, n), root) for n in names + links]
        found += [os.path.relpath(os.path.join(here, n), root) + "/" for n in folders if n not in links]
    return sorted(found)


def compare_one(drive, plain, name):
    a, b = (os.path.join(root, name.rstrip("/")) for root in (drive, plain))
    sa, sb = os.lstat(a), os.lstat(b)
    compare_stat(name, sa, sb)
    if stat.S_ISLNK(sb.st_mode):
        if os.readlink(a) != os.readlink(b):
            raise Difference(f"{name} points to {os.readlink(a)}, {os.readlink(b)} is right")
        return
    if attributes(a) != attributes(b):
        raise Difference(f"{name} has attributes {attributes(a)}, {attributes(b)} are right")
    if stat.S_ISREG(sb.st_mode):
        compare_content(name, content(a), content(b))


def compare_trees(drive, plain):
    a, b = walk(drive), walk(plain)
    if a != b:
        raise Difference(f"only in the drive: {sorted(set(a) - set(b))}, missing there: {sorted(set(b) - set(a))}")
    for name in b:
        compare_one(drive, plain, name)


def digest(value):
    """Results as they are printed."""
    if isinstance(value, bytes) and len(value) > 20:
        return f"{len(value)} bytes {hashlib.sha256(value).hexdigest()[:8]}"
    return repr(value)
