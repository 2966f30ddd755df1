package memhttp_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seawall-go/seawall/internal/memhttp"
)

// pair returns the two ends of a connection.
func pair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	hijacked := make(chan net.Conn, 1)
	s := memhttp.New(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		hijacked <- c
	}))
	t.Cleanup(s.Close)
	client, err := s.Dial(t.Context())
	check(t, err)
	_, err = io.WriteString(client, "GET / HTTP/1.1\r\nHost: api.example\r\n\r\n")
	check(t, err)
	return client, <-hijacked
}

func TestBytesWrittenBeforeCloseAreDelivered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, server := pair(t)
		_, err := io.WriteString(server, "goodbye")
		check(t, err)
		check(t, server.Close())
		got, err := io.ReadAll(client)
		check(t, err)
		equal(t, string(got), "goodbye")
		_, err = io.WriteString(client, "are you there?")
		equal(t, errors.Is(err, syscall.EPIPE), true)
		_, err = server.Read(make([]byte, 1))
		equal(t, errors.Is(err, net.ErrClosed), true)
		_, err = server.Write(make([]byte, 1))
		equal(t, errors.Is(err, net.ErrClosed), true)
	})
}

func TestCloseWriteLeavesTheOtherDirectionOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, server := pair(t)
		check(t, client.(interface{ CloseWrite() error }).CloseWrite())
		_, err := server.Read(make([]byte, 1))
		equal(t, err, io.EOF)
		_, err = io.WriteString(server, "still here")
		check(t, err)
		check(t, server.Close())
		got, err := io.ReadAll(client)
		check(t, err)
		equal(t, string(got), "still here")
	})
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	past, soon := -time.Second, time.Minute
	read := func(c net.Conn) error { _, err := c.Read(make([]byte, 1)); return err }
	write := func(c net.Conn) error { _, err := c.Write(make([]byte, 1<<20)); return err }
	for name, row := range map[string]struct {
		op     func(net.Conn) error
		set    func(net.Conn, time.Time) error
		in     time.Duration
		lasted time.Duration
	}{
		"read, soon":  {read, net.Conn.SetReadDeadline, soon, soon},
		"read, past":  {read, net.Conn.SetReadDeadline, past, 0},
		"read, both":  {read, net.Conn.SetDeadline, soon, soon},
		"write, soon": {write, net.Conn.SetWriteDeadline, soon, soon},
		"write, past": {write, net.Conn.SetWriteDeadline, past, 0},
		"write, both": {write, net.Conn.SetDeadline, soon, soon},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				client, _ := pair(t)
				began := time.Now()
				check(t, row.set(client, began.Add(row.in)))
				err := row.op(client)
				equal(t, errors.Is(err, os.ErrDeadlineExceeded), true)
				var timeout net.Error
				equal(t, errors.As(err, &timeout) && timeout.Timeout(), true)
				equal(t, time.Since(began), row.lasted)
			})
		})
	}
}

func TestADeadlineCanMoveDuringARead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, server := pair(t)
		began := time.Now()
		check(t, client.SetReadDeadline(began.Add(time.Minute)))
		ended := make(chan error)
		go func() {
			_, err := client.Read(make([]byte, 1))
			ended <- err
		}()
		time.Sleep(time.Second)
		check(t, client.SetReadDeadline(began.Add(time.Hour)))
		equal(t, errors.Is(<-ended, os.ErrDeadlineExceeded), true)
		equal(t, time.Since(began), time.Hour)

		check(t, client.SetReadDeadline(time.Time{}))
		_, err := io.WriteString(server, "x")
		check(t, err)
		_, err = client.Read(make([]byte, 1))
		check(t, err)
	})
}

func TestConcurrentWritesAreNotMixed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const writers, size = 4, 200_000
		client, server := pair(t)
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				if _, err := client.Write(bytes.Repeat([]byte{byte(i)}, size)); err != nil {
					t.Error(err)
				}
			})
		}
		for range writers {
			block := make([]byte, size)
			_, err := io.ReadFull(server, block)
			check(t, err)
			equal(t, bytes.Count(block, block[:1]), size)
		}
		wg.Wait()
	})
}
