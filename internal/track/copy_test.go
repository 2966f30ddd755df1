package track_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seawall-go/seawall/internal/copycount"
	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/internal/track"
)

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
