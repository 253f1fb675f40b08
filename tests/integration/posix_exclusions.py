"""What a drive does otherwise than ext4, and how each such case is recognised in the matrix (posix_matrix.py): by the case and by
what came of it on both. docs/CONFORMANCE.md says why, under the same names; test_posix.py holds the two together."""

import re

# name: (the case, what ext4 answers, what the drive answers, what of the tree may differ afterwards); all but the last match whole.
EXCLUSIONS = {
    "hard-links": (r"link .*", r".*", r"EPERM", None),
    "device-nodes": (r"mknod-(block|char) .*", r".*", r"EPERM", None),
    "key-length": (r".* long-path .*", r".*", r"ENAMETOOLONG", None),
    "allocated-already": (r"fallocate-within .*", r".*", r".*", r"[cm]time of .*: other same"),
}


def exclusion(case, native, drive, differences):
    """The name of the one that the deviation falls under, or None."""
    for name, (cases, natives, drives, tree) in EXCLUSIONS.items():
        if tree is None and not all(re.fullmatch(*pair) for pair in ((cases, case), (natives, native), (drives, drive))):
            continue
        if tree is not None and (native != drive or not all(re.fullmatch(tree, d) for d in differences)):
            continue
        return name
    return None
