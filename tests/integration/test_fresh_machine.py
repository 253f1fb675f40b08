#!/usr/bin/python3
"""A Debian 12 that has just been installed, with nothing to build with: one command, and a drive is mounted.

The machine is a debootstrap root with processes and mounts of its own; the source tree is copied into it.
"""

import os
import re
import shutil
import subprocess
import unittest

import landfall_test as lt

RELEASE = "bookworm"

# Every figure it prints is checked below; `set -e` ends it at the first command that fails.
SCRIPT = r"""
set -eu
umount --lazy /mnt
cd /landfall
for package in $(setup/wanted build run); do
    case $(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null || true) in ?i*) echo "there: $package" ;; esac
done
./quickstart --background --dir /var/lib/first --port "$1"
drive=$(sed -n 's/^ *"mount_point": *"\(.*\)".*/\1/p' /var/lib/first/instance.json)
echo "drive $drive"
grep -c " $drive fuse" /proc/mounts | sed 's/^/mounted: /'
ls "$drive"
cp -r /usr/share/doc "$drive/doc"
diff -r --no-dereference /usr/share/doc "$drive/doc"
find "$drive/doc" -type f | wc -l | sed 's/^/files: /'
mv "$drive/doc" "$drive/moved"
diff -r --no-dereference /usr/share/doc "$drive/moved"
ls "$drive" | sed 's/^/moved: /'
rm -r "$drive/moved"
ls -A "$drive" | wc -l | sed 's/^/left on the drive: /'
for process in /proc/[0-9]*; do
    case $(readlink "$process/exe") in */landfall*) echo "$(basename "$(readlink "$process/exe")") $(stat -c %U "$process")" ;; esac
done
./quickstart --stop --dir /var/lib/first
grep -c /var/lib/first /proc/mounts | sed 's/^/mounts left: /'
for process in /proc/[0-9]*; do
    case $(readlink "$process/exe" || true) in */landfall*) echo "left running: $process" ;; esac
done
awk '$4 == "0A" { print $2 }' /proc/net/tcp /proc/net/tcp6 | grep -c ":$(printf %04X "$1")\$" | sed 's/^/listening left: /'
ls -A /var/lib/first/run | wc -l | sed 's/^/sockets left: /'
ls /var/lib/first
find /var/lib/first/cloud/first-bucket -type f | wc -l | sed 's/^/files in the cloud: /'
"""


def mirror(release, targets):
    """Where apt gets the main part of the release from; `targets` has a line "SITE RELEASE COMPONENT" for each index."""
    for line in targets.splitlines():
        site, *what = line.split()
        if what == [release, "main"]:
            return site
    raise AssertionError(f"this machine's apt knows no source of {release} main to install another machine from: "
                         "add one to /etc/apt/sources.list.d and run apt-get update")


def targets_of_apt():
    return lt.run("apt-get", "indextargets", "--format", "$(SITE) $(RELEASE) $(COMPONENT)", "Created-By: Packages").stdout


class Mirror(unittest.TestCase):
    def test_it_is_the_source_of_the_release_itself(self):
        others = "http://a.example/security bookworm-security main\nhttp://b.example/debian bookworm contrib\nhttp://c.example/debian trixie main\n"
        self.assertEqual(mirror("bookworm", others + "http://d.example/debian bookworm main\n"), "http://d.example/debian")
        for targets in (others, ""):
            with self.assertRaisesRegex(AssertionError, "knows no source of bookworm main"):
                mirror("bookworm", targets)


@lt.needs_root
class FreshMachine(unittest.TestCase):
    def setUp(self):
        if not shutil.which("debootstrap", path=lt.clean_env()["PATH"]):
            self.skipTest("debootstrap is not installed")
        self.root = lt.temporary_directory("lf-fresh-")
        self.addCleanup(lt.remove_tree, self.root)

    def install(self):
        lt.run("debootstrap", "--variant=minbase", RELEASE, self.root, mirror(RELEASE, targets_of_apt()), timeout=900)
        os.mknod(os.path.join(self.root, "dev/fuse"), 0o20600, os.makedev(10, 229))
        # Mirrors that hold a day of the past have release files that ran out.
        with open(os.path.join(self.root, "etc/apt/apt.conf.d/90test"), "w") as f:
            f.write('Acquire::Check-Valid-Until "false";\n')
        with open(os.path.join(self.root, "usr/sbin/policy-rc.d"), "w") as f:
            f.write("#!/bin/sh\nexit 101\n")
        os.chmod(os.path.join(self.root, "usr/sbin/policy-rc.d"), 0o755)

    def copy_source(self):
        listed = lt.run("git", "-c", "safe.directory=*", "-C", lt.SOURCE, "ls-files", "-coz", "--exclude-standard").stdout
        for name in filter(None, listed.split("\0")):
            source, target = os.path.join(lt.SOURCE, name), os.path.join(self.root, "landfall", name)
            if os.path.isfile(source):
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.copy(source, target)

    def inside(self, script, seconds):
        """Of this machine's mounts it keeps no copies: what others unmount meanwhile would live on in those."""
        setup = (f"mount --bind {self.root} {self.root} && cd {self.root} && mount -t proc proc proc && pivot_root . mnt && "
                 "exec /bin/sh -c \"$1\" sh \"$2\"")
        return subprocess.run(["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", setup, "sh", script, str(lt.free_port())],
                              env=lt.clean_env(HOME="/root"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=seconds, check=False)

    def test_one_command_from_nothing_to_a_drive(self):
        self.install()
        self.copy_source()
        done = self.inside(SCRIPT, 1400)
        print(done.stdout, flush=True)
        self.assertEqual(done.returncode, 0)
        lines = done.stdout.splitlines()
        for expected in ("drive /var/lib/first/mnt/first", "mounted: 1", "moved: moved", "left on the drive: 0", "landfall root",
                         "landfall-mountd root", "landfall-frontd landfall-frontd", "landfall-cryptd landfall-cryptd",
                         "landfall-worker landfall-worker", "landfall-syncd landfall", "mounts left: 0", "listening left: 0", "sockets left: 0",
                         "files in the cloud: 0"):
            self.assertIn(expected, lines)
        self.assertRegex(done.stdout, "Installing packages: .*gcc")
        self.assertGreater(int(re.search(r"^files: (\d+)$", done.stdout, re.M)[1]), 100)
        self.assertNotIn("left running", done.stdout)
        self.assertNotIn("instance.json\n", done.stdout[done.stdout.index("mounts left"):])
        # What a minimal Debian has anyway; nothing of it compiles.
        self.assertLessEqual({line[7:] for line in lines if line.startswith("there: ")}, set())


if __name__ == "__main__":
    unittest.main()
