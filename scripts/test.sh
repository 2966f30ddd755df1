#!/bin/sh
# Runs the tests of modules: test.sh GOTESTSUM "MODULE..." [go test flags]
# It fails if a test fails. With CI=true, it also fails if a test is skipped that is not in scripts/allowed-skips.txt.
set -eu

gotestsum=$1 modules=$2
shift 2
export GOTESTSUM_FORMAT="${GOTESTSUM_FORMAT:-pkgname}"
events=$(mktemp -d)
trap 'rm -rf "$events"' EXIT

status=0
for module in $modules; do
	echo "== $module: go test $*"
	parallel=
	if [ "$module" = ./internal/chaos ]; then parallel=-p=1; fi # each of its packages needs all processors
	# shellcheck disable=SC2086 # it may be empty
	(cd "$module" && "$gotestsum" --format-icons=text --format-hide-empty-pkg --hide-summary=skipped \
		--jsonfile-timing-events="$events/module-$(echo "$module" | tr / _)" -- $parallel "$@") || status=1
done

cat "$events"/module-* | sed -n 's/.*"Action":"skip","Package":"\([^"]*\)","Test":"\([^"]*\)".*/\1 \2/p' >"$events/skipped"
while read -r test; do
	if grep -qF "$test " scripts/allowed-skips.txt; then
		echo "skipped, as listed: $test"
	else
		echo "skipped: $test"
		if [ "${CI:-}" = true ]; then status=1; fi
	fi
done <"$events/skipped"
exit $status
