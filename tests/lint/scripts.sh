#!/bin/sh
# The scripts of the tree: shellcheck has nothing to say, Python parses, nothing names a place of one machine.
set -eu
cd "${srcdir:-$(dirname "$0")/../..}"
command -v shellcheck >/dev/null || exit 77

failed=0
for script in quickstart check bootstrap .ci/run setup/accounts tests/lint/*.sh tests/bench/run; do
    [ ! -e "$script" ] || shellcheck "$script" || failed=1
done
for script in tests/integration/*.py tests/bench/*.py; do
    [ ! -e "$script" ] || /usr/bin/python3 -B -c 'import ast, sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])' "$script" || failed=1
done
places='/work/|/tmp/team|/root/'
if grep -rnE "$places" --include='*.[ch]' --include='*.py' --include='*.proto' --include='*.mk' --include='*.md' --include='*.in' \
    common frontd syncd mountd cryptd cli proto systemd setup tests docs README.md quickstart check; then
    echo "FAIL these name a place of one machine"
    failed=1
fi
exit "$failed"
