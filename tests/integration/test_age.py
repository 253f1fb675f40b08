#!/usr/bin/python3
"""cryptd's age files against Debian's `age`, both ways, and against the public test vectors.

The vectors are those of github.com/C2SP/CCTV, folder age/testdata, at the commit that age_vectors.txt names. A newer set:
AGE_VECTORS names its folder."""

import collections
import hashlib
import os
import subprocess
import tempfile
import unittest
import zlib

import landfall_test as lt

PROGRAM = os.path.join(lt.BUILD, "tests", "integration", "age_pipe")
SIZES = [0, 1, 65535, 65536, 65537, 131072, 131073, 3 * 1024 * 1024 + 17]
OUTCOMES = {0: "success", 2: "header failure", 3: "no match", 4: "HMAC failure", 5: "payload failure"}


def pipe(*args, data=b""):
    """Exit status and output of our program; it never dies of a signal."""
    done = subprocess.run([PROGRAM, *args], input=data, stdout=subprocess.PIPE, env=lt.clean_env(), check=False)
    assert done.returncode >= 0, f"age_pipe died of signal {-done.returncode}"
    return done.returncode, done.stdout


def age(*args, data=b""):
    return subprocess.run(["age", *args], input=data, stdout=subprocess.PIPE, env=lt.clean_env(), check=True).stdout


class Age(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory(prefix="landfall-age-")
        self.addCleanup(self.dir.cleanup)

    def path(self, name, text):
        path = os.path.join(self.dir.name, name)
        with open(path, "w") as f:
            f.write(text)
        return path

    def keygen(self, name):
        text = subprocess.run(["age-keygen"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout.decode()
        return self.path(name, text)

    def recipient(self, keys):
        code, out = pipe("recipient", keys)
        self.assertEqual(code, 0)
        return out.decode().strip()


class Interop(Age):
    def test_recipients_are_the_same(self):
        keys = self.keygen("own")
        with open(keys) as f:
            self.assertIn(self.recipient(keys), f.read())

    def test_age_opens_what_we_make(self):
        own, escrow, other = self.keygen("own"), self.keygen("escrow"), self.keygen("other")
        for size in SIZES:
            plain = os.urandom(size)
            code, sealed = pipe("make", own, self.recipient(escrow), data=plain)
            self.assertEqual(code, 0)
            self.assertIn(b"\n-> landfall/object-1 7\n", sealed)
            for identity in own, escrow:
                self.assertEqual(age("-d", "-i", identity, data=sealed), plain)
            self.assertEqual(pipe("open", own, data=sealed), (0, plain))
            self.assertEqual(pipe("open", other, data=sealed), (3, b""))

    def test_we_open_what_age_makes(self):
        own, other = self.keygen("own"), self.keygen("other")
        for size in SIZES:
            plain = os.urandom(size)
            sealed = age("-r", self.recipient(other), "-r", self.recipient(own), data=plain)
            self.assertEqual(pipe("open", own, data=sealed), (0, plain))

    def test_a_passphrase_file_is_for_others(self):
        stanza = "-> scrypt " + "A" * 22 + " 18\n" + "A" * 43 + "\n"
        header = "age-encryption.org/v1\n" + stanza + "--- " + "A" * 43 + "\n"
        self.assertEqual(pipe("open", self.keygen("own"), data=header.encode())[0], 3)


VECTORS = os.environ.get("AGE_VECTORS") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "age_vectors")

IN_SCOPE = 67
OUT_OF_SCOPE = {"armor": 33, "passphrase (scrypt)": 25, "post-quantum identity": 18}


def beyond_us(fact, identities):
    """Why a vector is none for us, who read and write binary files for X25519 recipients; None: it is one."""
    if fact.get("armored") == "yes":
        return "armor"
    if "passphrase" in fact:
        return "passphrase (scrypt)"
    if any("-PQ-" in i for i in identities):
        return "post-quantum identity"
    return None


class Vectors(Age):
    def test_public_vectors(self):
        counts = collections.Counter(self.one(os.path.join(VECTORS, name)) for name in sorted(os.listdir(VECTORS)))
        passed = counts.pop(None)
        print(f"{passed} vectors; not for us: {dict(counts)}", flush=True)
        if "AGE_VECTORS" not in os.environ:
            self.assertEqual((passed, counts), (IN_SCOPE, OUT_OF_SCOPE))

    @staticmethod
    def released(keys, body):
        return subprocess.run(["age", "-d", "-i", keys], input=body, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              env=lt.clean_env(), check=False).stdout

    def one(self, path):
        with open(path, "rb") as f:
            head, body = f.read().split(b"\n\n", 1)
        facts = [line.split(": ", 1) for line in head.decode().split("\n")]
        fact = dict(facts)
        identities = [value for name, value in facts if name == "identity"]
        reason = beyond_us(fact, identities)
        if reason:
            return reason
        if fact.get("compressed") == "zlib":
            body = zlib.decompress(body)
        keys = self.path("identities", "\n".join(identities) + "\n")
        code, plain = pipe("open", keys, data=body)
        self.assertEqual(OUTCOMES[code], fact["expect"], path)
        if code == 0:
            self.assertEqual(hashlib.sha256(plain).hexdigest(), fact["payload"], path)
        else:   # which chunk is the last one follows from the size, so we may give out less than a reader of streams
            self.assertTrue(self.released(keys, body).startswith(plain), path)
        return None


if __name__ == "__main__":
    unittest.main()
