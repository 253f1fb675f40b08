#!/usr/bin/python3
"""What the kernel says about the processes: who they are, what they may do, what they hold."""

import contextlib
import os
import pwd
import unittest

import landfall_test as lt
from drive_case import DriveCase
from test_restart import children

USERS = {"frontd": "landfall-frontd", "syncd": "landfall", "mountd": "root", "cryptd": "landfall-cryptd", "worker": "landfall-worker"}
SECCOMP_FILTER = "2"


def status(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f)


def descriptors(pid):
    """What each descriptor above 2 is, without numbers: "socket", "/dev/fuse", "anon_inode"."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        if int(fd) > 2:
            with contextlib.suppress(FileNotFoundError):     # it was closed meanwhile
                found.append(os.readlink(f"/proc/{pid}/fd/{fd}").split(":")[0])
    return found


class Processes(DriveCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mount, _ = cls.folder_drive()
        with open(os.path.join(cls.mount, "file"), "w") as f:
            f.write("content")
        cls.pids = {d: cls.instance.pid(d) for d in lt.DAEMONS}
        cls.pids["worker"], = children(cls.pids["mountd"])

    def test_five_users(self):
        for name, user in USERS.items():
            uid = pwd.getpwnam(user).pw_uid
            self.assertEqual(set(status(self.pids[name])["Uid"].split()), {str(uid)}, name)

    def test_system_call_filters(self):
        for name in ("cryptd", "worker", "mountd", "frontd", "syncd"):
            self.assertEqual(status(self.pids[name])["Seccomp"], SECCOMP_FILTER, name)

    def test_no_new_privileges(self):
        for name, pid in self.pids.items():
            self.assertEqual(status(pid)["NoNewPrivs"], "1", name)

    def test_capabilities(self):
        for name in ("frontd", "syncd", "cryptd", "worker"):
            self.assertEqual(int(status(self.pids[name])["CapEff"], 16), 0, name)
            self.assertEqual(int(status(self.pids[name])["CapPrm"], 16), 0, name)
        mountd = int(status(self.pids["mountd"])["CapPrm"], 16)
        self.assertNotEqual(mountd, 0)
        self.assertLess(bin(mountd).count("1"), 12)

    def test_the_worker_holds_nothing_it_could_open_with(self):
        allowed = {"socket", "/dev/fuse", "anon_inode", "pipe", "/memfd"}
        cache = os.path.join(self.instance.dir, "state")
        for held in descriptors(self.pids["worker"]):
            self.assertTrue(held in allowed or held.startswith((cache, "/memfd")), held)

    def test_nobody_else_reads_their_memory(self):
        for name in ("cryptd", "worker"):
            self.assertEqual(os.stat(f"/proc/{self.pids[name]}/environ").st_uid, 0, f"{name} is not dumpable")

    def test_the_internal_sockets_are_closed_to_others(self):
        script = "import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect(sys.argv[1])"
        for name in ("syncd", "cryptd", "mountd"):
            path = os.path.join(self.instance.dir, "run", name + ".sock")
            done = lt.run("/usr/bin/python3", "-c", script, path, user="nobody", check=False)
            self.assertIn("PermissionError", done.stderr, name)

    def test_another_user_is_refused_by_the_api(self):
        api = os.path.join(self.instance.dir, "run", "api.sock")
        port = self.instance.info()["port"]
        for target in ([f"http://localhost:{port}"], ["--unix-socket", api, f"http://localhost:{port}"]):
            argv = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *target[:-1], target[-1] + "/management/agent_status"]
            self.assertIn(lt.run(*argv, user="nobody").stdout, ("401", "403"), target)
            self.assertEqual(lt.run(*argv, user="landfall").stdout, "200", target)
            self.assertEqual(lt.run(*argv).stdout, "200", target)


if __name__ == "__main__":
    unittest.main()
