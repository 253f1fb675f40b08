#!/usr/bin/python3
"""A Debian 12 that has just been installed, with nothing to build with: one command, and a drive is mounted.

The machine is a debootstrap root with processes and mounts of its own; the source tree is copied into it.
"""

import os
import shutil
import subprocess
import unittest

import landfall_test as lt

MIRROR = "http://deb.debian.org/debian"

SCRIPT = r"""
set -eu
cd /landfall
[ ! -e /usr/bin/gcc ] && [ ! -e /usr/bin/protoc-c ] && [ ! -e /usr/bin/fusermount3 ]
./quickstart --background --dir /var/lib/first
drive=$(sed -n 's/^ *"mount_point": *"\(.*\)".*/\1/p' /var/lib/first/instance.json)
echo "drive $drive"
ls -la "$drive"
cp -r /usr/share/doc "$drive/doc"
diff -r --no-dereference /usr/share/doc "$drive/doc"
find "$drive/doc" -type f | wc -l
mv "$drive/doc" "$drive/moved"
diff -r --no-dereference /usr/share/doc "$drive/moved"
rm -r "$drive/moved"
[ -z "$(ls -A "$drive")" ]
for process in /proc/[0-9]*; do
    case $(readlink "$process/exe") in */landfall*) echo "$(basename "$(readlink "$process/exe")") $(stat -c %U "$process")" ;; esac
done
./quickstart --stop --dir /var/lib/first
if grep /var/lib/first /proc/mounts; then exit 3; fi
for process in /proc/[0-9]*; do
    case $(readlink "$process/exe" || true) in */landfall*) exit 4 ;; esac
done
echo "nothing left"
"""


@lt.needs_root
class FreshMachine(unittest.TestCase):
    def setUp(self):
        if not shutil.which("debootstrap", path=lt.clean_env()["PATH"]):
            self.skipTest("debootstrap is not installed")
        self.root = lt.temporary_directory("lf-fresh-")
        self.addCleanup(lt.remove_tree, self.root)

    def install(self):
        lt.run("debootstrap", "--variant=minbase", "bookworm", self.root, MIRROR, timeout=400)
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
        setup = f"mount -t proc proc {self.root}/proc && exec chroot {self.root} /bin/sh -c \"$1\""
        return subprocess.run(["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", setup, "sh", script],
                              env=lt.clean_env(HOME="/root"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=seconds, check=False)

    def test_one_command_from_nothing_to_a_drive(self):
        self.install()
        self.copy_source()
        done = self.inside(SCRIPT, 550)
        self.assertEqual(done.returncode, 0, done.stdout[-6000:])
        for expected in ("Installing packages", "drive /var/lib/first/mnt/first", "landfall-frontd landfall-frontd", "landfall-mountd root",
                         "landfall-cryptd landfall-cryptd", "landfall-worker landfall-worker", "landfall-syncd landfall", "nothing left"):
            self.assertIn(expected, done.stdout)


if __name__ == "__main__":
    unittest.main()
