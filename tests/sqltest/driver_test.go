package sqltest

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

// connector wraps that of a driver. It moves the clock of the database, counts transactions,
// and makes commits fail.
type connector struct {
	driver.Connector
	moved        atomic.Int64                           // seconds
	transactions atomic.Int64                           // also those that could not begin
	looks        atomic.Int64                           // statements of Wait
	commit       atomic.Pointer[func(t commitTx) error] // replaces the next Commit
	uncanceled   atomic.Bool                            // transactions go on when their context ends
}

func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	inner, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: inner, connector: c}, nil
}

// conn passes on what database/sql looks for in a connection.
type conn struct {
	driver.Conn
	connector *connector
	late      chan struct{} // closed when a late commit has ended
}

func (c *conn) rewrite(query string) string {
	moved := c.connector.moved.Load()
	return strings.NewReplacer(
		"unixepoch('now','subsec')", fmt.Sprintf("(unixepoch('now','subsec') + %d)", moved),
		"clock_timestamp()", fmt.Sprintf("(clock_timestamp() + interval '%d seconds')", moved),
	).Replace(query)
}

func (c *conn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	return c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, c.rewrite(query))
}

func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if inner, ok := c.Conn.(driver.ExecerContext); ok {
		return inner.ExecContext(ctx, c.rewrite(query), args)
	}
	return nil, driver.ErrSkip
}

func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if strings.Contains(query, "r.id IN (") {
		c.connector.looks.Add(1)
	}
	if inner, ok := c.Conn.(driver.QueryerContext); ok {
		return inner.QueryContext(ctx, c.rewrite(query), args)
	}
	return nil, driver.ErrSkip
}

func (c *conn) CheckNamedValue(v *driver.NamedValue) error {
	if inner, ok := c.Conn.(driver.NamedValueChecker); ok {
		return inner.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

func (c *conn) ResetSession(ctx context.Context) error {
	if inner, ok := c.Conn.(driver.SessionResetter); ok {
		return inner.ResetSession(ctx)
	}
	return nil
}

func (c *conn) IsValid() bool {
	inner, ok := c.Conn.(driver.Validator)
	return !ok || inner.IsValid()
}

func (c *conn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	if c.connector.uncanceled.Load() {
		ctx = context.WithoutCancel(ctx)
	}
	c.connector.transactions.Add(1)
	inner, err := c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
	if err != nil {
		return nil, err
	}
	return commitTx{inner, c}, nil
}

func (c *conn) Close() error {
	if c.late == nil {
		return c.Conn.Close()
	}
	go func() {
		<-c.late
		_ = c.Conn.Close()
	}()
	return nil
}

type commitTx struct {
	driver.Tx
	conn *conn
}

func (t commitTx) Commit() error {
	if f := t.conn.connector.commit.Swap(nil); f != nil {
		return (*f)(t)
	}
	return t.Tx.Commit()
}

// onCommit replaces the next commit.
func (c *connector) onCommit(f func(t commitTx) error) { c.commit.Store(&f) }

// The database commits, and its reply is lost.
func loseReply(t commitTx) error {
	_ = t.Tx.Commit()
	return driver.ErrBadConn
}

// The commit is lost, and the database rolls back.
func loseCommit(t commitTx) error {
	_ = t.Tx.Rollback()
	return driver.ErrBadConn
}

// The connection breaks, and the database commits a moment later.
func delayCommit(t commitTx) error {
	late := make(chan struct{})
	t.conn.late = late
	time.AfterFunc(50*time.Millisecond, func() {
		_ = t.Tx.Commit()
		close(late)
	})
	return driver.ErrBadConn
}

// The database rolls back because of another transaction.
func conflictCommit(t commitTx) error {
	_ = t.Tx.Rollback()
	return conflict{}
}

// conflict is a serialization failure.
type conflict struct{}

func (conflict) Error() string    { return "could not serialize access" }
func (conflict) SQLState() string { return "40001" }
