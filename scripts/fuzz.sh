#!/bin/sh
# Runs every fuzz target of the module in the current folder, each for TIME: fuzz.sh TIME
set -eu

log=$(mktemp)
trap 'rm -f "$log"' EXIT

for package in $(go list ./...); do
	targets=$(go test -list='^Fuzz' "$package")
	for target in $(printf '%s\n' "$targets" | grep '^Fuzz' || true); do
		echo "$package $target"
		# Minimizing a long input may take as long as TIME, and nothing is tried meanwhile.
		if go test -run='^$' -fuzz="^$target\$" -fuzztime="$1" -fuzzminimizetime=1s "$package" >"$log" 2>&1; then
			tail -n 1 "$log"
			continue
		fi
		cat "$log"
		# Before Go 1.27, a run whose time is up may end with only this error: https://go.dev/issue/75804
		if ! grep -q '^    context deadline exceeded$' "$log" || grep -q 'Failing input\|panic' "$log"; then
			exit 1
		fi
		echo "(the time is up, and no failure was found)"
	done
done
