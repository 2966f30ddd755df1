package proxy_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/proxy"
	"github.com/seawall-go/seawall/internal/leakcheck"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// patience is how long something may take that must happen.
const patience = 20 * time.Second

// An origin is a server that keeps what arrives.
type origin struct {
	*httptest.Server
	release chan struct{} // if not nil, responses wait until it is closed, or the client is gone

	mu       sync.Mutex
	complete []string // bodies
	broken   int      // requests whose body ended early
	left     int      // requests whose client was gone before the response
}

func newOrigin(t *testing.T) *origin {
	t.Helper()
	o := new(origin)
	o.Server = httptest.NewServer(o)
	o.Config.Handler = o
	t.Cleanup(o.Close)
	return o
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	o.mu.Lock()
	if err != nil {
		o.broken++
	} else {
		o.complete = append(o.complete, string(body))
	}
	release := o.release
	o.mu.Unlock()
	if release != nil {
		select {
		case <-release:
		case <-r.Context().Done():
			o.mu.Lock()
			o.left++
			o.mu.Unlock()
		}
	}
	w.Header().Set("X-Path", r.URL.RequestURI())
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, "answer to "+r.Header.Get("X-Principal"))
}

func (o *origin) seen() (complete []string, broken, left int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string(nil), o.complete...), o.broken, o.left
}

// A recorder has the hits of a proxy.
type recorder struct {
	mu   sync.Mutex
	hits []history.Hit
}

func (r *recorder) record(e history.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hits = append(r.hits, *e.Hit)
}

func start(t *testing.T, o *origin) (*proxy.HTTP, *recorder) {
	t.Helper()
	r := new(recorder)
	p := proxy.NewHTTP(t, func() string { return o.URL }, r.record)
	p.Name = func() string { return "s1.1" }
	return p, r
}

// post sends a request to a proxy, on a new connection. The answer is empty if there is no
// response.
func post(ctx context.Context, t *testing.T, p *proxy.HTTP, key, body string) (answer string) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL+"/w/plain?q=1", strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return ""
	}
	r.GetBody = nil // so that the transport does not retry
	r.Header.Set("X-Principal", "bob")
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if path := resp.Header.Get("X-Path"); err != nil || resp.StatusCode != http.StatusCreated || path != "/w/plain?q=1" {
		t.Errorf("%s for %s: %v", resp.Status, path, err)
	}
	return string(b)
}

func TestActionHarmsOneRequest(t *testing.T) {
	t.Parallel()
	const answer, body = "answer to bob", "the body"
	tests := []struct {
		action   history.Action
		answer   string
		complete []string // bodies that arrive
		broken   int
	}{
		{history.Delay, answer, []string{body}, 0},
		{history.Duplicate, answer, []string{body, body}, 0},
		{history.DropReply, "", []string{body}, 0},
		{history.Half, "", nil, 1},
		{history.Unsent, "", nil, 0},
	}
	for _, tt := range tests {
		t.Run(string(tt.action), func(t *testing.T) {
			t.Parallel()
			o := newOrigin(t)
			p, hits := start(t, o)
			p.Arm(tt.action)

			require.Equal(t, answer, post(t.Context(), t, p, "", "no key"))
			require.Equal(t, 1, p.Armed(), "a request without a key does not count")
			require.Equal(t, tt.answer, post(t.Context(), t, p, "k", body))
			require.Zero(t, p.Armed())
			want := append([]string{"no key"}, tt.complete...)
			require.Eventually(t, func() bool {
				complete, broken, _ := o.seen()
				return len(complete) == len(want) && broken == tt.broken
			}, patience, time.Millisecond)
			require.Equal(t, answer, post(t.Context(), t, p, "k2", "after"))

			complete, broken, _ := o.seen()
			require.Equal(t, append(want, "after"), complete)
			require.Equal(t, tt.broken, broken)
			require.Len(t, hits.hits, 1)
			require.Positive(t, hits.hits[0].At)
			hits.hits[0].At = 0
			require.Equal(t, history.Hit{
				Key: "bob/k", Way: history.Plain, Window: history.OnTheWay, Action: tt.action, Server: "s1.1",
			}, hits.hits[0])
		})
	}
}

func TestCutRequestArrivesWholeAndItsServerSeesTheEnd(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.release = make(chan struct{})
	p, _ := start(t, o)
	p.Arm(history.Cut)
	require.Empty(t, post(t.Context(), t, p, "k", "body"))
	require.Eventually(t, func() bool {
		complete, _, left := o.seen()
		return len(complete) == 1 && left == 1
	}, patience, time.Millisecond)
}

func TestDelayedRequestArrivesWithoutItsClient(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	p, _ := start(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	p.Arm(history.Delay)
	done := make(chan string)
	go func() { done <- post(ctx, t, p, "k", "body") }()
	require.Eventually(t, func() bool { return p.Armed() == 0 }, patience, time.Millisecond)
	cancel()
	<-done
	require.Eventually(t, func() bool {
		complete, _, _ := o.seen()
		return len(complete) == 1
	}, patience, time.Millisecond)
}

func TestCopyOfDuplicateGoesElsewhere(t *testing.T) {
	t.Parallel()
	o, other := newOrigin(t), newOrigin(t)
	p, _ := start(t, o)
	p.Elsewhere = func() string { return other.URL }
	p.Arm(history.Duplicate)
	require.NotEmpty(t, post(t.Context(), t, p, "k", "body"))
	require.Eventually(t, func() bool {
		complete, _, _ := other.seen()
		return len(complete) == 1
	}, patience, time.Millisecond)
	complete, _, _ := o.seen()
	require.Len(t, complete, 1)
}

func TestDisarmedActionHarmsNoRequest(t *testing.T) {
	t.Parallel()
	p, hits := start(t, newOrigin(t))
	p.Arm(history.Unsent)
	p.Disarm()
	require.NotEmpty(t, post(t.Context(), t, p, "k", "body"))
	require.Empty(t, hits.hits)
}

func TestDeadServerIsAClosedConnection(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	p, _ := start(t, o)
	require.NotEmpty(t, post(t.Context(), t, p, "k", "body"))
	o.Close()
	require.Empty(t, post(t.Context(), t, p, "k", "body"))
}

func TestDownLinkRefusesAndCuts(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.release = make(chan struct{})
	p, _ := start(t, o)
	done := make(chan string)
	go func() { done <- post(t.Context(), t, p, "k", "body") }()
	require.Eventually(t, func() bool {
		complete, _, _ := o.seen()
		return len(complete) == 1
	}, patience, time.Millisecond)
	p.SetDown(true)
	require.Empty(t, <-done)
	require.Empty(t, post(t.Context(), t, p, "k", "body"))
	close(o.release)
	p.SetDown(false)
	require.NotEmpty(t, post(t.Context(), t, p, "k", "body"))
	complete, _, _ := o.seen()
	require.Len(t, complete, 2)
}

func TestSilentLinkHoldsUpRequestAndResponse(t *testing.T) {
	t.Parallel()
	o := newOrigin(t)
	o.release = make(chan struct{})
	p, _ := start(t, o)
	first, second := make(chan string), make(chan string)
	go func() { first <- post(t.Context(), t, p, "k", "first") }()
	arrived := func(n int) func() bool {
		return func() bool {
			complete, _, _ := o.seen()
			return len(complete) == n
		}
	}
	require.Eventually(t, arrived(1), patience, time.Millisecond)
	p.SetSilent(true)
	close(o.release)
	go func() { second <- post(t.Context(), t, p, "k", "second") }()
	select {
	case <-first:
		t.Error("a response has passed")
	case <-second:
		t.Error("a request was answered")
	case <-time.After(100 * time.Millisecond):
	}
	require.True(t, arrived(1)())
	p.SetSilent(false)
	require.NotEmpty(t, <-first)
	require.NotEmpty(t, <-second)
}

func TestSlowLinkAddsItsTime(t *testing.T) {
	t.Parallel()
	p, _ := start(t, newOrigin(t))
	p.SetSlow(50 * time.Millisecond)
	began := time.Now()
	require.NotEmpty(t, post(t.Context(), t, p, "k", "body"))
	require.GreaterOrEqual(t, time.Since(began), 50*time.Millisecond)
}
