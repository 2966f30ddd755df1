package track_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/seawall-go/seawall/internal/track"
)

// told is an owner that records what it learns.
type told []string

func (o *told) Answered(status int, outermost bool) {
	*o = append(*o, fmt.Sprint(status, " outermost: ", outermost))
}

// threeRecords returns the writers of three records around each other, with foreign writers
// between.
func threeRecords() (outer, middle, inner http.ResponseWriter) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	outer, _ = track.Wrap(httptest.NewRecorder(), r)
	middle, _ = track.Wrap(unwrapping{bare{outer}}, r)
	inner, _ = track.Wrap(flushing{unwrapping{bare{middle}}}, r)
	return outer, middle, inner
}

func requireOwners(t *testing.T, want map[http.ResponseWriter]track.Owner) {
	t.Helper()
	for w, owner := range want {
		if got := track.OwnerOf(w); got != owner {
			t.Errorf("the owner is %v, not %v", got, owner)
		}
	}
}

func TestOwnerOwnsAllRecordsWithoutOwner(t *testing.T) {
	t.Parallel()
	outer, middle, inner := threeRecords()
	var o told
	track.SetOwner(inner, &o, true)
	requireOwners(t, map[http.ResponseWriter]track.Owner{outer: &o, middle: &o, inner: &o, unwrapping{bare{inner}}: &o})
	inner.WriteHeader(http.StatusAccepted)
	want := told{"202 outermost: true", "202 outermost: false", "202 outermost: false"}
	if !slices.Equal(o, want) {
		t.Errorf("told %q", o)
	}
}

func TestOwnerDoesNotReplaceAnother(t *testing.T) {
	t.Parallel()
	outer, middle, inner := threeRecords()
	var first, second told
	track.SetOwner(outer, &first, true)
	track.SetOwner(inner, &second, false)
	requireOwners(t, map[http.ResponseWriter]track.Owner{outer: &first, middle: &second, inner: &second})
	io.WriteString(inner, "abc")
	if !slices.Equal(first, told{"200 outermost: true"}) || !slices.Equal(second, told{"200 outermost: false", "200 outermost: false"}) {
		t.Errorf("told %q and %q", first, second)
	}
}

func TestOwnerLearnsStatusesThatWereSentBefore(t *testing.T) {
	t.Parallel()
	outer, middle, inner := threeRecords()
	middle.WriteHeader(http.StatusAccepted)
	inner.WriteHeader(http.StatusCreated)
	var o told
	track.SetOwner(inner, &o, true)
	if want := (told{"201 outermost: false", "202 outermost: false", "202 outermost: true"}); !slices.Equal(o, want) {
		t.Errorf("told %q", o)
	}
	requireOwners(t, map[http.ResponseWriter]track.Owner{outer: &o})
}

func TestOwnerDoesNotLearnInformationalStatuses(t *testing.T) {
	t.Parallel()
	_, _, inner := threeRecords()
	var o told
	track.SetOwner(inner, &o, true)
	inner.WriteHeader(http.StatusEarlyHints)
	if len(o) > 0 {
		t.Errorf("told %q", o)
	}
}

func TestRecordsHaveNoOwnerByDefault(t *testing.T) {
	t.Parallel()
	_, _, inner := threeRecords()
	requireOwners(t, map[http.ResponseWriter]track.Owner{inner: nil, bare{inner}: nil})
}
