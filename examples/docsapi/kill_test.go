package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/examples/docsapi/docsapitest"
	"github.com/seawall-go/seawall/internal/pgtest"
	"github.com/seawall-go/seawall/internal/redistest"
	"github.com/seawall-go/seawall/retry"
)

var kills = flag.Int("kills", 5, "kill the processes of each deployment this many times")

// How hard a deployment is hit.
const (
	killEvery  = 30 // writes, on average
	killers    = 8  // clients that write at the same time
	writeLimit = 30 * time.Second
)

// A deployment is a way to run the service.
type deployment struct {
	name      string
	processes int
	flags     []string
	// mayBeUnknown is true if the keys are not in the transaction of the write. A kill can then
	// leave a write whose outcome is unknown. It is never carried out twice.
	mayBeUnknown bool
}

// deployments returns all ways to run the service. They share database servers, but no data.
func deployments(t *testing.T) []deployment {
	t.Helper()
	postgres, redis := pgtest.Start(t), redistest.Start(t)
	database := func(name string) string {
		_, err := postgres.SQL("CREATE DATABASE " + name)
		require.NoError(t, err)
		return postgres.URL(name)
	}
	inRedis := func(number int) string { return fmt.Sprintf("redis://%s/%d", redis.Addr, number) }
	file := func() string { return t.TempDir() + "/shared.db" }
	return []deployment{
		{name: "SQLite", processes: 1},
		{name: "two processes on one SQLite file", processes: 2, flags: []string{"-db", file()}},
		{name: "PostgreSQL", processes: 1, flags: []string{"-postgres", database("one")}},
		{name: "two processes on PostgreSQL and Redis", processes: 2, flags: []string{"-postgres", database("two"), "-redis", inRedis(0)}},
		{name: "SQLite, and keys in Redis", processes: 1, flags: []string{"-redis", inRedis(1), "-lease", "1s"}, mayBeUnknown: true},
	}
}

// Clients write while processes are killed. In the end, what each client was told is what the
// service has.
func TestKilledProcessesNeitherLoseNorRepeatWrites(t *testing.T) {
	t.Parallel()
	for _, d := range deployments(t) {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			f := startFleet(t, d)
			writers := f.killWhileWriting()
			f.requireEveryFate(writers)
			f.requireEveryReplay(writers)
			require.Positive(t, f.broken.Load(), "no kill has interrupted a request")
		})
	}
}

// fleet is the processes of a deployment, and what their clients have in common.
type fleet struct {
	*testing.T
	deployment
	servers []*docsapitest.Server
	client  *http.Client
	turn    atomic.Uint64 // of the processes
	done    atomic.Int64  // writes that succeeded
	broken  atomic.Int64  // attempts that reached a process and got no response
}

func startFleet(t *testing.T, d deployment) *fleet {
	t.Helper()
	f := &fleet{T: t, deployment: d}
	flags := append([]string{"-rate", "100000"}, d.flags...)
	for range d.processes {
		f.servers = append(f.servers, docsapitest.Start(t, flags...))
	}
	base := &http.Transport{MaxIdleConnsPerHost: 2 * killers}
	t.Cleanup(base.CloseIdleConnections)
	f.client = &http.Client{Transport: &retry.Transport{
		Base:    roundTripper(func(r *http.Request) (*http.Response, error) { return base.RoundTrip(f.routed(r)) }),
		Policy:  &retry.Policy{MaxAttempts: -1, BaseDelay: 5 * time.Millisecond, MaxDelay: 100 * time.Millisecond, Budget: &retry.Budget{Tokens: -1}},
		Breaker: &retry.Breaker{FailureRatio: -1},
		Logger:  slog.New(slog.DiscardHandler),
		Observe: func(_ context.Context, e retry.Event) {
			if err := e.Attempt.Err; e.Kind == retry.KindAttempt && err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
				f.broken.Add(1)
			}
		},
	}}
	return f
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// routed sends each attempt to the next process.
func (f *fleet) routed(r *http.Request) *http.Request {
	u, _ := url.Parse(f.servers[f.turn.Add(1)%uint64(len(f.servers))].URL)
	r = r.Clone(r.Context())
	r.URL.Host = u.Host
	return r
}

// killWhileWriting kills one process after another, in the middle of writes.
func (f *fleet) killWhileWriting() []*writer {
	f.Helper()
	ctx, stop := context.WithCancel(f.Context())
	var writing sync.WaitGroup
	defer writing.Wait()
	defer stop()
	writers := make([]*writer, killers)
	for i := range writers {
		w := &writer{fleet: f, name: fmt.Sprintf("writer-%d", i), fates: make(map[string]*fate)}
		writers[i] = w
		writing.Go(func() {
			for n := 0; ctx.Err() == nil && !f.Failed(); n++ {
				w.liveAndDie(n)
			}
		})
	}
	for i := 0; i < *kills || f.broken.Load() == 0 && i < 10**kills; i++ { // more if none has hit a request
		f.await(1 + rand.Int64N(2*killEvery))
		server := f.servers[i%len(f.servers)]
		server.Kill()
		server.Restart()
	}
	f.await(killEvery)
	return writers
}

// await waits until a number of writes have succeeded.
func (f *fleet) await(writes int64) {
	f.Helper()
	goal := f.done.Load() + writes
	require.Eventually(f, func() bool { return f.done.Load() >= goal || f.Failed() }, writeLimit, time.Millisecond)
}

// A writer is a client that writes one resource after another.
type writer struct {
	*fleet
	name   string
	writes []*write
	fates  map[string]*fate // by the name of the resource
}

// fate is what a client knows about a resource.
type fate struct {
	id     string   // empty if the client was not told
	states []string // in which the resource may be: gone, or a version
}

const gone = "gone"

// A write is a request that a client sends until it has an answer.
type write struct {
	method, path, key, body string
	want                    int
	answer                  string // the body of the first answer
}

// liveAndDie creates a resource, changes it twice, and deletes every other one.
func (w *writer) liveAndDie(n int) {
	name := fmt.Sprintf("%s-%d", w.name, n)
	life := &fate{states: []string{gone}}
	w.fates[name] = life
	create := &write{method: "POST", path: "/v1/resources", key: name, body: fmt.Sprintf(`{"name":%q,"metadata":{"version":"0"}}`, name), want: 201}
	if !w.step(life, "0", create, n%3 == 0) {
		return
	}
	var created resource
	if err := json.Unmarshal([]byte(create.answer), &created); err != nil {
		w.Errorf("%s: %v", create.answer, err)
		return
	}
	life.id = created.ID
	one := "/v1/resources/" + created.ID
	for _, version := range []string{"1", "2"} {
		body := fmt.Sprintf(`{"metadata":{"version":%q}}`, version)
		if !w.step(life, version, &write{method: "PATCH", path: one, key: name + "-" + version, body: body, want: 200}, false) {
			return
		}
	}
	if n%2 == 0 { // a second run would find nothing: 404
		w.step(life, gone, &write{method: "DELETE", path: one, key: name + "-delete", want: 200}, n%4 == 0)
	}
}

// step sends a write, which brings a resource into a state. It reports whether it has succeeded. A
// write that is sent twice at the same time has one effect and one answer.
func (w *writer) step(life *fate, state string, what *write, twice bool) (ok bool) {
	before := life.states
	life.states = append(slices.Clone(before), state) // until there is an answer
	var duplicate sync.WaitGroup
	var second string
	if twice {
		duplicate.Go(func() { second, _ = w.send(what) })
	}
	first, ok := w.send(what)
	duplicate.Wait()
	if !ok {
		return false
	}
	life.states = []string{state}
	what.answer = first
	w.writes = append(w.writes, what)
	w.done.Add(1)
	if twice && second != "" {
		assert.Equal(w, first, second, "the answer to a duplicate of %s", what.key)
	}
	return true
}

// send sends a write until it has a whole answer. It is not ok if the outcome is unknown.
func (w *writer) send(what *write) (answer string, ok bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.Context()), writeLimit)
	defer cancel()
	for {
		a, err := w.attempt(ctx, what)
		switch {
		case err != nil && ctx.Err() == nil:
			continue // the process was killed in the middle of its answer
		case err != nil:
			w.Errorf("%s %s: %v", what.method, what.key, err)
			return "", false
		case a.status == http.StatusConflict && w.mayBeUnknown && strings.Contains(a.body, string(apierror.CodeIdempotencyOutcomeUnknown)):
			return "", false
		}
		return a.body, assert.Equal(w, what.want, a.status, "%s %s: %s", what.method, what.key, a.body)
	}
}

func (f *fleet) attempt(ctx context.Context, what *write) (answer, error) {
	return do(ctx, f.client, what.method, f.servers[0].URL+what.path, docsapitest.KeyDemo, what.body, "Idempotency-Key", what.key)
}

// requireEveryFate requires that the service has what the clients were told, and nothing else.
func (f *fleet) requireEveryFate(writers []*writer) {
	f.Helper()
	fates := make(map[string]*fate)
	for _, w := range writers {
		maps.Copy(fates, w.fates)
	}
	seen := make(map[string]bool)
	for _, r := range f.listAll() {
		life := fates[r.Name]
		require.NotNil(f, life, "nobody has created %+v", r)
		require.False(f, seen[r.Name], "%s is there twice", r.Name)
		require.Equal(f, cmp.Or(life.id, r.ID), r.ID, "%s has another id than its client was told", r.Name)
		require.Contains(f, life.states, r.Metadata["version"], "%s is not as its client was told", r.Name)
		seen[r.Name] = true
	}
	for name, life := range fates {
		require.True(f, seen[name] || slices.Contains(life.states, gone), "%s is lost", name)
	}
}

// listAll returns all resources.
func (f *fleet) listAll() (all []resource) {
	f.Helper()
	for cursor := ""; ; {
		var p page
		path := "/v1/resources?limit=100&cursor=" + cursor
		a, err := f.attempt(f.Context(), &write{method: "GET", path: path})
		require.NoError(f, err)
		require.Equal(f, http.StatusOK, a.status, a.body)
		require.NoError(f, json.Unmarshal([]byte(a.body), &p))
		all = append(all, p.Data...)
		if cursor = p.NextCursor; cursor == "" {
			return all
		}
	}
}

// requireEveryReplay requires that each write still has its first answer.
func (f *fleet) requireEveryReplay(writers []*writer) {
	f.Helper()
	replays := 0
	for _, w := range writers {
		for _, what := range w.writes {
			a, err := f.attempt(f.Context(), what)
			require.NoError(f, err)
			require.Equal(f, what.want, a.status, a.body)
			require.Equal(f, "true", a.header.Get("Idempotent-Replayed"), what.key)
			require.Equal(f, what.answer, a.body, what.key)
			replays++
		}
	}
	f.Logf("%d writes, %d attempts that a kill has broken", replays, f.broken.Load())
}
