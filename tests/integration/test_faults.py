#!/usr/bin/python3
"""Every way in which one exchange with a server can fail, while a mount is read and written: right bytes or an error in time, never
wrong bytes; and once the failures end, everything is in the cloud once, without a hand laid on."""

import os
import re
import time
import unittest

from fault_case import SEED, SOAK, FaultCase, content, read_file, took, write_file
from landfall_test import wait_until

MIB = 1 << 20
DEADLINE = 8
MARGIN = 5                     # the worker's, beyond the deadline

SIZES = [1, 70_000, 3 * MIB + 1]
LARGE = 20 * MIB + 12_345      # above 16 MiB files go up in parts
NEVER = 1_000_000

# What happens to a request. `sure`: the read itself comes through, since the failure passes while it waits.
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
    "duplicated": {"kind": "duplicated"},
    **{name: {"kind": "refused", **more} for name, more in REFUSALS.items()},
    **{name + "-performed": {"kind": "refused", "performed": True, **REFUSALS[name]} for name in ("500", "503-retry-after", "502-bare")},
}
# The file waits some time before it is tried again, because the reason looked like one that stays.
PATIENT = {"403-skewed", "403-expired", "403-denied"}


class OneExchange(FaultCase):
    arguments = ("--set", f"ReadDeadlineSeconds={DEADLINE}", "--set", "CloudStallSeconds=2", "--set", "CloudConnectSeconds=2",
                 "--set", "SettleMilliseconds=50")

    def check_reads(self, fault, mount, files, count):
        """Each read is right or fails in time, and comes right when the fault is gone."""
        for name, data in files.items():
            path = os.path.join(mount, name)
            self.proxy.add(target=name, method="GET|HEAD", **{**fault, "count": count})
            seconds, got = took(read_file, path)
            self.proxy.clear()
            if not isinstance(got, OSError):
                self.assertTrue(got == data, f"{name}: wrong bytes: {len(got)} of {len(data)}, {got.count(0)} of them 0; after {seconds:.1f} s")
            self.assertLess(seconds, DEADLINE + MARGIN + 1, name)
            wait_until(lambda p=path, d=data: read_file(p) == d, 15, f"the right bytes of {name} afterwards")

    def test_reads(self):
        mount, bucket = self.s3_drive("fault-reads")
        self.proxy.silence()
        self.proxy.heal()
        for rounds, count in (("once", 1), ("on and on", NEVER)):
            for name, fault in FAULTS.items():
                if not re.search(os.environ.get("LANDFALL_FAULT", ""), name):
                    continue
                files = {f"{name}-{count}-{size}": content(self.dice, size) for size in SIZES}
                if fault["kind"] == "silent" or count == NEVER:
                    files.popitem()    # it takes its time
                with self.subTest(fault=name, how_often=rounds, seed=SEED):
                    self.put(bucket, files)
                    self.see(mount, files)
                    self.check_reads(fault, mount, files, count)

    def check_writes(self, name, fault, mount, bucket, files):
        method = "PUT|POST" if fault.get("status", 500) < 500 else "PUT|POST|HEAD"    # to a HEAD nobody says why
        faults = [self.proxy.add(target=n + r"(\?|$)", method=method, **{"count": 2, **fault}) for n in files]
        for n, data in files.items():
            write_file(os.path.join(mount, n), data)
        wait_until(lambda: all(f.hits for f in faults), 20, "the fault")
        time.sleep(0.2)
        self.proxy.clear()
        took_long = self.wait_clean([os.path.join(mount, n) for n in files], 330 if name in PATIENT else 45)
        print(f"  {name}: in the cloud {took_long:.1f} s after the fault", flush=True)

    def test_writes(self):
        mount, bucket = self.s3_drive("fault-writes")
        wanted = {}
        for name, fault in FAULTS.items():
            if name in PATIENT and not SOAK:
                continue
            with self.subTest(fault=name, seed=SEED):
                files = {f"{name}-{size}": content(self.dice, size) for size in (0, *SIZES)}
                wanted |= files
                self.check_writes(name, fault, mount, bucket, files)
                again = {n: content(self.dice, len(data) + 1) for n, data in files.items()}
                wanted |= again
                self.check_writes(name + " again", fault, mount, bucket, again)
        self.assertStored(bucket, wanted)


if __name__ == "__main__":
    unittest.main()
