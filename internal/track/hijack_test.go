package track_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/seawall-go/seawall/internal/memhttp"
	"github.com/seawall-go/seawall/internal/track"
)

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

type refusing struct{ *httptest.ResponseRecorder }

func (refusing) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, errRefused }

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
