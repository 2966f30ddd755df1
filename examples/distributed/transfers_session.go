package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/pgtest"
)

// transfersSession is the session with PostgreSQL.
type transfersSession struct {
	stage
	postgres *pgtest.Server
	pool     *pgxpool.Pool
}

func newTransfersSession(out io.Writer) *transfersSession {
	return &transfersSession{stage: stage{out: out}}
}

func (s *transfersSession) run(ctx context.Context) error {
	return s.play(ctx, s.start, []step{
		{"The reply to a transfer is lost", s.lostReply},
		{"A server is killed in the middle of a transfer", s.killBetween},
		{"Transfers that the handler refuses", s.refuse},
		{fmt.Sprintf("%d clients send each of %d transfers two or three times, while server B is killed again and again", stormClients, stormKeys), s.storm},
		{"An operator looks at the record of a key", s.look},
	})
}

// tables are those of the service. The store has its own.
const tables = `
	CREATE TABLE accounts (id text PRIMARY KEY, cents bigint NOT NULL);
	CREATE TABLE transfers (
		id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		debtor text NOT NULL, creditor text NOT NULL, cents bigint NOT NULL, reference text NOT NULL);
	INSERT INTO accounts VALUES ('acct_alice', 1000000), ('acct_bob', 1000000), ('acct_carol', 1000000)`

// opening is the balance of each account at the beginning, in cents.
const opening = 1_000_000

func (s *transfersSession) start(ctx context.Context) (err error) {
	if err = s.prepare("http://bank.example/v1/transfers"); err != nil {
		return err
	}
	if s.postgres, err = pgtest.Launch(s.dir); err != nil {
		return err
	}
	s.cleanup(func() error { s.postgres.StopImmediately(); return nil })
	if s.pool, err = connectPostgres(ctx, s.postgres.URL("")); err != nil {
		return err
	}
	s.cleanup(func() error { s.pool.Close(); return nil })
	if _, err = s.pool.Exec(ctx, tables); err != nil {
		return err
	}
	if s.a, err = s.startServer("A"); err != nil {
		return err
	}
	if s.b, err = s.startServer("B"); err != nil {
		return err
	}
	s.say("PostgreSQL is process %d. The service is server A, process %d, and server B, process %d.",
		s.postgres.Pid(), s.a.pid(), s.b.pid())
	s.say("Requests go to A and B in turn. Three accounts have %d cents each.", opening)
	s.say("")
	return nil
}

func (s *transfersSession) startServer(name string) (*process, error) {
	return s.stage.startServer(transfersService, name, s.postgres.URL(""))
}

func (s *transfersSession) lostReply(ctx context.Context) {
	got, attempts := s.writeWithLostReply(ctx, "transfer-1", `{"to":"acct_bob","cents":4900,"reference":"lamp"}`)
	if s.failed != nil {
		return
	}
	s.say("   Attempt 1: server A runs the handler. The transfer and its response are one transaction.")
	s.say("              %v", attempts[0].Err)
	s.say("   Attempt 2: 201 of server B, Idempotent-Replayed: true, the bytes that were lost:")
	s.say("              %s", bytes.TrimSpace(got.body))
	s.checkBooks(ctx, "lamp", 1, 4900)
}

// killBetween kills server A when it has taken the money from one account, and not yet given it to
// the other. To stop A there, the session locks the other account.
func (s *transfersSession) killBetween(ctx context.Context) {
	lock, err := s.pool.Begin(ctx)
	if err == nil {
		defer func() { _ = lock.Rollback(context.WithoutCancel(ctx)) }()
		_, err = lock.Exec(ctx, "SELECT FROM accounts WHERE id = 'acct_bob' FOR UPDATE")
	}
	s.check(err == nil, "locking an account: %v", err)
	if err != nil {
		return
	}
	const body = `{"to":"acct_bob","cents":12000,"reference":"chair"}`
	got, attempts := s.writeWhileKilling(ctx, s.a, "transfer-2", body, func(ctx context.Context) {
		if awaitUpdate(ctx, s.pool) == nil {
			s.a.kill()
		}
		_ = lock.Rollback(ctx)
	})
	s.check(got.status == http.StatusCreated && !got.replayed() && got.server() == "B" && len(attempts) == 2,
		"the transfer got %d, %v, after %d attempts", got.status, got.err, len(attempts))
	if s.failed != nil {
		return
	}
	s.say("   Attempt 1: server A takes the money from acct_alice, and is killed (SIGKILL) before acct_bob has it.")
	s.say("              %v", attempts[0].Err)
	s.say("   PostgreSQL finds that A has gone, and rolls back its transaction, with the claim of the key.")
	s.say("   Attempt 2: server B runs the handler immediately. There is no lease to wait for. 201")
	s.say("              %s", bytes.TrimSpace(got.body))
	s.checkRecorded(ctx, "transfer-2", body, got)
	s.checkBooks(ctx, "chair", 1, 4900+12000)
	s.a, err = s.startServer("A")
	s.check(err == nil, "%v", err)
	if err == nil {
		s.say("   Server A starts again, as process %d.", s.a.pid())
	}
}

// awaitUpdate waits until a transaction in the database waits for the lock of an account.
func awaitUpdate(ctx context.Context, pool *pgxpool.Pool) error {
	for {
		var waiting bool
		err := pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'UPDATE accounts %')`).Scan(&waiting)
		if err != nil || waiting {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *transfersSession) refuse(ctx context.Context) {
	for _, refused := range []struct {
		key, body string
		want      error
	}{
		{"transfer-3", `{"to":"acct_bob","cents":90000000,"reference":"house"}`, insufficientFunds},
		{"transfer-4", `{"to":"acct_dave","cents":100,"reference":"tip"}`, apierror.CodeResourceMissing},
	} {
		s.say("   %s %s", refused.key, refused.body)
		s.balancer.startWith(s.a)
		for _, p := range []*process{s.a, s.b} {
			got := s.once.send(ctx, http.MethodPost, keyOfAlice, refused.key, refused.body)
			s.check(errors.Is(got.err, refused.want) && got.server() == p.name && got.replayed() == (p == s.b),
				"server %q has answered %d, %v, replayed: %t", got.server(), got.status, got.err, got.replayed())
			s.say("      server %s, Idempotent-Replayed: %-5t  %s", p.name, got.replayed(), brief(got.err))
		}
	}
	s.checkBooks(ctx, "house", 0, 4900+12000)
}

// checkBooks checks how many transfers have a reference, and how many cents acct_alice has sent to
// acct_bob in all.
func (s *transfersSession) checkBooks(ctx context.Context, reference string, want int, sent int64) {
	var n int
	err := s.pool.QueryRow(ctx, "SELECT count(*) FROM transfers WHERE reference = $1", reference).Scan(&n)
	s.check(err == nil && n == want, "%d transfers, %v", n, err)
	balance := func(account string) (cents int64) {
		err := s.pool.QueryRow(ctx, "SELECT cents FROM accounts WHERE id = $1", account).Scan(&cents)
		s.check(err == nil, "the balance of %s: %v", account, err)
		return cents
	}
	alice, bob := balance("acct_alice"), balance("acct_bob")
	s.check(alice == opening-sent && bob == opening+sent, "acct_alice has %d cents, and acct_bob has %d", alice, bob)
	s.say("   Transfers with this reference: %d. acct_alice has %d cents, and acct_bob has %d.", n, alice, bob)
}

// look shows what an operator sees of a key.
func (s *transfersSession) look(context.Context) {
	query := recordQuery("acct_alice", "transfer-2")
	row, err := s.postgres.SQL(query)
	s.check(err == nil && strings.HasPrefix(row, "done|1|f|"), "the record is %q, %v", row, err)
	s.say("   %s", query)
	s.say("")
	s.say("   %s", strings.ReplaceAll(row, "|", " | "))
}
