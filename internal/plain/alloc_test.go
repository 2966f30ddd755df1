//go:build !race

package plain

import "testing"

// Nearly all strings are safe already.
func TestAllocsOfSafeText(t *testing.T) {
	const text = "GET ~/v1 things"
	got := testing.AllocsPerRun(100, func() {
		if Text(text, len(text)) != text || RedactURLs(text) != text {
			t.Error("changed")
		}
	})
	t.Logf("plain text: %v allocations (budget 0)", got)
	if got > 0 {
		t.Errorf("%v allocations", got)
	}
}
