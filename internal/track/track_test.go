package track_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seawall-go/seawall/internal/copycount"
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
	add(flusher, "Flusher")
	add(hijacker, "Hijacker")
	add(readerFrom, "ReaderFrom")
	add(stringWriter, "StringWriter")
	add(pusher, "Pusher")
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
	h1, h2 := "Flusher Hijacker ReaderFrom StringWriter", "Flusher StringWriter"
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

func TestThreeRecordsKeepTheInterfacesOfTheServersWriter(t *testing.T) {
	t.Parallel()
	body := serve(t, memhttp.New, func(w http.ResponseWriter, r *http.Request) {
		var records [3]*track.Response
		for i := range records {
			w, records[i] = track.Wrap(flushing{unwrapping{bare{w}}}, r)
		}
		if got, want := interfaces(w), "Flusher Hijacker ReaderFrom StringWriter"; got != want {
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

// net/http sends nothing for an empty source, so an error can still be sent.
func TestAnEmptyCopyDoesNotCommit(t *testing.T) {
	t.Parallel()
	body := serve(t, memhttp.New, func(w http.ResponseWriter, r *http.Request) {
		w, record := track.Wrap(w, r)
		if n, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader("")); n != 0 || err != nil {
			t.Error(n, err)
		}
		if record.Committed() {
			t.Error("committed")
		}
		io.WriteString(w, "an error")
	})
	if body != "an error" {
		t.Errorf("got %q", body)
	}
}

// net/http sends the status before it sees that the source is longer than the Content-Length.
func TestACopyThatIsTooLongCommits(t *testing.T) {
	t.Parallel()
	s := memhttp.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w, record := track.Wrap(w, r)
		w.Header().Set("Content-Length", "3")
		if _, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader("more")); !errors.Is(err, http.ErrContentLength) {
			t.Error(err)
		}
		if record.Status() != http.StatusOK || record.Complete() {
			t.Errorf("status %d, complete: %v", record.Status(), record.Complete())
		}
	}))
	defer s.Close()
	resp, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the client got status %d", resp.StatusCode)
	}
}

func TestACopyThatPanicsCommits(t *testing.T) {
	t.Parallel()
	serve(t, memhttp.New, func(w http.ResponseWriter, r *http.Request) {
		w, record := track.Wrap(w, r)
		func() {
			defer func() { _ = recover() }()
			_, _ = w.(io.ReaderFrom).ReadFrom(io.MultiReader(strings.NewReader("part"), panicReader{}))
		}()
		if !record.Committed() || record.Complete() {
			t.Error("the response has begun and is not complete")
		}
	})
}

type panicReader struct{}

func (panicReader) Read([]byte) (int, error) { panic("no more") }

// A foreign writer without ReadFrom may change the bytes in Write.
func TestACopyDoesNotBypassForeignWriters(t *testing.T) {
	t.Parallel()
	body := serve(t, memhttp.New, func(w http.ResponseWriter, r *http.Request) {
		w, record := track.Wrap(shouting{flushing{unwrapping{bare{w}}}}, r)
		if _, err := io.Copy(w, onlyReader{strings.NewReader("quiet")}); err != nil {
			t.Error(err)
		}
		if record.Bytes() != 5 {
			t.Errorf("%d bytes", record.Bytes())
		}
	})
	if body != "QUIET" {
		t.Errorf("got %q", body)
	}
}

type onlyReader struct{ io.Reader }

type shouting struct{ flushing }

func (s shouting) Write(p []byte) (int, error) { return s.w.Write(bytes.ToUpper(p)) }

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

func TestHijackIsRecordedByAllRecords(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		below  func(http.ResponseWriter) http.ResponseWriter
		hijack func(http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error)
	}{
		{
			"asserted", func(w http.ResponseWriter) http.ResponseWriter { return w },
			func(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) { return w.(http.Hijacker).Hijack() },
		},
		{
			"ResponseController, through a writer that unwraps",
			func(w http.ResponseWriter) http.ResponseWriter { return unwrapping{bare{w}} },
			func(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) {
				return http.NewResponseController(w).Hijack()
			},
		},
		{
			"ResponseController, through a writer that flushes and unwraps",
			func(w http.ResponseWriter) http.ResponseWriter { return flushing{unwrapping{bare{w}}} },
			func(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) {
				return http.NewResponseController(w).Hijack()
			},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			serve(t, memhttp.New, func(w http.ResponseWriter, r *http.Request) {
				var records [3]*track.Response
				for i := range records {
					w, records[i] = track.Wrap(row.below(w), r)
				}
				conn, _, err := row.hijack(w)
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				for i, record := range records {
					if !record.Hijacked() || !record.Committed() || record.Complete() || record.Status() != 0 {
						t.Errorf("layer %d: %+v", i, record)
					}
				}
				if found := track.Find(w); found == nil || !found.Hijacked() {
					t.Errorf("found %+v", found)
				}
				if _, _, err := row.hijack(w); err == nil {
					t.Error("hijacked twice")
				}
			})
		})
	}
}

func TestFailedHijackIsNotRecorded(t *testing.T) {
	t.Parallel()
	w, record := track.Wrap(refusing{httptest.NewRecorder()}, httptest.NewRequest(http.MethodGet, "/", nil))
	if _, _, err := w.(http.Hijacker).Hijack(); !errors.Is(err, errRefused) {
		t.Errorf("got %v", err)
	}
	if record.Hijacked() {
		t.Error("recorded")
	}
}

var errRefused = errors.New("refused")

type refusing struct{ *httptest.ResponseRecorder }

func (refusing) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, errRefused }

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

func TestACopyReachesTheConnection(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	var recorded atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var record *track.Response
		for range 3 {
			w, record = track.Wrap(w, r)
		}
		w.Header().Set("Content-Length", fmt.Sprint(size))
		if _, err := io.Copy(w, onlyReader{strings.NewReader(strings.Repeat("x", size))}); err != nil {
			t.Error(err)
		}
		recorded.Store(record.Bytes())
		if !record.Complete() {
			t.Error("not complete")
		}
	}))
	l := copycount.New(s.Listener)
	s.Listener = l
	s.Start()
	defer s.Close()
	resp, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); n != size || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	s.Close() // waits for the handler
	// net/http writes the first bytes itself, after it has detected the Content-Type.
	if got := l.Copied(); got < size-1024 {
		t.Errorf("%d of %d bytes went through the connection's ReadFrom", got, size)
	}
	if got := recorded.Load(); got != size {
		t.Errorf("%d bytes recorded", got)
	}
}

// informational returns the final header of a response that begins with a 1xx. If clears is
// true, the header is cleared after it, as a reverse proxy does (golang/go#81207). The
// layers wrap the writer and set fields.
func informational(clears bool, layers ...func(http.ResponseWriter, *http.Request) http.ResponseWriter) http.Header {
	sent := make(http.Header)
	var w http.ResponseWriter = final{sent}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for _, layer := range layers {
		w = layer(w, r)
	}
	w.WriteHeader(http.StatusEarlyHints)
	if clears {
		clear(w.Header())
	}
	w.Header().Add("List", `"backend";r=1`)
	w.Header().Add("Single", "backend")
	w.WriteHeader(http.StatusOK)
	return sent
}

// final is a server's writer, which leaves the header alone after a 1xx.
type final struct{ header http.Header }

func (f final) Header() http.Header         { return f.header }
func (f final) Write(p []byte) (int, error) { return len(p), nil }
func (f final) WriteHeader(int)             {}

func TestFieldsAreRestoredAfterA1xx(t *testing.T) {
	t.Parallel()
	wrap := func(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
		w, _ = track.Wrap(w, r)
		return w
	}
	opaque := func(w http.ResponseWriter, _ *http.Request) http.ResponseWriter { return bare{w} }
	foreign := func(w http.ResponseWriter, _ *http.Request) http.ResponseWriter { return unwrapping{bare{w}} }
	limit := func(item, single string) func(http.ResponseWriter, *http.Request) http.ResponseWriter {
		return func(w http.ResponseWriter, _ *http.Request) http.ResponseWriter {
			list := strings.Join(append(w.Header()["List"], item), ", ")
			track.SetField(w, "List", []string{list})
			track.SetField(w, "Single", []string{single})
			return w
		}
	}
	set := func(key, value string) func(http.ResponseWriter, *http.Request) http.ResponseWriter {
		return func(w http.ResponseWriter, _ *http.Request) http.ResponseWriter {
			w.Header().Set(key, value)
			return w
		}
	}
	early := func(w http.ResponseWriter, _ *http.Request) http.ResponseWriter {
		w.WriteHeader(http.StatusEarlyHints)
		return w
	}
	type layers = []func(http.ResponseWriter, *http.Request) http.ResponseWriter
	a, b := limit(`"a,\"";r=9`, "9"), limit(`"b";r=5`, "5")
	const itemA, both = `"a,\"";r=9`, `"a,\"";r=9, "b";r=5`

	for _, row := range []struct {
		name         string
		layers       layers
		list, single string // the first values of the two fields
		cleared      string // the list if the header was cleared
	}{
		{"one record", layers{wrap, a, b}, both, "5", both},
		{"a foreign writer between", layers{wrap, a, opaque, wrap, b}, both, "5", both},
		{"a foreign writer that unwraps between", layers{wrap, a, foreign, wrap, b}, both, "5", both},
		{"several foreign writers between", layers{wrap, a, opaque, wrap, opaque, wrap, b, opaque, wrap}, both, "5", both},
		{"other middleware that adds an item", layers{wrap, a, set("List", itemA+`,"m";r=1`)}, itemA + `,"m";r=1`, "9", itemA},
		{"other middleware between", layers{wrap, a, set("List", itemA+`, "m"`), opaque, wrap, b}, itemA + `, "m", "b";r=5`, "5", itemA + `, "m", "b";r=5`},
		{"a 1xx between", layers{wrap, a, early, b}, both, "5", both},
		{"a 1xx and other middleware between", layers{wrap, a, early, set("List", itemA+`,"m";r=1`)}, itemA + `,"m";r=1`, "9", itemA},
	} {
		for _, clears := range []bool{false, true} {
			h := informational(clears, row.layers...)
			list := row.list
			if clears {
				list = row.cleared
			}
			if got, want := h["List"], []string{list, `"backend";r=1`}; !slices.Equal(got, want) {
				t.Errorf("%s, cleared: %v: list %q, want %q", row.name, clears, got, want)
			}
			if got, want := h["Single"], []string{row.single, "backend"}; !slices.Equal(got, want) {
				t.Errorf("%s, cleared: %v: single %q, want %q", row.name, clears, got, want)
			}
		}
	}
}

func TestReplacedFieldsAreNotRestored(t *testing.T) {
	t.Parallel()
	for _, clears := range []bool{false, true} {
		h := informational(clears, func(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
			w, _ = track.Wrap(w, r)
			track.SetField(w, "Single", []string{"ours"})
			track.SetField(w, "List", []string{"ours"})
			w.Header().Set("Single", "theirs")
			return w
		})
		want := []string{"theirs", "backend"}
		if clears {
			want = want[1:]
		}
		if got := h["Single"]; !slices.Equal(got, want) {
			t.Errorf("cleared: %v: replaced %q, want %q", clears, got, want)
		}
		if got, want := h["List"], []string{"ours", `"backend";r=1`}; !slices.Equal(got, want) {
			t.Errorf("cleared: %v: the other %q, want %q", clears, got, want)
		}
	}
}

// told is an owner that records what it learns.
type told []string

func (o *told) Answered(status int, outermost bool) {
	*o = append(*o, fmt.Sprint(status, " outermost: ", outermost))
}

// threeRecords returns the writers of three records around each other, with foreign writers
// between.
func threeRecords() (outer, middle, inner http.ResponseWriter) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	outer, _ = track.Wrap(httptest.NewRecorder(), r)
	middle, _ = track.Wrap(unwrapping{bare{outer}}, r)
	inner, _ = track.Wrap(flushing{unwrapping{bare{middle}}}, r)
	return outer, middle, inner
}

func requireOwners(t *testing.T, want map[http.ResponseWriter]track.Owner) {
	t.Helper()
	for w, owner := range want {
		if got := track.OwnerOf(w); got != owner {
			t.Errorf("the owner is %v, not %v", got, owner)
		}
	}
}

func TestOwnerOwnsAllRecordsWithoutOwner(t *testing.T) {
	t.Parallel()
	outer, middle, inner := threeRecords()
	var o told
	track.SetOwner(inner, &o, true)
	requireOwners(t, map[http.ResponseWriter]track.Owner{outer: &o, middle: &o, inner: &o, unwrapping{bare{inner}}: &o})
	inner.WriteHeader(http.StatusAccepted)
	want := told{"202 outermost: true", "202 outermost: false", "202 outermost: false"}
	if !slices.Equal(o, want) {
		t.Errorf("told %q", o)
	}
}

func TestOwnerDoesNotReplaceAnother(t *testing.T) {
	t.Parallel()
	outer, middle, inner := threeRecords()
	var first, second told
	track.SetOwner(outer, &first, true)
	track.SetOwner(inner, &second, false)
	requireOwners(t, map[http.ResponseWriter]track.Owner{outer: &first, middle: &second, inner: &second})
	io.WriteString(inner, "abc")
	if !slices.Equal(first, told{"200 outermost: true"}) || !slices.Equal(second, told{"200 outermost: false", "200 outermost: false"}) {
		t.Errorf("told %q and %q", first, second)
	}
}

func TestOwnerLearnsStatusesThatWereSentBefore(t *testing.T) {
	t.Parallel()
	outer, middle, inner := threeRecords()
	middle.WriteHeader(http.StatusAccepted)
	inner.WriteHeader(http.StatusCreated)
	var o told
	track.SetOwner(inner, &o, true)
	if want := (told{"201 outermost: false", "202 outermost: false", "202 outermost: true"}); !slices.Equal(o, want) {
		t.Errorf("told %q", o)
	}
	requireOwners(t, map[http.ResponseWriter]track.Owner{outer: &o})
}

func TestOwnerDoesNotLearnInformationalStatuses(t *testing.T) {
	t.Parallel()
	_, _, inner := threeRecords()
	var o told
	track.SetOwner(inner, &o, true)
	inner.WriteHeader(http.StatusEarlyHints)
	if len(o) > 0 {
		t.Errorf("told %q", o)
	}
}

func TestRecordsHaveNoOwnerByDefault(t *testing.T) {
	t.Parallel()
	_, _, inner := threeRecords()
	requireOwners(t, map[http.ResponseWriter]track.Owner{inner: nil, bare{inner}: nil})
}

func TestHijackOfAResponseThatHasBegunLeavesItIncomplete(t *testing.T) {
	t.Parallel()
	s := memhttp.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w, record := track.Wrap(w, r)
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(http.StatusOK)
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil || rw == nil {
			t.Error(rw, err)
			return
		}
		defer conn.Close()
		if record.Complete() {
			t.Error("complete")
		}
	}))
	defer s.Close()
	if resp, err := s.Client().Get(s.URL); err == nil {
		_ = resp.Body.Close()
	}
}

// writes are the ways to begin a response.
var writes = map[string]func(http.ResponseWriter) error{
	"WriteHeader": func(w http.ResponseWriter) error { w.WriteHeader(http.StatusOK); return nil },
	"Write":       func(w http.ResponseWriter) error { _, err := w.Write([]byte("abc")); return err },
	"WriteString": func(w http.ResponseWriter) error { _, err := w.(io.StringWriter).WriteString("abc"); return err },
	"Flush":       func(w http.ResponseWriter) error { return http.NewResponseController(w).Flush() },
	"ReadFrom": func(w http.ResponseWriter) error {
		rf, ok := w.(io.ReaderFrom)
		if !ok { // HTTP/2
			rf = writerOnly{w}
		}
		n, err := rf.ReadFrom(strings.NewReader("abc"))
		if n != 3 {
			err = errors.Join(err, fmt.Errorf("copied %d bytes", n))
		}
		return err
	},
}

type writerOnly struct{ io.Writer }

func (w writerOnly) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{w.Writer}, r)
}

func TestFieldsAreInTheFinalResponseOnce(t *testing.T) {
	t.Parallel()
	for name, newServer := range map[string]func(http.Handler) *memhttp.Server{"h1": memhttp.New, "h2": memhttp.NewHTTP2} {
		for how, write := range writes {
			t.Run(how+"/"+name, func(t *testing.T) {
				t.Parallel()
				var o told
				s := newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w, _ = track.Wrap(w, r)
					track.SetOwner(w, &o, true)
					for i := range 8 {
						track.SetField(w, fmt.Sprint("X-Field-", i), []string{"old"})
						track.SetField(w, fmt.Sprint("X-Field-", i), []string{"new"})
					}
					track.SetField(w, "X-Nothing", nil)
					track.SetField(w, "X-Empty", []string{})
					w.WriteHeader(http.StatusEarlyHints)
					clear(w.Header())
					w.Header().Set("X-Field-7", "mine")
					if err := write(w); err != nil {
						t.Error(err)
					}
				}))
				defer s.Close()
				resp, err := s.Client().Get(s.URL)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				for i := range 8 {
					want := []string{"new"}
					if i == 7 {
						want = []string{"new", "mine"}
					}
					if got := resp.Header[fmt.Sprint("X-Field-", i)]; !slices.Equal(got, want) {
						t.Errorf("field %d is %q", i, got)
					}
				}
				if resp.Header["X-Nothing"] != nil || resp.Header["X-Empty"] != nil {
					t.Errorf("a field without values is %v", resp.Header)
				}
				s.Close()
				if !slices.Equal(o, told{"200 outermost: true"}) {
					t.Errorf("the owner was told %q", o)
				}
			})
		}
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
