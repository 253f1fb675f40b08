#!/usr/bin/python3
"""Runs pjdfstest on a drive and says what passed, what failed, and what was excluded why."""

import argparse
import glob
import os
import subprocess
import sys
import time
from concurrent import futures

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "..", "integration"))

FILE_SECONDS = 600
SERVED = "nobody"            # 65534: one of the two users that the suite acts as
COUNTS = ["passed", "failed", "excluded", "todo"]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tree", required=True, help="pjdfstest, built: docs/CONFORMANCE.md says where to get it")
    parser.add_argument("--build", help="build tree of Landfall; the current directory otherwise")
    parser.add_argument("--jobs", type=int, default=4, help="files at once, many of which wait for the next second; 4 otherwise")
    parser.add_argument("--only", help="names of files, or how they begin, separated by commas; all otherwise")
    parser.add_argument("--propose", action="store_true", help="print what failed as lines for the file `excluded`, for a person to judge")
    options = parser.parse_args()
    if options.build:
        os.environ["LANDFALL_BUILD"] = os.path.abspath(options.build)
    return options


OPTIONS = parse_arguments()

import exclusions as e  # noqa: E402
import landfall_test as lt  # noqa: E402: reads LANDFALL_BUILD
import tap  # noqa: E402


def files(tree):
    """Names such as chmod/00 to paths."""
    paths = sorted(glob.glob(os.path.join(tree, "tests", "*", "*.t")))
    found = {os.path.relpath(p, os.path.join(tree, "tests")).removesuffix(".t"): p for p in paths}
    wanted = tuple(OPTIONS.only.split(",")) if OPTIONS.only else ("",)
    return {name: path for name, path in found.items() if name.startswith(wanted)}


def run_file(point, name, path):
    """Its assertions, made in a directory of its own."""
    directory = os.path.join(point, name.replace("/", "-"))
    os.mkdir(directory, 0o755)
    try:
        said = subprocess.run(["sh", path], cwd=directory, env=lt.clean_env(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, timeout=FILE_SECONDS, umask=0o022, check=False).stdout
    except subprocess.TimeoutExpired as timeout:
        said = timeout.stdout or b""
    return tap.assertions(name, said.decode(errors="replace"))


def run_all(chosen):
    """The assertions of each file."""
    server = lt.Radosgw.shared()
    instance = lt.Instance(arguments=("--set", f"User={SERVED}")).start()
    try:
        point = instance.add_drive(instance.add_s3_account(server), server.make_bucket("pjdfstest"))["localPath"]
        with futures.ThreadPoolExecutor(OPTIONS.jobs) as pool:
            yield from pool.map(lambda item: run_file(point, *item), chosen.items())
        status = instance.stop()
        assert status == 0, f"landfall run ended with {status}"
    finally:
        instance.remove()


# --- what is said about it ------------------------------------------------------------------------

def table(verdict):
    yield "| Directory | " + " | ".join(COUNTS) + " |"
    yield "|---|" + "--:|" * len(COUNTS)
    for name, count in [*sorted(verdict.count.items()), ("**all**", verdict.total())]:
        yield f"| {name} | " + " | ".join(str(count[c]) for c in COUNTS) + " |"


def grounds(verdict):
    yield "| Excluded for | assertions | what follows from them in the same file |"
    yield "|---|--:|--:|"
    for name, reason in verdict.reasons.items():
        yield f"| {name}: {reason.why} | {verdict.why[e.Exclusion(name, False)]} | {verdict.why[e.Exclusion(name, True)]} |"


def report(verdict):
    yield from table(verdict)
    yield ""
    yield from grounds(verdict)
    yield ""
    for a in verdict.surprises:
        yield f"passes though it is excluded: {a.file} {a.number}"
    for a in verdict.failed:
        yield f"failed: {a.file} {a.number} {a.said[:300]}"
    total = verdict.total()
    yield f"{total['passed']} passed, {total['failed']} failed, {total['excluded']} excluded"


def check_tree(tree):
    """The files of the suite that are wanted."""
    if not os.access(os.path.join(tree, "pjdfstest"), os.X_OK):
        sys.exit(f"pjdfstest: {tree} has no program pjdfstest; docs/CONFORMANCE.md says how it is built.")
    chosen = files(tree)
    if not chosen:
        sys.exit(f"pjdfstest: {tree} has no such tests.")
    return chosen


def main():
    if os.geteuid() != 0:
        sys.exit("pjdfstest: it needs root.")
    began, chosen = time.monotonic(), check_tree(os.path.realpath(OPTIONS.tree))
    reasons, excluded = e.read()
    verdict = e.Verdict(reasons, excluded)
    for file in run_all(chosen):
        verdict.add(file)
        for line in e.propose(reasons, file) if OPTIONS.propose else ():
            print(line, flush=True)
    print(f"{len(chosen)} files in {time.monotonic() - began:.0f} s", file=sys.stderr)
    print("\n".join(report(verdict)))
    sys.exit(1 if verdict.failed or verdict.surprises else 0)


if __name__ == "__main__":
    main()
