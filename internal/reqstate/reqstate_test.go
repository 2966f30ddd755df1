package reqstate_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seawall-go/seawall/internal/leakcheck"
	"github.com/seawall-go/seawall/internal/reqstate"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

func TestOneStatePerRequest(t *testing.T) {
	t.Parallel()
	type key struct{}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r = r.WithContext(context.WithValue(r.Context(), key{}, "kept"))
	if reqstate.From(r.Context()) != nil {
		t.Fatal("a state from nowhere")
	}
	inside, state := reqstate.Ensure(r)
	if inside == r || reqstate.From(inside.Context()) != state {
		t.Error("the state is not in the new request's context")
	}
	if reqstate.From(r.Context()) != nil {
		t.Error("the caller's request was changed")
	}
	if inside.Context().Value(key{}) != "kept" {
		t.Error("the context's other values are lost")
	}
	again, same := reqstate.Ensure(inside)
	if again != inside || same != state {
		t.Error("a second state for one request")
	}
}

func TestStateOfNobody(t *testing.T) {
	t.Parallel()
	s := reqstate.From(context.Background())
	if s.RequestID() != "" || s.Principal() != "" || s.Err() != nil || s.Gone() || s.Renderer() != nil {
		t.Error("a nil state knows something")
	}
}

func TestEnsureRequestIDMakesOneIDForAll(t *testing.T) {
	t.Parallel()
	_, s := reqstate.Ensure(httptest.NewRequest(http.MethodGet, "/", nil))
	var made atomic.Int64
	mint := func() string { return fmt.Sprint("req_", made.Add(1)) }
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if id := s.EnsureRequestID(mint); id != "req_1" {
				t.Error(id)
			}
		})
	}
	wg.Wait()
	if made.Load() != 1 || s.RequestID() != "req_1" {
		t.Error(made.Load(), s.RequestID())
	}
	var nobody *reqstate.State
	if id := nobody.EnsureRequestID(mint); id != "req_2" {
		t.Error(id)
	}
}
