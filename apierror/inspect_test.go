package apierror_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seawall-go/seawall/apierror"
)

type (
	base struct {
		ID int `json:"base_id"`
	}
	derived struct {
		base
		ID    int         `json:"id"`
		Items []derived   `json:"items"`
		Times []time.Time `json:"times"`
		Total json.Number `json:"total"`
		Table map[int]int `json:"table"`
		Any   any         `json:"any"`
		Raw   json.RawMessage
	}
	hidden  struct{ Lost int }
	hopeful struct {
		*hidden
		Signal chan int
		Keyed  map[bool]int
		Fine   int
	}
)

func TestDecodeJSONGoesByJSONNamesAtAnyDepthAndLength(t *testing.T) {
	t.Parallel()
	long := strings.Repeat(`"2026-01-02T03:04:05Z",`, 5000)
	for _, row := range []struct{ body, message string }{
		{`{"base_id":"x"}`, "Invalid parameter: base_id must be a whole number."},
		{`{"id":5,"items":[{"id":1},{"base_id":"x"}]}`, "Invalid parameter: items[1].base_id must be a whole number."},
		{`{"times":[` + long + `"yesterday"]}`, "Invalid parameter: times[5000]."},
		{`{"total":true}`, "Invalid parameter: total must be a number."},
		{`{"total":"x"}`, "Invalid parameter: total."},
		{`{"total":[]}`, "Invalid parameter: total must be a number."},
		{`{"table":{"x":1}}`, "Invalid parameter: table.x is not a valid key."},
	} {
		e := asError(t, apierror.DecodeJSON(httptest.NewRecorder(), newRequest(jsonType, row.body), new(derived), nil))
		equal(t, row.body[:min(len(row.body), 60)], e.Message(), row.message)
	}
}

func TestDecodeJSONRefusesAMemberThatIsGivenTwice(t *testing.T) {
	t.Parallel()
	many := ""
	for i := range 100 {
		many += `"m` + strconv.Itoa(i) + `":1,`
	}
	for _, row := range []struct{ body, param string }{
		{`{"id":1,"id":1}`, "id"},
		{`{"id":1,"ID":1}`, "ID"},
		{`{"id":1,"\u0069d":1}`, "id"},
		{`{"base_id":1,"id":1,"Base_Id":1}`, "Base_Id"},
		{`{"items":[{"id":1},{"id":1,"id":2}]}`, "items[1].id"},
		{`{"table":{"1":1,"01":2}}`, "table.01"},
		{`{"any":{"a":{"b":1,"b":2}}}`, "any.a.b"},
		{`{"any":{` + many + `"m50":1}}`, "any.m50"},
		{`{"Raw":{"a":1,"a":2}}`, "Raw.a"},
		{`{"any":{"a":1,"A":2},"Raw":{"a":1,"A":2}}`, ""},
		{`{"items":[{"id":1},{"id":1}],"id":1,"base_id":1,"any":{` + many + `"m":1}}`, ""},
	} {
		err := apierror.DecodeJSON(httptest.NewRecorder(), newRequest(jsonType, row.body), new(derived), nil)
		if row.param == "" {
			if err != nil {
				t.Errorf("%s: %v", row.body, err)
			}
			continue
		}
		equal(t, row.body, asError(t, err).Message(), "Invalid parameter: "+row.param+" is given more than once.")
	}
	allowing := &apierror.DecodeOptions{AllowUnknown: true}
	err := apierror.DecodeJSON(httptest.NewRecorder(), newRequest(jsonType, `{"new":1,"new":2}`), new(derived), allowing)
	equal(t, "unknown", asError(t, err).Param(), "new")
}

func TestDecodeJSONDoesNotBlameTheClientForTheTarget(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"Lost":1}`, `{"Signal":1}`, `{"Keyed":{"true":1}}`} {
		err := apierror.DecodeJSON(httptest.NewRecorder(), newRequest(jsonType, body), new(hopeful), nil)
		equal(t, body, apierror.From(err).Status(), http.StatusInternalServerError)
	}
	err := apierror.DecodeJSON(httptest.NewRecorder(), newRequest(jsonType, `{"Signal":null,"Fine":"x"}`), new(hopeful), nil)
	equal(t, "the client's own", asError(t, err).Param(), "Fine")
}

func TestDecodeJSONOfAnEmptyBodyOfUnknownLengthIsAMissingParameter(t *testing.T) {
	t.Parallel()
	for body, code := range map[string]apierror.Code{"": apierror.CodeParameterMissing, "x": apierror.CodeUnsupportedMediaType} {
		r := newRequest("", body)
		r.ContentLength = -1
		if err := apierror.DecodeJSON(httptest.NewRecorder(), r, new(order), nil); !errors.Is(err, code) {
			t.Errorf("%q: %v", body, err)
		}
	}
}

// counted counts the bytes that its UnmarshalJSON is given.
type counted struct{}

var countedBytes int

func (*counted) UnmarshalJSON(b []byte) error { countedBytes += len(b); return nil }

// It is not parallel: it counts what the whole process allocates.
func TestAllocsOfRefusingAreAFewTimesThoseOfReading(t *testing.T) { //nolint:paralleltest // see above
	type wide [20]struct {
		A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P, Q, R, S, T int `json:",string"`
	}
	type row struct {
		ID    int `json:"id"`
		Own   counted
		Wide  wide
		Items []row `json:"items"`
	}
	for _, size := range []int{1000, 2000, 4000, 8000} {
		for name, bodies := range map[string][2]string{
			"long": {`{"items":[` + strings.Repeat(`{"id":1,"Own":[1,2,3]},`, size) + `{}],"id":1}`, `{"items":[` + strings.Repeat(`{"id":1,"Own":[1,2,3]},`, size) + `{}],"id":"x"}`},
			"deep": {strings.Repeat(`{"items":[`, size/4) + strings.Repeat(`]}`, size/4), strings.Repeat(`{"items":[`, size/4) + `{"id":"x"}` + strings.Repeat(`]}`, size/4)},
		} {
			cost := func(body string) (bytes uint64) {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				countedBytes = 0
				_ = apierror.DecodeJSON(httptest.NewRecorder(), newRequest(jsonType, body), new(row), nil)
				runtime.ReadMemStats(&after)
				return after.TotalAlloc - before.TotalAlloc
			}
			right, wrong := cost(bodies[0]), cost(bodies[1])
			if wrong > 4*right+1<<16 || countedBytes > 2*len(bodies[1]) {
				t.Errorf("%s, %d: %d bytes to refuse, %d to read; UnmarshalJSON was given %d bytes of %d", name, size, wrong, right, countedBytes, len(bodies[1]))
			}
		}
	}
}
