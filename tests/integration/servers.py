"""Real S3 servers on loopback, each in a folder and on ports of its own.

    with Radosgw() as s3: ...        # Ceph radosgw on a one-disk cluster in memory
    with Swift() as s3: ...          # OpenStack Swift with its S3 middleware

Both offer: endpoint, access_key, secret_key, region. They are stopped by pid.
"""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import uuid

CLEAN_ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


def free_ports(count):
    """Ports free at the moment of asking, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


def wait_for(condition, seconds, what):
    """Polls until condition() is true; its last exception or value goes into the message."""
    end = time.monotonic() + seconds
    last = None
    while True:
        try:
            last = condition()
            if last:
                return last
        except (OSError, urllib.error.URLError) as e:
            last = e
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not happen within {seconds} s: {last}")
        time.sleep(0.05)


def answers(url):
    """Whether an HTTP server answers there, with whatever status."""
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5).close()
    except urllib.error.HTTPError:
        pass
    return True


def gone(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def end_pid(pid, seconds=10):
    """TERM, then KILL; returns when the process is no more."""
    for sig, patience in ((signal.SIGTERM, seconds), (signal.SIGKILL, 10)):
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            return
        try:
            wait_for(lambda: gone(pid), patience, f"end of process {pid}")
            return
        except TimeoutError:
            continue
    raise TimeoutError(f"process {pid} survived SIGKILL")


class Server:
    name = ""
    region = "us-east-1"

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"landfall-{self.name}-"))
        self.endpoint = self.access_key = self.secret_key = ""

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc):
        self.stop()

    def start(self):
        raise NotImplementedError(self.name)

    def stop(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def run(self, *argv, **kwargs):
        done = subprocess.run(argv, env=CLEAN_ENV, cwd=self.dir, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=120, check=False, **kwargs)
        if done.returncode:
            raise RuntimeError(f"{' '.join(map(str, argv))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout


RADOSGW_CONF = """\
[global]
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
memstore_device_bytes = 4294967296
bluestore_block_size = 8589934592
osd_memory_target = 1073741824
[client]
rgw_frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw_data = {dir}/rgw
rgw_enable_usage_log = false
rgw_enable_ops_log = false
rgw_thread_pool_size = 64
"""


class Radosgw(Server):
    """`store`: "memstore" (quick reads) or "bluestore" (quicker writes)."""
    name = "radosgw"

    def __init__(self, store="memstore"):
        super().__init__()
        self.store = store
        self.access_key, self.secret_key = "AKLANDFALLTEST", f"SK{uuid.uuid4().hex}"

    def start(self):
        for sub in ("mon", "osd", "rgw", "log", "sock", "crash"):
            (self.dir / sub).mkdir()
        port, mon1, mon2 = free_ports(3)
        fsid = str(uuid.uuid4())
        (self.dir / "ceph.conf").write_text(RADOSGW_CONF.format(
            fsid=fsid, mon1=mon1, mon2=mon2, dir=self.dir, store=self.store, port=port))
        self.ceph("ceph-authtool", "keyring", "--create-keyring", "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        self.ceph("ceph-authtool", "keyring", "--gen-key", "-n", "client.admin", "--cap", "mon", "allow *",
                  "--cap", "osd", "allow *", "--cap", "mgr", "allow *")
        self.ceph("ceph-authtool", "keyring", "--gen-key", "-n", "osd.0", "--cap", "mon", "allow profile osd",
                  "--cap", "mgr", "allow profile osd", "--cap", "osd", "allow *")
        self.ceph("monmaptool", "--create", "--clobber", "--fsid", fsid,
                  "--addv", "a", f"[v2:127.0.0.1:{mon2},v1:127.0.0.1:{mon1}]", "monmap")
        conf = ("-c", "ceph.conf")
        self.ceph("ceph-mon", *conf, "-i", "a", "--mkfs", "--monmap", "monmap", "--keyring", "keyring")
        self.ceph("ceph-mon", *conf, "-i", "a")
        wait_for(lambda: self.succeeds("ceph", *conf, "quorum_status"), 60, "the quorum of ceph-mon")
        osd = str(uuid.uuid4())
        self.ceph("ceph", *conf, "osd", "new", osd)
        self.ceph("ceph-osd", *conf, "-i", "0", "--mkfs", "--osd-uuid", osd)
        self.ceph("ceph-osd", *conf, "-i", "0")
        wait_for(lambda: "1 up" in self.ceph("ceph", *conf, "osd", "stat"), 60, "the start of ceph-osd")
        self.ceph("radosgw", *conf, "-n", "client.admin")
        self.endpoint = f"http://127.0.0.1:{port}"
        wait_for(lambda: answers(self.endpoint), 60, "the start of radosgw")
        self.ceph("radosgw-admin", *conf, "-n", "client.admin", "user", "create", "--uid=t", "--display-name=t",
                  f"--access-key={self.access_key}", f"--secret-key={self.secret_key}")

    def ceph(self, *argv):
        return self.run(*argv)

    def succeeds(self, *argv):
        return subprocess.run(("timeout", "5") + argv, env=CLEAN_ENV, cwd=self.dir, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0

    def stop(self):
        # radosgw first: without its OSD it ignores SIGTERM.
        for name in ("client.admin", "osd.0", "mon.a"):
            pid_file = self.dir / f"{name}.pid"
            if pid_file.exists():
                end_pid(int(pid_file.read_text()))
        super().stop()


SWIFT_BACKEND = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 1
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

SWIFT_PROXY = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 2
user = root
swift_dir = {dir}/etc
log_level = WARNING
[pipeline:main]
pipeline = {filters} proxy-server
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
user_test_tester = {secret} .admin
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
allow_object_versioning = true
"""

SWIFT_FILTERS = ("catch_errors gatekeeper healthcheck cache listing_formats bulk tempurl s3api tempauth copy slo dlo "
                 "versioned_writes symlink").split()


class Swift(Server):
    name = "swift"

    def __init__(self):
        super().__init__()
        self.access_key, self.secret_key = "test:tester", f"SK{uuid.uuid4().hex}"
        self.processes = []

    def start(self):
        etc = self.dir / "etc"
        etc.mkdir()
        (self.dir / "d1" / "sdb1").mkdir(parents=True)
        (etc / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = x\nswift_hash_path_prefix = x\n"
                                        "[storage-policy:0]\nname = Policy-0\ndefault = yes\n")
        proxy, memcached, *backends = free_ports(5)
        for kind, port in zip(("account", "container", "object"), backends):
            (etc / f"{kind}-server.conf").write_text(SWIFT_BACKEND.format(kind=kind, port=port, dir=self.dir))
            builder = etc / f"{kind}.builder"
            for step in (("create", "6", "1", "1"), ("add", f"r1z1-127.0.0.1:{port}/sdb1", "1"), ("rebalance",)):
                self.run("swift-ring-builder", str(builder), *step)
        conf = SWIFT_PROXY.format(port=proxy, dir=self.dir, memcached=memcached, secret=self.secret_key,
                                  filters=" ".join(SWIFT_FILTERS))
        conf += "".join(f"[filter:{f}]\nuse = egg:swift#{f}\n" for f in SWIFT_FILTERS if f"[filter:{f}]" not in conf)
        (etc / "proxy-server.conf").write_text(conf)
        self.spawn("memcached", "-u", "memcache", "-l", "127.0.0.1", "-p", str(memcached), "-m", "64")
        for kind in ("object", "container", "account", "proxy"):
            self.spawn(f"swift-{kind}-server", str(etc / f"{kind}-server.conf"))
        self.endpoint = f"http://127.0.0.1:{proxy}"
        wait_for(lambda: answers(self.endpoint + "/healthcheck"), 60, "the start of Swift")

    def spawn(self, *argv):
        with open(self.dir / f"{argv[0]}.log", "ab") as log:
            self.processes.append(subprocess.Popen(argv, env=CLEAN_ENV, cwd=self.dir, stdin=subprocess.DEVNULL,
                                                   stdout=log, stderr=log, start_new_session=True))

    def stop(self):
        # Each server is the leader of the session of its own workers.
        for process in reversed(self.processes):
            try:
                os.killpg(process.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)
        super().stop()
