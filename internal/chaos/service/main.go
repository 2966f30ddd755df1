package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/seawall-go/seawall/internal/chaos/history"
)

// Main runs the process whose [Config] is the JSON in args[0], until its standard input ends. It
// writes one line with its address to the standard output when it serves, and returns the exit
// status of the process.
func Main(args []string) int {
	err := run(args, os.Stdin, os.Stdout, slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		fmt.Fprintf(os.Stderr, "service: %v\n", err)
		return 1
	}
	return 0
}

func run(args []string, in io.Reader, out io.Writer, logger *slog.Logger) error {
	var c Config
	if len(args) != 1 {
		return errors.New("the only argument must be a Config")
	}
	if err := json.Unmarshal([]byte(args[0]), &c); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, in) // whatever the error is, the parent has gone
		cancel()
	}()
	handler, stop, err := Open(ctx, c, logger)
	if err != nil {
		return err
	}
	defer stop()
	listener, err := listen(ctx, c.Addr)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	context.AfterFunc(ctx, func() { _ = server.Close() }) // the process ends with its listener
	if _, err := fmt.Fprintln(out, listener.Addr()); err != nil {
		return err
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// listen waits until the port is free: a process that was killed can have it for a moment.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	for {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
		if !errors.Is(err, syscall.EADDRINUSE) {
			return l, err
		}
		if !history.Sleep(ctx, 10*time.Millisecond) {
			return nil, err
		}
	}
}

// Open returns the handler of a process, and a function that closes what the process uses. Main
// serves it.
func Open(ctx context.Context, c Config, logger *slog.Logger) (http.Handler, func(), error) {
	w, err := history.Create(filepath.Join(c.Dir, c.Name+".jsonl"))
	if err != nil {
		return nil, nil, err
	}
	switch c.Role {
	case "provider":
		return newProvider(w), func() { _ = w.Close() }, nil
	case "server":
		s, err := openServer(ctx, c, w, logger)
		if err != nil {
			return nil, nil, errors.Join(err, w.Close())
		}
		ctx, cancel := context.WithCancel(ctx)
		var stalls sync.WaitGroup
		stalls.Go(func() { history.WatchStalls(ctx, c.Name, w.Write) })
		return s.handler(), func() {
			cancel()
			stalls.Wait()
			s.close()
			_ = w.Close()
		}, nil
	default:
		return nil, nil, errors.Join(fmt.Errorf("unknown role %q", c.Role), w.Close())
	}
}
