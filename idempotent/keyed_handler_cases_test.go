package idempotent_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/internal/reqstate"
)

// Reasons of differences, which docs/KEYED_HANDLERS.md explains.
const (
	wholeReplay = "a replay knows its length"
	oneRequest  = "the field is about one request"
	oneHop      = "the field is about one connection"
	notLogged   = "only net/http logs this mistake"
	bodyRead    = "the body is read before the handler runs, for the fingerprint"
	http2Late   = "HTTP/2 of net/http notices it when its buffer is full"
	noHijack    = "a connection cannot be recorded"
	plainWriter = "the writer is not that of net/http"
	noTrailers  = "a replay has no trailers"
	no1xx       = "informational responses are not recorded"
)

var handlerCases = []*handlerCase{
	{name: "nothing", handle: func(*facts, http.ResponseWriter, *http.Request) {}},
	{name: "a body", handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }},
	{name: "a status and a body", handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/v1/things/1")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, "created")
	}},
	{name: "a status only", handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }},
	{name: "an error status", again: runsAgain, handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadGateway)
		_, _ = io.WriteString(w, "later")
	}},

	// Header fields.
	{name: "several values", handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
		w.Header()["Link"] = []string{"<a>; rel=next", "<b>; rel=prev"}
		w.Header()["X-Own"] = []string{"1", "", "1"}
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, "\x1f\x8b")
	}},
	{
		name: "reads and replaces an outer layer's fields",
		around: func(h http.Header, n int) {
			h.Set("X-Correlation-Id", fmt.Sprint(n))
			h.Set("Cache-Control", fmt.Sprint("max-age=", n))
		},
		handle: func(f *facts, w http.ResponseWriter, _ *http.Request) {
			f.see("handler: X-Correlation-Id", w.Header().Get("X-Correlation-Id"))
			f.see("handler: Vary", w.Header()["Vary"])
			w.Header().Set("Cache-Control", "no-store")
		},
		replay: differences{"header X-Correlation-Id": "the outer layer sets it for the new request"},
	},
	{
		name:   "adds to an outer layer's fields",
		around: func(h http.Header, n int) { h.Set("Server-Timing", fmt.Sprint("outer;dur=", n)) },
		handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
			w.Header().Add("Vary", "Accept")
			w.Header().Add("Server-Timing", "db;dur=5")
		},
		replay: differences{"header Server-Timing": "the outer layer sets its part for the new request"},
	},
	{
		name:   "deletes an outer layer's fields",
		around: func(h http.Header, n int) { h.Set("X-Correlation-Id", fmt.Sprint(n)); h.Set("Server-Timing", "outer") },
		handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
			w.Header().Del("X-Correlation-Id")
			w.Header().Del("Vary")
			w.Header()["Server-Timing"] = nil
		},
	},
	{
		name:   "deletes an outer layer's Content-Type",
		around: func(h http.Header, _ int) { h.Set("Content-Type", "application/json") },
		handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
			w.Header().Del("Content-Type")
			_, _ = io.WriteString(w, "<html>")
		},
	},
	{name: "no Content-Type", handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		_, _ = io.WriteString(w, "<html>")
	}},
	{
		name:   "no Date",
		handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) { w.Header()["Date"] = nil },
		replay: differences{"header Date": oneRequest},
	},
	{
		name: "a Date",
		handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", "Mon, 01 Jan 2001 00:00:00 GMT")
		},
		replay: differences{"header Date": oneRequest},
	},
	{name: "names that are not canonical", handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
		w.Header()["x-lower"] = []string{"1"}
		w.Header()["x-lower-too"] = []string{"1", "2"}
	}},
	{name: "a value with a line break", handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Own", "a\r\nb: c")
	}},
	{
		name: "fields of one request",
		handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
			for _, name := range []string{"Set-Cookie", "set-cookie2", "Access-Control-Allow-Origin", "RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "X-Trace"} {
				w.Header().Set(name, "v")
			}
		},
		replay: differences{
			"header Set-Cookie": oneRequest, "header Access-Control-Allow-Origin": oneRequest, "header Ratelimit": oneRequest,
			"header Ratelimit-Policy": oneRequest, "header X-Ratelimit-Limit": oneRequest, "header X-Trace": "OmitFields names it",
		},
	},
	{
		name: "fields of one connection",
		handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			w.Header().Set("Keep-Alive", "timeout=5")
			w.Header().Set("Proxy-Authenticate", "Basic")
		},
		replay: differences{
			"connection is closed over HTTP/1.1": oneHop, "header Keep-Alive": oneHop, "header Proxy-Authenticate": oneHop,
		},
	},
	{name: "its own request id", handle: func(_ *facts, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Seen-Id", reqstate.From(r.Context()).RequestID())
		w.Header().Set("Idempotent-Replayed", "false")
	}},
	{name: "changes its header too late", handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Own", "before")
		w.WriteHeader(http.StatusAccepted)
		w.Header().Set("X-Own", "after")
		_, _ = io.WriteString(w, "body")
		w.Header().Set("X-Late", "1")
		w.Header().Del("Vary")
	}},
	{name: "changes its header after a write", handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "body")
		w.Header().Set("Content-Type", "text/late")
	}},
	{name: "httputil.ReverseProxy", handle: func(_ *facts, w http.ResponseWriter, r *http.Request) {
		backend := memhttp.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "<early>")
			w.WriteHeader(http.StatusEarlyHints)
			body, _ := io.ReadAll(r.Body)
			w.Header().Set("X-Backend", r.Host)
			w.Header()["Date"] = nil // a second later it would differ
			w.WriteHeader(http.StatusCreated)
			_, _ = fmt.Fprintf(w, "proxied %s", body)
		}))
		defer backend.Close()
		target, _ := url.Parse(backend.URL)
		proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) }, Transport: backend.Transport()}
		proxy.ServeHTTP(w, r)
	}, replay: differences{"1xx": no1xx}},

	// Statuses.
	{
		name:  "a second status",
		keyed: differences{"server's log over HTTP/1.1": notLogged},
		handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusAccepted)
			w.WriteHeader(http.StatusTeapot)
		},
	},
	{
		name:  "a status after a write",
		keyed: differences{"server's log over HTTP/1.1": notLogged},
		handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "body")
			w.WriteHeader(http.StatusInternalServerError)
		},
	},
	{name: "an impossible status", again: runsAgain, handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(7) }},
	{name: "no content", handle: func(f *facts, w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
		n, err := io.WriteString(w, "body")
		f.see("handler: write", err)
		f.see("handler: written", n)
	}},
	{name: "not modified", handle: func(f *facts, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		w.WriteHeader(http.StatusNotModified)
		_, err := w.Write([]byte("body"))
		f.see("handler: write", err)
	}},
	{
		name: "informational responses",
		handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", "<a>")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Set("Link", "<b>")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Del("Link")
			_, _ = io.WriteString(w, "final")
		},
		replay: differences{"1xx": no1xx},
	},
	{
		name:  "a late informational response",
		keyed: differences{"server's log over HTTP/1.1": notLogged},
		handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusOK)
			w.WriteHeader(http.StatusEarlyHints)
		},
	},

	// Bodies.
	{name: "its Content-Length", handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		_, _ = io.WriteString(w, "hello")
	}},
	{
		name: "less than its Content-Length", again: runsAgain, cut: aCleanError,
		handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			_, _ = io.WriteString(w, "hell")
		},
	},
	{
		name: "more than its Content-Length",
		keyed: differences{
			"handler: write too much over HTTP/2": http2Late, "handler: written too much over HTTP/2": http2Late, "body is whole over HTTP/2": http2Late,
		},
		handle: func(f *facts, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			_, err := io.WriteString(w, "hello")
			f.see("handler: write", err)
			n, err := io.WriteString(w, "!")
			f.see("handler: write too much", err)
			f.see("handler: written too much", n)
		},
	},
	{
		name: "more than its Content-Length in one write", again: runsAgain, cut: aCleanError,
		keyed: differences{"handler: write over HTTP/2": http2Late, "handler: write again over HTTP/2": http2Late},
		handle: func(f *facts, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			_, err := w.Write([]byte("hello!"))
			f.see("handler: write", err)
			_, err = w.Write([]byte("!"))
			f.see("handler: write again", err)
		},
	},
	{
		name: "an invalid Content-Length",
		handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "five")
			_, _ = io.WriteString(w, "hello")
		},
		replay: differences{"length over HTTP/1.1": wholeReplay, "header Content-Length over HTTP/1.1": wholeReplay},
	},
	{name: "copies a reader", handle: func(f *facts, w http.ResponseWriter, _ *http.Request) {
		n, err := io.Copy(w, struct{ io.Reader }{strings.NewReader("copied")})
		f.see("handler: copied", fmt.Sprint(n, err))
	}},
	{name: "writes through a bufio.Writer", handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
		b := bufio.NewWriter(w)
		_, _ = b.ReadFrom(strings.NewReader("buffered "))
		for i := range 3 {
			_, _ = fmt.Fprint(b, i)
		}
		_ = b.Flush()
	}},
	{
		name: "a large body",
		handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
			for range 100 {
				_, _ = io.WriteString(w, strings.Repeat("x", 100))
			}
		},
		replay: differences{"length": wholeReplay, "header Content-Length": wholeReplay},
	},
	{
		name: "a body over MaxResponse", again: unavailable,
		handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
			for range 11 {
				_, _ = w.Write(make([]byte, 100<<10))
			}
		},
	},
	{name: "sniffed", handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }},
	{name: "sniffed in parts", handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "\x89PNG")
		_, _ = io.WriteString(w, "\x0d\x0a\x1a\x0a")
	}},
	{name: "an empty write", handle: func(f *facts, w http.ResponseWriter, _ *http.Request) {
		n, err := w.Write(nil)
		f.see("handler: written", fmt.Sprint(n, err))
	}},

	// Optional methods of a ResponseWriter.
	{
		name: "flushes", handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "one ")
			w.(http.Flusher).Flush()
			_, _ = io.WriteString(w, "two")
		},
		replay: differences{"length": wholeReplay, "header Content-Length": wholeReplay},
	},
	{
		name: "streams", again: unavailable,
		handle: func(f *facts, w http.ResponseWriter, r *http.Request) {
			idempotent.Stream(r.Context())
			_, _ = io.WriteString(w, "one ")
			f.see("handler: flush", fmt.Sprint(http.NewResponseController(w).Flush()))
			_, _ = io.WriteString(w, "two")
		},
	},
	{
		name:  "uses a ResponseController",
		keyed: differences{"handler: Hijack over HTTP/1.1": noHijack},
		handle: func(f *facts, w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // net/http panics on full duplex with an unread body
			c := http.NewResponseController(w)
			later := time.Now().Add(time.Hour)
			f.see("handler: SetReadDeadline", fmt.Sprint(c.SetReadDeadline(later)))
			f.see("handler: SetWriteDeadline", fmt.Sprint(c.SetWriteDeadline(later)))
			f.see("handler: EnableFullDuplex", fmt.Sprint(c.EnableFullDuplex()))
			f.see("handler: Hijack", fmt.Sprint(hijack(c, r)))
			_, _ = io.WriteString(w, "controlled")
		},
	},
	{
		name: "looks at the type of its writer",
		keyed: differences{
			"handler: io.ReaderFrom over HTTP/1.1": plainWriter, "handler: http.Hijacker over HTTP/1.1": noHijack,
		},
		handle: func(f *facts, w http.ResponseWriter, _ *http.Request) {
			_, flusher := w.(http.Flusher)
			_, stringWriter := w.(io.StringWriter)
			_, readerFrom := w.(io.ReaderFrom)
			_, hijacker := w.(http.Hijacker)
			_, notifier := w.(interface{ CloseNotify() <-chan bool })
			_, unwraps := w.(interface{ Unwrap() http.ResponseWriter })
			_, pusher := w.(http.Pusher)
			f.see("handler: http.Flusher", flusher)
			f.see("handler: io.StringWriter", stringWriter)
			f.see("handler: io.ReaderFrom", readerFrom)
			f.see("handler: http.Hijacker", hijacker)
			f.see("handler: http.Pusher", pusher)
			f.see("handler: http.CloseNotifier", notifier)
			f.see("handler: unwraps", unwraps)
		},
	},

	// Trailers.
	{
		name: "declared trailers",
		handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "X-Sum, X-Never")
			_, _ = io.WriteString(w, "body")
			w.Header().Set("X-Sum", "4")
		},
		replay: differences{"trailer X-Sum": noTrailers, "trailer X-Never": noTrailers, "length over HTTP/1.1": wholeReplay, "header Content-Length over HTTP/1.1": wholeReplay},
	},
	{
		name: "undeclared trailers",
		handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "body")
			_ = http.NewResponseController(w).Flush()
			w.Header().Set(http.TrailerPrefix+"X-Sum", "4")
		},
		replay: differences{"trailer X-Sum": noTrailers, "length": wholeReplay, "header Content-Length": wholeReplay},
	},
	{
		name: "undeclared trailers without a flush",
		handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "body")
			w.Header().Set(http.TrailerPrefix+"X-Sum", "4")
		},
		replay: differences{"trailer X-Sum over HTTP/2": noTrailers}, // HTTP/1.1 sends none without chunks
	},
	{
		name: "trailers of a stream", again: unavailable,
		handle: func(_ *facts, w http.ResponseWriter, r *http.Request) {
			idempotent.Stream(r.Context())
			w.Header().Set("Trailer", "X-Sum")
			_, _ = io.WriteString(w, "body")
			w.Header().Set("X-Sum", "4")
			w.Header().Set(http.TrailerPrefix+"X-More", "5")
		},
	},

	// Ends.
	{name: "panics", again: runsAgain, handle: func(*facts, http.ResponseWriter, *http.Request) { panic("a bug") }},
	{name: "panics in the middle", again: runsAgain, handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		panic("a bug")
	}},
	{
		name: "aborts after a flush", again: runsAgain, cut: noResponse,
		handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
	},
	{name: "aborts", again: runsAgain, handle: func(*facts, http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	{name: "ends its goroutine", again: runsAgain, handle: func(*facts, http.ResponseWriter, *http.Request) { runtime.Goexit() }},
	{name: "fails", again: runsAgain, handle: failing(func(*facts, http.ResponseWriter, *http.Request) error { return errHandler })},
	{name: "refuses", handle: failing(func(_ *facts, w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("X-Own", "1")
		w.Header().Set("ETag", `"v1"`)
		return apierror.ParameterMissing("name").WithCause(errHandler)
	})},
	{
		name: "fails in the middle", again: runsAgain, cut: aCleanError,
		handle: failing(func(_ *facts, w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, "half")
			return errHandler
		}),
	},
	{
		name: "writes an error in the middle, without apierror.HandlerFunc", again: runsAgain, cut: aCleanError,
		handle: func(_ *facts, w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, "half")
			apierror.Write(w, r, errHandler)
		},
	},
	{
		name: "writes an error after an error, without apierror.HandlerFunc", handle: func(_ *facts, w http.ResponseWriter, r *http.Request) {
			http.Error(w, "no", http.StatusConflict)
			apierror.Write(w, r, errHandler)
		},
	},
	{
		name: "fails after a flush", again: runsAgain, cut: aCleanError,
		handle: failing(func(_ *facts, w http.ResponseWriter, _ *http.Request) error {
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			return errHandler
		}),
	},
	{name: "fails after its response", handle: failing(func(_ *facts, w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Length", "5")
		_, _ = io.WriteString(w, "hello")
		return errHandler
	})},
	{name: "answers an error, and returns it", handle: failing(func(_ *facts, w http.ResponseWriter, _ *http.Request) error {
		http.Error(w, "no", http.StatusConflict)
		return errHandler
	})},

	// Handlers of net/http.
	{name: "http.Error", handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		http.Error(w, "no such thing", http.StatusNotFound)
	}},
	{name: "http.ServeContent", handle: func(_ *facts, w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "name.txt", time.Unix(1e9, 0), strings.NewReader("content"))
	}},
	{
		name: "http.ServeContent of a range",
		ask:  func(r *http.Request) { r.Header.Set("Range", "bytes=2-3") },
		handle: func(_ *facts, w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "name.txt", time.Unix(1e9, 0), strings.NewReader("content"))
		},
	},
	{name: "http.Redirect", handle: func(_ *facts, w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "../things/1", http.StatusSeeOther)
	}},
	{name: "http.TimeoutHandler", handle: func(f *facts, w http.ResponseWriter, r *http.Request) {
		http.TimeoutHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			f.see("handler: Vary", w.Header()["Vary"])
			w.WriteHeader(http.StatusCreated)
		}), time.Hour, "too slow").ServeHTTP(w, r)
	}},
	{name: "a nested router", handle: func(_ *facts, w http.ResponseWriter, r *http.Request) {
		http.StripPrefix("/v1", http.NewServeMux()).ServeHTTP(w, r) // its 404 comes from the handler
	}},

	// Requests.
	{name: "looks at its request", handle: func(f *facts, _ http.ResponseWriter, r *http.Request) {
		f.see("handler: line", fmt.Sprint(r.Method, r.URL, r.Proto, r.Host, r.RequestURI, r.RemoteAddr != "", r.TLS))
		f.see("handler: body", fmt.Sprint(r.ContentLength, r.TransferEncoding, r.Body == nil, r.GetBody == nil))
		f.see("handler: pattern", r.Pattern)
		f.see("handler: kind", r.PathValue("kind"))
	}},
	{name: "looks at its context", keyed: differences{"handler: deadline": "Options.MaxRun"}, handle: func(f *facts, _ http.ResponseWriter, r *http.Request) {
		deadline, ok := r.Context().Deadline()
		f.see("handler: value", r.Context().Value(outerKey{}))
		f.see("handler: deadline", fmt.Sprint(time.Until(deadline).Round(time.Minute), ok))
		f.see("handler: err", fmt.Sprint(r.Context().Err()))
		f.see("handler: server", r.Context().Value(http.ServerContextKey) != nil)
		f.see("handler: address", r.Context().Value(http.LocalAddrContextKey) != nil)
		state := reqstate.From(r.Context())
		f.see("handler: principal", state.Principal())
		f.see("handler: request id", state.RequestID())
	}},
	{name: "reads its body", handle: func(f *facts, w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		f.see("handler: body", fmt.Sprint(string(body), err))
		n, err := r.Body.Read(make([]byte, 1))
		f.see("handler: read again", fmt.Sprint(n, err))
		f.see("handler: close", fmt.Sprint(r.Body.Close()))
		_, _ = w.Write(body)
	}},
	{name: "reads a part of its body", handle: func(f *facts, _ http.ResponseWriter, r *http.Request) {
		part := make([]byte, 2)
		_, err := io.ReadFull(r.Body, part)
		f.see("handler: body", fmt.Sprint(string(part), err))
	}},
	{
		name: "reads a body that it has closed",
		handle: func(f *facts, _ http.ResponseWriter, r *http.Request) {
			_ = r.Body.Close()
			n, err := r.Body.Read(make([]byte, 10))
			f.see("handler: read", n)
			f.see("handler: error", err)
		},
	},
	{
		name:  "reads its body after a flush",
		keyed: differences{"handler: body over HTTP/1.1": "net/http closes the body at the flush. With a key, " + bodyRead},
		handle: func(f *facts, w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "early")
			_ = http.NewResponseController(w).Flush()
			body, err := io.ReadAll(r.Body)
			f.see("handler: body", fmt.Sprint(string(body), err))
		},
		replay: differences{"length": wholeReplay, "header Content-Length": wholeReplay},
	},
	{
		name: "limits its body",
		handle: func(f *facts, w http.ResponseWriter, r *http.Request) {
			_, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 3))
			f.see("handler: body", err)
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		},
	},
	{name: "a body of unknown length, and its trailer", ask: chunked, handle: func(f *facts, _ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		f.see("handler: body", fmt.Sprint(string(body), err, r.ContentLength, r.TransferEncoding))
		f.see("handler: trailer", r.Trailer)
	}},
	{
		name: "no body",
		ask:  func(r *http.Request) { r.Body, r.ContentLength = nil, 0 },
		handle: func(f *facts, _ http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			f.see("handler: body", fmt.Sprint(string(body), err, r.ContentLength, r.Body == http.NoBody))
		},
	},
	{
		name:  "does not read a body that expects 100-continue",
		keyed: differences{"1xx": bodyRead, "connection is closed over HTTP/1.1": bodyRead},
		ask:   func(r *http.Request) { r.Header.Set("Expect", "100-continue") },
		handle: func(_ *facts, w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "no", http.StatusConflict)
		},
	},
	{name: "a form", ask: sendForm, handle: func(f *facts, w http.ResponseWriter, r *http.Request) {
		f.see("handler: name", r.PostFormValue("name"))
		f.see("handler: form", r.Form)
		body, err := io.ReadAll(r.Body)
		f.see("handler: body", fmt.Sprint(string(body), err))
	}},
	{name: "an upload", ask: uploadForm, handle: func(f *facts, _ http.ResponseWriter, r *http.Request) {
		f.see("handler: parse", fmt.Sprint(r.ParseMultipartForm(1)))
		f.see("handler: name", r.FormValue("name"))
		file, header, err := r.FormFile("file")
		if err != nil {
			f.see("handler: file", err)
			return
		}
		defer func() { _ = file.Close() }()
		f.see("handler: file", fmt.Sprint(header.Filename, header.Size))
		if file, ok := file.(*os.File); ok {
			f.file = file.Name()
		}
	}},
	{name: "an upload, part by part", ask: uploadForm, handle: func(f *facts, _ http.ResponseWriter, r *http.Request) {
		parts, err := r.MultipartReader()
		if err != nil {
			f.see("handler: parts", err)
			return
		}
		for {
			part, err := parts.NextPart()
			if err != nil {
				f.see("handler: end", err)
				return
			}
			content, err := io.ReadAll(part)
			f.see("handler: part "+part.FormName(), fmt.Sprint(len(content), err))
		}
	}},
	{name: "an upload, and a panic", again: runsAgain, ask: uploadForm, handle: func(f *facts, _ http.ResponseWriter, r *http.Request) {
		_ = r.ParseMultipartForm(1)
		if file, _, err := r.FormFile("file"); err == nil {
			f.file = file.(*os.File).Name()
			_ = file.Close()
		}
		panic(http.ErrAbortHandler)
	}},
}
