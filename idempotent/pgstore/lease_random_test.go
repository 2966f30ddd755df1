package pgstore_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/pgstore"
)

// keep is a retention that is never over.
const keep = 365 * 24 * time.Hour

// newClaim returns a claim with a new ID.
func newClaim() idempotent.Claim {
	return idempotent.Claim{
		ID:          new(idempotent.Options).ID("principal", idempotent.NewToken().String()),
		Token:       idempotent.NewToken(),
		Fingerprint: idempotent.Fingerprint{2},
		Lease:       lease,
		Retention:   keep,
	}
}

// rival returns the claim of a duplicate.
func rival(c idempotent.Claim) idempotent.Claim {
	c.Token = idempotent.NewToken()
	return c
}

func done(response string) idempotent.Completion {
	return idempotent.Completion{State: idempotent.StateDone, Response: []byte(response), Retention: keep}
}

// history is what is known about a record for which owners compete. A step is known when its call
// has returned.
type history struct {
	*testing.T
	clock *movedClock

	mu       sync.Mutex
	leased   map[int]int        // the attempt whose lease was begun or renewed, by era
	acquired []idempotent.Token // by attempt, from 1
	effect   idempotent.Token   // under which an effect was begun
	robbed   bool               // the owner of an effect was lost
	ended    string             // the response; empty if the record is running
}

// A movedClock does not move during a call of an owner.
type movedClock struct {
	sync.RWMutex
	era int
}

// lease notes that the lease of an attempt was begun or renewed. Until the clock moves, no other
// attempt has one.
func (h *history) lease(attempt int) {
	era := h.clock.era
	if other, ok := h.leased[era]; ok && other != attempt {
		h.Errorf("the attempts %d and %d have a lease at the same time", other, attempt)
	}
	h.leased[era] = attempt
}

// known is what was known when a call began.
type known struct {
	attempt int
	effect  bool
	ended   string
}

func (h *history) known() known {
	h.mu.Lock()
	defer h.mu.Unlock()
	return known{len(h.acquired), h.effect != idempotent.Token{}, h.ended}
}

// decided checks the decision about a claim.
func (h *history) decided(before known, c idempotent.Claim, d idempotent.Decision) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch d.Verdict {
	case idempotent.VerdictAcquired:
		if before.effect || before.ended != "" || d.Attempt <= before.attempt {
			h.Errorf("attempt %d was acquired after %+v", d.Attempt, before)
		}
		for len(h.acquired) < d.Attempt {
			h.acquired = append(h.acquired, idempotent.Token{}) // those whose calls have not returned
		}
		if h.acquired[d.Attempt-1] != (idempotent.Token{}) {
			h.Errorf("attempt %d was acquired twice", d.Attempt)
		}
		h.acquired[d.Attempt-1] = c.Token
		h.lease(d.Attempt)
	case idempotent.VerdictDone:
		h.end(string(d.Response))
	default:
		if before.ended != "" {
			h.Errorf("the verdict is %s after the end", d.Verdict)
		}
	}
}

// end notes the response of the record. It never changes.
func (h *history) end(response string) {
	if h.ended == "" {
		h.ended = response
	}
	if response != h.ended {
		h.Errorf("the response is %q and was %q", response, h.ended)
	}
}

// changed checks the result of a call under an attempt. If it has changed the record, changed calls
// note.
func (h *history) changed(before known, op string, attempt int, token idempotent.Token, err error, note func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case errors.Is(err, idempotent.ErrLost):
		h.robbed = h.robbed || h.effect == token
	case err != nil:
		h.Errorf("%s: %v", op, err)
	case attempt < before.attempt:
		h.Errorf("%s under attempt %d succeeded after attempt %d was acquired", op, attempt, before.attempt)
	default:
		note()
	}
}

// own makes a claim, and does what an owner does if it acquires the record. It may stop at any
// time, as if its process were killed.
func (h *history) own(s *pgstore.Store, c idempotent.Claim) {
	attempt := h.acquire(s, c)
	lost := false
	for attempt > 0 && rand.N(8) > 0 {
		op, err := h.change(s, c, attempt)
		if lost && err == nil {
			h.Errorf("%s succeeded after ErrLost", op)
		}
		lost = lost || errors.Is(err, idempotent.ErrLost)
		if op == "Finish" {
			return
		}
	}
}

// acquire makes a claim. It returns 0 if the record is not acquired.
func (h *history) acquire(s *pgstore.Store, c idempotent.Claim) (attempt int) {
	h.clock.RLock()
	defer h.clock.RUnlock()
	before := h.known()
	d, err := s.Acquire(h.Context(), c)
	if err != nil {
		h.Error(err)
		return 0
	}
	h.decided(before, c, d)
	return d.Attempt
}

// change makes a random call under an attempt.
func (h *history) change(s *pgstore.Store, c idempotent.Claim, attempt int) (op string, err error) {
	h.clock.RLock()
	defer h.clock.RUnlock()
	before, note := h.known(), func() { h.lease(attempt) }
	switch rand.N(20) {
	default:
		op, err = "Renew", s.Renew(h.Context(), c.Owner(), c.Lease)
	case 0:
		op, err = "BeginEffect", s.BeginEffect(h.Context(), c.Owner())
		note = func() { h.effect = c.Token }
	case 1:
		op, err = "Finish", s.Finish(h.Context(), c.Owner(), done(c.Token.String()))
		note = func() { h.end(c.Token.String()) }
	}
	h.changed(before, op, attempt, c.Token, err, note)
	return op, err
}

// resolve tries to settle the record.
func (h *history) resolve(s *pgstore.Store, id idempotent.ID) {
	err := s.Resolve(h.Context(), id, done("resolved"))
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil:
		h.end("resolved")
	case !errors.Is(err, idempotent.ErrNotUnknown):
		h.Error(err)
	}
}

// Many owners compete for a few records, while leases end, and jobs sweep and settle.
func TestRandomOwnersFollowTheRules(t *testing.T) {
	server := sharedServer(t)
	t.Parallel()
	b := newBank(t, server.URL(""))
	s := pgstore.New(b.connect(server.URL(""), func(c *pgxpool.Config) { c.MaxConns = 12 }), nil)
	var (
		owners, jobs sync.WaitGroup
		histories    []*history
		clock        movedClock
		over         = make(chan struct{})
	)
	job := func(f func()) {
		jobs.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					f()
				}
			}
		})
	}
	claims := make([]idempotent.Claim, 8)
	for i := range claims {
		claims[i] = newClaim()
		h := &history{T: t, clock: &clock, leased: make(map[int]int)}
		histories = append(histories, h)
		for range 3 {
			owners.Go(func() {
				for range 20 {
					if rand.N(6) == 0 {
						clock.Lock()
						b.advance(lease) // the leases of all are over
						clock.era++
						clock.Unlock()
					}
					h.own(s, rival(claims[i]))
				}
			})
		}
	}
	job(func() {
		if n, err := s.Sweep(t.Context(), 0); n != 0 || err != nil {
			t.Errorf("Sweep removed %d records: %v", n, err)
		}
	})
	job(func() {
		i := rand.N(len(claims))
		if rand.N(20) == 0 {
			histories[i].resolve(s, claims[i].ID)
		}
	})
	owners.Wait()
	close(over)
	jobs.Wait()

	most := 0
	for i, h := range histories {
		c := rival(claims[i])
		d, err := s.Acquire(t.Context(), c)
		require.NoError(t, err)
		h.decided(h.known(), c, d)
		require.NotContains(t, h.acquired, idempotent.Token{})
		if h.robbed {
			require.Equal(t, "resolved", h.ended)
		}
		most = max(most, len(h.acquired))
	}
	require.Greater(t, most, 1, "no takeover has happened")
}
