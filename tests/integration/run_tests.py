#!/usr/bin/python3
"""Runs the integration tests: all, or the modules or tests named. Prints a line per test with its time, the logs
of the instances that were running when one failed, and writes "PASS name" lines for ./check."""

import argparse
import faulthandler
import glob
import os
import signal
import sys
import time
import traceback
import unittest

import landfall_test

# What results are named by; encrypted runs have names of their own.
FOLDER = "-".join(filter(None, ["integration", os.environ.get("LANDFALL_ENCRYPT")]))

# No test takes longer; one that does has hung. Long turns have a time of their own.
TEST_SECONDS = 1500 + 4 * int(os.environ.get("LANDFALL_SOAK", "0"))


class TooLong(Exception):
    pass


def on_alarm(*_):
    faulthandler.dump_traceback()
    raise TooLong(f"no end after {TEST_SECONDS} s")


class Result(unittest.TestResult):
    def __init__(self, results):
        super().__init__()
        self.results = results
        self.began = time.monotonic()

    def startTest(self, test):
        super().startTest(test)
        self.failed_parts = False
        self.began = time.monotonic()
        signal.alarm(TEST_SECONDS)

    def stopTest(self, test):
        signal.alarm(0)
        super().stopTest(test)

    def note(self, outcome, test, why=""):
        name = test.id().removeprefix("__main__.")
        print(f"{outcome} {time.monotonic() - self.began:6.1f} s  {name}{why and '  (' + why + ')'}", flush=True)
        self.results.write(f"{outcome} {FOLDER}/{name.replace(' ', '_')}\n")
        self.results.flush()

    def show(self, test, err):
        print(f"----- {test.id()}", flush=True)
        traceback.print_exception(*err)
        for instance in list(landfall_test.Instance.live):
            instance.print_logs()
        sys.stderr.flush()

    def addSuccess(self, test):
        super().addSuccess(test)
        if not self.failed_parts:
            self.note("PASS", test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.show(test, err)
        self.note("FAIL", test)

    def addError(self, test, err):
        super().addError(test, err)
        self.show(test, err)
        self.note("FAIL", test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.note("SKIP", test, reason)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err:
            self.show(subtest, err)
            if not self.failed_parts:
                self.note("FAIL", test)
            self.failed_parts = True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--results", default="/dev/null")
    parser.add_argument("tests", nargs="*", help="module, module.Class or module.Class.test")
    options = parser.parse_args()
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path.insert(0, here)
    signal.signal(signal.SIGALRM, on_alarm)
    # Started in the background by a script it may be ignored, and so it would be in all that the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    names = options.tests or sorted(os.path.basename(p)[:-3] for p in glob.glob(os.path.join(here, "test_*.py")))
    suites = [unittest.TestLoader().loadTestsFromName(name) for name in names]
    with open(options.results, "w") as results:
        result = Result(results)
        for suite in suites:
            suite.run(result)
            landfall_test.Radosgw.renew()
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
