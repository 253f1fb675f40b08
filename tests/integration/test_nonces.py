#!/usr/bin/python3
"""No chunk of the cache, and no object, is sealed with a key that sealed something else: over rewrites, kill -9 of all at random, and
state directories that are put back and used again. Each sealing has a key of its own, made of the file's key and a nonce of 24
bytes; what is looked at are all records that were ever seen on the disk, and all objects that were ever in the bucket."""

import collections
import contextlib
import os
import random
import shutil
import signal
import threading
import unittest

import landfall_test as lt
from drive_case import DriveCase
from formats import FileKey, Refused, data_key, drive_keys, stored_keys
from killer import descendants
from landfall_test import wait_until
from sealed_file import CHUNK, MAP_KEY, SealedFile

FILES, CHUNKS = 4, 5
SIZE = (CHUNKS - 1) * CHUNK + 5000
TURNS = 6


class Seen:
    """All sealings, by the key of the file they are in."""

    def __init__(self):
        self.sealings = collections.defaultdict(dict)     # (wrapped key's id, nonce) -> what was sealed how
        self.records = 0

    def look(self, f, wrapped):
        """At what is there of a file now; a record whose bytes are not its own (a slot that is being used again) is passed over by who asks."""
        for chunk, slot, record, sealed in f.every_record(SIZE):
            self.records += 1
            yield chunk, slot, record, sealed, self.sealings[wrapped[16:32]].setdefault(record.nonce, (record.data, sealed))


class Nonces(DriveCase):

    def drive(self, name, **more):
        self.mount, self.bucket = self.folder_drive(name, localCacheEncrypted=True, **more)
        self.entry = next(d for d in self.instance.api("GET", "/management/clouddrive") if d["name"] == name)
        self.state = os.path.join(self.instance.dir, "state")
        self.cache = os.path.join(self.state, "cache", self.entry["id"])
        self.seen = Seen()
        self.dice = random.Random(int(os.environ.get("SEED", "1")))

    def paths(self):
        return [os.path.join(self.mount, f"f{n}") for n in range(FILES)]

    def rewrite(self, seed, times=12):
        """Whole chunks, parts of them, the same content again, cuts; ends when a daemon is killed."""
        dice = random.Random(seed)
        for _ in range(times):
            path = dice.choice(self.paths())
            with contextlib.suppress(OSError), open(path, "r+b" if os.path.exists(path) else "w+b") as f:
                f.seek(dice.randrange(CHUNKS) * CHUNK + dice.choice((0, 0, 17)))
                f.write(dice.randbytes(dice.choice((10, CHUNK, 2 * CHUNK)))[:SIZE - f.tell() if f.tell() < SIZE else 1])
                f.flush()
                if dice.random() < 0.5:
                    os.fsync(f.fileno())
                if dice.random() < 0.1:
                    f.truncate(dice.randrange(SIZE))

    def numbers(self):
        return {os.stat(p).st_ino for p in self.paths() if os.path.exists(p)}

    def look(self):
        """The daemons are down. All records are as they were sealed, each with a key that is its own."""
        epochs = self.epochs()
        for ino in self.inos:
            f = SealedFile(self.cache, ino)
            if not os.path.exists(f.seal):
                continue
            wrapped = f.read(16, 104)
            key = FileKey(epochs, self.entry["id"], wrapped)
            for chunk, slot, record, sealed, before in self.seen.look(f, wrapped):
                if before == (record.data, sealed):
                    continue
                # The slot is being used again, or was: one of the two bytes are not those of the record.
                opens = [self.opens(key, record, b) for b in (sealed, before[1])]
                self.assertFalse(before[0] != record.data, f"one nonce, two records: chunk {chunk} of {ino}")
                self.assertLess(sum(opens), 2, f"one record, two contents: chunk {chunk} of {ino}")

    def opens(self, key, record, sealed):
        try:
            key.open(record, sealed)
            return True
        except Refused:
            return False

    def epochs(self):
        with open(os.path.join(self.instance.dir, "root.key"), "rb") as f:
            root = f.read()
        with open(os.path.join(self.instance.dir, "keys", "keys"), "rb") as f:
            data = data_key(root, f.read())
        for name in "state.db", "state.db-wal":
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(os.path.join(self.state, name), os.path.join(self.scratch, name))
        return drive_keys(data, stored_keys(os.path.join(self.scratch, "state.db"), self.entry["id"]), self.entry["id"])

    def kill_all(self):
        supervisor = self.instance.process.pid
        victims = [supervisor, *descendants(supervisor)]
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.instance.process.wait(20)
        wait_until(lambda: not any(lt.alive(p) for p in victims), 20, "the end of all")
        lt.Instance.live.remove(self.instance)

    def clear_mount_point(self):
        """What was written there as root when it was unmounted."""
        lt.run("umount", "-l", self.mount, check=False)
        for name in os.listdir(self.mount):
            os.unlink(os.path.join(self.mount, name))

    def start(self):
        self.instance.start()
        self.instance.wait_mounted(self.mount)

    def test_a_stranger_reads_the_cache(self):
        """docs/FORMATS.md is enough to read a chunk, and only the right one."""
        self.drive("stranger")
        content = os.urandom(SIZE)
        path = os.path.join(self.mount, "f0")
        with open(path, "wb") as f:
            f.write(content)
            os.fsync(f.fileno())
        f = SealedFile(self.cache, os.stat(path).st_ino)
        self.instance.stop()
        key = FileKey(self.epochs(), self.entry["id"], f.read(16, 104))
        got = b""
        for chunk in range(CHUNKS):
            slot = f.current(chunk)
            record, sealed = next((r, b) for c, s, r, b in f.every_record(SIZE) if (c, s) == (chunk, slot))
            got += key.open(record, sealed)
            self.assertFalse(self.opens(key, record, sealed[:-1] + bytes([sealed[-1] ^ 1])))
        self.assertEqual(got, content)
        self.assertEqual(f.read(16, 104), f.read(MAP_KEY, 104, f.map))
        self.start()

    def test_rewrites_and_kills(self):
        self.drive("kills")
        self.inos = set()
        for turn in range(TURNS):
            self.rewrite(f"{turn}a")
            self.inos |= self.numbers()
            killer = threading.Timer(self.dice.uniform(0, 0.1), self.kill_all)
            killer.start()
            self.rewrite(f"{turn}b", 60)
            killer.join()
            self.clear_mount_point()
            self.look()
            self.start()
        self.instance.stop()
        self.look()
        self.start()
        self.assertGreater(self.seen.records, TURNS * FILES * CHUNKS)

    def test_state_put_back(self):
        """A snapshot is resumed: with the same writes once more, with others, and with others again."""
        self.drive("resumed", cloudObjectsEncrypted=True)
        self.rewrite("before", 30)
        self.inos = self.numbers()
        self.instance.stop()
        self.look()
        kept = os.path.join(self.scratch, "state-kept")
        lt.run("cp", "-a", self.state, kept)
        objects = collections.defaultdict(set)
        for seed in "same", "same", "other", "third":
            self.start()
            self.rewrite(seed, 30)
            with contextlib.suppress(AssertionError):
                self.instance.wait_uploaded(self.mount, seconds=10)     # some are refused: the cloud has newer ones than this state knows
            self.inos |= self.numbers()
            self.instance.stop()
            self.look()
            self.look_at_objects(objects)
            shutil.rmtree(self.state)
            lt.run("cp", "-a", kept, self.state)
        self.start()
        self.assertGreater(self.seen.records, 4 * FILES)
        self.assertGreater(len(objects), FILES)

    def look_at_objects(self, objects):
        """By head (with its file key and nonce, so one payload key): no chunk of two ciphertexts."""
        for name in os.listdir(self.bucket):
            path = os.path.join(self.bucket, name)
            if not os.path.isfile(path):
                continue
            with open(path, "rb") as f:
                data = f.read()
            self.assertTrue(data.startswith(b"age-encryption.org/v1\n"), name)
            head = data.index(b"\n--- ") + 5 + 43 + 1
            nonce, payload = data[head:head + 16], data[head + 16:]
            objects[nonce].add((data[:head], payload))
            self.assertEqual(len(objects[nonce]), 1, f"{name}: one payload nonce, two objects")


if __name__ == "__main__":
    unittest.main()
