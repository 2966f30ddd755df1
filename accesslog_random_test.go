package seawall_test

import (
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// steps are what handlers do to a response. What they are called is told when a sequence of them fails.
var steps = []struct {
	name string
	do   func(http.ResponseWriter, *rand.Rand)
}{
	{"status", func(w http.ResponseWriter, rnd *rand.Rand) {
		w.WriteHeader([]int{103, 200, 201, 204, 302, 304, 404, 500}[rnd.IntN(8)])
	}},
	{"length", func(w http.ResponseWriter, rnd *rand.Rand) {
		w.Header().Set("Content-Length", strconv.Itoa(rnd.IntN(200)))
	}},
	{"write", func(w http.ResponseWriter, rnd *rand.Rand) { w.Write(make([]byte, rnd.IntN(5000))) }},
	{"string", func(w http.ResponseWriter, rnd *rand.Rand) { io.WriteString(w, strings.Repeat("x", rnd.IntN(200))) }},
	{"copy", func(w http.ResponseWriter, rnd *rand.Rand) {
		io.Copy(w, io.LimitReader(strings.NewReader(strings.Repeat("x", 3000)), rnd.Int64N(3000)))
	}},
	{"copy of nothing", func(w http.ResponseWriter, _ *rand.Rand) { io.Copy(w, io.LimitReader(strings.NewReader(""), 1)) }},
	{"flush", func(w http.ResponseWriter, _ *rand.Rand) {
		if w.Header().Get("Content-Length") == "" { // net/http's HTTP/1 lets a copy that follows be longer than announced
			w.(http.Flusher).Flush()
		}
	}},
	{"panic", func(http.ResponseWriter, *rand.Rand) { panic("bug") }},
}

// Whatever a handler does, the access log has the status and the bytes that the client got, and no failure passes for a success.
func TestAccessLogSaysWhatTheClientGot(t *testing.T) {
	t.Parallel()
	const sequences = 1000
	for _, protocol := range protocols {
		t.Run(protocol.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var logs logs
				var seed uint64
				var did []string
				s := protocol.new((&seawall.Stack{Logger: logs.logger()}).Handler(apierror.HandlerFunc(
					func(w http.ResponseWriter, _ *http.Request) error {
						did = nil
						rnd := rand.New(rand.NewPCG(seed, 0))
						for range rnd.IntN(6) {
							step := steps[rnd.IntN(len(steps))]
							did = append(did, step.name)
							step.do(w, rnd)
						}
						if rnd.IntN(3) == 0 {
							did = append(did, "error")
							return apierror.CodePermissionDenied
						}
						return nil
					})))
				defer s.Close()
				for ; seed < sequences; seed++ {
					logs.Take()
					method := []string{http.MethodGet, http.MethodGet, http.MethodHead}[seed%3]
					r, err := http.NewRequestWithContext(t.Context(), method, s.URL, nil)
					require.NoError(t, err)

					a := do(s.Client(), r)
					synctest.Wait() // for the log

					lines := logs.access(t)
					require.NotEmpty(t, lines)
					line := lines[len(lines)-1] // net/http's client asks again where a connection ends without a word
					if a.Response != nil {
						require.InDelta(t, a.StatusCode, line["status"], 0, "%s %q", method, did)
					}
					if a.err != nil {
						continue
					}
					require.NotContains(t, line, "aborted", "%s %q", method, did)
					require.InDelta(t, len(a.body), line["bytes"], 0, "%s %q", method, did)
					// An error after a response that is whole leaves it as it is.
					if method != http.MethodHead && a.StatusCode < 300 && a.StatusCode != http.StatusNoContent && a.ContentLength < 0 {
						require.NotContains(t, line, "code", "%s %q", method, did)
					}
				}
			})
		})
	}
}
