package idemtest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
)

// The errors of a [Database].
var (
	ErrAborted       = errors.New("idemtest: the transaction is aborted until it is rolled back")
	ErrSerialization = errors.New("idemtest: could not serialize access")
	ErrStatement     = errors.New("idemtest: the statement failed")
	ErrConnection    = errors.New("idemtest: the connection is broken")
	ErrEnded         = errors.New("idemtest: the transaction has ended")
	ErrRefused       = errors.New("idemtest: the commit was refused")
	ErrBusy          = errors.New("idemtest: another transaction writes")
)

// A CommitFault is a failure of a commit.
type CommitFault int

// The faults of commits.
const (
	CommitRefused   CommitFault = iota + 1 // is rolled back, with an error
	CommitReplyLost                        // takes effect, then the connection breaks
	CommitNever                            // the connection breaks first, and it is rolled back
	CommitLate                             // the connection breaks first, and it takes effect later
	CommitConflict                         // is rolled back with a serialization failure
)

// Database is a toy database with transactions like those of PostgreSQL. Reads see committed
// rows. A row that is written or locked makes other transactions wait. After a failed statement
// a transaction accepts only a rollback, which may be to a savepoint. The number of connections
// is bounded.
type Database struct {
	// OneWriter reports that only one transaction can write or lock at a time, as in SQLite.
	OneWriter bool

	connections chan struct{}

	mu       sync.Mutex
	rows     map[string]string
	owners   map[string]*Transaction // of locked rows
	ended    chan struct{}           // closed and replaced when a transaction ends
	begun    int
	fault    CommitFault  // of the next commit
	conflict bool         // the next write fails with a serialization failure
	late     *Transaction // a late commit
}

// NewDatabase returns an empty database with a number of connections.
func NewDatabase(connections int) *Database {
	return &Database{
		connections: make(chan struct{}, connections),
		rows:        make(map[string]string),
		owners:      make(map[string]*Transaction),
		ended:       make(chan struct{}),
	}
}

// Get returns a committed row outside of a transaction. It is empty if there is none.
func (d *Database) Get(row string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.settle() // after the read
	return d.rows[row]
}

// Count returns the number of committed rows whose name has the prefix.
func (d *Database) Count(prefix string) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settle()
	for row := range d.rows {
		if strings.HasPrefix(row, prefix) {
			n++
		}
	}
	return n
}

// Transactions returns the number of transactions that have begun.
func (d *Database) Transactions() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.begun
}

// FailNextCommit makes the next commit of a transaction with writes fail.
func (d *Database) FailNextCommit(f CommitFault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = f
}

// ConflictNext makes the next write fail with a serialization failure.
func (d *Database) ConflictNext() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conflict = true
}

// Exhaust takes all connections until release is called.
func (d *Database) Exhaust() (release func()) {
	for range cap(d.connections) {
		d.connections <- struct{}{}
	}
	return sync.OnceFunc(func() {
		for range cap(d.connections) {
			<-d.connections
		}
	})
}

// settle performs a late commit. The caller holds the lock.
func (d *Database) settle() {
	if t := d.late; t != nil {
		d.late = nil
		t.apply()
		t.unlock()
	}
}

// A Transaction is for one goroutine.
type Transaction struct {
	d          *Database
	writes     []write
	locks      []string
	savepoints []savepoint
	failure    error // why it is aborted
	failed     bool  // a statement has failed, perhaps before a rollback to a savepoint
	ended      bool
}

type write struct{ row, value string }

type savepoint struct {
	name   string
	writes int
}

// Begin waits for a connection and begins a transaction.
func (d *Database) Begin(ctx context.Context) (*Transaction, error) {
	select {
	case d.connections <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.begun++
	return &Transaction{d: d}, nil
}

// ready returns the error of any statement, or nil.
func (t *Transaction) ready() error {
	switch {
	case t.ended:
		return ErrEnded
	case t.failure != nil:
		return ErrAborted
	}
	return nil
}

// Failure returns the error that aborted the transaction. It is nil if none did.
func (t *Transaction) Failure() error { return t.failure }

// Get returns a row with the writes of this transaction.
func (t *Transaction) Get(row string) (string, error) {
	if err := t.ready(); err != nil {
		return "", err
	}
	for _, w := range slices.Backward(t.writes) {
		if w.row == row {
			return w.value, nil
		}
	}
	t.d.mu.Lock()
	defer t.d.mu.Unlock()
	return t.d.rows[row], nil
}

// Lock waits until no other transaction has locked the row. With OneWriter, it waits for other
// rows too, and their owner is not known. If ctx ends first, the transaction is aborted.
func (t *Transaction) Lock(ctx context.Context, row string) error {
	if err := t.ready(); err != nil {
		return err
	}
	late := context.Context.Err
	if t.d.OneWriter {
		row, late = "any", func(context.Context) error { return ErrBusy }
	}
	for {
		t.d.mu.Lock()
		t.d.settle()
		owner, ended := t.d.owners[row], t.d.ended
		if owner == nil {
			t.d.owners[row] = t
			t.locks = append(t.locks, row)
		}
		t.d.mu.Unlock()
		if owner == nil || owner == t {
			return nil
		}
		select {
		case <-ended:
		case <-ctx.Done():
			t.failure = late(ctx)
			return t.failure
		}
	}
}

// Set locks and writes a row. An empty value deletes it.
func (t *Transaction) Set(ctx context.Context, row, value string) error {
	if err := t.Lock(ctx, row); err != nil {
		return err
	}
	t.d.mu.Lock()
	conflict := t.d.conflict
	t.d.conflict = false
	t.d.mu.Unlock()
	if conflict {
		t.failure = ErrSerialization
		return t.failure
	}
	t.writes = append(t.writes, write{row, value})
	return nil
}

// Fail runs a statement that fails.
func (t *Transaction) Fail() error {
	if err := t.ready(); err != nil {
		return err
	}
	t.failure, t.failed = ErrStatement, true
	return t.failure
}

// Savepoint sets a savepoint.
func (t *Transaction) Savepoint(name string) error {
	if err := t.ready(); err != nil {
		return err
	}
	t.savepoints = append(t.savepoints, savepoint{name, len(t.writes)})
	return nil
}

// RollbackTo undoes the writes since the savepoint. Locks stay.
func (t *Transaction) RollbackTo(name string) error {
	if t.ended {
		return ErrEnded
	}
	for i, s := range slices.Backward(t.savepoints) {
		if s.name == name {
			t.writes, t.savepoints, t.failure = t.writes[:s.writes], t.savepoints[:i+1], nil
			return nil
		}
	}
	return ErrStatement
}

// Commit ends the transaction. It rolls back an aborted one.
func (t *Transaction) Commit() error {
	if t.ended {
		return ErrEnded
	}
	if t.failure != nil {
		t.Rollback()
		return ErrAborted
	}
	d := t.d
	d.mu.Lock()
	defer d.mu.Unlock()
	t.ended = true
	<-d.connections
	var fault CommitFault
	if len(t.writes) > 0 {
		fault, d.fault = d.fault, 0
	}
	switch fault {
	case CommitRefused:
		t.unlock()
		return ErrRefused
	case CommitConflict:
		t.unlock()
		return ErrSerialization
	case CommitReplyLost:
		t.apply()
		t.unlock()
		return ErrConnection
	case CommitNever:
		t.unlock()
		return ErrConnection
	case CommitLate:
		d.late = t
		return ErrConnection
	}
	t.apply()
	t.unlock()
	return nil
}

// Rollback ends the transaction. If the transaction has ended, Rollback does nothing.
func (t *Transaction) Rollback() {
	if t.ended {
		return
	}
	t.d.mu.Lock()
	defer t.d.mu.Unlock()
	t.ended = true
	<-t.d.connections
	t.unlock()
}

// apply makes the writes visible. The caller holds the lock.
func (t *Transaction) apply() {
	for _, w := range t.writes {
		if w.value == "" {
			delete(t.d.rows, w.row)
		} else {
			t.d.rows[w.row] = w.value
		}
	}
}

// unlock unlocks the rows. The caller holds the lock.
func (t *Transaction) unlock() {
	for _, row := range t.locks {
		delete(t.d.owners, row)
	}
	close(t.d.ended)
	t.d.ended = make(chan struct{})
}
