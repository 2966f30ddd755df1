package track_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/internal/track"
)

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
