package apierror_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

func TestAcceptIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	for accept, want := range map[string]string{
		"application/json;q=0.9, application/json;q=0.1, application/problem+json;q=0.5": "application/json",
		"application/problem+json, application/json;q=1":                                 "application/json",
		"application/problem+json;q=x;a=b, application/json":                             "application/json",
		"application/problem+json;q=x;a=b":                                               "application/json",
		"application/json;q=0.1, application/problem+json;q=0.9":                         "application/problem+json",
	} {
		rd := quiet()
		rd.Problem = true
		equal(t, accept, write(rd, accept, io.EOF).Header().Get("Content-Type"), want)
	}
}

func TestATypeAloneHasAStatus(t *testing.T) {
	t.Parallel()
	for typ, want := range map[apierror.Type]int{
		apierror.TypeInvalidRequest: 400, apierror.TypeAuthentication: 401, apierror.TypePermission: 403,
		apierror.TypeIdempotency: 409, apierror.TypeRateLimit: 429, apierror.TypeAPI: 500, "": 500,
	} {
		e := apierror.Definition{Code: "own", Type: typ, Message: "m"}.New()
		equal(t, string(typ), e.Status(), want)
		equal(t, string(typ)+", written", write(quiet(), "", e).Code, want)
	}
}

func TestACodeMayBeginWithAnyLetter(t *testing.T) {
	t.Parallel()
	for code, want := range map[apierror.Code]bool{"a0_": true, "z9": true, "{": false, "`": false, "0": false, "_": false} {
		_, err := apierror.NewCatalog(apierror.Definition{Code: code, Type: apierror.TypeAPI, Status: 500, Message: "m"})
		equal(t, string(code), err == nil, want)
	}
}

func TestWaitsAreNeverNegativeAndNeverLost(t *testing.T) {
	t.Parallel()
	equal(t, "negative", apierror.RateLimitExceeded(-time.Second).RetryAfter(), 0)
	equal(t, "negative, service_unavailable", apierror.ServiceUnavailable(-1).RetryAfter(), 0)
	equal(t, "pointless", apierror.RateLimitExceeded(time.Second).WithNotRetryable().RetryAfter(), 0)
	w := write(quiet(), "", apierror.CodeAPIError.New().WithRetryAfter(time.Nanosecond))
	equal(t, "the shortest", w.Header().Get("Retry-After"), "1")
}

func TestOneEntryOfMetadataIsSent(t *testing.T) {
	t.Parallel()
	body := write(quiet(), "", apierror.CodePermissionDenied.New().WithMetadata("scope", "read")).Body.String()
	if !strings.Contains(body, `"metadata":{"scope":"read"}`) {
		t.Error(body)
	}
}

// A catalog says of a code whether a retry is of use, too.
func TestACodeOfTheRenderersCatalogIsRetriedAsItsStatus(t *testing.T) {
	t.Parallel()
	catalog, err := apierror.NewCatalog(
		apierror.Definition{Code: "stale", Type: apierror.TypeInvalidRequest, Status: 412, Message: "m"},
		apierror.Definition{Code: "busy", Type: apierror.TypeAPI, Status: 503, Message: "m"},
	)
	equal(t, "error", err, nil)
	for code, want := range map[apierror.Code]string{"stale": "false", "busy": ""} {
		rd := quiet()
		rd.Catalog = catalog
		equal(t, string(code), write(rd, "", code).Header().Get("X-Should-Retry"), want)
	}
}

func TestAResponseOf400ThatHasBegunStands(t *testing.T) {
	t.Parallel()
	for status, aborted := range map[int]bool{399: true, 400: false} {
		w := httptest.NewRecorder()
		func() {
			defer func() { equal(t, fmt.Sprint(status), recover() == http.ErrAbortHandler, aborted) }() //nolint:errorlint // the very value
			quiet().Handler(apierror.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
				w.WriteHeader(status)
				return io.EOF
			})).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		}()
	}
}

// unprintable is a value whose text panics with itself.
type unprintable struct{}

func (u unprintable) String() string { panic(u) }

func TestAHookMayPanicWithWhatCannotBePrinted(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	rd := &apierror.Renderer{Logger: slog.New(slog.NewTextHandler(&log, nil)), Map: func(error) *apierror.Error { panic(unprintable{}) }}
	equal(t, "status", write(rd, "", io.EOF).Code, 500)
	if !strings.Contains(log.String(), "unprintable whose text panics") {
		t.Error(log.String())
	}
}

func TestFromLooksAt256Errors(t *testing.T) {
	t.Parallel()
	missing := apierror.ParameterMissing("a")
	equal(t, "the last", apierror.From(deep(255, missing)).Code(), apierror.CodeParameterMissing)
	equal(t, "one further in", apierror.From(deep(256, missing)).Code(), apierror.CodeAPIError)
}

func TestFromOfPointersToDefinitions(t *testing.T) {
	t.Parallel()
	var none *apierror.Definition
	equal(t, "wrapped", apierror.From(fmt.Errorf("x: %w", &declined)).Code(), declined.Code)
	equal(t, "nil", apierror.From(none).Code(), apierror.CodeAPIError)
	equal(t, "nil, wrapped", apierror.From(fmt.Errorf("x: %w", error(none))).Code(), apierror.CodeAPIError)
}

func TestAFormThatIsTooLargeNamesTheLimitThatIsKnown(t *testing.T) {
	t.Parallel()
	equal(t, "a form", apierror.From(newRequest(plainForm, strings.Repeat("a", 11<<20)).ParseForm()).Message(),
		"The request body is larger than the 10485760 bytes allowed.")
	equal(t, "parts", apierror.From(multipart.ErrMessageTooLarge).Message(), apierror.RequestTooLarge(0).Message())
	r := newRequest(plainForm, "")
	r.Body = nil // as no server has it
	equal(t, "no body", apierror.From(r.ParseForm()).Code(), apierror.CodeParameterMissing)
}

func TestAPathThatIsOnlyAnIndexIsKept(t *testing.T) {
	t.Parallel()
	e := asError(t, apierror.FromFields([]violation{{namespace: "items[0]", field: "[0]", tag: "max"}}, nil))
	equal(t, "param", e.Param(), "items[0]")
}

type (
	common  struct{ ID int }
	East    struct{ common }
	West    struct{ common }
	Endless struct {
		*Endless
		Name string
	}
	small int8
)

func (s *small) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, (*int8)(s)) }

func TestDecodeJSONOfUnusualTargets(t *testing.T) {
	t.Parallel()
	many := `"1":0,"2":0,"3":0,"4":0,"5":0,"6":0,"7":0,"8":0,"9":0`
	for _, row := range []struct {
		name, body     string
		into           any
		param, problem string
	}{
		{"a type that embeds itself", `{"Name":1}`, new(Endless), "Name", "must be a string"},
		{"a member of two embedded types", `{"ID":1}`, new(struct {
			East
			West
		}), "ID", "is not known"},
		{"an unexported struct", `{"hidden":{}}`, new(struct{ hidden item }), "hidden", "is not known"},
		{"one of many names again", `{` + many + `,"1":0}`, new(map[string]int), "1", "is given more than once"},
		{"a negative key again", `{"-1":0,"-01":0}`, new(map[int]int), "-01", "is given more than once"},
		{"a large key again", `{"18446744073709551615":0,"018446744073709551615":0}`, new(map[uint64]int), "018446744073709551615", "is given more than once"},
		{"a number that an own method refuses", `{"n":300}`, new(struct {
			N small `json:"n"`
		}), "n", "is out of range"},
	} {
		e := asError(t, apierror.DecodeJSON(httptest.NewRecorder(), newRequest("application/json", row.body), row.into, nil))
		equal(t, row.name, e.Message(), "Invalid parameter: "+row.param+" "+row.problem+".")
		equal(t, row.name, e.Param(), row.param)
	}
	e := decodeOrder(t, `{"count":"x"}`, nil)
	if _, ok := errors.AsType[*json.UnmarshalTypeError](e); !ok {
		t.Errorf("the cause of %v is lost", e)
	}
}
