package pgstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seawall-go/seawall/idempotent"
)

// Executor is an [idempotent.Executor] in PostgreSQL: what a handler does in the transaction of
// [Tx], and the record of its response, are committed together. It also implements
// [idempotent.Sweeper], [idempotent.Resolver] and [idempotent.UnknownLister]. It is safe for
// concurrent use. Make one and share it.
//
// It can share its tables with a [Store], for example if other routes of the service use one: a key
// is then the same key for both.
type Executor struct {
	records
	lock string // the first statement of each transaction
}

// NewExecutor returns an Executor. [Migrate] creates its tables. NewExecutor does not connect, and
// panics if pool is nil or an option is invalid. The caller closes the pool, after the last call of
// the Executor.
func NewExecutor(pool *pgxpool.Pool, o *Options) *Executor {
	s := &Executor{records: newRecords("NewExecutor", pool, o)}
	if s.opt.TxOptions.CommitQuery != "" {
		panic("pgstore: NewExecutor: Options.TxOptions.CommitQuery is not supported")
	}
	s.lock = lockStatement(s.sql.tryLock, &s.opt)
	return s
}

const (
	codeSerializationFailure = "40001"
	codeDeadlockDetected     = "40P01"
	codeNoSavepoint          = "3B001"
	codeUniqueViolation      = "23505"
	codeDivisionByZero       = "22012"
	codeDiskFull             = "53100"
	codeNoTable              = "42P01"
)

// maxReruns bounds how often a handler runs again after serialization failures.
const maxReruns = 3

// errTaken means that another owner has made the record meanwhile.
var errTaken = errors.New("another owner has made the record")

// errAgain means that a transaction was rolled back after a serialization failure or a deadlock,
// and can run again.
var errAgain = errors.New("the transaction cannot be serialized")

// Execute implements [idempotent.Executor]. If nothing fails, it adds one round trip to the
// handler's transaction: the record is read before it. The lock travels with its BEGIN, and the
// record with its COMMIT.
func (s *Executor) Execute(ctx context.Context, c idempotent.Claim, run func(ctx context.Context, attempt int) idempotent.Completion) (idempotent.Decision, error) {
	if err := c.Validate(); err != nil {
		return idempotent.Decision{}, fmt.Errorf("pgstore: Execute: %w", err)
	}
	for reruns := 0; ; reruns++ {
		d, err := s.execute(ctx, c, run)
		if !errors.Is(err, errAgain) || reruns == maxReruns || ctx.Err() != nil {
			return d, failed("Execute", c.ID, err)
		}
		// A little later, the other transaction is over.
		select {
		case <-ctx.Done():
		case <-time.After(rand.N(10 * time.Millisecond << reruns)):
		}
	}
}

// execute is one try of Execute.
func (s *Executor) execute(ctx context.Context, c idempotent.Claim, run func(context.Context, int) idempotent.Completion) (idempotent.Decision, error) {
	d, err := s.lookUp(ctx, c)
	if err != nil || d.Verdict != idempotent.VerdictAcquired {
		return d, err
	}
	t, d, err := s.begin(ctx, c)
	if err != nil {
		return d, err
	}
	defer t.release() // rolls back, unless the transaction has ended
	if d.Verdict != idempotent.VerdictAcquired {
		t.release()
		return s.taken(ctx, c)
	}
	completion := t.run(ctx, d.Attempt, run)
	absent := completion.State == idempotent.StateAbsent
	switch code := t.handler.lastFailure(); {
	case t.status() == statusIdle:
		err = errEnded
	// After a savepoint, such as that of InTx, the transaction is intact, but the handler has
	// failed.
	case (absent || t.status() == statusAborted) && (code == codeSerializationFailure || code == codeDeadlockDetected):
		err = fmt.Errorf("%w: SQLSTATE %s", errAgain, code)
	case !absent:
		err = s.commit(ctx, t, c, completion)
	}
	switch {
	case errors.Is(err, errEnded):
		t.release()
		err = errors.Join(err, s.disown(ctx, t, c))
	case errors.Is(err, errTaken):
		t.release()
		return s.taken(ctx, c)
	}
	return d, err
}

// lookUp reads the record outside of a transaction, and removes it if it is over.
func (s *Executor) lookUp(ctx context.Context, c idempotent.Claim) (idempotent.Decision, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opt.Wait)
	defer cancel()
	d, over, err := s.read(ctx, c)
	if err == nil && over {
		err = s.step(ctx, func(b *pgx.Batch) {
			b.Queue(s.sql.lock, c.ID[:])
			b.Queue(s.sql.drop, c.ID[:])
		})
	}
	return d, err
}

// taken returns the verdict of a claim that has failed because another transaction has the record,
// or had it until now.
func (s *Executor) taken(ctx context.Context, c idempotent.Claim) (idempotent.Decision, error) {
	d, err := s.lookUp(ctx, c)
	if err == nil && d.Verdict == idempotent.VerdictAcquired { // not committed yet
		d = idempotent.Decision{Verdict: idempotent.VerdictRunning}
	}
	return d, err
}

// beforeRun is the savepoint before the handler.
const beforeRun = "seawall_before_run"

// transaction is a transaction of Execute.
type transaction struct {
	conn    *pgxpool.Conn
	handler *handlerTx
	fresh   bool  // there is no record yet
	table   int64 // the number of the table
	wait    time.Duration
}

// maxRun is a duration that no handler takes. Until then a record that was taken over is not over
// its retention, which begins again with the response.
const maxRun = 24 * time.Hour

// begin begins a transaction and locks the record, in one round trip. The verdict is
// VerdictAcquired or zero. If there is no record, none is made before the commit.
func (s *Executor) begin(ctx context.Context, c idempotent.Claim) (t *transaction, d idempotent.Decision, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.opt.Wait)
	defer cancel()
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return nil, d, err
	}
	b := new(pgx.Batch)
	b.BeginTx(s.opt.TxOptions)
	var (
		locked, exists bool
		table          int64
	)
	b.Queue(s.lock, lockKey(c.ID), c.ID[:]).QueryRow(func(row pgx.Row) error { return row.Scan(&locked, &exists, &table, nil) })
	b.Queue("SAVEPOINT " + beforeRun)
	results := conn.SendBatch(ctx, b)
	t = &transaction{conn: conn, handler: newHandlerTx(results.Tx()), wait: s.opt.Wait}
	err = results.Close()
	switch {
	case err != nil || !locked:
	case exists:
		d, err = s.takeOver(ctx, t, c)
	default:
		t.fresh, t.table, d = true, table, idempotent.Decision{Verdict: idempotent.VerdictAcquired, Attempt: 1}
	}
	if err != nil {
		t.release()
		return nil, d, serialization(err)
	}
	return t, d, nil
}

// takeOver claims the record of a lease that is over. Any other record was made since lookUp.
func (s *Executor) takeOver(ctx context.Context, t *transaction, c idempotent.Claim) (d idempotent.Decision, err error) {
	c.Retention = max(c.Retention, maxRun)
	b := new(pgx.Batch)
	s.queueClaim(b, c, &d)
	b.Queue("SAVEPOINT " + beforeRun) // takes the place of the one before the claim
	return d, t.conn.SendBatch(ctx, b).Close()
}

// lockStatement returns the statement that locks a record and sets the timeouts of a transaction,
// in its last column.
func lockStatement(lock string, o *Options) string {
	settings := []string{"''"}
	for _, setting := range []struct {
		name    string
		timeout time.Duration
	}{
		{"idle_in_transaction_session_timeout", o.IdleTimeout},
		{"statement_timeout", o.StatementTimeout},
		{"lock_timeout", o.LockTimeout},
	} {
		if setting.timeout > 0 {
			ms := min(max(1, setting.timeout.Milliseconds()), math.MaxInt32) // what PostgreSQL accepts
			settings = append(settings, fmt.Sprintf("set_config('%s', '%d', true)", setting.name, ms))
		}
	}
	return lock + ", " + strings.Join(settings, " || ")
}

// lockKey is the key of the advisory lock that a transaction holds on its record. With the lock, a
// duplicate sees that the record is taken without waiting for the transaction.
func lockKey(id idempotent.ID) int64 { return int64(binary.BigEndian.Uint64(id[:8])) }

// serialization marks an error after which the transaction can run again.
func serialization(err error) error {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && (pg.Code == codeSerializationFailure || pg.Code == codeDeadlockDetected) {
		return fmt.Errorf("%w: %w", errAgain, err)
	}
	return err
}

// run calls the handler, which has the transaction until it returns.
func (t *transaction) run(ctx context.Context, attempt int, run func(context.Context, int) idempotent.Completion) idempotent.Completion {
	defer t.handler.over.Store(true)
	return run(context.WithValue(ctx, txKey{}, t.handler), attempt)
}

// The states of a connection in the protocol.
const (
	statusIdle    = 'I' // outside of a transaction
	statusAborted = 'E' // in a transaction that a statement has aborted
)

func (t *transaction) status() byte { return t.conn.Conn().PgConn().TxStatus() }

var (
	errEnded     = errors.New("the handler has ended the transaction itself")
	errRemains   = errors.New("the end of a savepoint of the handler has failed, perhaps because rows were open")
	errElsewhere = errors.New("the record cannot be written, and the handler's effects are undone: if handlers change search_path, Options.Prefix must name the schema")
)

// commit records the completion and commits, in one round trip.
func (s *Executor) commit(ctx context.Context, t *transaction, c idempotent.Claim, completion idempotent.Completion) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opt.Wait)
	defer cancel()
	switch {
	case t.status() == statusAborted:
		if err := refusal(completion, t.handler.lastFailure()); err != nil {
			return err
		}
		if _, err := t.conn.Exec(ctx, "ROLLBACK TO SAVEPOINT "+beforeRun); err != nil {
			return err
		}
	case t.handler.remains.Load():
		return errRemains
	}
	b := new(pgx.Batch)
	b.Queue("RELEASE SAVEPOINT " + beforeRun) // fails if this is another transaction of the handler
	sql, args := s.sql.finishOrFail, finishArgs(c.Owner(), completion)
	if t.fresh {
		sql, args = s.sql.record, t.recordArgs(c, completion)
	}
	recorded := false
	b.Queue(sql, args...).Exec(func(pgconn.CommandTag) error {
		recorded = true
		return nil
	})
	b.Queue("COMMIT")
	switch err := t.conn.SendBatch(ctx, b).Close(); {
	case err == nil:
		return nil
	case isRefused(err, codeNoSavepoint):
		return errEnded
	case isRefused(err, codeDivisionByZero) && !recorded:
		return errElsewhere
	case isRefused(err, codeUniqueViolation) && !recorded: // by a Store that shares the tables
		return errTaken
	case isRefused(err, ""):
		return serialization(err)
	default:
		t.release()
		return s.findOut(ctx, c, err)
	}
}

// refusal returns an error unless a completion can be recorded after the handler's effects were
// rolled back.
func refusal(c idempotent.Completion, code string) error {
	response, err := idempotent.DecodeResponse(c.Response)
	if err != nil {
		return err
	}
	if response.Status < 400 {
		return fmt.Errorf("the handler has answered %d after a statement that failed with SQLSTATE %s, so its effects are rolled back", response.Status, code)
	}
	return nil
}

// isRefused reports whether the database has answered that a transaction is not committed, with a
// SQLSTATE unless that is empty. After any other error, it may be committed, also if the database
// has ended the connection.
func isRefused(err error, code string) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	// A proxy may report a connection that it has lost.
	broken := ok && strings.HasPrefix(pg.Code, "08")
	return ok && !broken && pg.SeverityUnlocalized == "ERROR" && (code == "" || code == pg.Code)
}

func (t *transaction) recordArgs(c idempotent.Claim, end idempotent.Completion) []any {
	return []any{c.ID[:], c.Fingerprint[:], c.Token[:], c.Scope[:], end.State.String(), end.Response, microseconds(end.Retention), t.table}
}

// disown records that the outcome of a run is unknown, because the handler has ended the
// transaction itself. It may have committed it.
func (s *Executor) disown(ctx context.Context, t *transaction, c idempotent.Claim) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opt.Wait)
	defer cancel()
	unknown := idempotent.Completion{State: idempotent.StateUnknown, Retention: c.Retention}
	return s.step(ctx, func(b *pgx.Batch) {
		b.Queue(s.sql.beginEffect, c.ID[:], c.Token[:])
		b.Queue(s.sql.finish, finishArgs(c.Owner(), unknown)...)
		b.Queue(s.sql.record+" ON CONFLICT (id) DO NOTHING", t.recordArgs(c, unknown)...)
	})
}

// findOut returns nil if the transaction whose commit has failed with err has taken effect. It
// waits until the old transaction has ended, and tries again while the database cannot be reached,
// for as long as Options.Wait.
func (s *Executor) findOut(ctx context.Context, c idempotent.Claim, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opt.Wait)
	defer cancel()
	for {
		var r ownership
		failure := s.step(ctx, func(b *pgx.Batch) {
			b.Queue(s.sql.waitForTransaction, lockKey(c.ID))
			b.Queue(s.sql.owner, c.ID[:], c.Token[:]).QueryRow(func(row pgx.Row) error { return ignoreNoRows(row.Scan(&r.own)) })
		})
		switch {
		case failure == nil && r.own:
			return nil
		case failure == nil:
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it is unknown whether the transaction is committed: %w; %w", err, failure)
		case <-time.After(20*time.Millisecond + rand.N(50*time.Millisecond)):
		}
	}
}

// release rolls back, unless the transaction has ended, and gives the connection back to the pool.
// It may be called twice.
func (t *transaction) release() {
	if t.conn == nil {
		return
	}
	if t.status() != statusIdle && !t.conn.Conn().IsClosed() {
		ctx, cancel := context.WithTimeout(context.Background(), t.wait)
		defer cancel()
		_, _ = t.conn.Exec(ctx, "ROLLBACK") // after an error, Release closes the connection
	}
	t.conn.Release()
	t.conn = nil
}
