#!/usr/bin/python3
"""The command line against real daemons, for people and for scripts: a drive on a folder of this machine and one on radosgw."""

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import unittest

import landfall_test as lt
from drive_case import SERVED, DriveCase, fill
from fault_proxy import FaultProxy

STEERING = "evil-\x1b[31mred\x9b2J"      # C0 and C1 controls
MEBIBYTE = 1 << 20
STARTED, PAUSED = 1, 4


def write(path, data=b"content"):
    with open(path, "wb") as f:
        f.write(data)


def read(path):
    with open(path, "rb") as f:
        return f.read()


class Cli(DriveCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mount, cls.bucket = cls.folder_drive("docs")

    def landfall(self, *argv, status=0, cwd=None, stdin=None):
        """stdout of the command, which has to end with that status."""
        done = subprocess.run([os.path.join(self.instance.bin, "landfall"), *argv, "--dir", self.instance.dir], cwd=cwd, check=False,
                              input=stdin, stdin=subprocess.DEVNULL if stdin is None else None, capture_output=True, env=lt.clean_env(),
                              timeout=150)
        self.assertEqual(done.returncode, status, (argv, done.stdout[-1000:], done.stderr[-1000:]))
        self.said = done.stderr.decode()
        return done.stdout.decode()

    def json(self, *argv, status=0, **more):
        return json.loads(self.landfall(*argv, "--json", status=status, **more))

    def assertShown(self, text):
        """Nothing in it steers a terminal."""
        for c in text:
            self.assertTrue(c in "\n\t" or not (ord(c) < 32 or 127 <= ord(c) < 160), repr(text))

    def path(self, name):
        return os.path.join(self.mount, name)


class Answers(Cli):
    """JSON is what the API says, exit statuses are what the manual says."""

    def test_json_is_the_answer_of_the_api(self):
        write(self.path("answers"))
        self.landfall("wait", self.path("answers"))
        drives = self.instance.api("GET", "/management/clouddrive")
        self.assertEqual(self.json("drive", "ls"), drives)
        self.assertEqual(self.json("drive", "list"), drives)
        self.assertEqual(self.json("account", "ls"), self.instance.api("GET", "/cloud/accounts"))
        self.assertEqual(self.json("stat", self.path("answers"))["path"], self.path("answers"))
        self.assertEqual(self.json("wait", self.path("answers"))["there"], True)
        self.assertEqual(self.json("agent", "status"), STARTED)
        self.assertEqual(self.json("key", "show"), self.instance.api("GET", "/management/drive_keys"))
        self.assertTrue(self.json("audit", "verify")["whole"])
        status = self.json("status")
        self.assertEqual((status["agentStatus"], status["drives"], status["processes"]["syncd"]["pid"]),
                         (STARTED, drives, self.instance.pid("syncd")))

    def test_both_names(self):
        account = self.landfall("account", "add", "--name", "both", "--folder", os.path.dirname(self.bucket)).strip()
        self.assertIn(account, self.landfall("account", "ls"))
        self.assertEqual(self.json("account", "add", "--name", "again", "--folder", os.path.dirname(self.bucket))["name"], "again")
        self.landfall("account", "rm", "--name", "both")
        self.landfall("account", "remove", "--name", "again")
        self.assertNotIn(account, self.landfall("account", "list"))

    def test_statuses(self):
        for argv in (["nothing"], ["drive"], ["drive", "nothing"], ["drive", "add"], ["stat"], ["ls", "--nothing"], ["pin"],
                     ["cp", "a", "b"], ["cp", "docs:a", "docs:b"], ["ls", "a", "b"], ["share"], ["drive", "sync"]):
            self.landfall(*argv, status=2)
            self.assertTrue(self.said.startswith("landfall"), self.said)
        for argv in (["stat", "/nowhere"], ["drive", "rm", "--name", "none"], ["pin", "/nowhere"], ["cp", "none:a", "b"],
                     ["drive", "sync", "none"], ["agent", "resume"], ["share", "/nowhere"], ["ls", "/nowhere"]):
            self.landfall(*argv, status=1)
            self.assertRegex(self.said, r"^landfall [a-z ]+: [A-Z].*\.\n$")

    def test_a_drive_that_cannot_be_mounted(self):
        stray = self.path("in the way")
        self.landfall("agent", "dispose")
        self.assertEqual(self.landfall("agent", "status"), "disposed\n")
        write(stray)
        self.landfall("agent", "start")
        out = self.landfall("drive", "add", "--name", "docs", "--bucket", "bucket", "--account", "account docs", "--if-absent", "--wait",
                            status=3)
        self.assertEqual(out, self.mount + "\n")
        self.assertIn("not empty", self.said)
        self.assertEqual([f["verdict"] for f in self.json("doctor", status=1) if f["check"] == "drives"], ["fail"])
        os.unlink(stray)
        self.instance.wait_mounted(self.mount)

    def test_a_drive_is_synced_at_once(self):
        write(os.path.join(self.bucket, "arrived"))
        shutil.chown(os.path.join(self.bucket, "arrived"), SERVED, SERVED)
        self.landfall("drive", "sync", "docs")
        lt.wait_until(lambda: "arrived" in os.listdir(self.mount), 20, "the object in the drive")

    def test_a_drive_is_shown_only_where_there_is_a_desktop(self):
        self.landfall("drive", "open", "docs", status=1)
        self.assertRegex(self.said, r"^landfall drive open: [A-Z].*\.\n$")

    def test_the_agent_is_paused_and_goes_on(self):
        self.assertEqual(self.landfall("agent", "status"), "started\n")
        self.landfall("agent", "pause")
        self.addCleanup(lambda: self.instance.request("POST", "/management/command/resume"))
        self.assertEqual(self.landfall("agent", "status"), "paused\n")
        self.landfall("agent", "pause", status=1)
        self.landfall("agent", "resume")
        self.assertEqual(self.json("agent", "status"), STARTED)


class Objects(Cli):
    def test_a_folder_is_listed_from_where_one_is(self):
        os.makedirs(self.path("list/below"))
        write(self.path("list/a file"), b"12345")
        self.landfall("wait", self.path("list"))
        self.assertEqual(self.landfall("ls", self.path("list")), "a file\nbelow/\n")
        self.assertEqual(self.landfall("ls", cwd=self.path("list")), "a file\nbelow/\n")
        self.assertEqual(self.landfall("ls", "list/a file", cwd=self.mount), "a file\n")
        self.assertRegex(self.landfall("ls", "-l", "list", cwd=self.mount).splitlines()[0],
                         r"^normal +5  20[0-9-]+T[0-9:]+Z  a file$")
        self.assertEqual([o["path"] for o in self.json("ls", self.path("list"))], [self.path("list/a file"), self.path("list/below")])

    def test_names_do_not_steer_the_terminal(self):
        os.mkdir(self.path("odd"))
        write(self.path("odd/" + STEERING))
        self.landfall("wait", self.path("odd"))
        for out in (self.landfall("ls", self.path("odd")), self.landfall("ls", "-l", self.path("odd")),
                    self.landfall("ls", "--json", self.path("odd")), self.landfall("stat", self.path("odd/" + STEERING)),
                    self.landfall("stat", "--json", self.path("odd/" + STEERING))):
            self.assertShown(out)
            self.assertIn("evil-", out)
        self.assertEqual(self.json("ls", self.path("odd"))[0]["path"], self.path("odd/" + STEERING))

    def cached(self, path):
        return self.json("stat", path).get("cachedBytes", 0)

    def test_pinned_evicted_and_fetched(self):
        write(self.path("kept"), b"k" * 5000)
        self.landfall("wait", self.path("kept"))
        self.landfall("evict", self.path("kept"))
        self.assertEqual(self.cached(self.path("kept")), 0)
        self.landfall("fetch", self.path("kept"))
        lt.wait_until(lambda: self.cached(self.path("kept")) == 5000, 30, "the bytes")
        self.landfall("evict", "kept", cwd=self.mount)
        self.landfall("pin", self.path("kept"))
        self.assertTrue(self.json("stat", self.path("kept"))["pinned"])
        lt.wait_until(lambda: self.cached(self.path("kept")) == 5000, 30, "the bytes")
        self.landfall("unpin", self.path("kept"))
        self.assertFalse(self.json("stat", self.path("kept")).get("pinned", False))

    def test_each_path_that_is_refused_is_named(self):
        write(self.path("good"))
        self.landfall("wait", self.path("good"))
        self.landfall("pin", self.path("none 1"), self.path("good"), self.path("none 2"), status=1)
        self.assertEqual(len(self.said.splitlines()), 2, self.said)
        self.assertTrue(self.json("stat", self.path("good"))["pinned"])


class Copies(Cli):
    def local(self, name):
        return os.path.join(self.scratch, name)

    def test_there_and_back(self):
        os.mkdir(self.path("copies"))
        for size in (0, 1, 3 * MEBIBYTE + 7):
            source, back = self.local(f"source {size}"), self.local(f"back {size}")
            fill(source, size)
            self.landfall("cp", source, "docs:copies/")
            self.assertEqual(self.instance.opened("docs", read(os.path.join(self.bucket, "copies", f"source {size}"))), read(source))
            self.landfall("cp", f"docs:copies/source {size}", back)
            self.assertSameFile(source, back)
        self.assertEqual(sorted(os.listdir(self.path("copies"))), ["source 0", "source 1", f"source {size}"])
        self.assertEqual([n for n in os.listdir(self.scratch) if n.startswith(".")], [])

    def test_stdin_and_stdout(self):
        self.landfall("cp", "-", "docs:from stdin", stdin=b"piped\0bytes")
        self.assertEqual(read(self.path("from stdin")), b"piped\0bytes")
        self.assertEqual(self.landfall("cp", "docs:from stdin", "-"), "piped\0bytes")
        self.landfall("cp", "-", "docs:", status=2, stdin=b"")

    def test_what_is_there_stays_unless_forced(self):
        write(self.path("taken"), b"theirs")
        self.landfall("wait", self.path("taken"))
        write(self.local("mine"), b"mine")
        self.landfall("cp", self.local("mine"), "docs:taken", status=1)
        self.assertIn("--force", self.said)
        self.landfall("cp", "docs:taken", self.local("mine"), status=1)
        self.assertEqual((read(self.path("taken")), read(self.local("mine"))), (b"theirs", b"mine"))
        self.landfall("cp", self.local("mine"), "docs:taken", "--force")
        self.assertEqual(read(self.path("taken")), b"mine")
        write(self.path("taken"), b"theirs again")
        self.landfall("wait", self.path("taken"))
        self.landfall("cp", "docs:taken", self.local("mine"), "--force")
        self.assertEqual(read(self.local("mine")), b"theirs again")

    def test_nothing_outside_of_the_drive(self):
        write(self.local("stray"))
        for name in ("../stray", "..", "a/../../stray"):
            os.makedirs(self.path("a"), exist_ok=True)
            self.landfall("cp", self.local("stray"), "docs:" + name, status=2)
        self.landfall("cp", "docs:none", self.local("none"), status=1)
        self.assertFalse(os.path.exists(self.local("none")))
        self.landfall("cp", self.scratch, "docs:folder", status=1)


class OnS3(Cli):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = lt.Radosgw.shared()
        cls.proxy = FaultProxy(cls.server.port).start()
        cls.addClassCleanup(cls.proxy.stop)
        cls.account = cls.instance.add_s3_account(cls.proxy.before(cls.server))
        cls.s3_bucket = cls.server.make_bucket("lf-cli")
        cls.s3 = cls.instance.add_drive(cls.account, cls.s3_bucket, name="s3")["localPath"]

    @unittest.skipIf(lt.ENCRYPTED.get("cloudObjectsEncrypted"), "what a URL gives is what the cloud has")
    def test_shared(self):
        write(os.path.join(self.s3, "shared"), b"for all")
        self.landfall("wait", os.path.join(self.s3, "shared"))
        url = self.landfall("share", "shared", cwd=self.s3)
        self.assertEqual(url.count("\n"), 1)
        self.assertEqual(lt.run("curl", "-s", url.strip()).stdout, "for all")
        up = self.landfall("share", self.s3, "--upload", "sent").strip()
        lt.run("curl", "-sf", "-X", "PUT", "-d", "by url", "-H", "Content-Type:", up)
        self.assertEqual(self.server.rclone("cat", f"s3:{self.s3_bucket}/sent").stdout, "by url")
        self.assertEqual(set(self.json("share", os.path.join(self.s3, "shared"))), {"downloadUrl"})

    def test_a_large_file_there_and_back(self):
        source, back = os.path.join(self.scratch, "large"), os.path.join(self.scratch, "large back")
        fill(source, 40 * MEBIBYTE)
        self.landfall("cp", source, "s3:")
        self.landfall("cp", "s3:large", back)
        self.assertSameFile(source, back)

    def owned(self, name):
        """A folder of the served user's: in other ones the agent does nothing."""
        path = os.path.join(self.scratch, name)
        os.mkdir(path, 0o700)
        shutil.chown(path, SERVED, SERVED)
        return path

    def slowly(self):
        """For the rest of the test each part of a large file takes a quarter of a minute."""
        self.proxy.rate = MEBIBYTE
        self.addCleanup(self.at_once)

    def at_once(self):
        self.proxy.rate = 0

    def test_a_bucket_without_a_drive(self):
        here, back = self.owned("here"), self.owned("back")
        source = os.path.join(here, "a file ü")
        fill(source, 20 * MEBIBYTE)
        shutil.chown(source, SERVED, SERVED)
        bucket = self.server.make_bucket("lf-cli-plain")
        self.landfall("cp", source, f"{self.account['id']}:{bucket}/deep/er/")
        self.assertIn("deep/er/a file ü", self.server.rclone("lsf", "-R", f"s3:{bucket}").stdout)
        self.landfall("cp", f"{self.account['id']}:{bucket}/deep/er/a file ü", back)
        self.assertSameFile(source, os.path.join(back, "a file ü"))
        write(os.path.join(back, "a file ü"), b"somebody's")
        self.landfall("cp", f"{self.account['id']}:{bucket}/deep/er/a file ü", os.path.join(back, "a file ü"), status=1)
        self.assertEqual((os.listdir(back), read(os.path.join(back, "a file ü"))), (["a file ü"], b"somebody's"))
        fill(source, 1000, seed=2)
        self.landfall("cp", source, f"{self.account['id']}:{bucket}/deep/er/a file ü", status=1)
        self.assertIn("overwrite", self.said)
        self.landfall("cp", "--force", source, f"{self.account['id']}:{bucket}/deep/er/a file ü")
        self.assertEqual(self.server.rclone("cat", f"s3:{bucket}/deep/er/a file ü", text=False).stdout, read(source))
        for argv in ((source, f"{self.account['id']}:{bucket}/other name"), ("-", f"{self.account['id']}:{bucket}/a"),
                     (f"{self.account['id']}:{bucket}/a", back, "--force"), (f"{self.account['id']}:", back)):
            self.landfall("cp", *argv, status=2)

    def test_a_copy_that_is_interrupted(self):
        here = self.owned("long")
        source = os.path.join(here, "long")
        fill(source, 64 * MEBIBYTE)
        shutil.chown(source, SERVED, SERVED)
        self.slowly()
        process = subprocess.Popen([os.path.join(self.instance.bin, "landfall"), "cp", source, f"{self.account['id']}:{self.s3_bucket}/",
                                    "--dir", self.instance.dir], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=lt.clean_env())

        def transfers(*statuses):
            return [t for t in self.instance.api("GET", "/cloud/client_transfer/all")
                    if t.get("targetPath") == "long" and t["status"] in statuses]
        lt.wait_until(lambda: transfers("running"), 30, "the transfer")
        process.send_signal(signal.SIGINT)
        self.assertEqual((process.wait(30), process.communicate()[1]), (130, b""))
        lt.wait_until(lambda: transfers("cancelled"), 30, "its end")

    def slow_upload(self, name, size):
        """One that is under way for long."""
        path = os.path.join(self.s3, name)
        self.addCleanup(lambda: self.landfall("wait", path))
        self.slowly()
        fill(path, size)
        return path

    def test_top_while_a_large_file_is_sent(self):
        self.assertIn("All changes are in the cloud.", self.landfall("top"))
        self.slow_upload("large 日本語", 64 * MEBIBYTE)

        def shown():
            out = self.landfall("top", "--once")
            self.assertShown(out)
            return out if "large 日本語" in out else None
        out = lt.wait_until(shown, 60, "the upload")
        line = next(line for line in out.splitlines() if "日本語" in line)
        self.assertRegex(line, r"^up   " + self.s3_bucket + r"/.* MiB \[[#.]{12}\] +[0-9]+% +[0-9.]+ +[KM]?i?B/s$")
        self.assertRegex(out, r"(?m)^[0-9]+ transfers?  up +[0-9.]+ ")

    def test_top_for_scripts(self):
        self.slow_upload("for scripts", 16 * MEBIBYTE)
        found = lt.wait_until(lambda: [t for t in self.json("top")["transfers"] if t.get("targetPath", "").endswith("for scripts")], 60,
                              "the upload")
        self.assertEqual(found[0]["targetBucket"], self.s3_bucket)

    def large_transfer(self, name):
        """A row of `transfer ls`: the upload of a large file, or None when there is none yet."""
        rows = [line.split("\t") for line in self.landfall("transfer", "ls").splitlines()]
        return next((row for row in rows if row[4].endswith("/" + name)), None)

    def test_transfers_are_paused_resumed_and_canceled(self):
        path = self.slow_upload("for transfer", 64 * MEBIBYTE)
        transfer = lt.wait_until(lambda: self.large_transfer("for transfer"), 30, "the upload")[0]
        self.assertEqual(self.landfall("transfer", "pause", transfer), "")
        row = self.large_transfer("for transfer")
        self.assertEqual(row[:3] + row[4:], [transfer, "paused", "up", self.s3_bucket + "/for transfer"])
        self.assertRegex(row[3], "^[0-9]+%$")
        self.landfall("wait", path, status=1)
        self.assertIn("paused", self.said)
        self.landfall("transfer", "pause", transfer, "no-such/../one", status=1)
        self.assertRegex(self.said, "(?s)landfall transfer pause: .*cannot be paused.*landfall transfer pause: There is no transfer")
        self.landfall("transfer", "resume", transfer)
        self.assertEqual(self.large_transfer("for transfer")[:2], [transfer, "running"])
        self.landfall("transfer", "cancel", transfer)
        self.assertIsNone(self.large_transfer("for transfer"))
        self.assertIn(transfer + "\tcancelled\tup\t", self.landfall("transfer", "list", "--all"))
        self.assertIn(transfer, [t["transferId"] for t in self.json("transfer", "ls")])
        self.landfall("wait", path, status=1)
        self.assertIn("landfall drive sync", self.said)
        calls = [line.get("endpoint", "") for line in self.json("audit", "list")]
        for what in ("pause", "resume", "cancel"):
            self.assertTrue([c for c in calls if c.endswith(f"/cloud/client_transfer/{transfer}/{what}")], (what, calls[-20:]))
        self.at_once()
        self.landfall("drive", "sync", "s3")
        self.landfall("wait", path)
        self.landfall("transfer", "pause", status=2)
        self.landfall("transfer", "ls", transfer, status=2)

    def test_buckets_of_an_account(self):
        for account in ("s3", self.account["id"]):
            rows = [line.split("\t") for line in self.landfall("bucket", "ls", account).splitlines()]
            self.assertIn(self.s3_bucket, [row[0] for row in rows])
            self.assertEqual({len(row) for row in rows}, {3})
        self.assertIn(self.s3_bucket, [b["name"] for b in self.json("bucket", "list", "s3")["data"]])
        self.landfall("bucket", "ls", "no such account", status=1)
        self.assertIn("account list", self.said)
        self.landfall("bucket", "ls", status=2)

    def terminal(self, columns, *argv):
        """What the command draws until its third picture, and its exit status after Ctrl-C."""
        ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 10, columns, 0, 0))
        process = subprocess.Popen([os.path.join(self.instance.bin, "landfall"), *argv, "--dir", self.instance.dir], stdin=theirs,
                                   stdout=theirs, stderr=theirs, env=lt.clean_env(), start_new_session=True)
        os.close(theirs)
        drawn = b""
        while drawn.count(b"\x1b[J") < 3:
            drawn += os.read(ours, 65536)
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):      # EIO: the other end is closed
            while part := os.read(ours, 65536):
                drawn += part
        os.close(ours)
        return drawn.decode(), process.wait(20)

    def test_top_on_terminals(self):
        for columns in (20, 80, 200):
            drawn, status = self.terminal(columns, "top")
            self.assertEqual(status, 0)
            self.assertTrue(drawn.startswith("\x1b[?1049h") and drawn.endswith("\x1b[?1049l"), drawn[-40:])
            lines = re.sub(r"\x1b\[[0-9?]*[A-Za-z]", "", drawn).split("\r\n")
            self.assertLessEqual(max(len(line) for line in lines), columns)
            self.assertIn("object", drawn)



class Doctor(Cli):
    def found(self, check, *argv, status=0):
        return [f for f in self.json("doctor", *argv, status=status) if f["check"] == check]

    def test_a_machine_and_an_instance_in_order(self):
        write(self.path("file"))
        self.landfall("wait", self.mount)
        findings = self.json("doctor")
        self.assertEqual([f for f in findings if f["verdict"] == "fail"], [])
        self.assertLessEqual({"instance", "api", "kernel", "fuse", "port", "sandbox", "clock", "files", "memory", "processes", "agent", "disk",
                              "keys", "drives", "uploads", "audit"}, {f["check"] for f in findings})
        self.assertEqual([f["verdict"] for f in findings if f["check"] in ("instance", "api", "port", "processes", "agent", "audit")],
                         ["ok"] * 6)
        self.assertTrue(all(f["remedy"] for f in findings if f["verdict"] == "warn" and f["check"] not in ("drives", "uploads")))
        out = self.landfall("doctor")
        self.assertShown(out)
        self.assertRegex(out, r"(?m)^ok    kernel +Linux [0-9]|^warn  kernel +Linux [0-9]")

    def test_paused(self):
        self.landfall("agent", "pause")
        try:
            found = self.found("agent")
        finally:
            self.landfall("agent", "resume")
        self.assertEqual([(f["verdict"], "paused" in f["text"], "resume" in f["remedy"]) for f in found], [("warn", True, True)])

    def test_nothing_runs_and_the_port_is_taken(self):
        nowhere = os.path.join(self.scratch, "nowhere")

        def doctor(port):
            done = lt.run(os.path.join(self.instance.bin, "landfall"), "doctor", "--json", "--dir", nowhere, "--port", str(port), check=False)
            return done.returncode, {f["check"]: f for f in json.loads(done.stdout)}
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            with socket.socket(family) as squatter:
                squatter.bind((address, 0))
                squatter.listen()
                port = squatter.getsockname()[1]
                status, found = doctor(port)
                self.assertEqual((status, found["port"]["verdict"], found["instance"]["verdict"]), (1, "fail", "warn"))
                self.assertIn(f"process {os.getpid()}, ", found["port"]["text"])
        status, found = doctor(port)
        self.assertEqual((status, found["port"]["verdict"]), (0, "ok"))
        self.assertEqual(doctor_status(self.instance.bin, "--port", "0"), 2)

    def test_a_process_that_hangs(self):
        """syncd answers nothing; the rest is checked all the same."""
        os.kill(self.instance.pid("syncd"), signal.SIGSTOP)
        try:
            findings = self.json("doctor", status=1)
        finally:
            os.kill(self.instance.pid("syncd"), signal.SIGCONT)
        self.assertEqual([f["check"] for f in findings if f["verdict"] == "fail"], ["api"])
        self.assertTrue([f for f in findings if f["check"] == "disk"])


def doctor_status(programs, *argv):
    return lt.run(os.path.join(programs, "landfall"), "doctor", *argv, check=False).returncode


class Completion(unittest.TestCase):
    """What shells make of it."""

    SCRIPTS = {"bash": """. "$1"; COMP_WORDS=("${@:2}"); COMP_CWORD=$(($# - 2)); _landfall; printf '%s\\n' "${COMPREPLY[@]}" """,
               "fish": """source $argv[1]; complete -C (string join -- ' ' $argv[2..-1]) | string replace -r '\\t.*' ''; or true"""}

    def complete(self, shell, *words):
        if not shutil.which(shell, path=lt.clean_env()["PATH"]):
            self.skipTest(f"{shell} is not installed")
        with tempfile.NamedTemporaryFile("w", suffix=shell) as f:
            f.write(lt.run(os.path.join(lt.programs(), "landfall"), "completion", shell).stdout)
            f.flush()
            lt.run(shell, "-n", f.name)
            said = lt.run(shell, "-c", self.SCRIPTS[shell], *([shell] if shell == "bash" else []), f.name, "landfall", *words,
                          env=lt.clean_env(HOME=self.home)) if shell in self.SCRIPTS else None
            return sorted(said.stdout.split("\n")[:-1]) if said else None

    def setUp(self):
        self.home = lt.temporary_directory("lf-home-")
        self.addCleanup(lt.remove_tree, self.home)

    def test_words(self):
        for shell in ("bash", "fish"):
            with self.subTest(shell):
                self.assertEqual(self.complete(shell, "dr"), ["drive"])
                self.assertEqual(self.complete(shell, "drive", ""), sorted(["list", "ls", "add", "cache", "remove", "rm", "sync", "open"]))
                self.assertEqual(self.complete(shell, "drive", "add", "--en"), ["--encrypt-cache", "--encrypt-objects"])
                self.assertEqual(self.complete(shell, "completion", "f"), ["fish"])
                self.assertEqual(self.complete(shell, "transfer", ""), sorted(["list", "ls", "pause", "resume", "cancel"]))
                self.assertEqual(self.complete(shell, "transfer", "ls", "--a"), ["--all"])
                self.assertEqual(self.complete(shell, "bucket", "l"), ["list", "ls"])
                self.assertEqual(self.complete(shell, "ls", "/usr/shar"), ["/usr/share" + ("/" if shell == "fish" else "")])

    def test_zsh_can_read_its_own(self):
        self.assertIsNone(self.complete("zsh"))

    def test_of_no_other_shell(self):
        done = lt.run(os.path.join(lt.programs(), "landfall"), "completion", "csh", check=False)
        self.assertEqual((done.returncode, done.stdout), (2, ""))


class Watcher:
    """`landfall watch` in the background."""

    def __init__(self, case, *argv):
        self.case = case
        self.process = subprocess.Popen([os.path.join(case.instance.bin, "landfall"), "watch", *argv, "--dir", case.instance.dir],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=lt.clean_env())
        self.lines, self.rest = [], b""
        os.set_blocking(self.process.stdout.fileno(), False)
        case.addCleanup(self.close)

    def read(self):
        with contextlib.suppress(BlockingIOError):
            self.rest += os.read(self.process.stdout.fileno(), 1 << 20)
        *lines, self.rest = self.rest.split(b"\n")
        self.lines += [line.decode() for line in lines]
        return self.lines

    def until(self, wanted, seconds=30):
        return lt.wait_until(lambda: next((line for line in self.read() if wanted(line)), None), seconds, "the line")

    def end(self):
        """The exit status after Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(20)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


class Watch(Cli):
    def notify(self, data):
        self.instance.api("POST", "/management/notify", {"operation": 2, "endpointAddress": "/test", "httpMethod": "PUT",
                                                         "origion": "tests", "data": data})

    def watch(self, *argv):
        """One that has begun: it shows what is asked for from now on."""
        watcher = Watcher(self, *argv)

        def begun():
            self.notify("begun")
            return any("begun" in line for line in watcher.read())
        lt.wait_until(begun, 20, "the first line")
        return watcher

    def test_files_that_arrive(self):
        people, scripts = self.watch(), self.watch("--json")
        write(self.path("seen"), b"s" * 100000)
        self.landfall("wait", self.path("seen"))
        people.until(lambda line: "state" in line and "normal" in line and line.endswith(self.path("seen")))
        people.until(lambda line: "Upload" in line and "Completed" in line and "seen" in line)
        scripts.until(lambda line: json.loads(line).get("Path") == self.path("seen"))
        scripts.until(lambda line: json.loads(line).get("Type") == 1 and json.loads(line)["Data"]["Status"] == "Completed")
        self.assertEqual((people.end(), scripts.end()), (0, 0))

    def test_nothing_steers_the_terminal(self):
        watchers = self.watch(), self.watch("--json")
        write(self.path(STEERING))
        self.notify("a\n\x1b[2Jb")
        for watcher in watchers:
            watcher.until(lambda line: "evil" in line)
            watcher.until(lambda line: "2Jb" in line)
            self.assertShown("\n".join(watcher.lines))

    def test_frontd_is_killed(self):
        watcher = self.watch("--json")
        last = json.loads(watcher.until(lambda line: json.loads(line).get("Type") == 4))["Id"]
        seen = len(watcher.lines)
        self.instance.restart("frontd", signal.SIGKILL)
        lt.wait_until(lambda: self.instance.request("GET", "/management/agent_status").status == 200, 20, "the API")
        self.notify("after")
        watcher.until(lambda line: json.loads(line).get("Data", {}).get("Data") == "after")
        told = [json.loads(line) for line in watcher.lines[seen:]]
        self.assertIn("gap", [f["Data"].get("Kind") for f in told if f.get("Type") == 2])
        self.assertGreater(told[-1]["Id"], last)
        self.assertEqual(watcher.end(), 0)

    def test_what_happened_before(self):
        watcher = self.watch("--json")
        self.notify("one")
        one = json.loads(watcher.until(lambda line: '"one"' in line))["Id"]
        self.notify("two")
        watcher.until(lambda line: '"two"' in line)
        late = Watcher(self, "--json", "--since", str(one))
        late.until(lambda line: '"two"' in line)
        self.assertFalse([line for line in late.lines if '"one"' in line])
        gap = Watcher(self, "--since", "1")
        gap.until(lambda line: " gap " in line and "missed" in line)
        self.landfall("watch", "--since", "x", status=2)


if __name__ == "__main__":
    unittest.main()
