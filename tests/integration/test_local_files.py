#!/usr/bin/python3
"""This machine's own folders over HTTP: what the served user may see and make, and nothing more."""

import json
import os
import pwd
import signal
import threading
import unittest
import urllib.parse

import landfall_test as lt
from drive_case import SERVED, DriveCase

ODD = ["a b", "new\nline", "control-\x01", "ä", "per%41cent", 'quote"', "back\\slash", "-", "...", "x" * 255]


class LocalFiles(DriveCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.account = pwd.getpwnam(SERVED)

    def setUp(self):
        self.dir = os.path.realpath(lt.temporary_directory("lf-local-"))
        self.addCleanup(lt.remove_tree, self.dir)
        os.chown(self.dir, self.account.pw_uid, self.account.pw_gid)

    def listed(self, path):
        return self.instance.api("GET", "/management/list_files_directories", path=path)

    def directories(self, path):
        return self.instance.api("GET", "/management/list_directories", path=path)

    def make(self, path, name):
        return self.instance.request("POST", "/management/make_directory", {"path": path, "directoryName": name})

    def assertRefused(self, reply, status, code):
        self.assertEqual((reply.status, reply.headers.get("error-code")), (status, code), reply.body)
        self.assertGreater(len(reply.json()["errors"][code][0]), 10)

    def get(self, route, path):
        return self.instance.request("GET", f"/management/{route}?" + urllib.parse.urlencode({"path": path}))

    def test_a_folder_with_odd_names(self):
        for n, name in enumerate(ODD):
            path = os.path.join(self.dir, name)
            if n % 2:
                os.mkdir(path)
            else:
                with open(path, "wb"):
                    pass
        os.symlink("/usr", os.path.join(self.dir, "link"))
        expected = sorted([(name, 2 if n % 2 else 1) for n, name in enumerate(ODD)] + [("link", 2)], key=lambda e: e[0].encode())
        self.assertEqual(self.listed(self.dir), [{"fileName": name, "fullPath": os.path.join(self.dir, name), "objectType": kind}
                                                 for name, kind in expected])
        self.assertEqual(self.directories(self.dir + "//."), [os.path.join(self.dir, n) for n, kind in expected if kind == 2])
        self.assertIn("lib", [o["fileName"] for o in self.listed(os.path.join(self.dir, "link"))])

    def test_a_large_folder(self):
        names = sorted(f"{n * 7919 % 20011:05}-" + "n" * 60 for n in range(20000))
        for name in names:
            os.close(os.open(os.path.join(self.dir, name), os.O_CREAT))
        before = self.memory("frontd")
        self.assertEqual([o["fileName"] for o in self.listed(self.dir)], names)
        self.assertEqual(self.directories(self.dir), [])
        self.assertLess(self.memory("frontd") - before, 2 << 20)

    def memory(self, daemon):
        with open(f"/proc/{self.instance.pid(daemon)}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def test_the_home(self):
        home = self.account.pw_dir
        if not os.path.isdir(home):
            for path in ("", "/"):
                self.assertRefused(self.get("list_directories", path), 404, "NOT_FOUND")
            return
        expected = sorted(os.listdir(home), key=str.encode)
        for path in ("", "/"):
            self.assertEqual([o["fileName"] for o in self.listed(path)], expected)

    def test_what_the_user_may_not(self):
        """root runs the test; the agent serves somebody else."""
        closed = os.path.join(self.dir, "closed")
        os.mkdir(closed, 0o700)
        self.assertRefused(self.get("list_files_directories", closed), 499, "FILESYSTEM_ACCESS")
        self.assertRefused(self.get("list_directories", closed + "/x"), 499, "FILESYSTEM_ACCESS")
        self.assertRefused(self.make(closed, "new"), 499, "FILESYSTEM_ACCESS")
        self.assertRefused(self.make("/usr", "landfall-new"), 499, "FILESYSTEM_ACCESS")
        os.symlink("/usr", os.path.join(self.dir, "to-usr"))
        self.assertRefused(self.make(os.path.join(self.dir, "to-usr"), "landfall-new"), 499, "FILESYSTEM_ACCESS")
        self.assertFalse(os.path.exists("/usr/landfall-new"))
        self.assertEqual(os.listdir(closed), [])

    def test_wrong_paths(self):
        file = os.path.join(self.dir, "file")
        with open(file, "wb"):
            pass
        for route in ("list_files_directories", "list_directories"):
            self.assertRefused(self.get(route, self.dir + "/none"), 404, "NOT_FOUND")
            self.assertRefused(self.get(route, file), 499, "DEFAULT")
            self.assertRefused(self.get(route, "relative"), 499, "DEFAULT")
            self.assertRefused(self.get(route, self.dir + "/../" + os.path.basename(self.dir)), 499, "SECURITY")
            self.assertRefused(self.get(route, "/proc/self/root"), 499, "FILESYSTEM_ACCESS")
            self.assertRefused(self.get(route, "/" + "x" * 300), 499, "DEFAULT")
            self.assertEqual(self.instance.request("GET", f"/management/{route}?path=/tmp%00x").status // 100, 4)

    def test_making(self):
        self.assertEqual(self.make(self.dir, "New Folder").status, 200)
        st = os.stat(os.path.join(self.dir, "New Folder"))
        self.assertEqual((st.st_uid, st.st_mode & 0o777), (self.account.pw_uid, 0o700))
        self.assertRefused(self.make(self.dir, "New Folder"), 499, "DUPLICATE")
        self.assertRefused(self.make(self.dir + "/none", "a"), 404, "NOT_FOUND")
        for name in ("..", ".", "", "a/b", "/a", "../a", "a\nb", "\x01", "\x7f", "x" * 256):
            self.assertRefused(self.make(self.dir, name), 499, "SECURITY")
        nul = self.instance.request("POST", "/management/make_directory", json.dumps(
            {"path": self.dir, "directoryName": "a\0b"}).encode(), {"Content-Type": "application/json"})
        self.assertEqual(nul.status, 499)
        self.assertRefused(self.make(self.dir + "/../" + os.path.basename(self.dir), "a"), 499, "SECURITY")
        self.assertEqual(os.listdir(self.dir), ["New Folder"])

    def test_a_base_that_is_swapped(self):
        """A folder comes into what the path named at some moment, never into what is closed to the user."""
        base, good, evil = (os.path.join(self.dir, name) for name in ("base", "good", "evil"))
        os.mkdir(good)
        os.chown(good, self.account.pw_uid, self.account.pw_gid)
        os.mkdir(evil, 0o755)                  # root's
        stop = threading.Event()

        def swap():
            turn = 0
            while not stop.is_set():
                turn += 1
                spare = os.path.join(self.dir, "spare")
                os.symlink(evil if turn % 2 else good, spare)
                os.rename(spare, base)

        os.symlink(good, base)
        swapper = threading.Thread(target=swap)
        swapper.start()
        made = refused = 0
        try:
            for n in range(300):
                reply = self.make(base, f"n{n}")
                if reply.status == 200:
                    made += 1
                else:
                    self.assertRefused(reply, 499, "FILESYSTEM_ACCESS")
                    refused += 1
        finally:
            stop.set()
            swapper.join()
        self.assertEqual(os.listdir(evil), [])
        self.assertEqual(len(os.listdir(good)), made)
        self.assertEqual(sorted(set(os.listdir(self.dir)) - {"spare"}), ["base", "evil", "good"])
        self.assertEqual(made + refused, 300)

    def test_drives_and_letters(self):
        mount, _ = self.folder_drive("lettered", driveName="K")
        drives = self.instance.api("GET", "/management/list_drives")
        self.assertEqual(drives, sorted(set(drives), key=str.encode))
        self.assertIn(mount, drives)
        self.assertIn("/", drives)
        self.assertFalse({"/proc", "/sys", "/dev", "/dev/shm", "/run"} & set(drives))
        letters = self.instance.api("GET", "/management/list_available_drives")
        self.assertEqual(letters, [c for c in "CDEFGHIJKLMNOPQRSTUVWXYZ" if c != "K"])

    def state(self, pid):
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0]

    def test_a_file_system_that_does_not_answer(self):
        mount, _ = self.folder_drive("silent")
        os.mkdir(os.path.join(mount, "folder"))
        worker = self.worker()
        answers = []

        def ask(path):
            reply = self.get("list_directories", path)
            while b"try again" in reply.body:      # the one that looks took the last place
                reply = self.get("list_directories", path)
            answers.append(reply)

        os.kill(worker, signal.SIGSTOP)
        try:
            lt.wait_until(lambda: self.state(worker) == "T", 10, "the worker to stand still")
            waiting = [threading.Thread(target=ask, args=(mount,)) for _ in range(8)]
            for thread in waiting:
                thread.start()
            lt.wait_until(lambda: self.get("list_directories", self.dir).headers.get("error-code") == "DEFAULT", 20, "all threads hang")
            self.assertEqual(self.instance.api("GET", "/management/agent_status"), 1)
            self.assertIn(mount, [d["localPath"] for d in self.instance.api("GET", "/management/clouddrive")])
            self.assertEqual(answers, [])
        finally:
            os.kill(worker, signal.SIGCONT)
        for thread in waiting:
            thread.join()
        self.assertEqual([a.json() for a in answers], [[os.path.join(mount, "folder")]] * 8)
        self.assertEqual(self.directories(self.dir), [])
        self.assertEqual(self.make(mount, "made").status, 200)
        self.assertEqual(self.directories(mount), [os.path.join(mount, n) for n in ("folder", "made")])


if __name__ == "__main__":
    unittest.main()
