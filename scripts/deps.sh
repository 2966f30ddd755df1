#!/bin/sh
# Installs the missing dependencies of the tests and the linter: deps.sh TOOLS-FOLDER MODULE...
# If tests of a new module need a server, install it here too.
set -eu

tools=$1
shift

# The race detector needs cgo, and cgo needs a C compiler.
if ! command -v "$(go env CC)" >/dev/null; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		apt-get update -q
		DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends gcc libc6-dev
	else
		echo "deps: install a C compiler ($(go env CC)) and the C library's headers: go test -race needs them" >&2
		exit 1
	fi
fi

for module; do
	(cd "$module" && go mod download)
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
