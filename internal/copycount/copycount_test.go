package copycount_test

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/seawall-go/seawall/internal/copycount"
	"github.com/seawall-go/seawall/internal/leakcheck"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

func TestListenerCountsCopiesButNotWrites(t *testing.T) {
	t.Parallel()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := copycount.New(tcp)
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()

	io.WriteString(server, "written ")
	if got := l.Copied(); got != 0 {
		t.Errorf("%d bytes of a Write counted", got)
	}
	io.Copy(server, struct{ io.Reader }{strings.NewReader("copied")})
	if got := l.Copied(); got != int64(len("copied")) {
		t.Errorf("%d bytes counted", got)
	}
	server.Close()
	if got, err := io.ReadAll(client); err != nil || string(got) != "written copied" {
		t.Errorf("%q, %v", got, err)
	}
}
