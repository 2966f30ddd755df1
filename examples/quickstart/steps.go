package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/retry"
)

func (s *stage) errorObject(ctx context.Context) {
	status, header, body := s.raw(ctx, http.MethodPost, "/v1/resources", keyOfAlice, `{"name":""}`)
	var object struct {
		Error map[string]string `json:"error"`
	}
	s.check(json.Unmarshal([]byte(body), &object) == nil, "the body is not an error object")
	s.check(status == 400 && object.Error["type"] == "invalid_request_error" && object.Error["code"] == "parameter_missing" &&
		object.Error["param"] == "name", "the error is not the specification's")
	s.check(object.Error["request_id"] == header.Get("Request-Id"), "body and header differ in the request id")
	s.say("   POST /v1/resources {\"name\":\"\"}")
	s.say("   %d %s", status, http.StatusText(status))
	s.say("   %s", indented(body))

	_, err := s.client.call(ctx, http.MethodPost, "/v1/resources", resource{}, &resource{})
	e, ok := errors.AsType[*apierror.Error](err)
	s.check(ok && errors.Is(err, apierror.CodeParameterMissing) && errors.Is(err, apierror.TypeInvalidRequest),
		"the client's error is %v", err)
	if ok {
		s.say("")
		s.say("   The Go client gets an error that is apierror.CodeParameterMissing and")
		s.say("   apierror.TypeInvalidRequest. Its Param is %q, its RequestID %s.", e.Param(), e.RequestID())
	}
}

func (s *stage) failures(ctx context.Context) {
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
		{"POST", "/v1/resources", keyOfAlice, `{"name":"` + strings.Repeat("a", 1<<20) + `"}`, 413, apierror.CodeRequestTooLarge},
	} {
		status, _, body := s.raw(ctx, c.method, c.path, c.key, c.body)
		var object struct {
			Error struct{ Code, Message string }
		}
		_ = json.Unmarshal([]byte(body), &object) // an empty code fails the check
		request := c.method + " " + c.path
		switch {
		case c.key == "":
			request += " without a key"
		case c.body != "":
			request += " " + abridged(c.body)
		}
		s.say("   %s", request)
		s.say("      %d %s: %s", status, object.Error.Code, object.Error.Message)
		s.check(status == c.status && object.Error.Code == string(c.code), "%s %s was answered with %d %s", c.method, c.path, status, body)
	}
}

func (s *stage) burst(ctx context.Context) {
	started := time.Now()
	rushing, stop := context.WithCancel(ctx)
	defer stop()
	var callers sync.WaitGroup
	var admitted, denied atomic.Int64
	denials := make(chan string, 1)
	for range 16 {
		callers.Go(func() { s.rush(rushing, &admitted, &denied, denials) })
	}
	var denial string
	select {
	case denial = <-denials:
	case <-time.After(10 * time.Second):
	case <-ctx.Done():
	}

	// The retrying client is denied too. It gets through because the others have stopped by
	// the time it has waited as long as it was asked to.
	time.AfterFunc(500*time.Millisecond, stop)
	patient := newClient(s.url, keyOfBob, s.logger)
	defer patient.http.CloseIdleConnections()
	var attempts []retry.Attempt
	for len(attempts) < 2 && rushing.Err() == nil {
		callCtx, report := retry.WithReport(ctx)
		_, err := patient.call(callCtx, http.MethodGet, "/v1/resources/res_1", nil, &resource{})
		attempts = report.Attempts()
		s.check(errors.Is(err, apierror.CodeResourceMissing), "the retrying client got %v", err)
	}
	stop()
	callers.Wait()
	took := time.Since(started).Round(100 * time.Millisecond)
	s.check(denied.Load() > 0 && admitted.Load() >= 50, "%d were admitted and %d denied", admitted.Load(), denied.Load())
	s.check(len(attempts) == 2, "the retrying client made %d attempts", len(attempts))
	for _, field := range []string{`RateLimit-Policy: "default";q=100;w=1`, `RateLimit: "default";r=0;t=1`} {
		s.check(strings.Contains(denial, field), "the denial is %s", denial)
	}
	if s.failed != nil {
		return
	}
	s.check(attempts[0].Status == http.StatusTooManyRequests && attempts[0].Delay >= time.Second,
		"the client waited %v after a %d", attempts[0].Delay, attempts[0].Status)
	s.say("   In %v, %d requests from 16 callers are admitted (100, then 100 a second) and %d are denied:",
		took, admitted.Load(), denied.Load())
	s.say("%s", denial)
	s.say("")
	s.say("   The retrying client is denied, waits %v as the service asked, and gets through.",
		attempts[0].Delay.Round(time.Millisecond))
}

// rush sends one request after another until ctx is done, and reports the first denial.
func (s *stage) rush(ctx context.Context, admitted, denied *atomic.Int64, denials chan<- string) {
	for ctx.Err() == nil {
		status, header, body := s.raw(ctx, http.MethodGet, "/v1/resources/res_1", keyOfBob, "")
		switch status {
		case http.StatusNotFound:
			admitted.Add(1)
		case http.StatusTooManyRequests:
			denied.Add(1)
			var b strings.Builder
			fmt.Fprintf(&b, "   429 Too Many Requests\n")
			for _, key := range []string{"Retry-After", "RateLimit-Policy", "RateLimit"} {
				fmt.Fprintf(&b, "   %s: %s\n", key, header.Get(key))
			}
			b.WriteString("   " + indented(body))
			select {
			case denials <- b.String():
			default:
			}
		}
	}
}

func (s *stage) lostReply(ctx context.Context) {
	s.listener.breakNext.Store(true)
	ctx, report := retry.WithReport(ctx)
	var made resource
	header, err := s.client.call(ctx, http.MethodPost, "/v1/resources", resource{Name: "paid once"}, &made)
	s.check(err == nil, "the write failed: %v", err)
	attempts, resources := report.Attempts(), 0
	s.service.resources.Range(func(any, any) bool { resources++; return true })
	s.check(len(attempts) == 2 && resources == 1, "%d attempts created %d resources", len(attempts), resources)
	s.check(header.Get("Idempotent-Replayed") == "true" && header.Get("Original-Request") != "",
		"the answer is not marked as a replay")
	if s.failed != nil {
		return
	}
	s.say("   Attempt 1: the service creates the resource, and the connection breaks:")
	s.say("              %v", attempts[0].Err)
	s.say("   Attempt 2: 201 Created, %s", made.ID)
	s.say("              Idempotent-Replayed: true, Original-Request: %s", header.Get("Original-Request"))
	s.say("")
	s.say("   The client sent the same key twice: %s.", report.IdempotencyKey())
	s.say("   The service created %d resource.", resources)
}

func (s *stage) conflict(ctx context.Context) {
	ctx = retry.WithIdempotencyKey(ctx, "order-1234")
	_, err := s.client.call(ctx, http.MethodPost, "/v1/resources", resource{Name: "first"}, &resource{})
	s.check(err == nil, "the first write failed: %v", err)
	ctx, report := retry.WithReport(ctx)
	_, err = s.client.call(ctx, http.MethodPost, "/v1/resources", resource{Name: "second"}, &resource{})
	s.check(errors.Is(err, apierror.CodeIdempotencyConflict), "the second write got %v", err)
	s.check(len(report.Attempts()) == 1, "the conflict was tried %d times", len(report.Attempts()))
	s.say("   order-1234 {\"name\":\"first\"}    201 Created")
	s.say("   order-1234 {\"name\":\"second\"}   %s", brief(err))
	s.say("")
	s.say("   The client does not retry: the result would be the same.")
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
	s.say("   Attempt 1: %s", brief(attempts[0].Err))
	s.say("   Attempt 2: %s", brief(err))
	s.say("")
	s.say("   The provider was called once. Without BeginEffect, attempt 2 would have charged again.")
}

func (s *stage) upstreams(ctx context.Context) {
	var requests atomic.Int64
	address, stop := s.upstream(func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1) < 3 {
			http.Error(w, "try again", http.StatusBadGateway) //apierror:ignore this plays the upstream, which is another service
			return
		}
		_ = writeJSON(w, http.StatusOK, resource{ID: "res_up"})
	})
	c := newClient("http://"+address, "", s.logger)
	defer c.http.CloseIdleConnections()
	callCtx, report := retry.WithReport(ctx)
	_, err := c.call(callCtx, http.MethodGet, "/", nil, &resource{})
	stop()
	s.check(err == nil && len(report.Attempts()) == 3, "the upstream that recovers: %d attempts, %v", len(report.Attempts()), err)
	s.say("   The first answers 502, 502, 200. Its caller sees a success.")

	address, stop = s.upstream(nil)
	stop() // from now on, connections are refused
	c = newClient("http://"+address, "", s.logger)
	calls, sent := 0, 0
	var open *retry.CircuitOpenError
	for calls < 100 && !errors.As(err, &open) {
		callCtx, report := retry.WithReport(ctx)
		_, err = c.call(callCtx, http.MethodGet, "/", nil, &resource{})
		calls, sent = calls+1, sent+len(report.Attempts())
	}
	s.check(open != nil, "the circuit did not open in %d calls: %v", calls, err)
	s.say("   The second refuses connections. %d calls make %d attempts, as the retry budget allows,", calls, sent)
	s.say("   and the circuit opens:")
	s.say("   %v", open)
}

// upstream starts another service, and returns its address and a function that stops it.
func (s *stage) upstream(handler http.HandlerFunc) (address string, stop func()) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.check(false, "%v", err)
		return "", func() {}
	}
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: handler}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	return listener.Addr().String(), func() {
		_ = listener.Close()
		_ = server.Close()
		<-done
	}
}

func (s *stage) panics(ctx context.Context) {
	status, header, body := s.raw(ctx, http.MethodPost, "/v1/charges", keyOfAlice, `{"cents":0}`)
	id := header.Get("Request-Id")
	line := s.logs.lineWith(id, "panic")
	s.check(status == 500 && id != "" && !strings.Contains(body, "hunter2"), "the panic was answered with %d %s", status, body)
	s.check(strings.Contains(line, "hunter2") && strings.Contains(line, "session.go"), "the log has no panic of %s: %s", id, line)
	s.say("   POST /v1/charges {\"cents\":0}")
	s.say("   %d %s", status, http.StatusText(status))
	s.say("   %s", indented(body))
	s.say("")
	s.say("   The client does not see the panic's value. It is in the service's log with the stack and the")
	s.say("   request id. The access log has:")
	s.say("   %s", s.logs.lineWith(id, `"msg":"request"`))
}

// brief returns status, code and message of an error.
func brief(err error) string {
	e, ok := errors.AsType[*apierror.Error](err)
	if !ok {
		return err.Error()
	}
	return fmt.Sprintf("%d %s: %s", e.Status(), cmp.Or(string(e.Code()), string(e.Type())), e.Message())
}

// indented returns a JSON text on several lines.
func indented(text string) string {
	var b bytes.Buffer
	if json.Indent(&b, []byte(text), "   ", "  ") != nil {
		return text
	}
	return b.String()
}

func abridged(body string) string {
	if len(body) > 12 {
		return body[:11] + "…"
	}
	return body
}
