package seawall_test

import (
	"io"
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// responding begins a response: a status, a Content-Length unless it is negative, and a body.
func responding(status, length int, body string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		if length >= 0 {
			w.Header().Set("Content-Length", strconv.Itoa(length))
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// midway is what becomes of a response that has begun when its handler fails.
var midway = []struct {
	name   string
	method string
	status int
	begin  func(http.ResponseWriter)
	body   string // of a response that stands

	errorAborts, panicAborts bool
}{
	{"200", http.MethodPost, 200, responding(200, -1, "part"), "", true, true},
	{"201 without a Content-Length", http.MethodPost, 201, responding(201, -1, "part"), "", true, true},
	{"201 without a body", http.MethodPost, 201, responding(201, -1, ""), "", true, true},
	{"201 that lacks a byte", http.MethodPost, 201, responding(201, 5, "part"), "", true, true},
	{"201 that is complete", http.MethodPost, 201, responding(201, 4, "part"), "part", false, false},
	{"201 of no byte", http.MethodPost, 201, responding(201, 0, ""), "", false, false},
	{"204", http.MethodPost, 204, responding(204, -1, ""), "", false, false},
	{"304", http.MethodGet, 304, responding(304, -1, ""), "", false, false},
	{"399", http.MethodPost, 399, responding(399, -1, "part"), "", true, true},
	{"400", http.MethodPost, 400, responding(400, -1, "part"), "part", false, true},
	{"422", http.MethodPost, 422, responding(422, -1, "part"), "part", false, true},
	{"422 without a body", http.MethodPost, 422, responding(422, -1, ""), "", false, true},
	{"422 that is complete", http.MethodPost, 422, responding(422, 4, "part"), "part", false, false},
	{"503", http.MethodPost, 503, responding(503, -1, "part"), "part", false, true},
	{"HEAD", http.MethodHead, 200, responding(200, -1, "part"), "", false, false},
	{"HEAD that lacks a byte", http.MethodHead, 200, responding(200, 5, "part"), "", false, false},
	{"HEAD without a body", http.MethodHead, 201, responding(201, -1, ""), "", false, false},
	{"HEAD of a 422", http.MethodHead, 422, responding(422, -1, ""), "", false, false},
}

func TestFailuresInTheMiddleOfAResponse(t *testing.T) {
	t.Parallel()
	failures := []struct {
		name   string
		err    error // nil for a panic
		code   string
		others string
	}{
		{"client's error", apierror.CodePermissionDenied, "permission_denied", logComplete},
		{"service's error", errSecret, "api_error", logComplete},
		{"panic", nil, "api_error", logPanic},
	}
	for _, protocol := range protocols {
		for _, row := range midway {
			for _, failure := range failures {
				t.Run(protocol.name+"/"+row.name+"/"+failure.name, func(t *testing.T) {
					t.Parallel()
					aborts := row.errorAborts
					if failure.err == nil {
						aborts = row.panicAborts
					}
					var logs logs
					answered := make(chan *apierror.Error, 2)
					metrics := func(next http.Handler) http.Handler {
						return plain(func(w http.ResponseWriter, r *http.Request) {
							defer func() { answered <- seawall.ErrorFrom(r.Context()) }()
							next.ServeHTTP(w, r)
						})
					}
					stack := &seawall.Stack{Logger: logs.logger(), Authenticate: metrics}
					s := protocol.new(seawall.Chain(seawall.RequestID(nil), metrics)(stack.Handler(apierror.HandlerFunc(
						func(w http.ResponseWriter, _ *http.Request) error {
							row.begin(w)
							if failure.err == nil {
								panic("bug")
							}
							return failure.err
						}))))
					defer s.Close()
					r, err := http.NewRequestWithContext(t.Context(), row.method, s.URL, nil)
					require.NoError(t, err)

					a := do(s.Client(), r)
					s.Close()

					if aborts {
						a.requireBroken(t)
					} else {
						require.NoError(t, a.err)
						require.Equal(t, row.body, string(a.body))
						a.requireID(t)
					}
					if a.Response != nil {
						require.Equal(t, row.status, a.StatusCode)
					}
					require.Nil(t, <-answered)
					require.Nil(t, <-answered)
					lines := logs.access(t)
					require.Len(t, lines, 1)
					require.InDelta(t, row.status, lines[0]["status"], 0)
					require.Equal(t, failure.code, lines[0]["late_code"])
					require.NotContains(t, lines[0], "code")
					if aborts {
						require.Equal(t, true, lines[0]["aborted"])
					} else {
						require.NotContains(t, lines[0], "aborted")
						require.InDelta(t, len(row.body), lines[0]["bytes"], 0)
					}
					message := failure.others
					if aborts && failure.err != nil {
						message = logAborted
					}
					require.Equal(t, []string{message}, logs.others(t))
					require.Empty(t, s.Log())
				})
			}
		}
	}
}
