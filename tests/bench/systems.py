"""The systems that are compared: ways of mounting a bucket, and what stands for the best that could be had without any mount."""

import contextlib
import os
import pwd
import subprocess
import sys
import time

import landfall_test as lt
import processes
import work
from killer import children

SERVED = "landfall"
QUIET_SECONDS, QUIET_SHARE, QUIET_MOST = 1, 0.02, 120


class System:
    """One way of mounting a bucket. mount() starts fresh, with an empty cache. Directories are left behind until the end:
    ext4 passes over the inodes of files deleted within the last minutes one by one, at the cost of whoever makes files next."""

    def __init__(self, ground):
        self.ground = ground

    def mount(self, bucket):
        self.dir = lt.temporary_directory("lf-bench-")
        self.point = os.path.join(self.dir, "mnt")
        os.mkdir(self.point)
        self.start(bucket)
        lt.wait_until(self.ready, 60, f"the mount of {self.name}")

    def ready(self):
        return os.path.ismount(self.point) and os.listdir(self.point)

    def unmount(self):
        """Whatever it has not sent yet is lost."""
        subprocess.run(["umount", "-l", self.point], stderr=subprocess.DEVNULL, check=False)
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def spawn(self, *argv):
        with open(os.path.join(self.dir, "log"), "ab") as log:
            self.process = subprocess.Popen(argv, env=lt.clean_env(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def pids(self):
        return processes.descendants(self.process.pid)

    @contextlib.contextmanager
    def mounted(self, bucket):
        work.drop_caches()
        try:
            self.mount(bucket)
            work.touch_memory(512 * work.MIB)   # what was free for a while may have gone back to the virtual machine's host
            yield self.point
        finally:
            self.unmount()


class Landfall(System):
    key = name = "Landfall"
    short = "landfall"
    arguments, members = (), {}            # of `landfall run`, and of the drive
    encrypts_objects, stored_as = False, ".data"
    settings = "`landfall run` with its defaults: all four daemons, each under its own user, sandboxes on"
    cloud = "begins to upload when nothing was changed for 0.3 s, or changes have gone on for 3 s (`SettleMilliseconds`)"

    @staticmethod
    def version():
        return lt.run(os.path.join(lt.programs(), "landfall"), "version").stdout.split()[1]

    def start_agent(self):
        self.instance = lt.Instance(directory=lt.temporary_directory("lf-bench-"), arguments=self.arguments).start()
        self.process = self.instance.process

    def mount(self, bucket):
        self.start_agent()
        account = self.instance.add_s3_account(bucket.server)
        self.point = self.instance.add_drive(account, bucket.name, **self.members)["localPath"]

    def unmount(self):
        self.instance.stop()

    def stop(self):
        status = self.instance.stop()
        assert status == 0, f"landfall run ended with {status}"

    def restart(self):
        self.process = self.instance.start().process
        self.instance.wait_mounted(self.point)

    def wait_quiet(self):
        """Until what goes on behind takes next to no time of the processors any more, but not for ever."""
        deadline = time.monotonic() + QUIET_MOST
        while processes.time_spent(self.pids(), QUIET_SECONDS) > QUIET_SHARE * QUIET_SECONDS:
            if time.monotonic() > deadline:
                print(f"{self.name} is still busy after {QUIET_MOST} s", file=sys.stderr)
                return

    @contextlib.contextmanager
    def folder_mounted(self, folder):
        """A drive on this folder, whose parent is the account."""
        try:
            self.start_agent()
            account = self.instance.add_folder_account(os.path.dirname(folder))
            self.point = self.instance.add_drive(account, os.path.basename(folder))["localPath"]
            yield self.point
        finally:
            self.unmount()

    def stored(self, path):
        return [self.cache_file(path)]

    def cache_file(self, path):
        number = f"{os.stat(path).st_ino:x}"
        for here, _, files in os.walk(os.path.join(self.instance.dir, "state", "cache")):
            for name in files:
                if name.endswith(self.stored_as) and name.removesuffix(self.stored_as).lstrip("0") == number:
                    return os.path.join(here, name)
        raise AssertionError(f"{path} has no cache file")

    def workers(self):
        return children(self.instance.pid("mountd"))


class Encrypted(Landfall):

    def key_of_drive(self, action, stdin=""):
        return lt.run(os.path.join(self.instance.bin, "landfall"), "key", action, "drive", "--dir", self.instance.dir, input=stdin)


class EncryptedCache(Encrypted):
    key = name = "Landfall, encrypted cache"
    short = "landfall-cache"
    settings = "a drive with `localCacheEncrypted`, else as Landfall"
    members = {"localCacheEncrypted": True}
    stored_as = ".seal"


class EncryptedObjects(Encrypted):
    key = name = "Landfall, encrypted objects"
    short = "landfall-objects"
    settings = "a drive with `cloudObjectsEncrypted`, else as Landfall"
    members = {"cloudObjectsEncrypted": True}
    encrypts_objects = True


class EncryptedBoth(Encrypted):
    key = name = "Landfall, both encrypted"
    short = "landfall-both"
    settings = "a drive with `localCacheEncrypted` and `cloudObjectsEncrypted`, else as Landfall"
    members = {**EncryptedCache.members, **EncryptedObjects.members}
    stored_as = EncryptedCache.stored_as
    encrypts_objects = True


class Gocryptfs(System):
    """Encrypts files of a directory; there is no cloud."""

    key = name = "gocryptfs"
    short = "gocryptfs"
    settings = "`gocryptfs -init` with a passphrase file, else its defaults (AES-256-GCM); its directory is on the disk of the caches"
    cloud = "has none"

    @staticmethod
    def version():
        return lt.run("gocryptfs", "-version").stdout.split(";")[0].split()[1]

    def start(self, bucket):
        self.cipher, secret = os.path.join(self.dir, "cipher"), os.path.join(self.dir, "passphrase")
        os.mkdir(self.cipher)
        with open(secret, "w") as f:
            f.write("a passphrase for a measurement\n")
        os.chmod(secret, 0o600)
        lt.run("gocryptfs", "-init", "-q", "-passfile", secret, self.cipher)
        self.spawn("gocryptfs", "-fg", "-q", "-passfile", secret, self.cipher, self.point)

    def ready(self):
        return os.path.ismount(self.point)

    def stored(self, path):
        """Its file in the directory, whose inode number shows in the mount."""
        number = os.stat(path).st_ino
        return [entry.path for entry in os.scandir(self.cipher) if entry.inode() == number]


class Rclone(System):
    key = name = "rclone mount"
    short = "rclone"
    settings = "`--vfs-cache-mode full`, else its defaults"
    cloud = "begins to upload 5 s after the close (`--vfs-write-back`)"
    options = []

    @staticmethod
    def version():
        return lt.run("rclone", "version").stdout.split()[1]

    def start(self, bucket):
        self.spawn(*bucket.server.rclone_argv("mount", f"s3:{bucket.name}", self.point, "--vfs-cache-mode", "full",
                                              "--cache-dir", os.path.join(self.dir, "cache"), *self.options))


class RcloneAtOnce(Rclone):
    key = name = "rclone without its delay"
    short = "rclone-at-once"
    settings = "`--vfs-cache-mode full --vfs-write-back 0s`"
    cloud = "begins to upload at the close"
    options = ["--vfs-write-back", "0s"]


class S3fs(System):
    key = name = "s3fs"
    short = "s3fs"
    settings = "without `use_cache`, else its defaults"
    cloud = "uploads within the close"
    options = ""

    @staticmethod
    def version():
        return lt.run("s3fs", "--version").stdout.split("V")[1].split()[0]

    def start(self, bucket):
        server, keys = bucket.server, os.path.join(self.dir, "keys")
        with open(keys, "w") as f:
            f.write(f"{server.access_key}:{server.secret_key}\n")
        os.chmod(keys, 0o600)
        self.spawn("s3fs", bucket.name, self.point, "-f", "-o",
                   f"passwd_file={keys},url={server.url},use_path_request_style,sigv4,endpoint={server.region}{self.options}")


class S3fsCache(S3fs):
    key = name = "s3fs with a cache"
    short = "s3fs-cache"
    settings = "`use_cache`, else its defaults"

    def start(self, bucket):
        self.options = f",use_cache={os.path.join(self.dir, 'cache')}"
        super().start(bucket)


SYSTEMS = [Landfall, Rclone, RcloneAtOnce, S3fs, S3fsCache, EncryptedCache, EncryptedObjects, EncryptedBoth, Gocryptfs]

# What the rows call those that mount nothing, and what they are.
FILE, CURL, RANGES, PARTS, LIST = "the cache file", "curl", "curl, 8 ranges", "curl, parts", "the server's LIST"
SERVER, SERVER_SIGNED, SERVER_ALONE = "the server", "the server, signed PUTs", "the server, one connection"
COPY, DISK = "a local file", "a local file, synced"
ONE_PASS = "one pass alone"
HELLO, NGINX = "evhttp", "nginx"
SERVERS, ALL, THERE = "the server's processes", "all processes", "what there was"
REFERENCES = {
    FILE: "Landfall's own cache file of what was read, read past the mount, its pages in the same page cache",
    COPY: "the same copy to a file on the file system of the caches",
    DISK: "that, and `fsync`: the speed of the disk",
    CURL: "one `curl` of the whole object, unsigned, to `/dev/null`",
    RANGES: "one `curl --parallel` of eight ranges of 32 MiB at once, unsigned, to `/dev/null`",
    PARTS: "a multipart upload by `curl --parallel`: 32 parts of 8 MiB, cut beforehand, eight at once, unsigned; first to last request",
    SERVER: "`wrk` with as many connections as Landfall has for this (16 for PUT, 8 for GET of small files), unsigned; its rate, for 1000",
    SERVER_SIGNED: "the same with PUTs as Landfall sends them: signed, only for a new object, with an inode's metadata; signed beforehand",
    SERVER_ALONE: "`wrk` with one connection, which is what a program gets that waits for each file, and each file for its request",
    ALL: "the time in which the processors were not idle, the program that reads or writes and the kernel's own threads included",
    THERE: "the row's time on all processors",
    ONE_PASS: "AES-256-GCM over 64 KiB each, in one thread, in memory",
    HELLO: "libevent's own HTTP server that answers every request with one byte, asked by `wrk` in the same way",
    NGINX: "nginx, one process, `sendfile`, the same file on the disk of the caches, by the same `curl`",
    LIST: "the pages of 1000 that a LIST of all these keys comes in, asked for one after another, unsigned",
}


def served_account():
    return pwd.getpwnam(SERVED)
