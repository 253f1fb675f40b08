#!/usr/bin/python3
"""What tests/pjdfstest makes of what the suite prints, and that its exclusions are read and explained. The suite itself is no part of this."""

import os
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "..", "pjdfstest"))

import exclusions  # noqa: E402
import tap  # noqa: E402

DOCUMENT = os.path.join(HERE, "..", "..", "docs", "CONFORMANCE.md")
NAME = "pjdfstest_" + "0123456789abcdef" * 2

EXCLUDED = """# a comment
= device | mknod \\S+ b .*, got EPERM | No devices.
= others | -u 7 | Nobody else.
dir/00 device 2 6
dir/00 device follow 3-4
dir/00 others follow 5
"""
OUTPUT = f"""1..7
ok 1
not ok 2 - tried 'mknod {NAME} b 0644 1 2', expected 0, got EPERM
not ok 3 - tried 'unlink {NAME}', expected 0, got ENOENT
ok 4
not ok 5
not ok 6 - tried 'mknod {NAME} b 0644 1 2', expected 0, got EIO
"""


class Judged(unittest.TestCase):
    def verdict(self, output):
        with tempfile.NamedTemporaryFile("w") as f:
            f.write(EXCLUDED)
            f.flush()
            verdict = exclusions.Verdict(*exclusions.read(f.name))
        verdict.add(tap.assertions("dir/00", output))
        return verdict

    def test_only_what_fails_as_it_may_is_excluded(self):
        verdict = self.verdict(OUTPUT)
        self.assertEqual(verdict.total(), {"passed": 2, "excluded": 2, "failed": 3})
        self.assertEqual([a.number for a in verdict.failed], [5, 6, 7])       # follows nothing, another errno, not reached
        self.assertEqual([a.number for a in verdict.surprises], [4])
        self.assertEqual(verdict.failed[1].said, "tried 'mknod A b 0644 1 2', expected 0, got EIO")
        self.assertEqual(verdict.failed[2].said, tap.NEVER)

    def test_what_the_suite_does_not_expect_is_no_failure(self):
        verdict = self.verdict("1..2\nnot ok 1 # TODO not on Linux\nok 2 # TODO neither\n")
        self.assertEqual(verdict.total(), {"todo": 1, "passed": 1})

    def test_more_than_was_planned_and_nothing_at_all_are_failures(self):
        self.assertEqual(self.verdict("1..1\nok 1\nok 2\n").total(), {"passed": 1, "failed": 1})
        self.assertEqual(self.verdict("").total(), {"failed": 1})

    def test_a_proposal_is_read_as_what_it_proposes(self):
        reasons, _ = exclusions.read()
        lines = list(exclusions.propose(reasons, tap.assertions("dir/00", OUTPUT.replace("got EIO", "got EPERM"))))
        self.assertEqual(lines, ["dir/00 device-nodes 2 6", "dir/00 device-nodes follow 3 5 7"])


class Kept(unittest.TestCase):
    def test_each_reason_is_used_and_explained(self):
        reasons, excluded = exclusions.read()
        with open(DOCUMENT) as f:
            explained = f.read().partition("\n| Excluded for |")[2].partition("\n\n")[0]
        self.assertEqual([line.split(" | ")[0].removeprefix("| ") for line in explained.splitlines()[2:]], list(reasons))
        self.assertEqual({x.reason for x in excluded.values()}, set(reasons))


if __name__ == "__main__":
    unittest.main()
