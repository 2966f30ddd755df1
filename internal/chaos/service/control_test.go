package service_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/internal/chaos/history"
	"github.com/seawall-go/seawall/internal/chaos/service"
	"github.com/seawall-go/seawall/internal/chaos/stores"
)

func TestArmThatMakesNoSenseIsRefused(t *testing.T) {
	t.Parallel()
	f := open(t, start(t, stores.Memory))
	for _, a := range []service.Arm{
		{Window: history.AfterEffect, Action: history.Decline, Way: history.Plain},  // there was an effect
		{Window: history.BeforeMark, Action: history.Fail, Way: history.Plain},      // no such window
		{Window: history.BeforeCommit, Action: history.Kill, Way: history.FinishTx}, // no database
		{Window: history.AfterClaim, Action: history.Lose, Way: history.Plain},      // no call that can be lost
		{Window: history.OnTheWay, Action: history.Cut, Way: history.Plain},         // a proxy's
		{Window: history.BeforeReply, Action: history.Full},                         // not there in any way
		{},
	} {
		require.Equal(t, http.StatusBadRequest, f.arm(a), "%+v", a)
	}
}

func TestArmForAnyWayMeetsTheNextRequest(t *testing.T) {
	t.Parallel()
	f := open(t, start(t, stores.Memory))
	require.Equal(t, http.StatusNoContent, f.arm(service.Arm{Window: history.AfterMark, Action: history.Fail}))
	require.Equal(t, http.StatusCreated, f.send(history.Plain, "a", 5).status) // it has no such window
	require.Equal(t, http.StatusInternalServerError, f.send(history.BeginEffect, "b", 5).status)
	require.Equal(t, http.StatusCreated, f.send(history.BeginEffect, "c", 5).status)
}

func TestVitalsCountWhatIsUsed(t *testing.T) {
	t.Parallel()
	f := open(t, start(t, stores.Memory))
	require.Equal(t, http.StatusNoContent, f.arm(service.Arm{Window: history.BeforeMark, Action: history.Fail, Way: history.BeginEffect}))
	resp, err := http.Get(f.url + "/chaos/vitals")
	require.NoError(t, err)
	defer resp.Body.Close()
	var v service.Vitals
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&v))
	require.Equal(t, 1, v.Armed)
	require.Positive(t, v.Goroutines)
	require.Positive(t, v.HeapBytes)
	require.Positive(t, v.Files)
}
