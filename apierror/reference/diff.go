package reference

import (
	"fmt"
	"strconv"

	"github.com/seawall-go/seawall/apierror"
)

// Change is one difference between two versions of a catalog.
type Change struct {
	Code apierror.Code
	Kind ChangeKind
	Old  string // the value in the old version; empty for a new code
	New  string // the value in the new version; empty for a removed code
}

// ChangeKind says what changed about a code.
type ChangeKind string

// The kinds of changes.
const (
	ChangeRemoved     ChangeKind = "removed"     // the code is gone
	ChangeAdded       ChangeKind = "added"       // the code is new
	ChangeType        ChangeKind = "type"        // clients that match the type do not find the error
	ChangeStatus      ChangeKind = "status"      // clients that look at the status act differently
	ChangeRetryable   ChangeKind = "retryable"   // clients start or stop retrying
	ChangeMessage     ChangeKind = "message"     // the default message
	ChangeDescription ChangeKind = "description" // a text on the page
	ChangeResolution  ChangeKind = "resolution"  // a text on the page
)

// Breaking reports whether the change can break a client that handled the old catalog's errors. A
// new code cannot, because clients must expect codes that they do not know. A new text cannot
// either, because texts are for people.
func (c Change) Breaking() bool {
	switch c.Kind {
	case ChangeRemoved, ChangeType, ChangeStatus, ChangeRetryable:
		return true
	default:
		return false
	}
}

// String describes the change in one line.
func (c Change) String() string {
	switch c.Kind {
	case ChangeRemoved:
		return fmt.Sprintf("%s: removed (%s)", c.Code, c.Old)
	case ChangeAdded:
		return fmt.Sprintf("%s: added (%s)", c.Code, c.New)
	case ChangeMessage, ChangeDescription, ChangeResolution:
		return fmt.Sprintf("%s: %s changed from %q to %q", c.Code, c.Kind, c.Old, c.New)
	default:
		return fmt.Sprintf("%s: %s changed from %s to %s", c.Code, c.Kind, c.Old, c.New)
	}
}

// Diff returns the changes between two versions of a catalog. The changes of the codes in from come
// first, then the new codes, each in the order of its catalog. Diff does not compare the order of
// the codes and the titles.
func Diff(from, to *Reference) []Change {
	var changes []Change
	newer := to.byCode()
	for _, a := range from.defs {
		b, ok := newer[a.Code]
		if !ok {
			changes = append(changes, Change{Code: a.Code, Kind: ChangeRemoved, Old: summary(a)})
			continue
		}
		compare := func(kind ChangeKind, before, after string) {
			if before != after {
				changes = append(changes, Change{a.Code, kind, before, after})
			}
		}
		compare(ChangeType, string(a.Type), string(b.Type))
		compare(ChangeStatus, strconv.Itoa(a.Status), strconv.Itoa(b.Status))
		compare(ChangeRetryable, strconv.FormatBool(a.Retryable()), strconv.FormatBool(b.Retryable()))
		compare(ChangeMessage, a.Message, b.Message)
		compare(ChangeDescription, a.Description, b.Description)
		compare(ChangeResolution, a.Resolution, b.Resolution)
	}
	older := from.byCode()
	for _, b := range to.defs {
		if _, ok := older[b.Code]; !ok {
			changes = append(changes, Change{Code: b.Code, Kind: ChangeAdded, New: summary(b)})
		}
	}
	return changes
}

func (r *Reference) byCode() map[apierror.Code]apierror.Definition {
	m := make(map[apierror.Code]apierror.Definition, len(r.defs))
	for _, d := range r.defs {
		m[d.Code] = d
	}
	return m
}

// summary returns the properties of a code that clients rely on, as text.
func summary(d apierror.Definition) string {
	if d.Retryable() {
		return fmt.Sprintf("%d %s, retryable", d.Status, d.Type)
	}
	return fmt.Sprintf("%d %s", d.Status, d.Type)
}
