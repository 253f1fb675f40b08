"""What the systems work on: buckets of one radosgw with their objects, and the local files that are written to them."""

import contextlib
import http.client
import json
import os
import signal
import sys
import time

import landfall_test as lt
import work

MIB = work.MIB
MIDDLE, BIG, GREAT = 16 * MIB, 256 * MIB, 1024 * MIB
NAMES_DIRECTORIES, NAMES_FILES = 100, 1000
FILLING = 32             # requests at once
LOOK_SECONDS = 0.1       # between two looks at a bucket
HERE = "here"            # an object that each bucket has, so that a mount that is ready shows something


class Bucket:
    """Anybody may do anything there, so that filling it, watching it and asking as fast as possible costs no signatures."""

    def __init__(self, server, name):
        self.server, self.name, self.url = server, server.make_bucket(name), f"{server.url}/{name}"
        policy = os.path.join(server.dir, "policy.json")
        with open(policy, "w") as f:
            json.dump({"Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Principal": "*", "Action": "s3:*",
                "Resource": [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"]}]}, f)
        server.s3cmd("setpolicy", policy, f"s3://{name}")
        self.ask("PUT", "/" + HERE)

    def ask(self, method, path, body=None, headers=None):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)) as c:
            c.request(method, f"/{self.name}{path}", body, headers or {})
            reply = c.getresponse()
            return reply.status, reply.headers, reply.read()

    def fill(self, source, pattern):
        """The same file under all keys that curl makes of the pattern."""
        lt.run("curl", "--silent", "--show-error", "--no-progress-meter", "--fail", "--parallel", "--parallel-immediate",
               "--parallel-max", str(FILLING), "-o", "/dev/null", "-T", source, f"{self.url}/{pattern}", timeout=900)

    def wait(self, condition, what, seconds=300):
        """Looks now and then: the server that is asked is the one that is measured."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not arrive in the bucket within {seconds} s"
            time.sleep(LOOK_SECONDS)

    def has_object(self, key, size):
        status, headers, _ = self.ask("HEAD", "/" + key)
        return status == 200 and headers.get("Content-Length") == str(size)

    def has_content(self, key, size):
        """As has_object(), and an encrypted object counts by the size of what is in it."""
        status, headers, _ = self.ask("HEAD", "/" + key)
        return status == 200 and headers.get("x-amz-meta-landfall-size", headers.get("Content-Length")) == str(size)

    def has_directory(self, prefix):
        """All that work.write_directory() writes. Their listing costs the server as much as twenty uploads, so nobody asks for it as long
        as the last name is not there."""
        return self.has_object(prefix + work.small_names()[-1], work.SMALL_BYTES) and \
            self.page(prefix, prefix).count(b"<Size>%d<" % work.SMALL_BYTES) == work.SMALL_FILES

    def page(self, prefix, after):
        return self.ask("GET", f"?list-type=2&max-keys=1000&prefix={prefix}&start-after={after}")[2]

    def list(self, prefix):
        """All keys below it, page by page."""
        found, after = 0, prefix
        while page := self.page(prefix, after):
            keys = page.split(b"<Key>")[1:]
            found += len(keys)
            if b"<IsTruncated>true<" not in page:
                return found
            after = keys[-1].partition(b"<")[0].decode()


class Ground:
    """The buckets are filled for the rows that are wanted."""

    def __init__(self, scratch, rows):
        self.scratch, self.server = scratch, lt.Radosgw.shared()
        self.read, self.written, self.names, self.limit, self.encrypted = [
            Bucket(self.server, f"bench-{n}") for n in ("read", "in", "names", "limit", "encrypted")]
        self.middle, self.big, self.great, self.tree, self.small = [
            os.path.join(scratch, n) for n in ("middle", "big", "great", "tree", "small")]
        self.parts, self.kit = [], None
        work.random_file(self.big, BIG)
        with open(self.small, "wb") as f:
            f.write(os.urandom(work.SMALL_BYTES))
        for prefixes, prepare in self.PREPARATIONS:
            if any(r.startswith(prefixes) for r in rows):
                began = time.monotonic()
                prepare(self)
                print(f"prepared for {', '.join(prefixes)}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)

    def prepare_big(self):
        self.server.rclone("copy", self.big, f"s3:{self.read.name}/")

    def prepare_middle(self):
        work.random_file(self.middle, MIDDLE)
        self.server.rclone("copy", self.middle, f"s3:{self.read.name}/")

    def prepare_great(self):
        work.random_file(self.great, GREAT)
        self.server.rclone("copy", self.great, f"s3:{self.read.name}/")

    def prepare_small(self):
        self.read.fill(self.small, f"out-[0-2]/small-[0-{work.SMALL_FILES - 1}]")

    def prepare_list(self):
        self.read.fill(self.small, f"list/directory-[0-{work.LIST_DIRECTORIES - 1}]/object-[0-{work.LIST_FILES - 1}]")

    def prepare_names(self):
        byte = os.path.join(self.scratch, "byte")
        with open(byte, "wb") as f:
            f.write(b"1")
        self.names.fill(byte, f"names/directory-[0-{NAMES_DIRECTORIES - 1}]/object-[0-{NAMES_FILES - 1}]")

    def prepare_tree(self):
        work.make_tree(self.tree)

    PREPARATIONS = [
        (("cold_", "crypt_cold"), prepare_big),
        (("crypt_random", "crypt_read"), prepare_middle),
        (("warm_", "crypt_r", "crypt_upload", "api_"), prepare_great),
        (("small_out",), prepare_small),
        (("list_", "memory_"), prepare_list),
        (("find_", "rename"), prepare_names),
        (("copy_",), prepare_tree),
    ]

    @contextlib.contextmanager
    def silent(self):
        """The server takes connections and answers nothing."""
        pid = self.server.pids()["client.admin"]
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def collect_garbage(self):
        """What was deleted or replaced leaves the server's memory."""
        for key in self.written_keys():
            status = self.written.ask("DELETE", "/" + key)[0]
            assert status == 204, f"the server answered {status} to the removal of {key}"
        self.server.ceph("radosgw-admin", "-n", "client.admin", "gc", "process", "--include-all")

    def written_keys(self):
        return [k.partition(b"<")[0].decode() for k in self.written.page("written-", "written-").split(b"<Key>")[1:]]
