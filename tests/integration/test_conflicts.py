#!/usr/bin/python3
"""Two agents on one bucket, and another tool: what one of them was told is saved is in the bucket at the end, under its name or
as a copy beside it."""

import contextlib
import os
import threading
import unittest

import landfall_test as lt
from drive_case import DriveCase, fill
from landfall_test import wait_until

MIB = 1 << 20
FILES = 24


class Conflicts(DriveCase):
    # Nothing goes up before its file is closed, however long what comes in between takes.
    arguments = ("--set", "QuietMilliseconds=300000")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other = lt.Instance(arguments=cls.arguments).start()
        cls.addClassCleanup(cls.other.remove)
        cls.server = lt.Radosgw.shared()
        cls.agents = [(i, i.add_s3_account(cls.server)) for i in (cls.instance, cls.other)]

    def mounts(self, name):
        """The same new bucket as a drive of both agents."""
        bucket = self.server.make_bucket(name)
        return [i.add_drive(account, bucket, name=name, syncIntervalSeconds=1)["localPath"] for i, account in self.agents], bucket

    def contents(self, bucket):
        """Every object's name and content, as another tool has them."""
        target = os.path.join(self.scratch, f"{bucket}-{len(os.listdir(self.scratch))}")
        self.server.rclone("copy", "--fast-list", "--transfers", "16", f"s3:{bucket}", target)
        found = {}
        for name in os.listdir(target):
            with open(os.path.join(target, name)) as f:
                found[name] = f.read()
        return found

    def write_all(self, mount, agent, both_have_begun):
        """One that came to a file only after the other one's was in the cloud would just replace it."""
        with contextlib.ExitStack() as files:
            opened = [files.enter_context(open(os.path.join(mount, f"f{i}.txt"), "w")) for i in range(FILES)]
            both_have_begun.wait(lt.patience(120))
            for i, f in enumerate(opened):
                f.write(f"agent {agent} file {i}")

    def both_write(self, mounts, meanwhile):
        """Both agents write the same names at the same time."""
        begun = threading.Barrier(2)
        writers = [threading.Thread(target=self.write_all, args=(mount, agent, begun))
                   for agent, mount in enumerate(mounts)]
        for writer in writers:
            writer.start()
        meanwhile()
        for writer in writers:
            writer.join()

    def check_nothing_lost(self, mounts, bucket):
        wanted = sorted(f"agent {agent} file {i}" for agent in (0, 1) for i in range(FILES))
        wait_until(lambda: all(self.settled(m) for m in mounts), 120, "both agents to be done")
        found = self.contents(bucket)
        self.assertEqual(sorted(found.values()), wanted)
        self.assertEqual(sum(" (conflict " in name for name in found), FILES)
        for mount in mounts:
            wait_until(lambda m=mount: set(os.listdir(m)) == set(found), 30, f"all names in {mount}")
            for name, content in found.items():
                with open(os.path.join(mount, name)) as f:
                    self.assertEqual(f.read(), content, name)

    def settled(self, mount):
        return all(os.getxattr(os.path.join(mount, name), "user.landfall.state") == b"clean" for name in os.listdir(mount))

    def test_both_agents_make_the_same_names(self):
        mounts, bucket = self.mounts("same-names")
        self.both_write(mounts, lambda: None)
        self.check_nothing_lost(mounts, bucket)

    def test_both_agents_change_the_same_files_and_one_is_killed(self):
        mounts, bucket = self.mounts("same-files")
        for i in range(FILES):
            with open(os.path.join(mounts[0], f"f{i}.txt"), "w") as f:
                f.write("base")
        wait_until(lambda: len(os.listdir(mounts[1])) == FILES, 60, "the files at the other agent")
        for i in range(FILES):
            with open(os.path.join(mounts[1], f"f{i}.txt")) as f:
                self.assertEqual(f.read(), "base")

        def kill():
            for _ in range(3):
                self.instance.restart("syncd")

        self.both_write(mounts, kill)
        self.check_nothing_lost(mounts, bucket)

    def test_a_file_that_is_not_all_here(self):
        (mount, _), bucket = self.mounts("not-all-here")
        source = os.path.join(self.scratch, "large")
        fill(source, 128 * MIB)
        self.server.rclone("copyto", source, f"s3:{bucket}/large.bin")
        path = os.path.join(mount, "large.bin")
        wait_until(lambda: os.path.exists(path), 20, "the file")
        with open(path, "r+b", buffering=0) as f:
            f.seek(64 * MIB)
            f.write(b"ours")
            self.server.rclone("rcat", f"s3:{bucket}/large.bin", input="by somebody else")
        wait_until(lambda: len(os.listdir(mount)) == 2, 60, "our version under another name")
        copy, = (os.path.join(mount, n) for n in os.listdir(mount) if " (conflict " in n)
        with open(path) as f:
            self.assertEqual(f.read(), "by somebody else")
        wait_until(lambda: os.getxattr(copy, "user.landfall.state").startswith(b"error: "), 60, "the reason it waits")
        self.assertEqual(os.path.getsize(copy), 128 * MIB)
        with open(copy, "rb") as f:
            f.seek(64 * MIB)
            self.assertEqual(f.read(4), b"ours")
            f.seek(127 * MIB)
            with self.assertRaises(OSError):
                f.read(4)
        os.truncate(copy, 0)
        with open(copy, "w") as f:
            f.write("ours, anew")
        self.instance.wait_uploaded(copy)
        self.assertEqual(self.contents(bucket), {"large.bin": "by somebody else", os.path.basename(copy): "ours, anew"})

    def test_they_made_a_directory_of_the_name(self):
        (mount, _), bucket = self.mounts("directory")
        path, beside = os.path.join(mount, "name"), os.path.join(mount, "name␛")
        self.assertEqual(os.listdir(mount), [])
        with open(path, "w") as f:
            self.server.rclone("rcat", f"s3:{bucket}/name/below", input="by somebody else")
            f.write("ours")
        wait_until(lambda: sorted(os.listdir(mount)) == ["name", "name␛"], 60, "the file beside the directory")
        self.instance.wait_uploaded(beside)
        with open(os.path.join(path, "below")) as f:
            self.assertEqual(f.read(), "by somebody else")
        with open(beside) as f:
            self.assertEqual(f.read(), "ours")


if __name__ == "__main__":
    unittest.main()
