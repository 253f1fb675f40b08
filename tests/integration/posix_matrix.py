#!/usr/bin/python3
"""The same calls on a drive and on ext4, one after the other, each in a small tree of its own: what the call answers, and what of the
tree is another afterwards, must be the same. The tables below are multiplied: calls, by whom, on what, along which path.

    posix_matrix.py DRIVE-DIRECTORY EXT4-DIRECTORY UID [PARTS [PART]]      as root; prints one JSON object

With PARTS only every so many-th case, from PART on; with a word instead of a number only the cases that have it in their name.

A process of its own, since it changes its uid."""

import ctypes
import errno
import itertools
import json
import os
import shutil
import socket
import stat
import sys

import posix_exclusions

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, NOREPLACE, EXCHANGE = -100, 1, 2
THEN = 1_000_000_000_123_456_789
NAME_MAX, PATH_MAX = 255, 4096


# --- calls ------------------------------------------------------------------------------------------------------------

def rename_flagged(flags):
    def call(old, new):
        if LIBC.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags):
            raise OSError(ctypes.get_errno(), "renameat2")
    return call


def opened(flags, act=lambda fd: None, mode=0o644):
    def call(path):
        fd = os.open(path, flags, mode)
        try:
            act(fd)
        finally:
            os.close(fd)
    return call


def bound(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)


def node(kind):
    return lambda path: os.mknod(path, kind | 0o644, os.makedev(1, 3))


R, W, RW, NEW = os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_CREAT

# What is done with one path. What ends in "-gid" or "-uid" gives something away.
ONE_PATH = {
    "stat": os.stat,
    "lstat": os.lstat,
    "readlink": os.readlink,
    "access": lambda p: None if os.access(p, os.R_OK | os.W_OK, effective_ids=True) else os.stat(p) and "no",
    "listdir": lambda p: sorted(os.listdir(p)),
    "chmod": lambda p: os.chmod(p, 0o751),
    "chmod-set-id": lambda p: os.chmod(p, 0o6755),
    "chmod-sticky": lambda p: os.chmod(p, 0o1755),
    "chown-nothing": lambda p: os.chown(p, -1, -1),
    "chown-uid": lambda p: os.chown(p, 12345, -1),
    "chown-gid": lambda p: os.chown(p, -1, 12345),
    "lchown": lambda p: os.lchown(p, 12345, 12345),
    "truncate-0": lambda p: os.truncate(p, 0),
    "truncate-less": lambda p: os.truncate(p, 3),
    "truncate-more": lambda p: os.truncate(p, 100_000),
    "truncate-negative": lambda p: os.truncate(p, -1),
    "ftruncate": opened(RW, lambda fd: os.ftruncate(fd, 5)),
    "ftruncate-same": opened(RW, lambda fd: os.ftruncate(fd, 9)),
    "ftruncate-read": opened(R, lambda fd: os.ftruncate(fd, 5)),
    "utimens": lambda p: os.utime(p, ns=(THEN, THEN + 1)),
    "utimens-now": os.utime,
    "lutimens": lambda p: os.utime(p, ns=(THEN, THEN + 1), follow_symlinks=False),
    "mkdir": lambda p: os.mkdir(p, 0o755),
    "mkdir-masked": lambda p: os.mkdir(p, 0o777),
    "mkdir-bits": lambda p: os.mkdir(p, 0o1700),
    "mkfifo": lambda p: os.mkfifo(p, 0o640),
    "mknod-file": node(stat.S_IFREG),
    "mknod-fifo": node(stat.S_IFIFO),
    "mknod-socket": node(stat.S_IFSOCK),
    "mknod-block": node(stat.S_IFBLK),
    "mknod-char": node(stat.S_IFCHR),
    "bind": bound,
    "symlink": lambda p: os.symlink("file", p),
    "symlink-nowhere": lambda p: os.symlink("no where/\udcff", p),
    "symlink-long": lambda p: os.symlink("x" * 1000, p),
    "symlink-empty": lambda p: os.symlink("", p),
    "rmdir": os.rmdir,
    "unlink": os.unlink,
    "open-read": opened(R),
    "open-write": opened(W),
    "open-create": opened(W | NEW, mode=0o666),
    "open-exclusive": opened(W | NEW | os.O_EXCL),
    "open-set-id": opened(W | NEW, mode=0o6755),
    "open-truncate": opened(W | os.O_TRUNC),
    "open-create-truncate": opened(RW | NEW | os.O_TRUNC),
    "open-directory": opened(R | os.O_DIRECTORY),
    "open-create-directory": opened(R | NEW | os.O_DIRECTORY),
    "open-nofollow": opened(R | os.O_NOFOLLOW),
    "open-path": opened(os.O_PATH),
    "open-nonblock": opened(W | os.O_NONBLOCK),
    "read": opened(R, lambda fd: os.read(fd, 100)),
    "write": opened(W, lambda fd: os.write(fd, b"other")),
    "write-nothing": opened(W, lambda fd: os.write(fd, b"")),
    "write-behind": opened(W, lambda fd: os.pwrite(fd, b"behind", 70_000)),
    "append": opened(W | os.O_APPEND, lambda fd: os.write(fd, b"more")),
    "write-on-read": opened(R, lambda fd: os.write(fd, b"other")),
    "fallocate": opened(RW, lambda fd: os.posix_fallocate(fd, 0, 50_000)),
    "fallocate-within": opened(RW, lambda fd: os.posix_fallocate(fd, 2, 3)),
    "fallocate-nothing": opened(RW, lambda fd: os.posix_fallocate(fd, 0, 0)),
    "fallocate-negative": opened(RW, lambda fd: os.posix_fallocate(fd, -1, 10)),
    "fallocate-read": opened(R, lambda fd: os.posix_fallocate(fd, 0, 10)),
    "fsync": opened(R, os.fsync),
    "setxattr": lambda p: os.setxattr(p, "user.note", b"of mine"),
    "getxattr": lambda p: os.getxattr(p, "user.note"),
    "removexattr": lambda p: os.removexattr(p, "user.note"),
    "statvfs": lambda p: os.statvfs(p).f_namemax,
}

TWO_PATHS = {
    "rename": os.rename,
    "rename-noreplace": rename_flagged(NOREPLACE),
    "rename-exchange": rename_flagged(EXCHANGE),
    "rename-both": rename_flagged(NOREPLACE | EXCHANGE),
    "link": lambda old, new: os.link(old, new, follow_symlinks=False),
}


# --- what is there before -----------------------------------------------------------------------------------------------

def make_file(path):
    with open(path, "wb") as f:
        f.write(b"a content")


def make_full(path):
    os.mkdir(path)
    make_file(path + "/inner")


KINDS = {
    "absent": lambda path: None,
    "file": make_file,
    "empty": os.mkdir,
    "full": make_full,
    "to-file": lambda path: os.symlink("elsewhere", path),
    "to-full": lambda path: os.symlink("there", path),
    "to-nothing": lambda path: os.symlink("nowhere", path),
    "fifo": os.mkfifo,
    "socket": bound,
}

# By whom, and whose the object and its directory are, with the modes. "theirs" is a third one's.
SERVED, THIRD = 1, 2   # places in the list of uids


def given(directory, directory_mode, target=None, target_mode=None):
    def give(base, uids):
        if target is not None and os.path.lexists(base + "/d/x"):
            os.chown(base + "/d/x", uids[target], uids[target], follow_symlinks=False)
            if target_mode is not None and not os.path.islink(base + "/d/x"):
                os.chmod(base + "/d/x", target_mode)
        os.chown(base + "/d", uids[directory], uids[directory])
        os.chmod(base + "/d", directory_mode)
    return give


SITUATIONS = {
    "root": (0, given(0, 0o755)),
    "root-in-theirs": (0, given(SERVED, 0o700, SERVED, 0o600)),
    "owner": (SERVED, given(SERVED, 0o755, SERVED)),
    "owner-of-none": (SERVED, given(SERVED, 0o755, SERVED, 0o000)),
    "owner-unwritable": (SERVED, given(SERVED, 0o555, SERVED)),
    "owner-unsearchable": (SERVED, given(SERVED, 0o600, SERVED)),
    "owner-unreadable": (SERVED, given(SERVED, 0o300, SERVED)),
    "foreign": (SERVED, given(0, 0o755, THIRD)),
    "foreign-open": (SERVED, given(0, 0o777, THIRD, 0o777)),
    "foreign-in-own": (SERVED, given(SERVED, 0o755, THIRD, 0o755)),
    "sticky-own": (SERVED, given(0, 0o1777, SERVED)),
    "sticky-foreign": (SERVED, given(0, 0o1777, THIRD, 0o777)),
    "sticky-directory-own": (SERVED, given(SERVED, 0o1777, THIRD, 0o777)),
    "set-gid": (0, given(SERVED, 0o2755)),
    "set-gid-owner": (SERVED, given(SERVED, 0o2755, SERVED)),
}

# --- along which path -----------------------------------------------------------------------------------------------------

# How "d/x", where something of a kind is, is said. A name of None: it is made there as well.
PATHS = {
    "plain": "d/x",
    "below-a-file": "d/x/y",
    "below-nothing": "none/x",
    "trailing-slash": "d/x/",
    "trailing-dot": "d/x/.",
    "trailing-dots": "d/x/..",
    "dots": "./d/../d//x",
    "through-a-link": "to-d/x",
    "through-a-loop": "loop-a/x",
    "a-loop": "loop-a",
    "through-nothing": "to-none/x",
    "through-a-directory-link": "to-d/",
    "empty-path": "",
    "name-255": "d/" + "n" * NAME_MAX,
    "name-256": "d/" + "n" * (NAME_MAX + 1),
    "component-256": "n" * (NAME_MAX + 1) + "/x",
    "path-4095": "./" * ((PATH_MAX - 4) // 2) + "d/x",
    "path-4096": "./" * ((PATH_MAX - 2) // 2) + "d/x",
    "long-path": "d/" + "/".join(["p" * 200] * 4) + "/" + "q" * 240,
    "busy": "d",
}


def make_open(path):
    os.makedirs(path)
    os.chmod(path, 0o777)


# What a path or a link needs beside "d".
BESIDE = {
    "to-d": lambda base: os.symlink("d", base + "/to-d"),
    "to-none": lambda base: os.symlink("none", base + "/to-none"),
    "loop-a": lambda base: (os.symlink("loop-b", base + "/loop-a"), os.symlink("loop-a", base + "/loop-b")),
    "to-file": lambda base: make_file(base + "/d/elsewhere"),
    "to-full": lambda base: make_full(base + "/d/there"),
    "d/there": lambda base: os.path.lexists(base + "/d/there") or make_full(base + "/d/there"),
    "d/ppp": lambda base: make_open(base + "/d/" + "/".join(["p" * 200] * 4)),
}


def make_tree(base, kinds, paths):
    os.makedirs(base + "/d")
    for key, make in BESIDE.items():
        if key in kinds.values() or any(path.startswith(key) for path in paths):
            make(base)
    for name, kind in kinds.items():
        KINDS[kind](f"{base}/d/{name}")


# --- before and after -------------------------------------------------------------------------------------------------------

def look(path):
    st = os.lstat(path)
    kind = stat.S_IFMT(st.st_mode)
    seen = {"type": kind, "mode": stat.S_IMODE(st.st_mode), "uid": st.st_uid, "gid": st.st_gid, "ino": st.st_ino,
            "nlink" if kind != stat.S_IFDIR else "nlink of a directory": st.st_nlink, "mtime": st.st_mtime_ns, "ctime": st.st_ctime_ns}
    if kind != stat.S_IFDIR:
        seen["size"] = st.st_size
    if kind == stat.S_IFREG:
        with open(path, "rb") as f:
            seen["content"] = f.read()
    if kind == stat.S_IFLNK:
        seen["target"] = os.readlink(path)
    return seen


def tree(base):
    found = {".": look(base)}
    for here, names, leaves in os.walk(base):
        for name in names + leaves:
            path = os.path.join(here, name)
            found[os.path.relpath(path, base)] = look(path)
    return found


CHANGING = ("mtime", "ctime", "ino")   # compared as: another than before, or the time that was set


def essence(before, after):
    """What of `after` can be compared with another file system's."""
    names = {seen["ino"]: name for name, seen in before.items()}
    compared = {}
    for name, seen in after.items():
        facts = {key: value for key, value in seen.items() if key not in CHANGING}
        facts["was"] = names.get(seen["ino"], "new")
        was = before.get(facts["was"], {})
        for key in ("mtime", "ctime"):
            facts[key] = "set" if seen[key] in (THEN, THEN + 1) else "same" if seen[key] == was.get(key) else "other"
        compared[name] = facts
    return compared


def differences(native, drive):
    """The fields that differ, with the names where they do."""
    found = set()
    for name in native.keys() | drive.keys():
        if name not in native or name not in drive:
            found.add("a name that is " + ("missing: " if name in native else "there: ") + name)
            continue
        found |= {key if key.startswith("nlink of") else f"{key} of {name}: {native[name].get(key)} {drive[name].get(key)}"
                  for key in native[name].keys() | drive[name].keys() if native[name].get(key) != drive[name].get(key)}
    return sorted(found)


# --- one case -----------------------------------------------------------------------------------------------------------------

def become(uid):
    os.setgroups([uid] if uid else [])
    os.setegid(uid)
    os.seteuid(uid)


def attempt(uid, call, *args):
    become(uid)
    try:
        return str(call(*args))
    except OSError as e:
        return errno.errorcode.get(e.errno, str(e.errno))
    finally:
        os.seteuid(0)
        become(0)


def normal(answer):
    return "ok" if answer.startswith("os.stat_result") or answer == "None" else answer


def run(base, uids, situation, kinds, call, paths):
    uid, give = SITUATIONS[situation]
    make_tree(base, kinds, paths)
    give(base, uids)
    os.chmod(base, 0o777)
    before = tree(base)
    os.chdir(base)
    answer = normal(attempt(uids[uid], call, *paths))
    os.chdir("/")
    after = essence(before, tree(base))
    shutil.rmtree(base)
    return answer, after


# Whose rights matter on what: others than root and the owner of all try a call on a file, these on something else as well.
ON_DIRECTORIES = {"rmdir", "unlink", "chmod", "chown-uid", "open-directory", "listdir", "stat", "access", "utimens-now"}
MAKERS = {name for name in ONE_PATH if name.startswith(("mk", "symlink", "bind"))} | {"open-create", "open-exclusive", "open-set-id"}
# Each path is tried with these.
ALONG = {"stat", "readlink", "access", "listdir", "chmod", "lchown", "truncate-less", "utimens", "lutimens", "mkdir", "mkfifo", "mknod-file", "symlink",
         "rmdir", "unlink", "open-read", "open-create", "open-exclusive", "setxattr"}
ENDS = [("d/x", "d/x"), ("d", "d/x"), ("d/x", "d"), ("d/there", "d/there/deep"), ("d/x", "d/there/inner/y")]


def kinds_for(name, situation):
    if situation == "owner":
        return KINDS
    return ["file"] + ["empty"] * (name in ON_DIRECTORIES) + ["absent"] * (name in MAKERS)


def one_path_cases():
    for (name, call), situation in itertools.product(ONE_PATH.items(), SITUATIONS):
        for kind in kinds_for(name, situation):
            if not (kind == "fifo" and name in BLOCKING):
                yield f"{name} {situation} {kind}", situation, {"x": kind}, call, ["d/x"]
    for name, path, kind in itertools.product(sorted(ALONG), PATHS, ("file", "full")):
        if kind == "full" and name not in ON_DIRECTORIES | MAKERS:
            continue
        yield f"{name} {path} {kind}", "owner", {"x": kind}, ONE_PATH[name], [PATHS[path]]


def two_path_cases():
    for (name, call), old, new in itertools.product(TWO_PATHS.items(), KINDS, KINDS):
        yield f"{name} {old} {new}", "owner", {"x": old, "y": new}, call, ["d/x", "d/y"]
    for (name, call), situation, old, new in itertools.product(TWO_PATHS.items(), SITUATIONS, ("file", "empty"), ("absent", "file")):
        yield f"{name} {situation} {old} {new}", situation, {"x": old, "y": new}, call, ["d/x", "d/y"]
    for (name, call), path, kind in itertools.product(TWO_PATHS.items(), PATHS, ("file", "empty")):
        yield f"{name} {path} from {kind}", "owner", {"x": kind, "y": "absent"}, call, [PATHS[path], "d/y"]
        yield f"{name} {path} to {kind}", "owner", {"x": kind, "y": kind}, call, ["d/y", PATHS[path]]
    for (name, call), (old, new), kind in itertools.product(TWO_PATHS.items(), ENDS, ("file", "empty", "absent")):
        yield f"{name} {old} {new} {kind}", "owner", {"x": kind}, call, [old, new]


def cases():
    """(name, situation, kinds, call, paths)"""
    yield from one_path_cases()
    yield from two_path_cases()


# Opening one of these waits for the other end.
BLOCKING = {name for name in ONE_PATH if name.startswith(("open", "read", "write", "append", "ftruncate", "fallocate", "fsync"))} - {
    "open-nonblock", "open-path", "open-exclusive", "open-directory"}


def chosen(arguments):
    """The cases that were asked for, with their numbers."""
    if arguments and not arguments[0].isdigit():
        return [(n, case) for n, case in enumerate(cases()) if arguments[0] in case[0]]
    parts, part = [int(a) for a in arguments + ["1", "0"][len(arguments):]]
    return [(n, case) for n, case in enumerate(cases()) if n % parts == part % parts]


def main():
    drive, native, uid = sys.argv[1], sys.argv[2], int(sys.argv[3])
    uids = [0, uid, 12345]
    os.umask(0o022)
    report = {"cases": 0, "equal": 0, "excluded": {}, "deviations": []}
    for n, (name, situation, kinds, call, paths) in chosen(sys.argv[4:]):
        report["cases"] += 1
        results = [run(f"{place}/{n}", uids, situation, kinds, call, paths) for place in (native, drive)]
        differ = differences(results[0][1], results[1][1])
        if results[0][0] == results[1][0] and not differ:
            report["equal"] += 1
            continue
        reason = posix_exclusions.exclusion(name, results[0][0], results[1][0], differ)
        if reason:
            report["excluded"][reason] = report["excluded"].get(reason, 0) + 1
        else:
            report["deviations"].append([name, results[0][0], results[1][0], differ])
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
