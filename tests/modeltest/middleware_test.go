package modeltest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/seawall-go/seawall/idempotent"
)

// request is a request of a client. All have the same key.
type request struct{ body string }

// reply is the response. The status is 0 if the process died or the handler panicked.
type reply struct {
	status   int
	body     string
	replayed bool
}

// known is what the service knows about the key between requests.
type known struct {
	body   string // of the recorded request; empty if there is none
	answer string // empty if the outcome is unknown
}

// clientModel has the responses that a client may get, after the requests in any order.
var clientModel = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{known{}} },
	Step: func(state, input, output any) (next []any) {
		k, in, out := state.(known), input.(request), output.(reply)
		nothing := k == known{}
		switch {
		case out.status == 0: // nothing was done, or anything
			next = append(next, k)
			if nothing {
				next = append(next, known{in.body, ""}, known{in.body, anyAnswer})
			}
		case out.status == http.StatusCreated && !out.replayed:
			if nothing {
				next = append(next, known{in.body, out.body})
			}
		case out.status == http.StatusCreated:
			if k.body == in.body && (k.answer == out.body || k.answer == anyAnswer) {
				next = append(next, known{in.body, out.body})
			}
		case strings.Contains(out.body, "idempotency_outcome_unknown"):
			if k == (known{in.body, ""}) {
				next = append(next, k)
			}
		case out.status == http.StatusBadGateway: // failed after BeginEffect
			if nothing {
				next = append(next, known{in.body, ""})
			}
		case out.status == http.StatusConflict: // with the recorded request, or with one that is running
			if k.body != in.body {
				next = append(next, k)
			}
		default: // 429, 500, 503: nothing was done
			next = append(next, k)
		}
		return next
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%v: %+v", input, output) },
}).ToModel()

// anyAnswer is an answer that no client has received yet.
const anyAnswer = "?"

// unreliable is a store for one process: replies are lost, renewals fail, and the process may die
// at a Finish.
type unreliable struct {
	idempotent.Store
	mu     sync.Mutex
	random *rand.Rand
}

var errNoReply = errors.New("no reply")

func (u *unreliable) chance(n int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.random.IntN(n) == 0
}

func (u *unreliable) Acquire(ctx context.Context, c idempotent.Claim) (idempotent.Decision, error) {
	d, err := u.Store.Acquire(ctx, c)
	if err == nil && u.chance(6) {
		err = errNoReply
	}
	return d, err
}

func (u *unreliable) Renew(ctx context.Context, o idempotent.Owner, d time.Duration) error {
	if u.chance(2) {
		return errNoReply
	}
	return u.Store.Renew(ctx, o, d)
}

func (u *unreliable) BeginEffect(ctx context.Context, o idempotent.Owner) error {
	err := u.Store.BeginEffect(ctx, o)
	if err == nil && u.chance(6) {
		err = errNoReply
	}
	return err
}

func (u *unreliable) Finish(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
	if u.chance(8) {
		runtime.Goexit() // the process dies before Finish
	}
	err := u.Store.Finish(ctx, o, c)
	if u.chance(16) {
		runtime.Goexit() // or after it
	}
	if err == nil && u.chance(6) {
		err = errNoReply
	}
	return err
}

// service is a handler that counts its runs and effects.
type service struct {
	mu      sync.Mutex
	random  *rand.Rand
	runs    int
	effects map[string]int // after BeginEffect, by body
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	body := string(b)
	s.mu.Lock()
	s.runs++
	run := s.runs
	behavior, slow := s.random.IntN(8), time.Duration(s.random.IntN(4))*lease*2/3
	s.mu.Unlock()
	time.Sleep(slow)
	switch behavior {
	case 0:
		http.Error(w, "failed", http.StatusInternalServerError)
		return
	case 1:
		panic(http.ErrAbortHandler)
	case 2, 3, 4:
		if idempotent.BeginEffect(r.Context()) != nil {
			http.Error(w, "not begun", http.StatusServiceUnavailable)
			return
		}
		s.mu.Lock()
		s.effects[body]++
		s.mu.Unlock()
		if behavior == 2 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		if behavior == 3 {
			panic(http.ErrAbortHandler)
		}
	}
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, "run %d", run)
}

// clients sends requests with one key to three processes that share a store. It returns the
// requests and the number of effects by body.
func clients(t *testing.T, seed uint64, bug bug) (ops []porcupine.Operation, effects map[string]int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := idempotent.NewMemory(nil)
		handler := &service{random: rand.New(rand.NewPCG(seed, 0)), effects: make(map[string]int)}
		var processes []http.Handler
		for i := range 3 {
			u := &unreliable{Store: store, random: rand.New(rand.NewPCG(seed, uint64(1+i)))}
			o := &idempotent.Options{Lease: lease, Wait: lease, MaxRun: -1, Keep: bug.keep, Fingerprint: bug.fingerprint}
			var store idempotent.Store = u
			if bug.store != nil {
				store = bug.store(u)
			}
			processes = append(processes, idempotent.New(store, idempotent.Global, o)(handler))
		}
		var mu sync.Mutex
		var stamp atomic.Int64
		var wg sync.WaitGroup
		for client := range 5 {
			random := rand.New(rand.NewPCG(seed, uint64(10+client)))
			wg.Go(func() {
				for range 6 {
					in := request{body: []string{"a", "a", "a", "a", "b"}[random.IntN(5)]}
					process := processes[random.IntN(len(processes))]
					called := stamp.Add(1)
					out := send(process, in)
					returned := stamp.Add(1)
					mu.Lock()
					ops = append(ops, porcupine.Operation{ClientId: client, Input: in, Call: called, Output: out, Return: returned})
					mu.Unlock()
					time.Sleep(time.Duration(random.IntN(3)) * lease / 2)
				}
			})
		}
		wg.Wait()
		effects = handler.effects
	})
	// The effects of a process that died may appear at any later time.
	for i := range ops {
		if ops[i].Output.(reply).status == 0 {
			ops[i].Return = 1 << 40
		}
	}
	return ops, effects
}

// send sends a request to a process. If that dies, the reply is what it has written.
func send(process http.Handler, in request) reply {
	w := &recordedResponse{header: make(http.Header)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }()
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(in.body))
		r.Header.Set("Idempotency-Key", "k")
		process.ServeHTTP(w, r)
	}()
	<-done
	return reply{w.status, w.body.String(), w.header.Get("Idempotent-Replayed") == "true"}
}

// recordedResponse is a ResponseWriter whose status is 0 until it is written.
type recordedResponse struct {
	header http.Header
	status int
	body   strings.Builder
}

func (w *recordedResponse) Header() http.Header         { return w.header }
func (w *recordedResponse) WriteHeader(status int)      { w.status = status }
func (w *recordedResponse) Write(p []byte) (int, error) { return w.body.Write(p) }

// check runs a history. It returns why the model does not allow it, or an empty string.
func check(t *testing.T, seed uint64, bug bug) (ops []porcupine.Operation, wrong string) {
	t.Helper()
	ops, effects := clients(t, seed, bug)
	switch {
	case len(effects) > 1 || effects["a"] > 1 || effects["b"] > 1:
		return ops, fmt.Sprintf("effects happened twice: %v", effects)
	case !porcupine.CheckOperations(clientModel, ops):
		return ops, "the model allows no order of the responses"
	}
	return ops, ""
}

// histories is the number of histories of TestMiddlewareFollowsTheModel.
const histories = 400

func TestMiddlewareFollowsTheModel(t *testing.T) {
	t.Parallel()
	operations, replays := 0, 0
	for seed := range uint64(histories) {
		ops, wrong := check(t, seed, bug{})
		operations += len(ops)
		for _, op := range ops {
			if op.Output.(reply).replayed {
				replays++
			}
		}
		if wrong != "" {
			for _, op := range ops {
				t.Log(op.ClientId, op.Call, op.Return, clientModel.DescribeOperation(op.Input, op.Output))
			}
			t.Fatalf("history %d: %s", seed, wrong)
		}
	}
	t.Logf("%d requests in %d histories, %d replays", operations, histories, replays)
}

// A bug makes the middleware behave wrongly, through its store and its options.
type bug struct {
	store       func(idempotent.Store) idempotent.Store
	keep        func(int) bool
	fingerprint idempotent.FingerprintFunc
}

func TestModelFindsBugs(t *testing.T) {
	t.Parallel()
	for name, bug := range map[string]bug{
		"the reply is sent before the record": {store: func(s idempotent.Store) idempotent.Store {
			return finishing{s, func(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
				if c.State == idempotent.StateDone { // it dies in between
					return nil
				}
				return s.Finish(ctx, o, c)
			}}
		}},
		"a lost run sends its own answer": {store: func(s idempotent.Store) idempotent.Store {
			return finishing{s, func(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
				if err := s.Finish(ctx, o, c); !errors.Is(err, idempotent.ErrLost) {
					return err
				}
				return nil
			}}
		}},
		"a failure after BeginEffect is released": {store: func(s idempotent.Store) idempotent.Store {
			return finishing{s, func(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
				if c.State == idempotent.StateUnknown {
					c = idempotent.Completion{State: idempotent.StateAbsent}
				}
				return s.Finish(ctx, o, c)
			}}
		}},
		"BeginEffect is not stored": {store: func(s idempotent.Store) idempotent.Store {
			return unmarked{s}
		}},
		"the fingerprint has not the body": {
			fingerprint: func(r *http.Request, body func() ([]byte, error)) (idempotent.Fingerprint, error) {
				_, err := body()
				return idempotent.FingerprintOf(r, nil), err
			},
		},
		"failures are recorded": {keep: func(int) bool { return true }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(10 * histories) {
				if _, wrong := check(t, seed, bug); wrong != "" {
					t.Logf("found in history %d: %s", seed, wrong)
					return
				}
			}
			t.Fatal("not found")
		})
	}
}

// finishing is a store with another Finish.
type finishing struct {
	idempotent.Store
	finish func(context.Context, idempotent.Owner, idempotent.Completion) error
}

func (f finishing) Finish(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
	return f.finish(ctx, o, c)
}

// unmarked is a store that does not store that effects have begun.
type unmarked struct{ idempotent.Store }

func (unmarked) BeginEffect(context.Context, idempotent.Owner) error { return nil }
