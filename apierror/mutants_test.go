package apierror_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"reflect"
	"strings"
	"testing"

	"github.com/seawall-go/seawall/apierror"
	"github.com/seawall-go/seawall/internal/reqstate"
)

type (
	// ordinal is an integer whose text is its own affair: "01" is another key than "1".
	ordinal int

	// basket reads its part of the body with encoding/json.
	basket struct{}

	// ledger is a basket whose keys are numbers.
	ledger struct{}

	// Promoted lends its method to what embeds it.
	Promoted struct{}

	// stamp is a struct that is read from a text.
	stamp struct{ N int }

	// Word is no struct, so embedding it makes it a member.
	Word string
)

var ordinals = map[string]ordinal{"1": 1, "01": 2}

func (o *ordinal) UnmarshalText(text []byte) error {
	n, ok := ordinals[string(text)]
	if !ok {
		return errors.New("no ordinal")
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

func TestDecodeJSONPassesOverWhatIsRightToTheFault(t *testing.T) {
	t.Parallel()
	type address struct{ City string }
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
		Address address
		Word
		Last int `json:"last"`
	}
	const bad = `,"last":"x"}`
	for _, row := range []struct{ body, param, message string }{
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
		{`{"arr":[1,2,"passed over"]`, "last", "must be a whole number"},
		{`{"arr":[1,"x"]`, "arr[1]", "must be a whole number"},
		{`{"mat":[[],[1,"x"]]`, "mat[1][1]", "must be a whole number"},
		{`{"by":"aGk="`, "last", "must be a whole number"},
		{`{"num":98.5`, "last", "must be a whole number"},
		{`{"anon":{"n":"x"}`, "anon.n", "must be a whole number"},
		{`{"Address":{"City":1}`, "Address.City", "must be a string"},
		{`{"Word":1`, "Word", "must be a string"},
		{`{"Word":"a"`, "last", "must be a whole number"},
		{`{"nope":1`, "nope", "is not known"},
	} {
		param, message := fault(t, new(numbers), row.body+bad)
		equal(t, "the param of "+row.body, param, row.param)
		if !strings.Contains(message, row.message) {
			t.Errorf("%s: %q does not say %q", row.body, message, row.message)
		}
	}
}

func TestDecodeJSONTellsTheMembersOfAWideStructApart(t *testing.T) {
	t.Parallel()
	fields := make([]reflect.StructField, 130)
	for i := range fields {
		fields[i] = reflect.StructField{
			Name: fmt.Sprintf("F%d", i), Type: reflect.TypeFor[int](), Tag: reflect.StructTag(fmt.Sprintf(`json:"f%d"`, i)),
		}
	}
	typ := reflect.StructOf(fields)
	var all []string
	for i := range fields {
		all = append(all, fmt.Sprintf(`"f%d":1`, i))
	}
	param, message := fault(t, reflect.New(typ).Interface(), "{"+strings.Join(all, ",")+"}")
	equal(t, "the fault of a body with each member once", param+message, "")
	for _, i := range []int{0, 1, 63, 64, 65, 127, 128, 129} {
		name := fmt.Sprintf("f%d", i)
		param, _ := fault(t, reflect.New(typ).Interface(), "{"+strings.Join(all, ",")+`,"`+name+`":1}`)
		equal(t, "the member that is given twice", param, name)
	}
}

func TestDecodeJSONKnowsNoMemberThatTwoFieldsClaim(t *testing.T) {
	t.Parallel()
	typ := reflect.StructOf([]reflect.StructField{
		{Name: "A", Type: reflect.TypeFor[int](), Tag: `json:"x"`},
		{Name: "B", Type: reflect.TypeFor[string](), Tag: `json:"x"`},
	})
	param, message := fault(t, reflect.New(typ).Interface(), `{"x":true}`)
	equal(t, "param", param, "x")
	equal(t, "message", message, "Invalid parameter: x is not known.")
}

func TestDecodeJSONReportsATargetThatNothingCanBeReadInto(t *testing.T) {
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
	// A set interface is read into, so the fault is another.
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

func TestAnAcceptHeaderIsWeighed(t *testing.T) {
	t.Parallel()
	for accept, problem := range map[string]bool{
		"application/problem+json;q=0.5, text/html":                     true,
		"application/json;q=0, application/problem+json;q=0.5, */*":     true,
		"application/problem+json;q=0":                                  false,
		"application/problem+json;q=0.5, application/json;q=0.5":        false,
		"application/problem+json;q=0.5, application/*;q=0.6":           false,
		"application/problem+json;q=0.5, */*;q=0.5":                     true,
		"application/problem+json;q=1.0":                                true,
		"application/problem+json;q=1.1":                                false,
		"application/json;q=1.1.1, application/problem+json;q=0.5, */*": false,
		"application/problem+json;q=":                                   false,
		`text/html;a="x,y", application/problem+json`:                   true,
		`text/html;a="\",application/json", application/problem+json`:   true,
		"application/problem+json;level=2;q=0.2, application/json;q=.1": true,
	} {
		rd := quiet()
		rd.Problem = true
		typ := write(rd, accept, apierror.CodeTimeout).Header().Get("Content-Type")
		equal(t, accept, typ == "application/problem+json", problem)
	}
}

func TestAStatusThatIsNoErrorsIsRetriedAsA500(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]bool{
		0: true, 200: true, 399: true, 400: false, 401: false, 404: false, 429: true, 500: true, 501: false, 599: true, 600: true,
	} {
		d := apierror.Definition{Code: "own", Type: apierror.TypeAPI, Status: status, Message: "m"}
		equal(t, fmt.Sprint("retryable with ", status), d.New().Retryable(), want)
	}
}

func TestStrictFoldsByTypeBeforeStatus(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		typ    apierror.Type
		status int
		want   apierror.Code
	}{
		{apierror.TypeAPI, 404, apierror.CodeAPIError},
		{apierror.TypeAPI, 410, apierror.CodeAPIError},
		{apierror.TypeInvalidRequest, 404, apierror.CodeResourceMissing},
		{apierror.TypeInvalidRequest, 410, apierror.CodeResourceMissing},
		{apierror.TypeInvalidRequest, 409, apierror.CodeParameterInvalid},
		{apierror.TypeIdempotency, 404, apierror.CodeIdempotencyConflict},
		{apierror.TypeRateLimit, 404, apierror.CodeRateLimitExceeded},
		{apierror.TypePermission, 404, apierror.CodePermissionDenied},
		{apierror.TypeAuthentication, 404, apierror.CodeAuthenticationFailed},
	} {
		rd := quiet()
		rd.Strict = true
		w := write(rd, "", apierror.Definition{Code: "own", Type: row.typ, Status: row.status, Message: "m"})
		e := asError(t, apierror.Parse(w.Result()))
		equal(t, fmt.Sprint(row.typ, " with ", row.status), e.Code(), row.want)
	}
}

func TestADefinitionThatTheCatalogDoesNotHoldKeepsItsRetryability(t *testing.T) {
	t.Parallel()
	rd := quiet()
	rd.Catalog = apierror.MustCatalog(apierror.Definition{
		Code: "own", Type: apierror.TypeAPI, Status: 503, Message: "m", NotRetryable: true,
	})
	w := write(rd, "", apierror.Definition{Code: "own", Type: apierror.TypeAPI, Status: 503})
	equal(t, "X-Should-Retry", w.Header().Get("X-Should-Retry"), "")
	w = write(rd, "", apierror.Definition{Code: "own", Type: apierror.TypeAPI})
	equal(t, "X-Should-Retry without a status", w.Header().Get("X-Should-Retry"), "")
	w = write(rd, "", apierror.Definition{Code: "own", Status: 503})
	equal(t, "X-Should-Retry without a type", w.Header().Get("X-Should-Retry"), "")
	w = write(rd, "", apierror.Code("own"))
	equal(t, "X-Should-Retry of the catalog's", w.Header().Get("X-Should-Retry"), "false")
}

func TestAStoredErrorKeepsASingleEntryOfEach(t *testing.T) {
	t.Parallel()
	e := apierror.CodeTimeout.New().WithHeader("Location", "/v1/a")
	w := write(quiet(), "", stored(t, e))
	equal(t, "Location", w.Header().Get("Location"), "/v1/a")
	e = stored(t, apierror.CodeTimeout.New().WithMetadata("k", "v"))
	equal(t, "metadata", e.Metadata()["k"], "v")
	e = stored(t, apierror.CodeParameterInvalid.New().WithField(apierror.Field{Param: "a"}))
	equal(t, "fields", len(e.Fields()), 1)
}

func TestParseReadsAnObjectWhateverItsSpaces(t *testing.T) {
	t.Parallel()
	const body = " {\n\"error\" : {\t\"code\" :\r\"parameter_missing\" , \"param\" : \"a\" , " +
		"\"errors\" : [ { \"param\" : \"a\" } , { \"param\" : \"b\" } ] , \"metadata\" : { \"k\" : \"v\" } } }"
	e := asError(t, apierror.Parse(response(400, jsonType, body)))
	equal(t, "code", e.Code(), apierror.CodeParameterMissing)
	equal(t, "param", e.Param(), "a")
	equal(t, "fields", len(e.Fields()), 2)
	equal(t, "metadata", e.Metadata()["k"], "v")
}

func TestParseTakesAProblemWithACodeAloneForTheServers(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]bool{`{"code":"own"}`: true, `{"detail":"d"}`: true, `{"status":400}`: false} {
		e := asError(t, apierror.Parse(response(400, "application/problem+json", body)))
		equal(t, "FromServer of "+body, e.FromServer(), want)
	}
}

func TestParseShowsTheBeginningOfAForeignBody(t *testing.T) {
	t.Parallel()
	const answered = "The server answered Bad Gateway"
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, row := range []struct{ body, want string }{
		{" a  b\n", answered + ": a b"},
		{"", answered + "."},
		{x(198), answered + ": " + x(198)},
		{x(199), answered + ": " + x(198) + "…"},
		{x(196) + " yz", answered + ": " + x(196) + " y…"},
		{x(150) + "\xff\x00y", answered + ": " + x(150) + "y"},
	} {
		e := asError(t, apierror.Parse(response(502, "text/html", row.body)))
		equal(t, "message", e.Message(), row.want)
	}
}

// asking has an As method that answers as it is told, and wraps an error.
type asking struct {
	as   func(target any) bool
	next error
}

func (asking) Error() string        { return "asking" }
func (a asking) As(target any) bool { return a.as(target) }
func (a asking) Unwrap() error      { return a.next }

func TestFromGoesOnWhereAnAsMethodHasNothingToSay(t *testing.T) {
	t.Parallel()
	for name, as := range map[string]func(any) bool{
		"false": func(any) bool { return false },
		"a nil *Error": func(target any) bool {
			_, ok := target.(**apierror.Error)
			return ok
		},
		"a nil *Definition": func(target any) bool {
			_, ok := target.(**apierror.Definition)
			return ok
		},
	} {
		err := asking{as, apierror.ParameterMissing("a")}
		equal(t, name, apierror.From(err).Code(), apierror.CodeParameterMissing)
		equal(t, name, apierror.CodeOf(err), apierror.CodeParameterMissing)
	}
}

func TestAMultipartFormThatEndsTooSoonIsTheClients(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{io.EOF, io.ErrUnexpectedEOF, bufio.ErrBufferFull} {
		e := apierror.From(fmt.Errorf("multipart: NextPart: %w", cause))
		equal(t, cause.Error(), e.Message(), "The multipart form is malformed.")
	}
	equal(t, "another cause", apierror.From(fmt.Errorf("multipart: NextPart: %w", io.ErrNoProgress)).Code(), apierror.CodeAPIError)
	equal(t, "another text", apierror.From(fmt.Errorf("read: %w", io.EOF)).Code(), apierror.CodeAPIError)
}

func TestTheLimitIsNamedIfThereIsOne(t *testing.T) {
	t.Parallel()
	equal(t, "1", apierror.RequestTooLarge(1).Message(), "The request body is larger than the 1 bytes allowed.")
	equal(t, "0", apierror.RequestTooLarge(0).Message(), "The request body is too large.")
}

func TestAnUnknownCodeGivesWayToThatOfItsFirstField(t *testing.T) {
	t.Parallel()
	e := apierror.Code("own").New().WithField(apierror.Field{Code: apierror.CodeParameterMissing, Param: "a", Message: "m"})
	equal(t, "code", e.Code(), apierror.CodeParameterMissing)
	equal(t, "status", e.Status(), 400)
	equal(t, "retryable", e.Retryable(), false)
	equal(t, "message", e.Message(), "m")
}

func TestARefusalWithACauseIsRecordedForDebuggingAlone(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{400: "", 499: "", 500: "ERROR", 501: "WARN", 599: "WARN"} {
		var log strings.Builder
		rd := &apierror.Renderer{Logger: slog.New(slog.NewTextHandler(&log, nil))}
		d := apierror.Definition{Code: "own", Type: apierror.TypeAPI, Status: status, Message: "m"}
		write(rd, "", d.New().WithCause(errors.New("why")))
		_, rest, _ := strings.Cut(log.String(), "level=")
		level, _, _ := strings.Cut(rest, " ")
		equal(t, fmt.Sprint("the level of a ", status), level, want)
	}
}

type (
	word  string
	inner struct{ N int }
)

func TestDecodeJSONGoesByWhatEncodingJSONDoesWithEmbeddedTypes(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{`{"word":"a"}`: "word", `{"N":1,"nope":1}`: "nope", `{"N":"x"}`: "N"} {
		v := new(struct {
			word
			inner
		})
		param, _ := fault(t, v, body)
		equal(t, "the param of "+body, param, want)
	}
}

func TestDecodeJSONPrefersTheFirstOfTheFieldsThatDifferInCase(t *testing.T) {
	t.Parallel()
	var fields []reflect.StructField
	for i, name := range []string{"abcd", "ABCD", "Abcd", "aBcd", "abCd", "abcD", "ABcd", "abCD"} {
		typ := reflect.TypeFor[int]()
		if i == 0 {
			typ = reflect.TypeFor[string]()
		}
		fields = append(fields, reflect.StructField{
			Name: fmt.Sprintf("F%d", i), Type: typ, Tag: reflect.StructTag(`json:"` + name + `"`),
		})
	}
	param, message := fault(t, reflect.New(reflect.StructOf(fields)).Interface(), `{"AbCd":1}`)
	equal(t, "param", param, "AbCd")
	equal(t, "message", message, "Invalid parameter: AbCd must be a string.")
}

func TestDecodeJSONFindsADuplicateInAMemberThatIsAllowedToBeUnknown(t *testing.T) {
	t.Parallel()
	err := decodeOrder(t, `{"zzz":{"a":1,"a":2}}`, &apierror.DecodeOptions{AllowUnknown: true})
	if err == nil {
		t.Fatal("it was accepted")
	}
	equal(t, "param", asError(t, err).Param(), "zzz.a")
}

func TestDecodeJSONTellsAnAbsentBody(t *testing.T) {
	t.Parallel()
	for _, length := range []int64{-1, 0} {
		for name, body := range map[string]io.ReadCloser{"nil": nil, "NoBody": http.NoBody} {
			r := newRequest("", "")
			r.Body, r.ContentLength = body, length
			err := apierror.DecodeJSON(httptest.NewRecorder(), r, new(order), nil)
			equal(t, fmt.Sprint(name, " of length ", length), apierror.CodeOf(err), apierror.CodeParameterMissing)
		}
	}
}

func TestDecodeJSONReadsNothingOfABodyThatIsAnnouncedAsTooLarge(t *testing.T) {
	t.Parallel()
	r := newRequest(jsonType, "")
	r.Body, r.ContentLength = failingBody{io.ErrNoProgress}, 1<<20+1
	err := apierror.DecodeJSON(httptest.NewRecorder(), r, new(order), nil)
	equal(t, "code", apierror.CodeOf(err), apierror.CodeRequestTooLarge)
}

func TestDecodeJSONHandsOnTheErrorThatABodyFailsWith(t *testing.T) {
	t.Parallel()
	r := newRequest(jsonType, "")
	r.Body, r.ContentLength = failingBody{apierror.CodeAPIError}, -1
	err := apierror.DecodeJSON(httptest.NewRecorder(), r, new(order), nil)
	equal(t, "code", apierror.CodeOf(err), apierror.CodeAPIError)
}

func TestFromPassesOverNilPointers(t *testing.T) {
	t.Parallel()
	var (
		def  *apierror.Definition
		none *apierror.Error
		size *http.MaxBytesError
	)
	err := errors.Join(def, size, apierror.CodeTimeout)
	equal(t, "From", apierror.From(err).Code(), apierror.CodeTimeout)
	equal(t, "CodeOf", apierror.CodeOf(err), apierror.CodeTimeout)
	equal(t, "From a nil *http.MaxBytesError", apierror.From(size).Code(), apierror.CodeAPIError)
	err = errors.Join(apierror.ParameterMissing("a"), none, apierror.ParameterMissing("b"))
	equal(t, "fields", len(apierror.From(err).Fields()), 2)
	err = errors.Join(apierror.ParameterMissing("a"), apierror.CodeRequestTooLarge.New(), apierror.ParameterMissing("b"))
	equal(t, "fields beside an error without a param", len(apierror.From(err).Fields()), 2)
	err = errors.Join(apierror.ParameterMissing("a"), apierror.CodeIdempotencyConflict.New().WithParam("Idempotency-Key"))
	equal(t, "fields beside an error of another type", len(apierror.From(err).Fields()), 0)
}

func TestFromMakesAnAPIErrorOfWhatAnAsMethodHandsOnFromAnotherService(t *testing.T) {
	t.Parallel()
	theirs := asError(t, apierror.Parse(response(400, jsonType, `{"error":{"code":"parameter_missing"}}`)))
	err := asking{as: func(target any) bool {
		e, ok := target.(**apierror.Error)
		if ok {
			*e = theirs
		}
		return ok
	}}
	equal(t, "code", apierror.From(err).Code(), apierror.CodeAPIError)
}

func TestOnlyAMalformedHeaderOfAPartIsTheClients(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]apierror.Code{
		"malformed MIME header line: a": apierror.CodeParameterInvalid,
		"short response: a":             apierror.CodeAPIError,
	} {
		equal(t, text, apierror.From(textproto.ProtocolError(text)).Code(), want)
	}
}

func TestAMessageShowsThatACauseIsHidden(t *testing.T) {
	t.Parallel()
	err := errors.New("secret-4711")
	equal(t, "one", apierror.CodeTimeout.Messagef("broke: %w", err).Message(), "broke: (see the log)")
	equal(t, "two", apierror.CodeTimeout.Messagef("%w, %w", err, err).Message(), "(see the log), (see the log)")
}

func TestAnErrorThatSaysNothingMayBeToldNotToBeRetried(t *testing.T) {
	t.Parallel()
	equal(t, "the zero Error", new(apierror.Error).Retryable(), true)
	equal(t, "one that is not to be", new(apierror.Error).WithNotRetryable().Retryable(), false)
}

func TestAStatusAloneIsSent(t *testing.T) {
	t.Parallel()
	equal(t, "status", write(quiet(), "", apierror.Definition{Status: 503}.New()).Code, 503)
}

func TestWhatMapHandsBackIsNotItsOwnCause(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	rd := &apierror.Renderer{
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Map:    func(err error) *apierror.Error { return err.(*apierror.Error) },
	}
	write(rd, "", apierror.CodeTimeout.New())
	if text := log.String(); text == "" || strings.Contains(text, "cause=") {
		t.Errorf("the log has %q", text)
	}
}

func TestACodeHasNothingButLowerCaseLettersDigitsAndUnderscores(t *testing.T) {
	t.Parallel()
	for code, ok := range map[apierror.Code]bool{
		"a": true, "z": true, "azb_09": true, "aa": true, "": false, "`": false, "{": false, "0a": false, "_a": false, "a`": false,
		"a{": false, "a/": false, "a:": false, "aZ": false,
		apierror.Code(strings.Repeat("a", 63)): true, apierror.Code(strings.Repeat("a", 64)): false,
	} {
		_, err := apierror.NewCatalog(apierror.Definition{Code: code, Type: apierror.TypeAPI, Status: 500, Message: "m"})
		equal(t, fmt.Sprintf("%q", code), err == nil, ok)
	}
}

// byValue is a ResponseWriter that is no pointer.
type byValue struct{ http.ResponseWriter }

func TestAnEncodingOfAnUnknownWriterStays(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	w.Header().Set("Content-Encoding", "gzip")
	apierror.Write(byValue{w}, httptest.NewRequest(http.MethodGet, "/", nil), apierror.CodeParameterMissing)
	equal(t, "Content-Encoding", w.Header().Get("Content-Encoding"), "gzip")
}

func TestDecodeJSONAsksForAMediaTypeUnlessTheBodyIsEmpty(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		length int64
		body   io.ReadCloser
		want   apierror.Code
	}{
		{-1, io.NopCloser(strings.NewReader("")), apierror.CodeParameterMissing},
		{-1, io.NopCloser(strings.NewReader("x")), apierror.CodeUnsupportedMediaType},
		{-1, failingBody{io.ErrNoProgress}, apierror.CodeUnsupportedMediaType},
		{0, io.NopCloser(strings.NewReader("")), apierror.CodeParameterMissing},
		{1, io.NopCloser(strings.NewReader("")), apierror.CodeUnsupportedMediaType},
	} {
		r := newRequest("", "")
		r.Body, r.ContentLength = row.body, row.length
		err := apierror.DecodeJSON(httptest.NewRecorder(), r, new(order), nil)
		equal(t, fmt.Sprintf("%T of length %d", row.body, row.length), apierror.CodeOf(err), row.want)
	}
}

func TestAPointerToADefinitionIsATargetOfErrorsIs(t *testing.T) {
	t.Parallel()
	e := apierror.CodeTimeout.New()
	equal(t, "its own", e.Is(&apierror.Definition{Code: apierror.CodeTimeout}), true)
	equal(t, "another", e.Is(&apierror.Definition{Code: apierror.CodeAPIError}), false)
	equal(t, "nil", e.Is((*apierror.Definition)(nil)), false)
}

func TestTheLineOfAnErrorWithoutAMessageIsItsCode(t *testing.T) {
	t.Parallel()
	equal(t, "line", apierror.Code("own").New().Error(), "own")
}

// namedField is a FieldError with a namespace, but with none of the struct's.
type namedField struct{ field, namespace string }

func (f namedField) Field() string     { return f.field }
func (namedField) Tag() string         { return "required" }
func (f namedField) Namespace() string { return f.namespace }

func TestFromFieldsNeedsNoNamespaceOfTheStruct(t *testing.T) {
	t.Parallel()
	for namespace, want := range map[string]string{"User.name": "name", "User": "User", "Page[a.B].name": "name"} {
		err := apierror.FromFields([]namedField{{"f", namespace}}, nil)
		equal(t, namespace, asError(t, err).Param(), want)
	}
}

func TestFromTakesWhateverAnAsMethodGives(t *testing.T) {
	t.Parallel()
	def := apierror.Definition{Code: "own", Type: apierror.TypeAPI, Status: 503, Message: "m"}
	for name, as := range map[string]func(any) bool{
		"a Code": func(target any) bool {
			code, ok := target.(*apierror.Code)
			if ok {
				*code = "own"
			}
			return ok
		},
		"a Definition": func(target any) bool {
			d, ok := target.(*apierror.Definition)
			if ok {
				*d = def
			}
			return ok
		},
		"a *Definition": func(target any) bool {
			d, ok := target.(**apierror.Definition)
			if ok {
				*d = &def
			}
			return ok
		},
	} {
		equal(t, name, apierror.From(asking{as: as}).Code(), "own")
	}
}

// late says by its Is method that a deadline has passed.
type late struct{}

func (late) Error() string        { return "late" }
func (late) Is(target error) bool { return target == context.DeadlineExceeded }

func TestFromAsksIsMethods(t *testing.T) {
	t.Parallel()
	equal(t, "code", apierror.From(late{}).Code(), apierror.CodeTimeout)
}

func TestStrictKeepsWhatIsTheSpecifications(t *testing.T) {
	t.Parallel()
	rd := quiet()
	rd.Strict = true
	w := write(rd, "", apierror.Definition{Code: apierror.CodeAPIError, Type: apierror.TypeInvalidRequest, Status: 404, Message: "m"})
	equal(t, "code", asError(t, apierror.Parse(w.Result())).Code(), apierror.CodeAPIError)
	w = write(rd, "", apierror.CodeTimeout.New().WithNotRetryable())
	equal(t, "X-Should-Retry", w.Header().Get("X-Should-Retry"), "false")
}

func TestAnErrorWithoutACodeAloneIsAPIError(t *testing.T) {
	t.Parallel()
	w := write(quiet(), "", apierror.Definition{Type: apierror.TypeAPI, Status: 503, Message: "m"})
	e := asError(t, apierror.Parse(w.Result()))
	equal(t, "code", e.Code(), apierror.CodeAPIError)
	equal(t, "status", e.Status(), 503)
}

func TestAnErrorThatHasItsRecordGetsNoOther(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{reqstate.Panic{}, reqstate.Recorded("outage")} {
		var log strings.Builder
		rd := &apierror.Renderer{Logger: slog.New(slog.NewTextHandler(&log, nil))}
		write(rd, "", apierror.CodeAPIError.New().WithCause(cause))
		equal(t, "the log of "+cause.Error(), log.String(), "")
	}
}

func TestMapIsNotAskedAboutAPanic(t *testing.T) {
	t.Parallel()
	rd := quiet()
	rd.Map = func(error) *apierror.Error { return apierror.CodeTimeout.New() }
	equal(t, "status", write(rd, "", apierror.CodeAPIError.New().WithCause(reqstate.Panic{})).Code, 500)
}

func TestAnErrorInAnAnswerIsWhole(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(apierror.Code("own").New())
	equal(t, "JSON", string(text), `{"type":"api_error","code":"own","message":"The request failed."}`)
	equal(t, "error", err, nil)
	w := write(quiet(), "", apierror.CodeParameterInvalid.New().WithField(apierror.Field{Param: "a"}))
	equal(t, "fields", len(asError(t, apierror.Parse(w.Result())).Fields()), 1)
}

func TestDecodeJSONPrefersAFieldWithATag(t *testing.T) {
	t.Parallel()
	typ := reflect.StructOf([]reflect.StructField{
		{Name: "A", Type: reflect.TypeFor[string](), Tag: `json:"B"`}, {Name: "B", Type: reflect.TypeFor[int]()},
	})
	_, message := fault(t, reflect.New(typ).Interface(), `{"B":true}`)
	equal(t, "message", message, "Invalid parameter: B must be a string.")
}
