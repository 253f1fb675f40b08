#!/usr/bin/python3
"""A drive on a folder of this machine, used as ordinary programs use a directory."""

import os
import stat
import sys
import unittest

import landfall_test as lt
from drive_case import ODD_NAMES, SERVED, DriveCase, fill, make_tree, put_whole
from landfall_test import wait_until


# renameat2(2) with RENAME_EXCHANGE, which os has not.
EXCHANGE = """import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
assert libc.renameat2(-100, sys.argv[1].encode(), -100, sys.argv[2].encode(), 2) == 0, ctypes.get_errno()"""


def regular_files(path):
    return sorted(os.path.relpath(os.path.join(d, f), path) for d, _, files in os.walk(path) for f in files)


class LocalDrive(DriveCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mount, cls.bucket = cls.folder_drive(syncIntervalSeconds=1)
        cls.tree = os.path.join(cls.scratch, "tree")
        make_tree(cls.tree, files=500)

    def path(self, *names):
        return os.path.join(self.mount, *names)

    def test_a_folder_that_was_cut_says_so(self):
        mount, bucket = self.folder_drive("cut", objectsPerFolder=3, syncIntervalSeconds=1)
        folder = os.path.join(mount, "d")
        os.mkdir(os.path.join(bucket, "d"))
        for n in range(5):
            with open(os.path.join(bucket, "d", f"f{n}"), "w"):
                pass
        lt.wait_until(lambda: os.path.isdir(folder) and sorted(os.listdir(folder)) == ["f0", "f1", "f2"], 30, "the first three")
        lt.wait_until(lambda: os.getxattr(folder, "user.landfall.cut") == b"1", 30, "the attribute")
        self.assertTrue(self.instance.api("GET", "/management/object_info", path=folder)["cut"])
        self.assertNotIn("cut", self.instance.api("GET", "/management/object_info", path=mount))
        with self.assertRaises(OSError):
            os.getxattr(mount, "user.landfall.cut")
        with open(os.path.join(folder, "zz"), "w"):
            pass
        self.assertIn("zz", os.listdir(folder))
        drive = next(d for d in self.instance.api("GET", "/management/clouddrive") if d["name"] == "cut")
        self.instance.api("PUT", f"/management/clouddrive/{drive['id']}", {**drive, "objectsPerFolder": 0})
        lt.wait_until(lambda: sorted(os.listdir(folder)) == ["f0", "f1", "f2", "f3", "f4", "zz"], 30, "all of them")
        with self.assertRaises(OSError):
            os.getxattr(folder, "user.landfall.cut")

    def listed(self, name):
        """The drive as the list shows it, where it is asked for twice: what is kept of a list is not older than the list."""
        self.instance.api("GET", "/management/clouddrive")
        return next((d for d in self.instance.api("GET", "/management/clouddrive") if d["name"] == name), None)

    def test_a_list_shows_what_was_just_changed(self):
        self.folder_drive("listed")
        drive = self.listed("listed")
        url = f"/management/clouddrive/{drive['id']}"
        for seconds in (7, 8):
            self.instance.api("PUT", url, {**drive, "syncIntervalSeconds": seconds})
            self.assertEqual(self.listed("listed")["syncIntervalSeconds"], seconds)
        for daemon in ("syncd", "frontd"):
            self.instance.restart(daemon)
            self.assertEqual(self.listed("listed")["syncIntervalSeconds"], 8)
        self.instance.api("DELETE", url, force="true")
        self.assertIsNone(self.listed("listed"))

    def test_copy_compare_move_remove(self):
        lt.run("cp", "-r", self.tree, self.path("copied"))
        self.assertSameTree(self.tree, self.path("copied"))
        lt.run("mv", self.path("copied"), self.path("moved"))
        self.assertFalse(os.path.exists(self.path("copied")))
        self.assertSameTree(self.tree, self.path("moved"))
        lt.run("rm", "-r", self.path("moved"))
        self.assertNotIn("moved", os.listdir(self.mount))
        wait_until(lambda: not os.path.exists(os.path.join(self.bucket, "copied")) and
                   not os.path.exists(os.path.join(self.bucket, "moved")), 60, "the removal in the cloud")

    def test_what_is_written_reaches_the_folder(self):
        lt.run("cp", "-r", self.tree, self.path("up"))
        expected = regular_files(self.tree)
        wait_until(lambda: regular_files(os.path.join(self.bucket, "up")) == expected, 60, "the upload of all files")
        self.instance.wait_uploaded(*(self.path("up", name) for name in expected[:50]))
        for name in expected:
            self.assertSameFile(os.path.join(self.tree, name), os.path.join(self.bucket, "up", name))

    def test_as_the_served_user(self):
        script = """set -e; cd "$1"; mkdir own; echo one > own/file; cat own/file; echo two >> own/file; wc -l < own/file
                    ln -s file own/link; readlink own/link; chmod 600 own/file; stat -c %a own/file; mv own/file own/other
                    rm own/link own/other; rmdir own; ls -A | grep -c '^own$' || true"""
        done = lt.run("sh", "-c", script, "sh", self.mount, user="landfall")
        self.assertEqual(done.stdout.split(), ["one", "2", "file", "600", "0"])

    def test_other_users_stay_out(self):
        with open(self.path("private"), "w") as f:
            f.write("private")
        self.assertNotEqual(lt.run("ls", self.mount, user="nobody", check=False).returncode, 0)
        self.assertNotEqual(lt.run("cat", self.path("private"), user="nobody", check=False).returncode, 0)
        self.assertEqual(lt.run("cat", self.path("private"), user="landfall").stdout, "private")

    def test_odd_names(self):
        os.mkdir(self.path("odd"))
        for name in ODD_NAMES:
            with open(self.path("odd", name), "w") as f:
                f.write(name)
        self.assertEqual(sorted(os.listdir(self.path("odd"))), sorted(ODD_NAMES))
        for name in ODD_NAMES:
            with open(self.path("odd", name)) as f:
                self.assertEqual(f.read(), name)

    def test_names_that_are_too_long(self):
        with self.assertRaises(OSError) as caught:
            os.mkdir(self.path("y" * 256))
        self.assertEqual(caught.exception.strerror, "File name too long")

    def test_writing_in_the_middle_truncating_and_growing(self):
        path, reference = self.path("rewritten"), os.path.join(self.scratch, "rewritten")
        fill(reference, 5_000_000)
        lt.run("cp", reference, path)
        for target in (reference, path):
            with open(target, "r+b") as f:
                f.seek(1_234_567)
                f.write(b"in the middle")
                f.truncate(3_000_001)
                f.seek(4_000_000)
                f.write(b"past the end")
        self.assertSameFile(reference, path)
        self.instance.wait_uploaded(path)
        self.assertSameFile(reference, os.path.join(self.bucket, "rewritten"))

    def test_rename_over_an_existing_file(self):
        for name in ("old", "new"):
            with open(self.path(name), "w") as f:
                f.write(name)
        os.rename(self.path("new"), self.path("old"))
        with open(self.path("old")) as f:
            self.assertEqual(f.read(), "new")
        self.assertFalse(os.path.exists(self.path("new")))
        self.instance.wait_uploaded(self.path("old"))
        with open(os.path.join(self.bucket, "old")) as f:
            self.assertEqual(f.read(), "new")

    def test_a_file_and_a_full_directory_swap(self):
        os.mkdir(self.path("swap-d"))
        for name, text in (("swap-a", "a"), ("swap-d/x", "x")):
            with open(self.path(name), "w") as f:
                f.write(text)
        self.instance.wait_uploaded(self.path("swap-a"), self.path("swap-d", "x"))
        lt.run(sys.executable, "-c", EXCHANGE, self.path("swap-a"), self.path("swap-d"))
        self.assertEqual(os.listdir(self.path("swap-a")), ["x"])
        wait_until(lambda: os.path.isfile(os.path.join(self.bucket, "swap-d")) and
                   regular_files(os.path.join(self.bucket, "swap-a")) == ["x"], 20, "the exchange in the folder")
        with open(os.path.join(self.bucket, "swap-d")) as f:
            self.assertEqual(f.read(), "a")

    def test_the_reserved_name(self):
        for make in (os.mkdir, lambda path: os.symlink("x", path), lambda path: open(path, "w").close()):
            with self.assertRaises(PermissionError):
                make(self.path(".landfall"))
        self.assertNotIn(".landfall", os.listdir(self.mount))

    def test_no_account_on_a_drive(self):
        for folder in (self.mount, self.path("below"), os.path.dirname(self.mount)):
            with self.assertRaisesRegex(lt.ApiError, "MountRoot"):
                self.instance.add_folder_account(folder, name="own drive")
        self.assertIsNotNone(os.listdir(self.mount))

    def test_an_unlinked_file_stays_readable_while_open(self):
        with open(self.path("gone"), "w+") as f:
            f.write("still here")
            f.flush()
            os.unlink(self.path("gone"))
            self.assertFalse(os.path.exists(self.path("gone")))
            f.seek(0)
            self.assertEqual(f.read(), "still here")

    def test_directories_refuse_what_they_must(self):
        os.makedirs(self.path("full", "inner"))
        with self.assertRaises(OSError):
            os.rmdir(self.path("full"))
        with self.assertRaises(FileExistsError):
            os.mkdir(self.path("full"))
        with self.assertRaises(OSError):
            os.rename(self.path("full"), self.path("full", "inner", "below-itself"))
        with self.assertRaises(FileNotFoundError):
            os.unlink(self.path("never-there"))

    def test_attributes(self):
        path = self.path("attributes")
        with open(path, "w"):
            pass
        os.chmod(path, 0o640)
        os.utime(path, ns=(1_500_000_000_123_456_789, 1_400_000_000_987_654_321))
        os.setxattr(path, "user.note", b"of mine")
        st = os.stat(path)
        self.assertEqual((stat.S_IMODE(st.st_mode), st.st_mtime_ns), (0o640, 1_400_000_000_987_654_321))
        self.assertEqual(os.getxattr(path, "user.note"), b"of mine")
        self.assertIn("user.note", os.listxattr(path))
        os.removexattr(path, "user.note")
        with self.assertRaises(OSError):
            os.getxattr(path, "user.note")

    def test_times_beyond_what_is_kept(self):
        """They become the limit, as on a file system of the kernel's, for the program at once and in the folder."""
        path, limit = self.path("far"), 9_223_372_036_000_000_000
        with open(path, "w"):
            pass
        for given, kept in ((10_413_792_000_500_000_000, limit), (-11_676_096_000_500_000_000, -limit), (-1, -1)):
            os.utime(path, ns=(given, given))
            self.assertEqual((os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns), (kept, kept))
        there = os.path.join(self.bucket, "far-there")
        with open(there, "w"):
            pass
        os.chown(there, os.stat(self.bucket).st_uid, -1)
        os.utime(there, (10_413_792_000, 10_413_792_000))
        if os.stat(there).st_mtime != 10_413_792_000:
            self.skipTest("the file system below has narrower limits")
        wait_until(lambda: os.stat(self.path("far-there")).st_mtime_ns == limit, 60, "the file with a time at the limit")

    def test_no_devices_and_no_set_user_id(self):
        with open("/proc/self/mountinfo") as f:
            options = next(line.split()[5] for line in f if line.split()[4] == self.mount)
        self.assertIn("nosuid", options.split(","))
        self.assertIn("nodev", options.split(","))

    def test_space_is_reported(self):
        space = os.statvfs(self.mount)
        self.assertGreater(space.f_blocks, 0)
        self.assertEqual(space.f_namemax, 255)

    def test_what_others_put_into_the_folder_appears(self):
        with put_whole(self.bucket, "from-outside") as made, open(made, "w") as f:
            f.write("hello")
        wait_until(lambda: "from-outside" in os.listdir(self.mount), 20, "the file in the listing")
        with open(self.path("from-outside")) as f:
            self.assertEqual(f.read(), "hello")


class Remount(DriveCase):
    def test_everything_is_there_after_a_restart(self):
        mount, bucket = self.folder_drive()
        os.makedirs(os.path.join(mount, "empty", "nested-empty"))
        with open(os.path.join(mount, "empty-file"), "w"):
            pass
        with open(os.path.join(mount, "small"), "w") as f:
            f.write("small")
        os.chmod(os.path.join(mount, "small"), 0o600)
        os.symlink("small", os.path.join(mount, "link"))
        self.restart_instance()
        self.instance.wait_mounted(mount)
        self.assertEqual(sorted(os.listdir(mount)), ["empty", "empty-file", "link", "small"])
        self.assertEqual(os.listdir(os.path.join(mount, "empty")), ["nested-empty"])
        self.assertEqual(os.path.getsize(os.path.join(mount, "empty-file")), 0)
        self.assertEqual(os.readlink(os.path.join(mount, "link")), "small")
        self.assertEqual(stat.S_IMODE(os.stat(os.path.join(mount, "small")).st_mode), 0o600)
        with open(os.path.join(mount, "link")) as f:
            self.assertEqual(f.read(), "small")
        self.instance.wait_uploaded(os.path.join(mount, "small"))
        self.assertTrue(os.path.exists(os.path.join(bucket, "small")))

    def mount_error(self):
        return next((d.get("mountError") for d in self.instance.api("GET", "/management/clouddrive") if d["name"] == "stray"), None)

    def test_a_stray_file_below_the_mount_point(self):
        mount, _ = self.folder_drive(name="stray")
        self.assertIsNone(self.mount_error())
        self.assertEqual(self.instance.stop(), 0)
        self.assertEqual(stat.S_IMODE(os.stat(mount).st_mode), 0o500, "nobody writes there by accident")
        self.assertNotEqual(lt.run("touch", os.path.join(mount, "stray"), user=SERVED, check=False).returncode, 0)
        with open(os.path.join(mount, "stray"), "w"):   # root can
            pass
        self.instance.start()
        wait_until(self.mount_error, 20, "the reason")
        self.assertIn("not empty", self.mount_error())
        self.assertIn(mount, self.mount_error())
        os.unlink(os.path.join(mount, "stray"))
        self.instance.wait_mounted(mount)
        wait_until(lambda: self.mount_error() is None, 20, "the end of the reason")

    def test_a_read_only_drive(self):
        mount, bucket = self.folder_drive(name="read only", permissionType=1)
        with self.assertRaises(OSError) as caught:
            open(os.path.join(mount, "x"), "w")
        self.assertIn(caught.exception.strerror, ("Read-only file system", "Permission denied"))
        self.assertEqual(os.listdir(bucket), [])


if __name__ == "__main__":
    unittest.main()
