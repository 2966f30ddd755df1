package peers_test

import (
	"net/http"
	"testing"

	"github.com/go-chi/chi/v5/middleware"

	"github.com/seawall-go/seawall"
)

// chains give a request an id, in its context and in the response, and recover panics.
func chains() []side {
	through := func(m seawall.Middleware) func(testing.TB) func() {
		return func(tb testing.TB) func() {
			return serve(m(noContent), request(tb, http.MethodGet, "/v1/resources"))
		}
	}
	return []side{
		{"seawall", through(seawallChain)},
		{"chi", through(chiChain)},
	}
}

func seawallChain(next http.Handler) http.Handler {
	return seawall.Chain(seawall.RequestID(nil), seawall.Recover(quiet))(next)
}

func chiChain(next http.Handler) http.Handler {
	return seawall.Chain(middleware.RequestID, announceID, middleware.Recoverer)(next)
}

func BenchmarkChain(b *testing.B) { compare(b, chains()) }

func TestChainsAnswerAlike(t *testing.T) {
	t.Parallel()
	sameAnswer(t,
		answer(seawallChain(noContent), request(t, http.MethodGet, "/v1/resources")),
		answer(chiChain(noContent), request(t, http.MethodGet, "/v1/resources")))
}
