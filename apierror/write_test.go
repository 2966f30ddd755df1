package apierror_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/logbuf"
	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/internal/reqstate"
)

// write answers a GET request, which has an id, with err.
func write(rd *apierror.Renderer, accept string, err error) *httptest.ResponseRecorder {
	r, state := reqstate.Ensure(httptest.NewRequest(http.MethodGet, "/v1/resources", nil))
	state.SetRequestID("req_Hd92kLpQ7m")
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	rd.Handler(apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return err })).ServeHTTP(w, r)
	return w
}

func quiet() *apierror.Renderer { return &apierror.Renderer{Logger: slog.New(slog.DiscardHandler)} }

func TestWriteSendsTheSpecificationsExample(t *testing.T) {
	t.Parallel()
	w := write(quiet(), "", apierror.ParameterMissing("name"))

	equal(t, "status", w.Code, 400)
	var indented bytes.Buffer
	if err := json.Indent(&indented, w.Body.Bytes(), "", "  "); err != nil {
		t.Fatal(err)
	}
	equal(t, "body", indented.String(), `{
  "error": {
    "type": "invalid_request_error",
    "code": "parameter_missing",
    "message": "Missing required parameter: name.",
    "param": "name",
    "request_id": "req_Hd92kLpQ7m"
  }
}
`)
	equal(t, "headers", headers(w.Header()), `Cache-Control: no-store
Content-Type: application/json
Request-Id: req_Hd92kLpQ7m
X-Content-Type-Options: nosniff
X-Request-Id: req_Hd92kLpQ7m
X-Should-Retry: false
`)
}

func headers(h http.Header) string {
	var b strings.Builder
	_ = h.Write(&b)
	return strings.ReplaceAll(b.String(), "\r\n", "\n")
}

func TestHEADIsAnsweredWithoutABody(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	apierror.Write(w, httptest.NewRequest(http.MethodHead, "/", nil), apierror.CodePermissionDenied)
	equal(t, "answer", fmt.Sprint(w.Code, w.Body.Len()), "403 0")
}

func TestRequestsHaveOneID(t *testing.T) {
	t.Parallel()
	r, state := reqstate.Ensure(httptest.NewRequest(http.MethodGet, "/", nil))
	w := httptest.NewRecorder()
	quiet().Handler(apierror.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return apierror.CodePermissionDenied })).ServeHTTP(w, r)
	id := w.Header().Get("Request-Id")
	equal(t, "context", apierror.RequestIDFrom(r.Context()), id)
	equal(t, "slot", asError(t, state.Err()).RequestID(), id)
	equal(t, "body", asError(t, apierror.Parse(w.Result())).RequestID(), id)
	equal(t, "no state", apierror.RequestIDFrom(t.Context()), "")

	again := httptest.NewRecorder()
	apierror.Write(again, r, apierror.CodePermissionDenied)
	equal(t, "the second time", again.Header().Get("Request-Id"), id)

	without := httptest.NewRecorder()
	apierror.Write(without, httptest.NewRequest(http.MethodGet, "/", nil), apierror.CodePermissionDenied)
	equal(t, "without a state", len(without.Header().Get("X-Request-Id")), 20)
}

func TestWriteAnswersNilErrorsWith500(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	quiet().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { apierror.Write(w, r, nil) })).
		ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	equal(t, "status", w.Code, 500)
	defer func() {
		equal(t, "panic", fmt.Sprint(recover()), "apierror: Renderer.Handler was given a nil http.Handler")
	}()
	quiet().Handler(nil)
}

// partial returns a handler that begins its response and then fails.
func partial(begin func(http.ResponseWriter)) http.Handler {
	return apierror.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		begin(w)
		return apierror.CodeAPIError.New().WithCause(errors.New("too late"))
	})
}

func TestWriteNeverAnswersTwice(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		method string
		begin  func(http.ResponseWriter)
		status int // 0 if the connection is aborted
		body   string
		log    string
	}{
		{"nothing", "GET", func(http.ResponseWriter) {}, 500, `{"error":`, "request failed\""},
		{"informational", "GET", func(w http.ResponseWriter) { w.WriteHeader(103) }, 500, `{"error":`, "request failed\""},
		{"a part", "GET", func(w http.ResponseWriter) { io.WriteString(w, "part") }, 0, "", "is aborted"},
		{"flushed", "GET", func(w http.ResponseWriter) { w.(http.Flusher).Flush() }, 0, "", "is aborted"},
		{"a status", "GET", func(w http.ResponseWriter) { w.WriteHeader(202) }, 0, "", "is aborted"},
		{"less than its length", "GET", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "9")
			io.WriteString(w, "part")
		}, 0, "", "is aborted"},
		{"all of its length", "GET", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "5")
			io.WriteString(w, "whole")
		}, 200, "whole", "was complete"},
		{"no content", "GET", func(w http.ResponseWriter) { w.WriteHeader(204) }, 204, "", "was complete"},
		{"HEAD", "HEAD", func(w http.ResponseWriter) { w.WriteHeader(200) }, 200, "", "was complete"},
		{"an own error", "GET", func(w http.ResponseWriter) { http.Error(w, "mine", http.StatusTeapot) }, 418, "mine", "was complete"},
		{"another of ours", "GET", func(w http.ResponseWriter) {
			apierror.Write(w, httptest.NewRequest(http.MethodGet, "/", nil), apierror.CodePermissionDenied.New())
		}, 403, `{"error":{"type":"permission_error"`, "was complete"},
		{"hijacked", "GET", func(w http.ResponseWriter) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nmy own")
			c.Close()
		}, 200, "my own", "hijacked"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var out logbuf.Buffer
			rd := &apierror.Renderer{Logger: slog.New(slog.NewTextHandler(&out, nil))}
			server := memhttp.New(rd.Handler(partial(row.begin)))
			req, _ := http.NewRequestWithContext(t.Context(), row.method, server.URL, nil)

			resp, err := server.Client().Do(req)
			var body []byte
			if err == nil {
				body, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			server.Close()

			if row.status == 0 {
				if err == nil {
					t.Errorf("the client takes a part for the whole: %s %q", resp.Status, body)
				}
			} else if err != nil || resp.StatusCode != row.status || !strings.HasPrefix(string(body), row.body) {
				t.Errorf("%v: %v %q", err, resp, body)
			}
			if n := strings.Count(out.String(), "\n"); n != 1 || !strings.Contains(out.String(), row.log) {
				t.Errorf("%d records: %s", n, out.String())
			}
		})
	}
}

func TestErrorResponsesThatHaveBegunStand(t *testing.T) {
	t.Parallel()
	for status, aborted := range map[int]bool{399: true, 400: false} {
		w := httptest.NewRecorder()
		func() {
			defer func() { equal(t, fmt.Sprint(status), recover() == http.ErrAbortHandler, aborted) }() //nolint:errorlint // the very value
			quiet().Handler(apierror.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
				w.WriteHeader(status)
				return io.EOF
			})).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		}()
	}
}

// http.TimeoutHandler leaves its handler behind, whose error is still logged by the Renderer.
func TestHandlersThatOutliveTheirRequestKeepTheirRenderer(t *testing.T) {
	t.Parallel()
	var out logbuf.Buffer
	rd := &apierror.Renderer{Logger: slog.New(slog.NewTextHandler(&out, nil)), Redact: func(error) string { return "-" }}
	left, done := make(chan struct{}), make(chan struct{})
	rd.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		go func() {
			defer close(done)
			<-left
			apierror.Write(httptest.NewRecorder(), r, errors.New("secret-4711"))
		}()
	})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	close(left)
	<-done
	if !strings.Contains(out.String(), "cause=-") {
		t.Errorf("logged elsewhere: %s", out.String())
	}
}
