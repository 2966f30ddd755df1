package seawall_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
)

var errShutdown = errors.New("the server shuts down")

// drainer is a server that ends in steps. Nothing is lost that fits into the times.
type drainer struct {
	notice time.Duration // until the load balancer has seen that the health check fails
	grace  time.Duration // for requests that are in flight: more than Stack.Timeout

	draining atomic.Bool
}

// health answers the health check. In a Stack, exempt its path with Skip.
func (d *drainer) health(http.ResponseWriter, *http.Request) error {
	if d.draining.Load() {
		return apierror.ServiceUnavailable(time.Second)
	}
	return nil
}

// serve answers requests until ctx is done, for example because of a signal. It then returns when
// all handlers have returned, or five seconds after it has ended their contexts.
func (d *drainer) serve(ctx context.Context, l net.Listener, h http.Handler) error {
	base, cancel := context.WithCancelCause(context.WithoutCancel(ctx)) // the signal must not end requests
	defer cancel(errShutdown)
	server := &http.Server{
		Handler:           h,
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: 5 * time.Second,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	d.draining.Store(true)
	time.Sleep(d.notice) // new requests still come, and are answered
	grace, stop := context.WithTimeout(base, d.grace)
	defer stop()
	if err := server.Shutdown(grace); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	cancel(errShutdown) // what still runs is answered 503; with a key, a retry elsewhere runs again
	last, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	return server.Shutdown(last)
}

// sweep removes old records until ctx is done.
func sweep(ctx context.Context, store idempotent.Sweeper) {
	ticker := time.NewTicker(time.Minute)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if _, err := store.Sweep(ctx, 0); err != nil {
				slog.ErrorContext(ctx, "sweep", "error", err)
			}
		}
	}
}

// run closes in the right order: first the server, then what its handlers use.
func (d *drainer) run(ctx context.Context, l net.Listener, h http.Handler, db *database) error {
	defer db.Close()
	sweeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	var sweeper sync.WaitGroup
	sweeper.Go(func() { sweep(sweeping, db) })
	defer sweeper.Wait()
	defer stop()
	return d.serve(ctx, l, h)
}

// database stands for a pool of connections and the store of idempotency keys that uses it.
type database struct {
	idempotent.Store
	closed atomic.Bool
}

func (db *database) Close() { db.closed.Store(true) }

func (db *database) Sweep(context.Context, int) (int, error) { return 0, nil }

// A signal ends the process while a write is running. The write is finished and answered.
func Example_shutdown() {
	db := &database{Store: idempotent.NewMemory(nil)}
	running, finish := make(chan struct{}), make(chan struct{})
	d := &drainer{notice: 10 * time.Millisecond, grace: time.Minute}
	mux := http.NewServeMux()
	mux.Handle("GET /healthz", apierror.HandlerFunc(d.health))
	mux.HandleFunc("POST /orders", func(w http.ResponseWriter, _ *http.Request) {
		close(running)
		<-finish
		fmt.Println("the write ends; the database is closed:", db.closed.Load())
		w.WriteHeader(http.StatusCreated)
	})
	stack := &seawall.Stack{
		Logger:      slog.New(slog.DiscardHandler),
		Idempotency: idempotent.New(db, idempotent.Global, nil),
		Skip:        func(r *http.Request) bool { return r.URL.Path == "/healthz" },
	}
	h := stack.Handler(mux)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}

	ctx, signal := context.WithCancel(context.Background()) // your main uses signal.NotifyContext
	ended := make(chan error)
	go func() { ended <- d.run(ctx, l, h, db) }()
	answer := make(chan int)
	go func() { answer <- postOrder("http://" + l.Addr().String() + "/orders") }()
	<-running
	signal()
	for healthOf(h) != http.StatusServiceUnavailable {
		time.Sleep(time.Millisecond)
	}
	fmt.Println("the health check fails")
	close(finish)
	fmt.Println("the client gets", <-answer)
	fmt.Println("the server has ended:", <-ended, "- the database is closed:", db.closed.Load())
	// Output:
	// the health check fails
	// the write ends; the database is closed: false
	// the client gets 201
	// the server has ended: <nil> - the database is closed: true
}

// postOrder sends a write with a key. It returns the status of the answer, or 0 if there is none.
func postOrder(url string) int {
	req, err := http.NewRequest(http.MethodPost, url, nil)
	if err != nil {
		return 0
	}
	req.Header.Set("Idempotency-Key", "order-7")
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func healthOf(h http.Handler) int {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", nil))
	return w.Code
}

// The context of the signal is not the one of the requests.
func TestSignalDoesNotEndRequests(t *testing.T) {
	t.Parallel()
	d := &drainer{grace: time.Minute}
	running, finish := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(running)
		select {
		case <-finish:
		case <-r.Context().Done():
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, signal := context.WithCancelCause(t.Context())
	ended := make(chan error)
	go func() { ended <- d.serve(ctx, l, handler) }()
	answer := make(chan int)
	go func() { answer <- postOrder("http://" + l.Addr().String() + "/orders") }()
	<-running

	signal(errors.New("terminated"))
	for !d.draining.Load() {
		runtime.Gosched()
	}
	require.Error(t, d.health(nil, nil))
	close(finish)

	require.Equal(t, http.StatusOK, <-answer)
	require.NoError(t, <-ended)
}

// A write that takes longer than the grace is answered 503, and its key is free for a retry.
func TestShutdownEndsRequestsThatOutlastTheGrace(t *testing.T) {
	t.Parallel()
	memory := idempotent.NewMemory(nil)
	running := make(chan struct{})
	cause := make(chan error, 1)
	d := &drainer{grace: 20 * time.Millisecond}
	handler := apierror.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) error {
		close(running)
		<-r.Context().Done()
		cause <- context.Cause(r.Context())
		return r.Context().Err()
	})
	stack := &seawall.Stack{
		Logger: slog.New(slog.DiscardHandler),
		Idempotency: idempotent.New(memory, idempotent.Global,
			&idempotent.Options{Logger: slog.New(slog.DiscardHandler)}),
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, signal := context.WithCancel(t.Context())
	defer signal()
	ended := make(chan error)
	go func() { ended <- d.serve(ctx, l, stack.Handler(handler)) }()
	answer := make(chan int)
	go func() { answer <- postOrder("http://" + l.Addr().String() + "/orders") }()
	<-running

	signal()

	require.Equal(t, http.StatusServiceUnavailable, <-answer)
	require.ErrorIs(t, <-cause, errShutdown)
	require.NoError(t, <-ended)

	retried := false
	stack = &seawall.Stack{Logger: slog.New(slog.DiscardHandler), Idempotency: idempotent.New(memory, idempotent.Global, nil)}
	elsewhere := stack.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { retried = true }))
	r := httptest.NewRequest(http.MethodPost, "/orders", nil)
	r.Header.Set("Idempotency-Key", "order-7")
	elsewhere.ServeHTTP(httptest.NewRecorder(), r)
	require.True(t, retried)
}
