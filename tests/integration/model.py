"""The dice and the operations of the model test: one operation after the other on a drive and on a plain directory (twin.py). What
comes next depends on the seed and on the plain directory alone, never on time, so a seed repeats."""

import collections
import contextlib
import errno
import mmap
import os
import random
import stat

from landfall_test import wait_until
from twin import (DRIVE, EXCHANGE, KEEP_SIZE, NOREPLACE, OLD, PAGE, PLAIN, PUNCH_HOLE, ZERO_RANGE, Difference, aligned, attempt,
                  compare_content, compare_stat, compare_trees, digest, facts, fallocate, read_aligned, renameat2, same_time,
                  walk)

NAMES = ["a", "b", "c", "d", "e.txt", "with space", "ü", "F"]
DEPTH = 3
TREE_MOST = 60
HANDLES_MOST = 8
REMEMBERED = 40
SIZES = [0, 1, 17, 4095, 4096, 5000, 65535, 65536, 70000, 200000, 1 << 20, 1500000]
OPENED_AS = [os.O_RDONLY, os.O_RDWR, os.O_WRONLY]
PLAIN_FLAGS = [0, os.O_CREAT, os.O_CREAT | os.O_EXCL, os.O_CREAT | os.O_TRUNC, os.O_TRUNC, os.O_APPEND, os.O_NOFOLLOW,
               os.O_DIRECT, os.O_CREAT | os.O_DIRECT, os.O_DIRECTORY, os.O_CREAT | os.O_APPEND, os.O_CREAT]
MAY_LACK = {errno.errorcode[errno.EOPNOTSUPP]}     # what a drive may answer to fallocate(2) modes that it does not have


class Handle:
    """One file, open in both places."""

    def __init__(self, fds, name, flags):
        self.fds, self.name, self.flags = fds, name, flags
        self.maps = None

    def close(self):
        if self.maps:
            for mapped in self.maps:
                mapped.close()
        self.maps = None
        results = [attempt(os.close, fd) for fd in self.fds]
        if results[DRIVE] != results[PLAIN]:
            raise Difference(f"close of {self.name}: {results[DRIVE]}, {results[PLAIN]} is right")

    def may(self, wanted):
        return self.flags & os.O_ACCMODE in (os.O_RDWR, wanted)

    @property
    def direct(self):
        return bool(self.flags & os.O_DIRECT)

    @property
    def size(self):
        return os.fstat(self.fds[PLAIN]).st_size


class Model:
    def __init__(self, drive, plain, seed, most_size=2 << 20):
        self.roots = [drive, plain]
        self.dice = random.Random(seed)
        self.most_size = most_size
        self.handles = []
        self.steps = 0
        self.last = collections.deque(maxlen=REMEMBERED)
        self.counts = collections.Counter()
        self.operations = [(weight, getattr(self, name)) for weight, name in self.TABLE]

    TABLE = [
        (14, "open"), (8, "close"), (14, "write"), (10, "read"), (4, "append"), (5, "truncate"), (5, "ftruncate"), (2, "fallocate"),
        (5, "map_write"), (3, "held_map"), (3, "direct"), (10, "rename"), (3, "rename_flags"), (7, "unlink"), (8, "mkdir"), (4, "rmdir"), (4, "symlink"),
        (3, "readlink"), (5, "chmod"), (2, "chown"), (6, "utimens"), (6, "set_attribute"), (3, "remove_attribute"), (4, "list"),
        (8, "stat"), (4, "fsync"), (8, "whole_file"), (6, "read_file"), (3, "copy_range"), (2, "seek_holes"),
    ]

    # --- frame ------------------------------------------------------------------------------------

    def step(self):
        weights = [w for w, _ in self.operations]
        operation = self.dice.choices([o for _, o in self.operations], weights)[0]
        self.steps += 1
        self.counts[operation.__name__] += 1
        operation()

    def run(self, steps):
        for _ in range(steps):
            self.step()

    def note(self, text):
        self.last.append(f"{self.steps:6d}  {text}")

    def both(self, text, call, may_lack=()):
        """call(which place) on both; the results must be equal. Returns that of the plain directory; None: the drive lacks it."""
        self.note(text)
        first = attempt(call, DRIVE)
        if first in may_lack:
            self.last[-1] += f" -> {first}, left out"
            return None
        second = attempt(call, PLAIN)
        self.last[-1] += f" -> {digest(first)}"
        if first != second:
            raise Difference(f"step {self.steps}: {text}: {digest(first)} in the drive, {digest(second)} is right")
        return second

    def path(self, which, name):
        return os.path.join(self.roots[which], name)

    # --- dice -------------------------------------------------------------------------------------

    def any_name(self):
        return "/".join(self.dice.choice(NAMES) for _ in range(self.dice.choices(range(1, DEPTH + 1), [5, 3, 2])[0]))

    def names(self, kind=None):
        found = [n.rstrip("/") for n in walk(self.roots[PLAIN]) if kind is None or n.endswith("/") == (kind == "directory")]
        return found

    def old_name(self, kind=None):
        """One that exists, mostly."""
        found = self.names(kind)
        return self.dice.choice(found) if found and self.dice.random() < 0.9 else self.any_name()

    def new_name(self):
        """In a directory that exists, mostly."""
        folders = self.names("directory") + [""]
        below = [f for f in folders if f.count("/") < DEPTH - 1]
        return os.path.join(self.dice.choice(below), self.dice.choice(NAMES)) if self.dice.random() < 0.9 else self.any_name()

    def size(self):
        return min(self.dice.choice([self.dice.choice(SIZES), self.dice.randrange(300000)]), self.most_size)

    def data(self):
        n = max(1, min(self.size(), 1 << 20))
        return (self.dice.randbytes(min(n, 4096)) * (n // 4096 + 1))[:n] if n > 65536 else self.dice.randbytes(n)

    def handle(self, wanted=None, direct=None):
        fit = [h for h in self.handles if (wanted is None or h.may(wanted)) and (direct is None or h.direct == direct)]
        return self.dice.choice(fit) if fit else None

    def checked_handle(self, h):
        compare_stat(f"step {self.steps}: fstat of {h.name}", *[os.fstat(fd) for fd in h.fds])

    # --- handles ----------------------------------------------------------------------------------

    def open(self):
        name = self.old_name() if self.dice.random() < 0.6 else self.new_name()
        flags = self.dice.choice(OPENED_AS) | self.dice.choice(PLAIN_FLAGS)
        fds = [-1, -1]

        def call(which):
            fds[which] = os.open(self.path(which, name), flags, 0o644)
            return "open"
        result = self.both(f"open({name!r}, {flags:#o})", call)
        if result != "open":
            return
        if stat.S_ISDIR(os.fstat(fds[PLAIN]).st_mode):
            [os.close(fd) for fd in fds]
            return
        self.handles.append(Handle(fds, name, flags))
        self.checked_handle(self.handles[-1])
        if len(self.handles) > HANDLES_MOST:
            self.close()

    def close(self):
        if not self.handles:
            return
        h = self.handles.pop(self.dice.randrange(len(self.handles)))
        self.note(f"close {h.name!r}")
        h.close()

    def close_all(self):
        while self.handles:
            self.handles.pop().close()

    def offset(self, h, length):
        return min(self.dice.choice([0, h.size, self.dice.randrange(h.size + 1), self.dice.choice(SIZES)]), self.most_size - length)

    def write(self):
        h = self.handle(direct=False)
        if not h:
            return
        data = self.data()
        at = self.offset(h, len(data))
        if h.flags & os.O_APPEND and h.size > self.most_size:
            return
        self.both(f"pwrite({h.name!r}, {digest(data)}, {at})", lambda which: os.pwrite(h.fds[which], data, at))
        self.checked_handle(h)

    def append(self):
        h = self.handle(direct=False)
        if not h or h.size > self.most_size:
            return
        data = self.data()

        def call(which):
            os.lseek(h.fds[which], 0, os.SEEK_END)
            return os.write(h.fds[which], data)
        self.both(f"append({h.name!r}, {digest(data)})", call)
        self.checked_handle(h)

    def read(self):
        h = self.handle(direct=False)
        if not h:
            return
        size, at = self.size() + 1, self.dice.choice([0, self.dice.randrange(h.size + 1)])
        self.both(f"pread({h.name!r}, {size}, {at})", lambda which: os.pread(h.fds[which], size, at))

    def direct(self):
        h = self.handle(direct=True)
        if not h:
            return
        pages = self.dice.choice([1, 2, 16, 33])
        at = self.dice.randrange(max(1, min(h.size, self.most_size) // PAGE + 1)) * PAGE
        if self.dice.random() < 0.5:
            self.both(f"direct read({h.name!r}, {pages} pages, {at})", lambda which: read_aligned(h.fds[which], pages * PAGE, at))
        else:
            data = self.dice.randbytes(PAGE) * pages
            self.both(f"direct write({h.name!r}, {digest(data)}, {at})", lambda which: os.pwrite(h.fds[which], aligned(data), at))
            self.checked_handle(h)

    def ftruncate(self):
        h = self.handle()
        if not h:
            return
        size = self.size()
        self.both(f"ftruncate({h.name!r}, {size})", lambda which: os.ftruncate(h.fds[which], size))
        self.checked_handle(h)

    def fallocate(self):
        h = self.handle()
        if not h:
            return
        at, length = self.size(), max(1, self.size())
        mode = self.dice.choice([0, 0, KEEP_SIZE, KEEP_SIZE | PUNCH_HOLE, ZERO_RANGE, ZERO_RANGE | KEEP_SIZE])
        if at + length > self.most_size:
            return
        nothing = {0: at + length <= h.size, KEEP_SIZE: True, KEEP_SIZE | PUNCH_HOLE: at >= h.size}
        if nothing.get(mode):   # docs/CONFORMANCE.md, allocated-already
            self.both(f"futimens({h.name!r})", lambda which: os.utime(h.fds[which]))
        self.both(f"fallocate({h.name!r}, {mode}, {at}, {length})", lambda which: fallocate(h.fds[which], mode, at, length),
                  may_lack=MAY_LACK if mode else ())
        self.checked_handle(h)

    def map_write(self):
        h = self.handle(os.O_RDWR)
        if not h or not h.may(os.O_RDONLY) or h.size == 0:
            return
        size = h.size
        at = self.dice.randrange(size)
        data = self.data()[:size - at]
        synced = self.dice.random() < 0.5

        def call(which):
            with mmap.mmap(h.fds[which], size) as mapped:
                before = mapped[max(0, at - 10):at + 10]
                mapped[at:at + len(data)] = data
                if synced:
                    mapped.flush()
            return before
        self.both(f"write to a mapping of {h.name!r}: {digest(data)} at {at}, {'synced' if synced else 'not synced'}", call)

    def held_map(self):
        """A mapping that stays while other things happen; touched only as far as the file reaches."""
        h = self.handle(os.O_RDWR)
        if not h or h.size == 0:
            return
        if not h.maps:
            self.note(f"mapping of {h.name!r} is held")
            h.maps = [mmap.mmap(fd, h.size) for fd in h.fds]
            return
        reach = min(h.size, len(h.maps[PLAIN]))
        at = self.dice.randrange(reach)
        data = self.dice.randbytes(self.dice.randrange(1, 9000))[:reach - at]

        old = os.fstat(h.fds[PLAIN]).st_mtime_ns < OLD

        def call(which):
            before = h.maps[which][:reach]
            h.maps[which][at:at + len(data)] = data
            if old:        # the time of a store may come as late as msync(2)
                h.maps[which].flush()
            return before
        self.both(f"write to the held mapping of {h.name!r}: {digest(data)} at {at} of {reach}", call)

    def flush_maps(self):
        for held in self.handles:
            for mapped in held.maps or ():
                mapped.flush()

    def fsync(self):
        h = self.handle()
        if h:
            self.both(f"fsync({h.name!r})", lambda which: os.fsync(h.fds[which]))

    def copy_range(self):
        source, target = self.handle(os.O_RDONLY, direct=False), self.handle(os.O_WRONLY, direct=False)
        if not source or not target or target.flags & os.O_APPEND:
            return
        if os.path.samestat(os.fstat(source.fds[PLAIN]), os.fstat(target.fds[PLAIN])) or source.size == 0:
            return
        length, at = self.dice.randrange(1, 100000), self.dice.randrange(source.size)
        to = min(self.offset(target, length), self.most_size - length)
        if to < 0:
            return

        def call(which):
            left, done = length, 0
            while left:      # a file system may copy less at once than was asked for
                n = os.copy_file_range(source.fds[which], target.fds[which], left, at + done, to + done)
                if n == 0:
                    break
                left, done = left - n, done + n
            return done
        self.both(f"copy_file_range({source.name!r} {at} -> {target.name!r} {to}, {length})", call)
        self.checked_handle(target)

    def seek_holes(self):
        """What the drive takes for a hole must be zeros."""
        h = self.handle(os.O_RDONLY, direct=False)
        if not h:
            return
        self.flush_maps()        # the kernel does not ask for what is in its pages alone
        self.note(f"holes of {h.name!r}")
        whole = os.pread(h.fds[PLAIN], 1 << 30, 0)
        at = 0
        while at < len(whole):
            data = attempt(os.lseek, h.fds[DRIVE], at, os.SEEK_DATA)
            end = len(whole) if data == "ENXIO" else data
            if not isinstance(end, int) or any(whole[at:end]):
                raise Difference(f"step {self.steps}: {h.name!r} has data from {at}, SEEK_DATA says {data}")
            if data == "ENXIO":
                return
            at = attempt(os.lseek, h.fds[DRIVE], data, os.SEEK_HOLE)
            if not isinstance(at, int) or at <= data:
                raise Difference(f"step {self.steps}: SEEK_HOLE of {h.name!r} from {data} says {at}")

    # --- names ------------------------------------------------------------------------------------

    def whole_file(self):
        """As most programs write: a new file, or an old one cut, in one go."""
        if len(self.names()) > TREE_MOST:
            self.unlink()
            return
        name, data = self.dice.choice([self.new_name(), self.old_name("file")]), self.data()

        def call(which):
            fd = os.open(self.path(which, name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            try:
                return os.write(fd, data)
            finally:
                os.close(fd)
        self.both(f"write_file({name!r}, {digest(data)})", call)

    def read_file(self):
        name = self.old_name("file")

        def call(which):
            fd = os.open(self.path(which, name), os.O_RDONLY)
            try:
                return b"".join(iter(lambda: os.read(fd, 1 << 17), b""))
            finally:
                os.close(fd)
        self.both(f"read_file({name!r})", call)

    def truncate(self):
        name, size = self.old_name(), self.size()
        self.both(f"truncate({name!r}, {size})", lambda which: os.truncate(self.path(which, name), size))
        self.look_at(name)

    def rename(self):
        old, new = self.old_name(), self.old_name() if self.dice.random() < 0.4 else self.new_name()
        self.both(f"rename({old!r}, {new!r})", lambda which: os.rename(self.path(which, old), self.path(which, new)))
        self.look_at(old)
        self.look_at(new)

    def rename_flags(self):
        flags = self.dice.choice([NOREPLACE, EXCHANGE])
        old, new = self.old_name(), self.old_name() if self.dice.random() < 0.6 else self.new_name()
        self.both(f"renameat2({old!r}, {new!r}, {flags})", lambda which: renameat2(self.path(which, old), self.path(which, new), flags))
        self.look_at(old)
        self.look_at(new)

    def unlink(self):
        name = self.old_name("file")
        self.both(f"unlink({name!r})", lambda which: os.unlink(self.path(which, name)))
        self.look_at(name)

    def mkdir(self):
        name = self.new_name()
        self.both(f"mkdir({name!r})", lambda which: os.mkdir(self.path(which, name), 0o755))
        self.look_at(name)

    def rmdir(self):
        name = self.old_name("directory" if self.dice.random() < 0.9 else None)
        self.both(f"rmdir({name!r})", lambda which: os.rmdir(self.path(which, name)))
        self.look_at(name)

    def symlink(self):
        name, target = self.new_name(), self.dice.choice(["a", "b", "./c/b", "nowhere/at all", "c/d", "x" * 100])
        self.both(f"symlink({target!r}, {name!r})", lambda which: os.symlink(target, self.path(which, name)))
        self.look_at(name)

    def readlink(self):
        name = self.old_name()
        self.both(f"readlink({name!r})", lambda which: os.readlink(self.path(which, name)))

    def chmod(self):
        name, mode = self.old_name(), self.dice.choice([0o600, 0o644, 0o755, 0o700, 0o444, 0o1777, 0o000])
        self.both(f"chmod({name!r}, {mode:o})", lambda which: os.chmod(self.path(which, name), mode))
        self.look_at(name)

    def chown(self):
        name, uid, gid = self.old_name(), self.dice.choice([0, 1, 1000, 65534]), self.dice.choice([0, 5, 100])
        self.both(f"lchown({name!r}, {uid}, {gid})", lambda which: os.lchown(self.path(which, name), uid, gid))
        self.look_at(name)

    def utimens(self):
        name, when = self.old_name(), self.dice.choice([0, 1, 999999999, self.dice.randrange(10**18), self.dice.randrange(10**9) * 10**6])
        self.flush_maps()        # the time of a store may come as late as that of its page's way to the file
        self.both(f"utimensat({name!r}, {when})",
                  lambda which: os.utime(self.path(which, name), ns=(when, when), follow_symlinks=False))
        self.look_at(name)

    def set_attribute(self):
        name, key = self.old_name(), self.dice.choice(["user.a", "user.b", "user.mime_type"])
        value = self.dice.randbytes(self.dice.choice([0, 1, 20, 120]))
        flags = self.dice.choice([0, 0, os.XATTR_CREATE, os.XATTR_REPLACE])
        self.both(f"setxattr({name!r}, {key}, {digest(value)}, {flags})",
                  lambda which: os.setxattr(self.path(which, name), key, value, flags))
        self.look_at(name)

    def remove_attribute(self):
        name, key = self.old_name(), self.dice.choice(["user.a", "user.b", "user.mime_type"])
        self.both(f"removexattr({name!r}, {key})", lambda which: os.removexattr(self.path(which, name), key))

    def list(self):
        name = self.old_name("directory")
        self.both(f"list({name!r})", lambda which: sorted(os.listdir(self.path(which, name))))

    def stat(self):
        self.look_at(self.old_name(), "lstat")

    def look_at(self, name, why=None):
        """lstat(2) of a path must agree; where there is something, all of what it says."""
        found = [None, None]

        def call(which):
            found[which] = os.lstat(self.path(which, name))
            return "found"
        if self.both(f"{why or '  then lstat'}({name!r})", call) == "found":
            compare_stat(f"step {self.steps}: {name}", *found)

    # --- all of it --------------------------------------------------------------------------------

    def compare(self):
        """Open files too, some of which have no name any more."""
        self.note("both trees are compared")
        for h in self.handles:
            self.checked_handle(h)
            if h.may(os.O_RDONLY) and not h.direct:
                compare_content(f"{h.name} (open)", *[os.pread(fd, 1 << 30, 0) for fd in h.fds])
        compare_trees(*self.roots)

    def await_metadata(self):
        """A listing has less than stat(2) says; the rest follows behind it. A folder's mtime is in the cloud as it was when the folder itself
        was changed last, not with every name in it: it is set anew, on both sides."""
        for name in self.names():
            with contextlib.suppress(AssertionError):
                wait_until(lambda n=name: self.differing(n) is None, 20)
            if self.differing(name):
                raise Difference(f"after 20 s: {self.differing(name)}")
        for name in ["", *self.names("directory")]:
            for which in (DRIVE, PLAIN):
                os.utime(self.path(which, name), ns=(OLD // 2, OLD // 2))

    def differing(self, name):
        """Of what stat(2) says in both places, as a sentence; None: nothing."""
        found = [os.lstat(self.path(which, name)) for which in (DRIVE, PLAIN)]
        same = facts(found[DRIVE]) == facts(found[PLAIN])
        if same and (stat.S_ISDIR(found[PLAIN].st_mode) or same_time(*[s.st_mtime_ns for s in found])):
            return None
        return f"{name}: {found[DRIVE]}, right is {found[PLAIN]}"

    def story(self):
        return "\n".join(self.last)


