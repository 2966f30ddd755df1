package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/retry"
)

// session runs service and client on a loopback port, step by step: each says what is done and
// what came of it, and checks that. It returns an error for the first step that was not as told.
func session(ctx context.Context, out io.Writer) error {
	s, err := start(out)
	if err != nil {
		return err
	}
	defer s.stop()
	steps := []struct {
		title string
		run   func(context.Context)
	}{
		{"A required parameter is missing", s.errorObject},
		{"Every refusal has the same form", s.refusals},
		{"More than 100 requests a second", s.burst},
		{"The reply to a write is cut off on the wire", s.cutReply},
		{"The same Idempotency-Key with another body", s.conflict},
		{"A charge fails half-way, after its point of no return", s.halfDone},
		{"An upstream that flaps, and one that is dead", s.upstreams},
		{"A handler panics", s.panics},
	}
	for i, step := range steps {
		s.say("\n%d. %s\n", i+1, step.title)
		step.run(ctx)
		if s.failed != nil {
			return fmt.Errorf("step %d, %q: %w", i+1, step.title, s.failed)
		}
	}
	s.say("\nAll %d steps went as told.\n", len(steps))
	return nil
}

// stage is where a session takes place.
type stage struct {
	out    io.Writer
	failed error // the first check that did not hold

	service  *service
	server   *http.Server
	listener *cuttingListener
	url      string
	logs     *logBuffer
	logger   *slog.Logger
	client   *client

	charges    atomic.Int64 // what reached the payment provider
	chargeFail atomic.Bool
}

const (
	keyOfAlice = "sk_alice" // everyday use
	keyOfBob   = "sk_bob"   // the burst
)

func start(out io.Writer) (*stage, error) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &stage{out: out, logs: new(logBuffer), listener: &cuttingListener{Listener: inner}}
	s.logger = slog.New(slog.NewJSONHandler(s.logs, nil))
	s.url = "http://" + inner.Addr().String()
	s.client = newClient(s.url, keyOfAlice, s.logger)
	s.service = &service{
		accounts: map[string]string{"Bearer " + keyOfAlice: "acct_alice", "Bearer " + keyOfBob: "acct_bob"},
		charge: func(context.Context, int) error {
			s.charges.Add(1)
			if s.chargeFail.Load() {
				return errors.New("payment provider at 10.0.0.7: connection reset")
			}
			return nil
		},
	}
	mux := s.service.routes()
	mux.HandleFunc("GET /v1/broken", func(http.ResponseWriter, *http.Request) { panic("password=hunter2 leaked by a bug") })
	s.server = &http.Server{Handler: s.service.handler(mux, s.logger), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = s.server.Serve(s.listener) }() // ends with stop
	return s, nil
}

func (s *stage) stop() {
	s.client.http.CloseIdleConnections()
	_ = s.server.Close()
}

func (s *stage) say(format string, args ...any) { fmt.Fprintf(s.out, format, args...) }

// check notes a step's first check that does not hold.
func (s *stage) check(ok bool, format string, args ...any) {
	if !ok && s.failed == nil {
		s.failed = fmt.Errorf("not as told: "+format, args...)
	}
}

func (s *stage) errorObject(ctx context.Context) {
	status, header, body := s.raw(ctx, http.MethodPost, "/v1/resources", keyOfAlice, `{"name":""}`)
	s.say("   POST /v1/resources {\"name\":\"\"}\n   %d %s\n", status, body)
	var object struct {
		Error map[string]string `json:"error"`
	}
	s.check(json.Unmarshal([]byte(body), &object) == nil, "the body is no error object")
	s.check(status == 400 && object.Error["type"] == "invalid_request_error" && object.Error["code"] == "parameter_missing" &&
		object.Error["param"] == "name", "the error is not the specification's")
	s.check(object.Error["request_id"] == header.Get("Request-Id"), "body and header differ in the request id")

	_, err := s.client.call(ctx, http.MethodPost, "/v1/resources", resource{}, &resource{})
	e, typed := errors.AsType[*apierror.Error](err)
	s.check(typed && errors.Is(err, apierror.CodeParameterMissing) && errors.Is(err, apierror.TypeInvalidRequest), "the client's error is %v", err)
	if typed {
		s.say("   The Go client, calling again, catches it by code (%s) and by type (%s),\n   and has param %q, and the request id for support: %s.\n",
			e.Code(), e.Type(), e.Param(), e.RequestID())
	}
}

func (s *stage) refusals(ctx context.Context) {
	const big = 1 << 20
	for _, c := range []struct {
		method, path, key, body string
		status                  int
		code                    apierror.Code
	}{
		{"GET", "/v1/resources/res_1", "", "", 401, apierror.CodeAuthenticationFailed},
		{"DELETE", "/v1/resources/res_1", keyOfAlice, "", 403, apierror.CodePermissionDenied},
		{"GET", "/v1/resources/res_1", keyOfAlice, "", 404, apierror.CodeResourceMissing},
		{"GET", "/v2/resources", keyOfAlice, "", 404, apierror.CodeResourceMissing},
		{"PUT", "/v1/resources", keyOfAlice, `{"name":"a"}`, 405, apierror.CodeMethodNotAllowed},
		{"POST", "/v1/resources", keyOfAlice, `{"name":`, 400, apierror.CodeParameterInvalid},
		{"POST", "/v1/resources", keyOfAlice, `{"name":7}`, 400, apierror.CodeParameterInvalid},
		{"POST", "/v1/resources", keyOfAlice, `{"name":"` + strings.Repeat("a", big) + `"}`, 413, apierror.CodeRequestTooLarge},
	} {
		status, _, body := s.raw(ctx, c.method, c.path, c.key, c.body)
		var object struct {
			Error struct{ Code, Message string }
		}
		_ = json.Unmarshal([]byte(body), &object) // an empty code fails the check
		s.say("   %-6s %-19s %-12s %d %s: %s\n", c.method, c.path, abridged(c.body), status, object.Error.Code, object.Error.Message)
		s.check(status == c.status && object.Error.Code == string(c.code), "%s %s was answered with %d %s", c.method, c.path, status, body)
	}
}

func (s *stage) burst(ctx context.Context) {
	// Sixteen callers share one API key and none of them waits.
	hurry, stop := context.WithCancel(ctx)
	var callers sync.WaitGroup
	var admitted, denied atomic.Int64
	refusal := make(chan string, 1)
	met := make(chan struct{}) // closed at the first denial
	var once sync.Once
	started := time.Now()
	for range 16 {
		callers.Go(func() {
			for hurry.Err() == nil {
				status, header, body := s.raw(hurry, http.MethodGet, "/v1/resources/res_1", keyOfBob, "")
				switch status {
				case http.StatusNotFound:
					admitted.Add(1)
				case http.StatusTooManyRequests:
					denied.Add(1)
					once.Do(func() { close(met) })
					select {
					case refusal <- fmt.Sprintf("429, Retry-After: %s, RateLimit-Policy: %s, RateLimit: %s\n   %s",
						header.Get("Retry-After"), header.Get("RateLimit-Policy"), header.Get("RateLimit"), body):
					default:
					}
				}
			}
		})
	}
	// A well-behaved client meets the empty bucket, waits as long as it is told, and gets through.
	patient := newClient(s.url, keyOfBob, s.logger)
	defer patient.http.CloseIdleConnections()
	go func() {
		defer stop()
		late := time.After(10 * time.Second)
		time.Sleep(500 * time.Millisecond)
		select { // a slow machine needs longer to use up the burst
		case <-met:
		case <-late:
		case <-ctx.Done():
		}
	}()
	var attempts []retry.Attempt
	for len(attempts) < 2 && ctx.Err() == nil {
		callCtx, report := retry.WithReport(ctx)
		_, err := patient.call(callCtx, http.MethodGet, "/v1/resources/res_1", nil, &resource{})
		attempts = report.Attempts()
		s.check(errors.Is(err, apierror.CodeResourceMissing), "the patient client got %v", err)
		if s.failed != nil || hurry.Err() != nil && len(attempts) < 2 {
			break
		}
	}
	stop()
	callers.Wait()
	took := time.Since(started).Round(100 * time.Millisecond)
	s.check(denied.Load() > 0 && admitted.Load() >= 50, "%d were admitted and %d denied", admitted.Load(), denied.Load())
	s.check(len(attempts) == 2, "the patient client needed %d attempts", len(attempts))
	if s.failed != nil {
		return
	}
	first := <-refusal
	s.say("   In %v %d requests of one key were admitted (a burst of 100, then 100 a second), %d denied:\n   %s\n",
		took, admitted.Load(), denied.Load(), first)
	s.say("   The retrying client was denied, waited %v, as Retry-After asked, and got through.\n", attempts[0].Delay.Round(time.Millisecond))
	s.check(attempts[0].Status == http.StatusTooManyRequests && attempts[0].RetryAfter > 0 && attempts[0].Delay >= time.Second,
		"the client waited %v after a %d that asked for %v", attempts[0].Delay, attempts[0].Status, attempts[0].RetryAfter)
	s.check(strings.Contains(first, `RateLimit-Policy: "default";q=100;w=1`) && strings.Contains(first, `RateLimit: "default";r=0;t=1`), "the fields are wrong: %s", first)
}

func (s *stage) cutReply(ctx context.Context) {
	s.listener.cutNext.Store(true)
	ctx, report := retry.WithReport(ctx)
	var made resource
	header, err := s.client.call(ctx, http.MethodPost, "/v1/resources", resource{Name: "paid once"}, &made)
	s.check(err == nil, "the write failed: %v", err)
	attempts, resources := report.Attempts(), 0
	s.service.resources.Range(func(any, any) bool { resources++; return true })
	s.check(len(attempts) == 2 && resources == 1, "%d attempts made %d resources", len(attempts), resources)
	s.check(header.Get("Idempotent-Replayed") == "true" && header.Get("Original-Request") != "", "the answer is not marked as a replay")
	if s.failed != nil {
		return
	}
	s.say("   Attempt 1: the service made the resource, and its reply broke off: %v\n", attempts[0].Err)
	s.say("   Attempt 2, with the same key %s: 201 %s\n", report.IdempotencyKey(), made.ID)
	s.say("   Idempotent-Replayed: true, Original-Request: %s. Resources made: %d.\n", header.Get("Original-Request"), resources)
}

func (s *stage) conflict(ctx context.Context) {
	ctx = retry.WithIdempotencyKey(ctx, "order-1234")
	_, err := s.client.call(ctx, http.MethodPost, "/v1/resources", resource{Name: "first"}, &resource{})
	s.check(err == nil, "the first write failed: %v", err)
	ctx, report := retry.WithReport(ctx)
	_, err = s.client.call(ctx, http.MethodPost, "/v1/resources", resource{Name: "second"}, &resource{})
	s.check(errors.Is(err, apierror.CodeIdempotencyConflict), "the second write got %v", err)
	s.check(len(report.Attempts()) == 1, "the conflict was tried %d times", len(report.Attempts()))
	s.say("   order-1234 {\"name\":\"first\"}: 201\n   order-1234 {\"name\":\"second\"}: %v\n", err)
	s.say("   It was not retried: the result would be the same.\n")
}

func (s *stage) halfDone(ctx context.Context) {
	s.chargeFail.Store(true)
	defer s.chargeFail.Store(false)
	ctx, report := retry.WithReport(ctx)
	_, err := s.client.call(ctx, http.MethodPost, "/v1/charges", map[string]int{"cents": 1999}, &struct{}{})
	attempts := report.Attempts()
	s.check(errors.Is(err, apierror.CodeIdempotencyOutcomeUnknown), "the client got %v", err)
	s.check(len(attempts) == 2 && attempts[0].Status == 500, "there were %d attempts", len(attempts))
	s.check(s.charges.Load() == 1, "the card was charged %d times", s.charges.Load())
	if s.failed != nil {
		return
	}
	s.say("   Attempt 1: %v\n   The client repeats it by itself, with the same key %s:\n   Attempt 2: %v\n", attempts[0].Err, report.IdempotencyKey(), attempts[1].Err)
	s.say("   The provider was called once. Without BeginEffect the second attempt would have charged again.\n")
}

func (s *stage) upstreams(ctx context.Context) {
	var requests atomic.Int64
	flapping, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.check(false, "%v", err)
		return
	}
	upstream := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1) < 3 {
			http.Error(w, "try again", http.StatusBadGateway)
			return
		}
		_ = writeJSON(w, http.StatusOK, resource{ID: "res_up"})
	})}
	go func() { _ = upstream.Serve(flapping) }() // ends with Close
	c := newClient("http://"+flapping.Addr().String(), "", s.logger)
	defer c.http.CloseIdleConnections()
	ctx, report := retry.WithReport(ctx)
	_, err = c.call(ctx, http.MethodGet, "/", nil, &resource{})
	_ = upstream.Close()
	s.check(err == nil && len(report.Attempts()) == 3, "the flapping upstream: %d attempts, %v", len(report.Attempts()), err)
	s.say("   502, 502, 200: the caller of the flapping one sees a success.\n")

	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.check(false, "%v", err)
		return
	}
	_ = dead.Close() // whoever connects is refused
	c = newClient("http://"+dead.Addr().String(), "", s.logger)
	calls, sent := 0, 0
	var open *retry.CircuitOpenError
	for calls < 100 && !errors.As(err, &open) {
		_, err = c.call(ctx, http.MethodGet, "/", nil, &resource{})
		calls, sent = calls+1, sent+len(report.Attempts())
	}
	s.check(open != nil, "the breaker did not open in %d calls: %v", calls, err)
	s.say("   The dead one was asked %d times in all by %d calls (retries have a budget), then the breaker opened. From now on:\n   %v\n", sent, calls, open)
}

func (s *stage) panics(ctx context.Context) {
	status, header, body := s.raw(ctx, http.MethodGet, "/v1/broken", keyOfAlice, "")
	id := header.Get("Request-Id")
	line := s.logs.lineWith(id, "panic")
	s.say("   GET /v1/broken: %d %s\n", status, body)
	s.check(status == 500 && id != "" && !strings.Contains(body, "hunter2"), "the panic was answered with %d %s", status, body)
	s.check(strings.Contains(line, "hunter2") && strings.Contains(line, "session.go"), "the log has no panic of %s: %s", id, line)
	s.say("   The value and the stack are in the service's log, under that request id; the access log has:\n   %s\n", s.logs.lineWith(id, `"msg":"request"`))
}

// raw is a client without any library. A status of 0 says that there was no answer.
func (s *stage) raw(ctx context.Context, method, path, key, body string) (status int, header http.Header, text string) {
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err.Error()
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, err.Error()
	}
	return resp.StatusCode, resp.Header, strings.TrimSpace(string(b))
}

func abridged(body string) string {
	if len(body) > 12 {
		return body[:11] + "…"
	}
	return body
}

// cuttingListener accepts connections of which one can be made to break in the middle of its
// next reply.
type cuttingListener struct {
	net.Listener
	cutNext atomic.Bool
}

func (l *cuttingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return cuttingConn{conn, l}, err
}

type cuttingConn struct {
	net.Conn
	listener *cuttingListener
}

func (c cuttingConn) Write(p []byte) (int, error) {
	if !c.listener.cutNext.CompareAndSwap(true, false) {
		return c.Conn.Write(p)
	}
	_, _ = c.Conn.Write(p[:len(p)/2])
	_ = c.Conn.Close()
	return 0, net.ErrClosed
}

// logBuffer keeps what is logged.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// lineWith returns the first line that contains all of the words.
func (b *logBuffer) lineWith(words ...string) string {
	for line := range strings.Lines(b.String()) {
		found := true
		for _, w := range words {
			found = found && strings.Contains(line, w)
		}
		if found {
			return strings.TrimSpace(line)
		}
	}
	return ""
}
