"""What the HTTP API costs: requests a second beside a server that does nothing, a stream beside nginx, lists, and very many listeners."""

import contextlib
import os
import pwd
import re
import select
import socket
import subprocess
import threading
import time
import urllib.parse

import ground as g
import landfall_test as lt
import processes
import systems as s
import work

CONNECTIONS, WRK_SECONDS, BUSY_SECONDS = 16, 4, 1
DRIVES, LISTED = 20, 10_000
CLIENTS, EVENTS, EVENTS_A_SECOND = 2000, 500, 50
HELLO_PORT, NGINX_PORT = 29557, 29558
HELLO, HELLO_ARGV = f"http://127.0.0.1:{HELLO_PORT}/", (os.path.join(lt.BUILD, "tests", "bench", "hello"), str(HELLO_PORT))

HANDSHAKE = "GET /notification HTTP/1.1\r\nHost: localhost:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

NGINX = """daemon off; worker_processes 1; pid {dir}/pid; error_log {dir}/error; user root; events {{ }}
http {{ access_log off; sendfile on; server {{ listen 127.0.0.1:{port}; root {root}; }} }}"""


def wrk(url, duration=WRK_SECONDS):
    """(seconds for each request, the slowest of a hundred)."""
    said = lt.run("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{duration}s", "--latency", url).stdout
    assert "Non-2xx" not in said and "Socket errors" not in said, said
    number, unit = re.search(r"99% +([0-9.]+)(us|ms|s)\b", said).groups()
    return 1 / float(re.search(r"Requests/sec: *([0-9.]+)", said).group(1)), float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1}[unit]


@contextlib.contextmanager
def serving(port, *argv):
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=lt.clean_env())
    try:
        lt.wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, 20, f"{argv[0]} on port {port}")
        yield
    finally:
        process.terminate()
        process.wait()


def resident(instance):
    return processes.memory_of([instance.pid("frontd")])[1]


# --- requests --------------------------------------------------------------------------------------

def address(system, endpoint, **query):
    return f"http://localhost:{system.instance.info()['port']}/management/{endpoint}" + ("?" + urllib.parse.urlencode(query) if query else "")


def add_drives(system):
    """As many as are wanted with the one there is, each with a bucket of its own; one of them has many objects."""
    cloud, account = os.path.join(system.instance.dir, "cloud"), pwd.getpwnam(s.SERVED)
    for path in [cloud] + [os.path.join(cloud, f"bucket-{n}") for n in range(1, DRIVES)]:
        os.mkdir(path, 0o700)
        os.chown(path, account.pw_uid, account.pw_gid)
    for n in range(LISTED):
        path = os.path.join(cloud, "bucket-1", f"object-{n:05}")
        with open(path, "w"):
            pass
        os.chown(path, account.pw_uid, account.pw_gid)
    folder = system.instance.add_folder_account(cloud)
    return [system.instance.add_drive(folder, f"bucket-{n}", name=f"drive {n}")["localPath"] for n in range(1, DRIVES)]


@contextlib.contextmanager
def downloading(system, point):
    """A GiB comes from the bucket meanwhile, and is not all here when that is over."""
    great = os.path.join(point, "great")
    system.instance.api("POST", f"/management/object_remove_from_cache?path={urllib.parse.quote(great)}")
    thread = threading.Thread(target=work.cat, args=(great,))
    thread.start()
    try:
        yield
        assert thread.is_alive(), "the download ended before the measurement"
    finally:
        thread.join()


def requests(system, tag):
    with system.mounted(system.ground.read) as point:
        wrk(address(system, "agent_status"))
        yield "api_status", system.key, wrk(address(system, "agent_status"))[0]
        with serving(HELLO_PORT, *HELLO_ARGV):
            wrk(HELLO)
            yield "api_status", s.HELLO, wrk(HELLO)[0]
        listed = add_drives(system)[0]
        before = resident(system.instance)
        path = f"/management/objects_info?path={urllib.parse.quote(listed)}"
        assert len(system.instance.request("GET", path).json()) == LISTED
        yield "api_list", system.key, work.timed(system.instance.request, "GET", path)
        yield "api_list_growth", system.key, max(0, resident(system.instance) - before)
        for key, url in ((system.key, address(system, "clouddrive")), (s.HELLO, HELLO)):
            with serving(HELLO_PORT, *HELLO_ARGV), downloading(system, point):
                seconds, slow = wrk(url, BUSY_SECONDS)
            yield "api_drives", key, seconds
            yield "api_drives_slow", key, slow


# --- a stream --------------------------------------------------------------------------------------

def curl(url):
    lt.run("curl", "--silent", "--show-error", "--fail", "-o", "/dev/null", url)


def stream(system, tag):
    with system.mounted(system.ground.read) as point:
        path = os.path.join(point, "great")
        work.cat(path)
        os.sync()
        url = address(system, "get_object_stream", path=path)
        curl(url)
        yield "api_stream", system.key, work.timed(curl, url)
        conf = os.path.join(system.instance.dir, "nginx.conf")
        with open(conf, "w") as f:
            f.write(NGINX.format(dir=os.path.dirname(conf), port=NGINX_PORT, root=os.path.dirname(system.ground.great)))
        url = f"http://127.0.0.1:{NGINX_PORT}/{os.path.basename(system.ground.great)}"
        with serving(NGINX_PORT, "nginx", "-c", conf):
            curl(url)
            yield "api_stream", s.NGINX, work.timed(curl, url)


# --- listeners -------------------------------------------------------------------------------------

def join(port):
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(HANDSHAKE.format(port=port).encode())
    assert client.recv(4096).startswith(b"HTTP/1.1 101 ")
    client.setblocking(False)
    return client


def tell(instance, begin):
    """Each call is two frames: its own and what it announces."""
    for n in range(EVENTS // 2):
        time.sleep(max(0, begin + 2 * n / EVENTS_A_SECOND - time.monotonic()))
        instance.api("POST", "/management/notify", {"operation": 2, "endpointAddress": "/bench", "httpMethod": "PUT", "data": "x" * 200})


def listeners(system, tag):
    with system.mounted(system.ground.read):
        port = system.instance.info()["port"]
        clients = {c.fileno(): c for c in (join(port) for _ in range(CLIENTS))}
        heard, begin = dict.fromkeys(clients, 0), time.monotonic()
        teller = threading.Thread(target=tell, args=(system.instance, begin))
        teller.start()
        with contextlib.closing(select.epoll()) as poll:
            for fd in clients:
                poll.register(fd, select.EPOLLIN)
            while min(heard.values()) < EVENTS and time.monotonic() - begin < 120:
                for fd, _ in poll.poll(1):
                    heard[fd] += clients[fd].recv(1 << 16).count(b'{"Type":4')
        teller.join()
        assert set(heard.values()) == {EVENTS}, "listeners missed events"
        yield "api_listeners", system.key, resident(system.instance)
        yield "api_listeners_behind", system.key, max(0, time.monotonic() - begin - EVENTS / EVENTS_A_SECOND)
        for client in clients.values():
            client.close()


assert g.GREAT == 1 << 30
