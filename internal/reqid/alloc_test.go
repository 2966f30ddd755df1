//go:build !race

package reqid_test

import (
	"testing"

	"github.com/seawall-go/seawall/internal/reqid"
)

// AllocsPerRun counts the whole process, so this test is not parallel.
func TestAllocsOfAnID(t *testing.T) {
	made := testing.AllocsPerRun(1000, func() { reqid.New() })
	t.Logf("New: %v", made)
	if made > 1 {
		t.Error("more than 1")
	}
	valid := false
	checked := testing.AllocsPerRun(1000, func() { valid = reqid.Valid("req_Hd92kLpQ7m") })
	t.Logf("Valid: %v", checked)
	if checked > 0 || !valid {
		t.Error("more than 0, or not valid")
	}
}
