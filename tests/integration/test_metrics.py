#!/usr/bin/python3
"""GET /metrics, read by a parser that is not ours and held against what programs did on a mount."""

import mmap
import os
import signal
import unittest

from prometheus_client.parser import text_string_to_metric_families

import landfall_test as lt
from fault_case import FaultCase, content, read_file, write_file
from landfall_test import wait_until

KIB = 1 << 10
CHUNK = 64 * KIB
ODD_NAME = 'a "quoted" \\ name, ümlaut'
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


class Scrape:
    """One answer of /metrics: families by name, samples by name and labels."""

    def __init__(self, instance):
        reply = instance.request("GET", "/metrics")
        assert reply.status == 200, reply.status
        self.type = reply.headers["Content-Type"]
        self.text = reply.body.decode()
        self.families = list(text_string_to_metric_families(self.text))
        self.samples = {(s.name, tuple(sorted(s.labels.items()))): s.value for f in self.families for s in f.samples}

    def get(self, name, **labels):
        """What is not shown has not happened."""
        return self.samples.get((name, tuple(sorted(labels.items()))), 0)

    def sum(self, name, **labels):
        return sum(value for (n, have), value in self.samples.items() if n == name and labels.items() <= dict(have).items())


def read_direct(path, size, step):
    """As the kernel asks for it: no page cache, no read-ahead, `step` bytes a request."""
    buffer = mmap.mmap(-1, step)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    data = bytearray()
    try:
        while len(data) < size:
            n = os.preadv(fd, [buffer], len(data))
            data += buffer[:n]
    finally:
        os.close(fd)
        buffer.close()
    return bytes(data)


class Metrics(FaultCase):
    arguments = ("--set", "SettleMilliseconds=50", "--set", "CloudRetries=20")

    def scrape(self):
        return Scrape(self.instance)

    def is_worker(self, pid):
        try:
            with open(f"/proc/{pid}/status") as f:
                status = f.read()
            return "Name:\tlandfall-worker" in status and f"PPid:\t{self.instance.pid('mountd')}\n" in status
        except OSError:
            return False

    def test_format_and_processes(self):
        self.s3_drive("format")
        s = self.scrape()
        self.assertEqual(s.type, "text/plain; version=0.0.4; charset=utf-8")
        self.assertTrue(s.text.endswith("\n"))
        self.assertEqual(len({f.name for f in s.families}), len(s.families), "a family stands in one place")
        for family in s.families:
            self.assertIn(family.type, SUFFIXES, family.name)
            self.assertTrue(family.documentation, family.name)
            for sample in family.samples:
                self.assertIn(sample.name.removeprefix(family.name), SUFFIXES[family.type], sample.name)
        self.check_histograms(s)
        for process in ("frontd", "syncd", "mountd", "cryptd"):
            self.assertEqual(s.get("landfall_up", process=process), 1)
            resident = s.get("landfall_process_resident_memory_bytes", process=process)
            self.assertAlmostEqual(resident / self.resident(self.instance.pid(process)), 1, delta=0.5, msg=process)
        self.assertGreater(s.get("landfall_process_resident_memory_bytes", process="worker", drive="format"), 1 << 20)
        version = self.instance.landfall("version").stdout.split()[1]
        self.assertEqual(s.get("landfall_build_info", version=version), 1)

    def check_histograms(self, s):
        """Buckets rise to what _count says, and the last one is +Inf."""
        for family in (f for f in s.families if f.type == "histogram"):
            rows = {}
            for sample in family.samples:
                labels = tuple(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
                rows.setdefault(labels, {})[sample.labels.get("le", sample.name)] = sample.value
            for labels, row in rows.items():
                buckets = [v for k, v in row.items() if not k.startswith("landfall")]
                self.assertEqual(buckets, sorted(buckets), labels)
                self.assertEqual(row["+Inf"], row[family.name + "_count"], labels)
                self.assertGreater(row[family.name + "_sum"], 0, labels)

    @staticmethod
    def resident(pid):
        with open(f"/proc/{pid}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    def test_cold_and_warm(self):
        size = 3 * CHUNK + 1000        # a larger one would be read by the kernel itself, once it is here
        mount, bucket = self.s3_drive("reads")
        data = content(self.dice, size)
        self.put(bucket, {"file": data})
        self.see(mount, ["file"])
        path = os.path.join(mount, "file")
        before = self.scrape()
        self.assertEqual(read_direct(path, size, CHUNK), data)
        cold = self.scrape()
        self.assertEqual(read_direct(path, size, CHUNK), data)
        warm = self.scrape()

        def grew(a, b, name, **labels):
            return b.sum(name, drive="reads", **labels) - a.sum(name, drive="reads", **labels)

        # The open asks the cloud for the version with the first bytes; what comes with them was not waited for.
        self.assertEqual(grew(before, cold, "landfall_fetched_bytes_total"), size)
        self.assertEqual(grew(before, cold, "landfall_cloud_received_bytes_total"), size)
        self.assertEqual(grew(before, cold, "landfall_read_bytes_total"), size)
        # A read that asks while they arrive waits for them, or finds that they are here by then.
        self.assertEqual({r: grew(before, cold, "landfall_cache_misses_total", reason=r) for r in ("absent", "evicted", "changed")},
                         {"absent": 1, "evicted": 0, "changed": 0})
        self.assertLessEqual(grew(before, cold, "landfall_cache_misses_total", reason="arriving"),
                             grew(before, cold, "landfall_reads_total", result="wait"))
        self.assertEqual(grew(before, cold, "landfall_reads_total"), grew(before, cold, "landfall_fuse_request_seconds_count", operation="read", part="local"))
        self.assertEqual(grew(before, cold, "landfall_cloud_requests_total", operation="get", result="ok"),
                         grew(before, cold, "landfall_cloud_request_seconds_count", operation="get"))
        self.assertGreater(grew(before, cold, "landfall_fuse_request_seconds_sum", operation="open", part="cloud"), 0)

        reads = grew(cold, warm, "landfall_reads_total", result="hit")
        self.assertGreaterEqual(reads, 4)
        self.assertEqual(grew(cold, warm, "landfall_reads_total", result="wait"), 0)
        self.assertEqual(grew(cold, warm, "landfall_read_bytes_total"), size)
        self.assertEqual(grew(cold, warm, "landfall_cache_misses_total"), 0)
        self.assertEqual(grew(cold, warm, "landfall_fetched_bytes_total"), 0)
        self.assertEqual(grew(cold, warm, "landfall_fuse_request_seconds_count", operation="read", part="local"), reads)
        self.assertEqual(grew(cold, warm, "landfall_fuse_request_seconds_count", operation="read", part="cloud"), 0)
        self.assertGreater(warm.get("landfall_cache_used_bytes", drive="reads"), size)

    def test_files_opened_in_no_order(self):
        """Some of them are here before they are opened; each is fetched once."""
        size, count = 1000, 64
        mount, bucket = self.s3_drive("shuffled")
        files = {f"{n:03}": content(self.dice, size) for n in range(count)}
        self.put(bucket, files)
        self.see(mount, ["050"])
        before = self.scrape()
        names = list(files)
        self.dice.shuffle(names)
        for name in names:
            self.assertEqual(read_file(os.path.join(mount, name)), files[name], name)
        after = self.scrape()
        fetched = {why: after.get("landfall_fetched_bytes_total", drive="shuffled", why=why) -
                   before.get("landfall_fetched_bytes_total", drive="shuffled", why=why) for why in ("open", "scan")}
        self.assertEqual(sum(fetched.values()), size * count, fetched)
        self.assertGreater(fetched["scan"], 0)

    def test_what_is_written(self):
        mount, _ = self.s3_drive("writes")
        before = self.scrape()
        self.proxy.add("refused", method="PUT")
        with open(os.path.join(mount, "f"), "wb", buffering=0) as f:
            f.write(b"x" * 100_000)
            self.assertEqual(self.scrape().get("landfall_open_files", drive="writes", mode="write"), 1)
        # close(2) does not wait until that is heard of.
        wait_until(lambda: self.scrape().get("landfall_open_files", drive="writes", mode="write") == 0, 20,
                   "the end of the file")
        dirty = self.scrape()
        self.assertEqual(dirty.get("landfall_written_bytes_total", drive="writes") - before.get("landfall_written_bytes_total", drive="writes"), 100_000)
        self.assertEqual(dirty.get("landfall_pending_changes", drive="writes"), 1)
        self.assertEqual(dirty.get("landfall_dirty_bytes", drive="writes"), 100_000)
        wait_until(lambda: self.scrape().get("landfall_cloud_retries_total", drive="writes", operation="put") > 0, 30, "a retry")
        self.proxy.heal()
        self.wait_clean([os.path.join(mount, "f")])
        clean = self.scrape()
        self.assertEqual(clean.get("landfall_dirty_bytes", drive="writes"), 0)
        self.assertEqual(clean.get("landfall_cloud_sent_bytes_total", drive="writes"), 100_000)
        self.assertEqual(clean.get("landfall_uploads_total", drive="writes", result="ok"), 1)
        self.assertEqual(clean.get("landfall_cloud_requests_total", drive="writes", operation="put", result="ok"), 1)

    def test_counters_outlive_the_worker_and_errors_are_named(self):
        mount, _ = self.s3_drive("killed")
        path = os.path.join(mount, "f")
        write_file(path, b"y" * 5000)
        os.makedirs(mount + "/full/below")
        self.assertEqual(read_direct(path, 5000, 8 * KIB), b"y" * 5000)
        with self.assertRaises(OSError):
            os.rmdir(mount + "/full")
        before = self.scrape()
        self.assertGreaterEqual(before.get("landfall_fuse_errors_total", drive="killed", error="ENOTEMPTY"), 1)
        restarts = before.sum("landfall_worker_restarts_total")
        for pid in [int(p) for p in os.listdir("/proc") if p.isdigit() and self.is_worker(p)]:
            os.kill(pid, signal.SIGKILL)
        self.assertEqual(read_direct(path, 5000, 8 * KIB), b"y" * 5000)
        after = self.scrape()
        self.assertGreater(after.sum("landfall_worker_restarts_total"), restarts)
        self.assertEqual(after.get("landfall_worker_restarts_total", drive="killed"), before.get("landfall_worker_restarts_total", drive="killed") + 1)
        self.assertEqual(after.get("landfall_read_bytes_total", drive="killed"), before.get("landfall_read_bytes_total", drive="killed") + 5000)
        for (name, labels), value in before.samples.items():
            if name.endswith(("_total", "_count", "_bucket")) and dict(labels).get("drive") == "killed":
                self.assertGreaterEqual(after.samples[name, labels], value, f"{name} {labels}")

    def test_labels_are_escaped(self):
        bucket = self.server.make_bucket("lf-odd")
        drive = self.instance.add_drive(self.account, bucket, name=ODD_NAME)
        s = self.scrape()
        self.assertEqual(s.get("landfall_drive_mounted", drive=ODD_NAME), 1)
        self.assertEqual(s.get("landfall_drive_info", drive=ODD_NAME, id=drive["id"], bucket=bucket, mount_point=drive["localPath"]), 1)


if __name__ == "__main__":
    unittest.main()
