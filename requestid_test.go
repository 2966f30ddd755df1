package seawall_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/memhttp"
)

func everyone(*http.Request) bool { return true }

// serveOne calls h with a GET request that has the headers.
func serveOne(h http.Handler, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	maps.Copy(r.Header, header)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// showID answers the id that the context holds.
var showID = plain(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, apierror.RequestIDFrom(r.Context())) })

func TestInboundIDs(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 128)
	one := func(key, value string) http.Header { return http.Header{key: {value}} }
	for name, row := range map[string]struct {
		header http.Header
		want   string // "" for one of ours
	}{
		"none":                           {nil, ""},
		"Request-Id":                     {one("Request-Id", "abc-1_2.3"), "abc-1_2.3"},
		"X-Request-Id":                   {one("X-Request-Id", "abc"), "abc"},
		"both the same":                  {http.Header{"Request-Id": {"abc"}, "X-Request-Id": {"abc"}}, "abc"},
		"both, differing":                {http.Header{"Request-Id": {"abc"}, "X-Request-Id": {"abd"}}, ""},
		"one good, one bad":              {http.Header{"Request-Id": {"abc"}, "X-Request-Id": {"a c"}}, ""},
		"one bad, one good":              {http.Header{"Request-Id": {"a c"}, "X-Request-Id": {"abc"}}, ""},
		"two lines":                      {http.Header{"X-Request-Id": {"abc", "def"}}, ""},
		"two lines, the same":            {http.Header{"X-Request-Id": {"abc", "abc"}}, ""},
		"two lines beside a good one":    {http.Header{"Request-Id": {"abc"}, "X-Request-Id": {"abc", "abc"}}, ""},
		"empty":                          {one("X-Request-Id", ""), ""},
		"the longest":                    {one("X-Request-Id", long), long},
		"too long":                       {one("X-Request-Id", long+"a"), ""},
		"much too long":                  {one("X-Request-Id", strings.Repeat("a", 1<<20)), ""},
		"line break":                     {one("X-Request-Id", "abc\r\nSet-Cookie: admin=1"), ""},
		"NUL":                            {one("X-Request-Id", "abc\x00"), ""},
		"escape sequence":                {one("X-Request-Id", "\x1b[31mabc"), ""},
		"not ASCII":                      {one("X-Request-Id", "idé"), ""},
		"letters that look like ASCII":   {one("X-Request-Id", "аbс"), ""},
		"not UTF-8":                      {one("X-Request-Id", "\xff\xfe"), ""},
		"blank in it":                    {one("X-Request-Id", "a b"), ""},
		"list":                           {one("X-Request-Id", "abc,def"), ""},
		"markup":                         {one("X-Request-Id", "<script>"), ""},
		"quotes":                         {one("X-Request-Id", `a"b`), ""},
		"slash":                          {one("X-Request-Id", "../../etc/passwd"), ""},
		"a header that is not canonical": {http.Header{"x-request-id": {"abc"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, trusted := range []bool{true, false} {
				h := seawall.RequestID(&seawall.RequestIDOptions{Inbound: func(*http.Request) bool { return trusted }})(showID)
				w := serveOne(h, row.header)
				id := w.Body.String()
				require.Equal(t, []string{id}, w.Header()["Request-Id"])
				require.Equal(t, []string{id}, w.Header()["X-Request-Id"])
				if trusted && row.want != "" {
					require.Equal(t, row.want, id)
				} else {
					require.Regexp(t, requestIDForm, id)
				}
			}
		})
	}
}

// What reaches the chain over a real connection, and what does not.
func TestInboundIDsOverTheWire(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		for name, row := range map[string]struct {
			value, want string
		}{
			"good":                     {"abc", "abc"},
			"as long as a header gets": {strings.Repeat("a", 900<<10), ""},
			"not ASCII":                {"idé", ""},
		} {
			t.Run(name+"/"+protocol.name, func(t *testing.T) {
				t.Parallel()
				s := protocol.new(seawall.RequestID(&seawall.RequestIDOptions{Inbound: everyone})(showID))
				defer s.Close()
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
				require.NoError(t, err)
				r.Header.Set("X-Request-Id", row.value)

				a := do(s.Client(), r)

				require.NoError(t, a.err)
				require.Equal(t, http.StatusOK, a.StatusCode)
				require.Equal(t, a.Header.Get("Request-Id"), string(a.body))
				if row.want != "" {
					require.Equal(t, row.want, string(a.body))
				} else {
					a.requireID(t)
				}
			})
		}
	}
}

// Nobody is trusted by default.
func TestInboundIDIsNotUsedUnasked(t *testing.T) {
	t.Parallel()
	header := http.Header{"X-Request-Id": {"abc"}}
	for _, o := range []*seawall.RequestIDOptions{nil, {}} {
		require.Regexp(t, requestIDForm, serveOne(seawall.RequestID(o)(showID), header).Body.String())
	}
	require.Regexp(t, requestIDForm, serveOne((&seawall.Stack{Logger: discard}).Handler(showID), header).Body.String())
}

func TestInboundPanicTrustsNobody(t *testing.T) {
	t.Parallel()
	var logs logs
	stack := &seawall.Stack{Logger: logs.logger(), RequestID: &seawall.RequestIDOptions{Inbound: func(*http.Request) bool { panic("hook") }}}

	w := serveOne(stack.Handler(showID), http.Header{"X-Request-Id": {"abc"}})

	require.Equal(t, http.StatusOK, w.Code)
	require.Regexp(t, requestIDForm, w.Body.String())
	require.Equal(t, []string{logPanic}, logs.others(t))
	require.Contains(t, logs.String(), `"in":"RequestIDOptions.Inbound","panic":"hook"`)
}

func TestRequestIDInsideAnotherKeepsTheOuterID(t *testing.T) {
	t.Parallel()
	inner := seawall.RequestID(&seawall.RequestIDOptions{Inbound: everyone})
	w := serveOne(seawall.Chain(seawall.RequestID(nil), inner)(showID), http.Header{"X-Request-Id": {"abc"}})
	id := w.Body.String()
	require.Regexp(t, requestIDForm, id)
	require.Equal(t, []string{id}, w.Header()["Request-Id"])
}

func TestIDIsInTheResponseBeforeTheHandlerRuns(t *testing.T) {
	t.Parallel()
	serveOne(seawall.RequestID(nil)(plain(func(w http.ResponseWriter, r *http.Request) {
		id := apierror.RequestIDFrom(r.Context())
		assert.Regexp(t, requestIDForm, id)
		assert.Equal(t, id, w.Header().Get("Request-Id"))
		assert.Equal(t, id, w.Header().Get("X-Request-Id"))
	})), nil)
}

// The two headers share memory; a handler must not notice.
func TestIDHeadersAreApart(t *testing.T) {
	t.Parallel()
	w := serveOne(seawall.RequestID(nil)(plain(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Add("Request-Id", "one")
		w.Header().Add("X-Request-Id", "two")
	})), nil)
	require.Equal(t, "one", w.Header()["Request-Id"][1])
	require.Equal(t, "two", w.Header()["X-Request-Id"][1])
}

func TestIDsDiffer(t *testing.T) {
	t.Parallel()
	h := seawall.RequestID(nil)(showID)
	seen := make(map[string]bool)
	for range 1000 {
		seen[serveOne(h, nil).Body.String()] = true
	}
	require.Len(t, seen, 1000)
}

func FuzzInboundID(f *testing.F) {
	f.Add("abc", "abc", false)
	f.Add("abc\r\nSet-Cookie: x", "", false)
	f.Add("", "req_0123456789abcdef", true)
	h := seawall.RequestID(&seawall.RequestIDOptions{Inbound: everyone})(showID)
	f.Fuzz(func(t *testing.T, a, b string, twice bool) {
		header := http.Header{"Request-Id": {a}, "X-Request-Id": {b}}
		if twice {
			header["X-Request-Id"] = []string{b, b}
		}
		w := serveOne(h, header)
		id := w.Body.String()
		require.Regexp(t, `^[A-Za-z0-9._-]{1,128}$`, id)
		require.Equal(t, []string{id}, w.Header()["Request-Id"])
		require.Equal(t, []string{id}, w.Header()["X-Request-Id"])
		if twice || a != b || id != a {
			require.Regexp(t, requestIDForm, id)
		}
	})
}

// sent is what a transport was given.
type sent struct {
	r    *http.Request
	idle int
}

func (s *sent) RoundTrip(r *http.Request) (*http.Response, error) {
	s.r = r
	if r.URL.Path == "/fail" {
		return nil, io.ErrUnexpectedEOF
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
}

func (s *sent) CloseIdleConnections() { s.idle++ }

// within calls f with the context of a request that has an id, and returns the id.
func within(f func(context.Context)) (id string) {
	serveOne(seawall.RequestID(nil)(plain(func(_ http.ResponseWriter, r *http.Request) {
		id = apierror.RequestIDFrom(r.Context())
		f(r.Context())
	})), nil)
	return id
}

func TestForwardRequestID(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		header http.Header
		want   []string // nil for the request's
	}{
		"no header map":       {nil, nil},
		"no id":               {http.Header{"Accept": {"*/*"}}, nil},
		"an id of its own":    {http.Header{"X-Request-Id": {"mine"}}, []string{"mine"}},
		"asked to send none":  {http.Header{"X-Request-Id": {}}, []string{}},
		"several of its own":  {http.Header{"X-Request-Id": {"a", "b"}}, []string{"a", "b"}},
		"another header's id": {http.Header{"Request-Id": {"other"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := &sent{}
			before := row.header.Clone()
			var out *http.Request
			id := within(func(ctx context.Context) {
				out = httptest.NewRequest(http.MethodGet, "http://api.example/", nil).WithContext(ctx)
				out.Header = row.header
				resp, err := seawall.ForwardRequestID(base).RoundTrip(out)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
				require.Same(t, out, resp.Request)
			})
			want := row.want
			if want == nil {
				want = []string{id}
			}
			require.Equal(t, want, base.r.Header["X-Request-Id"])
			require.Equal(t, before.Get("Accept"), base.r.Header.Get("Accept"), "another header is lost")
			require.Equal(t, before, out.Header, "the caller's request was changed")
		})
	}
}

func TestForwardRequestIDOutsideOfARequest(t *testing.T) {
	t.Parallel()
	base := &sent{}
	out := httptest.NewRequest(http.MethodGet, "http://api.example/", nil)
	resp, err := seawall.ForwardRequestID(base).RoundTrip(out)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Same(t, out, base.r)
}

func TestForwardRequestIDPassesFailuresOn(t *testing.T) {
	t.Parallel()
	within(func(ctx context.Context) {
		out := httptest.NewRequest(http.MethodGet, "http://api.example/fail", nil).WithContext(ctx)
		_, err := seawall.ForwardRequestID(&sent{}).RoundTrip(out)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	})
}

func TestForwardRequestIDPassesCloseIdleConnectionsOn(t *testing.T) {
	t.Parallel()
	base := &sent{}
	client := &http.Client{Transport: seawall.ForwardRequestID(base)}
	client.CloseIdleConnections()
	require.Equal(t, 1, base.idle)
	client.Transport = seawall.ForwardRequestID(struct{ http.RoundTripper }{base})
	client.CloseIdleConnections() // to one that cannot
	require.Equal(t, 1, base.idle)
}

// From the first service through two more the id stays the same, where each trusts the one before.
func TestIDOverThreeServices(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		t.Run(protocol.name, func(t *testing.T) {
			t.Parallel()
			trusting := &seawall.Stack{Logger: discard, RequestID: &seawall.RequestIDOptions{Inbound: everyone}}
			last := protocol.new(trusting.Handler(showID))
			defer last.Close()
			middle := protocol.new(trusting.Handler(asking(last)))
			defer middle.Close()
			first := protocol.new((&seawall.Stack{Logger: discard}).Handler(asking(middle)))
			defer first.Close()

			a := get(t, first, "/")

			require.NoError(t, a.err)
			require.Equal(t, a.requireID(t), string(a.body))
		})
	}
}

// asking is a handler that answers what s answers.
func asking(s *memhttp.Server) http.Handler {
	client := &http.Client{Transport: seawall.ForwardRequestID(s.Transport())}
	return apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		out, err := http.NewRequestWithContext(r.Context(), http.MethodGet, s.URL, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(out)
		if err != nil {
			return fmt.Errorf("asking: %w", err)
		}
		defer resp.Body.Close()
		_, err = io.Copy(w, resp.Body)
		return err
	})
}

func TestForwardRequestIDOverTheDefaultTransport(t *testing.T) {
	t.Parallel()
	require.NotNil(t, seawall.ForwardRequestID(nil))
	s := httptest.NewServer(plain(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Header.Get("X-Request-Id")) }))
	defer s.Close()
	client := &http.Client{Transport: seawall.ForwardRequestID(nil)}
	defer client.CloseIdleConnections()
	var a answer
	id := within(func(ctx context.Context) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
		require.NoError(t, err)
		r.Close = true
		a = do(client, r)
	})
	require.NoError(t, a.err)
	require.Equal(t, id, string(a.body))
}
