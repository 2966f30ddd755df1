package idempotent

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/seawall-go/seawall/internal/plain"
)

const (
	maxLook      = 1000            // records in one look
	lookTimeout  = 5 * time.Second // of one look
	watchLinger  = 2 * time.Second // a duplicate that waits long waits several times, with short pauses
	firstBackoff = time.Second     // after a Watch that has failed
	lastBackoff  = 30 * time.Second
)

// A Poller helps a store to be a [Waiter] if its back end must be asked, such as an SQL
// database. However many calls wait, one goroutine asks, and it asks for many records
// together. The goroutine exists only while calls wait. A Poller is safe for concurrent use,
// need not be closed, and needs memory only for the calls that wait.
type Poller struct {
	look func(ctx context.Context, ids []ID) (running []ID, err error)
	opt  PollerOptions
	wake chan struct{} // has a capacity of 1; filled when a record is due

	mu      sync.Mutex
	waiting map[ID]map[*waiter]bool
	due     map[ID]bool   // those of waiting to look at next
	looks   int           // that have begun
	workers []*worker     // the one that looks, and the one that watches if there is a Watch
	backoff time.Duration // after the last failure of Watch; 0 once it was ready
	watchAt time.Time     // when to call Watch after its failure; only watch uses it
}

// PollerOptions configure a [Poller]. Nil and the zero value are the defaults.
type PollerOptions struct {
	// Every is the average time between two looks at a record. Each time is chosen at random,
	// between half and one and a half of it. The default is 500 ms.
	Every time.Duration

	// Watch lets the back end report ended runs, so that calls need not wait for the next
	// look. It listens until ctx ends, for example with PostgreSQL's LISTEN, and calls Wake
	// for each run that has ended. It calls ready each time that it has begun to listen: it
	// has missed what happened before, so the Poller then looks at every record that is
	// waited for. No run is missed if Watch fails or a report is lost, because the Poller
	// keeps looking.
	//
	// The Poller calls Watch in a goroutine when a call of Wait waits, and ends ctx two
	// seconds after the last call has returned. Watch must then return soon. If it returns or
	// panics earlier, the Poller logs that, and calls it again after a pause. The pauses grow
	// from about a second to about 30 seconds, until Watch is ready again. Two calls of Watch
	// never run at the same time. If Watch is nil, the Poller only looks.
	Watch func(ctx context.Context, ready func()) error

	// Logger gets a warning when Watch fails. If nil, slog.Default() is used.
	Logger *slog.Logger
}

// NewPoller returns a Poller that looks at records with the given function. It panics if look
// is nil or Every is negative. If o is nil, the defaults apply.
//
// look returns those of the given records that are running. A record that it does not return
// is not running, or does not exist. It gets each ID once, and at most 1000 of them; more
// records take several calls. Two calls of look never run at the same time. Its context ends
// after five seconds, and when no call waits anymore. look must then return soon. It must
// not change ids. A panic of look counts as an error.
func NewPoller(look func(ctx context.Context, ids []ID) (running []ID, err error), o *PollerOptions) *Poller {
	p := &Poller{look: look, wake: make(chan struct{}, 1)}
	if o != nil {
		p.opt = *o
	}
	switch {
	case look == nil:
		panic("idempotent: NewPoller: look is required")
	case p.opt.Every < 0:
		panic("idempotent: PollerOptions.Every must not be negative")
	}
	p.opt.Every = cmp.Or(p.opt.Every, 500*time.Millisecond)
	p.workers = []*worker{{run: p.poll}}
	if p.opt.Watch != nil {
		p.workers = append(p.workers, &worker{run: p.watch, linger: watchLinger})
	}
	p.forget()
	return p
}

// waiter is a call of Wait.
type waiter struct {
	looks  int        // the looks that had begun before it
	answer chan error // has a capacity of 1
}

// Wait implements [Waiter] for the store. The Poller looks at the record immediately, then
// about every [PollerOptions].Every, and after each Wake. A look that had begun before the
// call of Wait does not count. Wait returns nil after the first look that shows that the
// record is not running. If ctx ends first, it returns ctx.Err().
//
// If a look fails, Wait returns its error, and so do the other calls that wait for a record
// of that look. The Poller does not hide the failure, because its caller knows best what to
// do. A [Guard] then asks the store again after a pause, as it does without a Waiter.
func (p *Poller) Wait(ctx context.Context, id ID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := p.join(id)
	select {
	case err := <-w.answer:
		return err
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		p.remove(id, w)
		return ctx.Err()
	}
}

// Wake is a hint that the run of id has ended. If calls wait for it, the Poller looks at the
// record immediately. Otherwise Wake does nothing. It does not block.
func (p *Poller) Wake(id ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting[id]) > 0 {
		p.setDue(id)
	}
}

// join adds a call that waits.
func (p *Poller) join(id ID) *waiter {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &waiter{looks: p.looks, answer: make(chan error, 1)}
	if p.waiting[id] == nil {
		p.waiting[id] = make(map[*waiter]bool)
	}
	p.waiting[id][w] = true
	p.setDue(id)
	for _, worker := range p.workers {
		p.start(worker)
	}
	return w
}

// setDue makes a record due. The caller holds the lock.
func (p *Poller) setDue(id ID) {
	p.due[id] = true
	p.wakeUp()
}

func (p *Poller) wakeUp() {
	select {
	case p.wake <- struct{}{}:
	default: // it is filled already
	}
}

// setAllDue makes every record due that is waited for.
func (p *Poller) setAllDue() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.waiting {
		p.setDue(id)
	}
}

// remove removes a call that no longer waits. The caller holds the lock.
func (p *Poller) remove(id ID, w *waiter) {
	if !p.waiting[id][w] {
		return // a look has just answered it
	}
	delete(p.waiting[id], w)
	if len(p.waiting[id]) > 0 {
		return
	}
	delete(p.waiting, id)
	delete(p.due, id)
	if len(p.waiting) > 0 {
		return
	}
	p.forget()
	for _, worker := range p.workers {
		p.stop(worker)
	}
}

// forget makes new maps, because a map keeps the size that it once had.
func (p *Poller) forget() {
	p.waiting, p.due = make(map[ID]map[*waiter]bool), make(map[ID]bool)
}

// A worker is a function that runs in a goroutine while calls wait.
type worker struct {
	run    func(ctx context.Context) // returns soon after ctx has ended
	linger time.Duration             // how long run goes on after the last call

	active bool               // the goroutine exists
	cancel context.CancelFunc // ends the context of run
	idle   *time.Timer        // calls cancel after linger; nil before the first stop
}

// start makes a worker run. The caller holds the lock.
func (p *Poller) start(w *worker) {
	if w.idle != nil {
		w.idle.Stop()
	}
	if w.active { // if its context has ended already, next makes another one
		return
	}
	w.active = true
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(context.Background())
	go func() {
		for ctx != nil {
			w.run(ctx)
			ctx = p.next(w)
		}
	}()
}

// next returns a new context if calls wait that came after the old one had ended. Otherwise
// the worker's goroutine ends.
func (p *Poller) next(w *worker) (ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.cancel()
	if w.active = len(p.waiting) > 0; w.active {
		ctx, w.cancel = context.WithCancel(context.Background())
	}
	return ctx
}

// stop ends the context of a worker, because no call waits. The caller holds the lock.
func (p *Poller) stop(w *worker) {
	if w.linger == 0 {
		w.cancel()
		return
	}
	w.idle = time.AfterFunc(w.linger, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.waiting) == 0 {
			w.cancel()
		}
	})
}

// poll looks at the due records, and now and then at all of them.
func (p *Poller) poll(ctx context.Context) {
	all := time.NewTimer(jitter(p.opt.Every))
	defer all.Stop()
	for {
		if ids, look := p.takeDue(ctx); len(ids) > 0 {
			running, err := p.lookAt(ctx, ids)
			p.answer(ids, look, running, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-all.C:
			p.setAllDue()
			all.Reset(jitter(p.opt.Every))
		}
	}
}

// takeDue returns records to look at, and the number of that look. There are none if ctx has
// ended, so that the look of a call that came after that does not fail with ctx.
func (p *Poller) takeDue(ctx context.Context) (ids []ID, look int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return nil, 0
	}
	for id := range p.due {
		delete(p.due, id)
		if ids = append(ids, id); len(ids) == maxLook {
			p.wakeUp() // for the rest, after the timer has had its turn
			break
		}
	}
	p.looks++
	return ids, p.looks
}

func (p *Poller) lookAt(ctx context.Context, ids []ID) (running []ID, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	defer recoverStore(&err)
	return p.look(ctx, ids)
}

// answer answers the calls that waited for a look, and removes them.
func (p *Poller) answer(ids []ID, look int, running []ID, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	stay := make(map[ID]bool, len(running))
	if err == nil {
		for _, id := range running {
			stay[id] = true
		}
	}
	for _, id := range ids {
		if stay[id] {
			continue
		}
		for w := range p.waiting[id] {
			if w.looks < look {
				w.answer <- err
				p.remove(id, w)
			}
		}
	}
}

// watch calls Watch, and calls it again if it fails.
func (p *Poller) watch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(p.watchAt)):
		}
		err := p.watchOnce(ctx)
		if ctx.Err() != nil {
			return
		}
		p.watchAt = time.Now().Add(jitter(p.nextBackoff()))
		p.warn(ctx, err)
	}
}

func (p *Poller) warn(ctx context.Context, err error) {
	defer func() { _ = recover() }() // a logger that panics must not end the process
	const maxErrorText = 1 << 10
	logger := cmp.Or(p.opt.Logger, slog.Default())
	logger.LogAttrs(ctx, slog.LevelWarn, "idempotent: a store cannot watch for the ends of runs, and only polls",
		slog.String("error", plain.Text(plain.ErrorText(err), maxErrorText)))
}

var errWatchEnded = errors.New("idempotent: PollerOptions.Watch has returned")

func (p *Poller) watchOnce(ctx context.Context) (err error) {
	defer recoverStore(&err)
	err = p.opt.Watch(ctx, func() {
		p.mu.Lock()
		p.backoff = 0
		p.mu.Unlock()
		p.setAllDue()
	})
	return cmp.Or(err, errWatchEnded)
}

func (p *Poller) nextBackoff() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.backoff = min(max(2*p.backoff, firstBackoff), lastBackoff)
	return p.backoff
}

// jitter returns a random duration between half and one and a half of d.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d) }
