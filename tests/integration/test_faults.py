#!/usr/bin/python3
"""Every way in which one exchange with a server can fail, while a mount is read and written: right bytes or an error in time, never
wrong bytes; and once the failures end, everything is in the cloud once, without a hand laid on."""

import concurrent.futures
import errno
import json
import os
import re
import unittest

import landfall_test as lt
from fault_case import SEED, SOAK, FaultCase, content, read_file, took, turns, write_file
from landfall_test import wait_until

MIB = 1 << 20
DEADLINE = 5
TO_OPEN = 4                    # lookup and open of what alone does not answer: 2 s each

SIZES = [1, 70_000, 3 * MIB + 1]
CHECKED_SIZES = [70_000, MIB // 4]     # up to here what comes is compared with the ETag; of few bytes damage may come twice alike
LARGE = 20 * MIB + 12_345      # above 16 MiB files go up in parts
NEVER_ENDS = 1_000_000

# What happens to a request.
REFUSALS = {
    "500": {"status": 500, "code": "InternalError"},
    "500-bare": {"status": 500, "code": ""},
    "502-bare": {"status": 502, "code": ""},
    "503-retry-after": {"status": 503, "code": "SlowDown", "headers": ("Retry-After: 1",)},
    "429-retry-after": {"status": 429, "code": "TooManyRequests", "headers": ("Retry-After: 1",)},
    "403-skewed": {"status": 403, "code": "RequestTimeTooSkewed"},
    "403-skewed-date": {"status": 403, "code": "RequestTimeTooSkewed", "seconds": 3600, "count": 1},
    "403-expired": {"status": 403, "code": "ExpiredToken"},
    "403-denied": {"status": 403, "code": "AccessDenied"},
    "400-bad-digest": {"status": 400, "code": "BadDigest"},
}
FAULTS = {
    "cut-request": {"kind": "cut_request"},
    "cut-request-head": {"kind": "cut_request", "at": 20},
    "cut-response": {"kind": "cut_response"},
    "cut-response-head": {"kind": "cut_response", "at": 30},
    "truncated": {"kind": "truncated"},
    "no-answer": {"kind": "no_answer"},
    "delayed": {"kind": "delayed", "seconds": 1.5},
    "silent": {"kind": "silent"},
    "wrong-etag": {"kind": "wrong_etag"},
    "corrupted": {"kind": "corrupted"},
    "corrupt-response": {"kind": "corrupt_response"},
    "duplicated": {"kind": "duplicated"},
    **{name: {"kind": "refused", **more} for name, more in REFUSALS.items()},
    **{name + "-performed": {"kind": "refused", "performed": True, **REFUSALS[name]} for name in ("500", "503-retry-after", "502-bare")},
}
# The file waits some time before it is tried again, because the reason looked like one that stays.
PATIENT = {"403-expired", "403-denied"}
HALF_A_MINUTE = {"corrupted", "400-bad-digest"}      # the same, but not for long


class OneExchange(FaultCase):
    arguments = ("--set", f"ReadDeadlineSeconds={DEADLINE}", "--set", "CloudStallSeconds=2", "--set", "CloudConnectSeconds=2",
                 "--set", "SettleMilliseconds=50")

    def at_once(self, job, rows):
        """job(name, fault) for all rows side by side; each that fails is told."""
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            futures = {name: pool.submit(job, name, fault) for name, fault in rows.items()}
        for name, future in futures.items():
            with self.subTest(fault=name, seed=SEED):
                future.result()

    # --- reading ---

    def check_read(self, mount, name, data, fault):
        """It is right or fails in time, and comes right when the fault is gone."""
        path = os.path.join(mount, name)
        fault = self.proxy.add(target=name + "$", method="GET|HEAD", **fault)
        seconds, got = took(read_file, path)
        fault.end()
        if isinstance(got, OSError):
            # ESTALE: replies say one version and listings another, so it has become another one twice while it was opened.
            self.assertIn(got.errno, (errno.EIO, errno.EACCES, errno.ESTALE if "wrong-etag" in name else errno.EIO), name)
        else:
            self.assertTrue(got == data, f"{name}: {len(got)} bytes of {len(data)}, and wrong ones")
        self.assertLess(seconds, lt.patience(TO_OPEN + DEADLINE + 3), name)
        wait_until(lambda: read_file(path) == data, 15, f"the right bytes of {name} afterwards")

    def check_reads(self, mount, bucket, turn, count):
        sizes = SIZES if count == 1 or SOAK else SIZES[1:2]
        files = {fault: {f"{fault}-{turn}-{count}-{size}": content(self.dice, size)
                         for size in (CHECKED_SIZES if fault == "corrupt-response" else sizes)} for fault in FAULTS}
        self.put(bucket, {name: data for of_fault in files.values() for name, data in of_fault.items()})
        self.see(mount, [name for of_fault in files.values() for name in of_fault])

        def check(name, fault):
            for file, data in files[name].items():
                self.check_read(mount, file, data, {**fault, "count": count})

        self.at_once(check, FAULTS)

    def test_reads(self):
        mount, bucket = self.s3_drive("fault-reads")
        for turn in turns():
            self.check_reads(mount, bucket, turn, 1)
            self.check_reads(mount, bucket, turn, NEVER_ENDS)

    def damaged_so_far(self):
        text = self.instance.request("GET", "/metrics").body.decode()
        return int(re.search(r'^landfall_cloud_corrupted_downloads_total\{drive="fault-damage"\} (\d+)$', text, re.M)[1])

    def test_damaged_reads(self):
        """Each object that is compared comes wrong once; nobody sees that but the log and the metrics."""
        mount, bucket = self.s3_drive("fault-damage")
        files = {f"damage-{n}": content(self.dice, size) for n, size in enumerate((1, 4096, 65_536, 65_537, 200_000, MIB // 4))}
        self.put(bucket, files)
        self.see(mount, files)
        before = self.damaged_so_far()
        faults = [self.proxy.add("corrupt_response", method="GET", target=name + "$", count=1) for name in files]
        for name, data in files.items():
            self.assertTrue(read_file(os.path.join(mount, name)) == data, name)
        self.assertEqual([f.hits for f in faults], [1] * len(files))
        self.assertEqual(self.damaged_so_far() - before, len(files))
        log = self.instance.log("syncd")
        self.assertEqual([name for name in files if not re.search(rf"download_corrupted .*key={name} ", log)], [])
        self.assertIsNone(re.search(r"etag_is_no_md5 .*key=damage-", log))

    # --- writing ---

    def wait_hit(self, faults):
        wait_until(lambda: all(f.hits for f in faults), 20, "the fault")

    def check_write(self, mount, name, fault, files):
        method = "PUT|POST" if fault.get("status", 500) < 500 else "PUT|POST|HEAD"    # to a HEAD nobody says why
        faults = [self.proxy.add(target=n + r"(\?|$)", method=method, **{"count": 2, **fault}) for n in files]
        for n, data in files.items():
            write_file(os.path.join(mount, n), data)
        self.wait_hit(faults)
        for f in faults:
            f.end()
        seconds = self.wait_clean([os.path.join(mount, n) for n in files], 330 if name in PATIENT else 60)
        print(f"  {name}: in the cloud {seconds:.1f} s after the fault", flush=True)

    def test_writes(self):
        mount, bucket = self.s3_drive("fault-writes")
        rows = {name: fault for name, fault in FAULTS.items()
                if name not in ("wrong-etag", "corrupt-response") and (SOAK or name not in PATIENT)}
        wanted = {}
        for turn in turns():
            for again in (0, 1):     # new files, then other versions of them
                if again and not SOAK:
                    rows = {name: fault for name, fault in rows.items() if name not in HALF_A_MINUTE}
                files = {fault: {f"{fault}-{turn}-{size}": content(self.dice, size + again) for size in (0, *SIZES)} for fault in rows}
                wanted |= {name: data for of_fault in files.values() for name, data in of_fault.items()}
                self.at_once(lambda name, fault, files=files: self.check_write(mount, name, fault, files[name]), rows)
            self.assertStored(bucket, wanted)

    def test_a_wrong_etag(self):
        """An answer that is not about what was sent is not believed: the next version is no conflict."""
        mount, bucket = self.s3_drive("fault-etag")
        files = {f"etag-{size}": content(self.dice, size) for size in SIZES}
        self.check_write(mount, "wrong-etag", {"kind": "wrong_etag", "status": 200}, files)
        self.assertStored(bucket, files)
        again = {name: content(self.dice, len(data) + 1) for name, data in files.items()}
        for name, data in again.items():
            write_file(os.path.join(mount, name), data)
        self.wait_clean([os.path.join(mount, name) for name in again])
        self.assertStored(bucket, again)

    # --- in parts ---

    def unfinished(self, bucket):
        said = self.server.aws("s3api", "list-multipart-uploads", "--bucket", bucket, "--output", "json").stdout
        return json.loads(said or "{}").get("Uploads", [])

    def break_parts(self, name):
        """Some of the requests that one upload takes end at a random byte, or worse."""
        for kind in ("cut_request", "cut_response", "no_answer", "truncated", "refused", "duplicated", "silent", "corrupted"):
            for method, target in (("PUT", r"\?partNumber"), ("POST", r"\?uploadId"), ("POST", r"\?uploads")):
                if kind == "corrupted" and (method == "POST" or not SOAK):
                    continue         # the document that ends an upload
                if kind == "duplicated" and target.endswith("uploads"):
                    continue         # of the first of two that one request has begun nobody can know
                self.proxy.add(kind, method=method, target=name + target, count=self.dice.randrange(2), status=500,
                               code="InternalError", performed=self.dice.random() < 0.5)

    def test_parts(self):
        mount, bucket = self.s3_drive("fault-parts")
        wanted = {}
        for turn in turns():
            for n, size in enumerate(self.dice.randrange(LARGE, 2 * LARGE) for _ in range(3)):
                wanted[f"large-{n}"] = content(self.dice, size)
                self.break_parts(f"large-{n}")
                write_file(os.path.join(mount, f"large-{n}"), wanted[f"large-{n}"])
            seconds = self.wait_clean([os.path.join(mount, n) for n in wanted], 120)
            self.proxy.clear()
            print(f"  three files in parts: in the cloud after {seconds:.1f} s; {sum(self.proxy.seen.values())} answers", flush=True)
            self.assertStored(bucket, wanted)
            self.edit(mount, wanted)
            self.wait_clean([os.path.join(mount, n) for n in wanted], 120)
            self.proxy.clear()
            self.assertStored(bucket, wanted)
            wait_until(lambda: not self.unfinished(bucket), 60, "no unfinished upload")

    def edit(self, mount, wanted):
        """Some bytes in the middle, while the next upload is broken as well."""
        for name, data in wanted.items():
            at, some = self.dice.randrange(len(data)), content(self.dice, 1000)
            wanted[name] = data[:at] + some + data[at + len(some):]
            self.break_parts(name)
            with open(os.path.join(mount, name), "r+b", buffering=0) as f:
                f.seek(at)
                f.write(some)


if __name__ == "__main__":
    unittest.main()
