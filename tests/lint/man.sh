#!/bin/sh
# The manual pages are what man(7) has them be.
set -eu
cd "${srcdir:-$(dirname "$0")/../..}"
command -v mandoc >/dev/null || exit 77

failed=0
for page in docs/man/*.[1-8]; do
    said=$(mandoc -Tlint -Wwarning "$page") || failed=1
    [ -z "$said" ] || { printf 'FAIL %s\n' "$said"; failed=1; }
done
exit "$failed"
