// Package load is the client of a chaos run: a process whose calls go through retry.Transport. It
// repeats every key until it knows how it ended, also after it was killed.
//
// The seed decides which keys each worker uses one after the other, and what it does with each.
// How far the worker gets, how often it retries, and which server it calls depends on the answers.
package load

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/service"
	"github.com/seawall-go/seawall/retry"
)

// A Config is what a client needs to know. It is passed as JSON in an argument.
type Config struct {
	Name    string   // without the incarnation, such as "c1"
	Life    int      // the incarnation, from 1
	Dir     string   // of the history
	Servers []string // their URLs, in the order of their names: s0, s1, ...
	Sticky  bool     // whether a key always goes to the same server, because nothing is shared
	Ways    []history.Way
	Workers int    // calls at the same time, without duplicates
	Seed    uint64 // of this client; each life and each worker has its own random numbers
}

// String returns the config as an argument.
func (c Config) String() string {
	b, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// How often something else is done with a key, in percent.
const (
	duplicated = 10 // it is sent twice at the same time
	repeated   = 12 // it is sent again after its end
	contested  = 3  // it is also sent with another amount
	borrowed   = 2  // another principal uses it, too
)

// Main runs a client and returns its exit status. The client starts keys until it reads the line
// "drain" from its standard input. Then it ends those that it has started, and ends. It also ends
// with its standard input.
func Main(args []string) int {
	var c Config
	if err := json.Unmarshal([]byte(args[0]), &c); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		return 2
	}
	open, err := unfinished(c)
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		return 2
	}
	l, err := newClient(c)
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		return 2
	}
	go func() {
		drain := sync.OnceFunc(func() { close(l.draining) })
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			if lines.Text() == "drain" {
				drain()
			}
		}
		os.Exit(0)
	}()
	fmt.Println("ready")
	l.run(open)
	return 0
}

// work is what a client wants to happen once.
type work struct {
	principal, key string
	way            history.Way
	amount         int
}

func (w work) id() string { return w.principal + "/" + w.key }

type client struct {
	Config
	http     *http.Client
	servers  []server
	breaker  *retry.Breaker
	events   *history.Writer
	draining chan struct{}
	calls    atomic.Int64
	pending  sync.WaitGroup // what a worker has left behind: duplicates and late retries
}

func newClient(c Config) (*client, error) {
	name := fmt.Sprintf("%s.%d", c.Name, c.Life)
	w, err := history.Create(filepath.Join(c.Dir, name+".jsonl"))
	if err != nil {
		return nil, err
	}
	breaker := new(retry.Breaker)
	transport := &retry.Transport{
		Breaker: breaker,
		Base:    &http.Transport{MaxIdleConnsPerHost: 2 * c.Workers},
		Policy:  &retry.Policy{BaseDelay: 20 * time.Millisecond, MaxDelay: 500 * time.Millisecond, AttemptTimeout: 1500 * time.Millisecond},
		Logger:  slog.New(slog.DiscardHandler),
	}
	l := &client{
		Config: c, events: w, draining: make(chan struct{}), servers: make([]server, len(c.Servers)), breaker: breaker,
		http: &http.Client{Transport: transport, Timeout: 10 * time.Second},
	}
	for i, url := range c.Servers {
		l.servers[i].name, l.servers[i].url = fmt.Sprintf("s%d", i), url
	}
	return l, nil
}

func (l *client) run(open []work) {
	var workers sync.WaitGroup
	for i := range l.Workers {
		random := rand.New(rand.NewPCG(l.Seed, uint64(l.Life)<<32|uint64(i)))
		var mine []work
		for j := i; j < len(open); j += l.Workers {
			mine = append(mine, open[j])
		}
		workers.Go(func() {
			for _, w := range mine {
				l.finish(split(random), w, i)
			}
			for n := 0; !l.isDraining(); n++ {
				l.start(random, i, n)
			}
		})
	}
	workers.Wait()
	l.pending.Wait()
}

func (l *client) isDraining() bool {
	select {
	case <-l.draining:
		return true
	default:
		return false
	}
}

// split returns a new source of random numbers. It takes one number from the given one, however
// many are taken from the new one.
func split(random *rand.Rand) *rand.Rand { return rand.New(rand.NewPCG(random.Uint64(), 0)) }

// start takes the worker's n-th key to its end, and sometimes does something else with it.
func (l *client) start(random *rand.Rand, worker, n int) {
	w := work{
		principal: fmt.Sprintf("p%d", random.IntN(5)),
		key:       fmt.Sprintf("%s.%d-%d-%d", l.Name, l.Life, worker, n),
		way:       l.Ways[random.IntN(len(l.Ways))],
		amount:    1 + random.IntN(1000),
	}
	percent := func(n int) bool { return random.IntN(100) < n }
	if percent(duplicated) {
		l.aside(random, w, worker, 0)
	}
	if percent(contested) {
		other := w
		other.amount += 1000
		l.aside(random, other, worker, time.Duration(random.IntN(2)*random.IntN(30))*time.Millisecond)
	}
	if percent(borrowed) {
		other := w
		other.principal += "b"
		l.aside(random, other, worker, 0)
	}
	l.finish(split(random), w, worker)
	if percent(repeated) {
		l.aside(random, w, worker, time.Duration(random.Int64N(int64(3*time.Second))))
	}
}

// aside takes a work to its end in a goroutine, after a pause.
func (l *client) aside(random *rand.Rand, w work, worker int, pause time.Duration) {
	random = split(random)
	l.pending.Go(func() {
		select {
		case <-time.After(pause):
		case <-l.draining:
		}
		l.finish(random, w, worker)
	})
}

// finish sends a work again and again until it is known how it ended.
func (l *client) finish(random *rand.Rand, w work, worker int) {
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		status, code := l.call(l.server(random, w), w, worker, random.IntN(2) == 0)
		switch {
		case isFinal(status, code):
			return
		case code == string(apierror.CodeIdempotencyOutcomeUnknown):
			l.settle(l.server(random, w), w)
		}
		time.Sleep(pause/2 + time.Duration(random.Int64N(int64(pause))))
	}
}

// isFinal reports whether a client that is answered like this need not send its request again.
func isFinal(status int, code string) bool {
	switch status {
	case http.StatusCreated, http.StatusPaymentRequired:
		return true
	case http.StatusConflict:
		switch apierror.Code(code) {
		case apierror.CodeIdempotencyConflict, apierror.CodeIdempotencyResponseUnavailable, service.CodeProviderConflict:
			return true
		}
	}
	return false
}

// server returns the server to call: of some random ones, one whose circuit is not open, and which
// has few calls. So a server that hangs does not hold up all workers.
func (l *client) server(random *rand.Rand, w work) *server {
	if l.Sticky {
		h := fnv.New32a()
		_, _ = io.WriteString(h, w.id())
		return &l.servers[int(h.Sum32())%len(l.servers)]
	}
	best := &l.servers[random.IntN(len(l.servers))]
	for range 2 {
		if s := &l.servers[random.IntN(len(l.servers))]; l.load(s) < l.load(best) {
			best = s
		}
	}
	return best
}

// load returns the number of calls that a server has not answered. If its circuit is open, that
// counts as many.
func (l *client) load(s *server) int64 {
	n := s.calls.Load()
	if l.breaker.Circuit(s.url).State != retry.StateClosed {
		n += int64(l.Workers)
	}
	return n
}

// A server is a server with the number of calls that it has not answered.
type server struct {
	name  string
	url   string
	calls atomic.Int64
}

// call sends a request, and records what it was answered. If retries is false, the transport does
// not retry, so that the checker sees the first answer.
func (l *client) call(s *server, w work, worker int, retries bool) (status int, code string) {
	s.calls.Add(1)
	defer s.calls.Add(-1)
	id := fmt.Sprintf("%s.%d-%d", l.Name, l.Life, l.calls.Add(1))
	l.events.Write(history.Event{Call: &history.Call{
		ID: id, Key: w.id(), Way: w.way, Client: worker, Server: s.name, Amount: w.amount, At: history.Now(),
	}})
	ret := history.Return{ID: id}
	ctx, report := retry.WithReport(context.Background())
	if !retries {
		ctx = retry.WithoutRetry(ctx)
	}
	body := fmt.Appendf(nil, `{"amount":%d}`, w.amount)
	resp, err := l.post(ctx, s.url+"/w/"+string(w.way), w, body)
	if err != nil {
		ret.Err = cause(err)
	} else {
		ret.Status = resp.StatusCode
		ret.Replayed = resp.Header.Get("Idempotent-Replayed") == "true"
		ret.Code, ret.Answer, err = read(resp)
		if err != nil { // a response that was cut is none
			ret.Status, ret.Err = 0, cause(err)
		}
	}
	ret.Attempts = len(report.Attempts())
	ret.At = history.Now()
	l.events.Write(history.Event{Return: &ret})
	return ret.Status, ret.Code
}

// settle asks the operator to find out how an unknown outcome ended.
func (l *client) settle(s *server, w work) {
	body, _ := json.Marshal(map[string]any{"key": w.key, "way": w.way, "amount": w.amount})
	resp, err := l.post(retry.WithoutRetry(context.Background()), s.url+"/settle", work{principal: w.principal}, body)
	if err != nil {
		return // the next answer is unknown again
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}

func (l *client) post(ctx context.Context, url string, w work, body []byte) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Principal", w.principal)
	if w.key != "" {
		r.Header.Set("Idempotency-Key", w.key)
	}
	return l.http.Do(r)
}

// read reads an answer or an error.
func read(resp *http.Response) (code string, a history.Answer, err error) {
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusCreated || resp.StatusCode == http.StatusPaymentRequired {
		err = json.NewDecoder(resp.Body).Decode(&a)
		_, _ = io.Copy(io.Discard, resp.Body)
		return "", a, err
	}
	err = apierror.Parse(resp)
	if e, ok := errors.AsType[*apierror.Error](err); ok {
		return string(e.Code()), a, nil
	}
	return "", a, cmp.Or(err, errors.New("not an error"))
}

// cause returns the last part of an error's text, which has no address.
func cause(err error) string {
	if _, ok := errors.AsType[*retry.CircuitOpenError](err); ok {
		return history.CircuitOpen
	}
	s := err.Error()
	return strings.TrimSpace(s[strings.LastIndexByte(s, ':')+1:])
}

// unfinished returns what earlier lives of this client have started and did not end.
func unfinished(c Config) ([]work, error) {
	h, err := history.Read(filepath.Join(c.Dir, c.Name+".*.jsonl"))
	if err != nil {
		return nil, err
	}
	ended := make(map[work]bool)
	for _, call := range h.Calls {
		principal, key, _ := strings.Cut(call.Key, "/")
		w := work{principal, key, call.Way, call.Amount}
		r := h.Returns[call.ID]
		ended[w] = ended[w] || isFinal(r.Status, r.Code)
	}
	var open []work
	for w, is := range ended {
		if !is {
			open = append(open, w)
		}
	}
	slices.SortFunc(open, func(a, b work) int {
		return cmp.Or(cmp.Compare(a.id(), b.id()), cmp.Compare(a.amount, b.amount))
	})
	return open, nil
}
