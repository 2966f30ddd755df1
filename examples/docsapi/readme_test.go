package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/examples/docsapi/docsapitest"
)

var (
	session  = regexp.MustCompile("(?ms)^```console\n(.*?)^```$")
	errorRow = regexp.MustCompile("(?m)^\\| (\\d{3}) \\| `(\\w+)` \\| `(curl .*|for .*|head .*)` \\|$")
	varying  = regexp.MustCompile(`\b(req|res)_\w+|;r=\d+`) // ids, and what is left of a limit
)

// readme returns README.md, with the address of a server.
func readme(t *testing.T, server *docsapitest.Server) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	return strings.ReplaceAll(string(text), "localhost:8080", strings.TrimPrefix(server.URL, "http://"))
}

// shell runs a command as a reader would, and returns what it prints. Its curl is silent about
// progress, and prints more if format says so.
func shell(t *testing.T, command, format string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `curl() { command curl -sS -w "$FORMAT" "$@"; }; `+command)
	cmd.Env = append(os.Environ(), "FORMAT="+format)
	out, err := cmd.Output()
	require.NoError(t, err, command)
	return strings.ReplaceAll(string(out), "\r\n", "\n")
}

// The commands of the tour print each line that README.md shows, in this order, and maybe others.
func TestTourGoesAsShown(t *testing.T) {
	t.Parallel()
	text := readme(t, docsapitest.Start(t, "-faults"))
	sessions := session.FindAllStringSubmatch(text, -1)
	require.Greater(t, len(sessions), 5)
	ids := make(map[string]string)
	for _, match := range sessions {
		for _, step := range strings.Split("\n"+match[1], "\n$ ")[1:] {
			command, shown, _ := strings.Cut(step, "\n")
			printed := strings.Split(shell(t, command, ""), "\n")
			for want := range strings.SplitSeq(strings.TrimSpace(shown), "\n") {
				for len(printed) > 0 && !sameLine(ids, want, printed[0]) {
					printed = printed[1:]
				}
				require.NotEmpty(t, printed, "%s\ndoes not print, after the lines before it:\n%s", command, want)
				printed = printed[1:]
			}
		}
	}
}

// sameLine compares a line of README.md with one of this run. Their ids differ, but an id of this
// run must stand in the same places as one of README.md: ids has them in pairs.
func sameLine(ids map[string]string, want, got string) bool {
	if varying.ReplaceAllString(want, "") != varying.ReplaceAllString(got, "") {
		return false
	}
	wanted := varying.FindAllString(want, -1)
	for i, id := range varying.FindAllString(got, -1) {
		if known, ok := ids[id]; ok && known != wanted[i] {
			return false
		}
		ids[id] = wanted[i]
	}
	return true
}

// README.md has a command for each code, and the command gives that code.
func TestEveryErrorCanBeCurled(t *testing.T) {
	t.Parallel()
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprintf("strict=%t", strict), func(t *testing.T) {
			t.Parallel()
			// /v1/fault/slow takes the whole timeout.
			server := docsapitest.Start(t, fmt.Sprintf("-strict=%t", strict), "-faults", "-timeout=2s")
			rows := make(map[apierror.Code]string) // commands
			for _, row := range errorRow.FindAllStringSubmatch(readme(t, server), -1) {
				rows[apierror.Code(row[2])] = row[1] + " " + strings.ReplaceAll(row[3], `\|`, "|")
			}
			for _, d := range apierror.DefaultCatalog().Definitions() {
				status, command, _ := strings.Cut(rows[d.Code], " ")
				require.Equal(t, strconv.Itoa(d.Status), status, d.Code)
				if code, ok := folded[d.Code]; ok && strict {
					d, _ = apierror.CoreCatalog().Lookup(code)
				}
				lines := strings.Split(strings.TrimSpace(shell(t, command, "%{http_code}\n")), "\n")
				require.GreaterOrEqual(t, len(lines), 2, command)
				require.Contains(t, lines[len(lines)-2], fmt.Sprintf(`{"error":{"type":"%s","code":"%s"`, d.Type, d.Code), command)
				require.Equal(t, strconv.Itoa(d.Status), lines[len(lines)-1], command)
			}
		})
	}
}
