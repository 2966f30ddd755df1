package chaos_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/proxy"
	"github.com/seawall-go/seawall/internal/chaos/service"
	"github.com/seawall-go/seawall/internal/chaos/stores"
)

// A nemesis causes the faults of an episode. Its seed decides which ones, in which order, and for
// how long, but for the failpoints that end or stop a server: the rarest ones so far come first. It
// does not decide which requests they hit, nor how late a proxy or a slow link is, nor how far a
// clock jumps.
type nemesis struct {
	seed     uint64
	ways     []history.Way
	hits     map[service.Arm]int // of earlier episodes, and what this one has armed since
	store    *stores.Store
	servers  []*server
	clients  []*process
	provider *process
	record   func(history.Event)
	fail     func(error) // says what went wrong in the test itself, and ends the episode

	// trouble is held while a process is dead or stopped or a link or the store is in trouble, and
	// for a lease longer, so that the effects of one trouble can be told from those of another.
	// Sometimes it is not.
	trouble sync.Mutex
}

// A server is a process of the service, with the proxy that clients use, and its own to the
// provider.
type server struct {
	*process
	addr  string
	proxy *proxy.HTTP
	toPay *proxy.TCP
}

func (s *server) url() string { return "http://" + s.addr }

// watch continues processes that have stopped, and records stalls of the machine, until stop is
// called.
func (n *nemesis) watch(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for _, p := range n.processes() {
		all.Go(func() { n.resume(ctx, p) })
	}
	all.Go(func() { history.WatchStalls(ctx, "machine", n.record) })
	return func() {
		cancel()
		all.Wait()
	}
}

// attack causes faults for a time. It returns when all processes live again. In the first quarter
// of the time, faults hit only single requests, so that the effect of each one can be seen alone.
func (n *nemesis) attack(episode context.Context, lasts time.Duration) {
	ctx, cancel := context.WithTimeout(episode, lasts)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() { n.armFailpoints(ctx) })
	all.Go(func() { n.armProxies(ctx) })
	if history.Sleep(ctx, lasts/4) {
		all.Go(func() { n.armHardFailpoints(ctx) })
		all.Go(func() { n.causePeriods(ctx) })
	}
	all.Wait()
	for _, s := range n.servers {
		s.proxy.Disarm()
		if err := s.disarm(); err != nil {
			n.fail(err)
		}
	}
	if !n.awaitHealth(episode) && episode.Err() == nil {
		n.fail(errors.New("not all processes live after the attack"))
	}
}

func (n *nemesis) processes() []*process {
	all := append([]*process{n.provider}, n.clients...)
	for _, s := range n.servers {
		all = append(all, s.process)
	}
	return all
}

func (n *nemesis) random(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(n.seed, stream)) }

// streamOf returns the stream of random numbers for a purpose.
func streamOf(purpose string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, purpose)
	return h.Sum64()
}

// calm returns the time between two faults of single requests, given that of a fast store.
func (n *nemesis) calm(d time.Duration) time.Duration {
	if n.store.Name == stores.SQLite {
		return 6 * d
	}
	return d
}

// between returns a random duration.
func between(random *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(random.Int64N(int64(high-low)))
}

// isHard reports whether an action ends or stops a process.
func isHard(a history.Action) bool { return a == history.Kill || a == history.Stop }

// armFailpoints arms the failpoints that leave the servers alive again and again, in random order.
func (n *nemesis) armFailpoints(ctx context.Context) {
	random := n.random(1)
	deck := n.failpoints(false)
	for {
		random.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		for _, a := range deck {
			n.arm(random, a)
			if !history.Sleep(ctx, n.calm(between(random, 10*time.Millisecond, 50*time.Millisecond))) {
				return
			}
		}
	}
}

// armHardFailpoints arms the failpoints that end or stop a server, one by one. There is time for
// only a few of them, so it arms the one that the run has hit least.
func (n *nemesis) armHardFailpoints(ctx context.Context) {
	random := n.random(2)
	deck := n.failpoints(true)
	for ctx.Err() == nil {
		random.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		a := rarest(deck, n.hits)
		n.hits[a]++
		n.perhapsAlone(ctx, random.IntN(4) > 0, func() {
			n.arm(random, a)
			history.Sleep(ctx, n.calm(between(random, 100*time.Millisecond, 300*time.Millisecond)))
		})
	}
}

// rarest returns the first of those failpoints that were never hit in their way, or else that were
// hit least in all ways.
func rarest(deck []service.Arm, hits map[service.Arm]int) service.Arm {
	inAllWays := make(map[service.Arm]int)
	for a, n := range hits {
		a.Way = ""
		inAllWays[a] += n
	}
	return slices.MinFunc(deck, func(a, b service.Arm) int {
		inWay := cmp.Compare(hits[a], hits[b])
		if min(hits[a], hits[b]) == 0 {
			return inWay
		}
		a.Way, b.Way = "", ""
		return cmp.Or(cmp.Compare(inAllWays[a], inAllWays[b]), inWay)
	})
}

// failpoints returns the hard failpoints of the servers, or the others.
func (n *nemesis) failpoints(hard bool) (deck []service.Arm) {
	for _, w := range n.ways {
		for _, a := range service.Failpoints(w) {
			if isHard(a.Action) == hard && a.Suits(n.store.Name) {
				deck = append(deck, a)
			}
		}
	}
	return deck
}

// perhapsAlone causes a trouble. If it is to be alone, no other trouble begins until all processes
// live again, and for a lease after that.
func (n *nemesis) perhapsAlone(ctx context.Context, alone bool, cause func()) {
	if !alone {
		cause()
		return
	}
	n.trouble.Lock()
	defer n.trouble.Unlock()
	cause()
	n.awaitHealth(ctx)
	history.Sleep(ctx, service.Lease)
}

// arm arms a failpoint of a server that lives.
func (n *nemesis) arm(random *rand.Rand, a service.Arm) {
	first := random.IntN(len(n.servers))
	for i := range n.servers {
		if s := n.servers[(first+i)%len(n.servers)]; s.isUp() {
			if err := s.arm(a); err != nil {
				n.fail(err)
			}
			return
		}
	}
}

// arm arms a failpoint, if the server lives.
func (s *server) arm(a service.Arm) error {
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return s.control(http.MethodPost, body, time.Second)
}

// disarm removes all failpoints, if the server lives. A server that is stopped does it later.
func (s *server) disarm() error { return s.control(http.MethodDelete, nil, patience) }

func (s *server) control(method string, body []byte, timeout time.Duration) error {
	r, err := http.NewRequest(method, s.url()+"/chaos/arm", bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Timeout: timeout}).Do(r)
	if err != nil {
		return nil // it does not live
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s refuses %s: %s", s.name, body, text)
	}
	return nil
}

// armProxies harms single requests on their way.
func (n *nemesis) armProxies(ctx context.Context) {
	random := n.random(3)
	actions := []history.Action{
		history.Delay, history.Duplicate, history.Cut, history.DropReply, history.Half, history.Unsent,
	}
	for history.Sleep(ctx, n.calm(between(random, 20*time.Millisecond, 80*time.Millisecond))) {
		n.servers[random.IntN(len(n.servers))].proxy.Arm(actions[random.IntN(len(actions))])
	}
}

// causePeriods causes one longer trouble after the other.
func (n *nemesis) causePeriods(ctx context.Context) {
	random := n.random(4)
	faults := n.faults()
	for {
		random.Shuffle(len(faults), func(i, j int) { faults[i], faults[j] = faults[j], faults[i] })
		for _, f := range faults {
			lasts, calm := between(random, 200*time.Millisecond, 2*time.Second), between(random, 500*time.Millisecond, 3*time.Second)
			n.perhapsAlone(ctx, random.IntN(4) > 0, func() { n.cause(ctx, f, lasts) })
			if !history.Sleep(ctx, calm) {
				return
			}
		}
	}
}

// cause causes one trouble. The periods of processes are recorded by those who end them.
func (n *nemesis) cause(ctx context.Context, f stores.Fault, lasts time.Duration) {
	from := history.Now()
	if err := f.Begin(); err != nil {
		n.fail(fmt.Errorf("%s: %s: %w", f.Target, f.Kind, err))
		return
	}
	if f.End == nil {
		return
	}
	history.Sleep(ctx, lasts)
	if err := f.End(); err != nil {
		n.fail(fmt.Errorf("the end of %s: %s: %w", f.Target, f.Kind, err))
		return
	}
	n.record(history.Event{Period: &history.Period{Kind: f.Kind, Target: f.Target, From: from, To: history.Now()}})
}

// faults returns the store's faults, and those of the processes and of the links between them. A
// fault without an End ends by itself: a process that was killed or stopped is continued.
func (n *nemesis) faults() []stores.Fault {
	all := slices.Clone(n.store.Faults)
	strike := func(p *process, kind string, s syscall.Signal) {
		all = append(all, stores.Fault{Kind: kind, Target: p.name, Begin: func() error { p.strike(s); return nil }})
	}
	for _, s := range n.servers {
		strike(s.process, "kill", syscall.SIGKILL)
		strike(s.process, "stop", syscall.SIGSTOP)
		all = append(all, stores.LinkFaults(s.name+"-provider", s.toPay)...)
		link := func(kind string, set func(on bool)) {
			all = append(all, stores.Fault{
				Kind: kind, Target: "clients-" + s.name,
				Begin: func() error { set(true); return nil }, End: func() error { set(false); return nil },
			})
		}
		link("down", s.proxy.SetDown)
		link("silent", s.proxy.SetSilent)
		link("slow", func(on bool) {
			if on {
				s.proxy.SetSlow(200 * time.Millisecond)
			} else {
				s.proxy.SetSlow(0)
			}
		})
	}
	for _, c := range n.clients {
		strike(c, "kill", syscall.SIGKILL)
	}
	strike(n.provider, "stop", syscall.SIGSTOP)
	return all
}

// resume continues a process that has stopped, for whatever reason, after longer than a lease.
func (n *nemesis) resume(ctx context.Context, p *process) {
	random := n.random(streamOf("stops of " + p.name))
	for history.Sleep(ctx, 10*time.Millisecond) {
		if !p.isStopped() {
			continue
		}
		from, target := history.Now(), p.incarnation()
		history.Sleep(ctx, between(random, service.Lease+service.Lease/5, 2*service.Lease))
		p.signal(syscall.SIGCONT)
		n.record(history.Event{Period: &history.Period{Kind: "stop", Target: target, From: from, To: history.Now()}})
	}
}

// awaitHealth returns true when all processes live and none is stopped, or false if ctx ends first
// or patience is over.
func (n *nemesis) awaitHealth(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		down := slices.ContainsFunc(n.processes(), func(p *process) bool { return !p.isUp() })
		if !down || !history.Sleep(ctx, 5*time.Millisecond) {
			return !down
		}
	}
}
