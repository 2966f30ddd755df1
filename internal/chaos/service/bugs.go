package service

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/stores"
)

// A Bug is a mistake that can be planted in a server, so that a run shows that its checks find it.
type Bug struct {
	Name  string
	Store string // where it is planted: a name of package stores
	Way   history.Way
	What  string // one sentence

	store      func(s *server, next idempotent.Store) idempotent.Store // replaces the store
	options    func(o *idempotent.Options)                             // changes the options
	effect     func(ctx context.Context, s *server, c *call, e history.Effect) (idempotent.Response, error)
	background func(ctx context.Context, s *server)
	principal  string // of every request; empty if it is the request's own
}

// Bugs returns all bugs.
func Bugs() []Bug {
	return []Bug{
		{
			Name: "blind finish", Store: stores.Redis, Way: history.Plain,
			What:  "Finish overwrites the record of the owner that has taken over.",
			store: blindFinish,
		},
		{
			Name: "late finish accepted", Store: stores.Redis, Way: history.Plain,
			What: "Finish takes ErrLost for success.",
			store: func(_ *server, next idempotent.Store) idempotent.Store {
				return buggyStore{Store: next, finish: func(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
					if err := next.Finish(ctx, o, c); !errors.Is(err, idempotent.ErrLost) {
						return err
					}
					return nil
				}}
			},
		},
		{
			Name: "lease as retention", Store: stores.Redis, Way: history.Plain,
			What:  "A record is kept for the lease, and not for the retention.",
			store: leaseAsRetention,
		},
		{
			Name: "reply before record", Store: stores.Redis, Way: history.Plain,
			What:  "The response is sent first, and recorded 200 milliseconds later.",
			store: replyBeforeRecord,
		},
		{
			Name: "lease not renewed", Store: stores.Redis, Way: history.Plain,
			What: "Renew does nothing.",
			store: func(_ *server, next idempotent.Store) idempotent.Store {
				return buggyStore{Store: next, renew: func(context.Context, idempotent.Owner, time.Duration) error { return nil }}
			},
		},
		{
			Name: "running ignored", Store: stores.Redis, Way: history.Plain,
			What:  "A claim takes over a record whose lease is not over.",
			store: runningIgnored,
		},
		{
			Name: "own token refused", Store: stores.Redis, Way: history.Plain,
			What:  "An Acquire that is repeated with its own token is told that another owner is running.",
			store: ownTokenRefused,
		},
		{
			Name: "body not compared", Store: stores.Redis, Way: history.Plain,
			What: "The fingerprint leaves out the body.",
			options: func(o *idempotent.Options) {
				o.Fingerprint = func(r *http.Request, _ func() ([]byte, error)) (idempotent.Fingerprint, error) {
					return idempotent.FingerprintOf(r, nil), nil
				}
			},
		},
		{
			Name: "shared keys", Store: stores.Redis, Way: history.Plain,
			What:      "Principals share their keys.",
			principal: "everyone",
		},
		{
			Name: "mark not stored", Store: stores.Redis, Way: history.BeginEffect,
			What: "BeginEffect does nothing.",
			store: func(_ *server, next idempotent.Store) idempotent.Store {
				return buggyStore{Store: next, beginEffect: func(context.Context, idempotent.Owner) error { return nil }}
			},
		},
		{
			Name: "mark after effect", Store: stores.Redis, Way: history.BeginEffect,
			What:   "The handler charges first, and calls BeginEffect then.",
			effect: markAfterEffect,
		},
		{
			Name: "unknown is released", Store: stores.Redis, Way: history.BeginEffect,
			What: "A failure after BeginEffect frees the key.",
			store: func(_ *server, next idempotent.Store) idempotent.Store {
				return buggyStore{Store: next, finish: func(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
					if c.State == idempotent.StateUnknown {
						c = idempotent.Completion{State: idempotent.StateAbsent}
					}
					return next.Finish(ctx, o, c)
				}}
			},
		},
		{
			Name: "derived key of the attempt", Store: stores.Redis, Way: history.DerivedKey,
			What: "The key for the provider differs between runs.",
			effect: func(ctx context.Context, s *server, c *call, e history.Effect) (idempotent.Response, error) {
				return s.charge(ctx, c, e, idempotent.DerivedKey(ctx, "charge "+e.Run))
			},
		},
		{
			Name: "sweep without a look", Store: stores.PostgreSQL, Way: history.BeginEffect,
			What:       "A job deletes records that are older than the lease, whatever their state.",
			background: sweepWithoutALook,
		},
		{
			Name: "effect outside of the transaction", Store: stores.PostgreSQL, Way: history.Executor,
			What:   "The handler uses the pool, and not the Executor's transaction.",
			effect: effectOutside,
		},
		{
			Name: "commit repeated", Store: stores.PostgreSQL, Way: history.FinishTx,
			What:   "After an error of COMMIT, the handler repeats its transaction without the record.",
			effect: commitRepeated,
		},
		{
			Name: "record outside of the transaction", Store: stores.PostgreSQL, Way: history.FinishTx,
			What: "The handler does not call FinishTx, so its response is recorded after the commit.",
			effect: func(ctx context.Context, s *server, c *call, e history.Effect) (idempotent.Response, error) {
				return s.inTx(ctx, c, e, func(transaction, idempotent.Response) error { return nil })
			},
		},
	}
}

// bugNamed returns the bug with a name, and none for the empty one.
func bugNamed(name string) (Bug, error) {
	bugs := Bugs()
	i := slices.IndexFunc(bugs, func(b Bug) bool { return b.Name == name })
	switch {
	case name == "":
		return Bug{}, nil
	case i < 0:
		return Bug{}, fmt.Errorf("unknown bug %q", name)
	}
	return bugs[i], nil
}

// buggyStore replaces operations of a store. Duplicates poll it.
type buggyStore struct {
	idempotent.Store
	acquire     func(context.Context, idempotent.Claim) (idempotent.Decision, error)
	renew       func(context.Context, idempotent.Owner, time.Duration) error
	beginEffect func(context.Context, idempotent.Owner) error
	finish      func(context.Context, idempotent.Owner, idempotent.Completion) error
}

// Acquire implements [idempotent.Store].
func (s buggyStore) Acquire(ctx context.Context, c idempotent.Claim) (idempotent.Decision, error) {
	if s.acquire != nil {
		return s.acquire(ctx, c)
	}
	return s.Store.Acquire(ctx, c)
}

// Renew implements [idempotent.Store].
func (s buggyStore) Renew(ctx context.Context, o idempotent.Owner, d time.Duration) error {
	if s.renew != nil {
		return s.renew(ctx, o, d)
	}
	return s.Store.Renew(ctx, o, d)
}

// BeginEffect implements [idempotent.Store].
func (s buggyStore) BeginEffect(ctx context.Context, o idempotent.Owner) error {
	if s.beginEffect != nil {
		return s.beginEffect(ctx, o)
	}
	return s.Store.BeginEffect(ctx, o)
}

// Finish implements [idempotent.Store].
func (s buggyStore) Finish(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
	if s.finish != nil {
		return s.finish(ctx, o, c)
	}
	return s.Store.Finish(ctx, o, c)
}

// recordKey is the key in Redis of a record.
func recordKey(id idempotent.ID) string { return "idempotent:" + id.String() }

func blindFinish(s *server, next idempotent.Store) idempotent.Store {
	return buggyStore{Store: next, finish: func(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
		err := next.Finish(ctx, o, c)
		if !errors.Is(err, idempotent.ErrLost) || c.State != idempotent.StateDone {
			return err
		}
		key := recordKey(o.ID)
		if s.redis.HGet(ctx, key, "state").Val() == "done" {
			return s.redis.HSet(ctx, key, "response", c.Response).Err()
		}
		if err := s.redis.HSet(ctx, key, "token", o.Token.String()).Err(); err != nil {
			return err
		}
		return next.Finish(ctx, o, c)
	}}
}

func leaseAsRetention(_ *server, next idempotent.Store) idempotent.Store {
	return buggyStore{
		Store: next,
		acquire: func(ctx context.Context, c idempotent.Claim) (idempotent.Decision, error) {
			c.Retention = c.Lease
			return next.Acquire(ctx, c)
		},
		finish: func(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
			if c.Retention > 0 {
				c.Retention = Lease
			}
			return next.Finish(ctx, o, c)
		},
	}
}

func replyBeforeRecord(_ *server, next idempotent.Store) idempotent.Store {
	return buggyStore{Store: next, finish: func(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
		if c.State != idempotent.StateDone {
			return next.Finish(ctx, o, c)
		}
		ctx = context.WithoutCancel(ctx)
		time.AfterFunc(200*time.Millisecond, func() {
			ctx, cancel := context.WithTimeout(ctx, StoreTimeout)
			defer cancel()
			_ = next.Finish(ctx, o, c)
		})
		return nil
	}}
}

func runningIgnored(s *server, next idempotent.Store) idempotent.Store {
	return buggyStore{Store: next, acquire: func(ctx context.Context, c idempotent.Claim) (idempotent.Decision, error) {
		d, err := next.Acquire(ctx, c)
		if err != nil || d.Verdict != idempotent.VerdictRunning {
			return d, err
		}
		if err := s.redis.Del(ctx, recordKey(c.ID)).Err(); err != nil {
			return d, err
		}
		return next.Acquire(ctx, c)
	}}
}

func ownTokenRefused(_ *server, next idempotent.Store) idempotent.Store {
	var seen sync.Map // tokens of runs that are not finished
	return buggyStore{
		Store: next,
		acquire: func(ctx context.Context, c idempotent.Claim) (idempotent.Decision, error) {
			if _, again := seen.Load(c.Token); again {
				return idempotent.Decision{Verdict: idempotent.VerdictRunning, LeaseLeft: c.Lease}, nil
			}
			d, err := next.Acquire(ctx, c)
			if err == nil && d.Verdict == idempotent.VerdictAcquired {
				seen.Store(c.Token, true)
			}
			return d, err
		},
		finish: func(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
			seen.Delete(o.Token)
			return next.Finish(ctx, o, c)
		},
	}
}

func markAfterEffect(ctx context.Context, s *server, c *call, e history.Effect) (idempotent.Response, error) {
	r, err := s.charge(ctx, c, e, "")
	if err != nil {
		return r, err
	}
	return r, s.mark(ctx, c, idempotent.BeginEffect)
}

func sweepWithoutALook(ctx context.Context, s *server) {
	d, ok := s.db.(*postgreSQL)
	if !ok {
		return
	}
	age := strconv.FormatInt(Lease.Milliseconds(), 10) + " milliseconds"
	for history.Sleep(ctx, Lease/4) {
		_, _ = d.pool.Exec(ctx, "DELETE FROM idempotency_records WHERE claimed_at < clock_timestamp() - $1::text::interval", age)
	}
}

func effectOutside(ctx context.Context, s *server, c *call, e history.Effect) (idempotent.Response, error) {
	insert := func(ctx context.Context, e history.Effect) error {
		tx, err := s.db.begin(ctx)
		if err != nil {
			return err
		}
		defer tx.rollback()
		if err := tx.insert(ctx, e); err != nil {
			return err
		}
		return tx.commit(ctx)
	}
	return answerOf(http.StatusCreated, answerTo(e), c), s.insert(ctx, c, e, insert)
}

func commitRepeated(ctx context.Context, s *server, c *call, e history.Effect) (r idempotent.Response, err error) {
	finished := false
	finish := func(tx transaction, r idempotent.Response) error {
		if finished {
			return nil
		}
		finished = true
		return tx.finish(ctx, r)
	}
	if r, err = s.inTx(ctx, c, e, finish); err == nil || !finished {
		return r, err
	}
	return s.inTx(ctx, c, e, finish)
}
