//go:build !race

package apierror_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/reqstate"
	"github.com/seawall-go/seawall/internal/track"
)

// bareWriter keeps nothing, so that only our allocations are counted.
type bareWriter struct{ h http.Header }

func (w *bareWriter) Header() http.Header         { return w.h }
func (w *bareWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *bareWriter) WriteHeader(int)             {}

// belowAChain returns a request as package seawall's chain passes it on: with a state, an id and a
// tracker.
func belowAChain(ctx context.Context) (http.ResponseWriter, *http.Request) {
	r, state := reqstate.Ensure(httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
	state.SetRequestID("req_Hd92kLpQ7mXw3TzB")
	return reqstate.WithRenderer(&bareWriter{h: make(http.Header)}, r, quiet())
}

// The tests here are not parallel: AllocsPerRun counts the whole process.

func TestAllocsOfAnErrorRendered(t *testing.T) {
	const budget = 2 // the complete error, and the values of its headers
	plain := errors.New("plain")
	for name, err := range map[string]error{
		"parameter missing": apierror.ParameterMissing("name"),
		"wrapped":           fmt.Errorf("create: %w", apierror.ParameterMissing("name")),
		"a code":            apierror.CodePermissionDenied,
		"unauthorized":      apierror.CodeAuthenticationFailed.New(),
		"rate limited":      apierror.RateLimitExceeded(0),
		"any error":         plain,
	} {
		w, r := belowAChain(t.Context())
		fail := apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return err })
		n := testing.AllocsPerRun(1000, func() {
			clear(w.Header())
			w, _ := track.Wrap(w.(interface{ Unwrap() http.ResponseWriter }).Unwrap(), r) // its state is that of one response
			fail.ServeHTTP(w, r)
		}) - 1 // the tracker
		t.Logf("Write of %s: %v", name, n)
		limit := float64(budget)
		switch name {
		case "a code", "any error":
			limit++ // the *Error that is sent for it
		case "wrapped":
			limit += 2 // its copy with the cause, and the search for it
		}
		if n > limit {
			t.Errorf("Write of %s: %v is more than %v", name, n, limit)
		}
	}
}

func TestAllocsOfASuccess(t *testing.T) {
	w, r := belowAChain(t.Context())
	body := []byte("ok")
	succeed := apierror.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		_, err := w.Write(body)
		return err
	})
	n := testing.AllocsPerRun(1000, func() { succeed.ServeHTTP(w, r) })
	t.Logf("HandlerFunc below a chain, success: %v", n)
	if n > 0 {
		t.Error("more than 0")
	}
}

func TestAllocsOfInspectingAnError(t *testing.T) {
	err := fmt.Errorf("call: %w", errors.Join(errors.New("x"), fmt.Errorf("api: %w", apierror.ParameterMissing("name"))))
	for name, look := range map[string]func() bool{
		"CodeOf":            func() bool { return apierror.CodeOf(err) == apierror.CodeParameterMissing },
		"errors.Is, a code": func() bool { return errors.Is(err, apierror.CodeParameterMissing) },
		"errors.Is, a type": func() bool { return errors.Is(err, apierror.TypeInvalidRequest) },
		"errors.AsType":     func() bool { e, ok := errors.AsType[*apierror.Error](err); return ok && e.Param() == "name" },
	} {
		n := testing.AllocsPerRun(1000, func() {
			if !look() {
				t.Fatal("not found")
			}
		})
		t.Logf("%s: %v", name, n)
		if n > 0 {
			t.Errorf("%s: more than 0", name)
		}
	}
}

func TestAllocsOfParse(t *testing.T) {
	const budget = 12 // the error, its texts and origin, two objects, the body to be read again
	resp := response(http.StatusBadRequest, jsonType, "", "Request-Id", "req_Hd92kLpQ7mXw3TzB")
	body := strings.NewReader("")
	closer := io.NopCloser(body)
	n := testing.AllocsPerRun(1000, func() {
		body.Reset(`{"error":{"type":"invalid_request_error","code":"parameter_missing","message":"No name.","param":"name","request_id":"req_Hd92kLpQ7mXw3TzB"}}`)
		resp.Body = closer
		if apierror.Parse(resp) == nil {
			t.Fatal("no error")
		}
	})
	t.Logf("Parse: %v", n)
	if n > budget {
		t.Errorf("Parse: more than %v", budget)
	}
}

func TestAllocsOfParsingAHEADResponse(t *testing.T) {
	const runs = 100
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		resp := response(http.StatusNotFound, "text/html", "")
		resp.ContentLength = 60 << 10
		resp.Request = httptest.NewRequest(http.MethodHead, "/", nil)
		if apierror.Parse(resp) == nil {
			t.Fatal("no error")
		}
	}
	runtime.ReadMemStats(&after)
	if n := (after.TotalAlloc - before.TotalAlloc) / runs; n > 16<<10 {
		t.Errorf("%d bytes", n)
	}
}

func TestAllocsOfConstructors(t *testing.T) {
	for name, row := range map[string]struct {
		budget float64
		make   func() *apierror.Error
	}{
		"ParameterMissing": {2, func() *apierror.Error { return apierror.ParameterMissing("name") }}, // the error, its message
		"PermissionDenied": {1, apierror.CodePermissionDenied.New},
		"Timeout":          {1, apierror.CodeTimeout.New},
	} {
		n := testing.AllocsPerRun(1000, func() { sink = row.make() })
		t.Logf("%s: %v", name, n)
		if n > row.budget {
			t.Errorf("%s: more than %v", name, row.budget)
		}
	}
}
