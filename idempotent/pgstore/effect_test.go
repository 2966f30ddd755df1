package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/idempotent"
	"github.com/seawall-go/seawall/idempotent/pgstore"
)

var levels = []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable}

// forEachMarking runs a test for BeginEffectTx and FinishTx at all isolation levels.
func forEachMarking(t *testing.T, test func(b *bank, s *service)) {
	t.Helper()
	server := sharedServer(t)
	for _, w := range marking {
		for _, level := range levels {
			t.Run(fmt.Sprintf("%s, %s", w, level), func(t *testing.T) {
				t.Parallel()
				b := newBank(t, server.URL(""))
				s := newService("service", w, b.connect(server.URL("")))
				s.tx.IsoLevel = level
				test(b, s)
			})
		}
	}
}

func TestFailureBeforeTheCommitUndoesTheMark(t *testing.T) {
	t.Parallel()
	forEachMarking(t, func(b *bank, s *service) {
		s.at = func(_ context.Context, _ pgx.Tx, p point) error {
			if p == afterMark && s.runs.Load() == 1 {
				return errors.New("a failure")
			}
			return nil
		}
		require.Equal(b, http.StatusInternalServerError, b.post(s, "key").status)
		want := response{http.StatusCreated, "service, run 2, attempt 1", false, nil}
		require.Equal(b, want, b.post(s, "key"))
		want.replayed = true
		require.Equal(b, want, b.post(s, "key"))
		b.check()
	})
}

func TestFailureAfterTheCommitKeepsTheMark(t *testing.T) {
	t.Parallel()
	forEachMarking(t, func(b *bank, s *service) {
		s.at = func(_ context.Context, _ pgx.Tx, p point) error {
			if p == afterCommit {
				return errors.New("a failure")
			}
			return nil
		}
		require.Equal(b, http.StatusInternalServerError, b.post(s, "key").status)
		if s.way == withFinishTx {
			require.Equal(b, response{http.StatusCreated, "service, run 1, attempt 1", true, nil}, b.post(s, "key"))
		} else {
			require.Contains(b, b.post(s, "key").body, "idempotency_outcome_unknown")
			b.settle(s, "key")
		}
		require.EqualValues(b, 1, s.runs.Load())
		b.check()
	})
}

// The lease of an owner ends while its transaction with the mark is open. A takeover waits for
// the end of the transaction.
func TestTakeoverWaitsForTheMark(t *testing.T) {
	t.Parallel()
	for _, commits := range []bool{true, false} {
		t.Run(fmt.Sprint("commits: ", commits), func(t *testing.T) {
			t.Parallel()
			forEachMarking(t, func(b *bank, s *service) {
				reached, proceed := make(chan point), make(chan error)
				s.at = func(_ context.Context, _ pgx.Tx, p point) error {
					if p != afterMark && p != afterCommit && p != afterAbort {
						return nil
					}
					reached <- p
					return <-proceed
				}
				got := make(chan response, 1)
				go func() { got <- b.post(s, "key") }()
				require.Equal(b, afterMark, receive(b, reached))
				b.advance(lease)

				name := b.searchPath()
				other := newService("other", s.way, b.connect(b.url, func(c *pgxpool.Config) {
					c.ConnConfig.RuntimeParams["application_name"] = name
				}))
				other.guard.StoreTimeout = patience
				taken := make(chan response, 1)
				go func() { taken <- b.post(other, "key") }()
				eventually(b, func() bool {
					return b.count("SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'", name) > 0
				}, "a takeover that waits")
				if !commits {
					proceed <- errors.New("a failure")
					require.Equal(b, afterAbort, receive(b, reached))
					want := response{http.StatusCreated, "other, run 1, attempt 2", false, nil}
					require.Equal(b, want, receive(b, taken))
					proceed <- nil
					want.replayed = true
					require.Equal(b, want, receive(b, got))
					b.check()
					return
				}
				proceed <- nil
				require.Equal(b, afterCommit, receive(b, reached))
				want := response{http.StatusCreated, "service, run 1, attempt 1", true, nil}
				if r := receive(b, taken); s.way == withFinishTx {
					require.Equal(b, want, r)
				} else {
					require.Contains(b, r.body, "idempotency_outcome_unknown")
				}
				proceed <- nil
				require.Equal(b, response{http.StatusCreated, "service, run 1, attempt 1", false, nil}, receive(b, got))
				require.Equal(b, want, b.post(other, "key")) // a late end is recorded
				require.Zero(b, other.runs.Load())
				b.check()
			})
		})
	}
}

// Renewals, and everything that other processes do with the same record, happen between the
// snapshot and the mark, and between the mark and the commit. They neither wait nor abort the
// transaction.
func TestRenewalsNeverAbortATransaction(t *testing.T) {
	t.Parallel()
	forEachMarking(t, func(b *bank, s *service) {
		serializable := func(c *pgxpool.Config) {
			c.ConnConfig.RuntimeParams["default_transaction_isolation"] = "serializable"
		}
		pool := b.connect(b.url, serializable)
		store, other := pgstore.New(pool, nil), newService("other", s.way, pool)
		s.at = func(ctx context.Context, tx pgx.Tx, p point) error {
			if p != beforeWrite && p != afterMark {
				return nil
			}
			if _, err := tx.Exec(ctx, "SELECT count(*) FROM transfers"); err != nil { // takes the snapshot
				return err
			}
			o, _ := idempotent.OwnerOf(ctx)
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			for range 20 {
				if err := store.Renew(ctx, o, lease); err != nil {
					return err
				}
				if _, err := store.Sweep(ctx, 0); err != nil {
					return err
				}
				if _, err := store.ListUnknown(ctx, idempotent.ID{}, 0); err != nil {
					return err
				}
				if r := b.post(other, "key"); r.status != http.StatusTooManyRequests {
					return fmt.Errorf("a duplicate got %+v", r)
				}
			}
			return nil
		}
		require.Equal(b, response{http.StatusCreated, "service, run 1, attempt 1", false, nil}, b.post(s, "key"))
		b.check()
	})
}
