#!/bin/sh
# Runs govulncheck on the module in the current folder: vulncheck.sh GOVULNCHECK
# If the vulnerability database cannot be reached, it says so and succeeds.
set -u

out=$("$1" ./... 2>&1)
status=$?
printf '%s\n' "$out"
case "$status:$out" in
0:* | 3:*) ;; # 3: it found something
*"fetching vulnerabilities:"*)
	echo "NOT CHECKED: the vulnerability database cannot be reached from here"
	status=0
	;;
esac
exit "$status"
