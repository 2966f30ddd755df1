package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// The session checks each of its steps itself.
func TestSessionGoesAsExpected(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	err := session(t.Context(), &out)
	t.Log(out.String())
	require.NoError(t, err)
	require.Contains(t, out.String(), "All 8 steps went as expected.")
	require.Contains(t, out.String(), "stopped.")
}
