#!/bin/sh
# Runs every fuzz target of the module in the current folder, one after the other: fuzz.sh TIME
set -eu

for package in $(go list ./...); do
	targets=$(go test -list='^Fuzz' "$package")
	for target in $(printf '%s\n' "$targets" | grep '^Fuzz' || true); do
		echo "$package $target"
		go test -run='^$' -fuzz="^$target\$" -fuzztime="$1" "$package"
	done
done
