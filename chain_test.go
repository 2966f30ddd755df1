package seawall_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
)

// trace records the order in which middleware and handlers run.
type trace []string

func (tr *trace) middleware(name string) seawall.Middleware {
	return func(next http.Handler) http.Handler {
		return plain(func(w http.ResponseWriter, r *http.Request) {
			*tr = append(*tr, name)
			next.ServeHTTP(w, r)
			*tr = append(*tr, "/"+name)
		})
	}
}

func (tr *trace) handler() http.Handler {
	return plain(func(http.ResponseWriter, *http.Request) { *tr = append(*tr, "handler") })
}

func TestChainOrder(t *testing.T) {
	t.Parallel()
	var got trace
	serveOne(seawall.Chain(got.middleware("a"), nil, got.middleware("b"))(got.handler()), nil)
	require.Equal(t, trace{"a", "b", "handler", "/b", "/a"}, got)
}

func TestAnEmptyChainReturnsItsHandler(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	require.Same(t, mux, seawall.Chain()(mux))
	require.Same(t, mux, seawall.Chain(nil, nil)(mux))
}
