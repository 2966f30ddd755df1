package reference_test

import (
	"slices"
	"testing"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/apierror/reference"
)

// diffed returns the old definitions of the tests below.
func diffed() []apierror.Definition {
	return []apierror.Definition{
		{Code: "card_declined", Type: apierror.TypeInvalidRequest, Status: 402, Message: "Declined.", Description: "The bank refused.", Resolution: "Ask."},
		{Code: "ledger_locked", Type: apierror.TypeAPI, Status: 503, Message: "Locked."},
		{Code: "daily_quota", Type: apierror.TypeRateLimit, Status: 429, Message: "Used up.", NotRetryable: true},
	}
}

func TestDiffFindsEveryChangeAndWhetherItBreaksClients(t *testing.T) {
	t.Parallel()
	const card, ledger, quota = 0, 1, 2
	for _, row := range []struct {
		name     string
		change   func(defs []apierror.Definition) []apierror.Definition
		breaking []string
		other    []string
	}{
		{name: "nothing", change: slices.Clone[[]apierror.Definition]},
		{name: "order", change: func(d []apierror.Definition) []apierror.Definition { slices.Reverse(d); return d }},

		{"removed", func(d []apierror.Definition) []apierror.Definition { return d[1:] },
			[]string{"card_declined: removed (402 invalid_request_error)"}, nil},
		{"removed with retries", func(d []apierror.Definition) []apierror.Definition { return append(d[:1], d[2]) },
			[]string{"ledger_locked: removed (503 api_error, retryable)"}, nil},
		{"renamed", func(d []apierror.Definition) []apierror.Definition { d[card].Code = "declined"; return d },
			[]string{"card_declined: removed (402 invalid_request_error)"}, []string{"declined: added (402 invalid_request_error)"}},
		{"spelled in another way", func(d []apierror.Definition) []apierror.Definition { d[card].Code = "carddeclined"; return d },
			[]string{"card_declined: removed (402 invalid_request_error)"}, []string{"carddeclined: added (402 invalid_request_error)"}},
		{"status", func(d []apierror.Definition) []apierror.Definition { d[card].Status = 422; return d },
			[]string{"card_declined: status changed from 402 to 422"}, nil},
		{"status, both retryable", func(d []apierror.Definition) []apierror.Definition { d[ledger].Status = 500; return d },
			[]string{"ledger_locked: status changed from 503 to 500"}, nil},
		{"status that is retried", func(d []apierror.Definition) []apierror.Definition { d[card].Status = 503; return d },
			[]string{"card_declined: status changed from 402 to 503", "card_declined: retryable changed from false to true"}, nil},
		{"status that is not retried", func(d []apierror.Definition) []apierror.Definition { d[ledger].Status = 501; return d },
			[]string{"ledger_locked: status changed from 503 to 501", "ledger_locked: retryable changed from true to false"}, nil},
		{"type", func(d []apierror.Definition) []apierror.Definition { d[card].Type = apierror.TypePermission; return d },
			[]string{"card_declined: type changed from invalid_request_error to permission_error"}, nil},
		{"no more retries", func(d []apierror.Definition) []apierror.Definition { d[ledger].NotRetryable = true; return d },
			[]string{"ledger_locked: retryable changed from true to false"}, nil},
		{"retries", func(d []apierror.Definition) []apierror.Definition { d[quota].NotRetryable = false; return d },
			[]string{"daily_quota: retryable changed from false to true"}, nil},
		{"all removed", func([]apierror.Definition) []apierror.Definition { return nil },
			[]string{
				"card_declined: removed (402 invalid_request_error)", "ledger_locked: removed (503 api_error, retryable)",
				"daily_quota: removed (429 rate_limit_error)",
			}, nil},

		{"said twice that it is not retried", func(d []apierror.Definition) []apierror.Definition { d[card].NotRetryable = true; return d }, nil, nil},
		{"added", func(d []apierror.Definition) []apierror.Definition {
			return append(d, apierror.Definition{Code: "a_new_one", Type: apierror.TypeAPI, Status: 500, Message: "New."})
		}, nil, []string{"a_new_one: added (500 api_error, retryable)"}},
		{"message", func(d []apierror.Definition) []apierror.Definition { d[card].Message = "Refused.\n"; return d },
			nil, []string{`card_declined: message changed from "Declined." to "Refused.\n"`}},
		{"texts", func(d []apierror.Definition) []apierror.Definition {
			d[card].Description, d[card].Resolution = "", "Wait."
			return d
		}, nil, []string{`card_declined: description changed from "The bank refused." to ""`, `card_declined: resolution changed from "Ask." to "Wait."`}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			from := reference.New(apierror.MustCatalog(diffed()...), nil)
			to := reference.New(apierror.MustCatalog(row.change(diffed())...), &reference.Options{Title: "Another title"})
			var breaking, other []string
			for _, change := range reference.Diff(from, to) {
				if change.Breaking() {
					breaking = append(breaking, change.String())
				} else {
					other = append(other, change.String())
				}
			}
			if !slices.Equal(breaking, row.breaking) || !slices.Equal(other, row.other) {
				t.Errorf("breaking %q, other %q", breaking, other)
			}
		})
	}
}

// A service that turns Strict on sends fewer codes.
func TestDiffOfBuiltinAndCoreIsBreaking(t *testing.T) {
	t.Parallel()
	all, core := reference.New(nil, nil), reference.New(apierror.CoreCatalog(), nil)
	removed := 0
	for _, change := range reference.Diff(all, core) {
		if change.Kind == reference.ChangeRemoved && change.Breaking() {
			removed++
		}
	}
	if want := len(apierror.DefaultCatalog().Definitions()) - 8; removed != want {
		t.Errorf("%d removed, want %d", removed, want)
	}
	for _, change := range reference.Diff(core, all) {
		if change.Breaking() {
			t.Error(change)
		}
	}
}
