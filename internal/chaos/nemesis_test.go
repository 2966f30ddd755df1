package chaos_test

import (
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/proxy"
	"github.com/seawall-go/seawall/internal/chaos/service"
	"github.com/seawall-go/seawall/internal/chaos/stores"
)

// A nemesis causes the faults of an episode. Which ones it causes, in which order and for how long
// depends only on its seed.
type nemesis struct {
	seed     uint64
	ways     []history.Way
	store    *stores.Store
	servers  []*server
	clients  []*process
	provider *process
	history  *history.Writer

	// trouble is held while a process is dead or stopped or a link or the store is in trouble, so
	// that the effects of one trouble can be told from those of another. Sometimes it is not.
	trouble sync.Mutex
}

// A server is a process of the service, with the proxy that clients use.
type server struct {
	*process
	addr  string
	proxy *proxy.HTTP
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
	all.Go(func() { n.history.WatchStalls(ctx, "machine") })
	return func() {
		cancel()
		all.Wait()
	}
}

// attack causes faults for a time. It returns when all of them are over. In the first third of the
// time, faults hit only single requests, so that the effect of each one can be seen alone.
func (n *nemesis) attack(ctx context.Context, lasts time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, lasts)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() { n.armFailpoints(ctx, 1, false) })
	all.Go(func() { n.armProxies(ctx) })
	if pause(ctx, lasts/3) {
		all.Go(func() { n.armFailpoints(ctx, 2, true) })
		all.Go(func() { n.causePeriods(ctx) })
	}
	all.Wait()
	for _, s := range n.servers {
		s.proxy.Disarm()
		s.disarm()
	}
	n.awaitHealth(context.WithoutCancel(ctx))
}

func (n *nemesis) processes() []*process {
	all := append([]*process{n.provider}, n.clients...)
	for _, s := range n.servers {
		all = append(all, s.process)
	}
	return all
}

func (n *nemesis) random(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(n.seed, stream)) }

// pause waits, and reports false if ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// rarity is how many times rarer the faults of single requests are than with a fast store.
func (n *nemesis) rarity() time.Duration {
	if n.store.Name == stores.SQLite {
		return 6
	}
	return 1
}

// between returns a random duration.
func between(random *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(random.Int64N(int64(high-low)))
}

// isHard reports whether an action ends or stops a process.
func isHard(a history.Action) bool { return a == history.Kill || a == history.Stop }

// armFailpoints arms all failpoints of the servers again and again, in random order. Hard ones are
// armed one by one.
func (n *nemesis) armFailpoints(ctx context.Context, stream uint64, hard bool) {
	random := n.random(stream)
	var deck []service.Arm
	for _, w := range n.ways {
		for _, a := range service.Failpoints(w) {
			if isHard(a.Action) == hard && a.Suits(n.store.Name) {
				a.Way = w
				deck = append(deck, a)
			}
		}
	}
	for {
		random.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		for _, a := range deck {
			s := n.servers[random.IntN(len(n.servers))]
			if !hard {
				s.arm(a)
				if !pause(ctx, n.rarity()*between(random, 10*time.Millisecond, 50*time.Millisecond)) {
					return
				}
				continue
			}
			alone := random.IntN(4) > 0
			if alone {
				n.trouble.Lock()
			}
			s.arm(a)
			goOn := pause(ctx, between(random, 200*time.Millisecond, 800*time.Millisecond))
			if alone {
				n.awaitHealth(ctx)
				n.trouble.Unlock()
			}
			if !goOn {
				return
			}
		}
	}
}

// arm arms a failpoint, if the server lives.
func (s *server) arm(a service.Arm) {
	body, err := json.Marshal(a)
	if err != nil {
		panic(err)
	}
	client := &http.Client{Timeout: time.Second}
	resp, err := client.Post(s.url()+"/chaos/arm", "application/json", strings.NewReader(string(body)))
	if err != nil {
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		text, _ := io.ReadAll(resp.Body)
		panic("chaos: " + string(body) + " is refused: " + string(text))
	}
}

// disarm removes all failpoints, if the server lives.
func (s *server) disarm() {
	r, err := http.NewRequest(http.MethodDelete, s.url()+"/chaos/arm", http.NoBody)
	if err != nil {
		panic(err)
	}
	client := &http.Client{Timeout: patience}
	if resp, err := client.Do(r); err == nil {
		resp.Body.Close()
	}
}

// armProxies harms single requests on their way.
func (n *nemesis) armProxies(ctx context.Context) {
	random := n.random(3)
	actions := []history.Action{
		history.Delay, history.Duplicate, history.Cut, history.DropReply, history.Half, history.Unsent,
	}
	for pause(ctx, n.rarity()*between(random, 20*time.Millisecond, 80*time.Millisecond)) {
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
			alone := random.IntN(4) > 0
			if alone {
				n.trouble.Lock()
			}
			n.cause(ctx, f, lasts)
			if alone {
				n.awaitHealth(ctx)
				n.trouble.Unlock()
			}
			if !pause(ctx, calm) {
				return
			}
		}
	}
}

// cause causes one trouble. The periods of processes are recorded by those who end them.
func (n *nemesis) cause(ctx context.Context, f stores.Fault, lasts time.Duration) {
	from := history.Now()
	if err := f.Begin(); err != nil {
		panic("chaos: " + f.Target + ": " + f.Kind + ": " + err.Error())
	}
	if f.End == nil {
		return
	}
	pause(ctx, lasts)
	if err := f.End(); err != nil {
		panic("chaos: the end of " + f.Target + ": " + f.Kind + ": " + err.Error())
	}
	n.history.Write(history.Event{Period: &history.Period{Kind: f.Kind, Target: f.Target, From: from, To: history.Now()}})
}

// faults returns the store's faults, and those of the processes and of the links between them. A
// fault without an End ends by itself: a process that was killed or stopped is continued.
func (n *nemesis) faults() []stores.Fault {
	all := n.store.Faults
	signal := func(p *process, kind string, s syscall.Signal) {
		all = append(all, stores.Fault{Kind: kind, Target: p.name, Begin: func() error { p.signal(s); return nil }})
	}
	for _, s := range n.servers {
		signal(s.process, "kill", syscall.SIGKILL)
		signal(s.process, "stop", syscall.SIGSTOP)
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
		all = append(all, stores.Fault{Kind: "kill", Target: c.name, Begin: func() error { c.kill(); return nil }})
	}
	signal(n.provider, "stop", syscall.SIGSTOP)
	return all
}

// resume continues a process that has stopped, for whatever reason, after longer than a lease.
func (n *nemesis) resume(ctx context.Context, p *process) {
	random := rand.New(rand.NewPCG(n.seed, uint64(len(p.name))<<32|uint64(p.name[1])))
	for pause(ctx, 10*time.Millisecond) {
		if !p.isStopped() {
			continue
		}
		from, target := history.Now(), p.incarnation()
		pause(ctx, between(random, service.Lease+service.Lease/5, 3*service.Lease))
		p.signal(syscall.SIGCONT)
		n.history.Write(history.Event{Period: &history.Period{Kind: "stop", Target: target, From: from, To: history.Now()}})
	}
}

// awaitHealth returns when all processes live and none is stopped.
func (n *nemesis) awaitHealth(ctx context.Context) {
	healthy := func() bool {
		for _, p := range n.processes() {
			if !p.isUp() {
				return false
			}
		}
		return true
	}
	for !healthy() && pause(ctx, 5*time.Millisecond) { //nolint:revive // it waits
	}
}
