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

// bare has what http.ResponseWriter asks for and nothing else.
type bare struct{ w http.ResponseWriter }

func (b bare) Header() http.Header         { return b.w.Header() }
func (b bare) Write(p []byte) (int, error) { return b.w.Write(p) }
func (b bare) WriteHeader(status int)      { b.w.WriteHeader(status) }

// unwrapping hides every optional interface but leads on.
type unwrapping struct{ bare }

func (u unwrapping) Unwrap() http.ResponseWriter { return u.w }

// flushing is a foreign writer that forwards http.Flusher, as many do, and unwraps.
type flushing struct{ unwrapping }

func (f flushing) Flush() { f.w.(http.Flusher).Flush() }

// interfaces names what w has beyond http.ResponseWriter.
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

// serve calls f as the handler of one GET request of a server's.
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
						t.Error("no way down")
					}
				}
			}
			serve(t, memhttp.New, probe(row.h1))
			serve(t, memhttp.NewHTTP2, probe(row.h2))
			probe(row.rec)(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
		})
	}
}

// Three middlewares with foreign writers in between: every layer keeps what the layer below has.
func TestThreeLayers(t *testing.T) {
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

func TestRecord(t *testing.T) {
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
		{"first status counts", "GET", func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusNotFound)
			w.WriteHeader(http.StatusOK)
		}, want{404, 0, true, false}},
		{"informational", "GET", func(w http.ResponseWriter) { w.WriteHeader(http.StatusEarlyHints) }, want{}},
		{"the last informational one", "GET", func(w http.ResponseWriter) { w.WriteHeader(199) }, want{}},
		{"the first that is not", "GET", func(w http.ResponseWriter) { w.WriteHeader(200) }, want{200, 0, true, false}},
		{"nothing, and a length", "GET", func(w http.ResponseWriter) { w.Header().Set("Content-Length", "0") }, want{}},
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
		{"whole", "GET", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "3")
			w.Write([]byte("abc"))
		}, want{200, 3, true, true}},
		{"part", "GET", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "4")
			w.Write([]byte("abc"))
		}, want{200, 3, true, false}},
		{"nothing, as announced", "GET", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "0")
			w.WriteHeader(http.StatusOK)
		}, want{200, 0, true, true}},
		{"no length", "GET", func(w http.ResponseWriter) {
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

// A status that net/http refuses is not one that went out.
func TestNonsenseStatusIsNotRecorded(t *testing.T) {
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

// net/http sends nothing for a source that gives nothing, so the response can still become an
// error.
func TestCopyOfNothingCommitsNothing(t *testing.T) {
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

// net/http has sent the status before it sees that a source gives more than was announced.
func TestCopyOfMoreThanWasAnnouncedCommits(t *testing.T) {
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

// A source that panics half-way leaves a response that has begun.
func TestCopyThatPanicsCommits(t *testing.T) {
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

// A foreign writer that has no ReadFrom gets the bytes by Write: it may change them.
func TestCopyDoesNotPassAForeignWriterBy(t *testing.T) {
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

func TestResponseControllerWorksThrough(t *testing.T) {
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

func TestFlushThatIsNotSupportedCommitsNothing(t *testing.T) {
	t.Parallel()
	w, record := track.Wrap(bare{httptest.NewRecorder()}, httptest.NewRequest(http.MethodGet, "/", nil))
	if err := http.NewResponseController(w).Flush(); !errors.Is(err, http.ErrNotSupported) {
		t.Errorf("got %v", err)
	}
	if record.Committed() {
		t.Error("committed")
	}
}

// Whoever takes the connection over, and however deep below foreign writers: each tracker on the
// way knows.
func TestHijackIsRecorded(t *testing.T) {
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
			"controller, through a writer that unwraps",
			func(w http.ResponseWriter) http.ResponseWriter { return unwrapping{bare{w}} },
			func(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) {
				return http.NewResponseController(w).Hijack()
			},
		},
		{
			"controller, through a writer that flushes and unwraps",
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

// What a buffering writer in between holds back has not gone out, but its handler has written it.
func TestFindThroughAForeignWriter(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	w, outer := track.Wrap(httptest.NewRecorder(), r)
	buffer := &buffering{ResponseWriter: w}

	if found := track.Find(buffer); found != nil {
		t.Error("nobody knows what was written to a foreign writer while nothing has gone out")
	}
	inner, record := track.Wrap(buffer, r)
	if found := track.Find(inner); found != record {
		t.Error("a tracker is its own record")
	}
	io.WriteString(inner, "held back")
	if outer.Committed() || !record.Committed() {
		t.Error("outer committed, or inner not")
	}
	if found := track.Find(inner); found != record {
		t.Error("the nearest committed record counts")
	}
	buffer.release()
	if found := track.Find(buffer); found != outer {
		t.Error("what has gone out is known")
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

func TestEncoded(t *testing.T) {
	t.Parallel()
	rec := httptest.NewRecorder()
	rec.Header().Set("Content-Encoding", "gzip")
	_, record := track.Wrap(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	if !record.Encoded() {
		t.Error("a Content-Encoding that was there before is an outer writer's")
	}
	rec.Header().Set("Content-Encoding", "")
	if _, record = track.Wrap(rec, httptest.NewRequest(http.MethodGet, "/", nil)); record.Encoded() {
		t.Error("an empty Content-Encoding encodes nothing")
	}
	w, record := track.Wrap(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	w.Header().Set("Content-Encoding", "gzip")
	if record.Encoded() {
		t.Error("a Content-Encoding that was set through the tracker is the handler's")
	}
}

func TestCopyReachesTheConnection(t *testing.T) {
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
	// net/http writes what it sniffs for the Content-Type by itself.
	if got := l.Copied(); got < size-1024 {
		t.Errorf("%d of %d bytes went through the connection's ReadFrom", got, size)
	}
	if got := recorded.Load(); got != size {
		t.Errorf("%d bytes recorded", got)
	}
}

// informational is the final header of an answer that begins with a 1xx, after which a reverse
// proxy clears the header (golang/go#81207). Each layer wraps the writer of the one before, and
// sets fields.
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

// final is net/http's writer: a 1xx leaves the header as it is.
type final struct{ header http.Header }

func (f final) Header() http.Header         { return f.header }
func (f final) Write(p []byte) (int, error) { return len(p), nil }
func (f final) WriteHeader(int)             {}

func TestFieldsAreRestoredOnce(t *testing.T) {
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
		list, single string // before what the back end says
		cleared      string // the same, where not all of it is ours to put back
	}{
		{"one record", layers{wrap, a, b}, both, "5", both},
		{"a foreign writer between", layers{wrap, a, opaque, wrap, b}, both, "5", both},
		{"one that unwraps between", layers{wrap, a, foreign, wrap, b}, both, "5", both},
		{"several between", layers{wrap, a, opaque, wrap, opaque, wrap, b, opaque, wrap}, both, "5", both},
		{"a middleware that adds an item", layers{wrap, a, set("List", itemA+`,"m";r=1`)}, itemA + `,"m";r=1`, "9", itemA},
		{"one between two", layers{wrap, a, set("List", itemA+`, "m"`), opaque, wrap, b}, itemA + `, "m", "b";r=5`, "5", itemA + `, "m", "b";r=5`},
		{"a 1xx between", layers{wrap, a, early, b}, both, "5", both},
		{"a 1xx and a middleware between", layers{wrap, a, early, set("List", itemA+`,"m";r=1`)}, itemA + `,"m";r=1`, "9", itemA},
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

// What somebody has put in the place of a field is not followed by the field.
func TestFieldsThatWereReplacedAreNotRestored(t *testing.T) {
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

// told is an owner that remembers what it was told.
type told []string

func (o *told) Answered(status int, outermost bool) {
	*o = append(*o, fmt.Sprint(status, " outermost: ", outermost))
}

func TestOwner(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	three := func() (outer, middle, inner http.ResponseWriter) {
		outer, _ = track.Wrap(httptest.NewRecorder(), r)
		middle, _ = track.Wrap(unwrapping{bare{outer}}, r)
		inner, _ = track.Wrap(flushing{unwrapping{bare{middle}}}, r)
		return outer, middle, inner
	}
	requireOwners := func(t *testing.T, want map[http.ResponseWriter]track.Owner) {
		t.Helper()
		for w, owner := range want {
			if got := track.OwnerOf(w); got != owner {
				t.Errorf("the owner is %v, not %v", got, owner)
			}
		}
	}
	t.Run("owns all records that have no owner", func(t *testing.T) {
		t.Parallel()
		outer, middle, inner := three()
		var o told
		track.SetOwner(inner, &o, true)
		requireOwners(t, map[http.ResponseWriter]track.Owner{outer: &o, middle: &o, inner: &o, unwrapping{bare{inner}}: &o})
		inner.WriteHeader(http.StatusAccepted)
		want := told{"202 outermost: true", "202 outermost: false", "202 outermost: false"}
		if !slices.Equal(o, want) {
			t.Errorf("told %q", o)
		}
	})
	t.Run("leaves others' records to them", func(t *testing.T) {
		t.Parallel()
		outer, middle, inner := three()
		var first, second told
		track.SetOwner(outer, &first, true)
		track.SetOwner(inner, &second, false)
		requireOwners(t, map[http.ResponseWriter]track.Owner{outer: &first, middle: &second, inner: &second})
		io.WriteString(inner, "abc")
		if !slices.Equal(first, told{"200 outermost: true"}) || !slices.Equal(second, told{"200 outermost: false", "200 outermost: false"}) {
			t.Errorf("told %q and %q", first, second)
		}
	})
	t.Run("is told what is known already, what is known further out last", func(t *testing.T) {
		t.Parallel()
		outer, middle, inner := three()
		middle.WriteHeader(http.StatusAccepted)
		inner.WriteHeader(http.StatusCreated)
		var o told
		track.SetOwner(inner, &o, true)
		if want := (told{"201 outermost: false", "202 outermost: false", "202 outermost: true"}); !slices.Equal(o, want) {
			t.Errorf("told %q", o)
		}
		requireOwners(t, map[http.ResponseWriter]track.Owner{outer: &o})
	})
	t.Run("is not told of what has no status", func(t *testing.T) {
		t.Parallel()
		_, _, inner := three()
		var o told
		track.SetOwner(inner, &o, true)
		inner.WriteHeader(http.StatusEarlyHints)
		if len(o) > 0 {
			t.Errorf("told %q", o)
		}
	})
	t.Run("nobody", func(t *testing.T) {
		t.Parallel()
		_, _, inner := three()
		requireOwners(t, map[http.ResponseWriter]track.Owner{inner: nil, bare{inner}: nil})
	})
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
			t.Error("complete, although nobody knows what its handler writes")
		}
	}))
	defer s.Close()
	if resp, err := s.Client().Get(s.URL); err == nil {
		_ = resp.Body.Close()
	}
}

// writes are the ways to begin a response, and what the owner is told then.
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

// A field that was set for the final response is in it, once, with its last value, however it
// begins.
func TestFieldsAreInTheFinalResponse(t *testing.T) {
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

// What the writer below says of a write is the answer.
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
