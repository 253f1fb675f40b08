#!/usr/bin/python3
"""Objects of encrypted drives on a real S3 service: fetched by other tools and opened with Debian's age, put there by age and
read through the mount, and refused when somebody changed them there."""

import concurrent.futures
import errno
import hashlib
import os
import re
import shutil
import subprocess
import unittest

import landfall_test as lt
from drive_case import DriveCase, fill
from landfall_test import wait_until
from raw_s3 import RawS3

IDENTITY = re.compile(r"^AGE-SECRET-KEY-1[A-Z0-9]{58}$", re.MULTILINE)
SIZES = (0, 1, 65535, 65536, 65537, 3 * 1048576 + 17, 16777216, 40 * 1048576 + 1)
CHUNK, TAG = 65536, 16
FILES = 5000
GIB = 1 << 30


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def age(*argv, stdin=b"", check=True):
    return subprocess.run(["age", *argv], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=check).stdout


class ObjectCase(DriveCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = lt.Radosgw.shared()
        cls.account = cls.instance.add_s3_account(cls.server)

    def drive(self, name, bucket=None, instance=None, account=None, **more):
        """Returns the mount point and a client of its bucket."""
        bucket = bucket or self.server.make_bucket(f"lfo-{type(self).__module__}-{name}".replace("_", "-"))
        more = {"cloudObjectsEncrypted": True, "syncIntervalSeconds": 1, **more}
        entry = (instance or self.instance).add_drive(account or self.account, bucket, name=name, **more)
        return entry["localPath"], RawS3(self.server, bucket)

    def identity(self, name, instance=None):
        """A file with the drive's identities, as `age -i` takes it."""
        instance = instance or self.instance
        kit = subprocess.run([os.path.join(instance.bin, "landfall"), "key", "export", name, "--dir", instance.dir],
                             stdout=subprocess.PIPE, check=True, env=lt.clean_env()).stdout.decode()
        path = os.path.join(self.scratch, f"identity-{name}-{len(os.listdir(self.scratch))}")
        with open(path, "w") as f:
            f.write(kit)
        return path

    def recipient(self, name):
        return subprocess.run(["age-keygen", "-y"], input=IDENTITY.findall(open(self.identity(name)).read())[0].encode(),
                              stdout=subprocess.PIPE, check=True).stdout.decode().strip()

    def write(self, path, data):
        with open(path, "wb") as f:
            f.write(data)

    def read(self, path):
        with open(path, "rb") as f:
            return f.read()

    def read_fails(self, path):
        with self.assertRaises(OSError) as caught:
            self.read(path)
        self.assertEqual(caught.exception.errno, errno.EIO)

    def logged(self, event):
        return event in self.instance.log("syncd")


class ByAge(ObjectCase):
    def test_every_size_opens_with_age(self):
        mount, bucket = self.drive("sizes")
        identity = self.identity("sizes")
        data = {f"f{n}": os.urandom(n) for n in SIZES}
        for name, body in data.items():
            self.write(os.path.join(mount, name), body)
        self.instance.wait_uploaded(*(os.path.join(mount, name) for name in data))
        for name, body in data.items():
            there = bucket.get(name)
            self.assertTrue(there.startswith(b"age-encryption.org/v1\n"), name)
            self.assertEqual(age("-d", "-i", identity, stdin=there), body, name)

    def test_thousands_of_files(self):
        source = os.path.join(self.scratch, "many")
        for n in range(FILES):
            path = os.path.join(source, f"{n % 50}", f"f{n}")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            self.write(path, os.urandom(SIZES[n % 5] if n < 50 else n * 7 % 20000))
        mount, bucket = self.drive("many")
        identity = self.identity("many")
        lt.run("cp", "-r", source, os.path.join(mount, "many"), user="landfall")
        self.instance.wait_uploaded(mount, seconds=600)
        target, plain = os.path.join(self.scratch, "many-there"), os.path.join(self.scratch, "many-plain")
        self.server.rclone("copy", "--fast-list", "--transfers", "16", f"s3:{bucket.bucket}/many", target)
        os.mkdir(plain)

        def decrypt(n):
            path = os.path.join(f"{n % 50}", f"f{n}")
            os.makedirs(os.path.join(plain, os.path.dirname(path)), exist_ok=True)
            self.write(os.path.join(plain, path), age("-d", "-i", identity, os.path.join(target, path)))

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(decrypt, range(FILES)))
        self.assertSameTree(source, plain)
        for n in range(5):        # the sizes at the edges of a chunk, by another client
            path = os.path.join(self.scratch, "by-aws")
            self.server.aws("s3", "cp", "--quiet", f"s3://{bucket.bucket}/many/{n}/f{n}", path)
            self.assertEqual(age("-d", "-i", identity, path), self.read(os.path.join(source, f"{n}", f"f{n}")))
        self.assertSameTree(source, os.path.join(mount, "many"))
        shutil.rmtree(target)
        shutil.rmtree(plain)

    def test_a_gibibyte_in_parts(self):
        mount, bucket = self.drive("large")
        identity = self.identity("large")
        source = os.path.join(self.scratch, "large")
        fill(source, GIB)
        lt.run("cp", source, os.path.join(mount, "large"), user="landfall")
        self.instance.wait_uploaded(os.path.join(mount, "large"), seconds=300)
        target = os.path.join(self.scratch, "large-there")
        self.server.rclone("copyto", f"s3:{bucket.bucket}/large", target)
        with open(target, "rb") as sealed, open(os.path.join(self.scratch, "large-plain"), "wb") as out:
            subprocess.run(["age", "-d", "-i", identity], stdin=sealed, stdout=out, check=True)
        self.assertEqual(sha256(os.path.join(self.scratch, "large-plain")), sha256(source))
        for name in "large", "large-there", "large-plain":
            os.unlink(os.path.join(self.scratch, name))

    def test_what_age_made_reads(self):
        mount, bucket = self.drive("foreign")
        recipient = self.recipient("foreign")
        data = {f"f{n}": os.urandom(n) for n in SIZES[:6]}
        for name, body in data.items():
            bucket.put(name, age("-r", recipient, stdin=body))
        bucket.put("plain", b"not encrypted at all")
        bucket.put("for others", age("-r", subprocess.run(
            ["age-keygen"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout.decode()
            .split("public key: ")[1].split()[0], stdin=b"x" * 100))
        wait_until(lambda: len(os.listdir(mount)) == len(data) + 2, 20, "all of them")
        for name, body in data.items():
            self.assertEqual(self.read(os.path.join(mount, name)), body, name)
            self.assertEqual(os.stat(os.path.join(mount, name)).st_size, len(body), name)
        self.assertEqual(self.read(os.path.join(mount, "plain")), b"not encrypted at all")
        self.read_fails(os.path.join(mount, "for others"))
        self.assertTrue(self.logged("object_for_others"))

    def test_another_machine_reads_it(self):
        mount, bucket = self.drive("mine")
        kit = open(self.identity("mine")).read()
        body = os.urandom(5 * 1048576 + 3)
        self.write(os.path.join(mount, "a"), body)
        self.instance.wait_uploaded(os.path.join(mount, "a"))
        other = lt.Instance(arguments=self.arguments)
        self.addCleanup(other.remove)
        other.start()
        theirs, _ = self.drive("theirs", bucket=bucket.bucket, instance=other, account=other.add_s3_account(self.server))
        subprocess.run([os.path.join(other.bin, "landfall"), "key", "import", "theirs", "--dir", other.dir], input=kit.encode(),
                       check=True, env=lt.clean_env())
        self.assertEqual(self.read(os.path.join(theirs, "a")), body)
        with open(os.path.join(theirs, "a"), "r+b") as f:
            f.seek(1000000)
            f.write(b"changed there")
        other.wait_uploaded(os.path.join(theirs, "a"))
        body = body[:1000000] + b"changed there" + body[1000013:]
        wait_until(lambda: self.read(os.path.join(mount, "a")) == body, 20, "the other machine's version")


class Through(ObjectCase):
    def test_renamed_and_read_anew(self):
        mount, bucket = self.drive("renamed")
        body = os.urandom(300000)
        os.mkdir(os.path.join(mount, "d"))
        for n in range(20):
            self.write(os.path.join(mount, "d", f"f{n}"), body + bytes([n]))
        self.instance.wait_uploaded(mount)
        os.rename(os.path.join(mount, "d"), os.path.join(mount, "e"))
        self.instance.wait_uploaded(mount)
        fresh, _ = self.drive("renamed-fresh", bucket=bucket.bucket)
        subprocess.run([os.path.join(self.instance.bin, "landfall"), "key", "import", "renamed-fresh", "--dir", self.instance.dir],
                       input=open(self.identity("renamed")).read().encode(), check=True, env=lt.clean_env())
        for n in range(20):
            self.assertEqual(self.read(os.path.join(fresh, "e", f"f{n}")), body + bytes([n]))

    def test_ranges_by_mount_and_stream(self):
        mount, bucket = self.drive("ranges")
        body = os.urandom(12 * 1048576 + 5)
        self.write(os.path.join(mount, "a"), body)
        self.instance.wait_uploaded(os.path.join(mount, "a"))
        fresh, _ = self.drive("ranges-fresh", bucket=bucket.bucket)
        subprocess.run([os.path.join(self.instance.bin, "landfall"), "key", "import", "ranges-fresh", "--dir", self.instance.dir],
                       input=open(self.identity("ranges")).read().encode(), check=True, env=lt.clean_env())
        reply = self.instance.request("GET", "/management/get_object_stream?path=" + os.path.join(fresh, "a")
                                      + "&start=7000000&end=7000999")
        self.assertEqual(reply.body, body[7000000:7001000])
        with open(os.path.join(fresh, "a"), "rb") as f:
            for at in (9999999, 65535, 0, 12 * 1048576, 5000000):
                f.seek(at)
                self.assertEqual(f.read(100000), body[at:at + 100000])
        self.assertEqual(self.instance.request("GET", "/management/get_object_stream?path=" + os.path.join(fresh, "a")).body, body)

    def test_daemons_killed_in_the_midst(self):
        mount, bucket = self.drive("killed")
        identity = self.identity("killed")
        body = {}
        for daemon in "cryptd", "syncd", "mountd", "frontd":
            path = os.path.join(mount, daemon)
            fill(path, 100 << 20)
            body[daemon] = sha256(path)
            wait_until(lambda d=daemon: "encrypt" in self.state(path) or "upload" in self.state(path) or "dirty" in self.state(path)
                       or "clean" in self.state(path), 20, "a state")
            self.instance.restart(daemon)
        self.instance.wait_uploaded(mount, seconds=300)
        for daemon, digest in body.items():
            self.assertEqual(hashlib.sha256(age("-d", "-i", identity, stdin=bucket.get(daemon))).hexdigest(), digest, daemon)

    def state(self, path):
        return os.getxattr(path, "user.landfall.state").decode()


class SealedTwice(ObjectCase):
    """The same with an encrypted cache: chunks go from one form into the other."""

    def drive(self, name, bucket=None, **more):
        return super().drive(name, bucket, localCacheEncrypted=True, **more)

    def test_written_read_and_changed(self):
        mount, bucket = self.drive("twice")
        identity = self.identity("twice")
        data = {f"f{n}": os.urandom(n) for n in SIZES}
        for name, body in data.items():
            self.write(os.path.join(mount, name), body)
        self.instance.wait_uploaded(mount)
        fresh, _ = self.drive("twice-fresh", bucket=bucket.bucket)
        subprocess.run([os.path.join(self.instance.bin, "landfall"), "key", "import", "twice-fresh", "--dir", self.instance.dir],
                       input=open(identity).read().encode(), check=True, env=lt.clean_env())
        for name, body in data.items():
            self.assertEqual(age("-d", "-i", identity, stdin=bucket.get(name)), body, name)
            self.assertEqual(self.read(os.path.join(fresh, name)), body, name)
        name = "f%d" % SIZES[5]
        with open(os.path.join(mount, name), "r+b") as f:
            f.truncate(2 * CHUNK + 77)
            f.seek(5 * CHUNK)
            f.write(b"behind a hole")
        self.instance.wait_uploaded(os.path.join(mount, name))
        body = data[name][:2 * CHUNK + 77].ljust(5 * CHUNK, b"\0") + b"behind a hole"
        self.assertEqual(age("-d", "-i", identity, stdin=bucket.get(name)), body)
        wait_until(lambda: self.read(os.path.join(fresh, name)) == body, 20, "the new version")

    def test_cut_where_nothing_is_here(self):
        mount, bucket = self.drive("cut")
        body = os.urandom(3 * CHUNK + 100)
        self.write(os.path.join(mount, "a"), body)
        self.instance.wait_uploaded(mount)
        fresh, _ = self.drive("cut-fresh", bucket=bucket.bucket)
        subprocess.run([os.path.join(self.instance.bin, "landfall"), "key", "import", "cut-fresh", "--dir", self.instance.dir],
                       input=open(self.identity("cut")).read().encode(), check=True, env=lt.clean_env())
        os.truncate(os.path.join(fresh, "a"), CHUNK + 500)
        os.truncate(os.path.join(fresh, "a"), 3 * CHUNK)
        expected = body[:CHUNK + 500].ljust(3 * CHUNK, b"\0")
        self.assertEqual(self.read(os.path.join(fresh, "a")), expected)
        self.instance.wait_uploaded(fresh)
        self.assertEqual(age("-d", "-i", self.identity("cut-fresh"), stdin=bucket.get("a")), expected)

    def test_plain_objects_among_them(self):
        mount, bucket = self.drive("mixed")
        body = os.urandom(700000)
        bucket.put("plain", body)
        bucket.put("tiny", b"x")
        wait_until(lambda: len(os.listdir(mount)) == 2, 20, "both")
        self.assertEqual(self.read(os.path.join(mount, "plain")), body)
        self.assertEqual(self.read(os.path.join(mount, "tiny")), b"x")
        reply = self.instance.request("GET", "/management/get_object_stream?path=" + os.path.join(mount, "plain"))
        self.assertEqual(reply.body, body)


class Changed(ObjectCase):
    """What the provider, or anybody with the bucket, does to objects."""

    def changed(self, name, data, events):
        """For each change: what is read fails, the log names it, and the cloud's object stays."""
        mount, bucket = self.drive(name)
        path = os.path.join(mount, "a")
        self.write(path, data)
        self.write(os.path.join(mount, "good"), data)
        self.instance.wait_uploaded(path, os.path.join(mount, "good"))
        there = bucket.get("a")
        head = there.index(b"\n--- ") + 5 + 43 + 1 + 16
        for event, change in events:
            mark = len(self.instance.log("syncd"))
            bytes_now = change(there, head)
            bucket.put("a", bytes_now)
            wait_until(lambda b=bytes_now: self.is_seen(path, b), 30, event)
            self.read_fails(path)
            self.assertIn(event, self.instance.log("syncd")[mark:], event)
            self.assertEqual(bucket.get("a"), bytes_now)
            self.assertIn("error", os.getxattr(path, "user.landfall.state").decode())
        self.assertEqual(self.read(os.path.join(mount, "good")), data)
        bucket.put("a", there)
        wait_until(lambda: self.reads(path) == data, 30, "what was restored")

    def is_seen(self, path, body):
        try:
            said = self.instance.api("GET", "/management/object_explain", path=path)
        except lt.ApiError as e:      # for a moment while another version takes the name
            self.assertEqual(e.status, 404)
            return False
        return said.get("version") == hashlib.md5(body).hexdigest()

    def reads(self, path):
        try:
            return self.read(path)
        except OSError:
            return None

    def test_each_class_of_bytes(self):
        def flip(at):
            def change(there, head):
                n = at(head) if callable(at) else at
                return there[:n] + bytes([there[n] ^ (1 if there[n] < 128 else 2)]) + there[n + 1:]
            return change

        def text(old, new):
            return lambda there, head: there.replace(old, new, 1)

        last = CHUNK + TAG
        self.changed("bytes", os.urandom(3 * CHUNK + 1000), [
            ("object_unreadable", flip(0)),
            ("object_too_new", text(b"org/v1", b"org/v2")),
            ("object_for_others", text(b"-> X25519", b"-> X25518")),
            ("object_damaged", text(b"landfall/object-1", b"landfall/object-2")),
            ("object_chunk_refused", flip(lambda head: head - 1)),
            ("object_chunk_refused", flip(lambda head: head)),
            ("object_chunk_refused", flip(lambda head: head + last - 1)),
            ("object_chunk_refused", flip(-1)),
            ("object_chunk_refused", lambda there, head: there[:head] + there[head + last:head + 2 * last] + there[head:head + last]
             + there[head + 2 * last:]),
            ("object_chunk_refused", lambda there, head: there[:head + last]),
            ("object_cut", lambda there, head: there[:head + 10]),
        ])

    def test_cut_at_every_boundary(self):
        data = os.urandom(2 * CHUNK + 1000)
        sealed = CHUNK + TAG
        places = {
            "nothing is left": lambda there, head: 0, "in the first line": lambda there, head: 10,
            "behind the first line": lambda there, head: there.index(b"\n") + 1,
            "in a stanza": lambda there, head: there.index(b"\n") + 20,
            "before the MAC": lambda there, head: there.index(b"\n--- ") + 1, "in the MAC": lambda there, head: there.index(b"\n--- ") + 20,
            "before the nonce": lambda there, head: head - 16, "in the nonce": lambda there, head: head - 8, "behind the nonce": lambda there, head: head,
            "in a chunk": lambda there, head: head + 1000, "before a tag": lambda there, head: head + CHUNK,
            "in a tag": lambda there, head: head + CHUNK + 7, "behind a chunk": lambda there, head: head + sealed,
            "behind the next one": lambda there, head: head + 2 * sealed, "in the last one": lambda there, head: head + 2 * sealed + 10,
            "the last byte": lambda there, head: -1,
        }
        self.changed("cuts", data, [("object_", lambda there, head, at=at: there[:at(there, head)]) for at in places.values()])

    def test_downgrades(self):
        """What is no object of ours is none in its place, however well it is made."""
        data = os.urandom(70_000)
        recipient = []

        def by_others(there, head):
            recipient[:] = recipient or [self.recipient("downgrades")]
            return age("-r", recipient[0], stdin=data)

        def without_stanza(there, head):
            begin = there.index(b"-> landfall/object-1")
            return there[:begin] + there[there.index(b"--- "):]

        self.changed("downgrades", data, [
            ("object_", lambda there, head: data),
            ("object_", lambda there, head: b"age-encryption.org/v0\n" + there[22:]),
            ("object_", without_stanza),
            ("object_", by_others),
        ])

    def test_objects_exchanged(self):
        mount, bucket = self.drive("exchanged")
        for name in "ab":
            self.write(os.path.join(mount, name), name.encode() * 1000)
        self.instance.wait_uploaded(mount)
        a, b = bucket.get("a"), bucket.get("b")
        bucket.put("a", b)
        bucket.put("b", a)
        for name in "ab":
            wait_until(lambda n=name: self.reads(os.path.join(mount, n)) is None, 30, "the exchange")
        self.assertTrue(self.logged("object_exchanged"))

    def test_rolled_back_and_accepted(self):
        mount, bucket = self.drive("back")
        path = os.path.join(mount, "a")
        self.write(path, b"first" * 1000)
        self.instance.wait_uploaded(path)
        first = bucket.get("a")
        self.write(path, b"second" * 1000)
        self.instance.wait_uploaded(path)
        bucket.put("a", first)
        wait_until(lambda: self.reads(path) is None, 30, "the older version")
        self.assertTrue(self.logged("object_rolled_back"))
        self.assertEqual(bucket.get("a"), first)
        status = self.instance.landfall("accept", path, check=False)
        self.assertEqual(status.returncode, 0, status.stderr)
        self.assertEqual(self.read(path), b"first" * 1000)
        self.assertNotEqual(self.instance.landfall("accept", path, check=False).returncode, 0)

    def test_no_url_to_upload_by(self):
        mount, bucket = self.drive("urls")
        self.write(os.path.join(mount, "a"), b"content")
        self.instance.wait_uploaded(os.path.join(mount, "a"))
        with self.assertRaises(lt.ApiError):
            self.instance.api("POST", "/management/generate_presigned_urls", {"driveName": "urls", "uploadKey": "b"})
        urls = self.instance.api("POST", "/management/generate_presigned_urls", {"driveName": "urls", "relativePath": "a"})
        sealed = subprocess.run(["curl", "-sf", urls["downloadUrl"]], stdout=subprocess.PIPE, check=True).stdout
        self.assertEqual(age("-d", "-i", self.identity("urls"), stdin=sealed), b"content")


if __name__ == "__main__":
    unittest.main()
