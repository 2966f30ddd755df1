package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The files of this folder are those that the program writes. Module tests/otelprom tests what is
// in them.
func TestFilesAreUpToDate(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	require.NoError(t, write(folder))
	for _, name := range []string{"seawall.json", "alerts.yaml"} {
		want, err := os.ReadFile(filepath.Join(folder, name))
		require.NoError(t, err)
		got, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), "run go generate ./dashboard")
	}
}
