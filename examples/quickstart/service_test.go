package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/leakcheck"
	"github.com/seawall-go/seawall/internal/memhttp"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// newServer runs the service of main.go in memory.
func newServer(t *testing.T) (*memhttp.Server, *service, *logBuffer) {
	t.Helper()
	logs := new(logBuffer)
	s := &service{
		accounts: map[string]string{"Bearer " + keyOfAlice: "acct_alice"},
		charge:   func(context.Context, int) error { return nil },
	}
	server := memhttp.New(s.handler(slog.New(slog.NewJSONHandler(logs, nil))))
	return server, s, logs
}

// Every request that net/http accepts is answered with an error object and never with a panic.
func TestBadRequestsGetAnErrorObject(t *testing.T) {
	t.Parallel()
	const auth = "Authorization: Bearer " + keyOfAlice + "\r\n"
	post := func(headers, body string) string {
		return "POST /v1/resources HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n" + headers +
			"Content-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
	}
	long := strings.Repeat("k", 300)
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"not JSON":                                 {post(auth, "\xff\xfe\x00"), 400},
		"deep JSON":                                {post(auth, strings.Repeat("[", 100_000)), 400},
		"JSON cut short by its length":             {post(auth, `{"name":"a`), 400},
		"a number for a string":                    {post(auth, `{"name":1e999}`), 400},
		"no body":                                  {post(auth, ""), 400},
		"a form":                                   {strings.Replace(post(auth, "name=a"), "application/json", "application/x-www-form-urlencoded", 1), 415},
		"a malformed media type":                   {strings.Replace(post(auth, "{}"), "application/json", `;;\"`, 1), 415},
		"a length over the limit":                  {"POST /v1/resources HTTP/1.1\r\nHost: a\r\n" + auth + "Content-Length: 9999999999\r\n\r\n", 413},
		"no key":                                   {post("", "{}"), 401},
		"a key of another scheme":                  {post("Authorization: Negotiate \x80\x81\r\n", "{}"), 401},
		"a key in two lines":                       {post("Authorization: Bearer x\r\n"+auth, "{}"), 401},
		"an empty Idempotency-Key":                 {post(auth+"Idempotency-Key:\r\n", "{}"), 400},
		"a long Idempotency-Key":                   {post(auth+"Idempotency-Key: "+long+"\r\n", "{}"), 400},
		"two Idempotency-Keys":                     {post(auth+"Idempotency-Key: a\r\nIdempotency-Key: b\r\n", "{}"), 400},
		"an Idempotency-Key that is not UTF-8":     {post(auth+"Idempotency-Key: \x80\xff\r\n", "{}"), 400},
		"an unclosed Idempotency-Key":              {post(auth+"Idempotency-Key: \"a\r\n", "{}"), 400},
		"a hostile request id":                     {post(auth+"Request-Id: <script>\r\nX-Request-Id: "+long+"\r\n", "{}"), 400},
		"an upgrade":                               {post(auth+"Connection: Upgrade\r\nUpgrade: websocket\r\n", "{}"), 400},
		"a strange Accept":                         {post(auth+"Accept: ;q=NaN,application/problem+json;q=\r\n", "{}"), 400},
		"an unknown method":                        {strings.Replace(post(auth, "{}"), "POST", "BREW", 1), 405},
		"an unknown path":                          {"GET /../..//%2e%2e/%00 HTTP/1.1\r\nHost: a\r\n" + auth + "\r\n", 307},
		"a path that is not UTF-8":                 {"GET /%ff%fe HTTP/1.1\r\nHost: a\r\n" + auth + "\r\n", 404},
		"a malformed chunk":                        {"POST /v1/resources HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n" + auth + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
		"an idempotent write in a malformed chunk": {"POST /v1/resources HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n" + auth + "Idempotency-Key: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, _, logs := newServer(t)
			conn, err := server.Dial(t.Context())
			require.NoError(t, err)
			go func() { _, _ = io.WriteString(conn, c.request) }()
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			require.NoError(t, err)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.NoError(t, conn.Close())
			server.Close()

			require.Equal(t, c.status, resp.StatusCode, "%s", body)
			if c.status >= 400 {
				var object struct{ Error map[string]string }
				require.NoError(t, json.Unmarshal(body, &object), "%s", body)
				require.NotEmpty(t, object.Error["type"])
				require.NotEmpty(t, object.Error["message"])
				require.Equal(t, resp.Header.Get("Request-Id"), object.Error["request_id"])
			}
			require.NotContains(t, server.Log()+logs.String(), "panic")
			require.NotContains(t, server.Log(), "superfluous")
			require.NotContains(t, logs.String(), keyOfAlice, "a log line holds an API key")
		})
	}
}

// A client that hangs up in its request or before the answer leaves nothing behind, and its retry
// does nothing twice.
func TestClientsMayHangUp(t *testing.T) {
	t.Parallel()
	const head = "POST /v1/charges HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nAuthorization: Bearer " + keyOfAlice + "\r\n" +
		"Idempotency-Key: once\r\n"
	synctest.Test(t, func(t *testing.T) {
		server, s, logs := newServer(t)
		var charged atomic.Int64
		running, finish := make(chan struct{}), make(chan struct{})
		s.charge = func(ctx context.Context, _ int) error {
			if charged.Add(1) == 1 {
				close(running)
				<-finish
			}
			return ctx.Err()
		}
		send := func(request string) io.Closer {
			conn, err := server.Dial(t.Context())
			require.NoError(t, err)
			_, err = io.WriteString(conn, request)
			require.NoError(t, err)
			return conn
		}

		// In the middle of the body: nothing runs.
		require.NoError(t, send(head+"Content-Length: 100\r\n\r\n{").Close())
		synctest.Wait()
		require.Zero(t, charged.Load())

		// While the handler runs: it finishes, and the retry gets its answer.
		conn := send(head + "Content-Length: 11\r\n\r\n{\"cents\":1}")
		<-running
		require.NoError(t, conn.Close())
		synctest.Wait()
		close(finish)
		req, err := http.NewRequest(http.MethodPost, server.URL+"/v1/charges", bytes.NewReader([]byte(`{"cents":1}`)))
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+keyOfAlice)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", "once")
		resp, err := server.Client().Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		require.Equal(t, http.StatusCreated, resp.StatusCode)
		require.Equal(t, "true", resp.Header.Get("Idempotent-Replayed"))
		require.Equal(t, int64(1), charged.Load())

		server.Close()
		require.NotContains(t, server.Log()+logs.String(), "panic")
	})
}

func TestServeFinishesRequestsInFlight(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	running, finish := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	served, statuses := make(chan error, 1), make(chan int, 1)
	go func() {
		served <- serve(ctx, listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(running)
			<-finish
			w.WriteHeader(http.StatusNoContent)
		}))
	}()
	go func() {
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get("http://" + listener.Addr().String())
		if err == nil {
			statuses <- resp.StatusCode
			_ = resp.Body.Close()
		}
		close(statuses)
	}()

	<-running
	cancel()
	close(finish)

	require.Equal(t, http.StatusNoContent, <-statuses)
	require.NoError(t, <-served)
}
