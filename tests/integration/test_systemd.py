#!/usr/bin/python3
"""The units under a real systemd: what README says under "As a service" is done as it stands there.

The machine is a container that sees this one's files, with whatever it changes in memory, and boots a systemd of its own.
"""

import json
import os
import re
import shutil
import subprocess
import unittest
from concurrent.futures import ThreadPoolExecutor

import landfall_test as lt
from fault_case import SEED
from killer import children
from landfall_test import needs_root, wait_until

USER = "lf-served"
HOME = f"/home/{USER}"
DRIVE = f"{HOME}/Landfall/Team"
KEY_OF = "systemd-creds encrypt --name={0} - /etc/credstore.encrypted/{0}"
# The container forbids these three to its services, which no machine does. openat2(2) is not among them.
ALLOWED = "@memlock landlock_create_ruleset landlock_add_rule landlock_restrict_self"


def steps():
    with open(os.path.join(lt.SOURCE, "README.md")) as f:
        section = re.search(r"^## As a service$(.*?)^## ", f.read(), re.M | re.S).group(1)
    return [line.strip().replace("USER", USER) for line in section.splitlines() if line.startswith("    ")]


@needs_root
class Service(unittest.TestCase):
    def setUp(self):
        if not shutil.which("systemd-nspawn", path=lt.clean_env()["PATH"]):
            self.skipTest("systemd-nspawn is not installed")
        self.dir = lt.temporary_directory("lf-sd-")
        self.addCleanup(lt.remove_tree, self.dir)
        self.make_root()
        self.boot()

    def make_root(self):
        self.root, ram = os.path.join(self.dir, "root"), os.path.join(self.dir, "ram")
        os.mkdir(self.root)
        os.mkdir(ram)
        lt.run("mount", "-t", "tmpfs", "landfall-test", ram)
        os.mkdir(f"{ram}/upper", 0o755)
        os.mkdir(f"{ram}/work")
        lt.run("mount", "-t", "overlay", "-o", f"lowerdir=/,upperdir={ram}/upper,workdir={ram}/work", "landfall-test", self.root)
        for name in ("passwd", "group", "shadow", "gshadow"):
            self.change(f"/etc/{name}", lambda text: "".join(line for line in text.splitlines(True) if "landfall" not in line))
        self.change("/etc/passwd", lambda text: text + f"{USER}:x:4711:4711::{HOME}:/bin/sh\n")
        self.change("/etc/group", lambda text: text + f"{USER}:x:4711:\n")
        os.makedirs(self.root + HOME)
        os.chown(self.root + HOME, 4711, 4711)

    def change(self, path, fn):
        if os.path.exists(self.root + path):
            with open(self.root + path, "r+") as f:
                text = fn(f.read())
                f.seek(0)
                f.truncate()
                f.write(text)

    def boot(self):
        with open(os.path.join(self.dir, "console"), "w") as console:
            self.nspawn = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "--", "systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit",
                 "--private-network", "--bind=/dev/fuse", "--console=pipe",
                 f"--machine=landfall-{os.getpid()}", f"--system-call-filter={ALLOWED}", f"--directory={self.root}",
                 "systemd.unit=basic.target"], env=lt.clean_env(), stdin=subprocess.DEVNULL, stdout=console, stderr=console, cwd="/")
        self.addCleanup(self.shut_down)
        wait_until(self.booted, 60, "the container")

    def booted(self):
        if self.nspawn.poll() is not None:
            with open(os.path.join(self.dir, "console")) as f:
                self.skipTest(f"this machine can run no containers: {f.read()[-500:]}")
        return "active" == self.inside("systemctl is-active basic.target", check=False).stdout.strip()

    def shut_down(self):
        self.nspawn.terminate()
        self.nspawn.wait(60)

    def inside(self, command, user=None, **options):
        pid, = children(self.nspawn.pid)
        as_user = [] if user is None else ["setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--"]
        return lt.run("nsenter", "--all", "--target", str(pid), "--", *as_user, "sh", "-c", command, **options)

    def api(self, path, body=None):
        data = "" if body is None else f"-H 'Content-Type: application/json' -d '{json.dumps(body)}'"
        return json.loads(self.inside(f"curl -sS -f -m 60 {data} localhost:29123{path}", user=USER).stdout)

    def make_drive(self):
        self.inside(f"mkdir -p {HOME}/trial/first", user=USER)
        account = self.api("/cloud/insert_account", {"name": "Mine", "cloudType": 1048576, "serviceUrl": f"file://{HOME}/trial"})
        drive = self.api("/management/clouddrive", {"name": "Team", "storageName": "first", "account": {"id": account["id"]}})
        self.assertEqual(drive["localPath"], DRIVE)
        wait_until(lambda: self.inside(f"mountpoint {DRIVE}", check=False).returncode == 0, 20, "the mount")

    def use_drive(self, name):
        self.inside(f"echo {name} >{DRIVE}/{name} && ls {DRIVE}", user=USER)
        wait_until(lambda: self.inside(f"cat {HOME}/trial/first/{name}", check=False).stdout == name + "\n", 20, "the upload")

    def kill(self, daemon):
        unit = f"landfall-{daemon}@{USER}"
        before = self.inside(f"systemctl show -P MainPID {unit}").stdout
        self.inside(f"kill -KILL {before}")
        wait_until(lambda: self.inside(f"systemctl show -P MainPID {unit}").stdout not in (before, "0\n"), 20, f"another {daemon}")

    def restart(self, daemon):
        self.inside(f"systemctl restart landfall-{daemon}@{USER}")

    def disturb(self, what):
        """Does it to each daemon, time and again, while a program has a file open, writes, maps and reads it."""
        path = f"{DRIVE}/exercised"

        def exercise():
            return self.inside(f"file_exerciser -s {SEED} -t 4 {path}", user=USER).stdout.strip()

        with ThreadPoolExecutor(1) as pool:
            program, n = pool.submit(exercise), 0
            while n < 5 or not program.done():
                if program.done() and program.result():      # a slow machine has it go on
                    program = pool.submit(exercise)
                what(lt.DAEMONS[n % len(lt.DAEMONS)])
                n += 1
            print(f"  {what.__name__} {n} times: {program.result()}", flush=True)
        wait_until(lambda: self.inside(f"cmp {path} {HOME}/trial/first/exercised", check=False).returncode == 0, 20, "the upload")

    def change_what_unlocks(self):
        """From the key to a passphrase, by files alone."""
        store = "/etc/credstore.encrypted"
        cryptd = f"landfall-cryptd@{USER}"
        self.inside(f"echo word | {KEY_OF.format('landfall.new-passphrase')} && systemctl restart {cryptd}")
        self.inside(f"rm {store}/* && echo word | {KEY_OF.format('landfall.passphrase')} && systemctl restart {cryptd}")
        wait_until(lambda: 'landfall_up{process="cryptd"} 1' in self.inside("curl -sS -f localhost:29123/metrics").stdout, 20,
                   "cryptd to be there")

    def test_as_the_page_says(self):
        install, *others = steps()
        self.assertEqual(install, "make install")
        lt.run("make", "-s", "-C", lt.BUILD, "install", f"DESTDIR={self.root}")
        shutil.copy(os.path.join(lt.BUILD, "tests", "integration", "file_exerciser"), self.root + "/usr/local/bin")
        os.mkdir(self.root + "/etc/landfall")
        with open(self.root + "/etc/landfall/appsettings.json", "w") as f:
            json.dump({"PoolThreads": 64}, f)
        for step in others:
            self.inside(step)
        self.make_drive()
        self.use_drive("first")
        users = set(self.inside("ps -eo user:20,args | awk '/landfall-[a-z]+( |$)/ && !/awk/ { print $1 }'").stdout.split())
        self.assertEqual(users, {"root", USER, "landfall-frontd", "landfall-cryptd", "landfall-worker"})
        self.disturb(self.kill)
        self.disturb(self.restart)
        self.use_drive("second")
        self.change_what_unlocks()
        self.inside(f"systemctl disable --now landfall@{USER}.target")
        # systemctl waits for the target, which ends before its services do.
        wait_until(lambda: not self.inside("pgrep -a landfall-", check=False).stdout, 20, "the end of all processes")
        self.assertEqual(self.inside(f"ls -A {DRIVE}").stdout, "")


if __name__ == "__main__":
    unittest.main()
