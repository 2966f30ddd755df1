package track_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seawall-go/seawall/internal/leakcheck"
	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/internal/track"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// bare has the methods of http.ResponseWriter only.
type bare struct{ w http.ResponseWriter }

func (b bare) Header() http.Header         { return b.w.Header() }
func (b bare) Write(p []byte) (int, error) { return b.w.Write(p) }
func (b bare) WriteHeader(status int)      { b.w.WriteHeader(status) }

// unwrapping hides the optional interfaces, and unwraps.
type unwrapping struct{ bare }

func (u unwrapping) Unwrap() http.ResponseWriter { return u.w }

// flushing is a foreign writer that has http.Flusher, and unwraps.
type flushing struct{ unwrapping }

func (f flushing) Flush() { f.w.(http.Flusher).Flush() }

// interfaces returns the names of the optional interfaces of w.
func interfaces(w http.ResponseWriter) string {
	var names []string
	add := func(has bool, name string) {
		if has {
			names = append(names, name)
		}
	}
	_, flusher := w.(http.Flusher)
	_, hijacker := w.(http.Hijacker)
	_, readerFrom := w.(io.ReaderFrom)
	_, stringWriter := w.(io.StringWriter)
	_, pusher := w.(http.Pusher)
	_, notifier := w.(interface{ CloseNotify() <-chan bool })
	add(flusher, "Flusher")
	add(hijacker, "Hijacker")
	add(readerFrom, "ReaderFrom")
	add(stringWriter, "StringWriter")
	add(pusher, "Pusher")
	add(notifier, "CloseNotifier")
	return strings.Join(names, " ")
}

// serve calls f as the handler of a GET request to a server, and returns the body of the
// response.
func serve(t *testing.T, newServer func(http.Handler) *memhttp.Server, f func(http.ResponseWriter, *http.Request)) string {
	t.Helper()
	s := newServer(http.HandlerFunc(f))
	defer s.Close()
	resp, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestWrappedWriterHasTheInterfacesOfTheOneBelow(t *testing.T) {
	t.Parallel()
	h1, h2 := "Flusher Hijacker ReaderFrom StringWriter CloseNotifier", "Flusher StringWriter CloseNotifier"
	same := func(w http.ResponseWriter) http.ResponseWriter { return w }
	for _, row := range []struct {
		name        string
		below       func(http.ResponseWriter) http.ResponseWriter
		h1, h2, rec string
	}{
		{"net/http's own", same, h1, h2, h2},
		{"bare", func(w http.ResponseWriter) http.ResponseWriter { return bare{w} }, "", "", ""},
		{"unwrapping", func(w http.ResponseWriter) http.ResponseWriter { return unwrapping{bare{w}} }, "Hijacker", "", ""},
		{"flushing", func(w http.ResponseWriter) http.ResponseWriter { return flushing{unwrapping{bare{w}}} }, h1, h2, h2},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			probe := func(want string) func(http.ResponseWriter, *http.Request) {
				return func(w http.ResponseWriter, r *http.Request) {
					w, first := track.Wrap(row.below(w), r)
					for range 3 {
						if got := interfaces(w); got != want {
							t.Errorf("%T has %q, want %q", w, got, want)
						}
						var again *track.Response
						if w, again = track.Wrap(w, r); again != first {
							t.Error("a second tracker was made for one response")
						}
					}
					if track.Innermost(w) == w {
						t.Error("the innermost writer cannot be reached")
					}
				}
			}
			serve(t, memhttp.New, probe(row.h1))
			serve(t, memhttp.NewHTTP2, probe(row.h2))
			probe(row.rec)(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
		})
	}
}

// gin's Context.Stream waits for this channel.
func TestCloseNotifyReceivesWhenTheClientHasGone(t *testing.T) {
	t.Parallel()
	for name, newServer := range map[string]func(http.Handler) *memhttp.Server{"h1": memhttp.New, "h2": memhttp.NewHTTP2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, leave := context.WithCancel(t.Context())
			told := make(chan bool, 1)
			s := newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w, _ = track.Wrap(flushing{unwrapping{bare{w}}}, r)
				gone := w.(interface{ CloseNotify() <-chan bool }).CloseNotify()
				leave()
				told <- <-gone
			}))
			defer s.Close()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			if resp, err := s.Client().Do(req); err == nil {
				resp.Body.Close()
			}
			if !<-told {
				t.Error("the channel was closed")
			}
		})
	}
}

func TestThreeRecordsKeepTheInterfacesOfTheServersWriter(t *testing.T) {
	t.Parallel()
	body := serve(t, memhttp.New, func(w http.ResponseWriter, r *http.Request) {
		var records [3]*track.Response
		for i := range records {
			w, records[i] = track.Wrap(flushing{unwrapping{bare{w}}}, r)
		}
		if got, want := interfaces(w), "Flusher Hijacker ReaderFrom StringWriter CloseNotifier"; got != want {
			t.Errorf("the outermost has %q, want %q", got, want)
		}
		if _, err := io.Copy(w, strings.NewReader("copied ")); err != nil {
			t.Error(err)
		}
		if _, err := io.WriteString(w, "written"); err != nil {
			t.Error(err)
		}
		for i, record := range records {
			if record.Status() != http.StatusOK || record.Bytes() != 14 {
				t.Errorf("layer %d: status %d, %d bytes", i, record.Status(), record.Bytes())
			}
		}
	})
	if body != "copied written" {
		t.Errorf("got %q", body)
	}
}

func TestResponseRecordsWhatWasWritten(t *testing.T) {
	t.Parallel()
	type want struct {
		status              int
		bytes               int64
		committed, complete bool
	}
	for _, row := range []struct {
		name    string
		method  string
		respond func(http.ResponseWriter)
		want    want
	}{
		{"nothing", "GET", func(http.ResponseWriter) {}, want{}},
		{"status", "GET", func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, want{404, 0, true, false}},
		{"two statuses", "GET", func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusNotFound)
			w.WriteHeader(http.StatusOK)
		}, want{404, 0, true, false}},
		{"informational", "GET", func(w http.ResponseWriter) { w.WriteHeader(http.StatusEarlyHints) }, want{}},
		{"the last informational status", "GET", func(w http.ResponseWriter) { w.WriteHeader(199) }, want{}},
		{"the first final status", "GET", func(w http.ResponseWriter) { w.WriteHeader(200) }, want{200, 0, true, false}},
		{"only a Content-Length", "GET", func(w http.ResponseWriter) { w.Header().Set("Content-Length", "0") }, want{}},
		{"informational, then a status", "GET", func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusCreated)
		}, want{201, 0, true, false}},
		{"switching protocols", "GET", func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusSwitchingProtocols)
		}, want{101, 0, true, false}},
		{"write", "GET", func(w http.ResponseWriter) { w.Write([]byte("abc")) }, want{200, 3, true, false}},
		{"write of nothing", "GET", func(w http.ResponseWriter) { w.Write(nil) }, want{200, 0, true, false}},
		{"string", "GET", func(w http.ResponseWriter) { w.(io.StringWriter).WriteString("abc") }, want{200, 3, true, false}},
		{"flush", "GET", func(w http.ResponseWriter) { w.(http.Flusher).Flush() }, want{200, 0, true, false}},
		{"controller's flush", "GET", func(w http.ResponseWriter) { http.NewResponseController(w).Flush() }, want{200, 0, true, false}},
		{"complete", "GET", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "3")
			w.Write([]byte("abc"))
		}, want{200, 3, true, true}},
		{"part", "GET", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "4")
			w.Write([]byte("abc"))
		}, want{200, 3, true, false}},
		{"an empty body", "GET", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "0")
			w.WriteHeader(http.StatusOK)
		}, want{200, 0, true, true}},
		{"an invalid Content-Length", "GET", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "three")
			w.WriteHeader(http.StatusOK)
		}, want{200, 0, true, false}},
		{"204", "GET", func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }, want{204, 0, true, true}},
		{"304", "GET", func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotModified) }, want{304, 0, true, true}},
		{"HEAD", "HEAD", func(w http.ResponseWriter) { w.Write([]byte("abc")) }, want{200, 0, true, true}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w, record := track.Wrap(httptest.NewRecorder(), httptest.NewRequest(row.method, "/", nil))
			row.respond(w)
			got := want{record.Status(), record.Bytes(), record.Committed(), record.Complete()}
			if got != row.want {
				t.Errorf("got %+v, want %+v", got, row.want)
			}
		})
	}
}

func TestInvalidStatusesAreNotRecorded(t *testing.T) {
	t.Parallel()
	w, record := track.Wrap(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	func() {
		defer func() { _ = recover() }()
		w.WriteHeader(1000)
	}()
	if record.Committed() {
		t.Errorf("status %d", record.Status())
	}
}

func TestResponseControllerReachesTheServersWriter(t *testing.T) {
	t.Parallel()
	for name, newServer := range map[string]func(http.Handler) *memhttp.Server{"h1": memhttp.New, "h2": memhttp.NewHTTP2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			serve(t, newServer, func(w http.ResponseWriter, r *http.Request) {
				for range 3 {
					w, _ = track.Wrap(unwrapping{bare{w}}, r)
				}
				c := http.NewResponseController(w)
				for what, err := range map[string]error{
					"SetReadDeadline":  c.SetReadDeadline(time.Now().Add(time.Hour)),
					"SetWriteDeadline": c.SetWriteDeadline(time.Now().Add(time.Hour)),
					"EnableFullDuplex": c.EnableFullDuplex(),
					"Flush":            c.Flush(),
				} {
					if err != nil {
						t.Errorf("%s: %v", what, err)
					}
				}
			})
		})
	}
}

func TestAnUnsupportedFlushDoesNotCommit(t *testing.T) {
	t.Parallel()
	w, record := track.Wrap(bare{httptest.NewRecorder()}, httptest.NewRequest(http.MethodGet, "/", nil))
	if err := http.NewResponseController(w).Flush(); !errors.Is(err, http.ErrNotSupported) {
		t.Errorf("got %v", err)
	}
	if record.Committed() {
		t.Error("committed")
	}
}

var errRefused = errors.New("refused")

// Bytes in the buffer of a foreign writer were written, but not sent.
func TestFindReturnsTheNearestCommittedRecord(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	w, outer := track.Wrap(httptest.NewRecorder(), r)
	buffer := &buffering{ResponseWriter: w}

	if found := track.Find(buffer); found != nil {
		t.Error("found a record, but nothing was sent")
	}
	inner, record := track.Wrap(buffer, r)
	if found := track.Find(inner); found != record {
		t.Error("did not find its own record")
	}
	io.WriteString(inner, "held back")
	if outer.Committed() || !record.Committed() {
		t.Error("outer committed, or inner not")
	}
	if found := track.Find(inner); found != record {
		t.Error("did not find the nearest committed record")
	}
	buffer.release()
	if found := track.Find(buffer); found != outer {
		t.Error("did not find the record of what was sent")
	}
	if found := track.Find(bare{w}); found != nil {
		t.Error("found something behind a writer that does not unwrap")
	}
}

type buffering struct {
	http.ResponseWriter
	held []byte
}

func (b *buffering) Unwrap() http.ResponseWriter { return b.ResponseWriter }
func (b *buffering) WriteHeader(int)             {}
func (b *buffering) Write(p []byte) (int, error) { b.held = append(b.held, p...); return len(p), nil }
func (b *buffering) release()                    { b.ResponseWriter.Write(b.held) }

func TestEncodedReportsAnEarlierContentEncoding(t *testing.T) {
	t.Parallel()
	rec := httptest.NewRecorder()
	rec.Header().Set("Content-Encoding", "gzip")
	_, record := track.Wrap(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	if !record.Encoded() {
		t.Error("a Content-Encoding that was set before")
	}
	rec.Header().Set("Content-Encoding", "")
	if _, record = track.Wrap(rec, httptest.NewRequest(http.MethodGet, "/", nil)); record.Encoded() {
		t.Error("an empty Content-Encoding")
	}
	w, record := track.Wrap(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	w.Header().Set("Content-Encoding", "gzip")
	if record.Encoded() {
		t.Error("a Content-Encoding that the handler sets")
	}
}

func TestFailedWritesAreReported(t *testing.T) {
	t.Parallel()
	for _, begun := range []bool{false, true} {
		w, record := track.Wrap(failing{httptest.NewRecorder()}, httptest.NewRequest(http.MethodGet, "/", nil))
		if begun {
			w.WriteHeader(http.StatusOK)
		}
		if n, err := w.Write([]byte("abc")); n != 1 || !errors.Is(err, errRefused) {
			t.Error(n, err)
		}
		if n, err := w.(io.StringWriter).WriteString("abc"); n != 1 || !errors.Is(err, errRefused) {
			t.Error(n, err)
		}
		if n, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader("abc")); n != 2 || !errors.Is(err, errRefused) {
			t.Error(n, err)
		}
		if record.Bytes() != 4 || record.Status() != http.StatusOK {
			t.Errorf("%d bytes, status %d", record.Bytes(), record.Status())
		}
	}
	w, record := track.Wrap(failing{httptest.NewRecorder()}, httptest.NewRequest(http.MethodGet, "/", nil))
	if n, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader("abc")); n != 2 || !errors.Is(err, errRefused) {
		t.Error(n, err)
	}
	if record.Bytes() != 2 || record.Status() != http.StatusOK {
		t.Errorf("%d bytes, status %d", record.Bytes(), record.Status())
	}
}

// failing writes one byte, or copies two, and then fails.
type failing struct{ *httptest.ResponseRecorder }

func (failing) Write([]byte) (int, error)                    { return 1, errRefused }
func (failing) WriteString(string) (int, error)              { return 1, errRefused }
func (failing) ReadFrom(io.Reader) (int64, error)            { return 2, errRefused }
func (failing) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, errRefused }
