package apierror_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/memhttp"
)

func TestHeadersFollowFromTheError(t *testing.T) {
	t.Parallel()
	own := func(status int, retryable bool) *apierror.Error {
		return apierror.Definition{Code: "own", Type: apierror.TypeAPI, Status: status, Message: "m", NotRetryable: !retryable}.New()
	}
	for _, row := range []struct {
		err  error
		want string
	}{
		{apierror.RateLimitExceeded(0), "Retry-After=1"},
		{apierror.RateLimitExceeded(-time.Second), "Retry-After=1"},
		{apierror.RateLimitExceeded(1), "Retry-After=1"},
		{apierror.RateLimitExceeded(time.Second), "Retry-After=1"},
		{apierror.RateLimitExceeded(time.Second + 1), "Retry-After=2"},
		{apierror.RateLimitExceeded(1<<63 - 1), "Retry-After=9223372037"},
		{apierror.RateLimitExceeded(time.Second).WithNotRetryable(), "X-Should-Retry=false"},
		{apierror.RateLimitExceeded(0).WithNotRetryable().WithHeader("Retry-After", "7"), "X-Should-Retry=false"},
		{apierror.RateLimitExceeded(0).WithHeader("Retry-After", "7"), "Retry-After=7"},
		{apierror.CodeRateLimitExceeded, "Retry-After=1"},
		{apierror.CodeServiceUnavailable, "Retry-After=1"},
		{apierror.CodeIdempotencyInProgress, "Retry-After=1"},
		{own(503, false), "X-Should-Retry=false"},
		{own(503, false).WithRetryAfter(time.Minute), "X-Should-Retry=false"},
		{own(503, true), "Retry-After=1"},
		{own(501, true), "X-Should-Retry=false"},
		{own(409, true), "X-Should-Retry=false"},
		{own(502, true), ""},
		{own(502, true).WithRetryAfter(time.Minute), "Retry-After=60"},
		{own(100, true), ""},
		{apierror.CodeAPIError.New().WithCause(nil), ""},
		{apierror.CodeAPIError, ""},
		{apierror.CodeTimeout.New(), ""},
		{apierror.Code("unknown"), ""},
		{apierror.CodeResourceMissing, "X-Should-Retry=false"},
		{apierror.CodeAuthenticationFailed.New(), "Www-Authenticate=Bearer X-Should-Retry=false"},
		{apierror.CodeAuthenticationFailed.New().WithHeader("WWW-Authenticate", `Basic realm="x"`), `Www-Authenticate=Basic realm="x" X-Should-Retry=false`},
		{apierror.MethodNotAllowed("GET", "HEAD"), "Allow=GET, HEAD X-Should-Retry=false"},
		{apierror.CodeMethodNotAllowed, "Allow= X-Should-Retry=false"},
		{apierror.UnsupportedMediaType("application/json"), "Accept=application/json X-Should-Retry=false"},
	} {
		w := write(quiet(), "", row.err)
		var got []string
		for _, key := range []string{"Accept", "Allow", "Retry-After", "Vary", "Www-Authenticate", "X-Should-Retry"} {
			if v, ok := w.Header()[key]; ok {
				got = append(got, key+"="+strings.Join(v, "|"))
			}
		}
		equal(t, row.err.Error(), strings.Join(got, " "), row.want)
	}
	rd := quiet()
	rd.Challenge = `DPoP algs="ES256"`
	equal(t, "challenge", write(rd, "", apierror.CodeAuthenticationFailed).Header().Get("WWW-Authenticate"), rd.Challenge)
}

func TestRetryHeadersDoNotContradictEachOther(t *testing.T) {
	t.Parallel()
	limited := apierror.Definition{Code: "banned", Type: apierror.TypeRateLimit, Status: 403, Message: "Banned."}
	for _, strict := range []bool{false, true} {
		for _, e := range []error{limited, limited.New().WithNotRetryable(), apierror.CodePermissionDenied.New().WithRetryAfter(5e9), apierror.CodeRateLimitExceeded,
			apierror.CodeIdempotencyOutcomeUnknown, apierror.CodeServiceUnavailable.New().WithNotRetryable()} {
			rd := quiet()
			rd.Strict = strict
			w := write(rd, "", e)
			if w.Header().Get("X-Should-Retry") == "false" && w.Header().Get("Retry-After") != "" {
				t.Errorf("strict %v, %v: %v", strict, e, w.Header())
			}
			if w.Code == 429 && w.Header().Get("X-Should-Retry") == "" && w.Header().Get("Retry-After") == "" {
				t.Errorf("strict %v, %v: no wait: %v", strict, e, w.Header())
			}
		}
	}
}

func TestErrorHeadersReplaceThoseOfASuccess(t *testing.T) {
	t.Parallel()
	stale := []string{
		"Accept-Ranges", "Content-Digest", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Length", "Content-Location",
		"Content-MD5", "Content-Range", "Digest", "ETag", "Expires", "Last-Modified", "Repr-Digest", "X-Should-Retry",
	}
	server := memhttp.New(apierror.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		for _, key := range stale {
			w.Header().Set(key, "true")
		}
		w.Header().Set("Content-Length", "5")
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Cache-Control", "public, max-age=60")
		w.Header().Set("Set-Cookie", "kept=1")
		w.Header().Set("Vary", "Origin")
		w.WriteHeader(http.StatusEarlyHints) // informational: no status
		return apierror.ServiceUnavailable(1500*time.Millisecond).WithHeader("Content-Encoding", "br").WithHeader("Content-Type", "text/css").
			WithHeader("Request-Id", "mine").WithHeader("x-should-retry", "true").WithHeader("X-Own", "kept")
	}))
	t.Cleanup(server.Close)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		req, _ := http.NewRequestWithContext(t.Context(), method, server.URL, nil)
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		equal(t, method, fmt.Sprint(resp.StatusCode, err), "503 <nil>")
		equal(t, method+": has a body", len(body) > 0, method == http.MethodGet)
		for _, key := range stale {
			if v := resp.Header.Get(key); v != "" && key != "Content-Length" {
				t.Errorf("%s: %s: %s", method, key, v)
			}
		}
		h := resp.Header
		equal(t, method+": Content-Type", h.Get("Content-Type"), "application/json")
		equal(t, method+": Cache-Control", h.Get("Cache-Control"), "no-store")
		equal(t, method+": Retry-After", h.Get("Retry-After"), "2")
		equal(t, method+": kept", h.Get("Set-Cookie")+h.Get("Vary")+h.Get("X-Own"), "kept=1Originkept")
		equal(t, method+": id", strings.HasPrefix(h.Get("Request-Id"), "req_") && h.Get("Request-Id") == h.Get("X-Request-Id"), true)
	}
}

func TestHeadersThatDescribeTheBodyAreRemoved(t *testing.T) {
	t.Parallel()
	rd := quiet()
	w := httptest.NewRecorder()
	rd.Handler(apierror.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		for _, key := range []string{"CDN-Cache-Control", "Cloudflare-CDN-Cache-Control", "Surrogate-Control", "Transfer-Encoding", "Trailer", "ETag"} {
			w.Header().Set(key, "chunked")
		}
		return apierror.From(io.EOF).WithHeader("Stripe-Should-Retry", "false").WithHeader("Content-Type", "text/x").WithHeader("etag", "x")
	})).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	for key := range w.Header() {
		switch key {
		case "Cache-Control", "Content-Type", "Request-Id", "X-Request-Id", "X-Content-Type-Options", "Stripe-Should-Retry":
		default:
			t.Errorf("%s: %s", key, w.Header()[key])
		}
	}
	equal(t, "Content-Type", w.Header().Get("Content-Type"), "application/json")
	equal(t, "extra", w.Header().Get("Stripe-Should-Retry"), "false")
}

func TestAppendingToOneHeaderLeavesTheOthersAlone(t *testing.T) {
	t.Parallel()
	h := write(quiet(), "", apierror.CodeAuthenticationFailed.New().WithRetryAfter(time.Second)).Header()
	before := h.Clone()
	for key := range before {
		h.Add(key, "more")
	}
	for key, values := range before {
		equal(t, key, fmt.Sprint(h[key]), fmt.Sprint(append(values, "more")))
	}
}

// A writer further out that compresses all bodies has set the header, which must stay.
func TestContentEncodingOfAnOuterWriterStays(t *testing.T) {
	t.Parallel()
	for _, outer := range []string{"gzip", ""} {
		w := httptest.NewRecorder()
		if outer != "" {
			w.Header().Set("Content-Encoding", outer)
		}
		quiet().Handler(apierror.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
			return apierror.CodeTimeout.New().WithHeader("Content-Encoding", "br")
		})).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		equal(t, "Content-Encoding", w.Header().Get("Content-Encoding"), outer)
	}
}

// byValue is a ResponseWriter that is not a pointer.
type byValue struct{ http.ResponseWriter }

func TestContentEncodingOfAnUnknownWriterStays(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	w.Header().Set("Content-Encoding", "gzip")
	apierror.Write(byValue{w}, httptest.NewRequest(http.MethodGet, "/", nil), apierror.CodeParameterMissing)
	equal(t, "Content-Encoding", w.Header().Get("Content-Encoding"), "gzip")
}

// encoder compresses. If eager, the header is set before the handler runs, as gorilla's does. If
// not, WriteHeader sets it, as chi's does, unless the handler has encoded the body itself.
type encoder struct {
	http.ResponseWriter
	eager bool
	zw    *gzip.Writer
	wrote bool
}

func (e *encoder) WriteHeader(status int) {
	if !e.wrote {
		e.wrote = true
		if e.eager || e.Header().Get("Content-Encoding") == "" {
			e.zw = gzip.NewWriter(e.ResponseWriter)
			e.Header().Del("Content-Length")
			if !e.eager {
				e.Header().Set("Content-Encoding", "gzip")
			}
		}
		e.ResponseWriter.WriteHeader(status)
	}
}

func (e *encoder) Write(p []byte) (int, error) {
	e.WriteHeader(http.StatusOK)
	if e.zw != nil {
		return e.zw.Write(p)
	}
	return e.ResponseWriter.Write(p)
}

func TestBodyAndContentEncodingAgreeBelowACompressor(t *testing.T) {
	t.Parallel()
	bare := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { apierror.Write(w, r, apierror.CodePermissionDenied) })
	returned := apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return apierror.CodePermissionDenied })
	for name, h := range map[string]http.Handler{"Write": bare, "HandlerFunc": returned, "below the chain": quiet().Handler(bare)} {
		for _, eager := range []bool{true, false} {
			w := httptest.NewRecorder()
			e := &encoder{ResponseWriter: w, eager: eager}
			if eager {
				w.Header().Set("Content-Encoding", "gzip")
			}
			h.ServeHTTP(e, httptest.NewRequest(http.MethodGet, "/", nil))
			if e.zw != nil {
				_ = e.zw.Close()
			}
			body := io.Reader(w.Body)
			if w.Header().Get("Content-Encoding") == "gzip" {
				zr, err := gzip.NewReader(w.Body)
				if err != nil {
					t.Errorf("%s, %v: %v", name, eager, err)
					continue
				}
				body = zr
			}
			if text, _ := io.ReadAll(body); !json.Valid(text) {
				t.Errorf("%s, eager %v: %q", name, eager, text)
			}
		}
	}
	w := httptest.NewRecorder()
	w.Header().Set("Content-Encoding", "gzip") // by the handler itself
	bare.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	equal(t, "of the handler's own body", w.Header().Get("Content-Encoding"), "")
}
