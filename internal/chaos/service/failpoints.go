package service

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/chaos/history"
)

// call is a keyed request on its way through this process. It is in the context of the request,
// and so in that of each call of the store.
type call struct {
	key   string // principal/key
	way   history.Way
	run   string // of the last run; empty before the handler runs
	large bool   // the response is to be over MaxResponse

	reply replyWriter
}

type callKey struct{}

// callFrom returns the call of a context. It is nil for what is not done for a request.
func callFrom(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// A place is where arms wait for a request. Some windows have two: the call of the store, and the
// handler or what is around it.
type place struct {
	window history.Window
	store  bool
}

// placeOf returns where the arm takes effect.
func placeOf(a Arm) place { return place{a.Window, hasTwoPlaces(a.Window) && isStoreFault(a.Action)} }

func hasTwoPlaces(w history.Window) bool {
	return w == history.BeforeClaim || w == history.AfterClaim || w == history.BeforeMark || w == history.AfterMark
}

func isStoreFault(a history.Action) bool {
	return a == history.Lose || a == history.Refuse || a == history.Down || a == history.Full
}

// failpoints are the arms of a server.
type failpoints struct {
	server  string
	history *history.Writer
	waiting map[place]*arms // never changes

	downs  atomic.Int32
	mu     sync.Mutex
	downTo map[string]time.Time // until when the store is down for a key
}

// arms are those that wait at a place.
type arms struct {
	n    atomic.Int32 // so that a request that finds none takes no lock
	mu   sync.Mutex
	list []Arm
}

func newFailpoints(server string, w *history.Writer) *failpoints {
	f := &failpoints{server: server, history: w, waiting: make(map[place]*arms), downTo: make(map[string]time.Time)}
	for _, way := range ways {
		for _, a := range Failpoints(way) {
			f.waiting[placeOf(a)] = new(arms)
		}
	}
	return f
}

// arm adds an arm.
func (f *failpoints) arm(a Arm) {
	p := f.waiting[placeOf(a)]
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, a)
	p.n.Add(1)
}

// disarm removes all arms.
func (f *failpoints) disarm() {
	for _, p := range f.waiting {
		p.mu.Lock()
		p.n.Add(int32(-len(p.list)))
		p.list = nil
		p.mu.Unlock()
	}
}

// armed returns how many arms wait.
func (f *failpoints) armed() (n int) {
	for _, p := range f.waiting {
		n += int(p.n.Load())
	}
	return n
}

// take returns what happens to the call here, and removes that arm. It is empty if nothing does.
// The hit is written first. An action that is skipped waits for another request.
func (f *failpoints) take(c *call, at place, skip history.Action) history.Action {
	p := f.waiting[at]
	if p == nil || p.n.Load() == 0 {
		return ""
	}
	p.mu.Lock()
	i := slices.IndexFunc(p.list, func(a Arm) bool {
		return a.Action != skip && (a.Way == c.way || a.Way == "" && isPossible(a, c.way))
	})
	if i < 0 {
		p.mu.Unlock()
		return ""
	}
	a := p.list[i]
	p.list = slices.Delete(p.list, i, i+1)
	p.n.Add(-1)
	p.mu.Unlock()
	f.history.Write(history.Event{Hit: &history.Hit{
		Key: c.key, Way: c.way, Window: a.Window, Action: a.Action, Server: f.server, Run: c.run, At: history.Now(),
	}})
	return a.Action
}

var (
	errDeclined = errors.New("the payment was declined")
	errRefused  = errors.New("chaos: the call was refused")
	errLost     = errors.New("chaos: the reply was lost")
	errDown     = errors.New("chaos: the store is down")
)

// at is a window of the handler, or around it. An error is what the handler returns.
func (f *failpoints) at(ctx context.Context, c *call, w history.Window) error {
	switch a := f.take(c, place{w, false}, ""); a {
	case "":
		return nil
	case history.Pause:
		time.Sleep(3 * Lease)
		return nil
	case history.Panic:
		panic("chaos: a handler panics")
	case history.Fail:
		return apierror.CodeAPIError.Messagef("The handler has failed.")
	case history.Decline:
		return errDeclined
	case history.Forget:
		idempotent.Forget(ctx)
		return codeNothingDone
	case history.Overrun:
		<-ctx.Done()
		return context.Cause(ctx)
	case history.Large:
		c.large = true
		return nil
	case history.Lose:
		if w == history.AfterCommit {
			return apierror.ServiceUnavailable(time.Second).WithCause(errLost)
		}
		return codeProviderFailed.New().WithCause(errLost)
	case history.Refuse:
		return apierror.ServiceUnavailable(time.Second).WithCause(errRefused)
	default:
		end(a)
		return nil
	}
}

// end ends the process, or stops it until it is continued.
func end(a history.Action) {
	switch a {
	case history.Kill:
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case history.Stop:
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		time.Sleep(20 * time.Millisecond) // this thread may run on for a moment
	}
}

// fault is a window of a call of the store. An error is what the call returns.
func (f *failpoints) fault(c *call, w history.Window) error { return f.faultBut(c, w, "") }

// faultBut is fault without an action.
func (f *failpoints) faultBut(c *call, w history.Window, skip history.Action) error {
	if c == nil {
		return nil
	}
	before := w == history.BeforeClaim || w == history.BeforeMark || w == history.BeforeFinish
	if before && f.isDown(c.key) {
		return errDown
	}
	switch a := f.take(c, place{w, hasTwoPlaces(w)}, skip); a {
	case history.Refuse:
		return errRefused
	case history.Lose:
		return errLost
	case history.Full:
		return idempotent.ErrFull
	case history.Down:
		f.setDown(c.key)
		if before {
			return errDown
		}
	case history.Pause:
		time.Sleep(3 * Lease)
	default:
		end(a)
	}
	return nil
}

// setDown makes the store fail for a key, for longer than the Guard tries and than the lease.
func (f *failpoints) setDown(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.downTo[key]; !ok {
		f.downs.Add(1)
	}
	f.downTo[key] = time.Now().Add(3*StoreTimeout + 2*Lease)
}

func (f *failpoints) isDown(key string) bool {
	if f.downs.Load() == 0 {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	end, ok := f.downTo[key]
	if ok && !time.Now().Before(end) {
		delete(f.downTo, key)
		f.downs.Add(-1)
		return false
	}
	return ok
}

// waits reports whether an arm waits in a window of the handler.
func (f *failpoints) waits(w history.Window) bool { return f.waiting[place{w, false}].n.Load() > 0 }
