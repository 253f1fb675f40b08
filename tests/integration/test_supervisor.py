#!/usr/bin/python3
"""The supervisor alone: real `landfall run`, stand-ins for the daemons."""

import glob
import grp
import json
import os
import pwd
import shutil
import signal
import socket
import stat
import time
import unittest

import landfall_test as lt
from landfall_test import needs_root, wait_until

FAKE = os.path.join(os.path.dirname(__file__), "fake_daemon.py")
USERS = {"frontd": "landfall-frontd", "syncd": "landfall", "mountd": "root", "cryptd": "landfall-cryptd"}


CAPABILITIES = {0: "CHOWN", 1: "DAC_OVERRIDE", 2: "DAC_READ_SEARCH", 3: "FOWNER", 5: "KILL", 6: "SETGID", 7: "SETUID", 8: "SETPCAP",
                10: "NET_BIND_SERVICE", 21: "SYS_ADMIN", 24: "SYS_RESOURCE"}


def capabilities(mask):
    """Names of those that have a part here, numbers of the others."""
    return {CAPABILITIES.get(bit, bit) for bit in range(64) if int(mask, 16) >> bit & 1}


class Supervised(unittest.TestCase):
    user = None

    @classmethod
    def setUpClass(cls):
        cls.bin = lt.temporary_directory("lf-fake-")
        cls.addClassCleanup(lt.remove_tree, cls.bin)
        shutil.copy(os.path.join(lt.programs(), "landfall"), cls.bin)
        for name in USERS:
            shutil.copy(FAKE, os.path.join(cls.bin, "landfall-" + name))

    def setUp(self):
        self.instance = lt.Instance(user=self.user, bin_dir=self.bin)
        self.addCleanup(self.instance.remove)
        self.control = os.path.join(self.instance.dir, "control")
        os.mkdir(self.control)
        os.chmod(self.control, 0o777)
        self.tell("all", "order")
        os.chmod(os.path.join(self.control, "all.order"), 0o666)

    def tell(self, daemon, what, text=""):
        with open(os.path.join(self.control, f"{daemon}.{what}"), "w") as f:
            f.write(text)

    def facts(self, daemon, pid=None):
        with open(os.path.join(self.control, f"{daemon}.{pid or self.instance.pid(daemon)}.json")) as f:
            return json.load(f)

    def order(self):
        with open(os.path.join(self.control, "all.order")) as f:
            return f.read().split()

    def key(self):
        with open(os.path.join(self.instance.dir, "root.key"), "rb") as f:
            return f.read()

    def next_pid(self, daemon, before):
        return wait_until(lambda: self.instance.info()["ready"] and self.instance.pid(daemon) not in (0, before) and
                          self.facts(daemon) and self.instance.pid(daemon), 10, f"the next {daemon}")


@needs_root
class Start(Supervised):
    def test_every_daemon_runs_as_its_user(self):
        self.instance.start()
        landfall = grp.getgrnam("landfall").gr_gid
        for daemon, user in USERS.items():
            facts = self.facts(daemon)
            self.assertEqual(facts["uid"], pwd.getpwnam(user).pw_uid, daemon)
            self.assertIn(landfall, facts["groups"], daemon)
            self.assertEqual(facts["death_signal"], signal.SIGTERM, daemon)
            self.assertEqual(facts["no_new_privs"], 0 if daemon == "mountd" else 1, daemon)
            self.assertEqual(facts["cwd"], "/", daemon)
            self.assertEqual(facts["session"], facts["pid"], daemon)

    def test_nothing_but_what_is_listed_is_inherited(self):
        os.environ["LANDFALL_CANARY"] = "must not arrive"
        self.addCleanup(os.environ.pop, "LANDFALL_CANARY")
        self.instance.start()
        http = [["http", "AF_INET SOCK_STREAM"], ["http", "AF_INET6 SOCK_STREAM"], ["api", "AF_UNIX SOCK_STREAM"]]
        expected = {"frontd": http, **{d: [["ipc", "AF_UNIX SOCK_SEQPACKET"]] for d in ("syncd", "mountd", "cryptd")}}
        for daemon, sockets in expected.items():
            facts = self.facts(daemon)
            self.assertEqual(facts["sockets"], sockets, daemon)
            self.assertEqual(facts["fds"], list(range(3 + len(sockets))), daemon)
            self.assertEqual(set(facts["environment"]) - {"LC_CTYPE"},
                             {"PATH", "HOME", "USER", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID",
                              "WATCHDOG_USEC", "WATCHDOG_PID"}, daemon)
            self.assertEqual(facts["environment"]["LISTEN_PID"], str(facts["pid"]))
            self.assertEqual(facts["environment"]["WATCHDOG_PID"], str(facts["pid"]))

    def proc(self, pid, name):
        with open(f"/proc/{pid}/{name}") as f:
            return f.read()

    def capability_sets(self, pid):
        return dict(line.split(":\t") for line in self.proc(pid, "status").splitlines() if line.startswith("Cap"))

    def test_no_process_keeps_the_environment_of_the_starter(self):
        """As /proc shows it, for as long as an instance runs: the supervisor's own too."""
        self.instance.env = {"AWS_SECRET_ACCESS_KEY": "canary", "LD_LIBRARY_PATH": "/nonexistent", "HOME": "/nonexistent"}
        self.instance.start()
        for name, pid in self.instance.info()["pids"].items():
            names = {entry.split("=")[0] for entry in self.proc(pid, "environ").split("\0") if entry.strip()}
            self.assertEqual(names & {"AWS_SECRET_ACCESS_KEY", "LD_LIBRARY_PATH", "LANG"}, set(), name)
            self.assertEqual("HOME" in names, True, name)
        self.assertEqual(self.instance.info()["pids"]["landfall"], self.instance.process.pid)

    def test_no_process_keeps_capabilities_it_does_not_need(self):
        mounting = {"SYS_ADMIN", "SETUID", "SETGID", "SETPCAP", "KILL", "DAC_READ_SEARCH", "DAC_OVERRIDE"}
        expected = {"cryptd": set(), "syncd": set(), "frontd": set(), "mountd": mounting,
                    "landfall": mounting | {"CHOWN", "FOWNER", "SYS_RESOURCE", "NET_BIND_SERVICE"}}
        given = capabilities(self.capability_sets("self")["CapBnd"])     # a container may have fewer than there are
        self.instance.starter = ["setpriv", "--inh-caps=+net_raw,+sys_admin", "--ambient-caps=+net_raw", "--"]
        self.instance.start()
        for name, pid in self.instance.info()["pids"].items():
            sets = self.capability_sets(pid)
            self.assertEqual(capabilities(sets["CapBnd"]), expected[name] & given, name)
            for kind in ("CapInh", "CapAmb"):
                self.assertEqual(capabilities(sets[kind]), set(), f"{name} {kind}")
            for kind in ("CapPrm", "CapEff"):
                self.assertLessEqual(capabilities(sets[kind]), expected[name], f"{name} {kind}")

    def test_logs_are_for_root_alone(self):
        """Every daemon has the group landfall; what one says is not for the others."""
        self.instance.start()
        self.assertEqual(stat.S_IMODE(os.stat(os.path.join(self.instance.dir, "log")).st_mode), 0o700)
        for name in os.listdir(os.path.join(self.instance.dir, "log")):
            st = os.stat(os.path.join(self.instance.dir, "log", name))
            self.assertEqual((st.st_uid, st.st_gid, stat.S_IMODE(st.st_mode)), (0, 0, 0o600), name)
        for user in ("landfall", "landfall-frontd", "landfall-cryptd", "landfall-worker"):
            done = lt.run("cat", os.path.join(self.instance.dir, "log", "syncd.log"), user=user, check=False)
            self.assertIn("Permission denied", done.stderr, user)

    def test_directories_have_their_owners_and_modes(self):
        self.instance.start()
        group = grp.getgrnam("landfall").gr_gid
        expected = {"run": ("root", 0o755), "log": ("root", 0o700), "state": ("landfall", 0o700), "keys": ("landfall-cryptd", 0o700),
                    "mnt": ("landfall", 0o750), "root.key": ("landfall-cryptd", 0o400), "run/api.sock": ("root", 0o666),
                    "run/syncd.sock": ("root", 0o660), "run/cryptd.sock": ("root", 0o660), "run/mountd.sock": ("root", 0o660),
                    "log/syncd.log": ("root", 0o600), "instance.json": ("root", 0o644)}
        for path, (owner, mode) in expected.items():
            st = os.stat(os.path.join(self.instance.dir, path))
            self.assertEqual((pwd.getpwuid(st.st_uid).pw_name, stat.S_IMODE(st.st_mode)), (owner, mode), path)
        self.assertEqual(os.stat(os.path.join(self.instance.dir, "run/syncd.sock")).st_gid, group)
        self.assertEqual(os.path.getsize(os.path.join(self.instance.dir, "root.key")), 32)

    def test_the_key_and_everything_else_survive_a_restart(self):
        self.instance.start()
        key = self.key()
        self.assertEqual(self.instance.stop(), 0)
        self.instance.start()
        self.assertEqual(self.key(), key)

    def test_daemons_are_told_one_configuration(self):
        self.instance.start("--set", "UploadSlots=3")
        for daemon in USERS:
            arguments = self.facts(daemon)["arguments"]
            for expected in ("UploadSlots=3", "User=landfall", "CryptdUser=landfall-cryptd", "WorkerUser=landfall-worker",
                             f"StateDir={self.instance.dir}/state", f"HostUrl=http://localhost:{self.instance.info()['port']}"):
                self.assertIn(expected, arguments, daemon)

    def config(self):
        return dict(line.split(None, 1) for line in self.instance.landfall("config").stdout.splitlines())

    def test_config_says_what_holds_in_a_directory(self):
        before = self.config()
        self.assertEqual((before["StateDir"], before["UploadSlots"]), (self.instance.dir + "/state", "16"))
        self.instance.start("--set", "UploadSlots=3", "--set", "CorsOrigins=http://a.example,http://b.example")
        running = self.config()
        self.assertEqual(running["UploadSlots"], "3")
        self.assertEqual(running["CorsOrigins"], "http://a.example,http://b.example")
        self.assertEqual(running["HostUrl"], self.instance.info()["api"])
        table = lt.run(os.path.join(self.bin, "landfall"), "config").stdout
        self.assertRegex(table, r"UploadSlots +NUMBER +16 ")

    def test_who_stands_behind_sudo_is_served(self):
        self.instance.env = {"SUDO_USER": "nobody"}
        self.instance.start()
        self.assertEqual(self.facts("syncd")["uid"], pwd.getpwnam("nobody").pw_uid)
        self.assertEqual(self.instance.info()["user"], "nobody")


@needs_root
class Refusals(Supervised):
    def refused(self, *arguments):
        self.instance.spawn(*arguments)
        self.assertEqual(self.instance.process.wait(20), 1)
        self.assertFalse(os.path.exists(os.path.join(self.instance.dir, "instance.json")))
        self.assertEqual(glob.glob(os.path.join(self.control, "*.json")), [])
        return self.instance.said()

    def test_port_taken(self):
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with self.subTest(address), socket.socket(family) as s:
                s.bind((address, 0))
                s.listen()
                self.assertIn("is taken by another program", self.refused("--port", str(s.getsockname()[1])))

    def test_port_that_is_none(self):
        for port in ("", " 80", "+80", "80a", "65536", "-1"):
            with self.subTest(port):
                done = lt.run(os.path.join(self.bin, "landfall"), "run", "--dir", self.instance.dir, "--port", port, check=False, timeout=20)
                self.assertEqual(done.returncode, 2)
                self.assertIn("--port takes a number from 1 to 65535, or 0 for any free port.", done.stderr)

    def test_one_instance_a_directory(self):
        self.instance.start()
        second = lt.run(os.path.join(self.bin, "landfall"), "run", "--dir", self.instance.dir, "--port", "0", check=False)
        self.assertEqual(second.returncode, 1)
        self.assertIn(f"(process {self.instance.process.pid})", second.stderr)
        self.assertTrue(self.instance.info()["ready"])

    def test_root_is_not_served(self):
        self.assertIn("does not serve root", self.refused("--set", "User=root"))

    def test_unknown_account(self):
        self.assertIn("There is no account nosuchaccount", self.refused("--set", "CryptdUser=nosuchaccount"))

    def test_foreign_state_directory_keeps_its_owner(self):
        state = os.path.join(self.instance.dir, "state")
        os.mkdir(state, 0o700)
        os.chown(state, 12345, 12345)
        self.assertIn("belongs to uid 12345", self.refused())
        self.assertEqual(os.stat(state).st_uid, 12345)

    def test_open_state_directory(self):
        state = os.path.join(self.instance.dir, "state")
        os.mkdir(state)
        os.chmod(state, 0o755)
        os.chown(state, pwd.getpwnam("landfall").pw_uid, -1)
        self.assertIn("lets others in", self.refused())

    def test_symbolic_link_instead_of_a_directory(self):
        elsewhere = os.path.join(self.control, "elsewhere")
        os.mkdir(elsewhere)
        os.symlink(elsewhere, os.path.join(self.instance.dir, "keys"))
        self.assertIn("keys cannot be used", self.refused())
        self.assertEqual(os.stat(elsewhere).st_uid, 0)

    def test_directory_that_others_may_write(self):
        os.chmod(self.instance.dir, 0o777)
        self.assertIn("writable by nobody else", self.refused())

    def test_directory_too_deep_for_sockets(self):
        deep = os.path.join(self.instance.dir, "d" * 100)
        done = lt.run(os.path.join(self.bin, "landfall"), "run", "--dir", deep, "--port", "0", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("too long for a socket", done.stderr)

    def test_bad_configuration(self):
        self.assertIn("there is no such key", self.refused("--set", "Nonsense=1"))

    def test_a_daemon_that_cannot_start_ends_it_all(self):
        self.tell("syncd", "exit", "1")
        self.instance.spawn()
        self.assertEqual(self.instance.process.wait(20), 1)
        self.assertIn("syncd does not start", self.instance.said())
        self.assertIn("the fake daemon was told to fail", self.instance.said())
        self.assertFalse(os.path.exists(os.path.join(self.instance.dir, "instance.json")))
        for path in glob.glob(os.path.join(self.control, "*.json")):
            self.assertFalse(lt.alive(path.split(".")[-2]), path)


@needs_root
class Life(Supervised):
    def test_a_daemon_that_dies_comes_back(self):
        self.instance.start()
        for daemon in USERS:
            before = self.instance.pid(daemon)
            os.kill(before, signal.SIGKILL)
            after = self.next_pid(daemon, before)
            self.assertTrue(lt.alive(after))
            self.assertEqual(self.facts(daemon, before)["sockets"], self.facts(daemon, after)["sockets"])

    def test_callers_wait_in_the_backlog_meanwhile(self):
        self.instance.start()
        before = self.instance.pid("frontd")
        os.kill(before, signal.SIGKILL)
        with socket.create_connection(("127.0.0.1", self.instance.info()["port"]), 5):
            self.next_pid("frontd", before)

    def test_kept_descriptors_come_back(self):
        self.tell("mountd", "store", "fuse-1")
        self.instance.start()
        before = self.instance.pid("mountd")
        self.assertEqual(self.facts("mountd")["sockets"], [["ipc", "AF_UNIX SOCK_SEQPACKET"]])
        os.kill(before, signal.SIGKILL)
        second = self.next_pid("mountd", before)
        self.assertEqual(self.facts("mountd", second)["sockets"][1:], [["kept-fuse-1", "fuse-1"]])
        os.kill(second, signal.SIGUSR2)
        wait_until(lambda: os.path.exists(os.path.join(self.control, "mountd.removed")), 10, "the removal")
        os.kill(second, signal.SIGKILL)
        third = self.next_pid("mountd", second)
        self.assertEqual(len(self.facts("mountd", third)["sockets"]), 1)

    def test_only_the_daemon_itself_is_believed(self):
        self.instance.start()
        before = self.instance.pid("cryptd")
        os.kill(before, signal.SIGHUP)
        wait_until(lambda: os.path.exists(os.path.join(self.control, "cryptd.tried")), 10, "the impostor's messages")
        self.assertTrue(lt.alive(before))
        os.kill(before, signal.SIGKILL)
        after = self.next_pid("cryptd", before)
        self.assertEqual(len(self.facts("cryptd", after)["sockets"]), 1)

    def test_exit_with_zero_is_respected(self):
        self.instance.start()
        before = self.instance.pid("mountd")
        os.kill(before, signal.SIGUSR1)
        wait_until(lambda: self.instance.pid("mountd") == 0, 10, "the end of mountd")
        other = self.instance.pid("cryptd")
        os.kill(other, signal.SIGKILL)
        self.next_pid("cryptd", other)
        self.assertEqual(self.instance.pid("mountd"), 0)

    def test_the_front_door_closing_ends_it_all(self):
        self.instance.start()
        os.kill(self.instance.pid("frontd"), signal.SIGUSR1)
        self.assertEqual(self.instance.process.wait(20), 0)
        self.assertFalse(os.path.exists(os.path.join(self.instance.dir, "instance.json")))

    def test_orderly_stop(self):
        self.instance.start()
        pids = self.instance.info()["pids"]
        self.assertEqual(self.instance.stop(), 0)
        self.assertEqual(self.order(), ["frontd", "mountd", "syncd", "cryptd"])
        self.assertFalse(any(lt.alive(pid) for pid in pids.values()))
        self.assertEqual(os.listdir(os.path.join(self.instance.dir, "run")), [])
        self.assertFalse(os.path.exists(os.path.join(self.instance.dir, "instance.json")))

    def test_a_hangup_stops_it_too(self):
        self.instance.start()
        self.instance.process.send_signal(signal.SIGHUP)
        self.assertEqual(self.instance.process.wait(20), 0)
        self.assertEqual(self.order(), ["frontd", "mountd", "syncd", "cryptd"])

    def test_a_deaf_daemon_is_killed(self):
        self.tell("cryptd", "deaf")
        self.instance.start()
        pid = self.instance.pid("cryptd")
        self.assertEqual(self.instance.stop(), 0)
        self.assertFalse(lt.alive(pid))
        self.assertIn("does_not_stop daemon=cryptd", self.instance.said())

    def test_stop_command(self):
        self.instance.start()
        self.instance.landfall("stop")
        self.assertEqual(self.instance.process.wait(20), 0)
        again = self.instance.landfall("stop", check=False)
        self.assertEqual(again.returncode, 1)
        self.assertIn("No instance runs in", again.stderr)

    def test_stop_takes_no_number_of_seconds_but_plain_ones(self):
        self.instance.start()
        for seconds in (" 5", "+5", "5 ", "5s", "-1", "86401", ""):
            with self.subTest(seconds):
                done = self.instance.landfall("stop", "--wait", seconds, check=False)
                self.assertEqual(done.returncode, 2)
                self.assertIn("takes a number of seconds from 0 to 86400", done.stderr)
                self.assertIsNone(self.instance.process.poll())

    def test_stop_does_not_wait_for_an_api_that_hangs(self):
        self.instance.start()
        os.kill(self.instance.pid("frontd"), signal.SIGSTOP)
        began = time.monotonic()
        self.assertIn("could not be told", self.instance.landfall("stop").stdout)
        self.assertLess(time.monotonic() - began, lt.patience(30))
        self.assertEqual(self.instance.process.wait(20), 0)

    def test_after_the_supervisor_was_killed(self):
        self.tell("syncd", "deaf")
        self.instance.start()
        pids = self.instance.info()["pids"]
        os.kill(pids["landfall"], signal.SIGKILL)
        self.instance.process.wait()
        wait_until(lambda: sum(lt.alive(p) for p in pids.values()) == 1, 10, "the end of all daemons but the deaf one")
        os.unlink(os.path.join(self.control, "syncd.deaf"))
        self.instance.start()
        self.assertFalse(lt.alive(pids["syncd"]), "the next start ends what is left")
        self.assertTrue(all(lt.alive(p) for p in self.instance.info()["pids"].values()))

    def test_status(self):
        self.instance.start()
        done = self.instance.landfall("status", check=False)
        self.assertIn(f"cryptd    process {self.instance.pid('cryptd')} as landfall-cryptd", done.stdout)


@needs_root
class Rootless(Supervised):
    user = "nobody"

    def test_all_as_the_caller(self):
        self.instance.start()
        nobody = pwd.getpwnam("nobody").pw_uid
        for daemon in USERS:
            self.assertEqual(self.facts(daemon)["uid"], nobody)
        self.assertIn("without root every process runs as nobody", self.instance.said())
        self.assertEqual(stat.S_IMODE(os.stat(os.path.join(self.instance.dir, "run/api.sock")).st_mode), 0o600)
        self.assertEqual(self.instance.stop(), 0)

    def test_other_accounts_need_root(self):
        for key in ("User", "CryptdUser"):
            self.instance.spawn("--set", f"{key}=landfall")
            self.assertEqual(self.instance.process.wait(20), 1)
        self.assertIn("Only root can serve another user", self.instance.said())
        self.assertIn("only root can run a process as another user", self.instance.said())


if __name__ == "__main__":
    unittest.main()
