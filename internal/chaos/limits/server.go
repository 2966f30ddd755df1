package limits

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/ratelimit"
	"github.com/seawall-go/seawall/ratelimit/redislimit"
)

// envConfig has the config of a server. Its presence makes the test binary a server.
const envConfig = "SEAWALL_CHAOS_LIMITS"

// A config is what a server needs to know.
type config struct {
	Name  string // with the incarnation, such as "s1.3"
	Addr  string // to listen on
	Redis string // the address of its proxy
	File  string // of its journal
}

// The headers of a request.
const (
	headerID   = "X-Id"
	headerKey  = "X-Key"
	headerCost = "X-Cost"
	headerHow  = "X-How" // of the response
)

// How a request was decided.
const (
	byStore = "store"  // by Redis, or by what the process remembers of Redis's denials
	byLocal = "local"  // by the local limiter
	byNone  = "open"   // it passed although the limiter failed
	failed  = "failed" // it did not pass because the limiter failed
)

// An entry is a line of a server's journal: what happened to a request, or if Refund is set, that
// the server gives units back.
type entry struct {
	ID       int64    `json:"id"`
	Arm      string   `json:"arm,omitempty"`
	Key      string   `json:"key,omitempty"`
	Cost     int      `json:"cost,omitempty"`
	Began    int64    `json:"began"`           // before the limiter was asked
	Ended    int64    `json:"ended,omitempty"` // when it had decided; 0 in a Refund that begins
	How      string   `json:"how,omitempty"`
	Admitted bool     `json:"admitted,omitempty"`
	Denies   []string `json:"denies,omitempty"` // the rules that deny it
	Left     bool     `json:"left,omitempty"`   // whether its client had left
	Err      string   `json:"err,omitempty"`
	Refund   int      `json:"refund,omitempty"`

	server string
}

type entryKey struct{}

// Main runs a server and does not return, if the process was started as one. TestMain must call it
// first in every package that calls [Run].
func Main() {
	text := os.Getenv(envConfig)
	if text == "" {
		return
	}
	var c config
	err := json.Unmarshal([]byte(text), &c)
	if err == nil {
		err = serve(c)
	}
	fmt.Fprintln(os.Stderr, "limits:", err)
	os.Exit(1)
}

func serve(c config) error {
	redis.SetLogger(silent{})
	file, err := os.OpenFile(c.File, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	client := redis.NewClient(&redis.Options{
		Addr: c.Redis, ContextTimeoutEnabled: true, DialTimeout: 2 * time.Second,
		ReadTimeout: 2 * time.Second, MinIdleConns: 4, PoolSize: 100,
	})
	defer client.Close()
	j := &journal{w: file}
	limiter := redislimit.New(client, &redislimit.Options{Timeout: timeout})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(http.ResponseWriter, *http.Request) {})
	for _, a := range arms() {
		mux.Handle("POST /"+a.name, a.handler(limiter, j))
	}
	listener, err := listen(c.Addr)
	if err != nil {
		return err
	}
	return (&http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}).Serve(listener)
}

// listen waits until the port is free: a connection of another process may have taken it since the
// last incarnation.
func listen(addr string) (l net.Listener, err error) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		l, err = new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
		if err == nil {
			break
		}
	}
	return l, err
}

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// handler returns the route of an arm.
func (a *arm) handler(shared *redislimit.Limiter, j *journal) http.Handler {
	limiter := ratelimit.Limiter(shared)
	if a.tampered != nil {
		limiter = a.tampered(shared)
	}
	limit := ratelimit.New(limiter, &ratelimit.Options{
		OnFailure: a.fail,
		Processes: a.shares,
		Observe:   observe,
		Logger:    slog.New(slog.DiscardHandler),
	}, a.rules()...)
	admitted := limit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e := r.Context().Value(entryKey{}).(*entry)
		j.write(e)
		if n := e.Cost - 1; a.settled && n > 0 && e.How == byStore {
			j.refund(r.Context(), e, n)
		}
		w.WriteHeader(http.StatusOK)
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e := &entry{Arm: a.name, Key: r.Header.Get(headerKey), Cost: costOf(r), Began: history.Now()}
		e.ID, _ = strconv.ParseInt(r.Header.Get(headerID), 10, 64)
		admitted.ServeHTTP(&marked{w, e}, r.WithContext(context.WithValue(r.Context(), entryKey{}, e)))
		if !e.Admitted {
			j.write(e)
		}
	})
}

// marked says in a response how the request was decided.
type marked struct {
	http.ResponseWriter

	e *entry
}

// WriteHeader implements [http.ResponseWriter].
func (m *marked) WriteHeader(status int) {
	m.Header().Set(headerHow, m.e.How)
	m.ResponseWriter.WriteHeader(status)
}

// observe sets what the middleware did to a request. It is called for each rule.
func observe(ctx context.Context, event ratelimit.Event) {
	e := ctx.Value(entryKey{}).(*entry)
	e.Ended = history.Now()
	e.Left = ctx.Err() != nil
	e.Admitted = event.Outcome == ratelimit.OutcomeAllowed || event.Outcome == ratelimit.OutcomeBypassed
	switch {
	case event.Outcome == ratelimit.OutcomeBypassed:
		e.How = byNone
	case event.Outcome == ratelimit.OutcomeFailed:
		e.How = failed
	case event.Err != nil:
		e.How = byLocal
	default:
		e.How = byStore
	}
	if event.Err != nil {
		e.Err = event.Err.Error()
	}
	if event.Outcome == ratelimit.OutcomeDenied && !event.Decision.Allowed {
		e.Denies = append(e.Denies, event.Rule)
	}
}

func costOf(r *http.Request) int {
	n, _ := strconv.Atoi(r.Header.Get(headerCost))
	return n
}

// journal appends entries to the file of a server, each with one system call, so that SIGKILL
// loses none that was written.
type journal struct {
	mu sync.Mutex
	w  io.Writer
}

// write ends the process if it fails: without its journal, a run proves nothing.
func (j *journal) write(e *entry) {
	line, err := json.Marshal(e)
	if err == nil {
		j.mu.Lock()
		_, err = j.w.Write(append(line, '\n'))
		j.mu.Unlock()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "limits: the journal:", err)
		os.Exit(1)
	}
}

// refund gives n units of a request back. The journal has it before and after.
func (j *journal) refund(ctx context.Context, e *entry, n int) {
	r := &entry{ID: e.ID, Arm: e.Arm, Key: e.Key, Refund: n, Began: history.Now()}
	j.write(r)
	if err := ratelimit.Settle(ctx, e.Arm, e.Cost-n); err != nil {
		r.Err = err.Error()
	}
	r.Ended = history.Now()
	j.write(r)
}
