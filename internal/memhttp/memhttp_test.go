package memhttp_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seawall-go/seawall/internal/memhttp"
)

// eachProtocol runs a test over HTTP/1.1 and over HTTP/2, each in its own bubble. A bubble
// fails if a goroutine is left that is blocked forever.
func eachProtocol(t *testing.T, test func(t *testing.T, newServer func(http.Handler) *memhttp.Server)) {
	t.Helper()
	t.Run("HTTP/1.1", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) { test(t, memhttp.New) })
	})
	t.Run("HTTP/2", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) { test(t, memhttp.NewHTTP2) })
	})
}

func TestRequestReachesTheHandler(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, newServer func(http.Handler) *memhttp.Server) {
		s := newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			check(t, err)
			fmt.Fprintf(w, "%s %s %s", r.Proto, r.URL.Path, body)
		}))
		defer s.Close()
		for range 3 {
			resp, err := s.Client().Post(s.URL+"/v1/resources", "text/plain", strings.NewReader("hello"))
			check(t, err)
			body, err := io.ReadAll(resp.Body)
			check(t, err)
			check(t, resp.Body.Close())
			equal(t, string(body), resp.Proto+" /v1/resources hello")
		}
	})
}

func TestConcurrentClients(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, newServer func(http.Handler) *memhttp.Server) {
		payload := bytes.Repeat([]byte("x"), 200_000) // more than a connection buffers
		s := newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			check(t, err)
			w.Write(body)
		}))
		defer s.Close()
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				resp, err := s.Client().Post(s.URL, "text/plain", bytes.NewReader(payload))
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				if err != nil || !bytes.Equal(body, payload) {
					t.Errorf("%d bytes came back, %v", len(body), err)
				}
			})
		}
		wg.Wait()
		equal(t, s.Log(), "")
	})
}

func TestResponsesCanStream(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, newServer func(http.Handler) *memhttp.Server) {
		s := newServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for i := range 3 {
				fmt.Fprintln(w, i)
				w.(http.Flusher).Flush()
				time.Sleep(time.Hour)
			}
		}))
		defer s.Close()
		began := time.Now()
		resp, err := s.Client().Get(s.URL)
		check(t, err)
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		for i := range 3 {
			equal(t, lines.Scan(), true)
			equal(t, lines.Text(), fmt.Sprint(i))
			equal(t, time.Since(began), time.Duration(i)*time.Hour)
		}
	})
}

func TestAClientThatDisconnectsCancelsItsRequest(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, newServer func(http.Handler) *memhttp.Server) {
		var cause error
		s := newServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			cause = r.Context().Err()
		}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
		check(t, err)
		_, err = s.Client().Do(req)
		equal(t, errors.Is(err, context.DeadlineExceeded), true)
		s.Close()
		equal(t, cause, context.Canceled)
	})
}

func TestAResponseMayBeSentBeforeTheBodyIsRead(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, newServer func(http.Handler) *memhttp.Server) {
		s := newServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		}))
		defer s.Close()
		for range 20 { // the response races with the request body
			resp, err := s.Client().Post(s.URL, "text/plain", bytes.NewReader(make([]byte, 1<<20)))
			check(t, err)
			equal(t, resp.StatusCode, http.StatusRequestEntityTooLarge)
			check(t, resp.Body.Close())
		}
	})
}

func TestCloseWaitsForHandlersAndTheirResponses(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, newServer func(http.Handler) *memhttp.Server) {
		const clients = 64
		running := make(chan struct{})
		var returned atomic.Int32
		s := newServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			running <- struct{}{}
			time.Sleep(time.Hour)
			io.WriteString(w, "late")
			returned.Add(1)
		}))
		answers := make(chan string, clients)
		for range clients {
			go func() {
				resp, err := s.Client().Get(s.URL)
				if err != nil {
					answers <- err.Error()
					return
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				answers <- fmt.Sprint(string(body), err)
			}()
		}
		for range clients {
			<-running
		}
		s.Close()
		equal(t, returned.Load(), clients)
		for range clients {
			equal(t, <-answers, "late<nil>")
		}
		_, err := s.Client().Get(s.URL)
		equal(t, err != nil, true)
	})
}

func TestCloseLetsResponsesArrive(t *testing.T) {
	t.Parallel()
	for range 200 { // without a bubble, so that time passes
		for _, newServer := range []func(http.Handler) *memhttp.Server{memhttp.New, memhttp.NewHTTP2} {
			running := make(chan struct{})
			s := newServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				close(running)
				io.WriteString(w, "ok")
			}))
			answer := make(chan string)
			go func() {
				resp, err := s.Client().Get(s.URL)
				if err != nil {
					answer <- err.Error()
					return
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				answer <- fmt.Sprint(string(body), err)
			}()
			<-running
			s.Close()
			equal(t, <-answer, "ok<nil>")
		}
	}
}

func TestCloseRefusesNewRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		served := 0
		s := memhttp.New(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			served++
			time.Sleep(time.Minute)
		}))
		first, err := s.Dial(t.Context())
		check(t, err)
		second, err := s.Dial(t.Context())
		check(t, err)
		_, err = io.WriteString(first, "GET / HTTP/1.1\r\nHost: api.example\r\n\r\n")
		check(t, err)
		time.AfterFunc(time.Second, func() {
			_, err := io.WriteString(second, "GET / HTTP/1.1\r\nHost: api.example\r\n\r\n")
			if err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		s.Close()
		equal(t, served, 1)
		answer, err := io.ReadAll(second)
		check(t, err)
		equal(t, string(answer), "")
	})
}

func TestCloseDoesNotWaitForBodiesToBeRead(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, newServer func(http.Handler) *memhttp.Server) {
		s := newServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Write(make([]byte, 1000))
		}))
		for range 3 {
			resp, err := s.Client().Get(s.URL)
			check(t, err)
			defer resp.Body.Close()
		}
		s.Close()
	})
}

func TestCloseClosesForgottenConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := memhttp.New(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		c, err := s.Dial(t.Context())
		check(t, err)
		_, err = io.WriteString(c, "POST / HTTP/1.1\r\nHost: api.example\r\nContent-Length: 10\r\n\r\nhalf")
		check(t, err)
		s.Close()
		_, err = io.ReadAll(c)
		check(t, err)
	})
}

func TestCloseClosesHijackedConnections(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		s := memhttp.New(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			c, rw, err := w.(http.Hijacker).Hijack()
			if err != nil {
				ended <- err
				return
			}
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
			go func() {
				_, err := io.Copy(c, rw)
				ended <- err
			}()
		}))
		c, err := s.Dial(t.Context())
		check(t, err)
		_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: api.example\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nping")
		check(t, err)
		in := bufio.NewReader(c)
		resp, err := http.ReadResponse(in, nil)
		check(t, err)
		equal(t, resp.StatusCode, http.StatusSwitchingProtocols)
		check(t, resp.Body.Close())
		ping := make([]byte, 4)
		_, err = io.ReadFull(in, ping)
		check(t, err)
		equal(t, string(ping), "ping")
		s.Close()
		equal(t, <-ended != nil, true)
		check(t, c.Close())
	})
}

func TestAnAbortedResponseIsIncomplete(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, newServer func(http.Handler) *memhttp.Server) {
		s := newServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			io.WriteString(w, "half")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}))
		defer s.Close()
		resp, err := s.Client().Get(s.URL)
		check(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		equal(t, string(body), "half")
		equal(t, err != nil, true)
		equal(t, s.Log(), "") // an abort is not logged
	})
}

func TestLogHasPanicsAndMistakes(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, newServer func(http.Handler) *memhttp.Server) {
		s := newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/panic" {
				panic("broken invariant")
			}
			w.WriteHeader(http.StatusOK)
			w.WriteHeader(http.StatusTeapot)
		}))
		resp, err := s.Client().Get(s.URL)
		check(t, err)
		check(t, resp.Body.Close())
		const panics = 20 // each is logged before its client gets an error
		for i := range panics {
			_, err = s.Client().Post(s.URL+"/panic", "", nil) // net/http would retry a GET
			equal(t, err != nil, true)
			equal(t, strings.Count(s.Log(), "broken invariant"), i+1)
		}
		s.Close()
		equal(t, strings.Count(s.Log(), "panic serving"), panics)
		if resp.ProtoMajor == 1 { // HTTP/2 ignores it
			equal(t, strings.Contains(s.Log(), "superfluous"), true)
		}
	})
}

func TestRemoteAddrIsAnAddressAndPort(t *testing.T) {
	t.Parallel()
	eachProtocol(t, func(t *testing.T, newServer func(http.Handler) *memhttp.Server) {
		s := newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RemoteAddr) }))
		defer s.Close()
		resp, err := s.Client().Get(s.URL)
		check(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		check(t, err)
		equal(t, string(body), "192.0.2.2:49152")
	})
}

func TestServerWorksOutsideOfABubble(t *testing.T) {
	t.Parallel()
	for _, newServer := range []func(http.Handler) *memhttp.Server{memhttp.New, memhttp.NewHTTP2} {
		s := newServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
		resp, err := s.Client().Get(s.URL)
		check(t, err)
		body, err := io.ReadAll(resp.Body)
		check(t, err)
		check(t, resp.Body.Close())
		equal(t, string(body), "ok")
		s.Close()
		s.Close()
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t *testing.T, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}
