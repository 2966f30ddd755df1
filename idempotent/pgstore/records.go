package pgstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seawall-go/seawall/idempotent"
)

// records is what [Store] and [Executor] have in common: the operations on the records.
type records struct {
	pool *pgxpool.Pool
	opt  Options
	sql  *statements
}

func newRecords(name string, pool *pgxpool.Pool, o *Options) records {
	if pool == nil {
		panic("pgstore: " + name + " with a nil pool")
	}
	opt := o.withDefaults()
	if opt.Wait < 0 {
		panic("pgstore: " + name + ": Options.Wait must not be negative")
	}
	return records{pool: pool, opt: opt, sql: newStatements(opt.Prefix)}
}

// Acquire implements [idempotent.Store].
func (s *records) Acquire(ctx context.Context, c idempotent.Claim) (idempotent.Decision, error) {
	if err := c.Validate(); err != nil {
		return idempotent.Decision{}, fmt.Errorf("pgstore: Acquire: %w", err)
	}
	for {
		d, over, err := s.read(ctx, c)
		if err != nil || d.Verdict != idempotent.VerdictAcquired {
			return d, failed("Acquire", c.ID, err)
		}
		err = s.step(ctx, func(b *pgx.Batch) {
			if over {
				b.Queue(s.sql.lock, c.ID[:])
				b.Queue(s.sql.drop, c.ID[:])
			}
			d = idempotent.Decision{}
			s.queueClaim(b, c, &d)
			b.Queue(s.sql.lease, c.ID[:], c.Token[:], microseconds(c.Lease))
		})
		if err != nil || d.Verdict == idempotent.VerdictAcquired {
			return d, failed("Acquire", c.ID, err)
		}
		// Another call has changed the record since it was read.
	}
}

// read returns the verdict of a claim, without changing anything. If it is VerdictAcquired, the
// record can be claimed. It is in the way if it is over.
func (s *records) read(ctx context.Context, c idempotent.Claim) (d idempotent.Decision, over bool, err error) {
	var (
		state    string
		left     float64
		response []byte
	)
	row := s.pool.QueryRow(ctx, s.sql.read, c.ID[:], c.Fingerprint[:], c.Token[:])
	switch err = row.Scan(&state, &left, &response); {
	case errors.Is(err, pgx.ErrNoRows):
		state = "free"
	case err != nil:
		return d, false, err
	}
	switch state {
	case "free", "over":
		d.Verdict = idempotent.VerdictAcquired
	case "running":
		d.Verdict, d.LeaseLeft = idempotent.VerdictRunning, duration(left)
	case "mismatch":
		d.Verdict = idempotent.VerdictMismatch
	case "unknown":
		d.Verdict = idempotent.VerdictUnknown
	case "done":
		d.Verdict, d.Response = idempotent.VerdictDone, response
	case "not_kept":
		d.Verdict, d.Response = idempotent.VerdictNotKept, response
	default:
		return d, false, fmt.Errorf("the record has the state %q, which this version does not know", state)
	}
	return d, state == "over", nil
}

// queueClaim queues a claim. Its decision is set if the record is acquired.
func (s *records) queueClaim(b *pgx.Batch, c idempotent.Claim, d *idempotent.Decision) {
	b.Queue(s.sql.claim, c.ID[:], c.Fingerprint[:], c.Token[:], c.Scope[:], microseconds(c.Retention)).QueryRow(func(row pgx.Row) error {
		err := row.Scan(&d.Attempt)
		if err == nil {
			d.Verdict = idempotent.VerdictAcquired
		}
		return ignoreNoRows(err)
	})
}

// Renew implements [idempotent.Store].
func (s *records) Renew(ctx context.Context, o idempotent.Owner, d time.Duration) error {
	if d <= 0 {
		return errors.New("pgstore: Renew: the lease must be positive")
	}
	var tag pgconn.CommandTag
	err := s.step(ctx, func(b *pgx.Batch) {
		b.Queue(s.sql.lockLease, o.ID[:])
		b.Queue(s.sql.renew, o.ID[:], o.Token[:], microseconds(d)).Exec(keep(&tag))
	})
	if err == nil && tag.RowsAffected() == 0 {
		return idempotent.ErrLost
	}
	return failed("Renew", o.ID, err)
}

// BeginEffect implements [idempotent.Store].
func (s *records) BeginEffect(ctx context.Context, o idempotent.Owner) error {
	var tag pgconn.CommandTag
	err := s.step(ctx, func(b *pgx.Batch) { b.Queue(s.sql.beginEffect, o.ID[:], o.Token[:]).Exec(keep(&tag)) })
	if err == nil && tag.RowsAffected() == 0 {
		return idempotent.ErrLost
	}
	return failed("BeginEffect", o.ID, err)
}

func keep(tag *pgconn.CommandTag) func(pgconn.CommandTag) error {
	return func(t pgconn.CommandTag) error {
		*tag = t
		return nil
	}
}

// Finish implements [idempotent.Store].
func (s *records) Finish(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
	if err := c.Validate(idempotent.StateDone, idempotent.StateNotKept, idempotent.StateUnknown, idempotent.StateAbsent); err != nil {
		return fmt.Errorf("pgstore: Finish: %w", err)
	}
	var r ownership
	err := s.step(ctx, func(b *pgx.Batch) {
		s.queueFinish(b, o, c, &r)
		b.Queue(s.sql.relax)
		b.Queue(s.sql.unlease, o.ID[:], o.Token[:])
	})
	if err != nil {
		return failed("Finish", o.ID, err)
	}
	return r.result(c)
}

// queueFinish queues the end of a run. Its result is in r.
func (s *records) queueFinish(b *pgx.Batch, o idempotent.Owner, c idempotent.Completion, r *ownership) {
	if c.State == idempotent.StateUnknown {
		// A transaction with BeginEffectTx may still commit. Only a statement that begins after it
		// sees whether the effect was begun.
		b.Queue(s.sql.lock, o.ID[:])
	}
	if c.State != idempotent.StateAbsent {
		b.Queue(s.sql.finish, finishArgs(o, c)...).Exec(r.noteFinished)
	}
	if c.State == idempotent.StateAbsent || c.State == idempotent.StateUnknown {
		b.Queue(s.sql.release, o.ID[:], o.Token[:], c.State.String())
	}
	b.Queue(s.sql.owner, o.ID[:], o.Token[:]).QueryRow(func(row pgx.Row) error {
		err := row.Scan(&r.own)
		r.found = err == nil
		return ignoreNoRows(err)
	})
}

func finishArgs(o idempotent.Owner, c idempotent.Completion) []any {
	return []any{o.ID[:], o.Token[:], c.State.String(), c.Response, microseconds(c.Retention)}
}

// ownership is the record of an owner after a call of Finish.
type ownership struct {
	finished   bool // by this call
	found, own bool
}

func (r *ownership) noteFinished(tag pgconn.CommandTag) error {
	r.finished = tag.RowsAffected() > 0
	return nil
}

// result is the result of Finish. If the record is the owner's, it is finished, now or earlier.
func (r *ownership) result(c idempotent.Completion) error {
	released := !r.found && (c.State == idempotent.StateAbsent || c.State == idempotent.StateUnknown)
	if r.finished || r.own || released {
		return nil
	}
	return idempotent.ErrLost
}

// Resolve implements [idempotent.Resolver].
func (s *records) Resolve(ctx context.Context, id idempotent.ID, c idempotent.Completion) error {
	if err := c.Validate(idempotent.StateDone, idempotent.StateNotKept, idempotent.StateAbsent); err != nil {
		return fmt.Errorf("pgstore: Resolve: %w", err)
	}
	var tag pgconn.CommandTag
	err := s.step(ctx, func(b *pgx.Batch) {
		b.Queue(s.sql.lock, id[:])
		if c.State == idempotent.StateAbsent {
			b.Queue(s.sql.forget, id[:]).Exec(keep(&tag))
		} else {
			b.Queue(s.sql.resolve, id[:], c.State.String(), c.Response, microseconds(c.Retention)).Exec(keep(&tag))
		}
		b.Queue(s.sql.unlease, id[:], nil)
	})
	if err == nil && tag.RowsAffected() == 0 {
		return idempotent.ErrNotUnknown
	}
	return failed("Resolve", id, err)
}

// sweepStep is how many records one statement of Sweep removes at most. A small step holds few
// locks for a short time.
const sweepStep = 500

// Sweep implements [idempotent.Sweeper]. It removes up to 500 records per transaction, so it never
// holds up a request. Call it every minute or so, in one process or in all of them.
func (s *records) Sweep(ctx context.Context, limit int) (removed int, err error) {
	for {
		step := sweepStep
		if limit > 0 {
			step = min(step, limit-removed)
		}
		var tag pgconn.CommandTag
		err = s.step(ctx, func(b *pgx.Batch) { b.Queue(s.sql.sweep, step).Exec(keep(&tag)) })
		if err == nil {
			err = s.step(ctx, func(b *pgx.Batch) { b.Queue(s.sql.sweepLeases, sweepStep) })
		}
		removed += int(tag.RowsAffected())
		if err != nil {
			return removed, fmt.Errorf("pgstore: Sweep: %w", cmp.Or(ctx.Err(), err))
		}
		if int(tag.RowsAffected()) < step || removed == limit {
			return removed, nil
		}
	}
}

// ListUnknown implements [idempotent.UnknownLister].
func (s *records) ListUnknown(ctx context.Context, after idempotent.ID, limit int) ([]idempotent.UnknownRecord, error) {
	if limit <= 0 {
		limit = math.MaxInt32
	}
	rows, _ := s.pool.Query(ctx, s.sql.listUnknown, after[:], limit) // CollectRows returns the error
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (u idempotent.UnknownRecord, err error) {
		var (
			id, scope []byte
			left      float64
		)
		err = row.Scan(&id, &scope, &u.Attempt, &left)
		u.Left = duration(left)
		return u, errors.Join(err, u.ID.Scan(id), u.Scope.Scan(scope))
	})
	if err != nil {
		return nil, fmt.Errorf("pgstore: ListUnknown: %w", cmp.Or(ctx.Err(), err))
	}
	return list, nil
}

// step runs statements in a transaction, in one round trip. It is READ COMMITTED whatever the
// default of the database is, so that it never aborts a business transaction that is SERIALIZABLE.
func (s *records) step(ctx context.Context, queue func(*pgx.Batch)) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	b := new(pgx.Batch)
	b.Queue("begin isolation level read committed")
	queue(b)
	b.Queue("commit")
	err = conn.SendBatch(ctx, b).Close()
	if err != nil && !conn.Conn().IsClosed() && conn.Conn().PgConn().TxStatus() != 'I' {
		_, _ = conn.Exec(ctx, "rollback") // after an error, Release closes the connection
	}
	return err
}

// failed wraps an error of the database. If err is nil, it returns nil.
func failed(op string, id idempotent.ID, err error) error {
	if err == nil {
		return nil
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch pg.Code {
		case codeDiskFull:
			err = fmt.Errorf("%w: %w", idempotent.ErrFull, err)
		case codeNoTable:
			err = fmt.Errorf("%w: call Migrate, with the same Options.Prefix", err)
		}
	}
	return fmt.Errorf("pgstore: %s, record %s: %w", op, id, err)
}

func ignoreNoRows(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	return err
}

// microseconds returns the argument of a statement. It rounds up, so that a positive one stays so.
func microseconds(d time.Duration) int64 {
	us := int64(d / time.Microsecond)
	if d%time.Microsecond > 0 {
		us++
	}
	return us
}

// duration returns a number of seconds of the database as a duration. It is never negative.
func duration(seconds float64) time.Duration {
	const most = float64(math.MaxInt64) / float64(time.Second)
	return time.Duration(min(max(seconds, 0), most/2) * float64(time.Second))
}
