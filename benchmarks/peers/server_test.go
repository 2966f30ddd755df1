package peers_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"
)

// server serves a stack on loopback until its input ends. It prints its address and, for every line
// of input, the processor time that it has used, in nanoseconds.
func server(side string) {
	listener := must((&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0"))
	for _, s := range stacks {
		if s.name == side {
			service := s.service(route{list, 1e9, discardHandler{}})
			srv := &http.Server{Handler: service, ReadHeaderTimeout: time.Minute}
			go srv.Serve(listener)
		}
	}
	fmt.Println(listener.Addr())
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Println(processorTime())
	}
}

// BenchmarkServer reports the processor time that a GET takes in a server in another
// process, with 64 connections.
func BenchmarkServer(b *testing.B) {
	for _, s := range stacks {
		b.Run(s.name, func(b *testing.B) { measureServer(b, s.name) })
	}
}

func measureServer(b *testing.B, side string) {
	cmd := child(b, "server", side)
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
	send := func(n int) {
		if err := load(b.Context(), addr, n); err != nil {
			b.Fatal(err)
		}
	}
	send(2000) // warms the caches and the server's heap
	before := used()
	b.ResetTimer()
	send(b.N)
	b.StopTimer()
	b.ReportMetric(float64(used()-before)/float64(b.N), "server-ns/op")
}

// load sends n requests over 64 connections.
func load(ctx context.Context, addr string, n int) error {
	const connections = 64
	get := "GET /v1/resources HTTP/1.1\r\nHost: " + addr + "\r\nX-Api-Key: " + key + "\r\n\r\n"
	errs := make([]error, connections)
	var wg sync.WaitGroup
	for i := range connections {
		wg.Go(func() { errs[i] = ask(ctx, addr, get, (n+i)/connections) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func ask(ctx context.Context, addr, get string, n int) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	for range n {
		if _, err := io.WriteString(conn, get); err != nil {
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
