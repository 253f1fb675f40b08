#!/usr/bin/python3
"""One side writes through a drive, the other puts and deletes the same objects in the bucket, and daemons are killed. Both reach the
bucket through a proxy that lets one change through at a time and writes down what each made of it. Each content is a version with a name of its own
all over it: what is read, here or there, is one of them and never a mixture; every write that was acknowledged became a version, unless a
later one of ours was made from it; and no version of ours follows another one that it was not made from. LANDFALL_SEED repeats the dice,
though not the moments."""

import asyncio
import collections
import contextlib
import dataclasses
import errno
import os
import random
import threading
import time
import unittest
import urllib.parse

import landfall_test as lt
from drive_case import DriveCase
from fault_case import SEED, SOAK, read_file
from fault_proxy import KINDS, FaultProxy, body_of, read_head
from killer import Schedule
from landfall_test import wait_until
from raw_s3 import RawS3

NAMES = [f"file-{i}.txt" for i in range(6)]
SECONDS = SOAK or 8
SIZES = [40, 3000, 66000, 200000]
PATCH = 24
ALLOWED = {errno.ENOENT, errno.EEXIST, errno.EIO, errno.ESTALE}     # the other side changed it at that moment


class Ledger:
    """What ever was under each key of a bucket, oldest first; None: nothing."""

    def __init__(self, book):
        self.book, self.history, self.lock = book, {}, asyncio.Lock()

    def now(self, key):
        return self.history.get(key, [None])[-1]

    def enter(self, request, body):
        key = self.key(request.target.partition("?")[0])
        source = request.headers.get("x-amz-copy-source")
        if request.method == "DELETE":
            body = None
        elif source:
            body = self.now(self.key(source if source.startswith("/") else "/" + source))
        self.history.setdefault(key, []).append(body)
        self.book.note(f"{request.method} {key}{' from ' + source if source else ''}: {body and body[:24]}"
                       f" {request.headers.get('if-match', '')} {request.headers.get('if-none-match', '')}")

    @staticmethod
    def key(path):
        return urllib.parse.unquote(path.split("/", 2)[2])

    async def exchange(self, x, fault):
        """A change, alone, whether or not its sender lives to hear of it."""
        body = await x.whole()
        async with self.lock, x.server() as (reader, writer):
            writer.write(x.request.head + body)
            response = await read_head(reader)
            said = [piece async for piece in body_of(response, reader, x.bodiless(response))]
            if response.status in (200, 204):
                self.enter(x.request, body)
        x.writer.write(response.head + b"".join(said))
        await x.writer.drain()


@dataclasses.dataclass
class Through:
    """The server as it is reached through a proxy."""

    server: object
    url: str

    def __getattr__(self, name):
        return getattr(self.server, name)


@dataclasses.dataclass
class Version:
    content: bytes
    ours: bool
    base: bytes | None = None      # what ours was made from; None: the file was new
    acknowledged: bool = False


class Book:
    """Every version that somebody made or tried to make, by content."""

    def __init__(self):
        self.versions, self.lock = {b"": Version(b"", True)}, threading.Lock()
        self.removed = set()       # contents that we took away,
        self.taken_away = set()    # and names, with whatever was there by then
        self.notes = []            # what happened, in order

    def note(self, text):
        self.notes.append(f"{time.monotonic():.3f} {text}")

    def story(self, key):
        return "\n".join(n for n in self.notes if key.removesuffix(".txt") in n)

    def new(self, text, dice):
        size = dice.choice(SIZES)
        return (text.encode() * (size // len(text) + 1))[:size]

    def add(self, version):
        with self.lock:
            self.versions[version.content] = version
        if version.ours:
            self.note(f"here {version.content[:24]}, {len(version.content)} bytes, made from {version.base and version.base[:24]}")
        return version

    def origins(self, content):
        """What ours was made from, what that was made from, and so on; the last is None when it began as a new file."""
        while content is not None and self.versions[content].ours:
            content = self.versions[content].base
            yield content

    def made_from(self, content, other):
        return other in self.origins(content)

    def starts_anew(self, content):
        return None in self.origins(content)


class Side(threading.Thread):
    """Acts at random until it is told to stop. `act` raises what must not happen."""

    def __init__(self, book, seed, rate):
        super().__init__(daemon=True)
        self.book, self.dice, self.rate = book, random.Random(seed), rate
        self.enough, self.failure, self.n = threading.Event(), None, 0

    def run(self):
        try:
            while not self.enough.wait(self.dice.expovariate(self.rate)):
                self.n += 1
                self.act(self.dice.choice(NAMES))
        except BaseException as e:      # is raised where the caller joins
            self.failure = e

    def end(self):
        self.enough.set()
        self.join()
        if self.failure:
            raise self.failure


class Remote(Side):
    def __init__(self, book, seed, bucket):
        super().__init__(book, seed, 4)
        self.bucket = bucket

    def act(self, name):
        if self.dice.random() < 0.2:
            self.bucket.remove(name)
            return
        content = self.book.new(f"remote {self.n} {name} ", self.dice)
        self.book.add(Version(content, False, acknowledged=True))
        self.bucket.put(name, content)


class Local(Side):
    def __init__(self, book, seed, mount):
        super().__init__(book, seed, 12)
        self.mount, self.refused, self.done, self.longest = mount, collections.Counter(), 0, (0, "")

    def act(self, name):
        operation = self.dice.choices([self.read, self.replace, self.patch, self.remove], [5, 4, 4, 1])[0]
        began = time.monotonic()
        try:
            operation(os.path.join(self.mount, name))
            self.done += 1
        except OSError as e:
            if e.errno not in ALLOWED:
                raise
            self.refused[errno.errorcode[e.errno]] += 1
        self.longest = max(self.longest, (time.monotonic() - began, f"{operation.__name__} {name} at {began:.3f}"))

    def known(self, content, where):
        if content not in self.book.versions:
            raise AssertionError(f"{where} has what nobody wrote: {len(content)} bytes, {content[:60]!r}...{content[-60:]!r}")
        return content

    def read(self, path):
        self.known(read_file(path), path)

    @contextlib.contextmanager
    def based(self, path):
        """An open file, and what is in it; None: it was not there."""
        try:
            fd, base = os.open(path, os.O_RDWR), b""
        except FileNotFoundError:
            fd, base = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644), None
        try:
            if base is not None:
                base = self.known(b"".join(iter(lambda: os.read(fd, 1 << 20), b"")), path)
            yield fd, base
        finally:
            os.close(fd)

    def replace(self, path):
        with self.based(path) as (fd, base):
            version = self.book.add(Version(self.book.new(f"local {self.n} {os.path.basename(path)} ", self.dice), True, base))
            os.ftruncate(fd, 0)
            if os.pwrite(fd, version.content, 0) != len(version.content):
                raise AssertionError("a short write")
        version.acknowledged = True

    def patch(self, path):
        with self.based(path) as (fd, base):
            if not base or len(base) < PATCH:
                return
            at = self.dice.randrange(len(base) - PATCH + 1)
            text = f"patched {self.n}".ljust(PATCH, "!").encode()
            version = self.book.add(Version(base[:at] + text + base[at + PATCH:], True, base))
            os.pwrite(fd, text, at)
        version.acknowledged = True

    def remove(self, path):
        content = read_file(path)
        self.book.removed.add(content)
        self.book.taken_away.add(os.path.basename(path))
        self.book.note(f"here {os.path.basename(path)} is removed, with {content[:24]}")
        os.unlink(path)


class RemoteEdits(DriveCase):
    arguments = ("--set", "SettleMilliseconds=50")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        proxy = FaultProxy(lt.Radosgw.shared().port, SEED).start()
        cls.addClassCleanup(proxy.stop)
        cls.proxy, cls.server = proxy, Through(lt.Radosgw.shared(), proxy.url)
        cls.account = cls.instance.add_s3_account(cls.server)

    def begin(self, name):
        self.bucket = self.server.make_bucket("lf-" + name)
        self.book = Book()
        self.ledger = Ledger(self.book)
        self.lacking = set()
        KINDS["entered"] = self.ledger.exchange
        self.proxy.clear()
        self.proxy.add("entered", method="PUT|DELETE", target=f"^/{self.bucket}/.")
        self.raw = RawS3(self.server, self.bucket)
        self.mount = self.instance.add_drive(self.account, self.bucket, name=name, syncIntervalSeconds=1)["localPath"]
        self.sides = [Local(self.book, f"{SEED} local", self.mount), Remote(self.book, f"{SEED} remote", RawS3(self.server, self.bucket))]

    def unrest(self):
        """What is not in the cloud yet, or not the same here and there; empty when all is well."""
        there = {k.decode(): self.raw.get(k) for k in self.raw.keys()}
        found = []
        for name in sorted({*os.listdir(self.mount), *there}):
            path = os.path.join(self.mount, name)
            state = os.getxattr(path, "user.landfall.state").decode() if os.path.exists(path) else "not there"
            if state.startswith("error") and self.incomplete(path):
                self.lacking.add(name)
                continue
            here = read_file(path) if os.path.exists(path) else None
            if state != "clean" or here != there.get(name):
                found.append((name, state, *[c and (len(c), c[:40]) for c in (here, there.get(name))]))
        return found

    @staticmethod
    def incomplete(path):
        """Of a file that was only partly here when both sides changed it, the rest is gone with its version. The kernel may have had it."""
        with open(path, "rb", buffering=0) as f:
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            try:
                f.readall()
            except OSError as e:
                return e.errno == errno.EIO
        return False

    def await_rest(self):
        try:
            wait_until(lambda: not self.unrest(), 150, "drive and bucket to agree")
        except AssertionError as e:
            raise AssertionError(f"{e}: {self.unrest()}") from None

    def check_history(self, history):
        there = {content for versions in history.values() for content in versions}
        strange = [(k, c[:50], c[-50:]) for k, versions in history.items() for c in versions if c is not None and c not in self.book.versions]
        self.assertEqual(strange, [], "in the bucket, and nobody wrote it")
        based_on = {v.base for v in self.book.versions.values() if v.ours}
        lost = [v.content[:40] for v in self.book.versions.values()
                if v.ours and v.acknowledged and v.content not in there and v.content not in based_on and v.content not in self.book.removed]
        self.assertEqual(lost, [], "acknowledged, and gone")
        for key, versions in history.items():
            for before, after in zip(versions, versions[1:]):
                self.check_step(key, before, after)

    def check_step(self, key, before, after):
        """What lay there was seen here before something of ours took its place, which was made from it. Who removes a name here removes
        what is there by then, and may make it anew."""
        if before is None or after in (None, b"") or not self.book.versions[after].ours or self.book.versions[before].ours:
            return
        if self.book.starts_anew(after) and key in self.book.taken_away:
            return
        self.assertTrue(self.book.made_from(after, before), f"{key}: {after[:40]} took the place of {before[:40]}, which it was not made from:\n"
                        + self.book.story(key))

    def run_history(self, name, schedule=None):
        self.begin(name)
        for side in self.sides:
            side.start()
        if schedule:
            schedule.start()
        end = time.monotonic() + SECONDS
        wait_until(lambda: time.monotonic() > end or any(s.failure for s in self.sides), SECONDS + 5, "the end")
        if schedule:
            schedule.stopped.set()
            schedule.end()
        for side in self.sides:
            side.end()
        self.await_rest()
        history = self.ledger.history
        copies = [k for k in history if " (conflict " in k]
        print(f"  seed {SEED}: {self.sides[0].done} operations here, refused: {dict(self.sides[0].refused)}, {self.sides[1].n} there, "
              f"{sum(map(len, history.values()))} versions, {len(copies)} copies, {len(self.lacking)} incomplete, "
              f"longest: {self.sides[0].longest[0]:.1f} s ({self.sides[0].longest[1]})" + (f"; killed: {schedule.killer.killed}" if schedule else ""),
              flush=True)
        self.assertGreater(self.sides[0].done, 10 * self.sides[0].refused["EIO"])
        self.check_history(history)

    def test_history(self):
        self.run_history("remote-edits")

    def test_history_while_daemons_are_killed(self):
        self.run_history("remote-edits-kills", Schedule(self.instance, 1000, SEED, 0.4))


if __name__ == "__main__":
    unittest.main()
