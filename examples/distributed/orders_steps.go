package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/retry"
)

func (s *ordersSession) limit(ctx context.Context) {
	answers := make([]answer, 40)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := i; j < len(answers); j += 8 {
				answers[j] = s.once.send(ctx, http.MethodGet, keyOfBob, "", "")
			}
		})
	}
	wg.Wait()
	admitted, denied := make(map[string]int), make(map[string]int)
	var denial answer
	for _, a := range answers {
		switch {
		case a.status == http.StatusOK:
			admitted[a.server()]++
		case errors.Is(a.err, apierror.CodeRateLimitExceeded):
			denied[a.server()]++
			denial = a
		default:
			s.check(false, "a request got %v", a.err)
		}
	}
	s.check(admitted["A"]+admitted["B"] == 20, "%d requests were admitted", admitted["A"]+admitted["B"])
	s.check(admitted["A"]+denied["A"] == 20 && admitted["B"]+denied["B"] == 20, "the servers did not get 20 requests each")
	if s.failed != nil {
		return
	}
	s.say("   Server A got 20 requests, admitted %d and denied %d.", admitted["A"], denied["A"])
	s.say("   Server B got 20 requests, admitted %d and denied %d.", admitted["B"], denied["B"])
	s.say("   That is 20 admitted in all. A denial:")
	s.say("")
	s.say("   %s", brief(denial.err))
	for _, name := range []string{"Retry-After", "RateLimit-Policy", "RateLimit"} {
		s.say("   %s: %s", name, denial.header.Get(name))
	}
	s.say("")
	s.freeAccount(ctx)
}

// freeAccount fills the bucket of the account that was denied.
func (s *ordersSession) freeAccount(ctx context.Context) {
	limiter := newLimiter(s.client)
	err := free(ctx, limiter, "acct_bob")
	s.check(err == nil, "freeing the account: %v", err)
	var next answer
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline) && next.status != 200; time.Sleep(100 * time.Millisecond) {
		next = s.once.send(ctx, http.MethodGet, keyOfBob, "", "")
	}
	s.check(next.status == http.StatusOK, "after the reset, a request got %d, %v", next.status, next.err)
	rule, key, err := bucketOf("acct_bob")
	s.check(err == nil, "the key of the account: %v", err)
	s.say("   An operator resets the limit of the account, and the next request is admitted. Its bucket:")
	s.say("   %s", limiter.RedisKey(rule, key))
}

func (s *ordersSession) lostReply(ctx context.Context) {
	charges := s.bank.charges.Load()
	got, attempts := s.writeWithLostReply(ctx, "order-1", `{"item":"lamp","cents":4900}`)
	s.check(s.bank.charges.Load() == charges+1, "the card was charged %d times", s.bank.charges.Load()-charges)
	if s.failed != nil {
		return
	}
	s.say("   Attempt 1: server A runs the handler, which charges the card.")
	s.say("              %v", attempts[0].Err)
	s.say("   Attempt 2: 201 of server B, Idempotent-Replayed: true, the bytes that were lost:")
	s.say("              %s", bytes.TrimSpace(got.body))
	s.say("   The card was charged once.")
}

func (s *ordersSession) conflict(ctx context.Context) {
	s.balancer.startWith(s.a)
	s.say("   order-1 {\"item\":\"lamp\",\"cents\":4900}   was answered above")
	for _, p := range []*process{s.a, s.b} {
		got := s.once.send(ctx, http.MethodPost, keyOfAlice, "order-1", `{"item":"lamp","cents":1}`)
		s.check(errors.Is(got.err, apierror.CodeIdempotencyConflict), "the answer was %d, %v", got.status, got.err)
		s.check(got.server() == p.name, "server %q has answered", got.server())
		s.say("   order-1 {\"item\":\"lamp\",\"cents\":1}      server %s: %s", p.name, brief(got.err))
	}
}

// killBefore kills server A while its handler waits for the bank's check. Nothing has been done by
// then, and BeginEffect was not called, so the write can run again. But server B cannot know that A
// is not alive. So the write does not run before the lease of A is over.
func (s *ordersSession) killBefore(ctx context.Context) {
	const body = `{"item":"chair","cents":12000}`
	charges := s.bank.charges.Load()
	got, attempts := s.killDuring(ctx, s.a, "/check", "order-2", body)
	s.check(got.status == http.StatusCreated && !got.replayed() && got.server() == "B", "the write got %d, %v", got.status, got.err)
	if s.failed != nil {
		return
	}
	s.say("   Attempt 1: server A runs the handler, and is killed (SIGKILL) before BeginEffect.")
	s.say("              %v", attempts[0].Err)
	s.sayInProgress(attempts, "B")
	s.say("   Attempt %d: the lease of A is over, and server B runs the handler. 201", len(attempts))
	s.say("              %s", bytes.TrimSpace(got.body))
	s.checkRecorded(ctx, "order-2", body, got)
	s.check(s.bank.charges.Load() == charges+1, "the card was charged %d times", s.bank.charges.Load()-charges)
	s.say("   The card was charged once.")
}

// killAfter kills server B while its handler waits for the charge. The bank has charged the card,
// but no server can know that. So the write does not run again, until someone has asked the bank.
func (s *ordersSession) killAfter(ctx context.Context) {
	c, err := s.startServer(ctx, "C")
	if err != nil {
		s.check(false, "%v", err)
		return
	}
	const body = `{"item":"table","cents":30000}`
	charges := s.bank.charges.Load()
	got, attempts := s.killDuring(ctx, s.b, "/charge", "order-3", body)
	s.check(errors.Is(got.err, apierror.CodeIdempotencyOutcomeUnknown) && got.server() == "C", "the write got %d, %v", got.status, got.err)
	if s.failed != nil {
		return
	}
	s.say("   Server C, process %d, takes the place of A.", c.pid())
	s.say("   Attempt 1: server B runs the handler, and is killed after BeginEffect, in the middle of the charge.")
	s.say("              %v", attempts[0].Err)
	s.sayInProgress(attempts, "C")
	s.say("   Attempt %d: %s", len(attempts), brief(got.err))
	s.say("")

	found := order{ID: "ord_by_hand", Item: "table", Cents: 30000, RunBy: "operator"}
	err = settle(ctx, newStore(s.client, nil), "acct_alice", "order-3", &found)
	s.check(err == nil, "settling the write: %v", err)
	s.say("   The bank says that the card was charged. An operator records the order:")
	got = s.once.send(ctx, http.MethodPost, keyOfAlice, "order-3", body)
	s.check(got.status == http.StatusCreated && got.replayed(), "the next retry got %d, %v", got.status, got.err)
	s.say("   Next retry: 201, Idempotent-Replayed: true")
	s.say("              %s", bytes.TrimSpace(got.body))
	s.check(s.bank.charges.Load() == charges+1, "the card was charged %d times", s.bank.charges.Load()-charges)
	s.say("   The card was charged once.")
}

// killDuring sends a write with retries. The first attempt goes to p, which is killed while it
// waits for the bank's answer to the path.
func (s *ordersSession) killDuring(ctx context.Context, p *process, path, key, body string) (answer, []retry.Attempt) {
	s.bank.hold.Store(path)
	got, attempts := s.writeWhileKilling(ctx, p, key, body, func(ctx context.Context) {
		select {
		case <-s.bank.held:
			p.kill()
		case <-ctx.Done():
		}
	})
	s.check(len(attempts) >= 3, "the client made %d attempts, and got %v", len(attempts), got.err)
	return got, attempts
}

// sayInProgress prints and checks the attempts between the first and the last one.
func (s *ordersSession) sayInProgress(attempts []retry.Attempt, server string) {
	for _, a := range attempts[1 : len(attempts)-1] {
		s.check(a.Code == apierror.CodeIdempotencyInProgress && a.RetryAfter >= time.Second,
			"attempt %d got %d %s, Retry-After %v", a.Number, a.Status, a.Code, a.RetryAfter)
		s.say("   Attempt %d: %d %s of server %s, Retry-After: %.0f. The client waits %v.",
			a.Number, a.Status, a.Code, server, a.RetryAfter.Seconds(), a.Delay.Round(time.Millisecond))
	}
}
