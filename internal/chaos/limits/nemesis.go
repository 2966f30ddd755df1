package limits

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/redistest"
)

// patience is how long a process may take to start.
const patience = 20 * time.Second

// The kinds of faults.
const (
	redisKilled   = "redis killed"   // and restarted with its data
	redisForgets  = "redis forgets"  // killed, and restarted without its data
	redisStopped  = "redis stopped"  // SIGSTOP
	linkDown      = "link down"      // of one server
	linkSilent    = "link silent"    // what it sends is swallowed
	linkSlow      = "link slow"      // what it sends arrives late
	repliesLost   = "replies lost"   // what it sends arrives, and the connection ends before the reply
	serverKilled  = "server killed"  // and restarted
	serverStopped = "server stopped" // SIGSTOP
)

var (
	storeKinds  = []string{redisKilled, redisForgets, redisStopped}
	linkKinds   = []string{linkDown, linkSilent, linkSlow, repliesLost}
	serverKinds = []string{serverKilled, serverStopped}
)

// A fault is a trouble that has ended.
type fault struct {
	span

	kind   string
	server int  // its number, or -1 if it is the store's
	solid  span // when the store surely gave no reply; zero if it may have given some
}

func (f fault) hits(server int) bool { return f.server < 0 || f.server == server }

// A fleet is the processes of a run.
type fleet struct {
	tb      testing.TB
	dir     string
	data    string // of Redis
	redis   *redistest.Server
	servers []*process

	mu     sync.Mutex
	faults []fault
}

// A process is a server with its proxy to Redis.
type process struct {
	number      int
	incarnation int
	addr        string
	proxy       *redistest.Proxy
	cmd         *exec.Cmd
}

func newFleet(tb testing.TB) *fleet {
	tb.Helper()
	f := &fleet{tb: tb, dir: tb.TempDir(), data: tb.TempDir()}
	var err error
	// Redis writes each change before it replies, and only a crash of the machine needs an fsync.
	if f.redis, err = redistest.Launch(f.data, "appendonly yes", "appendfsync no"); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(f.redis.Kill)
	for i := range processes {
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		p := &process{number: i, addr: l.Addr().String(), proxy: redistest.NewProxy(tb, f.redis.Addr)}
		_ = l.Close()
		if err := f.start(p); err != nil {
			tb.Fatal(err)
		}
		f.servers = append(f.servers, p)
		tb.Cleanup(p.kill)
	}
	return f
}

// start starts the next incarnation of a server, and returns when it answers.
func (f *fleet) start(p *process) error {
	p.incarnation++
	name := fmt.Sprintf("s%d.%d", p.number, p.incarnation)
	c, err := json.Marshal(config{name, p.addr, p.proxy.Addr, filepath.Join(f.dir, name+".jsonl")})
	if err != nil {
		return err
	}
	stderr, err := os.Create(filepath.Join(f.dir, name+".stderr")) //nolint:gosec // in a temporary folder
	if err != nil {
		return err
	}
	defer stderr.Close()
	p.cmd = exec.Command(os.Args[0]) //nolint:gosec,noctx // this program; kill ends it
	p.cmd.Env = append(os.Environ(), envConfig+"="+string(c))
	p.cmd.Stderr = stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if resp, err := http.Get("http://" + p.addr + "/ready"); err == nil { //nolint:noctx // it is ours
			return resp.Body.Close()
		}
	}
	return fmt.Errorf("limits: %s does not answer", name)
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// attack makes faults until ctx ends: rounds in which each kind has its turn once, and before each
// a calm in which everything must have recovered. pace is the usual length of a fault.
func (f *fleet) attack(ctx context.Context, seed uint64, pace time.Duration) {
	for round := uint64(0); ctx.Err() == nil; round++ {
		history.Sleep(ctx, calm)
		var lanes sync.WaitGroup
		for i, kinds := range [][]string{storeKinds, linkKinds, serverKinds} {
			r := rand.New(rand.NewPCG(seed, round<<8|uint64(i)))
			lanes.Go(func() {
				for _, k := range r.Perm(len(kinds)) {
					history.Sleep(ctx, between(r, pace/2, pace))
					if ctx.Err() != nil {
						return
					}
					if err := f.fault(r, kinds[k], between(r, pace/2, 3*pace/2)); err != nil {
						f.tb.Errorf("limits: %s: %v", kinds[k], err)
						return
					}
				}
			})
		}
		lanes.Wait()
	}
}

// calm is the time between two rounds.
const calm = grace + 1400*time.Millisecond

func between(r *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(r.Int64N(int64(high-low)))
}

// fault makes a fault, and ends it after the time.
func (f *fleet) fault(r *rand.Rand, kind string, lasts time.Duration) (err error) {
	p := f.servers[r.IntN(len(f.servers))]
	if kind == serverKilled || kind == serverStopped {
		return f.harm(kind, p, lasts)
	}
	x := fault{kind: kind, server: p.number, span: span{from: history.Now()}}
	var end func() error
	nothing := func(f func()) func() error { return func() error { f(); return nil } }
	silence := true // whether there are no replies
	switch kind {
	case redisKilled, redisForgets:
		x.server = -1
		f.redis.Kill()
		if kind == redisForgets {
			if err := os.RemoveAll(filepath.Join(f.data, "appendonlydir")); err != nil {
				return err
			}
		}
		end = f.restart
	case redisStopped:
		x.server = -1
		f.redis.Pause()
		end = nothing(f.redis.Resume)
	case linkDown:
		p.proxy.SetDown(true)
		end = nothing(func() { p.proxy.SetDown(false) })
	case linkSilent:
		p.proxy.SetSilent(true)
		end = nothing(func() { p.proxy.SetSilent(false) })
	case linkSlow:
		silence = false
		p.proxy.SetDelay(between(r, timeout/2, 3*timeout/2))
		end = nothing(func() { p.proxy.SetDelay(0) })
	case repliesLost:
		silence = false
		end = loseReplies(p.proxy)
	}
	x.solid.from = history.Now() + int64(5*time.Millisecond) // a signal needs a moment
	time.Sleep(lasts)
	x.solid.to = history.Now()
	err = end()
	if !silence {
		x.solid = span{}
	}
	f.ended(x)
	return err
}

// harm is fault for a server itself.
func (f *fleet) harm(kind string, p *process, lasts time.Duration) (err error) {
	x := fault{kind: kind, server: p.number, span: span{from: history.Now()}}
	if kind == serverKilled {
		p.kill()
		time.Sleep(lasts / 4)
		err = f.start(p)
	} else if err = p.cmd.Process.Signal(syscall.SIGSTOP); err == nil {
		time.Sleep(2 * lasts)
		err = p.cmd.Process.Signal(syscall.SIGCONT)
	}
	f.ended(x)
	return err
}

func (f *fleet) ended(x fault) {
	x.to = history.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, x)
}

// restart starts Redis again. Another process may have taken its port for a moment.
func (f *fleet) restart() (err error) {
	for range 10 {
		if err = f.redis.Run(); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

// loseReplies makes a proxy lose one reply to a script after another.
func loseReplies(p *redistest.Proxy) (end func() error) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-p.DropReply("evalsha"):
				time.Sleep(25 * time.Millisecond) // a client that sends a script again gets a reply
			case <-done:
				return
			}
		}
	})
	return func() error {
		close(done)
		wg.Wait()
		p.DropReply("no command has this in it")
		return nil
	}
}

// entries returns the journals of all servers, and what the servers have written elsewhere, which
// must be nothing.
func (f *fleet) entries() (entries []*entry, noise string, err error) {
	files, err := filepath.Glob(filepath.Join(f.dir, "s*"))
	if err != nil {
		return nil, "", err
	}
	for _, file := range files {
		data, err := os.ReadFile(file) //nolint:gosec // in a temporary folder
		if err != nil {
			return nil, "", err
		}
		name, isJournal := bytes.CutSuffix([]byte(filepath.Base(file)), []byte(".jsonl"))
		if !isJournal {
			noise += string(data)
			continue
		}
		for line := range bytes.Lines(data) {
			if line[len(line)-1] != '\n' {
				break // it was killed
			}
			e := &entry{server: string(name)}
			if err := json.Unmarshal(line, e); err != nil {
				return nil, "", fmt.Errorf("%s: %w: %s", file, err, line)
			}
			entries = append(entries, e)
		}
	}
	return entries, noise, nil
}
