package service_test

import (
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/service"
	"github.com/seawall-go/seawall/internal/chaos/stores"
)

func TestOperatorSettlesWhatIsUnknown(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		arm     service.Arm
		status  int // after the settlement
		effects int
	}{
		{"a charge", service.Arm{Window: history.AfterEffect, Action: history.Lose, Way: history.BeginEffect}, http.StatusCreated, 1},
		{"no charge", service.Arm{Window: history.AfterMark, Action: history.Fail, Way: history.BeginEffect}, http.StatusPaymentRequired, 0},
		{"a row", service.Arm{Window: history.AfterCommit, Action: history.Lose, Way: history.BeginEffectTx}, http.StatusCreated, 1},
	} {
		for _, store := range allStores {
			if row.arm.Way.Transactional() && store != stores.PostgreSQL && store != stores.SQLite {
				continue
			}
			t.Run(row.name+" "+store, func(t *testing.T) {
				t.Parallel()
				f := open(t, start(t, store))
				way := row.arm.Way
				require.Equal(t, http.StatusNoContent, f.arm(row.arm))
				require.GreaterOrEqual(t, f.send(way, "k", 5).status, 500)
				require.Equal(t, "idempotency_outcome_unknown", f.send(way, "k", 5).code)
				ends := f.history().Ends
				require.Len(t, ends, 1)
				require.Equal(t, "unknown", ends[0].Outcome)
				require.Equal(t, "alice/k", ends[0].Key)

				require.Equal(t, http.StatusNoContent, f.settle(way, "k", 5).status)
				after := f.send(way, "k", 5)
				require.Equal(t, row.status, after.status, after.raw)
				require.True(t, after.replayed)
				require.Len(t, f.effects(way, "k"), row.effects)
				run := "settled"
				if row.effects == 1 {
					run = f.effects(way, "k")[0]
				}
				require.Equal(t, run, after.body.Run)
				require.Equal(t, "alice/k", after.body.Key)

				again := f.settle(way, "k", 5)
				require.Equal(t, http.StatusConflict, again.status)
				require.Equal(t, "not_unknown", again.code)
			})
		}
	}
}

func TestSettledPaymentIsNeverCharged(t *testing.T) {
	t.Parallel()
	f := open(t, start(t, stores.Memory))
	require.Equal(t, "not_unknown", f.settle(history.Plain, "k", 5).code) // but the provider has closed it
	for range 2 {
		a := f.send(history.Plain, "k", 5)
		require.Equal(t, http.StatusPaymentRequired, a.status)
		require.JSONEq(t, `{"key": "alice/k", "run": "settled"}`, a.raw)
	}
	require.Empty(t, f.effects(history.Plain, "k"))
}

func TestSettlementIsAboutAnAmount(t *testing.T) {
	t.Parallel()
	f := open(t, start(t, stores.Memory))
	require.Equal(t, "not_unknown", f.settle(history.Plain, "k", 5).code) // but the provider has closed it
	require.Equal(t, http.StatusCreated, f.send(history.Plain, "k", 6).status)
}

func TestSettlementIsTheAnswerOfTheRun(t *testing.T) {
	t.Parallel()
	f := open(t, start(t, stores.Redis))
	first := f.send(history.BeginEffect, "first", 5)
	require.Equal(t, http.StatusNoContent, f.arm(service.Arm{Window: history.AfterEffect, Action: history.Fail, Way: history.BeginEffect}))
	f.send(history.BeginEffect, "other", 5)
	require.Equal(t, http.StatusNoContent, f.settle(history.BeginEffect, "other", 5).status)
	settled := f.send(history.BeginEffect, "other", 5)
	want := history.Answer{Key: "alice/other", Amount: 5, Run: settled.body.Run}
	require.Equal(t, want, settled.body)
	require.Equal(t, first.status, settled.status)
	require.NotEqual(t, first.body.Run, settled.body.Run)
}

func TestDerivedKeyIsChargedOnceHoweverOftenItRuns(t *testing.T) {
	t.Parallel()
	f := open(t, start(t, stores.Redis))
	require.Equal(t, http.StatusNoContent, f.arm(service.Arm{Window: history.AfterEffect, Action: history.Fail, Way: history.DerivedKey}))
	require.Equal(t, http.StatusInternalServerError, f.send(history.DerivedKey, "k", 5).status)
	a := f.send(history.DerivedKey, "k", 5)
	require.Equal(t, http.StatusCreated, a.status)
	require.Equal(t, []string{a.body.Run}, f.effects(history.DerivedKey, "k"))
	require.Equal(t, "s1.1-1", a.body.Run) // of the first run, whose receipt it is
}

func TestStoppedServerIsReplacedAndAnswersAsItsReplacement(t *testing.T) {
	t.Parallel()
	c := start(t, stores.Redis)
	p := launch(t, c)
	c.Provider, c.Name = p.config.Provider, "s2.1"
	f := open(t, c)
	require.Equal(t, http.StatusNoContent, p.arm(service.Arm{Window: history.AfterClaim, Action: history.Stop, Way: history.Plain}))
	stopped := make(chan answer, 1)
	go func() { stopped <- p.send(history.Plain, "k", 5) }()
	other := f.until(http.StatusCreated, func() answer {
		if len(f.history().Hits) == 0 {
			return answer{}
		}
		return f.send(history.Plain, "k", 5)
	})
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGCONT))
	select {
	case a := <-stopped:
		require.Equal(t, other.raw, a.raw)
	case <-time.After(patience):
		t.Fatal("the server that was stopped does not answer")
	}
	ends := f.history().Ends
	require.Len(t, ends, 1)
	require.Equal(t, "s1.1-1", ends[0].Run)
	require.True(t, ends[0].Lost)
}
