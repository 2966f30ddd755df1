package reqstate_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
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
		t.Fatal("a State that nothing has made")
	}
	inside, state := reqstate.Ensure(r)
	if inside == r || reqstate.From(inside.Context()) != state {
		t.Error("the state is not in the new request's context")
	}
	if reqstate.From(r.Context()) != nil {
		t.Error("the original request was changed")
	}
	if inside.Context().Value(key{}) != "kept" {
		t.Error("the context's other values were lost")
	}
	again, same := reqstate.Ensure(inside)
	if again != inside || same != state {
		t.Error("a second State for one request")
	}
}

func TestANilStateIsEmpty(t *testing.T) {
	t.Parallel()
	s := reqstate.From(context.Background())
	if s.RequestID() != "" || s.Principal() != "" || s.Err() != nil || s.Gone() || s.Renderer() != nil {
		t.Error("not empty")
	}
}

func TestEnsureRequestIDMakesOneID(t *testing.T) {
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
	var none *reqstate.State
	if id := none.EnsureRequestID(mint); id != "req_2" {
		t.Error(id)
	}
}

func TestStateIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	const n = 32
	w, r, s := reqstate.Enter(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	errs := make([]error, n)
	for i := range errs {
		errs[i] = fmt.Errorf("error %d", i)
	}
	var made atomic.Int64
	mint := func() string { return fmt.Sprint("req_", made.Add(1)) }
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			own := r.WithContext(r.Context())
			c := reqstate.WithPrincipal(own, fmt.Sprint("acct_", i))
			if got := reqstate.From(c.Context()).Principal(); got != fmt.Sprint("acct_", i) {
				t.Error(got)
			}
			for range 100 {
				reqstate.SetPattern(w, c, fmt.Sprint("/", i))
			}
			if got := s.EnsureRequestID(mint); got != "req_1" {
				t.Error(got)
			}
			reqstate.From(c.Context()).AnnounceRequestID(httptest.NewRecorder(), mint)
			s.Sending(errs[i], 400+i, i%2 == 0)
			s.Answered(400+i, false)
			s.TooLate(w, own, errs[i])
			if err := s.Err(); err != nil && !slices.Contains(errs, err) {
				t.Error(err)
			}
			reqstate.Of(w, own).Renderer()
			reqstate.WithRenderer(w, own, i%2)
			_ = s.Gone()
			_ = s.Late()
			_ = s.RequestID()
			_ = s.Authenticated()
			reqstate.HandBack(own, c, i%2 == 0)
			s.Pattern(own)
		})
	}
	close(start)
	wg.Wait()

	if made.Load() != 1 || s.RequestID() != "req_1" {
		t.Errorf("%d ids were made; the request has %q", made.Load(), s.RequestID())
	}
	if s.Principal() != "" {
		t.Errorf("a context's principal changed to %q", s.Principal())
	}
	if got := s.Authenticated(); !strings.HasPrefix(got, "acct_") {
		t.Errorf("authenticated as %q", got)
	}
	if got := s.Pattern(r); !strings.HasPrefix(got, "/") {
		t.Errorf("the pattern is %q", got)
	}
	if !slices.Contains(errs, s.Late()) {
		t.Errorf("late: %v", s.Late())
	}
}

func TestTheOutermostStatusIsFinal(t *testing.T) {
	t.Parallel()
	sent, other := errors.New("sent"), errors.New("other")
	w, _, s := reqstate.Enter(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	s.Sending(sent, 500, true)
	w.WriteHeader(500)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			s.Sending(other, 400+i, false)
			s.Answered(400+i, false)
			s.Answered(400+i, true)
			if !errors.Is(s.Err(), sent) || !s.Gone() {
				t.Errorf("%v was sent, gone: %v", s.Err(), s.Gone())
			}
		})
	}
	wg.Wait()
}

func TestRecordedReturnsItsText(t *testing.T) {
	t.Parallel()
	if got := reqstate.Recorded("the store is down").Error(); got != "the store is down" {
		t.Error(got)
	}
}
