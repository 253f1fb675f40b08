#!/usr/bin/python3
"""Cache files of an encrypted drive that somebody changed while it was down: each class of bytes, exchanged, cut, put back, gone.

What the cloud has is fetched again, right; of what it lacks the damaged part is EIO, all else reads, nothing goes to the cloud,
and the damaged thing is kept. Each is named in the log. What is read is never other than what was written."""

import os
import shutil
import unittest

import landfall_test as lt
from drive_case import DriveCase
from landfall_test import wait_until
from sealed_file import (CHUNK, ENTRY, HEAD, MAP_BASE, MAP_BITS, MAP_FETCHABLE, MAP_GENERATION, MAP_KEY, MAP_SIZE, MAP_SYNCED, RECORD, SLOTS,
                         SealedFile, entry_at, slot_at)

CHUNKS = 5
SIZE = 4 * CHUNK + 1000
ALL = frozenset(range(CHUNKS))
EVENTS = "cache_damaged", "cache_file_unusable", "cache_put_back", "cache_cut_short", "cache_unreadable", "unsent_content_found"


# Each mutation gets the file, an older state of it (a folder with copies of the three), and another file.

def flip(at):
    return lambda f, old, other: f.flip(at(f))


def flip_map(at):
    return lambda f, old, other: f.flip(at, f.map)


def cut(at):
    return lambda f, old, other: os.truncate(f.seal, at(f))


def exchange_chunks(f, old, other):
    one, two = f.chunk(0), f.chunk(1)
    f.put_chunk([(to, data) for (to, _), (_, data) in zip(one, two)])
    f.put_chunk([(to, data) for (to, _), (_, data) in zip(two, one)])


def exchange_files(f, old, other):
    os.rename(f.seal, f.seal + "-")
    os.rename(other.seal, f.seal)
    os.rename(f.seal + "-", other.seal)


def other_slots_record(f, old, other):
    """The record of another chunk in the place of one of this chunk's."""
    f.write(f.record_at(0), f.read(f.record_at(1), RECORD))


def old_chunk(f, old, other):
    f.put_chunk(old.chunk(0))


def old_file(which):
    def put(f, old, other):
        for kind in which:
            shutil.copyfile(getattr(old, kind), getattr(f, kind))
    return put


def drop_record(f, old, other):
    f.write(f.record_at(0), bytes(RECORD))


def drop_entry(f, old, other):
    f.write(entry_at(0), bytes(ENTRY))


def word(at, value):
    return lambda f, old, other: f.set_map_word(at, value)


def gone(which):
    def remove(f, old, other):
        for kind in which:
            os.unlink(getattr(f, kind))
    return remove


def zero_head(f, old, other):
    f.write(0, bytes(HEAD))


def plain_instead(f, old, other):
    """As if the file had never been sealed."""
    os.unlink(f.seal)
    with open(f.data, "r+b") as data:
        data.write(b"forged" * (SIZE // 6))


ONE = frozenset([0])
# What it does, and the chunks of a changed file that cannot be read any more; None: nothing is lost by it.
MUTATIONS = {
    "head-magic": (flip(lambda f: 0), ALL),
    "head-version": (flip(lambda f: 8), ALL),
    "head-key": (flip(lambda f: 16 + 60), ALL),
    "head-key-clear": (flip(lambda f: 16 + 12), ALL),
    "head-digest": (flip(lambda f: 120), ALL),
    "head-zeros": (zero_head, ALL),
    "record-version": (flip(lambda f: f.record_at(0)), ONE),
    "record-version-2": (lambda f, old, other: f.write(f.record_at(0), b"\2"), ONE),
    "record-algorithm": (flip(lambda f: f.record_at(0) + 1), ONE),
    "record-zero": (flip(lambda f: f.record_at(0) + 2), ONE),
    "record-length": (flip(lambda f: f.record_at(0) + 4), ONE),
    "record-length-high": (lambda f, old, other: f.write(f.record_at(0) + 4, b"\xff\xff\xff\xff"), ONE),
    "record-number": (flip(lambda f: f.record_at(0) + 8), ONE),
    "record-generation": (flip(lambda f: f.record_at(0) + 16), ONE),
    "record-generation-high": (lambda f, old, other: f.write(f.record_at(0) + 16, b"\xff" * 8), ONE),
    "record-nonce": (flip(lambda f: f.record_at(0) + 24), ONE),
    "record-tag": (flip(lambda f: f.record_at(0) + 48), ONE),
    "ciphertext-first": (flip(lambda f: f.bytes_at(0)), ONE),
    "ciphertext-last": (flip(lambda f: f.bytes_at(4) + 999), frozenset([4])),
    "floor": (lambda f, old, other: f.write(entry_at(0) + SLOTS * RECORD, b"\xff" * 7 + b"\0"), None),
    "record-gone": (drop_record, ONE),
    "entry-gone": (drop_entry, ONE),
    "chunks-exchanged": (exchange_chunks, frozenset([0, 1])),
    "record-of-another-chunk": (other_slots_record, ONE),
    "files-exchanged": (exchange_files, ALL),
    "old-chunk": (old_chunk, ONE),
    "old-seal": (old_file(["seal"]), ALL),
    "old-triple": (old_file(["seal", "map", "data"]), ALL),
    "cut-to-nothing": (cut(lambda f: 0), ALL),
    "cut-in-head": (cut(lambda f: 100), ALL),
    "cut-behind-head": (cut(lambda f: HEAD), ALL),
    "cut-in-entries": (cut(lambda f: entry_at(2) + 30), ALL),
    "cut-behind-entries": (cut(lambda f: slot_at(0, 0)), ALL),
    "cut-in-slot": (cut(lambda f: f.bytes_at(0) + 100), ALL),
    "cut-at-end": (cut(lambda f: os.path.getsize(f.seal) - 1), ALL),
    "map-fetchable": (word(MAP_FETCHABLE, 0), None),
    "map-fetchable-high": (word(MAP_FETCHABLE, 1 << 40), None),
    "map-size-short": (word(MAP_SIZE, 2 * CHUNK), None),
    "map-size-long": (word(MAP_SIZE, SIZE + 5 * CHUNK), None),
    "map-bits": (word(MAP_BITS, 0), None),
    "map-bits-all": (word(MAP_BITS, (1 << 64) - 1), None),
    "map-generation": (word(MAP_GENERATION, 0), None),
    "map-synced": (word(MAP_SYNCED, 1 << 40), None),
    "map-base": (flip_map(MAP_BASE), None),
    "map-key": (flip_map(MAP_KEY + 60), None),
    "map-magic": (flip_map(0), None),
    "seal-gone": (gone(["seal"]), ALL),
    "map-gone": (gone(["map"]), None),
    "data-gone": (gone(["data"]), None),
    "data-gone-and-old-seal": (lambda f, old, other: (os.unlink(f.data), shutil.copyfile(old.seal, f.seal)), ALL),
    "seal-and-map-gone": (gone(["seal", "map"]), ALL),
    "plain-instead": (plain_instead, ALL),
}
# Of a clean file nothing that somebody could read was changed by these.
UNSEEN_WHERE_CLEAN = {"map-fetchable", "map-fetchable-high", "map-generation", "map-synced", "map-key", "map-bits", "map-bits-all", "map-base", "map-magic",
                      "map-size-short", "map-size-long", "map-gone", "data-gone", "floor"}
# Nor by these, of one that came from the cloud alone: no bytes are left of it, so nothing is wrong with it.
UNSEEN_WHERE_FETCHED = {"cut-behind-head", "cut-in-entries", "cut-behind-entries"}


class Mutations(DriveCase):

    def drive(self, name, **more):
        self.mount, self.bucket = self.folder_drive(name, localCacheEncrypted=True, **more)
        drive = next(d for d in self.instance.api("GET", "/management/clouddrive") if d["name"] == name)
        self.cloud = os.path.dirname(self.bucket)
        self.cache = os.path.join(self.instance.dir, "state", "cache", drive["id"])

    def start(self):
        self.instance.start()
        self.instance.wait_mounted(self.mount)

    def write(self, path, data, at=None):
        with open(path, "wb" if at is None else "r+b") as f:
            f.seek(at or 0)
            f.write(data)
            f.flush()
            os.fsync(f.fileno())

    def sealed(self, name):
        return SealedFile(self.cache, os.stat(os.path.join(self.mount, name)).st_ino)

    def keep(self, files, folder):
        """Copies of the three files of each, as they are now. Daemons are down."""
        kept = {}
        for name, f in files.items():
            kept[name] = SealedFile(os.path.join(self.scratch, folder), f.ino)
            os.makedirs(os.path.dirname(kept[name].seal), exist_ok=True)
            for kind in "seal", "map", "data":
                shutil.copyfile(getattr(f, kind), getattr(kept[name], kind))
        return kept

    def log(self):
        return self.instance.log("syncd") + self.instance.log("mountd")

    def events(self, mark, ino):
        """What the log says of the inode since."""
        return [line for line in self.log_since(mark) if any(e in line for e in EVENTS)
                and (f"ino={ino} " in line + " " or f"/{ino:x}." in line)]

    def mark(self):
        return len(self.instance.log("syncd")), len(self.instance.log("mountd"))

    def log_since(self, mark):
        return (self.instance.log("syncd")[mark[0]:] + self.instance.log("mountd")[mark[1]:]).splitlines()

    def chunk_of(self, path, n):
        """None: EIO."""
        try:
            with open(path, "rb") as f:
                return os.pread(f.fileno(), CHUNK, n * CHUNK)
        except OSError:
            return None

    def wrong_chunks(self, path, content):
        return [n for n in range(CHUNKS) if self.chunk_of(path, n) != content[n * CHUNK:n * CHUNK + CHUNK]]

    def begin(self, prefix, before=None):
        """Writes a file for each mutation, with an older state of each. Returns names, contents, files and older states."""
        self.drive(prefix)
        names = {m: m for m in MUTATIONS}
        content = {}
        for m, name in names.items():
            content[m] = os.urandom(SIZE)
            self.write(os.path.join(self.mount, name), content[m])
            self.write(os.path.join(self.mount, name + "-other"), os.urandom(SIZE))
        self.instance.wait_uploaded(self.mount)
        files = {m: self.sealed(name) for m, name in names.items()}
        self.instance.stop()
        old = self.keep(files, prefix)
        self.start()
        if before:
            before()
        for m, name in names.items():
            path = os.path.join(self.mount, name)
            for n in range(CHUNKS):       # some are changed in place, some twice
                for _ in range(1 + n % 2):
                    content[m] = content[m][:n * CHUNK + 7] + os.urandom(500) + content[m][n * CHUNK + 507:]
                    self.write(path, content[m][n * CHUNK:n * CHUNK + 1000], n * CHUNK)
        return names, content, files, old

    def mutate(self, names, files, old):
        others = {m: self.sealed(name + "-other") for m, name in names.items()}
        self.instance.stop()
        for m in MUTATIONS:
            MUTATIONS[m][0](files[m], old[m], others[m])
        mark = self.mark()
        self.start()
        return mark

    def test_clean_files(self):
        names, content, files, old = self.begin("clean")
        self.instance.wait_uploaded(self.mount)
        self.check_clean(names, content, files, old)

    def test_fetched_files(self):
        """They were never written here: another version came from the cloud."""
        names, content, files, old = self.begin("fetched")
        self.instance.wait_uploaded(self.mount)
        for m, name in names.items():
            content[m] = os.urandom(SIZE)
            with open(os.path.join(self.bucket, name), "wb") as f:
                f.write(content[m])
        self.instance.stop()
        self.start()
        for name in names.values():   # what is not here is asked for when it is opened
            self.instance.landfall("evict", os.path.join(self.mount, name))
        for m, name in names.items():
            wait_until(lambda p=os.path.join(self.mount, name), c=content[m]: self.wrong_chunks(p, c) == [], 30, name)
        self.check_clean(names, content, files, old, UNSEEN_WHERE_FETCHED)

    def check_clean(self, names, content, files, old, unseen=frozenset()):
        mark = self.mutate(names, files, old)
        for m, name in names.items():
            with self.subTest(m):
                path = os.path.join(self.mount, name)
                self.assertEqual(self.wrong_chunks(path, content[m]), [])
                self.assertEqual(os.stat(path).st_size, SIZE)
                with open(os.path.join(self.bucket, name), "rb") as f:
                    self.assertTrue(f.read() == content[m], "in the cloud")
                if m not in UNSEEN_WHERE_CLEAN | unseen:
                    wait_until(lambda ino=files[m].ino: self.events(mark, ino), 10, "an event")

    def test_what_cannot_be_noticed(self):
        """docs/SECURITY.md, accepted risks: a whole state put back, and a map that says there is nothing to fetch."""
        self.drive("unnoticed", syncIntervalSeconds=1)
        path, absent = os.path.join(self.mount, "f"), os.path.join(self.mount, "absent")
        with open(os.path.join(self.bucket, "absent"), "wb") as f:
            f.write(b"there" * 50000)
        wait_until(lambda: os.path.exists(absent), 30, "the name")
        self.assertEqual(self.chunk_of(absent, 0)[:5], b"there")
        self.instance.wait_uploaded(self.mount)
        os.rename(self.cloud, self.cloud + "-away")
        state, kept = os.path.join(self.instance.dir, "state"), os.path.join(self.scratch, "state-kept")
        self.write(path, b"first" * 20000)
        self.instance.stop()
        lt.run("cp", "-a", state, kept)
        self.start()
        self.write(path, b"other" * 20000)
        self.instance.stop()
        shutil.rmtree(state)
        os.rename(kept, state)
        self.start()
        self.assertEqual(self.chunk_of(path, 0)[:5], b"first")
        f = self.sealed("absent")
        self.instance.stop()
        drop_entry(f, None, None)
        f.set_map_word(MAP_FETCHABLE, 0)
        self.start()
        self.assertEqual(self.chunk_of(absent, 0)[:5], bytes(5))
        self.assertEqual(self.chunk_of(absent, 1)[:4], (b"there" * 50000)[CHUNK:CHUNK + 4])
        os.rename(self.cloud + "-away", self.cloud)

    def test_changed_files(self):
        """The cloud has an older version of them."""
        names, content, files, old = self.begin("changed", before=lambda: os.rename(self.cloud, self.cloud + "-away"))
        good = os.path.join(self.mount, "good")
        self.write(good, b"good")
        in_cloud = {name: self.in_bucket(name, self.cloud + "-away") for name in names.values()}
        mark = self.mutate(names, files, old)
        self.check_changed(names, content, files, mark)
        os.rename(self.cloud + "-away", self.cloud)
        wait_until(lambda: self.in_bucket("good") == b"good", 60, "what can be sent")
        for m, name in names.items():
            with self.subTest(m):
                there = self.in_bucket(name)
                if MUTATIONS[m][1]:
                    self.assertTrue(there == in_cloud[name], "nothing replaces what the cloud has")
                else:
                    self.assertTrue(there in (in_cloud[name], content[m]), "in the cloud")
        self.check_changed(names, content, files, mark)

    def in_bucket(self, name, cloud=None):
        try:
            with open(os.path.join(cloud or self.cloud, "bucket", name), "rb") as f:
                return f.read()
        except FileNotFoundError:
            return None

    def check_changed(self, names, content, files, mark):
        for m, name in names.items():
            with self.subTest(m):
                path, lost = os.path.join(self.mount, name), MUTATIONS[m][1] or frozenset()
                got = {n: self.chunk_of(path, n) for n in range(CHUNKS)}
                wrong = [n for n in got if got[n] is not None and got[n] != content[m][n * CHUNK:n * CHUNK + CHUNK]]
                self.assertEqual([(n, len(got[n]), got[n].count(0)) for n in wrong], [], "other bytes than were written")
                self.assertLessEqual({n for n in got if got[n] is None}, lost, "EIO where nothing was lost")
                if lost:
                    self.assertTrue(any(g is None for g in got.values()), "EIO")
                    wait_until(lambda ino=files[m].ino: self.events(mark, ino), 10, "an event")


if __name__ == "__main__":
    unittest.main()
