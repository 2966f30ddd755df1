//go:build !race

package seawall_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
)

// allocations returns the number of allocations of one request.
func allocations(h http.Handler) float64 {
	w, r := newSink(), httptest.NewRequest(http.MethodGet, "/v1/things/1", nil)
	return testing.AllocsPerRun(1000, func() {
		clear(w.header)
		h.ServeHTTP(w, r)
	})
}

// The allocations of a successful request: its id, its context, the two headers, its tracker and
// the copy of the request, whatever the number of parts.
func TestAllocBudgets(t *testing.T) {
	routes := http.NewServeMux()
	routes.Handle("GET /v1/things/{id}", quiet)
	id := seawall.RequestID(nil)
	for _, row := range []struct {
		name   string
		chain  seawall.Middleware
		budget float64
	}{
		{"RequestID", id, 5},
		{"RequestID, Renderer", seawall.Chain(id, (&apierror.Renderer{}).Handler), 5},
		{"RequestID, Renderer, Recover", seawall.Chain(id, (&apierror.Renderer{}).Handler, seawall.Recover(nil)), 5},
		{"RequestID, AccessLog (not enabled)", seawall.Chain(id, seawall.AccessLog(&seawall.AccessLogOptions{Logger: discard})), 5},
		{"MaxInFlight", seawall.MaxInFlight(1), 0},
		{"MaxBody", seawall.MaxBody(1), 0},
	} {
		got := allocations(row.chain(quiet))
		t.Logf("%s: %v allocations (budget %v)", row.name, got, row.budget)
		require.LessOrEqual(t, got, row.budget, row.name)
	}

	// The allocations that a part adds to a request inside a chain.
	base := seawall.Chain(id, seawall.Recover(nil))
	without := allocations(base(quiet))
	for _, row := range []struct {
		name   string
		inner  seawall.Middleware
		budget float64
	}{
		{"Recover", seawall.Recover(nil), 0},
		{"Renderer.Handler", (&apierror.Renderer{}).Handler, 0},
		{"HandlerFunc", func(http.Handler) http.Handler {
			return apierror.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
				w.WriteHeader(http.StatusNoContent)
				return nil
			})
		}, 0},
		{"RequestID within RequestID", seawall.RequestID(nil), 1},
		{"WithPrincipal", as("acct_1"), 3}, // the copy of the request, its context, and the list of copies
		{"Timeout", seawall.Timeout(time.Minute), 5},
	} {
		got := allocations(base(row.inner(quiet))) - without
		t.Logf("%s adds %v allocations (budget %v)", row.name, got, row.budget)
		require.LessOrEqual(t, got, row.budget, row.name)
	}

	mux := allocations(routes)
	got := allocations(seawall.WrapMux(routes)) - mux
	t.Logf("WrapMux adds %v allocations to the mux's %v (budget %v)", got, mux, mux)
	require.LessOrEqual(t, got, mux)
}

// Recover allocates only its tracker, and only if there is none.
func TestAllocRecoverOnSuccess(t *testing.T) {
	outer := seawall.Recover(nil)
	once, twice := allocations(outer(quiet)), allocations(outer(seawall.Recover(nil)(quiet)))
	t.Logf("Recover makes the tracker: %v allocation; within another: %v more (budget 0)", once, twice-once)
	require.Zero(t, twice-once)
	require.LessOrEqual(t, once, 1.)
}
