package seawall_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// bodyExchanges are requests with bodies around the limit.
var bodyExchanges = []exchange{
	{name: "body of exactly the limit", stack: &seawall.Stack{MaxBody: 8}, handler: reading, request: body(8), status: 200, body: "8"},
	{
		name: "body over the limit", stack: &seawall.Stack{MaxBody: 8}, handler: reading, request: body(9),
		status: 413, code: apierror.CodeRequestTooLarge,
	},
	{
		name: "body over the limit behind wrappers closes the connection", stack: &seawall.Stack{MaxBody: 8},
		outside: wrapped(3), handler: wrapped(3)(reading), request: body(9),
		h1Only: "HTTP/2 ends the stream, not the connection",
		status: 413, code: apierror.CodeRequestTooLarge,
		check: func(t *testing.T, a answer) { require.True(t, a.Close, "no Connection: close") },
	},
	{
		name: "Content-Length of exactly the limit", stack: &seawall.Stack{MaxBody: 8}, handler: reading,
		request: func(r *http.Request) {
			r.Method, r.ContentLength = http.MethodPost, 8
			r.Body = io.NopCloser(strings.NewReader("12345678"))
		},
		status: 200, body: "8",
	},
	{
		name: "Content-Length over the limit", stack: &seawall.Stack{MaxBody: 8}, handler: panicking("the handler ran"),
		request: func(r *http.Request) {
			r.Method, r.ContentLength = http.MethodPost, 9
			r.Body = io.NopCloser(strings.NewReader("123456789"))
		},
		status: 413, code: apierror.CodeRequestTooLarge,
	},
}

func TestMaxBody(t *testing.T) {
	t.Parallel()
	runExchanges(t, bodyExchanges)
}

func TestMaxBodyLeavesMissingBodiesAlone(t *testing.T) {
	t.Parallel()
	h := seawall.MaxBody(1)(plain(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%T", r.Body) }))
	for _, body := range []io.ReadCloser{nil, http.NoBody} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Body = body
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, fmt.Sprintf("%T", body), w.Body.String(), "it was wrapped")
	}
}

func TestTheSmallerOfTwoMaxBodiesApplies(t *testing.T) {
	t.Parallel()
	for _, bounds := range [][]seawall.Middleware{
		{seawall.MaxBody(4), seawall.MaxBody(8)},
		{seawall.MaxBody(8), seawall.MaxBody(4)},
	} {
		for size, want := range map[int]int{4: http.StatusOK, 5: http.StatusRequestEntityTooLarge} {
			r := httptest.NewRequest(http.MethodPost, "/", io.NopCloser(strings.NewReader(strings.Repeat("x", size))))
			r.ContentLength = -1
			w := httptest.NewRecorder()
			seawall.Chain(bounds...)(reading).ServeHTTP(w, r)
			require.Equal(t, want, w.Code)
		}
	}
}
