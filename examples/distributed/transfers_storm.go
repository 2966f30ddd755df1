package main

import (
	"context"
	cryptorand "crypto/rand"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"

	"github.com/seawall-go/seawall/retry"
)

const (
	stormClients = 16
	stormKeys    = 300
	stormKills   = 4
)

// storm sends transfers while server B is killed again and again, and compares what the clients
// were told with the ledger.
func (s *transfersSession) storm(ctx context.Context) {
	before := s.ledger(ctx)
	transfers := make([]stormTransfer, stormKeys)
	next, kill := make(chan *stormTransfer), make(chan struct{}, stormKills)
	var running sync.WaitGroup
	for range stormClients {
		running.Go(func() {
			for t := range next {
				s.sendOften(ctx, t)
			}
		})
	}
	running.Go(func() {
		for range kill {
			s.restartB()
		}
	})
	moments := make(map[int]bool) // one in each part of the storm
	for i := range stormKills {
		moments[(i*stormKeys+rand.IntN(stormKeys))/stormKills] = true
	}
	for i := range transfers {
		next <- &transfers[i]
		if moments[i] {
			kill <- struct{}{}
		}
	}
	close(next)
	close(kill)
	running.Wait()
	s.compare(transfers, before, s.ledger(ctx))
}

// restartB kills server B and starts it again.
func (s *transfersSession) restartB() {
	s.b.kill()
	b, err := s.startServer("B")
	if err != nil {
		s.check(false, "%v", err)
		return
	}
	s.say("   Server B, process %d, is killed. It starts again as process %d.", s.b.pid(), b.pid())
	s.b = b
}

// stormTransfer is a transfer that is sent several times.
type stormTransfer struct {
	reference string // also the key
	answers   []answer
	attempts  atomic.Int64 // of all requests
}

// sendOften sends a transfer between random accounts twice at the same time, and perhaps once more
// after that. Each account has enough money for the whole storm.
func (s *transfersSession) sendOften(ctx context.Context, t *stormTransfer) {
	t.reference = cryptorand.Text()
	t.answers = make([]answer, 2+rand.IntN(2))
	names := []string{"alice", "bob", "carol"}
	rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	body := fmt.Sprintf(`{"to":"acct_%s","cents":%d,"reference":%q}`, names[1], 1+rand.IntN(1000), t.reference)
	send := func(i int) {
		ctx, report := retry.WithReport(ctx)
		t.answers[i] = s.retrying.send(ctx, http.MethodPost, "sk_"+names[0], t.reference, body)
		t.attempts.Add(int64(len(report.Attempts())))
	}
	var duplicates sync.WaitGroup
	duplicates.Go(func() { send(0) })
	duplicates.Go(func() { send(1) })
	duplicates.Wait()
	for i := 2; i < len(t.answers); i++ {
		send(i)
	}
}

// compare compares the answers with the ledger before and after them.
func (s *transfersSession) compare(transfers []stormTransfer, before, after ledger) {
	var requests, replayed, retries int
	for i := range transfers {
		t := &transfers[i]
		for _, a := range t.answers {
			s.check(a.status == http.StatusCreated, "a transfer got %d, %v", a.status, a.err)
			s.check(equal(a.body, t.answers[0].body), "a transfer got %q and %q", a.body, t.answers[0].body)
			if a.replayed() {
				replayed++
			}
		}
		requests += len(t.answers)
		retries += int(t.attempts.Load()) - len(t.answers)
		s.check(after.transfers[t.reference] == 1, "%d transfers have the reference %s", after.transfers[t.reference], t.reference)
	}
	added := len(after.transfers) - len(before.transfers)
	s.check(added == len(transfers), "there are %d more transfers", added)
	s.check(after.wrong == 0, "%d balances are not what the transfers make them", after.wrong)
	s.check(before.cents == after.cents, "there were %d cents, and there are %d", before.cents, after.cents)
	if s.failed != nil {
		return
	}
	for _, row := range []struct {
		name  string
		value any
	}{
		{"keys", len(transfers)},
		{"requests, all answered 201", requests},
		{"of them replayed", replayed},
		{"attempts that failed and were repeated", retries},
		{"transfers in the ledger", added},
		{"runs that were rolled back", int(after.runs-before.runs) - added},
		{"cents on all accounts before", before.cents},
		{"cents on all accounts after", after.cents},
	} {
		s.say("   %-40s %8d", row.name, row.value)
	}
}

// ledger is what the database knows.
type ledger struct {
	transfers map[string]int64 // how many, by reference
	cents     int64            // on all accounts
	wrong     int64            // how many balances differ from the opening balance and the transfers
	runs      int64            // how many transfers were inserted, also if that was rolled back
}

func (s *transfersSession) ledger(ctx context.Context) ledger {
	l := ledger{transfers: make(map[string]int64)}
	rows, _ := s.pool.Query(ctx, "SELECT reference, count(*) FROM transfers GROUP BY reference") // ForEachRow returns the error
	var reference string
	var n int64
	_, err := pgx.ForEachRow(rows, []any{&reference, &n}, func() error {
		l.transfers[reference] = n
		return nil
	})
	s.check(err == nil, "reading the transfers: %v", err)
	// A rollback does not take back the numbers that a sequence has given.
	const sums = `SELECT sum(cents)::bigint, (SELECT last_value FROM transfers_id_seq), count(*) FILTER (WHERE cents <> $1 +
		(SELECT coalesce(sum(CASE creditor WHEN a.id THEN t.cents ELSE -t.cents END), 0) FROM transfers AS t WHERE a.id IN (debtor, creditor)))
		FROM accounts AS a`
	err = s.pool.QueryRow(ctx, sums, opening).Scan(&l.cents, &l.runs, &l.wrong)
	s.check(err == nil, "reading the accounts: %v", err)
	return l
}
