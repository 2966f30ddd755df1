#!/bin/sh
# Installs the missing dependencies of the tests and the linter: deps.sh TOOLS-FOLDER MODULE...
# If tests of a new module need a server, install it here too.
set -eu

tools=$1
shift

# need COMMAND "PACKAGES" WHY installs Debian packages, unless the command is there.
need() {
	if command -v "$1" >/dev/null; then return; fi
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
		echo "deps: install $1: $3" >&2
		exit 1
	fi
	apt-get update -q
	# shellcheck disable=SC2086 # several packages
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $2
}

need "$(go env CC)" "gcc libc6-dev" "go test -race needs cgo, and cgo a C compiler and the C library's headers"
need redis-server "redis-server redis-tools" "the tests start Redis servers"
if ! ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1; then # Debian does not put them on the PATH
	need postgres postgresql "the tests start PostgreSQL servers"
fi
need pgbouncer pgbouncer "the tests of pgstore put PgBouncer in front of PostgreSQL"
need node "nodejs npm" "the tests run generated TypeScript and the JavaScript client"
need python3 python3 "the tests run generated Python and the Python client"
if ! /usr/bin/python3 -c 'import ensurepip, setuptools, wheel' 2>/dev/null; then # they have no commands
	need python3-wheel "python3-venv python3-setuptools python3-wheel" "the tests build and install the Python client"
fi
need mypy mypy "the tests check the types of the Python client"
need chromium chromium "the tests open the reference page in a browser"
need prometheus prometheus "the tests start Prometheus servers, and check the alerts with promtool"
need curl curl "the tests run the commands of examples/docsapi/README.md"

for module; do
	(cd "$module" && go mod download)
	if [ -f "$module/package-lock.json" ] && ! cmp -s "$module/package-lock.json" "$module/node_modules/.installed"; then
		(cd "$module" && npm ci --no-audit --no-fund && cp package-lock.json node_modules/.installed)
	fi
done

# install MODULE VERSION PACKAGE builds a tool, unless this version of it, built by this version of Go, is there.
install() {
	binary=$tools/${3##*/}
	have=$(go version -m "$binary" 2>/dev/null | awk '$1 == "mod" { print $2, $3 }')
	built=$(go version "$binary" 2>/dev/null | awk '{ print $NF }')
	if [ "$have" != "$1 $2" ] || [ "$built" != "$(go env GOVERSION)" ]; then
		echo "deps: building ${3##*/} $2"
		GOBIN=$tools go install "$3@$2"
	fi
}

mkdir -p "$tools"
install gotest.tools/gotestsum v1.13.0 gotest.tools/gotestsum
install github.com/golangci/golangci-lint/v2 v2.15.0 github.com/golangci/golangci-lint/v2/cmd/golangci-lint
install golang.org/x/vuln v1.9.0 golang.org/x/vuln/cmd/govulncheck
