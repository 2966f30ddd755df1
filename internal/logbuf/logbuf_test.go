package logbuf_test

import (
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/seawall-go/seawall/internal/logbuf"
)

func TestBufferKeepsConcurrentWritesWhole(t *testing.T) {
	t.Parallel()
	var b logbuf.Buffer
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { io.WriteString(&b, "line\n") })
	}
	wg.Wait()
	if got, want := b.String(), strings.Repeat("line\n", 8); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTakeEmptiesTheBuffer(t *testing.T) {
	t.Parallel()
	var b logbuf.Buffer
	io.WriteString(&b, "first")
	if got := b.Take(); got != "first" {
		t.Errorf("got %q", got)
	}
	io.WriteString(&b, "second")
	if got := b.String(); got != "second" {
		t.Errorf("got %q", got)
	}
}
