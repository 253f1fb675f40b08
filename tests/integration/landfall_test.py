"""What the integration tests stand on: instances of Landfall, real S3 servers, the tools to compare with.

Everything runs on loopback, in temporary directories, with a clean environment, and is ended by
process id. Nothing sleeps for a fixed time: wait_until() polls a condition up to a deadline.
"""

import atexit
import contextlib
import fcntl
import http.client
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse

SOURCE = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("LANDFALL_BUILD", os.getcwd())
PROGRAMS = ["landfall", "landfall-frontd", "landfall-syncd", "landfall-mountd", "landfall-worker", "landfall-cryptd"]
DAEMONS = ["cryptd", "syncd", "mountd", "frontd"]
ROOT = os.geteuid() == 0
LOG_TAIL = 6000

needs_root = unittest.skipUnless(ROOT, "needs root")


def patience(seconds):
    """What an idle machine does in that time takes longer where several programs wait for each processor."""
    return seconds * max(1, os.getloadavg()[0] / os.cpu_count())


def wait_until(condition, seconds=20, what="the condition"):
    """The first true value of condition(), which may raise OSError, KeyError or ValueError meanwhile."""
    began = time.monotonic()
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
        except (OSError, KeyError, ValueError, http.client.HTTPException, subprocess.TimeoutExpired) as e:
            last = e
        if time.monotonic() > began + patience(seconds):
            raise AssertionError(f"{what} did not come true within {patience(seconds):.0f} s" + (f" ({last!r})" if last else ""))
        time.sleep(0.02)


def clean_env(**more):
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/nonexistent", **more}


def run(*argv, env=None, timeout=300, check=True, text=True, user=None, **more):
    """subprocess.run with a clean environment and no input; a failure shows what the program said."""
    if user:
        argv = as_user(user) + list(argv)
    done = subprocess.run(argv, env=env or clean_env(), stdin=more.pop("stdin", subprocess.DEVNULL) if "input" not in more else None,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, text=text, **more)
    if check and done.returncode != 0:
        raise AssertionError(f"{argv[0]} ended with {done.returncode}\n{' '.join(map(str, argv))}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return done


def as_user(user):
    account = pwd.getpwnam(user)
    return ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups", "--"]


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


_ports = {}        # ours, by number: the locks that keep other runs of the tests from them


def free_port():
    """One that stays free until it is used: the kernel gives none of these to anybody who connects, and other runs beside this one
    see that it is taken."""
    folder = os.path.join(tempfile.gettempdir(), f"lf-ports-{os.geteuid()}")
    os.makedirs(folder, exist_ok=True)
    for port in random.sample(range(20000, 32000), 1000):
        lock = open(os.path.join(folder, str(port)), "w")
        try:
            if port not in _ports and is_free(port):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _ports[port] = lock
                return port
        except BlockingIOError:
            pass
        lock.close()
    raise AssertionError("no port is free")


def is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def temporary_directory(prefix="lf-"):
    """Short, because sockets live in it, and open to other users, because daemons do."""
    path = tempfile.mkdtemp(prefix=prefix)
    os.chmod(path, 0o755)
    return path


def mounts_below(path):
    found = []
    with open("/proc/self/mountinfo") as f:
        for line in f:
            point = line.split()[4].encode().decode("unicode_escape").encode("latin-1").decode("utf-8", "surrogateescape")
            if point.startswith(path + "/"):
                found.append(point)
    return found


def remove_tree(path):
    for point in sorted(mounts_below(path), reverse=True):
        subprocess.run(["umount", "-l", point], stderr=subprocess.DEVNULL, check=False)
    if not mounts_below(path):
        shutil.rmtree(path, ignore_errors=True)


_programs = None


def programs():
    """A directory with the programs of the build that every user can reach, made once."""
    global _programs
    if _programs is None:
        _programs = temporary_directory("lf-bin-")
        atexit.register(remove_tree, _programs)
        for name in PROGRAMS:
            built = os.path.join(BUILD, name)
            if os.path.exists(built):
                shutil.copy(built, _programs)
                os.chmod(os.path.join(_programs, name), 0o755)
    return _programs


class ApiError(AssertionError):
    def __init__(self, status, code, body):
        super().__init__(f"status {status}, error-code {code}: {body}")
        self.status, self.code, self.body = status, code, body


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body) if self.body else None


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, port):
        super().__init__("localhost", port, timeout=120)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


# What is encrypted of the drives of all tests: LANDFALL_ENCRYPT=cache, objects or both runs them so.
ENCRYPTED = {
    "": {}, "cache": {"localCacheEncrypted": True}, "objects": {"cloudObjectsEncrypted": True},
    "both": {"localCacheEncrypted": True, "cloudObjectsEncrypted": True},
}[os.environ.get("LANDFALL_ENCRYPT", "")]
# Of the files of a cache the one that has the bytes.
CONTENT = "seal" if ENCRYPTED.get("localCacheEncrypted") else "data"


class Instance:
    """One `landfall run` in a directory of its own. As root with separate users, else rootless."""

    live = []

    def __init__(self, user=None, bin_dir=None, directory=None, arguments=()):
        self.dir = directory or temporary_directory()
        self.owns_dir = directory is None
        self.user = user              # the account that starts it; None: ours
        self.bin = bin_dir or programs()
        self.arguments = [*arguments]
        self.env = {}
        self.starter = []             # a command that runs the supervisor
        self.stdin = subprocess.DEVNULL
        self.process = self.output = None
        if user and self.owns_dir:
            account = pwd.getpwnam(user)
            os.chown(self.dir, account.pw_uid, account.pw_gid)

    # --- life ---------------------------------------------------------------------------------

    def spawn(self, *more):
        """Starts the supervisor without waiting for anything."""
        self.close_output()
        self.output = open(os.path.join(self.dir, "supervisor.out"), "ab+")
        argv = [os.path.join(self.bin, "landfall"), "run", "--dir", self.dir, "--port", "0", *self.arguments, *more]
        argv = ["setpriv", "--pdeathsig", "TERM", "--", *self.starter, *argv]      # it does not outlive the tests
        if self.user:
            argv = as_user(self.user) + argv
        # A session of its own: a signal of the terminal reaches it only through stop().
        self.process = subprocess.Popen(argv, env=clean_env(**self.env), stdin=self.stdin, stdout=self.output,
                                        stderr=subprocess.STDOUT, start_new_session=True)
        Instance.live.append(self)
        return self

    def start(self, *more):
        self.spawn(*more)
        try:
            wait_until(lambda: self.failed_to_start() or self.ready(), 60, "readiness of all daemons")
        except BaseException:
            self.print_logs()
            self.stop()
            raise
        return self

    def ready(self):
        info = self.info()
        return info["ready"] and info["pids"]["landfall"] == self.process.pid

    def failed_to_start(self):
        if self.process.poll() is not None:
            raise AssertionError(f"landfall run ended with {self.process.returncode}:\n{self.said()}")

    def stop(self, seconds=60):
        """Ends it as Ctrl-C does and checks nothing. Returns the exit status."""
        if self in Instance.live:
            Instance.live.remove(self)
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(patience(seconds))
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.close_output()
        return self.process.returncode if self.process else None

    def close_output(self):
        if self.output:
            self.output.close()
            self.output = None

    def remove(self):
        self.stop()
        if self.owns_dir:
            remove_tree(self.dir)

    # --- what it says about itself ------------------------------------------------------------

    def said(self):
        with open(os.path.join(self.dir, "supervisor.out"), errors="replace") as f:
            return f.read()

    def info(self):
        with open(os.path.join(self.dir, "instance.json")) as f:
            return json.load(f)

    def pid(self, daemon):
        return self.info()["pids"][daemon]

    def log(self, daemon):
        with open(os.path.join(self.dir, "log", daemon + ".log"), errors="replace") as f:
            return f.read()

    def print_logs(self, to=sys.stderr):
        paths = [os.path.join(self.dir, "supervisor.out")]
        with contextlib.suppress(OSError):
            paths += [os.path.join(self.dir, "log", name) for name in sorted(os.listdir(os.path.join(self.dir, "log")))]
        for path in paths:
            with contextlib.suppress(OSError), open(path, "rb") as f:
                f.seek(max(0, os.path.getsize(path) - LOG_TAIL))
                print(f"--- {path}\n{f.read().decode(errors='replace')}", file=to)

    def restart(self, daemon, sig=signal.SIGKILL):
        """Ends one daemon and waits until its successor reports readiness."""
        before = self.pid(daemon)
        ready = self.said().count(f" ready daemon={daemon} ")
        os.kill(before, sig)
        wait_until(lambda: self.said().count(f" ready daemon={daemon} ") > ready, 30, f"readiness of the next {daemon}")
        wait_until(lambda: self.pid(daemon) not in (0, before), 10, f"the new pid of {daemon}")

    # --- its API ------------------------------------------------------------------------------

    def request(self, method, path, body=None, headers=None, socket_path=None, port=None):
        """One request as it stands; any status comes back. `body` may be bytes or something for JSON."""
        headers = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        if socket_path:
            connection = UnixConnection(socket_path, self.info()["port"])
        else:
            connection = http.client.HTTPConnection("127.0.0.1", port or self.info()["port"], timeout=150)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            return Reply(reply.status, reply.headers, reply.read())

    def api(self, method, path, body=None, /, **query):
        """The JSON of a reply that must be 200."""
        if query:
            path += "?" + urllib.parse.urlencode(query)
        reply = self.request(method, path, body)
        if reply.status != 200:
            raise ApiError(reply.status, reply.headers.get("error-code"), reply.body.decode(errors="replace"))
        return reply.json()

    def add_folder_account(self, folder, name="local"):
        return self.api("POST", "/cloud/insert_account", {"name": name, "cloudType": 1048576, "serviceUrl": "file://" + folder})

    def add_s3_account(self, server, name="s3"):
        return self.api("POST", "/cloud/insert_account", {
            "name": name, "cloudType": 8, "serviceUrl": server.url, "region": server.region,
            "accessKey": server.access_key, "secretKey": server.secret_key})

    def add_drive(self, account, bucket, name="drive", **more):
        """Stores a drive, waits for its mount and returns the mount point."""
        drive = self.api("POST", "/management/clouddrive", {
            "name": name, "storageName": bucket, "prefix": "", "driveType": 1, "syncType": 1, "permissionType": 2,
            "allowDelete": True, "permanentLocalPath": "$$$", "account": {"id": account["id"]}, **ENCRYPTED, **more})
        self.wait_mounted(drive["localPath"])
        return drive

    def wait_mounted(self, point):
        wait_until(lambda: os.path.ismount(point) and os.listdir(point) is not None, 30, f"the mount at {point}")

    def wait_uploaded(self, *paths, seconds=120):
        """Until every one of these files reports state Normal."""
        for path in paths:
            wait_until(lambda p=path: self.api("GET", "/management/object_status", path=p) == 0, seconds, f"upload of {path}")

    def opened(self, drive, body):
        """The plain bytes of an object of a drive, whatever is encrypted in this run."""
        if not ENCRYPTED.get("cloudObjectsEncrypted"):
            return body
        kit = os.path.join(self.dir, "kit-" + drive)
        with open(kit, "w") as f:
            f.write(self.landfall("key", "export", drive).stdout)
        try:
            return run("age", "-d", "-i", kit, input=body, text=False).stdout
        finally:
            os.unlink(kit)

    def landfall(self, *argv, env=None, check=True):
        return run(os.path.join(self.bin, "landfall"), *argv, "--dir", self.dir, env=env, check=check)


# --- real servers ------------------------------------------------------------------------------

class Server:
    """A server for the whole test run: shared() starts it at first use, the end of Python stops it."""

    _shared = None
    missing = None

    @classmethod
    def shared(cls):
        if cls._shared is None:
            absent = [p for p in cls.programs if not shutil.which(p, path=clean_env()["PATH"])]
            if absent or not ROOT:
                raise unittest.SkipTest(f"{cls.__name__} needs root" if not ROOT else f"{absent[0]} is not installed")
            cls._shared = cls()
            atexit.register(cls._shared.stop)
            cls._shared.start()
        return cls._shared

    def rclone_argv(self, *argv):
        """rclone with this server as the remote `s3:`."""
        config = os.path.join(self.dir, "rclone.conf")
        if not os.path.exists(config):
            with open(config, "w") as f:
                f.write(f"[s3]\ntype = s3\nprovider = Ceph\nforce_path_style = true\nendpoint = {self.url}\nregion = {self.region}\n"
                        f"access_key_id = {self.access_key}\nsecret_access_key = {self.secret_key}\n")
        return ["rclone", "--config", config, "--retries", "1", "--low-level-retries", "1", *argv]

    def rclone(self, *argv, **more):
        return run(*self.rclone_argv(*argv), **more)

    def s3cmd(self, *argv, **more):
        config = os.path.join(self.dir, "s3cfg")
        host = urllib.parse.urlparse(self.url).netloc
        if not os.path.exists(config):
            with open(config, "w") as f:
                f.write(f"[default]\naccess_key = {self.access_key}\nsecret_key = {self.secret_key}\nhost_base = {host}\n"
                        f"host_bucket = {host}\nuse_https = False\nbucket_location = US\n")
        return run("s3cmd", "-c", config, "--no-progress", *argv, **more)

    def aws(self, *argv, keys=None, **more):
        access, secret = keys or (self.access_key, self.secret_key)
        env = clean_env(AWS_ACCESS_KEY_ID=access, AWS_SECRET_ACCESS_KEY=secret,
                        AWS_DEFAULT_REGION=self.region, AWS_EC2_METADATA_DISABLED="true", AWS_CONFIG_FILE="/nonexistent")
        return run("/usr/bin/aws", "--endpoint-url", self.url, *argv, env=env, **more)

    def make_bucket(self, name):
        self.s3cmd("mb", f"s3://{name}")
        return name

    def answers(self, path):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)) as c:
            c.request("GET", path)
            return c.getresponse().status < 500


STORE_RESIDENT_MOST = 4 << 30      # twice what it keeps; memstore_device_bytes ends it


class Radosgw(Server):
    """Ceph's S3 gateway over one OSD that keeps its objects in memory."""

    programs = ["radosgw", "ceph-mon", "ceph-osd", "ceph-authtool", "monmaptool", "radosgw-admin"]
    store = "memstore"
    region, access_key, secret_key = "us-east-1", "AKLANDFALLTEST", "secret/of+landfall/test+key"

    CONF = """[global]
fsid = {fsid}
mon_initial_members = a
mon_host = [v2:127.0.0.1:{mon2}/0,v1:127.0.0.1:{mon1}/0]
ms_bind_ipv6 = false
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_data_avail_crit = 1
mon_data_avail_warn = 2
paxos_propose_interval = 0.05
paxos_min_wait = 0.02
run_dir = {dir}/sock
admin_socket = {dir}/sock/$name.asok
pid_file = {dir}/$name.pid
log_file = {dir}/log/$name.log
crash_dir = {dir}/crash
keyring = {dir}/keyring
mon_data = {dir}/mon
osd_data = {dir}/osd
osd_objectstore = {store}
memstore_device_bytes = 6442450944
bluestore_block_size = 8589934592
osd_memory_target = 1073741824
[client]
rgw_frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw_data = {dir}/rgw
rgw_enable_usage_log = false
rgw_enable_ops_log = false
rgw_thread_pool_size = 64
"""

    def start(self):
        self.dir = temporary_directory("lf-rgw-")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        fsid = open("/proc/sys/kernel/random/uuid").read().strip()
        for name in ("mon", "osd", "rgw", "log", "sock", "crash"):
            os.mkdir(os.path.join(self.dir, name))
        with open(os.path.join(self.dir, "ceph.conf"), "w") as f:
            f.write(self.CONF.format(fsid=fsid, dir=self.dir, port=self.port, mon1=free_port(), mon2=free_port(), store=self.store))
        self.start_mon(fsid)
        self.start_osd()
        self.ceph("radosgw", "-n", "client.admin")
        wait_until(lambda: self.answers("/"), 60, "radosgw")
        self.ceph("radosgw-admin", "-n", "client.admin", "user", "create", "--uid=t", "--display-name=t",
                  f"--access-key={self.access_key}", f"--secret-key={self.secret_key}")

    def make_user(self, name, secret=None):
        """Another user with keys of its own. Returns (access key, secret key)."""
        keys = "AK" + name.upper(), secret or "secret-of-" + name
        self.ceph("radosgw-admin", "-n", "client.admin", "user", "create", f"--uid={name}", f"--display-name={name}",
                  f"--access-key={keys[0]}", f"--secret-key={keys[1]}")
        return keys

    def make_bucket_of(self, keys, bucket):
        self.aws("s3api", "create-bucket", "--bucket", bucket, keys=keys)

    def ceph(self, program, *argv, **more):
        return run(program, "-c", "ceph.conf", *argv, cwd=self.dir, **more)

    def start_mon(self, fsid):
        mon = next(line for line in open(os.path.join(self.dir, "ceph.conf")) if line.startswith("mon_host")).split(" = ")[1].strip()
        keyring = ["ceph-authtool", "keyring", "--gen-key", "-n"]
        run(*keyring[:2], "--create-keyring", *keyring[2:], "mon.", "--cap", "mon", "allow *", cwd=self.dir)
        run(*keyring, "client.admin", "--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *", cwd=self.dir)
        run(*keyring, "osd.0", "--cap", "mon", "allow profile osd", "--cap", "mgr", "allow profile osd", "--cap", "osd", "allow *",
            cwd=self.dir)
        run("monmaptool", "--create", "--clobber", "--fsid", fsid, "--addv", "a", mon.replace("/0", ""), "monmap", cwd=self.dir)
        self.ceph("ceph-mon", "-i", "a", "--mkfs", "--monmap", "monmap", "--keyring", "keyring")
        self.ceph("ceph-mon", "-i", "a")
        wait_until(lambda: self.ceph("ceph", "quorum_status", check=False, timeout=30).returncode == 0, 60, "the monitor's quorum")

    def start_osd(self):
        uuid = open("/proc/sys/kernel/random/uuid").read().strip()
        self.ceph("ceph", "osd", "new", uuid)
        self.ceph("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", uuid)
        self.ceph("ceph-osd", "-i", "0")
        wait_until(lambda: "1 up" in self.ceph("ceph", "osd", "stat").stdout, 60, "the OSD")

    def stop(self):
        # radosgw first: without its OSD it no longer hears SIGTERM.
        for name in ("client.admin", "osd.0", "mon.a"):
            with contextlib.suppress(OSError, ValueError):
                end_process(int(open(os.path.join(self.dir, name + ".pid")).read()))
        remove_tree(self.dir)

    def pids(self):
        return {n: int(open(os.path.join(self.dir, n + ".pid")).read()) for n in ("client.admin", "osd.0", "mon.a")}

    @classmethod
    def renew(cls):
        """Between modules: a server whose objects fill much of its memory, and take it from others, gives way to a new one."""
        if cls._shared:
            with open(f"/proc/{cls._shared.pids()['osd.0']}/statm") as f:
                resident = int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            if resident > STORE_RESIDENT_MOST:
                atexit.unregister(cls._shared.stop)
                cls._shared.stop()
                cls._shared = None


class Swift(Server):
    """OpenStack Swift with its S3 interface: another implementation, with other manners."""

    programs = ["swift-proxy-server", "swift-object-server", "swift-container-server", "swift-account-server",
                "swift-ring-builder", "memcached"]
    region, access_key, secret_key = "us-east-1", "test:tester", "testing"

    BACKEND = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = root
swift_dir = {dir}/etc
devices = {dir}/d1
mount_check = false
disable_fallocate = true
log_level = WARNING
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
fallocate_reserve = 0
"""
    PROXY = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 2
swift_dir = {dir}/etc
user = root
log_level = WARNING
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats bulk tempurl s3api tempauth copy slo dlo versioned_writes symlink proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
s3_acl = false
min_segment_size = 5242880
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
allow_object_versioning = true
"""
    FILTERS = ["catch_errors", "gatekeeper", "healthcheck", "listing_formats", "bulk", "tempurl", "copy", "slo", "dlo", "symlink"]

    def start(self):
        self.dir = temporary_directory("lf-swift-")
        self.port, memcached = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.processes = []
        os.makedirs(os.path.join(self.dir, "d1", "sdb1"))
        os.mkdir(os.path.join(self.dir, "etc"))
        self.write("swift.conf", "[swift-hash]\nswift_hash_path_suffix = x\nswift_hash_path_prefix = x\n"
                                 "[storage-policy:0]\nname = Policy-0\ndefault = yes\n")
        self.spawn("memcached", "-u", "memcache", "-l", "127.0.0.1", "-p", str(memcached), "-m", "64")
        for kind in ("object", "container", "account"):
            self.start_backend(kind, free_port())
        filters = "".join(f"[filter:{f}]\nuse = egg:swift#{f}\n" for f in self.FILTERS)
        self.write("proxy-server.conf", self.PROXY.format(port=self.port, dir=self.dir, memcached=memcached) + filters)
        self.spawn("swift-proxy-server", "etc/proxy-server.conf")
        wait_until(lambda: self.answers("/healthcheck"), 60, "Swift's proxy")

    def start_backend(self, kind, port):
        self.write(f"{kind}-server.conf", self.BACKEND.format(kind=kind, port=port, dir=self.dir))
        builder = ["swift-ring-builder", os.path.join("etc", kind + ".builder")]
        run(*builder, "create", "6", "1", "1", cwd=self.dir)
        run(*builder, "add", f"r1z1-127.0.0.1:{port}/sdb1", "1", cwd=self.dir)
        run(*builder, "rebalance", cwd=self.dir)
        self.spawn(f"swift-{kind}-server", f"etc/{kind}-server.conf")

    def write(self, name, text):
        with open(os.path.join(self.dir, "etc", name), "w") as f:
            f.write(text)

    def spawn(self, *argv):
        with open(os.path.join(self.dir, "log"), "ab") as log:
            self.processes.append(subprocess.Popen(argv, cwd=self.dir, env=clean_env(), stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        remove_tree(self.dir)


def end_process(pid, seconds=10):
    """SIGTERM, and SIGKILL when that does not help. Not a child of ours, so it is watched through a pidfd."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    import select
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        if not select.select([fd], [], [], seconds)[0]:
            os.kill(pid, signal.SIGKILL)
            select.select([fd], [], [], seconds)
    os.close(fd)
