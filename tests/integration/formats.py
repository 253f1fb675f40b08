"""docs/FORMATS.md read by somebody else: the keys of a drive from the root key on, and chunks of the cache opened. Only libcrypto's
AES-GCM and ChaCha20-Poly1305 are not Python's own."""

import contextlib
import ctypes
import ctypes.util
import hashlib
import hmac
import sqlite3
import struct
import uuid

crypto = ctypes.CDLL(ctypes.util.find_library("crypto"))
for name in ("EVP_CIPHER_CTX_new", "EVP_aes_256_gcm", "EVP_chacha20_poly1305"):
    getattr(crypto, name).restype = ctypes.c_void_p
GET_TAG_LENGTH, SET_TAG = 16, 0x11
ALGORITHMS = {1: "EVP_aes_256_gcm", 2: "EVP_chacha20_poly1305"}


class Refused(Exception):
    pass


def aead_open(algorithm, key, nonce, data, sealed, tag):
    context = ctypes.c_void_p(crypto.EVP_CIPHER_CTX_new())
    out, n = ctypes.create_string_buffer(len(sealed) + 16), ctypes.c_int()
    cipher = ctypes.c_void_p(getattr(crypto, ALGORITHMS[algorithm])())
    try:
        if not (crypto.EVP_DecryptInit_ex(context, cipher, None, key, nonce) == 1
                and crypto.EVP_DecryptUpdate(context, None, ctypes.byref(n), data, len(data)) == 1
                and crypto.EVP_DecryptUpdate(context, out, ctypes.byref(n), sealed, len(sealed)) == 1
                and crypto.EVP_CIPHER_CTX_ctrl(context, SET_TAG, GET_TAG_LENGTH, tag) == 1
                and crypto.EVP_DecryptFinal_ex(context, out, ctypes.byref(n)) == 1):
            raise Refused("it does not open")
    finally:
        crypto.EVP_CIPHER_CTX_free(context)
    return out.raw[:len(sealed)]


def hkdf(secret, salt, label, n=32):
    pseudo = hmac.digest(salt or bytes(32), secret, "sha256")
    out = block = b""
    for i in range(1, 255):
        if len(out) >= n:
            break
        block = hmac.digest(pseudo, block + label.encode() + bytes([i]), "sha256")
        out += block
    return out[:n]


def hedge_key(parent, label, algorithm, nonce):
    """The key of one sealing; draw key and hash key are for who seals."""
    return hmac.digest(hkdf(parent, b"", label, 96)[64:], bytes([algorithm]) + nonce, "sha256")


def hedge_open(parent, label, algorithm, nonce, data, sealed, tag):
    return aead_open(algorithm, hedge_key(parent, label, algorithm, nonce), bytes(12), data, sealed, tag)


def data_key(root_key, key_store):
    """From the key store, which is unlocked by a root key."""
    assert key_store[:8] == b"LNDFKEYS" and key_store[8:10] == b"\2\1"
    assert hashlib.sha256(key_store[:124]).digest() == key_store[124:156]
    salt = key_store[16:48]
    assert hkdf(root_key, salt, "landfall key store 2 check", 16) == key_store[48:64]
    return aead_open(1, hkdf(root_key, salt, "landfall key store 2 wrap"), key_store[64:76], key_store[:64], key_store[76:108], key_store[108:124])


class Epoch:
    def __init__(self, data):
        self.number, self.cache_key, self.identity = struct.unpack("<I32s32s", data)


def drive_keys(data_key, blob, drive):
    """The epochs of a drive, the newest one last."""
    assert blob[:9] == b"LNDFDRVK\1" and blob[24:40] == uuid.UUID(drive).bytes
    plain = hedge_open(data_key, "landfall drive keys 1", 1, blob[40:64], blob[:40], blob[64:-16], blob[-16:])
    n, = struct.unpack_from("<I", plain)
    return [Epoch(plain[8 + 68 * i:76 + 68 * i]) for i in range(n)]


def stored_keys(state_db, drive):
    """From a copy: syncd keeps its own to itself."""
    with contextlib.closing(sqlite3.connect(state_db)) as db:
        return db.execute("SELECT blob FROM keys WHERE drive_id = ?", (drive,)).fetchone()[0]


class FileKey:
    """Of a cache file: from its wrapped key."""

    def __init__(self, epochs, drive, wrapped):
        assert wrapped[:10] == b"LNDFWKEY\1\1"
        self.algorithm, self.id = wrapped[10], wrapped[16:32]
        number, = struct.unpack_from("<I", wrapped, 12)
        epoch = next(e for e in epochs if e.number == number)
        self.key = hedge_open(epoch.cache_key, "landfall wrapped key 1", 1, wrapped[32:56], wrapped[:32] + uuid.UUID(drive).bytes,
                              wrapped[56:88], wrapped[88:104])

    def sealing(self, record):
        """The key that sealed a chunk; its nonce is always zero."""
        return hedge_key(self.key, "landfall cache chunk 1", record.algorithm, record.nonce)

    def open(self, record, sealed):
        return aead_open(record.algorithm, self.sealing(record), bytes(12), record.data[:24] + self.id, sealed, record.tag)
