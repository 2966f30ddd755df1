package pgstore

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/seawall-go/seawall/idempotent"
)

// Wait implements [idempotent.Waiter]. However many calls wait, the Store looks at their records
// about twice a second, through one connection of the pool. Notifications make that faster: they
// need one connection that is not of the pool, which is closed two seconds after the last call has
// returned.
func (s *Store) Wait(ctx context.Context, id idempotent.ID) error { return s.poller.Wait(ctx, id) }

// newPoller returns a Poller that looks at records in the given time, or by default if that is
// zero.
func (s *Store) newPoller(every time.Duration) *idempotent.Poller {
	o := &idempotent.PollerOptions{Every: every, Watch: s.watch, Logger: s.opt.Logger}
	if s.opt.NoListen {
		o.Watch = nil
	}
	return idempotent.NewPoller(s.look, o)
}

// look returns those of the records that are running. It asks the owners of their leases for a
// notification, which is thus only sent if someone waits: notifications slow all commits of a
// database down.
func (s *Store) look(ctx context.Context, ids []idempotent.ID) (running []idempotent.ID, err error) {
	list := make([][]byte, len(ids))
	for i := range ids {
		list[i] = ids[i][:]
	}
	err = s.step(ctx, func(b *pgx.Batch) {
		if !s.opt.NoListen {
			b.Queue(s.sql.wait, list)
		}
		b.Queue(s.sql.running, list).Query(func(rows pgx.Rows) error {
			running, err = pgx.CollectRows(rows, scanID)
			return err
		})
	})
	return running, err
}

func scanID(row pgx.CollectableRow) (id idempotent.ID, err error) {
	var b []byte
	if err := row.Scan(&b); err != nil {
		return id, err
	}
	return id, id.Scan(b)
}

// watch wakes the calls that wait for a run whose end is notified.
func (s *Store) watch(ctx context.Context, ready func()) error {
	conn, err := s.listen(ctx)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	if _, err := conn.Exec(ctx, s.sql.listen); err != nil {
		return err
	}
	ready()
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		var id idempotent.ID
		if id.UnmarshalText([]byte(n.Payload)) == nil {
			s.poller.Wake(id)
		}
	}
}

// listen opens the connection for LISTEN.
func (s *Store) listen(ctx context.Context) (*pgx.Conn, error) {
	if s.opt.Listen != nil {
		return s.opt.Listen(ctx)
	}
	config := s.pool.Config()
	if config.BeforeConnect != nil { // may set a password that changes
		if err := config.BeforeConnect(ctx, config.ConnConfig); err != nil {
			return nil, err
		}
	}
	return pgx.ConnectConfig(ctx, config.ConnConfig)
}
