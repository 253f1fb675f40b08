"""What an INO.seal file has where (common/sealed.h), for tests that look at one or change it."""

import os
import struct

CHUNK, EXTENT_CHUNKS, ENTRY, RECORD, SLOTS = 65536, 64, 256, 64, 3
HEAD, FIRST = 1024, 4096
EXTENT = EXTENT_CHUNKS * (ENTRY + SLOTS * CHUNK)
MAP_FETCHABLE, MAP_BASE, MAP_GENERATION, MAP_SYNCED, MAP_SIZE, MAP_KEY, MAP_BITS = 24, 56, 2520, 2528, 2536, 2552, 4096


def entry_at(chunk):
    extent, n = divmod(chunk, EXTENT_CHUNKS)
    return (FIRST + extent * EXTENT if extent else HEAD) + n * ENTRY


def slot_at(chunk, slot):
    extent, n = divmod(chunk, EXTENT_CHUNKS)
    return FIRST + extent * EXTENT + EXTENT_CHUNKS * ENTRY + slot * EXTENT_CHUNKS * CHUNK + n * CHUNK


class Record:
    """One of a chunk's three."""

    def __init__(self, data):
        self.data = data
        self.version, self.algorithm, self.zero, self.length, self.number, self.generation = struct.unpack_from("<BBHIQQ", data)
        self.nonce, self.tag = data[24:48], data[48:64]


class SealedFile:
    """The three files of one inode in a cache folder; what is changed is written at once."""

    def __init__(self, folder, ino):
        self.ino = ino
        base = os.path.join(folder, f"{ino & 255:02x}", f"{ino:x}")
        self.seal, self.map, self.data = (f"{base}.{kind}" for kind in ("seal", "map", "data"))

    def read(self, at, n, path=None):
        with open(path or self.seal, "rb") as f:
            f.seek(at)
            return f.read(n).ljust(n, b"\0")

    def write(self, at, data, path=None):
        with open(path or self.seal, "r+b") as f:
            f.seek(at)
            f.write(data)

    def flip(self, at, path=None):
        self.write(at, bytes([self.read(at, 1, path)[0] ^ 1]), path)

    def records(self, chunk):
        data = self.read(entry_at(chunk), ENTRY)
        return [Record(data[s * RECORD:(s + 1) * RECORD]) for s in range(SLOTS)]

    def current(self, chunk):
        """The slot of the newest record; ValueError: there is none."""
        records = self.records(chunk)
        slots = [s for s in range(SLOTS) if records[s].version]
        return max(slots, key=lambda s: records[s].generation)

    def record_at(self, chunk, slot=None):
        return entry_at(chunk) + (self.current(chunk) if slot is None else slot) * RECORD

    def bytes_at(self, chunk):
        return slot_at(chunk, self.current(chunk))

    def chunk(self, chunk):
        """Entry and slots of a chunk, as they are."""
        return [(entry_at(chunk), self.read(entry_at(chunk), ENTRY)),
                *((slot_at(chunk, s), self.read(slot_at(chunk, s), CHUNK)) for s in range(SLOTS))]

    def put_chunk(self, parts):
        for at, data in parts:
            self.write(at, data)

    def map_word(self, at):
        return struct.unpack("<Q", self.read(at, 8, self.map))[0]

    def set_map_word(self, at, value):
        self.write(at, struct.pack("<Q", value), self.map)

    def every_record(self, size):
        """(chunk, slot, record, bytes of the slot) of all that is there for a file of `size` bytes."""
        for chunk in range((size + CHUNK - 1) // CHUNK):
            for slot, record in enumerate(self.records(chunk)):
                if record.version:
                    yield chunk, slot, record, self.read(slot_at(chunk, slot), record.length)
