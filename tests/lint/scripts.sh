#!/bin/sh
# The scripts of the tree: shellcheck has nothing to say, Python parses, nothing names a place of one machine.
set -eu
cd "${srcdir:-$(dirname "$0")/../..}"
command -v shellcheck >/dev/null || exit 77

failed=0
for script in quickstart check bootstrap .ci/run setup/accounts tests/lint/*.sh tests/bench/run tests/pjdfstest/run; do
    [ ! -e "$script" ] || shellcheck "$script" || failed=1
done
for script in tests/integration/*.py tests/bench/*.py tests/pjdfstest/*.py; do
    [ ! -e "$script" ] || /usr/bin/python3 -B -c 'import ast, sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])' "$script" || failed=1
done
# Where this tree lies, by the first directory that is not on every machine, and the home of whoever looks.
tree=$(pwd -P)
top=${tree#/}
top=/${top%%/*}
case $top in /home | /media | /mnt | /opt | /root | /run | /srv | /tmp | /usr | /var) top=$tree ;; esac
home=${HOME:-/}
case $home in /?*/?* | /root) ;; *) home=$tree ;; esac   # one that others share is nobody's
places="(^|[^[:alnum:]._/-])($(printf '%s/|%s/' "$top" "${home%/}" | sed 's,[^[:alnum:]/|_-],[&],g'))"
if grep -rnE "$places" --include='*.[ch]' --include='*.py' --include='*.proto' --include='*.mk' --include='*.md' --include='*.in' \
    --include='*.sh' --include=quickstart --include=check --include=accounts --include=run \
    common frontd syncd mountd cryptd cli proto systemd setup tests docs README.md quickstart check; then
    echo "FAIL these name a place of one machine"
    failed=1
fi
exit "$failed"
