// Command docsapi is a small API that follows the whole specification. Start it, call it with curl,
// and copy from it. README.md shows a tour:
//
//	go run .                            # listens on localhost:8080, keeps its state in docsapi.db
//	go run -C examples/docsapi .        # the same, at the root of the repository
//	go run . -h                         # lists the flags
//
// The files:
//
//	main.go       the flags, and the server that drains when it is told to stop
//	service.go    the Stack around the routes
//	auth.go       API keys and their scopes
//	resources.go  the handlers
//	store.go      the resources in SQLite or PostgreSQL
//	faults.go     errors on demand, for whoever writes a client
//
// Package client is a Go client of the API.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// config holds the flags.
type config struct {
	addr            string
	db              string
	postgres, redis string
	rate            int
	timeout, lease  time.Duration
	notice, drain   time.Duration
	strict, faults  bool
}

// keysInRedis reports whether idempotency keys are in Redis. With PostgreSQL they are not, because
// there they are in the same transaction as the resources.
func (c config) keysInRedis() bool { return c.redis != "" && c.postgres == "" }

func main() {
	log.SetFlags(0)
	log.SetPrefix("docsapi: ")
	var c config
	flag.StringVar(&c.addr, "addr", "localhost:8080", "listen on this `address`")
	flag.StringVar(&c.db, "db", "docsapi.db", "keep resources and idempotency keys in this SQLite `file`")
	flag.StringVar(&c.postgres, "postgres", "", "keep resources and idempotency keys in PostgreSQL, at this `URL`")
	flag.StringVar(&c.redis, "redis", "", "keep rate limits in Redis, at this `URL`, and without -postgres also idempotency keys")
	flag.IntVar(&c.rate, "rate", 100, "allow each API key this many requests per second")
	flag.DurationVar(&c.timeout, "timeout", 10*time.Second, "give each request this much time")
	flag.DurationVar(&c.notice, "notice", 0, "after SIGTERM, go on for this long while /healthz answers 503, so that load balancers notice")
	flag.DurationVar(&c.drain, "drain", 15*time.Second, "then refuse new requests, and let the others go on for this long")
	flag.DurationVar(&c.lease, "lease", 30*time.Second, "with -redis and without -postgres, block a killed process's idempotency keys for this long")
	flag.BoolVar(&c.strict, "strict", false, "send only the statuses and codes of the specification")
	flag.BoolVar(&c.faults, "faults", false, "serve GET /v1/fault/{kind}, which fails as you like")
	flag.Parse()
	if flag.NArg() > 0 || c.rate <= 0 || c.timeout <= 0 || c.notice < 0 || c.drain <= 0 || c.lease <= 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process immediately
	err := run(ctx, c, os.Stdout, slog.New(slog.NewJSONHandler(os.Stderr, nil)))
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

// run serves the API until ctx is done. It writes the address to out.
func run(ctx context.Context, c config, out io.Writer, logger *slog.Logger) error {
	listener, err := net.Listen("tcp", c.addr)
	if err != nil {
		return err
	}
	s, err := openService(ctx, c, urlOf(c.addr, listener.Addr()), logger)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	fmt.Fprintf(out, "listening on %s\n", s.url)
	err = serve(ctx, listener, s)
	return errors.Join(err, s.close()) // after the last request
}

// urlOf returns the URL of a service: the host is that of the flag, and the port the real one.
func urlOf(flag string, addr net.Addr) string {
	host, _, err := net.SplitHostPort(flag)
	if err != nil || host == "" {
		host = "localhost"
	}
	_, port, _ := net.SplitHostPort(addr.String())
	return "http://" + net.JoinHostPort(host, port)
}

// serve answers requests until ctx is done. Then it gives notice, refuses new connections, and
// finishes the requests that are in flight.
func serve(ctx context.Context, l net.Listener, s *service) error {
	// A request with a key goes on when its client leaves. This context ends those that are still
	// running after the drain.
	base, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	server := &http.Server{
		Handler:           s.handler(),
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      s.config.timeout + 10*time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	s.draining.Store(true)
	server.SetKeepAlivesEnabled(false) // the next requests of the same clients go elsewhere
	select {
	case err := <-failed:
		return err
	case <-time.After(s.config.notice):
	}
	grace, stop := context.WithTimeout(base, s.config.drain)
	defer stop()
	if server.Shutdown(grace) == nil {
		return nil
	}
	s.logger.WarnContext(ctx, "requests are ended, because they outlive the drain")
	end(errors.New("the server shuts down")) // requests that still run get 503
	// A statement that waits for SQLite's lock does not notice the end, and takes up to 5 seconds.
	last, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer stop()
	return server.Shutdown(last) // fails if a handler ignores its context
}
