package apierror_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seawall-go/seawall/apierror"
)

// ownCodes returns definitions of a service.
func ownCodes() []apierror.Definition {
	return []apierror.Definition{
		{Code: "card_declined", Type: apierror.TypeInvalidRequest, Status: 402, Message: "The card was declined."},
		{Code: "account_frozen", Type: apierror.TypePermission, Status: 423, Message: "The account is frozen."},
		{Code: "key_expired", Type: apierror.TypeAuthentication, Status: 401, Message: "The key has expired."},
		{Code: "ledger_locked", Type: apierror.TypeAPI, Status: 503, Message: "The ledger is locked."},
		{Code: "not_here", Type: apierror.TypeAPI, Status: 501, Message: "This region does not do that."},
		{Code: "daily_quota", Type: apierror.TypeRateLimit, Status: 429, Message: "The daily quota is used up."},
		{Code: "replayed", Type: apierror.TypeIdempotency, Status: 422, Message: "Replayed."},
		{Code: apierror.Code("a" + strings.Repeat("9", 62)), Type: apierror.TypeAPI, Status: 599, Message: "The last status."},
	}
}

func catalog(t testing.TB) *apierror.Catalog {
	t.Helper()
	c, err := apierror.NewCatalog(ownCodes()...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNewCatalogReportsEveryMistakeAndItsPlace(t *testing.T) {
	t.Parallel()
	ok := apierror.Definition{Code: "card_declined", Type: apierror.TypeInvalidRequest, Status: 402, Message: "The card was declined."}
	with := func(change func(*apierror.Definition)) apierror.Definition {
		d := ok
		change(&d)
		return d
	}
	for _, row := range []struct {
		name string
		defs []apierror.Definition
		want []string
	}{
		{"twice", []apierror.Definition{ok, ok}, []string{`"card_declined" is defined twice: by argument 1 of NewCatalog and by argument 2 of NewCatalog`}},
		{"built in", []apierror.Definition{ok, with(func(d *apierror.Definition) { d.Code = "timeout" })}, []string{`"timeout" is defined twice: by the built-in catalog and by argument 2 of NewCatalog`}},
		{"no code", []apierror.Definition{with(func(d *apierror.Definition) { d.Code = "" })}, []string{`the code "" (argument 1 of NewCatalog)`}},
		{"upper case", []apierror.Definition{with(func(d *apierror.Definition) { d.Code = "Card" })}, []string{`the code "Card"`}},
		{"digit first", []apierror.Definition{with(func(d *apierror.Definition) { d.Code = "3d" })}, []string{`the code "3d"`}},
		{"dash", []apierror.Definition{with(func(d *apierror.Definition) { d.Code = "a-b" })}, []string{`the code "a-b"`}},
		{"newline", []apierror.Definition{with(func(d *apierror.Definition) { d.Code = "a\n" })}, []string{`the code "a\n"`}},
		{"64 letters", []apierror.Definition{with(func(d *apierror.Definition) { d.Code = apierror.Code(strings.Repeat("a", 64)) })}, []string{`{0,62}`}},
		{"no type", []apierror.Definition{with(func(d *apierror.Definition) { d.Type = "" })}, []string{`unknown type ""`}},
		{"own type", []apierror.Definition{with(func(d *apierror.Definition) { d.Type = "card_error" })}, []string{`unknown type "card_error"`}},
		{"no status", []apierror.Definition{with(func(d *apierror.Definition) { d.Status = 0 })}, []string{`status 0`}},
		{"399", []apierror.Definition{with(func(d *apierror.Definition) { d.Status = 399 })}, []string{`status 399`}},
		{"600", []apierror.Definition{with(func(d *apierror.Definition) { d.Status = 600 })}, []string{`status 600`}},
		{"no message", []apierror.Definition{with(func(d *apierror.Definition) { d.Message = "" })}, []string{`no default message`}},
		{"all at once", []apierror.Definition{{Code: "X"}, ok, {Code: "a"}, ok}, []string{
			`(argument 1 of NewCatalog) does not match`, `(argument 1 of NewCatalog) has the unknown type`, `(argument 1 of NewCatalog) has the status 0`,
			`(argument 1 of NewCatalog) has no default message`, `(argument 3 of NewCatalog)`, `argument 2 of NewCatalog and by argument 4`,
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c, err := apierror.NewCatalog(row.defs...)
			if err == nil || c != nil {
				t.Fatal(c, err)
			}
			for _, want := range row.want {
				if !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "apierror: ") {
					t.Errorf("%q is not in %q", want, err)
				}
			}
			defer func() {
				if v := fmt.Sprint(recover()); v != err.Error() {
					t.Errorf("MustCatalog panics with %q", v)
				}
			}()
			apierror.MustCatalog(row.defs...)
		})
	}
}

func TestCatalogHoldsBuiltInAndOwnDefinitions(t *testing.T) {
	t.Parallel()
	c := apierror.MustCatalog(ownCodes()...)
	got := c.Definitions()
	want := append(apierror.DefaultCatalog().Definitions(), ownCodes()...)
	if !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	for _, d := range want {
		if found, ok := c.Lookup(d.Code); !ok || found != d {
			t.Errorf("%v, %v", found, ok)
		}
	}
	if d, ok := c.Lookup("no_such"); ok || d != (apierror.Definition{}) {
		t.Errorf("%v", d)
	}
	got[0].Code = "changed"
	equal(t, "first", c.Definitions()[0].Code, apierror.CodeParameterMissing)
	equal(t, "built-in codes", len(apierror.DefaultCatalog().Definitions()), 16)
}

// The specification fixes these, so the table repeats them.
func TestBuiltInCodesAreThoseOfTheSpecification(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		code      apierror.Code
		typ       apierror.Type
		status    int
		retryable bool
	}{
		{"parameter_missing", "invalid_request_error", 400, false},
		{"parameter_invalid", "invalid_request_error", 400, false},
		{"resource_missing", "invalid_request_error", 404, false},
		{"authentication_failed", "authentication_error", 401, false},
		{"permission_denied", "permission_error", 403, false},
		{"idempotency_conflict", "idempotency_error", 409, false},
		{"rate_limit_exceeded", "rate_limit_error", 429, true},
		{"api_error", "api_error", 500, true},
		{"method_not_allowed", "invalid_request_error", 405, false},
		{"request_too_large", "invalid_request_error", 413, false},
		{"unsupported_media_type", "invalid_request_error", 415, false},
		{"idempotency_in_progress", "idempotency_error", 429, true},
		{"idempotency_outcome_unknown", "idempotency_error", 409, false},
		{"idempotency_response_unavailable", "idempotency_error", 409, false},
		{"service_unavailable", "api_error", 503, true},
		{"timeout", "api_error", 504, true},
	} {
		d, ok := apierror.DefaultCatalog().Lookup(row.code)
		if !ok || d.Type != row.typ || d.Status != row.status || d.Message == "" || d.Description == "" {
			t.Errorf("%+v", d)
		}
		e := row.code.Messagef("%d%%", 5)
		equal(t, "message", e.Message(), "5%")
		equal(t, "code's status", e.Status(), row.status)
		equal(t, "code's type", e.Type(), row.typ)
		equal(t, "code's retryable", e.Retryable(), row.retryable)
		equal(t, "text", row.code.Error()+row.typ.Error(), string(row.code)+string(row.typ))
	}
}

func TestCodesAreLowerCaseLettersDigitsAndUnderscores(t *testing.T) {
	t.Parallel()
	for code, ok := range map[apierror.Code]bool{
		"a": true, "z": true, "a0_": true, "z9": true, "azb_09": true, "aa": true, "": false, "`": false, "{": false, "0": false, "_": false, "0a": false, "_a": false, "a`": false,
		"a{": false, "a/": false, "a:": false, "aZ": false,
		apierror.Code(strings.Repeat("a", 63)): true, apierror.Code(strings.Repeat("a", 64)): false,
	} {
		_, err := apierror.NewCatalog(apierror.Definition{Code: code, Type: apierror.TypeAPI, Status: 500, Message: "m"})
		equal(t, fmt.Sprintf("%q", code), err == nil, ok)
	}
}

func TestCoreCatalogHasCodesOfSpecification(t *testing.T) {
	t.Parallel()
	want := []apierror.Code{
		apierror.CodeParameterMissing, apierror.CodeParameterInvalid, apierror.CodeResourceMissing, apierror.CodeAuthenticationFailed,
		apierror.CodePermissionDenied, apierror.CodeIdempotencyConflict, apierror.CodeRateLimitExceeded, apierror.CodeAPIError,
	}
	var got []apierror.Code
	for _, d := range apierror.CoreCatalog().Definitions() {
		got = append(got, d.Code)
	}
	if !slices.Equal(got, want) {
		t.Error(got)
	}
	if _, ok := apierror.CoreCatalog().Lookup(apierror.CodeTimeout); ok {
		t.Error("the core catalog has an added code")
	}
}

// The reference page says when each code occurs and what to do about it.
func TestBuiltInCodesAreExplained(t *testing.T) {
	t.Parallel()
	for _, d := range apierror.DefaultCatalog().Definitions() {
		if d.Description == "" || d.Resolution == "" {
			t.Errorf("%s has no description or no resolution", d.Code)
		}
	}
}

func TestDefinitionKnowsWhetherItIsRetryable(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]bool{400: false, 409: false, 429: true, 500: true, 501: false, 503: true, 599: true} {
		d := apierror.Definition{Code: "a", Type: apierror.TypeAPI, Status: status, Message: "A."}
		if d.Retryable() != want || d.New().Retryable() != want {
			t.Errorf("%d: %v", status, d.Retryable())
		}
		if d.NotRetryable = true; d.Retryable() {
			t.Errorf("%d is retryable although the definition says no", status)
		}
	}
}

func TestDefinitionValidateNamesEveryFault(t *testing.T) {
	t.Parallel()
	for _, d := range slices.Concat(apierror.DefaultCatalog().Definitions(), ownCodes()) {
		if err := d.Validate(); err != nil {
			t.Error(err)
		}
	}
	err := apierror.Definition{Code: "X", Type: "card_error", Status: 200}.Validate()
	for _, want := range []string{`the code "X" does not match`, `unknown type "card_error"`, "status 200", "no default message"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}
