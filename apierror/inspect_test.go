package apierror_test

import (
	"encoding/json"
	"errors"
	"io"
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

func TestDecodeJSONUsesJSONNamesAtAnyDepthAndLength(t *testing.T) {
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

func TestDecodeJSONRefusesDuplicates(t *testing.T) {
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

func TestDecodeJSONRefusesDuplicatesInUnknownMembers(t *testing.T) {
	t.Parallel()
	err := decodeOrder(t, `{"zzz":{"a":1,"a":2}}`, &apierror.DecodeOptions{AllowUnknown: true})
	if err == nil {
		t.Fatal("it was accepted")
	}
	equal(t, "param", asError(t, err).Param(), "zzz.a")
}

func TestDecodeJSONReportsImpossibleTargets(t *testing.T) {
	t.Parallel()
	for body, v := range map[string]any{
		`{"c":1}`: new(struct {
			C chan int `json:"c"`
		}),
		`{"r":1}`: new(struct {
			R io.Reader `json:"r"`
		}),
		`{"m":{"a":1}}`: new(struct {
			M map[bool]int `json:"m"`
		}),
	} {
		err := apierror.DecodeJSON(httptest.NewRecorder(), newRequest(jsonType, body), v, nil)
		if err == nil || apierror.CodeOf(err) != "" || !strings.Contains(err.Error(), "no JSON can be read into") {
			t.Errorf("%s: %v", body, err)
		}
	}
	// An interface that holds a pointer is read into that, so another member is at fault.
	for body, want := range map[string]string{
		`{"r":{},"n":"x"}`:  "n",
		`{"r":{},"nope":1}`: "nope",
	} {
		v := struct {
			R error `json:"r"`
			N int   `json:"n"`
		}{R: &filled{}}
		param, _ := fault(t, &v, body)
		equal(t, "the param of "+body, param, want)
	}
}

type filled struct{}

func (*filled) Error() string { return "filled" }

type (
	// ordinal is an integer with its own texts: "01" and "1" are different keys.
	ordinal int

	// basket reads its part of the body with encoding/json.
	basket struct{}

	// ledger is a basket whose keys are numbers.
	ledger struct{}

	// Promoted gives its method to a type that embeds it.
	Promoted struct{}

	// stamp is a struct with an UnmarshalText method.
	stamp struct{ N int }

	// Word is not a struct, so it is a member where it is embedded.
	Word string
)

var ordinals = map[string]ordinal{"1": 1, "01": 2}

func (o *ordinal) UnmarshalText(text []byte) error {
	n, ok := ordinals[string(text)]
	if !ok {
		return errors.New("not an ordinal")
	}
	*o = n
	return nil
}

func (*basket) UnmarshalJSON(b []byte) error {
	var in struct {
		Items []int `json:"items"`
		Sizes []struct {
			Width int `json:"width"`
		} `json:"sizes"`
	}
	return json.Unmarshal(b, &in)
}

func (*ledger) UnmarshalJSON(b []byte) error {
	var in map[int8]int
	return json.Unmarshal(b, &in)
}

func (*stamp) UnmarshalText([]byte) error { return nil }

func (*Promoted) UnmarshalText([]byte) error { return nil }

func fault(t testing.TB, v any, body string) (param, message string) {
	t.Helper()
	err := apierror.DecodeJSON(httptest.NewRecorder(), newRequest(jsonType, body), v, nil)
	if err == nil {
		return "", ""
	}
	e := asError(t, err)
	return e.Param(), e.Message()
}

// numbers has a field of each kind that encoding/json reads.
type numbers struct {
	I    int             `json:"i"`
	I64  int64           `json:"i64"`
	U    uint            `json:"u"`
	U64  uint64          `json:"u64"`
	F    float64         `json:"f"`
	F32  float32         `json:"f32"`
	Any  any             `json:"any"`
	MI   map[int64]int   `json:"mi"`
	MU   map[uint64]int  `json:"mu"`
	M8   map[int8]int    `json:"m8"`
	MU8  map[uint8]int   `json:"mu8"`
	MO   map[ordinal]int `json:"mo"`
	MS   map[string]int  `json:"ms"`
	Uptr uintptr         `json:"uptr"`
	St   stamp           `json:"st"`
	QF   float64         `json:"qf,string"`
	QF32 float32         `json:"qf32,string"`
	QB   bool            `json:"qb,string"`
	QI   int             `json:"qi,string"`
	QS   string          `json:"qs,string"`
	TwoF int             `json:"2fa"`
	B    *basket         `json:"b"`
	L    *ledger         `json:"l"`
	Arr  [2]int          `json:"arr"`
	Mat  [][]int         `json:"mat"`
	By   []byte          `json:"by"`
	Num  json.Number     `json:"num"`
	Anon struct {
		Promoted
		N int `json:"n"`
	} `json:"anon"`
	Address town
	Word
	Last int `json:"last"`
}

type town struct{ City string }

// Each body of the table is followed by a last member of the wrong type, so that the last
// member is at fault unless an earlier one is.
var faultTable = []struct{ body, param, message string }{
	{`{"i":-98`, "last", "must be a whole number"},
	{`{"i64":9223372036854775807`, "last", "must be a whole number"},
	{`{"i64":-9223372036854775808`, "last", "must be a whole number"},
	{`{"i64":9223372036854775808`, "i64", "is out of range"},
	{`{"u":98`, "last", "must be a whole number"},
	{`{"u64":18446744073709551615`, "last", "must be a whole number"},
	{`{"u64":18446744073709551616`, "u64", "is out of range"},
	{`{"u":-1`, "u", "is out of range"},
	{`{"f":1e308`, "last", "must be a whole number"},
	{`{"f32":1e38`, "last", "must be a whole number"},
	{`{"f32":1e39`, "f32", "is out of range"},
	{`{"any":1e308`, "last", "must be a whole number"},
	{`{"any":1e309`, "any", "is out of range"},
	{`{"any":[true,null,"a",{"b":[0]}]`, "last", "must be a whole number"},
	{`{"mi":{"98":1,"9223372036854775807":2}`, "last", "must be a whole number"},
	{`{"mi":{"9223372036854775808":2}`, "mi.9223372036854775808", "is not a valid key"},
	{`{"mu":{"98":1,"18446744073709551615":2}`, "last", "must be a whole number"},
	{`{"mu":{"18446744073709551616":2}`, "mu.18446744073709551616", "is not a valid key"},
	{`{"mu":{"18446744073709551615":1,"018446744073709551615":1}`, "mu.018446744073709551615", "is given more than once"},
	{`{"m8":{"127":1,"-128":1}`, "last", "must be a whole number"},
	{`{"m8":{"128":1}`, "m8.128", "is not a valid key"},
	{`{"mu8":{"255":1}`, "last", "must be a whole number"},
	{`{"mu8":{"256":1}`, "mu8.256", "is not a valid key"},
	{`{"mo":{"1":1,"01":1}`, "last", "must be a whole number"},
	{`{"mo":{"2":1}`, "mo.2", "is not a valid key"},
	{`{"ms":{"1":1,"01":1}`, "last", "must be a whole number"},
	{`{"uptr":98`, "last", "must be a whole number"},
	{`{"f":9e999`, "f", "is out of range"},
	{`{"f":0.1e999`, "f", "is out of range"},
	{`{"qi":{"a":1,"a":2}`, "qi.a", "is given more than once"},
	{`{"b":{"items":[],"items":[]}`, "b.items", "is given more than once"},
	{`{"qf":1.5`, "qf", ""},
	{`{"qf":"1.5"`, "last", "must be a whole number"},
	{`{"qf32":1.5`, "qf32", ""},
	{`{"qb":true`, "qb", ""},
	{`{"qi":1`, "qi", ""},
	{`{"qi":"98"`, "last", "must be a whole number"},
	{`{"qs":"a"`, "qs", ""},
	{`{"2fa":"x"`, "2fa", "must be a whole number"},
	{`{"b":{"items":[1,2,"x"]}`, "b.items[2]", "must be a whole number"},
	{`{"b":{"sizes":[{"width":1},{"width":"x"}]}`, "b.sizes[1].width", "must be a whole number"},
	{`{"l":{"1":1,"300":1}`, "l.300", ""},
	{`{"b":{"items" :[1,"x"]}`, "b.items[1]", "must be a whole number"},
	{`{"mu":{"18446744073709551615":1,"18446744073709551614":1}`, "last", "must be a whole number"},
	{`{"st":{}`, "st", "must be a string"},
	{`{"arr":[1,2,"skipped"]`, "last", "must be a whole number"},
	{`{"arr":[1,"x"]`, "arr[1]", "must be a whole number"},
	{`{"mat":[[],[1,"x"]]`, "mat[1][1]", "must be a whole number"},
	{`{"by":"aGk="`, "last", "must be a whole number"},
	{`{"num":98.5`, "last", "must be a whole number"},
	{`{"anon":{"n":"x"}`, "anon.n", "must be a whole number"},
	{`{"Address":{"City":1}`, "Address.City", "must be a string"},
	{`{"Word":1`, "Word", "must be a string"},
	{`{"Word":"a"`, "last", "must be a whole number"},
	{`{"nope":1`, "nope", "is not known"},
}

func TestDecodeJSONReportsTheFirstInvalidValue(t *testing.T) {
	t.Parallel()
	for _, row := range faultTable {
		param, message := fault(t, new(numbers), row.body+`,"last":"x"}`)
		equal(t, "the param of "+row.body, param, row.param)
		if !strings.Contains(message, row.message) {
			t.Errorf("%s: %q does not contain %q", row.body, message, row.message)
		}
	}
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

func TestDecodeJSONReadsUnusualTargets(t *testing.T) {
	t.Parallel()
	many := `"1":0,"2":0,"3":0,"4":0,"5":0,"6":0,"7":0,"8":0,"9":0,"10":0,"11":0,"12":0,"13":0,"14":0,"15":0,"16":0,"17":0`
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

// counted counts the bytes that its UnmarshalJSON gets.
type counted struct{}

var countedBytes int

func (*counted) UnmarshalJSON(b []byte) error { countedBytes += len(b); return nil }

// It is not parallel, because it counts the allocations of the whole process.
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
