//go:build !race

package reqid_test

import (
	"testing"

	"github.com/seawall-go/seawall/internal/reqid"
)

func TestAllocsOfAnID(t *testing.T) { //nolint:paralleltest // AllocsPerRun counts the whole process
	made := testing.AllocsPerRun(1000, func() { reqid.New() })
	t.Logf("New: %v", made)
	if made > 1 {
		t.Error("more than 1")
	}
	checked := testing.AllocsPerRun(1000, func() { reqid.Valid("req_Hd92kLpQ7m") })
	t.Logf("Valid: %v", checked)
	if checked > 0 {
		t.Error("more than 0")
	}
}
