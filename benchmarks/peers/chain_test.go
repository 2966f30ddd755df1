package peers_test

import (
	"net/http"
	"testing"

	"github.com/go-chi/chi/v5/middleware"

	"github.com/seawall-go/seawall"
)

// The chain that every request passes, on a success: request id (in context and headers), response tracker, error slot, recovery.
func chain() []contender {
	around := func(h http.Handler) func(testing.TB) func() {
		return func(tb testing.TB) func() { return serve(h, request(tb, http.MethodGet)) }
	}
	return []contender{
		{"seawall", around(seawall.Chain(seawall.RequestID(nil), seawall.Recover(quiet))(handler))},
		{"chi", around(middleware.RequestID(middleware.Recoverer(handler)))},
		{"bare", around(handler)},
	}
}

func BenchmarkChain(b *testing.B) { compare(b, chain()) }
