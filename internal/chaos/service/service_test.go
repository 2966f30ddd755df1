package service_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/stores"
)

var (
	charging      = []history.Way{history.Plain, history.BeginEffect, history.DerivedKey}
	transactional = []history.Way{history.Executor, history.FinishTx, history.BeginEffectTx}
)

// waysOf returns the ways of a store.
func waysOf(store string) []history.Way {
	if store == stores.PostgreSQL || store == stores.SQLite {
		return append(append([]history.Way(nil), charging...), transactional...)
	}
	return charging
}

var allStores = []string{stores.Memory, stores.Redis, stores.PostgreSQL, stores.SQLite}

func TestWayMakesOneEffectAndReplaysItsAnswer(t *testing.T) {
	t.Parallel()
	for _, store := range allStores {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			f := open(t, start(t, store))
			for _, way := range waysOf(store) {
				first := f.write(way, string(way), 7)
				require.False(t, first.replayed)
				require.Equal(t, history.Answer{Key: "alice/" + string(way), Amount: 7, Run: first.body.Run}, first.body)

				again := f.write(way, string(way), 7)
				require.True(t, again.replayed, way)
				require.Equal(t, first.raw, again.raw)
				require.Equal(t, http.StatusConflict, f.send(way, string(way), 8).status)
				require.Equal(t, []string{first.body.Run}, f.effects(way, string(way)), way)
			}
			require.Empty(t, f.history().Ends)
		})
	}
}
