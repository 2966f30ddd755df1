package main

import (
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seawall-go/seawall/examples/docsapi/docsapitest"
	"github.com/seawall-go/seawall/internal/pgtest"
)

// Processes that start at the same time on an empty database all create its tables, once.
func TestProcessesStartTogetherOnAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	const rounds, processes = 2, 4
	postgres := pgtest.Start(t)
	for round := range rounds {
		name := fmt.Sprint("start", round)
		_, err := postgres.SQL("CREATE DATABASE " + name)
		require.NoError(t, err)
		for _, flags := range [][]string{
			{"-postgres", postgres.URL(name)},
			{"-db", filepath.Join(t.TempDir(), "start.db")},
		} {
			servers := make([]*docsapitest.Server, processes)
			var starting sync.WaitGroup
			for i := range servers {
				starting.Go(func() { servers[i] = docsapitest.Start(t, flags...) })
			}
			starting.Wait()
			for _, server := range servers {
				require.NotNil(t, server, flags)
				a := call(t, "POST", server.URL+"/v1/resources", docsapitest.KeyDemo, good, "Idempotency-Key", "start")
				require.Equal(t, http.StatusCreated, a.status, a.body)
			}
			all := decodeAs[page](t, call(t, "GET", servers[0].URL+"/v1/resources", docsapitest.KeyDemo, ""))
			require.Len(t, all.Data, 1, "the processes do not share their keys")
			for _, server := range servers {
				server.Kill()
			}
		}
	}
}
