package ratelimit_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/logbuf"
	"github.com/seawall-go/seawall/ratelimit"
)

// request returns a GET request with the headers, which are pairs of name and value.
func request(headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/v1/resources/7", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

var ok = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })

// get sends a request with an API key, unless that is empty, and returns the response.
func get(h http.Handler, key string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/v1/resources", nil)
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	return serve(h, r)
}

// serve returns the response of h. Its code is 0 if there was none, where a plain
// recorder has 200.
func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	w.Code = 0
	h.ServeHTTP(w, r)
	return w
}

// discard is a ResponseWriter that allocates nothing.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header { return d.header }

func (d *discard) Write(p []byte) (int, error) { return len(p), nil }

func (d *discard) WriteHeader(int) {}

// byKey returns a rule by API key.
func byKey(name string, l ratelimit.Limit) ratelimit.Rule {
	return ratelimit.Rule{Name: name, Limit: l, Key: ratelimit.ByAPIKey}
}

// charge returns a charge of one unit by the rule "p".
func charge(key string, l ratelimit.Limit) ratelimit.Charge {
	return ratelimit.Charge{Rule: "p", Key: key, Limit: l, Cost: 1}
}

// epoch is the time at which the clocks of the tests begin.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// events collects the events that an Observe function gets.
type events struct {
	mu   sync.Mutex
	list []ratelimit.Event
}

func (e *events) observe(_ context.Context, event ratelimit.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, event)
}

// drain returns the events since the last call, as "rule outcome".
func (e *events) drain() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for _, event := range e.list {
		s := event.Rule + " " + string(event.Outcome)
		if event.Shadow {
			s += " in shadow"
		}
		out = append(out, s)
	}
	e.list = nil
	return out
}

// lines is a log with a string for each record.
type lines struct{ logbuf.Buffer }

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// drain returns the records since the last call.
func (l *lines) drain() []string { return slices.Collect(strings.Lines(l.Take())) }

// logged returns h with a logger for the errors that it answers.
func logged(log *lines, h http.Handler) http.Handler {
	return (&apierror.Renderer{Logger: log.logger()}).Handler(h)
}

// broken is a limiter that fails while err is set.
type broken struct {
	*ratelimit.Memory
	err error
}

func (b *broken) Take(ctx context.Context, c ratelimit.Charge) (ratelimit.Decision, error) {
	if b.err != nil {
		return ratelimit.Decision{Remaining: -7}, b.err
	}
	return b.Memory.Take(ctx, c)
}

func (b *broken) TakeAll(ctx context.Context, charges []ratelimit.Charge, into []ratelimit.Decision) error {
	if b.err != nil {
		return b.err
	}
	return b.Memory.TakeAll(ctx, charges, into)
}

// answers is a limiter that always returns the same decision.
type answers ratelimit.Decision

func (a answers) Take(context.Context, ratelimit.Charge) (ratelimit.Decision, error) {
	return ratelimit.Decision(a), nil
}

// takeAt makes a charge that must not fail.
func takeAt(t *testing.T, m *ratelimit.Memory, now time.Time, c ratelimit.Charge) ratelimit.Decision {
	t.Helper()
	d, err := m.TakeAt(now, c)
	require.NoError(t, err)
	return d
}
