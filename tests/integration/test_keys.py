#!/usr/bin/python3
"""Keys of drives: `landfall key` with real daemons, and what becomes of a drive without its keys."""

import contextlib
import errno
import os
import pwd
import re
import sqlite3
import subprocess
import tempfile
import threading
import time
import unittest

import landfall_test as lt
from drive_case import SERVED, DriveCase

IDENTITY = re.compile(r"^AGE-SECRET-KEY-1[A-Z0-9]{58}$", re.MULTILINE)
RECIPIENT = re.compile(r"^age1[a-z0-9]{58}$")


def keygen():
    """An identity of age's own making, and its recipient."""
    text = subprocess.run(["age-keygen"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout.decode()
    return IDENTITY.findall(text)[0], re.search(r"public key: (\S+)", text).group(1)


def recipients_of(text):
    """What age-keygen says of the identities in a text."""
    return subprocess.run(["age-keygen", "-y"], input=text.encode(), stdout=subprocess.PIPE, check=True).stdout.decode().split()


def secret_of(identity):
    """The 32 bytes that its text stands for (bech32)."""
    number = 0
    for letter in identity[len("AGE-SECRET-KEY-1"):-6].lower():
        number = number << 5 | "qpzry9x8gf2tvdw0s3jn54khce6mua7l".index(letter)
    return (number >> 4).to_bytes(32, "big")


def memory_of(pid):
    """All that a process can write to, as root sees it."""
    parts = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            where, rights = line.split()[:2]
            start, end = (int(n, 16) for n in where.split("-"))
            if rights.startswith("rw") and "[v" not in line and end - start < 1 << 28:
                with contextlib.suppress(OSError):
                    mem.seek(start)
                    parts.append(mem.read(end - start))
    return b"\n".join(parts)


class KeyCase(DriveCase):

    @classmethod
    def drive(cls, name, **more):
        mount, bucket = cls.folder_drive(name, **{"localCacheEncrypted": True, **more})
        return mount, bucket

    def key(self, *argv, stdin="", check=True, instance=None):
        """`landfall key ...`. Returns (status, stdout, stderr)."""
        instance = instance or self.instance
        done = subprocess.run([os.path.join(instance.bin, "landfall"), "key", *argv, "--dir", instance.dir], input=stdin,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, env=lt.clean_env())
        if check:
            self.assertEqual(done.returncode, 0, done.stderr)
        return done.returncode, done.stdout, done.stderr

    def refused(self, part, *argv, wanted=1, **more):
        status, out, err = self.key(*argv, check=False, **more)
        self.assertEqual((status, out), (wanted, ""))
        self.assertIn(part, err)

    def wrong_call(self, part, *argv):
        self.refused(part, *argv, wanted=2)

    def shown(self, name, label):
        return re.search(rf"^{label} +(.*)$", self.key("show", name)[1], re.MULTILINE).group(1)

    def entry(self, name):
        return next(d for d in self.instance.api("GET", "/management/clouddrive") if d["name"] == name)

    def recipient(self, name):
        return self.shown(name, "recipient")

    def state(self):
        return os.path.join(self.instance.dir, "state", "state.db")


class Keys(KeyCase):
    def test_a_kit_is_what_age_says(self):
        self.drive("kit")
        self.assertRegex(self.recipient("kit"), RECIPIENT)
        kit = self.key("export", "kit")[1]
        identities = IDENTITY.findall(kit)
        self.assertEqual(len(identities), 1)
        self.assertEqual(recipients_of(kit), [self.recipient("kit")])
        self.assertEqual(recipients_of(identities[0]), [self.recipient("kit")])
        for fact in "kit", "bucket", self.entry("kit")["id"], self.recipient("kit"), "age -d -i", "landfall key import":
            self.assertIn(fact, kit)
        path = os.path.join(self.scratch, "kit.txt")
        with open(path, "w") as f:
            f.write(kit)
        sealed = subprocess.run(["age", "-r", self.recipient("kit")], input=b"hello", stdout=subprocess.PIPE, check=True).stdout
        plain = subprocess.run(["age", "-d", "-i", path], input=sealed, stdout=subprocess.PIPE, check=True).stdout
        self.assertEqual(plain, b"hello")

    def test_identities_go_over_no_port(self):
        self.drive("port")
        path = "/management/drive_keys%s/" + self.entry("port")["id"]
        for what in "_export", "_destroy?confirmed=true":
            action, _, query = what.partition("?")
            reply = self.instance.request("POST", path % action + ("?" + query if query else ""), body=b"")
            self.assertEqual(reply.status, 403)
            self.assertIn(b"Unix socket", reply.body)
        reply = self.instance.request("POST", path % "_import", body={"identity": keygen()[0]})
        self.assertEqual(reply.status, 403)
        self.assertEqual(self.instance.api("GET", path % "")["serial"], 1)   # nothing happened
        for daemon in "frontd", "syncd", "cryptd":
            self.assertNotIn("AGE-SECRET", self.instance.log(daemon))

    def test_import_makes_it_the_newest(self):
        self.drive("import")
        first = self.recipient("import")
        identity, recipient = keygen()
        self.key("import", "import", stdin=identity + "\n")
        self.assertEqual(self.recipient("import"), recipient)
        self.assertEqual(self.shown("import", "keys"), "1, 2 (new things are made with 2)")
        self.assertEqual(recipients_of(self.key("export", "import")[1]), [recipient, first])
        self.refused("has this identity already", "import", "import", stdin=identity + "\n")
        self.refused("This is no identity", "import", "import", stdin=identity[:-1] + "\n")
        self.refused("This is no identity", "import", "import", stdin=recipient + "\n")
        self.refused("There is no identity on stdin", "import", "import", stdin="# nothing\n\n")
        self.assertEqual(self.shown("import", "changes"), "2")

    def test_frontd_keeps_no_identity(self):
        """Of what passed through it on its way to a person, and from one, nothing is left there."""
        self.drive("memory")
        identity, _ = keygen()
        self.key("import", "memory", stdin=identity + "\n")
        found = IDENTITY.findall(self.key("export", "memory")[1])
        self.assertEqual(found[0], identity)
        frontd = self.instance.pid("frontd")
        self.assertTrue(os.path.join(self.instance.dir, "run").encode() in memory_of(frontd), "it can be searched")

        def forgotten():
            memory = memory_of(frontd)
            return not any(text.encode()[16:] in memory for text in found)

        # A client may have all of a reply before frontd hears that.
        lt.wait_until(forgotten, 20, "frontd to have no identity")

    def test_no_file_has_an_identity(self):
        self.drive("scan")
        identity, _ = keygen()
        self.key("import", "scan", stdin=identity + "\n")
        identities = IDENTITY.findall(self.key("export", "scan")[1])
        self.key("rotate", "scan", "--new-identity")
        self.instance.restart("syncd")
        self.assertEqual(identities[0], identity)
        needles = [form for text in identities for form in (text.encode(), text.lower().encode(), secret_of(text))]
        for folder, _, names in os.walk(self.instance.dir):
            if folder.startswith(os.path.join(self.instance.dir, "mnt")):
                continue
            for name in names:
                path = os.path.join(folder, name)
                if not os.path.isfile(path) or os.path.islink(path):
                    continue
                # One may just be written anew.
                with contextlib.suppress(FileNotFoundError), open(path, "rb") as f:
                    text = f.read()
                    self.assertFalse([n for n in needles if n in text], path)
        for daemon in "frontd", "syncd", "mountd", "cryptd":
            for what in "environ", "cmdline":
                with open(f"/proc/{self.instance.pid(daemon)}/{what}", "rb") as f:
                    self.assertNotIn(b"AGE-SECRET", f.read().upper())

    def test_a_second_machine(self):
        mount, bucket = self.drive("one", cloudObjectsEncrypted=True, syncIntervalSeconds=1)
        path = os.path.join(mount, "file")
        with open(path, "w") as f:
            f.write("for both")
        self.instance.wait_uploaded(path)
        self.key("rotate", "one", "--new-identity")
        kit = self.key("export", "one")[1]
        with open(os.path.join(bucket, "file"), "rb") as f:
            sealed = f.read()
        self.assertNotIn(b"for both", sealed)
        kit_file = os.path.join(self.scratch, "one.txt")
        with open(kit_file, "w") as f:
            f.write(kit)
        plain = subprocess.run(["age", "-d", "-i", kit_file], input=sealed, stdout=subprocess.PIPE, check=True).stdout
        self.assertEqual(plain, b"for both")
        other = lt.Instance(arguments=self.arguments)
        self.addCleanup(other.remove)
        other.start()
        account = other.add_folder_account(os.path.join(self.instance.dir, "cloud-one"))
        there = other.add_drive(account, "bucket", name="two", localCacheEncrypted=True, cloudObjectsEncrypted=True,
                                syncIntervalSeconds=1)["localPath"]
        with self.assertRaises(OSError) as refused:
            with open(os.path.join(there, "file")) as f:
                f.read()
        self.assertEqual(refused.exception.errno, errno.EIO)
        self.key("import", "two", stdin=kit, instance=other)
        mine, theirs = IDENTITY.findall(kit), IDENTITY.findall(self.key("export", "two", instance=other)[1])
        self.assertEqual(theirs[:2], mine)
        self.assertEqual(len(theirs), 3)
        with open(os.path.join(there, "file")) as f:
            self.assertEqual(f.read(), "for both")
        with open(os.path.join(there, "back"), "w") as f:
            f.write("from the other one")
        other.wait_uploaded(os.path.join(there, "back"))
        lt.wait_until(lambda: "back" in os.listdir(mount), 30, "the other machine's file")
        with open(os.path.join(mount, "back")) as f:
            self.assertEqual(f.read(), "from the other one")

    def test_rotating(self):
        self.drive("rotate")
        first = self.recipient("rotate")
        self.assertIn("rewrapped", self.key("rotate", "rotate")[1])
        self.assertEqual(self.recipient("rotate"), first)
        self.key("rotate", "rotate", "--new-identity")
        self.assertNotEqual(self.recipient("rotate"), first)
        self.assertEqual(self.shown("rotate", "keys"), "1, 2, 3 (new things are made with 3)")
        for _ in range(13):
            self.key("rotate", "rotate")
        self.refused("has 16 keys already", "rotate", "rotate")
        self.refused("makes no new one", "rotate", "rotate", "--forget-old", "--new-identity")
        self.key("rotate", "rotate", "--forget-old")
        self.assertEqual(self.shown("rotate", "keys"), "2, 16 (new things are made with 16)")
        self.assertIn("drive_keys_given_up", self.instance.log("syncd"))
        self.refused("no key that could be given up", "rotate", "rotate", "--forget-old")
        self.key("rotate", "rotate")

    def test_escrow(self):
        self.drive("escrow")
        one, two = keygen()[1], keygen()[1]
        self.key("escrow", "escrow", "add", one, two)
        self.assertEqual(self.key("escrow", "escrow", "list")[1].split(), [one, two])
        self.key("escrow", "escrow", "remove", one)
        self.assertEqual(self.key("escrow", "escrow")[1].split(), [two])
        self.refused("is no escrow recipient", "escrow", "escrow", "remove", one)
        self.refused("This is no recipient", "escrow", "escrow", "add", one[:-1])
        self.wrong_call("none of add, remove and list", "escrow", "escrow", "give", one)
        self.wrong_call("Say which recipients", "escrow", "escrow", "add")
        self.refused("8 escrow recipients at most", "escrow", "escrow", "add", *(keygen()[1] for _ in range(8)))

    def test_what_has_no_keys(self):
        self.folder_drive("plain")
        self.refused("encrypts nothing", "show", "plain")
        self.refused("encrypts nothing", "export", "plain")
        self.refused("encrypts nothing", "destroy", "plain", "--yes")
        self.refused("There is no drive nothing", "show", "nothing")
        self.wrong_call("Say which drive", "export")
        self.wrong_call("one word too many", "show", "plain", "more")

    def test_processes_are_killed(self):
        mount, _ = self.drive("killed")
        before = self.recipient("killed")
        for daemon in "cryptd", "syncd", "mountd", "cryptd":
            self.instance.restart(daemon)
            lt.wait_until(lambda: "mountError" not in self.entry("killed"), 30, "the drive after a restart")
            self.assertEqual(self.recipient("killed"), before)
            self.instance.wait_mounted(mount)

    def test_workers_have_their_channel(self):
        """The worker's memory is shared with cryptd: a file of that name is mapped in both."""
        self.drive("worker")
        cryptd = self.instance.pid("cryptd")

        def regions(pid):
            with open(f"/proc/{pid}/maps") as f:
                return {line.split()[4] for line in f if "memfd:landfall-region" in line}

        worker = self.worker()
        lt.wait_until(lambda: regions(worker) & regions(cryptd), 20, "memory that is shared")
        self.instance.restart("cryptd")
        lt.wait_until(lambda: regions(worker) & regions(self.instance.pid("cryptd")), 20, "memory that is shared again")
        syncd = self.instance.pid("syncd")
        lt.wait_until(lambda: regions(syncd) & regions(self.instance.pid("cryptd")), 20, "what syncd shares")


class Kept(KeyCase):
    """Drives that are deleted, and what they have left in the cloud."""

    def removed(self, name):
        """Its id, and what was said."""
        drive = self.entry(name)["id"]
        done = subprocess.run([os.path.join(self.instance.bin, "landfall"), "drive", "remove", "--name", name, "--dir",
                               self.instance.dir], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                              env=lt.clean_env())
        self.assertEqual(done.returncode, 0, done.stderr)
        return drive, done.stdout

    def again(self, name, bucket, **more):
        """A drive where another one was."""
        folder = os.path.dirname(bucket)
        account = next(a for a in self.instance.api("GET", "/cloud/accounts") if a["serviceUrl"] == "file://" + folder)
        return self.instance.add_drive(account, "bucket", name=name, syncIntervalSeconds=1,
                                       **{"cloudObjectsEncrypted": True, **more})["localPath"]

    def written(self, name, **more):
        mount, bucket = self.drive(name, cloudObjectsEncrypted=True, syncIntervalSeconds=1, **more)
        path = os.path.join(mount, "file")
        with open(path, "w") as f:
            f.write("what was " + name)
        self.instance.wait_uploaded(path)
        return mount, bucket

    def read(self, mount):
        with open(os.path.join(mount, "file")) as f:
            return f.read()

    def lines(self):
        return [line.split("\t") for line in self.key("show")[1].splitlines()]

    def in_state(self, needle):
        for name in os.listdir(os.path.dirname(self.state())):
            if name.startswith("state.db"):
                with open(os.path.join(os.path.dirname(self.state()), name), "rb") as f:
                    if needle in f.read():
                        return True
        return False

    def test_a_drive_at_the_same_place_reads_what_is_there(self):
        _, bucket = self.written("gone")
        self.key("rotate", "gone", "--new-identity")
        recipient, kit = self.recipient("gone"), self.key("export", "gone")[1]
        drive, said = self.removed("gone")
        self.assertIn(f"landfall key export {drive}", said)
        self.assertIn(f"landfall key destroy {drive} --yes", said)
        self.assertIn("drive_keys_kept", self.instance.log("syncd"))
        self.assertIn([drive, "gone"], [line[:2] for line in self.lines() if line[2].startswith("deleted 2")])
        self.assertEqual(self.shown(drive, "recipient"), recipient)
        self.assertEqual(self.shown("gone", "bucket"), "bucket")
        for name in drive, "gone":
            self.assertEqual(IDENTITY.findall(self.key("export", name)[1]), IDENTITY.findall(kit))
        kit_file = os.path.join(self.scratch, "gone.txt")
        with open(kit_file, "w") as f:
            f.write(self.key("export", "gone")[1])
        with open(os.path.join(bucket, "file"), "rb") as f:
            plain = subprocess.run(["age", "-d", "-i", kit_file], stdin=f, stdout=subprocess.PIPE, check=True).stdout
        self.assertEqual(plain, b"what was gone")
        self.instance.restart("syncd")
        mount = self.again("heir", bucket)
        self.assertEqual(self.read(mount), "what was gone")
        self.assertEqual(self.recipient("heir"), recipient)
        self.assertEqual(IDENTITY.findall(self.key("export", "heir")[1]), IDENTITY.findall(kit))
        self.assertIn("drive_keys_inherited", self.instance.log("syncd"))
        self.refused("There is no drive", "show", drive)
        for identity in IDENTITY.findall(kit):
            self.assertFalse(self.in_state(secret_of(identity)))
        for daemon in "frontd", "syncd", "cryptd":
            self.assertNotIn("AGE-SECRET", self.instance.log(daemon))

    def test_a_drive_that_had_keys_for_its_cache_says_what_it_lacks(self):
        """And what is to be done, which helps."""
        _, bucket = self.written("former")
        drive, _ = self.removed("former")
        mount = self.again("later", bucket, localCacheEncrypted=True, cloudObjectsEncrypted=False)
        mark = len(self.instance.log("syncd"))
        self.instance.api("PUT", "/management/clouddrive/" + self.entry("later")["id"], {"cloudObjectsEncrypted": True})
        said = self.instance.log("syncd")[mark:]
        self.assertRegex(said, f"drive_keys_not_inherited .*name=later from={drive} ")
        with self.assertRaises(OSError):
            self.read(mount)
        self.key("import", "later", stdin=self.key("export", drive)[1])
        lt.wait_until(lambda: self.reads(mount) == "what was former", 30, "what was there")

    def reads(self, mount):
        with contextlib.suppress(OSError):
            return self.read(mount)

    def test_of_a_cache_nothing_is_kept(self):
        self.drive("cache")
        drive, said = self.removed("cache")
        self.assertEqual(said, "")
        self.refused("There is no drive", "show", drive)

    def test_destroyed_when_kept(self):
        _, bucket = self.written("secret")
        drive, _ = self.removed("secret")
        self.refused("With --yes it is done.", "destroy", drive)
        self.refused("was deleted", "rotate", drive)
        self.assertIn("are gone", self.key("destroy", "secret", "--yes")[1])
        self.refused("There is no drive", "export", drive)
        with self.assertRaises(OSError) as refused:
            self.read(self.again("late", bucket))
        self.assertEqual(refused.exception.errno, errno.EIO)

    def test_a_name_that_several_had(self):
        ids = []
        for n in range(2):
            self.written("same" if n == 0 else "same2")
            if n == 1:
                drive = self.entry("same2")
                self.instance.api("PUT", "/management/clouddrive/" + drive["id"], {**drive, "name": "same"})
            ids.append(self.removed("same")[0])
        self.refused("Several drives that were called same", "show", "same")
        for drive in ids:
            self.assertRegex(self.shown(drive, "recipient"), RECIPIENT)

    def test_processes_are_killed_while_it_is_deleted(self):
        _, bucket = self.written("killed")
        recipient, drive = self.recipient("killed"), self.entry("killed")["id"]
        path = "/management/clouddrive/" + drive

        def delete():
            with contextlib.suppress(Exception):
                self.instance.request("DELETE", path)

        done = threading.Thread(target=delete)
        done.start()
        self.instance.restart("syncd")
        self.instance.restart("cryptd")
        done.join()
        if any(d["id"] == drive for d in self.instance.api("GET", "/management/clouddrive")):
            lt.wait_until(lambda: "mountError" not in self.entry("killed"), 30, "the drive")
            self.removed("killed")
        self.assertEqual(self.shown(drive, "recipient"), recipient)
        self.assertEqual(self.read(self.again("after", bucket)), "what was killed")

    def test_another_key_store(self):
        _, bucket = self.written("other")
        drive, _ = self.removed("other")
        for name in [d["name"] for d in self.instance.api("GET", "/management/clouddrive")]:
            self.removed(name)
        store = os.path.join(self.instance.dir, "keys", "keys")
        self.assertEqual(self.instance.stop(), 0)
        os.rename(store, store + ".kept")
        self.addCleanup(self.right_store, store)
        self.instance.start()
        self.refused("sealed with another key store", "export", drive)
        mount = self.again("new", bucket)
        with self.assertRaises(OSError) as refused:
            self.read(mount)
        self.assertEqual(refused.exception.errno, errno.EIO)
        self.assertRegex(self.instance.log("syncd"), "drive_keys_not_inherited .*another key store")
        self.removed("new")
        os.rename(store + ".kept", store)
        self.instance.restart("cryptd")
        self.assertEqual(self.read(self.again("right", bucket)), "what was other")

    def right_store(self, store):
        if os.path.exists(store + ".kept"):
            os.rename(store + ".kept", store)
            self.instance.restart("cryptd")


class Lost(KeyCase):
    """Each test has an instance that ends up without the keys of its drive."""

    def setUp(self):
        self.names = getattr(type(self), "names", 0) + 1
        type(self).names = self.names
        self.name = f"lost{self.names}"
        self.mount, self.bucket = self.drive(self.name)

    def down(self, part):
        lt.wait_until(lambda: part in self.entry(self.name).get("mountError", ""), 30, part)
        lt.wait_until(lambda: not os.path.ismount(self.mount), 30, "the end of the mount")
        self.refused(part, "show", self.name)
        self.refused(part, "export", self.name)

    def edit(self, change):
        """The state database, while nobody uses it."""
        self.assertEqual(self.instance.stop(), 0)
        with contextlib.closing(sqlite3.connect(self.state())) as db:
            change(db)
            db.commit()
        account = pwd.getpwnam(SERVED)
        for name in os.listdir(os.path.dirname(self.state())):
            if name.startswith("state.db"):
                os.chown(os.path.join(os.path.dirname(self.state()), name), account.pw_uid, account.pw_gid)
        self.instance.start()

    def identify(self):
        return self.entry(self.name)["id"]

    def test_damaged(self):
        drive = self.identify()
        kit = self.key("export", self.name)[1]

        def spoil(db):
            blob = bytearray(db.execute("SELECT blob FROM keys WHERE drive_id = ?", (drive,)).fetchone()[0])
            blob[100] ^= 1
            db.execute("UPDATE keys SET blob = ? WHERE drive_id = ?", (bytes(blob), drive))

        self.edit(spoil)
        self.down("are damaged")
        self.key_comes_back(kit, kept=1)

    def test_missing(self):
        drive = self.identify()
        kit = self.key("export", self.name)[1]
        self.edit(lambda db: db.execute("DELETE FROM keys WHERE drive_id = ?", (drive,)))
        self.down("are missing from the state database")
        self.key_comes_back(kit, kept=0)

    def key_comes_back(self, kit, kept):
        status, _, err = self.key("import", self.name, stdin=kit, check=False)
        lt.wait_until(lambda: "mountError" not in self.entry(self.name), 30, "the drive")
        self.assertEqual(IDENTITY.findall(self.key("export", self.name)[1]), IDENTITY.findall(kit), err)
        self.instance.wait_mounted(self.mount)
        with contextlib.closing(sqlite3.connect(f"file:{self.copy_of_state()}", uri=True)) as db:
            rows = db.execute("SELECT count(*) FROM former_keys WHERE drive_id = ?", (self.identify(),)).fetchone()[0]
        self.assertEqual(rows, kept)
        self.assertEqual(status, 0, err)

    def copy_of_state(self):
        """syncd has it locked."""
        folder = tempfile.mkdtemp(dir=self.scratch)
        for end in "", "-wal":
            with contextlib.suppress(FileNotFoundError):
                lt.run("cp", self.state() + end, folder)
        return os.path.join(folder, "state.db")

    def test_another_key_store(self):
        store = os.path.join(self.instance.dir, "keys", "keys")
        before = self.recipient(self.name)
        self.assertEqual(self.instance.stop(), 0)
        os.rename(store, store + ".kept")
        self.instance.start()
        self.down("sealed with another key store")
        reply = self.instance.request("POST", "/management/clouddrive", body={
            **self.entry(self.name), "id": None, "name": "another", "localPath": None, "permanentLocalPath": "$$$"})
        self.assertIn(b"another key store", reply.body)
        os.rename(store + ".kept", store)
        self.instance.restart("cryptd")
        lt.wait_until(lambda: "mountError" not in self.entry(self.name), 30, "the drive, by itself")
        self.instance.wait_mounted(self.mount)
        self.assertEqual(self.recipient(self.name), before)

    def test_what_failed_meanwhile_is_tried_at_once(self):
        store = os.path.join(self.instance.dir, "keys", "keys")
        mount, _ = self.drive(self.name + "o", localCacheEncrypted=False, cloudObjectsEncrypted=True)
        self.instance.wait_mounted(mount)
        os.rename(store, store + ".kept")
        self.instance.restart("cryptd")
        lt.wait_until(lambda: "another key store" in self.entry(self.name + "o").get("mountError", ""), 30, "other keys")
        path, mark = os.path.join(mount, "late"), len(self.instance.log("syncd"))
        with open(path, "w") as f:
            f.write("late")
        lt.wait_until(lambda: "again_in=60" in self.instance.log("syncd")[mark:], 30, "an upload that failed")
        os.rename(store + ".kept", store)
        self.instance.restart("cryptd")
        begun = time.monotonic()
        self.instance.wait_uploaded(path)
        self.assertLess(time.monotonic() - begun, 40)      # by itself it would be tried again after 60

    def test_destroyed(self):
        kit = self.key("export", self.name)[1]
        with contextlib.closing(sqlite3.connect(self.copy_of_state())) as db:
            blob = db.execute("SELECT blob FROM keys WHERE drive_id = ?", (self.identify(),)).fetchone()[0]
        self.refused("With --yes it is done.", "destroy", self.name)
        self.refused("without a recovery kit, what it encrypted in the cloud", "destroy", self.name)
        self.assertEqual(self.shown(self.name, "changes"), "1")
        self.assertIn("All changes are in the cloud.", self.key("destroy", self.name, "--yes")[1])
        self.down("were destroyed on 2")
        for name in os.listdir(os.path.dirname(self.state())):
            if name.startswith("state.db"):
                with open(os.path.join(os.path.dirname(self.state()), name), "rb") as f:
                    self.assertNotIn(blob[40:64], f.read(), name)
        self.instance.restart("syncd")
        self.down("were destroyed on 2")
        self.key_comes_back(kit, kept=0)

    def test_destroyed_with_changes(self):
        os.chmod(self.bucket, 0o500)                          # what is written stays here
        self.addCleanup(os.chmod, self.bucket, 0o700)
        for n in range(3):
            with open(os.path.join(self.mount, f"f{n}"), "w") as f:
                f.write("unsent")
        lt.wait_until(lambda: self.entry(self.name)["pendingChanges"] == 3, 30, "three changes")
        self.refused("3 changes are lost", "destroy", self.name)
        self.assertIn("3 changes are lost", self.key("destroy", self.name, "--yes")[1])
        self.down("were destroyed on 2")


if __name__ == "__main__":
    unittest.main()
