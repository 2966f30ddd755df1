package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/seawall-go/seawall/idempotent"
)

// records is what [Store] and [Executor] have in common: the operations on the records.
type records struct {
	db      *sql.DB
	dialect Dialect
	opt     Options
	sql     *statements
}

func newRecords(name string, db *sql.DB, d Dialect, o *Options) records {
	if db == nil {
		panic("sqlstore: " + name + " with a nil database")
	}
	opt := o.withDefaults()
	if opt.Wait < 0 {
		panic("sqlstore: " + name + ": Options.Wait must not be negative")
	}
	return records{db: db, dialect: d, opt: opt, sql: newStatements(d, opt.Prefix)}
}

// Acquire implements [idempotent.Store].
func (s *records) Acquire(ctx context.Context, c idempotent.Claim) (idempotent.Decision, error) {
	if err := c.Validate(); err != nil {
		return idempotent.Decision{}, fmt.Errorf("sqlstore: Acquire: %w", err)
	}
	for {
		d, over, err := s.read(ctx, c)
		if err != nil || d.Verdict != idempotent.VerdictAcquired {
			return d, failed(ctx, "Acquire", c.ID, err)
		}
		err = s.step(ctx, func(tx DBTX) (err error) {
			if over {
				if err := s.drop(ctx, tx, c.ID); err != nil {
					return err
				}
			}
			if d, err = s.claim(ctx, tx, s.sql.claim, c); err != nil || d.Verdict != idempotent.VerdictAcquired {
				return err
			}
			_, err = tx.ExecContext(ctx, s.sql.lease, c.ID[:], c.Token[:], microseconds(c.Lease))
			return err
		})
		if err != nil || d.Verdict == idempotent.VerdictAcquired {
			return d, failed(ctx, "Acquire", c.ID, err)
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
	err = s.whileBusy(ctx, func() error {
		row := s.db.QueryRowContext(ctx, s.sql.read, c.ID[:], c.Fingerprint[:], c.Token[:])
		return row.Scan(&state, &left, &response)
	})
	switch {
	case errors.Is(err, sql.ErrNoRows):
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

// drop removes a record that is over its retention.
func (s *records) drop(ctx context.Context, tx DBTX, id idempotent.ID) error {
	if err := s.lock(ctx, tx, s.sql.lock, id); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, s.sql.drop, id[:])
	return err
}

// claim makes a claim in a transaction. The verdict is VerdictAcquired or zero.
func (s *records) claim(ctx context.Context, tx DBTX, statement string, c idempotent.Claim, args ...any) (d idempotent.Decision, err error) {
	args = append([]any{c.ID[:], c.Fingerprint[:], c.Token[:], c.Scope[:], microseconds(c.Retention)}, args...)
	err = tx.QueryRowContext(ctx, statement, args...).Scan(&d.Attempt)
	if err == nil {
		d.Verdict = idempotent.VerdictAcquired
	}
	return d, ignoreNoRows(err)
}

// Renew implements [idempotent.Store].
func (s *records) Renew(ctx context.Context, o idempotent.Owner, d time.Duration) error {
	if d <= 0 {
		return errors.New("sqlstore: Renew: the lease must be positive")
	}
	err := s.step(ctx, func(tx DBTX) error {
		if err := s.lock(ctx, tx, s.sql.lockLease, o.ID); err != nil {
			return err
		}
		return change(ctx, tx, idempotent.ErrLost, s.sql.renew, o.ID[:], o.Token[:], microseconds(d))
	})
	return failed(ctx, "Renew", o.ID, err)
}

// BeginEffect implements [idempotent.Store].
func (s *records) BeginEffect(ctx context.Context, o idempotent.Owner) error {
	err := s.step(ctx, func(tx DBTX) error { return s.beginEffect(ctx, tx, o) })
	return failed(ctx, "BeginEffect", o.ID, err)
}

func (s *records) beginEffect(ctx context.Context, tx DBTX, o idempotent.Owner) error {
	return change(ctx, tx, idempotent.ErrLost, s.sql.beginEffect, o.ID[:], o.Token[:])
}

// Finish implements [idempotent.Store].
func (s *records) Finish(ctx context.Context, o idempotent.Owner, c idempotent.Completion) error {
	if err := c.Validate(idempotent.StateDone, idempotent.StateNotKept, idempotent.StateUnknown, idempotent.StateAbsent); err != nil {
		return fmt.Errorf("sqlstore: Finish: %w", err)
	}
	err := s.step(ctx, func(tx DBTX) error {
		if c.State == idempotent.StateUnknown {
			// A transaction with BeginEffectTx may still commit. Only a statement that begins
			// after it sees whether the effect was begun.
			if err := s.lock(ctx, tx, s.sql.lock, o.ID); err != nil {
				return err
			}
		}
		if err := s.finish(ctx, tx, o, c); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, s.sql.unlease, o.ID[:], o.Token[:])
		return err
	})
	return failed(ctx, "Finish", o.ID, err)
}

// lock runs a statement that locks a record or its lease. In SQLite, each step has the lock of
// everything.
func (s *records) lock(ctx context.Context, tx DBTX, statement string, id idempotent.ID) error {
	if s.dialect == SQLite {
		return nil
	}
	_, err := tx.ExecContext(ctx, statement, id[:])
	return err
}

// finish ends a run in a transaction. It returns the result of Finish.
func (s *records) finish(ctx context.Context, tx DBTX, o idempotent.Owner, c idempotent.Completion) error {
	if c.State != idempotent.StateAbsent {
		n, err := exec(ctx, tx, s.sql.finish, o.ID[:], o.Token[:], c.State.String(), c.Response, microseconds(c.Retention))
		if n > 0 || err != nil {
			return err
		}
	}
	released := c.State == idempotent.StateAbsent || c.State == idempotent.StateUnknown
	if released {
		n, err := exec(ctx, tx, s.sql.release, o.ID[:], o.Token[:], c.State.String())
		if n > 0 || err != nil {
			return err
		}
	}
	// If the record is the owner's, it was finished earlier.
	var own bool
	switch err := tx.QueryRowContext(ctx, s.sql.owner, o.ID[:], o.Token[:]).Scan(&own); {
	case errors.Is(err, sql.ErrNoRows) && released, err == nil && own:
		return nil
	case errors.Is(err, sql.ErrNoRows), err == nil:
		return idempotent.ErrLost
	default:
		return err
	}
}

// Resolve implements [idempotent.Resolver].
func (s *records) Resolve(ctx context.Context, id idempotent.ID, c idempotent.Completion) error {
	if err := c.Validate(idempotent.StateDone, idempotent.StateNotKept, idempotent.StateAbsent); err != nil {
		return fmt.Errorf("sqlstore: Resolve: %w", err)
	}
	err := s.step(ctx, func(tx DBTX) (err error) {
		if err := s.lock(ctx, tx, s.sql.lock, id); err != nil {
			return err
		}
		if c.State == idempotent.StateAbsent {
			err = change(ctx, tx, idempotent.ErrNotUnknown, s.sql.forget, id[:])
		} else {
			err = change(ctx, tx, idempotent.ErrNotUnknown, s.sql.resolve, id[:], c.State.String(), c.Response, microseconds(c.Retention))
		}
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, s.sql.unlease, id[:], nil)
		return err
	})
	return failed(ctx, "Resolve", id, err)
}

// sweepStep is how many records one statement of Sweep removes at most. A small step holds few
// locks for a short time.
const sweepStep = 500

// Sweep implements [idempotent.Sweeper]. It removes up to 500 records per transaction, so it
// never holds up a request for long. Call it every minute or so, in one process or in all of
// them.
func (s *records) Sweep(ctx context.Context, limit int) (removed int, err error) {
	for {
		step := sweepStep
		if limit > 0 {
			step = min(step, limit-removed)
		}
		var n int
		err = s.step(ctx, func(tx DBTX) (err error) {
			n, err = exec(ctx, tx, s.sql.sweep, step)
			return err
		})
		if err == nil {
			removed += n
			err = s.step(ctx, func(tx DBTX) error {
				_, err := tx.ExecContext(ctx, s.sql.sweepLeases, sweepStep)
				return err
			})
		}
		if err != nil {
			return removed, fmt.Errorf("sqlstore: Sweep: %w", withContext(ctx, err))
		}
		if n < step || removed == limit {
			return removed, nil
		}
	}
}

// ListUnknown implements [idempotent.UnknownLister].
func (s *records) ListUnknown(ctx context.Context, after idempotent.ID, limit int) ([]idempotent.UnknownRecord, error) {
	if limit <= 0 {
		limit = math.MaxInt32
	}
	var list []idempotent.UnknownRecord
	err := s.whileBusy(ctx, func() error {
		list = nil
		rows, err := s.db.QueryContext(ctx, s.sql.listUnknown, after[:], limit)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var (
				u    idempotent.UnknownRecord
				left float64
			)
			if err := rows.Scan(&u.ID, &u.Scope, &u.Attempt, &left); err != nil {
				return err
			}
			u.Left = duration(left)
			list = append(list, u)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("sqlstore: ListUnknown: %w", withContext(ctx, err))
	}
	return list, nil
}

// lookStep is how many records one statement of look names at most.
const lookStep = 100

// look returns which of some records are running.
func (s *records) look(ctx context.Context, ids []idempotent.ID) (running []idempotent.ID, err error) {
	for part := range slices.Chunk(ids, lookStep) {
		var (
			placeholders []string
			args         []any
		)
		for i, id := range part {
			placeholders = append(placeholders, s.dialect.placeholder(i+1))
			args = append(args, id[:])
		}
		statement := strings.Replace(s.sql.running, "{ids}", strings.Join(placeholders, ", "), 1)
		var found []idempotent.ID
		err := s.whileBusy(ctx, func() (err error) {
			found, err = s.queryIDs(ctx, statement, args)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("sqlstore: Wait: %w", withContext(ctx, err))
		}
		running = append(running, found...)
	}
	return running, nil
}

func (s *records) queryIDs(ctx context.Context, statement string, args []any) (ids []idempotent.ID, err error) {
	rows, err := s.db.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id idempotent.ID
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// step calls do with a transaction, and commits unless do returns an error. In PostgreSQL, it
// is READ COMMITTED whatever the default of the database is, so that it never aborts a business
// transaction that is SERIALIZABLE. In SQLite, the first statement must be one that writes: it
// waits for the lock, which a transaction that has read cannot do. While SQLite is busy, do is
// called again.
func (s *records) step(ctx context.Context, do func(tx DBTX) error) error {
	var o *sql.TxOptions
	if s.dialect == PostgreSQL {
		o = &sql.TxOptions{Isolation: sql.LevelReadCommitted}
	}
	return s.whileBusy(ctx, func() error { return inTx(ctx, s.db, o, do) })
}

// inTx calls do with a transaction, and commits unless do returns an error.
func inTx(ctx context.Context, db *sql.DB, o *sql.TxOptions, do func(tx DBTX) error) error {
	tx, err := db.BeginTx(ctx, o)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	if err = do(tx); err == nil {
		err = tx.Commit()
	}
	if errors.Is(err, sql.ErrTxDone) && ctx.Err() != nil { // database/sql has rolled back because of ctx
		return ctx.Err()
	}
	return err
}

// whileBusy calls f, and calls it again while SQLite is busy, until ctx ends or Options.Wait is
// over.
func (s *records) whileBusy(ctx context.Context, f func() error) error {
	for ends := time.Now().Add(s.opt.Wait); ; {
		err := f()
		if s.dialect != SQLite || !isBusy(err) || time.Now().After(ends) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Millisecond + rand.N(20*time.Millisecond)):
		}
	}
}

// isBusy reports whether another connection has SQLite's lock. The texts are SQLite's own, which
// drivers pass on.
func isBusy(err error) bool {
	if err == nil {
		return false
	}
	text := err.Error()
	return strings.Contains(text, "database is locked") || strings.Contains(text, "database table is locked") ||
		strings.Contains(text, "SQLITE_BUSY")
}

// change runs a statement that changes one record. If it changes none, change returns the error
// none.
func change(ctx context.Context, tx DBTX, none error, statement string, args ...any) error {
	n, err := exec(ctx, tx, statement, args...)
	if err == nil && n == 0 {
		return none
	}
	return err
}

// exec runs a statement and returns the number of rows that it has changed.
func exec(ctx context.Context, tx DBTX, statement string, args ...any) (n int, err error) {
	result, err := tx.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, err
	}
	rows, err := result.RowsAffected()
	return int(rows), err
}

// failed wraps an error of the database. It returns nil and the errors of the contract as they
// are.
func failed(ctx context.Context, op string, id idempotent.ID, err error) error {
	if err == nil || errors.Is(err, idempotent.ErrLost) || errors.Is(err, idempotent.ErrNotUnknown) {
		return err
	}
	switch state, text := stateOf(err), err.Error(); {
	case state == codeDiskFull || strings.Contains(text, "database or disk is full"):
		err = fmt.Errorf("%w: %w", idempotent.ErrFull, err)
	case state == codeNoTable || strings.Contains(text, "no such table"):
		err = fmt.Errorf("%w: call Migrate, with the same Options.Prefix", err)
	}
	return fmt.Errorf("sqlstore: %s, record %s: %w", op, id, withContext(ctx, err))
}

// withContext adds the error of ctx, because some drivers return another one when ctx ends.
func withContext(ctx context.Context, err error) error {
	if end := ctx.Err(); end != nil && !errors.Is(err, end) {
		return fmt.Errorf("%w: %w", end, err)
	}
	return err
}

// sqlStateError is implemented by the errors of pgx and of lib/pq.
type sqlStateError interface {
	error
	SQLState() string
}

// stateOf returns the SQLSTATE of an error of PostgreSQL. It is empty for any other error.
func stateOf(err error) string {
	if e, ok := errors.AsType[sqlStateError](err); ok {
		return e.SQLState()
	}
	return ""
}

func ignoreNoRows(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}

// microseconds returns the argument of a statement. It rounds up, so that a positive one stays
// so.
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
