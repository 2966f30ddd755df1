package reqstate_test

import (
	"context"
	"errors"
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
	if s.RequestID() != "" || s.Principal() != "" || s.Pattern() != "" || s.Err() != nil || s.Gone() || s.Renderer() != nil {
		t.Error("a nil state knows something")
	}
}

func TestEachFieldIsItsOwn(t *testing.T) {
	t.Parallel()
	_, s := reqstate.Ensure(httptest.NewRequest(http.MethodGet, "/", nil))
	failure := errors.New("failure")
	s.SetRequestID("id")
	s.SetPrincipal("who")
	s.SetPattern("GET /")
	s.SetErr(failure, true)
	if before := s.SetRenderer("first"); before != nil {
		t.Errorf("a renderer before the first: %v", before)
	}
	if before := s.SetRenderer("second"); before != "first" {
		t.Errorf("before: %v", before)
	}
	if s.RequestID() != "id" || s.Principal() != "who" || s.Pattern() != "GET /" {
		t.Error(s.RequestID(), s.Principal(), s.Pattern())
	}
	if !errors.Is(s.Err(), failure) || !s.Gone() || s.Renderer() != "second" {
		t.Error(s.Err(), s.Gone(), s.Renderer())
	}
}

// http.TimeoutHandler leaves goroutines behind that report errors while the request's own goroutine reads them. The race
// detector watches.
func TestUsedByManyGoroutines(t *testing.T) {
	t.Parallel()
	_, s := reqstate.Ensure(httptest.NewRequest(http.MethodGet, "/", nil))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s.SetRequestID("id")
			s.SetPrincipal("who")
			s.SetPattern("GET /")
			s.SetErr(context.Canceled, true)
			s.SetRenderer(1)
			_, _, _, _, _, _ = s.RequestID(), s.Principal(), s.Pattern(), s.Err(), s.Gone(), s.Renderer()
		})
	}
	wg.Wait()
}

func TestLogged(t *testing.T) {
	t.Parallel()
	var err error = reqstate.Logged("panic")
	if err.Error() != "panic" {
		t.Error(err)
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

func TestAnnounceRequestIDNamesTheOneID(t *testing.T) {
	t.Parallel()
	_, s := reqstate.Ensure(httptest.NewRequest(http.MethodGet, "/", nil))
	mint := func() string { return "req_1" }
	first, second := http.Header{"Request-Id": {"other"}, "X-Request-Id": {"req_1"}}, http.Header{"Request-Id": {"req_1"}}
	s.AnnounceRequestID(first, mint)
	s.AnnounceRequestID(second, mint)
	first.Add("Request-Id", "added")
	for _, h := range []http.Header{first, second} {
		if h["Request-Id"][0] != "req_1" || h.Get("X-Request-Id") != "req_1" || len(h["X-Request-Id"]) != 1 {
			t.Error(h)
		}
	}
	if len(second["Request-Id"]) != 1 || s.RequestID() != "req_1" {
		t.Error(second, s.RequestID())
	}
	s.SetRequestID("req_2")
	s.AnnounceRequestID(second, mint)
	if second.Get("Request-Id") != "req_2" {
		t.Error(second)
	}
}

func TestAnnounceRequestIDGivesEachResponseValuesOfItsOwn(t *testing.T) {
	t.Parallel()
	_, s := reqstate.Ensure(httptest.NewRequest(http.MethodGet, "/", nil))
	mint := func() string { return "req_1" }
	outer, inner := http.Header{}, http.Header{}
	s.AnnounceRequestID(outer, mint)
	s.AnnounceRequestID(inner, mint)
	inner["Request-Id"][0] = "written by a handler that http.TimeoutHandler left behind"
	if outer.Get("Request-Id") != "req_1" || outer.Get("X-Request-Id") != "req_1" {
		t.Error(outer)
	}
	s.SetRequestID("req_2")
	s.AnnounceRequestID(http.Header{}, mint)
	if outer.Get("Request-Id") != "req_1" {
		t.Error(outer)
	}
}
