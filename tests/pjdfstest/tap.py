"""What a file of the suite prints: TAP, one line an assertion. Knows nothing of drives or exclusions."""

import re
from typing import NamedTuple

PLAN = re.compile(r"1\.\.([0-9]+)")
LINE = re.compile(r"(not )?ok ([0-9]+)(.*)")
NAME = re.compile(r"pjdfstest_[0-9a-f]{32}|[0-9a-f]{100}[0-9a-fx/]*")     # usual ones, and those that try a length
NEVER = "it was never reached"


class Assertion(NamedTuple):
    file: str            # chmod/00
    number: int
    passed: bool
    expected: bool       # False: the suite itself says that it may fail (TODO)
    said: str            # tried 'mkdir A 0755', expected 0, got EPERM


def plain(said):
    """Names are random: they become letters in the order of their appearance, or say how long they are."""
    names = {}

    def known(m):
        return names.setdefault(m[0], f"LONG{len(m[0])}" if len(m[0]) >= 100 else chr(ord("A") + len(names)))

    return NAME.sub(known, said).removeprefix(" - ").strip()


def assertions(file, output):
    """One for each that was planned or printed, in the order of their numbers."""
    plan = max((int(m[1]) for m in map(PLAN.match, output.splitlines()) if m), default=1)
    found = {n: Assertion(file, n, False, True, NEVER) for n in range(1, plan + 1)}
    for m in filter(None, map(LINE.fullmatch, output.splitlines())):
        passed, number, rest = not m[1], int(m[2]), m[3]
        if number > plan:
            passed, rest = False, f"{rest} (one more than the {plan} that were planned)"
        found[number] = Assertion(file, number, passed, "# TODO" not in rest, plain(rest))
    return [found[n] for n in sorted(found)]
