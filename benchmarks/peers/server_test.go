package peers_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/go-chi/httprate"

	"github.com/seawall-go/seawall"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/ratelimit"
)

// stacks are whole services with one route.
var stacks = []struct {
	name    string
	service func() http.Handler
}{
	{"seawall", fullStack},
	{"chi", func() http.Handler {
		r := chi.NewRouter()
		r.Use(middleware.RequestID, middleware.Recoverer)
		r.Use(httprate.LimitBy(1e9, time.Hour, func(r *http.Request) (string, error) { return r.Header.Get("X-Api-Key"), nil }))
		r.Get("/v1/resources", list)
		return r
	}},
	{"bare", func() http.Handler {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /v1/resources", list)
		return mux
	}},
}

// fullStack is a Stack of which nothing is left out.
func fullStack() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/resources", list)
	stack := &seawall.Stack{
		Logger:      slog.New(unread{}),
		Timeout:     10 * time.Second,
		MaxBody:     1 << 20,
		MaxInFlight: 1024,
		Authenticate: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(w, seawall.WithPrincipal(r, r.Header.Get("X-Api-Key")))
			})
		},
		RateLimit: ratelimit.New(ratelimit.NewMemory(nil), nil,
			ratelimit.Rule{Limit: ratelimit.Per(1e9, time.Hour), Key: ratelimit.ByPrincipal}),
		Idempotency: idempotent.New(idempotent.NewMemory(nil), idempotent.ByPrincipal, nil),
	}
	return stack.Handler(mux)
}

func list(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Write(kilobyte)
}

// unread is a slog.Handler that is given every record and throws it away.
type unread struct{}

func (unread) Enabled(context.Context, slog.Level) bool  { return true }
func (unread) Handle(context.Context, slog.Record) error { return nil }
func (u unread) WithAttrs([]slog.Attr) slog.Handler      { return u }
func (u unread) WithGroup(string) slog.Handler           { return u }

// server serves a stack on loopback until its input ends. It prints its address, and for every line of input the processor
// time that it has used so far, in nanoseconds.
func server(who string) {
	listener := must((&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0"))
	for _, s := range stacks {
		if s.name == who {
			srv := &http.Server{Handler: s.service(), ReadHeaderTimeout: time.Minute}
			go srv.Serve(listener)
		}
	}
	fmt.Println(listener.Addr())
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			panic(err)
		}
		fmt.Println(u.Utime.Nano() + u.Stime.Nano())
	}
}

// What a GET costs a server in another process, in processor time, when 64 connections ask.
func BenchmarkServer(b *testing.B) {
	for _, s := range stacks {
		b.Run(s.name, func(b *testing.B) { measureServer(b, s.name) })
	}
}

func measureServer(b *testing.B, who string) {
	cmd := child(b, "server", who)
	in, out := must(cmd.StdinPipe()), must(cmd.StdoutPipe())
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	answers := bufio.NewReader(out)
	var addr string
	if _, err := fmt.Fscanln(answers, &addr); err != nil {
		b.Fatal(err)
	}
	used := func() (ns int64) {
		fmt.Fprintln(in)
		if _, err := fmt.Fscanln(answers, &ns); err != nil {
			b.Fatal(err)
		}
		return ns
	}
	if err := load(b.Context(), addr, 2000); err != nil { // connections, caches, the server's heap
		b.Fatal(err)
	}
	before := used()
	b.ResetTimer()
	if err := load(b.Context(), addr, b.N); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	b.ReportMetric(float64(used()-before)/float64(b.N), "server-ns/op")
}

// load sends n requests over 64 connections.
func load(ctx context.Context, addr string, n int) error {
	const connections = 64
	request := "GET /v1/resources HTTP/1.1\r\nHost: " + addr + "\r\nX-Api-Key: " + key + "\r\nAccept: application/json\r\n\r\n"
	errs := make([]error, connections)
	var wg sync.WaitGroup
	for i := range connections {
		wg.Go(func() { errs[i] = ask(ctx, addr, request, (n+i)/connections) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func ask(ctx context.Context, addr, request string, n int) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	for range n {
		if _, err := io.WriteString(conn, request); err != nil {
			return err
		}
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return err
		}
		resp.Body.Close()
	}
	return nil
}
