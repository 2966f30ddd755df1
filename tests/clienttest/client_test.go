package clienttest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/examples/docsapi/docsapitest"
)

// A runner runs a program of testdata in one of the languages, and returns what it prints.
type runner func(t *testing.T, program string, args ...string) (stdout string)

// testClient checks what the clients do in all languages.
func testClient(t *testing.T, run runner) {
	t.Helper()
	t.Run("DeniedRequestWaitsAsLongAsItMust", func(t *testing.T) { testDenial(t, run) })
	t.Run("StormEndsInSuccessesAndDenials", func(t *testing.T) { testStorm(t, run) })
	t.Run("EachCodeBecomesItsError", func(t *testing.T) { testCodes(t, run) })
	t.Run("LostResponseDoesNotDuplicateWrite", func(t *testing.T) { testLostResponse(t, run) })
	t.Run("KilledServerDoesNotDuplicateWrite", func(t *testing.T) { testKilledServer(t, run) })
}

// outcome is how a client sees an error.
type outcome struct {
	Class     string `json:"class"`
	Status    int    `json:"status"`
	Code      string `json:"code"`
	Param     string `json:"param"`
	Type      string `json:"type"`
	RequestID string `json:"requestId"`
	DocURL    string `json:"docUrl"`
	Retryable bool   `json:"retryable"`
}

// faults returns the codes that the service can answer with.
func faults() (codes []string) {
	for _, d := range apierror.DefaultCatalog().Definitions() {
		codes = append(codes, string(d.Code))
	}
	return codes
}

// see runs a program that prints how a client sees each kind of fault.
func see(t *testing.T, run runner, program, url string, kinds ...string) map[string]outcome {
	t.Helper()
	stdout := run(t, program, append([]string{url}, kinds...)...)
	var outcomes map[string]outcome
	require.NoError(t, json.Unmarshal([]byte(stdout), &outcomes), stdout)
	require.Len(t, outcomes, len(kinds))
	for _, kind := range kinds {
		require.Regexp(t, "^req_", outcomes[kind].RequestID, kind)
	}
	return outcomes
}

func testCodes(t *testing.T, run runner) {
	t.Parallel()
	server := docsapitest.Start(t, "-faults")
	proxy := between(t, server.URL, soon)
	classes := map[apierror.Type]string{
		apierror.TypeInvalidRequest: "InvalidRequestError",
		apierror.TypeAuthentication: "AuthenticationError",
		apierror.TypePermission:     "PermissionDeniedError",
		apierror.TypeIdempotency:    "IdempotencyError",
		apierror.TypeRateLimit:      "RateLimitError",
		apierror.TypeAPI:            "APIError",
	}
	outcomes := see(t, run, "faults", proxy.URL, append(faults(), "panic", "error")...)
	for _, kind := range []string{"panic", "error"} {
		require.Equal(t, "api_error", outcomes[kind].Code)
		require.Len(t, proxy.requests("/fault_"+kind), 3)
	}
	for _, d := range apierror.DefaultCatalog().Definitions() {
		got := outcomes[string(d.Code)]
		want := outcome{
			Class: classes[d.Type], Status: d.Status, Code: string(d.Code), Type: string(d.Type), Retryable: d.Retryable(),
			RequestID: got.RequestID, DocURL: server.URL + "/docs/errors#" + string(d.Code),
		}
		require.Equal(t, want, got)
		attempts := 1
		if d.Retryable() {
			attempts = 3
		}
		require.Len(t, proxy.requests("/fault_"+string(d.Code)), attempts, d.Code)
	}
}

func testDenial(t *testing.T, run runner) {
	t.Parallel()
	server := docsapitest.Start(t, "-faults")
	proxy := between(t, server.URL, nil)
	see(t, run, "faults", proxy.URL, "rate_limit_exceeded")
	attempts := proxy.requests("/fault_rate_limit_exceeded")
	require.Len(t, attempts, 3)
	requireWaits(t, attempts)
}

// creation is what came of the creation of resources.
type creation struct {
	Created, Listed map[string]string // the ids of resources, by name
	Denied          map[string]string // the codes of errors, by name
	Failures        []string          // of attempts
}

// create runs the program that creates resources. It checks that each exists once, if at all.
func create(t *testing.T, run runner, url string, names ...string) (c creation) {
	t.Helper()
	stdout := run(t, "create", append([]string{url}, names...)...)
	require.NoError(t, json.Unmarshal([]byte(stdout), &c), stdout)
	require.Equal(t, c.Created, c.Listed)
	require.Len(t, names, len(c.Created)+len(c.Denied))
	return c
}

func testLostResponse(t *testing.T, run runner) {
	t.Parallel()
	server := docsapitest.Start(t)
	proxy := between(t, server.URL, func(n int, _ *http.Response) error {
		if n <= 2 {
			return errLost
		}
		return nil
	})
	c := create(t, run, proxy.URL, "first")
	require.Len(t, c.Created, 1)
	require.Equal(t, []string{"no response", "no response"}, c.Failures)
	requireOneKey(t, proxy, 3)
}

// The first response is lost because the process is killed after it has committed. The retry is
// answered by the next process.
func testKilledServer(t *testing.T, run runner) {
	t.Parallel()
	server := docsapitest.Start(t)
	proxy := between(t, server.URL, func(n int, _ *http.Response) error {
		if n > 1 {
			return nil
		}
		server.Kill()
		server.Restart()
		return errLost
	})
	c := create(t, run, proxy.URL, "first")
	require.Len(t, c.Created, 1)
	require.Equal(t, []string{"no response"}, c.Failures)
	requireOneKey(t, proxy, 2)
}

// Clients that send much more than they may get their share. The rest learns that it was denied.
func testStorm(t *testing.T, run runner) {
	t.Parallel()
	server := docsapitest.Start(t, "-rate", "5")
	proxy := between(t, server.URL, nil)
	var names []string
	for i := range 40 {
		names = append(names, fmt.Sprint("name", i))
	}
	c := create(t, run, proxy.URL, names...)
	require.GreaterOrEqual(t, len(c.Created), 5)
	for _, code := range slices.Concat(slices.Collect(maps.Values(c.Denied)), c.Failures) {
		require.Equal(t, "rate_limit_exceeded", code)
	}
	attempts := map[string]int{} // by key
	writes := 0
	for _, request := range proxy.requests("/v1/resources") {
		if request.method == http.MethodPost {
			attempts[request.key]++
			writes++
		}
	}
	require.Len(t, attempts, len(names))
	require.Equal(t, len(c.Created)+len(c.Failures), writes)
	require.LessOrEqual(t, slices.Max(slices.Collect(maps.Values(attempts))), 3)
}

// requireOneKey checks how many writes came, all with the same key.
func requireOneKey(t *testing.T, p *proxy, writes int) {
	t.Helper()
	var keys []string
	for _, request := range p.requests("/v1/resources") {
		if request.method == http.MethodPost {
			keys = append(keys, request.key)
		}
	}
	require.Len(t, keys, writes)
	require.NotEmpty(t, keys[0])
	for _, key := range keys {
		require.Equal(t, keys[0], key)
	}
}

// requireWaits checks that each attempt waited for the second that the service had asked for.
func requireWaits(t *testing.T, attempts []arrival) {
	t.Helper()
	for i := range attempts[1:] {
		require.GreaterOrEqual(t, attempts[i+1].at.Sub(attempts[i].at), time.Second)
	}
}

// execute runs a command in a folder, and returns what it writes.
func execute(t *testing.T, folder, name string, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = folder, &out, &errs
	cmd.Env = append(os.Environ(), "NO_COLOR=1", "npm_config_update_notifier=false")
	require.NoError(t, cmd.Run(), "%s %q\n%s%s", name, args, &out, &errs)
	return out.String(), errs.String()
}
