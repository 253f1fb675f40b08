"""Which assertions may fail on a drive, read from `excluded`, and what becomes of each with that."""

import collections
import itertools
import os
import re
from typing import NamedTuple

import tap

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "excluded")
WIDTH = 116


class Reason(NamedTuple):
    pattern: re.Pattern      # how an assertion fails for it
    why: str


class Exclusion(NamedTuple):
    reason: str
    follows: bool            # fails in whatever way, because one that fails for this reason came before it in its file


def numbers(text):
    """`3 5-7` are 3, 5, 6 and 7."""
    for part in text.split():
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def ranges(found):
    """The reverse."""
    for _, run in itertools.groupby(enumerate(sorted(found)), lambda pair: pair[1] - pair[0]):
        run = [n for _, n in run]
        yield str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}"


def read(path=PATH):
    """(name to Reason, (file, number) to Exclusion)"""
    reasons, excluded = {}, {}
    with open(path) as f:
        lines = [line.strip() for line in f if line.strip() and not line.startswith("#")]
    for line in lines:
        if line.startswith("="):
            name, pattern, why = (part.strip() for part in line[1:].split(" | "))
            reasons[name] = Reason(re.compile(pattern), why)
            continue
        file, reason, rest = line.split(None, 2)
        assert reason in reasons, f"{path}: no line says what {reason} is: {line}"
        for n in numbers(rest.removeprefix("follow")):
            assert (file, n) not in excluded, f"{path}: {file} has {n} twice"
            excluded[file, n] = Exclusion(reason, rest.startswith("follow"))
    return reasons, excluded


class Verdict:
    """What became of the assertions, counted and noted."""

    def __init__(self, reasons, excluded):
        self.reasons, self.excluded_ones = reasons, excluded
        self.count = collections.defaultdict(collections.Counter)    # "passed" and so on, by directory
        self.why = collections.Counter()                             # of the excluded: Exclusion
        self.failed, self.surprises = [], []

    def holds(self, exclusion, a, begun):
        return exclusion.reason in begun if exclusion.follows else bool(self.reasons[exclusion.reason].pattern.search(a.said))

    def add(self, file):
        """All assertions of one file."""
        begun = set()        # reasons for which one has failed
        for a in file:
            self.count[a.file.partition("/")[0]][self.judge(a, begun)] += 1

    def judge(self, a, begun):
        exclusion = self.excluded_ones.get((a.file, a.number))
        if a.passed:
            if exclusion:
                self.surprises.append(a)
            return "passed"
        if not a.expected:
            return "todo"
        if exclusion and self.holds(exclusion, a, begun):
            begun.add(exclusion.reason)
            self.why[exclusion] += 1
            return "excluded"
        self.failed.append(a)
        return "failed"

    def total(self):
        return sum(self.count.values(), collections.Counter())


# --- a list for another version of the suite ---------------------------------------------------------

def recognised(reasons, a):
    return next((name for name, reason in reasons.items() if reason.pattern.search(a.said)), None)


def propose(reasons, file):
    """Lines for what failed in one file. What fits no reason is said to follow from the last that kept something from being done, which is
    for a person to judge."""
    found, last = collections.defaultdict(list), "?"
    for a in file:
        if a.passed or not a.expected:
            continue
        name = recognised(reasons, a)
        found[name or f"{last} follow"].append(a.number)
        if name and ", expected 0," in a.said:
            last = name
    for what, failed in found.items():
        yield from folded(f"{file[0].file} {what} ", ranges(failed))


def folded(start, words):
    line = start
    for word in words:
        if len(line) + len(word) > WIDTH:
            yield line.rstrip()
            line = start
        line += word + " "
    yield line.rstrip()
