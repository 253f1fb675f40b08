#!/usr/bin/python3
"""Drives as on a kernel that sends no request again (before 6.9): what a killed worker had under way, the next one carries out."""

import os
import unittest
from concurrent.futures import ThreadPoolExecutor

from fault_case import FaultCase, content, read_file
from killer import Killer
from landfall_test import wait_until

MIB = 1 << 20
KILLS = 4


def change(path, at, data):
    fd = os.open(path, os.O_WRONLY)
    try:
        assert os.pwrite(fd, data, at) == len(data)
    finally:
        os.close(fd)


class OldKernel(FaultCase):
    arguments = ("--set", "RecentFuse=false", "--set", "ReadDeadlineSeconds=60", "--set", "CloudStallSeconds=5")

    def waits_for(self, path):
        return self.instance.api("GET", "/management/object_explain", path=path).get("waitsFor", "")

    def kill_workers(self, paths):
        """One after the other, while a program waits for each of these files."""
        killer = Killer(self.instance)
        for _ in range(KILLS):
            wait_until(lambda: all("A program that" in self.waits_for(p) for p in paths), 30, "the programs to wait")
            killer.kill("worker")

    def test_programs_that_wait(self):
        mount, bucket = self.s3_drive("old-kernel")
        files = {name: content(self.dice, 3 * MIB) for name in ("read", "changed")}
        self.put(bucket, files)
        self.see(mount, files)
        paths = {name: os.path.join(mount, name) for name in files}
        for path in paths.values():
            os.stat(path)
        self.proxy.silence()
        with ThreadPoolExecutor(2) as pool:
            reader = pool.submit(read_file, paths["read"])
            writer = pool.submit(change, paths["changed"], 1000, b"changed")
            self.kill_workers(paths.values())
            self.proxy.heal()
            self.assertEqual(reader.result(60), files["read"])
            writer.result(60)
        files["changed"] = files["changed"][:1000] + b"changed" + files["changed"][1007:]
        self.assertEqual(read_file(paths["changed"]), files["changed"])
        self.wait_clean([paths["changed"]])
        self.assertStored(bucket, files)


if __name__ == "__main__":
    unittest.main()
