// Package stores starts the real store of an episode, and makes it fail.
package stores

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/proxy"
)

// The names of the stores.
const (
	Memory        = "memory"         // in each server; nothing is shared
	Redis         = "redis"          // one server, appendfsync always
	RedisCluster  = "redis cluster"  // three masters, appendfsync always, no failover
	RedisFailover = "redis failover" // three masters, a replica each; a master that is killed is replaced
	PostgreSQL    = "postgresql"
	SQLite        = "sqlite"
)

// A Store is a running store.
type Store struct {
	Name string
	Ways []history.Way

	// Addrs and Via are those of the service's config for a server, counted from 0. Each server has
	// its own proxies.
	Addrs func(server int) []string
	Via   func(server int) map[string]string

	// Faults are what can happen to the store, and to the way between it and the servers.
	Faults []Fault

	// Effects returns the effects in the store's database, if it has some.
	Effects func(ctx context.Context) ([]history.Effect, error)

	// Heal ends all faults, whatever their state, and returns when the store works.
	Heal func() error
}

// A Fault is a trouble that begins and ends. The nemesis never begins two faults with the same
// Target at the same time. How late a slow way is, and how far a clock jumps, is random: no seed
// decides it.
type Fault struct {
	Kind   string // such as "kill", "stop", "slow", "down", "silent", "full", "full by a trigger", "clock forward"
	Target string // "store", "store 2", or "s1-store" for the way between a server and the store
	Begin  func() error
	End    func() error
}

// patience is how long a healed store may take to work.
const patience = 30 * time.Second

var (
	external      = []history.Way{history.Plain, history.BeginEffect, history.DerivedKey}
	transactional = []history.Way{history.Executor, history.FinishTx, history.BeginEffectTx}
)

// Start starts a store for a number of servers, until the test ends.
func Start(tb testing.TB, name string, servers int) *Store {
	tb.Helper()
	s := &Store{
		Name: name, Ways: external,
		Addrs:   func(int) []string { return nil },
		Via:     func(int) map[string]string { return nil },
		Effects: func(context.Context) ([]history.Effect, error) { return nil, nil },
		Heal:    func() error { return nil },
	}
	switch name {
	case Memory:
	case Redis:
		startRedis(tb, s, servers)
	case RedisCluster, RedisFailover:
		startCluster(tb, s, servers)
	case PostgreSQL:
		startPostgres(tb, s, servers)
	case SQLite:
		startSQLite(tb, s)
	default:
		tb.Fatalf("stores: no store %q", name)
	}
	return s
}

// A server is a process of a store: a redistest.Server or a pgtest.Server.
type server interface {
	Run() error
	Kill()
	Pause()
	Resume()
}

// A process is a server that faults of the nemesis and heal can reach at the same time.
type process struct {
	server

	mu   sync.Mutex
	dead bool
}

// kill ends the process with a method of its server.
func (p *process) kill(end func()) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.dead {
		end()
		p.dead = true
	}
	return nil
}

// revive starts the process again, or continues it.
func (p *process) revive() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.dead {
		p.Resume()
		return nil
	}
	err := await("a process that was killed", p.Run) // its port may be taken for a moment
	p.dead = err != nil
	return err
}

// faults are the ends and the pauses of the process.
func (p *process) faults(target string) []Fault {
	return []Fault{
		{Kind: "kill", Target: target, Begin: func() error { return p.kill(p.Kill) }, End: p.revive},
		{Kind: "stop", Target: target, Begin: func() error { p.Pause(); return nil }, End: p.revive},
	}
}

// links are the proxies of each server.
type links [][]*proxy.TCP

func newLinks(tb testing.TB, servers int, addrs ...string) links {
	tb.Helper()
	l := make(links, servers)
	for i := range l {
		for _, addr := range addrs {
			l[i] = append(l[i], proxy.NewTCP(tb, addr))
		}
	}
	return l
}

// heal ends all faults.
func (l links) heal() error {
	for _, p := range slices.Concat(l...) {
		p.SetDown(false)
		p.SetSilent(false)
		p.SetDeaf(false)
		p.SetSlow(0)
		p.SetCut(0)
	}
	return nil
}

// link is the Target of a server's way to the store.
func link(server int) string { return fmt.Sprintf("s%d-store", server) }

// faults are those of the way of each server, and a slowness of all ways.
func (l links) faults() (faults []Fault) {
	for i, proxies := range l {
		faults = append(faults, LinkFaults(link(i), proxies...)...)
	}
	return append(faults, fault("slow", "store", slices.Concat(l...), slow, fast))
}

// LinkFaults returns the faults of a way through proxies.
func LinkFaults(target string, proxies ...*proxy.TCP) []Fault {
	return []Fault{
		fault("down", target, proxies, func(p *proxy.TCP) { p.SetDown(true) }, func(p *proxy.TCP) { p.SetDown(false) }),
		fault("silent", target, proxies, func(p *proxy.TCP) { p.SetSilent(true) }, func(p *proxy.TCP) { p.SetSilent(false) }),
		fault("deaf", target, proxies, func(p *proxy.TCP) { p.SetDeaf(true) }, func(p *proxy.TCP) { p.SetDeaf(false) }),
		fault("cut", target, proxies, func(p *proxy.TCP) { p.SetCut(0.05) }, func(p *proxy.TCP) { p.SetCut(0) }),
		fault("slow", target, proxies, slow, fast),
	}
}

func fault(kind, target string, proxies []*proxy.TCP, begin, end func(*proxy.TCP)) Fault {
	all := func(f func(*proxy.TCP)) func() error {
		return func() error {
			for _, p := range proxies {
				f(p)
			}
			return nil
		}
	}
	return Fault{Kind: kind, Target: target, Begin: all(begin), End: all(end)}
}

// slow adds a time that is sometimes over the StoreTimeout of the service.
func slow(p *proxy.TCP) { p.SetSlow(random(10*time.Millisecond, 200*time.Millisecond)) }

func fast(p *proxy.TCP) { p.SetSlow(0) }

func random(low, high time.Duration) time.Duration {
	return low + rand.N(high-low)
}

// await calls f until it succeeds.
func await(what string, f func() error) error {
	var err error
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if err = f(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("stores: waited too long for %s: %w", what, err)
}

// all calls all functions, and joins their errors.
func all(functions ...func() error) error {
	var errs []error
	for _, f := range functions {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}
